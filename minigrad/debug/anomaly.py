"""Stop where the first NaN or infinity appears."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad import ops, tape
from minigrad.errors import AnomalyError
from minigrad.tape import Array, Node


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Inside the block, stop at the first NaN or infinity that an op of this thread computes, forward or backward.

    Costs one more sweep over every result, so leave it off once the fault is found. Infinities that are meant, such as
    logits masked with -inf, stop it as well. NumPy's own warnings are off inside: the error tells more.

    Raises:
        AnomalyError: names the op, the direction, the place and the value, and whether the inputs were bad already.

    Example:
        >>> from minigrad import Tensor
        >>> with detect_anomaly():
        ...     Tensor([1.0, 0.0, 3.0]).log()
        Traceback (most recent call last):
        minigrad.errors.AnomalyError: log, forward: the result, shape (3,), has -inf at index (1,), the first of 1 value
        that is not finite; what came in was finite (x: (3,)). log is defined for x > 0
    """
    with np.errstate(all="ignore"), tape.observing(_Detector()):
        yield


class _Detector(tape.Observer):
    def forward(self, op: ops.Op, arrays: list[Any], settings: dict[str, Any], out: Array, seconds: float) -> None:
        if not _finite(out):
            raise AnomalyError(_sentence(op, "forward: the result", out, _named(op, arrays)))

    def backward(self, op: ops.Op, position: int, g: Array, gradient: Array, seconds: float) -> None:
        if not _finite(gradient):
            came_in = {"gradient of the result": g} | _named(op, op.inputs)
            what = f"backward: the gradient of {op.argument_name(position)}"
            raise AnomalyError(_sentence(op, what, gradient, came_in))


def _sentence(op: ops.Op, what: str, bad: Array, came_in: dict[str, Array]) -> str:
    count = int((~np.isfinite(bad)).sum())
    already = [f"{name} had {_first(x)} already" for name, x in came_in.items() if not _finite(x)]
    shapes = ", ".join(f"{name}: {x.shape}" for name, x in came_in.items())
    domain = "" if op.domain == "any" else f". {op.name} is defined for {op.domain}"
    return (
        f"{op.name}, {what}, shape {bad.shape}, has {_first(bad)}, the first of {count} "
        f"{'value that is' if count == 1 else 'values that are'} not finite; "
        f"{'; '.join(already) or 'what came in was finite'} ({shapes}){domain}"
    )


def _first(x: Array) -> str:
    """Say which is the first NaN or infinity, in C order, and where."""
    place = np.unravel_index(np.argmin(np.isfinite(x)), x.shape)
    return f"{x[place]} at index {tuple(int(i) for i in place)}"


def _finite(x: Array) -> bool:
    return x.dtype.kind not in "fc" or bool(np.isfinite(x).all())


def _named(op: ops.Op, inputs: Any) -> dict[str, Array]:
    """Give each array its argument's name."""
    values = {op.argument_name(i): x.data if isinstance(x, Node) else x for i, x in enumerate(inputs) if x is not None}
    return {name: np.asarray(x) for name, x in values.items()}
