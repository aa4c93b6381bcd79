"""Models as a web page: one HTML file, without a network, on which one draws digits and watches what three models make of them.

What the page is made of lies beside this file: `playground.html`, `.css`, `_network.js` (runs the models) and `_page.js`.
"""

import base64
import json
import re
from importlib import resources
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.datasets import MEAN, STD

from ..integer.layers import (
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerFlatten,
    IntegerLinear,
    IntegerMaxPool2d,
    PoolingLayer,
    WeightedLayer,
)
from ..integer.model import IntegerModel
from ..models.chain import as_sequential, fold_batch_norm
from ..sparse.accounting import bitmask_bytes

Array = np.ndarray

SHAPE = (1, 28, 28)
"""What the page can draw."""

POOLS = {
    IntegerMaxPool2d: "max_pool", nn.MaxPool2d: "max_pool",
    IntegerAvgPool2d: "avg_pool", nn.AvgPool2d: "avg_pool",
}  # fmt: skip


def to_html(
    integer_model: IntegerModel,
    float_model: nn.Module,
    pruned_model: nn.Module,
    *,
    samples: Any = None,
    labels: Any = None,
    about: str = "",
    mean: float = MEAN,
    std: float = STD,
) -> str:
    """Return a web page that runs three models on a digit that is drawn on it.

    The page needs no network and no other file. It runs the integer model with integers, and computes its logits bit by bit;
    the float models run in float32, whose last bits may differ from ours. For programs there is
    `minigrad.run(Uint8Array of 784 pixels)` on its `window`, which returns {int8: Int8Array, float: Float32Array, pruned:
    Float32Array}, logits each.

    Args:
        integer_model: takes (1, 28, 28) and gives a vector of logits. Any profile.
        float_model: what it was made from, a chain of layers (see `as_sequential`).
        pruned_model: the same or another chain, in which weights are zero.
        samples: uint8 (N, 28, 28), images to choose from instead of drawing; None: there are none.
        labels: (N,), their classes; needed with samples.
        about: sentences about the three models, shown above their sizes.
        mean, std: with which the float models' images were normalised.

    Raises:
        TypeError: a layer is of no kind that the page knows; or integer_model is no `IntegerModel`.
        ValueError: a model takes images of another shape, gives something other than logits, or branches; or samples and
            labels do not fit.

    Example:
        >>> from minigrad.compression.integer import to_integer
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> lenet = trained_lenet()
        >>> page = to_html(to_integer(lenet, mnist("train").pixels[:64]), lenet, lenet)
        >>> page[:15], "src=" in page
        ('<!DOCTYPE html>', False)
    """
    if not isinstance(integer_model, IntegerModel):
        raise TypeError(f"to_html: integer_model is a {type(integer_model).__name__}, expected an IntegerModel")
    if tuple(integer_model.input.shape) != SHAPE:
        raise ValueError(f"to_html: integer_model takes images {integer_model.input.shape}, but the page draws {SHAPE}")
    models = {
        "float": float_chain(float_model, mean, std),
        "pruned": float_chain(pruned_model, mean, std),
        "int8": integer_chain(integer_model),
    }
    shapes = {name: tuple(model["layers"][-1]["shape"]) for name, model in models.items()}
    if len(set(shapes.values())) > 1 or len(shapes["int8"]) != 1:
        raise ValueError(
            f"to_html: the models must give logits of the same classes, one vector each; they give {shapes}"
        )
    sizes = {
        "float": _float_size(float_model), "pruned": _pruned_size(pruned_model), "int8": _integer_size(integer_model),
    }  # fmt: skip
    data = {"models": models, "sizes": sizes, "samples": _samples(samples, labels), "about": about}
    parts = {
        "styles": _read("playground.css"),
        # No text in a script element may look like its end; \u003c is JSON for <.
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "network": _read("playground_network.js"),
        "page": _read("playground_page.js"),
    }
    return re.sub(r"%%(\w+)%%", lambda found: parts[found[1]], _read("playground.html"))


def integer_chain(model: IntegerModel) -> dict[str, Any]:
    """Return an integer model as JSON has it, for `load` in playground_network.js.

    Raises:
        TypeError: a layer is of no kind that the page knows.
        ValueError: pixels have another zero point than -128.
    """
    if model.input.zero_point != -128:
        raise ValueError(f"to_html: pixels have zero point {model.input.zero_point}, expected -128, as int8 has them")
    layers, scale, zero = [], model.input.scale, model.input.zero_point
    for layer, shape in zip(model.layers, model.shapes, strict=True):
        made = _integer_layer(layer)
        if isinstance(layer, WeightedLayer):
            scale, zero = layer.output_scale, layer.output_zero
        real = {"scale": float(scale.as_float32()), "zero": zero}
        layers.append({"name": layer.name, "shape": list(shape), **made, **real})
    return {"input": list(model.input.shape), "profile": model.profile, "layers": layers}


