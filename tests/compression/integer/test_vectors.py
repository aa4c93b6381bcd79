"""Vector functions of integers do compiled what Python says, and what wraps around wraps alike."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.integer import vectors
from minigrad.kernels.vector import REGISTER_BYTES, lanes, load, store

LANES = REGISTER_BYTES // 2
"""Numbers of a vector of int16."""

INT16 = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=LANES, max_size=LANES).map(lambda x: np.array(x, np.int16))
INT32 = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=LANES // 2, max_size=LANES // 2).map(
    lambda x: np.array(x, np.int32)
)


def each(a, b, c, d, narrow, wide):
    """Every vector function, one after the other."""
    x = load(b, 0)
    store(narrow, 0, vectors.multiply_add(load(a, 0), x, load(c, 0)))
    store(wide, 0, vectors.add_low(load(d, 0), x))
    store(wide, lanes(wide), vectors.add_high(load(d, 0), x))


compiled_each = numba.njit(each)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(INT16, INT16, INT16, INT32)
def test_vector_functions_do_as_python_says(a, b, c, d):
    narrow, wide = np.zeros(LANES, np.int16), np.zeros(LANES, np.int32)
    compiled_each(a, b, c, d, narrow, wide)
    np.testing.assert_array_equal(narrow, (a.astype(np.int64) + b.astype(np.int64) * c).astype(np.int16))
    np.testing.assert_array_equal(wide, (np.tile(d, 2).astype(np.int64) + b).astype(np.int32))
    stepped = np.zeros_like(narrow), np.zeros_like(wide)
    each(a, b, c, d, *stepped)
    np.testing.assert_array_equal(stepped[0], narrow)
    np.testing.assert_array_equal(stepped[1], wide)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
@pytest.mark.parametrize("size", [1, 17, 1000])
def test_empty_begins_where_a_cache_line_does(size, dtype):
    for _ in range(20):
        found = vectors.empty(size, dtype)
        assert (found.shape, found.dtype) == ((size,), dtype)
        assert found.ctypes.data % vectors.LINE == 0


compiled_address = numba.njit(lambda size: vectors.empty(size, np.int16).ctypes.data)


def test_empty_does_so_compiled():
    assert {compiled_address(size) % vectors.LINE for size in range(1, 4000, 7)} == {0}
