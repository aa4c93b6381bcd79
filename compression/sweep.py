"""Many independent runs: kept as they finish, on any executor, each failure tried again and none of the others lost.

A job is one run: a network to train, say. Its result is written as soon as it is there, so that a sweep that was interrupted
goes on with what is missing.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import minigrad
from minigrad import kernels
from minigrad.checkpoint import to_json

from .report import write_report

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
        leaves: says which files the job writes besides its result, which is worth nothing without them. A function at the top
            level of a module; None: there are none.
    """

    part: str
    seed: int
    settings: Any
    folder: Path
    data: Path | None = None
    needs: str | None = None
    leaves: Callable[["Job"], Sequence[Path]] | None = None

    @property
    def name(self) -> str:
        """Such as "LeNet-5-seed-0": files of this job begin with it."""
        return f"{self.part}-seed-{self.seed}"

    @property
    def file(self) -> Path:
        """Where the result goes."""
        return self.folder / f"{self.name}.json"

    @property
    def files(self) -> Sequence[Path]:
        """What it writes besides."""
        return self.leaves(self) if self.leaves else ()

    def identity(self) -> dict[str, Any]:
        """Return what must agree for a stored result to be this job's."""
        identity = {"part": self.part, "seed": self.seed, "settings": asdict(self.settings)}
        return json.loads(to_json(identity | {"data": None if self.data is None else str(self.data)}))


def stored(job: Job) -> Run | None:
    """Return a job's result from its file; None if there is none, one of other settings, a damaged one, or files are gone."""
    try:
        run = json.loads(job.file.read_text(encoding="utf-8"))
        same = all(run[key] == value for key, value in job.identity().items()) and "results" in run
        return run if same and all(file.exists() for file in job.files) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_jobs(
    work: Callable[[Job], dict[str, Any]],
    jobs: Sequence[Job],
    executor: Executor | None = None,
    say: Callable[[str], Any] = lambda line: None,
    retries: int = 1,
) -> tuple[list[Run], list[dict[str, Any]]]:
    """Do the jobs whose results are not stored yet, and store each as it finishes.

    Args:
        work: does a job; returns what JSON can hold, and may write files named after the job. A function at the top level of
            a module, so that other processes find it.
        jobs: what to do.
        executor: runs them, in any order: `Processes`, Dask's `Client.get_executor()`, ... None: here, one by one. Its
            attribute `threads`, if it has one, is how many the kernels of a job may use; see `executors`.
        say: called with a line of text for the reader.
        retries: how often a job that failed is tried again.

    Returns:
        The runs in the order of the jobs, and the failures: {"part", "seed", "error"}. A failure costs no other run.
    """
    found = {job.name: run for job in jobs if (run := stored(job)) is not None}
    if found:
        say(f"{len(found)} of {len(jobs)} runs are there already: {', '.join(found)}")
    left = [job for job in jobs if job.name not in found]
    tries, failures = dict.fromkeys((job.name for job in left), 0), list[dict[str, Any]]()

    def over(job: Job, result: Callable[[], Run]) -> bool:
        """Take a job's result; return whether there is no more to be done for it."""
        try:
            run = result()
        except Exception as error:  # noqa: BLE001  whatever it is, the other runs go on and the report names it
            tries[job.name] += 1
            again = tries[job.name] <= retries
            words = _words(error)
            say(f"{job.part}, seed {job.seed}: failed ({words}){'; once more' if again else ''}")
            if not again:
                failures.append({"part": job.part, "seed": job.seed, "error": words})
            return not again
        if stored(job) is None:  # it ran on a machine with folders of its own
            job.folder.mkdir(parents=True, exist_ok=True)
            write_report(job.file, run)
        found[job.name] = run
        say(f"{job.part}, seed {job.seed}: done in {run['seconds']:.0f} s ({len(found)} of {len(jobs)})")
        return True

    if executor is None:
        for job in left:
            while not over(job, partial(do, work, job)):
                pass
    else:
        _spread(work, left, executor, over)
    return [found[job.name] for job in jobs if job.name in found], failures


def run_all(
    work: Callable[[Job], dict[str, Any]],
    jobs: Sequence[Job],
    say: Callable[[str], Any] = lambda line: None,
    executor: Executor | None = None,
) -> list[Run]:
    """Do as `run_jobs`, where the figures need every run.

    Raises:
        RuntimeError: some failed, after all others were done: the sentence names each.
    """
    runs, failures = run_jobs(work, jobs, executor, say)
    if failures:
        raise RuntimeError("; ".join(f"{f['part']}, seed {f['seed']}: {f['error']}" for f in failures))
    return runs


