"""Reductions over axes. `axis` is None (all), an int or a tuple of ints, as in NumPy."""

import numpy as np

from minigrad.ops.base import Op


class Sum(Op, name="sum", axes="(...) -> (... without axis)"):
    """Sum over axes."""

    def forward(self, x, *, axis=None, keepdims=False):
        self.shape = x.shape
        self.kept_shape = x.sum(axis=axis, keepdims=True).shape if axis is not None else (1,) * x.ndim
        return x.sum(axis=axis, keepdims=keepdims)

    def vjp_x(self, g):
        return np.broadcast_to(g.reshape(self.kept_shape), self.shape)
