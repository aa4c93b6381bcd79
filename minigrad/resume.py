"""Stop a training run anywhere, by accident or not, and go on as if it had never stopped, to the last bit.

What a run has to remember: the model's parameters and buffers; what the optimizer keeps; how far the schedule is; where
the random numbers of dropout are; and the position in the data, whose order depends on seed and epoch alone.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.checkpoint import read_checkpoint, remove_leftovers, to_json, write_checkpoint
from minigrad.errors import CheckpointError
from minigrad.loader import DataLoader
from minigrad.nn import Module
from minigrad.optim import Optimizer, Schedule
from minigrad.parallel.team import Team
from minigrad.random import generator
from minigrad.tensor import Array
from minigrad.training import Position, train


def save_training(
    path: str | Path,
    model: Module,
    optimizer: Optimizer,
    loader: DataLoader,
    position: Position,
    /,
    schedule: Schedule | None = None,
    team: Team | None = None,
    **metadata: Any,
) -> None:
    """Save all that a training run needs to go on from here, as a safetensors file written whole or not at all.

    One run writes one file: temporary files that a killed run left beside it are deleted.

    Args:
        path: the file, usually *.safetensors.
        model: its parameters and buffers are written as `model.<name>`.
        optimizer: its arrays are written as `optimizer.<number of the parameter>.<name>`; its numbers, settings and lr
            go into the metadata.
        loader: its seed, batch size and labels are noted, and compared when the run goes on.
        position: what of the run is done.
        schedule: its count and settings are noted.
        team: what its other processes remember is collected; process 0 writes the file.
        metadata: as in `save_checkpoint`.

    Raises:
        OSError: the file cannot be written.
        TypeError: metadata, or a number that the optimizer keeps, is nothing that JSON can hold.
    """
    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    numbers = [_split(state, arrays, f"optimizer.{i}") for i, state in enumerate(optimizer.state)]
    training = {
        "settings": _settings(optimizer, loader, schedule, team),
        "optimizer": {"lr": optimizer.lr, "state": numbers},
        "schedule": schedule and {"base_lr": schedule.base_lr, "count": schedule.count},
        "random": generator().bit_generator.state,
        "position": asdict(position),
    }
    if team is not None:
        states = team.gather_states()
        if team.rank:
            return
        training["processes"] = [_split(state, arrays, f"process.{rank}") for rank, state in enumerate(states)]
    remove_leftovers(path)
    write_checkpoint(path, arrays, {**metadata, "architecture": type(model).__name__, "training": training})


def load_training(
    path: str | Path,
    model: Module,
    optimizer: Optimizer,
    loader: DataLoader,
    schedule: Schedule | None = None,
    team: Team | None = None,
) -> Position:
    """Set all that belongs to a training run to what `save_training` saved. All or nothing.

    The learning rate is the saved one; all other settings must be those of the saved run. What a run draws from afterwards,
    `minigrad.random.generator()`, and the loader's `epoch` and `step` are set as well. Of a team, process 0 reads the file.

    Returns:
        The run's position, for `train`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, holds no training run, or one of another model, optimizer, schedule, data
            set or number of processes; nothing is changed then.
    """
    arrays, metadata = read_checkpoint(path) if team is None else team.from_first(lambda: read_checkpoint(path))
    training = metadata.get("training")
    if training is None:
        raise CheckpointError(
            f"checkpoint {path} holds a model but no training run; load_checkpoint reads it, save_training writes both"
        )
    random = generator().bit_generator
    try:
        _compare(path, training["settings"], _settings(optimizer, loader, schedule, team))
        state = [dict(numbers) for numbers in training["optimizer"]["state"]]
        lr, saved_schedule = float(training["optimizer"]["lr"]), training["schedule"] or {"base_lr": 0, "count": 0}
        base_lr, count = float(saved_schedule["base_lr"]), int(saved_schedule["count"])
        position = Position(**training["position"])
        if not (0 <= position.step <= len(loader) and len(state) == len(optimizer.params)):
            raise ValueError(f"{position} with {len(state)} states")
        processes = [dict(values) for values in training.get("processes", [training])]
        rank = 0 if team is None else team.rank
        type(random)().state = processes[rank]["random"]  # refuses what is no state, before anything has changed
        model_arrays: dict[str, Array] = {}
        for name, array in arrays.items():
            owner, _, rest = name.partition(".")
            if owner == "model":
                model_arrays[rest] = array
            else:
                i, _, key = rest.partition(".")
                (state if owner == "optimizer" else processes)[int(i)][key] = array
    except CheckpointError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"checkpoint {path}: its training run is damaged ({error!r})") from None
    _load_model(path, model, model_arrays)
    optimizer.state, optimizer.lr = state, lr
    if schedule is not None:
        schedule.base_lr, schedule.count = base_lr, count
    random.state = processes[rank]["random"]
    if team is not None:
        team.load_state_dict(processes[rank])
    loader.epoch, loader.step = position.epoch, position.step
    return position


def fit(
    model: Module,
    loader: DataLoader,
    loss_fn: Callable[..., Any],
    optimizer: Optimizer,
    epochs: int,
    schedule: Schedule | None = None,
    *,
    schedule_each: str = "epoch",
    checkpoint: str | Path | None = None,
    every: int = 100,
    after_step: Callable[[Any], Any] | None = None,
    after_epoch: Callable[[Position], Any] | None = None,
    team: Team | None = None,
) -> list[float]:
    """Train a model from epoch 0, or from where the checkpoint stands if that file exists, until `epochs` are done.

    A run that was interrupted, even by SIGKILL, and is started again with the same program ends with the same bits as one
    that was not: everything random must come from `minigrad.random.generator()` or from the loader.

    Args:
        model, loader, loss_fn, optimizer, after_step: as for `train`.
        epochs: how many in all. A finished run, started again with more, goes on.
        schedule: its `step` is called between epochs or between steps.
        schedule_each: "epoch" or "step".
        checkpoint: the file. None: nothing is saved.
        every: steps from one save to the next within an epoch. Each epoch's end is saved too.
        after_epoch: called with the position after every epoch, before it is saved; `position.losses[-1]` is its mean loss.
        team: the processes that train together, each by this function; `loader` is then a `parallel.ShardedLoader`. All
            start from process 0's parameters; after every epoch, all must hold the same. Process 0 writes the checkpoint.

    Returns:
        The mean loss of each epoch, those before an interruption included.

    Raises:
        ValueError: schedule_each or every is wrong.
        NonFiniteLossError: as `train`.
        CheckpointError: the file belongs to another run; see `load_training`.
        ParallelError: the processes of the team hold different data or parameters.

    Example:
        >>> from minigrad import nn, optim
        >>> model, x = nn.Linear(2, 3), np.zeros((8, 2), np.float32)
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
        >>> len(fit(model, DataLoader(x, np.zeros(8, int)), nn.CrossEntropyLoss(), optimizer, epochs=3))
        3
    """
    if schedule_each not in ("epoch", "step"):
        raise ValueError(f"fit: schedule_each is {schedule_each!r}, expected 'epoch' or 'step'")
    if every < 1:
        raise ValueError(f"fit: every is {every}, expected 1 or more")
    position = _start(checkpoint, model, optimizer, loader, schedule, team)
    save = partial(_save, checkpoint, model, optimizer, loader, position, schedule, team)
    stepped = schedule if schedule_each == "step" else None
    finish_step = partial(_finish_step, position, len(loader), after_step, stepped, every, save)
    while position.epoch < epochs:
        # Stepped on entering an epoch, not on leaving one: some schedules have no rate beyond the run's last step.
        if schedule is not None and position.epoch > 0 and position.step == 0:
            schedule.step()
        loss = train(model, loader, loss_fn, optimizer, finish_step, position, team)
        if team is not None:
            team.end_epoch(model, position.epoch + 1)
        position.end_epoch(loss)
        if after_epoch is not None:
            after_epoch(position)
        save()
    return position.losses


def _start(
    checkpoint: str | Path | None,
    model: Module,
    optimizer: Optimizer,
    loader: DataLoader,
    schedule: Schedule | None,
    team: Team | None,
) -> Position:
    """Return where a run begins, with all that belongs to it set: where the checkpoint stands, if that file exists."""
    found = checkpoint is not None and Path(checkpoint).exists()
    if team is not None:
        team.start(model, loader.images, loader.labels)
        found = team.from_first(lambda: found)
    if checkpoint is None or not found:
        return Position()
    return load_training(checkpoint, model, optimizer, loader, schedule, team)


def _save(checkpoint: str | Path | None, *run: Any) -> None:
    """Save a run, see `save_training`, if it has a file."""
    if checkpoint is not None:
        save_training(checkpoint, *run)


def _finish_step(
    position: Position,
    steps: int,
    after_step: Callable[[Any], Any] | None,
    schedule: Schedule | None,
    every: int,
    save: Callable[[], None],
    model: Module,
) -> None:
    """Do what comes between two of an epoch's steps. After the last one, `fit` does the same once the epoch is counted."""
    if after_step is not None:
        after_step(model)
    if position.step < steps:
        if schedule is not None:
            schedule.step()
        if position.step % every == 0:
            save()


