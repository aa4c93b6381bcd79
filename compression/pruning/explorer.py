"""Sparsity under one's fingers: the threshold, the mask that follows, and what it costs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from minigrad.debug.widgets import BLUE, GREY, ORANGE, Choice, Picture, Slider, explore
from minigrad.loader import DataLoader
from minigrad.nn import Module
from minigrad.tensor import Array
from minigrad.training import count_correct

from .masks import kth_value_mask
from .pruner import SparsePruner
from .sensitivity import SensitivityScan, sensitivity_scan

STEP = 5
"""Percent from one measured sparsity to the next."""


@dataclass(frozen=True)
class MaskScan:
    """What `scan_masks` measured.

    Attributes:
        weights: name → array, of the model.
        alone: accuracies with one layer pruned, at 0, 5 ... 100 %.
        together: float64 (21,), percent, with every layer pruned to the same sparsity.
    """

    weights: dict[str, Array]
    alone: SensitivityScan
    together: Array


def scan_masks(model: Module, loader: DataLoader) -> MaskScan:
    """Measure the accuracy at 0, 5 ... 100 % sparsity, each layer alone and all together; the model stays as it is.

    Args:
        model: its weights of two or more dimensions are pruned by the k-th value of their magnitudes.
        loader: labelled images; some hundred will do.

    Raises:
        ValueError: as `sensitivity_scan`.
    """
    shares = [percent / 100 for percent in range(0, 101, STEP)]
    alone = sensitivity_scan(model, loader, shares)
    together = [
        count_correct(SparsePruner(model, dict.fromkeys(alone.sizes, share)).prune(model), loader)[0] / alone.images
        for share in shares
    ]
    weights = {name: p.data.copy() for name, p in model.named_parameters() if p.ndim > 1}
    return MaskScan(weights, alone, 100 * np.array(together))


def draw_mask(scan: MaskScan, name: str, percent: int) -> Picture:
    """Draw one layer's weights with the threshold, its mask, and the accuracy.

    Args:
        scan: of `scan_masks`.
        name: of the weight.
        percent: of the layer's weights to remove, a multiple of 5 from 0 to 100.

    Returns:
        A Picture. Of a convolution, the mask stands as filters beside and channels below each other.

    Raises:
        ValueError: percent was not measured.
        KeyError: there is no such weight.
    """
    if percent not in range(0, 101, STEP):
        raise ValueError(f"draw_mask: {percent} % was not measured, only 0, {STEP} ... 100 %")
    w = scan.weights[name]
    kept = kth_value_mask(w, percent / 100)
    gone = int(np.sum(~kept))
    threshold = float(np.abs(w[~kept]).max()) if gone else 0.0
    alone, together = scan.alone.accuracy[name][percent // STEP], scan.together[percent // STEP]
    words = (
        f"{name} at {percent} % sparsity: threshold {threshold:.4f}, {gone:,} of {w.size:,} weights are zero. "
        f"Of {scan.alone.images:,} images {alone:.1f} % are read correctly with this layer pruned, "
        f"{together:.1f} % with all layers pruned alike, {scan.alone.dense:.1f} % with none."
    )
    figure = Figure(figsize=(10, 3.3), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 1, 1.2))
    reach = float(np.abs(w).max()) or 1.0
    look: Any = {"bins": np.linspace(-reach, reach, 62).tolist(), "stacked": True, "color": [GREY, BLUE]}
    left.hist([w[~kept], w[kept]], label=["goes", "stays"], **look)
    for sign in (-1, 1):
        left.axvline(sign * threshold, color=ORANGE, linestyle="--", label="± threshold" if sign > 0 else None)
    left.set(xlabel="weight", ylabel="weights per bin")
    left.set_title(f"{name}, threshold {threshold:.4f}", fontsize=10)
    left.locator_params(axis="x", nbins=5)
    left.margins(y=0.4)  # room for the legend
    left.legend(fontsize=9, loc="upper right")
    _draw_kept(middle, kept)
    middle.set_title(f"{w.size - gone:,} of {w.size:,} stay (blue)", fontsize=10)
    shares = 100 * scan.alone.sparsities
    for values, color, style, label in (
        (scan.alone.accuracy[name], BLUE, "o-", "only this layer"),
        (scan.together, ORANGE, "s--", "all layers alike"),
    ):
        right.plot(shares, values, style, color=color, markersize=3, label=label)
        right.plot(percent, values[percent // STEP], style[0], color=color, markersize=11, markeredgecolor="black")
    right.set(xlabel="weights removed (%)", ylabel="accuracy (%)", ylim=(0, 104))
    right.set_title(f"{alone:.1f} % read right; all alike {together:.1f} %", fontsize=10)
    right.legend(fontsize=9, loc="lower left")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return Picture(figure, words)


def explore_mask(model: Module, loader: DataLoader) -> Any:
    """Show a layer's mask with a slider for its sparsity; without ipywidgets, a static picture at 75 %.

    All accuracies are measured before the first picture, without training after pruning: see `scan_masks`.

    Args:
        model: stays as it is.
        loader: labelled images; some hundred will do.

    Returns:
        A widget, which a notebook shows; or a Picture if ipywidgets (extra `notebooks`) is missing.

    Raises:
        ValueError: as `sensitivity_scan`.
    """
    scan = scan_masks(model, loader)
    largest = max(scan.weights, key=lambda name: scan.weights[name].size)
    names = sorted(scan.weights, key=lambda name: name != largest)
    return explore(
        lambda name, percent: draw_mask(scan, name, percent),
        lambda: draw_mask(scan, largest, 75),
        name=Choice("layer", {name: name for name in names}),
        percent=Slider("sparsity (%)", 0, 100, STEP, value=50),
    )


def _draw_kept(ax: Axes, kept: Array) -> None:
    """Draw a mask: blue stays, pale grey goes; filters of a convolution apart from each other."""
    if kept.ndim == 4:
        shown = np.pad(kept.astype(float), ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=np.nan)
        filters, channels, height, width = shown.shape
        if channels == 1 and filters > 3:  # in two rows
            shown = shown.reshape(-1, 2, height, width) if filters % 2 == 0 else shown
            filters, channels = shown.shape[:2]
        shown = shown.transpose(1, 2, 0, 3).reshape(channels * height, filters * width)[:-1, :-1]
        labels = ("filter", "channel") if kept.shape[1] > 1 else ("filters beside and below each other", "")
        ax.set(xlabel=labels[0], ylabel=labels[1], xticks=[], yticks=[])
    else:
        shown = kept.reshape(len(kept), -1).astype(float)
        ax.set(xlabel="input", ylabel="output")
    colors = ListedColormap(["#DDDDDD", BLUE])
    ax.imshow(shown, cmap=colors, vmin=0, vmax=1, interpolation="nearest", aspect="equal" if kept.ndim == 4 else "auto")
