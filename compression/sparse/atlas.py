"""The sparse atlas: from how many zeros on is each format faster than a dense product, on this machine?"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np

from minigrad import kernels, nn
from minigrad.tensor import Array

from ..pruning import block_mask
from .formats import encode
from .planner import compare_forced, plan
from .timing import Clock, Contestant, Race, describe_machine, race, stopwatch

CONTESTANTS = {
    "numpy": "NumPy's dense product",
    "minigrad": "minigrad's dense product",
    "csr": "CSR, zeros anywhere",
    "bitmask": "bit mask, zeros anywhere",
    "block": "4×4 blocks, zeros in blocks",
    "channels": "NumPy's, whole rows and columns removed",
}
"""Name → what it is. At one sparsity all but the dense ones multiply by about as many weights."""

FORMATS = tuple(CONTESTANTS)[2:]
"""Those that get faster with the sparsity."""

BUSY = 0.2
"""Share of the CPU from which on other programs spoil the times: a kernel waits for the slowest of its threads."""


@dataclass(frozen=True)
class Grid:
    """What an atlas measures: every shape with every batch and sparsity.

    Attributes:
        shapes: of the weight matrix, (rows, columns).
        batches: columns of the dense matrix it is multiplied with: images.
        sparsities: increasing.
        seconds: points whose times did not settle are measured again until so much time is over.
    """

    shapes: tuple[tuple[int, int], ...] = ((120, 256), (1024, 1024), (4096, 1024))
    batches: tuple[int, ...] = (1, 64, 512)
    sparsities: tuple[float, ...] = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
    seconds: float = 120.0

    def __iter__(self) -> Iterator[tuple[tuple[int, int], int, float]]:
        """Yield each point's shape, batch and sparsity."""
        return product(self.shapes, self.batches, self.sparsities)


FULL = Grid()
QUICK = Grid(((120, 256), (1024, 1024)), (1, 64), (0.3, 0.5, 0.7, 0.8, 0.9), seconds=14.0)


@dataclass(frozen=True)
class Crossover:
    """Where a format becomes faster than NumPy's dense product, and stays so up to the highest sparsity measured.

    Attributes:
        shape, batch, format: whose.
        sparsity: interpolated; the lowest measured if it is faster from there on; None if it is slower at the highest.
    """

    shape: tuple[int, int]
    batch: int
    format: str
    sparsity: float | None


