"""Convolution kernels (cross-correlation, as in every deep-learning library).

Arrays here have the batch innermost: an image tensor of shape (N, C, H, W) arrives as an array (C, H, W, N). Whatever the
kernel size, the inner loops then run over contiguous images, which is what vector units want. With stride 1 a whole
row of columns and images is one contiguous *run*; with a larger stride each column is a run of its own.

A *tap* is one position of a filter: a channel, a kernel row and a kernel column. Results are computed in tiles of six
filters (see `tiles.py`). The gradient of the input is the same sum with the two sides exchanged, in tiles of six channels.

Padding was added before, at the edge of the op: of these loops, only those for the gradient of the input know of it.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, inlined, kernel
from minigrad.kernels.tiles import TILE, pooled_tile, sum_runs
from minigrad.kernels.vector import (
    REGISTERS,
    as_tuple,
    fma,
    fmas,
    lane_sum,
    lanes,
    load,
    loads,
    multiples,
    splat,
    spread,
    store_first,
    stores,
)


@helper
def _runs(columns, images, stride):
    """Split a row of output columns into contiguous runs: how many, how long, and their step in the input row."""
    if stride == 1:
        return 1, columns * images, 0
    return columns, images, stride * images


@helper
def _filter(tile, s, in_group):
    """Return the number of filter s of a tile. Tiles have two, four or six; beyond a tile's last filter comes that one again.

    A group's filters are cut into as few tiles as possible: 16 are 4 + 6 + 6.
    """
    tiles, pairs = (in_group + TILE - 1) // TILE, (in_group + 1) // 2
    group, index = tile // tiles, tile % tiles
    first, stop = pairs * index // tiles * 2, min(pairs * (index + 1) // tiles * 2, in_group)
    return group * in_group + min(first + s, stop - 1)


@helper
def _places(groups, in_group, plane):
    """Return where the filters' results begin, one row of six a tile."""
    tiles = (in_group + TILE - 1) // TILE
    places = np.empty((groups * tiles, TILE), np.int64)
    for tile in range(groups * tiles):
        for s in range(TILE):
            places[tile, s] = _filter(tile, s, in_group) * plane
    return places


@helper
def _pack(w, b, groups):
    """Lay the six filters of a tile side by side: packed[tile, tap * 6 + s], and their biases likewise."""
    in_group, taps = w.shape[0] // groups, w.shape[1] * w.shape[2] * w.shape[3]
    tiles = (in_group + TILE - 1) // TILE
    packed, biases = np.empty((groups * tiles, taps * TILE), w.dtype), np.empty((groups * tiles, TILE), w.dtype)
    for tile in range(groups * tiles):
        for s in range(TILE):
            f = _filter(tile, s, in_group)
            weights = w[f].reshape(-1)
            biases[tile, s] = b[f]
            for t in range(taps):
                packed[tile, t * TILE + s] = weights[t]
    return packed, biases


@helper
def _sources(w, plane, down, right):
    """Return where each tap lies in x (a window's planes, rows and columns so far apart) and in packed."""
    channels, kernel_h, kernel_w = w.shape[1:]
    sources = np.empty((channels * kernel_h * kernel_w, 2), np.int64)
    tap = 0
    for c in range(channels):
        for i in range(kernel_h):
            for j in range(kernel_w):
                sources[tap, 0], sources[tap, 1] = c * plane + i * down + j * right, tap * TILE
                tap += 1
    return sources


