"""The whole inference of one image, in loops over Python's integers: slow, plain, and without NumPy's arithmetic.

Python's integers never overflow and never round. What the kernels compute is compared with this.
"""

from typing import Any, NamedTuple

from .arithmetic import PROFILES, requantize
from .layers import (
    LOW,
    IntegerConv2d,
    IntegerFlatten,
    IntegerLayer,
    IntegerLinear,
    IntegerMaxPool2d,
    PoolingLayer,
    WeightedLayer,
)

Image = list[list[list[int]]]
"""x[channel][row][column]"""


class Step(NamedTuple):
    """What one layer did.

    Attributes:
        layer: which.
        acc: sums before requantization, shaped as the output; None for layers without weights.
        out: integers, nested lists [channel][row][column], or [feature].
    """

    layer: IntegerLayer
    acc: Any
    out: Any


def run(model: Any, image: Any, count: int | None = None) -> list[Step]:
    """Run an `IntegerModel` on one image.

    Args:
        model: the model.
        image: uint8 (H, W) or (C, H, W).
        count: how many of the layers; None: all.

    Returns:
        A step for each layer.

    Example:
        >>> import numpy as np
        >>> pool = IntegerMaxPool2d((2, 2), (2, 2))
        >>> forward(pool, [[[1, 5], [-3, 2]]], "tflite").out
        [[[5]]]
    """
    pixels = image.reshape(model.input.shape).tolist()
    x = [[[pixel + model.input.zero_point for pixel in row] for row in channel] for channel in pixels]
    steps = []
    for layer in model.layers[:count]:
        steps.append(forward(layer, x, model.profile))
        x = steps[-1].out
    return steps


def forward(layer: IntegerLayer, x: Any, profile: str) -> Step:
    """Run one layer on its input, nested lists of integers."""
    if isinstance(layer, IntegerConv2d):
        acc = conv2d(layer, x)
        out = [
            [[output(layer, f, value, profile) for value in row] for row in channel] for f, channel in enumerate(acc)
        ]
        return Step(layer, acc, out)
    if isinstance(layer, IntegerLinear):
        acc = linear(layer, x)
        return Step(layer, acc, [output(layer, o, value, profile) for o, value in enumerate(acc)])
    if isinstance(layer, PoolingLayer):
        return Step(layer, None, pool2d(layer, x))
    if isinstance(layer, IntegerFlatten):
        return Step(layer, None, [value for channel in x for row in channel for value in row])
    raise TypeError(f"integer inference: there is no reference for {type(layer).__name__}")


def output(layer: WeightedLayer, channel: int, acc: int, profile: str) -> int:
    """Turn the sum of an output channel into its int8 output."""
    multiplier, shift = int(layer.multiplier[channel]), int(layer.shift[channel])
    q = requantize(acc, multiplier, shift, PROFILES.index(profile)) + layer.output_zero
    return min(max(q, layer.low), layer.high)


def conv2d(layer: IntegerConv2d, x: Image) -> Image:
    """acc[f][oh][ow] = b[f] + sum over c, i, j of w[f][c][i][j] * (x[c][row][column] - Z)"""
    _, rows, columns = layer.output_shape((len(x), len(x[0]), len(x[0][0])))
    filters, bias = layer.weight.tolist(), layer.bias.tolist()
    per_group = len(filters) // layer.groups
    acc = []
    for f, w in enumerate(filters):
        first = f // per_group * len(w)  # the first channel of the filter's group
        own = x[first : first + len(w)]
        acc.append([[bias[f] + window(layer, own, w, oh, ow) for ow in range(columns)] for oh in range(rows)])
    return acc


def window(layer: IntegerConv2d, x: Image, w: Image, oh: int, ow: int) -> int:
    """Return the sum of products of one window."""
    total = 0
    for channel, taps in zip(x, w, strict=True):
        for i, tap_row in enumerate(taps):
            for j, weight in enumerate(tap_row):
                row = oh * layer.stride[0] + i * layer.dilation[0] - layer.padding[0]
                column = ow * layer.stride[1] + j * layer.dilation[1] - layer.padding[1]
                inside = 0 <= row < len(channel) and 0 <= column < len(channel[0])
                value = channel[row][column] if inside else layer.pad_value
                total += weight * (value - layer.input_zero)
    return total


def linear(layer: IntegerLinear, x: list[int]) -> list[int]:
    """acc[o] = b[o] + sum over i of w[o][i] * (x[i] - Z)"""
    acc = []
    for w, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True):
        acc.append(b + sum(weight * (value - layer.input_zero) for weight, value in zip(w, x, strict=True)))
    return acc


def pool2d(layer: PoolingLayer, x: Image) -> Image:
    """The largest value of each window, or its mean."""
    _, rows, columns = layer.output_shape((len(x), len(x[0]), len(x[0][0])))
    out = []
    for channel in x:
        out.append([[pooled(layer, channel, oh, ow) for ow in range(columns)] for oh in range(rows)])
    return out


def pooled(layer: PoolingLayer, channel: list[list[int]], oh: int, ow: int) -> int:
    """Return the largest value of one window, or its mean."""
    top, left = oh * layer.stride[0] - layer.padding[0], ow * layer.stride[1] - layer.padding[1]
    values = []
    for row in range(top, top + layer.kernel[0]):
        for column in range(left, left + layer.kernel[1]):
            inside = 0 <= row < len(channel) and 0 <= column < len(channel[0])
            values.append(channel[row][column] if inside else LOW)
    value = max(values) if isinstance(layer, IntegerMaxPool2d) else rounded_mean(sum(values), len(values))
    return min(max(value, layer.low), layer.high)


def rounded_mean(total: int, count: int) -> int:
    """Return total / count, rounded half away from zero.

    Example:
        >>> [rounded_mean(total, 4) for total in (-10, -6, -5, 5, 6, 10)]
        [-3, -2, -1, 1, 2, 3]
    """
    magnitude = (abs(total) + count // 2) // count
    return -magnitude if total < 0 else magnitude
