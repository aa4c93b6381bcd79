"""What must hold for every op of the table."""

import numpy as np
import pytest

from minigrad import gradcheck, kernels
from minigrad.ops import TABLE, Op, unbroadcast
from minigrad.ops.activation import SMALL
from minigrad.tensor import Tensor, apply
from tests.ops.cases import CASES, ENGINE, batch_innermost
from tests.ops.straight_through import straight_through

ROWS = [pytest.param(name, case, id=f"{name} {case}") for name, cases in CASES.items() for case in cases]


def test_every_op_has_cases_and_every_case_an_op():
    assert set(CASES) == set(ENGINE)
    assert all(CASES.values())


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_gradient_matches_finite_differences(name, case):
    fn = straight_through(name, case, lambda *inputs: apply(TABLE[name], *inputs, **case.settings))
    assert gradcheck(fn, case.inputs)


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_float32_stays_float32_and_agrees_with_float64(name, case):
    def run(dtype):
        tensors = [Tensor(x.astype(dtype), True) if x.dtype.kind == "f" else Tensor(x) for x in case.inputs]
        out = apply(TABLE[name], *tensors, **case.settings)
        out.backward(np.linspace(0.5, 1.5, out.size).reshape(out.shape))
        return out, [t.grad for t in tensors if t.requires_grad]

    out32, grads32 = run(np.float32)
    out64, grads64 = run(np.float64)
    assert out32.dtype == np.float32
    np.testing.assert_allclose(out32.data, out64.data, rtol=1e-4, atol=1e-5)
    for grad32, grad64 in zip(grads32, grads64, strict=True):
        assert grad32.dtype == np.float32
        np.testing.assert_allclose(grad32, grad64, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_inputs_are_left_alone_and_results_do_not_depend_on_memory_order(name, case):
    before = [x.copy() for x in case.inputs]
    laid_out = [batch_innermost(x) if np.ndim(x) > 1 else x for x in case.inputs]
    results = []
    for inputs in (case.inputs, laid_out):
        tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
        out = apply(TABLE[name], *tensors, **case.settings)
        out.backward(np.ones(out.shape))
        results.append([out.data, *(t.grad for t in tensors if t.requires_grad)])
    for x, copy in zip(case.inputs, before, strict=True):
        np.testing.assert_array_equal(x, copy)
    for usual, other in zip(*results, strict=True):
        np.testing.assert_allclose(usual, other, rtol=1e-12, atol=1e-12)


def test_defining_an_op_checks_its_vjps():
    with pytest.raises(TypeError, match="vjp_z"):

        class Wrong(Op, name="wrong", axes="x -> x", cost="0"):
            def forward(self, x):
                return x

            def vjp_z(self, g):
                return g

    with pytest.raises(TypeError, match="no VJP"):

        class Empty(Op, name="empty", axes="x -> x", cost="0"):
            def forward(self, x):
                return x

    with pytest.raises(TypeError, match="defined twice"):

        class Add(Op, name="add", axes="x -> x", cost="0"):
            def forward(self, x):
                return x

    assert not {"wrong", "empty"} & set(TABLE)
    assert TABLE["add"] is ENGINE["add"]


@pytest.mark.parametrize(("returned", "shape"), [(slice(1), r"\(1,\)"), (0, r"\(\)")])
def test_a_vjp_of_the_wrong_shape_is_reported_by_name(returned, shape, monkeypatch):
    relu = TABLE["relu"]
    monkeypatch.setattr(relu, "vjps", (lambda self, g: g[returned],))
    with pytest.raises(RuntimeError, match=rf"relu: vjp_x returned shape {shape} for an argument of shape \(3,\)"):
        apply(relu, Tensor(np.ones(3), requires_grad=True)).backward(np.ones(3))


def test_what_forward_saved_is_found_in_slots_and_in_the_dict():
    x, y = Tensor(np.ones(2), requires_grad=True), Tensor(np.zeros(2))
    assert (x + y).op.saved() == {}
    assert set((x * y).op.saved()) == {"x", "y"}
    assert (x * y).op.saved()["x"] is x.data
    assert set(x.exp().op.saved()) == {"out"}
    assert TABLE["multiply"]().saved() == {}


@pytest.mark.parametrize("shape", [(), (3,), (1,), (2, 1), (1, 1), (2, 3), (1, 3), (4, 1, 3), (1, 2, 1)])
def test_unbroadcast_is_the_adjoint_of_broadcasting(shape, rng):
    x, g = rng.normal(size=shape), rng.normal(size=(4, 2, 3))
    # <broadcast(x), g> == <x, unbroadcast(g)> is what a transposed linear map must satisfy.
    assert np.isclose((np.broadcast_to(x, g.shape) * g).sum(), (x * unbroadcast(g, shape)).sum())


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_python_kernels_give_the_same_and_never_read_beyond_an_array(name, case):
    """Compiled kernels do not check indices; their Python twins, run on the op's own arguments, do."""
    results = []
    for mode in ("compiled", "python"):
        with kernels.use(mode):
            tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in case.inputs]
            out = apply(TABLE[name], *tensors, **case.settings)
            out.backward(np.linspace(0.5, 1.5, out.size).reshape(out.shape))
            results.append([out.data, *(t.grad for t in tensors if t.requires_grad)])
    for compiled, python in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, python, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_relus_run_in_a_kernel_and_equal_the_small_ones(dtype, rng):
    x = rng.normal(size=(40, 30, 5, 6)).astype(dtype)
    x[0, 0, 0, :2] = np.nan, 0
    assert x.size > SMALL
    for laid_out in (x, batch_innermost(x), x[::-1]):
        t = Tensor(laid_out, requires_grad=True)
        out = apply(TABLE["relu"], t)
        g = rng.normal(size=x.shape).astype(dtype)
        out.backward(g)
        np.testing.assert_array_equal(out.data, np.maximum(laid_out, 0))
        np.testing.assert_array_equal(t.grad, np.where(laid_out <= 0, 0, g))
        assert out.dtype == t.grad.dtype == dtype
