"""What all sparse kernels do in their innermost loops: add weighted runs up, and multiply two runs.

A run is a stretch of neighbouring numbers: a row of a dense matrix, or a row of images beside each other. A stretch of the
result stays in four vector registers while all non-zeros of its row are added, so that each non-zero costs four loads and
four multiply-adds, and nothing is stored in between.
"""

import numpy as np

from minigrad.kernels._kernel import helper, inlined
from minigrad.kernels.vector import fma, fmas, lane_sum, lanes, load, loads, multiples, splat, store, stores


@inlined
def add_run(x, at, places, step, values, out, to, length):
    """out[to + m] += sum over k of values[k] * x[at + places[k] * step + m], for each m below length.

    x, out: flat, C-contiguous   places: (K,), integers   values: (K,)
    """
    width, four = lanes(x), multiples(lanes(x), 4)
    wide = length - length % (4 * width)
    for m in range(0, wide, 4 * width):
        sums = loads(out, to + m, four)
        for k in range(values.size):
            sums = fmas(splat(values[k]), loads(x, at + m + int(places[k]) * step, four), sums)
        stores(out, to + m, four, sums)
    whole = length - length % width
    for m in range(wide, whole, width):
        c = load(out, to + m)
        for k in range(values.size):
            c = fma(splat(values[k]), load(x, at + m + int(places[k]) * step), c)
        store(out, to + m, c)
    if whole < length:  # shorter than a vector: non-zero by non-zero, where the results lie
        rest = out[to + whole : to + length]
        for k in range(values.size):
            s = at + whole + int(places[k]) * step
            source = x[s : s + length - whole]
            for m in range(rest.size):
                rest[m] += values[k] * source[m]


@helper
def dot_run(x, at, y, to, length):
    """Return the sum over m below length of x[at + m] * y[to + m]; x, y: flat, C-contiguous."""
    width = lanes(x)
    wide, whole = length - length % (4 * width), length - length % width
    zero = splat(x.dtype.type(0))
    c0, c1, c2, c3 = zero, zero, zero, zero
    for m in range(0, wide, 4 * width):
        p, q = at + m, to + m
        c0 = fma(load(x, p), load(y, q), c0)
        c1 = fma(load(x, p + width), load(y, q + width), c1)
        c2 = fma(load(x, p + 2 * width), load(y, q + 2 * width), c2)
        c3 = fma(load(x, p + 3 * width), load(y, q + 3 * width), c3)
    for m in range(wide, whole, width):
        c0 = fma(load(x, at + m), load(y, to + m), c0)
    total = lane_sum(c0) + lane_sum(c1) + (lane_sum(c2) + lane_sum(c3))
    one, other = x[at + whole : at + length], y[to + whole : to + length]
    for m in range(one.size):
        total += one[m] * other[m]
    return total


@helper
def needs_alignment(x, uses):
    """Tell whether x, each number of which is read about `uses` times, should first be copied to where vectors are whole.

    A vector that begins inside a cache line takes two lines at each load; NumPy's arrays usually begin so.
    """
    return uses >= 16 and x.ctypes.data % (lanes(x) * x.itemsize) != 0


@helper
def aligned_like(x):
    """Return an empty flat array of x's size and dtype that begins at a whole vector."""
    buffer = np.empty(x.size + lanes(x), x.dtype)
    start = -buffer.ctypes.data // x.itemsize % lanes(x)
    return buffer[start : start + x.size]


@helper
def aligned_copy(x):
    """Return x, flat, in memory that begins at a whole vector."""
    flat, copy = x.reshape(-1), aligned_like(x)
    for m in range(flat.size):  # a slice's assignment takes three times as long
        copy[m] = flat[m]
    return copy


@helper
def share(indptr, index, count):
    """Return the first row of share `index` when rows are split into `count` shares of about equally many non-zeros."""
    return len(indptr) - 1 if index == count else np.searchsorted(indptr, int(indptr[-1]) * index // count)
