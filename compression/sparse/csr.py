"""Compressed sparse rows: the values row by row, the column of each, and where each row begins."""

from functools import cached_property
from typing import Any, Self

import numpy as np

from minigrad.tensor import Array

from . import kernels
from .matrix import (
    Entries,
    SparseMatrix,
    bias_or_zeros,
    check_columns,
    check_pointers,
    check_shape,
    check_values,
    row_numbers,
    transpose_entries,
)


class CSRMatrix(SparseMatrix):
    """A sparse matrix in CSR form: row i's values are data[indptr[i]:indptr[i + 1]], their columns indices[the same].

    Args:
        indptr: (rows + 1,), int16, int32 or int64.
        indices: (values,), int16, int32 or int64; the columns of each row increase.
        data: (values,), float32, float64 or int8. Zeros may be among them: they are stored as any other value.
        shape: (rows, columns).

    Attributes:
        indptr, indices: copies, int16 where int16 was given, else int32.
        data, shape: as given.

    Raises:
        ValueError: the arrays do not describe a matrix of that shape; the sentence says which of them, and where.

    Source:
        Tinney and Walker, "Direct solutions of sparse network equations by optimally ordered triangular factorization",
        1967. The names are SciPy's.

    Example:
        >>> a = CSRMatrix.from_dense(np.array([[5.0, 0, 0], [0, 0, 0], [0, 7, 8]]))
        >>> a.indptr.tolist(), a.indices.tolist(), a.data.tolist()
        ([0, 1, 1, 3], [0, 1, 2], [5.0, 7.0, 8.0])
        >>> a @ np.ones((3, 1))
        array([[ 5.],
               [ 0.],
               [15.]])
        >>> CSRMatrix([0, 1], [4], np.ones(1), shape=(1, 3))
        Traceback (most recent call last):
            ...
        ValueError: CSRMatrix: row 0 has column 4, but there are 3 columns
    """

    parts = ("indptr", "indices", "data")

    def __init__(self, indptr: Any, indices: Any, data: Any, shape: Any):
        name = type(self).__name__
        self.shape = check_shape(name, shape)
        self.data = check_values(name, data)
        self.indptr = check_pointers(name, indptr, self.shape[0], self.data.size)
        self.indices = check_columns(name, self.indptr, indices, self.shape[1], self.data.size)

    @classmethod
    def from_dense(cls, array: Any, **widths: Any) -> Self:
        """Store an array of two axes; what is zero is left out (NaN is not). See `from_csr` for the keywords.

        Raises:
            ValueError: the array has other axes, or a dtype that is not stored.
        """
        array = check_values(f"{cls.__name__}.from_dense", array, ndim=2)
        rows, columns = np.nonzero(array)
        indptr = np.zeros(len(array) + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=len(array)), out=indptr[1:])
        return cls.from_csr(cls(indptr, columns, array[rows, columns], array.shape), **widths)

    @classmethod
    def from_csr(cls, csr: "CSRMatrix", index_dtype: Any = None, pointer_dtype: Any = None) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Store the columns and row pointers in integers of another width: np.int16 or np.int32.

        Raises:
            ValueError: a number does not fit.
        """
        arrays = csr.arrays()
        for part, dtype in (("indptr", pointer_dtype), ("indices", index_dtype)):
            arrays[part] = narrowed(cls.__name__, part, arrays[part], dtype)
        return cls.from_arrays(arrays, csr.shape)

    def to_csr(self) -> "CSRMatrix":
        """Return the matrix itself."""
        return self

    def to_dense(self) -> Array:
        """Return the matrix as an array with all its zeros."""
        dense = np.zeros(self.shape, self.data.dtype)
        dense[row_numbers(self.indptr), self.indices] = self.data
        return dense

    @cached_property
    def entries(self) -> Entries:
        """All entries: each lies in `data` where CSR has it."""
        return Entries(self.indptr, self.indices, np.arange(self.indices.size, dtype=np.int32))

    @property
    def T(self) -> "CSRMatrix":
        """The transposed matrix, its values copied."""
        indptr, indices, order = transpose_entries(self.entries, self.shape[1])
        return CSRMatrix(indptr, indices, self.data[order], self.shape[::-1])

    def product(self, values: Array, x: Array, b: Array | None = None) -> Array:
        """A: (M, K), x: (K, P), b: (M,) -> (M, P)"""
        out = np.empty((self.shape[0], x.shape[1]), x.dtype)
        arrays = self.indptr, self.indices, values
        b = bias_or_zeros(b, self.shape[0], x.dtype)
        if x.shape[1] == 1:
            kernels.csr_matvec(*arrays, x.reshape(-1), b, out.reshape(-1))
        else:
            kernels.csr_matmul(*arrays, x, b, out)
        return out


def narrowed(name: str, what: str, array: Array, dtype: Any) -> Array:
    """Return integers as `dtype` (None: as they are).

    Raises:
        ValueError: one does not fit.
    """
    if dtype is None:
        return array
    if array.size and array.max() > np.iinfo(dtype).max:
        raise ValueError(f"{name}: {what} reaches {array.max()}, which does not fit in {np.dtype(dtype).name}")
    return array.astype(dtype)
