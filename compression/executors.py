"""Where the runs of a sweep happen: here, in new processes, on MPI's ranks, on a Dask cluster.

Each is an `Executor` of Python's `concurrent.futures`, whoever wrote it: there is no scheduler of our own. Two attributes tell
`run_jobs` more: `threads`, for the kernels of a job, and `at_once`, how many jobs to hand over at a time.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from minigrad.kernels.threads import MOST_THREADS

FORMS = "serial, processes:2, mpi, dask:2 (workers on this machine) or dask:tcp://HOST:PORT (a cluster)"
EXTRA = "pip install minigrad-compression[distributed]"


class Processes(Executor):
    """New processes on this machine; when one dies, all are replaced at the next job.

    They are spawned: a fork would copy threads that do not run there. A script that uses it keeps its own start behind
    `if __name__ == "__main__":`, since workers import it.

    Args:
        count: how many, 1 or more. They share the machine's cores.

    Raises:
        ValueError: count is below 1.
    """

    def __init__(self, count: int):
        if count < 1:
            raise ValueError(f"Processes: count is {count}, expected 1 or more")
        self.at_once = count
        self.threads = threads_each(count)
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.at_once, mp_context=multiprocessing.get_context("spawn"))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `concurrent.futures.Executor.submit`."""
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except BrokenExecutor:
            self.shutdown()
            self._pool = self._new()
            return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor.shutdown`."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def threads_each(workers: int) -> int:
    """Return how many threads each of so many workers on this machine may use."""
    return max(1, MOST_THREADS // workers)


def check_executor(how: str) -> str:
    """Return `how` if it has one of the `FORMS`.

    Raises:
        ValueError: it has none.

    Example:
        >>> check_executor("processes:2")
        'processes:2'
    """
    kind, _, rest = how.partition(":")
    counted = rest.isdigit() and int(rest) > 0
    if how in ("serial", "mpi") or (kind in ("processes", "dask") and counted) or (kind == "dask" and "://" in rest):
        return how
    raise ValueError(f"executor {how!r} is not one of {FORMS}")


@contextmanager
def open_executor(how: str) -> Iterator[Executor | None]:
    """Open an executor by its name, and close it in the end.

    Args:
        how: one of the `FORMS`. "serial" gives None: everything runs here. "mpi" takes the ranks that the program was started
            with: `mpiexec -n 3 python -m mpi4py.futures $(which minigrad) ... --executor mpi` has two workers.

    Raises:
        ValueError: `how` has none of the forms; or it is "mpi", and there is only one rank.
        ModuleNotFoundError: the package it needs is not installed.

    Example:
        >>> with open_executor("serial") as executor:
        ...     print(executor)
        None
    """
    kind, _, rest = check_executor(how).partition(":")
    if kind == "serial":
        yield None
    elif kind == "processes":
        with Processes(int(rest)) as processes:
            yield processes
    elif kind == "mpi":
        with _mpi() as ranks:
            yield ranks
    else:
        with _dask(rest) as workers:
            yield workers


def _need(package: str, how: str) -> None:
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"executor {how!r} needs {package}, which is not installed: {EXTRA}", name=package)


@contextmanager
def _mpi() -> Iterator[Executor]:
    _need("mpi4py", "mpi")
    from mpi4py import MPI  # pyright: ignore[reportMissingImports]
    from mpi4py.futures import MPIPoolExecutor  # pyright: ignore[reportMissingImports]

    if MPI.COMM_WORLD.Get_size() < 2:
        raise ValueError(
            "executor 'mpi': there is only one rank; start the command as "
            "mpiexec -n 3 python -m mpi4py.futures $(which minigrad) ..., which gives it two workers"
        )
    with MPIPoolExecutor() as executor:
        executor.threads = threads_each(executor.num_workers)  # pyright: ignore[reportAttributeAccessIssue]
        yield executor


@contextmanager
def _same_environment() -> Iterator[None]:
    """Put environment variables back: Dask sets thread counts of its workers in this process too."""
    before = os.environ.copy()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _dask(rest: str) -> Iterator[Executor]:
    """A cluster that runs already, at its address; or so many workers of one thread on this machine.

    Dask itself runs the jobs of a worker that died on another one.
    """
    _need("distributed", f"dask:{rest}")
    from distributed import Client, LocalCluster  # pyright: ignore[reportMissingImports]

    if "://" in rest:
        with Client(rest) as client, client.get_executor() as executor:
            yield executor
        return
    with (
        _same_environment(),
        LocalCluster(n_workers=int(rest), threads_per_worker=1, dashboard_address=None) as cluster,  # pyright: ignore[reportArgumentType]
        Client(cluster) as client,
        client.get_executor() as executor,
    ):
        executor.threads = threads_each(int(rest))  # pyright: ignore[reportAttributeAccessIssue]
        yield executor
