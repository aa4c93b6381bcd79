"""Architectures that the course compresses, and any model as a chain of layers."""

from .chain import as_sequential, fold_batch_norm
from .lenet import LENET_CHECKPOINT, LENET_WIDTHS, CaffeLeNet, LeNet, LeNet300100, lenet_widths, trained_lenet

__all__ = [
    "LENET_CHECKPOINT", "LENET_WIDTHS", "CaffeLeNet", "LeNet", "LeNet300100", "as_sequential", "fold_batch_norm",
    "lenet_widths", "trained_lenet",
]  # fmt: skip
