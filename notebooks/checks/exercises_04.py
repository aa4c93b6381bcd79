"""Notebook 04: LeNet."""

import numpy as np

from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.compression.models import LeNet
from minigrad.optim import SGD

from .checking import Task


def exercise_1():
    """Features of a smaller image."""
    model = LeNet()
    maps = nn.Sequential(model.conv1, nn.MaxPool2d(2), model.conv2, nn.MaxPool2d(2))
    return Task(
        maps(np.zeros((1, 1, 20, 20), np.float32)).size,
        hint="Follow one side through the layers: a 5×5 filter takes 4 off, a pooling halves.",
        stronger="20 → 16 → 8 → 4 → 2, in 16 maps.",
        mistakes=[
            (256, "That is for 28×28 pixels."),
            (4, "That is one map; conv2 has 16 of them."),
            (6 * 2 * 2, "conv1 has 6 maps; the features come from conv2."),
            (16 * 5 * 5, "A convolution without padding takes 4 off each side's length."),
        ],
    )  # fmt: skip


def exercise_2():
    """Parameters of a wider layer."""
    wider, model = (sum(p.size for p in LeNet(widths=(c, 16, 120, 84)).parameters()) for c in (8, 6))
    return Task(
        wider - model,
        hint="Two filters and their biases; and the next layer reads two maps more.",
        stronger="A filter of conv1 has 25 weights and a bias. Each of conv2's 16 filters gets 25 weights for each new map.",
        mistakes=[
            (52, "conv2 reads the new maps: its filters grow, too."),
            (850, "Each new filter brings a bias."),
            (102, "conv2 has 16 filters, and each of them reads both new maps."),
        ],
    )


def exercise_3(logits):
    """A cross-entropy by hand."""
    p = np.exp(logits) / np.exp(logits).sum()
    return Task(
        float(F.cross_entropy(Tensor(logits[None]), np.array([2])).item()),
        hint="The loss is minus the logarithm of the probability that softmax gives the label.",
        stronger="softmax: e³ / (e¹ + e⁰ + e³ + e⁻¹) = 0.83.",
        mistakes=[
            (p[2], "That is the probability of the label. The loss is minus its logarithm."),
            (np.log(p[2]), "The sign: a logarithm of a probability is negative, a loss is not."),
            (-np.log(p[1]), "Labels count from 0: label 2 is the third number."),
            (-np.log10(p[2]), "The natural logarithm is meant: np.log."),
        ],
    )


def exercise_4():
    """Two steps with momentum."""
    w = Tensor(np.array([1.0]), requires_grad=True)
    optimizer, found = SGD([w], lr=0.1, momentum=0.9), []
    for _ in range(2):
        w.grad = np.array([2.0])
        optimizer.step()
        found.append(float(w.data[0]))
    return Task(
        tuple(found),
        hint="In the first step v is the gradient. In the second, nine tenths of the old v come on top.",
        stronger="v is 2, then 0.9 · 2 + 2 = 3.8.",
        mistakes=[
            ((0.8, 0.6), "That is without momentum: v remembers the first step."),
            ((1.2, 1.58), "The sign: one walks against the gradient."),
            ((0.98, 0.942), "The gradient is added whole, not a tenth of it."),
            ((0.8, 0.62), "In the second step the gradient is added to 0.9 · v; it is not left out."),
        ],
    )
