"""Activation functions and softmax."""

from typing import Any

from minigrad import ops
from minigrad.functional import peephole
from minigrad.functional.checks import check_axis, check_kernel_dtype
from minigrad.tensor import Tensor, apply, as_tensor


def relu(input: Any) -> Tensor:
    """max(input, 0), elementwise; the derivative at 0 is 0, and NaN stays NaN.

    Example:
        >>> relu([-1.0, 0.0, 2.0]).data
        array([0., 0., 2.])
    """
    x = as_tensor(input)
    check_kernel_dtype("relu", x)
    return peephole.relu(x)


def relu6(input: Any) -> Tensor:
    """min(max(input, 0), 6), elementwise."""
    return apply(ops.Relu6, as_tensor(input))


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """input where it is positive, else negative_slope * input."""
    return apply(ops.LeakyRelu, as_tensor(input), slope=negative_slope)


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + exp(-input)), elementwise."""
    return apply(ops.Sigmoid, as_tensor(input))


def tanh(input: Any) -> Tensor:
    """Hyperbolic tangent, elementwise."""
    return apply(ops.Tanh, as_tensor(input))


def gelu(input: Any) -> Tensor:
    """input * P(Z <= input) for a standard normal Z, with the exact error function (Hendrycks and Gimpel 2016)."""
    return apply(ops.Gelu, as_tensor(input))


def log_softmax(input: Any, axis: int = -1, temperature: float = 1.0) -> Tensor:
    """log(exp(x / T) / sum of exp(x / T)) along `axis` at temperature T, finite for any finite input.

    Raises:
        ValueError: the axis does not exist, or the temperature is not above 0.
    """
    x = as_tensor(input)
    axis = check_axis("log_softmax", x, axis)
    if not temperature > 0:
        raise ValueError(f"log_softmax: temperature is {temperature}, expected a number above 0")
    return apply(ops.LogSoftmax, x if temperature == 1 else x / temperature, axis=axis)


def softmax(input: Any, axis: int = -1, temperature: float = 1.0) -> Tensor:
    """exp(x / T) / sum of exp(x / T) along `axis` at temperature T: softer above 1, sharper below.

    Raises:
        ValueError: the axis does not exist, or the temperature is not above 0.

    Example:
        >>> import math
        >>> [f"{p:.2f}" for p in softmax([0.0, math.log(3)]).data]
        ['0.25', '0.75']
    """
    return log_softmax(input, axis, temperature).exp()
