"""How much a model minds: each layer against pruning, inputs and weights against noise."""

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from minigrad.functional import fusion
from minigrad.loader import DataLoader
from minigrad.nn import Module
from minigrad.tape import Array, no_grad
from minigrad.tensor import Tensor
from minigrad.training import count_correct, evaluating

from .masks import kth_value_mask

SCAN = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Sparsities at which a layer is usually measured: closer where the damage grows."""


@dataclass(frozen=True)
class SensitivityScan:
    """What `sensitivity_scan` found.

    Attributes:
        sparsities: float64 (S,), ascending.
        accuracy: weight name → float64 (S,), percent, with this layer alone pruned.
        sizes: weight name → its number of weights.
        dense: accuracy of the model as it was, percent.
        images: how many were classified.
    """

    sparsities: Array
    accuracy: dict[str, Array]
    sizes: dict[str, int]
    dense: float
    images: int


def sensitivity_scan(
    model: Module,
    loader: DataLoader,
    sparsities: Sequence[float] = SCAN,
    executor: Executor | None = None,
    rule: Callable[[Array, float], Array] = kth_value_mask,
) -> SensitivityScan:
    """Prune one layer at a time, without fine-tuning, and measure the accuracy at each sparsity.

    Args:
        model: stays as it is. Its weights of two or more dimensions are scanned.
        loader: labelled images. What is chosen by a scan is chosen on them: take held-out training images.
        sparsities: shares of the layer's weights to remove, 0 to 1.
        executor: runs the points, one job a layer, in any order: threads, `Processes`, a cluster; see `executors`.
            None runs them here. The figures are the same.
        rule: called with a weight's array and a sparsity, returns the mask of weights to keep. A function at the top level
            of a module, if it has to reach other processes.

    Raises:
        ValueError: a sparsity is outside [0, 1], or none is given; the loader is empty, or the model has no weights.

    Source:
        Han et al., "Learning both weights and connections for efficient neural networks", 2015, figure 6.

    Example:
        >>> from minigrad import nn
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False))
        >>> model[0].weight.data[...] = [[1, 0], [0.1, 2]]
        >>> loader = DataLoader(np.eye(2, dtype=np.float32), np.arange(2))
        >>> sensitivity_scan(model, loader, [0, 0.5, 1]).accuracy
        {'0.weight': array([100., 100.,  50.])}
    """
    shares = sorted({float(s) for s in sparsities})
    weights = {name: p.size for name, p in model.named_parameters() if p.ndim > 1}
    if not shares or shares[0] < 0 or shares[-1] > 1:
        raise ValueError(f"sensitivity_scan: sparsities are {shares}, expected one or more of 0 to 1")
    if not len(loader.labels) or not weights:
        raise ValueError(
            f"sensitivity_scan: {len(loader.labels)} images and {len(weights)} weights to prune, expected some of both"
        )
    dense, total = count_correct(model, loader)
    # A job is a whole layer, so that model and images travel to another process once for each layer.
    if executor is None:
        counts = [_scan_layer(model, loader, name, shares, rule) for name in weights]
    else:
        jobs = [executor.submit(_scan_layer, model, loader, name, shares, rule) for name in weights]
        counts = [job.result() for job in jobs]
    accuracy = {name: 100 * np.array(c) / total for name, c in zip(weights, counts, strict=True)}
    return SensitivityScan(np.array(shares), accuracy, weights, 100 * dense / total, total)


def _scan_layer(
    model: Module, loader: DataLoader, name: str, sparsities: Sequence[float], rule: Callable[[Array, float], Array]
) -> list[int]:
    """Return how many images are classified as labelled with weight `name` pruned to each sparsity."""
    model = copy.deepcopy(model)
    weight = dict(model.named_parameters())[name].data
    dense, correct = weight.copy(), []
    for sparsity in sparsities:
        weight[...] = np.where(rule(dense, sparsity), dense, 0)
        correct.append(count_correct(model, loader)[0])
    return correct


def allocate_sparsity(scan: SensitivityScan, budget: float) -> dict[str, float]:
    """Choose a sparsity for each layer, so that in all the share `budget` of the weights goes and the damage is least.

    Damage is what the scan says, accuracy lost in percentage points, added up over the layers: an assumption, since layers
    pruned together also spoil each other's inputs. Each layer's curve of damage over removed weights is replaced by the
    largest convex curve below it that starts at no damage; in between, it is taken as straight. Its pieces are then bought
    in order of price, damage per weight, from all layers, until the budget is used up. For convex curves nothing is
    better: all layers end at the same price (the Lagrange multiplier of the budget).

    Args:
        scan: of the model. What it was not asked about is not chosen: no layer goes beyond its largest sparsity.
        budget: share of the scanned weights to remove, 0 to 1.

    Returns:
        Weight name → sparsity, a whole number of weights over the layer's size; they add up to round(budget * weights).

    Raises:
        ValueError: budget is outside [0, 1], or above what the scan covers.

    Example:
        >>> accuracy = {"a": np.array([90.0, 90, 80]), "b": np.array([90.0, 60, 10])}
        >>> scan = SensitivityScan(np.array([0, 0.5, 1]), accuracy, {"a": 100, "b": 100}, 90.0, 1000)
        >>> allocate_sparsity(scan, 0.6)
        {'a': 1.0, 'b': 0.2}
    """
    if not 0 <= budget <= 1:
        raise ValueError(f"allocate_sparsity: budget is {budget}, expected 0 to 1")
    left = round(budget * sum(scan.sizes.values()))
    most = {name: round(size * float(scan.sparsities[-1])) for name, size in scan.sizes.items()}
    if left > sum(most.values()):
        raise ValueError(
            f"allocate_sparsity: {left} weights are to go, but a scan up to sparsity {scan.sparsities[-1]} "
            f"covers {sum(most.values())}"
        )
    pieces = []
    for name, size in scan.sizes.items():
        removed = np.round(scan.sparsities * size).astype(np.int64)
        hull = _lower_hull(removed.tolist(), (scan.dense - scan.accuracy[name]).tolist())
        for (k, damage), (next_k, next_damage) in pairwise(hull):
            pieces.append(((next_damage - damage) / (next_k - k), k - next_k, name))
    chosen = dict.fromkeys(scan.sizes, 0)
    for _, count, name in sorted(pieces):  # of equal price the longest first: there noise of the scan matters least
        chosen[name] += min(-count, left)
        left -= min(-count, left)
    return {name: count / scan.sizes[name] for name, count in chosen.items()}


def _lower_hull(x: list[int], y: list[float]) -> list[tuple[int, float]]:
    """Return the corners of the largest convex curve below the points and (0, 0), negative ones counted as zero."""
    hull: list[tuple[int, float]] = []
    for point in sorted({(0, 0.0)} | {(a, max(b, 0.0)) for a, b in zip(x, y, strict=True) if a > 0}):
        if hull and hull[-1][0] == point[0]:
            continue  # two sparsities that round to the same number of weights
        while len(hull) > 1 and _rises_less(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _rises_less(a: tuple[int, float], b: tuple[int, float], c: tuple[int, float]) -> bool:
    """Return whether b lies on or above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


