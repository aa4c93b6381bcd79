"""Training for few bits: forward, numbers are rounded as they will be; backward, gradients pass straight through.

    float model ── prepare_qat ──> chain with QuantizedLayers ── train_qat ──> trained ── convert ──> IntegerModel

The weights that are trained stay float32 and only move by small steps; what the layers use is their rounded values.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad import nn
from minigrad.datasets import STD
from minigrad.loader import DataLoader
from minigrad.nn.module import Buffer, Parameter
from minigrad.optim import SGD
from minigrad.resume import fit
from minigrad.tensor import Array, Tensor

from ..models import as_sequential, fold_batch_norm
from ..pruning import SparsePruner
from .calibration import observe, stages
from .codes import binarize
from .formats import (
    SMALLEST_SCALE,
    QuantParams,
    activation_params,
    check_bits,
    dequantize,
    power_of_two,
    quantize,
    weight_params,
)
from .ptq import sign_params

LOGIT_BITS = 8


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
            scale = _held_positive(self.activation_scale, self.frozen)
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
            scale = _spread(_held_positive(self.weight_scale, self.frozen), self.weight.shape, self.settings.group)
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
            divided = power_of_two(replace(params, scale=params.scale / np.float32(self.std)))
            return replace(params, scale=divided.scale * np.float32(self.std))
        return replace(params, scale=_positive(self.weight_scale)) if self.settings.learned else params

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
        params = activation_params(float(self.range.data[0]), float(self.range.data[1]), bits)
        if self.settings.power_of_two:
            return power_of_two(params)
        return replace(params, scale=_positive(self.activation_scale)) if self.settings.learned else params

    def _first_weight_scale(self) -> Array:
        """Return 2 mean |w| / sqrt(high), where Esser et al. begin; for 8 bits the extremes, if those are wider."""
        assert self.settings.bits is not None
        axis = 0 if self.settings.per_channel or self.settings.group else None
        params = weight_params(self.weight, self.settings.bits, axis, self.settings.group)
        magnitude = np.abs(self.weight.data)
        if axis is None:
            mean = magnitude.mean()
        elif self.settings.group is None:
            mean = magnitude.reshape(len(magnitude), -1).mean(axis=1)
        else:
            rows = magnitude.reshape(len(magnitude), -1)
            starts = np.arange(0, rows.shape[1], self.settings.group)
            mean = np.add.reduceat(rows, starts, axis=1) / np.diff(np.append(starts, rows.shape[1]))
        return np.minimum(np.maximum(2 * mean / np.sqrt(params.high), SMALLEST_SCALE), params.scale).astype(np.float32)

    def extra_repr(self) -> str:
        """Shape and settings, for `repr`."""
        return f"{self.weight.shape}, {self.settings}"


def prepare_qat(
    model: nn.Module, example: Any, settings: QATSettings | None = None, *, std: float = STD, **changes: Any
) -> nn.Sequential:
    """Return a chain that computes what the model does with rounded numbers, ready to be trained.

    Batch normalisation is folded first: what is trained are the weights that will be rounded. The chain's weights have the
    model's names. Activations are not rounded until `train_qat`, or `round_activations_`, switches that on.

    Args:
        model: a chain of layers (see `as_sequential`). It stays as it is.
        example: float32 (N, ...), some hundred training images, on which the ranges begin.
        settings: what is rounded, and how; None: the defaults.
        std: with which the images were normalised.
        **changes: to the settings, by name, such as bits=4.

    Raises:
        ValueError: the model is no chain; bits out of range; no images; dead activations.

    Source:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018.

    Example:
        >>> from minigrad.compression.models import trained_lenet
        >>> images = np.random.default_rng(0).normal(size=(4, 1, 28, 28)).astype(np.float32)
        >>> qat = prepare_qat(trained_lenet(), images, bits=4)
        >>> len(np.unique(qat.fc3.rounded_weight().data[0])) <= 15
        True
    """
    settings = replace(settings or QATSettings(), **changes)
    for bits in (settings.bits, settings.activation_bits):
        if bits is not None:
            check_bits("prepare_qat", bits)
    if settings.power_of_two and (settings.learned or settings.bits == 1):
        raise ValueError("prepare_qat: scales cannot be powers of two and learned, nor those of a single bit")
    example = np.asarray(example.data if isinstance(example, Tensor) else example)
    chain = fold_batch_norm(as_sequential(model, example[:1]))
    observers = observe(chain, example)
    qat, last = nn.Sequential(), next(reversed(observers), "")
    for stage in stages(chain):
        layer: nn.Module = stage.layers[0]
        if stage.rounds:
            own = replace(settings, activation_bits=settings.activation_bits and LOGIT_BITS)
            own = own if stage.name == last else settings
            try:
                low, high = observers[stage.name].range()
                layer = QuantizedLayer(layer, stage.layers[1] if len(stage.layers) > 1 else None, own, low, high)
            except ValueError as error:
                raise ValueError(f"prepare_qat: {stage.name}: {error}") from None
            if not any(isinstance(module, QuantizedLayer) for module in qat):
                layer.std = std
        setattr(qat, stage.name, layer)
    return qat.train()


def round_activations_(qat: nn.Module, on: bool = True) -> None:
    """Let all layers round what they pass on, from now on; in place."""
    for module in qat.modules():
        if isinstance(module, QuantizedLayer):
            module.rounds_activations = on


def freeze_ranges_(qat: nn.Module, on: bool = True) -> None:
    """Hold ranges and learned scales as they are, from now on; in place."""
    for module in qat.modules():
        if isinstance(module, QuantizedLayer):
            module.frozen = on


def train_qat(
    qat: nn.Sequential,
    loader: DataLoader,
    epochs: int,
    lr: float = 0.01,
    momentum: float = 0.9,
    *,
    loss_fn: Callable[..., Any] | None = None,
    activations_from: float = 0.25,
    frozen_from: float = 0.75,
    keep_zeros: bool = True,
) -> list[float]:
    """Train a chain of `prepare_qat`, in place.

    Its ranges are those of a model that has settled: activations are rounded after a share of the steps, and the ranges are
    frozen after another. Weights that are zero at the beginning, as pruning leaves them, stay exactly zero.

    Args:
        qat: of `prepare_qat`.
        loader: yields (x, targets), or with `loss_fn` what that takes.
        epochs, lr, momentum: of SGD.
        loss_fn: cross-entropy; a `DistillationLoss` with a `SoftLoader` for quantization-aware distillation.
        activations_from, frozen_from: shares of all steps, 0 to 1.
        keep_zeros: whether pruned weights are held at zero.

    Returns:
        The mean loss of each epoch.

    Raises:
        ValueError: a share is outside 0 to 1, or epochs is below 1.
        NonFiniteLossError: as `train`.
    """
    if epochs < 1 or not (0 <= activations_from <= 1 and 0 <= frozen_from <= 1):
        raise ValueError(
            f"train_qat: epochs={epochs}, activations_from={activations_from}, frozen_from={frozen_from}; "
            "expected 1 or more epochs, and shares from 0 to 1"
        )
    steps, done = epochs * len(loader), 0
    pruner = SparsePruner.from_zeros(qat)

    def switch() -> None:
        round_activations_(qat, done >= activations_from * steps)
        freeze_ranges_(qat, done >= frozen_from * steps)

    def after_step(model: nn.Module) -> None:
        nonlocal done
        done += 1
        if keep_zeros:
            pruner.apply_(model)
        switch()

    switch()
    optimizer = SGD(qat.parameters(), lr, momentum)
    losses = fit(qat, loader, loss_fn or nn.CrossEntropyLoss(), optimizer, epochs, after_step=after_step)
    round_activations_(qat)
    freeze_ranges_(qat)
    qat.eval()
    return losses


def as_float_chain(qat: nn.Sequential) -> tuple[nn.Sequential, dict[str, QuantParams], dict[str, QuantParams]]:
    """Return ordinary layers with the rounded weights, and the formats of weights and activations by layer.

    Layers that do not round have no format.
    """
    chain, weights, activations = nn.Sequential(), dict[str, QuantParams](), dict[str, QuantParams]()
    for name, layer in ((name, part) for name, part in vars(qat).items() if isinstance(part, nn.Module)):
        if not isinstance(layer, QuantizedLayer):
            setattr(chain, name, layer)
            continue
        setattr(chain, name, _plain_layer(layer))
        if layer.activation is not None:
            setattr(chain, f"{name}_{type(layer.activation).__name__.lower()}", layer.activation)
        if layer.settings.bits is not None:
            weights[name] = layer.weight_format()
        if layer.settings.activation_bits is not None:
            activations[name] = layer.activation_format()
    return chain.eval(), weights, activations


def convert(qat: nn.Sequential, profile: str = "tflite", **settings: Any) -> Any:
    """Return the integer model of a trained chain.

    Args:
        qat: of `prepare_qat`, trained. It stays as it is.
        profile: how sums are rounded: see `minigrad.compression.integer`.
        **settings: of `lower`, such as input_shape, mean and std.

    Raises:
        ValueError: weights or activations are not rounded, or have groups; or as `lower`.
    """
    from ..integer.convert import lower  # here, since the integer engine is built on the formats of this package

    chain, weights, activations = as_float_chain(qat)
    return lower(chain, activations, weights, profile=profile, **settings)


def _plain_layer(layer: QuantizedLayer) -> nn.Module:
    """Return the ordinary layer, with the weights as they are used."""
    w = layer.weight.data
    if layer.settings.bits is not None:
        params = layer.weight_format()
        if layer.settings.bits == 1:
            w = binarize(w, layer.settings.per_channel).decode()
        w = dequantize(quantize(w, params), params)
    has_bias = layer.bias is not None
    if layer.geometry:
        groups = layer.geometry["groups"]
        plain: Any = nn.Conv2d(w.shape[1] * groups, w.shape[0], w.shape[2:], **layer.geometry, bias=has_bias)
    else:
        plain = nn.Linear(w.shape[1], w.shape[0], bias=has_bias)
    plain.weight = Parameter(w)
    plain.bias = Parameter(layer.bias) if layer.bias is not None else None
    return plain


def _positive(scale: Parameter) -> Array:
    """Return a learned scale's values; where a step of the optimizer took one below zero, the smallest there is."""
    return np.maximum(scale.data, SMALLEST_SCALE)


def _held_positive(scale: Parameter, frozen: bool) -> Tensor:
    """Return a learned scale, made positive in place; one that is frozen without its gradient."""
    scale.data[...] = _positive(scale)
    return scale.detach() if frozen else scale


def _spread(scale: Tensor, shape: tuple[int, ...], group: int | None) -> Tensor:
    """Return learned scales so that they broadcast against weights of `shape`: (), (F,) or (F, groups)."""
    if scale.ndim == 0:
        return scale
    if scale.ndim == 1:
        return scale.reshape(-1, *(1,) * (len(shape) - 1))
    columns = np.arange(int(np.prod(shape[1:]))) // (group or 1)
    return scale[:, columns].reshape(shape)
