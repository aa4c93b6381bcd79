"""The tape: what is computed, what flows back, and what is refused with which sentence."""

import copy
import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import functional as F
from minigrad import gradcheck, no_grad, tape
from minigrad.ops import TABLE
from minigrad.tape import topological_order
from minigrad.tensor import Tensor, apply, as_tensor

FLOATS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), elements=st.floats(0.5, 2.0))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(x=FLOATS, data=st.data())
def test_arithmetic_is_numpys_and_its_gradients_are_right(x, data):
    shape = data.draw(hnp.broadcastable_shapes(x.shape, max_dims=3, max_side=3))
    y = data.draw(hnp.arrays(np.float64, shape, elements=st.floats(0.5, 2.0)))
    for operation in (
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: -a + b**2 + 3 * a - 1 / b + (2 - a) / 4,
    ):
        np.testing.assert_allclose(operation(Tensor(x), Tensor(y)).data, operation(x, y), rtol=1e-12)
        assert gradcheck(operation, [x, y])


@pytest.mark.parametrize(
    ("x_shape", "y_shape"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((4, 2, 3), (3,)), ((3,), (4, 3, 2)), ((2, 3), (4, 3, 5))],
)
def test_matmul_takes_vectors_as_numpy_does(x_shape, y_shape, rng):
    x, y = rng.normal(size=x_shape), rng.normal(size=y_shape)
    out = Tensor(x) @ y
    assert out.shape == (x @ y).shape
    np.testing.assert_allclose(out.data, x @ y, rtol=1e-12)
    np.testing.assert_allclose((x @ Tensor(y)).data, x @ y, rtol=1e-12)
    assert gradcheck(F.matmul, [x, y])


def test_a_value_used_twice_gets_both_gradients():
    x = Tensor([3.0], requires_grad=True)
    (x * x + x).backward()
    np.testing.assert_array_equal(x.grad, [7.0])


def test_the_gradient_that_is_given_stays_the_callers():
    given = np.array([3.0, 4.0])
    for make in (lambda x: x, lambda x: x + 0.0, lambda x: x.reshape(2)):
        x = Tensor([1.0, 2.0], requires_grad=True)
        make(x).backward(given)
        x.grad *= 2
        np.testing.assert_array_equal(x.grad, [6.0, 8.0])
        np.testing.assert_array_equal(given, [3.0, 4.0])


def test_a_gradient_can_be_written_to():
    """The gradient of a sum is one number broadcast to all places, in memory that cannot be written to."""
    for make in (lambda x: x.sum(), lambda x: x.sum() * 1.0):
        x = Tensor([1.0, 2.0], requires_grad=True)
        make(x).backward()
        x.grad *= [2, 3]
        np.testing.assert_array_equal(x.grad, [2.0, 3.0])


def test_topological_order_matters():
    """a = 1; b = a + a; c = b + b: a walk that visits b once too early gives 2 instead of 4."""
    a = Tensor(1.0, requires_grad=True)
    b = a + a
    c = b + b
    assert [id(t) for t in topological_order(c)] == [id(a), id(b), id(c)]
    c.backward()
    assert a.grad == 4


def test_the_order_is_topological_where_a_late_input_was_pushed_early():
    x = Tensor(2.0, requires_grad=True)
    deep = ((x * 1) * 1) * 1
    (x * deep + deep).backward()
    assert x.grad == 2 * 2 + 1


def test_a_chain_of_10_000_nodes():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward()
    assert y.item() == 10_001
    assert x.grad == 1


def test_a_second_backward_is_refused_before_anything_is_added():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"used by an earlier backward\(\).*retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])


def test_results_that_were_used_before_are_refused_in_any_number():
    """Two of them are equally old: nothing may come to compare them."""
    x = Tensor(np.ones(3), requires_grad=True)
    y, z = x * 2, x * 3
    (y + z).backward(np.ones(3))
    with pytest.raises(RuntimeError, match=r"used by an earlier backward\(\)"):
        (y * z).backward(np.ones(3))
    np.testing.assert_array_equal(x.grad, [5.0, 5.0, 5.0])


def test_a_backward_that_fails_has_changed_no_gradient():
    x, y = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    product = x * y
    y[0] = 5
    result = (product + x).sum()
    with pytest.raises(RuntimeError, match="written in place"):
        result.backward()
    assert x.grad is None


def test_a_second_backward_with_retain_graph_adds_exactly():
    x = Tensor(np.array([0.1, 0.7], np.float32), requires_grad=True)
    y = (x * x * 3).sum()
    y.backward(retain_graph=True)
    once = x.grad.copy()
    y.backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad, once + once)
    y.backward()
    np.testing.assert_array_equal(x.grad, once + once + once)


