"""Masks by magnitude, and how sparse a model is."""

from typing import Any, Literal

import numpy as np

from minigrad.nn import Module
from minigrad.tensor import Array, Tensor


def kth_value_mask(w: Any, sparsity: float, ties: Literal["drop", "exact"] = "drop") -> Array:
    """Mark the weights to keep: those larger in magnitude than the k-th smallest, k = round(n * sparsity).

    Args:
        w: weights, any shape.
        sparsity: share of the weights to remove, 0 to 1. 0 keeps all, 1 removes all.
        ties: "drop", the article's rule, removes every weight whose magnitude equals the threshold, so that a tensor of
            equal values loses all of them at any k > 0; "exact" removes exactly k, of equal magnitudes the first in C
            order first.

    Returns:
        bool array of w's shape, True where the weight is kept.

    Raises:
        ValueError: sparsity is outside [0, 1] (the article clamps it instead) or ties is neither rule; w holds NaN.

    Source:
        The pruning article's `calc_mask` (PyTorch's `kthvalue`, then a strict `gt`). Where round(n * sparsity) is 0, there
        is no k-th value and the article's code stops with an error; here everything is kept.

    Example:
        >>> kth_value_mask(np.array([0.1, -0.4, 0.3, 0.2]), 0.5)
        array([False,  True,  True, False])
        >>> [int(kth_value_mask(np.ones(10), 0.1, ties).sum()) for ties in ("drop", "exact")]
        [0, 9]
    """
    weights = np.asarray(w.data if isinstance(w, Tensor) else w)
    # In integers the magnitude of the most negative number overflows: -128 would count as the smallest int8.
    magnitude = np.abs(weights if weights.dtype.kind == "f" else weights.astype(np.float64))
    if not 0 <= sparsity <= 1:
        raise ValueError(f"kth_value_mask: sparsity is {sparsity}, expected 0 to 1")
    if ties not in ("drop", "exact"):
        raise ValueError(f"kth_value_mask: ties is {ties!r}, expected 'drop' or 'exact'")
    if np.isnan(magnitude).any():
        raise ValueError("kth_value_mask: the weights hold NaN, which has no magnitude to compare")

    return without_lowest(magnitude, round(magnitude.size * sparsity), ties)


def without_lowest(scores: Array, k: int, ties: Literal["drop", "exact"] = "drop") -> Array:
    """Mark what to keep when the k lowest scores go: those above the k-th lowest, or with ties="exact" all but k.

    Args:
        scores: any shape, no NaN.
        k: 0 to scores.size; 0 keeps all, whatever the ties.
        ties: see `kth_value_mask`.

    Returns:
        bool array of the shape of scores.

    Example:
        >>> without_lowest(np.array([3.0, 1.0, 1.0, 2.0]), 1), without_lowest(np.array([3.0, 1.0, 1.0, 2.0]), 1, "exact")
        (array([ True, False, False,  True]), array([ True, False,  True,  True]))
    """
    if k == 0:
        return np.ones(scores.shape, bool)
    flat = scores.reshape(-1)
    if ties == "drop":
        return scores > np.partition(flat, k - 1)[k - 1]
    keep = np.ones(flat.size, bool)
    keep[np.argsort(flat, kind="stable")[:k]] = False
    return keep.reshape(scores.shape)


def model_sparsity(model: Module) -> float:
    """Return the share of a model's parameters, biases included, that are exactly zero.

    Example:
        >>> from minigrad import nn
        >>> model_sparsity(nn.Linear(4, 2))
        0.0
    """
    parameters = list(model.parameters())
    total = sum(p.size for p in parameters)
    return sum(p.size - int(np.count_nonzero(p.data)) for p in parameters) / total if total else 0.0
