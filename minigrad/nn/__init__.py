"""Layers, containers, losses: PyTorch's names and arguments, NumPy underneath."""

from minigrad.nn.containers import ModuleList, Sequential
from minigrad.nn.layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU
from minigrad.nn.losses import CrossEntropyLoss
from minigrad.nn.module import Module, Parameter

__all__ = [
    "Conv2d",
    "CrossEntropyLoss",
    "Flatten",
    "Linear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
]
