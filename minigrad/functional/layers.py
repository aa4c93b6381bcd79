"""What layers compute: linear maps, convolution, pooling, dropout, normalisation."""

from functools import lru_cache
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functional import peephole
from minigrad.functional.checks import Pair, check_bias, check_dtypes, check_kernel_dtype, pair
from minigrad.ops.conv import output_size
from minigrad.random import generator
from minigrad.tensor import Tensor, apply, as_tensor


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
    check_bias("linear", b, w)
    check_dtypes("linear", x, w, b)
    if x.ndim == 2:
        return peephole.linear(x, w, b)
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
    strides, pads = pair("conv2d", "stride", stride, 1), pair("conv2d", "padding", padding, 0)
    dilations = pair("conv2d", "dilation", dilation, 1)
    shape = _conv2d_shape(x.shape, w.shape, strides, pads, dilations, groups)
    check_bias("conv2d", b, w)
    check_dtypes("conv2d", x, w, b)
    settings = {"stride": strides, "padding": pads, "dilation": dilations, "groups": int(groups)}
    return peephole.conv2d(ops.Conv2d, (x, w, b), shape, **settings)


@lru_cache  # shapes repeat from batch to batch: checked once, they cost nothing
def _conv2d_shape(
    x: tuple[int, ...], w: tuple[int, ...], stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[int, ...]:
    """Check the shapes of a convolution's x and w and return that of its result."""
    shapes = f"(x: {x}, w: {w})"
    if len(x) != 4 or len(w) != 4:
        raise ValueError(f"conv2d: x must be (N, C, H, W) and w (F, C / groups, KH, KW) {shapes}")
    (images, channels, height, width), (filters, depth, *window) = x, w
    if groups != int(groups) or groups < 1 or filters % groups or channels % groups:
        raise ValueError(f"conv2d: groups={groups} does not divide C={channels} and F={filters} {shapes}")
    if channels != depth * groups:
        raise ValueError(f"conv2d: x has C={channels} channels but w expects C={depth * groups} {shapes}")
    size = (height + 2 * padding[0], width + 2 * padding[1])
    if depth == 0 or 0 in window:
        raise ValueError(f"conv2d: a filter without elements {shapes}")
    out_size = output_size(size, window, stride, dilation)
    if min(out_size) < 1:
        raise ValueError(
            f"conv2d: a {window[0]}x{window[1]} kernel with dilation {dilation} does not fit into a padded image of "
            f"{size[0]}x{size[1]} {shapes}"
        )
    return images, filters, *out_size


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
    window, strides, pads = _window("max_pool2d", x, kernel_size, stride, padding)
    if window[0] * window[1] > 256:
        raise ValueError(f"max_pool2d: a window of {window[0]}x{window[1]} has over 256 places")
    return peephole.max_pool2d(x, window, strides, pads)


def avg_pool2d(input: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Mean of each window. Padding adds zeros, which count in the mean.

    Args:
        input: x, (N, C, H, W).
        kernel_size: rows and columns of the window.
        stride: step of the window; None means kernel_size.
        padding: rows and columns of zeros added on each side, at most half the window.

    Returns:
        (N, C, OH, OW) with OH = (H + 2 * padding - KH) // stride + 1, OW likewise.

    Raises:
        ValueError: the window does not fit.

    Example:
        >>> avg_pool2d(np.ones((1, 1, 4, 4)), 2).data[0, 0]
        array([[1., 1.],
               [1., 1.]])
    """
    x = as_tensor(input)
    window, strides, pads = _window("avg_pool2d", x, kernel_size, stride, padding)
    return apply(ops.AvgPool2d, x, kernel_size=window, stride=strides, padding=pads)


def adaptive_avg_pool2d(input: Any, output_size: Pair) -> Tensor:
    """Mean over windows that divide the image into output_size parts, as evenly as whole pixels allow.

    Part i of n covers the rows from floor(i * H / n) to ceil((i + 1) * H / n). Rows and columns are averaged one after
    the other, each by a product with a matrix of shares.

    Args:
        input: x, (N, C, H, W).
        output_size: (OH, OW), or one number for both.

    Returns:
        (N, C, OH, OW)

    Raises:
        ValueError: x has other axes.

    Example:
        >>> adaptive_avg_pool2d(np.ones((2, 3, 7, 5)), 1).shape
        (2, 3, 1, 1)
    """
    x = as_tensor(input)
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise ValueError(f"adaptive_avg_pool2d: x must be (N, C, H, W) with pixels (x: {x.shape})")
    rows, columns = pair("adaptive_avg_pool2d", "output_size", output_size, 1)
    # (OH, H) @ (N, C, H, W) @ (W, OW)
    return as_tensor(_shares(x.shape[2], rows).astype(x.dtype)) @ x @ _shares(x.shape[3], columns).T.astype(x.dtype)


def _shares(size: int, parts: int) -> np.ndarray:
    """Return the (parts, size) matrix that averages each part of a row of pixels."""
    matrix = np.zeros((parts, size))
    for i in range(parts):
        start, stop = i * size // parts, -(-(i + 1) * size // parts)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def _window(name: str, x: Tensor, kernel_size: Pair, stride: Pair | None, padding: Pair) -> tuple[Any, Any, Any]:
    """Check a pooling window and return its size, stride and padding as pairs."""
    check_kernel_dtype(name, x)
    window = pair(name, "kernel_size", kernel_size, 1)
    strides = window if stride is None else pair(name, "stride", stride, 1)
    pads = pair(name, "padding", padding, 0)
    _check_window(name, x.shape, window, strides, pads)
    return window, strides, pads


@lru_cache
def _check_window(name: str, x: tuple[int, ...], window: Any, stride: Any, padding: Any) -> None:
    """Check that a window fits into images of shape x."""
    if len(x) != 4:
        raise ValueError(f"{name}: x must be (N, C, H, W) (x: {x})")
    if 2 * padding[0] > window[0] or 2 * padding[1] > window[1]:
        raise ValueError(f"{name}: padding {padding} is more than half the window {window}")
    size = (x[2] + 2 * padding[0], x[3] + 2 * padding[1])
    if min(output_size(size, window, stride, (1, 1))) < 1:
        raise ValueError(
            f"{name}: a window of {window[0]}x{window[1]} does not fit into a padded image of {size[0]}x{size[1]} "
            f"(x: {x})"
        )


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each element to zero with probability p, and scale the others by 1 / (1 - p), so that the mean stays.

    Args:
        input: any shape.
        p: probability of a zero.
        training: False returns the input as it is.

    Raises:
        ValueError: p is outside [0, 1].

    Source:
        Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """
    x = as_tensor(input)
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is {p}, expected 0 to 1")
    if not training or p == 0:
        return x
    keep = generator().random(x.shape) >= p
    return x * (keep / (1 - p) if p < 1 else keep).astype(x.dtype)


def batch_norm(
    input: Any,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: Any,
    bias: Any,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, channel by channel.

    Args:
        input: x, (N, C, ...).
        running_mean, running_var: (C,). In evaluation they are used; in training they are moved, in place, by the share
            `momentum` towards the batch's mean and its unbiased variance. None: always the batch's own.
        weight, bias: (C,).
        training: whether the batch's own mean and (biased) variance are used.
        momentum: see running_mean.
        eps: added to the variance.

    Raises:
        ValueError: shapes do not fit, or a training batch has one value a channel.
        TypeError: dtypes differ.

    Source:
        Ioffe and Szegedy, "Batch normalization", 2015.
    """
    x, w, b = as_tensor(input), as_tensor(weight), as_tensor(bias)
    if x.ndim < 2 or w.shape != x.shape[1:2]:
        raise ValueError(f"batch_norm: x must be (N, C, ...) and w (C,) (x: {x.shape}, w: {w.shape})")
    check_bias("batch_norm", b, w)
    check_dtypes("batch_norm", x, w, b)
    own = training or running_mean is None or running_var is None
    if not own:
        return apply(ops.BatchNorm, x, w, b, mean=running_mean, var=running_var, eps=eps)
    count = x.size // x.shape[1] if x.shape[1] else 0
    if count < 2:
        raise ValueError(f"batch_norm: a training batch needs two values or more a channel, got {count} (x: {x.shape})")
    others = (0, *range(2, x.ndim))
    mean, var = x.data.mean(axis=others), x.data.var(axis=others)
    if running_mean is not None and running_var is not None:
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * (count / (count - 1)) - running_var)
    return apply(ops.BatchNorm, x, w, b, mean=mean, var=var, constant=False, eps=eps)
