"""One bit a number: by hand, and the property on which error feedback rests."""

import numpy as np
from hypothesis import given, settings

from minigrad.compression.gradients import Sign
from tests.compression.gradients.codec_cases import GRADIENTS, generator, send


def test_by_hand():
    """Buckets of 4: mean magnitudes 2.5 and 3; from the lowest bit + - + - and + +, a zero being +."""
    message = Sign(bucket=4).encode(np.float32([1, -2, 3, -4, 0, 6]), generator())
    assert message == np.float32([2.5, 3]).tobytes() + bytes([0b110101])
    assert Sign(bucket=4).decode(message, 6).tolist() == [2.5, -2.5, 2.5, -2.5, 3, 3]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(GRADIENTS)
def test_what_is_left_is_smaller_by_the_square_of_the_mean(gradient):
    """|x - C(x)|² = |x|² - sum over buckets of (count) (mean magnitude)², so less than |x|² unless x is 0."""
    x = np.where(np.abs(gradient) < 1e-30, 0, gradient).astype(np.float64)
    left = ((x - send(Sign(bucket=16), x.astype(np.float32))) ** 2).sum()
    parts = [x[i : i + 16] for i in range(0, x.size, 16)]
    np.testing.assert_allclose(left, sum((p**2).sum() - p.size * np.abs(p).mean() ** 2 for p in parts),
                               atol=1e-6 * (x**2).sum())  # fmt: skip
    delta = 1 / max(16, 1)  # mean² * n >= |x|² / n: a bucket of n loses at least one part in n
    assert left <= (1 - delta) * (x**2).sum() * (1 + 1e-6)
