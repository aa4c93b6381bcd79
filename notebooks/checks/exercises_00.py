"""Notebook 00: the whole story."""

import numpy as np

from minigrad.compression.distillation import soft_targets
from minigrad.compression.report import wilson_interval

from .checking import Task


def exercise_1():
    """An accuracy."""
    return Task(
        98.15,
        rtol=1e-6,
        hint="How many are read correctly, of 10,000? Percent are hundredths.",
        stronger="9,815 of 10,000 are read correctly.",
        mistakes=[
            (1.85, "That is the share of those that are misread."),
            (0.9815, "In percent: times 100."),
            (9815, "That is a number of images: divide it by 10,000, and take it times 100."),
        ],
    )


def exercise_2():
    """How many times smaller."""
    kept, places = 500_000 * 4 / 8, 1_000_000 / 8
    return Task(
        4_000_000 / (kept + places),
        rtol=0.005,
        hint="Add up the bytes: 4 bits for each weight that is left, and a bit for every place. 8 bits are a byte.",
        stronger="250,000 bytes of values and 125,000 of places, against 4,000,000.",
        mistakes=[
            (4_000_000 / kept, "The places count as well: a bit for each of the 1,000,000."),
            (4_000_000 / (2 * kept + places), "Weights that were removed are not stored."),
            (4_000_000 / (kept + places / 2), "Every place has its bit, also where nothing is."),
            (1_000_000 / (kept + places), "A float32 number takes 4 bytes."),
        ],
    )  # fmt: skip


def exercise_3():
    """How wide an interval is."""
    low, high = wilson_interval(9_800, 10_000)
    half = (high - low) / 2
    return Task(
        half,
        rtol=0.01,  # Wilson's interval is a little wider than the formula's
        hint="p = 0.98, n = 10,000; and percentage points are hundredths.",
        stronger="One standard deviation is √(0.98 · 0.02 / 10,000) = 0.0014.",
        mistakes=[
            (half / 1.96, "That is one standard deviation; the interval reaches 1.96 of them."),
            (2 * half, "That is the whole width; asked is how far it reaches to each side."),
            (half / 100, "In percentage points: times 100."),
        ],
    )  # fmt: skip


def exercise_4():
    """A probability at a temperature."""
    logits = np.array([[4.0, 2.0]])
    return Task(
        float(soft_targets(logits, 2)[0, 0]),
        rtol=0.005,
        hint="Divide both numbers by T first; then e to the power of each, and the 9's share of the sum.",
        stronger="e² / (e² + e).",
        mistakes=[
            (float(soft_targets(logits, 1)[0, 0]), "That is at T = 1: divide the numbers by 2 first."),
            (float(soft_targets(logits, 0.5)[0, 0]), "T divides. You have multiplied by it."),
            (float(soft_targets(logits, 2)[0, 1]), "That is the 4's share."),
            (2 / 3, "Softmax takes e to the power of the numbers, not the numbers themselves."),
        ],
    )  # fmt: skip
