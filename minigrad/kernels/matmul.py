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
def matmul_transposed(a, b, out):
    """out = a.T @ b, in blocks of the dimension that is summed: partial sums, added in order.

    Rows of a.T are not contiguous, so BLAS could not be given blocks of them; blocks of the summed rows it can.

    a: (K, M), C-contiguous   b: (K, P), C-contiguous   out: (M, P), C-contiguous, overwritten
    """
    partial = np.zeros((BLOCKS, out.shape[0], out.shape[1]), out.dtype)
    for index in prange(BLOCKS):
        start, stop = _block(a.shape[0], index)
        if stop > start:
            np.dot(a[start:stop].T, b[start:stop], partial[index])
    rows = out.shape[0]
    for row in prange(rows):
        out[row] = partial[0, row]
        for index in range(1, BLOCKS):
            out[row] += partial[index, row]


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
