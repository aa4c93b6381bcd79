"""The op table: one file a family, an op's forward and VJPs side by side (see `base.py`). Ops know arrays only."""

from minigrad.ops.base import TABLE, Op, unbroadcast
from minigrad.ops.conv import Conv2d
from minigrad.ops.elementwise import Add, Exp, Log, Multiply, Power, Relu
from minigrad.ops.linalg import Linear, Matmul
from minigrad.ops.pool import MaxPool2d
from minigrad.ops.reduce import Sum
from minigrad.ops.shape import Reshape, Transpose
from minigrad.ops.softmax import CrossEntropy, LogSoftmax

__all__ = [
    "TABLE",
    "Add",
    "Conv2d",
    "CrossEntropy",
    "Exp",
    "Linear",
    "Log",
    "LogSoftmax",
    "Matmul",
    "MaxPool2d",
    "Multiply",
    "Op",
    "Power",
    "Relu",
    "Reshape",
    "Sum",
    "Transpose",
    "unbroadcast",
]
