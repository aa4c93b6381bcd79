import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.export.flatbuffer import Table, layout, table, to_bytes
from tests.compression.export.readers import Record

POINT = layout("Point", "x:int8 y:int64 label children numbers flag:uint8")
INTS = st.integers(-128, 127)
POINTS = st.recursive(
    st.fixed_dictionaries(
        {}, optional={"x": INTS, "y": st.integers(-(2**63), 2**63 - 1), "label": st.text(max_size=5)}
    ),
    lambda children: st.fixed_dictionaries(
        {"children": st.lists(children, max_size=3)},
        optional={
            "numbers": st.lists(st.floats(width=32, allow_nan=False), max_size=4),
            "flag": st.booleans(),
            "x": INTS,
        },
    ),
    max_leaves=8,
)


def as_table(point):
    converted = dict(point)
    if "children" in point:
        converted["children"] = [as_table(child) for child in point["children"]]
    if "numbers" in point:
        converted["numbers"] = np.array(point["numbers"], np.float32)
    return table(POINT, **converted)


def read(record):
    """Read a Point; places of all its parts are checked for their alignment."""
    readers = {
        "x": lambda: record.scalar(0, "<i1"),
        "y": lambda: record.scalar(1, "<i8"),
        "label": lambda: record.text(2),
        "children": lambda: [read(child) for child in record.records(3)],
        "numbers": lambda: record.vector(4, "<f4").tolist(),
        "flag": lambda: bool(record.scalar(5, "<u1")),
    }
    places = [record.place(slot) for slot in range(len(readers))]
    assert places[1] is None or places[1] % 8 == 0
    assert all(places[slot] is None or places[slot] % 4 == 0 for slot in (2, 3, 4))
    assert places[4] is None or (record.target(4) + 4) % 16 == 0
    return {name: reader() for place, (name, reader) in zip(places, readers.items(), strict=True) if place is not None}


@settings(deadline=None)
@given(POINTS)
def test_what_is_written_is_read_again(point):
    data = to_bytes(as_table(point), b"TEST")
    assert data[4:8] == b"TEST"
    assert read(Record.root(data)) == point


def test_a_file_by_hand():
    # root at 16 | TEST | vtable: 6 bytes, table 5 bytes, x at 4 | table: 6 bytes back to the vtable, x
    kind = layout("One", "x:int8")
    data = to_bytes(table(kind, x=-2), b"TEST")
    assert data.hex(" ") == "10 00 00 00 54 45 53 54 00 00 06 00 05 00 04 00 06 00 00 00 fe"


def test_a_field_outside_the_layout_is_refused():
    with pytest.raises(ValueError, match=r"a Point has no field 'z'; it has x, y, label, children, numbers, flag"):
        table(POINT, z=1)


def test_a_scalar_that_does_not_fit_is_refused():
    with pytest.raises(OverflowError, match=r"300"):
        to_bytes(table(POINT, x=300), b"TEST")


def test_an_identifier_has_four_bytes():
    with pytest.raises(ValueError, match=r"identifier b'TFL' has 3 bytes, expected 4"):
        to_bytes(Table(POINT, {}), b"TFL")
