"""Integer models as ONNX files, in three forms: with quantized operators, of integers alone, and as a float graph."""

from dataclasses import replace
from typing import Any

from ..integer.layers import (
    IntegerAvgPool2d,
    IntegerFlatten,
    IntegerLayer,
    IntegerMaxPool2d,
    WeightedLayer,
)
from ..integer.model import IntegerModel
from .onnx_graph import Graph
from .onnx_layers import Target, average_pool, integer, max_pool, qdq, qlinear

FORMS = {"qlinear": qlinear, "integer": integer, "qdq": qdq}


def to_onnx(model: IntegerModel, form: str = "qlinear", activations: str = "int8") -> bytes:
    """Return an integer model as an ONNX file.

    Args:
        model: an integer model.
        form: "qlinear": QLinearConv, and QGemm for linear layers. They round as profile "onnx" does.
            "integer": ConvInteger and MatMulInteger, then additions, products and divisions of int64. No floating-point
            number is in the file. It rounds as the model's profile does, "tflite" or "single".
            "qdq": a float graph between QuantizeLinear and DequantizeLinear, which runtimes put together again. With int8,
            onnxruntime does so on x86 only if its session option "session.qdqisint8allowed" is "1"; else it runs the floats.
        activations: "int8", or "uint8": all activations are 128 higher. On x86 without VNNI, onnxruntime's products of uint8
            and int8 saturate.

    Returns:
        The file, of opset 13. Its input "images" is (N, C, H, W): int8, pixel − 128, or uint8, pixel. Its output "logits" is
        (N, classes), of the same type. QGemm is onnxruntime's own operator, so "qlinear" runs nowhere else.

    Raises:
        ValueError: there is no such form or type; or the form is "integer" and the profile "onnx", which is float32's, or
            a product could leave int64.
        TypeError: a layer is of no kind that ONNX has.

    Source:
        ONNX operators, opset 13; com.microsoft.QGemm of onnxruntime.

    Example:
        >>> from minigrad.compression.integer import to_integer
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> model = to_integer(trained_lenet(), mnist("train").pixels[:64])
        >>> b"ConvInteger" in to_onnx(model, "integer"), b"QLinearConv" in to_onnx(model)
        (True, True)
    """
    if form not in FORMS:
        raise ValueError(f"to_onnx: form is {form!r}, expected one of {', '.join(FORMS)}")
    if activations not in ("int8", "uint8"):
        raise ValueError(f"to_onnx: activations is {activations!r}, expected int8 or uint8")
    if form == "integer" and model.profile == "onnx":
        raise ValueError(
            'to_onnx: profile "onnx" rounds as float32 does, and the form "integer" has no float; '
            'convert the model with profile "tflite" or "single"'
        )
    target = Target(Graph(), activations, model.profile)
    x, shape = "images", tuple(model.input.shape)
    for layer, output_shape in zip(_named_apart(model.layers), model.shapes, strict=True):
        x, shape = _append(target, form, layer, x, shape), output_shape
    target.graph.node("Identity", [x], "logits")
    return target.graph.to_bytes(("images", activations, model.input.shape), ("logits", activations, shape))


def _named_apart(layers: tuple[Any, ...]) -> list[IntegerLayer]:
    """Return the layers with a name of its own for each: tensors of ONNX are known by their names."""
    taken, named = {"", "images", "logits"}, []
    for layer in layers:
        name, number = layer.name, 1
        while name in taken:
            name, number = f"{layer.name}.{number}", number + 1
        taken.add(name)
        named.append(replace(layer, name=name))
    return named


def _append(t: Target, form: str, layer: IntegerLayer, x: str, shape: tuple[int, ...]) -> str:
    """Append a layer that reads x, images of this shape, and return the tensor that it writes."""
    if isinstance(layer, WeightedLayer):
        return FORMS[form](t, layer, x)
    if isinstance(layer, IntegerMaxPool2d):
        return max_pool(t, layer, x)
    if isinstance(layer, IntegerAvgPool2d):
        return average_pool(t, layer, x, shape[0])
    if isinstance(layer, IntegerFlatten):
        return t.graph.node("Flatten", [x], layer.name, axis=1)
    raise TypeError(f"to_onnx: {layer.name} is a {type(layer).__name__}, which has no ONNX form here")
