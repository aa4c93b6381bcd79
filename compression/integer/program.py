"""From layers to the tables of integers that the kernels read."""

from typing import Any, NamedTuple

import numpy as np

from . import columns as col
from .arithmetic import PROFILES
from .kernels import WHOLE
from .layers import IntegerConv2d, IntegerLinear, IntegerMaxPool2d, PoolingLayer, WeightedLayer

Array = np.ndarray


class Program(NamedTuple):
    """A model as `kernels.run_program` takes it.

    Attributes:
        steps: int64 (steps, COLUMNS).
        taps, places: weights of convolutions, groups of which are added in int16, and where in an image their inputs lie.
        ends, groups: where each group begins, and which is each output channel's first.
        bias, multiplier, shift: int32 (output channels of all layers,); the input's zero point is folded into the bias.
        rows: int16, flat, the weights of linear layers, with zeros at the end of each row.
        profile: number in `PROFILES`.
        room: integers an image needs at most between two steps.
    """

    steps: Array
    taps: Array
    places: Array
    ends: Array
    groups: Array
    rows: Array
    bias: Array
    multiplier: Array
    shift: Array
    profile: int
    room: int


def make_program(stages: Any, profile: str) -> Program:
    """Write down stages, as `engine.fuse` gives them, in tables."""
    steps: list[Array] = []
    weighted = [stage.layer for stage in stages if isinstance(stage.layer, WeightedLayer)]
    taps, places, ends, groups, rows, channels = [], [], [0], [0], [np.zeros(0, np.int16)], 0
    for stage in stages:
        layer, shape = stage.layer, as_image(stage.input_shape)
        if isinstance(layer, PoolingLayer):
            steps.append(pool_step(stage))
            continue
        if isinstance(layer, IntegerConv2d) and any(layer.padding):
            steps.append(pad_step(layer, shape))
            shape = tuple(steps[-1][col.OUT_CHANNELS : col.OUT_WIDTH + 1])
        steps.append(weighted_step(stage, shape, channels, sum(map(len, rows))))
        channels += len(layer.weight)
        if isinstance(layer, IntegerLinear):
            rows.append(np.pad(layer.weight.astype(np.int16), ((0, 0), (0, -shape[0] % WHOLE))).ravel())
            groups += [len(ends) - 1] * len(layer.weight)
            continue
        for weights, at in layer_taps(layer, shape):
            for group in group_taps(weights):
                taps += [weights[i] for i in group]
                places += [at[i] for i in group]
                ends.append(len(taps))
            groups.append(len(ends) - 1)
    sizes = [row[a] * row[a + 1] * row[a + 2] for row in steps for a in (col.CHANNELS, col.OUT_CHANNELS)]
    return Program(
        np.array(steps, np.int64),
        np.array(taps, np.int16),
        np.array(places, np.int64),
        np.array(ends, np.int64),
        np.array(groups, np.int64),
        np.concatenate(rows),
        np.concatenate([layer.folded_bias for layer in weighted]).astype(np.int32),
        np.concatenate([layer.multiplier for layer in weighted]),
        np.concatenate([layer.shift for layer in weighted]),
        PROFILES.index(profile),
        int(max(sizes)),
    )


def as_image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of features as that of an image of 1x1."""
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def new_step(kind: int, shape: Any, out_shape: Any) -> Array:
    """Return a row of the program that has no pooling and clamps to all of int8."""
    row = np.zeros(col.COLUMNS, np.int64)
    row[col.KIND], row[col.CHANNELS : col.WIDTH + 1], row[col.OUT_CHANNELS : col.OUT_WIDTH + 1] = kind, shape, out_shape
    row[[col.STRIDE_H, col.STRIDE_W, col.POOL_H, col.POOL_W, col.POOL_STRIDE_H, col.POOL_STRIDE_W]] = 1
    row[[col.POOLED_H, col.POOLED_W]] = out_shape[1:]
    row[[col.CLAMP_LOW, col.CLAMP_HIGH]] = -128, 127
    return row


def pad_step(layer: IntegerConv2d, shape: tuple[int, ...]) -> Array:
    """Return the step that gives a convolution's input its border."""
    (channels, height, width), (pad_h, pad_w) = shape, layer.padding
    row = new_step(col.PAD, shape, (channels, height + 2 * pad_h, width + 2 * pad_w))
    row[[col.PAD_H, col.PAD_W, col.PAD_VALUE]] = pad_h, pad_w, layer.pad_value
    return row


