"""Han, Mao and Dally 2016: pruned weights share a few values; Huffman codes make a file that is forty times smaller."""

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import minigrad
from minigrad import functional as F
from minigrad import nn
from minigrad.checkpoint import load_checkpoint
from minigrad.datasets import ImageDataset
from minigrad.loader import DataLoader
from minigrad.nn import Module
from minigrad.optim.schedules import CosineAnnealingLR
from minigrad.tensor import Tensor

from ..coding import SharedSGD, Storage, layer_rows, load_mgz, save_mgz, share_weights_of
from ..demo import evaluation_loader
from ..figures import BLUE, GREY, ORANGE
from ..models import as_sequential
from ..pruning import adjust_dropout, prunable, shrink
from ..report import t_interval
from ..sweep import Job, Run, do, stored
from . import han2015
from .common import Reproduction, Row, images, over_seeds
from .lottery import mean_loss

PAPER = {
    "LeNet-300-100": {"errors": (1.64, 1.58), "kilobytes": 27, "rates": (32, 40)},
    "LeNet-5": {"errors": (0.80, 0.74), "kilobytes": 44, "rates": (33, 39)},
}
"""Test error before and after, in percent; size; times smaller without and with Huffman codes (its tables 1 to 3)."""

PAPER_LAYERS = {
    "LeNet-300-100": {
        "fc1": (8, 4.4, 3.7, 3.1, 2.32),
        "fc2": (9, 4.4, 4.3, 3.8, 3.04),
        "fc3": (26, 4.3, 3.2, 15.7, 12.70),
    },
    "LeNet-5": {
        "conv1": (66, 7.2, 1.5, 78.5, 67.45),
        "conv2": (12, 7.2, 3.9, 6.0, 5.28),
        "fc1": (8, 4.5, 4.5, 2.7, 2.45),
        "fc2": (19, 5.2, 3.7, 6.9, 6.13),
    },
}  # fmt: skip
"""Layer by layer: weights kept (%), bits of a weight and of an index (Huffman), rate without and with Huffman (%)."""

COLUMNS: tuple[tuple[str, str, int, Callable[[Mapping[str, Any], int], float]], ...] = (
    ("weights kept", "%", 1, lambda row, size: 100 * row["kept"] / size),
    ("bits of a weight, Huffman", "", 1, lambda row, size: row["coded_weight_bits"]),
    ("bits of an index, Huffman", "", 1, lambda row, size: row["coded_index_bits"]),
    ("share of float32's bytes", "%", 2, lambda row, size: 25 * row["bytes_without_huffman"] / size),
    ("share of float32's bytes, Huffman", "%", 2, lambda row, size: 25 * row["bytes"] / size),
)
"""The columns of `PAPER_LAYERS`: figure, unit, digits, and how it follows from a layer's row and the weights it once had."""

LARGEST_ERROR = {"LeNet-300-100": 1.65, "LeNet-5": 0.85}


@dataclass(frozen=True)
class Plan:
    """How a pruned network is coded.

    Attributes:
        pruning: settings of `han2015`, the first stage.
        conv_bits, linear_bits, index_bits: as the paper has them.
        candidates: bits for all layers alike, of which the held-out images choose.
        allowed: how much the held-out error may rise above that of the pruned network, in points. The paper: not at all.
        epochs, lr, momentum, batch_size: of the training of the centroids; the rate falls along half a cosine.
        images: how many to train on, None for all.
    """

    pruning: han2015.Plan
    conv_bits: int
    linear_bits: int
    index_bits: int = 5
    candidates: tuple[int, ...] = (2, 3, 4, 5)
    allowed: float = 0.0
    epochs: int = 2
    lr: float = 1e-4
    momentum: float = 0.9
    batch_size: int = 64
    images: int | None = None


PLANS = {
    "LeNet-300-100": Plan(han2015.PLANS["LeNet-300-100"], conv_bits=6, linear_bits=6),
    "LeNet-5": Plan(han2015.PLANS["LeNet-5"], conv_bits=8, linear_bits=5),
}
QUICK = {
    part: replace(plan, pruning=han2015.QUICK[part], candidates=(3, 4), images=12_000) for part, plan in PLANS.items()
}


