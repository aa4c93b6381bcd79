"""What a backward pass in int8 costs and saves on one machine: accuracy over seeds, milliseconds of a step, bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad import DataLoader, Tensor, evaluate, kernels, nn
from minigrad import functional as F
from minigrad.nn import CrossEntropyLoss
from minigrad.ops import Conv2d, Linear
from minigrad.ops.layout import innermost, outermost
from minigrad.optim import SGD, CosineAnnealingLR
from minigrad.tape import topological_order
from minigrad.tensor import Array

from .demo import evaluation_loader
from .integer.int8_backward import to_int8_backward
from .models import LeNet
from .report import align, summarize, write_report
from .repro.common import images
from .sparse.timing import describe_machine, race, stopwatch
from .sweep import Experiment, Job, Sweep, versions

WAYS = ("float32", "int8")


@dataclass(frozen=True)
class Lesson:
    """How LeNet is trained, by each of `WAYS`.

    Attributes:
        epochs, lr, momentum, batch_size: of SGD; the rate falls to 0 along a cosine.
        limit: training images; None: all but those held out.
    """

    epochs: int = 5
    lr: float = 0.02
    momentum: float = 0.9
    batch_size: int = 64
    limit: int | None = None


FULL = Lesson()
QUICK = Lesson(epochs=1, limit=6_000)

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear 256 to 256, 64 rows": (lambda: nn.Linear(256, 256), (64, 256)),
    "linear 1024 to 1024, 256 rows": (lambda: nn.Linear(1024, 1024), (256, 1024)),
    "conv 3x3, 16 to 16 channels, 16x16, 64 images": (lambda: nn.Conv2d(16, 16, 3, padding=1), (64, 16, 16, 16)),
    "conv 3x3, 64 to 64 channels, 16x16, 64 images": (lambda: nn.Conv2d(64, 64, 3, padding=1), (64, 64, 16, 16)),
}
"""Layers larger than LeNet's, and their inputs: products grow faster than what has to be rounded for them."""


def work(job: Job) -> dict[str, Any]:
    """Train a LeNet by the way that is the job's part; return its accuracy (percent) after each epoch on held-out images, and
    in the end on test images.
    """
    lesson: Lesson = job.settings
    training, held_out, test = images(job.data, lesson.limit)
    minigrad.manual_seed(job.seed)
    model = LeNet() if job.part == "float32" else to_int8_backward(LeNet())
    loader = DataLoader(training.images, training.labels, lesson.batch_size, shuffle=True, seed=job.seed)
    optimizer, batches, curve = SGD(model.parameters(), lesson.lr, lesson.momentum), evaluation_loader(held_out), []
    minigrad.fit(
        model, loader, CrossEntropyLoss(), optimizer, lesson.epochs,
        CosineAnnealingLR(optimizer, lesson.epochs * len(loader)), schedule_each="step",
        after_epoch=lambda position: curve.append(evaluate(model, batches)),
    )  # fmt: skip
    return {"held out": curve, "test": evaluate(model, evaluation_loader(test))}


def step(model: nn.Module, x: Array, targets: Array, optimizer: SGD) -> None:
    """Make one step, as `train` does."""
    optimizer.zero_grad()
    with F.fusion():
        loss = F.cross_entropy(model(x), targets)
    loss.backward()
    optimizer.step()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the kernels on one thread."""
    before = kernels.get_num_threads()
    kernels.set_num_threads(1)
    try:
        yield
    finally:
        kernels.set_num_threads(before)


def time_steps(x: Array, targets: Array, seconds: float) -> dict[str, Any]:
    """Return the milliseconds of a LeNet's step by each way, one after the other in turns; "settled": whether turns agreed."""
    contestants = {}
    for way in WAYS:
        model = LeNet() if way == "float32" else to_int8_backward(LeNet())
        optimizer = SGD(model.parameters(), 1e-3, 0.9)
        contestants[way] = stopwatch(lambda own=(model, x, targets, optimizer): step(*own))
    found = race(contestants, seconds=seconds)
    return {way: 1e3 * float(found.seconds[way][0]) for way in WAYS} | {"settled": found.settled}


def time_layer(name: str, seconds: float) -> dict[str, Any]:
    """Return the milliseconds of a layer's backward pass by each way, as `time_steps`: input, weights and bias."""
    make, shape = LAYERS[name]
    rng, contestants = np.random.default_rng(0), {}
    x = outermost(innermost(rng.normal(size=shape).astype(np.float32)))
    layer = make()
    for way, model in zip(WAYS, (layer, to_int8_backward(layer)), strict=True):
        out = model(Tensor(x, requires_grad=True))
        g = outermost(innermost(rng.normal(size=out.shape).astype(np.float32)))
        contestants[way] = stopwatch(lambda out=out, g=g: out.backward(g.copy(order="K"), retain_graph=True))
    found = race(contestants, seconds=seconds)
    return {way: 1e3 * float(found.seconds[way][0]) for way in WAYS} | {"settled": found.settled}


