"""Gradients as floating-point numbers: as they are, or in half the bits."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from minigrad.tensor import Array

from .base import Codec


@dataclass(frozen=True)
class Uncompressed(Codec):
    """The gradient as it is: float32, or float64, which a receiver tells by the length.

    Example:
        >>> message = Uncompressed().encode(np.float32([1.5, -2]), np.random.default_rng(0))
        >>> message.hex(" ", 4), Uncompressed().decode(message, size=2)
        ('0000c03f 000000c0', array([ 1.5, -2. ], dtype=float32))
    """

    name: ClassVar[str] = "none"
    dtypes: ClassVar[tuple[type, ...]] = (np.float32, np.float64)

    def encode(self, gradient: Array, rng: np.random.Generator) -> bytes:
        """See `Codec`."""
        self.check(gradient)
        return gradient.astype(gradient.dtype.newbyteorder("<")).tobytes()

    def decode(self, message: bytes, size: int) -> Array:
        """See `Codec`."""
        if size and len(message) == 8 * size:
            return self.floats(message, "<f8")
        self.check_length(message, 4 * size, size)
        return self.floats(message)


@dataclass(frozen=True)
class Float16(Codec):
    """The nearest number of 16 bits. What is beyond 65,504 becomes ±65,504; below 2**-25 all is lost.

    Example:
        >>> message = Float16().encode(np.float32([0.25, -1e6]), np.random.default_rng(0))
        >>> len(message), Float16().decode(message, size=2)
        (4, array([ 2.5000e-01, -6.5504e+04], dtype=float32))
    """

    name: ClassVar[str] = "float16"

    def encode(self, gradient: Array, rng: np.random.Generator) -> bytes:
        """See `Codec`."""
        self.check(gradient)
        largest = np.finfo(np.float16).max
        return gradient.clip(-largest, largest).astype("<f2").tobytes()

    def decode(self, message: bytes, size: int) -> Array:
        """See `Codec`."""
        self.check_length(message, 2 * size, size)
        return self.floats(message, "<f2").astype(np.float32)
