"""Commands about structure: `shrink`, `scan`, `structure`."""

from pathlib import Path
from typing import Any, Literal

import click
import numpy as np

import minigrad
from minigrad.checkpoint import save_checkpoint

from . import structure_study
from .cli_base import (
    carry_out,
    check_output,
    checkpoint_argument,
    data_option,
    executor_option,
    load_images,
    load_lenet,
    make_folder,
    note_if_seen,
    out_option,
    seeds_option,
    sweep_options,
)
from .demo import evaluation_loader
from .executors import open_executor
from .figures import plot_sensitivity, plot_stability
from .models import LeNet, lenet_widths
from .pruning import (
    ARTICLE_SPARSITY,
    SensitivityScan,
    SparsePruner,
    allocate_sparsity,
    prune_channels,
    sensitivity_scan,
    shrink,
    stability_scan,
)
from .report import align, write_report
from .sparse import weight_bytes
from .sparse.timing import describe_machine

STABILITY_IMAGES = 1_000


@click.command("shrink")
@checkpoint_argument
@click.option("--rate", "rates", multiple=True, metavar="[LAYER=]SHARE",
              help="Share of the filters and neurons to take out: of every layer's, such as 0.5, or of one's, such as "
              "conv2=0.25; repeatable.")  # fmt: skip
@click.option("--keep", "counts", multiple=True, metavar="LAYER=COUNT",
              help="How many filters or neurons of a layer stay, such as conv1=3; repeatable.")  # fmt: skip
@click.option("--norm", type=click.Choice(["l1", "l2"]), default="l1", show_default=True,
              help="Which goes: the one with the smallest sum of magnitudes, or of squares.")  # fmt: skip
@click.option("--by", type=click.Choice(["incoming", "outgoing"]), default="incoming", show_default=True,
              help="Whose norm: of the weights that make a channel, or of those that read it.")  # fmt: skip
@out_option
def shrink_command(
    checkpoint: Path, out: Path, rates: tuple[str, ...], counts: tuple[str, ...], norm: str, by: Any
) -> None:
    """Take whole filters and neurons out of a checkpoint: a smaller, faster model of dense layers.

    Without --rate and --keep, only what is dead already goes: filters and neurons that earlier pruning left without
    connections, so that the outputs stay. `minigrad finetune` trains the result on.
    """
    model, metadata = load_lenet(checkpoint)
    asked = _rates(rates, counts, model)
    ord: Literal[1, 2] = 1 if norm == "l1" else 2
    small = shrink(prune_channels(model, asked, ord=ord, by=by) if asked else model)
    save_checkpoint(check_output(out), small, **metadata)
    rows = [["", "widths", "parameters", "multiply-accumulates an image", "bytes of the weights"]]
    for words, lenet in (("before", model), ("after", small)):
        cost = minigrad.summary(lenet, (1, 1, 28, 28))
        widths = "-".join(map(str, lenet_widths(lenet.state_dict())))
        rows.append([words, widths, f"{cost.parameters:,}", f"{cost.macs:,}", f"{weight_bytes(lenet)['dense']:,}"])
    click.echo(f"{align(rows)}\nWritten to {out}.")


def _rates(rates: tuple[str, ...], counts: tuple[str, ...], model: LeNet) -> dict[str, float]:
    """Return layer → share of its channels to remove; the last layer's outputs are the classes, and stay."""
    names: list[str] = ["conv1", "conv2", "fc1", "fc2"]
    widths = dict(zip(names, lenet_widths(model.state_dict()), strict=True))
    chosen: dict[str, float] = {}
    for text in sorted(rates, key=lambda text: "=" in text):  # the share for all first, so that one's own replaces it
        name, _, share = text.rpartition("=")
        value = _number(text, share, "--rate", "a share such as 0.5, or LAYER=SHARE such as conv2=0.25")
        chosen |= {name: value} if name else dict.fromkeys(widths, value)
    for text in counts:
        name, _, count = text.rpartition("=")
        value = _number(text, count, "--keep", "LAYER=COUNT, such as conv1=3")
        if name in widths and not (value.is_integer() and 1 <= value <= widths[name]):
            raise click.BadParameter(f"{text}: expected 1 to {widths[name]}, whole", param_hint="--keep")
        chosen[name] = 1 - value / widths.get(name, 1)
    if unknown := chosen.keys() - widths.keys():
        raise click.BadParameter(
            f"there is no layer {min(unknown)!r} to narrow; there are {', '.join(widths)}",
            param_hint="--rate or --keep",
        )
    return chosen


