"""Gradients of the sparse ops, against finite differences and against their dense counterparts."""

import numpy as np
import pytest

from minigrad import Tensor, gradcheck, kernels
from minigrad import functional as F
from minigrad.compression.sparse import encode
from minigrad.compression.sparse.ops import SparseConv2dOp, SparseLinearOp
from minigrad.ops.cost import flops
from minigrad.tensor import apply
from tests.compression.sparse.sparse_cases import sparse_array

GEOMETRIES = [
    {},
    {"stride": (2, 1), "padding": (1, 2)},
    {"dilation": (1, 2), "stride": (1, 2)},
    {"groups": 2, "padding": (1, 0)},
    {"groups": 4, "dilation": (2, 1), "stride": (2, 2)},
]


def linear_case(rng, format):
    w = sparse_array(rng, (7, 5), 0.5)
    matrix = encode(w, format).to_runtime()
    return w, matrix, [rng.normal(size=(3, 5)), matrix.data.reshape(-1).copy(), rng.normal(size=7)]


def conv_case(rng, format, groups=1):
    w = sparse_array(rng, (8, 4 // groups, 3, 2), 0.5)
    matrix = encode(w.reshape(8, -1), format).to_runtime()
    return w, matrix, [rng.normal(size=(3, 4, 6, 5)), matrix.data.reshape(-1).copy(), rng.normal(size=8)]


@pytest.mark.parametrize("format", ["csr", "csr16", "csr8", "bitmask"])
def test_gradients_of_the_linear_op_match_finite_differences(format, rng):
    _, matrix, inputs = linear_case(rng, format)
    assert gradcheck(lambda *tensors: apply(SparseLinearOp, *tensors, matrix=matrix), inputs)
    assert gradcheck(lambda *tensors: apply(SparseLinearOp, *tensors, matrix=matrix), inputs[:2])


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_gradients_of_the_convolution_match_finite_differences(geometry, rng):
    _, matrix, inputs = conv_case(rng, "csr", geometry.get("groups", 1))
    settings = {"matrix": matrix, "kernel_size": (3, 2), **geometry}
    assert gradcheck(lambda *tensors: apply(SparseConv2dOp, *tensors, **settings), inputs)
    assert gradcheck(lambda *tensors: apply(SparseConv2dOp, *tensors, **settings), inputs[:2])


def run(function, inputs, *spread):
    """Return the result and the gradients of all inputs; the result's gradient is spread."""
    tensors = [Tensor(x, requires_grad=True) for x in inputs]
    out = function(*tensors)
    out.backward(np.linspace(0.5, 1.5, out.size).reshape(out.shape))
    return [out.data, *(t.grad for t in tensors)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("format", ["csr", "csr16", "csr8", "bitmask", "block"])
def test_the_linear_op_is_the_dense_one_on_the_pattern(format, dtype, rng):
    w, matrix, inputs = linear_case(rng, format)
    x, values, b = (array.astype(dtype) for array in inputs)
    ours = run(lambda *t: apply(SparseLinearOp, *t, matrix=matrix), [x, values, b])
    dense = run(F.linear, [x, w.astype(dtype), b])
    assert_same(ours, dense, matrix, w, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("format", ["csr", "bitmask", "block"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_the_convolution_is_the_dense_one_on_the_pattern(geometry, format, dtype, rng):
    w, matrix, inputs = conv_case(rng, format, geometry.get("groups", 1))
    x, values, b = (array.astype(dtype) for array in inputs)
    settings = {"matrix": matrix, "kernel_size": (3, 2), **geometry}
    ours = run(lambda *t: apply(SparseConv2dOp, *t, **settings), [x, values, b])
    assert_same(ours, run(lambda *t: F.conv2d(*t, **geometry), [x, w.astype(dtype), b]), matrix, w, dtype)


def assert_same(ours, dense, matrix, w, dtype):
    """The same result and gradients; that of the weight only where w is not zero, and exactly zero elsewhere."""
    assert {array.dtype for array in ours} == {np.dtype(dtype)}
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    ours[2] = matrix.with_data(ours[2]).to_dense() if matrix.in_order else block_gradient(matrix, ours[2])
    dense[2] = (dense[2] * (w != 0)).reshape(len(w), -1)
    for one, other in zip(ours, dense, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def block_gradient(matrix, gradient):
    """Gradients of a block's zeros are zero: they were pruned, and stay so."""
    trained = np.zeros(gradient.size, bool)
    trained[matrix.entries.order] = True
    assert np.count_nonzero(gradient[~trained]) == 0
    assert (~trained).any()
    return matrix.with_data(gradient).to_csr().to_dense()


@pytest.mark.parametrize("format", ["csr", "bitmask", "block"])
def test_memory_order_does_not_matter_and_inputs_are_left_alone(format, rng):
    _, matrix, inputs = conv_case(rng, format)
    before = [x.copy() for x in inputs]
    settings = {"matrix": matrix, "kernel_size": (3, 2), "padding": (1, 1)}
    usual = run(lambda *t: apply(SparseConv2dOp, *t, **settings), inputs)
    innermost = np.moveaxis(np.ascontiguousarray(np.moveaxis(inputs[0], 0, -1)), -1, 0)
    backwards = inputs[1][::-1].copy()[::-1]
    other = run(lambda *t: apply(SparseConv2dOp, *t, **settings), [innermost, backwards, inputs[2]])
    for one, two in zip(usual, other, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)
    for x, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, copy)


def test_python_kernels_give_the_same(rng):
    results = []
    _, matrix, inputs = conv_case(rng, "csr", 2)
    _, other, others = linear_case(rng, "block")
    settings = {"matrix": matrix, "kernel_size": (3, 2), "groups": 2}
    for mode in ("compiled", "python"):
        with kernels.use(mode):
            results.append(run(lambda *t: apply(SparseConv2dOp, *t, **settings), inputs))
            results[-1] += run(lambda *t: apply(SparseLinearOp, *t, matrix=other), others)
    for compiled, python in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, python, rtol=1e-12, atol=1e-12)


def test_only_entries_cost_anything(rng):
    w, matrix, inputs = linear_case(rng, "csr")
    out = SparseLinearOp().forward(*inputs, matrix=matrix)
    assert flops(SparseLinearOp, inputs, out, {"matrix": matrix}) == 2 * 3 * np.count_nonzero(w)
    w, matrix, inputs = conv_case(rng, "csr")
    settings = {"matrix": matrix, "kernel_size": (3, 2)}
    out = SparseConv2dOp().forward(*inputs, **settings)
    assert flops(SparseConv2dOp, inputs, out, settings) == 2 * 3 * np.count_nonzero(w) * 4 * 4
    assert SparseLinearOp.products
    assert SparseConv2dOp.products
