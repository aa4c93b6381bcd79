"""One epoch of training, and evaluation."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from minigrad.errors import NonFiniteLossError
from minigrad.functional import fusion
from minigrad.kernels.pace import pacing
from minigrad.loader import DataLoader
from minigrad.nn import Module
from minigrad.optim import Optimizer
from minigrad.parallel.team import Team
from minigrad.tape import no_grad
from minigrad.tensor import Tensor


@dataclass
class Position:
    """How far a run has come.

    Attributes:
        epoch: number of the epoch it is in, counted from 0.
        step: batches of this epoch that are done.
        images: how many images they held.
        loss_sum: sum of these images' losses.
        losses: mean loss of each epoch before this one.
    """

    epoch: int = 0
    step: int = 0
    images: int = 0
    loss_sum: float = 0.0
    losses: list[float] = field(default_factory=list)

    def end_epoch(self, loss: float) -> None:
        """Note the epoch's mean loss, and begin the next one."""
        self.losses.append(loss)
        self.epoch, self.step, self.images, self.loss_sum = self.epoch + 1, 0, 0, 0.0


def train(
    model: Module,
    loader: DataLoader,
    loss_fn: Callable[..., Any],
    optimizer: Optimizer,
    after_step: Callable[[Any], Any] | None = None,
    position: Position | None = None,
    team: Team | None = None,
) -> float:
    """Train a model for one epoch, or for what is left of it.

    Args:
        model: is changed in place.
        loader: yields (x, targets).
        loss_fn: called as loss_fn(logits, targets), returns one number as a Tensor.
        optimizer: of the model's parameters.
        after_step: called with the model after every optimizer step; `SparsePruner.apply_` re-applies its masks here.
        position: where to begin, by default where `loader` stands. It is moved on at every step, before `after_step`.
        team: the processes that train together; `loader` is then a `parallel.ShardedLoader`. `fit` also makes sure that
            all start, and stay, with the same parameters.

    Returns:
        The mean loss over the epoch's images, including those that `position` counts already.

    Raises:
        NonFiniteLossError: the loss became NaN or infinite; the parameters are those from before that step.
    """
    model.train()
    position = Position(loader.epoch, loader.step) if position is None else position
    epoch, loader.epoch, loader.step = position.epoch, position.epoch, position.step
    # A loss that overflows is reported below, once, in a sentence; NumPy need not warn of it at every step.
    quiet = np.errstate(over="ignore", invalid="ignore")
    progress = _progress(
        loader, f"train, epoch {epoch + 1}", position.images, None if team is None else team.hides_bars
    )
    with quiet, fusion(), pacing() as pace, progress as bar:
        for step, (x, targets) in enumerate(loader, position.step):
            optimizer.zero_grad()
            # A process of a team may have no part in a small batch.
            loss = loss_fn(model(x), targets) if len(targets) else Tensor(0.0, requires_grad=True)
            value, count = loss.item(), len(targets)
            if team is not None:
                value, count = team.mean_loss(value, count)
            if not math.isfinite(value):
                raise NonFiniteLossError(
                    f"training stopped: the loss is {value} in epoch {epoch + 1}, step {step + 1} of {len(loader)}; "
                    "a smaller learning rate is the usual cure, or the data hold NaN"
                )
            loss.backward()
            if team is not None:
                team.average_(optimizer.params, len(targets) / count, epoch * len(loader) + step)
            optimizer.step()
            position.step = step + 1
            position.images += count
            position.loss_sum += value * count
            if after_step is not None:
                after_step(model)
            pace.step()
            bar.update(count)
            if step % 50 == 0:
                bar.set_postfix(loss=f"{value:.4f}", refresh=False)
    return position.loss_sum / position.images if position.images else math.nan


def count_correct(model: Module, loader: DataLoader) -> tuple[int, int]:
    """Return how many images the model classifies as labelled, and how many there are. Of equal logits the first wins."""
    correct, seen = 0, 0
    with evaluating(model), no_grad(), fusion(), pacing() as pace, _progress(loader, "evaluate") as bar:
        for x, targets in loader.batches(np.arange(len(loader.labels))):
            correct += int((model(x).data.argmax(axis=1) == targets).sum())
            seen += len(targets)
            pace.step()
            bar.update(len(targets))
    return correct, seen


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Switch a model to evaluation; at the end of the block, give every module the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(model: Module, loader: DataLoader) -> float:
    """Return the share of images that the model classifies as labelled, in percent.

    Raises:
        ValueError: the loader is empty.
    """
    correct, seen = count_correct(model, loader)
    if not seen:
        raise ValueError("evaluate: the loader has no images")
    return 100 * correct / seen


def _progress(loader: DataLoader, what: str, done: int = 0, hidden: bool | None = None) -> "tqdm[Any]":
    """Return a bar that counts images, shown on terminals only unless `hidden` says otherwise."""
    count = len(loader.labels)
    return tqdm(total=count, initial=done, desc=what, unit=" images", unit_scale=True, disable=hidden, leave=False)