def test_backward_frees_what_the_ops_saved():
    x = Tensor(np.ones(3), requires_grad=True)
    y = x.exp()
    saved = weakref.ref(y.op.out)
    z = y.sum()
    z.backward()
    del y
    gc.collect()
    assert saved() is None
    assert z.op.released
    y = x.exp()
    tape.backward(y, np.ones(3))
    assert y.op.released


def test_gradients_of_two_leaves_are_different_arrays():
    a, b = Tensor(np.ones(2), requires_grad=True), Tensor(np.ones(2), requires_grad=True)
    seed = np.ones(2)
    (a + b).backward(seed)
    a.grad += 5
    np.testing.assert_array_equal(b.grad, [1, 1])
    np.testing.assert_array_equal(seed, [1, 1])


def test_a_gradient_is_memory_of_its_own_even_if_the_op_gave_a_view():
    a, b = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((3, 2)), requires_grad=True)
    (a.reshape(6) + b.reshape(6)).backward(np.ones(6))
    a.grad += 5
    np.testing.assert_array_equal(b.grad, np.ones((3, 2)))
    c = Tensor(np.ones(3), requires_grad=True)
    c.sum().backward()  # a read-only view of one number
    c.grad *= 2
    np.testing.assert_array_equal(c.grad, [2, 2, 2])


def test_only_what_requires_a_gradient_gets_one():
    a, b = Tensor(np.ones(2), requires_grad=True), Tensor(np.ones(2))
    y = (a * b).sum()
    y.backward()
    assert b.grad is None
    assert y.grad is None
    assert not (b * 2).requires_grad
    assert not (a.detach() * 2).requires_grad


def test_no_grad_as_block_and_as_decorator():
    a = Tensor(np.ones(2), requires_grad=True)

    @no_grad()
    def double(x):
        return x * 2

    with no_grad():
        assert (a * 2).op is None
    assert not double(a).requires_grad
    assert (a * 2).requires_grad
    with pytest.raises(RuntimeError, match="under no_grad"):
        double(a).sum().backward()


def test_float32_is_kept_beside_python_numbers_and_arrays_follow_numpy():
    x = Tensor(np.ones(2, np.float32))
    for y in (x * 2, 2 * x, x + 0.5, 1 / x, x - 1, x**2, x / 3, -x, x.mean(), x.sum(), x.exp(), x @ x):
        assert y.dtype == np.float32
    assert (x * np.ones(2)).dtype == np.float64
    assert (np.ones(2) * x).dtype == np.float64
    assert isinstance(np.ones(2) * x, Tensor)


def test_a_gradient_has_its_variables_dtype():
    x, y = Tensor(np.ones(2, np.float32), requires_grad=True), Tensor(np.ones(2), requires_grad=True)
    (x * y).sum().backward()
    assert x.grad.dtype == np.float32
    assert y.grad.dtype == np.float64


def test_backward_needs_a_gradient_of_the_right_shape():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ValueError, match=r"a tensor of shape \(2, 3\) needs the argument `gradient`"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), the tensor has \(2, 3\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        Tensor(1.0).backward()
    (x * 2).backward(Tensor(np.full((2, 3), 5.0)))
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 10.0))


@pytest.mark.parametrize("data", [[1, 2], np.arange(3), [True], 1 + 2j])
def test_only_floats_take_gradients(data):
    with pytest.raises(TypeError, match="only floating-point values can require a gradient, and data is"):
        Tensor(data, requires_grad=True)


def test_data_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="expected numbers, got object of object"):
        Tensor(object())


def test_a_single_float32_stays_float32_where_numpy_would_promote_it(monkeypatch):
    """As NumPy 1 does when a float32 of shape () meets a Python number."""
    monkeypatch.setattr("minigrad.tensor.NUMPY_1", True)
    monkeypatch.setattr(TABLE["exp"], "forward", lambda self, x: np.exp(x, dtype=np.float64))
    assert F.exp(Tensor(np.float32(1))).dtype == np.float32
    assert F.exp(Tensor(np.float64(1))).dtype == np.float64
    assert F.exp(Tensor(np.int64(1))).dtype == np.float64
    assert F.sum([1, 2]).dtype.kind == "i"


