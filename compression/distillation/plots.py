"""Figures about distillation. Each function returns a matplotlib Figure: a notebook shows it, `.savefig` writes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minigrad.tensor import Array

from ..figures import BLUE, GREY, ORANGE, SERIES
from ..report import t_interval
from . import analysis
from .checks import check_logits, check_temperatures
from .losses import soft_targets

NAMED = 4
"""How many of an image's classes get a colour and a name; the others are grey."""


def plot_soft_targets(logits: Any, temperatures: Any, images: Any = None, labels: Any = None) -> Figure:
    """Draw softmax(logits / T) against T: for each image a panel, for each class a line.

    Args:
        logits: of a teacher, (N, K), or (K,) for one image. Up to about eight images fit.
        temperatures: S numbers above 0, drawn on a log axis.
        images: (N, H, W) or (N, 1, H, W), shown in the panels' corners.
        labels: (N,), named in the titles.

    Raises:
        ValueError: a temperature is not a finite number above 0; logits have another shape; images or labels are not N.

    Example:
        >>> figure = plot_soft_targets([8.0, 5.0, -3.0], [1, 2, 5, 20])
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['0', '1', '2']
    """
    logits = check_logits("plot_soft_targets", logits)
    temperatures = check_temperatures("plot_soft_targets", temperatures)
    _check_count("plot_soft_targets", len(logits), images=images, labels=labels)
    count = len(logits)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(0.6 + 3.2 * columns, 0.6 + 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    p = np.stack([soft_targets(logits, t) for t in temperatures])  # (S, N, K)
    for n, ax in enumerate(axes):
        if n >= count:
            ax.axis("off")
            continue
        _draw_soft_targets(ax, temperatures, p[:, n], np.argsort(-logits[n], kind="stable"))
        _temperature_axis(ax, label=n >= count - columns)
        label = "" if labels is None else f"labelled {np.asarray(labels)[n]}"
        ax.set_title(label if count > 1 or label else "soft targets", fontsize=10)
        if n % columns == 0:
            ax.set_ylabel("probability")
        if images is not None:
            inset = ax.inset_axes((0.74, 0.7, 0.26, 0.3))
            inset.imshow(np.asarray(images)[n].reshape(np.shape(images)[-2:]), cmap="gray")
            inset.axis("off")
    return figure


def _draw_soft_targets(ax: Axes, temperatures: Array, p: Array, order: Array) -> None:
    """p: (S, K); order: classes, the teacher's first choice first."""
    for place, k in enumerate(order):
        color, dashes = SERIES[place] if place < NAMED else ("#BBBBBB", "-")
        width = 1.8 if place < NAMED else 0.8
        label = str(k) if place < NAMED or len(order) <= NAMED else "_nolegend_"
        ax.plot(temperatures, p[:, k], color=color, linestyle=dashes, linewidth=width, label=label)
    if len(order) > NAMED:
        ax.plot([], [], color="#BBBBBB", linewidth=0.8, label="others")
    ax.set(xscale="log", ylim=(-0.03, 1.03))
    ax.legend(
        title="class",
        fontsize=9,
        title_fontsize=9,
        loc="upper right",
        bbox_to_anchor=(1, 0.7),
        handlelength=1.8,
        labelspacing=0.2,
    )
    _clean(ax)


def plot_temperature_entropy(logits: Any, temperatures: Any) -> Figure:
    """Draw the entropy of softmax(logits / T) against T: the mean over images, and the band of the middle 80 %.

    Args:
        logits: (N, K), or (K,) for one image.
        temperatures: S numbers above 0, drawn on a log axis.

    Raises:
        ValueError: as `plot_soft_targets`.

    Example:
        >>> figure = plot_temperature_entropy([8.0, 5.0, -3.0], [1, 2, 5, 20])
        >>> figure.axes[0].get_ylabel()
        'entropy of the soft targets (nats)'
    """
    logits = check_logits("plot_temperature_entropy", logits)
    temperatures = check_temperatures("plot_temperature_entropy", temperatures)
    nats = analysis.entropy(logits, temperatures)  # (S, N)
    figure, ax = _panel()
    low, high = np.percentile(nats, [10, 90], axis=1)
    ax.fill_between(temperatures, low, high, color=BLUE, alpha=0.2, linewidth=0, label="middle 80 % of the images")
    ax.plot(temperatures, nats.mean(axis=1), color=BLUE, marker=".", label="mean")
    most = np.log(logits.shape[1])
    ax.axhline(most, color=GREY, linestyle=":", label=f"uniform: log {logits.shape[1]} = {most:.2f}")
    ax.set(xscale="log", ylabel="entropy of the soft targets (nats)", ylim=(0, 1.08 * most))
    _temperature_axis(ax)
    ax.legend(fontsize=9)
    return figure


def plot_gradient_terms(terms: analysis.GradientTerms, temperatures: Any) -> Figure:
    """Draw the length of the two terms' gradients against T, the soft one with and without T².

    Args:
        terms: what `analysis.gradient_terms` found at these temperatures.
    """
    temperatures = check_temperatures("plot_gradient_terms", temperatures)
    figure, ax = _panel()
    lines = [
        ("soft term times T²", terms.balanced),
        ("soft term alone", terms.soft),
        ("hard term (labels)", terms.hard),
    ]
    for (label, values), (color, dashes) in zip(lines, SERIES, strict=False):
        ax.plot(temperatures, values, color=color, linestyle=dashes, label=label)
    last = temperatures >= temperatures.max() / 8
    slope = terms.soft[-1] * (temperatures[-1] / temperatures[last]) ** 2
    ax.plot(temperatures[last], 1.6 * slope, "k:", lw=1, label="1/T²")
    ax.set(xscale="log", yscale="log", ylabel="length of the gradient (per image)")
    _temperature_axis(ax)
    ax.legend(fontsize=9)
    return figure


def plot_gradient_cosine(cosines: Array, temperatures: Any) -> Figure:
    """Draw the cosine between the soft term's gradient and logit matching's against T: the mean, and the middle 80 %.

    Args:
        cosines: (S, N), what `analysis.gradient_cosine` found at these temperatures.
    """
    temperatures = check_temperatures("plot_gradient_cosine", temperatures)
    figure, ax = _panel()
    low, high = np.nanpercentile(cosines, [10, 90], axis=1)
    ax.fill_between(temperatures, low, high, color=BLUE, alpha=0.2, linewidth=0, label="middle 80 % of the images")
    ax.plot(temperatures, np.nanmean(cosines, axis=1), color=BLUE, marker=".", label="mean")
    ax.axhline(1, color=GREY, linestyle=":", label="the same direction")
    ax.set(xscale="log", ylabel="cosine: soft targets, logit matching", ylim=(min(0, low.min()) - 0.03, 1.06))
    _temperature_axis(ax)
    ax.legend(fontsize=9, loc="lower right")
    return figure


def plot_gain(gain: Any, temperatures: Sequence[float], alphas: Sequence[float]) -> Figure:
    """Draw a student's gain over training alone as a heat map: α down, T across.

    Args:
        gain: percentage points, (A, S): a row for each α, a column for each T.
        temperatures, alphas: S and A numbers.

    Raises:
        ValueError: gain has another shape.
    """
    gain = np.asarray(gain, float)
    if gain.shape != (len(alphas), len(temperatures)):
        raise ValueError(
            f"plot_gain: gain must have a row for each alpha and a column for each temperature, "
            f"({len(alphas)}, {len(temperatures)}), got {gain.shape}"
        )
    figure = Figure(figsize=(2.2 + 0.75 * len(temperatures), 1.4 + 0.5 * len(alphas)), layout="constrained")
    ax = figure.subplots()
    reach = max(float(np.nanmax(np.abs(gain))), 1e-9)
    shown = ax.imshow(gain, cmap="PuOr", vmin=-reach, vmax=reach, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(gain):
        dark = abs(value) > 0.6 * reach
        ax.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=9, color="white" if dark else "black")
    ax.set_xticks(range(len(temperatures)), [f"{t:g}" for t in temperatures])
    ax.set_yticks(range(len(alphas)), [f"{a:g}" for a in alphas])
    ax.set(xlabel="temperature T", ylabel="α (weight of the teacher)")
    figure.colorbar(shown, ax=ax, label="gain over training alone (points)")
    return figure


def plot_confusions(matrices: Mapping[str, Array]) -> Figure:
    """Draw confusion matrices side by side, the diagonal left blank: only mistakes get a colour, on one scale for all.

    Args:
        matrices: name, such as "teacher", → counts (K, K) as `analysis.confusion_matrix` gives them.
    """
    figure = Figure(figsize=(3.2 * len(matrices) + 0.6, 3.6), layout="constrained")
    axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    mistakes = {name: np.where(np.eye(len(m), dtype=bool), 0, m) for name, m in matrices.items()}
    most = max(1, *(int(m.max()) for m in mistakes.values()))
    shown = None
    for ax, (name, counts), every in zip(axes, mistakes.items(), matrices.values(), strict=True):
        shown = ax.imshow(counts, cmap="Blues", vmin=0, vmax=most)
        for (row, column), value in np.ndenumerate(counts):
            if value:
                color = "white" if value > 0.6 * most else "black"
                ax.text(column, row, str(value), ha="center", va="center", fontsize=9, color=color)
        ax.set_title(f"{name}: {counts.sum():,} errors in {np.sum(every):,}", fontsize=10)
        ax.set(xlabel="taken for", xticks=range(len(counts)), yticks=range(len(counts)))
    axes[0].set_ylabel("labelled")
    if shown is not None:
        figure.colorbar(shown, ax=axes, label="images", pad=0.01)
    return figure


def plot_negative_share(shares: analysis.LabelShares, temperatures: Any) -> Figure:
    """Draw where the soft term's gradient goes, against T: to the own class, to other classes above and below their mean.

    Args:
        shares: what `analysis.negative_share` found at these temperatures.
    """
    temperatures = check_temperatures("plot_negative_share", temperatures)
    figure, ax = _panel()
    groups = [
        (shares.positive, "the image's class", GREY, ""),
        (shares.above, "others, above their mean", ORANGE, "//"),
        (shares.below, "others, below their mean", BLUE, ".."),
    ]
    base = np.zeros(len(temperatures))
    for share, label, color, hatch in groups:
        top = base + 100 * share
        ax.fill_between(
            temperatures, base, top, color=color, alpha=0.75, hatch=hatch, edgecolor="white", linewidth=0, label=label
        )
        base = top
    ax.axvline(1, color="black", linewidth=0.8, linestyle=":")
    ax.set(
        xscale="log", ylabel="share of the gradient (%)", ylim=(0, 100), xlim=(temperatures.min(), temperatures.max())
    )
    _temperature_axis(ax)
    ax.legend(
        fontsize=9,
        loc="upper center",
        bbox_to_anchor=(0.48, 1.16),
        ncols=3,
        columnspacing=0.8,
        handlelength=1,
        handletextpad=0.4,
    )
    return figure


def plot_noise_effect(
    effects: Mapping[str, Array], temperatures: Any, marked: Sequence[float] = (2, 20), *, scale: float | None = None
) -> Figure:
    """Draw how much noise on the teacher's lowest logits changes the gradient, against T.

    Args:
        effects: name, such as "lowest 3 of 10", → what `analysis.noise_effect` found at these temperatures.
        marked: temperatures to point out.
        scale: the noise's standard deviation, in logits, for the legend.
    """
    temperatures = check_temperatures("plot_noise_effect", temperatures)
    figure, ax = _panel()
    for (name, values), (color, dashes) in zip(effects.items(), SERIES, strict=False):
        percent = 100 * np.asarray(values)
        points = np.interp(np.log(marked), np.log(temperatures), percent)
        told = ", ".join(f"{y:.2g} % at T = {t:g}" for t, y in zip(marked, points, strict=True))
        ax.plot(temperatures, percent, color=color, linestyle=dashes, label=f"{name}: {told}")
        ax.plot(marked, points, "o", color=color)
    for t in marked:
        ax.axvline(t, color=GREY, linewidth=0.8, linestyle=":")
    ax.set(xscale="log", ylabel="change of the gradient (%)", ylim=(0, 1.3 * ax.get_ylim()[1]))  # room for the legend
    _temperature_axis(ax)
    deviation = "" if scale is None else f" (standard deviation {scale:g})"
    ax.legend(fontsize=9, title=f"noise{deviation} on the teacher's logits", title_fontsize=9, loc="upper left")
    return figure


def plot_mistakes_of_the_teacher(found: analysis.TeacherMistakes) -> Figure:
    """Draw what students do on the images that the teacher gets wrong, by α.

    Args:
        found: what `analysis.mistakes_of_the_teacher` counted.
    """
    figure, ax = _panel()
    names, base = [f"{a:g}" for a in found.alphas], np.zeros(len(found.alphas))
    total = max(found.repeated + found.other + found.right, default=0)
    parts = [
        ("the teacher's mistake again", found.repeated, ORANGE, "//"),
        ("another mistake", found.other, GREY, ".."),
        ("right", found.right, BLUE, ""),
    ]
    for label, counts, color, hatch in parts:
        bars = ax.bar(names, counts, bottom=base, width=0.7, color=color, hatch=hatch, edgecolor="white", label=label)
        for text in ax.bar_label(bars, [str(c) for c in counts], label_type="center", fontsize=9):
            text.set_bbox({"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"})
            text.set_visible(int(text.get_text()) > 0.05 * total)  # a number needs room
        base = base + counts
    ax.set(xlabel="α (weight of the teacher)", ylabel="images that the teacher gets wrong")
    ax.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=3, columnspacing=1, handlelength=1.2)
    return figure


