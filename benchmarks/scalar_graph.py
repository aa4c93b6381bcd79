"""Time forward and backward through a chain of single numbers: what the tape itself costs.

10,000 nodes here and in PyTorch eager; 500 nodes here and in micrograd's algorithm, written down again below.
"""

from argparse import Namespace
from functools import partial

from common import check_same, main, make_parser, take_turns, use_threads


class Value:
    """A number that knows how to pass its gradient back.

    Source:
        The algorithm of A. Karpathy's micrograd: closures, and a recursive topological sort (hence 500 nodes: a chain of
        1,000 ends at Python's limit).
    """

    def __init__(self, data: float, parents: tuple = ()):
        self.data, self.grad, self.parents = data, 0.0, set(parents)
        self.pass_back = lambda: None

    def __add__(self, other: "Value | float") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def pass_back():
            self.grad += out.grad
            other.grad += out.grad

        out.pass_back = pass_back
        return out

    def __mul__(self, other: "Value | float") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def pass_back():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.pass_back = pass_back
        return out

    def backward(self) -> None:
        """Add the gradient of this number to the `grad` of all below it."""
        order, seen = [], set()

        def visit(value: Value) -> None:
            if value not in seen:
                seen.add(value)
                for parent in value.parents:
                    visit(parent)
                order.append(value)

        visit(self)
        self.grad = 1.0
        for value in reversed(order):
            value.pass_back()


def chain(leaf, nodes: int) -> list:
    """y = (y + a) * b, over and over: so many nodes. Return the last y and the gradients of x, a and b."""
    x, a, b = leaf(1.0), leaf(0.001), leaf(0.9995)
    y = x
    for _ in range(nodes // 2):
        y = (y + a) * b
    y.backward()
    return [y, x.grad, a.grad, b.grad]


def measure(options: Namespace) -> dict:
    import torch

    from minigrad import Tensor

    use_threads(options.threads)

    def ours(nodes: int) -> list[float]:
        return [v.item() for v in chain(lambda v: Tensor(v, requires_grad=True), nodes)]

    def pytorch(nodes: int) -> list[float]:
        return [v.item() for v in chain(lambda v: torch.tensor(v, dtype=torch.float64, requires_grad=True), nodes)]

    def micrograd(nodes: int) -> list[float]:
        y, *gradients = chain(Value, nodes)
        return [y.data, *gradients]

    seconds = {}
    for key, theirs, nodes, calls in (("scalar_10000", pytorch, 10_000, 1), ("scalar_500", micrograd, 500, 50)):
        check_same(f"{nodes} nodes", ours(nodes), theirs(nodes), rtol=1e-9)
        seconds[key] = take_turns(partial(ours, nodes), partial(theirs, nodes), options.rounds, calls)
    return seconds


if __name__ == "__main__":
    main(measure, make_parser(__doc__, rounds=15))
