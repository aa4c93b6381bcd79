"""One generator for everything that draws numbers without being given a seed: initial weights, dropout and the like."""

import threading

import numpy as np

_generator = np.random.default_rng()
_own = threading.local()


def manual_seed(seed: int) -> None:
    """Make every later draw (initial weights ...) repeatable. A DataLoader takes its own seed.

    A thread other than the main one gets a generator of its own by this call, so that trainings side by side do not draw
    each other's numbers; threads that never call it share the main thread's.

    Raises:
        ValueError: seed is negative.

    Example:
        >>> import minigrad
        >>> manual_seed(0)
        >>> a = minigrad.nn.Linear(2, 3).weight.data
        >>> manual_seed(0)
        >>> bool((a == minigrad.nn.Linear(2, 3).weight.data).all())
        True
    """
    global _generator
    if seed < 0:
        raise ValueError(f"manual_seed: seed is {seed}, expected 0 or more")
    if threading.current_thread() is threading.main_thread():
        _generator = np.random.default_rng(seed)
    else:
        _own.generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """Return the generator that `manual_seed` seeds."""
    return getattr(_own, "generator", _generator)
