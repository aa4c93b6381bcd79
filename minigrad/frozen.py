"""A model's forward pass as a list of steps: traced once for each shape of input, shortened, then replayed.

Modules ask the same questions for every batch: do the shapes fit, who listens, what mode is this? For small models the
answers cost as much as the arithmetic (LeNet, 64 images: a third of the time). A frozen model asks once:

1. *Trace*: the model runs on the first input of a shape, and the tape tells which ops made the output of it. What does not
   depend on the input is a constant from now on.
2. *Shorten*: steps that follow each other and have a kernel of their own together become one, as in
   `functional/peephole.py`.
3. *Check*: the steps must give what the model gives, to the bit, for inputs that were not traced.
4. *Replay*: the steps run one after the other, on arrays.

PyTorch's `torch.jit.trace` and `torch.jit.freeze` do the same, and have the same limit: Python's `if` is traced one way.
"""

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minigrad import ops, tape
from minigrad.functional import fusion
from minigrad.functional.peephole import pools_four
from minigrad.nn import Module
from minigrad.tape import Array
from minigrad.tensor import Tensor, apply, as_tensor

SEED = 271_828
"""Of the noise for the check: not one with which an input is likely to have been drawn."""

Source = int | float | Array | None
"""Where a step's argument comes from: that step (0: the model's input), a constant, or nowhere, if it is left out."""


@dataclass(frozen=True, eq=False)
class Step:
    """One op, or several that follow each other and run as one.

    Attributes:
        number: of its result.
        ops: as many as run as one, nearly always one.
        settings: of each of them.
        inputs: of the first; each of the others reads what the one before it made.
        shape: of the result.
    """

    number: int
    ops: tuple[type[ops.Op], ...]
    settings: tuple[dict[str, Any], ...]
    inputs: tuple[Source, ...]
    shape: tuple[int, ...]

    def __repr__(self) -> str:
        return f"{' + '.join(op.name for op in self.ops)} {self.shape}"


class Plan:
    """The steps for one shape of input, ready to run.

    Attributes:
        steps: what is done, to be read.
        calls: the same, to be run: a function, the places of its arguments, the place of its result, and those that no
            later step reads.
        values: what is in each place: results by their numbers (nothing yet), then constants.
    """

    def __init__(self, steps: list[Step]):
        self.steps = steps
        last = steps[-1].number if steps else 0
        self.values: list[Any] = [None] * (last + 1)
        read = {last}
        calls = []
        for step in reversed(steps):
            places = [source if isinstance(source, int) else self._keep(source) for source in step.inputs]
            unread = {source for source in step.inputs if isinstance(source, int)} - read
            read |= unread
            calls.append((_function(step), places, step.number, sorted(unread)))
        self.calls = calls[::-1]

    def _keep(self, constant: Source) -> int:
        self.values.append(constant)
        return len(self.values) - 1

    def run(self, x: Array) -> Array:
        """Run all steps on x and return what the last one gives."""
        values, result = self.values.copy(), 0
        values[0] = x
        for function, places, result, unread in self.calls:
            values[result] = function(*[values[place] for place in places])
            for place in unread:  # memory that is free now is the next step's, and still in the cache
                values[place] = None
        return values[result]


class Frozen(Module):
    """A model whose forward pass is replayed. See `freeze`."""

    def __init__(self, model: Module):
        self._model = copy.deepcopy(model).eval().__call__  # a method, so that this module has no parameters
        self._plans: dict[tuple[tuple[int, ...], np.dtype], Plan] = {}

    def forward(self, x: Any) -> Tensor:
        """Return what the model gives for x, without gradient."""
        array = np.asarray(x.data if isinstance(x, Tensor) else x)
        if tape.observers.get():  # `profile`, `detect_anomaly` and others want to see every op
            return self._eager(array)
        return Tensor(self._plan(array).run(array))

    def steps(self, x: Any) -> list[Step]:
        """Return the steps for inputs of x's shape and dtype."""
        return self._plan(as_tensor(x).data).steps

    def _eager(self, x: Array) -> Tensor:
        with tape.no_grad(), fusion(False):
            return self._model(Tensor(x))

    def _plan(self, x: Array) -> Plan:
        known = self._plans.get((x.shape, x.dtype))
        if known is not None:
            return known
        if x.dtype.kind != "f":
            raise TypeError(f"freeze: the input must be floating point to be traced, got {x.dtype}")
        settings = _Settings()
        source = Tensor(x, requires_grad=True)
        with tape.set_recording(True), fusion(False), tape.observing(settings):
            out = self._model(source)
        plan = Plan(_shorten(_trace(source, out, settings)))
        with np.errstate(all="ignore"):  # nobody asked for these values
            self._check(plan, x)
        self._plans[x.shape, x.dtype] = plan
        return plan

    def _check(self, plan: Plan, x: Array) -> None:
        """Compare with the model for noise, and for x moved towards 0: of that, a logarithm, say, is no NaN."""
        noise = np.random.default_rng(SEED).normal(size=x.shape)
        for other in (noise.astype(x.dtype), (x * np.exp(-np.abs(noise))).astype(x.dtype)):
            try:  # the steps first: the model may write into its input, or into what they read
                found, expected = plan.run(other), self._eager(other.copy()).data
            except Exception as error:
                error.add_note("freeze: this was raised for random values, with which the steps are checked")
                raise
            if not np.array_equal(found, expected, equal_nan=True):
                raise ValueError(
                    "freeze: replayed with other values, the steps do not give what the model gives: its forward depends "
                    "on the values in a way that the tape does not see (an `if`, a comparison, `.data`, random numbers), "
                    "or writes into its input or its buffers"
                )

    def __repr__(self) -> str:
        lines = [f"Frozen: {len(self._plans)} shape{'s' * (len(self._plans) != 1)} of input traced"]
        for (shape, dtype), plan in self._plans.items():
            lines += [f"  {dtype} {shape}", *(f"  -> {step}" for step in plan.steps)]
        return "\n".join(lines)


