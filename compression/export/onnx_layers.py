"""Layers of an integer model as ONNX nodes: in three forms for those with weights, in one for pooling.

Each function appends nodes that read the tensor x, and returns the tensor that they write.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tape import Array

from ..integer.certificate import accumulator_bounds
from ..integer.layers import (
    HIGH,
    LOW,
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerMaxPool2d,
    PoolingLayer,
    WeightedLayer,
)
from .onnx_graph import CONTRIB, TYPES, Graph

UP = 62
"""2**62 is added before a division and what it makes is taken off behind it: a division of ONNX cuts towards zero, and >>
rounds down, which is the same where nothing is negative."""


@dataclass(frozen=True)
class Target:
    """What is written to, and what all layers share.

    Attributes:
        graph: takes the nodes.
        dtype: of the activations, "int8" or "uint8".
        profile: how the form "integer" rounds.
    """

    graph: Graph
    dtype: str
    profile: str

    @property
    def up(self) -> int:
        """How much higher activations are than our int8."""
        return 128 if self.dtype == "uint8" else 0

    def quantized(self, q: int) -> str:
        """Return a constant of the activations' type for one of our int8 values."""
        return self.graph.constant(f"/{self.dtype} {q + self.up}", q + self.up, self.dtype)

    def number(self, value: int) -> str:
        """Return an int64 constant."""
        return self.graph.constant(f"/{value}", value, "int64")

    def numbers(self, name: str, values: list[int], axes: int) -> str:
        """Return an int64 constant with a number for each channel of a tensor of `axes` axes."""
        return self.graph.constant(name, np.array(values, np.int64).reshape(1, -1, *(1,) * (axes - 2)), "int64")


def qlinear(t: Target, layer: WeightedLayer, x: str) -> str:
    """QLinearConv, or QGemm for a linear layer."""
    x, w, name = _padded(t, layer, x), _weights(t, layer), layer.name
    scale = _scales(t, layer)
    zero_in, zero_out = t.quantized(layer.input_zero), t.quantized(layer.output_zero)
    bias = t.graph.constant(f"{name}/bias", layer.bias, "int32")
    read = [x, scale["input"], zero_in, w, scale["weight"], scale["zeros"]]
    if isinstance(layer, IntegerConv2d):
        inputs = [*read, scale["output"], zero_out, bias]
        return _clipped(t, layer, t.graph.node("QLinearConv", inputs, name, **_geometry(layer)))
    inputs = [*read, bias, scale["output"], zero_out]
    return _clipped(t, layer, t.graph.node("QGemm", inputs, name, CONTRIB, transB=1))


def qdq(t: Target, layer: WeightedLayer, x: str) -> str:
    """A float layer between DequantizeLinear and QuantizeLinear."""
    x, w, name = _padded(t, layer, x), _weights(t, layer), layer.name
    scale, graph = _scales(t, layer), t.graph
    biases = layer.input_scale.as_float32() * layer.weight_scale.as_float32()
    bias_scale = graph.constant(f"{name}/bias_scale", biases, "float32")
    bias = graph.constant(f"{name}/bias", layer.bias, "int32")
    read = [
        graph.node("DequantizeLinear", [x, scale["input"], t.quantized(layer.input_zero)], f"{name}/x"),
        graph.node("DequantizeLinear", [w, scale["weight"], scale["zeros"]], f"{name}/w", axis=0),
        graph.node("DequantizeLinear", [bias, bias_scale], f"{name}/b", axis=0),
    ]
    if isinstance(layer, IntegerConv2d):
        y = graph.node("Conv", read, f"{name}/y", **_geometry(layer))
    else:
        y = graph.node("Gemm", read, f"{name}/y", transB=1)
    return _clipped(t, layer, graph.node("QuantizeLinear", [y, scale["output"], t.quantized(layer.output_zero)], name))


def integer(t: Target, layer: WeightedLayer, x: str) -> str:
    """ConvInteger or MatMulInteger, then the requantization in int64.

    Raises:
        ValueError: a product could leave int64.
    """
    x, name, graph = _padded(t, layer, x), layer.name, t.graph
    zeros = [t.quantized(layer.input_zero), graph.constant("/w 0", 0, "int8")]
    if isinstance(layer, IntegerConv2d):
        acc, axes = graph.node("ConvInteger", [x, _weights(t, layer), *zeros], f"{name}/sum", **_geometry(layer)), 4
    else:
        columns = graph.constant(f"{name}/weight", layer.weight.T, "int8")
        acc, axes = graph.node("MatMulInteger", [x, columns, *zeros], f"{name}/sum"), 2
    acc = graph.node("Cast", [acc], f"{name}/wide", to=TYPES["int64"])
    acc = graph.node("Add", [acc, t.numbers(f"{name}/bias", layer.bias.tolist(), axes)], f"{name}/acc")
    return _narrowed(t, layer, _requantized(t, layer, acc, axes), layer.output_zero)