def work(job: Job) -> dict[str, Any]:
    """Prune, or take the run of `han2015`; share, train and code the weights with each number of bits.

    Returns:
        {"dense", "pruned": errors in percent, "sizes", "parameters", "paper", "bits": {"2": ...}, "chosen": "4"}. What is
        in the files, and how well they read the test images, is in "paper" and in each of "bits", see `_compress`.
    """
    plan: Plan = job.settings
    training, held_out, test = images(job.data, plan.images)
    first, pruned = first_stage(job)
    settings = {"paper": {name: _paper_bits(plan, layer) for name, layer in _weighted(pruned).items()}}
    settings |= {str(bits): dict.fromkeys(settings["paper"], bits) for bits in plan.candidates}
    found = {name: _compress(job, name, pruned, bits, training, held_out, test) for name, bits in settings.items()}
    paper = found.pop("paper")
    return {
        **{key: first[key] for key in ("dense", "pruned", "sizes", "parameters")},
        "paper": paper,
        "bits": found,
        "chosen": choose_bits(
            {bits: r["held_out_error"] for bits, r in found.items()}, first["pruned"]["held_out_error"] + plan.allowed
        ),
    }


def first_stage(job: Job) -> tuple[dict[str, Any], Module]:
    """Return the results of pruning, and the pruned network without its dead neurons.

    A run of `han2015` with the same settings, in the folder beside this one's, is used as it is; otherwise it is done
    here, in a folder of its own, and kept.

    Raises:
        OSError, CheckpointError: the network cannot be written or read.
        ValueError: it is not the one whose results are there.
    """
    beside = job.folder.with_name(job.folder.name.replace("deepcompression", "han2015"))
    own = replace(job, settings=job.settings.pruning, folder=job.folder / "pruned")
    there = [
        place
        for place in (replace(own, folder=beside), own)
        if stored(place) is not None and place.file.with_suffix(".safetensors").is_file()
    ]
    used = there[0] if there else own
    run = (stored(used) if there else None) or do(han2015.work, own)
    model = han2015.NETWORKS[job.part](own.settings.dropout)
    load_checkpoint(used.file.with_suffix(".safetensors"), model)
    small = shrink(adjust_dropout(model, {name: p.data != 0 for name, p in prunable(model).items()}))
    left = {name: int((p.data != 0).sum()) for name, p in prunable(small).items()}
    if left != run["results"]["left"]:
        raise ValueError(f"{used.file.with_suffix('.safetensors')} is not the network of {used.file}; delete both")
    return run["results"], small


def choose_bits(errors: Mapping[str, float], allowed: float) -> str:
    """Return the fewest bits whose error is allowed; if there are none, those of the least error.

    Example:
        >>> choose_bits({"2": 3.1, "3": 1.8, "4": 1.7}, allowed=1.84), choose_bits({"2": 3.1, "3": 2.0}, allowed=1.84)
        ('3', '3')
    """
    good = [bits for bits, error in errors.items() if error <= allowed + 1e-9]
    return min(good, key=int) if good else min(errors, key=lambda bits: (errors[bits], int(bits)))


def _weighted(model: Module) -> dict[str, Module]:
    """Return the layers with weights, by name."""
    layers = vars(as_sequential(model, np.zeros((1, 1, 28, 28), np.float32)))
    return {name: layer for name, layer in layers.items() if isinstance(layer, nn.Conv2d | nn.Linear)}


def _paper_bits(plan: Plan, layer: Module) -> int:
    return plan.conv_bits if isinstance(layer, nn.Conv2d) else plan.linear_bits


def _compress(
    job: Job,
    name: str,
    pruned: Module,
    bits: Mapping[str, int],
    training: ImageDataset,
    held_out: ImageDataset,
    test: ImageDataset,
) -> dict[str, Any]:
    """Share weights, train the centroids, and write a file; its model is read again and tested.

    The training is kept if it lowers the held-out error, or the loss where the errors are equal. "paper": float32 centroids,
    and indices of the paper's width; otherwise float16 and whatever width is shortest.

    Returns:
        {"bits", "held_out_shared", "held_out_trained": error and loss, "kept", "held_out_error", "error", "bytes",
        "bytes_without_huffman", "account": bytes by part, "layers": a `LayerRow` each}; errors are percent.
    """
    plan: Plan = job.settings

    def error(model: Module, dataset: ImageDataset) -> float:
        return round(100 - minigrad.evaluate(model, evaluation_loader(dataset)), 4)

    shared = share_weights_of(pruned, {f"{layer}.weight": width for layer, width in bits.items()})
    trained = train_centroids(shared, plan, training, job.seed)
    loader = evaluation_loader(held_out)
    before, after = ((error(model, held_out), mean_loss(model, loader)) for model in (shared, trained))
    kept = after < before
    index_bits, float_bits = (plan.index_bits, 32) if name == "paper" else (None, 16)
    storage = {layer: Storage("codebook", width, index_bits) for layer, width in bits.items()}

    def save(path: Path, huffman: bool) -> Any:
        return save_mgz(path, trained if kept else shared, storage, float_bits=float_bits, huffman=huffman)

    with tempfile.TemporaryDirectory() as folder:
        plain = save(Path(folder) / "plain.mgz", huffman=False)
    path = job.folder / f"{job.name}-{name}.mgz"
    container = save(path, huffman=True)
    model = load_mgz(path)
    parts = sorted({part for _, part in container.account})
    return {
        "bits": dict(bits),
        "held_out_shared": before,
        "held_out_trained": after,
        "kept": kept,
        "held_out_error": error(model, held_out),
        "error": error(model, test),
        "bytes": path.stat().st_size,
        "bytes_without_huffman": plain.size,
        "account": {part: sum(n for (_, p), n in container.account.items() if p == part) for part in parts},
        "layers": {
            row.layer: row._asdict() | {"bytes_without_huffman": flat.bytes}
            for row, flat in zip(layer_rows(container), layer_rows(plain), strict=True)
        },
    }


