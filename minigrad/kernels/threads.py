"""Threads are settled here and nowhere else.

Kernels run on Numba's threads. A matrix product inside a kernel goes to SciPy's own copy of OpenBLAS, and must then use
one thread: the kernel already runs one product per thread, and two thread pools on the same cores are many times slower
than either. NumPy's copy of BLAS is another library; its threads are left to the user.
"""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from threading import RLock
from typing import Any

import numba
from numba.core import config
from threadpoolctl import ThreadpoolController

SPINS = "5000"
"""How often a waiting thread of GNU OpenMP looks for work before it sleeps. Its own default, 300,000, slows two busy
programs that share their cores down by a factor of up to a hundred, since threads that spin keep others from working; 1,000
makes that a factor of four, but lets threads fall asleep between two kernels (an epoch takes 15 % longer). With 5,000 they
stay awake, and `pace.py` goes on with one thread while another program is busy."""


MOST_THREADS: int = config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
"""As many as Numba can start: the number of cores, or NUMBA_NUM_THREADS."""

launch: AbstractContextManager[Any] | None = None
"""Held around every compiled kernel on Numba's "workqueue" layer, which ends the process when two Python threads start
kernels at once; the other layers need no lock."""

_started = False
_forked = False


def start() -> None:
    """Start Numba's threads and settle BLAS's, once in a process: at the first kernel, so that importing minigrad leaves
    fork() usable, and does not wait for SciPy.

    Raises:
        RuntimeError: this process was forked from one whose threads ran; GNU OpenMP would end it without a word.
    """
    global _started, launch
    if _started:
        return
    if _forked:
        raise RuntimeError(
            "minigrad: this process was forked after kernels had run in its parent, and their threads do not survive a "
            'fork; start worker processes with multiprocessing.get_context("spawn")'
        )
    patient = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ)
    if patient:
        os.environ["GOMP_SPINCOUNT"] = SPINS  # read once, when the threads start; other libraries keep their own ways
    try:
        numba.get_num_threads()
    finally:
        if patient:
            del os.environ["GOMP_SPINCOUNT"]
    if numba.threading_layer() == "workqueue":  # pyright: ignore[reportPrivateImportUsage]
        launch = RLock()
    _single_threaded_scipy_blas()
    _started = True


def is_started() -> bool:
    """Tell whether kernels can be launched in this process."""
    return _started


def _after_fork() -> None:
    global _started, _forked
    _forked, _started = _forked or _started, False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _single_threaded_scipy_blas() -> None:
    import scipy.linalg  # brings the BLAS that Numba calls

    controller = ThreadpoolController()
    loaded = [library["filepath"] for library in controller.info() if library["user_api"] == "blas"]
    folder = Path(scipy.__file__).resolve().parent
    own = [path for path in loaded if {folder, folder.parent / "scipy.libs"} & set(Path(path).resolve().parents)]
    # Wheels bring SciPy a BLAS of its own. Where it shares one with NumPy (a system's or conda's), both get one thread.
    if own or loaded:
        controller.select(filepath=own or loaded).limit(limits=1)


def set_num_threads(count: int) -> None:
    """Run the kernels that this Python thread starts on `count` threads. Results do not depend on it, to the bit.

    Raises:
        ValueError: count is below 1 or above the number of threads Numba started with (NUMBA_NUM_THREADS).
    """
    if not 1 <= count <= MOST_THREADS:
        raise ValueError(
            f"set_num_threads: count is {count}, expected 1 to {MOST_THREADS} (set NUMBA_NUM_THREADS for more)"
        )
    start()
    numba.set_num_threads(count)


def get_num_threads() -> int:
    """Return the number of threads that kernels started by this Python thread run on."""
    start()
    return numba.get_num_threads()
