"""A model as it will be with few bits, in float: weights that are rounded, and activations that round as they pass."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad import nn
from minigrad.tensor import Tensor

from .calibration import stages
from .formats import QuantParams, dequantize, quantize


class Round(nn.Module):
    """Rounds what passes to the numbers of a format. Gradients pass straight through.

    Example:
        >>> from minigrad.compression.quantization import activation_params
        >>> Round(activation_params(0, 3, bits=2))([0.4, 0.6, 7.0]).data
        array([0., 1., 3.])
    """

    def __init__(self, params: QuantParams):
        self.params = params

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        x = x if isinstance(x, Tensor) else Tensor(x)
        scale, zero_point = self.params.spread(x.shape)
        return F.fake_quantize(x, scale.astype(x.dtype), zero_point, self.params.low, self.params.high)

    def extra_repr(self) -> str:
        """Bits, for `repr`."""
        return f"bits={self.params.bits}"


class RoundedMean(nn.Module):
    """Average pooling whose means are rounded to the numbers that came in, as integers are averaged: ties go away from q = 0.

    Gradients pass straight through the rounding.

    Args:
        pool: the layer.
        format: returns the format of what comes in, or None as long as that is not rounded.

    Example:
        >>> from minigrad.compression.quantization import QuantParams
        >>> pool = RoundedMean(nn.AvgPool2d(2), lambda: QuantParams(1.0, 0))
        >>> pool([[[[1.0, 2.0], [2.0, 1.0]]]]).data
        array([[[[2.]]]])
    """

    def __init__(self, pool: nn.AvgPool2d, format: Callable[[], QuantParams | None]):
        self.pool, self.format = pool, format

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        out, params = self.pool(x), self.format()
        if params is None:
            return out
        size = self.pool.kernel_size
        count = size**2 if isinstance(size, int) else size[0] * size[1]
        sums = (
            np.rint(out.data * (count / params.scale.astype(np.float64))).astype(np.int64) + count * params.zero_point
        )
        q = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
        rounded = (params.scale * (q - params.zero_point)).astype(out.dtype)
        return out - out.data + rounded  # in this order exactly `rounded`


def simulate(
    sequential: nn.Sequential,
    weights: Mapping[str, QuantParams] | None = None,
    activations: Mapping[str, QuantParams] | None = None,
) -> nn.Sequential:
    """Return a copy whose weights are rounded, and in which stages round what they pass on; average pooling its means, too.

    An integer engine computes the same but for two small things: its biases are rounded (to int32), and a sum is rounded to
    an activation's step by integer arithmetic.

    Args:
        sequential: a chain, batch normalisation folded. It stays as it is.
        weights: layer name → format of its weights; other layers keep theirs.
        activations: stage name → format of its output (see `calibrate`); other stages pass it on as it is.

    Raises:
        KeyError: a name is none of the chain's convolutions or linear layers.

    Example:
        >>> import numpy as np
        >>> from minigrad.compression.quantization import weight_params
        >>> chain = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> rounded = simulate(chain, {"0": weight_params(chain[0].weight, bits=2)})
        >>> [len(np.unique(np.abs(row))) <= 2 for row in rounded[0].weight.data]
        [True, True]
    """
    weights, activations = weights or {}, activations or {}
    known = [stage.name for stage in stages(sequential) if stage.rounds]
    unknown = sorted((weights.keys() | activations.keys()) - set(known))
    if unknown:
        raise KeyError(
            f"simulate: {', '.join(unknown)}: no such convolution or linear layer; there are {', '.join(known)}"
        )
    rounded = nn.Sequential()
    copied = copy.deepcopy(sequential)
    current: QuantParams | None = None  # the format of what comes in
    for stage in stages(copied):
        for layer in stage.layers:
            name = next(name for name, part in vars(copied).items() if part is layer)
            setattr(rounded, name, with_rounded_mean(layer, current))
        if stage.rounds:
            current = activations.get(stage.name)
        if stage.name in weights:
            w = getattr(rounded, stage.name).weight
            w.data[...] = dequantize(quantize(w, weights[stage.name]), weights[stage.name])
        if stage.name in activations:
            setattr(rounded, f"{stage.name}_round", Round(activations[stage.name]))
    return rounded.eval()


def with_rounded_mean(layer: nn.Module, params: QuantParams | None) -> nn.Module:
    """Return a layer such that, if it is an average pooling, it rounds to numbers of the format that comes in."""
    return RoundedMean(layer, lambda: params) if isinstance(layer, nn.AvgPool2d) and params is not None else layer
