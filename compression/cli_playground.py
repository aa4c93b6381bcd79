"""The command `playground`: a web page on which one draws digits and watches a float, a pruned and an integer model."""

import webbrowser
from pathlib import Path

import click
import numpy as np

from minigrad import nn
from minigrad.checkpoint import write_atomically
from minigrad.datasets import mnist

from .cli_base import account, check_output, data_option, load_network
from .cli_integer import as_rounded
from .export import to_html
from .integer import PROFILES
from .pruning import ARTICLE_SPARSITY, SparsePruner, model_sparsity


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
    model, _ = load_network(checkpoint)
    click.echo(write_page(out, model, pruned, profile, data))
    if open_ and not webbrowser.open(out.resolve().as_uri()):
        click.echo("No browser was found; open the file in one.")


def write_page(out: Path, model: nn.Module, pruned: Path | None, profile: str, data: Path | None) -> str:
    """Write the page of a float model, and say what is on it and what its bytes are for.

    Args:
        out: the file.
        model: a chain for 28×28 images.
        pruned: checkpoint of the pruned model; None: `model` is pruned.
        profile: how the integer model rounds sums.
        data: folder of the dataset.
    """
    sparse, said = pruned_model(model, pruned)
    integer = as_rounded(model, data).integer(profile)
    test = mnist("test", data)
    first = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)]
    about = f'{said} The int8 model was made of the float model by measuring ranges; its profile is "{profile}".'
    page = to_html(integer, model, sparse, samples=test.pixels[first], labels=test.labels[first], about=about)
    content = page.encode()
    write_atomically(out, content)
    models = len(page.partition('id="data">')[2].partition("</script>")[0].encode())
    return f"{said}\n{account({'models and samples': models, 'all else on the page': len(content) - models}, out)}"


def pruned_model(model: nn.Module, path: Path | None) -> tuple[nn.Module, str]:
    """Return the pruned model of a checkpoint, or of none: `model`, pruned by the article's rates; and a sentence about it."""
    if path is not None:
        sparse = load_network(path)[0]
        return sparse, f"The pruned model was read from {path.name}; {_zeros(sparse)}."
    if model_sparsity(model) > 0:
        return model, f"The model is pruned already, and is shown twice; {_zeros(model)}."
    known = dict(model.named_parameters())
    sparse = SparsePruner(model, {name: rate for name, rate in ARTICLE_SPARSITY.items() if name in known}).prune(model)
    return sparse, f"The pruned model was pruned at the article's rates and not fine-tuned; {_zeros(sparse)}."


def _zeros(model: nn.Module) -> str:
    return f"{100 * model_sparsity(model):.1f} % of its parameters are zero"
