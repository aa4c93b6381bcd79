"""Notebook 13: gradients in few bytes."""

import numpy as np

from minigrad.compression.gradients import Compressor, Sign
from minigrad.compression.gradients.scaling import wire_bytes

from .checking import Task


def exercise_1():
    """Uneven shards."""
    images, gradients = np.array([5, 2, 1]), np.array([0.2, 0.9, -1.0])
    return Task(
        float(np.average(gradients, weights=images)),
        hint="The loss is a mean over all 8 images. Go back to sums: a mean times its number of images.",
        stronger="The sums are 1.0, 1.8 and -1.0, over 8 images.",
        mistakes=[
            (gradients.mean(), "That is the plain mean: a single image counts as much as five."),
            (gradients.sum(), "That is the sum of the means; the loss is a mean over all images."),
            ((images * gradients).sum(), "Divide by the number of images of the whole batch."),
            ((images * gradients).sum() / 3, "Divide by the number of images, 8, not of machines."),
        ],
    )


def exercise_2():
    """Error feedback on paper."""
    worker = Compressor(Sign())
    for step, g in enumerate(np.float32([[5, 1], [1, -1]])):
        worker.compress("w", g, step)
    left = tuple(worker.residuals["w"].tolist())
    return Task(
        ((3, -3), left),
        hint="The first message is (3, 3): mean magnitude, signs. What it left out, v - C(v), is added to the next gradient.",
        stronger="The first message left (2, -2) out. The second is made of (1, -1) + (2, -2).",
        mistakes=[
            (((3, 3), (2, -2)), "That is the first message, and what it left out."),
            (((1, -1), (0, 0)), "Without feedback, yes. But the first message left (2, -2) out."),
            (((-1, 1), (0, 0)), "What is left is v - C(v), not C(v) - v: it is added."),
            (((3, -3), (2, -2)), "(2, -2) was left by the first message; it has been used up."),
        ],
    )


def exercise_3():
    """A number in Elias's code."""
    number, code = 20, "0"
    while number > 1:
        code, number = f"{number:b}{code}", number.bit_length() - 1
    return Task(
        code,
        hint="20 in binary; before it the number of its digits, less one, in binary; before that the same; a 0 at the end.",
        stronger="20 has five digits, so 4 stands before it; 4 has three, so 2 stands before that: 10 100 10100 0.",
        mistakes=[
            ("10100", "That is 20 in binary. How is a reader to know that it has 5 digits?"),
            (code[:-1], "The 0 at the end is missing: without it, a reader takes 20 for the next number's length."),
            ("11101101000", "Less one: before 5 digits stands 4, not 5."),
            ("100101000", "4 has three digits: before it stands 2, in binary 10."),
        ],
    )


def exercise_4():
    """For how many machines compression pays."""
    pays = [k for k in range(2, 100) if wire_bytes(44_798, k, False) < wire_bytes(177_704, k, True)]
    return Task(
        max(pays),
        hint="All-reduce sends each gradient nearly twice; compressed messages go to everybody: K < 2 c.",
        stronger="2 · 177,704 / 44,798 = 7.93.",
        mistakes=[
            (3, "All-reduce sends each gradient nearly twice: K < 2 c, not K < c."),
            (8, "The scales count: c is 3.97, a little less than 4, and 2 c is less than 8."),
            (2 * 177_704 / 44_798, "That is 2 c. Machines are whole: the largest integer below."),
        ],
    )
