"""Figures about quantization. Each function returns a matplotlib Figure: a notebook shows it, `.savefig` writes it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from minigrad.tensor import Array

from ..figures import BLUE, GREEN, GREY, ORANGE
from .analysis import NoiseRow
from .formats import dequantize, quantize
from .observers import OBSERVERS, make_observer

COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#000000")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def plot_observers(batches: Sequence[Array], bits: Sequence[int] = (8, 4), title: str = "activation") -> Figure:
    """Draw which range each observer chooses on a histogram of activations, and what rounding costs there.

    Args:
        batches: what the observers see, batch by batch; any shapes.
        bits: a panel for each.
        title: of the activations, on the axis.

    Returns:
        A Figure. Lines stand at the upper ends of the ranges (and at lower ends that are not zero); rms error: the root of
        the mean squared error over all values, in their own unit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> figure = plot_observers([rng.laplace(size=1000)], bits=[4])
        >>> len(figure.axes[0].get_legend().get_texts())
        5
    """
    values = np.concatenate([np.ravel(batch) for batch in batches])
    figure = Figure(figsize=(8, 2.9 * len(bits) + 0.4), layout="constrained")
    axes = figure.subplots(len(bits), 1, squeeze=False, sharex=True)[:, 0]
    for ax, width in zip(axes, bits, strict=True):
        ax.hist(values[values != 0], bins=120, color=GREY, alpha=0.4, log=True)
        for name, color, style in zip(OBSERVERS, COLORS, STYLES, strict=True):
            observer = make_observer(name, width)
            for batch in batches:
                observer.observe(batch)
            low, high = observer.range()
            params = observer.params(width)
            error = np.sqrt(np.mean((dequantize(quantize(values, params), params) - values) ** 2))
            label = f"{name}: {low:.2f} to {high:.2f}, rms error {error:.4f}"
            ax.axvline(high, ymax=0.55, color=color, linestyle=style, linewidth=2, label=label)
            if low < 0:
                ax.axvline(low, ymax=0.55, color=color, linestyle=style, linewidth=2)
        ax.set_title(f"{width} bits", fontsize=11)
        ax.set_ylabel("values per bin (log)")
        ax.legend(fontsize=9, loc="upper center" if values.min() < 0 else "upper right")  # above the lines
        if values.min() < 0:
            ax.set_ylim(top=ax.get_ylim()[1] ** 1.8)  # and above the middle
    share = (values == 0).mean()
    axes[-1].set_xlabel(title + (f"; the {share:.0%} that are zero are left out" if share > 0.005 else ""))
    return figure


def plot_noise(rows: Sequence[NoiseRow], sources: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw signal over noise of each tensor beside what its bits promise, and what each source of noise does to the loss.

    Args:
        rows: of `signal_to_noise`.
        sources: of `loss_by_source`.

    Returns:
        A Figure: points on the left, bars on the right.
    """
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = np.arange(len(rows))[::-1]
    left.plot([row.rule for row in rows], places, "|", color=GREY, markersize=14, label="6.02 dB a bit")
    left.plot([row.expected for row in rows], places, "o", color=ORANGE, fillstyle="none", markersize=9,
              label="expected: noise of S²/12")  # fmt: skip
    left.plot([row.measured for row in rows], places, "o", color=BLUE, markersize=5, label="measured")
    left.set_yticks(places, [row.name for row in rows])
    left.set_xlabel("signal over noise, dB")
    left.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.35, 1.0), ncols=3, columnspacing=1, handletextpad=0.4)
    left.grid(alpha=0.3)
    places = np.arange(len(sources))[::-1]
    right.barh(
        places + 0.18, [row["share"] for row in sources.values()], 0.34, color=BLUE, label="share of all (Shapley)"
    )
    right.barh(places - 0.18, [row["alone"] for row in sources.values()], 0.34, color=ORANGE, hatch="//", label="alone")
    right.set_yticks(places, list(sources))
    right.axvline(0, color=GREY, linewidth=1)
    right.set_xlabel("increase of the cross-entropy (nats)")
    right.locator_params(axis="x", nbins=4)
    right.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    right.grid(alpha=0.3, axis="x")
    return figure


def plot_line(shares: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Figure:
    """Draw accuracy on the way from float weights to rounded ones, as `along_line` measures it.

    Args:
        shares: values of λ.
        lines: words, such as "4 bits" → accuracies in percent.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    for (words, values), color, style, marker in zip(lines.items(), COLORS, STYLES, "os^Dv", strict=False):
        ax.plot(shares, values, color=color, linestyle=style, marker=marker, markersize=5, label=words)
    ax.set_xlabel("λ: weights are (1 − λ) · w + λ · deq(q(w))")
    ax.set_ylabel("accuracy on held-out images, %")
    ax.legend(title="weights of", fontsize=9)
    ax.grid(alpha=0.3)
    return figure
