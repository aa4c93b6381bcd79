"""One bit a number: its sign. What that leaves out, the `Compressor` adds to the next gradient."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigrad.tensor import Array

from .base import BUCKET, Codec, bucket_count, in_buckets


@dataclass(frozen=True)
class Sign(Codec):
    """The sign of each number, times the mean magnitude of its bucket.

    No other scale is as near: C(x) = mean|x| * sign(x) leaves |x - C(x)|² = |x|² - n * mean|x|², which is less than |x|². So
    errors shrink when they are fed back, without which signs lead astray. A zero is sent as +.

    A message: the mean magnitudes, float32 (buckets,); a bit each, 1 for 0 and above, filled from the lowest bit.

    Args:
        bucket: numbers that share a scale.

    Source:
        Seide et al., "1-bit stochastic gradient descent", 2014, who send two means, of what is positive and what is
        negative; Karimireddy et al., "Error feedback fixes SignSGD", 2019 (arXiv 1901.09847), who send one.

    Example:
        >>> message = Sign().encode(np.float32([1, -2, 3]), np.random.default_rng(0))
        >>> len(message), Sign().decode(message, size=3)
        (5, array([ 2., -2.,  2.], dtype=float32))
    """

    bucket: int = BUCKET
    name: ClassVar[str] = "sign"
    error_feedback: ClassVar[bool] = True

    def __post_init__(self):
        self.check_least("bucket", 1)

    def encode(self, gradient: Array, rng: np.random.Generator) -> bytes:
        """See `Codec`."""
        self.check(gradient)
        sums = np.abs(in_buckets(gradient, self.bucket)).sum(axis=1, dtype=np.float64)
        means = sums / np.minimum(gradient.size - self.bucket * np.arange(sums.size), self.bucket)
        return means.astype("<f4").tobytes() + np.packbits(gradient >= 0, bitorder="little").tobytes()

    def decode(self, message: bytes, size: int) -> Array:
        """See `Codec`."""
        head = 4 * bucket_count(size, self.bucket)
        self.check_length(message, head + bucket_count(size, 8), size)
        bits = np.unpackbits(np.frombuffer(message[head:], np.uint8), count=size, bitorder="little")
        signs = bits * np.float32(2) - np.float32(1)
        return (in_buckets(signs, self.bucket) * self.scales(message[:head])).reshape(-1)[:size]
