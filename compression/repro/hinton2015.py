"""Hinton, Vinyals and Dean 2015: what a large network has learned about digits, told to a smaller one by soft targets."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import minigrad
from minigrad.checkpoint import load_checkpoint, save_checkpoint, to_json
from minigrad.datasets import ImageDataset
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Dropout, Flatten, Linear, Module, ReLU, Sequential
from minigrad.optim import SGD, max_norm_
from minigrad.optim.schedules import CosineAnnealingLR, OneCycleLR
from minigrad.tensor import Array
from minigrad.transforms import Jitter

from ..distillation import DistillationLoss, ShiftAveraged, distill, teacher_logits
from ..sweep import Job, stored
from .common import images

TEMPERATURES = (1, 2, 3, 4, 8, 20)
WIDTHS = (800, 300, 30)
SHIFTS = [round(0.1 * i, 1) for i in range(151)]
"""By how much a bias may be raised or lowered."""


@dataclass(frozen=True)
class Plan:
    """How a network is trained, by labels or by a teacher.

    Attributes:
        width: units of each of the two hidden layers.
        epochs: of training.
        lr: falls to zero along half a cosine.
        warmup: share of the steps in which it rises to there, also along half a cosine.
        momentum, batch_size: of SGD.
        input_dropout, dropout: rates on the pixels and on hidden units.
        max_norm: largest length of a unit's incoming weights, None for any.
        jitter: pixels by which images are moved, at most.
        temperature: of the soft targets, None to learn from labels.
        alpha: weight of the soft targets; the rest is that of the labels.
        classes: digits of the transfer set, None for all.
        correction: -1 if biases of these classes are lowered afterwards, 1 if those of the missing classes are raised.
        images: how many to train on, None for all.
        teacher: its plan, so that a student is trained anew when its teacher is.
        teacher_shift: the teacher says the mean of its logits of the image moved by up to so many pixels.
    """

    width: int
    epochs: int
    lr: float = 0.1
    warmup: float = 0.0
    momentum: float = 0.9
    batch_size: int = 128
    input_dropout: float = 0.0
    dropout: float = 0.0
    max_norm: float | None = None
    jitter: int = 0
    temperature: float | None = None
    alpha: float = 1.0
    classes: tuple[int, ...] | None = None
    correction: int = 0
    images: int | None = None
    teacher: "Plan | None" = None
    teacher_shift: int = 0


TEACHER_SHIFTS = (0, 1)
"""What students may ask for; each teacher leaves its logits for both behind."""

TEACHER = Plan(width=1200, epochs=80, dropout=0.15, max_norm=3.5, jitter=2)
STUDENT = Plan(width=800, epochs=40)
# T² makes the first gradients of soft targets large: at twice this rate, or without a warm-up, units may die for good.
GENTLY = {"lr": 0.05, "warmup": 0.2}


def plans(teacher: Plan, student: Plan, temperatures: Sequence[float], widths: Sequence[int]) -> dict[str, Plan]:
    """Return part → plan: the teacher, students without and with it, transfer sets that lack digits, the sweep of T."""
    alone = replace(student, images=teacher.images)
    taught = replace(alone, temperature=20, teacher=teacher, teacher_shift=1, **GENTLY)
    epochs = 5 * taught.epochs  # a fifth of the images makes as many steps in five times the epochs
    few = replace(taught, epochs=epochs, classes=(7, 8), correction=-1)
    first = {
        "teacher": teacher,
        "800-alone": alone,
        "800-T20": taught,
        "800-T20-unmoved": replace(taught, teacher_shift=0),
        "without-3": replace(taught, classes=tuple(k for k in range(10) if k != 3), correction=1),
        "only-7-8": few,
    }
    sweep = {f"{width}-alone": replace(alone, width=width) for width in widths}
    sweep |= {f"{width}-T{t}": replace(taught, width=width, temperature=t) for width in widths for t in temperatures}
    return first | sweep


PLANS = plans(TEACHER, STUDENT, TEMPERATURES, WIDTHS)
QUICK = plans(replace(TEACHER, images=12_000, epochs=16), replace(STUDENT, epochs=16), (1, 4, 20), (300, 30))


def network(plan: Plan) -> Module:
    """Return a new network, 784-width-width-10, with ReLU, for pixels from 0 to 1."""
    return Sequential(
        Flatten(), Dropout(plan.input_dropout), Linear(784, plan.width), ReLU(),
        Dropout(plan.dropout), Linear(plan.width, plan.width), ReLU(),
        Dropout(plan.dropout), Linear(plan.width, 10),
    )  # fmt: skip


def work(job: Job) -> dict[str, Any]:
    """Train one network; count its errors on the test images and on those held out.

    A teacher leaves its weights and its logits of the training images behind, for the students of its seed.

    Returns:
        {"held_out_errors", "test_errors", "held_out_images", "test_images"}, and what `correct` returns, if planned.
    """
    plan: Plan = job.settings
    training, held_out, test = images(job.data, plan.images)
    model = _train(job, training)
    if job.part == "teacher":
        save_checkpoint(_teacher_file(job), model, seed=job.seed)
        for shift in TEACHER_SHIFTS:
            logits = _teacher_file(job, f"-logits-{shift}")
            logits.unlink(missing_ok=True)
            teacher_logits(ShiftAveraged(model, shift), pixels(training), logits)
    said = {name: teacher_logits(model, pixels(part)) for name, part in (("held_out", held_out), ("test", test))}
    labels = {"held_out": held_out.labels, "test": test.labels}
    results: dict[str, Any] = {
        f"{name}_errors": int((z.argmax(axis=1) != labels[name]).sum()) for name, z in said.items()
    }
    results |= {"held_out_images": len(held_out), "test_images": len(test)}
    if plan.correction:
        assert plan.classes is not None
        results |= correct(plan.classes, plan.correction, said, labels)
    return results


def pixels(dataset: ImageDataset) -> Array:
    """Return the images as the paper's networks see them: black is 0, white is 1; float32 (N, 1, 28, 28)."""
    return (dataset.pixels / np.float32(255)).astype(np.float32)[:, None]


