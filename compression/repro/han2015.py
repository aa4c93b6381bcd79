"""Han et al. 2015: prune LeNet-300-100 and LeNet-5 to a twelfth of their weights without loss of accuracy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import minigrad
from minigrad.checkpoint import load_checkpoint, save_checkpoint
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Module
from minigrad.optim import SGD
from minigrad.optim.schedules import CosineAnnealingLR

from ..demo import evaluation_loader
from ..figures import plot_connections, plot_masks
from ..models import CaffeLeNet, LeNet300100
from ..pruning import choose_by_std, prunable, prune_rounds, shrink
from ..sweep import Job, Run
from .common import Reproduction, Row, images, over_seeds

NETWORKS: dict[str, Callable[[float], Module]] = {"LeNet-300-100": LeNet300100, "LeNet-5": CaffeLeNet}

PAPER_KEPT = {
    "LeNet-300-100": {"fc1.weight": 8, "fc2.weight": 9, "fc3.weight": 26},
    "LeNet-5": {"conv1.weight": 66, "conv2.weight": 12, "fc1.weight": 8, "fc2.weight": 19},
}
"""Share of each layer's weights that the paper keeps, in percent (its tables 3 and 4)."""

PAPER_ERROR = {"LeNet-300-100": (1.64, 1.59), "LeNet-5": (0.80, 0.77)}
"""Test error before and after, in percent (its table 1)."""

FC1_CAPTION = (
    "Surviving connections of LeNet-300-100's first layer (the paper's figure 4): 28 bands, one for each row of pixels, of "
    "which the outermost have no connections."
)

LARGEST_ERROR = {"LeNet-300-100": 1.7, "LeNet-5": 0.85}
PAPER_RATIO = 12


@dataclass(frozen=True)
class Plan:
    """How a network is trained and pruned.

    Attributes:
        qualities: weight name → factor of the layer's standard deviation below which weights go, in every round.
        rounds: of pruning and retraining.
        epochs, round_epochs: of training, and of retraining in each round.
        lr: of training, falling to zero along half a cosine. Retraining begins at a tenth of it, as in the paper.
        momentum, weight_decay, batch_size: of SGD.
        dropout: rate in the dense network; pruned layers get less of it.
        images: how many to train on, None for all.
    """

    qualities: Mapping[str, float]
    rounds: int = 4
    epochs: int = 12
    round_epochs: int = 7
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 64
    dropout: float = 0.0
    images: int | None = None


PLANS = {
    "LeNet-300-100": Plan(
        {"fc1.weight": 0.75, "fc2.weight": 0.8, "fc3.weight": 0.7}, epochs=24, round_epochs=12, dropout=0.15
    ),
    "LeNet-5": Plan(
        {"conv1.weight": 0.3, "conv2.weight": 0.76, "fc1.weight": 0.825, "fc2.weight": 0.85},
        rounds=5,
        epochs=16,
        round_epochs=8,
        lr=0.02,
        dropout=0.5,
    ),
}
QUICK = {part: replace(plan, images=12_000, epochs=5, round_epochs=3) for part, plan in PLANS.items()}


def work(job: Job) -> dict[str, Any]:
    """Train, prune by rounds, take dead neurons out; errors in percent, of the test images and of those held out."""
    plan: Plan = job.settings
    training, held_out, test = images(job.data, plan.images)
    loader = DataLoader(training.images, training.labels, plan.batch_size, shuffle=True, seed=job.seed)

    def error(model: Module, dataset: Any) -> float:
        return round(100 - minigrad.evaluate(model, evaluation_loader(dataset)), 4)

    minigrad.manual_seed(job.seed)
    dense = NETWORKS[job.part](plan.dropout)
    _train_(dense, plan, loader, plan.epochs, plan.lr)
    sizes = {name: p.size for name, p in prunable(dense).items()}
    pruned, rounds = dense, []
    for done in prune_rounds(
        dense,
        [plan.qualities] * plan.rounds,
        choose_by_std,
        lambda model, after_step: _train_(model, plan, loader, plan.round_epochs, plan.lr / 10, after_step),
        dropout=True,
    ):
        pruned = done.trained
        left = {name: int(mask.sum()) for name, mask in done.choice.masks.items()}
        before = error(done.pruned, held_out)
        rounds.append({"left": left, "held_out_error_untrained": before, "held_out_error": error(pruned, held_out)})
    save_checkpoint(job.folder / f"{job.name}.safetensors", pruned, seed=job.seed)
    small = shrink(pruned)
    left = {name: int((p.data != 0).sum()) for name, p in prunable(small).items()}
    return {
        "dense": {"error": error(dense, test), "held_out_error": error(dense, held_out)},
        "rounds": rounds,
        "pruned": {"error": error(small, test), "held_out_error": error(small, held_out)},
        "sizes": sizes,
        "left": left,  # without the connections of dead neurons
        "neurons": {name: p.shape[0] for name, p in prunable(small).items()},
        "parameters": sum(p.size for p in dense.parameters()),
        "parameters_left": sum(int((p.data != 0).sum()) for p in small.parameters()),
    }


