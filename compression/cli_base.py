"""What all commands share: errors as sentences, options, checkpoints in and out."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import minigrad
from minigrad.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from minigrad.datasets import ImageDataset, mnist, split_validation
from minigrad.nn import Module

from .demo import Recipe
from .executors import FORMS, check_executor, open_executor
from .models import LENET_CHECKPOINT, CaffeLeNet, LeNet, LeNet300100, lenet_widths
from .sweep import Experiment

WRONG_INPUT, STOPPED, INTERRUPTED = 2, 1, 130
"""Exit codes: a file or argument is wrong; training could not go on; Ctrl-C."""


NETWORKS: dict[str, type[Module]] = {"LeNet": LeNet, "LeNet300100": LeNet300100, "CaffeLeNet": CaffeLeNet}
"""Networks by the name that a checkpoint has for them."""

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


def as_sentence(error: BaseException) -> click.ClickException | None:
    """Return an expected error as a sentence with its exit code, None for one that nobody expected."""
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, minigrad.NonFiniteLossError):
        return Stopped(str(error))
    if isinstance(error, KeyError):  # str() of a KeyError is quoted
        return Sentence(str(error.args[0]))
    return Sentence(str(error)) if isinstance(error, OSError | ValueError) else None


class Commands(click.Group):
    """Commands whose expected errors end in one sentence and an exit code instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if ctx.params.get("traceback"):
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except (minigrad.NonFiniteLossError, KeyError, OSError, ValueError) as error:
            raise as_sentence(error) or error from None


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


def load_network(path: Path | None) -> tuple[Module, dict[str, Any]]:
    """Return the model of a checkpoint, whichever of `NETWORKS` it says it is, and its metadata; LeNet if it says nothing."""
    network = LeNet if path is None else NETWORKS.get(str(read_checkpoint(path)[1].get("architecture")), LeNet)
    if path is None or network is LeNet:
        return load_lenet(path)
    model = network()
    return model, load_checkpoint(path, model)


def account(parts: Mapping[str, int], *paths: Path) -> str:
    """Say what the bytes of files just written are for, and that they add up to the files.

    Args:
        parts: what for → bytes.
        paths: the files; the sentence says that they are in their folder if there are several.

    Raises:
        RuntimeError: the files have another size.
    """
    total, found = sum(parts.values()), sum(path.stat().st_size for path in paths)
    if total != found:
        raise RuntimeError(f"{paths[0]} should have {total:,} bytes, and has {found:,}")
    where = paths[0] if len(paths) == 1 else paths[0].parent
    return f"{', '.join(f'{what} {n:,} B' for what, n in parts.items())}: {total:,} B. Written to {where}."


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

executor_option = click.option(
    "--executor", default="serial", show_default=True, callback=lambda ctx, option, value: check_executor(value),
    help=f"Where the runs happen: {FORMS}. The results are the same.",
)  # fmt: skip
"""--executor of studies of many independent runs: see `executors`."""


def sweep_options(study: str) -> Callable[..., Any]:
    """Return what adds the options of where a study of many runs happens: --runs, --executor, --out, --data."""
    runs_option = click.option(
        "--runs", type=click.Path(path_type=Path), default=Path("runs") / study, show_default=True,
        help="Folder for single runs: what is there is not done again.",
    )  # fmt: skip
    return lambda command: runs_option(executor_option(report_option(data_option(command))))


def seeds_option(words: str) -> Callable[..., Any]:
    """Return --seeds of a study whose figures need two or more, and that has a --quick form: see `carry_out`."""
    return click.option(
        "--seeds", type=click.IntRange(2), help=f"{words}: seeds 0, 1, ... (default: 5; with --quick 2)."
    )


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


def carry_out(
    experiment: Experiment,
    seeds: int | None,
    quick: bool,
    runs: Path,
    executor: str,
    out: Path | None,
    data: Path | None,
) -> str:
    """Do what the command of a study is asked for, see `sweep_options`; return the table, and where the report is."""
    folder, out = study_folders(runs, out, quick)
    with sweeping(folder, executor) as pool:
        report = experiment.run(seeds or (2 if quick else 5), quick, folder, data and data.resolve(), click.echo, pool)
    files = experiment.write(out, report)
    return f"{experiment.as_table(report)}\n\nWritten to {out}: {', '.join(files)}."


@contextmanager
def sweeping(folder: Path, how: str) -> Iterator[Executor | None]:
    """Open the executor of a sweep, see `open_executor`; say how to go on after Ctrl-C, or after a run that failed."""
    advice = f"finished runs are in {folder}, and the same command goes on from there"
    try:
        with open_executor(how) as executor:
            yield executor
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {advice}") from None
    except RuntimeError as error:
        raise Stopped(f"{error}; {advice}") from None