def freeze(model: Module) -> Frozen:
    """Return a copy of a model, as it is in evaluation, whose forward pass is replayed without asking anything twice.

    It computes what the model computes, to the bit, and nothing else: no gradients, and no hooks (they are called when a
    shape is traced, and then no more). The first input of each shape and dtype takes longer: it is traced and checked. What
    becomes of the model afterwards does not change the copy. (Arrays that are not its own, such as globals, are not copied.)

    Args:
        model: takes one floating-point array and returns one tensor.

    Raises:
        TypeError: this is not a Module.
        TypeError, ValueError: at the first input, if the model cannot be replayed.

    Example:
        >>> from minigrad import nn
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU())
        >>> frozen = freeze(model)
        >>> x = np.ones((5, 1, 2, 2), np.float32)
        >>> bool((frozen(x).data == model(x).data).all())
        True
        >>> frozen
        Frozen: 1 shape of input traced
          float32 (5, 1, 2, 2)
          -> reshape (5, 4)
          -> linear + relu (5, 3)
    """
    if not isinstance(model, Module):
        raise TypeError(f"freeze: expected a Module, got {type(model).__name__}")
    return Frozen(model)


class _Settings(tape.Observer, dict[ops.Op, dict[str, Any]]):
    """Op → the settings it ran with, which the tape does not keep."""

    def forward(self, op: ops.Op, arrays: list[Any], settings: dict[str, Any], out: Array, seconds: float) -> None:
        self[op] = settings


def _trace(source: Tensor, out: Any, settings: _Settings) -> list[Step]:
    """Return the ops between source and out, each after those whose results it reads."""
    nodes = tape.topological_order(out) if isinstance(out, Tensor) else []
    if source not in set(nodes):
        raise ValueError(
            f"freeze: the tape does not lead from what the model returned ({type(out).__name__}) back to its input; only "
            "one tensor that ops compute can be replayed: is there a tuple, `.data`, `no_grad` or a frozen part?"
        )
    numbers: dict[tape.Node, int] = {source: 0}
    steps: list[Step] = []
    for node in nodes:
        op = node.op
        if op is None or not any(isinstance(x, Tensor) and x in numbers for x in op.inputs):
            continue
        values = [float(x) if isinstance(x, int) else x for x in op.inputs]  # an integer would be a step's number
        inputs = tuple(numbers.get(x, x.data) if isinstance(x, Tensor) else x for x in values)
        numbers[node] = len(numbers)
        steps.append(Step(numbers[node], (type(op),), (settings[op],), inputs, node.data.shape))
    return steps


def _shorten(steps: list[Step]) -> list[Step]:
    """Return the steps with those put together for which there is one kernel."""
    readers = Counter(source for step in steps for source in step.inputs if isinstance(source, int))
    short: dict[int, Step] = {}
    for step in steps:
        source = step.inputs[0]
        first = short.get(source) if isinstance(source, int) and readers[source] == 1 else None
        if first is not None and _belong_together(first, step):
            del short[first.number]
            both = first.ops + step.ops, first.settings + step.settings
            step = Step(step.number, *both, first.inputs, step.shape)
        short[step.number] = step
    return list(short.values())


def _belong_together(first: Step, second: Step) -> bool:
    """Return True for linear, ReLU; for a convolution, ReLU; and for these two and max-pooling."""
    (op, *rest), (then,) = first.ops, second.ops
    if then is ops.Relu and not rest:
        return op is ops.Linear or hasattr(op, "relu_max_pool2d")
    return then is ops.MaxPool2d and rest == [ops.Relu] and pools_four(**second.settings[0])


def _function(step: Step) -> Callable[..., Array]:
    """Return what computes a step's result of the arrays it reads."""
    op, *rest = step.ops
    if op is ops.Linear:
        return partial(_linear, bool(rest))
    if len(rest) == 2:
        pool = step.settings[2]
        pooled: Any = op
        return partial(
            _together, partial(pooled.relu_max_pool2d, **step.settings[0]), pool["kernel_size"], pool["stride"]
        )
    return partial(_one_by_one, list(zip(step.ops, step.settings, strict=True)))


def _linear(rectify: bool, x: Array, w: Array, b: Array | None = None) -> Array:
    return ops.Linear.product(x, np.ascontiguousarray(w), b, rectify)


def _together(relu_max_pool2d: Callable[..., Array], window: Any, stride: Any, *arrays: Array | None) -> Array:
    return relu_max_pool2d(arrays if len(arrays) == 3 else (*arrays, None), window, stride)


def _one_by_one(chain: list[tuple[type[ops.Op], dict[str, Any]]], *arrays: Any) -> Array:
    for op, settings in chain:
        arrays = (apply(op, *arrays, **settings).data,)
    return arrays[0]
