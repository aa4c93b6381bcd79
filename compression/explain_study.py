"""Do compressed models look at the same parts of a digit? LIME and SHAP on each, beside what the methods' own noise does.

An attribution is an estimate from random draws, so that a model does not even agree with itself if it is explained twice.
That is the yardstick: the first model, explained with other draws. An untrained model is explained too: a method that gave
it the same attributions would show the digit, not the model (Adebayo et al., "Sanity checks for saliency maps", 2018).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from minigrad.datasets import ImageDataset
from minigrad.nn import Module
from minigrad.tensor import Array

from .explain import (
    EXPLAINERS,
    attribution_map,
    check_packages,
    probabilities,
    rank_correlation,
    superpixels,
    top_overlap,
)
from .figures import BLUE, GREY, ORANGE
from .integer import IntegerModel
from .report import align, summarize
from .sweep import versions

Attributions = dict[tuple[str, str, int], list[Array]]
"""(explainer, model, 0 or 1 for which draws) -> for each image, (superpixels,)."""


@dataclass(frozen=True)
class Study:
    """What to look at.

    Attributes:
        images: how many test images, 2 or more; the seed chooses them.
        samples: how many images with parts hidden are tried for each attribution.
        seed: of the images and of all draws.
        side: of a superpixel, in pixels.
        top: how many superpixels count as the most important ones.
    """

    images: int = 100
    samples: int = 1_000
    seed: int = 0
    side: int = 4
    top: int = 5


@dataclass(frozen=True)
class Explained:
    """What `explain_models` found.

    Attributes:
        images: the test images.
        numbers: of the images in the test set.
        classes: int (N,), which class is explained: the one that the first model sees.
        segments: the superpixels of each image, as `superpixels` returns them.
        chances: model -> float64 (N,), the probability that it gives to that class.
        same: model -> bool (N,), whether it sees the same class.
        values: all attributions.
    """

    images: ImageDataset
    numbers: Array
    classes: Array
    segments: list[Array]
    chances: dict[str, Array]
    same: dict[str, Array]
    values: Attributions


def explain_models(
    study: Study,
    models: Mapping[str, Module | IntegerModel],
    test: ImageDataset,
    progress: Callable[[], Any] = lambda: None,
) -> Explained:
    """Explain some test images by each model, by LIME and by SHAP, twice: with draws that all models share, and with others.

    Args:
        study: what to look at.
        models: name -> model. The class that the first one sees is explained for all.
        test: images to choose from. Nothing is tuned on them.
        progress: called after each image.

    Raises:
        ImportError: the extra `explain` is not installed.
        ValueError: there are fewer images than asked for, or fewer than two are asked for.
    """
    check_packages()
    if not 2 <= study.images <= len(test):
        raise ValueError(f"explain: {study.images} images asked for, expected 2 to {len(test):,}, which there are")
    rng = np.random.default_rng(study.seed)
    numbers = rng.choice(len(test), study.images, replace=False)
    seeds = rng.integers(2**31, size=(study.images, 2))
    chosen = test.subset(numbers)
    predict = {name: probabilities(model) for name, model in models.items()}
    p = {name: f(chosen.pixels) for name, f in predict.items()}
    classes = next(iter(p.values())).argmax(axis=1)
    segments = [superpixels(image, study.side) for image in chosen.pixels]
    values: Attributions = {(e, m, draw): [] for e in EXPLAINERS for m in models for draw in (0, 1)}
    for image, label, parts, pair in zip(chosen.pixels, classes, segments, seeds, strict=True):
        for (explainer, model, draw), found in values.items():
            method, draws = EXPLAINERS[explainer], {"samples": study.samples, "seed": int(pair[draw])}
            found.append(method(predict[model], image, int(label), parts, **draws))
        progress()
    chances = {name: q[np.arange(len(q)), classes] for name, q in p.items()}
    same = {name: q.argmax(axis=1) == classes for name, q in p.items()}
    return Explained(chosen, numbers, classes, segments, chances, same, values)


def agreement(values: Attributions, top: int) -> list[dict[str, Any]]:
    """Compare each model's attributions with those of the first.

    "other" draws: the first model's first draws against everybody's second. Its agreement with itself is the yardstick, and
    what a model stays below it, image by image, is `below`. "same" draws: both explained with the first; the methods' noise
    is common to both then, and what is left is what the models do differently.

    Args:
        values: of all models; the first key's is the one to compare with.
        top: see `Study`.

    Returns:
        rows {"explainer", "model", "draws", "correlation", "overlap", "below"}: rank correlation, shared share of the top
        superpixels, and for other models with other draws the yardstick's correlation minus theirs, each as {"values" (one an
        image), "mean", "interval" (95 %, t)}.
    """
    reference = next(iter(values))[1]
    rows = []
    for explainer, model, draw in values:
        if (model, draw) == (reference, 0):
            continue
        pairs = list(zip(values[explainer, reference, 0], values[explainer, model, draw], strict=True))
        correlation = [rank_correlation(a, b) for a, b in pairs]
        row = {
            "explainer": explainer,
            "model": model,
            "draws": "other" if draw else "same",
            "correlation": summarize(correlation),
            "overlap": summarize([top_overlap(a, b, top) for a, b in pairs]),
        }
        if draw and model != reference:
            yardstick = map(rank_correlation, values[explainer, reference, 0], values[explainer, reference, 1])
            row["below"] = summarize([y - c for y, c in zip(yardstick, correlation, strict=True)])
        rows.append(row)
    return rows


def report(study: Study, found: Explained) -> dict[str, Any]:
    """Return settings, versions, images, models and agreements as JSON can hold them; see `agreement`.

    "methods" is the agreement of LIME with SHAP on the same model; "chance" is the share of the top superpixels that random
    attributions would share.
    """
    values, counts = found.values, [int(parts.max()) + 1 for parts in found.segments]
    lime, shap = EXPLAINERS
    both = {
        model: [rank_correlation(a, b) for a, b in zip(values[lime, model, 0], values[shap, model, 0], strict=True)]
        for model in found.chances
    }
    return {
        "settings": asdict(study),
        "versions": {**versions(), "lime": version("lime"), "shap": version("shap")},
        "images": found.numbers.tolist(),
        "labels": found.images.labels.tolist(),
        "classes": found.classes.tolist(),
        "superpixels": counts,
        "chance": float(np.mean([min(study.top, n) / n for n in counts])),
        "models": {
            name: {"probability": summarize(chances.tolist()), "same class": int(found.same[name].sum())}
            for name, chances in found.chances.items()
        },
        "agreement": agreement(values, study.top),
        "methods": {model: summarize(correlations) for model, correlations in both.items()},
    }


def as_table(report: Mapping[str, Any]) -> str:
    """Lay the means out as text, intervals in brackets."""
    models, top = report["models"], report["settings"]["top"]
    reference = next(iter(models))
    heads = ["other draws: rank correlation", "below the yardstick", f"of the top {top}"]
    rows = [["", *heads, "same draws: rank correlation", f"of the top {top}"]]
    by = {(row["explainer"], row["model"], row["draws"]): row for row in report["agreement"]}
    for explainer in EXPLAINERS:
        for model in models:
            other = by[explainer, model, "other"]
            cells = [_mean(other["correlation"]), _mean(other["below"]) if "below" in other else "yardstick"]
            cells.append(_mean(other["overlap"]))
            if model == reference:
                cells += ["1 by definition", "1"]
            else:
                cells += [_mean(by[explainer, model, "same"][key]) for key in ("correlation", "overlap")]
            rows.append([f"{explainer}, {model}", *cells])
    return align(rows)


def _mean(summary: Mapping[str, Any]) -> str:
    return f"{summary['mean']:.3f} ({summary['interval'][0]:.3f} - {summary['interval'][1]:.3f})"


def as_words(report: Mapping[str, Any]) -> str:
    """Say what the table does not: what the models see, how far LIME agrees with SHAP, what chance would share."""
    models, count = report["models"], len(report["images"])
    reference = next(iter(models))
    seen = ", ".join(f"{name} {row['same class']}" for name, row in models.items() if name != reference)
    methods = ", ".join(f"{name} {_mean(row)}" for name, row in report["methods"].items())
    return (
        f"Of {count} images, so many are of the same class to both: {reference} and {seen}.\n"
        f"LIME against SHAP on one model, rank correlation: {methods}.\n"
        f"By chance {report['chance']:.3f} of the top {report['settings']['top']} superpixels would be shared. "
        "Brackets: 95 % t-intervals over images."
    )


def plot_maps(found: Explained, shown: Sequence[str]) -> Figure:
    """Draw the first chosen image of each digit with its attributions: a row a digit, a column a model and method.

    Args:
        found: what `explain_models` returned.
        shown: names of the models to draw.

    Returns:
        A Figure. Orange speaks for the class, purple against it, each row on a scale of its own, whose end stands beside it;
        grey is without ink.
    """
    rows = [int(np.flatnonzero(found.images.labels == digit)[0]) for digit in np.unique(found.images.labels)]
    columns = [(explainer, model) for explainer in EXPLAINERS for model in shown]
    figure = Figure(figsize=(1.25 * len(columns) + 2.6, 1.2 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots(len(rows), len(columns) + 1, squeeze=False)
    colors = ScalarMappable(Normalize(-1, 1), "PuOr_r")
    for line, i in zip(axes, rows, strict=True):
        image = found.images.pixels[i]
        maps = [attribution_map(found.values[(*column, 0)][i], found.segments[i]) for column in columns]
        reach = float(np.nanmax(np.abs(maps))) or 1.0
        line[0].imshow(image, cmap="gray_r")
        line[0].set_ylabel(f"{found.images.labels[i]}, seen as {found.classes[i]}\nends: ±{reach:.2f}", fontsize=9)
        for ax, picture in zip(line[1:], maps, strict=True):
            ax.set_facecolor("#AAAAAA")
            ax.imshow(picture / reach, cmap=colors.cmap, norm=colors.norm)
            ax.contour(image, [127.5], colors="black", linewidths=0.6)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    for ax, name in zip(axes[0], ["digit", *(f"{model}\n{explainer}" for explainer, model in columns)], strict=True):
        ax.set_title(name, fontsize=11)
    words = "purple: against the class seen; orange: for it; grey: no ink. 1: the row's end, in probability"
    figure.colorbar(colors, ax=axes, label=words, shrink=0.8, pad=0.015)
    return figure


def plot_agreement(report: Mapping[str, Any]) -> Figure:
    """Draw each model's rank correlation with the first one, by LIME and by SHAP, for other and for the same draws."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    names, reference = list(report["models"]), next(iter(report["models"]))
    for ax, explainer in zip(axes, EXPLAINERS, strict=True):
        for draws, color, marker, shift in (("other", BLUE, "o", -0.12), ("same", ORANGE, "D", 0.12)):
            rows = [r for r in report["agreement"] if (r["explainer"], r["draws"]) == (explainer, draws)]
            x = np.array([names.index(row["model"]) + shift for row in rows])
            y = np.array([row["correlation"]["mean"] for row in rows])
            reach = np.abs(np.array([row["correlation"]["interval"] for row in rows]).T - y)
            label = f"{draws} draws" if draws == "same" else f"{draws} draws than {reference}'s"
            ax.errorbar(x, y, reach, fmt=marker, color=color, capsize=4, label=label)
            if draws == "other":
                ax.axhline(y[0], color=GREY, linestyle=":", linewidth=1, label="the method's own noise")
        ax.set_xticks(range(len(names)), names)
        ax.set(title=explainer, xlim=(-0.5, len(names) - 0.5), ylim=(min(0, ax.get_ylim()[0]), 1.03))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(f"rank correlation with {reference}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    count = report["settings"]["images"]
    figure.suptitle(f"Mean over {count} test images (whiskers: 95 % t-intervals)", fontsize=11)
    return figure
