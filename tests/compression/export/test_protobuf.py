import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.export.protobuf import message, varint
from tests.compression.export.readers import read_message, read_varint

NUMBERS = st.integers(-(2**63), 2**64 - 1)
VALUES = st.one_of(
    NUMBERS, st.binary(max_size=200), st.text(max_size=5), st.lists(NUMBERS), st.lists(st.binary(max_size=3))
)


@settings(deadline=None)
@given(NUMBERS)
def test_integers_are_read_again(value):
    data = varint(value)
    assert read_varint(data, 0) == (value % 2**64, len(data))
    assert len(data) == max(1, -(-(value % 2**64).bit_length() // 7))


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 40), VALUES))
def test_messages_are_read_again(fields):
    expected = {}
    for number, value in fields.items():
        values = value if isinstance(value, list) else [value]
        if values:
            expected[number] = [
                v % 2**64 if isinstance(v, int) else v.encode() if isinstance(v, str) else v for v in values
            ]
    assert read_message(message(fields)) == expected


def test_a_message_within_a_message():
    inner = message({1: "x"})
    assert read_message(read_message(message({7: inner}))[7][0]) == {1: [b"x"]}


def test_more_than_64_bits_are_refused():
    with pytest.raises(ValueError, match=r"18446744073709551616 has more than 64 bits"):
        varint(2**64)
