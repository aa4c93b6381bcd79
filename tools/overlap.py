"""Does it pay to send gradients while the backward pass still runs? Prints times of LeNet's step, with and without.

Run it as `mpiexec -n 2 python -m tools.overlap`, one thread each. The gradients of the linear layers, 97 % of all, are there
before those of the convolutions are computed. Overlapped, a thread sends them meanwhile.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np

import minigrad
from minigrad import kernels, nn
from minigrad.compression.models import LeNet
from minigrad.functional import fusion
from minigrad.ops import Op
from minigrad.parallel import all_reduce, part, world
from minigrad.tape import Observer, observing
from minigrad.tensor import Array

BATCH = 64


class Early(Observer):
    """Sends some parameters' gradients, from a thread, as soon as backward has them all."""

    def __init__(self, comm: Any, params: list[nn.Parameter]):
        self.comm, self.params, self.found = comm, params, {}
        self.thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        all_reduce(self.comm, np.concatenate([self.found[id(p)].reshape(-1) for p in self.params]))

    def backward(self, op: Op, position: int, g: Array, gradient: Array, seconds: float) -> None:
        """See `Observer`."""
        if any(op.inputs[position] is p for p in self.params):
            self.found[id(op.inputs[position])] = gradient
            if len(self.found) == len(self.params):
                self.thread.start()


def one_step(comm: Any, model: LeNet, x: Array, targets: Array, overlapped: bool) -> tuple[float, float]:
    """Compute and sum the gradients of a batch; return the seconds of forward and backward, and of all."""
    first = [p for name, p in model.named_parameters() if name.startswith("fc")]
    last = [p for name, p in model.named_parameters() if not name.startswith("fc")]
    model.zero_grad()
    comm.Barrier()
    start = time.perf_counter()
    early = Early(comm, first)
    with fusion():
        loss = nn.CrossEntropyLoss()(model(x), targets)
        if overlapped:
            with observing(early):
                loss.backward()
        else:
            loss.backward()
    computed = time.perf_counter() - start
    if overlapped:
        early.thread.join()
    rest = last if overlapped else [*first, *last]
    all_reduce(comm, np.concatenate([p.grad.reshape(-1) for p in rest if p.grad is not None]))
    return computed, time.perf_counter() - start


def timed(comm: Any, what: Callable[[], Any]) -> float:
    """Return the seconds of a call that all processes begin at once."""
    comm.Barrier()
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


@click.command()
@click.option("--steps", default=300, show_default=True, help="Of each kind; they take turns.")
def main(steps: int) -> None:
    """Print how long LeNet's step takes with and without overlapping, and the sum of its gradients in two ways."""
    comm = world()
    kernels.set_num_threads(1)
    minigrad.manual_seed(0)
    rng = np.random.default_rng(comm.rank)
    count = len(range(BATCH)[part(BATCH, comm.rank, comm.size)])
    images = rng.normal(size=(count, 1, 28, 28)).astype(np.float32)
    x, targets = next(iter(minigrad.DataLoader(images, rng.integers(0, 10, count), count)))
    model, flat = LeNet(), rng.normal(size=44_426).astype(np.float32)
    seconds: dict[str, list[float]] = {}
    for _ in range(steps):
        computed, step = one_step(comm, model, x, targets, overlapped=False)
        found = {"forward and backward": computed, "step": step}
        found["step, overlapped"] = one_step(comm, model, x, targets, overlapped=True)[1]
        found["all_reduce"] = timed(comm, lambda: all_reduce(comm, flat))
        found["MPI's Allreduce"] = timed(comm, lambda: comm.Allreduce(flat, np.empty_like(flat)))
        for name, value in found.items():
            seconds.setdefault(name, []).append(value)
    if comm.rank == 0:
        print(f"{comm.size} processes of one thread, {BATCH} images a step; median and 10th percentile in ms")
        for name, values in seconds.items():
            print(f"{name:<22}{1e3 * np.median(values):8.3f}{1e3 * np.percentile(values, 10):8.3f}")


if __name__ == "__main__":
    main()
