"""What temperature does, in numbers: entropies, gradients, confusions, mistakes. `plots` draws what is computed here.

Everything is computed in float64, by the engine's own backward: for T = 1,000 the differences left in float32 are rounding.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minigrad.loader import DataLoader
from minigrad.nn import Module
from minigrad.tensor import Array, Tensor

from .checks import check_alpha, check_labels, check_logits, check_temperatures
from .losses import DistillationLoss, LogitMatchingLoss, soft_targets
from .teachers import teacher_logits as logits_of


def entropy(logits: Any, temperatures: Any) -> Array:
    """Return the entropy of softmax(logits / T), in nats: 0 is certain, log K knows nothing. It rises with T.

    Args:
        logits: (N, K), or (K,) for one image.
        temperatures: S numbers above 0.

    Returns:
        float64 (S, N).

    Raises:
        ValueError: a temperature is not a finite number above 0; logits have another shape.

    Example:
        >>> entropy([[0.0, 0.0]], [1, 5]).round(4)
        array([[0.6931],
               [0.6931]])
    """
    logits = check_logits("entropy", logits)
    p = np.stack([soft_targets(logits, t) for t in check_temperatures("entropy", temperatures)])  # (S, N, K)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)


def soft_gradient(student_logits: Any, teacher_logits: Any, temperature: float, balance: bool = False) -> Array:
    """Return the gradient of each image's soft term with respect to the student's logits: (q - p) / T, times T² if balanced.

    Returns:
        float64 (N, K).

    Raises:
        ValueError: see `DistillationLoss`.

    Example:
        >>> soft_gradient([[0.0, 0.0]], [[2 * np.log(3), 0.0]], temperature=2)
        array([[-0.125,  0.125]])
    """
    student, teacher = _pair("soft_gradient", student_logits, teacher_logits)
    z = Tensor(student, requires_grad=True)
    loss = DistillationLoss(temperature, 1.0, balance=balance)
    (loss(z, teacher) * len(student)).backward()  # the loss is a mean over images: undone, for the gradient of each
    return _gradient(z)


class GradientTerms(NamedTuple):
    """Length of the gradient with respect to an image's logits, mean over images, float64 (S,), one a temperature.

    Attributes:
        soft: of the soft term as it is; falls as 1/T².
        balanced: of the soft term times T².
        hard: of the cross-entropy with the labels, which knows no temperature.
    """

    soft: Array
    balanced: Array
    hard: Array


def gradient_terms(
    student_logits: Any, teacher_logits: Any, targets: Any, temperatures: Any, alpha: float | None = None
) -> GradientTerms:
    """Measure the two terms' gradients against T, with and without T².

    Args:
        student_logits, teacher_logits: (N, K).
        targets: class numbers (N,).
        temperatures: S numbers above 0.
        alpha: weighs the terms by α and 1 − α; None compares them as they are.

    Raises:
        ValueError: see `DistillationLoss`.
    """
    student, teacher = _pair("gradient_terms", student_logits, teacher_logits)
    share = (1.0, 1.0) if alpha is None else (check_alpha("gradient_terms", alpha), 1 - alpha)
    temperatures = check_temperatures("gradient_terms", temperatures)
    z = Tensor(student, requires_grad=True)
    (DistillationLoss(1.0, 0.0)(z, teacher, targets) * len(student)).backward()
    hard = share[1] * _mean_length(_gradient(z))
    soft = share[0] * np.array([_mean_length(soft_gradient(student, teacher, t)) for t in temperatures])
    return GradientTerms(soft, soft * temperatures**2, np.full(len(temperatures), hard))


def gradient_cosine(student_logits: Any, teacher_logits: Any, temperatures: Any) -> Array:
    """Return the cosine between the gradients of the soft term and of logit matching: towards 1 for large T.

    Logits are first given mean 0 in every row, as the limit assumes. Softmax does not notice; logit matching does.

    Returns:
        float64 (S, N), one for each temperature and image. An image whose logits agree already has no direction: NaN.

    Raises:
        ValueError: see `DistillationLoss`.

    Source:
        Hinton et al. 2015, section 2.1.
    """
    student, teacher = _pair("gradient_cosine", student_logits, teacher_logits)
    student, teacher = (z - z.mean(axis=1, keepdims=True) for z in (student, teacher))
    z = Tensor(student, requires_grad=True)
    LogitMatchingLoss()(z, teacher).backward()
    matching = _gradient(z)
    cosines = []
    for temperature in check_temperatures("gradient_cosine", temperatures):
        soft = soft_gradient(student, teacher, temperature, balance=True)
        lengths = np.linalg.norm(soft, axis=1) * np.linalg.norm(matching, axis=1)
        cosines.append(np.divide((soft * matching).sum(axis=1), lengths, np.full(len(soft), np.nan), where=lengths > 0))
    return np.array(cosines)


class LabelShares(NamedTuple):
    """Where the soft term's gradient goes: shares of its absolute values, mean over images, float64 (S,). They sum to 1.

    Attributes:
        positive: the image's own class.
        above: other classes whose teacher's logit is above the mean of those others.
        below: other classes at or below it.
    """

    positive: Array
    above: Array
    below: Array


def negative_share(student_logits: Any, teacher_logits: Any, targets: Any, temperatures: Any) -> LabelShares:
    """Measure how much of the gradient goes to negative labels, above and below their mean, against T.

    Args:
        student_logits, teacher_logits: (N, K). Logits of 0 stand for a student that knows nothing yet.
        targets: class numbers (N,): the positive label of each image.
        temperatures: S numbers above 0; below 1 too.

    Raises:
        ValueError: see `DistillationLoss`; or the student agrees with the teacher on every image. An image
            on which they agree up to rounding has no gradient to share, and is left out.

    Source:
        The article on distillation claims: at a low temperature labels far below the mean get little attention, at a high
        one more.
    """
    student, teacher = _pair("negative_share", student_logits, teacher_logits)
    labels = check_labels("negative_share", Tensor(student), targets)
    positive = np.eye(student.shape[1], dtype=bool)[labels]
    negatives = np.where(positive, np.nan, teacher)
    above = ~positive & (teacher > np.nanmean(negatives, axis=1, keepdims=True))
    below = ~positive & ~above
    shares = []
    for temperature in check_temperatures("negative_share", temperatures):
        size = np.abs(soft_gradient(student, teacher, temperature))
        total = size.sum(axis=1)
        kept = _with_gradient("negative_share", temperature, total)
        shares.append([((size * group).sum(axis=1)[kept] / total[kept]).mean() for group in (positive, above, below)])
    return LabelShares(*np.array(shares).T)


def noise_effect(
    student_logits: Any, teacher_logits: Any, temperatures: Any, *, lowest: int = 3, scale: float = 2.0, seed: int = 0
) -> Array:
    """Add noise to the teacher's lowest logits, and measure how much of the soft term's gradient changes.

    Args:
        student_logits, teacher_logits: (N, K).
        temperatures: S numbers above 0.
        lowest: how many of each image's logits get noise.
        scale: standard deviation of the noise.
        seed: of the noise, which is the same for every temperature.

    Returns:
        |change of the gradient| / |gradient|, both summed over images, float64 (S,).

    Raises:
        ValueError: see `negative_share`; lowest is not between 1 and K - 1.

    Source:
        The article on distillation claims: very low logits act as strong noise at a high temperature, and are filtered out
        at a low one.
    """
    student, teacher = _pair("noise_effect", student_logits, teacher_logits)
    if not 0 < lowest < teacher.shape[1]:
        raise ValueError(
            f"noise_effect: lowest is {lowest}, expected 1 to {teacher.shape[1] - 1} of {teacher.shape[1]}"
        )
    places = np.argsort(teacher, axis=1)[:, :lowest]
    noise = np.random.default_rng(seed).normal(0, scale, places.shape)
    noisy = teacher.copy()
    np.put_along_axis(noisy, places, np.take_along_axis(teacher, places, axis=1) + noise, axis=1)
    effect = []
    for temperature in check_temperatures("noise_effect", temperatures):
        clean = soft_gradient(student, teacher, temperature)
        change = np.linalg.norm(soft_gradient(student, noisy, temperature) - clean, axis=1)
        length = np.linalg.norm(clean, axis=1)
        _with_gradient("noise_effect", temperature, length)
        effect.append(change.sum() / length.sum())
    return np.array(effect)


def predictions(model: Module, loader: DataLoader) -> Array:
    """Return the class that a model gives to each of a loader's images, int64 (N,). Of equal logits the first wins."""
    return logits_of(model, loader.images, batch_size=loader.batch_size).argmax(axis=1)


