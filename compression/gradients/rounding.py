"""Codecs that round at random: int8, QSGD, TernGrad. A single message is wrong, their mean over many is the gradient.

All three divide by a scale and round to an integer, up as often as the number is near the one above. They differ in the
scale, in how many integers there are, and in how these are written.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigrad.tensor import Array

from . import elias
from .base import BUCKET, Codec, bucket_count, in_buckets

POWERS = np.array([81, 27, 9, 3, 1], np.uint8)


def round_at_random(x: Array, scale: Array, levels: int, rng: np.random.Generator) -> Array:
    """Return x * levels / scale rounded to an integer on either side, so that on average it is not changed.

    Args:
        x: float32 (B, n), of magnitude up to its row's scale.
        scale: float32 (B, 1). A row of scale 0 becomes zeros.
        levels: the largest integer.

    Returns:
        float32 (B, n), from -levels to levels.

    Example:
        >>> x = np.full((1, 8), 0.75, np.float32)
        >>> round_at_random(x, np.ones((1, 1), np.float32), levels=1, rng=np.random.default_rng(0))
        array([[0., 1., 1., 1., 1., 1., 1., 1.]], dtype=float32)
    """
    share = np.divide(np.abs(x), scale, out=np.zeros_like(x), where=scale > 0)
    exact = np.minimum(share, 1) * np.float32(levels)
    below = np.floor(exact)
    return np.copysign(below + (rng.random(x.shape, np.float32) < exact - below), x)


@dataclass(frozen=True)
class Int8(Codec):
    """Integers from -127 to 127, times the largest magnitude of their bucket / 127.

    A message: the largest magnitudes, float32 (buckets,); the integers, int8 (n,).

    Args:
        bucket: numbers that share a scale.

    Example:
        >>> message = Int8().encode(np.float32([1, -0.5, 0]), np.random.default_rng(0))
        >>> len(message), Int8().decode(message, size=3)
        (7, array([ 1.      , -0.496063,  0.      ], dtype=float32))
    """

    bucket: int = BUCKET
    name: ClassVar[str] = "int8"

    def __post_init__(self):
        self.check_least("bucket", 1)

    def encode(self, gradient: Array, rng: np.random.Generator) -> bytes:
        """See `Codec`."""
        self.check(gradient)
        rows = in_buckets(gradient, self.bucket)
        scale = np.abs(rows).max(axis=1, keepdims=True)
        codes = round_at_random(rows, scale, 127, rng).astype(np.int8).reshape(-1)[: gradient.size]
        return scale.astype("<f4").tobytes() + codes.tobytes()

    def decode(self, message: bytes, size: int) -> Array:
        """See `Codec`."""
        head = 4 * bucket_count(size, self.bucket)
        self.check_length(message, head + size, size)
        scale, codes = self.scales(message[:head]), np.frombuffer(message[head:], np.int8)
        if codes.min(initial=0) < -127:
            raise ValueError("int8: a message has the integer -128, expected -127 to 127; was it damaged on its way?")
        return (in_buckets(codes / np.float32(127), self.bucket) * scale).reshape(-1)[:size]


@dataclass(frozen=True)
class QSGD(Codec):
    """Few integers, from -levels to levels, times the L2 norm of their bucket / levels; Elias-coded.

    The norm is far above most numbers, so most integers are 0 and are not written: a non-zero one is its distance from the
    one before it, a sign, and its magnitude. The mean squared error of a bucket of n numbers is at most
    min(n / levels**2, sqrt(n) / levels) times its squared norm.

    A message: the norms, float32 (buckets,); in Elias's code the number of non-zeros + 1, all distances, all magnitudes;
    the signs, a bit each. The paper puts each sign between distance and magnitude: the bits are as many.

    Args:
        levels: s in the paper, 1 to 2**20.
        bucket: d in the paper: numbers that share a norm.

    Source:
        Alistarh, Grubic, Li, Tomioka and Vojnovic, "QSGD", 2017 (arXiv 1610.02132), section 3 and appendix A.

    Example:
        >>> codec, gradient = QSGD(levels=4), np.float32([3, 0, -4])  # of norm 5
        >>> message = codec.encode(gradient, np.random.default_rng(0))
        >>> len(message), codec.decode(message, size=3)
        (7, array([ 2.5 ,  0.  , -3.75], dtype=float32))
    """

    levels: int = 16
    bucket: int = BUCKET
    name: ClassVar[str] = "qsgd"

    def __post_init__(self):
        self.check_least("bucket", 1)
        if not 1 <= self.levels <= 2**20:
            raise ValueError(f"qsgd: levels is {self.levels}, expected 1 to {2**20}")

    def encode(self, gradient: Array, rng: np.random.Generator) -> bytes:
        """See `Codec`."""
        self.check(gradient)
        rows = in_buckets(gradient, self.bucket)
        norm = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))
        if norm.max(initial=0) > np.finfo(np.float32).max:
            raise ValueError("qsgd: the gradient's norm is beyond float32; a smaller learning rate is the usual cure")
        norm = norm.astype(np.float32)
        q = round_at_random(rows, norm, self.levels, rng).reshape(-1)[: gradient.size]
        places = np.flatnonzero(q)
        numbers = np.concatenate([elias.gaps(places), np.abs(q[places]).astype(np.int64)])
        signs = np.packbits(q[places] < 0, bitorder="little")
        return norm.astype("<f4").tobytes() + elias.encode_entries(places.size, numbers) + signs.tobytes()

    def decode(self, message: bytes, size: int) -> Array:
        """See `Codec`."""
        head = 4 * bucket_count(size, self.bucket)
        norm = self.scales(message[:head]) if len(message) >= head else None
        if norm is None:
            raise ValueError(f"qsgd: a message of {size} numbers begins with {head} bytes, got {len(message)}")
        numbers, used = elias.decode_entries(message[head:], size, each=2)
        count, signs = numbers.size // 2, message[head + used :]
        self.check_length(message, head + used + bucket_count(count, 8), size)
        if numbers[count:].max(initial=0) > self.levels:
            raise ValueError(f"qsgd: a message has the level {numbers[count:].max()}, expected up to {self.levels}")
        negative = np.unpackbits(np.frombuffer(signs, np.uint8), count=count, bitorder="little")
        q = np.zeros(size, np.float32)
        q[elias.places(numbers[:count], size)] = np.where(negative, -1, 1) * (numbers[count:] / self.levels)
        return (in_buckets(q, self.bucket) * norm).reshape(-1)[:size]


@dataclass(frozen=True)
class TernGrad(Codec):
    """-1, 0 or 1, times the largest magnitude; five of them a byte, as digits of base 3.

    A message: the largest magnitude, float32; then bytes.

    Args:
        clip: gradients are first cut at this many standard deviations, which makes the largest magnitude, and with it the
            error, smaller; the mean is then that of the cut gradient. 0: not cut. The paper takes 2.5.

    Source:
        Wen et al., "TernGrad", 2017 (arXiv 1705.07878), sections 3.1 and 3.3.

    Example:
        >>> message = TernGrad().encode(np.float32([1, -0.5, 0, 0.5, 0, 0.5]), np.random.default_rng(0))
        >>> len(message), TernGrad().decode(message, size=6)
        (6, array([1., 0., 0., 1., 0., 1.], dtype=float32))
    """

    clip: float = 0.0
    name: ClassVar[str] = "terngrad"

    def __post_init__(self):
        self.check_least("clip", 0)

    def encode(self, gradient: Array, rng: np.random.Generator) -> bytes:
        """See `Codec`."""
        self.check(gradient)
        x = gradient
        if self.clip and x.size:
            bound = np.float32(min(self.clip * x.std(dtype=np.float64), np.finfo(np.float32).max))
            x = x.clip(-bound, bound)
        scale = np.abs(x).max(initial=0)
        signs = round_at_random(x[None], scale.reshape(1, 1), 1, rng)[0]
        digits = in_buckets((signs + 1).astype(np.uint8), 5)  # (bytes, 5)
        return scale.astype("<f4").tobytes() + (digits @ POWERS).tobytes()

    def decode(self, message: bytes, size: int) -> Array:
        """See `Codec`."""
        self.check_length(message, 4 + bucket_count(size, 5), size)
        scale, packed = self.scales(message[:4]), np.frombuffer(message[4:], np.uint8)
        if packed.max(initial=0) >= 3**5:
            raise ValueError(
                f"terngrad: a message has the byte {packed.max()}, expected up to 242, five digits of base 3"
            )
        digits = packed[:, None] // POWERS % 3  # (bytes, 5)
        return (digits.reshape(-1)[:size] - np.float32(1)) * scale[0]
