"""From a trained model to one of integers.

The model becomes a chain, batch normalisation is folded, activations get their ranges on some images, and `lower` writes
everything down in integers. Pixels stay as they are: q = p - 128 with a scale of 1/255, and the normalisation
(p / 255 - mean) / std is folded into the first layer, whose weights are divided by std and whose bias takes the mean.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.datasets import MEAN, STD

from ..models.chain import as_sequential, fold_batch_norm
from ..quantization.calibration import calibrate
from ..quantization.formats import QuantParams, quantize, weight_params
from ..quantization.formats import power_of_two as to_power_of_two
from .arithmetic import check_profile, output_multipliers
from .layers import (
    HIGH,
    LOW,
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerFlatten,
    IntegerLayer,
    IntegerLinear,
    IntegerMaxPool2d,
    PoolingLayer,
    Scale,
    TensorInfo,
    WeightedLayer,
)
from .model import IntegerModel

Array = np.ndarray

PIXEL_SCALE = np.float32(1 / 255)


def to_integer(
    model: nn.Module,
    calibration_images: Any,
    profile: str = "tflite",
    *,
    mean: float = MEAN,
    std: float = STD,
    bits: int = 8,
    per_channel: bool = True,
    linear_per_channel: bool = False,
    observer: str = "min-max",
    power_of_two: bool = False,
) -> IntegerModel:
    """Convert a trained model to integers, without training it any further.

    Args:
        model: a chain of Conv2d, Linear, BatchNorm2d, ReLU, ReLU6, MaxPool2d, AvgPool2d and Flatten. It stays as it is.
        calibration_images: uint8 (N, H, W) or (N, C, H, W), some hundred training images: the ranges of the activations
            are measured on them.
        profile: how sums are rounded back to int8: "tflite", "single" or "onnx".
        mean, std: with which the model's images were normalised.
        bits: of the weights, 2 to 8.
        per_channel: whether each filter of a convolution has its own scale.
        linear_per_channel: the same for linear layers.
        observer: how a range is chosen from what was seen: a name in `quantization.OBSERVERS`.
        power_of_two: whether all scales but that of the pixels are powers of two, so that multiplying is shifting.

    Raises:
        TypeError: the images are not uint8.
        ValueError: there are no images, activations are constant or not finite, a layer is not supported, or an accumulator
            could overflow; the message names the layer.

    Source:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018.

    Example:
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> pixels = mnist("train").pixels[:200]
        >>> to_integer(trained_lenet(), pixels).logits(pixels[:2]).shape
        (2, 10)
    """
    images = _as_images(calibration_images)
    check_profile(profile)
    x = normalized(images, mean, std)
    chain = fold_batch_norm(as_sequential(model, x[:2]))
    activations = calibrate(chain, x, observer)
    weights, first = {}, True
    for name, layer in _named_layers(chain):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            axis = 0 if (per_channel if isinstance(layer, nn.Conv2d) else linear_per_channel) else None
            try:
                weights[name] = weight_params(layer.weight, bits, axis)
            except ValueError as error:
                raise ValueError(f"to_integer: {name}: {error}") from None
            if power_of_two:
                divisor = np.float32(std) if first else np.float32(1)  # by which `lower` will divide the scale
                scaled = to_power_of_two(replace(weights[name], scale=weights[name].scale / divisor))
                weights[name] = replace(scaled, scale=scaled.scale * divisor)
            first = False
    if power_of_two:
        activations = {name: to_power_of_two(params) for name, params in activations.items()}
    return lower(chain, activations, weights, input_shape=images.shape[1:], profile=profile, mean=mean, std=std)


def lower(
    sequential: nn.Sequential,
    activations: Mapping[str, QuantParams],
    weights: Mapping[str, QuantParams],
    *,
    input_shape: tuple[int, ...] = (1, 28, 28),
    profile: str = "tflite",
    mean: float = MEAN,
    std: float = STD,
) -> IntegerModel:
    """Write a chain of layers down in integers.

    Args:
        sequential: Conv2d, Linear, ReLU, ReLU6, MaxPool2d, AvgPool2d, Flatten; batch normalisation folded.
        activations: format of what leaves each convolution and linear layer (after its ReLU), by the layer's name.
        weights: format of each layer's weights as they are in `sequential`, by name: one scale, or one for each of axis 0.
        input_shape: (C, H, W) of the images.
        profile, mean, std: as for `to_integer`.

    Raises:
        ValueError: as `to_integer`; or a format is missing, or cannot be used in integer sums.

    Example:
        >>> from minigrad.compression.quantization import activation_params
        >>> chain = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> model = lower(chain, {"1": activation_params(-1, 1)}, {"1": weight_params(chain[1].weight)}, input_shape=(1, 2, 2))
        >>> [type(layer).__name__ for layer in model.layers]
        ['IntegerFlatten', 'IntegerLinear']
    """
    layers: list[IntegerLayer] = []
    scale, zero = PIXEL_SCALE, LOW
    first = True
    for name, layer in _named_layers(sequential):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            own = (_format(weights, name, "weights"), _format(activations, name, "activations"))
            made = _weighted(name, layer, *own, scale, zero, profile, (mean, std) if first else None)
            layers.append(made)
            scale, zero, first = own[1].scale[()], int(own[1].zero_point), False
        elif isinstance(layer, nn.ReLU | nn.ReLU6):
            _clamp_(layers, name, layer, scale, zero, first)
        else:
            layers.append(_plain(name, layer))
    channels, height, width = (int(n) for n in input_shape)
    return IntegerModel(TensorInfo((channels, height, width), Scale.of(PIXEL_SCALE)), tuple(layers), profile)


def normalized(images: Array, mean: float = MEAN, std: float = STD) -> Array:
    """Return (pixels / 255 - mean) / std, float32 (N, C, H, W), through a table of the 256 possible values."""
    table = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)
    return table[images]


def _as_images(images: Any) -> Array:
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"to_integer: calibration_images are {images.dtype}, expected uint8 pixels, 0 to 255")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            f"to_integer: calibration_images have shape {images.shape}, expected some hundred images, (N, H, W) or "
            "(N, C, H, W); the ranges of the activations are measured on them"
        )
    return images


def _named_layers(sequential: nn.Sequential) -> list[tuple[str, nn.Module]]:
    return [(name, layer) for name, layer in vars(sequential).items() if isinstance(layer, nn.Module)]


def _format(params: Mapping[str, QuantParams], name: str, what: str) -> QuantParams:
    """Return the format of a layer's weights or activations."""
    if name not in params:
        raise ValueError(
            f"to_integer: there is no number format for the {what} of {name} (there is for {list(params)})"
        )
    found = params[name]
    if what == "weights" and (found.group is not None or found.axis not in (None, 0) or (found.zero_point != 0).any()):
        raise ValueError(
            f"to_integer: the weights of {name} need one scale, or one for each output channel, and zero point 0: sums of "
            f"products in other units cannot be added as integers (axis={found.axis}, group={found.group})"
        )
    if what == "activations" and found.axis is not None:
        raise ValueError(f"to_integer: the activations of {name} need one scale, not one along axis {found.axis}")
    return found


