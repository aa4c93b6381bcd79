"""Relative indices: back again, in few bits, with the fewest fillers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.coding import to_absolute, to_relative
from minigrad.compression.sparse import encode
from tests.sentences import raises


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sets(st.integers(0, 900), max_size=40).map(sorted), st.integers(0, 8))
def test_positions_come_back_and_gaps_fit_into_their_bits(positions, bits):
    gaps, filler = to_relative(positions, bits)
    assert gaps.dtype == np.uint8
    assert gaps.max(initial=0) <= 2**bits - 1
    assert to_absolute(gaps)[~filler].tolist() == positions
    zeros = np.diff(positions, prepend=-1) - 1
    assert filler.sum() == sum(int(z) // 2**bits for z in zeros)  # none more than what long gaps need
    assert (gaps[filler] == 2**bits - 1).all()


def test_with_0_bits_all_up_to_the_last_non_zero_is_stored():
    gaps, filler = to_relative([2, 3, 6], bits=0)
    assert gaps.tolist() == [0] * 7
    assert np.flatnonzero(~filler).tolist() == [2, 3, 6]


def test_gaps_of_8_bits_in_one_row_are_those_of_the_sparse_format(rng):
    row = np.where(rng.random((1, 5_000)) < 0.004, 1.0, 0.0).astype(np.float32)
    gaps, filler = to_relative(np.flatnonzero(row), bits=8)
    matrix = encode(row, "csr8")
    assert filler.any()
    np.testing.assert_array_equal(gaps, matrix.deltas)
    np.testing.assert_array_equal(filler, matrix.data == 0)


def test_nothing_stays_nothing():
    gaps, filler = to_relative([], bits=5)
    assert gaps.size == filler.size == to_absolute(gaps).size == 0


@pytest.mark.parametrize("bits", [-1, 9])
def test_bits_out_of_range_are_refused(bits):
    with raises(ValueError, f"to_relative: bits is {bits}, expected 0 to 8"):
        to_relative([1], bits)


@pytest.mark.parametrize("positions", [[3, 3], [4, 2], [-1]])
def test_positions_must_increase(positions):
    with raises(
        ValueError, "to_relative: positions must begin at 0 or later, and each must be larger than the one before"
    ):
        to_relative(positions, 3)