def plot_gap(sizes: Sequence[int], gaps: Mapping[str, Any], images: str = "test") -> Figure:
    """Draw training minus test (or held-out) accuracy against the size of the training set: hard and soft targets.

    Args:
        sizes: S numbers of training images, drawn on a log axis.
        gaps: name, such as "hard targets", → percentage points, (S, R) for R seeds. Whiskers are 95 % t-intervals.
        images: which ones the second accuracy was measured on, for the axis.

    Raises:
        ValueError: gaps have another shape.
    """
    figure, ax = _panel()
    for i, ((name, values), (color, dashes)) in enumerate(zip(gaps.items(), SERIES, strict=False)):
        values = np.asarray(values, float)
        if values.ndim != 2 or len(values) != len(sizes):
            raise ValueError(f"plot_gap: {name}: expected ({len(sizes)}, seeds), got {values.shape}")
        mean = values.mean(axis=1)
        reach = [0.0] * len(sizes)
        if values.shape[1] > 1:
            reach = [t_interval(row.tolist())[1] - row.mean() for row in values]
        shifted = np.asarray(sizes) * 1.03**i  # so that whiskers stand side by side
        ax.errorbar(shifted, mean, reach, color=color, linestyle=dashes, marker="os"[i % 2], capsize=3, label=name)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xscale="log", xlabel="training images", ylabel=f"training minus {images} accuracy (points)")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.legend(fontsize=9)
    return figure


def _panel() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    ax = figure.subplots()
    _clean(ax)
    return figure, ax


def _clean(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _temperature_axis(ax: Axes, label: bool = True) -> None:
    """Name the axis, and write its ticks as people do: 0.5, 1, 20, not powers of ten."""
    low, high = ax.dataLim.intervalx
    ticks = [
        t for t in (0.01, 0.1, 0.25, 0.5, 1, 2, 4, 10, 20, 50, 100, 1_000, 10_000) if 0.99 * low <= t <= 1.01 * high
    ]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("temperature T" if label else "")


def _check_count(name: str, count: int, **others: Any) -> None:
    for what, values in others.items():
        if values is not None and len(values) != count:
            raise ValueError(f"{name}: {count} rows of logits but {len(values)} {what}; expected as many of both")
