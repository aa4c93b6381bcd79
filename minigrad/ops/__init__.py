"""The op table: one file a family, an op's forward and VJPs side by side (see `base.py`). Ops know arrays only."""

from minigrad.ops.activation import Gelu, LeakyRelu, Relu, Relu6, Sigmoid, Tanh
from minigrad.ops.base import TABLE, Op, unbroadcast
from minigrad.ops.conv import Conv2d
from minigrad.ops.elementwise import Abs, Add, Clip, Divide, Exp, Log, Maximum, Multiply, Power, Sqrt, Where
from minigrad.ops.linalg import Linear, Matmul
from minigrad.ops.norm import BatchNorm
from minigrad.ops.pool import AvgPool2d, MaxPool2d, ReluMaxPool2d
from minigrad.ops.quantize import BinarySign, FakeQuantize
from minigrad.ops.reduce import LogSumExp, Max, Sum
from minigrad.ops.shape import Concatenate, GetItem, Pad, Reshape, Transpose, Watch
from minigrad.ops.softmax import BceWithLogits, CrossEntropy, LogSoftmax

__all__ = [
    "TABLE",
    "Abs",
    "Add",
    "AvgPool2d",
    "BatchNorm",
    "BceWithLogits",
    "BinarySign",
    "Clip",
    "Concatenate",
    "Conv2d",
    "CrossEntropy",
    "Divide",
    "Exp",
    "FakeQuantize",
    "Gelu",
    "GetItem",
    "LeakyRelu",
    "Linear",
    "Log",
    "LogSoftmax",
    "LogSumExp",
    "Matmul",
    "Max",
    "MaxPool2d",
    "Maximum",
    "Multiply",
    "Op",
    "Pad",
    "Power",
    "Relu",
    "Relu6",
    "ReluMaxPool2d",
    "Reshape",
    "Sigmoid",
    "Sqrt",
    "Sum",
    "Tanh",
    "Transpose",
    "Watch",
    "Where",
    "unbroadcast",
]