def _split(state: dict[str, Any], arrays: dict[str, Array], owner: str) -> dict[str, Any]:
    """Put the arrays of a state into `arrays`, under their owner's name; return the rest, which JSON can hold."""
    arrays |= {f"{owner}.{key}": value for key, value in state.items() if isinstance(value, np.ndarray)}
    return {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}


def _settings(
    optimizer: Optimizer, loader: DataLoader, schedule: Schedule | None, team: Team | None
) -> dict[str, dict[str, Any]]:
    """Return what must be the same for a run to go on."""
    return {
        "optimizer": {**_plain(optimizer, but={"lr"}), "shapes of parameters": [p.shape for p in optimizer.params]},
        "schedule": {"class": None} if schedule is None else _plain(schedule, but={"base_lr", "count"}),
        "loader": {
            "number of images": len(loader.labels),
            "checksum of labels": zlib.crc32(loader.labels.tobytes()),
            "batch_size": loader.batch_size,
            "shuffle": loader.shuffle,
            "seed": loader.seed,
            "transform": _name(loader.transform),
        },
        "team": {} if team is None else team.settings(),
    }


def _name(transform: Any) -> str | None:
    """Return a function's name, or what an object such as Jitter(pixels=2) says of itself."""
    return None if transform is None else getattr(transform, "__qualname__", None) or repr(transform)


