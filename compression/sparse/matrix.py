"""What every sparse format has in common: the checks of its arrays, and products that follow from its entries."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from minigrad.tensor import Array

from . import kernels

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
VALUES = (*FLOATS, np.dtype(np.int8))
LARGEST = 2**31 - 1
INT8_ROW = LARGEST // 128**2
"""Entries of a row whose products of int8 fit in int32 for certain."""


class Entries(NamedTuple):
    """Where a matrix's trained entries are, in CSR form, and where their values lie in its `data`."""

    indptr: Array
    indices: Array
    order: Array


class SparseMatrix:
    """Base of the sparse formats: a matrix (rows, columns), most of it zero, that is stored without its zeros.

    Attributes:
        shape: (rows, columns).
        data: the stored values. float32, float64 or int8.
        parts: names of the arrays that make up the format.
    """

    parts: ClassVar[tuple[str, ...]]
    shape: tuple[int, int]
    data: Array

    @classmethod
    def from_dense(cls, array: Any, **widths: Any) -> Self:
        """Store an array of two axes; what is zero is left out. `widths`: see each format's `from_csr`.

        Raises:
            ValueError: the array has other axes, or a dtype that is not stored.
        """
        from .csr import CSRMatrix  # which is built on this class

        return cls.from_csr(CSRMatrix.from_dense(array), **widths)

    @classmethod
    def from_csr(cls, csr: Any, **widths: Any) -> Self:
        """Store the entries of a `CSRMatrix`, explicit zeros among them."""
        raise NotImplementedError

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], shape: Any) -> Self:
        """Build a matrix of what `arrays()` gave.

        Raises:
            ValueError: an array is missing, unknown, or not what the format needs.
        """
        if set(arrays) != set(cls.parts):
            raise ValueError(
                f"{cls.__name__}: it is made of {', '.join(cls.parts)}, but got {', '.join(sorted(arrays)) or 'nothing'}"
            )
        return cls(*(arrays[part] for part in cls.parts), shape)  # pyright: ignore[reportCallIssue]

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that are to be stored, by name."""
        return {part: getattr(self, part) for part in self.parts}

    @property
    def count(self) -> int:
        """How many values are stored: known by the structure alone."""
        return self.entries.order.size

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that are to be stored."""
        return sum(array.nbytes for array in self.arrays().values())

    def to_csr(self) -> Any:
        """Return the matrix as a `CSRMatrix`."""
        raise NotImplementedError

    def to_dense(self) -> Array:
        """Return the matrix as an array with all its zeros."""
        return self.to_csr().to_dense()

    @cached_property
    def entries(self) -> Entries:
        """The entries that training may change. Other stored values, such as zeros in a block, stay as they are."""
        raise NotImplementedError

    @cached_property
    def transposed_entries(self) -> Entries:
        """The same entries, those of a column together."""
        return transpose_entries(self.entries, self.shape[1])

    @property
    def in_order(self) -> bool:
        """Whether every stored value is an entry, and they lie row by row, as in CSR."""
        return True

    def with_data(self, data: Array) -> Self:
        """Return a matrix of the same structure with other values, flat, which are not checked or copied."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), data=data)
        return other

    def to_runtime(self) -> "SparseMatrix":
        """Return the matrix in the form that it computes in: itself, unless the format is for files only."""
        return self

    # Products. x and g are C-contiguous and of the values' dtype; values are flat, as a layer trains them.

    def product(self, values: Array, x: Array, b: Array | None = None) -> Array:
        """A: (M, K), x: (K, P), b: (M,) -> (M, P)"""
        raise NotImplementedError

    def transposed_product(self, values: Array, g: Array) -> Array:
        """A: (M, K), g: (M, P) -> A.T @ g: (K, P)"""
        out = np.empty((self.shape[1], g.shape[1]), g.dtype)
        kernels.csr_matmul_transposed(*self.transposed_entries, values, g, out)
        return out

    def sampled(self, g: Array, x: Array) -> Array:
        """g: (M, P), x: (K, P) -> g @ x.T at the trained entries, zero at other stored values"""
        out = np.zeros(self.count, g.dtype)
        kernels.csr_sampled(*self.entries, g, x, out)
        return out

    def __matmul__(self, x: Any) -> Array:
        name = type(self).__name__
        if not isinstance(x, np.ndarray):
            raise TypeError(f"{name} @ x: x must be an array, got {type(x).__name__}; a SparseLinear takes Tensors")
        if x.ndim != 2 or len(x) != self.shape[1]:
            raise ValueError(
                f"{name} @ x: x must be ({self.shape[1]}, P), as many rows as the matrix has columns "
                f"(matrix: {self.shape}, x: {x.shape}); is a transpose missing?"
            )
        if x.dtype != self.data.dtype:
            raise TypeError(f"{name} @ x: the matrix is {self.data.dtype}, x is {x.dtype}; convert one with astype")
        if x.dtype == np.int8:
            return self._int8_product(np.ascontiguousarray(x))
        return self.product(self.data.reshape(-1), np.ascontiguousarray(x))

    def _int8_product(self, x: Array) -> Array:
        csr = self.to_csr()
        longest = int(np.diff(csr.indptr).max(initial=0))
        if longest > INT8_ROW:
            raise ValueError(
                f"{type(self).__name__} @ x: a row of {longest} int8 entries could overflow int32; {INT8_ROW} are safe"
            )
        out = np.empty((self.shape[0], x.shape[1]), np.int32)
        kernels.csr_matmul_int8(csr.indptr, csr.indices, csr.data, x, out)
        return out

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, values={self.data.size}, {self.data.dtype})"


def transpose_entries(entries: Entries, columns: int) -> Entries:
    """Sort entries by column, those of one column by row: the CSR form of the transposed matrix."""
    order = np.argsort(entries.indices, kind="stable")
    rows = row_numbers(entries.indptr)[order]
    indptr = np.zeros(columns + 1, np.int32)
    np.cumsum(np.bincount(entries.indices, minlength=columns), out=indptr[1:])
    return Entries(indptr, rows, entries.order[order])


def row_numbers(indptr: Array) -> Array:
    """Return each entry's row.

    Example:
        >>> row_numbers(np.array([0, 2, 2, 3])).tolist()
        [0, 0, 2]
    """
    return np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))


def bias_or_zeros(b: Array | None, rows: int, dtype: Any) -> Array:
    """Return b with zeros after its end, or zeros, of length `rows`."""
    if b is not None and len(b) == rows:
        return np.ascontiguousarray(b)
    padded = np.zeros(rows, dtype)
    if b is not None:
        padded[: len(b)] = b
    return padded


# Checks. Each returns what it checked, as the format stores it, and raises one sentence otherwise.


def check_shape(name: str, shape: Any) -> tuple[int, int]:
    """Check that shape is two whole numbers of which none is negative or too large for int32."""
    try:
        sizes = tuple(shape)
    except TypeError:
        sizes = ()
    if len(sizes) != 2 or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in sizes):
        raise ValueError(f"{name}: shape must be two whole numbers, (rows, columns), got {shape!r}")
    if min(sizes) < 0:
        raise ValueError(f"{name}: shape {sizes} has a negative size")
    if max(sizes) > LARGEST:
        raise ValueError(f"{name}: shape {sizes} has a size beyond {LARGEST}, the largest column that int32 can name")
    return int(sizes[0]), int(sizes[1])


def check_values(name: str, data: Any, ndim: int = 1) -> Array:
    """Check that data holds numbers of a dtype that is stored. NaN may be among them: training must be able to see it."""
    data = np.asarray(data)
    if data.ndim != ndim:
        raise ValueError(f"{name}: data must have {ndim} {'axis' if ndim == 1 else 'axes'}, got shape {data.shape}")
    if data.dtype not in VALUES:
        raise ValueError(f"{name}: data must be float32, float64 or int8, got {data.dtype}")
    return np.ascontiguousarray(data)


def check_integers(name: str, what: str, array: Any) -> Array:
    """Check that an array has one axis and whole numbers; return a copy, int16 if it was int16, else int32."""
    array = np.asarray(array)
    if array.ndim != 1:
        raise ValueError(f"{name}: {what} must have one axis, got shape {array.shape}")
    if array.dtype not in (np.int16, np.int32, np.int64):
        raise ValueError(f"{name}: {what} must hold whole numbers, int16, int32 or int64, got {array.dtype}")
    if array.size and (array.min() < -LARGEST or array.max() > LARGEST):
        raise ValueError(f"{name}: {what} holds a number beyond int32")
    return array.astype(np.int16 if array.dtype == np.int16 else np.int32)


def check_pointers(name: str, indptr: Any, rows: int, count: int, what: str = "values") -> Array:
    """Check that indptr cuts `count` entries into `rows` rows."""
    indptr = check_integers(name, "indptr", indptr)
    if len(indptr) != rows + 1:
        raise ValueError(
            f"{name}: indptr has {len(indptr)} numbers, but {rows} rows need {rows + 1}, one more than rows; "
            "is shape transposed?"
        )
    if indptr[0] != 0:
        raise ValueError(f"{name}: indptr starts at {indptr[0]}, expected 0")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        row = falls[0]
        raise ValueError(f"{name}: indptr falls from {indptr[row]} to {indptr[row + 1]} at row {row}; it may only grow")
    if indptr[-1] != count:
        raise ValueError(f"{name}: indptr ends at {indptr[-1]}, but there are {count} {what}")
    return indptr


def check_columns(name: str, indptr: Array, indices: Any, columns: int, count: int, what: str = "values") -> Array:
    """Check that each row's columns exist and increase."""
    indices = check_integers(name, "indices", indices)
    if len(indices) != count:
        raise ValueError(f"{name}: there are {len(indices)} indices, but {count} {what}; each needs its column")
    rows = row_numbers(indptr)
    for wrong, why in ((indices < 0, "columns count from 0"), (indices >= columns, f"there are {columns} columns")):
        for k in np.flatnonzero(wrong)[:1]:
            raise ValueError(f"{name}: row {rows[k]} has column {indices[k]}, but {why}")
    for k in np.flatnonzero((rows[1:] == rows[:-1]) & (indices[1:] <= indices[:-1]))[:1]:
        if indices[k] == indices[k + 1]:
            raise ValueError(f"{name}: row {rows[k]} lists column {indices[k]} twice; add the two values up")
        raise ValueError(
            f"{name}: row {rows[k]} lists column {indices[k + 1]} after column {indices[k]}; sort the columns of each row"
        )
    return indices
