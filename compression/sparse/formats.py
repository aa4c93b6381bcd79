"""Other ways to store a sparse matrix: columns as small differences, a bit for each element, whole blocks.

`FORMATS` names them all, CSR included. Which is smallest depends on the sparsity: below about 97 % zeros a bit for each
element costs less than a column of 32 bits for each value.
"""

from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np

from minigrad.tensor import Array

from . import kernels
from .csr import CSRMatrix, narrowed
from .kernels import BLOCK_ROWS
from .matrix import (
    Entries,
    SparseMatrix,
    bias_or_zeros,
    check_columns,
    check_pointers,
    check_shape,
    check_values,
    row_numbers,
)

REACH = 256
"""Columns that a delta of 8 bits can move on by, at most."""


class DeltaMatrix(SparseMatrix):
    """CSR with the columns as differences of 8 bits: how many zeros lie between a value and the one before it in its row.

    Where more than 255 zeros lie between, a padding zero is stored: delta 255, value 0. It moves on by 256 columns. The
    matrix is for files: products are computed by the `CSRMatrix` that it stands for.

    Args:
        indptr: (rows + 1,), where each row begins, padding counted.
        deltas: (values,), uint8.
        data: (values,); what is zero is padding.
        shape: (rows, columns).

    Raises:
        ValueError: the arrays do not describe a matrix of that shape.

    Source:
        Han, Mao and Dally, "Deep Compression", 2015, figure 2 (which counts the step, one more than the zeros skipped).

    Example:
        >>> row = np.zeros((1, 700), np.float32)
        >>> row[0, [3, 4, 600]] = 1, 2, 3
        >>> a = DeltaMatrix.from_dense(row)
        >>> a.deltas.tolist(), a.data.tolist()
        ([3, 0, 255, 255, 83], [1.0, 2.0, 0.0, 0.0, 3.0])
    """

    parts = ("indptr", "deltas", "data")

    def __init__(self, indptr: Any, deltas: Any, data: Any, shape: Any):
        name = type(self).__name__
        self.shape = check_shape(name, shape)
        self.data = check_values(name, data)
        self.indptr = check_pointers(name, indptr, self.shape[0], self.data.size)
        self.deltas = np.array(deltas)
        if self.deltas.dtype != np.uint8 or self.deltas.shape != self.data.shape:
            raise ValueError(
                f"{name}: deltas must be uint8, one for each of the {self.data.size} values, "
                f"got {self.deltas.dtype} of shape {self.deltas.shape}"
            )
        self._csr = self._decode(name)

    def _decode(self, name: str) -> CSRMatrix:
        rows = row_numbers(self.indptr)
        ends = np.cumsum(self.deltas.astype(np.int64) + 1)
        columns = ends - np.concatenate([[0], ends])[self.indptr[:-1]][rows] - 1
        for k in np.flatnonzero(columns >= self.shape[1])[:1]:
            raise ValueError(
                f"{name}: row {rows[k]} reaches column {columns[k]}, but there are {self.shape[1]} columns"
            )
        keep = self.data != 0
        for k in np.flatnonzero(~keep & (self.deltas != REACH - 1))[:1]:
            raise ValueError(
                f"{name}: row {rows[k]} has a zero after delta {self.deltas[k]}; only padding is zero, and its delta is 255"
            )
        indptr = np.concatenate([[0], np.cumsum(keep)])[self.indptr]
        return CSRMatrix(indptr, columns[keep], self.data[keep], self.shape)

    @classmethod
    def from_csr(cls, csr: CSRMatrix, pointer_dtype: Any = None) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Store the entries of a CSRMatrix, but for explicit zeros.

        Raises:
            ValueError: a row pointer does not fit in pointer_dtype (None: int32).
        """
        keep = csr.data != 0
        rows, columns = row_numbers(csr.indptr)[keep], csr.indices[keep].astype(np.int64)
        previous = np.concatenate([[-1], columns[:-1]])[: columns.size]
        previous[1:][rows[1:] != rows[:-1]] = -1
        gaps = columns - previous - 1
        places = np.cumsum(gaps // REACH + 1) - 1  # where the values come, after the padding before each
        total = int(places[-1]) + 1 if places.size else 0
        deltas, data = np.full(total, REACH - 1, np.uint8), np.zeros(total, csr.data.dtype)
        deltas[places], data[places] = gaps % REACH, csr.data[keep]
        own = np.bincount(rows, gaps // REACH + 1, csr.shape[0])  # values of each row, padding counted
        indptr = np.concatenate([[0], np.cumsum(own)]).astype(np.int32)
        return cls(narrowed(cls.__name__, "indptr", indptr, pointer_dtype), deltas, data, csr.shape)

    def to_csr(self) -> CSRMatrix:
        """Return the matrix without padding."""
        return self._csr

    def to_runtime(self) -> SparseMatrix:
        """Return the CSRMatrix that the deltas stand for."""
        return self._csr

    def __matmul__(self, x: Any) -> Array:
        return self._csr @ x


class BitmaskMatrix(SparseMatrix):
    """A bit for each element, set where a value is stored, and those values, row by row.

    Args:
        mask: uint8, rows * columns bits in C order, 8 a byte, the lowest first; the last byte is filled up with zeros.
        data: (values,)
        shape: (rows, columns).

    Raises:
        ValueError: the arrays do not describe a matrix of that shape.

    Example:
        >>> a = BitmaskMatrix.from_dense(np.array([[5.0, 0, 0], [0, 7, 0]]))
        >>> f"{a.mask[0]:08b}", a.data.tolist()
        ('00010001', [5.0, 7.0])
    """

    parts = ("mask", "data")

    def __init__(self, mask: Any, data: Any, shape: Any):
        name = type(self).__name__
        self.shape = check_shape(name, shape)
        self.data = check_values(name, data)
        self.mask = np.array(mask)
        size = self.shape[0] * self.shape[1]
        if self.mask.dtype != np.uint8 or self.mask.shape != (-(-size // 8),):
            raise ValueError(
                f"{name}: mask must be {-(-size // 8)} bytes (uint8), a bit for each of {size} elements, "
                f"got {self.mask.dtype} of shape {self.mask.shape}"
            )
        bits = np.unpackbits(self.mask, bitorder="little")
        if bits[size:].any():
            raise ValueError(f"{name}: mask has a bit set beyond the last of {size} elements")
        if bits.sum() != self.data.size:
            raise ValueError(f"{name}: mask has {bits.sum()} bits set, but there are {self.data.size} values")
        own = bits[:size].reshape(self.shape).sum(axis=1, dtype=np.int64)
        self.indptr = np.concatenate([[0], np.cumsum(own)]).astype(np.int32)  # for products; files do without

    @classmethod
    def from_csr(cls, csr: CSRMatrix) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Store the entries of a CSRMatrix."""
        bits = np.zeros(csr.shape, np.uint8)
        bits[row_numbers(csr.indptr), csr.indices] = 1
        return cls(np.packbits(bits.reshape(-1), bitorder="little"), csr.data, csr.shape)

    @cached_property
    def entries(self) -> Entries:
        """All entries: they lie in the order of CSR."""
        bits = np.unpackbits(self.mask, count=self.shape[0] * self.shape[1], bitorder="little")
        columns = np.flatnonzero(bits) % max(self.shape[1], 1)
        return Entries(self.indptr, columns.astype(np.int32), np.arange(columns.size, dtype=np.int32))

    def to_csr(self) -> CSRMatrix:
        """Return the matrix with a column for each value."""
        return CSRMatrix(self.indptr, self.entries.indices, self.data, self.shape)

    def product(self, values: Array, x: Array, b: Array | None = None) -> Array:
        """A: (M, K), x: (K, P), b: (M,) -> (M, P)"""
        out = np.empty((self.shape[0], x.shape[1]), x.dtype)
        kernels.bitmask_matmul(self.mask, self.indptr, values, x, bias_or_zeros(b, self.shape[0], x.dtype), out)
        return out