@kernel
def conv2d_forward(x, w, b, stride_h, stride_w, dilation_h, dilation_w, groups, out):
    """Correlate images with filters, one output row of one group a task.

    x: (C, H, W, N)   w: (F, C / groups, KH, KW)   b: (F,)   out: (F, OH, OW, N), overwritten; all C-contiguous
    """
    filters, channels = w.shape[:2]
    height, row = x.shape[1], x.shape[2] * x.shape[3]
    out_h, out_w, images = out.shape[1:]
    count, length, step = _runs(out_w, images, stride_w)
    runs = (count, length, step, length)
    in_group = filters // groups
    tiles = (in_group + TILE - 1) // TILE
    places = _places(groups, in_group, out_h * out_w * images)

    packed, biases = _pack(w, b, groups)
    sources = _sources(w, height * row, dilation_h * row, dilation_w * images)

    x_flat, out_flat = x.reshape(-1), out.reshape(-1)
    for task in prange(groups * out_h):
        group, oh = task // out_h, task % out_h
        own = slice(group * tiles, (group + 1) * tiles)
        own_w, own_b, own_places = packed[own], biases[own], places[own]
        at, start = (group * channels * height + oh * stride_h) * row, oh * out_w * images
        sum_runs(x_flat, at, sources, own_w, own_b, out_flat, own_places, start, runs)


@kernel
def conv2d_relu_max_pool2d(
    x, w, b, stride_h, stride_w, dilation_h, dilation_w, groups, pool_h, pool_w, step_h, step_w, out
):
    """max_pool2d(relu(conv2d(x, w, b))) for windows of four places, without gradient.

    A task is one pooled row of a group, for one vector of images. The vectors of a tile are places of a window, so only the
    largest of each window is ever written to `out`.

    x: (C, H, W, N), N fills a vector   w: (F, C / groups, KH, KW)   b: (F,)   pool: its window, 4 places, and step
    out: (F, OH, OW, N), overwritten; all C-contiguous
    """
    filters, channels = w.shape[:2]
    height, row, images = x.shape[1], x.shape[2] * x.shape[3], x.shape[3]
    out_h, out_w = out.shape[1:3]
    in_group = filters // groups
    tiles = (in_group + TILE - 1) // TILE
    places = _places(groups, in_group, out_h * out_w * images)
    packed, biases = _pack(w, b, groups)
    sources = _sources(w, height * row, dilation_h * row, dilation_w * images)
    down, right = stride_h * row, stride_w * images
    # From the window's first place to the second and the third; the fourth is as far from the third as the second from it.
    near, far = 1 // pool_w * down + 1 % pool_w * right, 2 // pool_w * down + 2 % pool_w * right
    x_flat, out_flat, width = x.reshape(-1), out.reshape(-1), lanes(x)
    vectors = (images + width - 1) // width
    for task in prange(groups * out_h * vectors):
        group, oh, vector = task // (out_h * vectors), task // vectors % out_h, task % vectors
        m = min(vector * width, images - width)  # the last vector may overlap the one before: it stores the same again
        room = np.empty(TILE * width, x.dtype)
        for ow in range(out_w):
            at = (group * channels * height + oh * step_h * stride_h) * row + ow * step_w * stride_w * images + m
            target = (oh * out_w + ow) * images + m
            for tile in range(group * tiles, (group + 1) * tiles):
                own_w, own_b, own_places = packed[tile], biases[tile], places[tile]
                pooled_tile(
                    x_flat, at, pool_h * pool_w, near, far, sources, own_w, own_b, out_flat, own_places, target, room
                )


@helper
def _taps_of(size, pad, out_size, kernel, stride, dilation):
    """Return which taps of a window reach each of `size` places of an input row or column, a row each:

    the first tap, the step to the next, how many there are, the output place where the window then lies, and how far back it
    lies for the next tap. Tap k of the window at output place o lies at o * stride + k * dilation.
    """
    taps, step = np.empty((size, 5), np.int64), 1
    while step * dilation % stride:
        step += 1
    for index in range(size):
        place, first, found = index + pad, 0, 0
        while first < kernel and (
            place - first * dilation > (out_size - 1) * stride or (place - first * dilation) % stride
        ):
            first += 1
        while first + found * step < kernel and place >= (first + found * step) * dilation:
            found += 1
        taps[index, 0], taps[index, 1], taps[index, 2] = first, step, found
        taps[index, 3], taps[index, 4] = (place - first * dilation) // stride, step * dilation // stride
    return taps


