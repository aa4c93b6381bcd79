"""The command `compress`."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from minigrad.checkpoint import save_checkpoint
from minigrad.datasets import mnist
from minigrad.nn import Module

from . import compress_job, search
from .cli_base import HELD_OUT, Stopped, data_option, load_images, load_network, make_folder, note_if_seen, sweeping
from .demo import Recipe, train_lenet

UNITS = {"": 1, "b": 1, "kb": 1_000, "kib": 1_024, "mb": 1_000_000, "mib": 1_048_576}
"""Of sizes, in bytes."""


class Quantity(click.ParamType):
    """A number with a unit.

    Args:
        name: for the help.
        parse: number and unit (in small letters) → value; None: not that kind of thing.
        expected: in words, for the error.
    """

    def __init__(self, name: str, parse: Callable[[float, str], Any], expected: str):
        self.name, self.parse, self.expected = name, parse, expected

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value, or fail with a sentence."""
        parts = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z%]*)\s*", str(value).lower())
        found = parts and self.parse(float(parts[1]), parts[2])
        return found if found else self.fail(f"{value!r} is not {self.expected}", param, ctx)


SIZE = Quantity(
    "size",
    lambda number, unit: int(number * UNITS[unit]) if unit in UNITS else None,
    "a size such as 8KB (8,000 bytes), 8KiB (8,192 bytes) or 8192",
)
PERCENT = Quantity(
    "percent",
    lambda number, unit: number if unit in ("", "%") and 1 < number <= 100 else None,
    "an accuracy in percent, such as 98.3",
)
MILLISECONDS = Quantity(
    "ms",
    lambda number, unit: number * {"ms": 1, "": 1, "s": 1000, "us": 0.001}.get(unit, 0),
    "a time in milliseconds, such as 0.3 or 0.3ms",
)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--budget", type=SIZE, required=True, help="The file, at most: 8KB are 8,000 bytes, 8KiB 8,192.")
@click.option("--min-accuracy", type=PERCENT, required=True, help="Percent of images that are read, at least.")
@click.option("--max-latency", type=MILLISECONDS, help="Milliseconds on this machine, at most.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images timed at once.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@click.option("--quick", is_flag=True, help="A first look: one route, few steps on it.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/compress"), show_default=True,
              help="Folder of the search: what is there is not computed again, whatever the wishes.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path),
              help="Folder for compress.mgz, compress.json and compress.png (default: that of --runs).")  # fmt: skip
@data_option
def compress(
    checkpoint: Path | None, budget: int, min_accuracy: float, max_latency: float | None, batch_size: int, seed: int,
    quick: bool, runs: Path, out: Path | None, data: Path | None,
) -> None:  # fmt: skip
    """Search for a .mgz file that is small, accurate and fast enough, and say what it was traded for.

    Takes LeNet and what `minigrad repro` trains; without CHECKPOINT, a LeNet is trained first, as by `train --hold-out`.
    Filters and neurons are taken out, weights pruned, models taught by the one they come from, weights stored by codebooks
    or as integers. Every file is written and measured on the 5,000 held-out training images. Of those that are small and fast
    enough the most accurate is chosen, if --min-accuracy lies below the held-out accuracy's interval (95 %, one-sided). It
    reads the test images in the end.

    About five minutes for LeNet on two cores. A search that was interrupted goes on; one that is done answers other wishes at
    once.
    """
    folder = make_folder(runs / "quick" if quick else runs)
    out = make_folder(out or folder)
    training, held_out = load_images(data, hold_out=True)
    images = compress_job.Images(training, held_out, mnist("test", data))
    wishes = search.Wishes(budget, min_accuracy, max_latency)
    plan = replace(search.QUICK if quick else search.Plan(), seed=seed)
    with sweeping(folder, "serial"):
        model = _fresh(folder, training, seed) if checkpoint is None else _given(checkpoint)
        problem = compress_job.run(model, wishes, plan, images, folder, out, _say, batch_size)
    written = ["compress.json", "compress.png"]
    if (out / "compress.mgz").exists():
        written.insert(0, "compress.mgz")
    click.echo(f"\nWritten to {out}: {', '.join(written)}.")
    if problem:
        raise Stopped(f"compress: {problem}")


def _say(line: str) -> None:
    with tqdm.external_write_mode():  # the bar steps aside
        click.echo(line)


def _given(checkpoint: Path) -> Module:
    model, metadata = load_network(checkpoint)
    note_if_seen(metadata)
    return model


def _fresh(folder: Path, training: Any, seed: int) -> Module:
    """Return a LeNet trained as `minigrad train --hold-out` does; it is kept, as fresh.safetensors."""
    file = folder / "fresh.safetensors"
    if not file.is_file():
        recipe = Recipe(seed=seed)
        click.echo(f"training a LeNet: {recipe.epochs} epochs, seed {seed}")
        model = train_lenet(training, recipe)
        save_checkpoint(file, model, seed=seed, epoch=recipe.epochs, **{HELD_OUT: True})
    return load_network(file)[0]
