"""What `minigrad prune` does: prune a trained LeNet by any criterion and schedule."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import minigrad
from minigrad.datasets import ImageDataset
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Dropout, Module
from minigrad.optim import SGD

from .demo import Recipe, evaluation_loader, train_loader
from .models import LeNet, lenet_widths
from .pruning import (
    ARTICLE_SPARSITY,
    Ledger,
    SparsePruner,
    choose,
    choose_by_std,
    even_targets,
    gradual,
    lottery_targets,
    model_sparsity,
    one_shot,
    prunable,
    prune_rounds,
    with_penalty,
)
from .pruning.criteria import WITHOUT_DATA
from .pruning.selection import Target

SCHEDULES = ("one-shot", "iterative", "gradual", "lottery")
CALIBRATION_IMAGES, CALIBRATION_BATCH = 1_000, 20


@dataclass(frozen=True)
class Plan:
    """How to prune. `check` refuses what does not go together.

    Attributes:
        criterion, scope, ties, pattern: see `choose`.
        schedule: one of `SCHEDULES`.
        sparsity: None for the article's sparsities (for the scope "global", its share of all weights; for a lottery,
            20 % a round and 10 % of the output layer).
        quality: instead of a sparsity: Han's factor of the standard deviation.
        rounds: of the schedules "iterative" and "lottery".
        every: optimizer steps between prunings of the schedule "gradual".
        l1, l2: penalties to train with before pruning, for recipe.epochs; 0 for none.
        dropout: rate after fc1 and fc2 while training, of the schedules "iterative" and "lottery". Each round adjusts it to
            the connections that are left (`adjust_dropout`).
        recipe: of training: epochs before pruning with a penalty, in each round, or in all of a gradual pruning.
    """

    criterion: str = "magnitude"
    schedule: str = "one-shot"
    scope: str = "local"
    ties: Any = "drop"
    pattern: str | None = None
    sparsity: Target | None = None
    quality: float | None = None
    rounds: int = 5
    every: int = 100
    l1: float = 0.0
    l2: float = 0.0
    dropout: float = 0.0
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def trains(self) -> bool:
        """Whether weights are trained at all."""
        return self.schedule != "one-shot" or bool(self.l1 or self.l2)

    @property
    def needs_images(self) -> bool:
        """Whether images are looked at."""
        return self.trains or self.criterion not in WITHOUT_DATA

    def check(self) -> None:
        """Raise a ValueError that says what does not go together."""
        if problem := self._problem():
            raise ValueError(f"prune: {problem}")

    def _problem(self) -> str | None:
        if self.schedule not in SCHEDULES:
            return f"there is no schedule {self.schedule!r}; there are {', '.join(SCHEDULES)}"
        if self.schedule == "lottery" and (self.sparsity is not None or self.scope == "global" or self.pattern):
            return (
                "a lottery removes 20 % of each layer a round (10 % of the last): "
                "give --rounds, and neither --sparsity nor --pattern nor the scope global"
            )
        if self.schedule == "lottery" and (self.l1 or self.l2):
            return "a lottery goes back to the first weights, which undoes a penalty before: leave --l1 and --l2 out"
        if self.quality is not None and (
            self.sparsity is not None or self.pattern or self.scope == "global" or self.criterion != "magnitude"
        ):
            return (
                "--quality compares magnitudes with each layer's deviation: it takes the place of --sparsity, "
                "and goes with the criterion magnitude and the scope local, without a pattern"
            )
        if self.quality is not None and self.schedule not in ("one-shot", "iterative"):
            return (
                "--quality sets no sparsity to approach: it goes with the schedules one-shot and iterative, "
                f"not {self.schedule}"
            )
        if self.dropout and self.schedule not in ("iterative", "lottery"):
            return (
                "--dropout is adjusted from round to round: it goes with the schedules iterative and lottery, "
                f"not {self.schedule}"
            )
        if self.scope == "global" and isinstance(self.sparsity, Mapping):
            return "the scope global ranks all weights together: give one sparsity for all, without a name"
        if self.scope == "global" and self.pattern:
            return "a pattern is kept layer by layer: it goes with the scope local"
        if self.pattern and re.fullmatch(r"\d+:\d+", self.pattern):
            if self.sparsity is not None:
                return f"the pattern {self.pattern} fixes the sparsity: leave --sparsity out"
            if self.schedule != "one-shot":
                return (
                    f"the pattern {self.pattern} fixes the sparsity and leaves nothing to approach in steps: "
                    f"it goes with the schedule one-shot, not {self.schedule}"
                )
        return None


@dataclass
class Pruned:
    """What came out: the model, the ledger of all steps, and how many epochs were trained (of a lottery, since its rewind)."""

    model: Any
    ledger: Ledger
    epochs: int = 0


def run(
    model: LeNet,
    plan: Plan,
    training: ImageDataset | None,
    held_out: ImageDataset | None,
    say: Callable[[str], Any],
    after_round: Callable[[Pruned], Any] = lambda pruned: None,
    initial: LeNet | None = None,
    epochs_done: int = 0,
) -> Pruned:
    """Prune a copy of `model`. What is zero in it stays zero.

    Args:
        model: a trained LeNet.
        plan: how.
        training: images to train on; the first criterion that needs some gets 1,000 of them, drawn with the plan's seed.
        held_out: images to show the accuracy on. Nothing is chosen by it.
        say: called with a line of text for the reader.
        after_round: called after every round that trained.
        initial: for a lottery, the model before its training.
        epochs_done: epochs `model` was trained, which decides on the order of the images. A lottery begins anew.

    Raises:
        ValueError: the plan's parts do not go together, images or the initial model are missing.
    """
    plan.check()
    if plan.needs_images and (training is None or held_out is None):
        raise ValueError("prune: this criterion or schedule needs images")
    if plan.schedule == "lottery" and initial is None:
        raise ValueError("prune: a lottery needs the model before its training")
    if plan.dropout:
        model = _with_dropout(model, plan.dropout)
        minigrad.manual_seed(plan.recipe.seed)  # what dropout draws
    zeros = SparsePruner.from_zeros(model)
    result, chooser = Pruned(model, Ledger()), _chooser(plan, training)
    train_ = _Training(plan, training, held_out, say, result, epochs_done)
    if plan.l1 or plan.l2:
        say("train with a penalty")
        model = zeros.prune(model)
        train_(model, zeros.apply_, with_penalty(CrossEntropyLoss(), prunable(model).values(), plan.l1, plan.l2))

    settings: dict[str, Any] = {"earlier": zeros.masks, "ledger": result.ledger}
    targets = _targets(plan, model)
    if plan.schedule == "one-shot":
        result.model = one_shot(model, targets[0], chooser, **settings).pruned
    elif plan.schedule == "gradual":
        say("gradual")
        steps = max(1, 2 * train_.steps() // 3)
        result.model = gradual(model, targets[0], chooser, train_, steps=steps, every=plan.every, **settings).trained
    else:
        first = initial.state_dict() if initial is not None and plan.schedule == "lottery" else None
        settings["dropout"] = plan.dropout > 0
        for done in prune_rounds(model, _announced(targets, say), chooser, train_, rewind_to=first, **settings):
            result.model = done.trained
            after_round(result)
    return result


class _Training:
    """Trains in place, as a schedule asks for it, and counts the epochs in `result`."""

    def __init__(self, plan: Plan, training: Any, held_out: Any, say: Callable[[str], Any], result: Pruned, done: int):
        self.plan, self.training, self.held_out, self.say = plan, training, held_out, say
        self.result, self.done = result, done

    def __call__(self, model: Module, after_step: Callable[[Any], Any], loss_fn: Any = None) -> None:
        recipe, result = self.plan.recipe, self.result
        if self.plan.schedule == "lottery":  # trains from the beginning, with the same batches, in each round
            result.epochs = self.done = 0
        loader = train_loader(self.training, recipe, epochs_done=self.done + result.epochs)
        optimizer, loss = SGD(model.parameters(), recipe.lr, recipe.momentum), 0.0
        for _ in range(recipe.epochs):
            loss = minigrad.train(model, loader, loss_fn or CrossEntropyLoss(), optimizer, after_step)
        result.epochs += recipe.epochs
        accuracy = minigrad.evaluate(model, evaluation_loader(self.held_out))
        rates = " and ".join(f"{m.p:.3f}" for m in model.modules() if isinstance(m, Dropout))
        self.say(
            f"  trained: loss {loss:.4f}  held-out accuracy {accuracy:.2f} %  sparsity {model_sparsity(model):.4f}"
            + (f"  dropout {rates}" if self.plan.dropout else "")
        )

    def steps(self) -> int:
        """Optimizer steps of one call."""
        return self.plan.recipe.epochs * -(-len(self.training) // self.plan.recipe.batch_size)


def _with_dropout(model: LeNet, rate: float) -> LeNet:
    state = model.state_dict()
    copied = LeNet(widths=lenet_widths(state), dropout=rate)
    copied.load_state_dict(state)
    return copied


def _announced(targets: list[Target], say: Callable[[str], Any]) -> Iterator[Target]:
    for number, target in enumerate(targets, 1):
        say(f"round {number}/{len(targets)}")
        yield target


def _targets(plan: Plan, model: Module) -> list[Target]:
    """Return the target of each round; a single one for schedules without rounds."""
    if plan.schedule == "lottery":
        return lottery_targets(model, plan.rounds)
    if plan.quality is not None:
        return [plan.quality] * (plan.rounds if plan.schedule == "iterative" else 1)
    target: Target = ARTICLE_SPARSITY if plan.sparsity is None else plan.sparsity
    if plan.scope == "global" and plan.sparsity is None:
        sizes = {name: p.size for name, p in prunable(model).items()}
        target = sum(round(n * ARTICLE_SPARSITY[name]) for name, n in sizes.items()) / sum(sizes.values())
    return even_targets(target, plan.rounds) if plan.schedule == "iterative" else [target]


def _chooser(plan: Plan, training: ImageDataset | None) -> Callable[..., Any]:
    if plan.quality is not None:
        return choose_by_std
    loader = None if training is None else calibration_loader(training, plan.recipe.seed)
    return partial(
        choose,
        criterion=plan.criterion,
        scope=plan.scope,
        ties=plan.ties,
        pattern=plan.pattern,
        loader=loader,
        seed=plan.recipe.seed,
    )


def calibration_loader(training: ImageDataset, seed: int) -> DataLoader:
    """Return 1,000 of the training images (or all, of fewer), drawn with a seed, in small batches for `obd` and `stability`."""
    drawn = np.random.default_rng(seed).permutation(len(training))[:CALIBRATION_IMAGES]
    part = training.subset(np.sort(drawn))
    return DataLoader(part.images, part.labels, CALIBRATION_BATCH)
