"""A small LeNet, alone and with large ones for teachers: the same training, with and without soft targets.

Every network is a job that is kept when it is done: a study that was interrupted goes on with what is missing.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad.checkpoint import save_checkpoint
from minigrad.datasets import ImageDataset, mnist
from minigrad.functional import fusion
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Module
from minigrad.optim import Adam, CosineAnnealingLR
from minigrad.tensor import Array
from minigrad.training import evaluating
from minigrad.transforms import Jitter

from .cli_base import HELD_OUT, load_lenet
from .distillation import DistillationLoss, checksum_of_model, distill, plot_confusions, soft_targets, teacher_logits
from .distillation.analysis import confusion_matrix
from .models import LENET_WIDTHS, LeNet
from .report import align, summarize, t_interval, wilson_interval, write_report
from .repro.common import images
from .sparse import weight_bytes
from .sparse.timing import Contestant, describe_machine, race, stopwatch
from .sweep import Experiment, Job, Sweep, run_all, versions

DIGITS = 10


@dataclass(frozen=True)
class Training:
    """How a LeNet is trained: by Adam, whose rate falls along half a cosine to 0.

    Attributes:
        widths: outputs of conv1, conv2, fc1 and fc2.
        epochs: how many; the last one counts.
        lr: Adam's rate at the start.
        batch_size: images a step.
        jitter: by how many pixels images are moved at most; a teacher looks at the moved ones too.
        images: how many training images, None for all.
    """

    widths: tuple[int, ...] = LENET_WIDTHS
    epochs: int = 8
    lr: float = 0.003
    batch_size: int = 128
    jitter: int = 2
    images: int | None = None


TEACHER = Training()
STUDENT = Training((4, 8, 22, 16), epochs=60, lr=0.005, batch_size=64, jitter=0, images=10_000)


@dataclass(frozen=True)
class Lesson(Training):
    """How a LeNet is trained by teachers.

    Attributes:
        temperature, alpha: of `DistillationLoss`.
        teachers: checkpoints; of several, the softened probabilities are averaged.
        checksums: of their models.
    """

    temperature: float = 4.0
    alpha: float = 0.9
    teachers: tuple[str, ...] = ()
    checksums: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """What is compared. All settings were chosen on the 5,000 held-out training images.

    As in Hinton et al. 2015, the teachers' images are jittered and the students' are not. Teachers learn from all training
    images, students from 10,000: soft targets are worth most where images are few. With more of them, with fewer epochs, or
    with jitter of its own, so small a student gains less, and from all images, jittered, it learns as much alone:
    results/distill_settings.json has what was tried, and `minigrad distill-scan` tries more.

    Attributes:
        seeds: how many students of each kind, 2 or more; seed i draws the initial weights, the order of the images, and
            how they are moved: the same for both kinds.
        teachers: how many are trained.
        teacher, alone: how.
        temperature, alpha, lr: of the student that is distilled; all else is as for the student alone.
        batch_size: images that are timed at once.
        seconds: of timing, at most (or two rounds).
    """

    seeds: int = 5
    teachers: int = 3
    teacher: Training = TEACHER
    alone: Training = STUDENT
    temperature: float = 3.0
    alpha: float = 0.9
    lr: float = 0.005
    batch_size: int = 64
    seconds: float = 10.0


QUICK = Study(
    seeds=2,
    teachers=2,
    teacher=replace(TEACHER, epochs=4, images=20_000),
    alone=replace(STUDENT, epochs=10, images=2_000),
    seconds=2.0,
)


def train(settings: Training, seed: int, training: ImageDataset, teacher: Any = None) -> LeNet:
    """Return a trained LeNet.

    Args:
        settings: how; with a teacher, a `Lesson`.
        seed: of the weights, of the order of the images, and of how they are moved.
        training: the images.
        teacher: None; or one, or several, for `distill`.
    """
    few = training.subset(np.arange(len(training))[: settings.images])
    minigrad.manual_seed(seed)
    model = LeNet(widths=settings.widths)
    moved = Jitter(settings.jitter) if settings.jitter else None
    loader = DataLoader(few.images, few.labels, settings.batch_size, shuffle=True, seed=seed, transform=moved)
    optimizer = Adam(model.parameters(), settings.lr)
    schedule = CosineAnnealingLR(optimizer, settings.epochs * len(loader))
    if isinstance(settings, Lesson):
        loss = DistillationLoss(settings.temperature, settings.alpha)
        says = teacher if settings.jitter else teacher_logits(teacher, few)  # once is enough if no image moves
        distill(model, says, loader, loss, optimizer, settings.epochs, schedule=schedule, schedule_each="step")
    else:
        minigrad.fit(model, loader, CrossEntropyLoss(), optimizer, settings.epochs, schedule, schedule_each="step")
    return model


def work(job: Job) -> dict[str, Any]:
    """Train the network of a job, write its checkpoint beside the result, and count what it reads right."""
    settings = job.settings
    training, held_out, test = images(job.data)
    teachers = [load_lenet(Path(path))[0] for path in settings.teachers] if isinstance(settings, Lesson) else None
    model = train(settings, job.seed, training, teachers)
    save_checkpoint(checkpoint_of(job), model, seed=job.seed, epoch=settings.epochs, **{HELD_OUT: True})
    predicted = teacher_logits(model, test).argmax(axis=1)
    right = np.mean(teacher_logits(model, held_out).argmax(axis=1) == held_out.labels)
    return {"held-out accuracy": 100 * right, "confusion": confusion_matrix(test.labels, predicted, DIGITS).tolist()}


def checkpoint_of(job: Job) -> Path:
    """Return where a job's network is written."""
    return job.folder / f"{job.name}.safetensors"


