"""Several workers in one process: what compression does to training, without any network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.functional import fusion
from minigrad.kernels.pace import pacing
from minigrad.nn import Module
from minigrad.optim import Optimizer
from minigrad.tensor import Array

from .compressor import Compressor, compressor


@dataclass
class Simulated:
    """A simulated training.

    Attributes:
        losses: of each step, over the whole batch.
        bytes_sent: of each step, by one worker on average.
        float_bytes: what the gradients take in a step when they are sent as they are.
        workers: the workers' compressors, as the last step left them.
    """

    losses: list[float]
    bytes_sent: list[float]
    float_bytes: int
    workers: list[Compressor]


def train_simulated(
    model: Module,
    batches: Iterable[tuple[Array, Array]],
    loss_fn: Callable[..., Any],
    optimizer: Optimizer,
    method: str = "none",
    *,
    workers: int = 2,
    epochs: int = 1,
    seed: int = 0,
    schedule: Any = None,
    after_epoch: Callable[[int], Any] | None = None,
    **options: Any,
) -> Simulated:
    """Train as `workers` machines would: each takes its share of every batch, all send messages, all take their mean.

    The machines' models would be the same, so there is one. A share counts by its number of images, so that without
    compression the gradient is that of the whole batch.

    Args:
        model: is changed in place.
        batches: yields (x, targets); a `DataLoader`, which shuffles every epoch anew.
        loss_fn: called as loss_fn(logits, targets), returns a batch's mean loss as a Tensor.
        optimizer: of the model's parameters.
        method, options: see `compressor`.
        workers: machines.
        epochs: passes over the batches.
        seed: of random rounding.
        schedule: of the learning rate; stepped after every step.
        after_epoch: called with the number of the epoch, from 0.

    Raises:
        ValueError: a batch has fewer images than there are workers, or momentum would count twice; as `compressor`.

    Example:
        >>> from minigrad import DataLoader, nn, optim
        >>> rng, model = np.random.default_rng(0), nn.Linear(8, 2)
        >>> loader = DataLoader(rng.normal(size=(64, 8)).astype(np.float32), rng.integers(0, 2, 64), batch_size=32)
        >>> sgd = optim.SGD(model.parameters(), lr=0.1)
        >>> run = train_simulated(model, loader, nn.CrossEntropyLoss(), sgd, "sign", workers=2, epochs=5)
        >>> len(run.losses), run.bytes_sent[0], run.float_bytes
        (10, 11.0, 72)
    """
    team = [compressor(method, seed=seed, rank=rank, **options) for rank in range(workers)]
    if not team:
        raise ValueError(f"train_simulated: workers is {workers}, expected 1 or more")
    if team[0].owns_momentum and getattr(optimizer, "momentum", 0):
        raise ValueError(
            "train_simulated: the compressor has momentum, and so has the optimizer; give the optimizer momentum 0"
        )
    run = Simulated([], [], sum(p.data.nbytes for p in model.parameters()), team)
    model.train()
    for epoch in range(epochs):
        with fusion(), pacing() as pace:
            for x, targets in batches:
                before = sum(worker.bytes_sent for worker in team)
                run.losses.append(_step(model, x, targets, loss_fn, optimizer, team, len(run.losses)))
                run.bytes_sent.append((sum(worker.bytes_sent for worker in team) - before) / workers)
                if schedule is not None:
                    schedule.step()
                pace.step()
        if after_epoch is not None:
            after_epoch(epoch)
    return run


def _step(
    model: Module,
    x: Array,
    targets: Array,
    loss_fn: Callable[..., Any],
    optimizer: Optimizer,
    team: list[Compressor],
    step: int,
) -> float:
    """Take one step; return the mean loss of the batch."""
    workers, parameters, loss_sum = len(team), dict(model.named_parameters()), 0.0
    if len(targets) < workers:
        raise ValueError(f"train_simulated: a batch of {len(targets)} cannot be shared by {workers} workers")
    messages: dict[str, list[bytes]] = {name: [] for name in parameters}
    for worker, part, labels in zip(team, np.array_split(x, workers), np.array_split(targets, workers), strict=True):
        optimizer.zero_grad()
        loss = loss_fn(model(part), labels)
        loss.backward()
        share = len(labels) / len(targets)
        loss_sum += share * loss.item()
        for name, p in parameters.items():
            if p.grad is not None:
                # Weighed so that the mean of what is sent is the gradient of the whole batch.
                weighted = p.grad * p.data.dtype.type(workers * share)
                messages[name].append(worker.compress(name, weighted, step))
    for name, p in parameters.items():
        if messages[name]:
            p.grad = team[0].decompress(name, messages[name], p.shape)
    optimizer.step()
    return loss_sum
