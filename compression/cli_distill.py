"""Commands about distillation: `soft-targets`, `distill`, `distill-scan`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from . import distill_scan, distill_study, soft_target_study
from .cli_base import (
    data_option,
    load_images,
    load_lenet,
    make_folder,
    note_if_seen,
    study_folders,
    sweep_options,
    sweeping,
)
from .distillation import DistillationLoss
from .models import LENET_CHECKPOINT


@click.command("soft-targets")
@click.argument("checkpoint", type=click.Path(path_type=Path), default=LENET_CHECKPOINT)
@click.option("--digit", type=click.IntRange(0, 9), default=2, show_default=True, help="Images of this one are shown.")
@click.option("--like", "others", type=click.IntRange(0, 9), multiple=True, default=(3, 7), show_default=True,
              help="Show one that looks like this; repeatable.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True,
              help="Folder for soft_targets.json and seven pictures.")  # fmt: skip
@data_option
def soft_targets(checkpoint: Path, digit: int, others: tuple[int, ...], out: Path, data: Path | None) -> None:
    """Draw what a teacher says besides the answer, and what the temperature does to it.

    The teacher is a checkpoint; by default the trained LeNet that comes with the package.
    """
    teacher, metadata = load_lenet(checkpoint)
    note_if_seen(metadata)
    study = soft_target_study.Study(digit=digit, others=others)
    report, figures = soft_target_study.run(study, teacher, *load_images(data, hold_out=True), click.echo)
    click.echo(f"\n{soft_target_study.as_table(report)}\n")
    click.echo(_written(out, soft_target_study.write(make_folder(out), report, figures)))


@click.command()
@click.option("--teacher", "given", type=click.Path(path_type=Path), multiple=True,
              help="Checkpoint of a teacher; several make an ensemble. Default: three LeNets are trained.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(2), help="Students of each kind: seeds 0, 1, ... (default: 5).")
@click.option("--temperature", type=click.FloatRange(0, min_open=True), help="T of teacher and student.")
@click.option("--alpha", type=click.FloatRange(0, 1), help="Weight of the teacher; the labels get the rest.")
@click.option("--epochs", type=click.IntRange(1), help="Of every student, alone or taught.")
@click.option("--images", type=click.IntRange(1), help="That every student learns from.")
@click.option("--jitter", type=click.IntRange(0), help="Pixels by which the students' images are moved at most.")
@click.option("--widths", type=click.IntRange(1), nargs=4, help="Of the student: outputs of conv1, conv2, fc1, fc2.")
@click.option("--quick", is_flag=True, help="A first look: 2 seeds, 2 teachers, fewer images.")
@sweep_options("distill")
def distill(given: tuple[Path, ...], runs: Path, executor: str, out: Path | None, data: Path | None, quick: bool,
            **asked: Any) -> None:  # fmt: skip
    """Teach a small LeNet by large ones, and compare it with the same one trained alone.

    The student has a tenth of LeNet's parameters, and learns from 10,000 images as they are; the teachers learned from all,
    jittered. Settings that are not given are those chosen on held-out images. With more images, or with --jitter, the gain is
    smaller.
    """
    study, folder, out = distill_study.QUICK if quick else distill_study.Study(), *study_folders(runs, out, quick)
    study = replace(study, **{key: asked[key] for key in ("seeds", "temperature", "alpha") if asked[key] is not None})
    changed = {key: asked[key] for key in ("epochs", "images", "jitter", "widths") if asked[key] is not None}
    study = replace(study, alone=replace(study.alone, **changed))
    DistillationLoss(study.temperature, study.alpha)  # refuses what is out of range, before any work is done
    _check_teachers(given)
    data = data and data.resolve()
    with sweeping(folder, executor) as pool:
        paths = given or distill_study.teachers(study, folder, data, click.echo, pool)
        experiment = distill_study.experiment(study, paths, given=bool(given))
        report = experiment.run(study.seeds, quick, folder, data, click.echo, pool)
    click.echo(f"\n{distill_study.as_table(report)}\n")
    click.echo(_written(out, distill_study.write(out, report)))
    click.echo(f"The networks are in {folder}, such as distilled-seed-0.safetensors.")


@click.command("distill-scan")
@click.option("--teacher", type=click.Path(path_type=Path),
              help="Checkpoint. Default: the first teacher of `minigrad distill`.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(2), help="Students of each setting: seeds 0, 1, ... (default: 3).")
@click.option("--quick", is_flag=True, help="A first look: 2 seeds, few settings, fewer images.")
@sweep_options("distill")
def scan_distillation(
    teacher: Path | None, seeds: int | None, runs: Path, executor: str, out: Path | None, data: Path | None, quick: bool
) -> None:
    """Try temperatures and weights, on few images: what is a teacher worth, and when?

    Draws a student's gain against T and α, its errors on the images that the teacher gets wrong, and the gap between
    training and held-out accuracy against the number of images. 117 trainings: ten to fifteen minutes on one core.
    """
    study, folder, out = distill_study.QUICK if quick else distill_study.Study(), *study_folders(runs, out, quick)
    scan = distill_scan.QUICK if quick else distill_scan.Scan()
    scan = scan if seeds is None else replace(scan, seeds=seeds)
    if teacher is not None:
        _check_teachers([teacher])
    data = data and data.resolve()
    with sweeping(folder, executor) as pool:
        if teacher is None:
            (teacher,) = distill_study.teachers(replace(study, teachers=1), folder, data, click.echo, pool)
        experiment = distill_scan.experiment(scan, teacher)
        report = experiment.run(scan.seeds, quick, make_folder(folder / "scan"), data, click.echo, pool)
    click.echo(f"\n{distill_scan.as_table(report)}\n")
    click.echo(_written(out, distill_scan.write(out, report)))


def _check_teachers(paths: Any) -> None:
    """Read every checkpoint, before any work is done."""
    for path in paths:
        note_if_seen(load_lenet(path)[1])


def _written(folder: Path, files: list[str]) -> str:
    return f"Written to {folder}: {', '.join(files)}."
