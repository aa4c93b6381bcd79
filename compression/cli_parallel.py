"""`minigrad train --data-parallel`: the same training on several processes."""

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

import minigrad
import minigrad.compression
from minigrad.checkpoint import save_checkpoint
from minigrad.datasets import ImageDataset
from minigrad.kernels.threads import MOST_THREADS
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD
from minigrad.parallel import Exchange, ShardedLoader, Team, describe_code, part
from minigrad.parallel.launch import ending_together, launch, launched, world
from minigrad.resume import fit
from minigrad.training import Position, count_correct

from .cli_base import (
    HELD_OUT,
    INTERRUPTED,
    STOPPED,
    WRONG_INPUT,
    Interrupted,
    Stopped,
    as_sentence,
    check_output,
    load_images,
)
from .demo import Recipe, evaluation_loader
from .gradients import METHODS, compressor
from .gradients.exchange import CompressedExchange
from .models import LeNet

BARS = "MINIGRAD_BARS"
"""Environment variable by which a parent on a terminal asks process 0 for progress bars; to that one stderr is a pipe."""


def parallel_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of training on several processes to `train`, and take over from it if they are used."""

    @functools.wraps(command)
    def either(data_parallel: bool, workers: int | None, compress: str, every: int, **settings: Any) -> None:
        """Train here, as one of several processes, or start them."""
        if not data_parallel:
            if workers is not None or compress != "none":
                raise click.UsageError("--workers and --compress are for --data-parallel")
            command(**settings)
        elif workers is None:
            train_as_one_of_many(compress=compress, every=every, **settings)
        elif launched():
            raise click.UsageError("--workers starts mpiexec, which has started this process already")
        else:
            start_workers(workers, settings["out"])

    for option in (
        click.option("--every", type=click.IntRange(1), default=100, show_default=True,
                     help="Steps from one save of the whole run to the next, with --data-parallel."),
        click.option("--compress", type=click.Choice(list(METHODS)), default="none", show_default=True,
                     help="How gradients are written for the other processes."),
        click.option("--workers", type=click.IntRange(1), help="Start mpiexec with so many processes."),
        click.option("--data-parallel", is_flag=True, help="Train on several processes: mpiexec's, or --workers."),
    ):  # fmt: skip
        either = option(either)
    return either


def run_file(out: Path) -> Path:
    """Return where a run that writes `out` keeps what it needs to go on."""
    return out.with_name(f"{out.stem}.run{out.suffix}")


def start_workers(workers: int, out: Path) -> None:
    """Run this command in so many processes, and explain how they ended."""
    context = click.get_current_context()
    threads = (context.find_root().params.get("threads") or MOST_THREADS) // workers
    environment = {"NUMBA_NUM_THREADS": str(max(1, threads))} | ({BARS: "1"} if sys.stderr.isatty() else {})
    command = [sys.executable, "-m", "minigrad.compression.cli", *same_command(context)]
    try:
        code, killer = launch(command, workers, environment, click.echo)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {how_to_go_on(out)}") from None
    if killer is not None:
        who = "mpiexec" if code < 0 else f"one of the {workers} processes"
        raise Stopped(
            f"{who} was killed (signal {killer}, {signal.Signals(killer).name}), and the others, which cannot train without "
            f"it, were ended; {how_to_go_on(out)}"
        )
    if code in (WRONG_INPUT, STOPPED, INTERRUPTED):  # said by the process that failed
        context.exit(code)
    if (
        code
    ):  # another process may meet the failure of MPI that a killed one leaves behind before mpiexec meets the kill
        raise Stopped(
            f"the {workers} processes ended with exit code {code}, which is none of theirs: one was killed, or MPI failed; "
            f"{how_to_go_on(out)}"
        )


def same_command(context: click.Context) -> list[str]:
    """Return the words of the present command, but for --workers."""
    words = [str(context.command.name)]
    for option in context.command.params:
        value = context.params[str(option.name)]
        if option.name != "workers" and value is not None and value is not False:
            words += [option.opts[-1]] if value is True else [option.opts[-1], str(value)]
    return words


def how_to_go_on(out: Path) -> str:
    """Say what is left of a run."""
    if run_file(out).exists():
        return f"the same command goes on from {run_file(out)}"
    return "no checkpoint was written yet"


def train_as_one_of_many(
    out: Path, data: Path | None, hold_out: bool, compress: str, every: int, **settings: Any
) -> None:
    """Train a new LeNet together with the other processes that mpiexec started, or alone without it."""
    recipe = Recipe(**settings)
    comm = world()

    def tell(error: BaseException) -> int:
        """Say what stopped this process; return its exit code."""
        if isinstance(error, KeyboardInterrupt):
            error = Interrupted(f"interrupted; {how_to_go_on(out)}")
        sentence = as_sentence(error)
        if sentence is None or click.get_current_context().find_root().params.get("traceback"):
            traceback.print_exception(error)
            return 1
        click.echo(f"Error: {f'process {comm.rank}: ' if comm.rank else ''}{sentence.format_message()}", err=True)
        return sentence.exit_code

    with ending_together(comm, tell):
        training, test = load_images(data, hold_out)
        exchange = make_exchange(comm, compress, recipe, steps=-(-len(training) // recipe.batch_size))
        team = Team(comm, exchange, show_bars=True if BARS in os.environ else None)
        team.check_same("code", describe_code(minigrad, minigrad.compression))
        team.check_same("settings", f"{compress}, {recipe}")
        train_together(team, training, test, recipe, out, every, {HELD_OUT: True} if hold_out else {})


def make_exchange(comm: Any, compress: str, recipe: Recipe, steps: int) -> Exchange | None:
    """Return the exchange for a method of compression; None for the engine's own, which sends floats.

    Args:
        steps: of an epoch: top-k warms up in the first.
    """
    if compress == "none":
        return None
    options = {"momentum": recipe.momentum, "warmup": steps} if compress == "topk" else {}
    return CompressedExchange(comm, compressor(compress, seed=recipe.seed, rank=comm.rank, **options))


def train_together(
    team: Team,
    training: ImageDataset,
    test: ImageDataset,
    recipe: Recipe,
    out: Path,
    every: int,
    metadata: dict[str, Any],
) -> None:
    """Train a new LeNet on all processes of a team, or go on where a killed run stopped; process 0 writes and reports.

    Args:
        metadata: of the checkpoint `out`, besides seed and epoch.
    """
    loader = ShardedLoader(
        team.rank, team.size, training.images, training.labels, recipe.batch_size, shuffle=True, seed=recipe.seed
    )
    mine = evaluation_loader(test.subset(np.arange(len(test))[part(len(test), team.rank, team.size)]))
    minigrad.manual_seed(recipe.seed)
    model = LeNet()
    # Where the compressor keeps the momentum, SGD must have none.
    momentum = 0.0 if getattr(team.exchange, "owns_momentum", False) else recipe.momentum
    optimizer = SGD(model.parameters(), recipe.lr, momentum)
    pids = team.comm.gather(os.getpid())
    if team.rank == 0:
        check_output(out)
        numbers = ", ".join(str(pid) for pid in pids)
        click.echo(f"{team.size} process{'es' if team.size > 1 else ''}, ids {numbers}")

    def after_epoch(position: Position) -> None:
        """Count what all processes read right; on process 0, save the model and report."""
        correct = sum(team.comm.allgather(count_correct(model, mine)[0]))
        if team.rank == 0:
            epoch, accuracy = position.epoch, 100 * correct / len(test)
            save_checkpoint(out, model, seed=recipe.seed, epoch=epoch, **metadata)
            loss = position.losses[-1]
            click.echo(f"epoch {epoch}/{recipe.epochs}  loss {loss:.4f}  accuracy {accuracy:.2f} %")

    fit(
        model, loader, CrossEntropyLoss(), optimizer, recipe.epochs,
        checkpoint=run_file(out), every=every, after_epoch=after_epoch, team=team,
    )  # fmt: skip
    if team.rank == 0:
        run_file(out).unlink()
        a_step = team.exchange.bytes_sent / (recipe.epochs * len(loader))
        plain = sum(p.data.nbytes for p in model.parameters())
        click.echo(
            f"Each process sent {a_step:,.0f} bytes of gradients a step, {a_step / plain:.4f} of what they take."
        )
        click.echo(f"Written to {out}.")
