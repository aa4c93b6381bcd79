"""Argument checks that the parts of distillation share. Each raises one sentence: the function, the shapes, the usual cause."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from minigrad.tensor import Array, Tensor, as_tensor


def check_temperature(name: str, temperature: Any) -> float:
    """Return the temperature as a Python number: a NumPy one would turn float32 into float64."""
    if not isinstance(temperature, Real) or not 0 < float(temperature) < math.inf:
        raise ValueError(f"{name}: temperature is {_shown(temperature)}, expected a finite number above 0")
    return float(temperature)


def check_temperatures(name: str, temperatures: Any) -> Array:
    """Return one or more temperatures as float64 (S,)."""
    values = np.array([check_temperature(name, t) for t in np.atleast_1d(np.asarray(temperatures, float))])
    if not values.size:
        raise ValueError(f"{name}: there are no temperatures, expected one or more")
    return values


def check_alpha(name: str, alpha: Any) -> float:
    """Return the weight of the soft term as a Python number."""
    if not isinstance(alpha, Real) or not 0 <= float(alpha) <= 1:
        raise ValueError(f"{name}: alpha is {_shown(alpha)}, expected 0 (labels only) to 1 (teacher only)")
    return float(alpha)


def _shown(value: Any) -> str:
    """Return a number as people write it, without NumPy's type; anything else as Python writes it."""
    return str(value) if isinstance(value, Real) else repr(value)


def check_weights(name: str, weights: Sequence[float] | None, teachers: int) -> Array:
    """Return the teachers' shares, float64 (M,), which sum to 1."""
    values = np.ones(teachers) if weights is None else np.asarray(weights, float)
    if values.shape != (teachers,):
        raise ValueError(f"{name}: weights has {values.size} numbers for {teachers} teachers, expected one each")
    if not (np.isfinite(values) & (values >= 0)).all() or not values.sum() > 0:
        raise ValueError(f"{name}: weights are {values.tolist()}, expected 0 or more each, and not all 0")
    return values / values.sum()


def check_logits(name: str, logits: Any) -> Array:
    """Return logits as float64 (N, K); one row (K,) is taken as (1, K)."""
    values = np.atleast_2d(np.asarray(as_tensor(logits).data, float))
    if values.ndim != 2 or not values.size:
        raise ValueError(f"{name}: logits must be (N, K), at least one row (logits: {np.shape(values)})")
    return values


def check_teacher(name: str, student: Tensor, teacher_logits: Any) -> Array:
    """Return the teacher's logits, (N, K) or (M, N, K), in the student's dtype, without a graph."""
    teacher = np.asarray(as_tensor(teacher_logits).data)
    shapes = f"(student_logits: {student.shape}, teacher_logits: {teacher.shape})"
    if student.ndim != 2 or teacher.ndim not in (2, 3):
        raise ValueError(f"{name}: logits must be (N, K), or (M, N, K) of M teachers {shapes}")
    if student.shape[1] != teacher.shape[-1]:
        raise ValueError(
            f"{name}: the student has {student.shape[1]} classes, the teacher {teacher.shape[-1]} {shapes}"
        )
    if len(student) != teacher.shape[-2]:
        raise ValueError(
            f"{name}: {len(student)} images for the student, {teacher.shape[-2]} for the teacher {shapes}; "
            "both must see the same batch"
        )
    if not len(student):
        raise ValueError(f"{name}: an empty batch has no mean loss {shapes}")
    if is_one_hot(teacher):
        raise ValueError(
            f"{name}: teacher_logits are one-hot labels, and soft targets are meant; "
            "give the teacher's outputs before softmax, and class numbers as targets"
        )
    if _are_probabilities(teacher):
        raise ValueError(
            f"{name}: teacher_logits are probabilities (no number is negative, each row sums to 1); "
            "give the teacher's outputs before softmax"
        )
    return teacher.astype(student.dtype, copy=False)


def check_labels(name: str, student: Tensor, targets: Any) -> Array:
    """Return class numbers (N,). What else can be wrong with them is left to `cross_entropy`."""
    labels = np.asarray(as_tensor(targets).data)
    if labels.shape == student.shape and is_one_hot(labels):
        raise ValueError(
            f"{name}: targets are one-hot {labels.shape}, expected class numbers ({len(labels)},); "
            "targets.argmax(axis=1) gives them"
        )
    if labels.ndim != 1:
        raise ValueError(
            f"{name}: targets must be class numbers (N,), and the teacher's logits come before them "
            f"(student_logits: {student.shape}, targets: {labels.shape})"
        )
    return labels


def check_needed(name: str, targets: Any, alpha: float) -> None:
    """Refuse to do without labels unless they weigh nothing."""
    if targets is None and alpha < 1:
        raise ValueError(f"{name}: there are no targets, and alpha is {alpha}: only alpha=1 does without labels")


def is_one_hot(rows: Array) -> bool:
    """Whether every row is a single 1 among zeros."""
    return bool(
        rows.size and rows.shape[-1] > 1 and ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=-1) == 1).all()
    )


def _are_probabilities(rows: Array) -> bool:
    if not rows.size or rows.shape[-1] < 2 or rows.min() < 0:  # real logits nearly always end here
        return False
    return bool(np.allclose(rows.sum(axis=-1), 1, rtol=0, atol=1e-4))
