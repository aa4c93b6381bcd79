"""Floating-point numbers of 16 bits, made of 32 bits by hand: a sign, an exponent and a fraction.

float16 has 5 bits of exponent and 10 of fraction: a step finer, but above 65,504 infinite. bfloat16 has float32's 8 bits of
exponent and 7 of fraction: it is float32's upper half, rounded. Weights take half the bytes, without a scale.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tensor import Array

from .formats import as_array


@dataclass(frozen=True)
class FloatFormat:
    """A floating-point format of 16 bits: 1 for the sign, then exponent, then fraction.

    A number (1 + fraction / 2**fraction_bits) * 2**(exponent - bias) has a code that grows with it: the next number has the
    next code. Exponent 0 is for numbers too small for the 1, the largest one for infinity and NaN.

    Attributes:
        exponent_bits, fraction_bits: 15 together.

    Source:
        IEEE 754-2019, section 3.4.

    Example:
        >>> [f"{code:016b}" for code in FLOAT16.encode([1.0, -2.5])]
        ['0011110000000000', '1100000100000000']
        >>> BFLOAT16.decode(BFLOAT16.encode([3.14159]))
        array([3.140625], dtype=float32)
    """

    exponent_bits: int
    fraction_bits: int

    @property
    def smallest_exponent(self) -> int:
        """The power of two of the smallest number that has the 1: 1 - bias."""
        return 2 - 2 ** (self.exponent_bits - 1)

    @property
    def infinity(self) -> int:
        """The code of infinity; codes above it are NaN."""
        return (2**self.exponent_bits - 1) << self.fraction_bits

    def encode(self, x: Any) -> Array:
        """Return the code of the nearest number, uint16; ties go to the even code, what is too large to infinity.

        Args:
            x: float32, any shape.
        """
        x = as_array(x).astype(np.float32).astype(np.float64)
        magnitude = np.where(np.isfinite(x), np.abs(x), 0.0)
        exponent = np.where(magnitude > 0, np.frexp(magnitude)[1] - 1, self.smallest_exponent)
        exponent = np.maximum(exponent, self.smallest_exponent)
        # How many steps of its power of two: up to 2**fraction_bits for the 1, then the fraction. All of it is exact.
        steps = np.rint(np.ldexp(magnitude, self.fraction_bits - exponent)).astype(np.int64)
        codes = ((exponent - self.smallest_exponent).astype(np.int64) << self.fraction_bits) + steps
        codes = np.where(np.isinf(x), self.infinity, np.minimum(codes, self.infinity))
        codes = np.where(np.isnan(x), self.infinity | 1 << (self.fraction_bits - 1), codes)
        return (codes | np.signbit(x).astype(np.int64) << 15).astype(np.uint16)

    def decode(self, codes: Array) -> Array:
        """Return the numbers, float32, exactly.

        Args:
            codes: uint16, any shape.
        """
        codes = np.asarray(codes, np.int64)
        sign, magnitude = codes >> 15, codes & 0x7FFF
        exponent, fraction = magnitude >> self.fraction_bits, magnitude & (2**self.fraction_bits - 1)
        steps = fraction + ((exponent > 0).astype(np.int64) << self.fraction_bits)
        power = np.maximum(exponent, 1) - 1 + self.smallest_exponent - self.fraction_bits
        values = np.ldexp(steps.astype(np.float64), power)
        values = np.where(magnitude == self.infinity, np.inf, np.where(magnitude > self.infinity, np.nan, values))
        return np.where(sign == 1, -values, values).astype(np.float32)

    def round(self, x: Any) -> Array:
        """Return x as the format holds it, float32."""
        return self.decode(self.encode(x))


FLOAT16 = FloatFormat(exponent_bits=5, fraction_bits=10)
BFLOAT16 = FloatFormat(exponent_bits=8, fraction_bits=7)
