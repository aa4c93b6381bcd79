"""Choose each layer's format by its time on this machine: dense where dense is faster."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.ops.layout import innermost, outermost
from minigrad.tensor import Array

from .convert import CONVERTERS, to_sparse
from .formats import check_format, encode
from .timing import Clock, Laps, race

PLANNED = ("csr", "bitmask", "block")
"""Formats with kernels of their own: "csr8" computes as CSR, and "csr16" by the same kernel."""

CLEARLY = 0.04
"""A layer's fastest format must be faster than dense by this share: less can be chance, and is gone in the next run."""

TIE = 0.02
"""Of formats whose times differ by less, the smallest is taken. A model that gains less as a whole is not worth its plan."""


@dataclass(frozen=True)
class LayerPlan:
    """What the planner found out about a layer.

    Attributes:
        name: in the model.
        shape: of its weight as a matrix, (rows, columns).
        sparsity: share of the weight that is zero.
        seconds: "dense" and each format → seconds of the layer, with what follows it until the next one begins.
        choice: one of these.
        reason: a sentence.
    """

    name: str
    shape: tuple[int, int]
    sparsity: float
    seconds: dict[str, float]
    choice: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """A format for each layer, and why; printing it gives the table and the sentences.

    Attributes:
        batch: for how many images.
        layers: in the model's order.
        dense_seconds, planned_seconds: of the whole model, all dense and as planned, in turns.
        settled: False if the times still varied when the planner stopped measuring.
    """

    batch: int
    layers: tuple[LayerPlan, ...]
    dense_seconds: float
    planned_seconds: float
    settled: bool

    @property
    def choices(self) -> dict[str, str]:
        """Layer → format; "dense" among them."""
        return {layer.name: layer.choice for layer in self.layers}

    def apply(self, model: nn.Module) -> nn.Module:
        """Return a copy of the model with its layers as planned: `to_sparse(model, plan.choices)`."""
        return to_sparse(model, self.choices)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        return asdict(self) | {"layers": [asdict(layer) | {"shape": list(layer.shape)} for layer in self.layers]}

    def __str__(self) -> str:
        from ..report import align  # which is built on this package

        formats = list(self.layers[0].seconds) if self.layers else []
        rows = [["layer", "weight", "zeros %", *(f"{name} µs" for name in formats), "choice"]]
        for layer in self.layers:
            times = [f"{1e6 * layer.seconds[name]:.1f}" for name in formats]
            shape = f"{layer.shape[0]}×{layer.shape[1]}"
            rows.append([layer.name, shape, f"{100 * layer.sparsity:.1f}", *times, layer.choice])
        whole = (
            f"The whole model, batch {self.batch}: {1e6 * self.planned_seconds:.0f} µs as planned, "
            f"{1e6 * self.dense_seconds:.0f} µs dense, ratio {self.planned_seconds / self.dense_seconds:.2f}."
        )
        return "\n".join([align(rows), "", *(f"{layer.reason}." for layer in self.layers), whole])


def plan(
    model: nn.Module,
    x: Array,
    formats: Sequence[str] = PLANNED,
    seconds: float = 1.0,
    clock: Clock = perf_counter,
) -> Plan:
    """Measure every layer of a model dense and in each format, and choose the fastest.

    The model runs whole, as `evaluate` runs it, so that each layer is timed in its place: with the layout of its input,
    and, where a convolution runs as one with its ReLU and pooling, with these. In the end the whole model must be faster
    than the dense one; layers whose gain does not show there are dense again, the smallest gain first.

    Args:
        model: pruned and dense; it stays as it is. The layers in question are those that `to_sparse` converts.
        x: an input, (N, ...): times are for its N.
        formats: names in `FORMATS`.
        seconds: to measure the layers for; about half as much goes to the whole model.
        clock: returns the time in seconds.

    Raises:
        ValueError: formats names none, or one that there is not; or a format does not suffice for a layer.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> found = plan(LeNet(), np.zeros((8, 1, 28, 28), np.float32), seconds=0)
        >>> list(found.choices)
        ['conv1', 'conv2', 'fc1', 'fc2', 'fc3']
        >>> found.apply(LeNet())(np.zeros((8, 1, 28, 28), np.float32)).shape
        (8, 10)
    """
    x = _as_loaded(x)
    measured, settled = measure_layers(model, x, formats, seconds, clock)
    weights = {name: _matrix(module) for name, module in model.named_modules() if name in measured}
    choices = {name: choose(times, weights[name]) for name, times in measured.items()}
    reasons = {name: explain(name, choices[name], times, weights[name], len(x)) for name, times in measured.items()}
    while True:
        whole = measure_whole({"dense": model, "planned": to_sparse(model, choices)}, x, seconds / 2, clock)
        sparse = [name for name, choice in choices.items() if choice != "dense"]
        if not sparse or whole["planned"] <= (1 - TIE) * whole["dense"]:
            break
        weakest = min(sparse, key=lambda name: measured[name]["dense"] - measured[name][choices[name]])
        reasons[weakest] += ", but the whole model did not gain by it: kept dense"
        choices[weakest] = "dense"
    layers = (
        LayerPlan(name, weights[name].shape, _zeros(weights[name]), times, choices[name], reasons[name])
        for name, times in measured.items()
    )
    planned = whole["planned"] if sparse else whole["dense"]  # all dense: the same model
    return Plan(len(x), tuple(layers), whole["dense"], planned, settled)