def pool_step(stage: Any) -> Array:
    """Return the step of a pooling layer that stands by itself."""
    layer: PoolingLayer = stage.layer
    row = new_step(
        col.MAX_POOL if isinstance(layer, IntegerMaxPool2d) else col.AVG_POOL, stage.input_shape, stage.output_shape
    )
    set_pool(row, layer, stage.output_shape)
    row[[col.PAD_H, col.PAD_W]], row[[col.CLAMP_LOW, col.CLAMP_HIGH]] = layer.padding, (layer.low, layer.high)
    return row


def set_pool(row: Array, layer: PoolingLayer, shape: tuple[int, ...]) -> None:
    """Write a pooling layer's window and its output's size into a step."""
    row[[col.POOL_H, col.POOL_W]], row[[col.POOL_STRIDE_H, col.POOL_STRIDE_W]] = layer.kernel, layer.stride
    row[[col.POOLED_H, col.POOLED_W]] = shape[1:]


def weighted_step(stage: Any, shape: tuple[int, ...], first_channel: int, first_row: int) -> Array:
    """Return the step of a convolution or linear layer, with the max-pooling that follows it.

    Args:
        stage: the layer and what is fused with it.
        shape: of the input with its border.
        first_channel: how many output channels the layers before have.
        first_row: how many weights the linear layers before have.
    """
    layer: WeightedLayer = stage.layer
    kind = col.LINEAR if isinstance(layer, IntegerLinear) else col.CONV
    row = new_step(kind, shape, as_image(layer.output_shape(stage.input_shape)))
    if isinstance(layer, IntegerConv2d):
        row[[col.STRIDE_H, col.STRIDE_W]] = layer.stride
    if stage.pool is not None:
        set_pool(row, stage.pool, stage.output_shape)
    row[[col.ZERO, col.CLAMP_LOW, col.CLAMP_HIGH]] = layer.output_zero, stage.low, stage.high
    row[[col.FIRST_CHANNEL, col.FIRST_ROW]] = first_channel, first_row
    return row


def layer_taps(layer: IntegerConv2d, shape: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Return, for each filter, its weights and where in a (padded) image each one's input lies. Zeros are left out."""
    filters, channels, kernel_h, kernel_w = layer.weight.shape
    _, height, width = shape
    c, i, j = np.indices((channels, kernel_h, kernel_w))
    within = (c * height + i * layer.dilation[0]) * width + j * layer.dilation[1]
    found = []
    for f, w in enumerate(layer.weight):
        first = f // (filters // layer.groups) * channels  # the first channel of its group
        kept = w != 0
        found.append((w[kept].tolist(), (within[kept] + first * height * width).tolist()))
    return found


def group_taps(weights: list[int]) -> list[list[int]]:
    """Split weights into groups whose magnitudes sum to 255 at most: their products add up in int16.

    Large ones are put with small ones: taken by falling magnitude, each goes to the first group it fits in.

    Returns:
        For each group, which weights are in it.

    Example:
        >>> group_taps([127, 127, 3, -120, 2, 1])
        [[0, 1, 5], [3, 2, 4]]
    """
    groups: list[list[int]] = []
    sums: list[int] = []
    for i in sorted(range(len(weights)), key=lambda i: -abs(weights[i])):
        size = abs(weights[i])
        for g, group in enumerate(groups):
            if sums[g] + size <= 255:
                group.append(i)
                sums[g] += size
                break
        else:
            groups.append([i])
            sums.append(size)
    return groups
