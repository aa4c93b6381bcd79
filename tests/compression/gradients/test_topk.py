"""The largest few: which, how they are written, and how their number falls while training warms up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.gradients import TopK
from tests.compression.gradients.codec_cases import GRADIENTS, generator, send
from tests.sentences import raises


def test_by_hand():
    """3 entries (+ 1), at distances 1, 2, 3: 101000 0 100 110; then their values."""
    message = TopK(ratio=0.5).encode(np.float32([5, 1, -6, 0, -1, 7]), generator())
    bits = "101000" + "0" + "100" + "110"
    stream = [int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8)]
    assert message == bytes(stream) + np.float32([5, -6, 7]).tobytes()
    assert TopK().decode(message, 6).tolist() == [5, 0, -6, 0, 0, 7]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(GRADIENTS, st.floats(0.01, 1))
def test_what_is_sent_is_exact_and_at_least_as_large_as_what_is_not(gradient, ratio):
    found = send(TopK(ratio), gradient)
    count = min(gradient.size, max(1, round(ratio * gradient.size)))
    sent = found != 0
    assert sent.sum() == min(count, np.count_nonzero(gradient))
    np.testing.assert_array_equal(found[sent], gradient[sent])
    assert np.abs(gradient[sent]).min(initial=np.inf) >= np.abs(gradient[~sent]).max(initial=0)


def test_a_thousandth_takes_less_than_a_hundredth_of_the_bytes(rng):
    gradient = rng.normal(size=30_720).astype(np.float32)
    assert len(TopK(0.001).encode(gradient, rng)) < 0.0017 * 4 * gradient.size


def test_warm_up():
    codec = TopK(ratio=0.001, warmup=1000)
    sent = [1 - codec.at(step).ratio for step in (0, 249, 250, 499, 500, 749, 750, 999, 1000)]
    np.testing.assert_allclose(sent, [0.75, 0.75, 0.9375, 0.9375, 0.984375, 0.984375, 0.99609375, 0.99609375, 0.999])
    assert TopK(ratio=0.1, warmup=8).at(5).ratio == 0.1
    assert TopK(warmup=0).at(0) == TopK()
    assert [TopK(warmup=2).at(step).ratio for step in range(3)] == [1 / 4, 1 / 64, 0.001]


@pytest.mark.parametrize("ratio", [0, 1.5, -1, np.nan])
def test_ratios_out_of_range_are_refused(ratio):
    with raises(ValueError, f"topk: ratio is {ratio}, expected above 0 and up to 1"):
        TopK(ratio=ratio)


def test_a_warm_up_of_negative_length_is_refused():
    with raises(ValueError, "topk: warmup is -1, expected 0 or more"):
        TopK(warmup=-1)


def test_damaged_messages():
    message = TopK(ratio=0.5).encode(np.float32([5, 1, -6, 0, -1, 7]), generator())
    with raises(
        ValueError, "topk: a message of 6 numbers takes 14 bytes, got 13; was it cut, or made of another tensor?"
    ):
        TopK().decode(message[:-1], 6)
    with raises(ValueError, "a message has a number at place 5 of 5; was it damaged on its way?"):
        TopK().decode(message, 5)
    with raises(ValueError, "topk: a message holds NaN or infinity; was it damaged on its way?"):
        TopK().decode(message[:-4] + np.float32(np.inf).tobytes(), 6)
