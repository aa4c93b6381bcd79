"""The public functions on Tensors: they check arguments, say in a sentence what is wrong, and call the op.

Every function takes Tensors, arrays or numbers and returns a Tensor. Names, argument order and defaults are PyTorch's
where PyTorch has the function; reductions and softmax take `axis`, as NumPy does.
"""

from minigrad.functional.activations import gelu, leaky_relu, log_softmax, relu, relu6, sigmoid, softmax, tanh
from minigrad.functional.layers import adaptive_avg_pool2d, avg_pool2d, batch_norm, conv2d, dropout, linear, max_pool2d
from minigrad.functional.losses import (
    bce_with_logits,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    mse_loss,
    nll_loss,
    squared_hinge,
)
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
from minigrad.functional.peephole import fusion
from minigrad.functional.penalties import l1_penalty, l2_penalty
from minigrad.functional.quantize import binary_sign, fake_quantize

__all__ = [
    "abs",
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "bce_with_logits",
    "binary_cross_entropy_with_logits",
    "binary_sign",
    "clip",
    "concatenate",
    "conv2d",
    "cross_entropy",
    "dropout",
    "exp",
    "fake_quantize",
    "flatten",
    "fusion",
    "gelu",
    "kl_div",
    "l1_penalty",
    "l2_penalty",
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
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "relu6",
    "sigmoid",
    "softmax",
    "sqrt",
    "squared_hinge",
    "stack",
    "sum",
    "tanh",
    "where",
]
