"""Matrix products."""

import numpy as np

from minigrad import kernels
from minigrad.ops.base import Array, Op, unbroadcast
from minigrad.ops.layout import innermost, outermost


class Matmul(Op, name="matmul", axes="(..., M, K), (..., K, P) -> (..., M, P)", cost="2 * out * K", products=True):
    """Matrix product over the last two axes; leading axes are batches and broadcast."""

    def forward(self, x, y):
        self.x, self.y = x, y
        return _product(x, y)

    def vjp_x(self, g):
        # g: (..., M, P)   y: (..., K, P) after the swap   -> (..., M, K)
        return unbroadcast(_product(g, self.y.swapaxes(-1, -2)), self.x.shape)

    def vjp_y(self, g):
        # x: (..., K, M) after the swap   g: (..., M, P)   -> (..., K, P)
        return unbroadcast(_product(self.x.swapaxes(-1, -2), g), self.y.shape)


class Linear(Op, name="linear", axes="x: (N, I), w: (O, I), b: (O,) -> (N, O)", cost="2 * out * I", products=True):
    """x @ w.T + b. Inside, the batch is innermost: out.T = w @ x.T + b."""

    def forward(self, x, w, b=None):
        self.x, self.w = x, np.ascontiguousarray(w)
        return self.product(x, self.w, b)

    @staticmethod
    def product(x, w, b, rectify=False):
        """Compute forward, or its ReLU."""
        out = np.empty((w.shape[0], x.shape[0]), x.dtype)  # (O, N)
        b = np.zeros(w.shape[0], x.dtype) if b is None else np.ascontiguousarray(b)
        # w: (O, I)   x.T: (I, N)   -> (O, N)
        kernels.linear_forward(w, _contiguous(x.T), b, rectify, out)
        return out.T

    def vjp_x(self, g):
        # w: (O, I)   g.T: (O, N)   -> (I, N)
        grad_x = np.empty((self.w.shape[1], g.shape[0]), g.dtype)
        kernels.matmul_transposed(self.w, innermost(g), grad_x)
        return outermost(grad_x)

    def vjp_w(self, g):
        # g.T: (O, N)   x: (N, I)   -> (O, I)
        grad_w = np.empty_like(self.w)
        kernels.matmul_rows(innermost(g), _contiguous(self.x), grad_w)
        return grad_w

    def vjp_b(self, g):
        # g.T: (O, N)   -> (O,)
        grad_b = np.empty(g.shape[1], g.dtype)
        kernels.sum_rows(innermost(g), grad_b)
        return grad_b


def _contiguous(x: Array) -> Array:
    """Return x if BLAS can take it as it lies (C or Fortran order), else a copy."""
    return x if x.flags.c_contiguous or x.flags.f_contiguous else np.ascontiguousarray(x)


def _product(x: Array, y: Array) -> Array:
    if x.ndim > 2 or y.ndim > 2 or x.dtype != y.dtype or x.dtype not in (np.float32, np.float64):
        return x @ y
    out = np.empty((x.shape[0], y.shape[1]), x.dtype)
    kernels.matmul_rows(np.ascontiguousarray(x), _contiguous(y), out)
    return out
