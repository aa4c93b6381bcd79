"""Where quantization loses: noise by layer and by source, shares that add up, and which layer flipped an image.

Five things make an integer engine's numbers differ from the float model's. Each can be switched on alone:

| source | what it does |
|---|---|
| weight rounding | weights inside their range move to the nearest step |
| weight clipping | weights outside it move to its end |
| activation rounding | what a layer passes on, and an average of it, moves to the nearest step, or to its range's end |
| bias | biases move to the nearest multiple of S_in * S_w, an int32 |
| requantization | a sum is multiplied by an integer and shifted, which rounds twice: now and then a step off |
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from scipy.special import log_softmax

from minigrad import functional as F
from minigrad import nn
from minigrad.datasets import MEAN, STD
from minigrad.tape import no_grad
from minigrad.tensor import Array, Tensor

from .calibration import stage_outputs, stages
from .formats import QuantParams, dequantize, quantize
from .ptq import weight_layers
from .simulation import Round, with_rounded_mean

SOURCES = ("weight rounding", "weight clipping", "activation rounding", "bias", "requantization")

MOST_PLAYERS = 12
"""Whose Shapley values are computed exactly: 4,096 evaluations."""


class RequantizationNoise(nn.Module):
    """Adds to what a layer passes on the steps by which integer arithmetic rounds it otherwise than real numbers do.

    Args:
        input_scale: S_in, a number.
        weight_scale: S_w, () or (F,).
        output_scale: S_out, a number.
    """

    def __init__(self, input_scale: float, weight_scale: Array, output_scale: float):
        self.units = np.atleast_1d(np.float64(input_scale) * np.asarray(weight_scale, np.float64))
        self.output_scale = float(output_scale)

    def forward(self, x: Any) -> Tensor:
        """(N, F, ...) -> (N, F, ...)"""
        from ..integer.arithmetic import quantize_multiplier  # here, since that package is built on this one's formats

        values = np.asarray(x.data if isinstance(x, Tensor) else x)
        column = (1, -1, *(1,) * (values.ndim - 2))
        sums = np.rint(values / self.units.reshape(column)).astype(np.int64)
        pairs = [quantize_multiplier(float(unit) / self.output_scale) for unit in self.units]
        multiplier, shift = (np.array(part, np.int64).reshape(column) for part in zip(*pairs, strict=True))
        product = ((sums << np.maximum(shift, 0)) * multiplier + (1 << 30)) >> 31
        down = np.maximum(-shift, 0)
        mask = (1 << down) - 1
        integer = (product >> down) + ((product & mask) > (mask >> 1) + (product < 0))
        real = np.rint(sums * (self.units / self.output_scale).reshape(column))
        return Tensor((values + (integer - real) * self.output_scale).astype(values.dtype))


def with_noise(
    sequential: nn.Sequential,
    weights: Mapping[str, QuantParams],
    activations: Mapping[str, QuantParams],
    sources: Iterable[str] = SOURCES,
    layers: Iterable[str] | None = None,
    mean: float = MEAN,
    std: float = STD,
) -> nn.Sequential:
    """Return a copy in which the chosen sources of noise are on, in the chosen layers.

    Args:
        sequential: a chain with float weights, batch normalisation folded. It stays as it is.
        weights, activations: formats by layer.
        sources: of `SOURCES`.
        layers: names; None: all.
        mean, std: with which the images were normalised. The integer engine, whose input are pixels, divides the first
            layer's weights by std, and adds the mean to its bias before that is rounded.

    Raises:
        ValueError: an unknown source or layer, or a layer without formats.
    """
    on, names = set(sources), list(weight_layers(sequential))
    if missing := [name for name in names if name not in weights or name not in activations]:
        raise ValueError(f"with_noise: {', '.join(missing)}: no format of its weights or of its activations")
    chosen = set(names if layers is None else layers)
    if unknown := sorted(on - set(SOURCES)) or sorted(chosen - set(names)):
        raise ValueError(f"with_noise: unknown {', '.join(unknown)}; sources are {', '.join(SOURCES)}, layers {names}")
    noisy, copied = nn.Sequential(), copy.deepcopy(sequential)
    input_scale, divisor = 1 / 255, std
    current: QuantParams | None = None  # the format of what comes in
    for stage in stages(copied):
        for layer in stage.layers:
            name = next(name for name, part in vars(copied).items() if part is layer)
            setattr(noisy, name, with_rounded_mean(layer, current))
        if not stage.rounds:
            continue
        current = None
        own, out = weights[stage.name], activations[stage.name]
        scale = own.scale / np.float32(divisor)
        if stage.name in chosen:
            units = np.float64(input_scale) * scale.astype(np.float64)
            _disturb_(stage.layers[0], own, units, on, 255 * mean if stage.name == names[0] else 0.0)
            if "requantization" in on:
                noise = RequantizationNoise(input_scale, scale, float(out.scale))
                setattr(noisy, f"{stage.name}_requantized", noise)
            if "activation rounding" in on:
                setattr(noisy, f"{stage.name}_round", Round(out))
                current = out
        input_scale, divisor = float(out.scale), 1.0
    return noisy.eval()


def _disturb_(layer: Any, params: QuantParams, units: Array, on: set[str], mean: float) -> None:
    """Put the chosen noise on weights and biases, in place. units: S_in * S_w; mean: of the pixels that come in."""
    w = layer.weight.data
    q = quantize(w, params)
    rounded = dequantize(q, params)
    scale, zero_point = params.spread(w.shape)
    clipped = np.clip(w, scale * (params.low - zero_point), scale * (params.high - zero_point))
    if "weight clipping" in on and "weight rounding" in on:
        w[...] = rounded  # not as a sum, which float32 would round
    elif "weight clipping" in on:
        w[...] = clipped
    elif "weight rounding" in on:
        w[...] += rounded - clipped
    if "bias" in on and layer.bias is not None:
        with_bias = mean * q.reshape(len(q), -1).sum(axis=1, dtype=np.int64)
        layer.bias.data[...] = (np.rint(layer.bias.data / units - with_bias) + with_bias) * units


def mean_loss(model: nn.Module, images: Array, labels: Array, batch_size: int = 1000) -> float:
    """Return the mean cross-entropy over images, float64.

    Raises:
        ValueError: there are no images.
    """
    if len(images) == 0:
        raise ValueError("mean_loss: there are no images; held-out training images will do")
    total = 0.0
    with no_grad():
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            losses = F.cross_entropy(model.eval()(images[part]), labels[part], reduction="none")
            total += float(losses.data.sum(dtype=np.float64))
    return total / len(images)


def divergence(model: nn.Module, original: nn.Module, images: Array) -> float:
    """Return the mean Kullback-Leibler divergence of a model's answers from the original's, 0 or more: no labels are needed.

    Unlike the loss, it cannot fall by chance: where a model is too sure of itself, rough rounding can lower the loss.

    Raises:
        ValueError: there are no images.
    """
    if len(images) == 0:
        raise ValueError("divergence: there are no images; held-out training images will do")
    with no_grad():
        p, q = (np.asarray(log_softmax(m.eval()(images).data, axis=1), np.float64) for m in (original, model))
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def shapley(players: Sequence[str], value: Callable[[frozenset[str]], float]) -> dict[str, float]:
    """Return each player's share of value(all) - value(none), exactly: the shares add up to it.

    A player's share is what it adds to a group, averaged over all orders in which the players can come. `value` is asked
    once for each of the 2**n groups.

    Args:
        players: at most 12 names.
        value: what a group of players brings about.

    Raises:
        ValueError: there are too many players.

    Source:
        Shapley, "A value for n-person games", 1953.

    Example:
        >>> shares = shapley(["a", "b", "c"], lambda group: float(len(group)) + 4.0 * ({"a", "b"} <= group))
        >>> {name: round(share, 9) for name, share in shares.items()}
        {'a': 3.0, 'b': 3.0, 'c': 1.0}
    """
    n = len(players)
    if n > MOST_PLAYERS:
        raise ValueError(f"shapley: {n} players would need {2**n:,} evaluations; at most {MOST_PLAYERS}")
    groups = [frozenset(group) for size in range(n + 1) for group in combinations(players, size)]
    values = {group: value(group) for group in groups}
    return {
        player: sum(
            (values[group | {player}] - values[group]) / (n * comb(n - 1, len(group)))
            for group in groups
            if player not in group
        )
        for player in players
    }


def loss_by_source(
    sequential: nn.Sequential,
    weights: Mapping[str, QuantParams],
    activations: Mapping[str, QuantParams],
    images: Array,
    labels: Array,
) -> dict[str, dict[str, float]]:
    """Return what each source of noise does to the loss: alone, and its share of all together.

    Args:
        sequential, weights, activations: as for `with_noise`.
        images: float32 (N, ...).
        labels: (N,).

    Returns:
        source → {"alone": increase with it alone, "share": its Shapley value}; the shares add up to the whole increase.
    """
    losses: dict[frozenset[str], float] = {}

    def increase(group: frozenset[str]) -> float:
        losses[group] = mean_loss(with_noise(sequential, weights, activations, group), images, labels)
        return losses[group] - losses[frozenset()]

    shares = shapley(SOURCES, increase)
    return {name: {"alone": losses[frozenset({name})] - losses[frozenset()], "share": shares[name]} for name in SOURCES}


def sensitivity_by_layer(
    sequential: nn.Sequential,
    weights: Mapping[str, QuantParams],
    activations: Mapping[str, QuantParams],
    images: Array,
    labels: Array,
) -> dict[str, float]:
    """Return how much the loss rises when one layer alone is quantized: layer → increase."""
    before = mean_loss(sequential, images, labels)
    return {
        name: mean_loss(with_noise(sequential, weights, activations, layers=[name]), images, labels) - before
        for name in weights
    }


def sqnr(signal: float, noise: float) -> float:
    """Return the signal-to-quantization-noise ratio in decibels: 10 log10(signal / noise); inf without noise.

    Args:
        signal, noise: powers of numbers and of their rounding errors: both mean squares, or both sums of squares.

    Example:
        >>> sqnr(signal=200, noise=2), sqnr(signal=200, noise=0), sqnr(signal=0, noise=2)
        (20.0, inf, -inf)
    """
    if not noise:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")


@dataclass(frozen=True)
class NoiseRow:
    """Signal and noise of one tensor, in decibels.

    Attributes:
        name: of the layer, and "weights" or "activations".
        bits: of its format.
        measured: see `sqnr`.
        rule: 6.02 * bits, for a signal that fills the range evenly.
        expected: the rule for this signal: with steps of size S, the error's power is S**2 / 12.
    """

    name: str
    bits: int
    measured: float
    rule: float
    expected: float


def signal_to_noise(
    sequential: nn.Sequential,
    weights: Mapping[str, QuantParams],
    activations: Mapping[str, QuantParams],
    images: Array,
) -> list[NoiseRow]:
    """Return the signal-to-quantization-noise ratio of each layer's weights and activations, beside what the bits promise.

    Zeros, which are exact, are left out: ReLU and pruning make many.

    Args:
        sequential: a chain with float weights. weights, activations: formats by layer.
        images: float32 (N, ...), in one batch.
    """
    outputs = dict(stage_outputs(sequential, images, batch_size=len(images)))
    rows = []
    for name, layer in weight_layers(sequential).items():
        for what, values, params in (
            ("weights", layer.weight.data, weights.get(name)),
            ("activations", outputs[name], activations.get(name)),
        ):
            if params is not None:
                rows.append(_noise_row(f"{name} {what}", values, params))
    return rows


def _noise_row(name: str, values: Array, params: QuantParams) -> NoiseRow:
    used = values != 0
    error = (dequantize(quantize(values, params), params) - values)[used].astype(np.float64)
    steps = np.broadcast_to(params.spread(values.shape)[0], values.shape)[used].astype(np.float64)
    signal = (values[used].astype(np.float64) ** 2).sum()
    measured, expected = sqnr(signal, (error**2).sum()), sqnr(signal, (steps**2).sum() / 12)
    return NoiseRow(name, params.bits, measured, 6.02 * params.bits, expected)


@dataclass(frozen=True)
class Flip:
    """Why a quantized model reads an image otherwise than the float model.

    Attributes:
        before, after: what they read.
        margin_before, margin_after: logit of `before` less that of `after`; negative where it flipped, 0 at a tie.
        shares: layer → its share of the change in the margin (Shapley); they add up.
        alone: layers that flip the image by themselves.
        culprit: the layer with the largest share of what brought the margin down.
    """

    before: int
    after: int
    margin_before: float
    margin_after: float
    shares: dict[str, float]
    alone: list[str]
    culprit: str


def explain_flip(
    sequential: nn.Sequential,
    weights: Mapping[str, QuantParams],
    activations: Mapping[str, QuantParams],
    image: Array,
) -> Flip | None:
    """Say which layer's quantization made the difference for an image.

    Args:
        sequential, weights, activations: as for `with_noise`.
        image: float32 (1, C, H, W) or (C, H, W).

    Returns:
        None if both read the same.
    """
    image = image[None] if image.ndim == 3 else image

    def logits(layers: Iterable[str]) -> Array:
        with no_grad():
            return with_noise(sequential, weights, activations, layers=layers)(image).data[0].astype(np.float64)

    original, quantized = logits(()), logits(weights)
    before, after = int(original.argmax()), int(quantized.argmax())
    if before == after:
        return None
    found: dict[frozenset[str], Array] = {}

    def margin(group: frozenset[str]) -> float:
        found[group] = logits(group)
        return float(found[group][before] - found[group][after])

    shares = shapley(list(weights), margin)
    alone = [name for name in weights if int(found[frozenset({name})].argmax()) != before]
    first, last = (float(values[before] - values[after]) for values in (original, quantized))
    return Flip(before, after, first, last, shares, alone, culprit=min(shares, key=lambda name: shares[name]))


def along_line(
    sequential: nn.Sequential, rounded: nn.Sequential, shares: Sequence[float], measure: Callable[[nn.Module], float]
) -> list[float]:
    """Measure a model on the line from its float weights to the rounded ones, (1 - t) * w + t * deq(q(w)).

    Args:
        sequential, rounded: two chains with the same layers.
        shares: values of t; above 1 the line goes on.
        measure: such as accuracy; called with each model.

    Example:
        >>> one, two = nn.Sequential(nn.Linear(1, 1)), nn.Sequential(nn.Linear(1, 1))
        >>> one[0].weight.data[...], two[0].weight.data[...] = 1.0, 3.0
        >>> along_line(one, two, [0, 0.5, 1], lambda model: float(model[0].weight.data.item()))
        [1.0, 2.0, 3.0]
    """
    found, between = [], copy.deepcopy(sequential)
    start, end = sequential.state_dict(), rounded.state_dict()
    for t in shares:
        between.load_state_dict({name: (1 - t) * w + t * end[name] for name, w in start.items()})
        found.append(measure(between))
    return found
