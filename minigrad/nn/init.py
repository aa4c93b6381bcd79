"""Initial weights."""

import numpy as np

from minigrad.nn.module import Parameter
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


def fan_in_and_out(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs an output of a weight sums, and how many outputs an input reaches.

    Raises:
        ValueError: the weight has fewer than two axes.

    Example:
        >>> fan_in_and_out((16, 6, 5, 5))
        (150, 400)
    """
    if len(shape) < 2:
        raise ValueError(f"fan_in_and_out: a weight has (outputs, inputs, ...), got shape {shape}")
    area = int(np.prod(shape[2:]))
    return shape[1] * area, shape[0] * area


def kaiming_uniform_(weight: Parameter, gain: float = 2**0.5) -> Parameter:
    """Fill a weight, in place, from U(-a, a) with a = gain * sqrt(3 / fan_in): variance gain**2 / fan_in, for ReLU.

    Source:
        He et al., "Delving deep into rectifiers", 2015.
    """
    return _uniform_(weight, gain * (3 / fan_in_and_out(weight.shape)[0]) ** 0.5)


def kaiming_normal_(weight: Parameter, gain: float = 2**0.5) -> Parameter:
    """Fill a weight, in place, from a normal distribution with standard deviation gain / sqrt(fan_in), for ReLU."""
    return _normal_(weight, gain / fan_in_and_out(weight.shape)[0] ** 0.5)


def xavier_uniform_(weight: Parameter, gain: float = 1.0) -> Parameter:
    """Fill a weight, in place, from U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)).

    Source:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    return _uniform_(weight, gain * (6 / sum(fan_in_and_out(weight.shape))) ** 0.5)


def xavier_normal_(weight: Parameter, gain: float = 1.0) -> Parameter:
    """Fill a weight, in place, from a normal distribution with standard deviation gain * sqrt(2 / (fan_in + fan_out))."""
    return _normal_(weight, gain * (2 / sum(fan_in_and_out(weight.shape))) ** 0.5)


def _uniform_(weight: Parameter, bound: float) -> Parameter:
    weight.data[...] = generator().uniform(-bound, bound, weight.shape)
    return weight


def _normal_(weight: Parameter, std: float) -> Parameter:
    weight.data[...] = generator().normal(0, std, weight.shape)
    return weight
