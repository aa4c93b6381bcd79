"""Timing that lets contestants take turns: in one process, warm, medians, until they settle.

A contestant is called with a number of calls and returns the seconds of one call, as an array: one number, or one for each
part of the work. NumPy's products run on threads of their own, which go on looking for work for about a tenth of a second
after each product; a kernel that starts meanwhile shares a core with them and is several times slower. Hence teams:
contestants with the same threads take turns one by one; teams take turns as a whole, with a pause between them.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from minigrad import kernels, nn, no_grad
from minigrad.functional import fusion
from minigrad.tensor import Array

Clock = Callable[[], float]
Contestant = Callable[[int], Array]

PAUSE, WARM, TURN = 0.15, 0.02, 0.001
"""Seconds between two teams; for which a team runs before its time counts; of a turn, at least."""

ROUNDS, TURNS = 2, 5
"""Rounds, at least; turns of each contestant in a round."""

SETTLED = 0.05
"""How far below the median the lowest quarter of a contestant's turns may end. What disturbs makes turns longer only."""


class Race(NamedTuple):
    """What `race` found.

    Attributes:
        seconds: contestant → the median of its turns: what a call takes, part by part.
        rounds: how many there were.
        settled: False if the turns of some contestant still differed when time was up.
    """

    seconds: dict[str, Array]
    rounds: int
    settled: bool


def race(*teams: Mapping[str, Contestant], seconds: float = 1.0, clock: Clock = perf_counter) -> Race:
    """Let contestants take turns until their medians settle, or time is up.

    Args:
        teams: name → contestant.
        seconds: after which no new round begins, unless there were fewer than `ROUNDS`.
        clock: returns the time in seconds; a test brings its own.

    Example:
        >>> now = [0.0]
        >>> def work():
        ...     now[0] += 0.25
        >>> race({"work": stopwatch(work, lambda: now[0])}, clock=lambda: now[0])
        Race(seconds={'work': array([0.25])}, rounds=2, settled=True)
    """
    turns: dict[str, list[Array]] = {name: [] for team in teams for name in team}
    calls = {name: _calls(run) for team in teams for name, run in team.items()}
    end, rounds, settled, last = clock() + seconds, 0, False, None
    while rounds < ROUNDS or (not settled and clock() < end):
        for team in teams if rounds % 2 == 0 else teams[::-1]:
            if team is not last:
                time.sleep(PAUSE)
            last, warm = team, clock() + WARM
            while clock() < warm:
                for run in team.values():
                    run(1)
            for _ in range(TURNS):
                for name, run in team.items():
                    turns[name].append(run(calls[name]))
        rounds += 1
        settled = all(_is_settled(np.sum(found, axis=1)) for found in turns.values())
    return Race({name: np.median(found, axis=0) for name, found in turns.items()}, rounds, settled)


def _calls(run: Contestant) -> int:
    """Return how many calls make a turn. The first call, which may compile, does not count."""
    run(1)
    return max(1, math.ceil(TURN / max(float(run(1).sum()), 1e-6)))


def _is_settled(turns: Array) -> bool:
    low, middle = np.quantile(turns, (0.25, 0.5))
    return bool(middle - low <= SETTLED * middle)


def stopwatch(work: Callable[[], Any], clock: Clock = perf_counter) -> Contestant:
    """Return a contestant that does `work`, in one part."""

    def run(calls: int) -> Array:
        start = clock()
        for _ in range(calls):
            work()
        return np.array([(clock() - start) / calls])

    return run


class Laps:
    """A contestant that runs a model, as `evaluate` does, and reads the clock wherever one of its layers begins.

    What follows a layer counts as its own, until the next one begins: where a convolution runs as one with its ReLU and
    pooling, neither has a time of its own.

    Args:
        model: is put into evaluation, and hooks are hung into it: give a copy.
        layers: names of modules. What comes before the first of them, and layers that are never called, count nothing.
        x: input, (N, ...).
        clock: returns the time in seconds.
    """

    def __init__(self, model: nn.Module, layers: list[str], x: Array, clock: Clock = perf_counter):
        self.model, self.x, self.clock = model.eval(), x, clock
        self.marks: list[tuple[int, float]] = []
        self.count = len(layers)
        modules = dict(model.named_modules())
        for place, name in enumerate(layers):
            modules[name].register_forward_pre_hook(lambda _, inputs, place=place: self._mark(place, inputs))

    def _mark(self, place: int, inputs: Any) -> None:
        getattr(inputs[0], "data", None)  # what waits to be merged with the next op is work of the layer before
        self.marks.append((place, self.clock()))

    def __call__(self, calls: int) -> Array:
        """Return the seconds of each layer, (layers,), and one more: those before the first."""
        seconds = np.zeros(self.count + 1)
        for _ in range(calls):
            self.marks = [(self.count, self.clock())]
            with no_grad(), fusion():
                getattr(self.model(self.x), "data", None)
            self.marks.append((self.count, self.clock()))
            for (place, start), (_, end) in pairwise(self.marks):
                seconds[place] += end - start
        return seconds / calls


def busy_share(seconds: float = 0.3) -> float | None:
    """Return which share of the CPU's time is used now, while this process sleeps; None where /proc does not tell."""
    file, samples = Path("/proc/stat"), []
    if not file.exists():
        return None
    for pause in (seconds, 0):
        samples.append([int(ticks) for ticks in file.read_text().splitlines()[0].split()[1:9]])
        time.sleep(pause)
    spent = [after - before for before, after in zip(*samples, strict=True)]  # user, nice, system, idle, waiting ...
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)


def describe_machine() -> dict[str, Any]:
    """Return what timings depend on: processor, threads, versions, and how busy other programs keep it just now."""
    import llvmlite.binding
    import numba
    import scipy
    from threadpoolctl import threadpool_info

    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {
        "processor": llvmlite.binding.get_host_cpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "kernel threads": kernels.get_num_threads(),
        "busy": busy_share(),
        "blas": [f"{b['internal_api']} {b['version']}, {b['num_threads']} threads" for b in blas],
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "numba": numba.__version__,
        },
    }
