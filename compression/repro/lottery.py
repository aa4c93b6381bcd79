"""Frankle and Carbin 2019: a pruned network, put back to its first weights, learns; with other first weights it does not."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad import functional as F
from minigrad.datasets import ImageDataset
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Module
from minigrad.nn.init import xavier_normal_
from minigrad.optim import Adam
from minigrad.tape import no_grad
from minigrad.training import evaluating

from ..demo import evaluation_loader
from ..figures import BLUE, GREY, ORANGE
from ..models import LeNet300100
from ..pruning import choose, lottery_targets, prunable, prune_rounds
from ..report import t_interval
from ..sweep import Job, Run
from .common import Reproduction, Row, images

PART = "LeNet-300-100"
MAIN, DEEP = 7, 15
"""Rounds after which 21.1 % and 3.6 % of the weights are left."""


@dataclass(frozen=True)
class Plan:
    """How tickets are drawn and trained.

    Attributes:
        rounds: of pruning 20 % of each layer's weights, 10 % of the last one's.
        reinitialised: rounds whose masks are trained from other first weights too.
        epochs: of each training.
        lr, batch_size: of Adam, as in the paper.
        every: steps from one look at the held-out loss to the next.
        images: how many to train on, None for all.
    """

    rounds: int = DEEP
    reinitialised: tuple[int, ...] = (3, MAIN, 11, DEEP)
    epochs: int = 10
    lr: float = 1.2e-3
    batch_size: int = 60
    every: int = 100
    images: int | None = None


FULL = Plan()
QUICK = replace(FULL, rounds=MAIN, reinitialised=(MAIN,), epochs=5, images=12_000)


@dataclass
class Learning:
    """How a network learned.

    Attributes:
        left: share of the weights that it has, percent.
        iteration: step of the smallest loss on the held-out images: where early stopping stops.
        loss: that loss.
        early, end: test accuracy at that step, and at the end, percent.
    """

    left: float
    iteration: int
    loss: float
    early: float
    end: float


def work(job: Job) -> dict[str, Any]:
    """Draw tickets round by round; train each, and some of their masks with other first weights.

    Returns:
        {"tickets": [dense, round 1, ...], "reinitialised": {round: ...}}, each a `Learning`.
    """
    plan: Plan = job.settings
    training, held_out, test = images(job.data, plan.images)
    learned: list[Learning] = []
    learn_ = partial(_learn_, plan=plan, training=training, held_out=held_out, test=test, seed=job.seed)

    initial = _fresh(job.seed)
    trained = copy.deepcopy(initial)
    learned.append(learn_(trained))
    reinitialised = {}
    for done in prune_rounds(
        trained,
        lottery_targets(trained, plan.rounds),
        partial(choose, ties="exact"),
        lambda model, after_step: learned.append(learn_(model, after_step)),
        rewind_to=initial.state_dict(),
    ):
        if done.number in plan.reinitialised:
            other = done.pruner.apply_(_fresh(1_000 * done.number + job.seed))
            reinitialised[str(done.number)] = asdict(learn_(other, done.pruner.apply_))
    return {"tickets": [asdict(learning) for learning in learned], "reinitialised": reinitialised}


def _fresh(seed: int) -> LeNet300100:
    """Return a network with weights drawn as in the paper: normal, by Glorot; biases zero."""
    minigrad.manual_seed(seed)
    model = LeNet300100()
    for p in model.parameters():
        if p.ndim > 1:
            xavier_normal_(p)
        else:
            p.data[...] = 0
    return model


def _learn_(
    model: Module,
    after_step: Callable[[Any], Any] = lambda model: None,
    *,
    plan: Plan,
    training: ImageDataset,
    held_out: ImageDataset,
    test: ImageDataset,
    seed: int,
) -> Learning:
    """Train a network in place, with the same batches whatever it is, and watch the held-out loss."""
    loader = DataLoader(training.images, training.labels, plan.batch_size, shuffle=True, seed=seed)
    optimizer = Adam(model.parameters(), plan.lr)
    held_out_batches, test_batches = evaluation_loader(held_out), evaluation_loader(test)
    weights = [p.data for p in prunable(model).values()]
    left = 100 * sum(int((w != 0).sum()) for w in weights) / sum(w.size for w in weights)
    best, iteration, lowest, done = model, 0, math.inf, 0

    def finish_step(model: Module) -> None:
        """Re-apply the masks; every so many steps, look at the held-out loss."""
        nonlocal best, iteration, lowest, done
        after_step(model)
        done += 1
        if done % plan.every == 0 and (loss := mean_loss(model, held_out_batches)) < lowest:
            best, iteration, lowest = copy.deepcopy(model), done, loss

    for _ in range(plan.epochs):
        minigrad.train(model, loader, CrossEntropyLoss(), optimizer, finish_step)
    early, end = (minigrad.evaluate(m, test_batches) for m in (best, model))
    return Learning(left, iteration, lowest, early, end)


def mean_loss(model: Module, batches: DataLoader) -> float:
    """Return the mean cross-entropy over a loader's images."""
    total = 0.0
    with evaluating(model), no_grad():
        for x, targets in batches.batches(np.arange(len(batches.labels))):
            total += len(targets) * F.cross_entropy(model(x), targets).item()
    return total / len(batches.labels)


