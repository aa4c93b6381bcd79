"""FlatBuffers, as far as a .tflite file needs them: tables, vectors and strings that refer to each other by distance.

Everything is little-endian. A reference is a uint32: how many bytes on, from its own place, the thing begins. A vector is
a uint32 count and its items; a string is a vector of bytes with a zero behind it. A table begins with an int32, how many
bytes back its vtable begins; then come its fields, a scalar in full, anything else as a reference. The vtable is uint16
numbers: its own size, the table's size, and for each slot where the field lies in the table, 0 if it is left out. So a
field's name is nowhere in the file: what counts is its slot, its place in the schema.

Source:
    https://flatbuffers.dev/internals
"""

import struct
from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 16  # of a vector's first item; the schema of .tflite asks it of weights, and it suits all others


class Layout(NamedTuple):
    """A kind of table: its fields in the order of their slots, with the dtype of a scalar, "" for a reference."""

    name: str
    fields: dict[str, str]


class Table(NamedTuple):
    """A table to be written: fields that are not in `values` are left out."""

    layout: Layout
    values: dict[str, Any]


def layout(name: str, fields: str) -> Layout:
    """Return the layout of a table, from its fields in the order of the schema: "name:dtype", or "name" if it refers.

    Example:
        >>> layout("Tensor", "shape type:int8 buffer:uint32").fields
        {'shape': '', 'type': 'int8', 'buffer': 'uint32'}
    """
    return Layout(name, {field: dtype for field, _, dtype in (text.partition(":") for text in fields.split())})


def table(kind: Layout, **values: Any) -> Table:
    """Return a table to be written.

    Args:
        kind: its layout.
        values: an int for a scalar. For a reference a Table, a str, an array (a vector of scalars) or a list (a vector of
            references).

    Raises:
        ValueError: the layout has no field of a name.
    """
    for name in values:
        if name not in kind.fields:
            raise ValueError(f"flatbuffer: a {kind.name} has no field {name!r}; it has {', '.join(kind.fields)}")
    return Table(kind, values)


def to_bytes(root: Table, identifier: bytes) -> bytes:
    """Return a file: a reference to the root table, four bytes that name the format, and all tables, outer ones first.

    Example:
        >>> point = table(layout("Point", "x:int32 label"), x=7, label="P")
        >>> to_bytes(point, b"DEMO")[4:8]
        b'DEMO'
    """
    if len(identifier) != 4:
        raise ValueError(f"flatbuffer: the identifier {identifier!r} has {len(identifier)} bytes, expected 4")
    out = bytearray(bytes(4) + identifier)
    _refer(out, 0, root)
    return bytes(out)


def _refer(out: bytearray, place: int, value: Any) -> None:
    """Append a value, and write at `place` how far on it begins."""
    if isinstance(value, Table):
        start = _append_table(out, value)
    elif isinstance(value, list):
        start = _append_count(out, len(value))
        out += bytes(4 * len(value))
        for index, item in enumerate(value):
            _refer(out, start + 4 + 4 * index, item)
    elif isinstance(value, str):
        start = _append_count(out, len(value.encode()))
        out += value.encode() + b"\0"
    else:
        array = np.ascontiguousarray(value)
        start = _append_count(out, array.size)
        out += array.astype(array.dtype.newbyteorder("<")).tobytes()
    struct.pack_into("<I", out, place, start - place)


def _append_count(out: bytearray, count: int) -> int:
    """Append a vector's count so that its first item is aligned, and return where the count stands."""
    _pad(out, ALIGNMENT, ahead=4)
    out += struct.pack("<I", count)
    return len(out) - 4


def _append_table(out: bytearray, value: Table) -> int:
    """Append a table's vtable, the table, and what it refers to; return where the table begins."""
    fields, places, size = value.layout.fields, dict[str, int](), 4
    for name in value.values:
        width = np.dtype(fields[name] or "uint32").itemsize
        places[name] = size + -size % width
        size = places[name] + width
    slots = [places.get(name, 0) for name in fields]
    _pad(out, 8, ahead=4 + 2 * len(slots))  # the table, which the vtable ends at, begins at a multiple of 8
    vtable, start = len(out), len(out) + 4 + 2 * len(slots)
    out += struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), size, *slots)
    out += struct.pack("<i", start - vtable) + bytes(size - 4)
    for name, item in value.values.items():
        at = start + places[name]
        if fields[name]:
            scalar = np.array(item, fields[name])
            out[at : at + scalar.itemsize] = scalar.astype(scalar.dtype.newbyteorder("<")).tobytes()
        else:
            _refer(out, at, item)
    return start


def _pad(out: bytearray, alignment: int, ahead: int) -> None:
    """Append zeros until what comes `ahead` bytes later is aligned."""
    out += bytes(-(len(out) + ahead) % alignment)
