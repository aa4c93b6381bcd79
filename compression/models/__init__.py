"""Architectures that the course compresses."""

from .lenet import LeNet

__all__ = ["LeNet"]
