"""Commands about sparse storage and products: `sparsify`, `atlas`."""

from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from minigrad import nn
from minigrad.checkpoint import read_checkpoint
from minigrad.datasets import mnist
from minigrad.tensor import Array

from .cli_base import (
    account,
    check_output,
    checkpoint_argument,
    data_option,
    executor_option,
    load_lenet,
    load_network,
    make_folder,
    out_option,
)
from .coding import is_mgz, read_mgz
from .executors import open_executor
from .figures import plot_atlas
from .integer import IntegerModel
from .models import LENET_CHECKPOINT, LENET_WIDTHS, LeNet, trained_lenet
from .pruning import ARTICLE_SPARSITY, SparsePruner
from .quantization import FloatWrapper
from .report import align, write_report
from .sparse import FORMATS, Plan, format_bytes, load_sparse, measure_atlas, plan, save_sparse, to_sparse
from .sparse.atlas import FULL, QUICK, as_table, as_words, check_planner, planner_table
from .sparse.layers import SparseLayer


@click.command()
@checkpoint_argument
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), help="Of all layers. Default: csr.")
@click.option(
    "--plan", "planned", is_flag=True, help="Measure, and make only those layers sparse that get faster by it."
)
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True, help="Images at once, for --plan.")
@out_option
@data_option
def sparsify(checkpoint: Path, out: Path, data: Path | None, format_: str | None, planned: bool, batch: int) -> None:
    """Write a pruned checkpoint as a sparse file, without its zeros. `minigrad evaluate` runs it."""
    if planned and format_:
        raise click.UsageError("--plan and --format exclude each other: a plan names the format of each layer")
    model, metadata = load_lenet(checkpoint)
    check_output(out)
    if planned:
        found = plan(model, mnist("test", data).images[:batch])
        click.echo(f"{found}\n")
        sparse = _apply(found, model)
    else:
        sparse = to_sparse(model, format_ or "csr")
    size = save_sparse(out, sparse, **{name: value for name, value in metadata.items() if name != "architecture"})
    dense = format_bytes(model, "dense")
    click.echo(describe_layers(sparse))
    click.echo(f"\nAll weights, dense: {dense:,} B.")
    click.echo(account({"weights in sparse layers": size.weights, "all else": size.others, "header": size.header}, out))


def _apply(found: Plan, model: nn.Module) -> nn.Module:
    if set(found.choices.values()) == {"dense"}:
        raise ValueError(
            f"sparsify: at batch {found.batch} no layer gets faster by being sparse, so the plan keeps all of them dense; "
            "--format makes the file smaller all the same"
        )
    return found.apply(model)


def describe_layers(model: nn.Module) -> str:
    """Lay out each sparse layer's format, zeros and bytes as text."""
    rows = [["layer", "format", "weight", "zeros %", "values", "bytes"]]
    for name, layer in model.named_modules():
        if isinstance(layer, SparseLayer):
            (m, k), values = layer.matrix.shape, np.count_nonzero(layer.values.data)
            zeros, size = 100 * (1 - values / (m * k)), layer.encoded().nbytes
            rows.append([name, layer.format, f"{m}×{k}", f"{zeros:.1f}", f"{values:,}", f"{size:,}"])
    return align(rows)


def load_any(path: Path | None) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network of a checkpoint, of a sparse or of an integer file, or the model of a .mgz file, and metadata.

    None is the LeNet that comes with the package. An integer model is wrapped, so that it takes and returns floats.
    """
    if path is not None and is_mgz(path):
        container = read_mgz(path)
        return container.model(), container.metadata
    arrays, metadata = read_checkpoint(path or LENET_CHECKPOINT)
    if path is not None and "integer" in metadata:
        return FloatWrapper(IntegerModel.load(path)), metadata
    if path is None or "sparse" not in metadata:
        return load_network(path)
    widths = tuple(np.size(arrays.get(f"{name}.bias", ())) for name in ("conv1", "conv2", "fc1", "fc2"))
    return load_sparse(path, LeNet(widths=widths if all(widths) else LENET_WIDTHS)), metadata


@click.command()
@click.option("--quick", is_flag=True, help="A first look: fewer shapes, batches and sparsities; about 20 seconds.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True,
              help="Folder for atlas.json and atlas.png.")  # fmt: skip
@executor_option
def atlas(quick: bool, out: Path, executor: str) -> None:
    """Measure on this machine from how many zeros on sparse products are faster than dense ones.

    With --executor it is the workers' machines that are measured: they should be alike, and each have one worker.
    """
    make_folder(out)
    grid = QUICK if quick else FULL
    with (
        tqdm(total=len(list(grid)), unit=" points", disable=None, leave=False) as bar,
        open_executor(executor) as pool,
    ):

        def progress(words: str) -> None:
            bar.set_description(words)
            bar.update()

        report = measure_atlas(grid, progress, executor=pool)
    click.echo(f"{as_table(report)}\n")
    click.echo(f"Faster than NumPy's dense product:\n{as_words(report)}\n")
    report["planner"] = check_planner(planner_models(quick))
    for row in report["planner"]:
        click.echo("\n  ".join([f"{row['model']}:", *(f"{layer['reason']}." for layer in row["plan"]["layers"])]))
    click.echo(f"\n{planner_table(report['planner'])}\n")
    write_report(out / "atlas.json", report)
    plot_atlas(report).savefig(out / "atlas.png", dpi=120)
    click.echo(f"Written to {out}: atlas.json, atlas.png.")


def planner_models(quick: bool) -> dict[str, tuple[nn.Module, Array]]:
    """Return what the atlas checks the planner on, by name: the article's pruned LeNet, and single layers; with inputs."""
    rng = np.random.default_rng(0)
    lenet = trained_lenet()
    pruned = SparsePruner(lenet, ARTICLE_SPARSITY).prune(lenet)
    models: dict[str, tuple[nn.Module, Array]] = {
        f"LeNet, batch {batch}": (pruned, rng.normal(size=(batch, 1, 28, 28)).astype(np.float32))
        for batch in ((1, 64) if quick else (1, 64, 256))
    }
    x = rng.normal(size=(64, 1024)).astype(np.float32)
    for sparsity in (0.9,) if quick else (0.5, 0.7, 0.9, 0.99):
        layer = nn.Sequential(nn.Linear(1024, 1024))
        models[f"1024×1024 at {sparsity:g}"] = SparsePruner(layer, {"0.weight": sparsity}).prune(layer), x
    return models
