"""Every kernel's Python twin equals the compiled one, on random shapes. A kernel without a row here fails the suite."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.kernels.matmul import FEW, MANY

SIZES = st.integers(1, 4)
# Shorter than a vector, one vector, one and a bit, a whole tile (32 float64), a tile and more.
IMAGES = st.sampled_from([1, 2, 3, 8, 11, 16, 32, 45])


def conv_shapes(draw, out_size=None, images=None):
    """Draw the arrays of a convolution: x, w, b, g and the geometry."""
    groups, images = draw(st.integers(1, 2)), images or draw(IMAGES)
    channels, group_filters = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 4, 5, 7, 8]))
    kernel_h, kernel_w = draw(SIZES), draw(SIZES)
    out_h, out_w = out_size or (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride, dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3))), (draw(st.integers(1, 2)), draw(SIZES))
    spare = draw(st.integers(0, 1))  # rows and columns at the edge that no window reaches
    height = (out_h - 1) * stride[0] + dilation[0] * (kernel_h - 1) + 1 + min(spare, stride[0] - 1)
    width = (out_w - 1) * stride[1] + dilation[1] * (kernel_w - 1) + 1 + min(spare, stride[1] - 1)
    x = numbers(draw, groups * channels, height, width, images)
    w = numbers(draw, groups * group_filters, channels, kernel_h, kernel_w)
    g = numbers(draw, groups * group_filters, out_h, out_w, images)
    return x, w, numbers(draw, len(w)), g, (*stride, *dilation, groups)


def numbers(draw, *shape):
    return np.random.default_rng(draw(st.integers(0, 1_000))).normal(size=shape)


def conv2d_forward(draw):
    x, w, b, g, geometry = conv_shapes(draw)
    return [x, w, b, *geometry, np.full(g.shape, np.nan)]


def conv2d_grad_input(draw):
    x, w, _, g, geometry = conv_shapes(draw)
    pad_h, pad_w = (draw(st.integers(0, (size - 1) // 2)) for size in x.shape[1:3])
    inside = (len(x), x.shape[1] - 2 * pad_h, x.shape[2] - 2 * pad_w, x.shape[3])
    return [g, w, *geometry, pad_h, pad_w, np.full(inside, np.nan)]


def conv2d_grad_weight(draw):
    x, w, _, g, geometry = conv_shapes(draw)
    return [x, g, *geometry, np.full(w.shape, np.nan)]


def conv2d_relu_max_pool2d(draw):
    window, step = draw(st.sampled_from([(2, 2), (1, 4), (4, 1)])), (draw(SIZES), draw(SIZES))
    size = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    outs = [(n - 1) * s + k for n, s, k in zip(size, step, window, strict=True)]
    x, w, b, _, geometry = conv_shapes(draw, outs, draw(st.sampled_from([8, 11, 16, 45])))
    return [x, w, b, *geometry, *window, *step, np.full((len(w), *size, x.shape[3]), np.nan)]


def pool_shapes(draw):
    kernel, stride = (draw(SIZES), draw(SIZES)), (draw(SIZES), draw(SIZES))
    c, out_h, out_w, images = draw(SIZES), draw(SIZES), draw(SIZES), draw(SIZES)
    x = numbers(draw, c, (out_h - 1) * stride[0] + kernel[0], (out_w - 1) * stride[1] + kernel[1], images)
    return x.round(1), (c, out_h, out_w, images), (*kernel, *stride)


def max_pool2d_forward(draw):
    x, shape, window = pool_shapes(draw)
    return [x, *window, draw(st.booleans()), np.full(shape, np.nan), np.full(shape, 77, np.uint8)]


def max_pool2d_grad(draw):
    x, shape, window = pool_shapes(draw)
    index = np.random.default_rng(draw(st.integers(0, 99))).integers(0, window[0] * window[1], shape, np.uint8)
    return [numbers(draw, *shape), index, *window, np.full(x.shape, np.nan)]


ROWS = st.one_of(st.integers(1, 9), st.sampled_from([FEW, FEW + 1, MANY + 2]))
"""They are cut into one block, two or four."""


def matmul_rows(draw):
    m, k, p = draw(ROWS), draw(SIZES), draw(SIZES)
    b = numbers(draw, k, p) if draw(st.booleans()) else numbers(draw, p, k).T
    return [numbers(draw, m, k), b, np.full((m, p), np.nan)]


def linear_forward(draw):
    w, x, out = matmul_rows(draw)
    return [w, x, numbers(draw, len(w)), draw(st.booleans()), out]


def matmul_transposed(draw):
    (_, b, out), k = matmul_rows(draw), draw(SIZES)
    b = numbers(draw, k, out.shape[1]) if b.flags.c_contiguous else numbers(draw, out.shape[1], k).T
    return [numbers(draw, k, len(out)), b, out]


def sum_rows(draw):
    m = draw(SIZES)
    return [numbers(draw, m, draw(st.integers(0, 9))), np.full(m, np.nan)]


def relu_forward(draw):
    x = numbers(draw, draw(st.integers(0, 20)))
    x[::5] = 0
    x[1::7] = np.nan
    return [x, np.full(x.shape, -1.0)]


def relu_grad(draw):
    size = draw(st.integers(0, 20))
    return [numbers(draw, size), np.maximum(numbers(draw, size), 0), np.full(size, np.nan)]


def momentum_step(draw):
    size = draw(st.integers(0, 20))
    p, g, velocity = (numbers(draw, size) for _ in range(3))
    return [p, g, velocity, np.float64(0.1), np.float64(0.9), draw(st.booleans())]


def gather_batch(draw):
    images = numbers(draw, draw(st.integers(1, 6)), draw(SIZES))
    order = np.random.default_rng(draw(st.integers(0, 99))).integers(0, len(images), draw(SIZES))
    return [images, order, np.full((images.shape[1], len(order)), np.nan)]


def lay_out_batch(draw):
    images, places = draw(IMAGES), draw(st.sampled_from([1, 5, 64, 70]))
    return [numbers(draw, images, places), np.full((places, images), np.nan)]


ARGUMENTS = {
    f.__name__: f
    for f in (
        lay_out_batch,
        momentum_step,
        conv2d_forward,
        conv2d_grad_input,
        conv2d_grad_weight,
        gather_batch,
        linear_forward,
        matmul_rows,
        matmul_transposed,
        conv2d_relu_max_pool2d,
        max_pool2d_forward,
        max_pool2d_grad,
        relu_forward,
        relu_grad,
        sum_rows,
    )
}


def test_every_kernel_has_a_row():
    """Packages on top of the engine have kernels too, and compare their twins in their own tests."""
    own = {name for name, kernel in kernels.TABLE.items() if kernel.python.__module__.startswith("minigrad.kernels.")}
    assert set(ARGUMENTS) == own


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_twins_agree(name, data):
    arguments = ARGUMENTS[name](data.draw)
    kernel = kernels.TABLE[name]
    results = []
    for run in (kernel.compiled, kernel.python):
        copies = [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in arguments]
        run(*copies)
        results.append(copies)
    for compiled, python in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, python, rtol=1e-12, atol=1e-12)
