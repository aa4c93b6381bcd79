"""Notebook 08: distillation."""

import numpy as np

from minigrad import Tensor
from minigrad.compression.distillation import DistillationLoss, soft_targets

from .checking import Task


def exercise_1():
    """A temperature."""
    return Task(
        6 / np.log(3),
        hint="The odds are 0.75 : 0.25 = 3, and at temperature T they are e^(6/T).",
        stronger="e^(6/T) = 3, so 6/T = log 3.",
        mistakes=[
            (np.log(3) / 6, "That is 1/T: e^(6/T) = 3 gives 6/T = log 3."),
            (6 / np.log(4), "The odds count, 0.75 to 0.25, not 1 to 0.25."),
            (6 / np.log10(3), "The natural logarithm is meant: np.log, not np.log10."),
            (6 * np.log(3), "The logits are divided by T: 6/T, not 6T or T/6."),
        ],
    )


def exercise_2(T, alpha, v, z, y):  # noqa: N803 - the notebook's name
    """The gradient of the whole loss."""
    x = Tensor(z, requires_grad=True)
    DistillationLoss(T, alpha)(x, v, y.argmax(axis=1)).backward()
    p, q, q_1 = soft_targets(v, T), soft_targets(z, T), soft_targets(z)
    soft, hard = alpha * T * (q - p), (1 - alpha) * (q_1 - y)
    return Task(
        x.grad,
        hint="Two terms, each weighed: the gradient of KL is (q - p) / T, that of the cross-entropy is q_1 - y.",
        stronger="T² times 1/T is T: the soft part is alpha · T · (q - p).",
        mistakes=[
            (soft / T**2 + hard, "T² is missing: (q - p) / T, times T²."),
            (soft * T + hard, "The 1/T of the gradient is missing: T² / T = T."),
            (-soft - hard, "The sign: where the student says too much (q > p), the loss rises with its logit."),
            (soft + (1 - alpha) * (q - y), "The label is compared at T = 1: with q_1, not with q."),
            (soft, "That is the soft part. The label has its share as well."),
        ],
    )


def exercise_3():
    """Two teachers whose mean of logits says nothing."""
    cancel = "The friend's three classes are not alike: the two teachers' logits must cancel, class by class."
    undecided = "Both teachers are undecided. Let each be sure, of different classes."
    surer = "Make the teachers surer of the second and the third class."

    def judge(answer):
        try:
            teachers = np.asarray(answer, float)
        except (TypeError, ValueError):
            return f"expected an array of shape (2, 1, 3), got {type(answer).__name__}", "Teachers, images, classes."
        if teachers.shape != (2, 1, 3) or not np.isfinite(teachers).all():
            return f"expected an array of shape (2, 1, 3), got {teachers.shape}", "Teachers, images, classes."
        friend, ensemble = soft_targets(teachers.mean(axis=0))[0], soft_targets(teachers)[0]
        if not np.allclose(friend, 1 / 3):
            return f"expected three equal probabilities for the friend, got {friend.round(3)}", cancel
        if ensemble[0] >= 0.01:
            hint = undecided if np.allclose(ensemble, 1 / 3) else surer
            return f"expected a first class below 0.01 for the ensemble, got {ensemble[0]:.3f}", hint
        return None

    return Task(
        None,
        judge=judge,
        hint="Which logits have a mean of 0, though neither teacher is undecided?",
        stronger="Let one teacher give the second class 9 and the third -9, and the other the opposite.",
        mistakes=[
            (np.array([[[0.0, 9, -9]], [[0, 9, -9]]]), cancel),
            (np.zeros((2, 1, 3)), undecided),
            (np.array([[[0.0, 1, -1]], [[0, -1, 1]]]), surer),
        ],
    )