def measure_layers(
    model: nn.Module, x: Array, formats: Sequence[str], seconds: float, clock: Clock = perf_counter
) -> tuple[dict[str, dict[str, float]], bool]:
    """Return layer → format → seconds, "dense" being the first format; and whether the times settled."""
    if not formats:
        raise ValueError("plan: formats is empty; name at least one to compare with dense")
    for name in formats:
        check_format("plan", name)
    layers = [name for name, module in model.named_modules() if type(module) in CONVERTERS]
    laps = {name: Laps(to_sparse(model, name), layers, x, clock) for name in ("dense", *formats)}
    found = race(laps, seconds=seconds, clock=clock)
    times = {layer: {name: float(found.seconds[name][place]) for name in laps} for place, layer in enumerate(layers)}
    return times, found.settled


def measure_whole(
    models: Mapping[str, nn.Module], x: Array, seconds: float, clock: Clock = perf_counter
) -> dict[str, float]:
    """Return the seconds of each model on x, in turns, without gradients."""
    runs = {name: Laps(to_sparse(model, "dense"), [], x, clock) for name, model in models.items()}
    return {name: float(times.sum()) for name, times in race(runs, seconds=seconds, clock=clock).seconds.items()}


def compare_forced(
    model: nn.Module, found: Plan, x: Array, seconds: float = 1.0, clock: Clock = perf_counter
) -> dict[str, float]:
    """Measure a plan anew: return the seconds of the whole model dense, with each format forced on all layers, as planned."""
    formats = list(found.layers[0].seconds) if found.layers else ["dense"]
    models = {name: to_sparse(model, name) for name in formats}
    return measure_whole(models | {"planned": found.apply(model)}, _as_loaded(x), seconds, clock)


def choose(seconds: Mapping[str, float], weight: Array) -> str:
    """Return the fastest format, or "dense" where none is clearly faster.

    Example:
        >>> choose({"dense": 10e-6, "csr": 9e-6, "bitmask": 9.1e-6}, np.eye(64, dtype=np.float32))
        'bitmask'
        >>> choose({"dense": 10e-6, "csr": 9.7e-6}, np.eye(64, dtype=np.float32))
        'dense'
    """
    sparse = {name: time for name, time in seconds.items() if name != "dense"}
    fastest = min(sparse.values())
    if fastest > (1 - CLEARLY) * seconds["dense"]:
        return "dense"
    near = [name for name, time in sparse.items() if time <= (1 + TIE) * fastest]
    return min(near, key=lambda name: encode(weight, name).nbytes)


def explain(name: str, choice: str, seconds: Mapping[str, float], weight: Array, batch: int) -> str:
    """Say why a layer has its format, without a full stop."""
    dense, (rival, time) = seconds["dense"], min(list(seconds.items())[1:], key=lambda item: item[1])
    head = f"{name} at {_zeros(weight):.2f}, batch {batch}: "
    if choice != "dense":
        return head + f"{choice} is faster ({1e6 * seconds[choice]:.1f} µs, dense {1e6 * dense:.1f} µs), made {choice}"
    times = f"({1e6 * dense:.1f} µs, {rival} {1e6 * time:.1f} µs), kept dense"
    return head + ("dense is faster " if dense <= time else "no format is clearly faster than dense ") + times


def _zeros(weight: Array) -> float:
    return 1 - np.count_nonzero(weight) / max(weight.size, 1)


def _matrix(layer: Any) -> Array:
    """Return a layer's weight as a matrix, (rows, columns)."""
    return layer.weight.data.reshape(len(layer.weight), -1)


def _as_loaded(x: Array) -> Array:
    """Return a batch laid out as `DataLoader` does."""
    return outermost(innermost(np.asarray(x)))