def _spread(
    work: Callable[[Job], dict[str, Any]],
    jobs: Sequence[Job],
    executor: Executor,
    over: Callable[[Job, Callable[[], Run]], bool],
) -> None:
    """Do jobs on an executor, each after the one it needs.

    When a worker dies, a pool of processes breaks, and nobody knows which job it was: those that ran are suspects. They go on
    one at a time, so that the one that kills its worker can be told from the others.
    """
    threads, at_once = getattr(executor, "threads", None), getattr(executor, "at_once", len(jobs))
    waiting, suspects, running = list(jobs), list[Job](), dict[Future[Run], Job]()
    unfinished = {job.name for job in jobs}
    try:
        while unfinished:
            ready = [job for job in waiting if job.needs not in unfinished][: at_once - len(running)]
            if not ready and not running:
                ready = suspects[:1]
            alone = ready == suspects[:1] and not running
            for job in ready:
                (suspects if job in suspects else waiting).remove(job)
                running[executor.submit(do, work, job, threads)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                if isinstance(future.exception(), BrokenExecutor) and not alone:
                    suspects.append(job)
                elif over(job, future.result):
                    unfinished.remove(job.name)
                else:
                    (suspects if alone else waiting).append(job)
    finally:  # after Ctrl-C, those that have not begun shall not
        for future in running:
            future.cancel()


def _words(error: Exception) -> str:
    if isinstance(error, BrokenExecutor):
        return "its process ended, as if killed, perhaps for want of memory"
    return f"{type(error).__name__}: {error}"


def do(work: Callable[[Job], dict[str, Any]], job: Job, threads: int | None = None) -> Run:
    """Do a job and store its result at once, in whatever process this is; one that is stored already is not done again.

    Args:
        work, job: see `run_jobs`.
        threads: for the kernels; None leaves them.
    """
    if (run := stored(job)) is not None:  # by a worker that died before it could tell
        return run
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


@dataclass(frozen=True)
class Sweep:
    """All runs of an experiment, for its report.

    Attributes:
        settings: part → settings.
        jobs, runs: in the same order, seed by seed.
        quick: whether it was a first look.
        say: called with a line of text for the reader.
    """

    settings: Mapping[str, Any]
    jobs: Sequence[Job]
    runs: Sequence[Run]
    quick: bool
    say: Callable[[str], Any]

    @property
    def seeds(self) -> list[int]:
        """0, 1, ..."""
        return sorted({job.seed for job in self.jobs})

    @property
    def data(self) -> Path | None:
        """Folder of the dataset, see `mnist`."""
        return self.jobs[0].data

    def results(self, part: str) -> list[dict[str, Any]]:
        """Return what the runs of a part have found, seed by seed."""
        return [run["results"] for run in self.runs if run["part"] == part]


@dataclass(frozen=True)
class Experiment:
    """The same runs over several seeds, and a report on all of them.

    Attributes:
        settings: part → a dataclass of settings; the parts run in this order, seed by seed.
        quick: the same, for a first look.
        work: does a job, see `run_jobs`.
        report: sums up what was found, as JSON can hold it.
        as_table: lays a report out as text.
        write: writes a report, and its pictures, into a folder; returns the files' names.
        leaves: see `Job`.
    """

    settings: Mapping[str, Any]
    quick: Mapping[str, Any]
    work: Callable[[Job], dict[str, Any]]
    report: Callable[[Sweep], dict[str, Any]]
    as_table: Callable[[dict[str, Any]], str]
    write: Callable[[Path, dict[str, Any]], list[str]]
    leaves: Callable[[Job], Sequence[Path]] | None = None

    def run(
        self,
        seeds: int,
        quick: bool,
        folder: Path,
        data: Path | None = None,
        say: Callable[[str], Any] = lambda line: None,
        executor: Executor | None = None,
    ) -> dict[str, Any]:
        """Do all parts for seeds 0, 1, ..., or what is left of them, and return the report.

        Args:
            seeds: how many.
            quick: whether a first look is enough.
            folder: for the results of single runs, and files they leave.
            data: folder of the dataset, see `mnist`.
            say: called with a line of text for the reader.
            executor: does the runs, see `run_jobs`.

        Raises:
            RuntimeError: a run failed.
        """
        settings = self.quick if quick else self.settings
        jobs = [
            Job(part, seed, plan, folder, data, leaves=self.leaves)
            for seed in range(seeds)
            for part, plan in settings.items()
        ]
        return self.report(Sweep(settings, jobs, run_all(self.work, jobs, say, executor), quick, say))