def files_of(job: Job) -> list[Path]:
    """Return what a job leaves."""
    return [checkpoint_of(job)]


def teachers(
    study: Study, folder: Path, data: Path | None, say: Callable[[str], Any], executor: Executor | None = None
) -> list[Path]:
    """Train the teachers that are not there yet; return their checkpoints."""
    jobs = [Job("teacher", seed, study.teacher, folder, data, leaves=files_of) for seed in range(study.teachers)]
    run_all(work, jobs, say, executor)
    return [checkpoint_of(job) for job in jobs]


def plans_of(study: Study, paths: Sequence[Path]) -> dict[str, Training]:
    """Return how a student is trained, "alone" and "distilled" from the teachers of these checkpoints."""
    same: dict[str, Any] = asdict(study.alone) | {"lr": study.lr}
    lesson = Lesson(
        **same,
        temperature=study.temperature,
        alpha=study.alpha,
        teachers=tuple(str(path.resolve()) for path in paths),
        checksums=tuple(checksum_of_model(load_lenet(path)[0]) for path in paths),
    )
    return {"alone": study.alone, "distilled": lesson}


def report_on(study: Study, paths: Sequence[Path], given: bool, sweep: Sweep) -> dict[str, Any]:
    """Compare teachers and students.

    Returns:
        what JSON can hold: "settings"; "rows", see `_row`; "gain": {"values" (points, one a seed), "mean", "interval"};
        "confusion": name → matrix, of the first of each kind; "machine"; "notes"; "versions".
    """
    models: list[Module] = [load_lenet(path)[0] for path in paths]
    test = mnist("test", sweep.data)
    logits = teacher_logits(models, test)  # (M, N, K)
    said = {"teacher": [z.argmax(axis=1) for z in logits], "ensemble": [soft_targets(logits).argmax(axis=1)]}
    if len(paths) == 1:
        del said["ensemble"]
    confusion = {name: [confusion_matrix(test.labels, p, DIGITS) for p in each] for name, each in said.items()}
    found = {name: sweep.results(name) for name in sweep.settings}
    confusion |= {name: [np.array(r["confusion"]) for r in each] for name, each in found.items()}
    small = LeNet(widths=study.alone.widths)
    networks: dict[str, list[Module]] = {"teacher": models[:1], "ensemble": models}
    networks |= {"alone": [small], "distilled": [small]}
    milliseconds = _milliseconds(study, networks, test.images[: study.batch_size])
    rows = [_row(name, each, networks[name], milliseconds[name]) for name, each in confusion.items()]
    accuracy = {row["name"]: np.array(row["accuracy"]["values"]) for row in rows}
    gain = (accuracy["distilled"] - accuracy["alone"]).tolist()
    return {
        "settings": asdict(study),
        "seeds": sweep.seeds,
        "teachers": [str(path) for path in paths] if given else "trained here",
        "rows": rows,
        "gain": summarize(gain),
        "held-out accuracy": {name: [r["held-out accuracy"] for r in each] for name, each in found.items()},
        "confusion": {name: each[0].tolist() for name, each in confusion.items()},
        "machine": describe_machine(),
        "notes": list(NOTES),
        "versions": versions(),
        "seconds of training": {name: [r["seconds"] for r in sweep.runs if r["part"] == name] for name in found},
        "quick": sweep.quick,
    }


