"""A multiplier as an integer and a shift, under one's fingers: how many bits does it need?"""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minigrad.debug.widgets import BLUE, GREY, ORANGE, Picture, Slider, explore
from minigrad.tensor import Array

MOST = 31
"""Bits of the multiplier in the integer engine."""


def short_multiplier(multiplier: float, bits: int) -> tuple[int, int]:
    """Return (Q, shift) with Q · 2**(shift - bits) next to the multiplier, and 2**(bits - 1) <= Q < 2**bits.

    With 31 bits that is `quantize_multiplier`, save for its limits.

    Raises:
        ValueError: the multiplier is not positive, or bits is not 1 to 31.

    Example:
        >>> short_multiplier(0.01, bits=5)  # 20 / 2**11 = 0.00977
        (20, -6)
    """
    if not (math.isfinite(multiplier) and multiplier > 0) or not 1 <= bits <= MOST:
        raise ValueError(
            f"short_multiplier: multiplier {multiplier} and {bits} bits, expected a positive number and 1 to {MOST}"
        )
    mantissa, shift = math.frexp(multiplier)
    q = math.floor(mantissa * 2**bits + 0.5)
    return (q // 2, shift + 1) if q == 2**bits else (q, shift)


def rescale(sums: Any, q: int, shift: int, bits: int) -> Array:
    """Return round(sums · q · 2**(shift - bits)), int64, half upwards, with integers alone.

    Example:
        >>> rescale([100, 5000, -5000], 20, -6, bits=5)
        array([  1,  49, -49])
    """
    down = bits - shift
    products = np.asarray(sums, np.int64) * q
    return products << -down if down <= 0 else (products + (1 << (down - 1))) >> down


def draw_multiplier(multiplier: float, bits: int) -> Picture:
    """Draw what an output of 8 bits loses, when its multiplier has only a few.

    Args:
        multiplier: M, the factor from the accumulator's steps to the output's.
        bits: of Q, 1 to 31.

    Returns:
        A Picture: the error over all accumulators whose output fits into 8 bits; and the largest one for each number of bits.

    Raises:
        ValueError: as `short_multiplier`.
    """
    sums = np.unique(np.linspace(-127 / multiplier, 127 / multiplier, 4001).round().astype(np.int64))
    errors = {b: rescale(sums, *short_multiplier(multiplier, b), b) - multiplier * sums for b in range(1, MOST + 1)}
    if bits not in errors:
        short_multiplier(multiplier, bits)
    q, shift = short_multiplier(multiplier, bits)
    near, most = q * 2.0 ** (shift - bits), {b: float(np.abs(error).max()) for b, error in errors.items()}
    words = (
        f"M = {multiplier:.4g} with {bits} {'bit' if bits == 1 else 'bits'}: Q = {q:,}, shift {shift}, together {near:.6g}. "
        f"For accumulators up to {sums[-1]:,} the output is off by {most[bits]:.3g} steps at most; "
        f"with {MOST} bits by {most[MOST]:.3g}."
    )
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(sums, errors[bits], color=BLUE, linewidth=0.7)
    for ax in (left, right):
        ax.axhline(0.5, color=GREY, linestyle="--")
        ax.spines[["top", "right"]].set_visible(False)
    left.axhline(-0.5, color=GREY, linestyle="--")
    left.set(xlabel="accumulator", ylabel="output less M · accumulator (steps)")
    left.locator_params(axis="x", nbins=5)
    left.set_title(f"M = {multiplier:.4g}, {bits} bits: Q = {q:,}, shift {shift}", fontsize=10)
    right.semilogy(list(most), list(most.values()), "o-", color=BLUE, markersize=4)
    right.plot(bits, most[bits], "o", color=ORANGE, markersize=11, markeredgecolor="black")
    right.text(MOST, 0.52, "half a step", color=GREY, ha="right", va="bottom", fontsize=9)
    right.set(xlabel="bits of Q", ylabel="largest error (steps, log scale)", ylim=(0.3, 130))
    right.set_title(f"off by {most[bits]:.3g} steps at most", fontsize=10)
    return Picture(figure, words)


def explore_multiplier(multiplier: float = 0.01) -> Any:
    """Show `draw_multiplier` with sliders for M and the bits of Q; without ipywidgets, a static picture with 5 bits.

    Args:
        multiplier: at the beginning, 0.0001 to 0.5.

    Returns:
        A widget, which a notebook shows; or a Picture if ipywidgets (extra `notebooks`) is missing.
    """
    return explore(
        draw_multiplier,
        lambda: draw_multiplier(multiplier, 5),
        multiplier=Slider("multiplier M", -4, -0.3, 0.05, value=multiplier, log=True),
        bits=Slider("bits of Q", 1, MOST, value=5),
    )
