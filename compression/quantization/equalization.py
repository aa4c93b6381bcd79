"""Making a model easier to round without any data: weights are evened out between layers, and biases take up the rest.

A channel whose weights are small shares a scale with one whose weights are large, and loses its digits. But a ReLU passes
factors on: dividing a channel's weights by s > 0, and multiplying by s what reads that channel, changes nothing.
"""

import copy
from collections.abc import Mapping

import numpy as np
from scipy.stats import norm

from minigrad import nn
from minigrad.tensor import Array

HOMOGENEOUS = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Flatten)
"""Layers for which f(s * x) = s * f(x), channel by channel, for s > 0. ReLU6 is none: its 6 stays."""


def equalize(sequential: nn.Sequential, rounds: int = 20) -> nn.Sequential:
    """Return a chain that computes the same, with the weights' ranges evened out between neighbouring layers.

    For channel i between two layers, r1 is the largest magnitude among the weights that make it and r2 among those that read
    it; with s = sqrt(r1 / r2) both become sqrt(r1 * r2). Pairs are done in turn until nothing moves.

    Args:
        sequential: a chain, batch normalisation folded. It stays as it is.
        rounds: at most.

    Source:
        Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019, equation 11.

    Example:
        >>> chain = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> chain[0].weight.data[...], chain[2].weight.data[...] = [[4, 0], [0, 1]], [[1, 9]]
        >>> even = equalize(chain)
        >>> even[0].weight.data.tolist(), even[2].weight.data.tolist()
        ([[2.0, 0.0], [0.0, 3.0]], [[2.0, 3.0]])
    """
    return equalize_with_factors(sequential, rounds)[0]


def equalize_with_factors(sequential: nn.Sequential, rounds: int = 20) -> tuple[nn.Sequential, dict[str, Array]]:
    """Do what `equalize` does; return with the chain by how much each layer's input channels are divided, float64 (C,)."""
    chain = copy.deepcopy(sequential)
    pairs = _pairs(chain)
    factors = {name: np.ones(len(first.weight.data)) for name, first, _ in pairs}
    for _ in range(rounds):
        moved = 0.0
        for name, first, second in pairs:
            s = _equalize_(first, second)
            factors[name] *= s
            moved = max(moved, float(np.abs(np.log(s)).max()))
        if moved < 1e-3:
            break
    return chain, factors


Layer = nn.Conv2d | nn.Linear


def _pairs(chain: nn.Sequential) -> list[tuple[str, Layer, Layer]]:
    """Return neighbouring layers, and the second one's name, with nothing between them but what passes factors on."""
    found, before = [], None
    for name, layer in ((name, part) for name, part in vars(chain).items() if isinstance(part, nn.Module)):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if before is not None and not (isinstance(layer, nn.Conv2d) and layer.groups > 1):
                found.append((name, before, layer))
            before = layer
        elif not isinstance(layer, HOMOGENEOUS):
            before = None
    return found


def _equalize_(first: Layer, second: Layer) -> Array:
    """Even out one pair in place; return s, (C,)."""
    channels = len(first.weight.data)
    made = np.abs(first.weight.data).reshape(channels, -1).max(axis=1)  # (C,)
    w = second.weight.data.reshape(len(second.weight.data), channels, -1)  # (F, C, what belongs to a channel)
    read = np.abs(w).max(axis=(0, 2))  # (C,)
    s = np.sqrt(np.divide(made, read, out=np.ones_like(made), where=(made > 0) & (read > 0)))
    first.weight.data[...] /= s.reshape(-1, *(1,) * (first.weight.ndim - 1))
    if first.bias is not None:
        first.bias.data[...] /= s
    second.weight.data[...] = (w * s[:, None]).reshape(second.weight.shape)
    return s


def expected_inputs(sequential: nn.Sequential) -> dict[str, Array]:
    """Return the mean that each layer's input channels are to be expected to have, where batch normalisation tells.

    Behind a batch normalisation a channel has mean `bias` and standard deviation |weight|; taken as normal, a ReLU makes of
    that a mean of its own. Behind max-pooling the mean is not known.

    Args:
        sequential: a chain, batch normalisation not folded yet.

    Returns:
        Layer name → float64 (C,), for the convolutions and linear layers of which it is known.

    Source:
        Nagel et al. 2019, section 4.2.1 and appendix C.
    """
    found: dict[str, Array] = {}
    moments: tuple[Array, Array] | None = None  # mean and standard deviation, or
    mean: Array | None = None  # the mean alone
    for name, layer in ((name, part) for name, part in vars(sequential).items() if isinstance(part, nn.Module)):
        if isinstance(layer, nn.BatchNorm2d):
            moments = layer.bias.data.astype(np.float64), np.abs(layer.weight.data.astype(np.float64))
            mean = moments[0]
        elif isinstance(layer, nn.ReLU | nn.ReLU6) and moments is not None:
            mean = _rectified_mean(*moments, 6.0 if isinstance(layer, nn.ReLU6) else np.inf)
            moments = None
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            if mean is not None and not (isinstance(layer, nn.Conv2d) and layer.groups > 1):
                found[name] = mean
            moments = mean = None
        elif not isinstance(layer, nn.AvgPool2d | nn.Flatten):
            moments = mean = None
    return found


def _rectified_mean(mean: Array, std: Array, top: float) -> Array:
    """Return E[min(max(x, 0), top)] for normal x."""
    std = np.maximum(std, 1e-12)
    low, high = -mean / std, (top - mean) / std
    inside = mean * (norm.cdf(high) - norm.cdf(low)) + std * (norm.pdf(low) - norm.pdf(high))
    return inside + (top * norm.sf(high) if np.isfinite(top) else 0.0)


def correct_biases(rounded: nn.Sequential, original: nn.Sequential, means: Mapping[str, Array]) -> nn.Sequential:
    """Return a copy of `rounded` whose biases take up the shift that rounding the weights gives their layer's mean.

    Rounding changes the weights by e, and the mean of the output by the sum over inputs of e * E[x]; the bias loses that.
    (Of a padded convolution, the border is not looked at.)

    Args:
        rounded: a chain with rounded weights. It stays as it is.
        original: the same with the weights before.
        means: layer name → E[x] of each input channel, (C,), or of each input, (I,); other layers stay as they are.

    Source:
        Nagel et al. 2019, section 4.2; Banner et al., "Post training 4-bit quantization of convolutional networks", 2019.
    """
    corrected = copy.deepcopy(rounded)
    for name, mean in means.items():
        layer, before = getattr(corrected, name), getattr(original, name)
        error = layer.weight.data.astype(np.float64) - before.weight.data
        by_channel = error.reshape(len(error), len(mean), -1).sum(axis=2)  # (F, C)
        if layer.bias is not None:
            layer.bias.data[...] -= by_channel @ mean
    return corrected