def test_shapes_that_do_not_fit_are_named():
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"add: .*\(x: \(2, 3\), y: \(4,\)\)"):
        x + np.ones(4)
    with pytest.raises(ValueError, match=r"reshape: .*\(x: \(2, 3\)\)"):
        x.reshape(4)
    with pytest.raises(ValueError, match=r"sum: .*\(x: \(2, 3\)\)"):
        x.sum(axis=5)
    for order in ((0, 0), (0, -2), (0,), (0, 2), (-3, 1)):
        with pytest.raises(ValueError, match=r"transpose: \(.*\) does not name each axis once \(x: \(2, 3\)\)"):
            x.transpose(order)
    with pytest.raises(ValueError, match=r"last axis of x \(3\) .* with \(2\) differ \(x: \(2, 3\), y: \(2, 2\)\)"):
        x @ np.ones((2, 2))
    with pytest.raises(ValueError, match="need at least one axis"):
        x @ 2.0
    with pytest.raises(ValueError, match="no elements to average"):
        Tensor(np.ones((0, 3))).mean()
    with pytest.raises(TypeError, match="the exponent must be a number, got Tensor"):
        x**x


def test_in_place_writes_are_refused_where_a_gradient_flows():
    w = Tensor(np.ones(3), requires_grad=True)
    hidden = w * 2
    for tensor in (w, hidden):
        with pytest.raises(RuntimeError, match=r"tensor\[...\] = value: .* write to tensor.data"):
            tensor[0] = 5
        for name in ("__iadd__", "__isub__", "__imul__", "__itruediv__"):
            with pytest.raises(RuntimeError, match="compute a new tensor instead"):
                getattr(tensor, name)(1)
    np.testing.assert_array_equal(w.data, [1, 1, 1])


def test_in_place_writes_work_where_none_flows():
    t = Tensor(np.ones(3, np.float32))
    before = t
    t += 1
    t *= Tensor(np.full(3, 3.0))
    t -= 2
    t /= 4
    t[0] = 9
    assert t is before
    assert t.dtype == np.float32
    np.testing.assert_array_equal(t.data, [9, 1, 1])
    with pytest.raises(RuntimeError, match="compute a new tensor"):
        t += Tensor(np.ones(3), requires_grad=True)


def test_numpy_is_told_to_ask_for_the_data():
    w = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match=r"use tensor\.data"):
        np.array(w)
    np.testing.assert_array_equal(np.array(w.detach()), [1, 1, 1])
    assert w.numpy() is w.data


def test_item_and_float_take_one_element():
    assert Tensor([[2.5]]).item() == 2.5
    assert float(Tensor(2.5)) == 2.5
    for convert in (Tensor.item, float):
        for size in (0, 2):
            with pytest.raises(ValueError, match=rf"shape \({size},\) has {size} elements, expected 1"):
                convert(Tensor(np.ones(size)))


def test_repr_shows_values_dtype_and_origin():
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert repr(Tensor(np.float32([1]), requires_grad=True)) == "Tensor([1.], dtype=float32, requires_grad=True)"
    assert repr(Tensor([1.0], requires_grad=True) * 2) == "Tensor([2.], op=multiply)"
    assert len(Tensor([1.0, 2.0])) == 2


def test_deepcopy_copies_leaves_and_refuses_results():
    w = Tensor(np.ones(2), requires_grad=True)
    (w * 3).sum().backward()
    twin = copy.deepcopy(w)
    twin.data += 1
    twin.grad += 1
    np.testing.assert_array_equal(w.data, [1, 1])
    np.testing.assert_array_equal(w.grad, [3, 3])
    shared = [w, w]
    copied = copy.deepcopy(shared)
    assert copied[0] is copied[1]
    with pytest.raises(RuntimeError, match=r"copy tensor\.detach"):
        copy.deepcopy(w * 2)


def test_transpose_reshape_and_T_match_numpy(rng):
    x = rng.normal(size=(2, 3, 4))
    np.testing.assert_array_equal(Tensor(x).T.data, x.T)
    np.testing.assert_array_equal(Tensor(x).transpose(1, 2, 0).data, x.transpose(1, 2, 0))
    np.testing.assert_array_equal(Tensor(x).transpose((-1, 0, 1)).data, x.transpose(2, 0, 1))
    np.testing.assert_array_equal(Tensor(x).reshape(6, -1).data, x.reshape(6, 4))
    np.testing.assert_array_equal(Tensor(x).reshape((24,)).data, x.reshape(24))
    assert gradcheck(lambda t: t.transpose(-1, 0, 1), [x])


def test_as_tensor_wraps_and_keeps():
    t = Tensor(1.0)
    assert as_tensor(t) is t
    assert as_tensor([1, 2]).shape == (2,)
    assert apply.__doc__