def train_centroids(shared: Module, plan: Plan, training: ImageDataset, seed: int) -> Module:
    """Return a copy whose centroids, and biases, were trained: a centroid's gradient is the sum over its members."""
    trained = copy.deepcopy(shared)
    minigrad.manual_seed(seed)
    loader = DataLoader(training.images, training.labels, plan.batch_size, shuffle=True, seed=seed)
    optimizer = SharedSGD(trained, plan.lr, plan.momentum)
    schedule = CosineAnnealingLR(optimizer, plan.epochs * len(loader))

    def loss(logits: Tensor, targets: Any) -> Tensor:
        """Return the loss with the penalty of pruning's weight decay, so that it is summed over a centroid's members too."""
        return F.cross_entropy(logits, targets) + plan.pruning.weight_decay / 2 * F.l2_penalty(trained.parameters())

    for _ in range(plan.epochs):
        minigrad.train(trained, loader, loss, optimizer, lambda model: schedule.step())
    return trained


def rows(runs: Mapping[str, list[Run]]) -> list[Row]:
    """Return the report's rows: with the paper's bits and with ours, errors and sizes; then the paper's tables by layer."""
    found = []
    for part, finished in runs.items():
        paper, own = f"{part}, the paper's bits", f"{part}, our bits"
        dense, _ = PAPER[part]["errors"]
        found += [
            Row(paper, "test error, dense", over_seeds(finished, lambda r: r["dense"]["error"]), "%", paper=dense),
            Row(paper, "test error, pruned", over_seeds(finished, lambda r: r["pruned"]["error"]), "%"),
            *_file_rows(part, paper, finished, lambda r: r["paper"]),
            Row(own, "bits of a weight", over_seeds(finished, lambda r: int(r["chosen"])), digits=1),
            *_file_rows(part, own, finished, lambda r: r["bits"][r["chosen"]]),
        ]
        for layer, numbers in PAPER_LAYERS[part].items():
            table = [
                (run["results"]["paper"]["layers"][layer], run["results"]["sizes"][f"{layer}.weight"])
                for run in finished
            ]
            for (figure, unit, digits, column), number in zip(COLUMNS, numbers, strict=True):
                values = [column(row, size) for row, size in table]
                found.append(Row(f"{paper}, by layer", f"{layer}: {figure}", values, unit, digits, number))
    return found


def _file_rows(part: str, title: str, finished: list[Run], file: Callable[[dict[str, Any]], Any]) -> list[Row]:
    """Return the rows of a file: its error, its size in both kinds of KB, how many times smaller it is than float32."""
    (_, error), kilobytes, (plain, coded) = (PAPER[part][key] for key in ("errors", "kilobytes", "rates"))

    def rate(r: dict[str, Any], key: str) -> float:
        return 4 * r["parameters"] / file(r)[key]

    size = over_seeds(finished, lambda r: file(r)["bytes"])
    kept = sum(file(run["results"])["kept"] for run in finished)
    return [
        Row(title, "test error, compressed", over_seeds(finished, lambda r: file(r)["error"]), "%", paper=error,
            at_most=LARGEST_ERROR[part]),
        Row(title, "compressed − pruned, test error",
            over_seeds(finished, lambda r: file(r)["error"] - r["pruned"]["error"]), "points"),
        Row(title, "file", [n / 1024 for n in size], "KB of 1,024 bytes", at_most=kilobytes),
        Row(title, "file, counted as the paper does", [n / 1000 for n in size], "KB of 1,000 bytes", paper=kilobytes,
            at_most=kilobytes),
        Row(title, "times smaller", over_seeds(finished, lambda r: rate(r, "bytes")), digits=1, paper=coded),
        Row(title, "times smaller without Huffman", over_seeds(finished, lambda r: rate(r, "bytes_without_huffman")),
            digits=1, paper=plain),
        Row(title, f"centroids trained − k-means, held-out error (trained ones kept in {kept} of {len(finished)} runs)",
            over_seeds(finished, lambda r: file(r)["held_out_trained"][0] - file(r)["held_out_shared"][0]), "points"),
    ]  # fmt: skip


