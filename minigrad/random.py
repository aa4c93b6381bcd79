"""One generator for everything that draws numbers without being given a seed: initial weights and the like."""

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Make every later draw (initial weights ...) repeatable. A DataLoader takes its own seed.

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
    _generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """Return the generator that `manual_seed` seeds."""
    return _generator
