"""Commands about integer models: `to-integer`."""

from pathlib import Path

import click
import numpy as np

from minigrad import DataLoader, nn

from .cli_base import account, check_output, checkpoint_argument, data_option, load_images, load_network, out_option
from .integer import PROFILES, FileBytes, IntegerModel, LayerBytes
from .quantization import QuantizedModel, quantize_model
from .report import align

CALIBRATION = 500
"""Training images on which ranges are measured."""


@click.command("to-integer")
@checkpoint_argument
@click.option("--bits", type=click.IntRange(1, 8), default=8, show_default=True, help="Of the weights.")
@click.option("--epochs", type=click.IntRange(0), default=0, show_default=True,
              help="Of quantization-aware training; 0 only measures ranges.")  # fmt: skip
@click.option("--images", type=click.IntRange(1), help="To train on (default: all but those held out).")
@click.option(
    "--profile", type=click.Choice(PROFILES), default="tflite", show_default=True, help="How sums are rounded."
)
@out_option
@data_option
def to_integer(
    checkpoint: Path, out: Path, data: Path | None, bits: int, epochs: int, images: int | None, profile: str
) -> None:
    """Write a trained LeNet as integers, zeros left out, and account for every byte. `minigrad evaluate` runs it.

    Weights that were pruned are integer 0, also after training.
    """
    model, metadata = load_network(checkpoint)
    check_output(out)
    quantized = as_rounded(model, data, bits, epochs, images)
    integer = quantized.integer(profile)
    said = integer.save(out, **{key: value for key, value in metadata.items() if key != "architecture"})
    click.echo(f"{'; '.join(quantized.done)}\n\n{describe_bytes(said.layers)}\n")
    click.echo(f"{count_zeros(model, integer)}\n")
    weights = 4 * sum(row.weights for row in said.layers)
    click.echo(f"Float weights: {weights:,} B, {weights / value_bytes(said):.2f} times what they take now.")
    layers = sum(row.total for row in said.layers)
    click.echo(account({"layers": layers, "scale of the pixels": said.input, "header": said.header}, out))


def as_rounded(
    model: nn.Module, data: Path | None, bits: int = 8, epochs: int = 0, images: int | None = None
) -> QuantizedModel:
    """Return a model whose ranges were measured on training images that are not held out, or that was trained on them.

    Args:
        model: it stays as it is.
        data: folder of the dataset.
        bits: of the weights.
        epochs: of quantization-aware training.
        images: how many there are to train on; None: all.
    """
    training, _ = load_images(data, hold_out=True)
    training = training.subset(slice(images))
    calibration = training.subset(slice(CALIBRATION)).images
    if not epochs:
        return quantize_model(model, 2, calibration=calibration, bits=bits)
    loader = DataLoader(training.images, training.labels, 64, shuffle=True, seed=0)
    learned = 1 < bits < 8
    return quantize_model(model, 3, calibration=calibration, training=loader, bits=bits, epochs=epochs, learned=learned)


def value_bytes(said: FileBytes) -> int:
    """Return the bytes of the weights themselves: values and masks."""
    return sum(row.values + row.mask for row in said.layers)


def describe_bytes(layers: list[LayerBytes]) -> str:
    """Lay out what each layer takes as text."""
    rows = [
        ["layer", "weights", "zeros %", "bits", "values B", "mask B", "biases B", "multipliers B", "scales B", "all B"]
    ]
    for row in layers:
        bytes_ = (row.values, row.mask, row.biases, row.multipliers, row.scales, row.total)
        share = 100 * row.zeros / row.weights
        rows.append([row.layer, f"{row.weights:,}", f"{share:.1f}", str(row.bits), *(f"{n:,}" for n in bytes_)])
    return align(rows)


def count_zeros(model: nn.Module, integer: IntegerModel) -> str:
    """Say how many weights are zero in the float model, and in its integers.

    Raises:
        RuntimeError: a weight that is zero in the model is not zero in integers.
    """
    before = after = 0
    for layer in integer.layers:
        if (weight := getattr(layer, "weight", None)) is not None:
            gone = getattr(model, layer.name).weight.data == 0
            if back := np.count_nonzero(weight[gone]):
                raise RuntimeError(f"to-integer: {back} weights of {layer.name} were zero and are not any more")
            before, after = before + int(gone.sum()), after + int((weight == 0).sum())
    return f"{before:,} weights were zero, and all of them are integer 0; of the others {after - before:,} round to it."
