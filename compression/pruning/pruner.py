"""Keep masked weights at zero."""

import copy
from collections.abc import Mapping
from typing import Literal, TypeVar

import numpy as np

from minigrad.nn import Module
from minigrad.tensor import Array

from .masks import kth_value_mask

M = TypeVar("M", bound=Module)


class SparsePruner:
    """Masks for a model's weights, computed once by magnitude and applied as often as needed.

    Args:
        model: its parameters of two or more dimensions are masked; biases are left alone.
        sparsity_dict: parameter name → sparsity, one for every such parameter.
        ties: see `kth_value_mask`.

    Attributes:
        masks: parameter name → bool array, True where the weight is kept.

    Raises:
        KeyError: a name matches no weight of the model, or a weight has no sparsity.
        ValueError: a sparsity is outside [0, 1].

    Source:
        The pruning article. Its `prune` multiplies in place; here `prune` copies and `apply_` works in place.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> from minigrad.compression.pruning import ARTICLE_SPARSITY, model_sparsity
        >>> model = LeNet()
        >>> pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
        >>> f"{model_sparsity(model):.4f} {model_sparsity(pruned):.4f}"
        '0.0000 0.7387'
    """

    def __init__(self, model: Module, sparsity_dict: Mapping[str, float], ties: Literal["drop", "exact"] = "drop"):
        weights = {name: p for name, p in model.named_parameters() if p.ndim > 1}
        unknown, missing = sorted(sparsity_dict.keys() - weights.keys()), sorted(weights.keys() - sparsity_dict.keys())
        if unknown or missing:
            raise KeyError(
                f"SparsePruner: sparsity_dict does not fit the weights of {type(model).__name__}: "
                f"no such weight: {unknown or 'none'}; without a sparsity (0 keeps all): {missing or 'none'}"
            )
        self.masks: dict[str, Array] = {}
        for name, weight in weights.items():
            try:
                self.masks[name] = kth_value_mask(weight, sparsity_dict[name], ties)
            except ValueError as error:
                raise ValueError(f"SparsePruner: {name}: {error}") from None

    @classmethod
    def from_masks(cls, masks: Mapping[str, Array]) -> "SparsePruner":
        """Take masks that were chosen elsewhere: parameter name → bool array, True where the weight is kept.

        Raises:
            TypeError: a mask is not boolean.
        """
        pruner = cls.__new__(cls)
        pruner.masks = {name: np.asarray(mask) for name, mask in masks.items()}
        for name, mask in pruner.masks.items():
            if mask.dtype != bool:
                raise TypeError(f"SparsePruner: the mask of {name} holds {mask.dtype}, expected bool")
        return pruner

    @classmethod
    def from_zeros(cls, model: Module) -> "SparsePruner":
        """Take the masks from a model that is pruned already: what is zero stays zero."""
        pruner = cls.__new__(cls)
        pruner.masks = {name: p.data != 0 for name, p in model.named_parameters() if p.ndim > 1}
        return pruner

    def prune(self, model: M) -> M:
        """Return a pruned copy of `model`, which stays as it is.

        Raises:
            KeyError, ValueError: as `apply_`.
        """
        return self.apply_(copy.deepcopy(model))

    def apply_(self, model: M) -> M:
        """Set the masked weights of `model` to 0.0 in place, whatever they hold, and return it. For after each step.

        Raises:
            KeyError: the model lacks a masked weight.
            ValueError: a weight has another shape than its mask.
        """
        weights = dict(model.named_parameters())
        for name, mask in self.masks.items():
            if name not in weights:
                raise KeyError(f"SparsePruner: {type(model).__name__} has no weight {name!r} to mask")
            if weights[name].shape != mask.shape:
                raise ValueError(f"SparsePruner: {name} has shape {weights[name].shape}, its mask {mask.shape}")
        for name, mask in self.masks.items():
            # The bits are multiplied: as numbers, NaN * 0 would stay NaN and -1 * 0 is -0.0. Writing where the mask is False
            # gives the same, and takes ten times as long.
            w = weights[name].data
            bits = w.view(f"u{w.itemsize}")
            np.multiply(bits, mask, out=bits)
        return model
