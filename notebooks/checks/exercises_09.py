"""Notebook 09: quantization."""

import numpy as np

from minigrad.compression.quantization import activation_params, dequantize, quantize, stored_bytes, weight_params

from .checking import Task


def exercise_1():
    """Scale and zero point."""
    params = activation_params(-0.5, 2.05)
    scale, zero = float(params.scale), int(params.zero_point)
    return Task(
        (scale, zero),
        hint="S is the range, divided by the number of steps. Z is the q that stands for r = 0: start at -128.",
        stronger="256 points have 255 steps. 0 lies 0.5 / S = 50 steps above the lowest point.",
        mistakes=[
            ((2.55 / 256, -78), "256 points have 255 steps between them."),
            ((scale, 50), "50 steps lie below 0, but they begin at -128, not at 0."),
            ((scale, -178), "The sign: 0 lies 50 steps *above* the lowest point."),
            ((2.05 / 127, 0), "That is a symmetric range. Both ends are to be points of the grid, so Z is not 0."),
        ],
    )


def exercise_2():
    """Bytes with scales, and a bit in decibels."""
    right = sum(stored_bytes(120 * 256, weight_params(np.ones((120, 256)), bits=3, group=64)).values())
    decibels = 20 * np.log10(2)
    return Task(
        (right, decibels),
        rtol=0.01,
        hint="3/8 byte a weight, and 4 bytes a group of 64. Half the step is a quarter of the error's power.",
        stronger="A row of 256 has 4 groups: 480 scales. 10 log10(4) decibels a bit.",
        mistakes=[
            ((11_520, decibels), "Those are the integers alone; each group of 64 has a scale of 4 bytes as well."),
            ((11_520 + 4 * 120, decibels), "That would be one scale a row; a row of 256 has 4 groups."),
            ((30_720 + 4 * 480, decibels), "Packed, a weight takes 3 bits, not a byte."),
            ((right, 10 * np.log10(2)), "Half the step is a quarter of the power: 10 log10(4), not 10 log10(2)."),
        ],
    )


def exercise_3(rows):
    """Symmetric rounding, a scale for each row."""
    params = weight_params(rows, bits=4)

    def rounded(scale):
        return scale * np.round(rows / scale)

    largest = np.abs(rows).max(axis=1, keepdims=True)
    return Task(
        dequantize(quantize(rows, params), params),
        rtol=1e-5,
        hint="Divide by the scale, round, and multiply by the scale again. Which scale makes the largest weight 7?",
        stronger="scale = np.abs(rows).max(axis=1, keepdims=True) / 7",
        mistakes=[
            (rounded(np.abs(rows).max() / 7), "One scale for all: the second row is lost. Use axis=1."),
            (rounded(np.abs(rows).max(axis=0) / 7), "Those are scales by column; a channel is a row."),
            (rounded(largest / 8), "From -7 to 7: the largest weight is 7 steps, not 8."),
            (np.round(rows * 7 / largest), "Those are the integers. Turn them back into real numbers."),
        ],
    )
