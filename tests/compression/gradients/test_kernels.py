"""The kernels' twins agree, on numbers and on any bytes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.integers(1, 9), st.integers(1, 2**32 - 1)), max_size=20))
def test_twins_write_the_same_bytes(numbers):
    kernel, results = kernels.TABLE["elias_encode"], []
    for run in (kernel.compiled, kernel.python):
        out, end = np.zeros(6 * len(numbers) + 1, np.uint8), np.full(1, -7)
        run(np.array(numbers, np.int64), out, end)
        results.append((out.tobytes(), int(end[0])))
    assert results[0] == results[1]
    assert len(numbers) <= results[0][1] <= 43 * len(numbers)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=12), st.integers(0, 40))
def test_twins_read_the_same_numbers_from_any_bytes(payload, size):
    kernel, results = kernels.TABLE["elias_decode"], []
    for run in (kernel.compiled, kernel.python):
        out, end = np.zeros(size, np.int64), np.full(1, -7)
        run(np.frombuffer(payload, np.uint8), out, end)
        results.append((out.tolist(), int(end[0])))
    assert results[0] == results[1]
    numbers, end = results[0]
    if end >= 0:
        assert all(1 <= number < 2**32 for number in numbers)
        assert size <= end <= 8 * len(payload)
    else:
        assert end == -1
        assert size > 0
