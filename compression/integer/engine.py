"""Runs an integer model: chooses the kernel, and lets no array of floats in."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from .few import run_few
from .kernels import run_program
from .layers import (
    HIGH,
    LOW,
    IntegerFlatten,
    IntegerLayer,
    IntegerMaxPool2d,
    PoolingLayer,
    TensorInfo,
    WeightedLayer,
)
from .packed import run_packed
from .packing import PackedProgram, can_pack, can_take_few, make_few, make_packed
from .program import Program, make_program

Array = np.ndarray

LANES = 64
"""Images of a block, at most: their part of a row of int32 sums stays in the fastest cache."""

FEW = 16
"""Images up to which the kernel for a few images is faster than the packed one, which takes 32 as fast as 1."""

_plain: ContextVar[bool] = ContextVar("minigrad_plain_integer_kernel", default=False)


@dataclass(frozen=True)
class Stage:
    """A layer, and the max-pooling that is done on its sums.

    Attributes:
        layer: convolution, linear or pooling layer.
        pool: max-pooling after it, fused; or None.
        input_shape, output_shape: of an image, before the layer and after the pooling.
        low, high: what the output is clamped to.
    """

    layer: Any
    pool: IntegerMaxPool2d | None
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    low: int = LOW
    high: int = HIGH


@dataclass(frozen=True)
class Plan:
    """What is prepared once for a model.

    Attributes:
        program: tables for the plain kernel.
        packed: tables for the packed kernel; None where this CPU or that kernel cannot run the model.
        few: tables for the kernel for a few images; None likewise.
        output_shape: of an image.
        pixels, features: numbers of an image, and of its output.
    """

    program: Program
    packed: PackedProgram | None
    few: Array | None
    output_shape: tuple[int, ...]
    pixels: int
    features: int


def fuse(input: TensorInfo, layers: tuple[IntegerLayer, ...], shapes: tuple[tuple[int, ...], ...]) -> list[Stage]:
    """Put max-pooling together with the layer before it, where its windows do not overlap, and leave flattening out."""
    stages: list[Stage] = []
    before = (tuple(input.shape), *shapes)
    for layer, shape, out_shape in zip(layers, before, shapes, strict=False):
        if isinstance(layer, IntegerFlatten):
            continue
        last = stages[-1] if stages else None
        if isinstance(layer, IntegerMaxPool2d) and last and isinstance(last.layer, WeightedLayer) and not last.pool:
            apart = all(s >= k for s, k in zip(layer.stride, layer.kernel, strict=True))
            if apart and not any(layer.padding) and len(last.output_shape) == 3:
                low, high = (min(max(bound, layer.low), layer.high) for bound in (last.low, last.high))
                stages[-1] = Stage(last.layer, layer, last.input_shape, out_shape, low, high)
                continue
        if isinstance(layer, WeightedLayer | PoolingLayer):
            stages.append(Stage(layer, None, shape, out_shape, layer.low, layer.high))
    return stages


def prepare(
    input: TensorInfo, layers: tuple[IntegerLayer, ...], shapes: tuple[tuple[int, ...], ...], profile: str
) -> Plan:
    """Write a model down in the tables that the kernels read."""
    stages = fuse(input, layers, shapes)
    packed = make_packed(stages, profile) if can_pack(stages, profile) else None
    few = make_few(stages, profile) if can_take_few(stages) else None
    sizes = int(np.prod(input.shape)), int(np.prod(shapes[-1]))
    return Plan(make_program(stages, profile), packed, few, shapes[-1], *sizes)


def run(plan: Plan, images: Array, raw: bool) -> Array:
    """Take images through a model.

    Args:
        plan: of the model.
        images: uint8 (N, C, H, W).
        raw: whether to return the last layer's sums, int32, instead of the output, int8.

    Returns:
        int8 or int32 (N, ...).
    """
    count, plain = len(images), _plain.get()
    pixels = np.ascontiguousarray(images).reshape(count, plan.pixels)
    out = np.empty((count, plan.features), np.int32)
    if plan.packed is not None and count > FEW and not plain:
        call(run_packed, pixels, *plan.packed, raw, out)
    elif plan.few is not None and not plain:
        call(run_few, pixels, plan.few, raw, out)
    else:
        *tables, room = plan.program
        lanes = max(1, min(LANES, (count + 1) // 2))  # few images: a block for each of two threads
        call(run_program, pixels, *tables, lanes, room, raw, out)
    return (out if raw else out.astype(np.int8)).reshape(count, *plan.output_shape)


@contextmanager
def plain_kernel() -> Iterator[None]:
    """Use the plain kernel inside the `with` block, also where the CPU could do more; the results are the same.

    Example:
        >>> with plain_kernel():
        ...     print(_plain.get())
        True
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def call(kernel: Any, *arguments: Any) -> None:
    """Call a kernel with integers, and with nothing else.

    Raises:
        TypeError: an argument is a float or an array of them.
    """
    for argument in arguments:
        kind = argument.dtype.kind if isinstance(argument, np.ndarray | np.generic) else type(argument).__name__
        if kind not in ("i", "u", "b", "int", "bool"):
            raise TypeError(
                f"integer inference: {kernel.__name__} was given {_said(argument)}, where only integers may go"
            )
    kernel(*arguments)


def _said(argument: Any) -> str:
    if isinstance(argument, np.ndarray):
        return f"an array of {argument.dtype}"
    return f"a {type(argument).__name__}"
