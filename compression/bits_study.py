"""How many bits a weight needs: accuracy by bits, with a scale for each tensor, channel or group, trained for it or not."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minigrad import DataLoader, evaluate
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD
from minigrad.resume import fit

from .demo import Recipe, evaluation_loader, train_lenet
from .figures import BLUE, GREEN, GREY, ORANGE
from .quantization import quantize_model
from .report import align, t_interval, write_report
from .repro.common import images
from .sweep import Experiment, Job, Run, Sweep, versions

SCALES: dict[str, dict[str, Any]] = {
    "tensor": {"per_channel": False},
    "channel": {"per_channel": True},
    "group": {"per_channel": True, "group": 32},
}
"""Which weights share a scale."""

WAYS = {"calibrated": 2, "trained": 3}
"""Way → level of `quantize_model`."""

TITLES = {"calibrated": "calibrated after training", "trained": "trained on with rounding; so is float, without"}

LEARNED_UP_TO = 4
"""Bits up to which training learns the scales as well."""


@dataclass(frozen=True)
class Study:
    """Settings.

    Attributes:
        bits: of the weights; activations have 8 throughout.
        epochs, lr, momentum: of the float LeNet; the rate falls to 0 along a cosine.
        qat_epochs, qat_lr, qat_images: of quantization-aware training.
        batch_size: of both.
        calibration: images for ranges and means.
        limit: training images; None: all but those held out.
    """

    bits: tuple[int, ...] = (8, 7, 6, 5, 4, 3, 2, 1)
    epochs: int = 6
    lr: float = 0.02
    momentum: float = 0.9
    qat_epochs: int = 2
    qat_lr: float = 0.005
    qat_images: int = 20_000
    batch_size: int = 64
    calibration: int = 500
    limit: int | None = None


QUICK = Study(bits=(8, 4, 2, 1), epochs=1, qat_epochs=1, qat_images=2_000, limit=6_000)


def work(job: Job) -> dict[str, Any]:
    """Train a LeNet and quantize it in every way; return accuracies on the held-out images and, beside them, the test's."""
    study: Study = job.settings
    training, held_out, test = images(job.data, study.limit)
    recipe = Recipe(study.epochs, study.batch_size, study.lr, study.momentum, job.seed)
    model = train_lenet(training, recipe, cosine=True)
    loaders = [evaluation_loader(part) for part in (held_out, test)]
    few = training.subset(np.arange(len(training))[: study.qat_images])
    rows = []
    for bits in study.bits:
        for scales, settings in SCALES.items():
            if bits == 1 and scales == "group":
                continue  # signs have the mean magnitude of a channel
            for way, level in WAYS.items():
                loader = DataLoader(few.images, few.labels, batch_size=study.batch_size, shuffle=True, seed=job.seed)
                quantized = quantize_model(
                    model, level, calibration=few.images[: study.calibration], training=loader, bits=bits, **settings,
                    epochs=study.qat_epochs, lr=study.qat_lr, learned=1 < bits <= LEARNED_UP_TO, seed=job.seed,
                )  # fmt: skip
                accuracy, on_test = (evaluate(quantized, part) for part in loaders)
                rows.append({"bits": bits, "scales": scales, "way": way, "accuracy": accuracy, "test": on_test})
    longer = copy.deepcopy(model)  # those that are trained on are compared with this one: so is it, without rounding
    again = DataLoader(few.images, few.labels, batch_size=study.batch_size, shuffle=True, seed=job.seed)
    fit(longer, again, CrossEntropyLoss(), SGD(longer.parameters(), study.qat_lr, study.momentum), study.qat_epochs)
    floats = {way: [evaluate(m, part) for part in loaders] for way, m in zip(WAYS, (model, longer), strict=True)}
    return {
        "float": {way: {"accuracy": accuracy, "test": on_test} for way, (accuracy, on_test) in floats.items()},
        "rows": rows,
    }  # fmt: skip


