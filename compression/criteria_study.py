"""All criteria side by side: accuracy against sparsity, right after pruning and after a little training."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad.datasets import ImageDataset

from .demo import Recipe, evaluation_loader, train_lenet, train_on_
from .figures import spread_accuracies
from .prune_job import calibration_loader
from .pruning import CRITERIA, SparsePruner, select
from .report import align, summarize, write_report
from .sparse.timing import describe_machine

# Okabe and Ito's colours, which colour-blind readers can tell apart.
# Yellow is darkened, to be seen on white.
COLORS = ("#0072B2", "#56B4E9", "#999999", "#8A7000", "#E69F00", "#CC79A7", "#000000", "#009E73", "#D55E00")
MARKERS = "os^vD<P*X"


@dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        seeds: how many models, 2 or more; seed i draws the initial weights, the order of images, and what criteria draw.
        sparsities: share of the weights that is removed, of each layer or of all.
        epochs: of training before pruning.
        tuning_epochs: of training after it, with the masks held, as the article fine-tunes; the last epoch counts.
        images: how many training images, None for all.
    """

    seeds: int = 5
    sparsities: tuple[float, ...] = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
    epochs: int = 5
    tuning_epochs: int = 1
    images: int | None = None


QUICK = Study(seeds=2, sparsities=(0.5, 0.8, 0.95), images=12_000)


def run(
    study: Study, training: ImageDataset, test: ImageDataset, scope: str, say: Callable[[str], Any]
) -> dict[str, Any]:
    """Train a LeNet for each seed, prune it by each criterion to each sparsity, and measure.

    Nothing is chosen by the test images, which give the accuracies; calibration images come from `training`.

    Args:
        study: what to measure.
        training: images to train on, without those held out.
        test: images to measure on.
        scope: "local" or "global": see `choose`.
        say: called with a line of text for the reader.

    Returns:
        what JSON can hold: "settings"; "machine"; "dense": {"pruned", "tuned"} → an entry for the models as they were, and
        after as much more training as the pruned ones get; "criteria": name → {"pruned", "tuned"} → a list with an entry
        for each sparsity. An entry is {"values" (one a seed), "mean", "interval" (95 %, t)}, in percent.
    """
    training = training if study.images is None else training.subset(np.arange(study.images))
    batches = evaluation_loader(test)
    dense: dict[str, list[float]] = {"pruned": [], "tuned": []}
    found = {name: {stage: [[] for _ in study.sparsities] for stage in ("pruned", "tuned")} for name in CRITERIA}
    for seed in range(study.seeds):
        recipe = Recipe(epochs=study.epochs, seed=seed)
        model = train_lenet(training, recipe, lambda model, epoch, loss: None)
        dense["pruned"].append(minigrad.evaluate(model, batches))
        trained_on = copy.deepcopy(model)
        train_on_(trained_on, SparsePruner.from_masks({}), training, recipe, study.tuning_epochs)
        dense["tuned"].append(minigrad.evaluate(trained_on, batches))
        say(f"seed {seed}: dense {dense['pruned'][-1]:.2f} %, after more training {dense['tuned'][-1]:.2f} %")
        for name, criterion in CRITERIA.items():
            scores = criterion(model, None, calibration_loader(training, seed), seed)
            for place, sparsity in enumerate(study.sparsities):
                pruner = SparsePruner.from_masks(select(scores, sparsity, scope).masks)
                pruned = pruner.prune(model)
                found[name]["pruned"][place].append(minigrad.evaluate(pruned, batches))
                train_on_(pruned, pruner, training, recipe, study.tuning_epochs)
                found[name]["tuned"][place].append(minigrad.evaluate(pruned, batches))
            say(f"  {name}: {' '.join(f'{values[-1]:.1f}' for values in found[name]['tuned'])} after training")
    return {
        "settings": {**asdict(study), "sparsities": list(study.sparsities), "scope": scope, "model": "LeNet"},
        "machine": describe_machine(),
        "dense": {stage: summarize(values) for stage, values in dense.items()},
        "criteria": {
            name: {stage: [summarize(values) for values in lists] for stage, lists in stages.items()}
            for name, stages in found.items()
        },
    }


def as_table(report: dict[str, Any]) -> str:
    """Lay the means out as text: a row for each criterion and stage, a column for each sparsity."""
    rows = [["criterion", *(f"{sparsity:g}" for sparsity in report["settings"]["sparsities"])]]
    for stage, words in (("pruned", ""), ("tuned", " + training")):
        rows += [
            [name + words, *(f"{point['mean']:.2f}" for point in stages[stage])]
            for name, stages in report["criteria"].items()
        ]
    return align(rows)


def plot_criteria(report: dict[str, Any]) -> Figure:
    """Draw accuracy against sparsity for all criteria: right after pruning, and after training. Whiskers: 95 % intervals.

    Accuracies are spread out towards 100 %, by the logarithm of the errors, so that 98 % and 96 % can be told apart.
    """
    settings = report["settings"]
    figure = Figure(figsize=(12, 5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    epochs = "one more epoch" if settings["tuning_epochs"] == 1 else f"{settings['tuning_epochs']} more epochs"
    titles = ("right after pruning", f"after {epochs} of training, masks held")
    for ax, stage, title in zip(panels, ("pruned", "tuned"), titles, strict=True):
        ax.axhline(report["dense"][stage]["mean"], color="black", linewidth=0.8, linestyle=":", label="dense")
        for place, (name, stages) in enumerate(report["criteria"].items()):
            low, high = np.array([point["interval"] for point in stages[stage]]).T
            means = np.array([point["mean"] for point in stages[stage]])
            reach = np.abs([low.clip(0, 99.9) - means, high.clip(0, 99.9) - means])
            style = {"color": COLORS[place], "marker": MARKERS[place], "linestyle": "--" if name == "l2" else "-"}
            shifted = np.array(settings["sparsities"]) + 0.002 * (place - 4)  # so that whiskers stand side by side
            ax.errorbar(
                shifted, means, reach, markersize=6, linewidth=1.3, elinewidth=0.7, capsize=2, label=name, **style
            )
        ax.set_title(title, fontsize=11)
        ax.set_xlabel("share of the weights removed" + (", of each layer" if settings["scope"] == "local" else ""))
        spread_accuracies(ax)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy on the test images (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=9, loc="outside right center")
    figure.suptitle(f"LeNet on MNIST, {settings['seeds']} seeds (whiskers: 95 % intervals of the mean)", fontsize=12)
    return figure


def write(folder: Path, report: dict[str, Any]) -> None:
    """Write criteria.json and criteria.png into a folder."""
    write_report(folder / "criteria.json", report)
    plot_criteria(report).savefig(folder / "criteria.png", dpi=120)
