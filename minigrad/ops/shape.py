"""Ops that move elements and compute nothing."""

import numpy as np

from minigrad.ops.base import Op


class Reshape(Op, name="reshape", axes="(...) -> shape"):
    """The same elements, in C order of their indices, in another shape."""

    def forward(self, x, *, shape):
        self.shape = x.shape
        return x.reshape(shape)

    def vjp_x(self, g):
        return g.reshape(self.shape)


class Transpose(Op, name="transpose", axes="(...) -> (... permuted)"):
    """Axes in another order."""

    def forward(self, x, *, axes):
        self.order = [axis % x.ndim for axis in axes]
        return x.transpose(axes)

    def vjp_x(self, g):
        return g.transpose(np.argsort(self.order))
