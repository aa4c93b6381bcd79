"""Elementwise ops. Arithmetic broadcasts as in NumPy; what can be derived (subtraction, division) is, in `functional`."""

import numpy as np

from minigrad import kernels
from minigrad.ops.base import Array, Op


class Add(Op, name="add", axes="(...), (...) -> (...)", broadcasts=True):
    """x + y."""

    def forward(self, x, y):
        return x + y

    def vjp_x(self, g):
        return g

    def vjp_y(self, g):
        return g


class Multiply(Op, name="multiply", axes="(...), (...) -> (...)", broadcasts=True):
    """x * y."""

    def forward(self, x, y):
        self.x, self.y = x, y
        return x * y

    def vjp_x(self, g):
        return g * self.y

    def vjp_y(self, g):
        return g * self.x


class Power(Op, name="power", axes="(...) -> (...)"):
    """x ** exponent, for a constant exponent."""

    def forward(self, x, *, exponent):
        self.x, self.exponent = x, exponent
        return x**exponent

    def vjp_x(self, g):
        if self.exponent == 0:
            return np.zeros_like(g)  # 0 * 0**-1 would be NaN
        return g * (self.exponent * self.x ** (self.exponent - 1))


class Exp(Op, name="exp", axes="(...) -> (...)"):
    """e ** x."""

    def forward(self, x):
        self.out = np.exp(x)
        return self.out

    def vjp_x(self, g):
        return g * self.out


class Log(Op, name="log", axes="(...) -> (...)"):
    """Natural logarithm of x."""

    def forward(self, x):
        self.x = x
        return np.log(x)

    def vjp_x(self, g):
        return g / self.x


class Relu(Op, name="relu", axes="(...) -> (...)"):
    """max(x, 0). The derivative at 0 is 0."""

    def forward(self, x):
        self.out = np.empty_like(x)
        kernels.relu_forward(_flat(x, like=self.out), self.out.ravel(order="K"))
        return self.out

    def vjp_x(self, g):
        grad_x = np.empty_like(self.out)
        kernels.relu_grad(_flat(g, like=self.out), self.out.ravel(order="K"), grad_x.ravel(order="K"))
        return grad_x


def _flat(x: Array, like: Array) -> Array:
    """Flatten x in the order in which `like`, an array of the same shape, lies in memory: one sweep reads both."""
    if x.strides != like.strides:
        x, source = np.empty_like(like), x
        x[...] = source
    return x.ravel(order="K")
