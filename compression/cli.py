"""The command line: `minigrad demo` and its steps, one command each."""

from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

import minigrad
from minigrad import functional as F
from minigrad import kernels
from minigrad.datasets import mnist, normalize
from minigrad.nn import Module

from . import demo as main_job
from .cli_base import (
    HELD_OUT,
    Commands,
    check_output,
    checkpoint_argument,
    data_option,
    epochs_done,
    executor_option,
    load_images,
    load_lenet,
    make_folder,
    note_if_seen,
    out_option,
    saving,
    sweeping,
    training_options,
)
from .cli_coding import inspect, pack
from .cli_compress import compress
from .cli_course import course
from .cli_distill import distill, scan_distillation, soft_targets
from .cli_explain import explain
from .cli_export import export
from .cli_gradients import gradients, int8_backward, scaling
from .cli_import import import_command
from .cli_integer import describe_bytes, to_integer
from .cli_parallel import parallel_options
from .cli_playground import playground
from .cli_pruning import blame, criteria, prune
from .cli_quantize import bits, observers, quantize, quantized_accuracy
from .cli_repro import repro
from .cli_sparse import atlas, describe_layers, load_any, sparsify
from .cli_structure import scan, shrink_command, structure
from .coding import is_mgz, layer_table, read_mgz
from .models import LeNet
from .pictures import load_digit
from .pruning import SparsePruner, finetune, model_sparsity
from .quantization import FloatWrapper
from .report import as_report, table, wilson_interval, with_means, write_report
from .sparse import weight_bytes
from .sweep import Job, run_all


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(minigrad.__version__, prog_name="minigrad")
@click.option("--threads", type=click.IntRange(1), help="Threads for the kernels. Results do not depend on it.")
@click.option("--traceback", is_flag=True, help="Show where an error came from, for reporting it.")
def main(threads: int | None, traceback: bool) -> None:
    """minigrad: train, prune and fine-tune LeNet on MNIST, and see every number."""
    if threads is not None:
        kernels.set_num_threads(threads)


for command in (
    *(prune, blame, criteria, repro, shrink_command, scan, structure, sparsify, atlas),
    *(distill, scan_distillation, soft_targets, quantize, observers, bits, quantized_accuracy, to_integer),
    *(pack, inspect, compress, import_command, export, playground, explain),
    *(gradients, scaling, int8_backward, course),
):
    main.add_command(command)


@main.command()
@training_options
@click.option("--seeds", type=click.IntRange(2), help="Repeat with seeds 0, 1, ... (so many) and report the means.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True, help="Folder to write."
)
@executor_option
@data_option
def demo(out: Path, data: Path | None, seeds: int | None, executor: str, **settings: Any) -> None:
    """The whole story: train, prune, measure, fine-tune; a table, a report, figures."""
    asked = click.get_current_context().get_parameter_source
    if seeds:
        if asked("seed") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--seed and --seeds exclude each other: --seeds N runs seeds 0 to N - 1")
        _demo_of_seeds(out, data, seeds, executor, settings)
        return
    if asked("executor") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--executor has no effect on a single run: add --seeds")
    training, test = mnist("train", data), mnist("test", data)
    make_folder(out)
    with saving() as saver:

        def save(name: str, model: Module, **metadata: Any) -> None:
            saver(out / f"{name}.safetensors", model, **metadata)

        recipe = main_job.Recipe(**settings)
        result = main_job.run(recipe, training, test, save, click.echo)
        click.echo(f"\nseed {recipe.seed}\n{table(result.stages)}\n")
        click.echo(_reckoning(result))
        write_report(out / "report.json", as_report(recipe.seed, result.stages))
        main_job.save_figures(out, result, training)
    click.echo(f"\nWritten to {out}: checkpoints, report.json, figures (digits, weights, accuracy).")


def _demo_of_seeds(out: Path, data: Path | None, seeds: int, executor: str, settings: dict[str, Any]) -> None:
    """Run the main job for seeds 0, 1, ..., those that are not there yet, and report the means."""
    recipes = [main_job.Recipe(**settings | {"seed": seed}) for seed in range(seeds)]
    data, leaves = data and data.resolve(), main_job.files_of
    jobs = [Job("demo", recipe.seed, recipe, make_folder(out), data, leaves=leaves) for recipe in recipes]
    with sweeping(out, executor) as pool:
        found = [run["results"] for run in run_all(main_job.work, jobs, click.echo, pool)]
    for report in found:
        click.echo(f"\nseed {report['seed']}\n{report.pop('table')}")
    summary = with_means(found)
    write_report(out / "report.json", summary)
    click.echo(f"\nmeans of {seeds} seeds, with 95 % t-intervals")
    for stage, mean in summary["means"].items():
        click.echo(f"{stage:<12}{mean['accuracy']:.2f} %  ({mean['interval'][0]:.2f} - {mean['interval'][1]:.2f})")
    click.echo(f"\nWritten to {out}: report.json; in a folder for each seed checkpoints, report.json, figures.")


