"""A model as a chain of layers, read off the tape of one run: what integer engines and file formats can take."""

import copy
from collections import Counter
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.functional import fusion
from minigrad.nn.module import Parameter
from minigrad.ops.base import Op
from minigrad.tape import Node, set_recording
from minigrad.tensor import Array, Tensor
from minigrad.training import evaluating

WEIGHTED = {"conv2d": nn.Conv2d, "linear": nn.Linear, "batch_norm": nn.BatchNorm2d}
"""Ops with parameters, and the layers they must come from."""

PLAIN = (nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten)


def as_sequential(model: nn.Module, x: Any) -> nn.Sequential:
    """Run a model once, in evaluation, and return its layers in the order in which they ran, as a Sequential.

    What a model calls as a function (`F.relu`) becomes a layer too, and a layer that is called twice becomes two. Names are
    the model's own; functions are named "relu", "maxpool" ... Where a name comes up several times, its layers are
    numbered: LeNet has one `maxpool`, so the Sequential has "maxpool1" and "maxpool2".

    Args:
        model: takes one input and returns one Tensor. It stays as it is: the layers are copies.
        x: an input, float (N, ...); its values do not matter.

    Returns:
        A Sequential, in evaluation, of nn.Conv2d, Linear, BatchNorm2d, ReLU, ReLU6, MaxPool2d, AvgPool2d and Flatten.

    Raises:
        ValueError: the model cannot take x, branches, or runs something that is none of these layers.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> chain = as_sequential(LeNet(), np.zeros((1, 1, 28, 28), np.float32))
        >>> [name for name, _ in chain.named_modules() if name][:7]
        ['conv1', 'relu1', 'maxpool1', 'conv2', 'relu2', 'maxpool2', 'flatten']
    """
    start = Tensor(np.array(x.data if isinstance(x, Tensor) else x), requires_grad=True)
    copied = copy.deepcopy(model)  # which gets the hooks
    names: dict[int, str] = {}
    node = _run(copied, start, names)
    originals = dict(model.named_modules())
    owners = {id(p): path for path, m in copied.named_modules() for p in vars(m).values() if isinstance(p, Parameter)}
    found: list[tuple[str, nn.Module]] = []
    while node is not start:
        op = node.op
        if op is None or not isinstance(op.inputs[0], Node):
            raise ValueError(
                f"as_sequential: the result of {type(model).__name__} cannot be followed back to its input"
                + (f": {op.name} does not begin with a layer's result" if op else ", which it does not depend on")
            )
        source = op.inputs[0]
        if op.name in WEIGHTED:
            name, layer = _weighted(op, owners, originals)
        else:
            name, layer = _plain(op, source.data, node.data)
        if layer is not None:
            found.append((names.get(id(op), name), layer))
        node = source
    return _named(found[::-1])


def _run(model: nn.Module, x: Tensor, names: dict[int, str]) -> Tensor:
    """Return the model's result; note in `names` which layer without parameters ran which op."""

    def note(path: str, out: Tensor) -> None:
        names[id(out.op)] = path

    for path, module in model.named_modules():
        if isinstance(module, PLAIN) and path:
            module.register_forward_hook(lambda _, __, out, path=path: note(path, out))
    with evaluating(model), fusion(False), set_recording(True):
        try:
            out = model(x)
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"as_sequential: {type(model).__name__} cannot take an input of shape {x.shape} ({error})"
            ) from None
    if not isinstance(out, Tensor):
        raise ValueError(f"as_sequential: {type(model).__name__} returned {type(out).__name__}, expected one Tensor")
    return out


