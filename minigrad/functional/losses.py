"""Losses."""

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.tensor import Tensor, apply, as_tensor


def cross_entropy(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """-log softmax(logits)[target], the loss of a classifier.

    Args:
        input: logits, (N, K): scores before softmax.
        target: class numbers, integers (N,) in 0 ... K - 1.
        reduction: "mean" or "sum" over the batch, or "none".

    Returns:
        a single number, or (N,) for "none".

    Raises:
        ValueError: shapes do not fit, a class number is out of range, the batch is empty under "mean".
        TypeError: targets are not integers.

    Example:
        >>> float(cross_entropy([[0.0, 0.0]], [1]).data)
        0.6931471805599453
    """
    logits = as_tensor(input)
    targets = np.asarray(target.data if isinstance(target, Tensor) else target)
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"cross_entropy: logits must be (N, K) and targets (N,) (logits: {logits.shape}, targets: {targets.shape})"
        )
    if targets.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: targets must be integer class numbers, got {targets.dtype}")
    if targets.size and not 0 <= targets.min() <= targets.max() < logits.shape[1]:
        raise ValueError(
            f"cross_entropy: targets run from {targets.min()} to {targets.max()}, but logits have {logits.shape[1]} classes"
        )
    losses = apply(ops.CrossEntropy, logits, targets)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.mean()
    raise ValueError(f"cross_entropy: reduction is {reduction!r}, expected 'mean', 'sum' or 'none'")
