"""Architectures that the course compresses."""

from .lenet import LENET_CHECKPOINT, LENET_WIDTHS, CaffeLeNet, LeNet, LeNet300100, lenet_widths, trained_lenet

__all__ = ["LENET_CHECKPOINT", "LENET_WIDTHS", "CaffeLeNet", "LeNet", "LeNet300100", "lenet_widths", "trained_lenet"]
