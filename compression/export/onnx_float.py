"""Float models as ONNX files: float32 operators, one for each layer."""

from typing import Any

import numpy as np

from minigrad import nn
from minigrad.functional.checks import pair

from ..models.chain import as_sequential, fold_batch_norm
from .onnx_graph import Graph


def to_onnx_float32(model: nn.Module, input_shape: tuple[int, ...] = (1, 28, 28)) -> bytes:
    """Return a float model as an ONNX file of float32 operators. Pruned weights are zeros in it, and take their 4 bytes.

    Args:
        model: a chain of Conv2d, Linear, BatchNorm2d (folded), ReLU, ReLU6, MaxPool2d, AvgPool2d and Flatten. It stays as it
            is; its parameters are float32.
        input_shape: of one image, (C, H, W), or of one row of features.

    Returns:
        The file, of opset 13. Its input "images" is float32 (N, C, H, W), normalised as in training; its output "logits" is
        float32 (N, classes). Sums are added up in the runtime's order: their last bits may differ from ours.

    Raises:
        ValueError: the model is no such chain.

    Source:
        ONNX operators, opset 13.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> f"{len(to_onnx_float32(LeNet())) / (4 * 44_426):.3f} of the float32 weights"
        '1.007 of the float32 weights'
    """
    images = np.zeros((1, *input_shape), np.float32)
    chain = fold_batch_norm(as_sequential(model, images))
    graph, x = Graph(), "images"
    for name, layer in vars(chain).items():
        if isinstance(layer, nn.Module):
            x = _append(graph, f"/{name}", layer, x)
    graph.node("Identity", [x], "logits")
    return graph.to_bytes(("images", "float32", input_shape), ("logits", "float32", chain(images).shape[1:]))


def _append(graph: Graph, name: str, layer: Any, x: str) -> str:
    """Append a layer that reads the tensor x, and return the tensor that it writes. "/" sets a layer's name apart."""
    if isinstance(layer, nn.Conv2d):
        window = _window(layer.kernel_size, layer.stride, layer.padding)
        settings = {**window, "dilations": list(layer.dilation), "group": layer.groups}
        return graph.node("Conv", [x, *_parameters(graph, name, layer)], name, **settings)
    if isinstance(layer, nn.Linear):
        return graph.node("Gemm", [x, *_parameters(graph, name, layer)], name, transB=1)
    if isinstance(layer, nn.MaxPool2d):
        return graph.node("MaxPool", [x], name, **_window(layer.kernel_size, layer.stride, layer.padding))
    if isinstance(layer, nn.AvgPool2d):  # the border's zeros count, as in PyTorch
        window = _window(layer.kernel_size, layer.stride, layer.padding)
        return graph.node("AveragePool", [x], name, **window, count_include_pad=1)
    if isinstance(layer, nn.ReLU):
        return graph.node("Relu", [x], name)
    if isinstance(layer, nn.ReLU6):
        limits = [graph.constant(f"limit {value}", value, "float32") for value in (0, 6)]
        return graph.node("Clip", [x, *limits], name)
    return graph.node("Flatten", [x], name, axis=1)


def _window(kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    """Return the geometry of a convolution or of pooling as ONNX has it: padding in front of both axes, then behind."""
    settings = zip(("kernel_size", "stride", "padding"), (kernel, stride, padding), strict=True)
    kernel, stride, padding = (list(pair("to_onnx_float32", what, value, 0)) for what, value in settings)
    return {"kernel_shape": kernel, "strides": stride, "pads": padding * 2}


def _parameters(graph: Graph, name: str, layer: nn.Conv2d | nn.Linear) -> list[str]:
    """Add weight and bias as constants."""
    parts = {"weight": layer.weight, "bias": layer.bias}
    return [graph.constant(f"{name}/{part}", p.data, "float32") for part, p in parts.items() if p is not None]
