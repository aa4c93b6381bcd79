"""Sparse kernels: twins agree, and both agree with SciPy and NumPy."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.compression.sparse import CSRMatrix, encode
from minigrad.compression.sparse.kernels import one_column, products
from minigrad.compression.sparse.kernels.runs import share
from minigrad.ops.conv import output_size
from tests.compression.sparse.sparse_cases import sparse_array

COLUMNS = st.sampled_from([1, 2, 3, 8, 11, 16, 32, 45])  # less than a vector, one, one and a bit, four of them, more


def matrix(draw, rows=None, columns=None):
    """Draw a random matrix as an array; some are empty, some full."""
    rng = np.random.default_rng(draw(st.integers(0, 1_000)))
    shape = rows or draw(st.integers(1, 9)), columns or draw(st.integers(1, 12))
    return sparse_array(rng, shape, draw(st.sampled_from([0.0, 0.5, 0.8, 1.0]))), rng


def csr_matmul(draw):
    w, rng = matrix(draw)
    a, p = CSRMatrix.from_dense(w), draw(COLUMNS)
    x, b = rng.normal(size=(w.shape[1], p)), rng.normal(size=len(w))
    return [a.indptr, a.indices, a.data, x, b, np.full((len(w), p), np.nan)], w @ x + b[:, None]


def csr_matvec(draw):
    w, rng = matrix(draw, *draw(st.sampled_from([(), (), (300, 211)])))  # the large one on several threads
    a = CSRMatrix.from_dense(w, index_dtype=draw(st.sampled_from([np.int16, np.int32])))
    x, b = rng.normal(size=w.shape[1]), rng.normal(size=len(w))
    return [a.indptr, a.indices, a.data, x, b, np.full(len(w), np.nan)], w @ x + b


def csr_matmul_transposed(draw):
    w, rng = matrix(draw)
    a, p = CSRMatrix.from_dense(w), draw(COLUMNS)
    x = rng.normal(size=(len(w), p))
    return [*a.transposed_entries, a.data, x, np.full((w.shape[1], p), np.nan)], w.T @ x


def csr_sampled(draw):
    w, rng = matrix(draw)
    a, p = CSRMatrix.from_dense(w), draw(COLUMNS)
    g, x = rng.normal(size=(len(w), p)), rng.normal(size=(w.shape[1], p))
    order = rng.permutation(a.data.size)
    expected = np.full(order.size, np.nan)
    expected[order] = (g @ x.T)[w != 0]
    return [a.indptr, a.indices, order, g, x, np.full(order.size, np.nan)], expected


def csr_matmul_int8(draw):
    w, rng = matrix(draw)
    w = (100 * w).clip(-128, 127).astype(np.int8)
    a = CSRMatrix.from_dense(w)
    x = rng.integers(-128, 128, (w.shape[1], draw(COLUMNS)), np.int8)
    return [a.indptr, a.indices, a.data, x, np.full((len(w), x.shape[1]), 77, np.int32)], w.astype(int) @ x.astype(int)


def bitmask_matmul(draw):
    w, rng = matrix(draw)
    a, p = encode(w, "bitmask"), draw(COLUMNS)
    x, b = rng.normal(size=(w.shape[1], p)), rng.normal(size=len(w))
    return [a.mask, a.indptr, a.data, x, b, np.full((len(w), p), np.nan)], w @ x + b[:, None]


def block_matmul(draw):
    w, rng = matrix(draw, rows=draw(st.sampled_from([4, 8, 12])))
    a, p = encode(w, "block"), draw(COLUMNS)
    x, b = rng.normal(size=(w.shape[1], p)), rng.normal(size=len(w))
    return [a.indptr, a.indices, a.data, x, b, np.full((len(w), p), np.nan)], w @ x + b[:, None]


def convolution(draw):
    """Draw filters (one group's taps a row), images with the batch innermost, gradients and the geometry."""
    groups, images = draw(st.integers(1, 2)), draw(COLUMNS)
    channels, group_filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel, stride = (
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
    )
    dilation, out = (
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
    )
    spare = draw(st.integers(0, 1))  # a row and a column that no window reaches
    size = [(o - 1) * s + d * (k - 1) + 1 + spare for o, s, d, k in zip(out, stride, dilation, kernel, strict=True)]
    out = output_size(size, kernel, stride, dilation)
    w, rng = matrix(draw, groups * group_filters, channels * kernel[0] * kernel[1])
    x, g = rng.normal(size=(groups * channels, *size, images)), rng.normal(size=(len(w), *out, images))
    return CSRMatrix.from_dense(w), x, g, rng.normal(size=len(w)), (*kernel, *stride, *dilation, groups)


def windows(x, g, geometry):
    """Yield each filter, the place of each of its results and the (channel, i, j) window of x it sees."""
    kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups = geometry
    filters, out_h, out_w = g.shape[:3]
    channels = len(x) // groups
    for f in range(filters):
        group = slice(f // (filters // groups) * channels, (f // (filters // groups) + 1) * channels)
        for oh in range(out_h):
            for ow in range(out_w):
                rows = slice(oh * stride_h, oh * stride_h + dilation_h * (kernel_h - 1) + 1, dilation_h)
                columns = slice(ow * stride_w, ow * stride_w + dilation_w * (kernel_w - 1) + 1, dilation_w)
                yield f, oh, ow, (group, rows, columns)


def csr_conv2d(draw):
    a, x, g, b, geometry = convolution(draw)
    expected, w = np.empty(g.shape), a.to_dense()
    for f, oh, ow, window in windows(x, g, geometry):
        expected[f, oh, ow] = b[f] + w[f] @ x[window].reshape(w.shape[1], -1)
    return [a.indptr, a.indices, a.data, x, b, geometry, np.full(g.shape, np.nan)], expected


def csr_conv2d_relu_max_pool2d(draw):
    (indptr, indices, data, x, b, geometry, whole), conv = csr_conv2d(draw)
    pool_h, pool_w = (draw(st.integers(1, size)) for size in whole.shape[1:3])
    step_h, step_w = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    pooled = np.lib.stride_tricks.sliding_window_view(np.maximum(conv, 0), (pool_h, pool_w), (1, 2)).max((-2, -1))
    pooled = pooled[:, ::step_h, ::step_w]
    window = (pool_h, pool_w, step_h, step_w)
    return [indptr, indices, data, x, b, geometry, window, np.full(pooled.shape, np.nan)], pooled


def csr_conv2d_grad_values(draw):
    a, x, g, _, geometry = convolution(draw)
    grad = np.zeros(a.shape)
    for f, oh, ow, window in windows(x, g, geometry):
        grad[f] += x[window].reshape(a.shape[1], -1) @ g[f, oh, ow]
    order = np.arange(a.data.size)[::-1].copy()
    expected = grad[a.to_dense() != 0][::-1]
    return [a.indptr, a.indices, order, x, g, geometry, np.full(order.size, np.nan)], expected


def csr_conv2d_grad_input(draw):
    a, x, g, _, geometry = convolution(draw)
    expected, w = np.zeros(x.shape), a.to_dense()
    for f, oh, ow, window in windows(x, g, geometry):
        expected[window] += np.multiply.outer(w[f], g[f, oh, ow]).reshape(expected[window].shape)
    return [*a.transposed_entries, a.data, g, geometry, np.full(x.shape, np.nan)], expected


ARGUMENTS = {
    f.__name__: f
    for f in (
        bitmask_matmul,
        block_matmul,
        csr_conv2d,
        csr_conv2d_grad_input,
        csr_conv2d_grad_values,
        csr_conv2d_relu_max_pool2d,
        csr_matmul,
        csr_matmul_int8,
        csr_matmul_transposed,
        csr_matvec,
        csr_sampled,
    )
}


def test_every_sparse_kernel_has_a_row():
    package = "minigrad.compression.sparse"
    own = {name for name, kernel in kernels.TABLE.items() if kernel.python.__module__.startswith(package)}
    assert set(ARGUMENTS) == own


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_twins_agree_with_each_other_and_with_numpy(name, data):
    arguments, expected = ARGUMENTS[name](data.draw)
    results = []
    for run in (kernels.TABLE[name].compiled, kernels.TABLE[name].python):
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        run(*copies)
        results.append(copies)
    for compiled, python in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, python, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(results[0][-1], expected, rtol=1e-11, atol=1e-11)
    for before, after in zip(arguments[:-1], results[0], strict=False):
        np.testing.assert_array_equal(before, after)  # inputs are left alone


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_csr_times_dense_equals_scipy_in_float32(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1_000)))
    rows, columns = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 300))
    p = data.draw(st.just(1) | st.integers(1, 150))
    w = sparse_array(rng, (rows, columns), data.draw(st.sampled_from([0.1, 0.75, 0.99])), np.float32)
    x = rng.normal(size=(columns, p)).astype(np.float32)
    out = CSRMatrix.from_dense(w) @ x
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, scipy.sparse.csr_array(w) @ x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [64, 400])  # below and above what one thread does alone
@pytest.mark.parametrize("offset", [0, 4, 16, 60])
def test_results_do_not_depend_on_where_x_lies(offset, rows, rng):
    """Where x begins inside a cache line, dense enough products copy it first."""
    w = sparse_array(rng, (rows, 48), 0.2, np.float32)
    assert (np.count_nonzero(w) * 64 > products.SERIAL) == (rows == 400)
    buffer = np.empty(48 * 64 * 4 + 128, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    x = buffer[start : start + 48 * 64 * 4].view(np.float32).reshape(48, 64)
    x[...] = rng.normal(size=x.shape)
    np.testing.assert_allclose(CSRMatrix.from_dense(w) @ x, w @ x, rtol=1e-4, atol=1e-4)


def test_nan_and_infinity_come_through():
    a, x = CSRMatrix.from_dense(np.array([[np.nan, 0.0], [0.0, 2.0]])), np.array([[1.0, np.inf], [np.inf, np.nan]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(a @ x, [[np.nan, np.nan], [np.inf, np.nan]])
        np.testing.assert_array_equal(a @ x[:, :1], [[np.nan], [np.inf]])


@pytest.mark.parametrize("rows", [1, 3, 5, 300])
@pytest.mark.parametrize("tasks", [1, 4, 9])
def test_shares_cover_each_row_once(rows, tasks, rng):
    counts = rng.integers(0, 5, rows) * (rng.random(rows) < 0.5)  # many rows are empty, first and last among them
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    bounds = [int(share(indptr, task, tasks)) for task in range(tasks + 1)]
    assert bounds[0] == 0
    assert bounds[-1] == rows
    assert bounds == sorted(bounds)


@pytest.mark.skipif(kernels.threads.MOST_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize("columns", [1, 70])
@pytest.mark.parametrize("format", ["csr", "bitmask", "block"])
def test_sparse_products_have_the_same_bits_on_any_number_of_threads(format, columns, rng):
    w, x = sparse_array(rng, (230, 190), 0.5, np.float32), rng.normal(size=(190, columns)).astype(np.float32)
    a, g, results = encode(w, format), rng.normal(size=(230, columns)).astype(np.float32), []
    assert a.count > one_column.SERIAL
    before = kernels.get_num_threads()
    for count in (1, 2):
        kernels.set_num_threads(count)
        try:
            results.append([a @ x, a.transposed_product(a.data.reshape(-1), g), a.sampled(g, x)])
        finally:
            kernels.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