def _requantized(t: Target, layer: WeightedLayer, acc: str, axes: int) -> str:
    """acc * M as profiles "tflite" and "single" round it: see `integer/arithmetic.py`."""
    name, graph = layer.name, t.graph
    multiplier, shift = layer.multiplier.tolist(), layer.shift.tolist()
    twice = t.profile == "tflite"
    if twice:  # (acc << left) * Q, the upper half of which is taken
        factors, drop = [q << max(s, 0) for q, s in zip(multiplier, shift, strict=True)], [31] * len(shift)
    else:
        factors, drop = multiplier, [31 - s for s in shift]
    halves = [(1 << bits >> 1) + (1 << UP) for bits in drop]
    for row, factor, half in zip(accumulator_bounds(layer), factors, halves, strict=True):
        if row.bound * factor + half >= 1 << 63:
            raise ValueError(
                f"to_onnx: {name}, channel {row.channel}: a sum of {row.bound:,} times {factor:,} leaves no room in int64"
            )
    x = graph.node("Mul", [acc, t.numbers(f"{name}/multiplier", factors, axes)], f"{name}/product")
    x = graph.node("Add", [x, t.numbers(f"{name}/half", halves, axes)], f"{name}/raised")
    x = graph.node("Div", [x, t.numbers(f"{name}/drop", [1 << bits for bits in drop], axes)], f"{name}/divided")
    x = graph.node("Sub", [x, t.numbers(f"{name}/up", [1 << UP >> bits for bits in drop], axes)], f"{name}/rounded")
    if not twice:
        return x
    right = [1 << max(-s, 0) for s in shift]
    halves2 = t.numbers(f"{name}/half2", [divisor // 2 for divisor in right], axes)
    return _away_from_zero(t, name, x, t.numbers(f"{name}/drop2", right, axes), halves2)


def _away_from_zero(t: Target, name: str, x: str, divisor: str, half: str) -> str:
    """x / divisor, ties away from zero: half the divisor is added with the sign of x, and the division cuts."""
    sign = t.graph.node("Sign", [x], f"{name}/sign")
    away = t.graph.node("Add", [x, t.graph.node("Mul", [sign, half], f"{name}/away")], f"{name}/farther")
    return t.graph.node("Div", [away, divisor], f"{name}/scaled")


def _narrowed(t: Target, layer: WeightedLayer | PoolingLayer, x: str, zero: int) -> str:
    """x + zero, clamped as the layer does, as int8 or uint8."""
    x = t.graph.node("Add", [x, t.number(zero + t.up)], f"{layer.name}/q")
    x = t.graph.node("Clip", [x, t.number(layer.low + t.up), t.number(layer.high + t.up)], f"{layer.name}/clamped")
    return t.graph.node("Cast", [x], layer.name, to=TYPES[t.dtype])


def max_pool(t: Target, layer: IntegerMaxPool2d, x: str) -> str:
    """MaxPool, whose border never wins."""
    window = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": _pads(layer.padding)}
    return _clipped(t, layer, t.graph.node("MaxPool", [x], layer.name, **window))


def average_pool(t: Target, layer: IntegerAvgPool2d, x: str, channels: int) -> str:
    """The mean in integers: a convolution of each channel with ones, then a division."""
    name, (kh, kw), graph = layer.name, layer.kernel, t.graph
    ones = graph.constant(f"{name}/ones", np.ones((channels, 1, kh, kw)), "int8")
    zeros = [t.quantized(0), graph.constant("/w 0", 0, "int8")]  # our int8 itself is summed up, not q − Z
    x = graph.node("ConvInteger", [x, ones, *zeros], f"{name}/sum", strides=layer.stride, group=channels)
    x = graph.node("Cast", [x], f"{name}/wide", to=TYPES["int64"])
    return _narrowed(t, layer, _away_from_zero(t, name, x, t.number(kh * kw), t.number(kh * kw // 2)), 0)


def _pads(padding: tuple[int, int]) -> list[int]:
    """Return (rows, columns) as ONNX has them: what comes in front of both axes, then what comes behind."""
    return [*padding, *padding]


def _geometry(layer: IntegerConv2d) -> dict[str, Any]:
    """Return a convolution's attributes; a border that a Pad has made already is left out."""
    padding = (0, 0) if _needs_pad(layer) else layer.padding
    return {
        "kernel_shape": list(layer.weight.shape[2:]), "strides": list(layer.stride), "pads": _pads(padding),
        "dilations": list(layer.dilation), "group": layer.groups,
    }  # fmt: skip


def _needs_pad(layer: WeightedLayer) -> bool:
    """Tell whether the border is something else than the zero point, which is what ONNX would fill in."""
    return isinstance(layer, IntegerConv2d) and any(layer.padding) and layer.pad_value != layer.input_zero


def _padded(t: Target, layer: WeightedLayer, x: str) -> str:
    if not isinstance(layer, IntegerConv2d) or not _needs_pad(layer):
        return x
    top, left = layer.padding
    pads = t.graph.constant(f"{layer.name}/pads", [0, 0, top, left] * 2, "int64")
    return t.graph.node("Pad", [x, pads, t.quantized(layer.pad_value)], f"{layer.name}/padded")


def _weights(t: Target, layer: WeightedLayer) -> str:
    return t.graph.constant(f"{layer.name}/weight", layer.weight, "int8")


def _scales(t: Target, layer: WeightedLayer) -> dict[str, str]:
    """Add a layer's scales, and weights' zero points, as constants."""
    values: dict[str, Array] = {
        "input": layer.input_scale.as_float32(), "weight": layer.weight_scale.as_float32(),
        "output": layer.output_scale.as_float32(),
    }  # fmt: skip
    names = {key: t.graph.constant(f"{layer.name}/{key}_scale", scale, "float32") for key, scale in values.items()}
    zeros = np.zeros(values["weight"].shape, np.int8)
    return {**names, "zeros": t.graph.constant(f"{layer.name}/weight_zeros", zeros, "int8")}


def _clipped(t: Target, layer: WeightedLayer | PoolingLayer, x: str) -> str:
    """Clip to the layer's own limits; saturation does the rest."""
    if (layer.low, layer.high) == (LOW, HIGH):
        return x
    return t.graph.node("Clip", [x, t.quantized(layer.low), t.quantized(layer.high)], f"{layer.name}/clipped")
