"""Rounding in training. Its true derivative is 0 nearly everywhere, and nothing would learn: these ops pass gradients
straight through instead. What their VJPs are the derivatives of is stated with each, and checked against that.
"""

import numpy as np

from minigrad.ops.base import Op


class FakeQuantize(
    Op,
    name="fake_quantize",
    axes="x: (...), scale: (...), zero_point: (...) -> (...)",
    cost="6 * out",
    domain="scale > 0; straight-through; kinks where round(x / scale) is at a limit",
    broadcasts=True,
):
    """scale * (q - zero_point) with q = round(x / scale) + zero_point, limited to low ... high; ties to even.

    Straight-through: with v = x / scale, the error of rounding c = round(v) - v counts as a constant. Then the result is

        scale * (v + c) = x + scale * c         where q is inside: derivatives 1 by x and c by scale
        scale * (limit - zero_point)            where q is limited: derivatives 0 and limit - zero_point

    That is the straight-through estimator for x (Bengio et al. 2013) and the learned step size for scale (Esser et al.
    2020, equation 3, who count as limited what is beyond the limit; here, as in PyTorch, what rounds to beyond it). The
    gradient of scale is multiplied by grad_factor.
    """

    def forward(self, x, scale, zero_point, *, low=-128, high=127, grad_factor=1.0):
        self.scaled, self.grad_factor = x / scale, x.dtype.type(grad_factor)
        rounded = np.rint(self.scaled)
        zero_point = zero_point.astype(x.dtype)
        self.steps = np.clip(rounded, low - zero_point, high - zero_point)
        self.inside = self.steps == rounded
        return self.steps * scale

    def vjp_x(self, g):
        return g * self.inside

    def vjp_scale(self, g):
        return self.grad_factor * g * (self.steps - np.where(self.inside, self.scaled, 0))


class BinarySign(
    Op,
    name="binary_sign",
    axes="(...) -> (...)",
    cost="out",
    domain="any; straight-through; kinks at x = -1 and x = 1",
):
    """1 where x >= 0, else -1.

    Straight-through: the derivative is that of the hard tanh, min(max(x, -1), 1): 1 from -1 to 1, ends included, else 0
    (Hubara et al., "Binarized neural networks", 2016, equation 4).
    """

    def forward(self, x):
        self.inside = np.abs(x) <= 1
        return (x >= 0).astype(x.dtype) * 2 - 1  # random signs take np.where 15 times as long

    def vjp_x(self, g):
        return g * self.inside
