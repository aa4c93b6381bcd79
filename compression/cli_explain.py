"""The command `explain`: which parts of a digit a model looks at, and whether its compressed forms look at the same."""

from pathlib import Path

import click
from tqdm import tqdm

import minigrad
from minigrad.datasets import mnist

from .cli_base import Sentence, data_option, load_lenet, make_folder
from .cli_integer import as_rounded
from .cli_playground import pruned_model
from .explain import check_packages
from .explain_study import Study, as_table, as_words, explain_models, plot_agreement, plot_maps, report
from .models import LeNet
from .report import write_report


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option("--pruned", type=click.Path(path_type=Path),
              help="Pruned checkpoint, such as runs/demo/fine-tuned.safetensors. Default: CHECKPOINT is pruned and not "
              "fine-tuned.")  # fmt: skip
@click.option("--images", type=click.IntRange(2), default=Study.images, show_default=True,
              help="Test images to explain.")  # fmt: skip
@click.option("--samples", type=click.IntRange(50), default=Study.samples, show_default=True,
              help="Images with parts hidden that each explanation tries.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=Study.seed, show_default=True,
              help="Of the choice of images, of all draws and of the untrained model.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/explain"), show_default=True,
              help="Folder for explain.json, explain.png and explain_agreement.png.")  # fmt: skip
@data_option
def explain(
    checkpoint: Path | None, pruned: Path | None, images: int, samples: int, seed: int, out: Path, data: Path | None
) -> None:
    """Explain digits by LIME and SHAP: a LeNet in float, pruned, in 8-bit integers and untrained; do they agree?

    CHECKPOINT: the trained LeNet that comes with the package, unless another is named. Needs the extra `explain`.
    """
    try:
        check_packages()
    except ImportError as error:
        raise Sentence(str(error)) from None
    model, _ = load_lenet(checkpoint)
    sparse, said = pruned_model(model, pruned)
    integer = as_rounded(model, data).integer()
    minigrad.manual_seed(seed)
    models = {"dense": model, "pruned": sparse, "int8": integer, "untrained": LeNet()}
    make_folder(out)
    with tqdm(total=images, unit=" images", disable=None, leave=False) as bar:
        found = explain_models(Study(images, samples, seed), models, mnist("test", data), bar.update)
    result = {"about": said, **report(Study(images, samples, seed), found)}
    write_report(out / "explain.json", result)
    plot_maps(found, ["dense", "pruned", "int8"]).savefig(out / "explain.png", dpi=120)
    plot_agreement(result).savefig(out / "explain_agreement.png", dpi=120)
    click.echo(f"{said}\n\n{as_table(result)}\n\n{as_words(result)}")
    click.echo(f"Written to {out}: explain.json, explain.png, explain_agreement.png.")
