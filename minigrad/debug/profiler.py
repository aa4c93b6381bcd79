"""Where the time goes, op by op, against what the machine can do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from minigrad import ops, tape
from minigrad.ops.cost import flops
from minigrad.tape import Array


@dataclass
class Row:
    """What all uses of one op took.

    Attributes:
        calls: number of forwards.
        forward_seconds, backward_seconds: time in the op itself.
        forward_flops: floating-point operations by the op's cost formula (see `minigrad/ops/cost.py`).
        backward_flops: an estimate: each gradient counts as one forward, that of a bias as one addition for each element.
            0 where the forward ran outside of the block.
        forward_bytes: bytes of the arrays that go in and of the result. A result that is a view moves nothing.
        backward_bytes: for each gradient: its bytes, those of the result's gradient and of the op's other arrays.
    """

    calls: int = 0
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0
    forward_flops: int = 0
    backward_flops: int = 0
    forward_bytes: int = 0
    backward_bytes: int = 0

    @property
    def seconds(self) -> float:
        """Forward and backward."""
        return self.forward_seconds + self.backward_seconds

    @property
    def flops(self) -> int:
        """Forward and backward."""
        return self.forward_flops + self.backward_flops

    @property
    def bytes(self) -> int:
        """Forward and backward."""
        return self.forward_bytes + self.backward_bytes


@dataclass(frozen=True)
class Peak:
    """What this machine does at best: float32 operations, and bytes read or written, a second."""

    flops: float
    bytes: float


class Profile(tape.Observer):
    """The figures of one `profile()` block; printing it gives the table.

    Attributes:
        rows: a `Row` for each op, by name.
        seconds: time spent in the block, whatever it did.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.seconds = 0.0
        self._flops: WeakKeyDictionary[ops.Op, int] = WeakKeyDictionary()

    def forward(self, op: ops.Op, arrays: list[Any], settings: dict[str, Any], out: Array, seconds: float) -> None:
        """Add one use of an op."""
        row = self.rows.setdefault(op.name, Row())
        row.calls += 1
        row.forward_seconds += seconds
        self._flops[op] = flops(type(op), arrays, out, settings)
        row.forward_flops += self._flops[op]
        if not any(np.may_share_memory(out, x) for x in arrays if isinstance(x, np.ndarray)):
            row.forward_bytes += _bytes(arrays) + out.nbytes

    def backward(self, op: ops.Op, position: int, g: Array, gradient: Array, seconds: float) -> None:
        """Add one gradient."""
        row = self.rows.setdefault(op.name, Row())
        row.backward_seconds += seconds
        bias = op.products and gradient.ndim == 1
        row.backward_flops += g.size if bias else self._flops.get(op, 0)
        if not np.may_share_memory(g, gradient):
            others = [x.data if isinstance(x, tape.Node) else x for i, x in enumerate(op.inputs) if i != position]
            row.backward_bytes += g.nbytes + gradient.nbytes + (0 if bias else _bytes(others))

    def total(self) -> Row:
        """Return the sum of all rows."""
        return Row(**{f.name: sum(getattr(row, f.name) for row in self.rows.values()) for f in fields(Row)})

    def __str__(self) -> str:
        peak, total = machine_peak(), self.total()
        names = sorted(self.rows, key=lambda name: -self.rows[name].seconds)
        width = max(map(len, [*names, "total"]))
        head = ["calls", "forward ms", "backward ms", "MFLOP", "MB", "GFLOP/s", "of peak"]
        lines = [" " * width + "".join(f"{title:>12}" for title in head)]
        for name, row in [*((name, self.rows[name]) for name in names), ("total", total)]:
            figures = [row.forward_seconds * 1e3, row.backward_seconds * 1e3, row.flops / 1e6, row.bytes / 1e6]
            figures.append(row.flops / row.seconds / 1e9 if row.seconds else 0.0)
            share = f"{_share_of_peak(row, peak):.0%}"
            lines.append(f"{name:{width}}{row.calls:>12}" + "".join(f"{v:>12.3f}" for v in figures) + f"{share:>12}")
        lines += [
            f"The block took {self.seconds * 1e3:.3f} ms, its ops {total.seconds * 1e3:.3f} ms.",
            f"Peak of this machine: {peak.flops / 1e9:.0f} GFLOP/s (float32 matrix product), "
            f"{peak.bytes / 1e9:.0f} GB/s (copy in memory).",
            "Of peak: the time that operations or bytes, whichever takes longer, would need at the peak, over the time taken.",
            "It can be above 100 % where data stay in the cache.",
        ]
        return "\n".join(lines)


@contextmanager
def profile(show: bool = True) -> Iterator[Profile]:
    """Measure every op that this thread runs inside the block, forward and backward, and print a table at its end.

    Blocks nest: an op inside both is counted in both. Ops that other threads run are not seen. Kernels that compile for
    the first time are measured with it: run a step before.

    Args:
        show: False prints nothing.

    Yields:
        A `Profile`: print it for the table, most expensive op first, or read its `rows`. The machine's peak is measured
        when a table is printed for the first time, for about 0.1 s.

    Example:
        >>> from minigrad import Tensor
        >>> w = Tensor(np.ones((4, 3)), requires_grad=True)
        >>> with profile(show=False) as p:
        ...     ((np.ones((2, 4)) @ w) ** 2).sum().backward()
        >>> sorted(p.rows)
        ['matmul', 'power', 'sum']
        >>> p.rows["matmul"].forward_flops, p.rows["matmul"].backward_flops
        (48, 48)
        >>> print(p)  # doctest: +SKIP
    """
    measured, start = Profile(), perf_counter()
    try:
        with tape.observing(measured):
            yield measured
    finally:
        measured.seconds += perf_counter() - start
    if show:
        print(measured)


@cache
def machine_peak() -> Peak:
    """Measure, once, the machine's best rate of a matrix product (NumPy's BLAS, its threads as set) and of a copy."""
    n, megabytes = 512, 64
    x, y, out = np.ones((n, n), np.float32), np.ones((n, n), np.float32), np.empty((n, n), np.float32)
    source, target = np.ones(megabytes << 20, np.uint8), np.empty(megabytes << 20, np.uint8)
    product = _best_seconds(lambda: np.matmul(x, y, out=out))
    copy = _best_seconds(lambda: np.copyto(target, source))
    return Peak(flops=2 * n**3 / product, bytes=2 * source.nbytes / copy)


def _best_seconds(work: Callable[[], Any]) -> float:
    work()  # touches the memory for the first time, which takes far longer
    times, end = [], perf_counter() + 0.05
    while not times or perf_counter() < end:
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


def _share_of_peak(row: Row, peak: Peak) -> float:
    return max(row.flops / peak.flops, row.bytes / peak.bytes) / row.seconds if row.seconds else 0.0


def _bytes(arrays: list[Any]) -> int:
    return sum(np.asarray(x).nbytes for x in arrays if x is not None)