def _train_(
    model: Module,
    plan: Plan,
    loader: DataLoader,
    epochs: int,
    lr: float,
    after_step: Callable[[Any], Any] = lambda model: None,
) -> None:
    """Train with a learning rate that falls along half a cosine. The loader's next epochs are used."""
    optimizer = SGD(model.parameters(), lr, plan.momentum, weight_decay=plan.weight_decay)
    schedule = CosineAnnealingLR(optimizer, epochs * len(loader))

    def finish_step(model: Module) -> None:
        after_step(model)
        schedule.step()

    for _ in range(epochs):
        minigrad.train(model, loader, CrossEntropyLoss(), optimizer, finish_step)


def rows(runs: Mapping[str, list[Run]]) -> list[Row]:
    """Return the report's rows: errors, how many times fewer weights, and what each layer keeps."""
    found = []
    for part, finished in runs.items():
        before, after = PAPER_ERROR[part]
        found += [
            Row(part, "test error, dense", over_seeds(finished, lambda r: r["dense"]["error"]), "%", paper=before),
            Row(part, "test error, pruned", over_seeds(finished, lambda r: r["pruned"]["error"]), "%", paper=after,
                at_most=LARGEST_ERROR[part]),
            Row(part, "times fewer weights", over_seeds(finished, lambda r: _total(r["sizes"]) / _total(r["left"])),
                digits=1, paper=PAPER_RATIO, at_least=PAPER_RATIO),
            Row(part, "times fewer parameters, with biases",
                over_seeds(finished, lambda r: r["parameters"] / r["parameters_left"]), digits=1, paper=PAPER_RATIO),
        ]  # fmt: skip
        for name, paper in PAPER_KEPT[part].items():
            kept = over_seeds(finished, lambda r, name=name: 100 * r["left"][name] / r["sizes"][name])
            found.append(Row(part, f"weights kept, {name.removesuffix('.weight')}", kept, "%", digits=1, paper=paper))
        for name in list(PAPER_KEPT[part])[:-1]:
            alive = over_seeds(finished, lambda r, name=name: r["neurons"][name])
            found.append(Row(part, f"neurons or filters alive, {name.removesuffix('.weight')}", alive, digits=1))
    return found


def _total(counts: Mapping[str, int]) -> int:
    return sum(counts.values())


def figures(runs: Sequence[Run], folder: Path) -> dict[str, tuple[Figure, str]]:
    """Draw what is left of the first layers, in the first seed that has finished."""
    models: dict[str, Any] = {}
    for part, network in NETWORKS.items():
        files = [folder / f"{part}-seed-{run['seed']}.safetensors" for run in runs if run["part"] == part]
        if file := next((file for file in files if file.is_file()), None):
            models[part] = network(0.0)
            load_checkpoint(file, models[part])
    found: dict[str, tuple[Figure, str]] = {}
    if model := models.get("LeNet-300-100"):
        found["fc1_map"] = plot_connections(model.fc1.weight.data), FC1_CAPTION
    if model := models.get("LeNet-5"):
        found["conv1"] = plot_masks({"": model}, columns=10), "What is left of LeNet-5's first filters."
    return found


HAN2015 = Reproduction(
    name="han2015",
    paper='Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks", 2015, '
    "arXiv:1506.02626, tables 1, 3 and 4",
    settings=PLANS,
    quick=QUICK,
    seeds=3,
    work=work,
    rows=rows,
    figures=figures,
    deviations=(
        "The paper gives no qualities, epochs, learning rates, dropout or L2 for these networks; those below are ours.",
        "Training here is on 55,000 images; 5,000 more are held out, and all settings were chosen on them.",
        "The learning rate falls along half a cosine, in training and in each round of retraining, which begins at a tenth.",
        "The paper does not say whether removed weights count in a layer's standard deviation; here they do not.",
        "Pixels are normalised by MNIST's mean and deviation; initial weights are PyTorch's default.",
        "The paper reports one run; here are means over seeds.",
    ),
)
