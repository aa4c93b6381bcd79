"""Mixed precision: which layer gets how many bits, under a budget of bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.tensor import Array

from .analysis import divergence
from .packing import stored_bytes
from .ptq import round_weights, weight_layers

MOST_CHOICES = 1_000_000


@dataclass(frozen=True)
class BitChoice:
    """Bits for each layer.

    Attributes:
        bits: layer → bits.
        nbytes: of the weights and their scales.
        predicted: how far its answers are from the float model's: the sum over layers of `divergence`.
    """

    bits: dict[str, int]
    nbytes: int
    predicted: float


def bit_costs(
    sequential: nn.Sequential, images: Array, widths: Sequence[int] = (2, 3, 4, 5, 6, 8), **settings: Any
) -> dict[str, dict[int, tuple[int, float]]]:
    """Measure each layer at each width, the others left in float.

    Args:
        sequential: a chain, batch normalisation folded.
        images: float32 (N, ...), on which answers are compared with the float model's: held-out training images.
        widths: bits to try.
        **settings: of `round_weights`.

    Returns:
        layer → bits → (bytes of weights and scales, `divergence` from the float model).
    """
    costs: dict[str, dict[int, tuple[int, float]]] = {}
    for name, layer in weight_layers(sequential).items():
        costs[name] = {}
        for bits in widths:
            rounded, formats = round_weights(sequential, {name: bits}, **settings)
            parts = stored_bytes(layer.weight.size, formats[name])
            if bits == 1:  # signs alone
                parts["integers"] = -(-layer.weight.size // 8)
            costs[name][bits] = (sum(parts.values()), divergence(rounded, sequential, images))
    return costs


def choose_bits(costs: Mapping[str, Mapping[int, tuple[int, float]]], budget: int) -> BitChoice:
    """Return the bits with the least predicted divergence whose bytes fit into the budget.

    Divergences are added up as if layers did not mind each other. Layer by layer, only what is best for its bytes is kept, so
    that all combinations that could win are compared.

    Args:
        costs: of `bit_costs`.
        budget: bytes of weights and scales.

    Raises:
        ValueError: even the fewest bits take more; the message says how many bytes these take.

    Example:
        >>> costs = {"a": {2: (10, 0.5), 4: (20, 0.0)}, "b": {2: (10, 0.1), 4: (20, 0.0)}}
        >>> choose_bits(costs, budget=30)
        BitChoice(bits={'a': 4, 'b': 2}, nbytes=30, predicted=0.1)
    """
    least = sum(min(nbytes for nbytes, _ in options.values()) for options in costs.values())
    if least > budget:
        raise ValueError(f"choose_bits: the fewest bits take {least:,} bytes, more than the budget of {budget:,}")
    fronts = {name: _front(options) for name, options in costs.items()}
    if np.prod([float(len(front)) for front in fronts.values()]) > MOST_CHOICES:
        raise ValueError(f"choose_bits: over {MOST_CHOICES:,} combinations; try fewer widths")
    best: BitChoice | None = None
    for combination in product(*fronts.values()):
        bits = dict(zip(fronts, combination, strict=True))
        nbytes = sum(costs[name][width][0] for name, width in bits.items())
        predicted = float(sum(costs[name][width][1] for name, width in bits.items()))
        if nbytes <= budget and (best is None or (predicted, nbytes) < (best.predicted, best.nbytes)):
            best = BitChoice(bits, nbytes, predicted)
    assert best is not None  # the fewest bits fit
    return best


def _front(options: Mapping[int, tuple[int, float]]) -> list[int]:
    """Return the widths that no other beats in both bytes and divergence."""
    kept: list[int] = []
    lowest = np.inf
    for bits, (_, off) in sorted(options.items(), key=lambda item: item[1]):
        if off < lowest:
            kept.append(bits)
            lowest = off
    return kept
