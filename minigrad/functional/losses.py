"""Losses. Each takes `reduction`: "mean" over all that is summed, "sum", or "none"."""

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functional.activations import log_softmax, relu
from minigrad.tensor import Tensor, apply, as_tensor


def cross_entropy(input: Any, target: Any, *, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """-sum of target * log softmax(logits), the loss of a classifier.

    Args:
        input: logits, (N, K): scores before softmax.
        target: class numbers, integers (N,) in 0 ... K - 1; or soft targets, probabilities (N, K).
        reduction: "mean" or "sum" over the batch, or "none".
        label_smoothing: share of each target that is spread evenly over all classes (Szegedy et al. 2016).

    Returns:
        a single number, or (N,) for "none".

    Raises:
        ValueError: shapes do not fit, a class number is out of range, the batch is empty under "mean".
        TypeError: targets are neither integers (N,) nor floats (N, K).

    Example:
        >>> float(cross_entropy([[0.0, 0.0]], [1]).data)
        0.6931471805599453
    """
    logits = as_tensor(input)
    targets = as_tensor(target)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}, expected 0 to 1")
    if logits.ndim == 2 and targets.shape == logits.shape and targets.dtype.kind == "f":
        soft = targets
    else:
        _check_classes("cross_entropy", logits, targets.data)
        if not label_smoothing:
            return _reduce("cross_entropy", apply(ops.CrossEntropy, logits, targets.data), reduction)
        soft = as_tensor(np.eye(logits.shape[1], dtype=logits.dtype)[targets.data])
    if label_smoothing:
        soft = soft * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    return _reduce("cross_entropy", -(soft * log_softmax(logits, axis=1)).sum(axis=1), reduction)


def nll_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """-input[n, target[n]]: cross-entropy of log-probabilities (N, K) that were computed before.

    Raises:
        ValueError, TypeError: as `cross_entropy`.
    """
    log_p, targets = as_tensor(input), as_tensor(target).data
    _check_classes("nll_loss", log_p, targets)
    return _reduce("nll_loss", -log_p[np.arange(len(targets)), targets], reduction)


def kl_div(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """target * (log target - input), elementwise: the Kullback-Leibler divergence KL(target || exp(input)), once summed.

    Args:
        input: log-probabilities of the model.
        target: probabilities; where one is 0, the term is 0.
        reduction: "batchmean" sums over everything and divides by the batch size: the divergence, averaged over the
            batch. "mean" divides by the number of elements, classes included, as PyTorch does: K times too small.

    Raises:
        ValueError: shapes differ, a target is negative, or reduction is unknown.

    Example:
        >>> kl_div(np.log([[0.5, 0.5]]), np.array([[0.5, 0.5]]), reduction="batchmean").item()
        0.0
    """
    log_q, p = _same_shape("kl_div", input, target)
    if (p.data < 0).any():
        raise ValueError("kl_div: a target is negative; targets are probabilities, the input their logarithms")
    positive = p.data > 0
    log_p = (p + (~positive).astype(p.dtype)).log()  # log 1 = 0 in place of log 0
    terms = p * (log_p - log_q)
    if reduction == "batchmean":
        return terms.sum() / len(terms)
    return _reduce("kl_div", terms, reduction)


def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """(input - target) ** 2.

    Raises:
        ValueError: shapes differ.
    """
    x, y = _same_shape("mse_loss", input, target)
    return _reduce("mse_loss", (x - y) ** 2, reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """-target * log sigmoid(input) - (1 - target) * log(1 - sigmoid(input)), finite for any finite input.

    Raises:
        ValueError: shapes differ.
    """
    x, y = _same_shape("binary_cross_entropy_with_logits", input, target)
    return _reduce("binary_cross_entropy_with_logits", apply(ops.BceWithLogits, x, y), reduction)


bce_with_logits = binary_cross_entropy_with_logits


def squared_hinge(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """max(0, 1 - target * input) ** 2 for targets of -1 and 1.

    Raises:
        ValueError: shapes differ.

    Source:
        Tang, "Deep learning using linear support vector machines", 2013; the loss of BinaryConnect.
    """
    x, y = _same_shape("squared_hinge", input, target)
    return _reduce("squared_hinge", relu(1 - y * x) ** 2, reduction)


def _same_shape(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    x, y = as_tensor(input), as_tensor(target)
    if x.shape != y.shape:
        raise ValueError(f"{name}: input and target must have one shape (input: {x.shape}, target: {y.shape})")
    return x, y


def _check_classes(name: str, logits: Tensor, targets: np.ndarray) -> None:
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"{name}: logits must be (N, K) and targets (N,) (logits: {logits.shape}, targets: {targets.shape})"
        )
    if targets.dtype.kind not in "iu":
        raise TypeError(f"{name}: targets must be integer class numbers, got {targets.dtype}")
    if targets.size and not 0 <= targets.min() <= targets.max() < logits.shape[1]:
        raise ValueError(
            f"{name}: targets run from {targets.min()} to {targets.max()}, but logits have {logits.shape[1]} classes"
        )


def _reduce(name: str, losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        if not losses.size:
            raise ValueError(
                f"{name}: an empty batch has no mean loss (losses: {losses.shape}); reduction='sum' gives 0"
            )
        return losses.mean()
    raise ValueError(f"{name}: reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")