@kernel
def conv2d_grad_input(g, w, stride_h, stride_w, dilation_h, dilation_w, groups, pad_h, pad_w, grad_x):
    """Gather the gradient of each input place from the output places it took part in, a few input rows a task.

    A column of all these rows comes before the next column: they share most of what they read of g.

    g: (F, OH, OW, N)   w: (F, C / groups, KH, KW)   grad_x: (C, H, W, N), overwritten; all C-contiguous
    pad_h, pad_w: width of the border that x had in forward; it gets no gradient
    """
    filters, channels, kernel_h, kernel_w = w.shape
    out_h, out_w, images = g.shape[1:]
    height, columns = grad_x.shape[1:3]
    in_group = filters // groups
    tiles = (channels + TILE - 1) // TILE
    taps = kernel_h * kernel_w
    places = _places(groups, channels, height * columns * images)

    # The six channels of a tile side by side: packed[tile, (f * KH * KW + tap) * 6 + s].
    packed, weights = np.empty((groups * tiles, in_group * taps * TILE), w.dtype), w.reshape(-1)
    zeros = np.empty((groups * tiles, TILE), w.dtype)  # for np.zeros Numba would make a parallel loop
    for tile in range(groups * tiles):
        for s in range(TILE):
            zeros[tile, s] = 0
            first = (tile // tiles * in_group * channels + _filter(tile % tiles, s, channels)) * taps
            for f in range(in_group):
                for t in range(taps):
                    packed[tile, (f * taps + t) * TILE + s] = weights[first + f * channels * taps + t]

    down = _taps_of(height, pad_h, out_h, kernel_h, stride_h, dilation_h)
    right = _taps_of(columns, pad_w, out_w, kernel_w, stride_w, dilation_w)
    rows = max(1, height // 8)
    blocks = (height + rows - 1) // rows
    g_flat, grad_flat = g.reshape(-1), grad_x.reshape(-1)
    for task in prange(groups * blocks):
        group, top = task // blocks, task % blocks * rows
        own = slice(group * tiles, (group + 1) * tiles)
        own_w, own_places = packed[own], places[own]
        sources = np.empty((in_group * taps, 2), np.int64)
        for iw in range(columns):
            j0, j_step, j_count, ow, back = right[iw, 0], right[iw, 1], right[iw, 2], right[iw, 3], right[iw, 4]
            for ih in range(top, min(top + rows, height)):
                i0, i_step, i_count, oh, up = down[ih, 0], down[ih, 1], down[ih, 2], down[ih, 3], down[ih, 4]
                reached = 0
                for f in range(in_group):
                    for m in range(i_count):
                        place = (((group * in_group + f) * out_h + oh - m * up) * out_w + ow) * images
                        weight = ((f * kernel_h + i0 + m * i_step) * kernel_w + j0) * TILE
                        for _ in range(j_count):
                            sources[reached, 0], sources[reached, 1] = place, weight
                            place, weight, reached = place - back * images, weight + j_step * TILE, reached + 1
                start, run = (ih * columns + iw) * images, (1, images, 0, 0)
                sum_runs(g_flat, 0, sources[:reached], own_w, zeros, grad_flat, own_places, start, run)


TAPS = 5 if REGISTERS == 32 else 3
"""Taps of a tile of weight gradients: four filters by so many taps are summed in registers."""


@inlined
def _add_products(x, g, x_places, g_places, starts, length, sums, at):
    """Add to 4 x TAPS sums what some runs of images give: sum[f, t] += g[g_places[f] + q + m] * x[x_places[t] + p + m].

    starts: p and q of each run   length: of a run, a whole number of vectors
    sums: a vector each, one after the other, from place `at`; the fourth filter's stay if its place repeats the third's
    """
    width, four = lanes(x), g_places[3] != g_places[2]
    apart, own, row = as_tuple(x_places, TAPS), multiples(width, TAPS), TAPS * width
    s0, s1 = loads(sums, at, own), loads(sums, at + row, own)
    s2, s3 = loads(sums, at + 2 * row, own), loads(sums, at + 3 * row, own)
    for run in range(starts.shape[0]):
        p, q = starts[run, 0], starts[run, 1]
        q0, q1, q2, q3 = g_places[0] + q, g_places[1] + q, g_places[2] + q, g_places[3] + q
        for m in range(0, length, width):
            v = loads(x, p + m, apart)
            s0, s1, s2 = fmas(load(g, q0 + m), v, s0), fmas(load(g, q1 + m), v, s1), fmas(load(g, q2 + m), v, s2)
            if four:
                s3 = fmas(load(g, q3 + m), v, s3)
    stores(sums, at, own, s0)
    stores(sums, at + row, own, s1)
    stores(sums, at + 2 * row, own, s2)
    stores(sums, at + 3 * row, own, s3)


@kernel
def conv2d_grad_weight(x, g, stride_h, stride_w, dilation_h, dilation_w, groups, grad_w):
    """Sum, for each weight, input times gradient over all places and images: four filters by some tiles of taps a task.

    Every weight belongs to one task, so there are no partial sums and the thread count cannot change a bit. A task goes
    through the images a few rows at a time, for which its part of g stays in the cache while all its taps are served.

    x: (C, H, W, N)   g: (F, OH, OW, N)   grad_w: (F, C / groups, KH, KW), overwritten; all C-contiguous
    """
    filters, channels, kernel_h, kernel_w = grad_w.shape
    height, row = x.shape[1], x.shape[2] * x.shape[3]
    out_h, out_w, images = g.shape[1:]
    runs, length, step = _runs(out_w, images, stride_w)
    in_group = filters // groups
    taps = channels * kernel_h * kernel_w
    quads, tiles = (in_group + 3) // 4, (taps + TAPS - 1) // TAPS
    # A task has at most 150 taps, and one tile of them if that is what it takes to have 16 tasks.
    shares = max((taps + 149) // 150, min(tiles, 16 // max(1, groups * quads)))

    places, tap = np.empty(tiles * TAPS, np.int64), 0  # where each begins in x; beyond the last comes that one again
    for c in range(channels):
        for i in range(kernel_h):
            for j in range(kernel_w):
                places[tap] = (c * height + i * dilation_h) * row + j * dilation_w * images
                tap += 1
    while tap < places.size:
        places[tap] = places[tap - 1]
        tap += 1
    starts, start = np.empty((out_h * runs, 2), np.int64), 0  # where each run begins in x and in g
    for oh in range(out_h):
        for run in range(runs):
            starts[start, 0], starts[start, 1] = oh * stride_h * row + run * step, start * length
            start += 1

    g_flat, grad, width = g.reshape(-1), grad_w.reshape(-1), lanes(grad_w)
    whole, size = length - length % width, 4 * TAPS * width
    together = max(1, 8192 // max(1, out_w * images)) * runs
    for task in prange(groups * shares * quads):
        group, share, quad = task // (shares * quads), task // quads % shares, task % quads
        own_x = x[group * channels : (group + 1) * channels].reshape(-1)
        f, f_stop = group * in_group + in_group * quad // quads, group * in_group + in_group * (quad + 1) // quads
        first, last = tiles * share // shares, tiles * (share + 1) // shares
        f_places = np.empty(4, np.int64)
        for k in range(4):
            f_places[k] = min(f + k, f_stop - 1) * out_h * out_w * images
        sums = np.zeros((last - first) * size, grad.dtype)
        for run in range(0, out_h * runs, together):
            for tile in range(first, last):
                some = starts[run : run + together]
                _add_products(own_x, g_flat, places[tile * TAPS :], f_places, some, whole, sums, (tile - first) * size)
        for k in range(f_stop - f):
            for t in range(first * TAPS, min(last * TAPS, taps)):
                total = splat(lane_sum(load(sums, (t // TAPS - first) * size + (k * TAPS + t % TAPS) * width)))
                for run in range(out_h * runs if whole < length else 0):  # the rest of each, where no vector fits
                    p, q = starts[run, 0] + places[t], starts[run, 1] + f_places[k]
                    for m in range(whole, length):
                        total = fma(spread(g_flat, q + m), spread(own_x, p + m), total)
                store_first(grad, (f + k) * taps + t, total)
