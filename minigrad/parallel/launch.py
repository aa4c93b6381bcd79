"""Starting processes that train together, and ending them together."""

import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minigrad.errors import ParallelError

NEEDED = "training on several processes needs {}"
INSTALL = "`pip install minigrad-compression[distributed]` installs it"

LATER = 0.5
"""Seconds by which other processes than 0 wait before they say what went wrong: if it went wrong everywhere, 0 says it."""


def world() -> Any:
    """Return mpi4py's communicator of all processes that `mpiexec` started; of this one alone without it.

    Raises:
        ParallelError: mpi4py is not installed, or does not find its MPI library.
    """
    try:
        from mpi4py import MPI  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError) as error:
        raise ParallelError(
            f"training on several processes needs mpi4py with an MPI library ({error}); {INSTALL}"
        ) from None
    return MPI.COMM_WORLD


def _tell(error: BaseException) -> int:
    traceback.print_exception(error)
    return 1


@contextmanager
def ending_together(comm: Any, tell: Callable[[BaseException], int] = _tell) -> Iterator[None]:
    """If the block fails on this process, end the others too: they would wait for its gradients forever.

    Args:
        comm: mpi4py's communicator.
        tell: called with the exception; says what happened on stderr, and returns the exit code of all.
    """
    try:
        yield
    except BaseException as error:  # Ctrl-C as well: the others must not wait
        if comm.size > 1:
            time.sleep(LATER if comm.rank else 0)
            code = tell(error)
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Abort adds a line that says less
            comm.Abort(code)
        raise


def find_mpiexec() -> str:
    """Return the path of `mpiexec`: the one installed beside this Python, or else the one on the PATH.

    Raises:
        ParallelError: there is none.
    """
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise ParallelError(
            f"{NEEDED.format('mpiexec')}, which is not on the PATH; on Linux {INSTALL}, elsewhere install MPICH or Open MPI"
        )
    return found


def launch(
    command: list[str], workers: int, environment: Mapping[str, str], say: Callable[[str], Any]
) -> tuple[int, int | None]:
    """Run a command in so many processes by `mpiexec`, until all have ended or one fails, which ends the others.

    Args:
        command: the program and its arguments.
        workers: number of processes.
        environment: variables to set for them.
        say: called with every line that they write to stdout; stderr is passed on as it is. mpiexec's own banner about
            a failure is left out.

    Returns:
        mpiexec's exit code, and the signal that killed a process, or mpiexec itself (its exit code is negative then); None
        if none did.

    Raises:
        ParallelError: there is no mpiexec, or no mpi4py.
    """
    if find_spec("mpi4py") is None:
        raise ParallelError(f"{NEEDED.format('mpi4py')}, which is not installed; {INSTALL}")
    words = [find_mpiexec(), "-n", str(workers), *command]
    environment = {**os.environ, **environment}
    banner, killer = False, None
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                banner = banner or line.startswith("=====")
                found = re.search(r"signal (\d+)", line) if banner else None
                killer = int(found[1]) if found else killer
                if not banner and line.strip():
                    say(line.rstrip("\n"))
        except BaseException:
            process.terminate()
            process.wait()
            raise
    code = process.returncode
    return code, -code if code < 0 else killer


def launched() -> bool:
    """Tell whether `mpiexec` started this process."""
    return any(name in os.environ for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"))
