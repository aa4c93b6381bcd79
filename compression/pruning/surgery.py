"""Surgery: take dead channels out of a model, so that it becomes smaller and faster and computes the same."""

import copy
from typing import Any, TypeVar

import numpy as np

from minigrad.nn import Module
from minigrad.nn.module import Parameter
from minigrad.tape import Array, no_grad
from minigrad.tensor import Tensor
from minigrad.training import evaluating

from .channels import Channels, Layer, PerChannel, example_input, trace_channels

M = TypeVar("M", bound=Module)


def shrink(model: M, example: Any = None, strict: bool = True) -> M:
    """Return a smaller dense model with the same outputs, without the channels and neurons that are dead in `model`.

    Dead is a channel (of a convolution) or neuron (of a linear layer) that

    - has no incoming connection: all weights that lead to it are zero, so that it is constant; what it adds to the next
      layer, its bias through ReLU and whatever else lies between, is added to the next layer's bias instead;
    - or has no outgoing connection: all weights that read it are zero.

    Dead neurons make others dead, and all go. So this serves whole filters that were masked (`prune_channels`) as well as
    what unstructured pruning happened to leave without connections. Dependencies are followed through batch normalisation,
    pooling, flattening, concatenation, and residual sums, where a channel goes if it is dead on both sides. Inputs and
    outputs of the model stay, and so does one channel of every layer.

    Args:
        model: a trained model with zeros among its weights; stays as it is. It takes one input and returns one Tensor.
        example: an input, (N, ...), to follow dependencies with: see `trace_channels`. None suits models of this package.
        strict: whether a dead channel that cannot be taken out is an error. False leaves it in.

    Returns:
        A copy with smaller parameters and corrected `in_channels`, `out_channels`, `in_features`, `out_features`,
        `num_features`. In evaluation its outputs equal the model's up to rounding. In training they may not, if a constant
        channel passed through batch normalisation, whose statistics are then the batch's own.

    Raises:
        ValueError: strict, and a dead channel is used in a way that this cannot follow, such as a transpose; or the model
            cannot take the example; or its forward depends on the old sizes, as `reshape(-1, 256)` does.

    Source:
        Dead neurons: Han et al., "Learning both weights and connections for efficient neural networks", 2015, section 3.5.
        Filters: Li et al., "Pruning filters for efficient ConvNets", 2017, section 3.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> model = LeNet()
        >>> model.conv2.weight.data[:12] = 0  # 12 of 16 filters
        >>> small = shrink(model)
        >>> small.conv2, small.fc1
        (Conv2d(6, 4, kernel_size=(5, 5), stride=(1, 1)), Linear(in_features=64, out_features=120, bias=True))
    """
    example = example_input(model) if example is None else np.asarray(example)
    smaller = copy.deepcopy(model)
    channels = trace_channels(smaller, example)
    removed = _dead(channels, channels.held)
    if strict:
        _check_nothing_stays(channels, removed)
    for layer in channels.layers:
        _cut_layer_(layer, removed)
    for part in channels.per_channel:
        _cut_per_channel_(part, removed)
    for module in smaller.modules():
        _correct_sizes_(module)
    _check_same_output(smaller, example, channels.output)
    return smaller


def _dead(channels: Channels, held: Array, read_constants: bool = True) -> Array:
    """Return bool (count,): the channels that nobody needs, not counting what other such channels need.

    held: bool (count,), channels that stay in any case.
    read_constants: whether a constant that cannot become a bias is needed by those who read it.
    """
    removed = np.zeros(channels.count, bool)
    while True:
        needed = channels.fixed | held
        for layer in channels.layers:
            read = layer.reads[~removed[layer.outputs]].any(axis=0)  # (C,), by rows that stay
            needed[layer.inputs[read & ~(layer.foldable if read_constants else layer.constant)]] = True
        for layer in channels.layers:
            if not needed[layer.outputs].any():  # a layer keeps one channel
                needed[layer.outputs[~removed[layer.outputs]][0]] = True
        if (removed == ~needed).all():
            return removed
        removed = ~needed


def _check_nothing_stays(channels: Channels, removed: Array) -> None:
    """Raise if a channel is dead but for an obstacle."""
    wanted = _dead(channels, np.zeros(channels.count, bool), read_constants=False)
    stuck = [i for i in np.flatnonzero(wanted & ~removed).tolist() if i in channels.obstacles]
    if stuck:
        makers = [layer for layer in channels.layers if stuck[0] in layer.outputs]
        name = f"channel {int(np.argmax(makers[0].outputs == stuck[0]))} of {makers[0].path}" if makers else "a channel"
        raise ValueError(
            f"shrink: {name} is dead but cannot be taken out: {channels.obstacles[stuck[0]]} "
            f"({len(stuck)} such channels; strict=False leaves them in the model)"
        )


def _cut_layer_(layer: Layer, removed: Array) -> None:
    """Take rows and columns out of a layer; what constant columns added goes into the bias."""
    module, rows, columns = layer.module, ~removed[layer.outputs], ~removed[layer.inputs]
    w: Parameter = module.weight
    b: Parameter | None = module.bias
    taken = w.data[rows][:, ~columns].astype(np.float64)
    gone = taken.reshape(*taken.shape[:2], int(np.prod(taken.shape[2:]))).sum(axis=2) @ layer.values[~columns]  # (F,)
    if b is not None:
        module.bias = Parameter((b.data[rows] + gone).astype(b.dtype), b.requires_grad)
    elif gone.any():
        module.bias = Parameter(gone.astype(w.dtype), w.requires_grad)
    module.weight = Parameter(w.data[rows][:, columns], w.requires_grad)


def _cut_per_channel_(part: PerChannel, removed: Array) -> None:
    """Take entries out of a batch normalisation, or of a convolution of each channel by itself."""
    keep = ~removed[part.channels]
    for name in ("weight", "bias", "running_mean", "running_var"):
        entry = vars(part.module).get(name)
        if isinstance(entry, Parameter):
            setattr(part.module, name, Parameter(entry.data[keep], entry.requires_grad))
        elif entry is not None:
            setattr(part.module, name, type(entry)(entry.data[keep]))


def _correct_sizes_(module: Module) -> None:
    """Set the sizes that a module states to those of its weight."""
    w, settings = vars(module).get("weight"), vars(module)
    if not isinstance(w, Parameter):
        return
    if settings.get("groups", 1) == settings.get("out_channels") and w.shape[1:2] == (1,):  # each channel by itself
        settings["groups"] = w.shape[0]
    inputs = w.shape[1] * settings.get("groups", 1) if w.ndim > 1 else w.shape[0]
    sizes = {"out_channels": w.shape[0], "in_channels": inputs, "out_features": w.shape[0], "in_features": inputs}
    for name, size in (sizes | {"num_features": w.shape[0]}).items():
        if name in settings:
            settings[name] = size


def _check_same_output(model: Module, example: Array, expected: Array) -> None:
    """Raise if the model computes something else than `expected`: its forward does not follow from its parameters."""
    why = "its forward depends on sizes that have changed; a reshape to a fixed number of features is the usual cause"
    try:
        with evaluating(model), no_grad():
            out = model(Tensor(example)).data
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"shrink: the smaller {type(model).__name__} does not run ({error}): {why}") from None
    tolerance = np.sqrt(np.finfo(expected.dtype).eps) * max(1.0, float(np.abs(expected).max(initial=0)))
    if out.shape != expected.shape or not np.allclose(out, expected, rtol=0, atol=tolerance, equal_nan=True):
        raise ValueError(f"shrink: the smaller {type(model).__name__} computes something else: {why}")
