"""From scores to masks: which weights go, ranked within each layer or across all of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from minigrad.loader import DataLoader
from minigrad.nn import Module
from minigrad.tensor import Array

from .criteria import CRITERIA, Names, Scores, magnitude, prunable
from .masks import without_lowest
from .patterns import block_mask, n_of_m_mask

Masks: TypeAlias = Mapping[str, Array]
Target: TypeAlias = float | Mapping[str, float]
"""A sparsity for all weights, or name → sparsity."""

SCOPES = ("local", "global")


@dataclass(frozen=True)
class Choice:
    """Which weights to keep, and why.

    Attributes:
        masks: parameter name → bool array, True where the weight is kept. `SparsePruner.from_masks` takes them.
        scores: name → array, by which they were ranked.
        thresholds: name → the highest score that was asked to go. Names that lose nothing, or by a pattern, are missing.
        how: in words, such as "magnitude, local".
    """

    masks: dict[str, Array]
    scores: Scores
    thresholds: dict[str, float] = field(default_factory=dict)
    how: str = ""


def choose(
    model: Module,
    sparsity: Target,
    criterion: str = "magnitude",
    scope: str = "local",
    *,
    ties: Literal["drop", "exact"] = "drop",
    pattern: str | None = None,
    names: Names = None,
    loader: DataLoader | None = None,
    seed: int = 0,
    earlier: Masks | None = None,
) -> Choice:
    """Choose the weights of a model that stay.

    Args:
        model: is left as it is.
        sparsity: share of the weights to remove, 0 to 1, those already removed included. A mapping must name every weight.
        criterion: one of `CRITERIA`.
        scope: "local" ranks within each parameter, "global" across all: layers then lose different shares, and
            one may lose everything.
        ties: see `kth_value_mask`.
        pattern: None for single weights; "2:4" (any n:m) keeps n of m; "4x4" (any size) removes whole blocks.
        names: parameters to prune; by default those of two or more dimensions: biases and normalisation stay.
        loader, seed: for criteria that look at images, or draw.
        earlier: masks of earlier steps: what they removed stays removed.

    Raises:
        ValueError: no such criterion or scope, settings that exclude each other, a criterion that lacks images.
        KeyError: names do not fit the model, or the sparsities do not fit the names.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> choice = choose(LeNet(), 0.9, "magnitude", "global")
        >>> total = sum(mask.size for mask in choice.masks.values())
        >>> f"{sum(int(mask.sum()) for mask in choice.masks.values()) / total:.2f}"
        '0.10'
    """
    if criterion not in CRITERIA:
        raise ValueError(f"choose: there is no criterion {criterion!r}; there are {', '.join(CRITERIA)}")
    if pattern is not None and scope == "global":
        raise ValueError(f"choose: the pattern {pattern} is kept layer by layer; scope must be 'local', not 'global'")
    scores = CRITERIA[criterion](model, names, loader, seed)
    if pattern is None:
        return select(scores, sparsity, scope, ties, earlier, f"{criterion}, {scope}")
    scores = _without_earlier(scores, earlier)
    masks = {name: _patterned(pattern, s, share, ties) for name, (s, share) in _shares(scores, sparsity).items()}
    return Choice(_and(masks, earlier), scores, {}, f"{criterion}, {pattern}")


def select(
    scores: Mapping[str, Array],
    sparsity: Target,
    scope: str = "local",
    ties: Literal["drop", "exact"] = "drop",
    earlier: Masks | None = None,
    how: str = "",
) -> Choice:
    """Remove the weights with the lowest scores: k = round(n * sparsity) of each array, or of all together.

    Args:
        scores: name → array; any shapes.
        sparsity, scope, ties, earlier: see `choose`. With the scope "global", sparsity is one number.
        how: kept with the choice.

    Raises:
        ValueError: a sparsity is outside [0, 1], no such scope or ties, scores hold NaN.
        KeyError: sparsities do not fit the names.

    Example:
        >>> scores = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
        >>> select(scores, 0.5).masks
        {'a': array([False,  True]), 'b': array([False,  True])}
        >>> select(scores, 0.5, "global").masks
        {'a': array([False, False]), 'b': array([ True,  True])}
    """
    if scope not in SCOPES:
        raise ValueError(f"select: scope is {scope!r}, expected 'local' or 'global'")
    if ties not in ("drop", "exact"):
        raise ValueError(f"select: ties is {ties!r}, expected 'drop' or 'exact'")
    ranked = _without_earlier(scores, earlier)
    if scope == "local":
        masks, thresholds = {}, {}
        for name, (s, share) in _shares(ranked, sparsity).items():
            k = round(s.size * share)
            masks[name] = without_lowest(s, k, ties)
            thresholds[name] = _kth(s, k)
    else:
        if isinstance(sparsity, Mapping):
            raise ValueError("select: the scope 'global' ranks all weights together and takes one sparsity for all")
        together = np.concatenate([s.reshape(-1) for s in ranked.values()]) if ranked else np.zeros(0)
        k = round(together.size * _share("the model", sparsity))
        ends = np.cumsum([s.size for s in ranked.values()])
        parts = np.split(without_lowest(together, k, ties), ends[:-1])
        masks = {name: part.reshape(s.shape) for (name, s), part in zip(ranked.items(), parts, strict=False)}
        thresholds = dict.fromkeys(ranked, _kth(together, k))
    finite = {name: threshold for name, threshold in thresholds.items() if np.isfinite(threshold)}
    return Choice(_and(masks, earlier), dict(scores), finite, how)


def choose_by_std(model: Module, quality: Target, *, names: Names = None, earlier: Masks | None = None) -> Choice:
    """Remove weights that are not larger than quality times the standard deviation of their layer's weights.

    Args:
        model: is left as it is.
        quality: the factor, or name → factor; 1.0 removes about two thirds of normally distributed weights.
        names, earlier: see `choose`.

    Raises:
        ValueError: a factor is negative, or weights hold NaN.
        KeyError: names do not fit.

    Source:
        Han et al., "Learning both weights and connections for efficient neural networks", 2015, section 3.2. It does not
        say whether removed weights count towards the deviation when pruning goes on; here they do not.

    Example:
        >>> from minigrad import nn
        >>> layer = nn.Linear(4, 1)
        >>> layer.weight.data[...] = [[-1, 1, 3, -3]]  # standard deviation 2.236
        >>> choose_by_std(layer, 1.0).masks
        {'weight': array([[False, False,  True,  True]])}
    """
    scores = magnitude(model, names)
    masks, thresholds = {}, {}
    for name, factor in _named(scores, quality).items():
        if not factor >= 0:
            raise ValueError(f"choose_by_std: {name}: quality is {factor}, expected 0 or more")
        w = prunable(model, [name])[name].data
        alive = w[w != 0] if earlier is None or name not in earlier else w[earlier[name] & (w != 0)]
        if np.isnan(alive).any():
            raise ValueError(f"choose_by_std: the weights of {name} hold NaN")
        thresholds[name] = factor * float(np.std(alive)) if alive.size else 0.0
        masks[name] = scores[name] > thresholds[name]
    return Choice(_and(masks, earlier), scores, thresholds, "standard deviation")


def _kth(scores: Array, k: int) -> float:
    return float(np.partition(scores.reshape(-1), k - 1)[k - 1]) if k else -np.inf


def _share(name: str, sparsity: float) -> float:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"pruning: the sparsity of {name} is {sparsity}, expected 0 to 1")
    return sparsity


def _named(scores: Mapping[str, Any], target: Target) -> dict[str, float]:
    """Give each name its number."""
    if not isinstance(target, Mapping):
        return dict.fromkeys(scores, target)
    unknown, missing = sorted(target.keys() - scores.keys()), sorted(scores.keys() - target.keys())
    if unknown or missing:
        raise KeyError(
            f"pruning: the numbers do not fit the weights: no such weight: {unknown or 'none'}; "
            f"without a number (0 keeps all): {missing or 'none'}"
        )
    return {name: target[name] for name in scores}


def _shares(scores: Mapping[str, Array], sparsity: Target) -> dict[str, tuple[Array, float]]:
    return {name: (scores[name], _share(name, share)) for name, share in _named(scores, sparsity).items()}


def _without_earlier(scores: Mapping[str, Array], earlier: Masks | None) -> Scores:
    """Rank what was removed before as the lowest."""
    ranked = {}
    for name, s in scores.items():
        if np.isnan(s).any():
            raise ValueError(f"pruning: the scores of {name} hold NaN, which cannot be ranked")
        keep = earlier.get(name) if earlier else None
        s = s if s.dtype.kind == "f" else s.astype(np.float64)
        ranked[name] = s if keep is None else np.where(keep, s, s.dtype.type(-np.inf))
    return ranked


def _and(masks: dict[str, Array], earlier: Masks | None) -> dict[str, Array]:
    return {name: mask & earlier[name] if earlier and name in earlier else mask for name, mask in masks.items()}


def _patterned(pattern: str, scores: Array, sparsity: float, ties: Literal["drop", "exact"]) -> Array:
    if scores.ndim < 2:
        return np.ones(scores.shape, bool)  # a bias has no rows
    if found := re.fullmatch(r"(\d+):(\d+)", pattern):
        return n_of_m_mask(scores, int(found[1]), int(found[2]))
    if found := re.fullmatch(r"(\d+)x(\d+)", pattern):
        removed = np.isneginf(scores)  # within a block they count as worth nothing, lest each drag its whole block down
        scores = np.where(removed, min(0.0, scores.min(initial=0.0, where=~removed)), scores)
        return block_mask(scores, sparsity, (int(found[1]), int(found[2])), ties)
    raise ValueError(f"choose: {pattern!r} is no pattern; expected n:m such as 2:4, or a block such as 4x4")
