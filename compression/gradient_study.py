"""What compressed gradients cost in accuracy and save in bytes: the same training with every codec, over seeds."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

import minigrad
from minigrad import DataLoader, evaluate
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD, CosineAnnealingLR

from .demo import evaluation_loader
from .figures import COLORS
from .gradients import METHODS, train_simulated
from .models import LeNet
from .report import align, summarize, write_report
from .repro.common import images
from .sweep import Experiment, Job, Sweep, versions

MARKERS = "os^Dv<P"


@dataclass(frozen=True)
class Lesson:
    """How LeNet is trained.

    Attributes:
        method: the codec; "none" is what the others are compared with.
        options: of the codec and its compressor, see `compressor`.
        epochs, lr, momentum, batch_size: of SGD; the rate falls to 0 along a cosine. A batch is shared by the workers. Where
            the compressor has the momentum, SGD has none.
        workers: machines, simulated: see `train_simulated`.
        limit: training images; None: all but those held out.
    """

    method: str = "none"
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 6
    lr: float = 0.02
    momentum: float = 0.9
    batch_size: int = 64
    workers: int = 2
    limit: int | None = None


FULL = Lesson()
QUICK = Lesson(epochs=1, limit=6_000)


def lessons(base: Lesson) -> dict[str, Lesson]:
    """Return the lesson of each method, with its paper's settings where they matter.

    TernGrad clips gradients at 2.5 standard deviations. Top-k keeps the momentum itself, and warms up in the first sixth. Signs
    have small buckets, as few bytes allow it.
    """
    steps = -(-(base.limit or 55_000) // base.batch_size) * base.epochs
    own = {
        "sign": {"bucket": 128},
        "terngrad": {"clip": 2.5},
        "topk": {"momentum": base.momentum, "warmup": steps // 6},
    }
    return {name: Lesson(**{**asdict(base), "method": name, "options": own.get(name, {})}) for name in METHODS}


def work(job: Job) -> dict[str, Any]:
    """Train a LeNet; return its accuracy after each epoch on held-out images, in the end on test images, and bytes."""
    lesson: Lesson = job.settings
    training, held_out, test = images(job.data, lesson.limit)
    minigrad.manual_seed(job.seed)
    model = LeNet()
    loader = DataLoader(training.images, training.labels, lesson.batch_size, shuffle=True, seed=job.seed)
    momentum = 0.0 if lesson.options.get("momentum") else lesson.momentum
    optimizer, batches, curve = SGD(model.parameters(), lesson.lr, momentum), evaluation_loader(held_out), list[float]()
    schedule = CosineAnnealingLR(optimizer, lesson.epochs * len(loader))
    found = train_simulated(
        model, loader, CrossEntropyLoss(), optimizer, lesson.method, workers=lesson.workers, epochs=lesson.epochs,
        seed=job.seed, schedule=schedule, after_epoch=lambda epoch: curve.append(evaluate(model, batches)), **lesson.options,
    )  # fmt: skip
    sent = np.array(found.bytes_sent).reshape(lesson.epochs, -1)
    return {
        "held out": curve,
        "test": evaluate(model, evaluation_loader(test)),
        "bytes a step, by epoch": sent.mean(axis=1).tolist(),
        "bytes of an epoch": sent.sum(axis=1).tolist(),
        "float bytes": found.float_bytes,
    }


def report_on(sweep: Sweep) -> dict[str, Any]:
    """Sum up over seeds, 2 or more.

    Returns:
        what JSON can hold: "settings"; "versions"; "methods": name → "test" (percent), "points below none" (paired by seed),
        both {"values", "mean", "interval"}; "held out": a list over epochs of the mean; "sent": bytes that a worker has sent
        after each epoch; "ratio": bytes of a step in the last epoch, times what float32 takes; "ratio of all steps".
    """
    plans = sweep.settings
    of = {name: sweep.results(name) for name in plans}
    methods = {}
    for name, found in of.items():
        below = [plain["test"] - own["test"] for plain, own in zip(of["none"], found, strict=True)]
        steps = np.mean([r["bytes a step, by epoch"] for r in found], axis=0) / found[0]["float bytes"]
        methods[name] = {
            "test": summarize([r["test"] for r in found]),
            "points below none": summarize(below),
            "held out": np.mean([r["held out"] for r in found], axis=0).tolist(),
            "sent": np.mean([np.cumsum(r["bytes of an epoch"]) for r in found], axis=0).tolist(),
            "ratio": float(steps[-1]),
            "ratio of all steps": float(steps.mean()),
        }
    return {
        "settings": asdict(plans["none"]) | {"methods": {name: plan.options for name, plan in plans.items()}},
        "seeds": sweep.seeds,
        "versions": versions(),
        "notes": ["Nothing was chosen on test images.", "Bytes are those of the messages of one worker, as sent."],
        "methods": methods,
        "quick": sweep.quick,
    }


def as_table(report: dict[str, Any]) -> str:
    """Lay the report out as text."""
    rows = [["method", "bytes a step, of float32", "test (%)", "points below none", "95 % interval"]]
    for name, found in report["methods"].items():
        below = found["points below none"]
        low, high = below["interval"]
        rows.append([
            name, f"{found['ratio']:.4f}", f"{found['test']['mean']:.2f}", f"{below['mean']:+.3f}",
            f"{low:+.3f} to {high:+.3f}",
        ])  # fmt: skip
    return align(rows)


def plot(report: dict[str, Any]) -> Figure:
    """Draw errors on held-out images against bytes sent, a line for each method and a point for each epoch."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    ax = figure.subplots()
    lines = zip(report["methods"].items(), COLORS, MARKERS, 4 * ("-", "--"), strict=False)
    for (name, found), color, marker, dashes in lines:
        errors = 100 - np.array(found["held out"])
        style = {"color": color, "marker": marker, "linestyle": dashes, "markersize": 5}
        ax.plot(np.array(found["sent"]) / 1e6, errors, label=name, **style)
    ax.set(xscale="log", yscale="log", xlabel="sent by a worker so far (million bytes)")
    ax.set_ylabel("errors on held-out images (%)")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(LogLocator(subs=(1.2, 1.5, 2, 3, 5, 7)))
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.grid(alpha=0.3, which="both")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=9)
    count, workers = len(report["seeds"]), report["settings"]["workers"]
    ax.set_title(f"LeNet, {workers} workers, a point an epoch; means of {count} seeds", fontsize=11)
    return figure


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write report and figure; return the files' names."""
    write_report(folder / "gradients.json", report)
    plot(report).savefig(folder / "gradients.png", dpi=110)
    return ["gradients.json", "gradients.png"]


EXPERIMENT = Experiment(lessons(FULL), lessons(QUICK), work, report_on, as_table, write)