def _reckoning(result: main_job.Run) -> str:
    """Set the article's reckoning of the pruned size beside measured ones."""
    s = result.stages[1]
    dense, csr, bitmask = s.bytes["dense"], s.bytes["csr"], s.bytes["bitmask"]
    zeros = s.parameters - s.nonzeros
    return (
        f"{zeros:,} of {s.parameters:,} parameters are zero. The article reckons the pruned size as 1 - sparsity = "
        f"{100 * (1 - s.sparsity):.2f} %;\nstored, the positions of the non-zeros cost bytes too: CSR takes "
        f"{100 * csr / dense:.2f} % of the dense weights' bytes, bit mask + values {100 * bitmask / dense:.2f} %."
    )


@main.command()
@training_options
@click.option("--hold-out", is_flag=True, help="Train on 55,000 images and evaluate on the 5,000 held out.")
@parallel_options
@out_option
@data_option
def train(out: Path, data: Path | None, hold_out: bool, **settings: Any) -> None:
    """Train a new LeNet and write it as a checkpoint after every epoch."""
    training, test = load_images(data, hold_out)
    recipe = main_job.Recipe(**settings)
    check_output(out)
    batches = main_job.evaluation_loader(test)
    with saving() as save:

        def after_epoch(model: LeNet, epoch: int, loss: float) -> None:
            save(out, model, seed=recipe.seed, epoch=epoch, **({HELD_OUT: True} if hold_out else {}))
            accuracy = minigrad.evaluate(model, batches)
            click.echo(f"epoch {epoch}/{recipe.epochs}  loss {loss:.4f}  accuracy {accuracy:.2f} %")

        main_job.train_lenet(training, recipe, after_epoch)
    click.echo(f"Written to {out}.")


@main.command()
@checkpoint_argument
@data_option
def evaluate(checkpoint: Path, data: Path | None) -> None:
    """Measure a checkpoint on the test images."""
    model, metadata = load_any(checkpoint)
    correct, total = minigrad.training.count_correct(model, main_job.evaluation_loader(mnist("test", data)))
    low, high = wilson_interval(correct, total)
    accuracy = f"accuracy {100 * correct / total:.2f} % ({low:.2f} - {high:.2f})"
    if is_mgz(checkpoint):
        click.echo(f"{accuracy}\n\n{layer_table(read_mgz(checkpoint))}")
        return
    if "sparse" in metadata:
        click.echo(f"{accuracy}\n\n{describe_layers(model)}")
        return
    if isinstance(model, FloatWrapper):
        click.echo(f"{accuracy}\n\n{describe_bytes(model.integer.layer_bytes())}")
        return
    size = weight_bytes(model)
    click.echo(
        f"{accuracy}  sparsity {model_sparsity(model):.4f}  "
        f"weight bytes: dense {size['dense']:,}, CSR {size['csr']:,}, bit mask {size['bitmask']:,}"
    )


@main.command("finetune")
@checkpoint_argument
@training_options
@click.option("--choose-on", type=click.Choice(["held-out", "test"]), default="held-out", show_default=True,
              help="Images that decide which epoch is best. The article takes the test images.")  # fmt: skip
@out_option
@data_option
def finetune_command(checkpoint: Path, out: Path, data: Path | None, choose_on: str, **settings: Any) -> None:
    """Train a pruned checkpoint on; its zeros stay zero; the best epoch is written."""
    model, metadata = load_lenet(checkpoint)
    training, choice = load_images(data, hold_out=choose_on == "held-out")
    recipe = main_job.Recipe(**settings)
    done = epochs_done(metadata)
    if choose_on == "held-out":
        note_if_seen(metadata)
    check_output(out)
    with saving() as save:

        def after_epoch(found: Any, _: Module) -> None:
            """Save the model if it is the best so far, and report."""
            epoch = len(found.correct)
            if found.best_epoch == epoch:
                kept = {HELD_OUT: True} if choose_on == "held-out" and metadata.get(HELD_OUT) else {}
                save(out, found.best, seed=recipe.seed, epoch=done + epoch, **kept)
            accuracy = 100 * found.correct[-1] / len(choice)
            click.echo(
                f"epoch {epoch}/{recipe.epochs}  loss {found.losses[-1]:.4f}  {choose_on} accuracy {accuracy:.2f} %"
            )

        found = finetune(
            model,
            SparsePruner.from_zeros(model),
            main_job.train_loader(training, recipe, epochs_done=done),
            main_job.evaluation_loader(choice),
            recipe.epochs,
            recipe.lr,
            recipe.momentum,
            after_epoch,
        )
    click.echo(f"Best epoch {found.best_epoch}, sparsity {model_sparsity(found.best):.4f}. Written to {out}.")


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Default: the trained LeNet that comes with the package."
)
def predict(images: tuple[Path, ...], checkpoint: Path | None) -> None:
    """Classify pictures of single digits (any size; dark on light or light on dark)."""
    model, _ = load_any(checkpoint)
    for path in images:
        with minigrad.no_grad():
            p = F.softmax(model(normalize(load_digit(path))[None, None])).data[0]
        first, second = np.argsort(-p, kind="stable")[:2]
        click.echo(f"{path}: {first} ({100 * p[first]:.1f} %), then {second} ({100 * p[second]:.1f} %)")


if __name__ == "__main__":
    main()
