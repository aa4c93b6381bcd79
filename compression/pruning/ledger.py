"""A ledger of pruning steps: which weight went when, what it was, and how to get it back."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minigrad.checkpoint import read_checkpoint, write_checkpoint
from minigrad.errors import CheckpointError
from minigrad.nn import Module
from minigrad.tensor import Array

from .selection import Choice

M = TypeVar("M", bound=Module)

KIND = "pruning ledger"


@dataclass(frozen=True)
class Step:
    """One pruning step.

    Attributes:
        how: how the weights were chosen, in words.
        masks: parameter name → bool array after the step, True where the weight is kept.
        values: name → (k,), what the weights zeroed in this step were, in C order.
        scores: name → (k,), their scores.
        thresholds: name → threshold of the scores, where there is one.
    """

    how: str
    masks: dict[str, Array]
    values: dict[str, Array]
    scores: dict[str, Array]
    thresholds: dict[str, float]


@dataclass(frozen=True)
class Blame:
    """Why a weight is zero, or that it was never zeroed (step is None). `str` says it in a sentence.

    Attributes:
        step: number of the step that zeroed it, counted from 1.
        value: what it was then.
        score, threshold: by which it went; threshold is None for patterns.
        how: how that step chose.
        steps: how many steps the ledger holds.
    """

    step: int | None
    value: float = 0.0
    score: float = 0.0
    threshold: float | None = None
    how: str = ""
    steps: int = 0

    def __str__(self) -> str:
        if self.step is None:
            return f"never zeroed (steps recorded: {self.steps})"
        parts = [f"zeroed in step {self.step}", f"|w| = {abs(self.value):.4g}"]
        if self.score != abs(self.value):
            parts.append(f"score {self.score:.4g} ({self.how})")
        parts.append(f"threshold {self.threshold:.4g}" if self.threshold is not None else f"by {self.how}")
        return ", ".join(parts)


class Ledger:
    """Records pruning steps. Step 0 is the unpruned model; the first recorded step is number 1.

    Attributes:
        steps: list of `Step`.

    Example:
        >>> from minigrad import nn
        >>> from minigrad.compression.pruning import SparsePruner, choose
        >>> layer, ledger = nn.Linear(4, 1), Ledger()
        >>> layer.weight.data[...] = [[0.5, -0.012, 0.25, 1.0]]
        >>> ledger.record(layer, choose(layer, 0.25))
        1
        >>> pruned = SparsePruner.from_masks(ledger.masks()).prune(layer)
        >>> ledger.record(pruned, choose(pruned, 0.5, earlier=ledger.masks()))
        2
        >>> print(ledger.blame("weight", (0, 1)))
        zeroed in step 1, |w| = 0.012, threshold 0.012
        >>> ledger.difference(1, 2)
        {'weight': array([[0, 2]])}
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __len__(self) -> int:
        return len(self.steps)

    def record(self, model: Module, choice: Choice) -> int:
        """Record a step: `model` as it is before the choice's masks are applied. Return the step's number.

        Raises:
            KeyError: the model lacks a chosen parameter.
            ValueError: a mask has another shape than its parameter or than before, or brings back a removed weight.
        """
        weights, before = dict(model.named_parameters()), self.masks()
        values, scores, masks = {}, {}, {}
        for name, mask in choice.masks.items():
            if name not in weights:
                raise KeyError(f"Ledger: {type(model).__name__} has no parameter {name!r}")
            w, kept = weights[name].data, before.get(name, np.ones(mask.shape, bool))
            if not w.shape == mask.shape == kept.shape:
                raise ValueError(
                    f"Ledger: {name} has shape {w.shape}, its mask {mask.shape}, before it was {kept.shape}"
                )
            if back := int((mask & ~kept).sum()):
                raise ValueError(
                    f"Ledger: step {len(self) + 1} brings back {back} removed weight(s) of {name}; "
                    "choose with earlier=ledger.masks()"
                )
            gone = kept & ~mask
            masks[name], values[name], scores[name] = mask.copy(), w[gone], choice.scores[name][gone]
        self.steps.append(Step(choice.how, masks, values, scores, dict(choice.thresholds)))
        return len(self)

    def masks(self, step: int | None = None) -> dict[str, Array]:
        """Return name → mask after a step, by default the last; step 0 has none.

        Raises:
            IndexError: there is no such step.
        """
        step = len(self) if step is None else step
        if not 0 <= step <= len(self):
            raise IndexError(f"Ledger: there is no step {step}; it holds {len(self)}")
        masks: dict[str, Array] = {}
        for recorded in self.steps[:step]:
            masks |= recorded.masks
        return masks

    def undo(self, model: M) -> M:
        """Take the last step back: return a copy of `model` in which its weights have their old values; forget the step.

        Weights that were kept stay as they are, so that training since then is not undone.

        Raises:
            IndexError: there is no step to undo.
            KeyError, ValueError: the model lacks a parameter of the step, or has it in another shape.
        """
        if not self.steps:
            raise IndexError("Ledger: there is no step to undo")
        last, before, restored = self.steps[-1], self.masks(len(self) - 1), copy.deepcopy(model)
        weights = dict(restored.named_parameters())
        for name, mask in last.masks.items():
            if name not in weights:
                raise KeyError(f"Ledger: {type(model).__name__} has no parameter {name!r}")
            w = weights[name].data
            if w.shape != mask.shape:
                raise ValueError(f"Ledger: {name} has shape {w.shape}, its mask {mask.shape}")
            w[_gone(before.get(name), mask)] = last.values[name]
        self.steps.pop()
        return restored

    def difference(self, first: int, second: int) -> dict[str, Array]:
        """Return name → (k, dimensions), the indices of the weights that are kept after one step and not after the other.

        Raises:
            IndexError: there is no such step.
        """
        a, b = self.masks(first), self.masks(second)
        masks = a | b
        dense = {name: np.ones(mask.shape, bool) for name, mask in masks.items()}
        return {name: np.argwhere(a.get(name, dense[name]) != b.get(name, dense[name])) for name in masks}

    def blame(self, name: str, index: Any) -> Blame:
        """Tell when and why a weight was zeroed.

        Args:
            name: of a parameter, such as "fc1.weight".
            index: of one weight, such as (3, 17).

        Raises:
            KeyError: no step pruned this parameter.
            IndexError: it has no such weight.
        """
        masks = self.masks()
        if name not in masks:
            raise KeyError(f"Ledger: no step pruned {name!r}; steps pruned {list(masks) or 'nothing'}")
        shape, place = masks[name].shape, tuple(int(i) for i in np.atleast_1d(index))
        if len(place) != len(shape) or not all(0 <= i < n for i, n in zip(place, shape, strict=True)):
            raise IndexError(f"Ledger: {name} has shape {shape} and no weight {place}")
        kept = None
        for number, step in enumerate(self.steps, 1):
            if name not in step.masks:
                continue
            gone, kept = _gone(kept, step.masks[name]), step.masks[name]
            if gone[place]:
                order = int(gone.reshape(-1)[: np.ravel_multi_index(place, shape)].sum())
                value, score = float(step.values[name][order]), float(step.scores[name][order])
                return Blame(number, value, score, step.thresholds.get(name), step.how, len(self))
        return Blame(None, steps=len(self))

    def save(self, path: str | Path) -> None:
        """Write the ledger as a safetensors file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        arrays = {
            f"{number}/{kind}/{name}": array
            for number, step in enumerate(self.steps, 1)
            for kind, group in (("mask", step.masks), ("values", step.values), ("scores", step.scores))
            for name, array in group.items()
        }
        notes = [{"how": step.how, "thresholds": step.thresholds} for step in self.steps]
        write_checkpoint(path, arrays, {"kind": KIND, "steps": notes})

    @classmethod
    def load(cls, path: str | Path) -> "Ledger":
        """Read a ledger.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it is damaged, or no ledger.
        """
        arrays, metadata = read_checkpoint(path)
        if metadata.get("kind") != KIND or not isinstance(metadata.get("steps"), list):
            raise CheckpointError(f"{path} is no pruning ledger")
        ledger = cls()
        for number, note in enumerate(metadata["steps"], 1):
            step = _read_step(arrays, number, note)
            if step is None or not _fits(step, ledger.masks()):
                raise CheckpointError(f"pruning ledger {path}: step {number} is damaged: its parts do not fit together")
            ledger.steps.append(step)
        if arrays:
            raise CheckpointError(f"pruning ledger {path}: {sorted(arrays)[0]!r} belongs to none of its steps")
        return ledger


def _gone(before: Array | None, after: Array) -> Array:
    return ~after if before is None else before & ~after


def _read_step(arrays: dict[str, Array], number: int, note: Any) -> Step | None:
    """Take a step's arrays out of `arrays`; None if the note is not one of a step."""
    if not isinstance(note, dict) or not isinstance(note.get("how"), str):
        return None
    thresholds = note.get("thresholds")
    if not isinstance(thresholds, dict) or not all(isinstance(t, int | float) for t in thresholds.values()):
        return None
    groups: dict[str, dict[str, Array]] = {"mask": {}, "values": {}, "scores": {}}
    for kind, group in groups.items():
        prefix = f"{number}/{kind}/"
        for key in [key for key in arrays if key.startswith(prefix)]:
            group[key.removeprefix(prefix)] = arrays.pop(key)
    return Step(note["how"], groups["mask"], groups["values"], groups["scores"], thresholds)


def _fits(step: Step, before: Mapping[str, Array]) -> bool:
    """Tell whether masks only remove, and values and scores are as many as the weights that went."""
    if not step.masks.keys() == step.values.keys() == step.scores.keys():
        return False
    for name, mask in step.masks.items():
        kept = before.get(name, np.ones(mask.shape, bool))
        if mask.dtype != bool or kept.shape != mask.shape or (mask & ~kept).any():
            return False
        count = (int((kept & ~mask).sum()),)
        if step.values[name].shape != count or step.scores[name].shape != count:
            return False
    return True
