"""The main job: the pruning article's run, from untrained LeNet to a fine-tuned sparse one, with every figure measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minigrad
from minigrad.checkpoint import save_checkpoint
from minigrad.datasets import ImageDataset, mnist, show_image
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Module
from minigrad.optim import SGD, CosineAnnealingLR
from minigrad.resume import fit
from minigrad.training import count_correct, train

from .figures import plot_accuracy, plot_weights
from .models import LeNet
from .pruning import ARTICLE_SPARSITY, FineTuned, SparsePruner, finetune
from .report import Stage, as_report, measure, table, wilson_interval, write_report
from .sweep import Job

ARTICLE_ACCURACY = {"baseline": 97.99, "pruned": 66.46, "fine-tuned": 98.31}
"""The article's accuracies in percent."""

EVALUATION_BATCH = 250

Save = Callable[..., Any]
"""Called as save(name, model, **metadata) whenever there is something worth keeping."""


@dataclass(frozen=True)
class Recipe:
    """How the article trains.

    Attributes:
        epochs: of training, and again of fine-tuning.
        batch_size: images a step.
        lr, momentum: of SGD.
        seed: of the initial weights and of the order of the images.
    """

    epochs: int = 5
    batch_size: int = 64
    lr: float = 0.01
    momentum: float = 0.5
    seed: int = 0


def train_loader(dataset: ImageDataset, recipe: Recipe, epochs_done: int = 0) -> DataLoader:
    """Return a shuffling loader that goes on where a run of so many epochs stopped."""
    loader = DataLoader(dataset.images, dataset.labels, recipe.batch_size, shuffle=True, seed=recipe.seed)
    loader.epoch = epochs_done
    return loader


def evaluation_loader(dataset: ImageDataset) -> DataLoader:
    """Return a loader in file order."""
    return DataLoader(dataset.images, dataset.labels, EVALUATION_BATCH)


def train_lenet(
    dataset: ImageDataset,
    recipe: Recipe,
    after_epoch: Callable[[LeNet, int, float], Any] = lambda model, epoch, loss: None,
    cosine: bool = False,
) -> LeNet:
    """Train a new LeNet.

    Args:
        dataset: the images.
        recipe: how.
        after_epoch: called as after_epoch(model, epoch, loss) after every epoch, counted from 1.
        cosine: whether the learning rate falls to 0 along half a cosine, step by step.
    """
    minigrad.manual_seed(recipe.seed)
    model = LeNet()
    optimizer = SGD(model.parameters(), recipe.lr, recipe.momentum)
    loader = train_loader(dataset, recipe)
    fit(
        model, loader, CrossEntropyLoss(), optimizer, recipe.epochs,
        CosineAnnealingLR(optimizer, recipe.epochs * len(loader)) if cosine else None, schedule_each="step",
        after_epoch=lambda position: after_epoch(model, position.epoch, position.losses[-1]),
    )  # fmt: skip
    return model


def train_on_(model: Module, pruner: SparsePruner, dataset: ImageDataset, recipe: Recipe, epochs: int) -> None:
    """Train a model in place with a pruner's masks held, with the images of the epochs after the recipe's.

    Unlike `finetune` it chooses no epoch: the last one is what it is.
    """
    optimizer = SGD(model.parameters(), recipe.lr, recipe.momentum)
    loader = train_loader(dataset, recipe, epochs_done=recipe.epochs)
    for _ in range(epochs):
        train(model, loader, CrossEntropyLoss(), optimizer, after_step=pruner.apply_)


