"""Figures of a compression run. Each function returns a matplotlib Figure: a notebook shows it, `.savefig` writes it."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from minigrad.debug.widgets import BLUE, GREEN, GREY, ORANGE
from minigrad.nn import Module
from minigrad.tensor import Array

from .pruning import SensitivityScan, StabilityScan
from .sparse import CONTESTANTS

COLORS = ("#0072B2", "#56B4E9", "#999999", "#8A7000", "#E69F00", "#CC79A7", "#000000", "#009E73", "#D55E00")
"""Okabe and Ito's for many lines; yellow is darkened, to be seen on white. Give each a marker of its own as well."""


def plot_weights(models: Mapping[str, Module], bins: int = 61) -> Figure:
    """Draw a histogram of the non-zero weights of each layer (columns) at each stage (rows).

    Args:
        models: stage name → model; all of one architecture.
        bins: of each histogram. An odd number puts zero into the middle of one.

    Returns:
        A Figure. Zeros are counted in each panel's corner: as a bar they would dwarf everything else.
    """
    names = [name for name, p in next(iter(models.values())).named_parameters() if p.ndim > 1]
    figure = Figure(figsize=(2.1 * len(names) + 0.4, 2.1 * len(models)), layout="constrained")
    axes = figure.subplots(len(models), len(names), squeeze=False, sharex="col")
    for row, (stage, model) in enumerate(models.items()):
        weights = {name: p.data for name, p in model.named_parameters()}
        for column, name in enumerate(names):
            ax, w = axes[row, column], weights[name].reshape(-1)
            reach = max(float(np.abs(dict(m.named_parameters())[name].data).max()) for m in models.values()) or 1.0
            color = (BLUE, ORANGE, GREEN)[row % 3]
            ax.hist(w[w != 0], bins=np.linspace(-reach, reach, bins + 1).tolist(), color=color)
            zeros = int((w == 0).sum())
            ax.text(0.03, 0.95, f"{zeros:,} of {w.size:,}\nare zero", transform=ax.transAxes, va="top", fontsize=9)
            ax.margins(y=0.3)
            ax.locator_params(nbins=4)
            ax.tick_params(labelsize=9)
            if row == 0:
                ax.set_title(name, fontsize=10)
            if row == len(models) - 1:
                ax.set_xlabel("weight", fontsize=9)
            if column == 0:
                ax.set_ylabel(f"{stage}\nweights per bin", fontsize=9)
    return figure


