"""Train a pruned model on, with its masks held, and keep its best epoch."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Module
from minigrad.optim import SGD
from minigrad.training import count_correct, train

from .pruner import SparsePruner

ARTICLE_SPARSITY = {
    "conv1.weight": 0.85,
    "conv2.weight": 0.80,
    "fc1.weight": 0.75,
    "fc2.weight": 0.70,
    "fc3.weight": 0.80,
}
"""The pruning article's sparsity for each layer of LeNet: 32,816 zeros of 44,426 parameters."""


@dataclass
class FineTuned:
    """What `finetune` found.

    Attributes:
        best: a copy of the model after its best epoch (the first of equally good ones).
        best_epoch: its number, counted from 1.
        correct: images classified as labelled, after each epoch.
        losses: mean training loss of each epoch.
    """

    best: Any = None
    best_epoch: int = 0
    correct: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def finetune(
    model: Module,
    pruner: SparsePruner,
    train_loader: DataLoader,
    choice_loader: DataLoader,
    epochs: int = 5,
    lr: float = 0.01,
    momentum: float = 0.5,
    after_epoch: Callable[[FineTuned, Module], Any] | None = None,
) -> FineTuned:
    """Train a pruned model in place, re-applying the masks after every step.

    Args:
        model: a pruned model; after the call it is the one of the last epoch.
        pruner: its masks.
        train_loader: batches to train on.
        choice_loader: images on which the best epoch is chosen. Held-out training images, in honest work; the article
            (and only its reproduction) takes the test images.
        epochs: how many; at least 1.
        lr, momentum: of the optimizer.
        after_epoch: called after every epoch with what was found so far and the model.

    Raises:
        ValueError: epochs is below 1.
    """
    if epochs < 1:
        raise ValueError(f"finetune: epochs is {epochs}, expected 1 or more")
    optimizer = SGD(model.parameters(), lr, momentum)
    found = FineTuned()
    for epoch in range(1, epochs + 1):
        found.losses.append(train(model, train_loader, CrossEntropyLoss(), optimizer, after_step=pruner.apply_))
        found.correct.append(count_correct(model, choice_loader)[0])
        if found.best is None or found.correct[-1] > found.correct[found.best_epoch - 1]:
            found.best, found.best_epoch = copy.deepcopy(model), epoch
        if after_epoch is not None:
            after_epoch(found, model)
    return found
