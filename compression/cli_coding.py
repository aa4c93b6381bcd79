"""Commands about .mgz files: `pack`, `inspect`."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from minigrad import nn

from .cli_base import account, check_output, checkpoint_argument, load_network
from .coding import Container, Storage, account_table, energy_table, layer_table, read_mgz, save_mgz
from .sparse.convert import CONVERTERS


@click.command()
@checkpoint_argument
@click.option("--way", type=click.Choice(["codebook", "integer", "float"]), default="codebook", show_default=True,
              help="How weights are stored.")  # fmt: skip
@click.option("--conv-bits", type=int, help="Of a value in convolutions. Default: 8; float: 32.")
@click.option("--fc-bits", type=int, help="Of a value in linear layers. Default: codebook 5, integer 8, float 32.")
@click.option("--index-bits", type=click.IntRange(0, 8), help="Of a codebook's index. Default: what is smallest.")
@click.option("--float-bits", type=click.Choice(["16", "32"]), default="32", show_default=True,
              help="Of biases and centroids.")  # fmt: skip
@click.option("--no-huffman", is_flag=True, help="Store values and indices in one width each.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, usually *.mgz.")
def pack(
    checkpoint: Path, out: Path, way: str, conv_bits: int | None, fc_bits: int | None, index_bits: int | None,
    float_bits: str, no_huffman: bool,
) -> None:  # fmt: skip
    """Write a pruned checkpoint as a .mgz file, as small as Deep Compression's. `minigrad evaluate` runs it.

    Takes LeNet and what `minigrad repro` trains. Nothing is pruned: what is not zero is kept.
    """
    model, _ = load_network(checkpoint)
    check_output(out)
    bits = {nn.Conv2d: conv_bits, nn.Linear: fc_bits}
    storage = {
        name: Storage(way, bits[type(layer)], index_bits if way == "codebook" else None)  # pyright: ignore[reportArgumentType]
        for name, layer in model.named_modules()
        if type(layer) in CONVERTERS
    }
    click.echo(write_mgz(out, model, storage, float_bits=int(float_bits), huffman=not no_huffman))


def write_mgz(out: Path, model: nn.Module, storage: Mapping[str, Storage] | None = None, **settings: Any) -> str:
    """Write a .mgz file and say what is in it, layer by layer, and what its bytes are for."""
    container = save_mgz(out, model, storage, **settings)
    parts = Counter[str]()
    for (_, part), count in container.account.items():
        parts[part] += count
    return f"{layer_table(container)}\n\n{describe_size(container)}\n{account(parts, out)}"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def inspect(file: Path) -> None:
    """Show what is in a .mgz file, layer by layer and byte by byte, and what an image costs in energy."""
    container = read_mgz(file)
    named, size = sum(container.account.values()), file.stat().st_size
    if named != size:
        raise RuntimeError(f"inspect: {named:,} bytes of {file} are named, and it has {size:,}")
    click.echo(f"{layer_table(container)}\n\n{account_table(container)}\n\n{describe_size(container)}\n")
    click.echo(energy_table(container))
    click.echo(
        "45 nm (Horowitz 2014): multiply 3.7 pJ, add 0.9 pJ; 32 bits from on-chip memory 5 pJ, from main memory 640 pJ.\n"
        "Each weight is fetched once an image; activations are on chip; what decoding costs is not counted."
    )
    if container.metadata:
        click.echo(f"\nIt says of itself: {container.metadata}")


def describe_size(container: Container) -> str:
    """Say how large a file is, and how large its parameters are as float32."""
    layers = [layer for layer in container.layers if layer.weight is not None]
    count = sum(layer.weight.size + (0 if layer.bias is None else layer.bias.size) for layer in layers if layer.weight)
    return (
        f"Every byte is named: {sum(container.account.values()):,} B = size of the file. {count:,} parameters in float32 take "
        f"{4 * count:,} B: {4 * count / container.size:.1f} times as much."
    )
