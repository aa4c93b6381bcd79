"""The weights of a layer in a .mgz file: codebook with relative indices, integers with a bit mask, or floats."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minigrad.tensor import Array

from ..quantization.codes import kmeans_codebook
from ..quantization.formats import fit_weight_params, quantize
from ..quantization.packing import pack
from ..sparse.csr import CSRMatrix
from .indices import to_absolute, to_relative
from .wire import FLOATS, Reader, check_way, write_floats, write_number, write_stream

WAYS = ("float", "codebook", "integer")
"""Ways to store weights; a file has their numbers in this list."""

CODES = 2**8
"""Most centroids of a codebook."""


@dataclass(frozen=True)
class Storage:
    """How a layer's weights are to be stored.

    Attributes:
        way: "codebook": numbers of centroids, zeros left out; what takes fewer values than the codebook has room for stays
            as it is, so that a codebook that was trained is not clustered again. "integer": a scale for each output, zeros
            left out if that is shorter. "float": as they are, zeros included.
        bits: of a centroid's number, 1 to 8; None: 8 in convolutions and 5 in linear layers, as the paper has them for
            LeNet-5; 8 where weights are shared already: at most 256 values, at least two weights for each. Of an integer,
            2 to 8; None: 8. Of a float, 16 or 32; None: 32.
        index_bits: of a codebook's relative indices, 0 to 8; None: whatever makes the file smallest.

    Raises:
        ValueError: there is no such way, or bits are out of range.

    Example:
        >>> Storage("codebook", bits=6, index_bits=5)  # as the paper stores LeNet-300-100
        Storage(way='codebook', bits=6, index_bits=5)
    """

    way: str = "codebook"
    bits: int | None = None
    index_bits: int | None = None

    def __post_init__(self) -> None:
        check_way("Storage: way", self.way, WAYS)
        if self.bits is not None:
            check_way(f"Storage: {self.way}: bits", self.bits, {"float": (16, 32), "integer": range(2, 9)}.get(
                self.way, range(1, 9)))  # fmt: skip
        if self.index_bits is not None:
            check_way("Storage: index_bits", self.index_bits, range(9))


@dataclass(frozen=True, eq=False)
class StoredWeight:
    """Weights that were read: which are not left out, and their values. They are not expanded until somebody asks.

    Attributes:
        shape: (outputs, ...).
        positions: int32 (n,), increasing, among all weights in C order.
        values: float32 (n,).
        way: of `WAYS`.
        entries: values in the file, filler zeros included.
        weight_bits, index_bits: of an entry's value and index, all being of one width.
        coded_weight_bits, coded_index_bits: of all entries' values and indices, as they are in the file.
        other_bytes: of codebook or scales.
    """

    shape: tuple[int, ...]
    positions: Array
    values: Array
    way: str
    entries: int
    weight_bits: int
    index_bits: int
    coded_weight_bits: int
    coded_index_bits: int
    other_bytes: int = 0

    @property
    def size(self) -> int:
        """Number of weights, zeros included."""
        return int(np.prod(self.shape, dtype=np.int64))

    def dense(self) -> Array:
        """Return all weights, float32."""
        w = np.zeros(self.size, np.float32)
        w[self.positions] = self.values
        return w.reshape(self.shape)

    def csr(self) -> CSRMatrix:
        """Return the weights as a sparse matrix, (outputs, ...), without making them dense."""
        rows, columns = self.shape[0], self.size // self.shape[0]
        indptr = np.searchsorted(self.positions, np.arange(rows + 1) * columns)
        return CSRMatrix(indptr, self.positions % columns, self.values, (rows, columns))


def write_weights(w: Array, storage: Storage, coded: bool, float_bits: int) -> bytes:
    """Return weights as bytes, their way first.

    Args:
        w: float32 (outputs, ...).
        storage: how; its bits are given.
        coded: whether Huffman codes may be used.
        float_bits: of centroids, 16 or 32.

    Raises:
        ValueError: a weight is NaN or infinite, or too large for float16.
    """
    if not np.isfinite(w).all():
        raise ValueError("a weight is NaN or infinite")
    writer: dict[str, Callable[[], bytes]] = {
        "float": lambda: write_floats(w, storage.bits or 32),
        "codebook": lambda: _write_codebook(w, storage, coded, float_bits),
        "integer": lambda: _write_integers(w, storage.bits or 8),
    }
    return bytes([WAYS.index(storage.way)]) + writer[storage.way]()


def read_weights(reader: Reader, shape: tuple[int, ...]) -> StoredWeight:
    """Return the weights that `write_weights` wrote.

    Raises:
        ValueError: the bytes are not weights of that shape.
    """
    way = WAYS[reader.number("way of storing", most=len(WAYS) - 1)]
    return {"float": _read_floats, "codebook": _read_codebook, "integer": _read_integers}[way](reader, shape)


def share_weights(w: Array, bits: int, float_bits: int = 32) -> tuple[Array, Array]:
    """Return the centroids of the weights that are not zero, and all weights' numbers among them.

    Weights that take no more values than fit keep them. A zero takes one of the 2**bits numbers.

    Args:
        w: float32, any shape.
        bits: of a number.
        float_bits: of a centroid: of two that are the same in float16 one is left, and one that is zero there counts as zero.

    Returns:
        float32 (k,), ascending, and integers of w's shape, k for a zero.

    Example:
        >>> share_weights(np.float32([0, 0.5, -2, 0.5]), bits=2)
        (array([-2. ,  0.5], dtype=float32), array([2, 1, 0, 1]))
    """
    w = np.asarray(w, np.float32)
    if len(np.unique(w)) > 2**bits:
        w = kmeans_codebook(w, bits).decode()
    with np.errstate(over="ignore"):  # refused where the centroids are written
        w = w.astype(FLOATS[float_bits]).astype(np.float32)
    kept = w != 0
    centroids, numbers = np.unique(w[kept], return_inverse=True)
    codes = np.full(w.shape, len(centroids))
    codes[kept] = numbers.reshape(-1)
    return centroids, codes


def _write_codebook(w: Array, storage: Storage, coded: bool, float_bits: int) -> bytes:
    """Write codebook and entries; of all orders and widths of indices the shortest, unless one was asked for."""
    centroids, codes = share_weights(w, storage.bits or 8, float_bits)
    codes = codes.reshape(len(w), -1)
    found = []
    for index_bits in range(9) if storage.index_bits is None else [storage.index_bits]:
        for order, row in enumerate((codes.reshape(-1), codes.T.reshape(-1))):
            positions = np.flatnonzero(row < len(centroids))
            gaps, filler = to_relative(positions, index_bits)
            symbols = np.full(gaps.size, len(centroids))
            symbols[~filler] = row[positions]
            content = bytes([order]) + write_number(gaps.size) + bytes([index_bits])
            content += write_stream(gaps, 2**index_bits, coded) if index_bits else b""
            found.append(content + write_stream(symbols, len(centroids) + 1, coded))
    return write_number(len(centroids)) + write_floats(centroids, float_bits) + min(found, key=len)


def _read_codebook(reader: Reader, shape: tuple[int, ...]) -> StoredWeight:
    size = int(np.prod(shape, dtype=np.int64))
    centroids = reader.floats(reader.number("number of centroids", most=CODES), "codebook")
    order = reader.number("order", most=1)
    count = reader.number("number of entries", most=size)
    index_bits = reader.number("bits of an index", most=8)
    gaps = reader.stream(count, 2**index_bits, "indices") if index_bits else None
    codes = reader.stream(count, len(centroids) + 1, "values")
    places = to_absolute(np.zeros(count, np.uint8) if gaps is None else gaps.symbols)
    if count and places[-1] >= size:
        raise ValueError(f"{reader.section}: the indices reach to weight {places[-1]}, and there are {size}")
    filler = codes.symbols == len(centroids)
    for stream, part in ((gaps, "indices"), (codes, "values")):  # whole bytes of what fillers take
        if stream is not None:
            bits = replace(stream, symbols=stream.symbols[filler]).bits
            reader.rename(part, "fillers", bits // 8)
    positions, values = places[~filler], centroids[codes.symbols[~filler]]
    if order == 1:
        positions, values = _by_rows(positions, values, shape)
    largest = int(codes.symbols.max(initial=0))
    return StoredWeight(
        shape, positions, values, "codebook",
        entries=count,
        weight_bits=max(1, largest.bit_length()),
        index_bits=index_bits,
        coded_weight_bits=codes.bits,
        coded_index_bits=0 if gaps is None else gaps.bits,
        other_bytes=reader.account[reader.section, "codebook"],
    )  # fmt: skip


def _by_rows(positions: Array, values: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Turn positions counted down the columns into positions along the rows."""
    rows = shape[0]
    columns = int(np.prod(shape[1:], dtype=np.int64))
    positions = positions % rows * columns + positions // rows
    order = np.argsort(positions, kind="stable")
    return positions[order], values[order]


