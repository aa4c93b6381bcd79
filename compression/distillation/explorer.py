"""Temperature under one's fingers: sliders in a notebook, and a picture where there are none."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minigrad.debug.widgets import Choice, Picture, Slider, explore
from minigrad.tensor import Array

from ..figures import BLUE, GREY, ORANGE
from .checks import check_alpha, check_logits, check_temperature
from .losses import soft_targets

STATIC = ((1.0, 0.5), (4.0, 0.5), (20.0, 0.5))
"""The (T, α) of the static picture."""


def pulls(logits: Any, label: int, temperature: float, alpha: float) -> tuple[Array, Array]:
    """Return how the two terms of the loss pull at the logits of a student that knows nothing yet: minus their gradients.

    Args:
        logits: of the teacher for one image, (K,).
        label: the image's class.
        temperature, alpha: of `DistillationLoss`.

    Returns:
        (soft, hard): α · T · (p - 1/K) and (1 - α) · (one-hot label - 1/K), float64 (K,) each.

    Example:
        >>> soft, hard = pulls([2.0, 0.0], label=0, temperature=2, alpha=0.5)
        >>> hard
        array([ 0.25, -0.25])
    """
    logits = check_logits("pulls", logits)
    temperature, alpha = check_temperature("pulls", temperature), check_alpha("pulls", alpha)
    classes = logits.shape[1]
    p = soft_targets(logits, temperature)[0]
    return alpha * temperature * (p - 1 / classes), (1 - alpha) * (np.eye(classes)[label] - 1 / classes)


def plot_explorer(logits: Any, image: Any, label: int, settings: Any = STATIC) -> Figure:
    """Draw one image's soft targets, and how the loss pulls at a student's logits: a row for each (T, α).

    Args:
        logits: of the teacher, (K,).
        image: (H, W) or (1, H, W).
        label: the image's class.
        settings: pairs (T, α).

    Raises:
        ValueError: T or α is out of range.
    """
    pairs = [(check_temperature("plot_explorer", t), check_alpha("plot_explorer", a)) for t, a in settings]
    classes = np.arange(check_logits("plot_explorer", logits).shape[1])
    figure = Figure(figsize=(9, 0.5 + 2.2 * len(pairs)), layout="constrained")
    axes = figure.subplots(len(pairs), 3, squeeze=False, sharey="col", width_ratios=(0.7, 1.3, 1.3))
    for row, (temperature, alpha) in zip(axes, pairs, strict=True):
        row[0].imshow(np.asarray(image).reshape(np.shape(image)[-2:]), cmap="gray")
        row[0].set_title(f"labelled {label}", fontsize=9)
        row[0].axis("off")
        row[1].bar(classes, soft_targets(check_logits("plot_explorer", logits), temperature)[0], color=BLUE)
        row[1].set(ylim=(0, 1), ylabel="probability")
        row[1].set_title(f"what the teacher says, T = {temperature:.3g}", fontsize=9)
        soft, hard = pulls(logits, label, temperature, alpha)
        row[2].bar(classes - 0.2, soft, 0.4, color=BLUE, label="teacher: soft term")
        row[2].bar(classes + 0.2, hard, 0.4, color=ORANGE, hatch="///", edgecolor="white", label="label: hard term")
        row[2].axhline(0, color=GREY, linewidth=0.8)
        row[2].set_ylabel("pull at the logit")
        row[2].set_title(f"pull at a student that knows nothing, α = {alpha:g}", fontsize=9)
        for ax in row[1:]:
            ax.set_xticks(classes)
            ax.tick_params(labelsize=9)
            ax.spines[["top", "right"]].set_visible(False)
    axes[0, 2].legend(fontsize=9)
    for ax in axes[-1, 1:]:
        ax.set_xlabel("class")
    return figure


def explore_temperature(logits: Any, images: Any, labels: Any = None) -> Any:
    """Show soft targets of chosen digits with sliders for T and α; without ipywidgets, a static picture of the first.

    Args:
        logits: of a teacher, (N, K).
        images: the digits, (N, H, W) or (N, 1, H, W).
        labels: (N,); by default the classes that the teacher chooses.

    Returns:
        A widget, which a notebook shows; or the Picture of `plot_explorer` if ipywidgets (extra `notebooks`) is missing.

    Raises:
        ValueError: logits, images and labels are not equally many, or none.
    """
    logits = check_logits("explore_temperature", logits)
    labels = logits.argmax(axis=1) if labels is None else np.asarray(labels)
    if not len(logits) == len(images) == len(labels):
        raise ValueError(
            f"explore_temperature: {len(logits)} rows of logits, {len(images)} images and {len(labels)} labels; "
            "expected as many of each"
        )

    def look(digit: int, temperature: float, alpha: float) -> Picture:
        figure = plot_explorer(logits[digit], images[digit], int(labels[digit]), [(temperature, alpha)])
        return Picture(figure, _words(logits[digit], int(labels[digit]), temperature, alpha))

    def static() -> Picture:
        words = " ".join(_words(logits[0], int(labels[0]), *setting) for setting in STATIC)
        return Picture(plot_explorer(logits[0], images[0], int(labels[0])), words)

    return explore(
        look,
        static,
        digit=Choice("digit", {f"{i}: labelled {label}": i for i, label in enumerate(labels)}),
        temperature=Slider("temperature T", -1, 2, 0.05, value=1, log=True),
        alpha=Slider("α", 0.0, 1.0, 0.05, value=0.5),
    )


def _words(logits: Array, label: int, temperature: float, alpha: float) -> str:
    """Say what a row of the picture shows."""
    p = soft_targets(logits[None], temperature)[0]
    likeliest = ", ".join(f"{k} {100 * p[k]:.1f} %" for k in np.argsort(-p)[:3])
    soft, hard = pulls(logits, label, temperature, alpha)
    return (
        f"Soft targets of a digit labelled {label} at T = {temperature:.3g}: {likeliest}. "
        f"Pull at the logit of {label} at α = {alpha:.2g}: soft term {soft[label]:.3f}, hard term {hard[label]:.3f}."
    )
