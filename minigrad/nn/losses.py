"""Losses as modules."""

from typing import Any

from minigrad import functional as F
from minigrad.nn.module import Module
from minigrad.tensor import Tensor


class CrossEntropyLoss(Module):
    """-log softmax(logits)[target], averaged over the batch. See `functional.cross_entropy`."""

    def __init__(self, *, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, logits: Any, targets: Any) -> Tensor:
        """(N, K), (N,) -> a single number, or (N,) with reduction "none" """
        return F.cross_entropy(logits, targets, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Reduction, for `repr`."""
        return f"reduction={self.reduction!r}"
