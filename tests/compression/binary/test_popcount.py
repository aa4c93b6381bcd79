"""Counting the bits that differ: Python and the compiled instruction agree, and NumPy too."""

import numba
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minigrad.compression.binary.popcount import add_differing
from minigrad.kernels.vector import lanes, load, store

WORDS = st.lists(st.integers(0, 2**64 - 1), min_size=8, max_size=8)


def each(total, x, y, out):
    for n in range(0, len(x), lanes(x)):
        store(out, n, add_differing(load(total, n), load(x, n), load(y, n)))


compiled_each = numba.njit(each)


def test_known_words():
    x = np.array([0, 1, 0b1011, 2**63, 2**64 - 1, 2**64 - 1], np.uint64)
    y = np.array([0, 0, 0b0001, 1, 0, 2**64 - 1], np.uint64)
    assert add_differing(np.arange(6, dtype=np.uint64), x, y).tolist() == [0, 2, 4, 5, 68, 5]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**40), min_size=8, max_size=8), WORDS, WORDS)
@example([7] * 8, [2**64 - 1] * 8, [0] * 8)
def test_twins_agree_and_numpy_too(total, x, y):
    arrays = [np.array(values, np.uint64) for values in (total, x, y)]
    found, expected = np.zeros(8, np.uint64), np.zeros(8, np.uint64)
    compiled_each(*arrays, found)
    each(*arrays, expected)
    np.testing.assert_array_equal(found, expected)
    differing = np.unpackbits((arrays[1] ^ arrays[2]).view(np.uint8).reshape(8, 8), axis=1).sum(axis=1)
    np.testing.assert_array_equal(found, arrays[0] + differing.astype(np.uint64))


def test_it_is_one_instruction_for_a_vector():
    compiled_each(*(np.zeros(8, np.uint64) for _ in range(4)))
    (code,) = compiled_each.inspect_llvm().values()
    assert f"llvm.ctpop.v{lanes(np.zeros(1, np.uint64))}i64" in code
