"""What all commands share: errors as sentences, options, checkpoints in and out."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import minigrad
from minigrad.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from minigrad.datasets import ImageDataset, mnist, split_validation
from minigrad.nn import Module

from .demo import Recipe
from .models import LENET_CHECKPOINT, LeNet, lenet_widths

WRONG_INPUT, STOPPED, INTERRUPTED = 2, 1, 130
"""Exit codes: a file or argument is wrong; training could not go on; Ctrl-C."""


HELD_OUT = "held_out"
"""Metadata of a checkpoint that has not seen the held-out images."""


class Sentence(click.ClickException):
    """An error shown as one sentence, with exit code WRONG_INPUT."""

    exit_code = WRONG_INPUT

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


class Stopped(Sentence):
    """Training could not go on."""

    exit_code = STOPPED


class Interrupted(Sentence):
    """Somebody pressed Ctrl-C."""

    exit_code = INTERRUPTED


class Commands(click.Group):
    """Commands whose expected errors end in one sentence and an exit code instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if ctx.params.get("traceback"):
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except minigrad.NonFiniteLossError as error:
            raise Stopped(str(error)) from None
        except KeyError as error:  # str() of a KeyError is quoted
            raise Sentence(str(error.args[0])) from None
        except (OSError, ValueError) as error:
            raise Sentence(str(error)) from None


class Saver:
    """Saves checkpoints and remembers the last one, for whoever presses Ctrl-C."""

    def __init__(self) -> None:
        self.last: Path | None = None

    def __call__(self, path: Path, model: Module, **metadata: Any) -> None:
        save_checkpoint(path, model, **metadata)
        self.last = path


@contextmanager
def saving() -> Iterator[Saver]:
    """Give a Saver; on Ctrl-C say where the last good checkpoint is."""
    saver = Saver()
    try:
        yield saver
    except KeyboardInterrupt:
        where = f"the last good checkpoint is {saver.last}" if saver.last else "no checkpoint was written yet"
        raise Interrupted(f"interrupted; {where}") from None


def make_folder(path: Path) -> Path:
    """Make a folder, unless it is there, and return its path."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def check_output(path: Path) -> Path:
    """Make sure, before any work is done, that a checkpoint can be written to `path`."""
    make_folder(path.parent)
    if path.is_dir():
        raise IsADirectoryError(f"--out {path}: expected the name of a file, and it is a folder")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"--out {path}: its folder cannot be written to")
    return path


def load_lenet(path: Path | None) -> tuple[LeNet, dict[str, Any]]:
    """Return the LeNet of a checkpoint (None: the one that comes with the package) and its metadata.

    Its widths are those of the file's arrays, so that a LeNet that was shrunk is read as well.
    """
    path = path or LENET_CHECKPOINT
    model = LeNet(widths=lenet_widths(read_checkpoint(path)[0]))
    return model, load_checkpoint(path, model)


def epochs_done(metadata: dict[str, Any]) -> int:
    """Return how many epochs a checkpoint says that it was trained."""
    epoch = metadata.get("epoch", 0)
    return epoch if isinstance(epoch, int) and epoch >= 0 else 0


data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with the four gzipped IDX files (default: MNIST, from the checkout, the cache or the web).",
)
report_option = click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the report (default: results; with --quick runs/quick)."
)
"""--out of studies that have a --quick form: see `study_folders`."""

out_option = click.option("--out", type=click.Path(path_type=Path), required=True, help="Checkpoint to write.")
checkpoint_argument = click.argument("checkpoint", type=click.Path(path_type=Path))


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the article's recipe."""
    recipe = Recipe()
    for name, least, text in (
        ("seed", click.IntRange(0), "Random seed."),
        ("momentum", click.FloatRange(0), "Momentum of SGD."),
        ("lr", click.FloatRange(0), "Learning rate."),
        ("batch_size", click.IntRange(1), "Images a step."),
        ("epochs", click.IntRange(1), "Passes over the training images."),
    ):
        flag = "--" + name.replace("_", "-")
        command = click.option(flag, default=getattr(recipe, name), show_default=True, type=least, help=text)(command)
    return command


def note_if_seen(metadata: dict[str, Any]) -> None:
    """Say on stderr if a checkpoint was trained on the images that are held out."""
    if not metadata.get(HELD_OUT):
        click.echo(
            "Note: this checkpoint was not made by `train --hold-out`: it has seen the held-out images.", err=True
        )


def load_images(data: Path | None, hold_out: bool) -> tuple[ImageDataset, ImageDataset]:
    """Return images to train on, and the test images or, with hold_out, the training images that are held out."""
    if not hold_out:
        return mnist("train", data), mnist("test", data)
    training = mnist("train", data)
    return split_validation(training, count=max(1, len(training) // 12))  # 5,000 of MNIST's 60,000


def study_folders(runs: Path, out: Path | None, quick: bool) -> tuple[Path, Path]:
    """Return where a study's single runs go, and its report. Both are made."""
    out = out or Path("runs/quick" if quick else "results")
    return make_folder(runs / "quick" if quick else runs), make_folder(out)


@contextmanager
def going_on(folder: Path) -> Iterator[None]:
    """Say in a sentence how to go on after Ctrl-C, or after a run that failed."""
    advice = f"finished runs are in {folder}, and the same command goes on from there"
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {advice}") from None
    except RuntimeError as error:
        raise Stopped(f"{error}; {advice}") from None
