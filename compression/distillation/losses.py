"""Losses that teach a student what a teacher's outputs say: softened probabilities, or the logits themselves.

    q_i = exp(z_i / T) / sum_j exp(z_j / T)                       softmax at temperature T
    loss = α · T² · KL(p_teacher(T) || q_student(T)) + (1 - α) · cross-entropy(student at T = 1, labels)

The temperature belongs to training: a trained student is used as any other model, at T = 1.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from minigrad import functional as F
from minigrad.nn import Module
from minigrad.tape import no_grad
from minigrad.tensor import Array, Tensor, as_tensor

from .checks import check_alpha, check_labels, check_needed, check_teacher, check_temperature, check_weights

Soft = Literal["kl", "cross_entropy"]


class Terms(NamedTuple):
    """The two terms of a distillation loss, each a Tensor of one number, neither multiplied by α yet.

    Attributes:
        soft: what the teacher says, T² included.
        hard: what the labels say; None without labels.
    """

    soft: Tensor
    hard: Tensor | None


def soft_targets(teacher_logits: Any, temperature: float = 1.0, weights: Sequence[float] | None = None) -> Array:
    """Return softmax(logits / T); of several teachers, the weighted mean of what each says. No gradient flows here.

    Args:
        teacher_logits: (N, K); of M teachers (M, N, K).
        temperature: T, above 0.
        weights: M numbers, one a teacher, 0 or more; by default all count the same. They are divided by their sum.

    Returns:
        probabilities, (N, K), of the logits' dtype.

    Raises:
        ValueError: the temperature is not a finite number above 0; logits have another number of axes; weights do not fit.

    Source:
        Hinton et al. 2015, equation 1, and section 2: "the arithmetic or geometric mean of their individual predictive
        distributions"; here the arithmetic one.

    Example:
        >>> soft_targets(np.log([[[8.0, 1.0, 1.0]], [[1.0, 8.0, 1.0]]]), weights=[3, 1]).round(3)
        array([[0.625, 0.275, 0.1  ]])
    """
    temperature = check_temperature("soft_targets", temperature)
    logits = np.asarray(as_tensor(teacher_logits).data)
    if logits.ndim not in (2, 3):
        raise ValueError(
            f"soft_targets: logits must be (N, K), or (M, N, K) of M teachers (teacher_logits: {logits.shape})"
        )
    with no_grad():
        p = F.softmax(logits, axis=-1, temperature=temperature).data
    shares = check_weights("soft_targets", weights, len(p) if p.ndim == 3 else 1)
    if p.ndim == 2:
        return p
    return np.einsum("m,mnk->nk", shares.astype(p.dtype), p)


class DistillationLoss(Module):
    """α · T² · KL(teacher ‖ student), both at temperature T, + (1 − α) · cross-entropy with the labels at T = 1.

    KL is summed over the classes and averaged over the batch. The gradient of the soft term falls as 1/T², so T² keeps the
    balance of the two terms when T changes. A term of weight 0 is not computed.

    Args:
        temperature: T, a finite number above 0.
        alpha: weight of the soft term, 0 (labels only) to 1 (teacher only: labels are not needed).
        soft: "kl"; or "cross_entropy", which adds the teacher's entropy, T² times, and has the same gradient.
        balance: whether the soft term is multiplied by T². False is for looking at what happens then.
        weights: one number a teacher, for an ensemble; see `soft_targets`.

    Called with:
        student_logits: (N, K).
        teacher_logits: (N, K), or (M, N, K) of M teachers whose softened probabilities are averaged. Taken as numbers: no
            gradient reaches the teacher.
        targets: class numbers, integers (N,); None if alpha is 1.

    Returns:
        One number as a Tensor. `terms` returns the two terms separately.

    Raises:
        ValueError: temperature, alpha or weights are out of range; teacher and student have different numbers of classes or
            images; the teacher's logits are one-hot labels or probabilities; labels are one-hot or missing.
        TypeError: targets are not integers.

    Source:
        Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015, section 2.

    Example:
        >>> student, teacher = np.array([[1.0, 0.0, -1.0]]), np.array([[5.0, 2.0, -4.0]])
        >>> loss = DistillationLoss(temperature=4, alpha=0.9)
        >>> soft, hard = loss.terms(student, teacher, [0])
        >>> loss(student, teacher, [0]).item() == (0.9 * soft + 0.1 * hard).item()
        True

        Cross-entropy is KL plus the teacher's entropy:

        >>> p = soft_targets(teacher, temperature=4)
        >>> entropy = -(p * np.log(p)).sum()
        >>> with_entropy = DistillationLoss(4, 0.9, soft="cross_entropy").terms(student, teacher, [0])
        >>> bool(np.isclose(with_entropy.soft.item(), soft.item() + 16 * entropy))
        True
    """

    def __init__(
        self,
        temperature: float = 4.0,
        alpha: float = 0.9,
        *,
        soft: Soft = "kl",
        balance: bool = True,
        weights: Sequence[float] | None = None,
    ):
        if soft not in ("kl", "cross_entropy"):
            raise ValueError(f"DistillationLoss: soft is {soft!r}, expected 'kl' or 'cross_entropy'")
        self.temperature = check_temperature("DistillationLoss", temperature)
        self.alpha = check_alpha("DistillationLoss", alpha)
        self.soft: Soft = soft
        self.balance = balance
        self.weights = None if weights is None else [float(w) for w in weights]

    def forward(self, student_logits: Any, teacher_logits: Any, targets: Any = None) -> Tensor:
        """(N, K), (N, K) or (M, N, K), (N,) -> a single number"""
        student = as_tensor(student_logits)
        teacher = check_teacher("DistillationLoss", student, teacher_logits)
        check_needed("DistillationLoss", targets, self.alpha)
        labels = None if targets is None else check_labels("DistillationLoss", student, targets)
        if self.alpha == 0:
            return F.cross_entropy(student, labels)
        if self.alpha == 1:
            return self._soft_term(student, teacher)
        return self.alpha * self._soft_term(student, teacher) + (1 - self.alpha) * F.cross_entropy(student, labels)

    def terms(self, student_logits: Any, teacher_logits: Any, targets: Any = None) -> Terms:
        """Return (soft, hard); the loss is alpha * soft + (1 - alpha) * hard. Without targets hard is None."""
        student = as_tensor(student_logits)
        teacher = check_teacher("DistillationLoss", student, teacher_logits)
        labels = None if targets is None else check_labels("DistillationLoss", student, targets)
        return Terms(self._soft_term(student, teacher), None if labels is None else F.cross_entropy(student, labels))

    def _soft_term(self, student: Tensor, teacher: Array) -> Tensor:
        p = soft_targets(teacher, self.temperature, self.weights)  # (N, K)
        if self.soft == "kl":
            log_q = F.log_softmax(student, axis=1, temperature=self.temperature)  # (N, K)
            term = F.kl_div(log_q, p, reduction="batchmean")
        else:
            term = F.cross_entropy(student / self.temperature, p)
        return term * self.temperature**2 if self.balance else term

    def extra_repr(self) -> str:
        """Settings, for `repr`."""
        words = f"temperature={self.temperature:g}, alpha={self.alpha:g}"
        words += "" if self.soft == "kl" else f", soft={self.soft!r}"
        words += "" if self.balance else ", balance=False"
        return words + ("" if self.weights is None else f", weights={self.weights}")


class LogitMatchingLoss(Module):
    """α · mean squared difference of the logits + (1 − α) · cross-entropy with the labels.

    For large T, and logits with mean 0 in every row, DistillationLoss's soft term comes down to half of this soft term.

    Args:
        alpha: weight of the soft term, 0 to 1.

    Called, and refusing, as DistillationLoss. Logits of several teachers (M, N, K) are averaged.

    Source:
        Ba and Caruana, "Do deep nets really need to be deep?", 2014; Hinton et al. 2015, section 2.1.

    Example:
        >>> LogitMatchingLoss()(np.array([[1.0, 2.0]]), np.array([[4.0, 2.0]])).item()
        4.5
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = check_alpha("LogitMatchingLoss", alpha)

    def forward(self, student_logits: Any, teacher_logits: Any, targets: Any = None) -> Tensor:
        """(N, K), (N, K) or (M, N, K), (N,) -> a single number"""
        check_needed("LogitMatchingLoss", targets, self.alpha)
        soft, hard = self.terms(student_logits, teacher_logits, targets)
        return soft if hard is None or self.alpha == 1 else self.alpha * soft + (1 - self.alpha) * hard

    def terms(self, student_logits: Any, teacher_logits: Any, targets: Any = None) -> Terms:
        """Return (soft, hard); the loss is alpha * soft + (1 - alpha) * hard. Without targets hard is None."""
        student = as_tensor(student_logits)
        teacher = check_teacher("LogitMatchingLoss", student, teacher_logits)
        soft = F.mse_loss(student, teacher.mean(axis=0) if teacher.ndim == 3 else teacher)
        labels = None if targets is None else check_labels("LogitMatchingLoss", student, targets)
        return Terms(soft, None if labels is None else F.cross_entropy(student, labels))

    def extra_repr(self) -> str:
        """Settings, for `repr`."""
        return f"alpha={self.alpha:g}"


def softmax_distillation(alpha: float = 1.0) -> DistillationLoss:
    """The articles' "softmax distillation": the teacher's plain softmax is the target, T = 1.

    Source:
        The model-optimisation article, section 1.2.3.

    Example:
        >>> softmax_distillation()
        DistillationLoss(temperature=1, alpha=1, soft='cross_entropy')
    """
    return DistillationLoss(1.0, alpha, soft="cross_entropy")


def temperature_distillation(temperature: float, alpha: float = 1.0) -> DistillationLoss:
    """The articles' "temperature distillation": teacher and student are softened by the same T.

    The model-optimisation article's formula divides the student's logits only, and its listing neither; the article on
    distillation says, rightly, that both need the same T, and that the student is used at T = 1 afterwards.

    Source:
        The model-optimisation article, section 1.3.3; the article on distillation, pruning and quantization.

    Example:
        >>> temperature_distillation(4)
        DistillationLoss(temperature=4, alpha=1, soft='cross_entropy')
    """
    return DistillationLoss(temperature, alpha, soft="cross_entropy")
