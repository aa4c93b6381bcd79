"""Architectures that the course compresses."""

from .lenet import LENET_CHECKPOINT, LeNet, trained_lenet

__all__ = ["LENET_CHECKPOINT", "LeNet", "trained_lenet"]
