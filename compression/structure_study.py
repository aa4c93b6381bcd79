"""Structured against unstructured pruning: what accuracy costs in milliseconds and in bytes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

import minigrad
from minigrad.checkpoint import save_checkpoint
from minigrad.datasets import ImageDataset, mnist
from minigrad.functional import fusion
from minigrad.loader import DataLoader
from minigrad.nn import Module

from .cli_base import load_lenet
from .demo import Recipe, evaluation_loader, train_lenet, train_on_
from .figures import BLUE, GREEN, GREY, ORANGE, spread_accuracies
from .pruning import SparsePruner, choose, prune_channels, shrink
from .report import align, summarize, write_report
from .repro.common import images
from .sparse import FORMATS, encode, to_sparse
from .sparse.timing import Contestant, describe_machine, race, stopwatch
from .sweep import Experiment, Job, Sweep

PATTERNS = {"dense": None, "weights": None, "2:4": "2:4", "blocks": "4x4"}
"""What is removed → the pattern for `choose`. Filters are removed otherwise."""

FORMS = {"dense": ("dense",), "weights": ("dense", "csr"), "2:4": ("csr",), "blocks": ("block",), "filters": ("dense",)}
"""What is removed → how it is run: by the dense kernels, or with every layer in a format of `to_sparse`."""

SERIES = {
    ("dense", "dense"): ("nothing removed", "black", "*", "none"),
    ("weights", "dense"): ("single weights, dense kernels", GREY, "o", ":"),
    ("weights", "csr"): ("single weights, CSR kernels", BLUE, "o", "-"),
    ("2:4", "csr"): ("2 of every 4, CSR kernels", "#CC79A7", "s", "none"),
    ("blocks", "block"): ("4 × 4 blocks, block kernels", ORANGE, "D", "--"),
    ("filters", "dense"): ("filters and neurons, taken out, dense kernels", GREEN, "^", "-"),
}
"""What is removed and how it is run → words, colour, marker and line."""

LABELS = {
    "milliseconds": {"weights": (-14, 8), "blocks": (6, -11), "filters": (-28, 6)},
    "bytes": {"weights": (-14, 8), "blocks": (6, -11), "filters": (6, -11)},
}
"""Axis, and what is removed → where the share is written, in points from a marker."""


@dataclass(frozen=True)
class Study:
    """What to measure.

    Attributes:
        weights, blocks: shares of each layer's weights that are removed.
        filters: shares of each layer's filters and neurons; the last layer keeps its ten.
        epochs: of training before pruning.
        tuning_epochs: of training after it, the same for all, the unpruned model too; the last epoch counts.
        images: how many training images, None for all.
        batch_size: images that are timed at once.
        seconds: of timing, a seed, at most (or two rounds).
    """

    weights: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9, 0.95)
    blocks: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9)
    filters: tuple[float, ...] = (0.25, 0.5, 0.625, 0.75)
    epochs: int = 5
    tuning_epochs: int = 2
    images: int | None = None
    batch_size: int = 64
    seconds: float = 10.0

    def shares(self) -> list[tuple[str, float]]:
        """Return (what is removed, share) of all models."""
        named = {"weights": self.weights, "2:4": (0.5,), "blocks": self.blocks, "filters": self.filters}
        return [("dense", 0.0), *((kind, share) for kind, shares in named.items() for share in shares)]


QUICK = Study(weights=(0.8, 0.95), blocks=(0.8,), filters=(0.5,), images=12_000, tuning_epochs=1, seconds=2.0)


@dataclass(frozen=True)
class Compressed:
    """A model without some of its weights.

    Attributes:
        kind: a key of `FORMS`.
        share: of the weights, or of the filters, that is gone.
        model: dense.
        accuracy: after tuning, percent.
        bytes: see `smallest_bytes`.
    """

    kind: str
    share: float
    model: Module
    accuracy: float
    bytes: int


def work(job: Job) -> dict[str, Any]:
    """Train a LeNet, remove weights in all ways, train on; write each model, and return accuracies and bytes.

    Nothing is chosen by the test images, which give the accuracies.
    """
    study: Study = job.settings
    training, _, test = images(job.data, study.images)
    recipe, batches = Recipe(epochs=study.epochs, seed=job.seed), evaluation_loader(test)
    dense, rows = train_lenet(training, recipe), []
    for kind, share in study.shares():
        model, pruner = compress(dense, kind, share)
        train_on_(model, pruner, training, recipe, study.tuning_epochs)
        save_checkpoint(_file(job, kind, share), model, seed=job.seed)
        accuracy = minigrad.evaluate(model, batches)
        rows.append({"kind": kind, "share": share, "accuracy": accuracy, "bytes": smallest_bytes(model)})
    return {"models": rows}


def _file(job: Job, kind: str, share: float) -> Path:
    return job.folder / f"{job.name}-{kind.replace(':', '-')}-{share:g}.safetensors"


def files_of(job: Job) -> list[Path]:
    """Return where a job's models are written."""
    return [_file(job, *which) for which in job.settings.shares()]


