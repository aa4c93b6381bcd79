"""Threads are settled here and nowhere else.

Kernels run on Numba's threads. A matrix product inside a kernel goes to SciPy's own copy of OpenBLAS, and must then use
one thread: the kernel already runs one product per thread, and two thread pools on the same cores are many times slower
than either. NumPy's copy of BLAS is another library; its threads are left to the user.
"""

import os
from pathlib import Path

import numba
import scipy
import scipy.linalg
from threadpoolctl import ThreadpoolController

SPINS = "1000"
"""How often a waiting thread of GNU OpenMP looks for work before it sleeps. Its own default, 300,000, slows two busy
programs that share their cores down by a factor of up to a hundred, since threads that spin keep others from working;
with 1,000 it is a factor of four, and a program that has the cores to itself loses a few percent at most."""


def _start_threads() -> int:
    """Start Numba's threads and return how many there are: the number of cores, or NUMBA_NUM_THREADS."""
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        return numba.get_num_threads()
    os.environ["GOMP_SPINCOUNT"] = SPINS  # read once, when the threads start; other libraries keep their own ways
    try:
        return numba.get_num_threads()
    finally:
        del os.environ["GOMP_SPINCOUNT"]


MOST_THREADS = _start_threads()


def _single_threaded_scipy_blas() -> None:
    controller = ThreadpoolController()
    loaded = [library["filepath"] for library in controller.info() if library["user_api"] == "blas"]
    folder = Path(scipy.__file__).resolve().parent
    own = [path for path in loaded if {folder, folder.parent / "scipy.libs"} & set(Path(path).resolve().parents)]
    # Wheels bring SciPy a BLAS of its own. Where it shares one with NumPy (a system's or conda's), both get one thread.
    if own or loaded:
        controller.select(filepath=own or loaded).limit(limits=1)


def set_num_threads(count: int) -> None:
    """Run kernels on `count` threads. Results do not depend on it, to the bit.

    Raises:
        ValueError: count is below 1 or above the number of threads Numba started with (NUMBA_NUM_THREADS).
    """
    most = MOST_THREADS
    if not 1 <= count <= most:
        raise ValueError(f"set_num_threads: count is {count}, expected 1 to {most} (set NUMBA_NUM_THREADS for more)")
    numba.set_num_threads(count)


def get_num_threads() -> int:
    """Return the number of threads that kernels run on."""
    return numba.get_num_threads()


_single_threaded_scipy_blas()
