"""Requantization: against exact fractions, against its laws, and compiled against Python."""

import math
from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.integer import columns as col
from minigrad.compression.integer.arithmetic import (
    PROFILES,
    output_multipliers,
    quantize_multiplier,
    requantize,
    rounding_divide_by_power_of_two,
    rounding_doubling_high_mul,
)
from minigrad.compression.integer.kernels import requantize_run

INT32 = st.integers(-(2**31), 2**31 - 1)
SUMS = st.integers(-(2**24), 2**24) | st.integers(-300, 300) | INT32
MULTIPLIERS = st.floats(1e-9, 0.999) | st.sampled_from([0.5, 0.25, 1 / 3, 2.0**-20])


def nearest(x: Fraction, up: bool) -> int:
    """The nearest integer; of two, the one toward +infinity (up), or away from zero."""
    return math.floor(x + Fraction(1, 2)) if up or x > 0 else -math.floor(-x + Fraction(1, 2))


@given(INT32, INT32)
def test_high_mul_rounds_the_doubled_product_toward_plus_infinity(a, b):
    expected = min(nearest(Fraction(a * b, 2**31), up=True), 2**31 - 1)
    assert rounding_doubling_high_mul(a, b) == expected


def test_high_mul_saturates_for_a_single_pair():
    assert rounding_doubling_high_mul(-(2**31), -(2**31)) == 2**31 - 1
    assert rounding_doubling_high_mul(-(2**31), 2**31 - 1) == -(2**31) + 1


@given(INT32, INT32)
def test_high_mul_is_the_form_with_truncation_that_gemmlowp_prints(a, b):
    """(a*b + nudge) / 2**31, truncated toward zero, with a nudge that depends on the sign."""
    product = a * b
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    truncated = nudged // 2**31 if nudged >= 0 else -(-nudged // 2**31)
    assert rounding_doubling_high_mul(a, b) == min(truncated, 2**31 - 1)


@given(INT32, st.integers(0, 31))
def test_division_by_a_power_of_two_rounds_ties_away_from_zero(x, exponent):
    assert rounding_divide_by_power_of_two(x, exponent) == nearest(Fraction(x, 2**exponent), up=False)


@given(st.floats(2.0**-31, 2.0**20))
def test_a_multiplier_is_within_half_a_step_of_its_number(m):
    q, shift = quantize_multiplier(m)
    assert 2**30 <= q < 2**31
    assert abs(Fraction(q) * Fraction(2) ** (shift - 31) - Fraction(m)) <= Fraction(2) ** (shift - 32)


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (1.0, (2**30, 1)),
        (0.5, (2**30, 0)),
        (1 - 2.0**-40, (2**30, 1)),  # rounded up to 2**31, which does not fit
        (0.0, (0, 0)),
        (2.0**-32, (2**30, -31)),
        (2.0**-33, (0, 0)),
        ((2**30 + 0.5) / 2**31, (2**30 + 1, 0)),  # a tie: away from zero, where round() takes the even one
    ],
)
def test_multipliers_worked_out_by_hand(m, expected):
    assert quantize_multiplier(m) == expected


@pytest.mark.parametrize("m", [-0.1, float("nan"), float("inf")])
def test_a_multiplier_that_is_no_scale_is_refused(m):
    with pytest.raises(
        ValueError, match=r"quantize_multiplier: m is .*, expected a finite number that is not negative"
    ):
        quantize_multiplier(m)


@given(SUMS, MULTIPLIERS)
def test_single_rounds_once(acc, m):
    q, shift = quantize_multiplier(m)
    exact = Fraction(acc * q) * Fraction(2) ** (shift - 31)
    assert requantize(acc, q, shift, PROFILES.index("single")) == nearest(exact, up=True)


@given(SUMS, MULTIPLIERS)
def test_tflite_rounds_twice_and_is_at_most_one_away_from_single(acc, m):
    q, shift = quantize_multiplier(m)
    high = nearest(Fraction(acc * q, 2**31), up=True)
    expected = nearest(Fraction(high) * Fraction(2) ** shift, up=False)
    found = requantize(acc, q, shift, PROFILES.index("tflite"))
    assert found == expected
    assert abs(found - requantize(acc, q, shift, PROFILES.index("single"))) <= 1


def test_tflite_shifts_a_multiplier_above_one_first():
    q, shift = quantize_multiplier(2.5)
    assert (q, shift) == (1_342_177_280, 2)
    assert [requantize(acc, q, shift, 0) for acc in (-3, -1, 1, 2, 3)] == [-7, -2, 3, 5, 8]