def count_bytes(model: nn.Module, x: Array, targets: Array) -> dict[str, int]:
    """Return what a step keeps and reads, in bytes.

    Returns:
        "inputs": of linear layers and convolutions, as they keep them for their backward pass; "gradients": of their results,
        as the products read them; "tape": all that is alive between forward and backward pass but parameters, each array
        counted once: what ops keep, and the results themselves, which the tape holds on to.
    """
    with F.fusion():
        loss = F.cross_entropy(model(x), targets)
    nodes = topological_order(loss)
    layers: list[tuple[Any, int]] = [(n.op, n.data.nbytes) for n in nodes if isinstance(n.op, Linear | Conv2d)]
    own = {id(root) for root in map(_root, (p.data for p in model.parameters()))}
    alive: dict[int, int] = {}
    for node in nodes:
        for array in (node.data, *(_arrays([node.op.inputs, node.op.saved()]) if node.op else ())):
            root = _root(array)
            if id(root) not in own:
                alive[id(root)] = root.nbytes
    loss.backward(retain_graph=True)
    gradients = sum(op.seen[1].q.nbytes if hasattr(op, "seen") else result for op, result in layers)
    inputs = sum(op.kept.q.nbytes if hasattr(op, "kept") else op.x.nbytes for op, _ in layers)
    return {"inputs": inputs, "gradients": gradients, "tape": sum(alive.values())}


def _arrays(kept: Any) -> Iterator[Array]:
    """Yield the arrays in what an op keeps."""
    if isinstance(kept, np.ndarray):
        yield kept
    elif isinstance(kept, tuple | list | dict):
        for part in kept.values() if isinstance(kept, dict) else kept:
            yield from _arrays(part)
    elif isinstance(kept, Tensor):
        yield kept.data


def _root(array: Array) -> Array:
    """Return the array whose memory this one shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def report_on(sweep: Sweep) -> dict[str, Any]:
    """Sum up over seeds, 2 or more; measure times and bytes here, on one thread.

    Returns:
        what JSON can hold: "settings", "seeds", "versions", "machine", "notes"; "ways": way → "test" (percent), "held out" (a
        list over epochs of the mean), "bytes" (see `count_bytes`); "points below float32" (on test images, paired by seed);
        "milliseconds of a step"; "milliseconds of a layer's backward pass": layer → way → figure.
    """
    lesson, seconds = (
        sweep.settings["int8"],
        0.5 if sweep.quick else 10,
    )  # of each comparison of times, at most, or about
    of = {way: sweep.results(way) for way in WAYS}
    training, _, _ = images(sweep.data, lesson.batch_size)
    x, targets = next(iter(DataLoader(training.images, training.labels, lesson.batch_size)))
    with one_thread():
        steps = time_steps(x, targets, seconds)
        layers = {name: time_layer(name, seconds) for name in LAYERS}
        machine = describe_machine()
    models = dict(zip(WAYS, (LeNet(), to_int8_backward(LeNet())), strict=True))
    pairs = zip(of["float32"], of["int8"], strict=True)
    return {
        "settings": asdict(lesson) | {"model": "LeNet", "kernel threads of timings": 1},
        "seeds": sweep.seeds,
        "versions": versions(),
        "machine": machine,
        "notes": [
            "Nothing was chosen on test images.",
            "The forward pass is float32 by both ways; kept inputs and gradients of results are what int8 makes smaller.",
            "The tape keeps each result in float32 until the backward pass is over, so its bytes grow by what int8 adds.",
        ],
        "ways": {
            way: {
                "test": summarize([r["test"] for r in of[way]]),
                "held out": np.mean([r["held out"] for r in of[way]], axis=0).tolist(),
                "bytes": count_bytes(models[way], x, targets),
            }
            for way in WAYS
        },
        "points below float32": summarize([one["test"] - other["test"] for one, other in pairs]),
        "milliseconds of a step": steps,
        "milliseconds of a layer's backward pass": layers,
        "quick": sweep.quick,
    }


def as_table(report: dict[str, Any]) -> str:
    """Lay the report out as text."""
    ways, below = report["ways"], report["points below float32"]
    rows = [["LeNet", *WAYS, "int8 / float32"]]
    rows.append(["test accuracy (%)", *(f"{ways[way]['test']['mean']:.2f}" for way in WAYS), ""])
    for key in ("inputs", "gradients", "tape"):
        rows.append([f"bytes: {key}", *_figures({way: ways[way]["bytes"][key] for way in WAYS}, ",d")])
    rows.append(["ms of a step", *_figures(report["milliseconds of a step"], ".3f")])
    for name, found in report["milliseconds of a layer's backward pass"].items():
        rows.append([f"ms backward: {name}", *_figures(found, ".3f")])
    low, high = below["interval"]
    return (
        f"{align(rows)}\n\nint8 is {below['mean']:+.3f} points below float32 on test images "
        f"(95 % interval {low:+.3f} to {high:+.3f}, paired over {len(report['seeds'])} seeds)."
    )


def _figures(found: dict[str, Any], form: str) -> list[str]:
    return [*(format(found[way], form) for way in WAYS), f"{found['int8'] / found['float32']:.2f}"]


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write the report; return the file's name."""
    write_report(folder / "int8_backward.json", report)
    return ["int8_backward.json"]


EXPERIMENT = Experiment(dict.fromkeys(WAYS, FULL), dict.fromkeys(WAYS, QUICK), work, report_on, as_table, write)
