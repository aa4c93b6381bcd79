"""Commands about integer models: `to-integer`."""

from pathlib import Path

import click
import numpy as np

from minigrad import DataLoader

from .cli_base import check_output, checkpoint_argument, data_option, load_images, load_lenet, out_option
from .integer import PROFILES, FileBytes, IntegerModel, LayerBytes
from .models import LeNet
from .quantization import quantize_model
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
    model, metadata = load_lenet(checkpoint)
    check_output(out)
    training, _ = load_images(data, hold_out=True)
    training = training.subset(np.arange(len(training))[:images])
    loader = DataLoader(training.images, training.labels, 64, shuffle=True, seed=0)
    quantized = quantize_model(
        model, 3 if epochs else 2, calibration=training.images[:CALIBRATION], training=loader, bits=bits,
        epochs=max(epochs, 1), learned=1 < bits < 8,
    )  # fmt: skip
    integer = quantized.integer(profile)
    said = integer.save(out, **{key: value for key, value in metadata.items() if key != "architecture"})
    click.echo(f"{'; '.join(quantized.done)}\n\n{describe_bytes(said.layers)}\n")
    click.echo(f"{count_zeros(model, integer)}\n")
    weights = 4 * sum(row.weights for row in said.layers)
    click.echo(
        f"layers {sum(row.total for row in said.layers):,} B, scale of the pixels {said.input} B, header {said.header:,} B: "
        f"{said.total:,} B (float weights: {weights:,} B, {weights / value_bytes(said):.2f} times what they take now). "
        f"Written to {out}."
    )


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


def count_zeros(model: LeNet, integer: IntegerModel) -> str:
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
