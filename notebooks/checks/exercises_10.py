"""Notebook 10: integers only."""

import numpy as np

from minigrad.compression.integer import arithmetic, quantize_multiplier

from .checking import Task


def exercise_1():
    """A multiplier and a shift."""
    right = quantize_multiplier(0.1)
    return Task(
        right,
        hint="Double 0.1 until it lies between 0.5 and 1. What is left is Q / 2^31, and the doublings give the shift.",
        stronger="0.1 = 0.8 · 2^-3.",
        mistakes=[
            ((right[0], 3), "The sign: M = 0.8 · 2^shift is smaller than 0.8, so the shift is negative."),
            ((round(0.1 * 2**31), 0), "That Q is below 2^30: three of its bits are wasted. Double first."),
            ((round(1.6 * 2**31), -4), "0.1 · 2^4 = 1.6 lies beyond 1: one doubling too many."),
            ((0.8 * 2**31, -3), "Q has to be an integer: round it."),
        ],
    )


def exercise_2(acc, Q, shift, zero):  # noqa: N803 - the notebook's names
    """An accumulator, requantized."""
    right = int(arithmetic.requantize(acc, Q, shift, 0)) + zero  # 0: the profile "tflite"
    high = (acc * Q + 2**30) >> 31
    return Task(
        right,
        hint="Two roundings: (acc · Q + 2^30) >> 31, then a shift by 6 that rounds as well. The zero point comes last.",
        stronger="-3217 · 0.01 = -32.17 is rounded to -32, and -10 is added.",
        mistakes=[
            (((acc * Q) >> 37) + zero, "That is a bare shift: it floors. Add half before the first, compare the rest."),
            (high + zero, "Only the first rounding: the shift of 6 is missing."),
            (right - zero, "The zero point is missing: it is added last."),
            (right - 2 * zero, "The zero point is added: r = S (q - Z) gives q = r/S + Z."),
        ],
    )


def exercise_3(weights, bias, zero):
    """The zero point, folded into the bias."""
    total, wrapped = int(weights.sum(dtype=np.int64)), int(weights.sum(dtype=np.int8))
    return Task(
        bias - zero * total,
        hint="Take Z_x out of the sum: it is multiplied by the sum of the weights.",
        stronger=f"The weights sum to {total}. b' = q_b - Z_x · {total}, and Z_x is negative.",
        mistakes=[
            (bias + zero * total, "The sign: q_x - Z_x, so Z_x times the sum is taken away."),
            (bias - zero * wrapped, "Summed in int8, the weights wrap around: use int64."),
            (-zero * total, "And the bias?"),
            (bias - zero, "Z_x is taken away once for each weight, times that weight."),
        ],
    )
