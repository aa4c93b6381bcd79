"""Changes to images that leave their labels true: for a DataLoader's `transform`."""

from dataclasses import dataclass

import numpy as np

from minigrad.datasets import MEAN, STD
from minigrad.ops.layout import innermost_image, outermost
from minigrad.tensor import Array

BACKGROUND = float((np.float32(0) - np.float32(MEAN)) / np.float32(STD))
"""A black pixel, normalised."""


@dataclass(frozen=True)
class Jitter:
    """Move every image by up to `pixels` pixels, across and down: each of the shifts is equally likely.

    Args:
        pixels: the largest shift, 0 or more.
        fill: value of the pixels that come in at the border; by default the background of normalised images.

    Called as jitter(x, generator) with x of shape (N, C, H, W); returns the moved images, of x's dtype, in memory of their own.

    Raises:
        ValueError: pixels is negative; x has not four axes.

    Source:
        Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015, section 3: digits "jittered by up to two
        pixels in any direction".

    Example:
        >>> x = np.zeros((1, 1, 5, 5), np.float32)
        >>> x[0, 0, 2, 2] = 1
        >>> moved = Jitter(pixels=1, fill=0)(x, np.random.default_rng(2))
        >>> np.argwhere(moved[0, 0])  # it was in the middle, at [2, 2]
        array([[1, 3]])
    """

    pixels: int = 2
    fill: float = BACKGROUND

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise ValueError(f"Jitter: pixels is {self.pixels}, expected 0 or more")

    def __call__(self, x: Array, generator: np.random.Generator) -> Array:
        if x.ndim != 4:
            raise ValueError(
                f"Jitter: x must be images (N, C, H, W), got {x.shape}; flatten them in the model, after it"
            )
        count, _, height, width = x.shape
        down, across = generator.integers(0, 2 * self.pixels + 1, (2, count))
        padded = innermost_image(x, self.pixels, self.pixels, self.fill)  # (C, H + 2 pixels, W + 2 pixels, N)
        rows = np.arange(height)[:, None, None] + down  # (H, 1, N)
        columns = np.arange(width)[:, None] + across  # (W, N)
        return outermost(np.ascontiguousarray(padded[:, rows, columns, np.arange(count)]))
