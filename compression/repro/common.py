"""What all reproductions share: runs that are kept as they finish, and figures beside the paper's.

A reproduction is a list of jobs, one for each part (a network, say) and seed. A job's result is written as soon as it is
there, so that an interrupted reproduction goes on with what is missing. From the results come the report and its table.
"""

import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import kernels
from minigrad.checkpoint import to_json
from minigrad.datasets import ImageDataset, mnist, split_validation

from ..report import t_interval, write_report

Run: TypeAlias = dict[str, Any]
"""A finished job, as JSON holds it: "part", "seed", "settings", "data", "versions", "seconds", "results"."""


@dataclass(frozen=True)
class Job:
    """One part with one seed. It can travel to another process.

    Attributes:
        part: of the reproduction, such as "LeNet-5".
        seed: of everything that is drawn.
        settings: a dataclass of what JSON can hold.
        folder: for the result, and for files the job writes besides.
        data: folder of the dataset, see `mnist`.
        needs: name of a job that must be over before, such as the teacher's; None: it may begin at once.
    """

    part: str
    seed: int
    settings: Any
    folder: Path
    data: Path | None = None
    needs: str | None = None

    @property
    def name(self) -> str:
        """Such as "LeNet-5-seed-0": files of this job begin with it."""
        return f"{self.part}-seed-{self.seed}"

    @property
    def file(self) -> Path:
        """Where the result goes."""
        return self.folder / f"{self.name}.json"

    def identity(self) -> dict[str, Any]:
        """Return what must agree for a stored result to be this job's."""
        identity = {"part": self.part, "seed": self.seed, "settings": asdict(self.settings)}
        return json.loads(to_json(identity | {"data": None if self.data is None else str(self.data)}))


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


def stored(job: Job) -> Run | None:
    """Return a job's result from its file; None if there is none, or one of other settings, or a damaged one."""
    try:
        run = json.loads(job.file.read_text(encoding="utf-8"))
        return run if all(run[key] == value for key, value in job.identity().items()) and "results" in run else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_jobs(
    work: Callable[[Job], dict[str, Any]],
    jobs: Sequence[Job],
    executor: Executor | None = None,
    say: Callable[[str], Any] = lambda line: None,
    threads: int | None = None,
) -> tuple[list[Run], list[dict[str, Any]]]:
    """Do the jobs whose results are not stored yet, and store each as it finishes.

    Args:
        work: does a job, see `Reproduction`.
        jobs: what to do.
        executor: runs them, in any order: threads, processes (`spawned_workers`), another machine's. None: here.
        say: called with a line of text for the reader.
        threads: for the kernels of each job, where other processes do them.

    Returns:
        The runs in the order of the jobs, and the failures: {"part", "seed", "error"}. A failure costs no other run.
    """
    found = {job.name: run for job in jobs if (run := stored(job)) is not None}
    if found:
        say(f"{len(found)} of {len(jobs)} runs are there already: {', '.join(found)}")
    failures: list[dict[str, Any]] = []
    for job, result in _results(work, [job for job in jobs if job.name not in found], executor, threads):
        try:
            run = found[job.name] = result()
            say(f"{job.part}, seed {job.seed}: done in {run['seconds']:.0f} s ({len(found)} of {len(jobs)})")
        except Exception as error:  # noqa: BLE001  whatever it is, the other runs go on and the report names it
            failures.append({"part": job.part, "seed": job.seed, "error": f"{type(error).__name__}: {error}"})
            say(f"{job.part}, seed {job.seed}: failed ({failures[-1]['error']})")
    return [found[job.name] for job in jobs if job.name in found], failures


def _results(
    work: Callable[[Job], dict[str, Any]], jobs: Sequence[Job], executor: Executor | None, threads: int | None
) -> Iterator[tuple[Job, Callable[[], Run]]]:
    """Yield each job with a function that returns its run, or raises."""
    if executor is None:
        yield from ((job, partial(do, work, job)) for job in jobs)
        return
    waiting, running = list(jobs), dict[Future[Run], Job]()
    unfinished = {job.name for job in jobs}
    try:
        while unfinished:
            for job in [job for job in waiting if job.needs not in unfinished]:
                waiting.remove(job)
                running[executor.submit(do, work, job, threads)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                unfinished.remove(job.name)
                yield job, future.result
    finally:  # after Ctrl-C, those that have not begun shall not
        for future in running:
            future.cancel()


def do(work: Callable[[Job], dict[str, Any]], job: Job, threads: int | None = None) -> Run:
    """Do a job and store its result at once, in whatever process this is."""
    if threads is not None:
        kernels.set_num_threads(threads)
    job.folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    results = work(job)
    run = {
        **job.identity(),
        "versions": versions(),
        "seconds": round(time.perf_counter() - start, 1),
        "results": json.loads(to_json(results)),
    }
    write_report(job.file, run)
    return run


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {name: version(name) for name in ("numpy", "numba", "scipy")}
    return {"minigrad": minigrad.__version__, "python": platform.python_version(), **found}


def reproduce(
    reproduction: Reproduction,
    jobs: Sequence[Job],
    executor: Executor | None = None,
    say: Callable[[str], Any] = lambda line: None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Run a reproduction's jobs, or what is left of them, and return the report as JSON can hold it.

    Args:
        reproduction: what to reproduce.
        jobs: from `reproduction.jobs`.
        executor, say, threads: see `run_jobs`.

    Returns:
        {"reproduction", "paper", "seeds", "settings", "rows", "deviations", "failed", "runs"}.
    """
    runs, failures = run_jobs(reproduction.work, jobs, executor, say, threads)
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
