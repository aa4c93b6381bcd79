"""Convolution with sparse filters, on dense images, without a matrix of patches.

The filters are a CSR matrix (F, C / groups * KH * KW): an entry's column is its tap, a channel, a kernel row and a kernel
column. Images are batch-innermost, (C, H, W, N): a tap's share of a row of results is one run of the images times one
number, just as an entry's share of a row of a matrix product is, so the innermost loops are those of `runs.py`.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel
from minigrad.kernels.vector import lanes, larger, load, splat, store

from .runs import add_run, aligned_like, dot_run, needs_alignment


@helper
def _runs(columns, images, stride):
    """Split a row of output columns into contiguous runs: how many, how long, and their step in the input row."""
    if stride == 1:
        return 1, columns * images, 0
    return columns, images, stride * images


@helper
def _tap_places(indices, kernel_h, kernel_w, dilation_h, dilation_w, plane, row, images):
    """Return where each entry's tap begins, counted from a window's first pixel, in images (C, H, W, N)."""
    places = np.empty(indices.size, np.int64)
    for k in range(indices.size):
        tap = int(indices[k])
        c, i, j = tap // (kernel_h * kernel_w), tap // kernel_w % kernel_h, tap % kernel_w
        places[k] = c * plane + i * dilation_h * row + j * dilation_w * images
    return places


@helper
def _row(x, at, places, values, bias, runs, length, step, out, to):
    """Compute a row of one filter's results: `runs` runs of `length` numbers from out[to] on, its window's first at x[at]."""
    out[to : to + runs * length] = bias
    for run in range(runs):
        add_run(x, at + run * step, places, 1, values, out, to + run * length, length)


@kernel
def csr_conv2d(indptr, indices, data, x, b, geometry, out):
    """Correlate images with sparse filters, one output row of one filter a task.

    x: (C, H, W, N)   b: (F,)   out: (F, OH, OW, N), overwritten; both C-contiguous
    geometry: kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups
    """
    kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups = geometry
    filters, out_h, out_w, images = out.shape
    row, plane = x.shape[2] * images, x.shape[1] * x.shape[2] * images
    runs, length, step = _runs(out_w, images, stride_w)
    places = _tap_places(indices, kernel_h, kernel_w, dilation_h, dilation_w, plane, row, images)
    x_flat, out_flat = x.reshape(-1), out.reshape(-1)
    if needs_alignment(x_flat, indptr[-1] / max(len(x), 1)):
        x_flat = aligned_like(x)
        for line in prange(len(x) * x.shape[1]):
            x_flat[line * row : (line + 1) * row] = x[line // x.shape[1], line % x.shape[1]].reshape(-1)
    for task in prange(out_h * filters):
        oh, f = task // filters, task % filters
        first, last = indptr[f], indptr[f + 1]
        at = f // (filters // groups) * (len(x) // groups) * plane + oh * stride_h * row
        to = (f * out_h + oh) * out_w * images
        _row(x_flat, at, places[first:last], data[first:last], b[f], runs, length, step, out_flat, to)


@helper
def _relu_max_row(rows, images, window, out, to, columns):
    """Pool pool_h rows of results, flat, into one of `columns` places from out[to] on: the largest of 0 and of each window."""
    pool_h, pool_w, _, step_w = window
    wide, width = rows.size // (pool_h * images), lanes(rows)
    whole = images - images % width
    for column in range(columns):
        at, target = column * step_w * images, to + column * images
        for m in range(0, whole, width):
            best = splat(rows.dtype.type(0))
            for i in range(pool_h):
                for j in range(pool_w):
                    best = larger(best, load(rows, at + (i * wide + j) * images + m))
            store(out, target + m, best)
        for m in range(whole, images):
            best = rows.dtype.type(0)
            for i in range(pool_h):
                for j in range(pool_w):
                    value = rows[at + (i * wide + j) * images + m]
                    best = value if value > best or value != value else best  # NaN wins
            out[target + m] = best


@kernel
def csr_conv2d_relu_max_pool2d(indptr, indices, data, x, b, geometry, window, out):
    """max_pool2d(relu(csr_conv2d(...))), one pooled row of one filter a task: what is pooled never leaves the core's cache.

    x: (C, H, W, N)   b: (F,)   out: (F, OH, OW, N), overwritten; both C-contiguous
    geometry: as in csr_conv2d   window: pool_h, pool_w and the steps between windows, step_h, step_w
    """
    kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups = geometry
    pool_h, _, step_h, _ = window
    filters, out_h, out_w, images = out.shape
    row, plane = x.shape[2] * images, x.shape[1] * x.shape[2] * images
    wide = (x.shape[2] - dilation_w * (kernel_w - 1) - 1) // stride_w + 1  # columns before pooling
    runs, length, step = _runs(wide, images, stride_w)
    places = _tap_places(indices, kernel_h, kernel_w, dilation_h, dilation_w, plane, row, images)
    x_flat, out_flat = x.reshape(-1), out.reshape(-1)
    for task in prange(filters * out_h):
        oh, f = task // filters, task % filters
        own, values = places[indptr[f] : indptr[f + 1]], data[indptr[f] : indptr[f + 1]]
        at = f // (filters // groups) * (len(x) // groups) * plane + oh * step_h * stride_h * row
        rows = np.empty(pool_h * wide * images, x.dtype)
        for i in range(pool_h):
            _row(x_flat, at + i * stride_h * row, own, values, b[f], runs, length, step, rows, i * wide * images)
        _relu_max_row(rows, images, window, out_flat, (f * out_h + oh) * out_w * images, out_w)


@kernel
def csr_conv2d_grad_values(indptr, indices, order, x, g, geometry, out):
    """Gradient of the values: for each entry, its filter's gradients times the pixels that its tap saw.

    x: (C, H, W, N)   g: (F, OH, OW, N); both C-contiguous   out: flat, written at the places in `order` and nowhere else
    geometry: as in csr_conv2d
    """
    kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups = geometry
    filters, out_h, out_w, images = g.shape
    row, plane = x.shape[2] * images, x.shape[1] * x.shape[2] * images
    runs, length, step = _runs(out_w, images, stride_w)
    places = _tap_places(indices, kernel_h, kernel_w, dilation_h, dilation_w, plane, row, images)
    x_flat, g_flat = x.reshape(-1), g.reshape(-1)
    owners = np.empty(indices.size, np.int64)
    for f in range(filters):
        owners[indptr[f] : indptr[f + 1]] = f
    for k in prange(indices.size):
        f, total = owners[k], x.dtype.type(0)
        at = f // (filters // groups) * (len(x) // groups) * plane + places[k]
        for oh in range(out_h):
            for run in range(runs):
                p, q = at + oh * stride_h * row + run * step, (f * out_h + oh) * out_w * images + run * length
                total += dot_run(x_flat, p, g_flat, q, length)
        out[order[k]] = total


@kernel
def csr_conv2d_grad_input(indptr, indices, order, data, g, geometry, out):
    """Gradient of the images, one row of one channel a task: each pixel gathers from the windows that saw it.

    indptr, indices: of the transposed structure, a row a tap, in it the filters that have it
    order: where each entry's value is in `data`
    g: (F, OH, OW, N)   out: (C, H, W, N), overwritten; both C-contiguous   geometry: as in csr_conv2d
    """
    kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, groups = geometry
    filters, out_h, out_w, images = g.shape
    channels, height, width = out.shape[:3]
    runs, length, step = _runs(out_w, images, stride_w)
    group_channels, group_filters = channels // groups, filters // groups
    g_flat, out_flat = g.reshape(-1), out.reshape(-1)
    values = np.empty(order.size, data.dtype)
    for k in prange(order.size):
        values[k] = data[order[k]]
    for task in prange(channels * height):
        channel, h = task // height, task % height
        group, c = channel // group_channels, channel % group_channels
        out_flat[task * width * images : (task + 1) * width * images] = 0
        for i in range(kernel_h):
            oh = (h - i * dilation_h) // stride_h
            if 0 <= oh < out_h and oh * stride_h == h - i * dilation_h:
                for j in range(kernel_w):
                    tap = (c * kernel_h + i) * kernel_w + j
                    begin, end = indptr[tap], indptr[tap + 1]
                    first = begin + np.searchsorted(indices[begin:end], group * group_filters)
                    last = begin + np.searchsorted(indices[begin:end], (group + 1) * group_filters)
                    for run in range(runs):
                        at = oh * out_w * images + run * length
                        to = (task * width + j * dilation_w) * images + run * step
                        own, each = indices[first:last], out_h * out_w * images
                        add_run(g_flat, at, own, each, values[first:last], out_flat, to, length)
