"""Notebook 05: pruning."""

import numpy as np

from minigrad import Tensor
from minigrad.compression.models import LeNet300100
from minigrad.compression.pruning import SparsePruner, kth_value_mask, model_sparsity
from minigrad.optim import SGD

from .checking import Task


def exercise_1(w):
    """A mask by hand."""
    right = kth_value_mask(w, 0.3)
    return Task(
        right.tolist(),
        hint="Sort the magnitudes. k = 10 · 0.3 = 3 of them go.",
        stronger="The three smallest magnitudes are 0.04, 0.05 and 0.10.",
        mistakes=[
            (
                (w > np.sort(w)[2]).tolist(),
                "Those are the smallest values. The magnitude counts: -0.6 is a large weight.",
            ),
            ((~right).tolist(), "The mask says what stays (True), not what goes."),
            (kth_value_mask(w, 0.7).tolist(), "A sparsity of 0.3 is the share that goes, not the share that stays."),
        ],
    )


def exercise_2():
    """The two ways to say how sparse a network is."""
    sizes, rates = np.array([235_200, 30_000, 1_000]), np.array([0.92, 0.91, 0.74])
    model = LeNet300100()
    rates_by_name = dict(zip((name for name, p in model.named_parameters() if p.ndim > 1), rates, strict=True))
    everything = model_sparsity(SparsePruner(model, rates_by_name).prune(model))
    weights = everything * (sizes.sum() + 410) / sizes.sum()
    return Task(
        (everything, weights),
        hint="Count the zeros of each layer and add them up; then divide twice.",
        stronger="There are 244,424 zeros. There are 266,200 weights, and 410 biases that are never 0.",
        mistakes=[
            ((weights, everything), "The order: all parameters first. They include the biases, so this share is smaller."),
            ((rates.mean(), rates.mean()), "Layers differ in size: the mean of the rates gives fc3 the weight of fc1."),
            ((1 - everything, 1 - weights), "That is the share that is left."),
        ],
    )  # fmt: skip


def exercise_3():
    """Where CSR becomes smaller than dense."""
    return Task(
        0.2,
        hint="Of n entries z are left. Dense takes 4n bytes; what does each of the z take?",
        stronger="Set 4n = (4 + 1) z. The sparsity is 1 - z/n.",
        mistakes=[
            (0.8, "That is the share of non-zeros, z/n. The sparsity is what is missing to 1."),
            (0.5, "That is for columns of 4 bytes each; here a column takes one."),
            (0.25, "z takes 5 bytes an entry and n takes 4: z/n = 4/5, not 3/4."),
        ],
    )


def exercise_4(w, mask, gradient):
    """One step of descent, then the mask."""
    p = Tensor(w.copy(), requires_grad=True)
    p.grad = gradient
    SGD([p], lr=0.1).step()
    right = np.stack([p.data, np.where(mask, p.data, 0)])
    return Task(
        right,
        hint="A step is w - η g, for pruned weights too; the mask comes afterwards.",
        stronger="Before the mask: 0 - 0.1 · 2, 0.8 + 0.1 · 1 and 0. The mask keeps the middle one.",
        mistakes=[
            (np.stack([right[1], right[1]]), "A pruned weight has a gradient like any other: without the mask it moves."),
            (np.stack([w + 0.1 * gradient, (w + 0.1 * gradient) * mask]), "The sign: one walks against the gradient."),
            (np.stack([right[0], right[0] * ~mask]), "True means that the weight stays."),
        ],
    )  # fmt: skip
