"""Quantization after training: weights are rounded, images tell ranges and means, and nothing is trained."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.tape import no_grad
from minigrad.tensor import Array
from minigrad.training import evaluating

from .codes import binarize
from .formats import QuantParams, dequantize, fit_weight_params, quantize, weight_params


def weight_layers(sequential: nn.Sequential) -> dict[str, Any]:
    """Return the convolutions and linear layers by name, in order."""
    return {name: part for name, part in vars(sequential).items() if isinstance(part, nn.Conv2d | nn.Linear)}


def round_weights(
    sequential: nn.Sequential,
    bits: int | Mapping[str, int],
    per_channel: bool = True,
    group: int | None = None,
    least_error: bool = True,
) -> tuple[nn.Sequential, dict[str, QuantParams]]:
    """Return a copy with rounded weights, and the format of each layer's.

    Args:
        sequential: a chain. It stays as it is.
        bits: 1 to 8, for all layers or by layer; layers without a number keep their weights. One bit is a sign times the
            mean magnitude.
        per_channel: whether each filter or output has its own scale.
        group: weights of a channel that share a scale; None: all of them.
        least_error: whether ranges are those of the least squared error; otherwise they reach to the extremes.

    Raises:
        ValueError: bits out of range; or NaN, infinity or nothing among the weights.
        KeyError: bits has a name that is none of the layers.

    Example:
        >>> chain, formats = round_weights(nn.Sequential(nn.Linear(9, 2)), bits=1)
        >>> len(np.unique(np.abs(chain[0].weight.data))) <= 2, formats["0"].low, formats["0"].high
        (True, -1, 1)
    """
    rounded, formats = copy.deepcopy(sequential), dict[str, QuantParams]()
    layers = weight_layers(rounded)
    by_layer = bits if isinstance(bits, Mapping) else dict.fromkeys(layers, bits)
    if unknown := sorted(by_layer.keys() - layers.keys()):
        raise KeyError(f"round_weights: {', '.join(unknown)}: no such layer; there are {', '.join(layers)}")
    axis = 0 if per_channel or group else None
    for name, width in by_layer.items():
        w = layers[name].weight.data
        try:
            if width == 1:
                params = sign_params(w, per_channel)
                w[...] = binarize(w, per_channel).decode()
            else:
                params = (fit_weight_params if least_error else weight_params)(w, width, axis, group)
        except ValueError as error:
            raise ValueError(f"round_weights: {name}: {error}") from None
        w[...] = dequantize(quantize(w, params), params)
        formats[name] = params
    return rounded, formats


def sign_params(w: Any, per_channel: bool = True) -> QuantParams:
    """Return the format of weights that `binarize` made: -1, 0 or 1 times the mean magnitude."""
    scale = np.maximum(binarize(w, per_channel).scale.reshape(-1), np.finfo(np.float32).tiny)
    scale, axis = (scale, 0) if per_channel else (scale[0], None)
    return QuantParams(scale, np.zeros(np.shape(scale)), 2, -1, 1, axis)


def input_means(sequential: nn.Sequential, images: Array, batch_size: int = 500) -> dict[str, Array]:
    """Return the mean of each convolution's input channels, (C,), and of each linear layer's inputs, (I,), over images.

    Raises:
        ValueError: there are no images.
    """
    if len(images) == 0:
        raise ValueError("calibration: there are no images; some hundred of the training images will do")
    sums: dict[str, Array] = {}
    with evaluating(sequential), no_grad():
        for start in range(0, len(images), batch_size):
            x: Any = images[start : start + batch_size]
            for name, layer in ((name, part) for name, part in vars(sequential).items() if isinstance(part, nn.Module)):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    values = np.asarray(getattr(x, "data", x) if not isinstance(x, np.ndarray) else x)
                    others = (0, *range(2, values.ndim))
                    mean = values.mean(axis=others, dtype=np.float64) * len(values) / len(images)
                    sums[name] = sums.get(name, 0) + mean
                x = layer(x)
    return sums


def reestimate_batch_norm(sequential: nn.Sequential, images: Array, batch_size: int = 500) -> nn.Sequential:
    """Return a copy whose batch normalisations have the running means and variances of these images.

    With rounded weights the channels' means and variances are others than in training; measured anew, they fit again.

    Args:
        sequential: a chain, batch normalisation not folded. It stays as it is.
        images: (N, ...), float32.
        batch_size: images at a time; each batch counts alike.

    Raises:
        ValueError: there are no images.
    """
    if len(images) == 0:
        raise ValueError("reestimate_batch_norm: there are no images; some hundred of the training images will do")
    copied = copy.deepcopy(sequential).eval()
    norms = [layer for layer in copied if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    with no_grad():
        for count, start in enumerate(range(0, len(images), batch_size), 1):
            for norm in norms:
                norm.training, norm.momentum = True, 1 / count  # the mean of all batches so far
            copied(images[start : start + batch_size])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return copied.eval()