def figures(runs: Sequence[Run], folder: Path) -> dict[str, tuple[Figure, str]]:
    """Draw test error over the size of the file, for each number of bits."""
    if not runs:
        return {}
    caption = (
        "Test error over the size of the whole file: a dot for each number of bits, all layers alike, float16 centroids; the "
        "squares are files with the paper's bits and float32 centroids. Whiskers: 95 % intervals of the mean."
    )
    return {"": (plot_sizes(runs), caption)}


def plot_sizes(runs: Sequence[Run]) -> Figure:
    """Draw a panel for each network: error over size, beside the paper's file and the pruned network's error."""
    parts = [part for part in PAPER if any(run["part"] == part for run in runs)]
    figure = Figure(figsize=(4.6 * len(parts) + 0.6, 3.8), layout="constrained")
    for ax, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        results = [run["results"] for run in runs if run["part"] == part]
        for bits in results[0]["bits"]:
            x, y = _point(ax, [r["bits"][bits] for r in results], BLUE, "o", "" if ax.lines else "all layers alike")
            ax.annotate(f"{bits} bits", (x, y), xytext=(4, 6), textcoords="offset points", fontsize=9)
        _point(ax, [r["paper"] for r in results], ORANGE, "s", "the paper's bits")
        ax.plot(PAPER[part]["kilobytes"], PAPER[part]["errors"][1], "D", color="black", label="the paper's result")
        pruned = np.mean([r["pruned"]["error"] for r in results])
        ax.axhline(pruned, color=GREY, linewidth=0.9, linestyle=":", label="pruned, float32")
        ax.set_title(f"{part} ({len(results)} seed{'s' * (len(results) > 1)})", fontsize=11)
        ax.set_xlabel("file (KB of 1,000 bytes)")
        ax.set_ylabel("test error (%)")
        ax.margins(x=0.1, y=0.12)
        ax.yaxis.set_major_formatter("{x:.2f}")
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(fontsize=9)
    return figure


def _point(ax: Axes, files: Sequence[Mapping[str, Any]], color: str, marker: str, label: str) -> tuple[float, float]:
    """Draw the mean of some files, with its intervals, and return where it is."""
    values = np.array([(file["bytes"] / 1000, file["error"]) for file in files])
    x, y = values.mean(axis=0)
    reach = [t_interval(v)[1] - v.mean() if len(files) > 1 else 0.0 for v in values.T]
    ax.errorbar(x, y, reach[1], reach[0], color=color, marker=marker, linestyle="none", capsize=2, label=label or None)
    return x, y


DEEPCOMPRESSION = Reproduction(
    name="deepcompression",
    paper='Han, Mao, Dally, "Deep compression: compressing deep neural networks with pruning, trained quantization and '
    'Huffman coding", 2016, arXiv:1510.00149, tables 1 to 3',
    settings=PLANS,
    quick=QUICK,
    seeds=3,
    work=work,
    rows=rows,
    figures=figures,
    deviations=(
        "The first stage is that of `minigrad repro han2015`, whose runs are used where they are there.",
        "Sizes are those of whole files: biases, layer settings, codebooks, Huffman tables and checksum are in them. The "
        "dense network's size is 4 bytes for each weight and bias.",
        "The paper's 1,070 KB and 1,720 KB are KB of 1,000 bytes (266,610 and 431,080 numbers of 4); so is its result, then.",
        "The paper's tables are not consistent: LeNet-300-100 has 5.1 bits a weight after Huffman coding in all, and at most "
        "4.4 in each layer; LeNet-5's last layer has 5.2 bits after Huffman coding and 5 before; LeNet-5's layers add up "
        "to 2.7 %, which is 47 KB and not 44. Ours are counted from the file, layer by layer, and nothing is forced.",
        "Bits are those of an entry, and fillers are entries: zeros in gaps that an index cannot span. One of a codebook's "
        "2^bits numbers is theirs, so that centroids are at most 2^bits − 1.",
        "The centroids are trained with dropout and weight decay of the first stage, the decay summed over a centroid's "
        "members as the gradient is. Without it they overfit. The paper says nothing of either. Biases are trained too.",
        "The training of centroids is kept where it lowers the error on the held-out images (where that is equal, the loss); "
        "otherwise the means of k-means stay.",
        "Our bits: the same for all layers, and the fewest with which the held-out error is not above that of the pruned "
        "network; float16 centroids and biases, and indices of whatever width is shortest.",
        "The paper reports one run; here are means over seeds.",
    ),
)