class BlockMatrix(SparseMatrix):
    """Block CSR: of the blocks of four rows and `width` columns, those that are not all zero.

    A block is four rows high, since the product keeps four rows of results in registers and loads x once for all of them:
    a stored number costs a quarter of what it costs in CSR. Zeros inside a block stay zero in training.

    Args:
        indptr: (ceil(rows / 4) + 1,), where each row of blocks begins.
        indices: (blocks,), columns of blocks, increasing in each row.
        data: (blocks, 4, width); zero where a block reaches beyond the matrix.
        shape: (rows, columns).

    Raises:
        ValueError: the arrays do not describe a matrix of that shape.

    Example:
        >>> a = BlockMatrix.from_dense(np.kron(np.eye(2), np.ones((4, 3))), width=3)
        >>> a.indices.tolist(), a.data.shape
        ([0, 1], (2, 4, 3))
    """

    parts = ("indptr", "indices", "data")

    def __init__(self, indptr: Any, indices: Any, data: Any, shape: Any):
        name = type(self).__name__
        self.shape = check_shape(name, shape)
        self.data = check_values(name, data, ndim=3)
        blocks, height, self.width = self.data.shape
        if height != BLOCK_ROWS or self.width < 1:
            raise ValueError(f"{name}: data must be (blocks, {BLOCK_ROWS}, width), got {self.data.shape}")
        block_rows, block_columns = -(-self.shape[0] // BLOCK_ROWS), -(-self.shape[1] // self.width)
        self.indptr = check_pointers(name, indptr, block_rows, blocks, "blocks")
        self.indices = check_columns(name, self.indptr, indices, block_columns, blocks, "blocks")
        rows = row_numbers(self.indptr)[:, None, None] * BLOCK_ROWS + np.arange(BLOCK_ROWS)[:, None]
        columns = self.indices[:, None, None].astype(np.int64) * self.width + np.arange(self.width)
        rows, columns = np.broadcast_arrays(rows, columns)
        filled = self.data != 0
        outside = (rows >= self.shape[0]) | (columns >= self.shape[1])
        if (filled & outside).any():
            raise ValueError(
                f"{name}: a block has a value beyond the edge of shape {self.shape}; it must be zero there"
            )
        places = np.flatnonzero(filled)
        sorted_places = places[np.lexsort((columns[filled], rows[filled]))]
        counts = np.bincount(rows[filled], minlength=self.shape[0])
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self._entries = Entries(indptr, columns.reshape(-1)[sorted_places].astype(np.int32), sorted_places)

    @classmethod
    def from_csr(cls, csr: CSRMatrix, width: int = 4, pointer_dtype: Any = None) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Store the entries of a CSRMatrix in blocks of four rows and `width` columns.

        Raises:
            ValueError: width is below 1; a row pointer does not fit in pointer_dtype (None: int32).
        """
        if width < 1:
            raise ValueError(f"{cls.__name__}: width is {width}, expected 1 or more columns a block")
        rows, across = row_numbers(csr.indptr), -(-csr.shape[1] // width)
        number = rows // BLOCK_ROWS * np.int64(across) + csr.indices // width
        blocks, place = np.unique(number, return_inverse=True)
        data = np.zeros((blocks.size, BLOCK_ROWS, width), csr.data.dtype)
        data[place, rows % BLOCK_ROWS, csr.indices % width] = csr.data
        own = np.bincount(blocks // max(across, 1), minlength=-(-csr.shape[0] // BLOCK_ROWS))
        indptr = narrowed(cls.__name__, "indptr", np.concatenate([[0], np.cumsum(own)]), pointer_dtype)
        return cls(indptr, blocks % max(across, 1), data, csr.shape)

    @property
    def count(self) -> int:
        """How many values are stored, zeros inside blocks among them."""
        return self.indices.size * BLOCK_ROWS * self.width

    @property
    def entries(self) -> Entries:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The entries that were not zero when the matrix was made."""
        return self._entries

    @property
    def in_order(self) -> bool:
        """Whether every stored value is an entry, and they lie row by row: not in blocks."""
        return False

    def to_csr(self) -> CSRMatrix:
        """Return the matrix with a column for each entry."""
        indptr, indices, order = self.entries
        return CSRMatrix(indptr, indices, self.data.reshape(-1)[order], self.shape)

    def with_data(self, data: Array) -> Self:
        """Return a matrix of the same structure with other values, flat, which are not checked or copied."""
        return super().with_data(data.reshape(-1, BLOCK_ROWS, self.width))

    def product(self, values: Array, x: Array, b: Array | None = None) -> Array:
        """A: (M, K), x: (K, P), b: (M,) -> (M, P)"""
        rows = (len(self.indptr) - 1) * BLOCK_ROWS
        out = np.empty((rows, x.shape[1]), x.dtype)
        data = values.reshape(-1, BLOCK_ROWS, self.width)
        kernels.block_matmul(self.indptr, self.indices, data, x, bias_or_zeros(b, rows, x.dtype), out)
        return out[: self.shape[0]]


class Format(NamedTuple):
    """A class of matrices, and the widths that make it this format."""

    matrix: type[SparseMatrix]
    widths: dict[str, Any]


FORMATS = {
    "csr": Format(CSRMatrix, {"index_dtype": np.int32}),
    "csr16": Format(CSRMatrix, {"index_dtype": np.int16}),
    "csr8": Format(DeltaMatrix, {}),
    "bitmask": Format(BitmaskMatrix, {}),
    "block": Format(BlockMatrix, {}),
}
"""Every format by name: CSR with int32 columns, with int16 columns, with uint8 deltas; bit mask; blocks of 4 × 4."""


def encode(matrix: SparseMatrix | Array, format: str = "csr", pointer_dtype: Any = np.int32) -> SparseMatrix:
    """Store a matrix in the format of that name; `to_dense()` of the result decodes it.

    Args:
        matrix: an array (rows, columns), whose zeros are left out, or a matrix in any format.
        format: of `FORMATS`.
        pointer_dtype: of row pointers, np.int32 or np.int16. A bit mask has none.

    Raises:
        ValueError: there is no such format, or a column or row pointer does not fit into its width.

    Example:
        >>> w = np.eye(64, dtype=np.float32)
        >>> {name: encode(w, name).nbytes for name in FORMATS}
        {'csr': 772, 'csr16': 644, 'csr8': 580, 'bitmask': 768, 'block': 1156}
    """
    check_format("encode", format)
    cls, widths = FORMATS[format]
    csr = matrix.to_csr() if isinstance(matrix, SparseMatrix) else CSRMatrix.from_dense(matrix)
    return cls.from_csr(csr, **widths, **({"pointer_dtype": pointer_dtype} if "indptr" in cls.parts else {}))


def check_format(name: str, format: Any) -> None:
    """Check that there is such a format."""
    if format not in FORMATS:
        raise ValueError(f"{name}: there is no format {format!r}; there are {', '.join(FORMATS)}")
