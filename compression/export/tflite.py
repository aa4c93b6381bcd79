"""Models as .tflite files: int8, float32, and float32 with float16 weights."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.functional.checks import pair
from minigrad.tape import Array

from ..integer.layers import (
    HIGH,
    LOW,
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerFlatten,
    IntegerLinear,
    PoolingLayer,
    WeightedLayer,
)
from ..integer.model import IntegerModel
from ..models.chain import as_sequential, fold_batch_norm
from .flatbuffer import table
from .tflite_chain import Border, Chain, Window
from .tflite_graph import ACTIVATIONS, DEQUANTIZE_OPTIONS, Graph, Quantization


def to_tflite(model: IntegerModel, batch: int = 1) -> bytes:
    """Return an integer model as an int8 .tflite file.

    The file holds the integers and, as the format wants it, float32 scales; whoever runs it derives multipliers from them.
    How results are rounded is up to the runtime too: TensorFlow Lite Micro does what profile "tflite" does.

    Args:
        model: an integer model, of any profile.
        batch: images a run, N.

    Returns:
        The file. Its input is int8 (N, H, W, C), pixel − 128; its output int8 (N, 10), the logits.

    Raises:
        ValueError: a layer's clamp is neither that of ReLU nor of ReLU6, or the model ends in a Flatten.
        TypeError: a layer is of no kind that the format has.

    Source:
        TensorFlow Lite's schema, and its 8-bit quantization specification.

    Example:
        >>> from minigrad.compression.integer import to_integer
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> to_tflite(to_integer(trained_lenet(), mnist("train").pixels[:64]))[4:8]
        b'TFL3'
    """
    c, h, w = model.input.shape
    pixels = Quantization(model.input.scale.as_float32(), model.input.zero_point)
    chain = Chain(Graph(f"minigrad, int8, profile {model.profile}"), (batch, h, w, c), "int8", pixels)
    for layer in model.layers:
        if isinstance(layer, IntegerConv2d):
            _conv(chain, layer)
        elif isinstance(layer, IntegerLinear):
            _linear(chain, layer)
        elif isinstance(layer, PoolingLayer):
            op = "AVERAGE_POOL_2D" if isinstance(layer, IntegerAvgPool2d) else "MAX_POOL_2D"
            window = Window(layer.kernel, layer.stride, layer.padding)
            chain.pool(op, layer.name, window, Border(LOW, as_same=True), _clamp(layer, chain.quantization))
        elif isinstance(layer, IntegerFlatten):
            chain.flatten(layer.name)
        else:
            raise TypeError(f"to_tflite: {layer.name} is a {type(layer).__name__}, which has no .tflite form here")
    return chain.to_bytes()


def _conv(chain: Chain, layer: IntegerConv2d) -> None:
    arrays, out = _constants(chain, layer, layer.weight.transpose(0, 2, 3, 1))
    window = Window((layer.weight.shape[2], layer.weight.shape[3]), layer.stride, layer.padding, layer.dilation)
    border = Border(layer.pad_value, as_same=layer.pad_value == layer.input_zero)
    chain.conv(layer.name, arrays, window, border, _clamp(layer, out), out)


def _linear(chain: Chain, layer: IntegerLinear) -> None:
    arrays, out = _constants(chain, layer, layer.weight if chain.order is None else layer.weight[:, chain.order])
    version = 12 if layer.weight_scale.mantissa.ndim else 4  # 12 brought a scale for each output
    chain.linear(layer.name, arrays, version, _clamp(layer, out), out)


def _constants(chain: Chain, layer: WeightedLayer, weights: Array) -> tuple[tuple[int, int], Quantization]:
    """Add weights, as they are turned for the file, and biases; return the two tensors, and how the output is quantized."""
    scale = layer.weight_scale.as_float32()
    weight = chain.graph.constant(f"{layer.name}/weight", weights, Quantization(scale))
    bias_scale = Quantization(layer.input_scale.as_float32() * scale)
    bias = chain.graph.constant(f"{layer.name}/bias", layer.bias, bias_scale)
    return (weight, bias), Quantization(layer.output_scale.as_float32(), layer.output_zero)


def _clamp(layer: Any, out: Quantization | None) -> int:
    """Return the activation whose clamp a runtime will derive from the output's scale and zero point."""
    assert out is not None
    clamp, zero = (layer.low, layer.high), out.zero_point
    six = zero + math.floor(float(np.float32(6) / np.float32(out.scale)) + 0.5)
    clamps = {"NONE": (LOW, HIGH), "RELU": (max(LOW, zero), HIGH), "RELU6": (max(LOW, zero), min(HIGH, six))}
    for name, expected in clamps.items():
        if clamp == expected:
            return ACTIVATIONS[name]
    raise ValueError(
        f"to_tflite: {layer.name} clamps to {clamp}, but a .tflite file can only name an activation, and with zero point "
        f"{zero} and scale {out.scale} ReLU clamps to {clamps['RELU']} and ReLU6 to {clamps['RELU6']}"
    )


