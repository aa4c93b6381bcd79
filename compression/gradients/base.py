"""What all codecs share: a gradient goes in, the bytes that are sent come out, and back."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from minigrad.tensor import Array

BUCKET = 512
"""Numbers that share a scale, in the codecs that have several. A scale of 4 bytes then costs a quarter of a bit a number."""


@dataclass(frozen=True)
class Codec(ABC):
    """A way to write a gradient as bytes. It remembers nothing: what was not sent is a `Compressor`'s business.

    Numbers in messages are little-endian. The receiver knows how long the gradient is, so a message does not say.

    Attributes:
        name: what the command line calls it.
        error_feedback: whether what a message leaves out must be added to the next gradient; codecs that are right on
            average do without.
        sparse: whether a message leaves coordinates out altogether.
        dtypes: that it takes.
    """

    name: ClassVar[str]
    error_feedback: ClassVar[bool] = False
    sparse: ClassVar[bool] = False
    dtypes: ClassVar[tuple[type, ...]] = (np.float32,)

    @abstractmethod
    def encode(self, gradient: Array, rng: np.random.Generator) -> bytes:
        """Return the message, exactly as it is sent.

        Args:
            gradient: float32 (n,).
            rng: what codecs that round at random draw from.

        Raises:
            ValueError: the gradient is not flat, or holds NaN or infinity.
            TypeError: it is of another dtype.
        """

    @abstractmethod
    def decode(self, message: bytes, size: int) -> Array:
        """Return the gradient that a message stands for, float32 (size,), all finite.

        Args:
            message: need not be trusted. No more memory is taken than `size` numbers need.
            size: n.

        Raises:
            ValueError: the message is none of `size` numbers.
        """

    def at(self, step: int) -> "Codec":
        """Return the codec as it is at a step, counted from 0. Only what warms up changes."""
        return self

    def settings(self) -> dict[str, Any]:
        """Return the name and all settings, as JSON can hold them."""
        return {"method": self.name, **asdict(self)}

    def check(self, gradient: Array) -> None:
        """Raise unless the gradient can be encoded; see `encode`."""
        if gradient.ndim != 1:
            raise ValueError(f"{self.name}: the gradient has shape {gradient.shape}, expected it flat, (n,)")
        if gradient.dtype not in self.dtypes:
            expected = " or ".join(np.dtype(dtype).name for dtype in self.dtypes)
            raise TypeError(f"{self.name}: the gradient is {gradient.dtype}, expected {expected}")
        if not np.isfinite(gradient).all():
            raise ValueError(
                f"{self.name}: the gradient holds NaN or infinity; a smaller learning rate is the usual cure"
            )

    def check_least(self, setting: str, least: int) -> None:
        """Raise ValueError if a setting is below `least`."""
        if getattr(self, setting) < least:
            raise ValueError(f"{self.name}: {setting} is {getattr(self, setting)}, expected {least} or more")

    def check_length(self, message: bytes, expected: int, size: int) -> None:
        """Raise ValueError if a message for `size` numbers has another length than it should."""
        if len(message) != expected:
            raise ValueError(
                f"{self.name}: a message of {size} numbers takes {expected} bytes, got {len(message)}; "
                "was it cut, or made of another tensor?"
            )

    def floats(self, payload: bytes, dtype: str = "<f4") -> Array:
        """Return the numbers in part of a message.

        Raises:
            ValueError: one is NaN or infinite.
        """
        values = np.frombuffer(payload, dtype)
        values = values.astype(values.dtype.newbyteorder("="))
        if not np.isfinite(values).all():
            raise ValueError(f"{self.name}: a message holds NaN or infinity; was it damaged on its way?")
        return values

    def scales(self, payload: bytes) -> Array:
        """Return the scales in part of a message, float32 (count, 1).

        Raises:
            ValueError: one is negative, NaN or infinite.
        """
        scales = self.floats(payload)
        if scales.min(initial=0) < 0:
            raise ValueError(f"{self.name}: a message has the scale {scales.min()}; was it damaged on its way?")
        return scales[:, None]


def in_buckets(x: Array, bucket: int) -> Array:
    """Return numbers in rows of `bucket`, the last one filled up with zeros.

    Example:
        >>> in_buckets(np.arange(1, 6), bucket=3)
        array([[1, 2, 3],
               [4, 5, 0]])
    """
    rows = np.zeros((bucket_count(x.size, bucket), bucket), x.dtype)
    rows.reshape(-1)[: x.size] = x
    return rows


def bucket_count(size: int, bucket: int) -> int:
    """Return how many rows `size` numbers take."""
    return -(-size // bucket)
