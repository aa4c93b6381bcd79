"""Losses as modules."""

from typing import Any

from minigrad import functional as F
from minigrad.nn.module import Module
from minigrad.tensor import Tensor


class CrossEntropyLoss(Module):
    """-sum of target * log softmax(logits). See `functional.cross_entropy`."""

    def __init__(self, *, reduction: str = "mean", label_smoothing: float = 0.0):
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def forward(self, logits: Any, targets: Any) -> Tensor:
        """(N, K), (N,) or (N, K) -> a single number, or (N,) with reduction "none" """
        return F.cross_entropy(logits, targets, reduction=self.reduction, label_smoothing=self.label_smoothing)

    def extra_repr(self) -> str:
        """Settings, for `repr`."""
        smoothing = f", label_smoothing={self.label_smoothing}" if self.label_smoothing else ""
        return f"reduction={self.reduction!r}{smoothing}"


class _Loss(Module):
    """A loss whose only setting is its reduction."""

    def __init__(self, *, reduction: str = "mean"):
        self.reduction = reduction

    def extra_repr(self) -> str:
        """Reduction, for `repr`."""
        return f"reduction={self.reduction!r}"


class NLLLoss(_Loss):
    """-input[n, target[n]]. See `functional.nll_loss`."""

    def forward(self, log_p: Any, targets: Any) -> Tensor:
        """(N, K), (N,) -> a single number"""
        return F.nll_loss(log_p, targets, reduction=self.reduction)


class KLDivLoss(_Loss):
    """target * (log target - input). See `functional.kl_div`; "batchmean" is the divergence."""

    def forward(self, log_p: Any, targets: Any) -> Tensor:
        """(N, K), (N, K) -> a single number"""
        return F.kl_div(log_p, targets, reduction=self.reduction)


class MSELoss(_Loss):
    """(input - target) ** 2. See `functional.mse_loss`."""

    def forward(self, x: Any, targets: Any) -> Tensor:
        """(...), (...) -> a single number"""
        return F.mse_loss(x, targets, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Cross-entropy of yes or no. See `functional.binary_cross_entropy_with_logits`."""

    def forward(self, x: Any, targets: Any) -> Tensor:
        """(...), (...) -> a single number"""
        return F.binary_cross_entropy_with_logits(x, targets, reduction=self.reduction)
