"""Elementwise ops of one array and of two. What can be derived (subtraction, division, minimum) is, above `ops`."""

import numpy as np

from minigrad.ops.base import Op


class Add(Op, name="add", axes="(...), (...) -> (...)", cost="out", broadcasts=True):
    """x + y."""

    __slots__ = ()

    def forward(self, x, y):
        return x + y

    def vjp_x(self, g):
        return g

    def vjp_y(self, g):
        return g


class Multiply(Op, name="multiply", axes="(...), (...) -> (...)", cost="out", broadcasts=True):
    """x * y."""

    __slots__ = ("x", "y")

    def forward(self, x, y):
        self.x, self.y = x, y
        return x * y

    def vjp_x(self, g):
        return g * self.y

    def vjp_y(self, g):
        return g * self.x


class Divide(Op, name="divide", axes="(...), (...) -> (...)", cost="out", domain="y != 0", broadcasts=True):
    """x / y. Not x * (1 / y), which rounds twice and overflows where x / y does not."""

    __slots__ = ("out", "y")

    def forward(self, x, y):
        self.y, self.out = y, x / y
        return self.out

    def vjp_x(self, g):
        return g / self.y

    def vjp_y(self, g):
        return -g * self.out / self.y


class Power(
    Op,
    name="power",
    axes="(...) -> (...)",
    cost="out",
    domain="x > 0; any x for exponents 0, 1, 2, ...; x != 0 for -1, -2, ...",
):
    """x ** exponent, for a constant exponent."""

    def forward(self, x, *, exponent):
        self.x, self.exponent = x, exponent
        return x**exponent

    def vjp_x(self, g):
        if self.exponent == 0:
            return np.zeros_like(g)  # 0 * 0**-1 would be NaN
        return g * (self.exponent * self.x ** (self.exponent - 1))


class Exp(Op, name="exp", axes="(...) -> (...)", cost="out"):
    """e ** x."""

    def forward(self, x):
        self.out = np.exp(x)
        return self.out

    def vjp_x(self, g):
        return g * self.out


class Log(Op, name="log", axes="(...) -> (...)", cost="out", domain="x > 0"):
    """Natural logarithm of x."""

    def forward(self, x):
        self.x = x
        return np.log(x)

    def vjp_x(self, g):
        return g / self.x


class Sqrt(Op, name="sqrt", axes="(...) -> (...)", cost="out", domain="x >= 0; infinite slope at x = 0"):
    """Square root of x. The derivative at 0 is infinite."""

    def forward(self, x):
        self.out = np.sqrt(x)
        return self.out

    def vjp_x(self, g):
        return g / (2 * self.out)


class Abs(Op, name="abs", axes="(...) -> (...)", cost="out", domain="any; kink at x = 0"):
    """Magnitude of x. The derivative at 0 is 0."""

    def forward(self, x):
        self.x = x
        return np.abs(x)

    def vjp_x(self, g):
        return g * np.sign(self.x)


class Clip(Op, name="clip", axes="(...) -> (...)", cost="2 * out", domain="any; kinks at x = low and x = high"):
    """x, but at least `low` and at most `high` (None: no limit). The derivative is 1 from low to high, ends included."""

    def forward(self, x, *, low=None, high=None):
        self.inside = np.ones(x.shape, bool)
        if low is not None:
            self.inside &= x >= low
        if high is not None:
            self.inside &= x <= high
        return np.clip(x, low, high)

    def vjp_x(self, g):
        return g * self.inside


class Maximum(
    Op,
    name="maximum",
    axes="(...), (...) -> (...)",
    cost="out",
    domain="any; kink where x = y",
    broadcasts=True,
):
    """The larger of x and y. Where they are equal, each gets half of the gradient."""

    def forward(self, x, y):
        self.x_wins = np.where(x == y, 0.5, x > y)
        return np.maximum(x, y)

    def vjp_x(self, g):
        return g * self.x_wins

    def vjp_y(self, g):
        return g * (1 - self.x_wins)


class Where(Op, name="where", axes="condition: (...), x: (...), y: (...) -> (...)", cost="0", broadcasts=True):
    """x where the condition holds, else y."""

    def forward(self, condition, x, y):
        self.condition = condition
        return np.where(condition, x, y)

    def vjp_x(self, g):
        return np.where(self.condition, g, 0)

    def vjp_y(self, g):
        return np.where(self.condition, 0, g)
