"""Gradients as numbers: float32 and float64 as they are, float16 to the nearest."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.compression.gradients import Float16, Uncompressed
from tests.compression.gradients.codec_cases import GRADIENTS, generator, send
from tests.sentences import raises


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.one_of(GRADIENTS, hnp.arrays(np.float64, st.integers(1, 9), elements=st.floats(-1e300, 1e300))))
def test_none_keeps_every_bit(gradient):
    found = send(Uncompressed(), gradient)
    assert found.dtype == gradient.dtype
    assert found.tobytes() == gradient.tobytes()


def test_none_says_which_length_it_expects():
    message = "none: a message of 3 numbers takes 12 bytes, got 20; was it cut, or made of another tensor?"
    with raises(ValueError, message):
        Uncompressed().decode(bytes(20), 3)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(GRADIENTS)
def test_float16_is_the_nearest_and_saturates(gradient):
    message = Float16().encode(gradient, generator())
    assert len(message) == 2 * gradient.size
    inside = np.abs(gradient) <= 65504
    with np.errstate(over="ignore"):
        nearest = gradient.astype(np.float16).astype(np.float32)
    found = Float16().decode(message, gradient.size)
    np.testing.assert_array_equal(found, np.where(inside, nearest, np.copysign(65504, gradient)))