def report_on(sweep: Sweep) -> dict[str, Any]:
    """Time the models of all seeds, 2 or more, here: see `measure`."""
    found = [
        [
            Compressed(model=load_lenet(_file(job, row["kind"], row["share"]))[0], **row)
            for row in run["results"]["models"]
        ]
        for job, run in zip(sweep.jobs, sweep.runs, strict=True)
    ]
    return measure(sweep.settings["structure"], found, mnist("test", sweep.data), sweep.say)


def compress(model: Module, kind: str, share: float) -> tuple[Any, SparsePruner]:
    """Return a copy of `model` without a share of its smallest weights, and the masks to hold while it is trained on.

    Filters and neurons go by their L1 norm, and are taken out: there is no mask to hold. Single weights, 2 of every 4 and
    blocks go by magnitude, the same share of each layer.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> small, _ = compress(LeNet(), "filters", 0.5)
        >>> small.fc1
        Linear(in_features=128, out_features=60, bias=True)
    """
    if kind == "filters":
        return shrink(prune_channels(model, share)), SparsePruner.from_masks({})
    choice = choose(model, share, pattern=PATTERNS[kind], ties="exact")
    pruner = SparsePruner.from_masks(choice.masks)
    return pruner.prune(model), pruner


def smallest_bytes(model: Module) -> int:
    """Return the bytes of the weights, each layer's in the format that makes it smallest. Biases are not counted.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> smallest_bytes(LeNet())  # nothing is zero: dense
        176760
    """
    weights = [p.data.reshape(len(p.data), -1) for p in model.parameters() if p.ndim > 1]
    return sum(min(w.nbytes, *(encode(w, name).nbytes for name in FORMATS)) for w in weights)


def measure(
    study: Study, found: list[list[Compressed]], test: ImageDataset, say: Callable[[str], Any]
) -> dict[str, Any]:
    """Time the models of each seed, which take turns, and sum up over the seeds.

    Returns:
        what JSON can hold: "settings"; "machine"; "points", a list of {"kind", "form", "share", "accuracy" (percent),
        "milliseconds" (of a batch), "bytes"}; the last three are {"values" (one a seed), "mean", "interval" (95 %, t)}.
    """
    x = next(iter(DataLoader(test.images, test.labels, study.batch_size)))[0]
    rows: dict[tuple[str, str, float], dict[str, list[float]]] = {}
    for seed, models in enumerate(found):
        forms = [(m, form) for m in models for form in FORMS[m.kind]]
        team = {f"{m.kind} {m.share} {form}": _forward(to_sparse(m.model, form), x) for m, form in forms}
        seconds = race(team, seconds=study.seconds).seconds
        for (m, form), name in zip(forms, team, strict=True):
            row = rows.setdefault((m.kind, form, m.share), {"accuracy": [], "milliseconds": [], "bytes": []})
            row["accuracy"].append(m.accuracy)
            row["milliseconds"].append(1000 * float(seconds[name].sum()))
            row["bytes"].append(m.bytes)
        say(f"seed {seed}: timed")
    return {
        "settings": {"seeds": len(found), **asdict(study), "model": "LeNet"},
        "machine": describe_machine(),
        "points": [
            {"kind": kind, "form": form, "share": share, **{key: summarize(values) for key, values in row.items()}}
            for (kind, form, share), row in rows.items()
        ],
    }