def to_tflite_float16(model: nn.Module, input_shape: tuple[int, int, int] = (1, 28, 28), batch: int = 1) -> bytes:
    """Return a float model as a .tflite file that stores weights and biases as float16, and computes in float32.

    Half the bytes. The file says to widen them (DEQUANTIZE) before use, which is exact.

    Args:
        model: a chain of Conv2d, Linear, BatchNorm2d (folded), ReLU, ReLU6, MaxPool2d, AvgPool2d and Flatten. It stays as
            it is.
        input_shape: (C, H, W).
        batch: images a run, N.

    Returns:
        The file. Its input is float32 (N, H, W, C), normalised as in training; its output float32 logits.

    Raises:
        ValueError: the model is no such chain, or a weight is beyond float16's largest number, 65,504.

    Source:
        TensorFlow Lite's schema; IEEE 754 binary16.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> f"{len(to_tflite_float16(LeNet())) / (4 * 44_426):.2f} of the float32 weights"
        '0.53 of the float32 weights'
    """
    return _float_file(model, input_shape, Graph("minigrad, float16 weights"), batch, _float16)


def to_tflite_float32(model: nn.Module, input_shape: tuple[int, int, int] = (1, 28, 28), batch: int = 1) -> bytes:
    """Return a float model as a .tflite file of float32 numbers. Pruned weights are zeros in it, and take their 4 bytes.

    Args:
        model, input_shape, batch: as those of `to_tflite_float16`.

    Returns:
        The file. Its input is float32 (N, H, W, C), normalised as in training; its output float32 logits.

    Raises:
        ValueError: the model is no such chain.

    Source:
        TensorFlow Lite's schema.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> f"{len(to_tflite_float32(LeNet())) / (4 * 44_426):.2f} of the float32 weights"
        '1.02 of the float32 weights'
    """
    return _float_file(model, input_shape, Graph("minigrad, float32"), batch, _float32)


Constants = Callable[[Chain, str, str, Array], int]
"""Adds the weight or bias of a layer: chain, layer, which of the two, values. Returns the float32 tensor."""


def _float_file(
    model: nn.Module, input_shape: tuple[int, int, int], graph: Graph, batch: int, constants: Constants
) -> bytes:
    c, h, w = input_shape
    layers = _named_layers(fold_batch_norm(as_sequential(model, np.zeros((1, *input_shape), np.float32))))
    chain = Chain(graph, (batch, h, w, c), "float32")
    while layers:
        name, layer = layers.pop(0)
        follower = layers[0][1] if layers and not isinstance(layer, nn.Flatten | nn.ReLU | nn.ReLU6) else None
        act = ACTIVATIONS[_activation(follower)]
        if act:
            layers.pop(0)
        _append_float(chain, name, layer, act, constants)
    return chain.to_bytes()


def _append_float(chain: Chain, name: str, layer: nn.Module, act: int, constants: Constants) -> None:
    if isinstance(layer, nn.Conv2d):
        arrays = _parameters(chain, name, layer, layer.weight.data.transpose(0, 2, 3, 1), constants)
        window = Window(layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        chain.conv(name, arrays, window, Border(0.0, as_same=True), act)
    elif isinstance(layer, nn.Linear):
        w = layer.weight.data if chain.order is None else layer.weight.data[:, chain.order]
        chain.linear(name, _parameters(chain, name, layer, w, constants), 1, act)
    elif isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        window = Window(
            *(pair("to_tflite", what, getattr(layer, what), 0) for what in ("kernel_size", "stride", "padding"))
        )
        if isinstance(layer, nn.MaxPool2d):
            chain.pool("MAX_POOL_2D", name, window, Border(float(np.finfo(np.float32).min), as_same=True), act)
        else:  # SAME leaves the border out of the mean, PyTorch counts its zeros
            chain.pool("AVERAGE_POOL_2D", name, window, Border(0.0, as_same=False), act)
    elif isinstance(layer, nn.Flatten):
        chain.flatten(name)
    else:
        chain.append(_activation(layer), 1, name, chain.shape)


def _named_layers(sequential: nn.Sequential) -> list[tuple[str, nn.Module]]:
    return [(name, layer) for name, layer in vars(sequential).items() if isinstance(layer, nn.Module)]


def _activation(layer: nn.Module | None) -> str:
    return "RELU6" if isinstance(layer, nn.ReLU6) else "RELU" if isinstance(layer, nn.ReLU) else "NONE"


def _parameters(
    chain: Chain, name: str, layer: nn.Conv2d | nn.Linear, weights: Array, constants: Constants
) -> tuple[int, int]:
    """Add weights, as they are turned for the file, and biases; return the float32 tensors."""
    biases = np.zeros(len(weights), np.float32) if layer.bias is None else layer.bias.data
    return constants(chain, name, "weight", weights), constants(chain, name, "bias", biases)


def _float32(chain: Chain, name: str, what: str, array: Array) -> int:
    return chain.graph.constant(f"{name}/{what}", array.astype(np.float32))


def _float16(chain: Chain, name: str, what: str, array: Array) -> int:
    """Add an array as float16, and the operator that widens it."""
    if not (np.abs(array) < 65_520).all():  # what rounds to infinity
        raise ValueError(
            f"to_tflite_float16: {name} has a {what} that is not finite in float16, whose largest number is 65,504"
        )
    narrow = chain.graph.constant(f"{name}/{what}/float16", array.astype(np.float16))
    wide = chain.graph.tensor(f"{name}/{what}", array.shape, "float32")
    return chain.graph.operator("DEQUANTIZE", 3, (narrow,), wide, table(DEQUANTIZE_OPTIONS))