def test_division_rounds_once():
    numbers = np.arange(1.0, 101.0)
    quotient = Tensor(numbers[:, None]) / numbers
    np.testing.assert_array_equal(quotient.data, numbers[:, None] / numbers)
    np.testing.assert_array_equal((1 / Tensor(numbers)).data, 1 / numbers)
    np.testing.assert_array_equal((Tensor([1e-310]) / 1e-310).data, [1.0])
    assert Tensor(np.arange(1.0, 50.0)).mean().item() == 25.0


def test_power_at_zero():
    x = Tensor([0.0, 2.0], requires_grad=True)
    (x**0 + x**1 + x**2).sum().backward()
    np.testing.assert_array_equal(x.grad, [1.0, 5.0])
    np.testing.assert_array_equal((x ** np.int64(2)).data, [0, 4])
    assert (Tensor(np.float32([4])) ** np.float32(0.5)).dtype == np.float32


def test_writing_over_what_backward_needs_is_noticed():
    w, x = Tensor(np.ones(3), requires_grad=True), Tensor(np.ones(3))
    y = (x * w).sum()
    x += 5
    with pytest.raises(RuntimeError, match=r"multiply used a tensor of shape .* written in place afterwards"):
        y.backward()
    z = (x * w).sum()
    z.backward()
    np.testing.assert_array_equal(w.grad, [6, 6, 6])


def test_reusing_the_array_of_targets_does_no_harm():
    logits, targets = Tensor(np.zeros((2, 3)), requires_grad=True), np.array([0, 1])
    loss = F.cross_entropy(logits, targets, reduction="sum")
    targets[:] = 2
    loss.backward()
    np.testing.assert_allclose(logits.grad, np.full((2, 3), 1 / 3) - np.eye(3)[:2])


def test_a_second_backward_through_cross_entropy_adds_exactly():
    logits = Tensor(np.array([[1.0, 2.0, 0.5]]), requires_grad=True)
    loss = F.cross_entropy(logits, np.array([1]))
    loss.backward(retain_graph=True)
    once = logits.grad.copy()
    loss.backward()
    np.testing.assert_array_equal(logits.grad, 2 * once)


def test_a_tensor_behaves_as_a_number_or_an_array_would():
    one = Tensor([2.5], requires_grad=True)
    assert f"{one:.2f}" == "2.50"
    assert f"{Tensor([1.0, 2.0])}" == "Tensor([1., 2.])"
    assert bool(one)
    assert not bool(Tensor(0.0))
    with pytest.raises(ValueError, match=r"shape \(2,\) is not one truth value"):
        bool(Tensor([1.0, 2.0]))
    x = Tensor([1.0, 2.0, 3.0])
    assert (x < 2).tolist() == [True, False, False]
    assert (x >= Tensor([1, 3, 3])).tolist() == [True, False, True]
    assert (x == np.array([1, 0, 3])).tolist() == [True, False, True]
    assert (x != 1).tolist() == [False, True, True]
    assert (x < 2).tolist() == [True, False, False]
    assert (x <= 1).tolist() == [True, False, False]
    assert len({x, one, x}) == 2


def test_indexing_is_numpys(rng):
    x = rng.normal(size=(4, 5))
    index = np.array([0, 2, 2])
    for key in (1, -1, slice(1, 3), (slice(None), index), (..., None), x > 0):
        np.testing.assert_array_equal(Tensor(x)[key].data, x[key])
    np.testing.assert_array_equal(Tensor(x)[Tensor(index)].data, x[index])
    with pytest.raises(IndexError, match=r"getitem: .*\(x: \(4, 5\)\)"):
        Tensor(x)[4]


def test_extremes_and_variance_are_numpys(rng):
    x = rng.normal(size=(3, 4))
    for axis in (None, 0, (0, 1)):
        np.testing.assert_array_equal(Tensor(x).max(axis).data, x.max(axis=axis))
        np.testing.assert_array_equal(Tensor(x).min(axis).data, x.min(axis=axis))
        np.testing.assert_allclose(Tensor(x).var(axis, correction=1).data, x.var(axis=axis, ddof=1))
    assert gradcheck(lambda t: t.var(axis=1), [x])
    for extreme in (Tensor.max, Tensor.min):
        assert extreme(Tensor(np.ones((0, 3))), axis=1).shape == (0,)
        with pytest.raises(
            ValueError, match=rf"{extreme.__name__}: shape \(0, 3\) has no elements to choose from over axis 0"
        ):
            extreme(Tensor(np.ones((0, 3))), axis=0)
    tied = Tensor([1.0, 3.0, 3.0], requires_grad=True)
    tied.max().backward()
    np.testing.assert_array_equal(tied.grad, [0, 0.5, 0.5])