def _weighted(
    name: str,
    layer: nn.Conv2d | nn.Linear,
    weight: QuantParams,
    activation: QuantParams,
    input_scale: Any,
    input_zero: int,
    profile: str,
    normalisation: tuple[float, float] | None,
) -> WeightedLayer:
    """Return a convolution or linear layer in integers.

    Args:
        weight, activation: formats of its weights and its output.
        input_scale, input_zero: of its input.
        normalisation: (mean, std), for the first layer.
    """
    mean, std = normalisation or (0.0, 1.0)
    w = quantize(layer.weight, weight)
    w_scale = np.asarray(weight.scale / np.float32(std), np.float32)
    b = np.zeros(len(w)) if layer.bias is None else layer.bias.data.astype(np.float64)
    units = b / (np.float64(input_scale) * w_scale.astype(np.float64))
    # A pixel less its mean is (p - 255 * mean) / 255: the same amount is taken from each input of a sum.
    units -= 255 * mean * w.reshape(len(w), -1).sum(axis=1, dtype=np.int64)
    bias = np.rint(units)
    worst = int(np.abs(bias).argmax())
    if not np.abs(bias[worst]) < 2**31:
        raise ValueError(
            f"to_integer: the bias of {name}, channel {worst}, would be {bias[worst]:.3g} steps, which int32 cannot hold "
            f"(a step is {float(np.ravel(w_scale)[worst % w_scale.size]) * float(input_scale):.3g})"
        )
    pair = output_multipliers(input_scale, w_scale, activation.scale, profile)
    multiplier, shift = (np.broadcast_to(part, len(w)) for part in pair)
    shared: dict[str, Any] = {"name": name, "weight": w, "bias": bias.astype(np.int32)}
    shared |= {"input_zero": input_zero, "output_zero": int(activation.zero_point)}
    shared |= {"low": activation.low, "high": activation.high, "multiplier": multiplier, "shift": shift}
    shared |= {"weight_scale": Scale.of(w_scale), "input_scale": Scale.of(input_scale)}
    shared |= {"output_scale": Scale.of(activation.scale)}
    if isinstance(layer, nn.Linear):
        return IntegerLinear(**shared)
    # A border of normalised zeros is one of pixels with the mean's value, rounded.
    pad_value = input_zero if normalisation is None else min(max(round(255 * mean) + LOW, LOW), HIGH)
    geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    shared |= {key: _pair(value) for key, value in geometry.items()}
    return IntegerConv2d(**shared, groups=layer.groups, pad_value=pad_value)


def _clamp_(layers: list[IntegerLayer], name: str, layer: nn.Module, scale: Any, zero: int, first: bool) -> None:
    """Make a ReLU the clamp of the layer before it; flattening in between changes nothing."""
    place = next((i for i in reversed(range(len(layers))) if not isinstance(layers[i], IntegerFlatten)), None)
    before = None if place is None else layers[place]
    if first or place is None or not isinstance(before, WeightedLayer | PoolingLayer):
        raise ValueError(f"to_integer: {name}, a {type(layer).__name__}, comes before any convolution or linear layer")
    top = HIGH
    if isinstance(layer, nn.ReLU6):
        top = min(HIGH, zero + int(np.floor(np.float32(6) / np.float32(scale) + np.float32(0.5))))
    low, high = (min(max(bound, zero), top) for bound in (before.low, before.high))
    layers[place] = replace(before, low=low, high=high)


def _plain(name: str, layer: nn.Module) -> IntegerLayer:
    """Return a layer without weights in integers."""
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        cls = IntegerMaxPool2d if isinstance(layer, nn.MaxPool2d) else IntegerAvgPool2d
        return cls(_pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding), name)
    if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
        return IntegerFlatten(name)
    raise ValueError(
        f"to_integer: {name} is {layer!r}, which has no integer form here; there are Conv2d, Linear, ReLU, ReLU6, "
        "MaxPool2d, AvgPool2d and Flatten (fold BatchNorm2d into the layer before it, by fold_batch_norm)"
    )


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = (value, value) if isinstance(value, int) else value
    return int(rows), int(columns)