def _forward(model: Module, x: Any) -> Contestant:
    model.eval()

    def forward() -> None:
        with minigrad.no_grad(), fusion():
            getattr(model(x), "data", None)  # asked for, since fused ops wait until their result is

    return stopwatch(forward)


def as_table(report: dict[str, Any]) -> str:
    """Lay the means out as text."""
    rows = [["removed, run by", "share", "accuracy (%)", "ms a batch", "bytes of the weights"]]
    for p in report["points"]:
        figures = [f"{p['accuracy']['mean']:.2f}", f"{p['milliseconds']['mean']:.3f}", f"{p['bytes']['mean']:,.0f}"]
        rows.append([SERIES[p["kind"], p["form"]][0], f"{p['share']:g}", *figures])
    return align(rows)


def plot_structure(report: dict[str, Any]) -> Figure:
    """Draw accuracy over milliseconds and over bytes, a line for each way. Whiskers: 95 % intervals over seeds."""
    settings = report["settings"]
    figure = Figure(figsize=(10, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for (kind, form), (words, color, marker, line) in SERIES.items():
        points = [p for p in report["points"] if (p["kind"], p["form"]) == (kind, form)]
        style = {"color": color, "marker": marker, "linestyle": line, "label": words, "markersize": 7}
        style |= {"elinewidth": 0.8, "capsize": 2, "linewidth": 1.3}
        _draw(left, points, "milliseconds", 1.0, style)
        if (kind, form) != ("weights", "dense"):  # stored as "weights", "csr" is
            _draw(right, points, "bytes", 1e-3, style)
    for ax in (left, right):
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    lowest = min(p["accuracy"]["interval"][0] for p in report["points"])
    spread_accuracies(left, float(np.clip(lowest - 1, 5, 96)))
    left.set_xlim(left=0)
    left.set_ylabel("accuracy on the test images (%)")
    threads = report["machine"]["kernel threads"]
    left.set_xlabel(f"time of a batch of {settings['batch_size']} images (ms; this machine, threads: {threads})")
    right.set_xscale("log")
    right.xaxis.set_major_locator(FixedLocator([5, 10, 20, 50, 100, 200]))
    right.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    right.xaxis.set_minor_locator(NullLocator())
    right.set_xlabel("weights, each layer in its smallest format (thousand bytes)")
    figure.legend(*left.get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3)
    figure.suptitle(
        f"LeNet on MNIST; epochs of training after pruning: {settings['tuning_epochs']}; {settings['seeds']} seeds "
        "(whiskers: 95 % intervals; small numbers: share removed)",
        fontsize=11,
    )
    return figure


def _draw(ax: Axes, points: list[dict[str, Any]], key: str, scale: float, style: dict[str, Any]) -> None:
    """Draw a series with its whiskers in both directions."""
    x, y = (np.array([p[of]["mean"] for p in points]) for of in (key, "accuracy"))
    low, high = (np.array([p[of]["interval"] for p in points]).T for of in (key, "accuracy"))
    reach_x = np.abs(scale * (low - x))
    reach_y = np.abs(high.clip(0, 99.9) - y)
    ax.errorbar(scale * x, y, reach_y, reach_x, **style)
    for p, place in zip(points, zip(scale * x, y, strict=True), strict=True):
        if p["share"] and p["kind"] in LABELS[key] and (p["kind"], p["form"]) != ("weights", "dense"):
            offset = LABELS[key][p["kind"]]
            ax.annotate(f"{p['share']:g}", place, xytext=offset, textcoords="offset points", fontsize=9)


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write structure.json and structure.png into a folder; return the files' names."""
    write_report(folder / "structure.json", report)
    plot_structure(report).savefig(folder / "structure.png", dpi=120)
    return ["structure.json", "structure.png"]


EXPERIMENT = Experiment({"structure": Study()}, {"structure": QUICK}, work, report_on, as_table, write, files_of)
