"""Commands about pruning: `prune`, `blame`, `criteria`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import minigrad
from minigrad.checkpoint import save_checkpoint

from . import criteria_study
from .cli_base import (
    HELD_OUT,
    carry_out,
    check_output,
    checkpoint_argument,
    data_option,
    epochs_done,
    load_images,
    load_lenet,
    note_if_seen,
    out_option,
    saving,
    seeds_option,
    sweep_options,
    training_options,
)
from .demo import Recipe
from .models import LENET_WIDTHS, LeNet, lenet_widths
from .prune_job import SCHEDULES, Plan, Pruned, run
from .pruning import CRITERIA, Ledger, model_sparsity, prunable
from .pruning.selection import SCOPES, Target


@click.command()
@checkpoint_argument
@click.option("--criterion", type=click.Choice(list(CRITERIA)), default="magnitude", show_default=True,
              help="What a weight is worth.")  # fmt: skip
@click.option("--schedule", type=click.Choice(SCHEDULES), default="one-shot", show_default=True,
              help="When weights go. All but one-shot train as well.")  # fmt: skip
@click.option("--scope", type=click.Choice(SCOPES), default="local", show_default=True,
              help="Rank weights within each layer, or all of them together.")  # fmt: skip
@click.option(
    "--sparsity",
    "sparsities",
    multiple=True,
    metavar="[NAME=]SHARE",
    help="Share to remove: of every layer's weights, such as 0.9, or of one's, such as fc1.weight=0.75; repeatable. "
    "Default: the article's, for every layer.",
)
@click.option("--quality", type=click.FloatRange(0), help="Instead of a sparsity: a factor of each layer's deviation.")
@click.option("--pattern", metavar="N:M|RxC", help="Keep N of every M weights, or remove whole blocks of R x C.")
@click.option("--ties", type=click.Choice(["drop", "exact"]), default="drop", show_default=True,
              help="What to do with equal scores.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Of iterative and lottery.")
@click.option("--every", type=click.IntRange(1), default=100, show_default=True,
              help="Optimizer steps between two prunings, of gradual.")  # fmt: skip
@click.option("--l1", type=click.FloatRange(0), default=0.0, help="Train with this L1 penalty before pruning.")
@click.option("--l2", type=click.FloatRange(0), default=0.0, help="Train with this L2 penalty before pruning.")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0,
              help="Train with this dropout after fc1 and fc2, adjusted each round: of iterative and lottery.")  # fmt: skip
@training_options
@click.option("--ledger", type=click.Path(path_type=Path), help="File to record every step in, for `minigrad blame`.")
@out_option
@data_option
def prune(checkpoint: Path, out: Path, data: Path | None, ledger: Path | None, sparsities: tuple[str, ...],
          **settings: Any) -> None:  # fmt: skip
    """Prune a checkpoint: by default at once, by the article's k-th value rule."""
    model, metadata = load_lenet(checkpoint)
    recipe = Recipe(**{name: settings.pop(name) for name in ("seed", "momentum", "lr", "batch_size", "epochs")})
    plan = Plan(**settings, sparsity=_parse_sparsities(sparsities, model), recipe=recipe)
    plan.check()
    _check_used(plan)
    initial = None
    if plan.schedule == "lottery":
        initial = _initial(metadata, model)
        plan = replace(plan, recipe=replace(recipe, seed=metadata["seed"]))  # the same batches as the first time
    training, held_out = load_images(data, hold_out=True) if plan.needs_images else (None, None)
    if plan.trains:
        note_if_seen(metadata)
    check_output(out)
    if ledger is not None:
        check_output(ledger)
    done = epochs_done(metadata)
    with saving() as save:

        def after_round(result: Pruned) -> None:
            trained = (0 if initial else done) + result.epochs
            kept = {HELD_OUT: True} if metadata.get(HELD_OUT) else {}
            save(out, result.model, seed=plan.recipe.seed, epoch=trained, **kept)

        result = run(model, plan, training, held_out, click.echo, after_round, initial, done)
        if plan.trains:
            after_round(result)
        else:
            save_checkpoint(out, result.model, **metadata)
    if ledger is not None:
        result.ledger.save(ledger)
    click.echo(f"sparsity {model_sparsity(result.model):.4f}. Written to {out}.")


def _parse_sparsities(texts: tuple[str, ...], model: LeNet) -> Target | None:
    """Return None for none, a number for a single SHARE, name → share where names are given (others keep all)."""
    numbers, named = [], {}
    for text in texts:
        name, _, share = text.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is not NAME=SHARE, such as fc1.weight=0.75, nor a share for all, such as 0.75",
                param_hint="--sparsity",
            ) from None
        if name:
            named[name] = value
        else:
            numbers.append(value)
    if len(numbers) > 1:
        raise click.BadParameter(
            f"{len(numbers)} shares for all layers were given, expected one", param_hint="--sparsity"
        )
    if not named:
        return numbers[0] if numbers else None
    return dict.fromkeys(prunable(model), numbers[0] if numbers else 0.0) | named


def _check_used(plan: Plan) -> None:
    """Refuse options that were given and would do nothing."""
    context = click.get_current_context()
    uses = {
        "rounds": (plan.schedule in ("iterative", "lottery"), "the schedules iterative and lottery have rounds"),
        "every": (plan.schedule == "gradual", "the schedule gradual prunes every so many steps"),
        **dict.fromkeys(
            ("epochs", "lr", "momentum", "batch_size"),
            (
                plan.trains,
                "the schedule one-shot trains nothing, unless --l1 or --l2 is given; see `minigrad finetune`",
            ),
        ),
    }
    for name, (used, sentence) in uses.items():
        if not used and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ValueError(f"--{name.replace('_', '-')} has no effect here: {sentence}")


def _initial(metadata: dict[str, Any], model: LeNet) -> LeNet:
    """Return the untrained model that a checkpoint of `minigrad train` began with."""
    seed = metadata.get("seed")
    narrowed = lenet_widths(model.state_dict()) != LENET_WIDTHS
    if not isinstance(seed, int) or seed < 0 or model_sparsity(model) > 0 or narrowed:
        raise ValueError(
            "prune: a lottery goes back to the first weights, which are drawn from the seed in the checkpoint; "
            "this one has no seed or is pruned already: take a checkpoint of `minigrad train`"
        )
    minigrad.manual_seed(seed)
    return LeNet()


@click.command()
@click.argument("ledger", type=click.Path(path_type=Path))
@click.argument("name")
@click.argument("index", nargs=-1, required=True, type=int)
def blame(ledger: Path, name: str, index: tuple[int, ...]) -> None:
    """Say when and why a weight was pruned: `minigrad blame LEDGER fc1.weight 3 17`."""
    try:
        answer = Ledger.load(ledger).blame(name, index)
    except IndexError as error:
        raise ValueError(str(error)) from None
    click.echo(f"{name}[{', '.join(map(str, index))}]: {answer}")


@click.command()
@seeds_option("Models to train")
@click.option("--quick", is_flag=True, help="A first look: few images, 3 sparsities.")
@click.option("--scope", type=click.Choice(SCOPES), default="local", show_default=True,
              help="Rank weights within each layer, or all of them together.")  # fmt: skip
@sweep_options("criteria")
def criteria(scope: str, **asked: Any) -> None:
    """Compare all criteria: accuracy against sparsity, before and after an epoch of training."""
    click.echo(carry_out(criteria_study.experiment(scope), **asked))
