"""Reductions over axes. `axis` is None (all), an int or a tuple of ints, as in NumPy."""

import numpy as np

from minigrad.ops.base import Op


class Sum(Op, name="sum", axes="(...) -> (... without axis)", cost="x"):
    """Sum over axes."""

    def forward(self, x, *, axis=None, keepdims=False):
        self.shape = x.shape
        self.kept_shape = x.sum(axis=axis, keepdims=True).shape if axis is not None else (1,) * x.ndim
        return x.sum(axis=axis, keepdims=keepdims)

    def vjp_x(self, g):
        return np.broadcast_to(g.reshape(self.kept_shape), self.shape)


class Max(
    Op,
    name="max",
    axes="(...) -> (... without axis)",
    cost="x",
    domain="not empty; kink where largest values tie",
):
    """Largest value along axes. Equal largest values share the gradient evenly."""

    def forward(self, x, *, axis=None, keepdims=False):
        largest = x.max(axis=axis, keepdims=True)
        winners = x == largest
        self.share = winners / winners.sum(axis=axis, keepdims=True)
        self.kept_shape = largest.shape
        return largest if keepdims else x.max(axis=axis)

    def vjp_x(self, g):
        return g.reshape(self.kept_shape) * self.share


class LogSumExp(Op, name="logsumexp", axes="(...) -> (... without axis)", cost="4 * x + 2 * out"):
    """log(sum of exp(x)) along axes, without overflow: the largest x is taken out first."""

    def forward(self, x, *, axis=None, keepdims=False):
        largest = x.max(axis=axis, keepdims=True, initial=-np.inf)
        largest = np.where(np.isfinite(largest), largest, 0).astype(x.dtype)
        powers = np.exp(x - largest)
        total = powers.sum(axis=axis, keepdims=True)
        self.softmax = powers / total
        with np.errstate(divide="ignore"):  # the sum of nothing is 0, its logarithm minus infinity
            out = np.log(total) + largest
        self.kept_shape = out.shape
        return out if keepdims else out.reshape(x.sum(axis=axis).shape)

    def vjp_x(self, g):
        return g.reshape(self.kept_shape) * self.softmax
