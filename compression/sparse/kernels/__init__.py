"""Compiled loops over sparse matrices, in a folder of their own: a change anywhere else does not compile them again."""

from .conv import csr_conv2d, csr_conv2d_grad_input, csr_conv2d_grad_values, csr_conv2d_relu_max_pool2d
from .one_column import csr_matvec
from .products import (
    BLOCK_ROWS,
    bitmask_matmul,
    block_matmul,
    csr_matmul,
    csr_matmul_int8,
    csr_matmul_transposed,
    csr_sampled,
)

__all__ = [
    "BLOCK_ROWS",
    "bitmask_matmul",
    "block_matmul",
    "csr_conv2d",
    "csr_conv2d_grad_input",
    "csr_conv2d_grad_values",
    "csr_conv2d_relu_max_pool2d",
    "csr_matmul",
    "csr_matmul_int8",
    "csr_matmul_transposed",
    "csr_matvec",
    "csr_sampled",
]