def _write_integers(w: Array, bits: int) -> bytes:
    params = fit_weight_params(w, bits)
    q = quantize(w, params).reshape(-1)
    mask = q != 0
    kept, whole = pack(q[mask], bits), pack(q, bits)
    marks = pack(mask.astype(np.uint8), 1, signed=False)
    masked = marks.size + kept.size < whole.size
    stored = [marks, kept] if masked else [whole]
    content = bytes([bits, masked]) + write_number(params.scale.size) + write_floats(params.scale, 32)
    return content + b"".join(array.tobytes() for array in stored)


def _read_integers(reader: Reader, shape: tuple[int, ...]) -> StoredWeight:
    size = int(np.prod(shape, dtype=np.int64))
    bits = reader.number("bits of an integer", most=8, least=2)
    masked = reader.number("flag of the mask", most=1)
    count = reader.number("number of scales", most=shape[0], least=1)
    if count not in (1, shape[0]):
        raise ValueError(
            f"{reader.section}: there are {count} scales, expected one, or one for each of {shape[0]} outputs"
        )
    scale = reader.floats(count, "scales")
    kept = np.arange(size, dtype=np.int32)
    if masked:
        kept = np.flatnonzero(reader.packed(size, 1, "mask")).astype(np.int32)
    q = reader.packed(kept.size, bits, "values", signed=True)
    with np.errstate(over="ignore"):
        values = q * (scale[kept // (size // shape[0])] if count > 1 else scale)
    if not np.isfinite(values).all():
        raise ValueError(f"{reader.section}: a scale is so large that a weight is infinite")
    nonzero = q != 0
    return StoredWeight(
        shape, kept[nonzero], values[nonzero], "integer", int(kept.size), bits, masked, kept.size * bits, size * masked,
        other_bytes=reader.account[reader.section, "scales"],
    )  # fmt: skip


def _read_floats(reader: Reader, shape: tuple[int, ...]) -> StoredWeight:
    size = int(np.prod(shape, dtype=np.int64))
    before = reader.account[reader.section, "values"]
    values: Any = reader.floats(size, "values")
    bits = 8 * (reader.account[reader.section, "values"] - before) // size
    positions = np.flatnonzero(values).astype(np.int32)
    return StoredWeight(shape, positions, values[positions], "float", size, bits, 0, size * bits, 0)
