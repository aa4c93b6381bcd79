"""A layer that trains with rounded numbers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad import nn
from minigrad.nn.module import Buffer, Parameter
from minigrad.tensor import Array, Tensor

from .codes import binarize
from .formats import SMALLEST_SCALE, QuantParams, activation_params, grouped, power_of_two, weight_params
from .ptq import sign_params


@dataclass(frozen=True)
class QATSettings:
    """What is rounded, and how.

    Attributes:
        bits: of the weights, 1 to 8; None leaves them as they are. One bit is a sign and the mean magnitude.
        activation_bits: of what each layer passes on, 1 to 8; None leaves it as it is. The last layer's result, the logits,
            gets 8, for with fewer the largest ones would tie.
        per_channel: whether each filter or output has its own scale.
        group: weights of a channel that share a scale; None: all. No integer engine takes groups.
        learned: whether scales are trained as well (Esser et al. 2020), rather than read off the extremes.
        power_of_two: whether all scales are powers of two, so that multiplying by them is shifting; not with learned ones.
        momentum: share of a new batch in the moving average of the extremes.
    """

    bits: int | None = 8
    activation_bits: int | None = 8
    per_channel: bool = True
    group: int | None = None
    learned: bool = False
    power_of_two: bool = False
    momentum: float = 0.05


class QuantizedLayer(nn.Module):
    """A convolution or linear layer, and its activation, that computes with rounded weights and rounds its result.

    Attributes:
        weight, bias: as in the layer it was made of, under the same names, so that masks fit.
        range: float32 (2,), moving averages of the smallest and the largest result.
        weight_scale, activation_scale: trained scales, if settings.learned.
        rounds_activations: whether results are rounded already.
        frozen: whether the range (or the trained scales) stay as they are.
    """

    weight: Parameter
    bias: Parameter | None
    rounds_activations: bool = False
    frozen: bool = False
    name: str = ""  # in the chain, for errors
    std: float = 1.0  # of the images: the integer engine divides the first layer's weights by it

    def __init__(self, layer: nn.Module, activation: nn.Module | None, settings: QATSettings, low: float, high: float):
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        self.weight, self.bias, self.activation, self.settings = layer.weight, layer.bias, activation, settings
        self.geometry: dict[str, Any] = {}
        if isinstance(layer, nn.Conv2d):
            names = ("stride", "padding", "dilation", "groups")
            self.geometry = {name: getattr(layer, name) for name in names}
        self.range = Buffer(np.array([low, high], np.float32))
        if settings.learned and settings.bits not in (None, 1):
            self.weight_scale = Parameter(self._first_weight_scale())
        if settings.learned and settings.activation_bits is not None:
            self.activation_scale = Parameter(activation_params(low, high, settings.activation_bits).scale)

    def forward(self, x: Any) -> Tensor:
        """As the layer: (N, C, H, W) -> (N, F, OH, OW), or (N, I) -> (N, O)."""
        w = self.rounded_weight()
        out = F.conv2d(x, w, self.bias, **self.geometry) if self.geometry else F.linear(x, w, self.bias)
        out = out if self.activation is None else self.activation(out)
        if self.training and not self.frozen:
            extremes = np.array([out.data.min(), out.data.max()], np.float32)
            self.range.data += self.settings.momentum * (extremes - self.range.data)
        if not self.rounds_activations or self.settings.activation_bits is None:
            return out
        params = self.activation_format()
        scale: Any = params.scale
        if self.settings.learned:
            scale = _hold_(self.activation_scale, params.scale, self.frozen)
        factor = 1 / np.sqrt(out.size / len(out.data) * max(params.high - params.low, 1))
        return F.fake_quantize(out, scale, params.zero_point, params.low, params.high, float(factor))

    def rounded_weight(self) -> Tensor:
        """Return the weights as the layer uses them."""
        if self.settings.bits is None:
            return self.weight
        if self.settings.bits == 1:
            return F.binary_sign(self.weight) * binarize(self.weight, self.settings.per_channel).scale
        params = self.weight_format()
        scale: Any = params.spread(self.weight.shape)[0]
        if self.settings.learned:
            scale = _hold_(self.weight_scale, params.scale, self.frozen)
            scale = _spread(scale, self.weight.shape, self.settings.group)
        factor = 1 / np.sqrt(self.weight.size / params.scale.size * params.high)
        return F.fake_quantize(self.weight, scale, 0, params.low, params.high, float(factor))

    def weight_format(self) -> QuantParams:
        """Return the format of the weights.

        Raises:
            ValueError: they are not rounded.
        """
        bits = self.settings.bits
        if bits is None:
            raise ValueError("QuantizedLayer: its weights are not rounded (bits=None), so they have no format")
        if bits == 1:
            return sign_params(self.weight, self.settings.per_channel)
        axis = 0 if self.settings.per_channel or self.settings.group else None
        params = weight_params(self.weight, bits, axis, self.settings.group)
        if self.settings.power_of_two:
            # With two or three bits, steps that reach to the largest weight, and up to twice as far, round all to zero.
            finer = self._first_weight_scale()
            scale = np.where(finer < params.scale, finer / np.sqrt(2), params.scale) / np.float32(self.std)
            return replace(params, scale=power_of_two(replace(params, scale=scale)).scale * np.float32(self.std))
        return replace(params, scale=_held(self.weight_scale, params.scale)) if self.settings.learned else params

    def activation_format(self) -> QuantParams:
        """Return the format of what the layer passes on.

        Raises:
            ValueError: it is not rounded, or the layer is dead.
        """
        bits = self.settings.activation_bits
        if bits is None:
            raise ValueError(
                "QuantizedLayer: its results are not rounded (activation_bits=None), so they have no format"
            )
        try:
            params = activation_params(float(self.range.data[0]), float(self.range.data[1]), bits)
        except ValueError as error:
            raise ValueError(f"QuantizedLayer {self.name}: {error}") from None
        if self.settings.power_of_two:
            return power_of_two(params)
        return replace(params, scale=_held(self.activation_scale, params.scale)) if self.settings.learned else params

    def current_format(self) -> QuantParams | None:
        """Return the format of what the layer passes on at present; None where that is not rounded (yet)."""
        rounds = self.rounds_activations and self.settings.activation_bits is not None
        return self.activation_format() if rounds else None

    def _first_weight_scale(self) -> Array:
        """Return 2 mean |w| / sqrt(high), where Esser et al. begin, but at most the one that reaches to the extremes."""
        assert self.settings.bits is not None
        axis = 0 if self.settings.per_channel or self.settings.group else None
        params = weight_params(self.weight, self.settings.bits, axis, self.settings.group)
        magnitude = grouped(np.abs(self.weight.data), axis, self.settings.group)  # (C, groups, group)
        count = np.count_nonzero(magnitude, axis=2)  # pruned weights are exact whatever the scale
        mean = (magnitude.sum(axis=2) / np.maximum(count, 1)).reshape(params.scale.shape)
        return np.minimum(np.maximum(2 * mean / np.sqrt(params.high), SMALLEST_SCALE), params.scale).astype(np.float32)

    def extra_repr(self) -> str:
        """Shape and settings, for `repr`."""
        return f"{self.weight.shape}, {self.settings}"


def _held(scale: Parameter, widest: Array) -> Array:
    """Return a learned scale's values, at least a hundredth of the one that reaches to the extremes.

    A step of the optimizer can take a scale to zero or below, from where it would hardly come back.
    """
    return np.maximum(scale.data, np.maximum(widest / 100, SMALLEST_SCALE)).astype(np.float32)


def _hold_(scale: Parameter, held: Array, frozen: bool) -> Tensor:
    """Write held values into a learned scale and return it; one that is frozen without its gradient."""
    scale.data[...] = held
    return scale.detach() if frozen else scale


def _spread(scale: Tensor, shape: tuple[int, ...], group: int | None) -> Tensor:
    """Return learned scales so that they broadcast against weights of `shape`: (), (F,) or (F, groups)."""
    if scale.ndim == 0:
        return scale
    if scale.ndim == 1:
        return scale.reshape(-1, *(1,) * (len(shape) - 1))
    columns = np.arange(int(np.prod(shape[1:]))) // (group or 1)
    return scale[:, columns].reshape(shape)
