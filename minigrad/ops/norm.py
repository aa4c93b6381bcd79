"""Normalisation."""

import numpy as np

from minigrad.ops.base import Op


class BatchNorm(Op, name="batch_norm", axes="x: (N, C, ...), w: (C,), b: (C,) -> (N, C, ...)", cost="8 * x"):
    """(x - mean) / sqrt(var + eps) * w + b, channel by channel (Ioffe and Szegedy 2015).

    Mean and (biased) variance are the batch's own, and depend on x; or, if they are given, constants. (`constant=False`
    says that what is given was computed from x.)
    """

    def forward(self, x, w, b, *, mean=None, var=None, constant=True, eps=1e-5):
        self.others = (0, *range(2, x.ndim))  # every axis but the channels'
        self.column = (1, -1, *(1,) * (x.ndim - 2))
        self.own_statistics = mean is None or var is None or not constant
        if mean is None or var is None:
            mean, var = x.mean(axis=self.others), x.var(axis=self.others)
        self.w, self.inverse_std = w, 1 / np.sqrt(var.astype(x.dtype, copy=False) + x.dtype.type(eps))
        self.normalized = (x - self._per_channel(mean.astype(x.dtype, copy=False))) * self._per_channel(
            self.inverse_std
        )
        return self.normalized * self._per_channel(w) + self._per_channel(b)

    def vjp_x(self, g):
        if self.own_statistics:
            # Moving x moves the mean and the variance too: take out of g what lies along 1 and along the result.
            along = (g * self.normalized).mean(axis=self.others, keepdims=True)
            g = g - g.mean(axis=self.others, keepdims=True) - self.normalized * along
        return g * self._per_channel(self.w * self.inverse_std)

    def vjp_w(self, g):
        return (g * self.normalized).sum(axis=self.others)

    def vjp_b(self, g):
        return g.sum(axis=self.others)

    def _per_channel(self, values):
        """(C,) -> (1, C, 1, ...)"""
        return values.reshape(self.column)
