"""The largest few numbers and where they are. What that leaves out, the `Compressor` adds to the next gradient."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigrad.tensor import Array

from . import elias
from .base import Codec

STAGES = 4
"""Steps of the warm-up: 75, 93.75, 98.4 and 99.6 % are left out before the last, 99.9 %, stays."""


@dataclass(frozen=True)
class TopK(Codec):
    """A share of the numbers, the largest ones by magnitude, at least one; of equal ones NumPy's `argpartition` chooses.

    A message: in Elias's code how many there are + 1, and the distance of each place from the one before; the values,
    float32.

    Args:
        ratio: the share that is sent, above 0, up to 1.
        warmup: steps of the warm-up. In its four quarters 1/4, 1/16, 1/64 and 1/256 are sent, or `ratio` if that is more.

    Source:
        Lin, Han, Mao, Wang and Dally, "Deep gradient compression", 2018 (arXiv 1712.01887).

    Example:
        >>> codec, gradient = TopK(ratio=0.4), np.float32([0.1, -3, 0.2, 2, 0])
        >>> message = codec.encode(gradient, np.random.default_rng(0))
        >>> len(message), codec.decode(message, size=5)
        (10, array([ 0., -3.,  0.,  2.,  0.], dtype=float32))
        >>> [TopK(warmup=400).at(step).ratio for step in (0, 100, 399, 400)]
        [0.25, 0.0625, 0.00390625, 0.001]
    """

    ratio: float = 0.001
    warmup: int = 0
    name: ClassVar[str] = "topk"
    error_feedback: ClassVar[bool] = True
    sparse: ClassVar[bool] = True

    def __post_init__(self):
        self.check_least("warmup", 0)
        if not 0 < self.ratio <= 1:
            raise ValueError(f"topk: ratio is {self.ratio}, expected above 0 and up to 1")

    def at(self, step: int) -> "TopK":
        """See `Codec`."""
        if step >= self.warmup:
            return self
        return dataclasses.replace(self, ratio=max(self.ratio, 0.25 ** (1 + STAGES * step // self.warmup)))

    def encode(self, gradient: Array, rng: np.random.Generator) -> bytes:
        """See `Codec`."""
        self.check(gradient)
        count = min(gradient.size, max(1, round(self.ratio * gradient.size)))
        if not count:
            return elias.encode_entries(0, np.empty(0, np.int64))
        rest = gradient.size - count
        places = np.sort(np.argpartition(np.abs(gradient), rest)[rest:]) if rest else np.arange(count)
        return elias.encode_entries(count, elias.gaps(places)) + gradient[places].astype("<f4").tobytes()

    def decode(self, message: bytes, size: int) -> Array:
        """See `Codec`."""
        gaps, used = elias.decode_entries(message, size, each=1)
        self.check_length(message, used + 4 * gaps.size, size)
        gradient = np.zeros(size, np.float32)
        gradient[elias.places(gaps, size)] = self.floats(message[used:])
        return gradient
