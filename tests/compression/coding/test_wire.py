"""Numbers and streams: back again; what is too long, too large or cut is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.coding.wire import CHUNK, Reader, check_way, write_floats, write_number, write_stream
from minigrad.compression.quantization import pack
from tests.sentences import raises


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_numbers_come_back_in_seven_bits_a_byte(value):
    content = write_number(value)
    assert len(content) == max(1, -(-value.bit_length() // 7))
    reader = Reader(content)
    assert reader.number("n", 2**32 - 1) == value
    assert reader.at == len(content)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 9) | st.integers(0, 256), max_size=60), st.booleans())
def test_streams_come_back(symbols, coded):
    symbols = np.array(symbols, np.int64)
    reader = Reader(write_stream(symbols, 257, coded))
    stream = reader.stream(symbols.size, 257, "values")
    np.testing.assert_array_equal(stream.symbols, symbols)
    assert reader.at == len(reader.content) == sum(reader.account.values())
    assert -(-stream.bits // 8) == reader.account["", "values"]
    if not coded and symbols.max(initial=0) < 256:
        assert reader.content[0] > 0  # one width


def test_the_shorter_form_is_chosen():
    rare = np.repeat([0, 7], [1000, 3])
    assert write_stream(rare, 8)[0] == 0
    assert write_stream(rare, 8, coded=False)[0] == 3
    assert len(write_stream(rare, 8)) < len(write_stream(rare, 8, coded=False))
    assert write_stream(np.arange(8), 8)[0] == 3  # where all are equally frequent, a table would only cost bytes


def test_many_packed_integers_are_read_in_pieces(rng):
    q = rng.integers(-4, 4, 2 * CHUNK + 3)
    np.testing.assert_array_equal(Reader(pack(q, 3).tobytes()).packed(q.size, 3, "values", signed=True), q)


@pytest.mark.parametrize("bits", [16, 32])
def test_floats_come_back_rounded_to_their_bits(bits, rng):
    values = rng.normal(size=9)
    read = Reader(write_floats(values, bits)).floats(9, "biases")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.astype(f"f{bits // 8}").astype(np.float32))


def test_floats_that_are_not_finite_are_refused_in_both_directions():
    for value, bits in ((np.nan, 32), (np.inf, 32), (1e6, 16)):
        with raises(ValueError, f"a number is NaN or infinite, or too large for {bits} bits"):
            write_floats(np.array([value]), bits)
    with raises(ValueError, "biases: a number is NaN or infinite"):
        Reader(b"\x10\0\x7c").floats(1, "biases")
    with raises(ValueError, "biases should be floats of 8 bits; there are those of 16 and of 32"):
        Reader(b"\x08\0").floats(1, "biases")


def test_what_does_not_fit_is_refused_with_the_layers_name():
    reader = Reader(b"\xff\xff\xff\xff\xff\0", section="fc1")
    with raises(ValueError, "fc1: order has more than five bytes"):
        reader.number("order", 1)
    with raises(ValueError, "fc1: values should take 7 bytes, and 1 are left"):
        reader.take(7, "values")
    with raises(ValueError, "order is 2, expected 0 to 1"):
        Reader(b"\2").number("order", 1)
    with raises(ValueError, "indices have a symbol 3; there are 3"):
        Reader(b"\2\xff").stream(4, 3, "indices")
    with raises(ValueError, "indices: 1 bytes hold fewer than 8 Huffman codes"):
        Reader(b"\0\3\x21\2\1\xff").stream(8, 3, "indices")
    with raises(ValueError, "x is 3; there are 1, 2"):
        check_way("x", 3, (1, 2))
