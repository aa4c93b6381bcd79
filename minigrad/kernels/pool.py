"""Max-pooling kernels over batch-innermost memory (see `conv.py`).

The place of each maximum is kept as one byte, its index in the window counted row by row, so that the backward pass
knows where to send the gradient. Comparing and remembering are selects, not branches, for a vector of images at once.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, inlined, kernel
from minigrad.kernels.vector import fma, get, lanes, larger_at, load, load_bytes, put, splat, store, where_equal


@helper
def _places(kernel_h, kernel_w, row, images):
    """Return where the places of a window lie, counted from its first, row by row."""
    places = np.empty(kernel_h * kernel_w, np.int64)
    for i in range(kernel_h):
        for j in range(kernel_w):
            places[i * kernel_w + j] = i * row + j * images
    return places


@inlined
def _largest_of_window(x, at, places, rectify, alone):
    """Return the largest value of each window, and its number in the window in x's dtype: two vectors.

    places: of the window in x, counted from `at`   alone: every lane is the same image, not its neighbour
    """
    best = splat(x.dtype.type(0)) if rectify else get(x, at, alone)
    where = splat(x.dtype.type(255 if rectify else 0))
    for tap in range(0 if rectify else 1, places.size):
        best, where = larger_at(best, where, get(x, at + places[tap], alone), splat(x.dtype.type(tap)))
    return best, where


@kernel
def max_pool2d_forward(x, kernel_h, kernel_w, stride_h, stride_w, rectify, out, index):
    """Keep the largest value of each window; of equal values the first, row by row. NaN wins over any number.

    With `rectify` the result is max(largest, 0): ReLU costs nothing here, since the search starts at 0 instead of at the
    first value. An index of 255 then says that no value was above 0, and that the gradient stops.

    x: (C, H, W, N)   out: (C, OH, OW, N), overwritten   index: uint8 (C, OH, OW, N), overwritten; all C-contiguous
    """
    height, row, images = x.shape[1], x.shape[2] * x.shape[3], x.shape[3]
    out_h, out_w = out.shape[1:3]
    places = _places(kernel_h, kernel_w, row, images)
    x_flat, out_flat, index_flat = x.reshape(-1), out.reshape(-1), index.reshape(-1)
    step = lanes(x) if images >= lanes(x) else 1
    for task in prange(x.shape[0] * out_h):
        c, oh = task // out_h, task % out_h
        for ow in range(out_w):
            at, target = (c * height + oh * stride_h) * row + ow * stride_w * images, (task * out_w + ow) * images
            for m in range(0, images, step):
                last = min(m, images - step)  # a last vector may overlap the one before: it stores the same again
                best, where = _largest_of_window(x_flat, at + last, places, rectify, step == 1)
                put(out_flat, target + last, best, step == 1)
                put(index_flat, target + last, where, step == 1)


@kernel
def max_pool2d_grad(g, index, kernel_h, kernel_w, stride_h, stride_w, grad_x):
    """Send each output's gradient to the input that was its maximum. A channel is one task: windows may overlap.

    g: (C, OH, OW, N)   index: uint8 (C, OH, OW, N)   grad_x: (C, H, W, N), overwritten; all C-contiguous
    """
    out_h, out_w, images = g.shape[1:]
    height, row = grad_x.shape[1], grad_x.shape[2] * images
    places = _places(kernel_h, kernel_w, row, images)
    # Windows that neither overlap nor leave gaps meet every place once: it need not be cleared and added to.
    once = kernel_h == stride_h and kernel_w == stride_w
    once = once and out_h * stride_h == height and out_w * stride_w == grad_x.shape[2]
    g_flat, index_flat, grad, width = g.reshape(-1), index.reshape(-1), grad_x.reshape(-1), lanes(g)
    whole, one = images - images % width, splat(g.dtype.type(1))
    for c in prange(g.shape[0]):
        for m in range(0 if once else height * row):
            grad[c * height * row + m] = 0
        for window in range(out_h * out_w):
            source, at = (c * out_h * out_w + window) * images, c * height * row
            at += window // out_w * stride_h * row + window % out_w * stride_w * images
            for m in range(0, whole, width):
                gradient, where = load(g_flat, source + m), load_bytes(index_flat, source + m, g)
                for tap in range(places.size):
                    own, target = where_equal(where, splat(g.dtype.type(tap)), gradient), at + places[tap] + m
                    if not once:
                        own = fma(one, own, load(grad, target))
                    store(grad, target, own)
            for m in range(whole, images):
                for tap in range(places.size):
                    own = g_flat[source + m] if index_flat[source + m] == tap else 0
                    target = at + places[tap] + m
                    grad[target] = own if once else grad[target] + own
