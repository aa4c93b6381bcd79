"""Matrix products whose bits do not depend on the number of threads.

A product is cut into a fixed number of blocks, each one call of a single-threaded BLAS (see `threads.py`). NumPy's own
`@` lets BLAS cut by the number of threads, and its last bits change with it.
"""

from numba import prange

from minigrad.kernels._kernel import helper, kernel
from minigrad.kernels.blas import product_rows

FEW, MANY = 32, 1024


@helper
def _blocks(rows):
    """Return how many blocks to cut so many rows into: 1, 2 or 4. For each, BLAS lays all of b out anew before it begins."""
    return 1 + (rows >= FEW) + 2 * (rows >= MANY)


@helper
def _block(rows, index):
    """Return where block `index` of nearly equal blocks of range(rows) starts and ends."""
    return rows * index // _blocks(rows), rows * (index + 1) // _blocks(rows)


@kernel
def matmul_rows(a, b, out):
    """out = a @ b, in blocks of rows of a.

    a: (M, K), C-contiguous   b: (K, P), C- or F-contiguous   out: (M, P), C-contiguous, overwritten
    """
    for index in prange(_blocks(out.shape[0])):
        start, stop = _block(out.shape[0], index)
        product_rows(a, b, False, start, stop, out)


@kernel
def matmul_transposed(a, b, out):
    """out = a.T @ b, in blocks of columns of a.

    a: (K, M), C-contiguous   b: (K, P), C- or F-contiguous   out: (M, P), C-contiguous, overwritten
    """
    for index in prange(_blocks(out.shape[0])):
        start, stop = _block(out.shape[0], index)
        product_rows(a, b, True, start, stop, out)


@kernel
def linear_forward(w, x, b, rectify, out):
    """out = w @ x + b, in blocks of rows of w: each adds its part of b as soon as BLAS is done with it.

    With `rectify` negative results become 0; NaN stays.

    w: (O, I), C-contiguous   x: (I, N), C- or F-contiguous   b: (O,)   out: (O, N), C-contiguous, overwritten
    """
    for index in prange(_blocks(out.shape[0])):
        start, stop = _block(out.shape[0], index)
        product_rows(w, x, False, start, stop, out)
        for row in range(start, stop):
            target = out[row]
            for n in range(target.size):
                value = target[n] + b[row]
                target[n] = 0 if rectify and value <= 0 else value


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
