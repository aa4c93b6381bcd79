"""Training for few bits: forward, numbers are rounded as they will be; backward, gradients pass straight through.

    float model ── prepare_qat ──> chain with QuantizedLayers ── train_qat ──> trained ── convert ──> IntegerModel

The weights that are trained stay float32 and only move by small steps; what the layers use is their rounded values.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.datasets import STD
from minigrad.loader import DataLoader
from minigrad.nn.module import Parameter
from minigrad.optim import SGD, Optimizer
from minigrad.resume import fit
from minigrad.tensor import Tensor

from ..distillation import DistillationLoss, distill
from ..models import as_sequential, fold_batch_norm
from ..pruning import SparsePruner
from .calibration import observe, stages
from .codes import binarize
from .formats import QuantParams, check_bits, dequantize, quantize
from .qat_layer import QATSettings, QuantizedLayer
from .simulation import RoundedMean

LOGIT_BITS = 8


def prepare_qat(
    model: nn.Module, example: Any, settings: QATSettings | None = None, *, std: float = STD, **changes: Any
) -> nn.Sequential:
    """Return a chain that computes what the model does with rounded numbers, ready to be trained.

    Batch normalisation is folded first: what is trained are the weights that will be rounded. The chain's weights have the
    model's names. Activations are not rounded until `train_qat`, or `round_activations_`, switches that on; average pooling
    then rounds its means.

    Args:
        model: a chain of layers (see `as_sequential`). It stays as it is.
        example: float32 (N, ...), some hundred training images, on which the ranges begin.
        settings: what is rounded, and how; None: the defaults.
        std: with which the images were normalised.
        **changes: to the settings, by name, such as bits=4. Here bits may also be a mapping, layer → bits, as `choose_bits`
            finds one; layers without a number keep their weights.

    Raises:
        ValueError: the model is no chain; bits out of range; no images; dead activations.
        KeyError: bits has a name that is none of the layers.

    Source:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018.

    Example:
        >>> from minigrad.compression.models import trained_lenet
        >>> images = np.random.default_rng(0).normal(size=(4, 1, 28, 28)).astype(np.float32)
        >>> qat = prepare_qat(trained_lenet(), images, bits=4)
        >>> len(np.unique(qat.fc3.rounded_weight().data[0])) <= 15
        True
    """
    example = np.asarray(example.data if isinstance(example, Tensor) else example)
    chain = fold_batch_norm(as_sequential(model, example[:1]))
    observers = observe(chain, example)
    own = _settings_by_layer(list(observers), settings or QATSettings(), changes)
    qat, before = nn.Sequential(), None
    for stage in stages(chain):
        layer: nn.Module = stage.layers[0]
        if stage.rounds:
            activation = stage.layers[1] if len(stage.layers) > 1 else None
            try:
                made = QuantizedLayer(layer, activation, own[stage.name], *observers[stage.name].range())
            except ValueError as error:
                raise ValueError(f"prepare_qat: {stage.name}: {error}") from None
            made.name, made.std = stage.name, std if before is None else 1.0
            layer = before = made
        elif isinstance(layer, nn.AvgPool2d) and before is not None and before.settings.activation_bits is not None:
            layer = RoundedMean(layer, before.current_format)
        setattr(qat, stage.name, layer)
    return qat.train()


def _settings_by_layer(names: list[str], settings: QATSettings, changes: dict[str, Any]) -> dict[str, QATSettings]:
    """Return the settings of each layer, checked; the last layer's activations, the logits, get 8 bits."""
    widths = changes.get("bits", settings.bits)
    by_layer = widths if isinstance(widths, Mapping) else dict.fromkeys(names, widths)
    if unknown := sorted(by_layer.keys() - set(names)):
        raise KeyError(f"prepare_qat: {', '.join(unknown)}: no such layer; there are {', '.join(names)}")
    found = {name: replace(settings, **changes | {"bits": by_layer.get(name)}) for name in names}
    for name, own in found.items():
        for bits in (own.bits, own.activation_bits):
            if bits is not None:
                check_bits("prepare_qat", bits)
        if own.power_of_two and (own.learned or own.bits == 1):
            raise ValueError("prepare_qat: scales cannot be powers of two and learned, nor those of a single bit")
        if name == names[-1] and own.activation_bits is not None:
            found[name] = replace(own, activation_bits=LOGIT_BITS)
    return found


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
    optimizer: Optimizer | None = None,
    teacher: Any = None,
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
        epochs: how many.
        lr, momentum: of SGD.
        optimizer: another one, of the chain's parameters.
        teacher: for quantization-aware distillation (Mishra and Marr, "Apprentice", 2018): the float model, another one, or
            logits, as `distill` takes them.
        loss_fn: None: cross-entropy; with a teacher a `DistillationLoss` of temperature 4 and alpha 0.7, or another
            loss(logits, teacher_logits, labels).
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
    optimizer = optimizer or SGD(qat.parameters(), lr, momentum)
    if teacher is None:
        losses = fit(qat, loader, loss_fn or nn.CrossEntropyLoss(), optimizer, epochs, after_step=after_step)
    else:
        loss = loss_fn or DistillationLoss(temperature=4.0, alpha=0.7)
        losses = distill(qat, teacher, loader, loss, optimizer, epochs, after_step=after_step)
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
            setattr(chain, name, layer.pool if isinstance(layer, RoundedMean) else layer)
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
