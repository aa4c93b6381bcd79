"""Processes that train one model together: each computes the gradients of its part of a batch, and all take the same step.

A `Team` is what one process knows of the others. `fit` and `train` are given it and are otherwise the same as for one
process; every process runs the same program. All methods are collective: every process must call them, in the same order.
"""

import platform
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minigrad.errors import ParallelError
from minigrad.nn import Module, Parameter
from minigrad.parallel.exchange import AllReduce, Exchange
from minigrad.random import generator
from minigrad.tensor import Array

T = TypeVar("T")


class Team:
    """What `fit` and `train` need to work on several processes.

    Args:
        comm: mpi4py's communicator, as `world()` returns it.
        exchange: how gradients travel. Default: `AllReduce`.
        show_bars: whether process 0 shows progress bars; None: on terminals only. The others show none.

    Attributes:
        rank, size: number of this process, from 0, and how many there are.

    Example:
        On a command line, `mpiexec -n 2 python train.py`, with this in train.py:

            comm = parallel.world()
            with parallel.ending_together(comm):
                loader = parallel.ShardedLoader(comm.rank, comm.size, images, labels, batch_size=64, shuffle=True)
                minigrad.fit(model, loader, loss_fn, optimizer, epochs=5, team=parallel.Team(comm))
    """

    def __init__(self, comm: Any, exchange: Exchange | None = None, show_bars: bool | None = None):
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.exchange = AllReduce(comm) if exchange is None else exchange
        self.hides_bars = True if self.rank else None if show_bars is None else not show_bars

    def mean_loss(self, loss: float, count: int) -> tuple[float, int]:
        """Return the mean loss over the images of all processes, and their number, given those of this one."""
        found = self.comm.allgather((loss, count))
        total = sum(images for _, images in found)
        # Weighed by images, not by processes: a part may be smaller than another, or empty.
        return sum(value * (images / total) for value, images in found if images), total

    def average_(self, params: list[Parameter], weight: float, step: int) -> None:
        """Replace each parameter's gradient by its mean over the whole batch.

        Args:
            params: those with `requires_grad` are averaged.
            weight: share of the batch's images that this process had. If it had none, its gradients count as zeros.
            step: number of the run's step, from 0.

        Raises:
            ParallelError: a parameter has no gradient though this process had images.
        """
        shares = {}
        for i, p in enumerate(params):
            if not p.requires_grad:
                continue
            if p.grad is None and weight:
                raise ParallelError(
                    f"train: parameter {i} of the optimizer, of shape {p.shape}, has no gradient, and processes must "
                    "average the same ones; set requires_grad = False for parameters that the loss does not use"
                )
            shares[str(i)] = np.zeros_like(p.data) if p.grad is None else p.grad * weight
        for name, gradient in self.exchange.total(shares, step).items():
            params[int(name)].grad = gradient

    def start(self, model: Module, images: Array, labels: Array) -> None:
        """Give all processes process 0's parameters and buffers, and each its own part of process 0's random numbers.

        Raises:
            ParallelError: the data differ.
        """
        self.check_same("data", f"{len(images)} images, checksum {checksum(images)}-{checksum(labels)}")
        model.load_state_dict(self.comm.bcast(model.state_dict()))
        random = generator().bit_generator
        random.state = self.comm.bcast(random.state)
        random.state = random.jumped(self.rank).state  # pyright: ignore[reportAttributeAccessIssue]

    def end_epoch(self, model: Module, epoch: int) -> None:
        """Compare parameters by checksum; give all processes process 0's buffers, such as batch norm's running means.

        Raises:
            ParallelError: parameters differ.
        """
        sums = {name: checksum(p.data) for name, p in model.named_parameters()}
        found = self.comm.allgather(sums)
        for rank, others in enumerate(found):
            differ = [name for name, first in found[0].items() if others[name] != first]
            if differ:
                raise ParallelError(
                    f"processes 0 and {rank} hold different parameters after epoch {epoch} ({', '.join(differ)}); "
                    "whatever changes them, such as after_step, must do the same on every process"
                )
        state = model.state_dict()
        if len(state) > len(sums):
            model.load_state_dict(self.comm.bcast(state))

    def check_same(self, what: str, here: str) -> None:
        """Compare a description of something across all processes.

        Raises:
            ParallelError: on every process, if one has another than process 0.
        """
        found = self.comm.allgather(here)
        for rank, there in enumerate(found):
            if there != found[0]:
                raise ParallelError(
                    f"processes 0 and {rank} have different {what} ({found[0]}; {there}); they must be the same everywhere"
                )

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what `make()` returns on process 0, where alone it is called."""
        return self.comm.bcast(None if self.rank else make())

    def settings(self) -> dict[str, Any]:
        """Return what must be the same for a run to go on."""
        return {"processes": self.size, **self.exchange.settings()}

    def state_dict(self) -> dict[str, Any]:
        """Return what this process remembers from step to step, but for what all have alike: arrays, and what JSON holds."""
        exchange = {f"exchange.{key}": value for key, value in self.exchange.state_dict().items()}
        return {"random": generator().bit_generator.state, **exchange}

    def gather_states(self) -> list[dict[str, Any]]:
        """Return each process's `state_dict()`; on others than process 0, an empty list."""
        return self.comm.gather(self.state_dict()) or []

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set this process to what `state_dict` returned; random numbers are left to the caller."""
        prefix = "exchange."
        self.exchange.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})


def checksum(array: Array) -> str:
    """Return the CRC-32 of an array's values, for comparing; two arrays that differ by accident have different ones."""
    return f"{zlib.crc32(np.ascontiguousarray(array).data):08x}"


def describe_code(*packages: Any) -> str:
    """Return what a run's last bits depend on: versions, and a checksum of the sources of these packages.

    Example:
        >>> import minigrad
        >>> describe_code(minigrad) == describe_code(minigrad)
        True
    """
    total = 0
    for package in packages:
        for folder in package.__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                total = zlib.crc32(path.relative_to(folder).as_posix().encode() + path.read_bytes(), total)
    versions = [f"{name} {version(name)}" for name in ("numpy", "numba", "scipy")]
    return ", ".join([f"sources {total:08x}", f"Python {platform.python_version()}", *versions])
