"""The public functions on Tensors: they check arguments, say in a sentence what is wrong, and call the op.

Every function takes Tensors, arrays or numbers and returns a Tensor. Names, argument order and defaults are PyTorch's
where PyTorch has the function; reductions and softmax take `axis`, as NumPy does.
"""

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.ops.conv import output_size
from minigrad.tensor import Axis, Tensor, apply, as_tensor

Pair = int | tuple[int, int]


def matmul(x: Any, y: Any) -> Tensor:
    """Matrix product, as `x @ y`.

    Raises:
        ValueError: the inner sizes differ.

    Example:
        >>> matmul(np.ones((2, 3)), np.ones((3, 4))).shape
        (2, 4)
    """
    return as_tensor(x) @ as_tensor(y)


def relu(input: Any) -> Tensor:
    """max(input, 0), elementwise; the derivative at 0 is 0, and NaN stays NaN.

    Example:
        >>> relu([-1.0, 0.0, 2.0]).data
        array([0., 0., 2.])
    """
    return apply(ops.Relu, as_tensor(input))


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis` (None: all axes)."""
    return as_tensor(x).sum(axis, keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over `axis` (None: all axes).

    Raises:
        ValueError: there is nothing to average.
    """
    return as_tensor(x).mean(axis, keepdims)


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
    first, last = _axis("flatten", input, start_dim), _axis("flatten", input, end_dim)
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {input.shape}")
    joined = int(np.prod(input.shape[first : last + 1]))
    return input.reshape((*input.shape[:first], joined, *input.shape[last + 1 :]))


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """input @ weight.T + bias.

    Args:
        input: x, (..., I).
        weight: w, (O, I).
        bias: b, (O,), or None.

    Returns:
        (..., O)

    Raises:
        ValueError: shapes do not fit.
        TypeError: dtypes differ.

    Example:
        >>> linear(np.ones((64, 256)), np.ones((120, 256)), np.zeros(120)).shape
        (64, 120)
    """
    x, w, b = as_tensor(input), as_tensor(weight), None if bias is None else as_tensor(bias)
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"linear: x has {x.shape[-1] if x.ndim else 'no'} features but w expects "
            f"{w.shape[1] if w.ndim == 2 else 'shape (out, in)'} (x: {x.shape}, w: {w.shape}); "
            "are images not flattened, or of another size?"
        )
    _check_bias("linear", b, w)
    _check_dtypes("linear", x, w, b)
    if x.ndim == 2:
        return apply(ops.Linear, x, w, b)
    rows = apply(ops.Linear, x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1]), w, b)
    return rows.reshape(*x.shape[:-1], w.shape[0])


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional convolution (cross-correlation: the kernel is not flipped).

    Args:
        input: x, (N, C, H, W).
        weight: w, (F, C / groups, KH, KW).
        bias: b, (F,), or None.
        stride: step of the window, (rows, columns) or one number for both.
        padding: rows and columns of zeros added on each side.
        dilation: distance between the taps of a filter.
        groups: channels and filters are split into so many groups that do not see each other.

    Returns:
        (N, F, OH, OW) with OH = (H + 2 * padding - dilation * (KH - 1) - 1) // stride + 1, OW likewise.

    Raises:
        ValueError: shapes do not fit, or the kernel is larger than the padded image.
        TypeError: dtypes differ.

    Example:
        >>> conv2d(np.zeros((64, 1, 28, 28)), np.zeros((6, 1, 5, 5))).shape
        (64, 6, 24, 24)
    """
    x, w, b = as_tensor(input), as_tensor(weight), None if bias is None else as_tensor(bias)
    shapes = f"(x: {x.shape}, w: {w.shape})"
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(f"conv2d: x must be (N, C, H, W) and w (F, C / groups, KH, KW) {shapes}")
    strides, pads = _pair("conv2d", "stride", stride, 1), _pair("conv2d", "padding", padding, 0)
    dilations = _pair("conv2d", "dilation", dilation, 1)
    if groups < 1 or w.shape[0] % groups or x.shape[1] % groups:
        raise ValueError(f"conv2d: groups={groups} does not divide C={x.shape[1]} and F={w.shape[0]} {shapes}")
    if x.shape[1] != w.shape[1] * groups:
        raise ValueError(f"conv2d: x has C={x.shape[1]} channels but w expects C={w.shape[1] * groups} {shapes}")
    size = (x.shape[2] + 2 * pads[0], x.shape[3] + 2 * pads[1])
    if 0 in w.shape[1:] or min(output_size(size, w.shape[2:], strides, dilations)) < 1:
        raise ValueError(
            f"conv2d: a {w.shape[2]}x{w.shape[3]} kernel with dilation {dilations} does not fit into a padded image of "
            f"{size[0]}x{size[1]} {shapes}"
        )
    _check_bias("conv2d", b, w)
    _check_dtypes("conv2d", x, w, b)
    return apply(ops.Conv2d, x, w, b, stride=strides, padding=pads, dilation=dilations, groups=groups)


def max_pool2d(input: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Largest value of each window. Of equal values the first, row by row, receives the gradient.

    Args:
        input: x, (N, C, H, W).
        kernel_size: rows and columns of the window, at most 256 places in all.
        stride: step of the window; None means kernel_size.
        padding: rows and columns of minus infinity added on each side, at most half the window.

    Returns:
        (N, C, OH, OW) with OH = (H + 2 * padding - KH) // stride + 1, OW likewise.

    Raises:
        ValueError: the window does not fit.

    Example:
        >>> max_pool2d(np.zeros((64, 6, 24, 24)), 2).shape
        (64, 6, 12, 12)
    """
    x = as_tensor(input)
    if x.ndim != 4:
        raise ValueError(f"max_pool2d: x must be (N, C, H, W) (x: {x.shape})")
    if x.dtype.kind != "f":
        raise TypeError(f"max_pool2d: x must be floating point, got {x.dtype}")
    window = _pair("max_pool2d", "kernel_size", kernel_size, 1)
    strides = window if stride is None else _pair("max_pool2d", "stride", stride, 1)
    pads = _pair("max_pool2d", "padding", padding, 0)
    if 2 * pads[0] > window[0] or 2 * pads[1] > window[1]:
        raise ValueError(f"max_pool2d: padding {pads} is more than half the window {window}")
    size = (x.shape[2] + 2 * pads[0], x.shape[3] + 2 * pads[1])
    if min(output_size(size, window, strides, (1, 1))) < 1 or window[0] * window[1] > 256:
        raise ValueError(
            f"max_pool2d: a window of {window[0]}x{window[1]} does not fit into a padded image of {size[0]}x{size[1]} "
            f"or has over 256 places (x: {x.shape})"
        )
    return apply(ops.MaxPool2d, x, kernel_size=window, stride=strides, padding=pads)


def log_softmax(input: Any, axis: int = -1) -> Tensor:
    """log(exp(x) / sum of exp(x)) along `axis`, finite for any finite input."""
    input = as_tensor(input)
    return apply(ops.LogSoftmax, input, axis=_axis("log_softmax", input, axis))


def softmax(input: Any, axis: int = -1) -> Tensor:
    """exp(x) / sum of exp(x) along `axis`.

    Example:
        >>> softmax([0.0, 0.0]).data
        array([0.5, 0.5])
    """
    return log_softmax(input, axis).exp()


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """-log softmax(logits)[target], the loss of a classifier.

    Args:
        input: logits, (N, K): scores before softmax.
        target: class numbers, integers (N,) in 0 ... K - 1.
        reduction: "mean" or "sum" over the batch, or "none".

    Returns:
        a single number, or (N,) for "none".

    Raises:
        ValueError: shapes do not fit, a class number is out of range, the batch is empty under "mean".
        TypeError: targets are not integers.

    Example:
        >>> float(cross_entropy([[0.0, 0.0]], [1]).data)
        0.6931471805599453
    """
    logits = as_tensor(input)
    targets = np.asarray(target.data if isinstance(target, Tensor) else target)
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"cross_entropy: logits must be (N, K) and targets (N,) (logits: {logits.shape}, targets: {targets.shape})"
        )
    if targets.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: targets must be integer class numbers, got {targets.dtype}")
    if targets.size and not 0 <= targets.min() <= targets.max() < logits.shape[1]:
        raise ValueError(
            f"cross_entropy: targets run from {targets.min()} to {targets.max()}, but logits have {logits.shape[1]} classes"
        )
    losses = apply(ops.CrossEntropy, logits, targets)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.mean()
    raise ValueError(f"cross_entropy: reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")


def _axis(name: str, x: Tensor, axis: int) -> int:
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{name}: axis {axis} does not exist in shape {x.shape}")
    return axis % x.ndim


def _pair(name: str, what: str, value: Pair, least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(pair) != 2 or any(not isinstance(v, int | np.integer) or v < least for v in pair):
        raise ValueError(f"{name}: {what} must be one integer or two, each at least {least}; got {value!r}")
    return int(pair[0]), int(pair[1])


def _check_bias(name: str, b: Tensor | None, w: Tensor) -> None:
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"{name}: b must have shape ({w.shape[0]},), one value an output (b: {b.shape}, w: {w.shape})")


def _check_dtypes(name: str, x: Tensor, w: Tensor, b: Tensor | None) -> None:
    dtypes = {t.dtype for t in (x, w, b) if t is not None}
    if len(dtypes) > 1 or x.dtype.kind != "f":
        raise TypeError(
            f"{name}: x is {x.dtype}, w is {w.dtype}"
            + (f", b is {b.dtype}" if b is not None else "")
            + "; they must be one floating-point type: convert the data, e.g. x.astype(np.float32)"
        )
