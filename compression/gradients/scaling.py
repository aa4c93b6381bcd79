"""How fast training on many machines would be: what a step costs here, what a link costs, and their sum.

Assumptions, all of them simple, most of them kind to the network:

- All machines are alike, and each has so many images a step however many machines there are.
- Nothing overlaps: gradients are computed, encoded, sent, decoded, one after the other.
- Each machine has a link of its own, both ways at once, into a switch that is never the bottleneck.
- A collective operation among K machines takes ⌈log2 K⌉ rounds, and the link's latency for each; then all bytes that a
  machine sends, at the link's rate.
- A step has four such operations: two to agree on the loss, and two for the gradients.
- Without compression they add up on the way, so that a machine sends 2 (K - 1) / K of a gradient's bytes. Messages of codecs
  cannot be added up: each is sent to all K - 1 others, and each is decoded by all.
- So a codec that makes messages c times smaller puts fewer bytes on the wire among fewer than 2c machines only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from matplotlib.figure import Figure

from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Module
from minigrad.optim import SGD
from minigrad.tensor import Array, Tensor
from minigrad.training import train

from ..figures import BLUE, COLORS, GREEN, GREY, ORANGE
from ..report import align
from .compressor import compressor

OPERATIONS = 4
"""Collective operations a step."""

GIGABIT, ETHERNET_LATENCY = 1e9 / 8, 50e-6
"""Bytes a second of 1 Gbit/s; seconds of a round in a common network."""

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Link:
    """What joins machines.

    Attributes:
        latency: seconds of a round.
        rate: bytes a second.
    """

    latency: float
    rate: float


@dataclass(frozen=True)
class Costs:
    """What a step costs one machine, whatever the link.

    Attributes:
        compute: seconds of forward, backward and the optimizer's step.
        encode: seconds to write one's own message.
        decode: seconds to read one message.
        sent: bytes of a message.
        added: whether gradients are added up on the way, as they are without compression.
    """

    compute: float
    encode: float
    decode: float
    sent: float
    added: bool


def wire_bytes(sent: float, workers: int, added: bool) -> float:
    """Return the bytes that each of K machines sends, for messages of so many bytes.

    Example:
        >>> wire_bytes(1000, 4, added=True), wire_bytes(1000, 4, added=False)
        (1500.0, 3000)
    """
    return 2 * sent * (workers - 1) / workers if added else sent * (workers - 1)


def step_seconds(costs: Costs, link: Link, workers: int) -> dict[str, float]:
    """Return the seconds of a step among K machines, by what they go into; see the assumptions above.

    Example:
        >>> step_seconds(Costs(0.002, 0, 0, 1e6, True), Link(1e-4, 1e8), 2)
        {'compute': 0.002, 'encode': 0, 'wire': 0.0104, 'decode': 0}
    """
    rounds = math.ceil(math.log2(workers))
    alone = workers == 1
    return {
        "compute": costs.compute,
        "encode": 0 if alone else costs.encode,
        "wire": OPERATIONS * rounds * link.latency + wire_bytes(costs.sent, workers, costs.added) / link.rate,
        "decode": 0 if alone else workers * costs.decode,
    }


def speed_up(costs: Costs, link: Link, workers: int) -> float:
    """Return how many times as many images a second K machines train on as one does.

    Example:
        >>> round(speed_up(Costs(0.002, 0, 0, 1e6, True), Link(1e-4, 1e8), 2), 3)
        0.323
    """
    one, many = (sum(step_seconds(costs, link, k).values()) for k in (1, workers))
    return workers * one / many


def fit_link(points: Sequence[tuple[int, float, float]]) -> Link:
    """Fit a link's latency and rate to measured operations, with the least relative error.

    Args:
        points: (rounds, bytes that each machine sends, seconds), of two or more sizes.

    Raises:
        ValueError: the points fit no link: more bytes take no longer.

    Example:
        >>> fit_link([(1, 0, 1e-4), (1, 1e6, 1.01e-2), (2, 2e6, 2.02e-2)])
        Link(latency=0.0001, rate=100000000.0)
    """
    table = np.array(points, dtype=np.float64)
    weights = 1 / table[:, 2:]
    (latency, pace), *_ = np.linalg.lstsq(table[:, :2] * weights, np.ones(len(table)), rcond=None)
    if not pace > 0:
        raise ValueError(f"fit_link: {len(points)} measured operations fit no link: more bytes take no longer")
    return Link(max(0.0, float(round(latency, 12))), float(round(1 / pace, 3)))


def measure_costs(model: Module, x: Array, targets: Array, method: str, compute: float, repeats: int = 20) -> Costs:
    """Measure what a codec costs with a model's own gradients; medians of `repeats` steps after one that is not counted.

    Args:
        model: is trained on, but takes no step.
        x, targets: a batch.
        method: one of `METHODS`.
        compute: seconds of the rest, see `measure_compute`.
        repeats: steps.
    """
    worker, times, sent = compressor(method), np.zeros((repeats + 1, 2)), 0
    gradients = _gradients(model, x, targets)
    for step in range(repeats + 1):
        before, start = worker.bytes_sent, perf_counter()
        messages = {name: worker.compress(name, g, step) for name, g in gradients.items()}
        middle, sent = perf_counter(), worker.bytes_sent - before
        for name, g in gradients.items():
            worker.decompress(name, [messages[name]], g.shape)
        times[step] = middle - start, perf_counter() - middle
    encode, decode = np.median(times[1:], axis=0)
    if method == "none":  # sent as they are, added up by the operation itself
        encode = decode = 0.0
    return Costs(compute, float(encode), float(decode), sent, method == "none")


def _gradients(model: Module, x: Array, targets: Array) -> dict[str, Array]:
    model.train()
    for p in model.parameters():
        p.grad = None
    CrossEntropyLoss()(model(Tensor(x)), targets).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def measure_compute(model: Module, loader: DataLoader) -> float:
    """Return the seconds of a whole step with SGD, by `train`: the mean of an epoch after one that is not counted.

    Args:
        model: is trained.
        loader: some 50 batches, say.
    """
    optimizer = SGD(model.parameters(), lr=0.01)
    train(model, loader, CrossEntropyLoss(), optimizer)
    start = perf_counter()
    train(model, loader, CrossEntropyLoss(), optimizer)
    return (perf_counter() - start) / len(loader)


def as_table(found: Mapping[str, Costs], links: Mapping[str, Link], workers: Sequence[int] = WORKERS) -> str:
    """Lay out as text: what a step costs by method, and the speed-up by link and number of machines."""
    rows = [["method", "bytes", "compute (ms)", "encode (ms)", "decode one (ms)"]]
    for name, c in found.items():
        rows.append([name, f"{c.sent:,.0f}", *(f"{1e3 * s:.2f}" for s in (c.compute, c.encode, c.decode))])
    parts = [align(rows)]
    for words, link in links.items():
        rows = [[f"speed-up over {words}, machines:", *map(str, workers)]]
        rows += [[name, *(f"{speed_up(c, link, k):.1f}" for k in workers)] for name, c in found.items()]
        parts.append(align(rows))
    return "\n\n".join(parts)


def plot_scaling(found: Mapping[str, Costs], links: Mapping[str, Link], workers: Sequence[int] = WORKERS) -> Figure:
    """Draw what a step of 8 machines goes into over the first link; and the speed-up, a panel for each link."""
    figure = Figure(figsize=(3.4 * (len(links) + 1) + 0.4, 4.6), layout="constrained")
    first, *panels = figure.subplots(1, len(links) + 1)
    words, link = next(iter(links.items()))
    parts = {name: step_seconds(c, link, 8) for name, c in found.items()}
    left = np.zeros(len(parts))
    colors = {"compute": GREY, "encode": ORANGE, "wire": BLUE, "decode": GREEN}
    for part, color in colors.items():
        width = np.array([1e3 * seconds[part] for seconds in parts.values()])
        first.barh(list(parts), width, left=left, color=color, label=part, edgecolor="white", linewidth=0,
                   hatch="///" if part == "decode" else None)  # fmt: skip
        left += width
    first.invert_yaxis()
    first.set(xlabel="time of a step (ms)", title=f"8 machines, {words}")
    first.legend(fontsize=9)
    for ax, (words, link) in zip(panels, links.items(), strict=True):
        for (name, c), color, marker, dashes in zip(found.items(), COLORS, "os^Dv<P", 4 * ("-", "--"), strict=False):
            gains = [speed_up(c, link, k) for k in workers]
            ax.plot(workers, gains, color=color, marker=marker, linestyle=dashes, markersize=5, label=name)
        ax.plot(workers, workers, color="black", linestyle=":", label="as many times as machines")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ax.set_xticks(list(workers), [str(k) for k in workers])
        ax.set_yticks(list(workers), [str(k) for k in workers])
        ax.set(xlabel="machines", title=words)
        ax.tick_params(axis="x", labelsize=9)
        ax.grid(alpha=0.3)
    panels[0].set_ylabel("speed-up (times one machine)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    for ax in (first, *panels):
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        "Predicted from compute and codec times measured on this machine: LeNet, 64 images a machine", fontsize=11
    )
    return figure
