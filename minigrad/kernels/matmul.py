"""Matrix products whose bits do not depend on the number of threads.

A product is cut into a fixed number of blocks, each one call of a single-threaded BLAS (see `threads.py`). NumPy's own
`@` lets BLAS cut by the number of threads, and its last bits change with it.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel

BLOCKS = 4


@helper
def _block(size, index):
    """Return where block `index` of BLOCKS nearly equal blocks of range(size) starts and ends."""
    return size * index // BLOCKS, size * (index + 1) // BLOCKS


@kernel
def matmul_rows(a, b, out):
    """out = a @ b, in blocks of rows of a.

    a: (M, K), C-contiguous   b: (K, P), C- or F-contiguous   out: (M, P), C-contiguous, overwritten
    """
    for index in prange(BLOCKS):
        start, stop = _block(a.shape[0], index)
        if stop > start:
            np.dot(a[start:stop], b, out[start:stop])


@kernel
def linear_forward(w, x, b, rectify, out):
    """out = w @ x + b, in blocks of rows of w: each adds its part of b as soon as BLAS is done with it.

    With `rectify` negative results become 0; NaN stays.

    w: (O, I), C-contiguous   x: (I, N), C- or F-contiguous   b: (O,)   out: (O, N), C-contiguous, overwritten
    """
    for index in prange(BLOCKS):
        start, stop = _block(w.shape[0], index)
        if stop > start:
            np.dot(w[start:stop], x, out[start:stop])
            for row in range(start, stop):
                target = out[row]
                for n in range(target.size):
                    value = target[n] + b[row]
                    target[n] = 0 if rectify and value <= 0 else value


@kernel
def matmul_transposed(a, b, out):
    """out = a.T @ b, the sum of products of blocks of rows of a and b: their transposes are contiguous, as BLAS wants them.

    a: (K, M), C-contiguous   b: (K, P), C-contiguous   out: (M, P), C-contiguous, overwritten
    """
    blocks = max(1, min(BLOCKS, a.shape[0] // 32))  # of fewer rows than that, adding takes longer than multiplying
    products = np.empty((blocks, out.shape[0], out.shape[1]), out.dtype)
    for index in prange(blocks):
        start, stop = a.shape[0] * index // blocks, a.shape[0] * (index + 1) // blocks
        np.dot(a[start:stop].T, b[start:stop], products[index])
    for row in prange(out.shape[0]):
        target = out[row]
        for index in range(blocks):
            product = products[index, row]
            for p in range(target.size):
                target[p] = product[p] if index == 0 else target[p] + product[p]


@kernel
def sum_rows(x, out):
    """out[i] = sum of row i.

    x: (M, P), C-contiguous   out: (M,), overwritten
    """
    for row in prange(x.shape[0]):
        values = x[row]
        total = out.dtype.type(0)
        for m in range(values.size):
            total += values[m]
        out[row] = total
