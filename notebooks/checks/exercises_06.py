"""Notebook 06: which weights matter."""

import numpy as np

from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import SensitivityScan, allocate_sparsity, lottery_targets, prune_channels, shrink

from .checking import Task


def exercise_1(w, g, h):
    """Who goes first, by four criteria."""
    scores = {"magnitude": abs(w), "gradient": abs(g), "taylor": abs(g * w), "obd": h * w**2 / 2}
    right = {name: int(score.argmin()) for name, score in scores.items()}
    return Task(
        right,
        hint="Write the three scores of each criterion down; the lowest goes. Taylor's is |g w|.",
        stronger=f"OBD's scores are {scores['obd'].round(4).tolist()}, Taylor's {scores['taylor'].round(4).tolist()}.",
        mistakes=[
            (right | {"magnitude": 1}, "-2.0 is the smallest number, but has the largest magnitude."),
            (right | {"obd": 0}, "OBD asks for h · w² / 2: weight 1 is large, but its direction is almost flat."),
            (right | {"taylor": 1}, "Without signs: of |g w| the smallest is weight 0's, whose slope is 0."),
            ({name: int(s.argmax()) for name, s in scores.items()}, "The lowest score goes first, not the highest."),
        ],
    )


def exercise_2():
    """A budget by hand."""
    curves = {"a": np.array([98.0, 97, 90]), "b": np.array([98.0, 98, 60])}
    scan = SensitivityScan(np.array([0, 0.5, 1]), curves, {"a": 100, "b": 100}, 98.0, 1000)
    return Task(
        allocate_sparsity(scan, 0.6),
        hint="120 weights in all. In each straight piece one more weight costs the same: take the cheapest pieces first.",
        stronger="Points a weight: b 0 up to 0.5, a 1/50 up to 0.5, then a 7/50, and b 38/50.",
        mistakes=[
            ({"a": 0.6, "b": 0.6}, "Beyond 0.5, b costs 38 / 50 of a point for each weight; in a it is at most 7 / 50."),
            ({"a": 1.0, "b": 0.2}, "The first 50 weights of b cost nothing at all. Take them first."),
            ({"a": 0.5, "b": 0.7}, "The last 20 weights are cheaper in a: 7 / 50 of a point each, not 38 / 50."),
            ({"a": 0.5, "b": 0.5}, "That removes 100 weights; 120 have to go."),
        ],
    )  # fmt: skip


def exercise_3():
    """Surgery on paper."""
    model = trained_lenet()
    return Task(
        sum(p.size for p in shrink(prune_channels(model, {"conv2": 0.5})).parameters()),
        hint="Three things go: filters, their biases, and the columns of the layer that reads their maps.",
        stronger="A filter has 6 · 25 weights and a bias. Each map gives fc1 16 features, read by 120 neurons.",
        mistakes=[
            (44_426 - 8 * 151, "fc1 still reads maps that no longer exist."),
            (44_426 - 8 * 151 - 8 * 120, "fc1 reads each map at 4 × 4 places: 16 columns for each map, not one."),
            (44_426 - 8 * 150 - 120 * 8 * 16, "A filter that goes takes its bias with it."),
        ],
    )


def exercise_4():
    """Rounds of a lottery."""
    model = trained_lenet()
    left = [1 - lottery_targets(model, n)[-1]["fc1.weight"] for n in range(1, 30)]
    return Task(
        1 + next(n for n, share in enumerate(left) if share < 0.05),
        hint="After n rounds 0.8 to the power of n is left.",
        stronger="n is larger than log(0.05) / log(0.8) = 13.4.",
        mistakes=[
            (5, "20 % of what is *left*, not of what there was: after two rounds 64 % are left, not 60 %."),
            (13, "Almost: after 13 rounds 5.5 % are left."),
            (2, "A round removes 20 %, and 80 % stay: 0.8 to the power of n, not 0.2."),
        ],
    )