def plot_masks(models: Mapping[str, Module], name: str = "conv1.weight", columns: int | None = None) -> Figure:
    """Draw which weights of a convolution are left: a row for each model, a panel for each filter.

    Args:
        models: words, such as "magnitude" → model; filters that are taken out leave their place at the end of a row empty.
        name: of the weight, (F, C, KH, KW). Several channels stand below each other.
        columns: panels beside each other, where a model's filters need more than one row; None for all.

    Returns:
        A Figure. Grey is a weight that is zero; colours are the others' values, on one scale for all. The numbers count what is
        left.

    Raises:
        ValueError: the weight is not that of a convolution.
    """
    weights = {words: dict(model.named_parameters())[name].data for words, model in models.items()}
    for words, w in weights.items():
        if w.ndim != 4:
            raise ValueError(f"plot_masks: {name} of {words} has shape {w.shape}, expected that of a convolution")
    columns = columns or max(len(w) for w in weights.values())
    reach = max(float(np.abs(w).max()) for w in weights.values()) or 1.0
    tall = max(w.shape[1] * w.shape[2] / w.shape[3] for w in weights.values())
    rows = [(words, w[i : i + columns]) for words, w in weights.items() for i in range(0, len(w), columns)]
    figure = Figure(figsize=(columns + 1.4, (min(tall, 2.5) + 0.25) * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    colors = ScalarMappable(Normalize(-reach, reach), "PuOr_r")
    for row, (words, w) in zip(axes, rows, strict=True):
        for ax in row:
            ax.set(xticks=[], yticks=[], frame_on=False)
        row[0].set_ylabel(words, fontsize=9)
        for ax, values in zip(row, w, strict=False):
            picture = np.ma.masked_equal(values.reshape(-1, values.shape[-1]), 0)  # (C * KH, KW)
            ax.set_facecolor("#AAAAAA")
            ax.set_frame_on(True)
            ax.imshow(picture, cmap=colors.cmap, norm=colors.norm)
            ax.set_title(f"{np.count_nonzero(values)} of {values.size}", fontsize=9)
    figure.colorbar(colors, ax=axes, label="weight (grey: zero)", pad=0.01)
    figure.suptitle(f"{name}: what is left of each filter", fontsize=11)
    return figure


def plot_accuracy(stages: Sequence[Mapping[str, Any]], reference: Mapping[str, float] | None = None) -> Figure:
    """Draw the accuracy of each stage with its interval.

    Args:
        stages: rows of a report: "stage", "accuracy" (percent), "interval" (low, high).
        reference: stage → accuracy of a published run, drawn beside.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    ax = figure.subplots()
    names = [s["stage"] for s in stages]
    accuracy = np.array([s["accuracy"] for s in stages])
    reach = np.abs(np.array([s["interval"] for s in stages]).T - accuracy)
    ax.bar(names, accuracy, width=0.5, color=BLUE)
    ax.errorbar(names, accuracy, yerr=reach, fmt="none", color="black", capsize=5)
    for x, y in enumerate(accuracy):
        ax.annotate(f"{y:.2f} %", (x, y), xytext=(0, 8), textcoords="offset points", ha="center")
    if reference:
        published = [name for name in names if name in reference]
        places = [names.index(n) + 0.33 for n in published]  # beside the bars, so that the intervals stay visible
        ax.plot(places, [reference[n] for n in published], "D", color=ORANGE, label="the article's run")
        ax.legend(loc="upper center")
    ax.set_ylim(0, 112)
    ax.set_yticks(range(0, 101, 20))
    ax.set_ylabel("accuracy on the test images (%)")
    ax.set_title("LeNet on MNIST (whiskers: 95 % interval)", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def spread_accuracies(ax: Axes, lowest: float = 5.0) -> None:
    """Make a y axis of accuracies in percent that gives the step from 90 to 99 as much room as that from 0 to 90."""
    ax.set_yscale("function", functions=(lambda a: -np.log10(np.maximum(100 - a, 0.1)), lambda t: 100 - 10.0**-t))
    ax.set_ylim(lowest, 99.4)
    shown = [tick for tick in (10, 50, 70, 80, 90, 95, 97, 98, 99) if tick > lowest]
    ax.yaxis.set_major_locator(FixedLocator(shown))
    ax.yaxis.set_minor_locator(NullLocator())


SERIES = [
    (BLUE, "-"),
    (ORANGE, "--"),
    (GREEN, "-."),
    (GREY, ":"),
    ("#CC79A7", (0, (3, 1, 1, 1, 1, 1))),
    ("#56B4E9", "-"),
]
"""Colour and dashes of lines that share a panel."""

MARKERS = "os^vPX"
"""For lines that SERIES alone would not tell apart: some of its colours look alike to a colour-blind reader."""


def plot_sensitivity(scan: SensitivityScan, allocation: Mapping[str, float] | None = None, lost: float = 20) -> Figure:
    """Draw accuracy over sparsity, a line for each layer pruned by itself (Han et al. 2015, figure 6).

    Args:
        scan: what `sensitivity_scan` found.
        allocation: weight name → sparsity, marked on the lines.
        lost: how many points below the dense accuracy the picture ends; 20 as in the paper's.
    """
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    ax = figure.subplots()
    for i, (name, accuracy) in enumerate(scan.accuracy.items()):
        color, dashes = SERIES[i % len(SERIES)]
        label = f"{name} ({scan.sizes[name]:,})"
        style = {"color": color, "linestyle": dashes, "marker": MARKERS[i % len(MARKERS)], "markersize": 5}
        ax.plot(100 * scan.sparsities, accuracy, label=label, **style)
        if allocation:
            x = allocation[name]
            y = np.interp(x, scan.sparsities, accuracy)
            ax.plot(100 * x, y, "D", color=color, markersize=16 - 2 * i, fillstyle="none")  # rings: none hides another
    ax.axhline(scan.dense, color="black", linewidth=0.8)
    ax.annotate(f"dense {scan.dense:.2f} %", (0, scan.dense), xytext=(0, 4), textcoords="offset points", fontsize=9)
    ax.set_xlabel("weights of the layer removed (%)")
    ax.set_ylabel("accuracy (%)")
    ax.set_ylim(scan.dense - lost, scan.dense + 0.1 * lost)
    ax.set_title("Each layer pruned by itself" + (" (diamonds: sparsity chosen)" if allocation else ""), fontsize=11)
    ax.legend(title="weight (size)", loc="lower left", fontsize=9, title_fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def plot_stability(scans: Mapping[str, StabilityScan]) -> Figure:
    """Draw change of output (upper row) and flipped predictions (lower row) over noise, on inputs and on weights.

    Args:
        scans: model name, such as "dense", → what `stability_scan` found. Noise of size 0 has no place on the log axis.
    """
    figure = Figure(figsize=(7.6, 5), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, kind in enumerate(("inputs", "weights")):
        for i, (name, scan) in enumerate(scans.items()):
            color, dashes = SERIES[i % len(SERIES)]
            shown = scan.noise > 0
            for row, values in enumerate((scan.change[kind], scan.flipped[kind])):
                axes[row, column].plot(
                    scan.noise[shown], values[shown], color=color, linestyle=dashes, marker=".", label=name
                )
        axes[0, column].set_title(f"noise on {kind}", fontsize=11)
        unit = "the images' deviation" if kind == "inputs" else "each weight"
        axes[1, column].set_xlabel(f"noise, as a share of {unit}")
        axes[0, column].set(xscale="log", yscale="log")
    axes[0, 0].set_ylabel("relative change of the logits")
    axes[1, 0].set_ylabel("predictions flipped (%)")
    axes[0, 0].legend(fontsize=9)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def plot_connections(weight: Array, side: int = 28) -> Figure:
    """Draw which connections of a linear layer that reads images survived (Han et al. 2015, figure 4).

    Args:
        weight: (neurons, side * side), zero where pruned. Neurons without any connection are left out.
        side: of the images, in pixels.

    Returns:
        A Figure: above, a dot for each connection, a row for each neuron and a column for each pixel, in the image's order,
        so that each row of pixels makes a band; below, how many connections each pixel has, and the same as an image.
    """
    alive = weight[(weight != 0).any(axis=1)] != 0  # (neurons alive, pixels)
    per_pixel = alive.sum(axis=0)
    figure = Figure(figsize=(10, 6.2), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[5.2, 1], height_ratios=[3, 1])
    dots, counts, image = (figure.add_subplot(grid[place]) for place in ((0, 0), (1, 0), (1, 1)))
    neurons, pixels = np.nonzero(alive)
    dots.plot(pixels, neurons, ",", color=BLUE)
    dots.set(xlim=(-0.5, weight.shape[1] - 0.5), ylim=(len(alive) - 0.5, -0.5), ylabel="neuron")
    share = 100 * alive.sum() / weight.size
    dots.set_title(f"{alive.sum():,} of {weight.size:,} connections are left ({share:.1f} %)", fontsize=11)
    counts.bar(np.arange(len(per_pixel)), per_pixel, width=1, color=BLUE)
    counts.set(xlim=dots.get_xlim(), ylabel="connections", xlabel=f"pixel, row by row: a tick every {side}")
    for ax in (dots, counts):
        ax.set_xticks(range(0, weight.shape[1] + 1, 4 * side))
        ax.set_xticks(range(0, weight.shape[1] + 1, side), minor=True)
        ax.tick_params(axis="x", labelbottom=ax is counts)
    shown = image.imshow(per_pixel.reshape(side, side), cmap="viridis")
    image.set(xticks=[], yticks=[], xlabel="as an image")
    figure.colorbar(shown, ax=image, label="connections")
    return figure


def plot_atlas(atlas: Mapping[str, Any]) -> Figure:
    """Draw the time of each format over NumPy's dense product, against sparsity: a panel for each shape and batch.

    Args:
        atlas: what `measure_atlas` returned. A diamond marks where a format becomes faster than NumPy's dense product.
    """
    shapes, batches = ([*dict.fromkeys(map(tuple, atlas["grid"]["shapes"]))], atlas["grid"]["batches"])
    figure = Figure(figsize=(1.2 + 2.9 * len(batches), 1.2 + 2.4 * len(shapes)), layout="constrained")
    axes = figure.subplots(len(shapes), len(batches), squeeze=False, sharex=True, sharey=True)
    markers = dict(zip(CONTESTANTS, " .osv^", strict=True))
    for ax, key in zip(axes.flat, product(shapes, batches), strict=True):
        line = [p for p in atlas["points"] if (tuple(p["shape"]), p["batch"]) == key]
        line.sort(key=lambda point: point["sparsity"])
        zeros = [100 * point["sparsity"] for point in line]
        ax.axhline(1, color="black", linewidth=0.9, label=CONTESTANTS["numpy"])
        for (name, words), (color, dashes) in zip([*CONTESTANTS.items()][1:], _ATLAS_SERIES, strict=True):
            ratios = [point["seconds"][name] / point["seconds"]["numpy"] for point in line]
            style = {"color": color, "linestyle": dashes, "marker": markers[name], "markersize": 4.5, "linewidth": 1.5}
            ax.plot(zeros, ratios, label=words, **style)
        for crossover in atlas["crossovers"]:
            if (tuple(crossover["shape"]), crossover["batch"]) == key and crossover["sparsity"] is not None:
                color = _ATLAS_SERIES[[*CONTESTANTS].index(crossover["format"]) - 1][0]
                if crossover["sparsity"] > min(atlas["grid"]["sparsities"]):
                    ax.plot(100 * crossover["sparsity"], 1, "D", color=color, markersize=7, markeredgecolor="black")
        ax.set_title(f"{key[0][0]}×{key[0][1]}, batch {key[1]}", fontsize=10)
        ax.set_yscale("log")
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.supxlabel("weights that are zero (%)", fontsize=10)
    figure.supylabel("time / time of NumPy's dense product", fontsize=10)
    axes[0, 0].plot([], [], "D", color="white", markeredgecolor="black", label="faster than NumPy from here on")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    return figure


_ATLAS_SERIES = [(GREY, ":"), (BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), ("#CC79A7", (0, (5, 1)))]
