"""What layers compute: linear maps, convolution, pooling."""

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functional.checks import Pair, check_bias, check_dtypes, check_kernel_dtype, pair
from minigrad.ops.conv import output_size
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
    strides, pads = pair("conv2d", "stride", stride, 1), pair("conv2d", "padding", padding, 0)
    dilations = pair("conv2d", "dilation", dilation, 1)
    if groups != int(groups) or groups < 1 or w.shape[0] % groups or x.shape[1] % groups:
        raise ValueError(f"conv2d: groups={groups} does not divide C={x.shape[1]} and F={w.shape[0]} {shapes}")
    if x.shape[1] != w.shape[1] * groups:
        raise ValueError(f"conv2d: x has C={x.shape[1]} channels but w expects C={w.shape[1] * groups} {shapes}")
    size = (x.shape[2] + 2 * pads[0], x.shape[3] + 2 * pads[1])
    if 0 in w.shape[1:] or min(output_size(size, w.shape[2:], strides, dilations)) < 1:
        raise ValueError(
            f"conv2d: a {w.shape[2]}x{w.shape[3]} kernel with dilation {dilations} does not fit into a padded image of "
            f"{size[0]}x{size[1]} {shapes}"
        )
    check_bias("conv2d", b, w)
    check_dtypes("conv2d", x, w, b)
    return apply(ops.Conv2d, x, w, b, stride=strides, padding=pads, dilation=dilations, groups=int(groups))


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
    check_kernel_dtype("max_pool2d", x)
    window = pair("max_pool2d", "kernel_size", kernel_size, 1)
    strides = window if stride is None else pair("max_pool2d", "stride", stride, 1)
    pads = pair("max_pool2d", "padding", padding, 0)
    if 2 * pads[0] > window[0] or 2 * pads[1] > window[1]:
        raise ValueError(f"max_pool2d: padding {pads} is more than half the window {window}")
    size = (x.shape[2] + 2 * pads[0], x.shape[3] + 2 * pads[1])
    if min(output_size(size, window, strides, (1, 1))) < 1 or window[0] * window[1] > 256:
        raise ValueError(
            f"max_pool2d: a window of {window[0]}x{window[1]} does not fit into a padded image of {size[0]}x{size[1]} "
            f"or has over 256 places (x: {x.shape})"
        )
    return apply(ops.MaxPool2d, x, kernel_size=window, stride=strides, padding=pads)
