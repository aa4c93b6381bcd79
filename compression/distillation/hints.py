"""Learning from what lies inside a teacher: its features (FitNets) or where it looks (attention transfer)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad import nn
from minigrad.tensor import Tensor, as_tensor


@contextmanager
def capture(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep what modules of a model put out at its latest run, while the block lasts.

    Args:
        model: is not changed.
        names: of its modules, as `named_modules` gives them, such as "conv2".

    Yields:
        name → Tensor of the latest forward.

    Raises:
        KeyError: the model has no such module.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> with capture(model, ["0"]) as features:
        ...     y = model(np.ones((5, 2), np.float32))
        >>> features["0"].shape
        (5, 3)
    """
    modules, seen = dict(model.named_modules()), {}
    if unknown := [name for name in names if name not in modules]:
        raise KeyError(
            f"capture: {type(model).__name__} has no module {unknown[0]!r}; it has {', '.join(n for n in modules if n)}"
        )

    def remember(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: seen.update({name: output})

    removers = [modules[name].register_forward_hook(remember(name)) for name in names]
    try:
        yield seen
    finally:
        for remove in removers:
            remove()


def regressor(student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> nn.Module:
    """Return a layer that maps a student's features to the shape of a teacher's.

    Args:
        student_shape, teacher_shape: of the features, without the batch axis: (D,), or (C, H, W). The student's maps may be
            larger: the convolution is then as large as the difference and one pixel more, without padding.

    Raises:
        ValueError: the shapes have other numbers of axes, or the student's maps are smaller.

    Source:
        Romero et al., "FitNets: hints for thin deep nets", 2015, section 2.2.

    Example:
        >>> regressor((4, 12, 12), (16, 8, 8)).weight.shape
        (16, 4, 5, 5)
    """
    if len(student_shape) == len(teacher_shape) == 1:
        return nn.Linear(student_shape[0], teacher_shape[0])
    if len(student_shape) != 3 or len(teacher_shape) != 3:
        raise ValueError(
            f"regressor: both features must be (D,) or both (C, H, W) (student: {student_shape}, teacher: {teacher_shape})"
        )
    height, width = (s - t + 1 for s, t in zip(student_shape[1:], teacher_shape[1:], strict=True))
    if min(height, width) < 1:
        raise ValueError(
            f"regressor: the student's maps are smaller than the teacher's (student: {student_shape}, "
            f"teacher: {teacher_shape}); choose an earlier layer of the student"
        )
    return nn.Conv2d(student_shape[0], teacher_shape[0], (height, width))


def hint_loss(student_features: Any, teacher_features: Any, regressor: nn.Module | None = None) -> Tensor:
    """Half the squared distance between the teacher's features and the student's, averaged over the batch.

    Args:
        student_features: Tensor (N, ...).
        teacher_features: (N, ...), taken as numbers: no gradient reaches the teacher.
        regressor: maps the student's features to the teacher's shape; None if they have it.

    Raises:
        ValueError: the shapes differ.

    Source:
        Romero et al. 2015, equation 3.

    Example:
        >>> hint_loss(np.array([[1.0, 0.0]]), np.array([[4.0, 4.0]])).item()
        12.5
    """
    x, y = as_tensor(student_features), as_tensor(teacher_features).detach()
    x = x if regressor is None else regressor(x)
    if x.shape != y.shape:
        raise ValueError(
            f"hint_loss: the student's features are {x.shape}, the teacher's {y.shape}; "
            "a regressor maps one to the other: regressor(student_shape, teacher_shape)"
        )
    return ((x - y) ** 2).sum() / (2 * len(x))


def attention_map(features: Any) -> Tensor:
    """(N, C, H, W) -> (N, H·W): the sum over channels of squared values, each image's map divided by its length.

    Raises:
        ValueError: features have another number of axes.
    """
    x = as_tensor(features)
    if x.ndim != 4:
        raise ValueError(f"attention_map: features must be (N, C, H, W), got {x.shape}")
    energy = F.flatten((x * x).sum(axis=1), start_dim=1)  # (N, H·W)
    # Divided by the largest first: squares of squares would leave float32's range. A map of zeros, or nearly, stays one.
    largest, limits = energy.data.max(axis=1, keepdims=True), np.finfo(x.dtype)
    scaled = energy / as_tensor(np.where(largest > limits.tiny / limits.eps, largest, 1).astype(x.dtype))
    return scaled / F.sqrt((scaled * scaled).sum(axis=1, keepdims=True) + float(limits.eps))


def attention_loss(student_features: Any, teacher_features: Any) -> Tensor:
    """Squared distance between the attention maps of student and teacher, averaged over the batch.

    Args:
        student_features: Tensor (N, C, H, W).
        teacher_features: (N, D, H, W), any number of channels; no gradient reaches the teacher.

    Raises:
        ValueError: the maps differ in size.

    Source:
        Zagoruyko and Komodakis, "Paying more attention to attention", 2017, equation 2, squared: so that its gradient is
        finite where both maps agree.

    Example:
        >>> x = np.arange(8.0).reshape(1, 2, 2, 2)
        >>> attention_loss(x, 3 * x).item() < 1e-12  # brightness does not matter, only where it lies
        True
    """
    x, y = as_tensor(student_features), as_tensor(teacher_features).detach()
    if x.shape[:1] + x.shape[2:] != y.shape[:1] + y.shape[2:]:
        raise ValueError(f"attention_loss: maps must be of one size (student: {x.shape}, teacher: {y.shape})")
    return ((attention_map(x) - attention_map(y)) ** 2).sum() / len(x)


@dataclass(frozen=True)
class Hint:
    """One thing that a student learns from inside its teacher, for `distill`.

    Attributes:
        student, teacher: names of modules, such as "conv2", whose outputs are compared.
        weight: factor of this term.
        regressor: for `hint_loss`: a layer from `regressor`; its parameters belong into the optimizer.
        attention: compare where they look (`attention_loss`), not what they see.
    """

    student: str
    teacher: str
    weight: float = 1.0
    regressor: nn.Module | None = None
    attention: bool = False

    def __call__(self, student_features: Any, teacher_features: Any) -> Tensor:
        """(N, ...), (N, ...) -> a single number"""
        if self.attention:
            return self.weight * attention_loss(student_features, teacher_features)
        return self.weight * hint_loss(student_features, teacher_features, self.regressor)
