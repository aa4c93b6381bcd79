"""Notebook 03: convolution and pooling."""

import numpy as np

from minigrad import Tensor, nn, summary
from minigrad import functional as F

from .checking import Task


def exercise_1():
    """A padding that keeps the size."""
    image, w = np.zeros((1, 1, 28, 28), np.float32), np.ones((1, 1, 5, 5), np.float32)
    right = next(p for p in range(28) if F.conv2d(image, w, padding=p, dilation=2).shape == image.shape)
    return Task(
        right,
        hint="How many pixels wide is a 5×5 filter whose points lie 2 apart?",
        stronger="Set 28 + 2p - 2 · (5 - 1) equal to 28.",
        mistakes=[
            (2, "2 is right without dilation. Spread by 2, the filter covers 2 · (5 - 1) + 1 = 9 pixels, not 5."),
            (8, "That is for both sides together; padding counts one."),
            (5, "Spread by 2, five points have four gaps of 2 between them: 9 pixels, not 10."),
        ],
    )


def exercise_2(w, g):
    """Stamps with stride 2."""
    pixels = Tensor(np.zeros((1, 1, 4, 4)), requires_grad=True)
    F.conv2d(pixels, w[None, None], stride=2).backward(g[None, None])
    close = np.zeros((4, 4))
    close[:2, :2], close[1:3, 1:3] = w, close[1:3, 1:3] + g[1, 1] * w
    close[1, 1] += w[1, 1]
    return Task(
        pixels.grad[0, 0],
        hint="For each number of g, put the filter where its window was, times that number.",
        stronger="With stride 2 the windows begin at rows and columns 0 and 2, and do not overlap.",
        mistakes=[
            (np.kron(g, w[::-1, ::-1]), "A stamp is not flipped: the flip appears when one gathers."),
            (close, "With stride 2 the window of g[1, 1] begins at row 2, column 2."),
            (np.kron(g, np.ones((2, 2))), "Each place is multiplied by its weight: that is what it was multiplied by in forward."),
        ],
    )  # fmt: skip


def exercise_3(image):
    """Pooling windows that overlap."""
    pixels = Tensor(image[None, None], requires_grad=True)
    F.max_pool2d(pixels, 2, stride=1).backward(np.ones((1, 1, 2, 2)))
    return Task(
        pixels.grad[0, 0],
        hint="Four windows pass on 1 each. Count the windows in which a pixel is the largest.",
        stronger="The windows' largest are 3 (the first of two), 4, 6 and 7.",
        mistakes=[
            (
                np.array([[0, 0, 0], [0, 1, 1], [0, 1, 1]]),
                "The window above left has two 3s. The first gets everything.",
            ),
            (np.array([[0, 0, 0], [0.5, 0.5, 1], [0, 1, 1]]), "Equal numbers do not share: the first gets everything."),
            (np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1]]), "Windows of 2×2 at stride 1: there are four, not one."),
        ],
    )


def exercise_4():
    """What a depthwise convolution costs."""
    return Task(
        summary(nn.Conv2d(32, 32, 3, padding=1, groups=32), (1, 32, 14, 14)).macs,
        hint="Count the output numbers, and how many products each is a sum of.",
        stronger="F · H' · W' output numbers, each a sum of C/G · 3 · 3 products; here C/G = 1.",
        mistakes=[
            (32 * 14 * 14 * 32 * 9, "That is for one group. With 32 groups, each filter sees one channel."),
            (32 * 12 * 12 * 9, "Padding 1 keeps the size: 14 + 2 - 3 + 1 = 14."),
            (14 * 14 * 9, "That is one filter; there are 32 of them."),
        ],
    )
