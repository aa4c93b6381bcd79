"""Training a student by a teacher."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import minigrad
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss, Module
from minigrad.optim import Optimizer
from minigrad.tensor import Tensor

from .hints import Hint, capture
from .teachers import SoftBatch, SoftLoader


def distill(
    student: Module,
    teacher: Any,
    loader: DataLoader,
    loss: Callable[..., Tensor],
    optimizer: Optimizer,
    epochs: int,
    *,
    hints: Sequence[Hint] = (),
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> list[float]:
    """Train a student in place by what a teacher says. The teacher stays as it is, to the last byte.

    Args:
        student: is trained.
        teacher: a Module, or several (an ensemble), run on every batch as the student sees it; or logits computed once by
            `teacher_logits`, (N, K) or (M, N, K), row n for the loader's image n.
        loader: images, labels, batch size, order, and a `transform` such as `transforms.Jitter`, which needs the teacher
            itself: see `SoftLoader`.
        loss: called as loss(student_logits, teacher_logits, labels), such as DistillationLoss.
        optimizer: of the student's parameters, and of the hints' regressors.
        epochs: how many.
        hints: what else is compared, inside both; needs one teacher itself.
        checkpoint, settings: as for `minigrad.fit`: a file to go on from after an interruption; schedule, after_step ...
            `SparsePruner.apply_` goes into after_step to keep a pruned student pruned.

    Returns:
        The mean loss of each epoch.

    Raises:
        ValueError: the optimizer lacks a parameter of the student, or holds one of the teacher; student and teacher share
            parameters; a hint has no teacher to look into, or a regressor that `checkpoint` would lose.

    Source:
        Hinton et al. 2015; for hints, see `hint_loss` and `attention_loss`.

    Example:
        >>> import numpy as np
        >>> from minigrad import nn, optim
        >>> from minigrad.compression.distillation import DistillationLoss
        >>> teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
        >>> loader = DataLoader(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 0]), batch_size=2)
        >>> optimizer = optim.SGD(student.parameters(), lr=0.1)
        >>> losses = distill(student, teacher, loader, DistillationLoss(2.0, 0.5), optimizer, epochs=20)
        >>> losses[-1] < losses[0]
        True
    """
    soft = SoftLoader(loader, teacher)
    _check_parameters(student, soft.models, optimizer, hints)
    if hints and len(soft.models) != 1:
        raise ValueError("distill: a hint looks into one teacher; give the teacher itself, neither logits nor several")
    if checkpoint is not None and any(hint.regressor is not None for hint in hints):
        raise ValueError("distill: a checkpoint keeps the student, not the hints' regressors; leave one of them out")
    with ExitStack() as stack:
        ours: dict[str, Tensor] = {}
        theirs: dict[str, Tensor] = {}
        if hints:
            ours = stack.enter_context(capture(student, [hint.student for hint in hints]))
            theirs = stack.enter_context(capture(soft.models[0], [hint.teacher for hint in hints]))

        def loss_fn(logits: Tensor, targets: SoftBatch) -> Tensor:
            total = loss(logits, targets.logits, targets.labels)
            for hint in hints:
                total = total + hint(ours[hint.student], theirs[hint.teacher])
            return total

        return minigrad.fit(student, soft, loss_fn, optimizer, epochs, checkpoint=checkpoint, **settings)


def _check_parameters(student: Module, teachers: Sequence[Module], optimizer: Optimizer, hints: Sequence[Hint]) -> None:
    held = {id(p) for p in optimizer.params}
    own = {id(p) for p in student.parameters()}
    taught_by = {id(p) for teacher in teachers for p in teacher.parameters()}
    if own & taught_by:
        raise ValueError(
            "distill: student and teacher share parameters, so that the teacher would change; "
            "a student that learns from its earlier self learns from copy.deepcopy(student)"
        )
    if held & taught_by:
        raise ValueError(
            "distill: the optimizer holds parameters of the teacher; make it of the student's: student.parameters()"
        )
    missing = [name for name, p in student.named_parameters() if p.requires_grad and id(p) not in held]
    missing += [
        f"the regressor's {name}"
        for hint in hints
        if hint.regressor is not None
        for name, p in hint.regressor.named_parameters()
        if id(p) not in held
    ]
    if missing:
        raise ValueError(
            f"distill: the optimizer lacks {missing[0]}, which would never change; freeze it if that is meant"
        )


def born_again(
    make_student: Callable[[], Module],
    loader: DataLoader,
    loss: Callable[..., Tensor],
    make_optimizer: Callable[..., Optimizer],
    epochs: int,
    generations: int = 2,
    **settings: Any,
) -> list[Module]:
    """Distill a network into fresh ones of its own kind, again and again: self-distillation.

    The first is trained on labels alone, each other one by the one before it.

    Args:
        make_student: makes a new, untrained network.
        loader: as for `distill`; each generation meets the same batches.
        loss: as for `distill`.
        make_optimizer: called with the parameters of each.
        epochs: for each generation.
        generations: how many networks, 1 or more.
        settings: as for `minigrad.fit`, without a checkpoint.

    Returns:
        The networks, first to last. Together they are an ensemble: give the list to `teacher_logits`.

    Raises:
        ValueError: generations is below 1, or a checkpoint is given, which all generations would share.

    Source:
        Furlanello et al., "Born-again neural networks", 2018.
    """
    if generations < 1:
        raise ValueError(f"born_again: generations is {generations}, expected 1 or more")
    if settings.get("checkpoint") is not None:
        raise ValueError("born_again: one checkpoint cannot serve several networks; leave it out")
    family: list[Module] = []
    for _ in range(generations):
        student = make_student()
        optimizer = make_optimizer(student.parameters())
        if family:
            distill(student, family[-1], loader, loss, optimizer, epochs, **settings)
        else:
            minigrad.fit(student, loader, CrossEntropyLoss(), optimizer, epochs, **settings)
        family.append(student)
    return family
