"""Which channels of a model belong together: the model runs once on a small input, and the tape tells.

Every channel of every result gets a number. A convolution or linear layer makes new channels; what works channel by
channel (ReLU, pooling, batch normalisation) passes the numbers on; flattening repeats each number for every pixel; a
residual sum unites the numbers of its two sides, which can only be removed together. A channel is also *constant* if the
input cannot change it, because all weights that lead to it are zero.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.functional import fusion
from minigrad.nn import Module
from minigrad.nn.module import Parameter
from minigrad.ops.base import Op
from minigrad.tape import Array, Node, topological_order
from minigrad.tensor import Tensor
from minigrad.training import evaluating

CHANNELWISE = {
    "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "exp", "sqrt", "abs", "clip", "power", "watch",
    "add", "multiply", "divide", "maximum", "max_pool2d", "relu_max_pool2d", "avg_pool2d", "pad", "sum", "matmul",
}  # fmt: skip
"""Ops that never mix channels as long as the result's first two axes are their input's."""


@dataclass
class Layer:
    """A weight that makes new channels out of others: of a convolution or a linear layer.

    Attributes:
        path: the module's name in the model.
        module: owner of `weight` and `bias`.
        inputs: int (C,), the channel behind each column of the weight.
        outputs: int (F,), the channel that each row makes.
        reads: bool (F, C), whether any weight between them is not zero.
        constant: bool (C,), columns whose values the model's input cannot change.
        values: float64 (C,), what these hold.
        foldable: bool (C,), constant columns that a bias can stand in for: in an image, the same at every pixel, and
            zero if the convolution pads.
    """

    path: str
    module: Module
    inputs: Array
    outputs: Array
    reads: Array
    constant: Array
    values: Array
    foldable: Array


@dataclass
class PerChannel:
    """A module with an entry for each channel: batch normalisation, or a convolution of each channel by itself."""

    path: str
    module: Module
    channels: Array


@dataclass
class Channels:
    """What `trace_channels` found. Channels are named by int numbers; united ones by the same number.

    Attributes:
        count: numbers go from 0 to count - 1.
        layers, per_channel: the modules that have an entry for a channel, in the order of their calls.
        fixed: bool (count,), channels of the model's input and output, and those of which an unknown op makes use.
        held: bool (count,), channels that cannot be taken out, even if constant, from where an unknown op reads them.
        obstacles: channel → why it is held, or has to stay if it is constant.
        output: what the model made of the example, in evaluation.
    """

    count: int
    layers: list[Layer]
    per_channel: list[PerChannel]
    fixed: Array
    held: Array
    obstacles: dict[int, str]
    output: Array


def trace_channels(model: Module, example: Any = None) -> Channels:
    """Run the model once, in evaluation, and return its channels. The model stays as it is.

    Args:
        model: takes one input and returns one Tensor.
        example: an input, (N, ...); its values do not matter. None: two pictures of 28×28, or two rows of features if
            the model's first weight is a linear layer's.

    Raises:
        ValueError: the model cannot take the example, returns no Tensor, or has no weights.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> [(layer.path, len(layer.inputs), len(layer.outputs)) for layer in trace_channels(LeNet()).layers][:3]
        [('conv1', 1, 6), ('conv2', 6, 16), ('fc1', 256, 120)]
    """
    x = Tensor(np.array(example_input(model) if example is None else example), requires_grad=True)
    with evaluating(model), fusion(False):
        try:
            out = model(x)
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"trace_channels: {type(model).__name__} cannot take an example of shape {x.shape} ({error}); "
                "give one that it can take as `example`"
            ) from None
    if not isinstance(out, Tensor) or not out.requires_grad:
        raise ValueError(
            f"trace_channels: {type(model).__name__} returned {type(out).__name__}, "
            "expected one Tensor that was computed from its input"
        )
    return _Tracer(model).run(x, out)


def example_input(model: Module) -> Array:
    """Return an input for the usual models of this package: see `trace_channels`.

    Raises:
        ValueError: the model has no weights to tell from.
    """
    w = next((p for p in model.parameters() if p.ndim in (2, 4)), None)
    if w is None:
        raise ValueError(f"trace_channels: {type(model).__name__} has no weights; give an input as `example`")
    shape = (2, w.shape[1]) if w.ndim == 2 else (2, w.shape[1], 28, 28)
    return np.random.default_rng(0).normal(size=shape).astype(w.dtype)


@dataclass
class _Label:
    """What is known of a result: the channel at each place of axis 1, and whether it is constant.

    `blocked` has channels that went into an unknown op on the way here, and why they cannot go.
    """

    channels: Array
    constant: Array
    blocked: dict[int, str] = field(default_factory=dict)


@dataclass
class _Tracer:
    """Follows the tape from the input to the output."""

    model: Module
    parent: list[int] = field(default_factory=list)
    labels: dict[int, _Label] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    per_channel: list[PerChannel] = field(default_factory=list)
    fixed: list[Array] = field(default_factory=list)
    held: dict[int, str] = field(default_factory=dict)
    obstacles: dict[int, str] = field(default_factory=dict)

    def run(self, x: Tensor, out: Tensor) -> Channels:
        """Follow the tape from the input to the result."""
        self.owners = {
            id(part): (path, module, name)
            for path, module in self.model.named_modules()
            for name, part in vars(module).items()
            if isinstance(part, Parameter)
        }
        order = topological_order(out)
        used = [id(p) for node in order if node.op is not None for p in node.op.inputs if id(p) in self.owners]
        self.shared = {number for number in used if used.count(number) > 1}
        self.labels[id(x)] = self._new(x.shape[1] if x.ndim > 1 else 1)
        self.fixed.append(self.labels[id(x)].channels)
        for node in order:
            if node.op is not None:
                inputs = [t for t in node.op.inputs if isinstance(t, Node) and id(t) in self.labels]
                if inputs:
                    label = self.labels[id(node)] = self._follow(node.op, node, inputs)
                    blocked = {i: why for t in inputs for i, why in self.labels[id(t)].blocked.items()}
                    if node.op.name in (
                        "conv2d",
                        "linear",
                    ):  # a layer needs them; where only the output does, all is well
                        self.held |= blocked
                    else:
                        label.blocked |= blocked
        last = self.labels[id(out)]
        self.fixed += [last.channels, np.array(list(last.blocked), np.intp)]
        return self._result(out)

    def _result(self, out: Tensor) -> Channels:
        number = np.array([self._find(i) for i in range(len(self.parent))], np.intp)
        for layer in self.layers:
            layer.inputs, layer.outputs = number[layer.inputs], number[layer.outputs]
        for part in self.per_channel:
            part.channels = number[part.channels]
        fixed = np.zeros(len(number), bool)
        fixed[number[np.concatenate(self.fixed)]] = True
        held = np.zeros(len(number), bool)
        held[number[np.array(list(self.held), np.intp)]] = True
        obstacles = {int(number[i]): why for i, why in (self.obstacles | self.held).items()}
        return Channels(len(number), self.layers, self.per_channel, fixed, held, obstacles, out.data)

    def _follow(self, op: Op, node: Node, inputs: list[Node]) -> _Label:
        """Return the label of what `op` made of labelled `inputs`."""
        out, x = node.data, inputs[0]
        label = self.labels[id(x)]
        if op.name in ("conv2d", "linear") and inputs == [op.inputs[0]]:
            return self._weighted(op, x, out)
        if op.name == "batch_norm" and len(inputs) == 1:
            path, module, name = self.owners.get(id(op.inputs[1]), ("", self.model, ""))
            if name == "weight" and id(op.inputs[1]) not in self.shared:
                self.per_channel.append(PerChannel(path, module, label.channels))
                return _Label(label.channels, label.constant | (op.inputs[1].data == 0))
        if op.name == "reshape" and out.ndim > 1 and x.data.ndim > 1 and len(out) == len(x.data):
            pixels = out.shape[1] // x.data.shape[1]
            if out.shape[1] == x.data.shape[1] or out.ndim == 2:  # flattened: channel after channel
                return _Label(np.repeat(label.channels, pixels), np.repeat(label.constant, pixels))
        if op.name == "concatenate" and getattr(op, "axis", 0) % out.ndim == 1 and len(inputs) == len(op.inputs):
            parts = [self.labels[id(t)] for t in inputs]
            return _Label(np.concatenate([p.channels for p in parts]), np.concatenate([p.constant for p in parts]))
        if op.name in CHANNELWISE and self._keeps_channels(op, out, inputs):
            constant = label.constant
            for other in (self.labels[id(t)] for t in inputs[1:]):
                constant = constant & other.constant
                self._unite(label.channels, other.channels)
            return _Label(label.channels, constant)
        return self._unknown(op, node, inputs, f"{op.name} reads it, which is not known to keep channels apart")

    def _keeps_channels(self, op: Op, out: Array, inputs: list[Node]) -> bool:
        if any(t.data.ndim < 2 or t.data.shape[:2] != out.shape[:2] for t in inputs):
            return False
        others = [t for t in op.inputs if isinstance(t, Node) and id(t) not in self.labels]
        if op.name == "matmul":  # (N, C, H, W) @ (W, P): rows or columns of each image by themselves
            return out.ndim == 4 and len(others) == 1 and others[0].data.ndim == 2
        return all(t.data.size == 1 for t in others)  # a number, which treats all channels alike

    def _weighted(self, op: Op, x: Node, out: Array) -> _Label:
        """Follow a convolution or linear layer."""
        label, (w, b) = self.labels[id(x)], op.inputs[1:3]
        path, module, name = self.owners.get(id(w), ("", self.model, ""))
        bias_is_own = b is None or self.owners.get(id(b), ("", None, ""))[1:] == (module, "bias")
        groups = x.data.shape[1] // w.data.shape[1]
        if name != "weight" or not bias_is_own:
            return self._opaque(
                label, w.data, f"a {op.name} uses it whose weight or bias is not a layer's own parameter"
            )
        if id(w) in self.shared or (b is not None and id(b) in self.shared):
            return self._opaque(label, w.data, f"{path} uses it, which is called more than once")
        if groups > 1 and groups == len(w.data):  # each channel by itself
            self.per_channel.append(PerChannel(path, module, label.channels))
            return _Label(label.channels, label.constant | ~w.data.any(axis=(1, 2, 3)))
        if groups > 1:
            return self._opaque(label, w.data, f"{path} uses it, a convolution in {groups} groups")
        new = self._new(len(w.data))
        reads = (w.data != 0).reshape(*w.data.shape[:2], -1).any(axis=2)  # (F, C)
        new.constant = np.logical_not((reads & ~label.constant).any(axis=1))
        values = x.data.astype(np.float64).reshape(*x.data.shape[:2], -1)  # (N, C, pixels)
        foldable = label.constant & _can_be_bias(values, any(getattr(op, "padding", ())), x.data.dtype)
        for i in label.channels[label.constant & ~foldable]:
            self.obstacles[int(i)] = (
                f"{path} reads it, and what a constant adds at the border of a padded image no bias can stand in for"
            )
        self.layers.append(
            Layer(path, module, label.channels, new.channels, reads, label.constant, values.mean(axis=(0, 2)), foldable)
        )
        return new

    def _opaque(self, label: _Label, w: Array, why: str) -> _Label:
        """Hold the channels of a layer whose weight cannot be cut, on both sides."""
        new = self._new(len(w))
        new.constant = np.logical_not(w.reshape(len(w), -1).any(axis=1))
        for side in (label, new):
            self.fixed.append(side.channels[~side.constant])
            self.held |= dict.fromkeys(side.channels.tolist(), why)
        return new

    def _unknown(self, op: Op, node: Node, inputs: list[Node], why: str) -> _Label:
        """Hold all that goes into an op whose channels cannot be followed, and all that comes out."""
        new = self._new(node.data.shape[1] if node.data.ndim > 1 else 1)
        self.fixed.append(new.channels)
        for label in (self.labels[id(x)] for x in inputs):
            self.fixed.append(label.channels[~label.constant])
            blocked = dict.fromkeys(label.channels.tolist(), why)
            if any(id(p) in self.owners for p in op.inputs):
                self.held |= blocked
            else:
                new.blocked |= blocked
        return new

    def _new(self, size: int) -> _Label:
        start = len(self.parent)
        self.parent.extend(range(start, start + size))
        return _Label(np.arange(start, start + size), np.zeros(size, bool))

    def _find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def _unite(self, first: Array, second: Array) -> None:
        for i, j in zip(first, second, strict=True):
            a, b = self._find(int(i)), self._find(int(j))
            self.parent[max(a, b)] = min(a, b)


def _can_be_bias(values: Array, padded: bool, dtype: np.dtype) -> Array:
    """Return for each channel of (N, C, pixels) whether it is the same everywhere; if the image is padded, zero."""
    largest = np.abs(values).max(axis=(0, 2), initial=0)
    if padded:
        return largest == 0
    return np.ptp(values, axis=(0, 2)) <= 100 * np.finfo(dtype).eps * largest  # sums may be added in different orders
