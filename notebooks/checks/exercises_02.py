"""Notebook 02: gradients checked."""

import math

import numpy as np

from minigrad import GradcheckError, Tensor, gradcheck
from minigrad import functional as F

from .checking import Task


def exercise_1(whole, half):
    """Richardson's combination of two central differences."""
    return Task(
        math.e,
        rtol=1e-9,
        hint="Try better = a · half + b · whole with a + b = 1, so that the slope itself stays.",
        stronger="half's error is a quarter of whole's: a / 4 + b = 0 and a + b = 1.",
        mistakes=[
            (half, "That is the better of the two; combine them."),
            ((half + whole) / 2, "The mean keeps the errors: they have the same sign. One of them has to be subtracted."),
            (2 * half - whole, "That would cancel an error proportional to ε; here it is proportional to ε²."),
        ],
    )  # fmt: skip


def exercise_2(given):
    """A function whose gradient is right."""
    function, inputs = given
    lost = "Part of the function does not flow through the tape: use ops on x itself for the deviation too."
    other = "x.var() is the square of the standard deviation."

    def judge(answer):
        if not isinstance(answer, tuple) or len(answer) != 2 or not callable(answer[0]):
            return f"expected a pair of a function and its inputs, got {answer!r}", "Write a lambda for the function."
        expected, got = function(Tensor(inputs[0])).data, answer[0](Tensor(inputs[0]))
        got = got.data if isinstance(got, Tensor) else np.asarray(got)
        if not np.allclose(got, expected):
            return f"expected the values {expected}, got {got}", other
        try:
            gradcheck(answer[0], inputs)
        except (GradcheckError, TypeError):
            return "expected the gradient that gradcheck finds, got another one", lost
        return None

    return Task(
        None,
        judge=judge,
        hint="Compare your function's table with the one of the function that was given.",
        stronger=".data leaves the tape, so no gradient flows through it. x.var() stays on it; so does a power of it.",
        mistakes=[
            (given, lost),
            ((lambda x: x / x.var(), inputs), other),
        ],
    )


def exercise_3(digit):
    """A picture without ties."""
    ties = "There are ties left: add a number of its own to each pixel."
    near = "Within the step of the check, 1e-6, near is a tie too: spread the numbers wider."
    far = "Stay close to the digit: no pixel moves by more than 0.1."
    noise = np.random.default_rng(1).uniform(size=digit.shape)

    def judge(answer):
        if not isinstance(answer, np.ndarray) or answer.shape != digit.shape or not np.isfinite(answer).all():
            got = getattr(answer, "shape", answer)
            return f"expected an array of shape {digit.shape}, got {got}", "Begin with digit, and add to it."
        corners = np.sort(np.stack([answer[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]), axis=0)  # of each window
        gap, moved = (corners[3] - corners[2]).min(), np.abs(answer - digit).max()
        if moved > 0.1:
            return f"expected pixels that move by at most 0.1, got {moved:.3g}", far
        if gap < 2e-6:
            return (
                f"expected windows whose two largest differ by 2e-6 or more, got {gap:.1e}",
                ties if gap == 0 else near,
            )
        return None

    return Task(
        None,
        judge=judge,
        hint="Which windows tie? Nearly all of them: the background is one colour.",
        stronger="np.random.default_rng(0).uniform(0, 0.1, digit.shape) has a number of its own for each pixel.",
        mistakes=[(digit + 0.05, ties), (digit + 1e-7 * noise, near), (digit + noise, far)],
    )


def exercise_4(x):
    """A root without NaN in its gradient."""
    values, slopes = np.array([2.0, 1, 0, 0]), np.array([0.25, 0.5, 0, 0])
    nan = "sqrt still sees a 0 or less: give it a harmless number there, by a where of its own."
    other = "The values must stay: the root where x > 0, and 0 elsewhere."
    slope = "The slope is 1 / (2 √x) where x > 0, and 0 elsewhere. Is what you computed made of x all the way?"

    def judge(answer):
        if not isinstance(answer, Tensor) or answer.shape != (4,):
            return f"expected a Tensor of shape (4,), got {type(answer).__name__}", "Compute it from x, by ops."
        if not np.allclose(answer.data, values, equal_nan=True):
            return f"expected the values {values}, got {answer.data}", other
        x.grad = None
        if answer.requires_grad:
            with np.errstate(all="ignore"):
                answer.backward(np.ones(4), retain_graph=True)
        if x.grad is None or not np.allclose(x.grad, slopes):
            unsound = x.grad is not None and not np.isfinite(x.grad).all()
            return f"expected the gradient {slopes}, got {x.grad}", nan if unsound else slope
        return None

    with np.errstate(all="ignore"):
        first = F.where(x > 0, F.sqrt(x), 0.0)
    return Task(
        None,
        judge=judge,
        hint="Where is a root computed that nobody wants?",
        stronger="harmless = F.where(x > 0, x, 1.0) has a root everywhere. Then choose once more.",
        mistakes=[
            (first, nan),
            (Tensor(values), slope),
            (F.where(x > 0, F.sqrt(F.where(x > 0, x, 1.0)), 1.0), other),
        ],
    )