def _row(name: str, confusion: Sequence[Array], models: Sequence[Module], milliseconds: float) -> dict[str, Any]:
    """Return a row of the table.

    Returns:
        "name"; "accuracy": {"values" (percent, one a network), "mean", "interval" (95 %, of the mean over networks; of a
        single network Wilson's, over images)}; "parameters", "macs" (an image), "bytes" (of the weights) of all that
        answers together; "milliseconds" (a batch).
    """
    right = [int(np.trace(matrix)) for matrix in confusion]
    count = int(np.sum(confusion[0]))
    values = [100 * r / count for r in right]
    return {
        "name": name,
        "accuracy": {
            "values": values,
            "mean": float(np.mean(values)),
            "interval": list(t_interval(values) if len(values) > 1 else wilson_interval(right[0], count)),
        },
        "parameters": sum(p.size for model in models for p in model.parameters()),
        "macs": sum(minigrad.summary(model, (1, 1, 28, 28)).macs for model in models),
        "bytes": sum(weight_bytes(model)["dense"] for model in models),
        "milliseconds": milliseconds,
    }


def _milliseconds(study: Study, networks: dict[str, list[Module]], x: Array) -> dict[str, float]:
    """Return what a batch takes; both students are one network to the clock."""
    team = {name: _forward(models, x) for name, models in networks.items() if name != "distilled"}
    found = {name: 1000 * float(s.sum()) for name, s in race(team, seconds=study.seconds).seconds.items()}
    return found | {"distilled": found["alone"]}


def _forward(models: Sequence[Module], x: Array) -> Contestant:
    def forward() -> None:
        for model in models:
            with evaluating(model), minigrad.no_grad(), fusion():
                getattr(model(x), "data", None)  # asked for, since fused ops wait until their result is

    return stopwatch(forward)


NOTES = (
    "Temperature, alpha, epochs and both learning rates were chosen on the 5,000 held-out training images.",
    "Both kinds of students make the same number of steps with the same images, initial weights and order.",
    "All students learn from the same teachers: the interval of the gain is over students, not over teachers.",
    "The gain belongs to this setting. With jitter, or with more images, the student alone gets better, and the gain smaller:"
    " see distill_settings.json, which has all 55,000 images too, and distill_scan.json.",
)
"""What readers of the report should know."""

NAMES = {
    "teacher": "teacher, one LeNet",
    "ensemble": "ensemble of the teachers",
    "alone": "student, labels alone",
    "distilled": "student, distilled",
}
"""Of the rows, for readers."""


def as_table(report: dict[str, Any]) -> str:
    """Lay the rows out as text, and the gain below them."""
    head = ["", "networks", "accuracy %", "95 % interval", "parameters", "multiply-accumulates", "bytes of the weights"]
    size = report["settings"]["batch_size"]
    rows = [[*head, f"ms for {size} images"]]
    for row in report["rows"]:
        accuracy = row["accuracy"]
        rows.append([
            NAMES[row["name"]],
            str(len(accuracy["values"])),
            f"{accuracy['mean']:.2f}",
            "{:.2f} - {:.2f}".format(*accuracy["interval"]),
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            f"{row['bytes']:,}",
            f"{row['milliseconds']:.2f}",
        ])  # fmt: skip
    gain = report["gain"]
    told = " ".join(f"{value:+.2f}" for value in gain["values"])
    low, high = gain["interval"]
    return (
        f"{align(rows)}\n\ngain by distillation, seed by seed: {told}; "
        f"mean {gain['mean']:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}"
    )


def picture(report: dict[str, Any]) -> Figure:
    """Draw the confusion matrices on the test images: the first teacher, and both students of seed 0."""
    words = {"teacher": "teacher", "alone": "student alone", "distilled": "student, distilled"}
    return plot_confusions({title: np.array(report["confusion"][name]) for name, title in words.items()})


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write distill.json and distill_confusions.png into a folder; return the files' names."""
    write_report(folder / "distill.json", report)
    picture(report).savefig(folder / "distill_confusions.png", dpi=110)
    return ["distill.json", "distill_confusions.png"]


def experiment(study: Study, paths: Sequence[Path], given: bool) -> Experiment:
    """Return the study with the teachers of these checkpoints. given: whether somebody chose them, for the report."""
    plans = plans_of(study, paths)
    return Experiment(plans, plans, work, partial(report_on, study, paths, given), as_table, write, files_of)