@settings(max_examples=300)
@given(SUMS, st.floats(2.0**-30, 0.984375, width=32))
def test_onnx_is_what_float32_computes(acc, m):
    fraction, exponent = np.frexp(np.float32(m))
    found = requantize(acc, int(fraction * 2**24), int(exponent) - 24, PROFILES.index("onnx"))
    assert found == int(np.rint(np.float32(acc) * np.float32(m)))


@pytest.mark.parametrize("profile", range(3))
@given(st.lists(SUMS, min_size=2, max_size=2), MULTIPLIERS)
def test_a_larger_sum_never_gets_smaller(profile, sums, m):
    """That is why max-pooling may come before requantization."""
    q, shift = quantize_multiplier(m) if profile < 2 else (int(math.frexp(m)[0] * 2**24), math.frexp(m)[1] - 24)
    small, large = (requantize(acc, q, shift, profile) for acc in sorted(sums))
    assert small <= large


@pytest.mark.parametrize("profile", range(3))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_kernel_computes_what_python_does(profile, data):
    sums = data.draw(st.lists(SUMS, min_size=1, max_size=20))
    ms = data.draw(st.lists(MULTIPLIERS, min_size=3, max_size=3))
    if profile == 2:
        pairs = [(int(math.frexp(m)[0] * 2**24), math.frexp(m)[1] - 24) for m in ms]
    else:
        pairs = [quantize_multiplier(m) for m in ms]
    zero, low, high = data.draw(st.integers(-128, 127)), -100, 90
    row = np.zeros(col.COLUMNS, np.int64)
    row[[col.ZERO, col.CLAMP_LOW, col.CLAMP_HIGH]] = zero, low, high
    for q, shift in pairs:
        expected = [min(max(requantize(acc, q, shift, profile) + zero, low), high) for acc in sums]  # Python's integers
        for run in (compiled_run, requantize_run):
            out = np.full(len(sums), 777, np.int16)
            run(np.array(sums, np.int32), np.int32(q), np.int32(shift), profile, row, out)
            assert out.tolist() == expected


compiled_run = numba.njit(requantize_run)


@pytest.mark.parametrize(("m", "percent", "within"), [(9e-4, 0.05, 0.015), (6.1e-3, 0.39, 0.02), (1 / 3, 100 / 3, 0.5)])
def test_how_often_two_roundings_differ_from_one(m, percent, within):
    """A tie that only the first rounding made: with an M of about 2**shift it takes one bit pattern of the last -shift bits,
    and a first rounding in the wrong direction, 2**(shift - 1) of all sums. M = 1/3 meets it every third time."""
    q, shift = quantize_multiplier(m)
    count = int(120 / m)
    acc = np.arange(-count, count + 1)
    double, single = (requantize_all(acc, q, shift, profile) for profile in ("tflite", "single"))
    assert np.abs(double - single).max() == 1
    assert 100 * (double != single).mean() == pytest.approx(percent, abs=within)


def requantize_all(acc, q, shift, profile):
    return np.array([requantize(int(a), q, shift, PROFILES.index(profile)) for a in acc])


def test_scales_are_multiplied_in_the_order_of_the_runtimes():
    """Three float32 scales for which a product in float32 would give another multiplier."""
    s_in, s_w, s_out = np.float32(0.1), np.float32(0.0123), np.float32(0.077)
    in_float64 = quantize_multiplier(float(s_in) * float(s_w) / float(s_out))
    float32_first = quantize_multiplier(float(s_in * s_w) / float(s_out))
    assert in_float64 != float32_first
    for scale in (s_w, s_w[None]):
        multiplier, shift = output_multipliers(s_in, scale, s_out, "tflite")
        assert (int(multiplier.ravel()[0]), int(shift.ravel()[0])) == in_float64
        assert multiplier.shape == shift.shape == np.shape(scale)


def test_the_onnx_multiplier_is_a_float32_taken_apart():
    s_in, s_w, s_out = np.float32(0.1), np.float32([0.0123, 3.0]), np.float32(0.077)
    multiplier, shift = output_multipliers(s_in, s_w, s_out, "onnx")
    np.testing.assert_array_equal(np.ldexp(multiplier.astype(np.float32), shift), (s_in * s_w) / s_out)
    assert multiplier.dtype == shift.dtype == np.int32


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match=r"profile is 'half', expected one of tflite, single, onnx"):
        output_multipliers(0.1, 0.1, 0.1, "half")
