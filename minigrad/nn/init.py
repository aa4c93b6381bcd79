"""Initial weights."""

import numpy as np

from minigrad.random import generator
from minigrad.tensor import Array


def default_uniform(shape: tuple[int, ...], fan_in: int) -> Array:
    """Draw from U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for the weights and biases of Linear and Conv2d.

    PyTorch writes it as Kaiming-uniform with a = sqrt(5) (He et al. 2015, with a slope that makes the bound this one).

    Args:
        shape: of the result.
        fan_in: number of inputs that each output sums.

    Returns:
        float32 array of `shape`.
    """
    bound = 1 / np.sqrt(fan_in) if fan_in else 0.0
    return generator().uniform(-bound, bound, shape).astype(np.float32)
