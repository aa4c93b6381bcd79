"""Figures of a compression run. Each function returns a matplotlib Figure: a notebook shows it, `.savefig` writes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minigrad.nn import Module

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
