"""Differentiable products with a sparse matrix. The structure is a setting, not an argument: only values have a gradient."""

import numpy as np

from minigrad import kernels as dense_kernels
from minigrad.ops.base import Op
from minigrad.ops.conv import output_size
from minigrad.ops.layout import crop_image, empty, innermost, innermost_image, outermost

from . import kernels
from .matrix import bias_or_zeros


class SparseLinearOp(
    Op,
    name="sparse_linear",
    axes="x: (N, I), values: (V,), b: (O,) -> (N, O)",
    cost="2 * N * values",
    products=True,
):
    """x @ A.T + b for a sparse A: (O, I). Inside, the batch is innermost: out.T = A @ x.T + b."""

    def forward(self, x, values, b=None, *, matrix):
        self.x, self.values, self.matrix = innermost(x), np.ascontiguousarray(values), matrix
        # A: (O, I)   x.T: (I, N)   -> (O, N)
        return outermost(matrix.product(self.values, self.x, b))

    def vjp_x(self, g):
        # A.T: (I, O)   g.T: (O, N)   -> (I, N)
        return outermost(self.matrix.transposed_product(self.values, innermost(g)))

    def vjp_values(self, g):
        # g.T: (O, N)   x: (N, I)   -> (O, I), sampled at the entries: (V,)
        return self.matrix.sampled(innermost(g), self.x)

    def vjp_b(self, g):
        # g.T: (O, N)   -> (O,)
        grad_b = np.empty(g.shape[1], g.dtype)
        dense_kernels.sum_rows(innermost(g), grad_b)
        return grad_b


class SparseConv2dOp(
    Op,
    name="sparse_conv2d",
    axes="x: (N, C, H, W), values: (V,), b: (F,) -> (N, F, OH, OW)",
    cost="2 * N * values * OH * OW",
    products=True,
):
    """Cross-correlation with filters that are the rows of a sparse matrix (F, C / groups * KH * KW)."""

    def forward(
        self, x, values, b=None, *, matrix, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1
    ):
        self.matrix, self.padding, self.values = matrix, padding, np.ascontiguousarray(values)
        self.geometry = (*kernel_size, *stride, *dilation, groups)
        self.x = innermost_image(x, *padding)  # (C, H, W, N)
        out_h, out_w = output_size(self.x.shape[1:3], kernel_size, stride, dilation)
        out = empty((matrix.shape[0], out_h, out_w, x.shape[0]), x.dtype)  # (F, OH, OW, N)
        indptr, indices, order = matrix.entries
        own = self.values if matrix.in_order else self.values[order]
        kernels.csr_conv2d(indptr, indices, own, self.x, bias_or_zeros(b, len(out), x.dtype), self.geometry, out)
        return outermost(out)

    @staticmethod
    def relu_max_pool2d(arrays, window, step, *, matrix, kernel_size, stride, padding, dilation, groups):
        """max_pool2d(relu(...)) of a convolution of x with values and b, without gradient (see `functional/peephole.py`)."""
        x, values, b = arrays
        x, images = innermost_image(x, *padding), len(x)  # (C, H, W, N)
        size = output_size(output_size(x.shape[1:3], kernel_size, stride, dilation), window, step, (1, 1))
        out = empty((matrix.shape[0], *size, images), x.dtype)  # (F, OH, OW, N)
        indptr, indices, order = matrix.entries
        own = np.ascontiguousarray(values) if matrix.in_order else values[order]
        b, geometry = bias_or_zeros(b, len(out), x.dtype), (*kernel_size, *stride, *dilation, groups)
        kernels.csr_conv2d_relu_max_pool2d(indptr, indices, own, x, b, geometry, (*window, *step), out)
        return outermost(out)

    def vjp_x(self, g):
        # g: (F, OH, OW, N)   A.T: (taps, F)   -> (C, H, W, N)
        grad_x = np.empty_like(self.x)
        structure = self.matrix.transposed_entries
        kernels.csr_conv2d_grad_input(*structure, self.values, innermost(g), self.geometry, grad_x)
        return outermost(crop_image(grad_x, *self.padding))

    def vjp_values(self, g):
        # x: (C, H, W, N)   g: (F, OH, OW, N)   -> (V,)
        grad_values = np.zeros(self.values.size, g.dtype)
        kernels.csr_conv2d_grad_values(*self.matrix.entries, self.x, innermost(g), self.geometry, grad_values)
        return grad_values

    def vjp_b(self, g):
        # g: (F, OH * OW * N)   -> (F,)
        grad_b = np.empty(g.shape[1], g.dtype)
        dense_kernels.sum_rows(innermost(g).reshape(g.shape[1], g.size // max(g.shape[1], 1)), grad_b)
        return grad_b
