"""Notebook 11: quantization-aware training, 4 bits and signs."""

import numpy as np

from minigrad import Tensor
from minigrad import functional as F

from .checking import Task


def exercise_1(values, g):
    """The straight-through gradient on paper."""
    x = Tensor(values, requires_grad=True)
    (F.fake_quantize(x, 0.25, 0, -2, 1) * g).sum().backward()
    inside = (values >= -0.5) & (values <= 0.25)
    return Task(
        x.grad,
        hint="Pretend that nothing was rounded; but a number that is clipped passes nothing on. Divide each by S.",
        stronger="-2.8 rounds to -3 and 2 stays 2: these two are clipped. -2.2, 1.2 and 1.44 round to -2 and 1: inside.",
        mistakes=[
            (np.zeros(6), "That is the true gradient of rounding: 0. Pretend that nothing was rounded."),
            (g, "Clipped numbers get none: -0.7 / 0.25 = -2.8 rounds to -3, below -2."),
            (g * inside, "-2.2, 1.2 and 1.44 *round* to -2 and 1: they are inside."),
            (x.grad * 0.25, "The grid's step does not appear: x̂ moves as far as x does."),
        ],
    )


def exercise_2(weights):
    """Which way a learned step goes."""
    step, w = Tensor(0.5, requires_grad=True), Tensor(weights)
    ((F.fake_quantize(w, step, 0, -1, 1) - w) ** 2).sum().backward()
    slope = float(step.grad) / 2
    q = np.clip(np.round(weights / 0.5), -1, 1)
    return Task(
        (slope, "too small"),
        hint="(rounded - w) times the derivative of the rounded weight by S: round(v) - v inside, the limit where clipped.",
        stronger="v = 0.2, -0.8, 2.6, 1.8: the last two are clipped to 1, and their errors are -0.8 and -0.4.",
        mistakes=[
            ((2 * slope, "too small"), "The factor 1/2 is missing: the derivative of the square brings a 2."),
            ((float(np.sum((0.5 * q - weights) * q)), "too small"), "Inside, it is round(v) - v, not round(v)."),
            ((-slope, "too large"), "The sign: (rounded - w) times the derivative of the rounded weight."),
            ((slope, "too large"), "The gradient is negative, and one walks against it: S grows."),
        ],
    )


def exercise_3(a, b):
    """A dot product of signs, from bits."""
    signs_a, signs_b = (np.array([1 if word >> i & 1 else -1 for i in range(10)]) for word in (a, b))
    differ = (a ^ b).bit_count()
    return Task(
        int(signs_a @ signs_b),
        hint="Signs that agree count +1, others -1. The bits of a xor b that are 1 are the signs that differ.",
        stronger="K - 2 · popcount(a xor b), with K = 10.",
        mistakes=[
            (16 - 2 * differ, "K is the number of signs, 10, not of bits: those left over agree."),
            ((a & b).bit_count(), "That counts pairs of +1 alone; two -1 make +1 as well."),
            (2 * differ - 10, "The sign: each that differs counts -1."),
        ],
    )