def _plain(thing: Any, but: set[str]) -> dict[str, Any]:
    """Return a thing's class and those of its attributes that are numbers or words, but not those that a run changes."""
    plain = {name: v for name, v in vars(thing).items() if isinstance(v, int | float | str | tuple | np.generic)}
    return {"class": type(thing).__name__} | {name: value for name, value in plain.items() if name not in but}


def _compare(path: str | Path, saved: dict[str, dict[str, Any]], present: dict[str, dict[str, Any]]) -> None:
    saved = {"team": {}, **saved}  # older files know of none
    for part, settings in present.items():
        for name in [*settings, *sorted(saved[part].keys() - settings.keys())]:
            there, here = saved[part].get(name), json.loads(to_json(settings.get(name)))
            if there != here:
                raise CheckpointError(
                    f"checkpoint {path} was saved by another run ({part}: {name} {there!r} there, {here!r} here); "
                    "go on with the settings of that run, or start a new one under another name"
                )


def _load_model(path: str | Path, model: Module, arrays: dict[str, Array]) -> None:
    for name, array in model.state_dict().items():
        if name in arrays and arrays[name].dtype != array.dtype:
            raise CheckpointError(
                f"checkpoint {path} is not one of this {type(model).__name__}: "
                f"{name} is {arrays[name].dtype} in it and {array.dtype} in the model"
            )
    try:
        model.load_state_dict(arrays)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path} is not one of {type(model).__name__}: {error.args[0]}") from None
