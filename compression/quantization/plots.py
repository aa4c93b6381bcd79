"""Figures about quantization. Each function returns a matplotlib Figure: a notebook shows it, `.savefig` writes it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from minigrad.tensor import Array

from ..figures import BLUE, GREEN, GREY, ORANGE
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
            ax.axvline(high, color=color, linestyle=style, linewidth=2, label=label)
            if low < 0:
                ax.axvline(low, color=color, linestyle=style, linewidth=2)
        ax.set_title(f"{width} bits", fontsize=11)
        ax.set_ylabel("values per bin (log)")
        ax.legend(fontsize=9, loc="upper center" if values.min() < 0 else "upper right", framealpha=0.95)
    share = (values == 0).mean()
    axes[-1].set_xlabel(title + (f"; the {share:.0%} that are zero are left out" if share > 0.005 else ""))
    return figure
