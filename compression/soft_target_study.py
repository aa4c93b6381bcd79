"""What a teacher says besides the answer: soft targets of real digits against T, and each claim about T in numbers.

The gradients are those of a student that has begun to learn; `distill_study` trains students to the end.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad
from minigrad.datasets import ImageDataset
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Module
from minigrad.optim import Adam
from minigrad.tensor import Array

from .distillation import analysis, plot_explorer, plots, teacher_logits
from .models import LeNet
from .report import align, write_report
from .sweep import versions

TOLD = (0.5, 1.0, 2.0, 4.0, 20.0, 100.0)
"""Temperatures of the table; all pictures begin below the first and end at the last."""


@dataclass(frozen=True)
class Study:
    """What to look at.

    Attributes:
        temperatures: how many, from 0.25 to 100, evenly in their logarithm.
        digit: images of this one are shown.
        others: classes that they may look like.
        lead: see `choose_digits`.
        widths: of the student, a LeNet.
        images: that the student has learned from, once; in batches of 64, with Adam at 0.003.
        noise: standard deviation of the noise on the teacher's lowest logits.
        lowest: how many of them get it, a curve each.
        seed: of the student and of the noise.
    """

    temperatures: int = 41
    digit: int = 2
    others: tuple[int, ...] = (3, 7)
    lead: float = 3.0
    widths: tuple[int, ...] = (4, 8, 22, 16)
    images: int = 5_000
    noise: float = 2.0
    lowest: tuple[int, ...] = (1, 3, 5)
    seed: int = 0


def choose_digits(logits: Array, labels: Array, digit: int, others: tuple[int, ...], lead: float) -> list[int]:
    """Return numbers of images that the teacher reads correctly as `digit`.

    Args:
        logits: of the teacher, (N, K).
        labels: (N,).
        digit: class of the images.
        others: for each an image whose second choice it is.
        lead: in logits, as nearly as possible: of its first choice over the second; and the second is at least as far ahead
            of the third, so that it looks like these two and like no other class.

    Returns:
        one image for each of `others` that is a second choice at all, and last the clearest of all; each once.

    Raises:
        ValueError: the teacher reads no image so.

    Example:
        >>> z = np.array([[9.0, 6.0, 0.0], [9.0, 0.0, 5.0], [9.0, 8.0, 0.0], [9.0, -9.0, -9.0]])
        >>> choose_digits(z, np.zeros(4, int), digit=0, others=(1, 2), lead=3)
        [0, 1, 3]
    """
    order = np.argsort(-logits, axis=1, kind="stable")
    best = np.take_along_axis(logits, order[:, :3], axis=1)
    ahead = best[:, :-1] - best[:, 1:]  # (N, 2)
    off = np.abs(ahead[:, 0] - lead) + np.maximum(lead - ahead[:, -1], 0)
    read = (labels == digit) & (order[:, 0] == digit)
    if not read.any():
        raise ValueError(f"soft targets: the teacher reads none of the {len(labels)} images as the {digit} that it is")
    second = [read & (order[:, 1] == other) for other in others]
    near = [int(np.argmin(np.where(found, off, np.inf))) for found in second if found.any()]
    clearest = int(np.argmax(np.where(read, ahead[:, 0], -np.inf)))
    return list(dict.fromkeys([*near, clearest]))


def run(
    study: Study, teacher: Module, training: ImageDataset, held_out: ImageDataset, say: Callable[[str], Any]
) -> tuple[dict[str, Any], dict[str, Figure]]:
    """Ask a teacher about held-out images, let a student begin to learn, and measure what T does.

    Args:
        study: what to look at.
        teacher: stays as it is.
        training: the student learns from the first of these.
        held_out: all is measured on these.
        say: called with a line of text for the reader.

    Returns:
        (report as JSON can hold it, file name → picture).
    """
    logits, labels = teacher_logits(teacher, held_out).astype(float), held_out.labels
    say(f"the teacher reads {100 * np.mean(logits.argmax(axis=1) == labels):.2f} % of the held-out images")
    student = _beginner(study, training)
    z = teacher_logits(student, held_out).astype(float)
    say(f"the student, one epoch old: {100 * np.mean(z.argmax(axis=1) == labels):.2f} %")
    chosen = choose_digits(logits, labels, study.digit, study.others, study.lead)
    temperatures = np.geomspace(0.25, 100, study.temperatures)
    terms = analysis.gradient_terms(z, logits, labels, temperatures)
    cosines = analysis.gradient_cosine(z, logits, temperatures)
    shares = analysis.negative_share(z, logits, labels, temperatures)
    noise = {
        f"lowest {k} of {logits.shape[1]}": analysis.noise_effect(
            z, logits, temperatures, lowest=k, scale=study.noise, seed=study.seed
        )
        for k in study.lowest
    }
    figures = {
        "soft_targets": plots.plot_soft_targets(logits[chosen], temperatures, held_out.images[chosen], labels[chosen]),
        "temperature_entropy": plots.plot_temperature_entropy(logits, temperatures),
        "gradient_terms": plots.plot_gradient_terms(terms, temperatures),
        "gradient_cosine": plots.plot_gradient_cosine(cosines, temperatures),
        "negative_share": plots.plot_negative_share(shares, temperatures),
        "noise_effect": plots.plot_noise_effect(noise, temperatures, scale=study.noise),
        "temperature_explorer": plot_explorer(logits[chosen[0]], held_out.images[chosen[0]], int(labels[chosen[0]])),
    }
    curves = {
        "entropy": analysis.entropy(logits, temperatures).mean(axis=1),
        "soft gradient": terms.soft,
        "soft gradient times T²": terms.balanced,
        "hard gradient": terms.hard,
        "cosine to logit matching": np.nanmean(cosines, axis=1),
        "share below the mean": shares.below,
        "share above the mean": shares.above,
        **{f"change by noise, {name}": values for name, values in noise.items()},
    }
    report = {
        "settings": asdict(study),
        "digits": [
            {"image": i, "label": int(labels[i]), "logits": [round(float(v), 3) for v in logits[i]]} for i in chosen
        ],
        "temperatures": temperatures.tolist(),
        "curves": {name: values.tolist() for name, values in curves.items()},
        "versions": versions(),
    }
    return report, figures


def _beginner(study: Study, training: ImageDataset) -> Module:
    """Return a student after an epoch of labels."""
    minigrad.manual_seed(study.seed)
    student, few = LeNet(widths=study.widths), training.subset(np.arange(len(training))[: study.images])
    loader = DataLoader(few.images, few.labels, 64, shuffle=True, seed=study.seed)
    minigrad.train(student, loader, CrossEntropyLoss(), Adam(student.parameters(), lr=0.003))
    return student


def as_table(report: dict[str, Any]) -> str:
    """Lay the curves out as text: a row for each, a column for some temperatures (interpolated in log T)."""
    at, measured = np.log(TOLD), np.log(report["temperatures"])
    rows = [["mean over images, at T =", *(f"{t:g}" for t in TOLD)]]
    rows += [[name, *(f"{v:.3g}" for v in np.interp(at, measured, curve))] for name, curve in report["curves"].items()]
    return align(rows)


def write(folder: Path, report: dict[str, Any], figures: dict[str, Figure]) -> list[str]:
    """Write soft_targets.json and the pictures into a folder; return the files' names."""
    write_report(folder / "soft_targets.json", report)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
    return ["soft_targets.json", *(f"{name}.png" for name in figures)]
