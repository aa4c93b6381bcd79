"""Elias's recursive code against its table, and against a reader of texts of 0 and 1."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.gradients import elias
from tests.sentences import raises

TABLE = {1: "0", 2: "100", 3: "110", 4: "101000", 7: "101110", 8: "1110000", 15: "1111110", 16: "10100100000",
         100: "1011011001000", 1000: "11100111111010000"}  # fmt: skip
"""The omega code as it is printed everywhere."""

NUMBERS = st.lists(st.one_of(st.integers(1, 40), st.integers(1, 2**32 - 1)), max_size=30)


def bits(payload):
    return "".join(f"{byte:08b}"[::-1] for byte in payload)


def by_text(text, count):
    """Read numbers from a text of 0 and 1."""
    numbers = []
    for _ in range(count):
        number = 1
        while text[0] == "1":
            number, text = int(text[: number + 1], 2), text[number + 1 :]
        text = text[1:]
        numbers.append(number)
    return numbers


@pytest.mark.parametrize("number", TABLE)
def test_codes_of_the_table(number):
    assert bits(elias.encode([number])) == TABLE[number].ljust(-(-len(TABLE[number]) // 8) * 8, "0")
    assert elias.code_length(number) == len(TABLE[number])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(NUMBERS, st.binary(max_size=3))
def test_numbers_come_back_whatever_follows_them(numbers, more):
    payload = elias.encode(numbers)
    assert len(payload) == -(-sum(map(elias.code_length, numbers)) // 8)
    assert by_text(bits(payload), len(numbers)) == numbers
    found, used = elias.decode(payload + more, len(numbers))
    assert (found.tolist(), used) == (numbers, len(payload))


def test_numbers_out_of_range_are_refused():
    for bad in (0, -3, 2**32):
        with raises(ValueError, f"elias.encode: numbers from {min(bad, 5)} to {max(bad, 5)}, expected 1 to 4294967295"):
            elias.encode([5, bad])


def test_streams_that_end_too_soon_and_numbers_that_are_too_large_are_refused():
    with raises(ValueError, "1 bytes hold fewer than 1 Elias codes of numbers up to 4294967295"):
        elias.decode(elias.encode([1000])[:1], 1)
    beyond = "1" + "0" + "1" + "01" + "1" + "00000" + "1" + "0" * 32 + "0"  # 2, 5, 32, 2**32
    payload = np.packbits([int(bit) for bit in beyond], bitorder="little").tobytes()
    with raises(ValueError, "6 bytes hold fewer than 1 Elias codes of numbers up to 4294967295"):
        elias.decode(payload, 1)
    with raises(ValueError, "9 Elias codes are said to be in 1 bytes"):
        elias.decode(b"\0", 9)


def test_entries_and_their_places():
    places = np.array([0, 1, 5, 300])
    payload = elias.encode_entries(4, elias.gaps(places))
    gaps, used = elias.decode_entries(payload + b"rest", size=4, each=1)
    assert used == len(payload)
    np.testing.assert_array_equal(elias.places(gaps, 301), places)
    with raises(ValueError, "a message has a number at place 300 of 300; was it damaged on its way?"):
        elias.places(gaps, 300)
    with raises(ValueError, "a message says that it has 4 entries, for 3 numbers; was it damaged on its way?"):
        elias.decode_entries(payload, size=3, each=1)
