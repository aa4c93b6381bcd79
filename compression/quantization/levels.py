"""The article's four levels of quantization, one call each: from no data at all to training another architecture.

| level | needs data | needs backpropagation | what is done |
|---|---|---|---|
| 1 | no | no | ranges evened out between layers, weights rounded, biases corrected where batch norm tells how |
| 2 | some hundred images | no | batch-norm statistics anew, weights and activations rounded, biases corrected if that helps |
| 3 | training images | yes | quantization-aware training |
| 4 | training images | yes | the architecture changed, then quantization-aware training |

Source: the article on pruning, section on quantization, after Nagel et al., "Data-free quantization through weight
equalization and bias correction", 2019, who name the levels.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.datasets import MEAN, STD
from minigrad.loader import DataLoader
from minigrad.nn.module import Parameter
from minigrad.tensor import Array, Tensor

from ..models import as_sequential, fold_batch_norm
from ..pruning.channels import example_input
from ..report import align
from .analysis import divergence
from .calibration import calibrate, observe, stages
from .equalization import correct_biases, equalize_with_factors, expected_inputs
from .formats import QuantParams, check_bits
from .packing import packed_bytes, stored_bytes
from .ptq import input_means, reestimate_batch_norm, round_weights, weight_layers
from .qat import LOGIT_BITS, as_float_chain, prepare_qat, train_qat
from .simulation import simulate

CHANGES = ("relu6", "wider-first-layer", "power-of-two")
"""What level 4 may change: ReLU6 for ReLU, twice as many filters in the first layer, scales that are powers of two."""

NEEDS = {
    1: ("none", False),
    2: ("calibration images", False),
    3: ("training images", True),
    4: ("training images", True),
}
"""Level → data, and whether gradients are computed."""


Bits = int | Mapping[str, int]
"""Of the weights: one number for all layers, or layer → bits."""


class QuantizedModel(nn.Module):
    """A model whose numbers are rounded, with float input and output, as the article describes.

    Attributes:
        level: 1 to 4.
        chain: its layers, with rounded weights.
        weights, activations: the formats, by layer.
        done: what was done, in order.
        seconds: that it took.
    """

    def __init__(
        self,
        level: int,
        chain: nn.Sequential,
        weights: dict[str, QuantParams],
        activations: dict[str, QuantParams],
        done: Sequence[str],
        seconds: float,
    ):
        self.level, self.chain, self.weights, self.activations = level, chain, weights, activations
        self.done, self.seconds = list(done), seconds
        self.simulated = simulate(chain, None, activations)
        self.eval()

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W), float32 -> logits (N, classes)"""
        return self.simulated(x)

    def integer(self, profile: str = "tflite", **settings: Any) -> Any:
        """Return the integer model.

        Raises:
            ValueError: activations are not rounded, as at level 1; or as `lower`.
        """
        from ..integer.convert import lower  # here, since the integer engine is built on the formats of this package

        return lower(self.chain, self.activations, self.weights, profile=profile, **settings)

    @property
    def nbytes(self) -> int:
        """Bytes on disk: integers packed, scales, and biases of 4 bytes."""
        total = 0
        for name, layer in weight_layers(self.chain).items():
            total += 0 if layer.bias is None else 4 * layer.bias.size
            if name in self.weights:
                parts = stored_bytes(layer.weight.size, self.weights[name])
                if self.weights[name].high == 1 and layer.weight.data.all():  # signs alone
                    parts["integers"] = packed_bytes(layer.weight.size, bits=1)
                total += sum(parts.values())
            else:
                total += 4 * layer.weight.size
        return total