def _number(text: str, number: str, option: str, expected: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not {expected}", param_hint=option) from None


@click.command()
@checkpoint_argument
@click.option("--budget", type=click.FloatRange(0, 1), help="Share of all weights to remove. Default: the article's.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/scan"), show_default=True,
              help="Folder for scan.json, sensitivity.png and stability.png.")  # fmt: skip
@executor_option
@data_option
def scan(checkpoint: Path, budget: float | None, out: Path, executor: str, data: Path | None) -> None:
    """Ask each layer how much pruning it bears, and the whole model how much noise.

    Each layer is pruned by itself, and measured on the 5,000 held-out training images. From this a sparsity is chosen for
    each, as `minigrad prune` takes it. Then noise is put on inputs and on weights of the model as it is, and of the one
    that was pruned so.
    """
    model, metadata = load_lenet(checkpoint)
    _, held_out = load_images(data, hold_out=True)
    note_if_seen(metadata)
    make_folder(out)
    with open_executor(executor) as pool:
        found = sensitivity_scan(model, evaluation_loader(held_out), executor=pool)
    allocation = allocate_sparsity(found, _article_share(found) if budget is None else budget)
    pruned = SparsePruner(model, allocation, ties="exact").prune(model)
    images = held_out.images[:STABILITY_IMAGES]
    stability = {"as it is": stability_scan(model, images), "pruned": stability_scan(pruned, images)}
    plot_sensitivity(found, allocation).savefig(out / "sensitivity.png", dpi=120)
    plot_stability(stability).savefig(out / "stability.png", dpi=120)
    write_report(
        out / "scan.json",
        {
            "machine": describe_machine(),
            "sensitivity": _as_json(found),
            "allocation": allocation,
            "stability": {name: _as_json(result) for name, result in stability.items()},
        },
    )
    click.echo(_table(found))
    click.echo("\nTo remove as much with the least damage:")
    click.echo("  " + " ".join(f"--sparsity {name}={share:.6f}" for name, share in allocation.items()))
    click.echo(f"Written to {out}: scan.json, sensitivity.png, stability.png.")


def _article_share(found: SensitivityScan) -> float:
    """Return the share of all weights that the article removes."""
    gone = sum(round(size * ARTICLE_SPARSITY[name]) for name, size in found.sizes.items())
    return gone / sum(found.sizes.values())


def _as_json(found: Any) -> dict[str, Any]:
    """Return a scan's fields, arrays as lists."""
    return {
        field: {name: np.asarray(v).tolist() for name, v in value.items()}
        if isinstance(value, dict)
        else np.asarray(value).tolist()
        for field, value in vars(found).items()
    }


def _table(found: SensitivityScan) -> str:
    rows = [["accuracy (%), share removed:", *(f"{share:g}" for share in found.sparsities)]]
    return align([*rows, *([name, *(f"{a:.2f}" for a in line)] for name, line in found.accuracy.items())])


@click.command()
@seeds_option("Models to train")
@click.option("--quick", is_flag=True, help="A first look: few images, few shares.")
@sweep_options("structure")
def structure(**asked: Any) -> None:
    """Compare structured with unstructured pruning: accuracy over milliseconds and over bytes, on this machine."""
    click.echo(carry_out(structure_study.EXPERIMENT, **asked))
