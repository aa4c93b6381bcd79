"""A sparse matrix times a single column: one image, where there is no run of images to multiply by."""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel

from .runs import share

SERIAL = 20_000
"""Up to so many values, one thread is done before a second has woken up."""

TASKS = 16
"""Shares of about equally many values; not by the number of threads, so that it cannot change a bit."""


@helper
def _dot_rows(indptr, indices, data, x, b, out, start, stop):
    """Compute rows start to stop: of each, the sum of its values times what its columns name in x."""
    for row in range(start, stop):
        places, values = indices[indptr[row] : indptr[row + 1]], data[indptr[row] : indptr[row + 1]]
        total = b[row]
        for k in range(values.size):
            total += (
                values[k] * x[np.uint32(places[k])]
            )  # unsigned: no check for a negative index, so gathered as vectors
        out[row] = total


@kernel
def csr_matvec(indptr, indices, data, x, b, out):
    """out = A @ x + b, for a sparse A: (M, K) and a single column x.

    x: (K,)   b: (M,)   out: (M,), overwritten
    """
    if data.size <= SERIAL:
        _dot_rows(indptr, indices, data, x, b, out, 0, out.size)
    else:
        for task in prange(TASKS):
            start, stop = share(indptr, task, TASKS), share(indptr, task + 1, TASKS)
            _dot_rows(indptr, indices, data, x, b, out, start, stop)
