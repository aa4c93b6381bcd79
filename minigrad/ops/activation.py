"""Activation functions."""

import numpy as np

from minigrad import kernels
from minigrad.kernels.elementwise import CHUNK
from minigrad.ops.base import Array, Op

SMALL = CHUNK
"""Elements that a kernel takes as one task: so few NumPy does sooner."""


class Relu(Op, name="relu", axes="(...) -> (...)", cost="out", domain="any; kink at x = 0"):
    """max(x, 0). The derivative at 0 is 0."""

    def forward(self, x):
        if x.size <= SMALL:
            self.out = np.maximum(x, 0)
            return self.out
        self.out = np.empty_like(x)
        kernels.relu_forward(_flat(x, like=self.out), self.out.ravel(order="K"))
        return self.out

    def vjp_x(self, g):
        if g.size <= SMALL:
            return np.where(self.out <= 0, g.dtype.type(0), g)
        grad_x = np.empty_like(self.out)
        kernels.relu_grad(_flat(g, like=self.out), self.out.ravel(order="K"), grad_x.ravel(order="K"))
        return grad_x


class Relu6(Op, name="relu6", axes="(...) -> (...)", cost="2 * out", domain="any; kinks at x = 0 and x = 6"):
    """min(max(x, 0), 6). The derivative at 0 and at 6 is 0."""

    def forward(self, x):
        self.inside = (x > 0) & (x < 6)
        return np.clip(x, 0, 6)

    def vjp_x(self, g):
        return g * self.inside


class LeakyRelu(Op, name="leaky_relu", axes="(...) -> (...)", cost="2 * out", domain="any; kink at x = 0"):
    """x where it is positive, else slope * x. The derivative at 0 is the slope."""

    def forward(self, x, *, slope=0.01):
        self.derivative = np.where(x > 0, x.dtype.type(1), x.dtype.type(slope))
        return x * self.derivative

    def vjp_x(self, g):
        return g * self.derivative


class Sigmoid(Op, name="sigmoid", axes="(...) -> (...)", cost="4 * out"):
    """1 / (1 + exp(-x)), written with tanh so that nothing overflows."""

    def forward(self, x):
        self.out = sigmoid(x)
        return self.out

    def vjp_x(self, g):
        return g * self.out * (1 - self.out)


class Tanh(Op, name="tanh", axes="(...) -> (...)", cost="out"):
    """Hyperbolic tangent of x."""

    def forward(self, x):
        self.out = np.tanh(x)
        return self.out

    def vjp_x(self, g):
        return g * (1 - self.out * self.out)


class Gelu(Op, name="gelu", axes="(...) -> (...)", cost="5 * out"):
    """x * P(Z <= x) for a standard normal Z (Hendrycks and Gimpel 2016), with the exact error function."""

    def forward(self, x):
        from scipy.special import erf  # here, so that importing minigrad does not wait for it

        self.x, self.below = x, 0.5 * (1 + erf(x * 0.5**0.5))
        return x * self.below

    def vjp_x(self, g):
        density = np.exp(-0.5 * self.x * self.x) * (2 * np.pi) ** -0.5
        return g * (self.below + self.x * density)


def sigmoid(x):
    """1 / (1 + exp(-x)) of an array."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def _flat(x: Array, like: Array) -> Array:
    """Flatten x in the order in which `like`, an array of the same shape, lies in memory: one sweep reads both."""
    if x.strides != like.strides:
        x, source = np.empty_like(like), x
        x[...] = source
    return x.ravel(order="K")
