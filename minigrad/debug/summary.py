"""A model, layer by layer: shapes, parameters, multiply-accumulates, memory."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import ops, tape
from minigrad.nn import Module
from minigrad.nn.module import Parameter
from minigrad.ops.cost import flops
from minigrad.tape import Array
from minigrad.tensor import Tensor
from minigrad.training import evaluating


@dataclass
class Layer:
    """One call of a module.

    Attributes:
        path: the module's name in the model, "" for the model itself.
        type: the module's class.
        output_shape: None if the module was not called, or returned something else than a Tensor.
        parameters: number of elements of the module's own parameters; in a second call 0, so that they add up.
        macs: multiply-accumulates of the ops that ran in it, but not in a module within it. Biases are not counted.
        activation_bytes: bytes of those ops' results. A result that is a view takes none.
    """

    path: str
    type: str
    output_shape: tuple[int, ...] | None = None
    parameters: int = 0
    macs: int = 0
    activation_bytes: int = 0


@dataclass(frozen=True)
class Summary:
    """What `summary` found; printing it gives the table.

    Attributes:
        layers: in the order of their calls, the model itself first.
    """

    layers: list[Layer]

    @property
    def parameters(self) -> int:
        """Elements of all parameters."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward of the whole batch."""
        return sum(layer.macs for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all results of one forward."""
        return sum(layer.activation_bytes for layer in self.layers)

    def __str__(self) -> str:
        head = ("layer", "type", "output shape", "parameters", "multiply-accumulates", "activation bytes")
        shapes = ["-" if layer.output_shape is None else str(layer.output_shape) for layer in self.layers]
        rows = [(r.path or "(itself)", r.type, s, *_counts(r)) for r, s in zip(self.layers, shapes, strict=True)]
        table = [head, *rows, ("total", "", "", *_counts(self))]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for row in table:
            texts = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
            numbers = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join(texts + numbers))
        return "\n".join(lines)


def summary(model: Module, input_shape: tuple[int, ...]) -> Summary:
    """Run a model on zeros, in evaluation and without gradients, and tell what each layer made of them.

    What a model computes outside of its layers, such as `F.relu`, stands in the row of the module whose `forward` calls
    it. The model and its modes stay as they were.

    Args:
        model: takes one input of the dtype of its parameters (float32 if it has none).
        input_shape: shape of that input, the batch first.

    Returns:
        A `Summary`: print it, or read its figures. They are for the whole batch.

    Raises:
        ValueError: input_shape is no shape, or the model cannot take it.

    Example:
        >>> from minigrad import nn
        >>> print(summary(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (2, 4)))
        layer     type        output shape  parameters  multiply-accumulates  activation bytes
        (itself)  Sequential  (2, 3)                 0                     0                 0
        0         Linear      (2, 3)                15                    24                24
        1         ReLU        (2, 3)                 0                     0                24
        total                                       15                    24                48
    """
    if not isinstance(input_shape, tuple) or not input_shape or not all(_is_size(n) for n in input_shape):
        raise ValueError(
            f"summary: input_shape must be a tuple of sizes with the batch first, such as (1, 1, 28, 28); got {input_shape}"
        )
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    recorder = _Recorder(model)
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(recorder.enter))
            stack.callback(module.register_forward_hook(recorder.leave))
        for block in (evaluating(model), tape.no_grad(), tape.observing(recorder)):
            stack.enter_context(block)
        try:
            model(Tensor(np.zeros(input_shape, dtype)))
        except (ValueError, TypeError, IndexError) as error:
            where = recorder.running[-1].path if recorder.running else ""
            raise ValueError(
                f"summary: {type(model).__name__} cannot take an input of shape {input_shape}: "
                f"{'in ' + where + ', ' if where else ''}{error}"
            ) from error
    return Summary(recorder.layers + recorder.layers_not_called())


class _Recorder(tape.Observer):
    """Keeps a `Layer` for every call of a module, and gives each op to the innermost call that is running."""

    def __init__(self, model: Module):
        self.paths = {id(module): (path, module) for path, module in model.named_modules()}
        self.layers: list[Layer] = []
        self.running: list[Layer] = []
        self.counted: set[int] = set()

    def enter(self, module: Module, inputs: tuple[Any, ...]) -> None:
        self.running.append(self._layer(module))
        self.layers.append(self.running[-1])

    def leave(self, module: Module, inputs: tuple[Any, ...], out: Any) -> None:
        layer = self.running.pop()
        layer.output_shape = out.shape if isinstance(out, Tensor) else None

    def forward(self, op: ops.Op, arrays: list[Any], settings: dict[str, Any], out: Array, seconds: float) -> None:
        layer = self.running[-1]
        if op.products:
            layer.macs += flops(type(op), arrays, out, settings) // 2
        if not any(np.may_share_memory(out, x) for x in arrays if isinstance(x, np.ndarray)):
            layer.activation_bytes += out.nbytes

    def layers_not_called(self) -> list[Layer]:
        """Return a row for each module whose parameters nobody has counted yet."""
        return [layer for _, module in self.paths.values() if (layer := self._layer(module)).parameters]

    def _layer(self, module: Module) -> Layer:
        own = {id(p): p.size for p in vars(module).values() if isinstance(p, Parameter) and id(p) not in self.counted}
        self.counted |= own.keys()
        return Layer(self.paths[id(module)][0], type(module).__name__, parameters=sum(own.values()))


def _is_size(n: Any) -> bool:
    return isinstance(n, int | np.integer) and bool(n > 0)


def _counts(row: Layer | Summary) -> tuple[str, str, str]:
    return f"{row.parameters:,}", f"{row.macs:,}", f"{row.activation_bytes:,}"
