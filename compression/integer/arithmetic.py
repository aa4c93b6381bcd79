"""Requantization: from an int32 sum back to int8, times a real number M, without a real number.

A layer adds up int8 products in int32. In real numbers the sum counts in units of S_in * S_w and the output in units of
S_out, so that the sum has to be multiplied by M = S_in * S_w / S_out, some number below 1 as a rule. M is written as Q *
2**(shift - 31) with an integer Q, once, when the model is converted; from then on a product, an addition and shifts do it.

How exactly the result is rounded is a convention, and runtimes differ: hence the profiles.

- "tflite": rounds twice, first the product to its upper 32 bits, then what the shift drops. TFLite's reference kernels.
- "single": rounds once, after the product in 64 bits.
- "onnx": what onnxruntime does in float32, computed here with integers: the sum rounded to the 24 bits of a float32, the
  product rounded to 24 bits, the result rounded half to even.

Each function here is written once. Called from Python it works on Python's integers, which never overflow; kernels call
the same lines compiled, with int64.
"""

import math
from typing import Any

import numpy as np

from minigrad.kernels._kernel import helper

Array = np.ndarray

PROFILES = ("tflite", "single", "onnx")
"""The ways of rounding. Kernels know them by their number in this tuple."""

INT32_MAX = 2**31 - 1


def quantize_multiplier(m: float) -> tuple[int, int]:
    """Write M as Q * 2**(shift - 31), with 2**30 <= Q < 2**31.

    Args:
        m: a float64, not negative.

    Returns:
        (Q, shift). An M below 2**-32 becomes (0, 0).

    Raises:
        ValueError: m is negative, infinite or NaN.

    Source:
        `QuantizeMultiplier` of TensorFlow Lite. It rounds half away from zero, where Python's `round` rounds half to even.

    Example:
        >>> quantize_multiplier(0.75)
        (1610612736, 0)
        >>> quantize_multiplier(1 / 3)
        (1431655765, -1)
    """
    if not (math.isfinite(m) and m >= 0):
        raise ValueError(f"quantize_multiplier: m is {m}, expected a finite number that is not negative")
    fraction, shift = math.frexp(m)  # m = fraction * 2**shift, 0.5 <= fraction < 1
    q = math.floor(fraction * 2**31 + 0.5)
    if q == 2**31:  # fraction was rounded up to 1
        q, shift = q // 2, shift + 1
    return (0, 0) if shift < -31 else (q, shift)


def output_multipliers(input_scale: Any, weight_scale: Any, output_scale: Any, profile: str) -> Any:
    """Return multiplier and shift of each output channel, from float32 scales.

    The order of products and quotients, and what each is rounded to, are the runtimes' own. TFLite Micro multiplies in
    float64. (LiteRT rounds the first product to float32, in a linear layer with one weight scale.)

    Args:
        input_scale, output_scale: float32 ().
        weight_scale: float32 (), or (F,) with one for each channel.
        profile: one of `PROFILES`.

    Returns:
        Two int32 arrays of weight_scale's shape: see `WeightedLayer`.

    Raises:
        ValueError: there is no such profile.

    Example:
        >>> output_multipliers(np.float32(1 / 255), np.float32([0.02]), np.float32(0.1), "tflite")
        (array([1724724160], dtype=int32), array([-10], dtype=int32))
    """
    check_profile(profile)
    s_in, s_out = np.float32(input_scale), np.float32(output_scale)
    s_w = np.asarray(weight_scale, np.float32)
    if profile == "onnx":
        fraction, exponent = np.frexp(np.asarray(np.asarray(s_in * s_w, np.float32) / s_out, np.float32))
        return np.asarray(fraction * np.float32(2**24), np.int32), np.asarray(exponent - 24, np.int32)
    product = np.float64(s_in) * s_w.astype(np.float64)
    pairs = [quantize_multiplier(float(m)) for m in np.ravel(product / np.float64(s_out))]
    multiplier, shift = np.array(pairs, np.int32).reshape(-1, 2).T
    return np.ascontiguousarray(multiplier).reshape(s_w.shape), np.ascontiguousarray(shift).reshape(s_w.shape)