def confusion_matrix(targets: Any, predicted: Any, classes: int = 10) -> Array:
    """Return how many images of class i (row) were taken for class j (column), int64 (K, K).

    Raises:
        ValueError: the two differ in length, or a class number is not 0 to K - 1.

    Example:
        >>> confusion_matrix([0, 1, 1], [0, 1, 0], classes=2)
        array([[1, 0],
               [1, 1]])
    """
    targets, predicted = np.asarray(targets), np.asarray(predicted)
    if targets.shape != predicted.shape or targets.ndim != 1:
        raise ValueError(
            f"confusion_matrix: expected one prediction an image (targets: {targets.shape}, predicted: {predicted.shape})"
        )
    both = np.concatenate([targets, predicted])
    if both.size and not 0 <= both.min() <= both.max() < classes:
        raise ValueError(
            f"confusion_matrix: classes run from {both.min()} to {both.max()}, expected 0 to {classes - 1}"
        )
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (targets, predicted), 1)
    return matrix


class TeacherMistakes(NamedTuple):
    """What students do on the images that the teacher gets wrong. int64 (A,), one a student, in the order of `alphas`.

    Attributes:
        alphas: float64 (A,), ascending.
        repeated: images with the teacher's very mistake.
        other: images with a mistake of the student's own.
        right: images that the student gets right.
    """

    alphas: Array
    repeated: Array
    other: Array
    right: Array


