"""Figures of a compression run. Each function returns a matplotlib Figure: a notebook shows it, `.savefig` writes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minigrad.nn import Module

from .pruning import SensitivityScan, StabilityScan

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#666666"


def plot_weights(models: Mapping[str, Module], bins: int = 61) -> Figure:
    """Draw a histogram of the non-zero weights of each layer (columns) at each stage (rows).

    Args:
        models: stage name → model; all of one architecture.
        bins: of each histogram. An odd number puts zero into the middle of one.

    Returns:
        A Figure. Zeros are counted in each panel's corner: as a bar they would dwarf everything else.
    """
    names = [name for name, p in next(iter(models.values())).named_parameters() if p.ndim > 1]
    figure = Figure(figsize=(2.6 * len(names), 2.1 * len(models)), layout="constrained")
    axes = figure.subplots(len(models), len(names), squeeze=False, sharex="col")
    for row, (stage, model) in enumerate(models.items()):
        weights = {name: p.data for name, p in model.named_parameters()}
        for column, name in enumerate(names):
            ax, w = axes[row, column], weights[name].reshape(-1)
            reach = max(float(np.abs(dict(m.named_parameters())[name].data).max()) for m in models.values()) or 1.0
            color = (BLUE, ORANGE, GREEN)[row % 3]
            ax.hist(w[w != 0], bins=np.linspace(-reach, reach, bins + 1).tolist(), color=color)
            zeros = int((w == 0).sum())
            ax.text(0.03, 0.95, f"{zeros:,} of {w.size:,}\nare zero", transform=ax.transAxes, va="top", fontsize=8)
            ax.margins(y=0.3)
            ax.tick_params(labelsize=8)
            if row == 0:
                ax.set_title(name, fontsize=10)
            if row == len(models) - 1:
                ax.set_xlabel("weight", fontsize=9)
            if column == 0:
                ax.set_ylabel(f"{stage}\nweights per bin", fontsize=9)
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


SERIES = [
    (BLUE, "-"),
    (ORANGE, "--"),
    (GREEN, "-."),
    (GREY, ":"),
    ("#CC79A7", (0, (3, 1, 1, 1, 1, 1))),
    ("#56B4E9", "-"),
]
"""Colour and dashes of lines that share a panel."""


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
        ax.plot(100 * scan.sparsities, accuracy, color=color, linestyle=dashes, marker=".", label=label)
        if allocation:
            x = allocation[name]
            y = np.interp(x, scan.sparsities, accuracy)
            ax.plot(100 * x, y, "D", color=color, markersize=16 - 2 * i, fillstyle="none")  # rings: none hides another
    ax.axhline(scan.dense, color="black", linewidth=0.8)
    ax.annotate(f"dense {scan.dense:.2f} %", (0, scan.dense), xytext=(0, 4), textcoords="offset points", fontsize=8)
    ax.set_xlabel("weights of the layer removed (%)")
    ax.set_ylabel("accuracy (%)")
    ax.set_ylim(scan.dense - lost, scan.dense + 0.1 * lost)
    ax.set_title("Each layer pruned by itself" + (" (diamonds: sparsity chosen)" if allocation else ""), fontsize=11)
    ax.legend(title="weight (size)", loc="lower left", fontsize=8, title_fontsize=8)
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
    axes[0, 0].legend(fontsize=8)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return figure