def _weighted(op: Op, owners: dict[int, str], originals: dict[str, nn.Module]) -> tuple[str, nn.Module]:
    """Return name and copy of the layer whose weight the op used."""
    weight, bias = (*op.inputs[1:3], None)[:2]
    path = owners.get(id(weight))
    module = None if path is None else originals[path]
    kind = WEIGHTED[op.name]
    if (
        path is None
        or module is None
        or not isinstance(module, kind)
        or (bias is not None and owners.get(id(bias)) != path)
    ):
        raise ValueError(
            f"as_sequential: a {op.name} takes its weight or bias from {repr(path) if path else 'no parameter'}, "
            f"which is no nn.{kind.__name__}; call the layer itself"
        )
    return path, copy.deepcopy(module)


def _plain(op: Op, x: Array, out: Array) -> tuple[str, nn.Module | None]:
    """Return a name and a layer for an op without parameters; no layer where the op changed nothing."""
    settings: Any = op  # what forward kept
    if op.name == "relu":
        return "relu", nn.ReLU()
    if op.name == "relu6":
        return "relu6", nn.ReLU6()
    if op.name == "max_pool2d":
        return "maxpool", nn.MaxPool2d(settings.window[:2], settings.window[2:], settings.padding)
    if op.name == "avg_pool2d":
        return "avgpool", nn.AvgPool2d(settings.kernel_size, settings.stride, settings.padding)
    if op.name == "reshape" and out.shape == x.shape:
        return "", None
    if op.name == "reshape" and out.shape == (x.shape[0], np.prod(x.shape[1:])):
        return "flatten", nn.Flatten()
    raise ValueError(
        f"as_sequential: {op.name} is not supported ({x.shape} -> {out.shape}): expected a chain of Conv2d, Linear, "
        "BatchNorm2d, ReLU, ReLU6, MaxPool2d, AvgPool2d and Flatten without branches"
    )


def _named(layers: list[tuple[str, nn.Module]]) -> nn.Sequential:
    """Return the layers as a Sequential; names that come up several times are numbered."""
    chain, counts, so_far = nn.Sequential(), Counter(name for name, _ in layers), Counter[str]()
    for name, layer in layers:
        unique = name if counts[name] == 1 else ""
        while not unique or unique in vars(chain):
            so_far[name] += 1
            candidate = f"{name}{so_far[name]}"
            unique = "" if candidate in counts else candidate
        setattr(chain, unique, layer)
    return chain.eval()


def fold_batch_norm(sequential: nn.Sequential) -> nn.Sequential:
    """Return a copy in which each batch normalisation is part of the convolution or linear layer before it.

    In evaluation it multiplies each channel by a = weight / sqrt(running_var + eps) and adds a constant. The layer does
    the same with weights w * a and biases (b - running_mean) * a + bias.

    Args:
        sequential: a chain of layers, see `as_sequential`. It stays as it is.

    Raises:
        ValueError: no convolution or linear layer comes directly before a batch normalisation.

    Source:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
        2018, equation 14.

    Example:
        >>> chain = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
        >>> fold_batch_norm(chain)
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=True)
          (2): ReLU()
        )
    """
    folded, before = nn.Sequential(), None
    for name, layer in copy.deepcopy(vars(sequential)).items():
        if not isinstance(layer, nn.Module):
            continue
        if not isinstance(layer, nn.BatchNorm2d):
            setattr(folded, name, layer)
            before = layer
        elif isinstance(before, nn.Conv2d | nn.Linear):
            _fold(before, layer)
        else:
            raise ValueError(
                f"fold_batch_norm: before {name} comes {type(before).__name__ if before else 'nothing'}, "
                "expected Conv2d or Linear"
            )
    return folded.eval()


def _fold(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d) -> None:
    w, dtype = layer.weight.data, layer.weight.dtype
    a = norm.weight.data.astype(np.float64) / np.sqrt(norm.running_var.data.astype(np.float64) + norm.eps)  # (F,)
    b = 0.0 if layer.bias is None else layer.bias.data
    w[...] = w * a.reshape(-1, *(1,) * (w.ndim - 1))
    layer.bias = Parameter(((b - norm.running_mean.data) * a + norm.bias.data).astype(dtype))