def run(recipe: Recipe, training: ImageDataset, test: ImageDataset, save: Save, say: Callable[[str], Any]) -> "Run":
    """Train, prune, measure, fine-tune.

    Args:
        recipe: how.
        training, test: the images.
        save: called with the names "baseline", "pruned" and "fine-tuned" and the model, after every epoch worth keeping.
        say: called with a line of text for the reader.
    """
    test_batches, total = evaluation_loader(test), len(test)

    start = time.perf_counter()
    baseline_correct: list[int] = []

    def after_baseline_epoch(model: LeNet, epoch: int, loss: float) -> None:
        """Save the model, and report."""
        save("baseline", model, seed=recipe.seed, epoch=epoch)
        baseline_correct.append(count_correct(model, test_batches)[0])
        accuracy = 100 * baseline_correct[-1] / total
        say(f"train      epoch {epoch}/{recipe.epochs}  loss {loss:.4f}  test accuracy {accuracy:.2f} %")

    baseline = train_lenet(training, recipe, after_baseline_epoch)
    stages = [measure("baseline", baseline, baseline_correct[-1], total, time.perf_counter() - start)]

    start = time.perf_counter()
    pruner = SparsePruner(baseline, ARTICLE_SPARSITY)
    pruned = pruner.prune(baseline)
    correct, _ = count_correct(pruned, test_batches)
    stages.append(measure("pruned", pruned, correct, total, time.perf_counter() - start))
    save("pruned", pruned, seed=recipe.seed, epoch=recipe.epochs)
    say(f"prune                 sparsity {stages[-1].sparsity:.4f}  test accuracy {stages[-1].accuracy:.2f} %")

    start = time.perf_counter()

    def after_epoch(found: FineTuned, model: Module) -> None:
        """Save the model if it is the best so far, and report."""
        epoch = len(found.correct)
        if found.best_epoch == epoch:
            save("fine-tuned", found.best, seed=recipe.seed, epoch=recipe.epochs + epoch)
        accuracy, best = 100 * found.correct[-1] / total, 100 * max(found.correct) / total
        say(
            f"fine-tune  epoch {epoch}/{recipe.epochs}  loss {found.losses[-1]:.4f}  test accuracy {accuracy:.2f} %"
            f"  best {best:.2f} %"
        )

    found = finetune(
        pruner.prune(baseline),
        pruner,
        train_loader(training, recipe, epochs_done=recipe.epochs),
        test_batches,  # the article's own choice, reproduced as it was and labelled so
        recipe.epochs,
        recipe.lr,
        recipe.momentum,
        after_epoch,
    )
    seconds = time.perf_counter() - start
    tuned = measure("fine-tuned", found.best, found.correct[found.best_epoch - 1], total, seconds)
    last = found.correct[-1]
    tuned.last_epoch = {"accuracy": 100 * last / total, "interval": list(wilson_interval(last, total))}
    return Run([*stages, tuned], {"baseline": baseline, "pruned": pruned, "fine-tuned": found.best})


def files_of(job: Job) -> list[Path]:
    """Return where the report of one seed goes; what else it writes lies beside it."""
    return [job.folder / f"seed-{job.seed}" / "report.json"]


def work(job: Job) -> dict[str, Any]:
    """Do the main job of one seed; write checkpoints, report.json and figures into the folder of the seed."""
    training, test = mnist("train", job.data), mnist("test", job.data)
    (file,) = files_of(job)
    folder = file.parent
    folder.mkdir(parents=True, exist_ok=True)

    def save(name: str, model: Module, **metadata: Any) -> None:
        save_checkpoint(folder / f"{name}.safetensors", model, **metadata)

    result = run(job.settings, training, test, save, lambda line: None)
    report = as_report(job.seed, result.stages)
    write_report(file, report)
    save_figures(folder, result, training)
    return report | {"table": table(result.stages)}


@dataclass
class Run:
    """What `run` produced.

    Attributes:
        stages: the report's rows.
        models: stage → model.
    """

    stages: list[Stage]
    models: dict[str, Module]


def save_figures(folder: Path, result: Run, dataset: ImageDataset) -> None:
    """Write the run's figures as PNG files: digits (of 20 images or more), weights, accuracy."""
    figures = {
        "digits.png": show_image(dataset, rows=2, seed=0) if len(dataset) >= 20 else None,
        "weights.png": plot_weights(result.models),
        "accuracy.png": plot_accuracy([s.as_json() for s in result.stages], ARTICLE_ACCURACY),
    }
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(folder / name, dpi=120)
