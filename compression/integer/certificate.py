"""The overflow certificate: how large each accumulator can become, from the weights themselves.

|acc| <= 255 * sum |w| + |b'|, since no input is further than 255 from its zero point. A model whose bound does not fit into
int32 is refused, so that no image can make one wrap around.
"""

from typing import NamedTuple

import numpy as np

from .arithmetic import INT32_MAX
from .layers import WeightedLayer


class Bound(NamedTuple):
    """How large the accumulator of one output channel can become.

    Attributes:
        layer, channel: which.
        weights: sum of the magnitudes of its weights.
        bias: b', the bias with the input's zero point folded in.
        bound: 255 * weights + |bias|.
        shifted: what profile "tflite" makes of it before it multiplies: bound * 2**shift where M is 1 or more.
        bits: of a signed integer that holds it, 32 at most.
    """

    layer: str
    channel: int
    weights: int
    bias: int
    bound: int
    shifted: int
    bits: int


def accumulator_bounds(layer: WeightedLayer) -> list[Bound]:
    """Return a layer's bounds, one for each output channel, in Python's integers."""
    sums = np.abs(layer.weight.astype(np.int64)).reshape(len(layer.weight), -1).sum(axis=1)
    bounds = []
    for channel, (weights, bias) in enumerate(zip(sums.tolist(), layer.folded_bias.tolist(), strict=True)):
        bound = 255 * weights + abs(bias)
        shifted = bound << max(int(layer.shift[channel]), 0)
        bounds.append(Bound(layer.name, channel, weights, bias, bound, shifted, bound.bit_length() + 1))
    return bounds


def certify(layer: WeightedLayer, profile: str) -> None:
    """Check that no image can make an accumulator of this layer overflow.

    Raises:
        ValueError: one could; the message names the channel and the bound.
    """
    for row in accumulator_bounds(layer):
        if row.bound > INT32_MAX:
            raise ValueError(
                f"integer inference: the accumulator of {layer.name}, channel {row.channel}, could reach {row.bound:,}, "
                f"beyond int32's {INT32_MAX:,} (255 * {row.weights:,} for the weights + {abs(row.bias):,} for the bias)"
            )
        if profile == "tflite" and row.shifted > INT32_MAX:
            raise ValueError(
                f"integer inference: the accumulator of {layer.name}, channel {row.channel}, could reach {row.bound:,} and "
                f"{row.shifted:,} when it is shifted for its multiplier of 1 or more; the output's scale is too small"
            )