def report_on(sweep: Sweep) -> dict[str, Any]:
    """Return accuracies, and points below float, each with its mean over seeds and its 95 % interval."""
    return {
        "settings": asdict(sweep.settings["bits"]), "seeds": sweep.seeds, "versions": versions(),
        "measured on": "accuracy: held-out images; test: test images, on which nothing was chosen",
        "float": {way: _over_seeds([found["float"][way] for found in sweep.results("bits")]) for way in WAYS},
        "rows": _rows(sweep.runs), "quick": sweep.quick,
    }  # fmt: skip


def _rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    found = []
    for index, first in enumerate(runs[0]["results"]["rows"]):
        row = {key: first[key] for key in ("bits", "scales", "way")}
        values = [run["results"]["rows"][index] for run in runs]
        floats = [run["results"]["float"][row["way"]]["test"] for run in runs]
        loss = [whole - value["test"] for whole, value in zip(floats, values, strict=True)]
        row |= _over_seeds(values) | {"points below float": _mean(loss)}
        found.append(row)
    return found


def _over_seeds(values: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {key: _mean([value[key] for value in values]) for key in ("accuracy", "test")}


def _mean(values: Sequence[float]) -> dict[str, Any]:
    interval = list(t_interval(values)) if len(values) > 1 else None
    return {"values": list(values), "mean": float(np.mean(values)), "interval": interval}


def as_table(report: dict[str, Any]) -> str:
    """Lay the report out as text: points below float, paired by seed, on the test images.

    What was trained on is compared with the float model trained on just as long.
    """
    columns = [(way, scales) for way in WAYS for scales in SCALES]
    cells = {(r["bits"], r["way"], r["scales"]): f"{r['points below float']['mean']:+.2f}" for r in report["rows"]}
    head = ["bits", *(f"{way}, by {scales}" for way, scales in columns)]
    rows = [[str(bits), *(cells.get((bits, *c), "") for c in columns)] for bits in report["settings"]["bits"]]
    floats = {way: f"{report['float'][way]['test']['mean']:.2f} %" for way in WAYS}
    return (
        f"float: {floats['calibrated']} of the test images, {floats['trained']} when trained on as long as those below; "
        f"points below it:\n\n{align([head, *rows])}"
    )


def plot(report: dict[str, Any]) -> Figure:
    """Draw accuracy on the test images against bits: a panel for each way, a line for each kind of scales."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, way in zip(axes, WAYS, strict=True):
        for (scales, shift), color, marker in zip(
            (("tensor", -0.12), ("channel", 0.0), ("group", 0.12)), (ORANGE, BLUE, GREEN), "s^o", strict=True
        ):
            rows = [row for row in report["rows"] if row["way"] == way and row["scales"] == scales]
            errors = np.array([100 - row["test"]["mean"] for row in rows])
            ends = np.array([row["test"]["interval"] or [row["test"]["mean"]] * 2 for row in rows])
            bars = np.array([errors - (100 - ends[:, 1]), (100 - ends[:, 0]) - errors])
            x = np.array([row["bits"] for row in rows]) + shift
            bars = np.minimum(bars, np.array([errors * 0.9, np.full(len(errors), np.inf)]))  # the axis has no 0
            label = f"a scale for each {scales}" + (" of 32" if scales == "group" else "")
            ax.errorbar(x, errors, bars, color=color, marker=marker, capsize=3, label=label)
        below = 100 - report["float"][way]["test"]["mean"]
        ax.axhline(below, color=GREY, linestyle="--", label=f"float: {below:.2f} %")
        ax.legend(fontsize=9, loc="upper left")
        ax.set(yscale="log", xlabel="bits of a weight", title=TITLES[way], xticks=report["settings"]["bits"])
        ax.invert_xaxis()
        ax.yaxis.set_major_formatter("{x:g}")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("errors on test images, %")
    count = len(report["seeds"])
    figure.suptitle(
        f"LeNet with weights of few bits, activations of 8; means of {count} seeds, 95 % intervals", fontsize=11
    )
    return figure


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write report and figure; return the files' names."""
    write_report(folder / "bits.json", report)
    plot(report).savefig(folder / "bits.png", dpi=110)
    return ["bits.json", "bits.png"]


EXPERIMENT = Experiment({"bits": Study()}, {"bits": QUICK}, work, report_on, as_table, write)