class FloatWrapper(nn.Module):
    """An integer model with float images and float logits: the conversion at both ends is the only arithmetic in float.

    Args:
        integer: an `IntegerModel`.
        mean, std: with which images were normalised; pixels are found again exactly.

    Example:
        >>> from minigrad.compression.integer import to_integer
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> training = mnist("train")
        >>> model = FloatWrapper(to_integer(trained_lenet(), training.pixels[:100]))
        >>> model(training.images[:2]).dtype, model(training.images[:2]).shape
        (dtype('float32'), (2, 10))
    """

    def __init__(self, integer: Any, mean: float = MEAN, std: float = STD):
        self.integer, self.mean, self.std = integer, mean, std

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W), float32 -> logits (N, classes), float32"""
        images = np.asarray(x.data if isinstance(x, Tensor) else x)
        pixels = np.clip(np.rint((images * self.std + self.mean) * 255), 0, 255).astype(np.uint8)
        last = next(layer for layer in reversed(self.integer.layers) if hasattr(layer, "output_scale"))
        q = self.integer.logits(pixels).astype(np.int32)
        return Tensor((q - last.output_zero).astype(np.float32) * np.float32(last.output_scale.as_float32()))


def quantize_model(
    model: nn.Module,
    level: int,
    *,
    calibration: Array | None = None,
    training: DataLoader | None = None,
    bits: Bits | None = 8,
    activation_bits: int | None = 8,
    per_channel: bool = True,
    group: int | None = None,
    epochs: int = 1,
    lr: float = 0.005,
    learned: bool = False,
    distilled: bool = False,
    changes: Sequence[str] = CHANGES,
    seed: int = 0,
) -> QuantizedModel:
    """Quantize a trained model by one of the article's four levels.

    Args:
        model: a chain of layers (see `as_sequential`). It stays as it is.
        level: 1 to 4; see this module's table.
        calibration: float32 (N, C, H, W), some hundred training images. Level 1 only looks at their shape, and takes 28×28
            pixels if there are none.
        training: batches to train on; for levels 3 and 4.
        bits: of the weights, 1 to 8, for all layers or by layer, as `choose_bits` finds them. None, or no number for a layer,
            leaves weights as they are: only activations are rounded.
        activation_bits: 1 to 8; the logits keep 8. None, and level 1 always, leaves activations as they are: only weights are
            rounded. There is an integer model where both are.
        per_channel, group: of the weights' scales.
        epochs, lr, learned: of quantization-aware training; `learned` trains scales too.
        distilled: whether the model, as it is, teaches the one with rounded numbers.
        changes, seed: of `CHANGES`, for level 4; of what tells copied filters apart there.

    Raises:
        ValueError: an unknown level or change, or data that a level needs is missing.

    Example:
        >>> from minigrad.compression.models import trained_lenet
        >>> quantized = quantize_model(trained_lenet(), level=1, bits=4)
        >>> quantized.done, quantized.nbytes
        (['ranges evened out', 'weights rounded to 4 bits'], 23983)
    """
    start = time.perf_counter()
    bits = {} if bits is None else bits
    _check_needs(level, calibration, training, changes, bits, activation_bits)
    example = example_input(model) if calibration is None else calibration[:1]
    chain, done = as_sequential(model, example), list[str]()
    if level == 1:
        parts = _data_free(chain, bits, per_channel, group, done)
    elif level == 2:
        assert calibration is not None
        parts = _calibrated(chain, calibration, bits, activation_bits, per_channel, group, done)
    else:
        assert calibration is not None
        assert training is not None
        chain = fold_batch_norm(chain)
        if level == 4:
            chain = change_architecture(chain, calibration, changes, seed, done)
        qat = prepare_qat(
            chain, calibration, bits=bits, activation_bits=activation_bits, per_channel=per_channel, group=group,
            learned=learned, power_of_two=level == 4 and "power-of-two" in changes,
        )  # fmt: skip
        train_qat(qat, training, epochs, lr, teacher=model if distilled else None)
        done.append(
            f"trained for {_said(bits)}-bit weights and {_said(activation_bits)}-bit activations, {epochs} epochs"
            + (", by the float model" if distilled else "")
        )
        parts = as_float_chain(qat)
    return QuantizedModel(level, *parts, done, time.perf_counter() - start)


def _check_needs(
    level: int, calibration: Any, training: Any, changes: Sequence[str], bits: Bits, activation_bits: int | None
) -> None:
    """Check that a level exists, that what it needs is there, and all bits."""
    for width in (*(bits.values() if isinstance(bits, Mapping) else [bits]), activation_bits):
        if width is not None:
            check_bits("quantize_model", width)
    if level not in NEEDS:
        raise ValueError(f"quantize_model: level is {level!r}, expected 1, 2, 3 or 4")
    if level > 1 and calibration is None:
        raise ValueError(f"quantize_model: level {level} needs calibration images, some hundred of the training images")
    if level > 2 and training is None:
        raise ValueError(f"quantize_model: level {level} trains, and needs a loader of training images")
    if unknown := sorted(set(changes) - set(CHANGES)):
        raise ValueError(f"quantize_model: changes has {unknown}, expected some of {', '.join(CHANGES)}")


Parts = tuple[nn.Sequential, dict[str, QuantParams], dict[str, QuantParams]]


def _said(bits: Bits | None) -> str:
    """Return "4", "8, 4, 2" in the order of the layers, or "32" where nothing is rounded."""
    widths = bits.values() if isinstance(bits, Mapping) else [bits]
    return ", ".join(map(str, widths)) if widths and bits is not None else "32"


def _data_free(chain: nn.Sequential, bits: Bits, per_channel: bool, group: int | None, done: list[str]) -> Parts:
    means = expected_inputs(chain)
    folded = fold_batch_norm(chain)
    even, factors = equalize_with_factors(folded)
    means = {name: mean / factors.get(name, 1) for name, mean in means.items()}
    rounded, formats = round_weights(even, bits, per_channel, group)
    done += ["ranges evened out", f"weights rounded to {_said(bits)} bits"]
    if means:
        rounded = correct_biases(rounded, even, means)
        done.append(f"biases corrected in {', '.join(means)}")
    return rounded, formats, {}


def _calibrated(
    chain: nn.Sequential,
    images: Array,
    bits: Bits,
    activation_bits: int | None,
    per_channel: bool,
    group: int | None,
    done: list[str],
) -> Parts:
    if any(isinstance(layer, nn.BatchNorm2d) for layer in chain):
        anew = reestimate_batch_norm(round_weights(chain, bits, per_channel, group)[0], images)
        for name, layer in vars(anew).items():
            if isinstance(layer, nn.BatchNorm2d):
                setattr(chain, name, layer)
        done.append("batch-norm statistics measured anew")
    folded = fold_batch_norm(chain)
    rounded, formats = round_weights(folded, bits, per_channel, group)
    done.append(f"weights rounded to {_said(bits)} bits")
    corrected = correct_biases(rounded, folded, input_means(folded, images))
    # Of few bits, the errors of several layers add up to more than their means tell, and correcting makes it worse.
    if divergence(corrected, folded, images) < divergence(rounded, folded, images):
        rounded = corrected
        done.append("biases corrected")
    if activation_bits is None:
        return rounded, formats, {}
    activations = calibrate(rounded, images, "min-max" if activation_bits == 8 else "mse", activation_bits)
    last = list(activations)[-1]
    activations |= {last: observe(rounded, images)[last].params(LOGIT_BITS)}
    done.append(f"activations rounded to {activation_bits} bits")
    return rounded, formats, activations


def change_architecture(
    chain: nn.Sequential, images: Array, changes: Sequence[str], seed: int, done: list[str]
) -> nn.Sequential:
    """Return a chain with other layers that computes nearly the same, for training to go on from there.

    Args:
        chain: batch normalisation folded. It stays as it is.
        images: float32 (N, ...), which tell how large activations are.
        changes: of `CHANGES`; "power-of-two" changes no layer.
        seed: of what tells copied filters apart.
        done: gets a line for each change.
    """
    chain = as_sequential(chain, images[:1])
    if "relu6" in changes:
        _limit_to_six_(chain, images)
        done.append("ReLU became ReLU6, and weights such that activations fit")
    if "wider-first-layer" in changes:
        _widen_first_(chain, np.random.default_rng(seed))
        done.append(f"first layer twice as wide ({len(next(iter(weight_layers(chain).values())).weight.data)} filters)")
    if "power-of-two" in changes:
        done.append("scales are powers of two")
    return chain


def _limit_to_six_(chain: nn.Sequential, images: Array) -> None:
    """Put ReLU6 in place of ReLU; divide each layer, and multiply its reader, so that few activations exceed 6."""
    tops = {name: seen.range()[1] for name, seen in observe(chain, images, "percentile").items()}
    carried = 1.0
    for stage in stages(chain):
        layer: Any = stage.layers[0]
        if not stage.rounds:
            continue
        own = tops[stage.name] / 6 if len(stage.layers) == 2 else 1.0
        layer.weight.data[...] *= np.float32(carried / own)
        if layer.bias is not None:
            layer.bias.data[...] /= np.float32(own)
        carried = own
    for name, layer in list(vars(chain).items()):
        if isinstance(layer, nn.ReLU):
            setattr(chain, name, nn.ReLU6())


def _widen_first_(chain: nn.Sequential, rng: np.random.Generator) -> None:
    """Double the first layer: each filter is copied, with 5 % of noise, and what reads it is halved."""
    first, second = list(weight_layers(chain).values())[:2]
    channels = len(first.weight.data)
    for layer, name in ((first, "weight"), (first, "bias")):
        values = getattr(layer, name)
        if values is not None:
            noise = 1 + 0.05 * rng.normal(size=values.shape)
            both = np.concatenate([values.data * noise, values.data * (2 - noise)]).astype(values.dtype)
            setattr(layer, name, Parameter(both))
    w = second.weight.data.reshape(len(second.weight.data), channels, -1)
    wide = np.concatenate([w, w], axis=1) / np.float32(2)
    shape = second.weight.shape
    second.weight = Parameter(wide.reshape(shape[0], 2 * shape[1], *shape[2:]))
    if isinstance(first, nn.Conv2d):
        first.out_channels *= 2
    else:
        first.out_features *= 2
    if isinstance(second, nn.Conv2d):
        second.in_channels *= 2
    else:
        second.in_features *= 2


def levels_table(rows: Sequence[tuple[QuantizedModel, float]]) -> str:
    """Lay out what each level needs and gives.

    Args:
        rows: models with their accuracies in percent.

    Example:
        >>> from minigrad.compression.models import trained_lenet
        >>> model = quantize_model(trained_lenet(), level=1)
        >>> levels_table([(model, 98.0)]).splitlines()[0].split("  ")[0]
        'level'
    """
    cells = [["level", "data", "backpropagation", "seconds", "accuracy %", "bytes"]]
    for model, accuracy in rows:
        data, backpropagation = NEEDS[model.level]
        cells.append(
            [str(model.level), data, "yes" if backpropagation else "no", f"{model.seconds:.1f}", f"{accuracy:.2f}",
             f"{model.nbytes:,}"]
        )  # fmt: skip
    return align(cells)