def rows(runs: Mapping[str, list[Run]]) -> list[Row]:
    """Return the report's rows: each kind of network by itself, then differences within each seed."""
    found = []
    for number in (MAIN, DEEP):
        having = [run["results"] for run in runs[PART] if len(run["results"]["tickets"]) > number]
        if not having:
            continue
        kinds = {
            "dense": [r["tickets"][0] for r in having],
            "ticket": [r["tickets"][number] for r in having],
            "re-initialised": [r["reinitialised"][str(number)] for r in having],
        }
        part = f"{kinds['ticket'][0]['left']:.1f} % of the weights left"
        for key, what, unit, digits in (
            ("early", "test accuracy at early stop", "%", 2),
            ("end", "test accuracy at the end", "%", 2),
            ("iteration", "step of early stop", "", 0),
        ):
            values = {kind: np.array([learning[key] for learning in group]) for kind, group in kinds.items()}
            found += [Row(part, f"{kind}: {what}", v.tolist(), unit, digits) for kind, v in values.items()]
            found += _differences(part, what, unit, digits, values, judged=number == MAIN)
    return found


def _differences(part: str, what: str, unit: str, digits: int, values: Mapping[str, Any], judged: bool) -> list[Row]:
    """Compare the ticket with the two others, seed by seed. Of steps, fewer is better."""
    over_dense, over_other = values["ticket"] - values["dense"], values["ticket"] - values["re-initialised"]
    fewer = not unit
    limits: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    if judged:
        side = "at_most" if fewer else "at_least"
        limits = {side: 0.0}, {side: 0.0, "surely": True}
    return [
        Row(part, f"ticket − dense: {what}", over_dense.tolist(), unit, digits, **limits[0]),
        Row(part, f"ticket − re-initialised: {what}", over_other.tolist(), unit, digits, **limits[1]),
    ]


def figures(runs: Sequence[Run], folder: Path) -> dict[str, tuple[Figure, str]]:
    """Draw accuracy and speed of learning against the share of weights that is left."""
    if not runs:
        return {}
    caption = "LeNet-300-100 with its first weights (ticket) and with others, over the share of weights left"
    return {"": (plot_lottery([run["results"] for run in runs]), caption + ".")}


def plot_lottery(results: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw a panel each for accuracy at early stop, at the end, and the step of early stop. Whiskers: 95 % intervals.

    Args:
        results: of `work`, one a seed.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    rounds = range(len(results[0]["tickets"]))
    others = sorted(results[0]["reinitialised"], key=int)  # JSON's keys are words
    lines = {
        "winning ticket": (BLUE, "o", "-", [[r["tickets"][i] for r in results] for i in rounds]),
        "re-initialised": (ORANGE, "s", "--", [[r["reinitialised"][i] for r in results] for i in others]),
    }
    panels = figure.subplots(1, 3)
    for ax, key, title in zip(
        panels,
        ("early", "end", "iteration"),
        ("test accuracy at early stop (%)", "test accuracy at the end (%)", "step of early stop"),
        strict=True,
    ):
        for name, (color, marker, dashes, points) in lines.items():
            if not points:
                continue
            values = np.array([[learning[key] for learning in point] for point in points])  # (rounds, seeds)
            left = np.array([np.mean([learning["left"] for learning in point]) for point in points])
            reach = [t_interval(v)[1] - v.mean() for v in values] if len(results) > 1 else np.zeros(len(points))
            ax.errorbar(left, values.mean(axis=1), reach, color=color, marker=marker, linestyle=dashes, markersize=4,
                        linewidth=1.3, elinewidth=0.8, capsize=2, label=name)  # fmt: skip
        ax.axhline(
            np.mean([r["tickets"][0][key] for r in results]), color=GREY, linewidth=0.9, linestyle=":", label="dense"
        )
        ax.set_xscale("log")
        ax.set_xlim(115, 3)
        ticks = [100, 51, 21, 9, 3.6]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("weights left (%)")
        ax.set_ylabel(title)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=9)
    figure.suptitle(
        f"LeNet-300-100 on MNIST, {len(results)} seed(s) (whiskers: 95 % intervals of the mean)", fontsize=12
    )
    return figure


LOTTERY = Reproduction(
    name="lottery",
    paper='Frankle and Carbin, "The lottery ticket hypothesis: finding sparse, trainable neural networks", 2019, '
    "arXiv:1803.03635, section 2",
    settings={PART: FULL},
    quick={PART: QUICK},
    seeds=5,
    work=work,
    rows=rows,
    figures=figures,
    deviations=(
        "Each training is 10 epochs (9,170 steps), not 50,000 steps: the sparsest re-initialised networks stop early only "
        "near the end.",
        "Accuracy at the end is that of a single step at a constant learning rate; it scatters more than that at early stop.",
        "The order of the images is the same for all networks of a seed, so that differences within a seed are due to weights.",
        "One re-initialisation for each seed and mask, where the paper averages over three; at four of the rounds only.",
        "The held-out images are 5,000 of the training images, as in the paper, but a split of our own; pixels are normalised "
        "by MNIST's mean and deviation.",
        "The paper gives its figures as curves, without numbers to set beside these.",
    ),
)
