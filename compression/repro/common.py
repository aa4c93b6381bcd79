"""What all reproductions share: a sweep of jobs, one for each part and seed, and figures beside the paper's."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minigrad.checkpoint import to_json
from minigrad.datasets import ImageDataset, mnist, split_validation

from ..report import t_interval
from ..sweep import Job, Run, run_jobs


@dataclass(frozen=True)
class Row:
    """A figure of the report: a value for each seed, and what it is held against.

    Attributes:
        part, figure: what it is of, and what it is.
        values: one a seed.
        unit: behind the numbers, such as "%".
        digits: after the decimal point.
        paper: the paper's number, if it has one.
        at_least, at_most: the target, if there is one.
        surely: whether the whole 95 % interval must reach the target; otherwise the mean.
    """

    part: str
    figure: str
    values: Sequence[float]
    unit: str = ""
    digits: int = 2
    paper: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    surely: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the row with mean, standard deviation and 95 % t-interval (None below two seeds), and whether it is met."""
        values = [float(v) for v in self.values]
        mean = float(np.mean(values))
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        interval = t_interval(values) if len(values) > 1 else None
        low, high = interval if self.surely and interval else (mean, mean)
        met = None
        if self.at_least is not None or self.at_most is not None:
            met = (self.at_least is None or low >= self.at_least) and (self.at_most is None or high <= self.at_most)
            met = met and not (self.surely and interval is None)  # one seed makes nothing sure
        return asdict(self) | {
            "values": values,
            "mean": mean,
            "std": std,
            "interval": interval and list(interval),
            "met": met,
        }


@dataclass(frozen=True)
class Reproduction:
    """A paper's experiment.

    Attributes:
        name: of the command and the files.
        paper: authors, title, where to find it.
        settings: part → a dataclass of settings; the parts run in this order.
        quick: the same, for a first look.
        seeds: how many, by default: 0, 1, ...
        work: does a job; a function at the top level of a module, so that other processes find it. Returns what JSON can
            hold, and may write files named after the job.
        rows: part → its runs, ordered by seed (none, if all failed), to rows of the report.
        figures: runs and their folder, to name → (figure, caption); saved as results/<reproduction>_<name>.png.
        deviations: sentences on what is not as in the paper.
        needs: part → the part whose run of the same seed must be over before.
    """

    name: str
    paper: str
    settings: Mapping[str, Any]
    quick: Mapping[str, Any]
    seeds: int
    work: Callable[[Job], dict[str, Any]]
    rows: Callable[[Mapping[str, list[Run]]], list[Row]]
    figures: Callable[[Sequence[Run], Path], dict[str, tuple[Figure, str]]] = lambda runs, folder: {}
    deviations: Sequence[str] = field(default_factory=tuple)
    needs: Mapping[str, str] = field(default_factory=dict)

    def jobs(self, seeds: int, quick: bool, folder: Path, data: Path | None = None) -> list[Job]:
        """List the jobs: seed by seed, so that each seed that is complete makes the report better."""
        settings = self.quick if quick else self.settings

        def needs(part: str, seed: int) -> str | None:
            return f"{self.needs[part]}-seed-{seed}" if part in self.needs else None

        return [
            Job(part, seed, plan, folder, data, needs(part, seed))
            for seed in range(seeds)
            for part, plan in settings.items()
        ]


def reproduce(
    reproduction: Reproduction,
    jobs: Sequence[Job],
    executor: Executor | None = None,
    say: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Run a reproduction's jobs, or what is left of them, and return the report as JSON can hold it.

    Args:
        reproduction: what to reproduce.
        jobs: from `reproduction.jobs`.
        executor, say: see `run_jobs`.

    Returns:
        {"reproduction", "paper", "seeds", "settings", "rows", "deviations", "failed", "runs"}.
    """
    runs, failures = run_jobs(reproduction.work, jobs, executor, say)
    parts = {job.part: job.settings for job in jobs}
    rows = reproduction.rows({part: [run for run in runs if run["part"] == part] for part in parts})
    return {
        "reproduction": reproduction.name,
        "paper": reproduction.paper,
        "seeds": sorted({job.seed for job in jobs}),
        "settings": {part: json.loads(to_json(asdict(settings))) for part, settings in parts.items()},
        "rows": [row.as_json() for row in rows if len(row.values)],
        "deviations": list(reproduction.deviations),
        "failed": failures,
        "runs": [{key: run[key] for key in ("part", "seed", "versions", "seconds", "results")} for run in runs],
    }


def images(data: Path | None, limit: int | None = None) -> tuple[ImageDataset, ImageDataset, ImageDataset]:
    """Return images to train on, those held out to choose by (5,000 of MNIST's 60,000), and the test images.

    limit: take so many training images only.
    """
    whole = mnist("train", data)
    training, held_out = split_validation(whole, count=max(1, len(whole) // 12))
    return training.subset(np.arange(len(training))[:limit]), held_out, mnist("test", data)


def over_seeds(runs: Iterable[Run], of: Callable[[dict[str, Any]], float]) -> list[float]:
    """Return a number of each run's results."""
    return [of(run["results"]) for run in runs]
