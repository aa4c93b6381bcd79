"""The command `import`: weights that were trained in PyTorch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from minigrad import nn, save_checkpoint
from minigrad.datasets import MEAN, STD

from .cli_base import NETWORKS, account, check_output, out_option
from .export import compare, from_pytorch, read_pytorch, suggest
from .export.pytorch import Row, TorchArray, by, shown
from .models import LeNet, lenet_widths
from .report import align

CONVERTED = {"F64": "float64 is rounded", "F16": "float16 is exact", "BF16": "bfloat16 is exact"}
"""What becomes of other floats than float32."""


@click.command("import")
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--model", default="LeNet", show_default=True, type=click.Choice(list(NETWORKS), case_sensitive=False),
              help="Whose weights they are.")  # fmt: skip
@click.option("--map", "maps", multiple=True, metavar="THEIRS=OURS",
              help="A layer or array that is called otherwise there, such as features.0=conv1; once for each.")  # fmt: skip
@out_option
def import_command(weights: Path, out: Path, model: str, maps: tuple[str, ...]) -> None:
    """Take the weights of a LeNet from PyTorch: a safetensors file, checked name by name. `minigrad evaluate` runs it.

    `minigrad export --format pytorch` is the way back. Pickles (.pt, .pth) can run code and are never opened.
    """
    check_output(out)
    found = read_pytorch(weights, _names(maps))
    network = _network(model, found)
    rows = compare(network, found)
    click.echo(f"{_table(rows)}\n")
    if hint := suggest(rows):
        options = " ".join(f"--map {theirs}={ours}" for theirs, ours in hint.items())
        click.echo(f"Note: by their shapes alone, these would fit: {shown(options, 400)}", err=True)
    made = from_pytorch(network, found)
    for dtype in sorted({row.found.dtype for row in rows if row.found} & CONVERTED.keys()):
        click.echo(f"Note: the model computes in float32; {CONVERTED[dtype]} there.", err=True)
    save_checkpoint(out, made, imported=shown(weights.name))
    click.echo(f"Images must be normalised as in training here: (pixel / 255 - {MEAN}) / {STD}.")
    size = 4 * sum(array.size for array in made.state_dict().values())
    click.echo(account({"weights": size, "header": out.stat().st_size - size}, out))


def _names(maps: Sequence[str]) -> dict[str, str]:
    """Return {theirs: ours} of texts THEIRS=OURS."""
    pairs = [text.partition("=") for text in maps]
    for theirs, equals, _ in pairs:
        if not equals or not theirs:
            raise click.UsageError(f"--map {theirs}{equals}: expected THEIRS=OURS, such as features.0=conv1")
    names = {theirs: ours for theirs, _, ours in pairs}
    if len(names) < len(pairs):
        raise click.UsageError("--map names one of theirs twice")
    return names


def _network(name: str, found: Mapping[str, TorchArray]) -> nn.Module:
    """Return a network of that name; a LeNet is as wide as the arrays are, if they fit together."""
    if name != "LeNet":
        return NETWORKS[name]()
    # An array without elements can claim any width, and none is behind it.
    filled = {key: array.values for key, array in found.items() if array.values is not None and array.values.size}
    return LeNet(widths=lenet_widths(filled))


def _table(rows: Sequence[Row]) -> str:
    cells = [["name", "theirs", "dtype", "found", "expected", "verdict"]]
    for row in rows:
        theirs = [shown(row.found.name), row.found.dtype, by(row.found.shape)] if row.found else ["", "", ""]
        expected = "" if row.expected is None else by(row.expected)
        cells.append([shown(row.name), *theirs, expected, row.problem.partition(":")[0] or "fits"])
    return align(cells)
