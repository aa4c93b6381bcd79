"""What a teacher is worth to a small LeNet: by T, by α, by the number of images, by jitter; measured on held-out images.

The gain as a heat map, errors on the very images that the teacher gets wrong, and the gap between training and held-out
accuracy: many short trainings, each a job that is kept when it is done.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from minigrad.tensor import Array

from .cli_base import load_lenet
from .distill_study import STUDENT, Lesson, Training, train
from .distillation import checksum_of_model, plot_gain, plot_gap, plot_mistakes_of_the_teacher, teacher_logits
from .distillation.analysis import TeacherMistakes, mistakes_of_the_teacher
from .report import align, write_report
from .repro.common import images
from .sweep import Experiment, Job, Sweep, versions

MNIST_IMAGES = 55_000
FEW = replace(STUDENT, epochs=30)


@dataclass(frozen=True)
class Scan:
    """What is tried.

    Attributes:
        seeds: students for each setting, 2 or more.
        temperatures, alphas: all pairs of them are tried; α = 0 is the student alone.
        student: how it is trained, alone or taught.
        temperature, alpha: of the students with `sizes` and `jitters`.
        sizes: numbers of training images; each with as many steps as the student above makes.
        jitters: pixels by which the images are moved, alone and taught alike.
    """

    seeds: int = 3
    temperatures: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
    alphas: tuple[float, ...] = (0.3, 0.6, 0.9, 1.0)
    student: Training = FEW
    temperature: float = 3.0
    alpha: float = 0.9
    sizes: tuple[int, ...] = (500, 2_000, 10_000, 55_000)
    jitters: tuple[int, ...] = (0, 1, 2)


QUICK = Scan(
    seeds=2,
    temperatures=(1.0, 3.0, 20.0),
    alphas=(0.5, 1.0),
    student=replace(FEW, epochs=10, images=2_000),
    sizes=(500, 2_000),
    jitters=(0, 2),
)


def plans_of(scan: Scan, teacher: Path) -> dict[str, Training]:
    """Return how each part is trained, by name: "alone", "T=3 α=0.9", "500 hard", "500 soft", "jitter 1 hard"."""
    marks = (checksum_of_model(load_lenet(teacher)[0]),)
    paths = (str(teacher.resolve()),)
    plain: dict[str, Any] = asdict(scan.student)
    plans: dict[str, Training] = {"alone": scan.student}
    for t in scan.temperatures:
        for a in scan.alphas:
            plans[_name(t, a)] = Lesson(**plain, temperature=t, alpha=a, teachers=paths, checksums=marks)
    steps = scan.student.epochs * (scan.student.images or MNIST_IMAGES)
    changed: dict[str, dict[str, Any]] = {
        str(size): plain | {"images": size, "epochs": max(1, round(steps / size))} for size in scan.sizes
    }
    changed |= {f"jitter {pixels}": plain | {"jitter": pixels} for pixels in scan.jitters}
    for name, how in changed.items():
        plans[f"{name} hard"] = Training(**how)
        plans[f"{name} soft"] = Lesson(
            **how, temperature=scan.temperature, alpha=scan.alpha, teachers=paths, checksums=marks
        )
    return plans


def _name(temperature: float, alpha: float) -> str:
    return f"T={temperature:g} α={alpha:g}"


def work(job: Job) -> dict[str, Any]:
    """Train the student of a job; tell what it takes the held-out images for, and how it reads those it learned from."""
    settings = job.settings
    training, held_out, _ = images(job.data, job.settings.images)
    teacher = load_lenet(Path(settings.teachers[0]))[0] if isinstance(settings, Lesson) else None
    model = train(settings, job.seed, training, teacher)
    learned = np.mean(teacher_logits(model, training).argmax(axis=1) == training.labels)
    predicted = teacher_logits(model, held_out).argmax(axis=1)
    return {
        "training accuracy": 100 * learned,
        "held-out accuracy": 100 * np.mean(predicted == held_out.labels),
        "predictions": "".join(map(str, predicted)),
    }


def report_on(scan: Scan, teacher: Path, sweep: Sweep) -> dict[str, Any]:
    """Compare the students with the ones alone of the same seeds.

    Returns:
        what JSON can hold: "settings"; "alone" (held-out accuracy, percent, one a seed); "gain": name → points, one a seed;
        "mistakes": the fields of `TeacherMistakes`, summed over seeds, at the T of the settings; "gap": "hard", "soft" →
        points, one row a size, one column a seed; "variants": "500", "jitter 1" and so on → "hard", "soft" → held-out
        accuracy, one a seed; "versions"; "seconds".
    """
    found = {name: sweep.results(name) for name in sweep.settings}
    accuracy = {name: np.array([r["held-out accuracy"] for r in each]) for name, each in found.items()}
    names = [_name(t, a) for t in scan.temperatures for a in scan.alphas]
    gap = {
        kind: [
            [r["training accuracy"] - r["held-out accuracy"] for r in found[f"{size} {kind}"]] for size in scan.sizes
        ]
        for kind in ("hard", "soft")
    }
    variants = [str(size) for size in scan.sizes] + [f"jitter {pixels}" for pixels in scan.jitters]
    return {
        "settings": asdict(scan),
        "seeds": sweep.seeds,
        "alone": accuracy["alone"].tolist(),
        "gain": {name: (accuracy[name] - accuracy["alone"]).tolist() for name in names},
        "mistakes": {key: value.tolist() for key, value in _mistakes(scan, teacher, sweep)._asdict().items()},
        "gap": gap,
        "variants": {
            name: {kind: accuracy[f"{name} {kind}"].tolist() for kind in ("hard", "soft")} for name in variants
        },
        "versions": versions(),
        "seconds": round(sum(run["seconds"] for run in sweep.runs)),
        "quick": sweep.quick,
    }


def _mistakes(scan: Scan, teacher: Path, sweep: Sweep) -> TeacherMistakes:
    """Count what the students do on the images that the teacher gets wrong; all seeds together."""
    _, held_out, _ = images(sweep.data)
    said = teacher_logits(load_lenet(teacher)[0], held_out).argmax(axis=1)
    near = _nearest(scan.temperatures, scan.temperature)
    parts = {0.0: "alone"} | {a: _name(near, a) for a in scan.alphas}
    students = {
        a: np.concatenate([_digits(r["predictions"]) for r in sweep.results(name)]) for a, name in parts.items()
    }
    seeds = len(sweep.seeds)
    return mistakes_of_the_teacher(np.tile(held_out.labels, seeds), np.tile(said, seeds), students)


def _nearest(temperatures: Sequence[float], wanted: float) -> float:
    return min(temperatures, key=lambda t: abs(t - wanted))


def _digits(text: str) -> Array:
    return np.array(list(text), dtype=np.int64)


def gains(report: dict[str, Any]) -> Array:
    """Return the mean gain in points, a row for each α, a column for each T."""
    scan = report["settings"]
    return np.array([[np.mean(report["gain"][_name(t, a)]) for t in scan["temperatures"]] for a in scan["alphas"]])


def as_table(report: dict[str, Any]) -> str:
    """Lay the gains out as text: a row for each α, a column for each T."""
    scan = report["settings"]
    rows = [["mean gain (points), T =", *(f"{t:g}" for t in scan["temperatures"])]]
    for a, line in zip(scan["alphas"], gains(report), strict=True):
        rows.append([f"α = {a:g}", *(f"{value:+.2f}" for value in line)])
    variants = [["at T = {temperature:g}, α = {alpha:g}".format(**scan), "alone (%)", "taught (%)", "gain (points)"]]
    for name, found in report["variants"].items():
        hard, soft = np.mean(found["hard"]), np.mean(found["soft"])
        words = f"{name} pixels" if name.startswith("jitter") else f"{int(name):,} training images"
        variants.append([words, f"{hard:.2f}", f"{soft:.2f}", f"{soft - hard:+.2f}"])
    alone = f"student alone: {np.mean(report['alone']):.2f} % of the held-out images"
    return f"{alone}\n\n{align(rows)}\n\n{align(variants)}"


def pictures(report: dict[str, Any]) -> dict[str, Figure]:
    """Draw the gain, the errors on the teacher's mistakes, and the gap."""
    scan = report["settings"]
    found = TeacherMistakes(**{key: np.array(value) for key, value in report["mistakes"].items()})
    gap = {
        "hard targets": report["gap"]["hard"],
        f"soft targets, T = {scan['temperature']:g}, α = {scan['alpha']:g}": report["gap"]["soft"],
    }
    drawn = {
        "distill_gain": plot_gain(gains(report), scan["temperatures"], scan["alphas"]),
        "distill_mistakes": plot_mistakes_of_the_teacher(found),
        "distill_gap": plot_gap(scan["sizes"], gap, "held-out"),
    }
    seeds, count = scan["seeds"], scan["student"]["images"] or MNIST_IMAGES
    near = _nearest(scan["temperatures"], scan["temperature"])
    drawn["distill_gain"].suptitle(f"{count:,} training images, held-out accuracy, mean of {seeds} seeds", fontsize=9)
    drawn["distill_mistakes"].suptitle(f"held-out images, {seeds} seeds together, T = {near:g}", fontsize=9)
    drawn["distill_gap"].suptitle(f"mean of {seeds} seeds with 95 % intervals, as many steps for all", fontsize=9)
    return drawn


def write(folder: Path, report: dict[str, Any]) -> list[str]:
    """Write distill_scan.json and the pictures into a folder; return the files' names."""
    write_report(folder / "distill_scan.json", report)
    drawn = pictures(report)
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
    return ["distill_scan.json", *(f"{name}.png" for name in drawn)]


def experiment(scan: Scan, teacher: Path) -> Experiment:
    """Return the scan with one teacher: the checkpoint of one that has not seen the held-out images."""
    plans = plans_of(scan, teacher)
    return Experiment(plans, plans, work, partial(report_on, scan, teacher), as_table, write)