@dataclass(frozen=True)
class StabilityScan:
    """What `stability_scan` found: for noise of each size, on inputs and on weights.

    Attributes:
        noise: float64 (S,), sizes of the noise.
        change: "inputs" and "weights" → float64 (S,), length of the change in logits over the logits' length, mean.
        flipped: "inputs" and "weights" → float64 (S,), share of predictions that became others, percent.
    """

    noise: Array
    change: Mapping[str, Array]
    flipped: Mapping[str, Array]


def stability_scan(
    model: Module,
    images: Array,
    noise: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0),
    draws: int = 5,
    seed: int = 0,
    batch_size: int = 250,
) -> StabilityScan:
    """Measure how outputs and predictions change under noise: the articles' "smoothness", on which pruning rests.

    Noise on inputs is normal, x + size * e, with e of the images' own standard deviation, so that 1 is as strong as the
    picture. Noise on weights (not biases) is normal and in proportion to each, w * (1 + size * e): pruned weights stay
    zero, so that dense and compressed models meet noise of the same relative strength. Changes are measured against the
    same model without noise.

    Args:
        model: stays as it is; runs in evaluation.
        images: (N, ...), one or more; labels are not needed.
        noise: sizes, 0 or more.
        draws: how often the noise is drawn anew; figures are means over draws and images.
        seed: of the noise. With one seed, models of one shape meet the same noise.
        batch_size: images at a time.

    Raises:
        ValueError: images or noise are missing, a size is negative, or draws or batch_size is below 1.

    Source:
        The article on quantization and pruning in practice, section 3.1.2: small changes of inputs or weights change the
        output little. It gives no measure; this one is ours.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> scan = stability_scan(LeNet(), np.ones((4, 1, 28, 28), np.float32), noise=[0, 0.1])
        >>> float(scan.change["weights"][0]), bool(scan.change["weights"][1] > 0)
        (0.0, True)
    """
    sizes = np.array([float(size) for size in noise])
    if not len(images) or not len(sizes) or sizes.min() < 0 or draws < 1 or batch_size < 1:
        raise ValueError(
            f"stability_scan: {len(images)} images, noise {sizes.tolist()}, {draws} draws in batches of {batch_size}; "
            "expected one or more of each, and no noise below 0"
        )
    images, strength = np.asarray(images), float(np.std(images))
    clean = _logits(model, images, batch_size)
    change = {kind: np.zeros((len(sizes), draws)) for kind in ("inputs", "weights")}
    flipped = {kind: np.zeros((len(sizes), draws)) for kind in ("inputs", "weights")}
    for draw in range(draws):
        for i, size in enumerate(sizes):
            for kind in change:
                rng = np.random.default_rng([seed, draw])  # the same noise at every size, only stronger
                if kind == "inputs":
                    e = rng.standard_normal(images.shape, np.float32).astype(images.dtype, copy=False)
                    noisy = _logits(model, images + images.dtype.type(size * strength) * e, batch_size)
                else:
                    noisy = _logits(_with_noisy_weights(model, size, rng), images, batch_size)
                length = np.maximum(np.linalg.norm(clean, axis=1), np.finfo(clean.dtype).tiny)
                change[kind][i, draw] = (np.linalg.norm(noisy - clean, axis=1) / length).mean()
                flipped[kind][i, draw] = 100 * (noisy.argmax(axis=1) != clean.argmax(axis=1)).mean()
    return StabilityScan(
        sizes, {k: v.mean(axis=1) for k, v in change.items()}, {k: v.mean(axis=1) for k, v in flipped.items()}
    )


def _logits(model: Module, images: Array, batch_size: int) -> Array:
    """Return the model's outputs, (N, classes), in evaluation."""
    with evaluating(model), no_grad(), fusion():
        starts = range(0, len(images), batch_size)
        return np.concatenate([model(Tensor(images[i : i + batch_size])).data for i in starts])


def _with_noisy_weights(model: Module, size: float, rng: Any) -> Module:
    noisy = copy.deepcopy(model)
    for p in noisy.parameters():
        if p.ndim > 1:
            p.data[...] *= (1 + size * rng.standard_normal(p.shape)).astype(p.dtype)
    return noisy
