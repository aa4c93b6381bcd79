"""How long an image takes on this machine, model by model: dense, and as sparse as the file stores it."""

from collections.abc import Sequence
from dataclasses import replace

from minigrad import nn, no_grad
from minigrad.functional import fusion
from minigrad.tensor import Array
from minigrad.training import evaluating

from ..coding import load_mgz
from ..sparse.timing import Contestant, race, stopwatch
from .candidates import Candidate
from .store import Store

FORMS = {"dense": None, "csr": "csr"}
"""How a model is run → the format to load it in."""

GIVEN = "the given model"


def with_latency(
    candidates: Sequence[Candidate], store: Store, source: nn.Module, x: Array, seconds: float = 20.0
) -> tuple[list[Candidate], float]:
    """Time candidates, which take turns, and note the faster of their forms.

    The codes of one model differ in their values, not in their zeros: one of them is timed for all.

    Args:
        candidates: to time.
        store: where their files are.
        source: the given model, which takes part.
        x: the images that are run at once, (N, ...).
        seconds: of timing, at most (or two rounds).

    Returns:
        The candidates with `milliseconds`, of all of x, and `runs`; and the milliseconds of the given model, dense.
    """
    files = {c.model: store.file(c.name) for c in reversed(candidates)}
    team = {
        f"{name} {form}": _forward(load_mgz(file, sparse), x)
        for name, file in files.items()
        for form, sparse in FORMS.items()
    }
    team[GIVEN] = _forward(source, x)
    times = {name: 1000 * float(found.sum()) for name, found in race(team, seconds=seconds).seconds.items()}
    best = {name: min(FORMS, key=lambda form, name=name: times[f"{name} {form}"]) for name in files}
    timed = [replace(c, milliseconds=times[f"{c.model} {best[c.model]}"], runs=best[c.model]) for c in candidates]
    return timed, times[GIVEN]


def _forward(model: nn.Module, x: Array) -> Contestant:
    def run() -> None:
        with evaluating(model), no_grad(), fusion():
            getattr(model(x), "data", None)  # what waits to be merged is done

    return stopwatch(run)
