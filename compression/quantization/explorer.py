"""Bits under one's fingers: weights against the grid that they are rounded to, and the error."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minigrad.debug.widgets import BLUE, GREY, ORANGE, Choice, Picture, Slider, explore
from minigrad.tensor import Array

from .analysis import sqnr
from .codes import binarize
from .formats import activation_params, as_array, dequantize, quantize, weight_params

KINDS = {"symmetric": "o-", "affine": "s--"}
"""Kinds of grids, with the marks of their lines."""


def grid_points(w: Any, bits: int, kind: str = "symmetric") -> tuple[Array, Array]:
    """Round weights to the grid of a number of bits, one scale for all.

    Args:
        w: weights, any shape.
        bits: 1 to 8.
        kind: "symmetric": zero in the middle, as far to both sides as the largest weight reaches (1 bit: a sign times the
            mean magnitude); "affine": from the smallest weight to the largest.

    Returns:
        (points, rounded): the grid, ascending, float32; and the weights on it, float32 of w's shape.

    Raises:
        ValueError: bits is out of range, there is no such kind, or w is empty or has NaN or infinity.

    Example:
        >>> points, rounded = grid_points([-1.0, 0.2, 0.6], bits=2)
        >>> points, rounded
        (array([-1.,  0.,  1.], dtype=float32), array([-1.,  0.,  1.], dtype=float32))
    """
    w = as_array(w)
    if kind not in KINDS:
        raise ValueError(f"grid_points: there is no kind {kind!r}, only {', '.join(KINDS)}")
    if kind == "symmetric" and bits == 1:
        signs = binarize(w, per_channel=False)
        return np.array([-1, 1], np.float32) * signs.scale.reshape(-1), signs.decode()
    if kind == "symmetric":
        params = weight_params(w, bits, axis=None)
    else:
        params = activation_params(float(w.min()), float(w.max()), bits)
    return dequantize(np.arange(params.low, params.high + 1), params), dequantize(quantize(w, params), params)


def draw_grid(w: Any, bits: int, kind: str = "symmetric", title: str = "weights") -> Picture:
    """Draw weights against their grid, the histogram of the errors, and what each bit is worth.

    Args:
        w: weights, any shape.
        bits: 1 to 8.
        kind: "symmetric" or "affine", see `grid_points`.
        title: what the weights are called.

    Raises:
        ValueError: as `grid_points`.
    """
    w = as_array(w)
    points, rounded = grid_points(w, bits, kind)
    step, errors = float(points[1] - points[0]), (rounded - w).ravel()
    rms = float(np.sqrt(np.mean(errors.astype(np.float64) ** 2)))
    exact = w.astype(np.float64)
    ratios = {
        (k, b): sqnr(np.mean(exact**2), np.mean((grid_points(w, b, k)[1] - exact) ** 2))
        for k in KINDS
        for b in range(1, 9)
    }
    ratio, used = ratios[kind, bits], len(np.unique(rounded))
    words = (
        f"{title} with {bits} {'bit' if bits == 1 else 'bits'}, {kind}: {len(points)} points from {points[0]:.3g} to "
        f"{points[-1]:.3g}, {used} of them used, {step:.3g} apart. Root mean square error {rms:.3g}, SQNR {ratio:.1f} dB; "
        f"the rule for evenly spread numbers says {6.02 * bits:.1f} dB."
    )
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(5, 1), width_ratios=(1.3, 1, 1.1))
    top, ruler = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    middle, right = figure.add_subplot(grid[:, 1]), figure.add_subplot(grid[:, 2])
    top.hist(w.ravel(), bins=80, color=GREY, alpha=0.7)
    top.set(ylabel="weights per bin", xticklabels=[])
    top.set_title(f"{title}, and the {len(points)} points of the grid", fontsize=10)
    ruler.plot(points, np.zeros(len(points)), "|", color=BLUE, markersize=16, markeredgewidth=1 if bits > 5 else 2.5)
    ruler.set(yticks=[], xlabel="weight")
    ends = min(float(w.min()), float(points[0])), max(float(w.max()), float(points[-1]))
    for ax in (top, ruler):
        ax.set_xlim(ends[0] - 0.03 * (ends[1] - ends[0]), ends[1] + 0.03 * (ends[1] - ends[0]))
    middle.hist(errors, bins=60, color=ORANGE)
    for sign in (-1, 1):
        middle.axvline(sign * step / 2, color="black", linestyle=":", label="± half a step" if sign > 0 else None)
    middle.set(xlabel="error: rounded less weight", ylabel="weights per bin")
    middle.set_title(f"root mean square {rms:.3g}", fontsize=10)
    middle.margins(y=0.15)  # room for the legend
    middle.legend(fontsize=9, loc="upper center")
    middle.locator_params(axis="x", nbins=3)
    widths = range(1, 9)
    right.plot(widths, [6.02 * b for b in widths], ":", color=GREY, label="6.02 dB a bit")
    for (name, style), color in zip(KINDS.items(), (BLUE, ORANGE), strict=True):
        right.plot(widths, [ratios[name, b] for b in widths], style, color=color, markersize=4, label=name)
    marker, color = KINDS[kind][0], BLUE if kind == "symmetric" else ORANGE
    right.plot(bits, ratio, marker, color=color, markersize=11, markeredgecolor="black")
    right.set(xlabel="bits", ylabel="SQNR (dB)", xticks=widths)
    right.set_title(f"{bits} {'bit' if bits == 1 else 'bits'}, {kind}: {ratio:.1f} dB", fontsize=10)
    right.legend(fontsize=9)
    for ax in (top, ruler, middle, right):
        ax.tick_params(labelsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    ruler.spines["left"].set_visible(False)
    return Picture(figure, words)


def explore_grid(w: Any, title: str = "weights") -> Any:
    """Show weights against their grid with a slider for the bits; without ipywidgets, a static picture with 3 bits.

    Args:
        w: weights, any shape.
        title: what they are called.

    Returns:
        A widget, which a notebook shows; or a Picture if ipywidgets (extra `notebooks`) is missing.

    Raises:
        ValueError: w is empty or has NaN or infinity.
    """
    return explore(
        lambda bits, kind: draw_grid(w, bits, kind, title),
        lambda: draw_grid(w, 3, title=title),
        bits=Slider("bits", 1, 8, value=3),
        kind=Choice("grid", {kind: kind for kind in KINDS}),
    )
