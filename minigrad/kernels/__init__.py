"""Numba kernels: plain functions over arrays, each with a Python twin (see `_kernel.py`).

Arrays of images are batch-innermost here: shape (C, H, W, N) in C order. `minigrad.ops` makes that layout and hides it.
"""

from minigrad.kernels import threads
from minigrad.kernels._kernel import TABLE, Kernel, current_mode, use
from minigrad.kernels.conv import conv2d_forward, conv2d_grad_input, conv2d_grad_weight, conv2d_relu_max_pool2d
from minigrad.kernels.elementwise import gather_batch, lay_out_batch, momentum_step, relu_forward, relu_grad
from minigrad.kernels.matmul import linear_forward, matmul_rows, matmul_transposed, sum_rows
from minigrad.kernels.pool import max_pool2d_forward, max_pool2d_grad
from minigrad.kernels.threads import get_num_threads, set_num_threads
from minigrad.kernels.trace import Trace, trace

__all__ = [
    "TABLE",
    "Kernel",
    "Trace",
    "conv2d_forward",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "conv2d_relu_max_pool2d",
    "current_mode",
    "gather_batch",
    "get_num_threads",
    "lay_out_batch",
    "linear_forward",
    "matmul_rows",
    "matmul_transposed",
    "max_pool2d_forward",
    "max_pool2d_grad",
    "momentum_step",
    "relu_forward",
    "relu_grad",
    "set_num_threads",
    "sum_rows",
    "threads",
    "trace",
    "use",
]
