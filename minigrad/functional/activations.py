"""Activation functions and softmax."""

from typing import Any

from minigrad import ops
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
    return apply(ops.Relu, x)


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


def log_softmax(input: Any, axis: int = -1) -> Tensor:
    """log(exp(x) / sum of exp(x)) along `axis`, finite for any finite input."""
    input = as_tensor(input)
    return apply(ops.LogSoftmax, input, axis=check_axis("log_softmax", input, axis))


def softmax(input: Any, axis: int = -1) -> Tensor:
    """exp(x) / sum of exp(x) along `axis`.

    Example:
        >>> softmax([0.0, 0.0]).data
        array([0.5, 0.5])
    """
    return log_softmax(input, axis).exp()
