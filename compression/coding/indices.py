"""Where the non-zeros are: each as the number of zeros before it, in few bits, with filler zeros in long gaps."""

from typing import Any

import numpy as np

from minigrad.tensor import Array


def to_relative(positions: Any, bits: int) -> tuple[Array, Array]:
    """Return how many zeros lie before each non-zero since the one before it.

    More than 2**bits - 1 do not fit: a filler, which is a zero that is stored, then stands in for 2**bits of them. With 0
    bits each zero before the last non-zero is a filler, so that all numbers are simply stored.

    Args:
        positions: of the non-zeros, increasing, (n,).
        bits: of a gap, 0 to 8. The paper takes 5 for linear layers, 8 for convolutions.

    Returns:
        gaps, uint8 (entries,), and which entries are fillers, bool (entries,).

    Raises:
        ValueError: bits out of range, or positions do not increase.

    Source:
        Han, Mao and Dally, "Deep compression", 2016, figure 2. It counts the step, which is one more than the gap.

    Example:
        >>> gaps, filler = to_relative([1, 4, 15], bits=3)  # the paper's example
        >>> gaps.tolist(), filler.tolist()
        ([1, 2, 7, 2], [False, False, True, False])
    """
    if not 0 <= bits <= 8:
        raise ValueError(f"to_relative: bits is {bits}, expected 0 to 8")
    zeros = np.diff(np.asarray(positions, np.int64), prepend=-1) - 1
    if zeros.size and zeros.min() < 0:
        raise ValueError("to_relative: positions must begin at 0 or later, and each must be larger than the one before")
    ends = np.cumsum((zeros >> bits) + 1)  # a non-zero's entry comes after its fillers
    filler = np.ones(ends[-1] if ends.size else 0, bool)
    filler[ends - 1] = False
    gaps = np.full(filler.size, 2**bits - 1, np.uint8)
    gaps[~filler] = zeros & (2**bits - 1)
    return gaps, filler


def to_absolute(gaps: Any) -> Array:
    """Return the positions of all entries, fillers among them, int32.

    Example:
        >>> to_absolute([1, 2, 7, 2])
        array([ 1,  4, 12, 15], dtype=int32)
    """
    return np.cumsum(np.asarray(gaps, np.int32) + 1, dtype=np.int32) - 1