def measure_atlas(
    grid: Grid = QUICK,
    progress: Callable[[str], Any] | None = None,
    clock: Clock = perf_counter,
    seed: int = 0,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Time each format's product with a dense matrix, float32, beside the dense products.

    Weights are random. Bit mask and CSR have zeros anywhere; blocks have whole blocks of zeros; "channels" is a smaller
    dense matrix, of which as large a share of the rows as of the columns is gone, so that as many weights are left.

    Args:
        grid: what to measure.
        progress: called with the words for a point before it is measured.
        clock: returns the time in seconds.
        seed: of the weights.
        executor: measures the points; None: here. Workers that share a machine disturb each other: let each have its own,
            all alike.

    Returns:
        what JSON can hold: "machine", "grid", "points" (each with "shape", "batch", "sparsity", "seconds" by contestant,
        and "settled") and "crossovers", the fields of `Crossover`.

    Example:
        >>> small = Grid(((8, 16),), (4,), (0.5,), seconds=0)
        >>> list(measure_atlas(small)["points"][0]["seconds"])
        ['numpy', 'minigrad', 'csr', 'bitmask', 'block', 'channels']
    """
    machine, end, found, left = describe_machine(), clock() + grid.seconds, {}, list(grid)
    while left:
        begun = {} if executor is None else {p: executor.submit(_race, p, seed, clock) for p in left}
        for point in left:
            old = found.get(point)
            if old is not None and clock() >= end:
                break
            if progress is not None:
                (rows, columns), batch, sparsity = point
                progress(f"{rows}×{columns}, batch {batch}, {100 * sparsity:g} % zeros")
            new = begun[point].result() if begun else _race(point, seed, clock)
            if old is None or new.settled or _total(new) < _total(old):
                found[point] = new
        left = [point for point in left if not found[point].settled] if clock() < end else []
    points = [
        {"shape": list(shape), "batch": batch, "sparsity": sparsity}
        | {"seconds": {name: float(result.seconds[name].sum()) for name in CONTESTANTS}, "settled": result.settled}
        for (shape, batch, sparsity), result in found.items()
    ]
    return {
        "machine": machine,
        "grid": asdict(grid) | {"seed": seed, "dtype": "float32"},
        "points": points,
        "crossovers": [asdict(crossover) for crossover in find_crossovers(points)],
    }


def _race(point: tuple[tuple[int, int], int, float], seed: int, clock: Clock) -> Race:
    return race(*make_contestants(*point, seed, clock), seconds=0, clock=clock)


def _total(found: Race) -> float:
    return float(sum(times.sum() for times in found.seconds.values()))


def make_contestants(
    shape: tuple[int, int], batch: int, sparsity: float, seed: int = 0, clock: Clock = perf_counter
) -> tuple[dict[str, Contestant], dict[str, Contestant]]:
    """Return the products to time: those of our kernels, and NumPy's."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=shape).astype(np.float32)
    x = rng.normal(size=(shape[1], batch)).astype(np.float32)
    anywhere = np.where(rng.random(shape) < sparsity, np.float32(0), w)
    blocks = np.where(block_mask(rng.random(shape), sparsity), w, np.float32(0))
    left = np.sqrt(1 - sparsity)  # of the rows, and of the columns
    rows, columns = (max(1, round(left * size)) for size in shape)
    thin, thin_x = w[:rows, :columns].copy(), x[:columns].copy()
    out = np.empty((shape[0], batch), np.float32)
    csr, mask, block = encode(anywhere, "csr"), encode(anywhere, "bitmask"), encode(blocks, "block")
    ours = {
        "minigrad": lambda: kernels.matmul_rows(w, x, out),
        "csr": lambda: csr @ x,
        "bitmask": lambda: mask @ x,
        "block": lambda: block @ x,
    }
    numpys = {"numpy": lambda: w @ x, "channels": lambda: thin @ thin_x}
    first, second = ({name: stopwatch(work, clock) for name, work in team.items()} for team in (ours, numpys))
    return first, second


def _lines(points: Sequence[dict[str, Any]]) -> Iterator[tuple[tuple[int, int], int, list[dict[str, Any]]]]:
    """Yield each shape and batch with its points, in the order of their sparsities."""
    keys = dict.fromkeys((tuple(point["shape"]), point["batch"]) for point in points)
    for shape, batch in keys:
        own = [point for point in points if (tuple(point["shape"]), point["batch"]) == (shape, batch)]
        yield shape, batch, sorted(own, key=lambda point: point["sparsity"])


def find_crossovers(points: Sequence[dict[str, Any]]) -> list[Crossover]:
    """Return where each format crosses NumPy's dense product, for each shape and batch of an atlas's points."""
    found = []
    for shape, batch, line in _lines(points):
        sparsities = [point["sparsity"] for point in line]
        for name in FORMATS:
            ratios = [point["seconds"][name] / point["seconds"]["numpy"] for point in line]
            found.append(Crossover(shape, batch, name, crossing(sparsities, ratios)))
    return found


def crossing(sparsities: Sequence[float], ratios: Sequence[float]) -> float | None:
    """Return the sparsity from which on all ratios are at most 1, or None if the last one is not.

    Example:
        >>> crossing([0.5, 0.7, 0.9], [2.0, 1.5, 0.5])
        0.8
        >>> crossing([0.5, 0.7, 0.9], [0.9, 0.8, 0.5])
        0.5
    """
    above = [place for place, ratio in enumerate(ratios) if ratio > 1]
    if not above:
        return float(sparsities[0])
    if above[-1] == len(ratios) - 1:
        return None
    last = above[-1]
    ends, values = ratios[last : last + 2], sparsities[last : last + 2]
    return round(float(np.interp(1, ends[::-1], values[::-1])), 4)


def as_table(atlas: dict[str, Any]) -> str:
    """Lay an atlas out as text: NumPy's dense product in µs, everybody else's time as a ratio to it."""
    from ..report import align  # which is built on this package

    others = [name for name in CONTESTANTS if name != "numpy"]
    rows = [["weight", "batch", "zeros %", "numpy µs", *others, "fastest"]]
    for shape, batch, line in _lines(atlas["points"]):
        for point in line:
            seconds = point["seconds"]
            ratios = [f"{seconds[name] / seconds['numpy']:.2f}" for name in others]
            head = [
                f"{shape[0]}×{shape[1]}",
                str(batch),
                f"{100 * point['sparsity']:g}",
                f"{1e6 * seconds['numpy']:.1f}",
            ]
            rows.append([*head, *ratios, min(seconds, key=seconds.__getitem__) + ("" if point["settled"] else " ?")])
    varied, busy = sum(not point["settled"] for point in atlas["points"]), atlas["machine"]["busy"] or 0
    lines = [align(rows), "", "Times as ratios to NumPy's dense product."]
    lines += [f"? where times varied: {varied} of {len(atlas['points'])}."] if varied else []
    lines += [f"Other programs used {busy:.0%} of the CPU when this began: the figures are off."] if busy > BUSY else []
    return "\n".join(lines)


def as_words(atlas: dict[str, Any]) -> str:
    """Say where each format crosses NumPy's dense product, a line for each shape and batch."""
    highest, lowest = (pick(atlas["grid"]["sparsities"]) for pick in (max, min))
    lines: dict[tuple[int, int, int], list[str]] = {}
    for crossover in atlas["crossovers"]:
        at = crossover["sparsity"]
        if at is None:
            words = f"not up to {100 * highest:g} %"
        else:
            words = f"from {100 * at:.0f} %" + (" or less" if at == lowest else "")
        lines.setdefault((*crossover["shape"], crossover["batch"]), []).append(f"{crossover['format']} {words}")
    return "\n".join(f"{m}×{k}, batch {batch}: {', '.join(words)}" for (m, k, batch), words in lines.items())


def check_planner(models: dict[str, tuple[nn.Module, Array]], seconds: float = 1.0) -> list[dict[str, Any]]:
    """Plan models, then measure each anew: dense, with each format forced on all layers, and as planned.

    Args:
        models: name → (model, input).
        seconds: for each measurement.

    Returns:
        what JSON can hold, for each model: "model", "batch", "plan", "seconds", and "ratio", of the planned time to the
        shortest of all.
    """
    rows = []
    for name, (model, x) in models.items():
        found = plan(model, x, seconds=seconds)
        times = compare_forced(model, found, x, seconds)
        ratio = times["planned"] / min(times.values())
        rows.append({"model": name, "batch": len(x), "plan": found.as_json(), "seconds": times, "ratio": ratio})
    return rows


def planner_table(rows: Sequence[dict[str, Any]], limit: float = 1.05) -> str:
    """Lay out what `check_planner` found, and say whether every pick was within `limit` of the best."""
    from ..report import align  # which is built on this package

    names = list(rows[0]["seconds"])
    table = [["model", "batch", *(f"{name} µs" for name in names), "planned / best"]]
    for row in rows:
        times = [f"{1e6 * row['seconds'][name]:.1f}" for name in names]
        table.append([row["model"], str(row["batch"]), *times, f"{row['ratio']:.2f}"])
    missed = [row for row in rows if row["ratio"] > limit]
    words = f"{len(missed)} of {len(rows)} are not" if missed else "yes"
    return f"{align(table)}\n\nIs each planned model within {100 * (limit - 1):.0f} % of the best one measured? {words}"