def mistakes_of_the_teacher(targets: Any, teacher: Any, students: Mapping[float, Any]) -> TeacherMistakes:
    """Count, for students trained with various α, the mistakes on the very images that the teacher gets wrong.

    Args:
        targets: class numbers (N,).
        teacher: the classes that it predicts, (N,).
        students: α → the classes that this student predicts, (N,).

    Raises:
        ValueError: lengths differ, or an α is outside [0, 1].

    Example:
        >>> mistakes_of_the_teacher([3, 5, 8], [3, 8, 3], {0.0: [3, 5, 0], 1.0: [3, 8, 3]}).repeated
        array([0, 2])
    """
    targets, teacher = np.asarray(targets), np.asarray(teacher)
    counts = []
    for alpha in sorted(students):
        check_alpha("mistakes_of_the_teacher", alpha)
        student = np.asarray(students[alpha])
        if not targets.shape == teacher.shape == student.shape:
            raise ValueError(
                f"mistakes_of_the_teacher: expected one class an image (targets: {targets.shape}, "
                f"teacher: {teacher.shape}, student at alpha {alpha:g}: {student.shape})"
            )
        y, t, s = (labels[teacher != targets] for labels in (targets, teacher, student))
        counts.append([(s == t).sum(), ((s != t) & (s != y)).sum(), (s == y).sum()])
    columns = np.array(counts, np.int64).reshape(-1, 3).T
    return TeacherMistakes(np.array(sorted(students), float), *columns)


def _pair(name: str, student_logits: Any, teacher_logits: Any) -> tuple[Array, Array]:
    """Return both as float64 (N, K)."""
    student, teacher = check_logits(name, student_logits), check_logits(name, teacher_logits)
    if student.shape != teacher.shape:
        raise ValueError(
            f"{name}: student and teacher must have one shape (student_logits: {student.shape}, "
            f"teacher_logits: {teacher.shape})"
        )
    return student, teacher


def _gradient(z: Tensor) -> Array:
    assert z.grad is not None
    return z.grad


def _with_gradient(name: str, temperature: float, lengths: Array) -> Array:
    """Return which images have a gradient that is more than rounding."""
    kept = temperature * lengths > 1e-12  # T times the gradient is q - p
    if not kept.any():
        raise ValueError(
            f"{name}: at T = {temperature:g} student and teacher agree on every image: there is no gradient"
        )
    return kept


def _mean_length(gradients: Array) -> float:
    return float(np.linalg.norm(gradients, axis=1).mean())