def _integer_layer(layer: Any) -> dict[str, Any]:
    if isinstance(layer, IntegerConv2d | IntegerLinear):
        # The sum of a certified layer stays within int32, and so does the bias with the input's zero point folded in.
        made = {
            "kind": "linear", "weight": _array(layer.weight), "bias": _array(layer.folded_bias.astype(np.int32)),
            "multiplier": _array(layer.multiplier), "shift": _array(layer.shift), "output_zero": layer.output_zero,
        }  # fmt: skip
        if isinstance(layer, IntegerConv2d):
            made |= {"kind": "conv", "kernel": layer.weight.shape[2:], "groups": layer.groups}
            made |= {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
            made |= {"pad_value": layer.pad_value}
    elif isinstance(layer, IntegerMaxPool2d | IntegerAvgPool2d):
        made = _pool(layer)
    elif isinstance(layer, IntegerFlatten):
        return {"kind": "flatten"}
    else:
        raise TypeError(f"to_html: {layer.name} is a {type(layer).__name__}, which the page cannot run")
    return made | {"low": layer.low, "high": layer.high}


def float_chain(model: nn.Module, mean: float, std: float) -> dict[str, Any]:
    """Return a float model as JSON has it: a chain, batch normalisation folded, each ReLU the clamp of the layer before.

    Raises:
        ValueError: the model is no such chain, cannot take 28×28 images, or begins with a ReLU.
    """
    chain = fold_batch_norm(as_sequential(model, np.zeros((1, *SHAPE), np.float32)))
    layers: list[dict[str, Any]] = []
    x: Any = np.zeros((1, *SHAPE), np.float32)
    for name, layer in vars(chain).items():
        if not isinstance(layer, nn.Module):
            continue
        x = layer(x)
        if isinstance(layer, nn.ReLU | nn.ReLU6):
            if not layers:
                raise ValueError(f"to_html: {name}, a {type(layer).__name__}, comes before any other layer")
            layers[-1]["low"] = max(layers[-1].get("low", 0), 0)
            if isinstance(layer, nn.ReLU6):
                layers[-1]["high"] = 6
        else:
            layers.append({"name": name, "shape": list(x.shape[1:]), **_float_layer(layer)})
    return {"input": list(SHAPE), "mean": mean, "std": std, "layers": layers}


def _float_layer(layer: Any) -> dict[str, Any]:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        bias = np.zeros(len(layer.weight.data)) if layer.bias is None else layer.bias.data
        made = {"kind": "linear", "weight": _array(layer.weight.data, np.float32), "bias": _array(bias, np.float32)}
        if isinstance(layer, nn.Conv2d):
            made |= {"kind": "conv", "kernel": layer.weight.shape[2:], "groups": layer.groups, "pad_value": 0}
            made |= {key: _pair(getattr(layer, key)) for key in ("stride", "padding", "dilation")}
        return made
    return {"kind": "flatten"} if isinstance(layer, nn.Flatten) else _pool(layer)


def _pool(layer: PoolingLayer | nn.MaxPool2d | nn.AvgPool2d) -> dict[str, Any]:
    kernel = layer.kernel if isinstance(layer, PoolingLayer) else layer.kernel_size
    settings = {"kernel": kernel, "stride": layer.stride, "padding": layer.padding}
    return {"kind": POOLS[type(layer)]} | {key: _pair(value) for key, value in settings.items()}


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [int(n) for n in value]


def _array(array: Array, dtype: Any = None) -> dict[str, str]:
    """Return an array as JSON has it: little-endian bytes in base64."""
    array = np.ascontiguousarray(array, dtype)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": array.dtype.name, "base64": base64.b64encode(little.tobytes()).decode("ascii")}


def _samples(samples: Any, labels: Any) -> list[dict[str, Any]]:
    if samples is None:
        return []
    images = np.asarray(samples)
    if images.dtype != np.uint8 or images.shape[1:] != SHAPE[1:] or np.shape(labels) != (len(images),):
        raise ValueError(
            f"to_html: samples must be uint8 (N, 28, 28) with a label each (samples: {images.dtype} {images.shape}, "
            f"labels: {np.shape(labels)})"
        )
    return [{"label": int(label), "pixels": _array(image)} for image, label in zip(images, labels, strict=True)]


def _float_size(model: nn.Module) -> dict[str, Any]:
    count = sum(p.size for p in model.parameters())
    return _size(model, 4 * count, "float32, 4 bytes each")


def _pruned_size(model: nn.Module) -> dict[str, Any]:
    parts = [p.data for p in model.parameters()]
    size = sum(bitmask_bytes(p) if p.ndim > 1 else 4 * p.size for p in parts)
    return _size(model, size, "non-zeros in float32, and a bit for each weight that tells them apart")


def _size(model: nn.Module, size: int, how: str) -> dict[str, Any]:
    weights = [p.data for p in model.parameters() if p.ndim > 1]
    nonzeros = sum(int(np.count_nonzero(w)) for w in weights)
    return {"weights": sum(w.size for w in weights), "nonzeros": nonzeros, "bytes": size, "how": how}


def _integer_size(model: IntegerModel) -> dict[str, Any]:
    rows = model.layer_bytes()
    weights = sum(row.weights for row in rows)
    how = "integers, with biases, multipliers and scales"
    nonzeros = weights - sum(row.zeros for row in rows)
    return {"weights": weights, "nonzeros": nonzeros, "bytes": sum(row.total for row in rows), "how": how}


def _read(name: str) -> str:
    return (resources.files("minigrad.compression.export") / name).read_text(encoding="utf-8")
