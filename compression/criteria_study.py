"""All criteria side by side: accuracy against sparsity, right after pruning and after a little training."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad

from .demo import Recipe, evaluation_loader, train_lenet, train_on_
from .figures import COLORS, spread_accuracies
from .prune_job import calibration_loader
from .pruning import CRITERIA, SparsePruner, select
from .report import align, summarize, write_report
from .repro.common import images
from .sparse.timing import describe_machine
from .sweep import Experiment, Job, Sweep

MARKERS = "os^vD<P*X"


@dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        sparsities: share of the weights that is removed, of each layer or of all.
        epochs: of training before pruning.
        tuning_epochs: of training after it, with the masks held, as the article fine-tunes; the last epoch counts.
        images: how many training images, None for all.
        scope: "local" or "global": see `choose`.
    """

    sparsities: tuple[float, ...] = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
    epochs: int = 5
    tuning_epochs: int = 1
    images: int | None = None
    scope: str = "local"


QUICK = Study(sparsities=(0.5, 0.8, 0.95), images=12_000)
STAGES = ("pruned", "tuned")


def work(job: Job) -> dict[str, Any]:
    """Train a LeNet, prune it by each criterion to each sparsity, and measure.

    Nothing is chosen by the test images, which give the accuracies; calibration images are training images.

    Returns:
        "dense", and the name of each criterion → {"pruned", "tuned"} → accuracies in percent: one of the model as it was, and
        after as much more training as the pruned ones get; of a criterion one a sparsity.
    """
    study: Study = job.settings
    training, _, test = images(job.data, study.images)
    batches, recipe = evaluation_loader(test), Recipe(epochs=study.epochs, seed=job.seed)
    model = train_lenet(training, recipe)

    def measure(pruner: SparsePruner) -> tuple[float, float]:
        pruned = pruner.prune(model)
        before = minigrad.evaluate(pruned, batches)
        train_on_(pruned, pruner, training, recipe, study.tuning_epochs)
        return before, minigrad.evaluate(pruned, batches)

    found: dict[str, Any] = {"dense": dict(zip(STAGES, measure(SparsePruner.from_masks({})), strict=True))}
    for name, criterion in CRITERIA.items():
        scores = criterion(model, None, calibration_loader(training, job.seed), job.seed)
        chosen = [select(scores, sparsity, study.scope).masks for sparsity in study.sparsities]
        accuracies = [measure(SparsePruner.from_masks(masks)) for masks in chosen]
        found[name] = {stage: [pair[place] for pair in accuracies] for place, stage in enumerate(STAGES)}
    return found


def report_on(sweep: Sweep) -> dict[str, Any]:
    """Sum up over seeds, 2 or more; a seed draws the initial weights, the order of images, and what criteria draw.

    Returns:
        what JSON can hold: "settings"; "machine"; "dense": {"pruned", "tuned"} → an entry for the models as they were, and
        after more training; "criteria": name → {"pruned", "tuned"} → a list with an entry for each sparsity. An entry is
        {"values" (one a seed), "mean", "interval" (95 %, t)}, in percent.
    """
    study, results = sweep.settings["criteria"], sweep.results("criteria")
    return {
        "settings": {"seeds": len(results), **asdict(study), "sparsities": list(study.sparsities), "model": "LeNet"},
        "machine": describe_machine(),
        "dense": {stage: summarize([r["dense"][stage] for r in results]) for stage in STAGES},
        "criteria": {
            name: {
                stage: [summarize(list(values)) for values in zip(*(r[name][stage] for r in results), strict=True)]
                for stage in STAGES
            }
            for name in CRITERIA
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
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    epochs = "one more epoch" if settings["tuning_epochs"] == 1 else f"{settings['tuning_epochs']} more epochs"
    titles = ("right after pruning", f"after {epochs} of training, masks held")
    for ax, stage, title in zip(panels, ("pruned", "tuned"), titles, strict=True):
        ax.axhline(report["dense"][stage]["mean"], color="black", linewidth=0.8, linestyle=":", label="dense")
        for place, (name, stages) in enumerate(report["criteria"].items()):
            low, high = np.array([point["interval"] for point in stages[stage]]).T
            means = np.array([point["mean"] for point in stages[stage]])
            reach = np.abs([low.clip(0, 99.9) - means, high.clip(0, 99.9) - means])
            style = {"color": COLORS[place], "marker": MARKERS[place], "linestyle": ("-", "--")[place % 2]}
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


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write criteria.json and criteria.png into a folder; return the files' names."""
    write_report(folder / "criteria.json", report)
    plot_criteria(report).savefig(folder / "criteria.png", dpi=120)
    return ["criteria.json", "criteria.png"]


def experiment(scope: str) -> Experiment:
    """Return the study with weights ranked within each layer, "local", or all together, "global"."""
    full, quick = ({"criteria": replace(study, scope=scope)} for study in (Study(), QUICK))
    return Experiment(full, quick, work, report_on, as_table, write)
