"""Notebook 01: autograd."""

import numpy as np

from minigrad import Tensor
from minigrad import functional as F

from .checking import Task


def exercise_1():
    """Backward on paper."""
    a, b = Tensor(2.0, requires_grad=True), Tensor(-3.0, requires_grad=True)
    ((a * b + a) ** 2).backward()
    return Task(
        (-8, int(a.grad), int(b.grad)),
        hint="Begin at the end: the slope of u² is 2u. What arrives at u goes to each thing that u was made of.",
        stronger="u = -4. b is used once: what arrives, times a. a is used twice: add its two shares.",
        mistakes=[
            ((8, -16, 16), "Mind the sign: u = 2 · (-3) + 2 = -4."),
            ((-8, 24, -16), "24 is the share through a · b only. a is used once more, in the sum."),
            ((-8, -8, -16), "-8 is the share of the sum only. a is used once more, in a · b."),
            ((-8, 16, 2), "The local slope at b is a = 2; multiply it by what arrives."),
        ],
    )


def exercise_2(x, g):
    """The VJP of sigmoid."""
    t = Tensor(x, requires_grad=True)
    y = F.sigmoid(t)
    y.backward(g)
    out = y.data
    return Task(
        t.grad,
        hint="Sigmoid works on each element alone: no sum is needed. Write 1 - out as a fraction, and compare it with σ'.",
        stronger="The local slope is out · (1 - out).",
        mistakes=[
            (out * (1 - out), "That is the local slope. A VJP multiplies it by what arrives, g."),
            (g * out, "That is the VJP of exp."),
            (g * out * (1 + out), "The sign: 1 / (1 + e⁻ˣ) and e⁻ˣ / (1 + e⁻ˣ) add up to 1."),
        ],
    )


def exercise_3(x, g):
    """The gradient of a factor that was broadcast."""
    s = Tensor(np.ones((4, 1)), requires_grad=True)
    (x * s).backward(g)
    return Task(
        s.grad,
        hint="Multiply g by the local slope; then sum over whatever was stretched, so that s's shape is left.",
        stronger="The local slope of x · s along s is x; s was stretched along axis 1, which keepdims=True keeps.",
        mistakes=[
            (g * x, "Each factor was used three times: add its three shares."),
            ((g * x).sum(axis=0), "Sum over the axis along which s was stretched: it has size 1 in s."),
            ((g * x).sum(axis=1), "The axis over which you sum must stay, with size 1."),
            (g.sum(axis=1, keepdims=True), "A sum of g alone would be right for x + s. Where is the local slope?"),
        ],
    )


def exercise_4(rows):
    """A batch in two halves."""
    w = Tensor([0.5, -1.0], requires_grad=True)
    ((rows @ w) ** 2).mean().backward()
    right = w.grad
    w.grad = None
    ((rows[4:] @ w) ** 2).mean().backward()
    return Task(
        right,
        hint="Gradients of several calls of backward add up. What is the mean of eight, made of two means of four?",
        stronger="Divide the loss of each half by 2 before its backward.",
        mistakes=[
            (2 * right, "Twice too large: the mean of eight is half the sum of two means of four."),
            (8 * right, "That is the gradient of the sum; the mean divides by 8."),
            (w.grad, "That is the second half alone: was w.grad cleared in between?"),
        ],
    )
