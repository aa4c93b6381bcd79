"""The tape: how a result remembers what it was computed from, and how gradients walk back along those memories.

Each result keeps the op that made it, and the op keeps its inputs. `backward` visits them in reverse topological order,
so that a node passes its gradient on only when all its users have added their share.
"""

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from heapq import heappop, heappush, heappushpop
from time import perf_counter
from typing import Any

import numpy as np

from minigrad import ops

Array = np.ndarray

_recording: ContextVar[bool] = ContextVar("minigrad_recording", default=True)


def no_grad() -> AbstractContextManager[None]:
    """Compute without remembering: inside the block no result requires a gradient. Also works as a decorator.

    Example:
        >>> from minigrad import Tensor
        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> with no_grad():
        ...     print((w * 2).requires_grad)
        False
    """
    return set_recording(False)


@contextmanager
def set_recording(on: bool) -> Iterator[None]:
    """Switch recording on or off inside the block."""
    token = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(token)


recording = _recording.get
"""Return False inside a `no_grad` block."""


class Observer:
    """Sees each op that runs inside `with observing(observer):`. Subclasses override what they want to see."""

    def forward(self, op: ops.Op, arrays: list[Any], settings: dict[str, Any], out: Array, seconds: float) -> None:
        """`op` made `out` of `arrays` (None for an optional one that was left out)."""

    def backward(self, op: ops.Op, position: int, g: Array, gradient: Array, seconds: float) -> None:
        """`op` turned g, its result's gradient, into the gradient of `op.inputs[position]`."""


