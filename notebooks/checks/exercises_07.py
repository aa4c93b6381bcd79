"""Notebook 07: sparse storage and products."""

import numpy as np

from minigrad.compression.sparse import CSRMatrix, encode
from minigrad.compression.sparse.atlas import crossing

from .checking import Task


def exercise_1(a):
    """A matrix as CSR."""
    csr = CSRMatrix.from_dense(a)
    indptr, indices, data = csr.indptr, csr.indices, csr.data
    return Task(
        (indptr, indices, data),
        hint="data: the non-zeros, row by row. indices: their columns. indptr: how many come before each row.",
        stronger="An empty row begins where the next one begins. indptr has 6 numbers, and ends with 3.",
        mistakes=[
            ((indptr[:-1], indices, data), "indptr has one number more than there are rows: the end of the last row."),
            ((np.array([0, 1, 0, 0, 2, 0]), indices, data), "Those are the counts. indptr adds them up."),
            ((indptr, indices + 1, data), "Columns count from 0."),
            ((indptr, indices[[1, 0, 2]], data[[1, 0, 2]]), "CSR goes row by row, not column by column."),
        ],
    )


def exercise_2(csr):
    """Sums of rows from the three arrays."""
    pieces = [csr.data[start:stop] for start, stop in zip(csr.indptr[:-1], csr.indptr[1:], strict=True)]
    starts = np.minimum(csr.indptr[:-1], csr.data.size - 1)
    return Task(
        np.array([piece.sum() for piece in pieces]),
        hint="Row i is data[indptr[i] : indptr[i + 1]].",
        stronger="Sum that slice for each i; the sum of an empty slice is 0.",
        mistakes=[
            (
                np.add.reduceat(csr.data, starts),
                "np.add.reduceat takes the next row's first number for an empty row, 7.",
            ),
            (np.diff(csr.indptr), "Those are the counts of non-zeros. What are their values?"),
            (
                np.array([piece.mean() if piece.size else 0 for piece in pieces]),
                "Those are the means of the non-zeros.",
            ),
        ],
    )


def exercise_3():
    """Bytes of a bit mask and of CSR."""
    layer = np.zeros(300 * 784, np.float32)
    layer[np.random.default_rng(0).permutation(layer.size)[:18_816]] = 1
    mask, csr = (encode(layer.reshape(300, 784), name).nbytes for name in ("bitmask", "csr"))
    return Task(
        (mask, csr),
        hint="Bit mask: a bit for every element, and the values. CSR: values, columns, and where the rows begin.",
        stronger="300 · 784 / 8 + 4 · 18,816 against 4 · 18,816 + 4 · 18,816 + 4 · 301.",
        mistakes=[
            ((300 * 784 + 4 * 18_816, csr), "A bit for each element, not a byte: divide by 8."),
            ((300 * 784 // 8, csr), "The mask alone is not enough: the values are needed too, four bytes each."),
            ((mask, 8 * 18_816 + 4 * 300), "indptr has one number more than there are rows."),
            ((mask, 8 * 18_816), "Where do the rows begin? indptr takes bytes, too."),
        ],
    )


def exercise_4():
    """Where two curves cross."""
    return Task(
        float(crossing([0.5, 0.6, 0.8, 0.95], [900 / 600, 750 / 600, 450 / 600, 150 / 600])),
        rtol=1e-3,
        hint="At 0.6 CSR is slower (750 µs), at 0.8 it is faster (450 µs): it is somewhere between.",
        stronger="600 lies halfway between 750 and 450: so does the sparsity.",
        mistakes=[
            (70, "A sparsity is a share, between 0 and 1."),
            (0.8, "That is the first point measured at which CSR is faster. Draw the line to the point before."),
            (0.6, "That is the last point measured at which CSR is slower."),
        ],
    )  # fmt: skip
