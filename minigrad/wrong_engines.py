"""Five ways to get `backward` wrong, each with the smallest input that shows it.

Every engine walks minigrad's own tape and leaves gradients in `.grad`, at the tensors in between as well. Each gives the
right gradients for many inputs, which is what makes its mistake easy to miss. The right engine is `Tensor.backward`.

Example:
    >>> for engine in WRONG_ENGINES.values():
    ...     print(engine)
    without_order: after a = 1; b = a + a; c = b + b, a.grad is 6.0; right is 4.0
    assigning: after a = 1; b = a + a, a.grad is 1.0; right is 2.0
    without_unbroadcast: after a = [1]; b = sum(a + [1, 1]), a.grad is [1.0, 1.0]; right is [2.0]
    stale_interior: after a = 1; b = 2 * a; c = 2 * b; backward twice, a.grad is 12.0; right is 8.0
    recursive: after a = 1; b = a + 1 + 1 + ..., as often as Python may recurse, RecursionError; right is 1.0
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tape import Array, Node, input_gradients, topological_order
from minigrad.tensor import Tensor

Example = Callable[[], tuple[Tensor, Tensor]]
"""Builds a graph: returns the tensor whose gradient is looked at, and the result that backward starts from."""


def without_order(root: Tensor) -> None:
    """Pass a gradient on as soon as it arrives, by recursion.

    Wrong: a tensor with two users passes on what the first one gave, and then the sum of both: the first share twice.
    It has to wait for all its users, which is what the topological order is for.
    """
    _forget_interior(root)
    root.grad = np.ones_like(root.data)

    def visit(node: Node) -> None:
        if node.op is not None and node.grad is not None:
            for x, g in input_gradients(node.op, node.grad):
                _add(x, g)
                visit(x)

    visit(root)


def assigning(root: Tensor) -> None:
    """Go in topological order, and write `x.grad = g` where `x.grad += g` is meant.

    Wrong: of a tensor that is used twice, only the share of one use is left.
    """
    _forget_interior(root)
    root.grad = np.ones_like(root.data)
    for node in reversed(topological_order(root)):
        if node.op is not None and node.grad is not None:
            for x, g in input_gradients(node.op, node.grad):
                x.grad = g


def without_unbroadcast(root: Tensor) -> None:
    """Use each op's VJP as it is, without summing over the axes along which an argument was broadcast.

    Wrong: a value that was used once for every row has a gradient for every row; its own is their sum.
    """
    _forget_interior(root)
    root.grad = np.ones_like(root.data)
    for node in reversed(topological_order(root)):
        if node.op is not None:
            for position, x in enumerate(node.op.inputs):
                vjp = node.op.vjps[position]
                if isinstance(x, Node) and x.requires_grad and vjp is not None:
                    _add(x, vjp(node.op, node.grad))


def stale_interior(root: Tensor) -> None:
    """Keep gradients at the tensors in between from one backward to the next.

    Wrong: leaves are meant to add up over several calls. The tensors in between add up too, and pass on what they
    passed on before once more: the second call gives neither one gradient nor two.
    """
    root.grad = np.ones_like(root.data)
    for node in reversed(topological_order(root)):
        if node.op is not None and node.grad is not None:
            for x, g in input_gradients(node.op, node.grad):
                _add(x, g)


def recursive(root: Tensor) -> None:
    """List the tensors by recursion, as a textbook does.

    Right, and yet: each step down the graph is a Python call inside a call, and Python allows about 1,000 of them. A
    loop that adds up 1,000 terms makes a graph as deep as that.
    """
    _forget_interior(root)
    root.grad = np.ones_like(root.data)
    order: list[Node] = []
    seen: set[int] = set()

    def list_inputs_first(node: Node) -> None:
        if id(node) not in seen:
            seen.add(id(node))
            for x in node.op.inputs if node.op is not None else ():
                if isinstance(x, Node) and x.requires_grad:
                    list_inputs_first(x)
            order.append(node)

    list_inputs_first(root)
    for node in reversed(order):
        if node.op is not None and node.grad is not None:
            for x, g in input_gradients(node.op, node.grad):
                _add(x, g)


def _forget_interior(root: Tensor) -> None:
    """Drop the gradients that an earlier backward left between the leaves and root."""
    for node in topological_order(root):
        if node.op is not None:
            node.grad = None


def _add(x: Node, g: Array) -> None:
    x.grad = g if x.grad is None else np.asarray(x.grad + g)


def diamond() -> tuple[Tensor, Tensor]:
    """a = 1; b = a + a; c = b + b"""
    a = Tensor(1.0, requires_grad=True)
    b = a + a
    return a, b + b


def twice() -> tuple[Tensor, Tensor]:
    """a = 1; b = a + a"""
    a = Tensor(1.0, requires_grad=True)
    return a, a + a


def once() -> tuple[Tensor, Tensor]:
    """a = 1; b = 2 * a"""
    a = Tensor(1.0, requires_grad=True)
    return a, 2 * a


def chain() -> tuple[Tensor, Tensor]:
    """a = 1; b = 2 * a; c = 2 * b"""
    a = Tensor(1.0, requires_grad=True)
    b = 2 * a
    return a, 2 * b


def broadcast() -> tuple[Tensor, Tensor]:
    """a = [1]; b = sum(a + [1, 1])"""
    a = Tensor([1.0], requires_grad=True)
    return a, (a + np.ones(2)).sum()


def same_shapes() -> tuple[Tensor, Tensor]:
    """a = [1, 1]; b = sum(a + [1, 1])"""
    a = Tensor([1.0, 1.0], requires_grad=True)
    return a, (a + np.ones(2)).sum()


def deep() -> tuple[Tensor, Tensor]:
    """a = 1; b = a + 1 + 1 + ..., as often as Python may recurse"""
    a = b = Tensor(1.0, requires_grad=True)
    for _ in range(sys.getrecursionlimit()):
        b = b + 1
    return a, b


@dataclass(frozen=True)
class WrongEngine:
    """An engine, what exposes it, and what does not.

    Attributes:
        backward: the engine; called with the result of an example.
        exposing: builds the smallest example for which it is wrong; its docstring is the example's text.
        harmless: builds an example for which it is right.
        gives: the gradient that it gives for `exposing`, or the error that it raises.
        right: the right gradient.
        calls: how often backward is called before looking.
    """

    backward: Callable[[Tensor], None]
    exposing: Example
    harmless: Example
    gives: Any
    right: Any
    calls: int = 1

    @property
    def name(self) -> str:
        """Name in `WRONG_ENGINES`."""
        return self.backward.__name__

    def gradient(self, example: Example | None = None) -> Array | None:
        """Return the gradient that this engine gives for an example, by default the one that exposes it.

        Raises:
            RecursionError: from `recursive`, on its example.

        Example:
            >>> engine = WRONG_ENGINES["without_order"]
            >>> engine.gradient(), engine.right_gradient()
            (array(6.), array(4.))
            >>> engine.gradient(engine.harmless), engine.right_gradient(engine.harmless)
            (array(2.), array(2.))
        """
        return self._run(example or self.exposing, self.backward)

    def right_gradient(self, example: Example | None = None) -> Array | None:
        """Return the gradient that `Tensor.backward` gives for it."""
        return self._run(example or self.exposing, lambda result: result.backward(retain_graph=True))

    def _run(self, example: Example, backward: Callable[[Tensor], None]) -> Array | None:
        leaf, result = example()
        for _ in range(self.calls):
            backward(result)
        return leaf.grad

    def __str__(self) -> str:
        text = f"{self.exposing.__doc__}" + ("; backward twice" if self.calls == 2 else "")
        gives = self.gives.__name__ if isinstance(self.gives, type) else f"a.grad is {self.gives}"
        return f"{self.name}: after {text}, {gives}; right is {self.right}"


WRONG_ENGINES = {
    engine.name: engine
    for engine in (
        WrongEngine(without_order, exposing=diamond, harmless=twice, gives=6.0, right=4.0),
        WrongEngine(assigning, exposing=twice, harmless=chain, gives=1.0, right=2.0),
        WrongEngine(without_unbroadcast, exposing=broadcast, harmless=same_shapes, gives=[1.0, 1.0], right=[2.0]),
        WrongEngine(stale_interior, exposing=chain, harmless=once, gives=12.0, right=8.0, calls=2),
        WrongEngine(recursive, exposing=deep, harmless=diamond, gives=RecursionError, right=1.0),
    )
}
"""Every wrong engine by name."""
