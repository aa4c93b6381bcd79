"""backward(), one op at a time."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import ops, tape
from minigrad.tape import Array, Node
from minigrad.tensor import Tensor


@dataclass(frozen=True)
class Step:
    """One op, on the way back.

    Attributes:
        op: the op's name; "leaf" where the walk starts at a leaf.
        node: the tensor that the op had computed.
        incoming: gradient of that tensor, complete: all its users have added their share.
        outgoing: each input that requires a gradient, with the share that this op gives it.
        arguments: the op's names for those inputs.
        filled: leaves whose `.grad` was written in this step, since no other op will add to them.
    """

    op: str
    node: Node
    incoming: Array
    outgoing: list[tuple[Node, Array]]
    arguments: list[str]
    filled: list[Node]

    def __str__(self) -> str:
        lines = [f"{self.op} {self.node.data.shape}, incoming gradient {values_of(self.incoming)}"]
        for name, (x, gradient) in zip(self.arguments, self.outgoing, strict=True):
            lines.append(f"  to {name} {x.data.shape}: {values_of(gradient)}")
        lines += [f"  .grad of a leaf {leaf.data.shape} is now {values_of(leaf.grad)}" for leaf in self.filled]
        return "\n".join(lines)


def step_backward(tensor: Tensor, gradient: Any = None, retain_graph: bool = False) -> Iterator[Step]:
    """Do what `tensor.backward(gradient, retain_graph)` does, and stop after every op to show it.

    A leaf's `.grad` is written as soon as all its users were visited. Leaving the walk half-way frees nothing: the graph
    can be walked again, or given to `backward`. Gradients that leaves have until then stay, and would be added to: set
    them to None first.

    Args:
        tensor: where backward starts.
        gradient: the gradient of tensor itself; needed unless it has one element.
        retain_graph: keep what the ops saved also after the last step.

    Returns:
        An iterator of steps, the last op of forward first.

    Raises:
        RuntimeError: nothing here requires a gradient; or the graph was freed by an earlier `backward`.
        ValueError: gradient is missing or has another shape.

    Example:
        >>> a, b = Tensor([2.0], requires_grad=True), Tensor([5.0], requires_grad=True)
        >>> for step in step_backward((a + a) * b):
        ...     print(step)
        multiply (1,), incoming gradient [1.]
          to x (1,): [5.]
          to y (1,): [4.]
          .grad of a leaf (1,) is now [4.]
        add (1,), incoming gradient [5.]
          to x (1,): [5.]
          to y (1,): [5.]
          .grad of a leaf (1,) is now [10.]

    `add` gave `a` a share for each of its two uses: 5 + 5 = 10.
    """
    start = tensor._first_gradient(gradient)
    return _walk(tape.topological_order(tensor), start, retain_graph)


def _walk(order: list[Node], start: Array, retain_graph: bool) -> Iterator[Step]:
    root, used = order[-1], [(node, node.op) for node in order if node.op is not None]
    if root.op is None:
        tape.accumulate(root, start)
        yield Step("leaf", root, start, [], [], [root])
    pending = {id(root): start}
    uses_left = Counter(id(x) for _, op in used for x in op.inputs)
    for node in reversed(order):
        if node.op is None:
            continue
        incoming, filled = pending.pop(id(node)), []
        outgoing = [(x, np.asarray(gradient)) for x, gradient in tape.input_gradients(node.op, incoming)]
        for x, contribution in outgoing:
            before = pending.get(id(x))
            pending[id(x)] = contribution if before is None else np.asarray(before + contribution)
            uses_left[id(x)] -= 1
            if x.op is None and not uses_left[id(x)]:
                tape.accumulate(x, pending.pop(id(x)))
                filled.append(x)
        yield Step(node.op.name, node, incoming, outgoing, _argument_names(node.op), filled)
    if not retain_graph:
        for node, op in used:
            node.op = op.spent


def _argument_names(op: ops.Op) -> list[str]:
    """Return the names of the arguments to which a gradient flows: what `tape.input_gradients` yields, in its order."""
    return [op.argument_name(i) for i, x in enumerate(op.inputs) if isinstance(x, Node) and x.requires_grad]


def values_of(array: Array | None) -> str:
    """Show a few values as they are, and the range of many.

    Example:
        >>> values_of(np.array([1.0, 0.25])), values_of(np.arange(9.0))
        ('[1. 0.25]', 'from 0 to 8')
    """
    if array is None or array.size <= 6:
        return "None" if array is None else " ".join(np.array2string(array, precision=4).split())
    return f"from {array.min():.4g} to {array.max():.4g}"
