"""The public functions on Tensors: they check arguments, say in a sentence what is wrong, and call the op.

Every function takes Tensors, arrays or numbers and returns a Tensor. Names, argument order and defaults are PyTorch's
where PyTorch has the function; reductions and softmax take `axis`, as NumPy does.
"""

from minigrad.functional.activations import gelu, leaky_relu, log_softmax, relu, relu6, sigmoid, softmax, tanh
from minigrad.functional.layers import conv2d, linear, max_pool2d
from minigrad.functional.losses import cross_entropy
from minigrad.functional.math import (
    abs,
    clip,
    concatenate,
    exp,
    flatten,
    log,
    logsumexp,
    matmul,
    maximum,
    mean,
    minimum,
    pad,
    sqrt,
    stack,
    sum,
    where,
)

__all__ = [
    "abs",
    "clip",
    "concatenate",
    "conv2d",
    "cross_entropy",
    "exp",
    "flatten",
    "gelu",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max_pool2d",
    "maximum",
    "mean",
    "minimum",
    "pad",
    "relu",
    "relu6",
    "sigmoid",
    "softmax",
    "sqrt",
    "stack",
    "sum",
    "tanh",
    "where",
]
