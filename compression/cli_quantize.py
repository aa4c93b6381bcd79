"""Commands about quantization: `quantize`, `observers`, `bits`, `quantized-accuracy`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from . import accuracy_study, bits_study, quantize_job
from .cli_base import carry_out, data_option, load_images, load_lenet, make_folder, note_if_seen, sweep_options
from .models import LENET_CHECKPOINT, as_sequential
from .quantization import stage_outputs
from .quantization.plots import plot_observers

checkpoint_argument = click.argument("checkpoint", type=click.Path(path_type=Path), default=LENET_CHECKPOINT)
results_option = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder for the report."
)


@click.command()
@checkpoint_argument
@click.option("--bits", type=click.IntRange(1, 8), default=8, show_default=True, help="Of the weights.")
@click.option("--activation-bits", type=click.IntRange(1, 8), default=8, show_default=True, help="Of the activations.")
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True, help="Of quantization-aware training.")
@click.option("--images", type=click.IntRange(1), help="To train on (default: all but those held out).")
@click.option("--distill", "distilled", is_flag=True, help="Let the float model teach the one that is trained.")
@click.option(
    "--image", type=click.IntRange(0), help="Number of a held-out image: say which layer changed what is read."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@results_option
@data_option
def quantize(
    checkpoint: Path, bits: int, activation_bits: int, epochs: int, images: int | None, distilled: bool,
    image: int | None, seed: int, out: Path, data: Path | None,
) -> None:  # fmt: skip
    """Quantize a trained LeNet by the article's four levels, and tell where the loss comes from.

    Trains with rounded numbers, converts to integers, switches each source of noise on alone, names the layer that flipped
    an image, and chooses bits for each layer under a budget. All figures are of held-out images.
    """
    model, metadata = load_lenet(checkpoint)
    note_if_seen(metadata)
    settings = quantize_job.Settings(
        bits, activation_bits, epochs, images=images, image=image, distilled=distilled, seed=seed
    )
    training, held_out = load_images(data, hold_out=True)
    if image is not None and image >= len(held_out):
        raise click.BadParameter(f"{image} is not below {len(held_out):,}, how many are held out", param_hint="--image")
    settings = replace(settings, analysed=min(settings.analysed, len(held_out)))
    report = quantize_job.run(model, settings, training, held_out, click.echo)
    click.echo(f"\n{quantize_job.as_text(report)}\n")
    click.echo(f"Written to {make_folder(out)}: {', '.join(quantize_job.write(out, report))}.")


@click.command()
@checkpoint_argument
@click.option("--layer", default="conv2", show_default=True, help="Whose output is drawn.")
@click.option("--images", type=click.IntRange(100), default=1000, show_default=True, help="Training images to run.")
@results_option
@data_option
def observers(checkpoint: Path, layer: str, images: int, out: Path, data: Path | None) -> None:
    """Draw which range each observer chooses for the activations of a layer, at 8 and at 4 bits."""
    model, _ = load_lenet(checkpoint)
    training, _ = load_images(data, hold_out=True)
    x = training.images[:images]
    batches = [
        values for name, values in stage_outputs(as_sequential(model, x[:1]), x, batch_size=100) if name == layer
    ]
    if not batches:
        raise click.BadParameter(f"no convolution or linear layer is called {layer!r}", param_hint="--layer")
    title = f"output of {layer} (after its ReLU) on {len(x):,} training images"
    plot_observers(batches, title=title).savefig(make_folder(out) / "observers.png", dpi=110)
    click.echo(f"Written to {out}: observers.png.")


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="LeNets: seeds 0, 1, ...")
@click.option("--quick", is_flag=True, help="A first look: few widths, few images.")
@sweep_options("bits")
def bits(**asked: Any) -> None:
    """Draw accuracy against the bits of a weight: by tensor, channel and group; calibrated, and trained for it."""
    click.echo(f"\n{carry_out(bits_study.EXPERIMENT, **asked)}")


@click.command("quantized-accuracy")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Models: seeds 0, 1, ...")
@click.option("--quick", is_flag=True, help="A first look: few images, few epochs.")
@sweep_options("quantized-accuracy")
def quantized_accuracy(**asked: Any) -> None:
    """Say what int8, 4-bit weights and a binary LeNet-5 lose on the test images, each beside its float model."""
    click.echo(f"\n{carry_out(accuracy_study.EXPERIMENT, **asked)}")
