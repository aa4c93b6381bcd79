"""Functions of numbers and shapes: elementwise, reductions, joining, reshaping."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functional.checks import check_axis
from minigrad.tensor import Axis, Tensor, apply, as_tensor


def matmul(x: Any, y: Any) -> Tensor:
    """Matrix product, as `x @ y`.

    Raises:
        ValueError: the inner sizes differ.

    Example:
        >>> matmul(np.ones((2, 3)), np.ones((3, 4))).shape
        (2, 4)
    """
    return as_tensor(x) @ as_tensor(y)


def exp(x: Any) -> Tensor:
    """e ** x, elementwise."""
    return as_tensor(x).exp()


def log(x: Any) -> Tensor:
    """Natural logarithm, elementwise."""
    return as_tensor(x).log()


def sqrt(x: Any) -> Tensor:
    """Square root, elementwise. The derivative at 0 is infinite."""
    return apply(ops.Sqrt, as_tensor(x))


def abs(x: Any) -> Tensor:
    """Magnitude, elementwise. The derivative at 0 is 0."""
    return apply(ops.Abs, as_tensor(x))


def clip(x: Any, low: float | None = None, high: float | None = None) -> Tensor:
    """x, but at least `low` and at most `high`. The derivative is 1 from low to high, ends included, and 0 outside.

    Example:
        >>> clip([-2.0, 0.5, 3.0], 0, 1).data
        array([0. , 0.5, 1. ])
    """
    return apply(ops.Clip, as_tensor(x), low=low, high=high)


def maximum(x: Any, y: Any) -> Tensor:
    """The larger of x and y, elementwise, broadcast. Where they are equal, each gets half of the gradient."""
    x = as_tensor(x, like=y if isinstance(y, Tensor) else None)
    return apply(ops.Maximum, x, as_tensor(y, like=x))


def minimum(x: Any, y: Any) -> Tensor:
    """The smaller of x and y, elementwise, broadcast. Where they are equal, each gets half of the gradient."""
    x = as_tensor(x, like=y if isinstance(y, Tensor) else None)
    return -maximum(-x, -as_tensor(y, like=x))


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where the condition holds, else y, broadcast. No gradient flows through the condition.

    Example:
        >>> where([True, False], 1.0, 2.0).data
        array([1., 2.])
    """
    x = as_tensor(x, like=y if isinstance(y, Tensor) else None)
    condition = np.asarray(condition.data if isinstance(condition, Tensor) else condition, bool)
    return apply(ops.Where, condition, x, as_tensor(y, like=x))


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis` (None: all axes)."""
    return as_tensor(x).sum(axis, keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over `axis` (None: all axes).

    Raises:
        ValueError: there is nothing to average.
    """
    return as_tensor(x).mean(axis, keepdims)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum of exp(x)) over `axis`, without overflow.

    Example:
        >>> f"{logsumexp([1000.0, 1000.0]).item():.4f}"
        '1000.6931'
    """
    return apply(ops.LogSumExp, as_tensor(x), axis=axis, keepdims=keepdims)


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes from start_dim to end_dim (inclusive) into one.

    Raises:
        ValueError: an axis does not exist, or they are in the wrong order.

    Example:
        >>> flatten(np.zeros((64, 16, 4, 4)), start_dim=1).shape
        (64, 256)
    """
    input = as_tensor(input)
    if input.ndim == 0:
        return input.reshape(1)
    first, last = check_axis("flatten", input, start_dim), check_axis("flatten", input, end_dim)
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {input.shape}")
    joined = math.prod(input.shape[first : last + 1])
    return input.reshape((*input.shape[:first], joined, *input.shape[last + 1 :]))


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along an axis that they have.

    Raises:
        ValueError: there are none, or they differ in another axis.

    Example:
        >>> concatenate([np.zeros((2, 3)), np.ones((1, 3))]).shape
        (3, 3)
    """
    if not len(tensors):
        raise ValueError("concatenate: there are no tensors to join")
    all_tensors = [as_tensor(t) for t in tensors]
    axis = check_axis("concatenate", all_tensors[0], axis)
    if len({(t.ndim, t.shape[:axis], t.shape[axis + 1 :]) for t in all_tensors}) > 1:
        shapes = ", ".join(str(t.shape) for t in all_tensors)
        raise ValueError(f"concatenate: shapes must agree in every dimension but axis {axis}, got {shapes}")
    return apply(ops.Concatenate, *all_tensors, axis=axis)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Raises:
        ValueError: there are none, or their shapes differ.

    Example:
        >>> stack([np.zeros(3), np.ones(3)], axis=1).shape
        (3, 2)
    """
    all_tensors = [as_tensor(t) for t in tensors]
    shapes = {t.shape for t in all_tensors}
    if len(shapes) != 1:
        raise ValueError(f"stack: tensors must have one shape, got {sorted(shapes) or 'no tensors'}")
    (shape,) = shapes
    place = axis % (len(shape) + 1)
    return concatenate([t.reshape((*shape[:place], 1, *shape[place:])) for t in all_tensors], axis=place)


def pad(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """A border of `value` around x; widths gives (before, after) for each axis, as in `numpy.pad`.

    Raises:
        ValueError: a width is negative, or there is not one pair for each axis.
    """
    x = as_tensor(x)
    pairs = [tuple(pair) for pair in widths]
    if len(pairs) != x.ndim or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ValueError(f"pad: expected (before, after), none negative, for each of {x.ndim} axes; got {pairs}")
    return apply(ops.Pad, x, widths=pairs, value=value)
