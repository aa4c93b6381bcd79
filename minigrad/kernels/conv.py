"""Convolution kernels (cross-correlation, as in every deep-learning library).

Arrays here have the batch innermost: an image tensor of shape (N, C, H, W) arrives as an array (C, H, W, N). Whatever the
kernel size, the inner loops then run over contiguous images, which is what vector units want. With stride 1 a whole
row of columns and images is one contiguous *run*; with a larger stride each column is a run of its own.

A *tap* is one position of a filter: a channel, a kernel row and a kernel column. Results are computed in tiles of six
filters (see `tiles.py`). The gradient of the input is the same sum with the two sides exchanged, in tiles of six channels.

Padding was added before and is cut off after, at the edge of the op: these loops never ask where the border is.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel
from minigrad.kernels.tiles import TILE, sum_run
from minigrad.kernels.vector import fma, lane_sum, lanes, larger, load, splat, store

BLOCK = 64
"""Images that the fused kernel takes at once: a tile's width in float32 with AVX-512."""


@helper
def _runs(columns, images, stride):
    """Split a row of output columns into contiguous runs: how many, how long, and their step in the input row."""
    if stride == 1:
        return 1, columns * images, 0
    return columns, images, stride * images


@helper
def _places(groups, in_group, plane):
    """Return where the filters' results begin, one row of six a tile. A place beyond a group's last filter repeats it."""
    tiles = (in_group + TILE - 1) // TILE
    places = np.empty((groups * tiles, TILE), np.int64)
    for tile in range(groups * tiles):
        for s in range(TILE):
            places[tile, s] = (tile // tiles * in_group + min(tile % tiles * TILE + s, in_group - 1)) * plane
    return places


@helper
def _pack(w, b, groups):
    """Lay the six filters of a tile side by side: packed[tile, tap * 6 + s], and their biases likewise."""
    in_group, taps = w.shape[0] // groups, w.shape[1] * w.shape[2] * w.shape[3]
    tiles = (in_group + TILE - 1) // TILE
    packed, biases = np.empty((groups * tiles, taps * TILE), w.dtype), np.empty((groups * tiles, TILE), w.dtype)
    for tile in range(groups * tiles):
        for s in range(TILE):
            f = tile // tiles * in_group + min(tile % tiles * TILE + s, in_group - 1)
            weights = w[f].reshape(-1)
            biases[tile, s] = b[f]
            for t in range(taps):
                packed[tile, t * TILE + s] = weights[t]
    return packed, biases


@helper
def _sources(w, plane, row, dilation_h):
    """Return, for each channel and kernel row, where it begins in x (planes and rows so far apart) and in packed."""
    channels, kernel_h, kernel_w = w.shape[1:]
    sources = np.empty((channels * kernel_h, 2), np.int64)
    for c in range(channels):
        for i in range(kernel_h):
            sources[c * kernel_h + i, 0] = c * plane + i * dilation_h * row
            sources[c * kernel_h + i, 1] = (c * kernel_h + i) * kernel_w * TILE
    return sources


@kernel
def conv2d_forward(x, w, b, stride_h, stride_w, dilation_h, dilation_w, groups, out):
    """Correlate images with filters, one output row of one group a task.

    x: (C, H, W, N)   w: (F, C / groups, KH, KW)   b: (F,)   out: (F, OH, OW, N), overwritten; all C-contiguous
    """
    filters, channels, _, kernel_w = w.shape
    height, row = x.shape[1], x.shape[2] * x.shape[3]
    out_h, out_w, images = out.shape[1:]
    runs, length, step = _runs(out_w, images, stride_w)
    in_group = filters // groups
    tiles = (in_group + TILE - 1) // TILE
    places = _places(groups, in_group, out_h * out_w * images)

    packed, biases = _pack(w, b, groups)
    sources = _sources(w, height * row, row, dilation_h)
    steps = (kernel_w, 0, dilation_w * images, TILE)

    x_flat, out_flat = x.reshape(-1), out.reshape(-1)
    for task in prange(groups * out_h):
        group, oh = task // out_h, task % out_h
        own = slice(group * tiles, (group + 1) * tiles)
        own_w, own_b, own_places = packed[own], biases[own], places[own]
        for run in range(runs):
            at = (group * channels * height + oh * stride_h) * row + run * step
            start = oh * out_w * images + run * length
            sum_run(x_flat, at, sources, steps, own_w, own_b, out_flat, own_places, start, length)


@helper
def _pool_rows(rows, pool_h, pool_w, step_w, out, at, plane, images):
    """out[at + f * plane + ow * images ...] = the largest of 0 and the window's values.

    rows: (F, pool_h, columns, length), a block of at most `images` images
    """
    filters, _, columns, length = rows.shape
    values, zero = rows.reshape(-1), rows.dtype.type(0)
    width = lanes(rows)
    for f in range(filters):
        for ow in range((columns - pool_w) // step_w + 1):
            target = at + f * plane + ow * images
            first = (f * pool_h * columns + ow * step_w) * length
            for m in range(0, length - width + 1, width):
                best = splat(zero)
                for i in range(pool_h):
                    for j in range(pool_w):
                        best = larger(load(values, first + (i * columns + j) * length + m), best)
                store(out, target + m, best)
            for m in range(length - length % width, length):
                best_number = zero
                for i in range(pool_h):
                    for j in range(pool_w):
                        value = values[first + (i * columns + j) * length + m]
                        best_number = value if value > best_number or value != value else best_number
                out[target + m] = best_number


@kernel
def conv2d_relu_max_pool2d(
    x, w, b, stride_h, stride_w, dilation_h, dilation_w, groups, pool_h, pool_w, step_h, step_w, out
):
    """max_pool2d(relu(conv2d(x, w, b))), without gradient: one pooled row of BLOCK images a task.

    The rows of the convolution that one pooled row needs are computed into a small array that stays in the cache.

    x: (C, H, W, N)   w: (F, C / groups, KH, KW)   b: (F,)   pool: its window and step
    out: (F, OH, OW, N), overwritten; all C-contiguous
    """
    filters, channels, _, kernel_w = w.shape
    height, columns, images = x.shape[1:]
    row = columns * images
    out_h, out_w = out.shape[1:3]
    conv_w = (columns - dilation_w * (kernel_w - 1) - 1) // stride_w + 1
    tiles = (filters // groups + TILE - 1) // TILE
    packed, biases = _pack(w, b, groups)
    sources = _sources(w, height * row, row, dilation_h)
    steps = (kernel_w, 0, dilation_w * images, TILE)
    blocks = (images + BLOCK - 1) // BLOCK

    x_flat = x.reshape(-1)
    for task in prange(out_h * blocks):
        oh, first = task // blocks, task % blocks * BLOCK
        length = min(BLOCK, images - first)
        rows = np.empty((filters, pool_h, conv_w, length), x.dtype)
        places = _places(groups, filters // groups, pool_h * conv_w * length)
        rows_flat = rows.reshape(-1)
        for group in range(groups):
            own = slice(group * tiles, (group + 1) * tiles)
            own_w, own_b, own_places = packed[own], biases[own], places[own]  # once: a slice in a loop is slow
            for i in range(pool_h):
                top = group * channels * height + (oh * step_h + i) * stride_h
                for column in range(conv_w):
                    at = top * row + column * stride_w * images + first
                    start = (i * conv_w + column) * length
                    sum_run(x_flat, at, sources, steps, own_w, own_b, rows_flat, own_places, start, length)
        _pool_rows(
            rows, pool_h, pool_w, step_w, out.reshape(-1), oh * out_w * images + first, out_h * out_w * images, images
        )


@kernel
def conv2d_grad_input(g, w, stride_h, stride_w, dilation_h, dilation_w, groups, grad_x):
    """Gather the gradient of each input place from the output places it took part in, one input row of one group a task.

    g: (F, OH, OW, N)   w: (F, C / groups, KH, KW)   grad_x: (C, H, W, N), overwritten; all C-contiguous
    """
    filters, channels, kernel_h, kernel_w = w.shape
    out_h, out_w, images = g.shape[1:]
    height, columns = grad_x.shape[1:3]
    in_group = filters // groups
    tiles = (channels + TILE - 1) // TILE
    taps = kernel_h * kernel_w
    places = _places(groups, channels, height * columns * images)

    # The six channels of a tile side by side: packed[tile, (f * KH * KW + tap) * 6 + s].
    packed, zeros = np.empty((groups * tiles, in_group * taps * TILE), w.dtype), np.zeros((tiles, TILE), w.dtype)
    for tile in range(groups * tiles):
        for f in range(in_group):
            for s in range(TILE):
                weights = w[tile // tiles * in_group + f, min(tile % tiles * TILE + s, channels - 1)].reshape(-1)
                for t in range(taps):
                    packed[tile, (f * taps + t) * TILE + s] = weights[t]

    g_flat, grad_flat = g.reshape(-1), grad_x.reshape(-1)
    for task in prange(groups * height):
        group, ih = task // height, task % height
        own = slice(group * tiles, (group + 1) * tiles)

        # The output rows that this input row took part in, through which row of each filter.
        sources, count = np.empty((in_group * kernel_h, 2), np.int64), 0
        for f in range(in_group):
            for i in range(kernel_h):
                top = ih - i * dilation_h
                if top >= 0 and top % stride_h == 0 and top // stride_h < out_h:
                    sources[count, 0] = ((group * in_group + f) * out_h + top // stride_h) * out_w * images
                    sources[count, 1] = (f * kernel_h + i) * kernel_w * TILE
                    count += 1
        sources = sources[:count]
        own_w, own_places = packed[own], places[own]

        for iw in range(columns):
            # Likewise the output columns: those of kernel columns first, first + jump, ...
            first, jump, found = 0, 1, 0
            for j in range(kernel_w):
                left = iw - j * dilation_w
                if left >= 0 and left % stride_w == 0 and left // stride_w < out_w:
                    first = j if found == 0 else first
                    jump = j - first if found == 1 else jump
                    found += 1
            at = (iw - first * dilation_w) // stride_w * images
            steps = (found, first * TILE, -(jump * dilation_w // stride_w) * images, jump * TILE)
            start = (ih * columns + iw) * images
            sum_run(g_flat, at, sources, steps, own_w, zeros, grad_flat, own_places, start, images)


@helper
def _fma5(a, x, c):
    """Return c + a * x for five vectors and one more."""
    x0, x1, x2, x3, x4 = x
    c0, c1, c2, c3, c4 = c
    return fma(a, x0, c0), fma(a, x1, c1), fma(a, x2, c2), fma(a, x3, c3), fma(a, x4, c4)


@kernel
def conv2d_grad_weight(x, g, stride_h, stride_w, dilation_h, dilation_w, groups, grad_w):
    """Sum, for each weight, input times gradient over all places and images: three filters and five taps a task.

    Every weight belongs to one task, so there are no partial sums and the thread count cannot change a bit.

    x: (C, H, W, N)   g: (F, OH, OW, N)   grad_w: (F, C / groups, KH, KW), overwritten; all C-contiguous
    """
    filters, channels, kernel_h, kernel_w = grad_w.shape
    height, row = x.shape[1], x.shape[2] * x.shape[3]
    out_h, out_w, images = g.shape[1:]
    runs, length, step = _runs(out_w, images, stride_w)
    in_group = filters // groups
    taps = channels * kernel_h * kernel_w
    triples, fives = (in_group + 2) // 3, (taps + 4) // 5

    places = np.empty(taps, np.int64)  # where each tap begins in x
    for t in range(taps):
        c, i, j = t // (kernel_h * kernel_w), t // kernel_w % kernel_h, t % kernel_w
        places[t] = (c * height + i * dilation_h) * row + j * dilation_w * images

    x_flat, g_flat, grad = x.reshape(-1), g.reshape(-1), grad_w.reshape((filters, taps))
    width = lanes(grad)
    whole = length - length % width
    for task in prange(groups * triples * fives):
        group = task // fives // triples
        f0, f_last = group * in_group + task // fives % triples * 3, (group + 1) * in_group - 1
        f1, f2 = min(f0 + 1, f_last), min(f0 + 2, f_last)
        t0 = task % fives * 5
        t1, t2, t3, t4 = min(t0 + 1, taps - 1), min(t0 + 2, taps - 1), min(t0 + 3, taps - 1), min(t0 + 4, taps - 1)
        p0, p1, p2, p3, p4 = places[t0], places[t1], places[t2], places[t3], places[t4]
        zero = splat(grad.dtype.type(0))
        s0 = s1 = s2 = (zero, zero, zero, zero, zero)
        for oh in range(out_h):
            for run in range(runs):
                at = (group * channels * height + oh * stride_h) * row + run * step
                q = oh * out_w * images + run * length
                plane = out_h * out_w * images
                for m in range(0, whole, width):
                    p = at + m
                    v = (
                        load(x_flat, p + p0),
                        load(x_flat, p + p1),
                        load(x_flat, p + p2),
                        load(x_flat, p + p3),
                        load(x_flat, p + p4),
                    )
                    s0 = _fma5(load(g_flat, f0 * plane + q + m), v, s0)
                    s1 = _fma5(load(g_flat, f1 * plane + q + m), v, s1)
                    s2 = _fma5(load(g_flat, f2 * plane + q + m), v, s2)
        for f, s in ((f0, s0), (f1, s1), (f2, s2)):
            v0, v1, v2, v3, v4 = s
            grad[f, t0], grad[f, t1], grad[f, t2] = lane_sum(v0), lane_sum(v1), lane_sum(v2)
            grad[f, t3], grad[f, t4] = lane_sum(v3), lane_sum(v4)

        # What is left of each run when a vector no longer fits.
        if whole < length:
            for f in range(f0, f2 + 1):
                for t in range(t0, t4 + 1):
                    total = grad.dtype.type(0)
                    for oh in range(out_h):
                        for run in range(runs):
                            p = (group * channels * height + oh * stride_h) * row + run * step + places[t]
                            q = ((f * out_h + oh) * out_w) * images + run * length
                            for m in range(whole, length):
                                total += g_flat[q + m] * x_flat[p + m]
                    grad[f, t] += total