def check_profile(profile: str) -> None:
    """Raise a ValueError if there is no such profile."""
    if profile not in PROFILES:
        raise ValueError(f"integer inference: profile is {profile!r}, expected one of {', '.join(PROFILES)}")


@helper
def rounding_doubling_high_mul(a, b):
    """Return a * b / 2**31, rounded to the nearest integer, ties toward +infinity: the upper half of the doubled product.

    Two int32 give an int32, except -2**31 times itself, which would be 2**31 and becomes 2**31 - 1.

    Source:
        `SaturatingRoundingDoublingHighMul` of gemmlowp, after ARM's instruction SQRDMULH.

    Example:
        >>> rounding_doubling_high_mul(1000, 2**30), rounding_doubling_high_mul(-3, 2**30)
        (500, -1)
    """
    return min(high_mul(a, b), INT32_MAX)


@helper
def high_mul(a, b):
    """The same without the exception: for b >= 0, where no result can leave int32."""
    return (a * b + (1 << 30)) >> 31


@helper
def rounding_divide_by_power_of_two(x, exponent):
    """Return x / 2**exponent, rounded to the nearest integer, ties away from zero.

    Args:
        x: int32.
        exponent: 0 to 31.

    Source:
        `RoundingDivideByPOT` of gemmlowp.

    Example:
        >>> [rounding_divide_by_power_of_two(x, 1) for x in (-3, -2, -1, 0, 1, 2, 3)]
        [-2, -1, -1, 0, 1, 1, 2]
    """
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + ((x & mask) > threshold)


@helper
def round_half_even(x, bits):
    """Return x / 2**bits, rounded to the nearest integer, ties to the even one: what float32 does with each result.

    Example:
        >>> [round_half_even(x, 1) for x in (-3, -1, 1, 3, 5)]
        [-2, 0, 0, 2, 2]
    """
    whole = x >> bits
    twice_rest, one = (x - (whole << bits)) * 2, 1 << bits
    return whole + (twice_rest > one or (twice_rest == one and whole & 1 == 1))


@helper
def bit_length(x):
    """Return how many bits the magnitude of x has, up to 64. (Halving what is searched, it takes six steps for any x.)

    Example:
        >>> [bit_length(x) for x in (0, 1, -4, 2**62)]
        [0, 1, 3, 63]
    """
    x, bits = abs(x), 0
    for half in (32, 16, 8, 4, 2, 1):
        if x >> half > 0:
            x, bits = x >> half, bits + half
    return bits + (x > 0)


@helper
def requantize_tflite(acc, multiplier, shift):
    """acc * M, rounded after the product and again after the shift."""
    x = high_mul(acc << max(shift, 0), multiplier)
    return rounding_divide_by_power_of_two(x, max(-shift, 0))


@helper
def requantize_single(acc, multiplier, shift):
    """acc * M, rounded once, ties toward +infinity."""
    bits = 31 - shift
    return (acc * multiplier + (1 << (bits - 1))) >> bits


@helper
def requantize_onnx(acc, multiplier, shift):
    """round(float32(float32(acc) * float32(M))), with M = multiplier * 2**shift; far beyond int8 it may be any large value."""
    lost = max(bit_length(acc) - 24, 0)
    product = round_half_even(acc, lost) * multiplier
    too_long = max(bit_length(product) - 24, 0)
    product, exponent = round_half_even(product, too_long), lost + too_long + shift
    if exponent >= 0:
        return product << min(exponent, 32)
    return round_half_even(product, min(-exponent, 48))


@helper
def requantize(acc, multiplier, shift, profile):
    """Return acc * M, rounded as the profile does.

    Args:
        acc: int32, in a kernel as int64.
        multiplier, shift: of the output channel: see `WeightedLayer`.
        profile: number in `PROFILES`.

    Example:
        >>> [requantize(1, 1431655765, -1, profile) for profile in (0, 1)], [requantize(5, 1431655765, -1, 0)]
        ([1, 0], [2])
    """
    if profile == 0:
        return requantize_tflite(acc, multiplier, shift)
    if profile == 1:
        return requantize_single(acc, multiplier, shift)
    return requantize_onnx(acc, multiplier, shift)