observers: ContextVar[tuple[Observer, ...]] = ContextVar("minigrad_observers", default=())


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Show every op of this thread to `observer`, forward and backward. Blocks nest: each observer sees all."""
    token = observers.set((*observers.get(), observer))
    try:
        yield
    finally:
        observers.reset(token)


class Node:
    """What the tape knows of a tensor.

    Attributes:
        values: what `data` is, or NumPy's number for a result without axes that nobody has looked at: NumPy takes longer to
            make an array of a number than to compute it.
        grad: after `backward`, the gradient of a leaf.
        requires_grad: True if a gradient flows here.
        op: the `Op` that computed the values, None for a leaf.
        written: time of the last in-place write, if there was one: `backward` refuses to use values that were written over.
    """

    __slots__ = ("__weakref__", "grad", "op", "requires_grad", "values", "written")

    values: Any
    grad: Array | None
    op: ops.Op | None
    requires_grad: bool
    written: int

    @property
    def data(self) -> Array:
        """The values, an ndarray."""
        if type(self.values) is not np.ndarray:
            self.values = np.asarray(self.values)
        return self.values

    @data.setter
    def data(self, values: Array) -> None:
        self.values = values


tick = itertools.count(1).__next__
"""Return the time: 1, 2, 3 ... Each op and each in-place write takes one, so that they can be put in order."""

_last_write = 0

FREED = (
    "backward: this graph was used by an earlier backward(), which freed what its ops had saved; "
    "call the first one as backward(retain_graph=True), or compute the result again"
)


def note_write(node: Node) -> None:
    """Note that the values of `node` were written in place, now."""
    global _last_write
    node.written = tick()
    _last_write = max(_last_write, node.written)


def backward(root: Node, gradient: Array, retain_graph: bool = False) -> None:
    """Add the gradients of all leaves below `root` to their `.grad`, given the gradient of root itself.

    Of the results that have a gradient, the youngest passes it on next. All that was computed from it is younger still, so
    each of its users has added its share: its gradient is complete. If anything fails, no `.grad` has changed.

    Raises:
        RuntimeError: part of the graph was freed by an earlier `backward`, or a value in it was written over.
    """
    pending, observed = {root: gradient}, observers.get()
    waiting: list[tuple[int, Node, ops.Op]] = []  # a heap of all but the one that was found last: a chain needs none
    found: tuple[int, Node, ops.Op] | None = None
    if root.op is not None:
        if root.op.released:
            raise RuntimeError(FREED)
        found = (-root.op.made, root, root.op)
    while found:
        _, node, op = found
        found = None
        g, vjps = pending.pop(node), op.vjps
        if _last_write > op.made:
            _check_not_written(op)
        # In a scalar graph each call costs, and so do enumerate and np.ndarray: this is `input_gradients` without what is
        # seldom needed.
        position = -1
        for x in op.inputs:
            position += 1
            if isinstance(x, Node) and x.requires_grad:
                vjp = vjps[position]
                if observed or vjp is None:
                    share = input_gradient(op, position, x, g)
                else:
                    share = vjp(op, g)
                    kind = type(share)
                    if kind is Array or kind is not type(x.values):  # a number of the right type fits as it is
                        share = _own(x, op.fit(position, share, x.values), g)
                if x in pending:
                    pending[x] = pending[x] + share
                else:
                    pending[x] = share
                    maker = x.op
                    if maker is not None:
                        made = maker.made
                        if not made:
                            raise RuntimeError(FREED)
                        if found:
                            heappush(waiting, found)
                        found = (-made, x, maker)
        if not retain_graph:
            node.op = op.spent
        if waiting:
            found = heappushpop(waiting, found) if found else heappop(waiting)
    for leaf, g in pending.items():
        accumulate(leaf, g)


def input_gradients(op: ops.Op, g: Array) -> list[tuple[Node, Array]]:
    """Return each input of the op that requires a gradient, with the gradient that g, the result's, gives it.

    Raises:
        RuntimeError: an input was written in place since forward.
    """
    _check_not_written(op)
    return [
        (x, input_gradient(op, position, x, g))
        for position, x in enumerate(op.inputs)
        if isinstance(x, Node) and x.requires_grad
    ]


def input_gradient(op: ops.Op, position: int, x: Node, g: Array) -> Array:
    """Return the gradient that g, the result's, gives to x, the op's input number `position`.

    Raises:
        RuntimeError: the op has no VJP for this argument.
    """
    vjp, observed = op.vjps[position], observers.get()
    if vjp is None:
        raise RuntimeError(f"{op.name}: argument {op.argument_name(position)!r} has no gradient")
    start = perf_counter() if observed else 0.0
    gradient = op.fit(position, vjp(op, g), x.values)
    if observed:
        seconds = perf_counter() - start
        for observer in observed:
            observer.backward(op, position, np.asarray(g), np.asarray(gradient), seconds)
    return _own(x, gradient, g)


def _check_not_written(op: ops.Op) -> None:
    for x in op.inputs:
        if isinstance(x, Node) and getattr(x, "written", 0) > op.made:
            raise RuntimeError(
                f"backward: {op.name} used a tensor of shape {x.data.shape} that was written in place afterwards; "
                "its gradients would be wrong: write into a copy instead"
            )


def _own(x: Node, gradient: Array, g: Array) -> Array:
    """Return a gradient of x, in memory of its own if x is a leaf, which may keep it: what an op passes on of g, whole or in
    part, may go to several inputs.
    """
    if x.op is not None or type(gradient) is not np.ndarray:  # a number cannot be written to
        return gradient
    shared = gradient is g or (gradient.base is not None and np.may_share_memory(gradient, g))
    return np.array(gradient) if shared else gradient


def accumulate(leaf: Node, g: Array) -> None:
    """Add g to the leaf's .grad, which keeps it if it is the first and can be written to."""
    if leaf.grad is not None:
        leaf.grad = np.asarray(leaf.grad + g)  # NumPy makes a number of two arrays without axes
    else:
        leaf.grad = g if isinstance(g, np.ndarray) and g.flags.writeable else np.array(g)


def topological_order(root: Node) -> list[Node]:
    """List `root` and every tensor it depends on through gradients, each after all that it was computed from.

    That is the order in which they were made, leaves first. Nothing here is recursive: a chain of any length fits.

    Raises:
        RuntimeError: part of the graph was freed by an earlier `backward`.
    """
    order, seen = [root], {root}
    for node in order:  # which grows meanwhile
        op = node.op
        if op is None:
            continue
        if op.released:
            raise RuntimeError(FREED)
        for x in op.inputs:
            if isinstance(x, Node) and x not in seen and x.requires_grad:
                seen.add(x)
                order.append(x)
    order.sort(key=lambda node: 0 if node.op is None else node.op.made)
    return order
