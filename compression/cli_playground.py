"""The command `playground`: a web page on which one draws digits and watches a float, a pruned and an integer model."""

import webbrowser
from pathlib import Path

import click
import numpy as np

from minigrad.checkpoint import write_atomically
from minigrad.datasets import mnist

from .cli_base import check_output, data_option, load_images, load_lenet
from .cli_integer import CALIBRATION
from .export import to_html
from .integer import PROFILES
from .models import LeNet
from .pruning import ARTICLE_SPARSITY, SparsePruner, model_sparsity
from .quantization import quantize_model


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option("--pruned", type=click.Path(path_type=Path),
              help="Pruned checkpoint, such as runs/demo/fine-tuned.safetensors. Default: CHECKPOINT is pruned and not "
              "fine-tuned.")  # fmt: skip
@click.option("--profile", type=click.Choice(PROFILES), default="tflite", show_default=True,
              help="How the integer model rounds sums.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("playground.html"), show_default=True,
              help="Page to write.")  # fmt: skip
@click.option("--open/--no-open", "open_", default=True, show_default=True, help="Open it in the browser.")
@data_option
def playground(
    checkpoint: Path | None, pruned: Path | None, profile: str, out: Path, open_: bool, data: Path | None
) -> None:
    """Write a web page on which a LeNet runs in float, pruned and in 8-bit integers, on digits drawn there.

    One file, which needs no network. CHECKPOINT: the trained LeNet that comes with the package, unless another is named.
    """
    check_output(out)
    model, _ = load_lenet(checkpoint)
    sparse, said = pruned_model(model, pruned)
    training, _ = load_images(data, hold_out=True)
    integer = quantize_model(model, 2, calibration=training.images[:CALIBRATION]).integer(profile)
    test = mnist("test", data)
    first = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)]
    about = f'{said} The int8 model was made of the float model by measuring ranges; its profile is "{profile}".'
    page = to_html(integer, model, sparse, samples=test.pixels[first], labels=test.labels[first], about=about)
    content = page.encode()
    write_atomically(out, content)
    click.echo(f"{said}\nWritten to {out}: {len(content):,} B.")
    if open_ and not webbrowser.open(out.resolve().as_uri()):
        click.echo("No browser was found; open the file in one.")


def pruned_model(model: LeNet, path: Path | None) -> tuple[LeNet, str]:
    """Return the pruned model of a checkpoint, or of none: `model`, pruned by the article's rates; and a sentence about it."""
    if path is not None:
        sparse = load_lenet(path)[0]
        return sparse, f"The pruned model was read from {path.name}; {_zeros(sparse)}."
    sparse = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    return sparse, f"The pruned model was pruned at the article's rates and not fine-tuned; {_zeros(sparse)}."


def _zeros(model: LeNet) -> str:
    return f"{100 * model_sparsity(model):.1f} % of its parameters are zero"