def _teacher_file(job: Job, rest: str = "") -> Path:
    """Return where the teacher of this seed is, or, with rest="-logits-1", what it says of images moved by up to a pixel."""
    return job.folder / f"teacher-seed-{job.seed}{rest}.safetensors"


def _train(job: Job, training: ImageDataset) -> Module:
    """Train a network as planned, by labels or by its teacher. An interrupted run goes on after its last whole epoch."""
    plan: Plan = job.settings
    wanted = np.isin(training.labels, range(10) if plan.classes is None else plan.classes)
    x = pixels(training)
    jitter = Jitter(plan.jitter, fill=0.0) if plan.jitter else None
    loader = DataLoader(
        x[wanted], training.labels[wanted], plan.batch_size, shuffle=True, seed=job.seed, transform=jitter
    )
    minigrad.manual_seed(job.seed)
    model = network(plan)
    optimizer = SGD(model.parameters(), plan.lr, plan.momentum)
    steps = plan.epochs * len(loader)
    if plan.warmup:
        schedule = OneCycleLR(optimizer, plan.lr, steps, pct_start=plan.warmup)
    else:
        schedule = CosineAnnealingLR(optimizer, steps)
    mark = hashlib.sha256(to_json(job.identity()).encode()).hexdigest()[:8]
    unfinished = job.folder / f"{job.name}-{mark}-unfinished.safetensors"
    settings = {
        "epochs": plan.epochs,
        "schedule": schedule,
        "schedule_each": "step",
        "checkpoint": unfinished,
        "every": len(loader),
        "after_step": partial(_constrain_, limit=plan.max_norm),
    }
    if plan.teacher is None:
        minigrad.fit(model, loader, CrossEntropyLoss(), optimizer, **settings)
    else:
        assert plan.temperature is not None
        soft = DistillationLoss(plan.temperature, plan.alpha)
        distill(model, _ask_teacher(job, x)[wanted], loader, soft, optimizer, **settings)
    unfinished.unlink(missing_ok=True)
    return model


def _constrain_(model: Module, limit: float | None) -> None:
    """Keep each unit's incoming weights within the limit."""
    if limit is not None:
        for p in model.parameters():
            if p.ndim > 1:
                max_norm_(p, limit)


def _ask_teacher(job: Job, x: Array) -> Array:
    """Return the logits of this seed's teacher for all training images."""
    plan: Plan = job.settings
    assert plan.teacher is not None
    if stored(replace(job, part="teacher", settings=plan.teacher)) is None:
        raise FileNotFoundError(f"the teacher of seed {job.seed} is missing in {job.folder}: its run comes first")
    teacher = network(plan.teacher)
    load_checkpoint(_teacher_file(job), teacher)
    said = ShiftAveraged(teacher, plan.teacher_shift)
    return teacher_logits(said, x, _teacher_file(job, f"-logits-{plan.teacher_shift}"))


def correct(
    classes: Sequence[int], sign: int, logits: Mapping[str, Array], labels: Mapping[str, Array]
) -> dict[str, Any]:  # fmt: skip
    """Raise the biases of classes that a student never met, or lower those of the only ones it met.

    Args:
        classes: in the transfer set.
        sign: 1 raises the others, -1 lowers these.
        logits, labels: "held_out" and "test" → (N, 10) and (N,). The amount is chosen on the held-out images alone: the
            middle one of those that leave the fewest errors.

    Returns:
        {"shift": the amount chosen, "corrected_errors": of the test images, "unmet_images", "unmet_errors",
        "unmet_corrected_errors": those of classes not met, "curves": held_out and test errors at each of SHIFTS}.
    """
    unmet = np.setdiff1d(np.arange(10), classes)
    moved = np.isin(np.arange(10), unmet if sign > 0 else classes).astype(np.float32) * sign
    wrong = {
        name: np.array([(z + np.float32(shift) * moved).argmax(axis=1) != labels[name] for shift in SHIFTS])
        for name, z in logits.items()
    }  # (shifts, N)
    counts = {name: w.sum(axis=1) for name, w in wrong.items()}
    best = np.flatnonzero(counts["held_out"] == counts["held_out"].min())
    chosen = int(best[len(best) // 2])
    strange = np.isin(labels["test"], unmet)
    return {
        "shift": SHIFTS[chosen],
        "corrected_errors": int(counts["test"][chosen]),
        "unmet_images": int(strange.sum()),
        "unmet_errors": int(wrong["test"][0][strange].sum()),
        "unmet_corrected_errors": int(wrong["test"][chosen][strange].sum()),
        "curves": {name: [int(n) for n in count] for name, count in counts.items()},
    }
