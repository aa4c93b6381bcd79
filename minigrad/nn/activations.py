"""Activation functions as modules."""

from typing import Any

from minigrad import functional as F
from minigrad.nn.module import Module
from minigrad.tensor import Tensor


class ReLU(Module):
    """max(x, 0), elementwise."""

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6), elementwise."""

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.relu6(x)


class LeakyReLU(Module):
    """x where it is positive, else negative_slope * x."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Slope, for `repr`."""
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise."""

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.sigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent, elementwise."""

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.tanh(x)


class GELU(Module):
    """x * P(Z <= x) for a standard normal Z, elementwise."""

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.gelu(x)


class Softmax(Module):
    """exp(x / T) / sum of exp(x / T) along an axis, at temperature T."""

    def __init__(self, axis: int = -1, temperature: float = 1.0):
        self.axis, self.temperature = axis, temperature

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.softmax(x, self.axis, self.temperature)

    def extra_repr(self) -> str:
        """Axis and temperature, for `repr`."""
        return f"axis={self.axis}, temperature={self.temperature}"


class LogSoftmax(Softmax):
    """The logarithm of Softmax."""

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.log_softmax(x, self.axis, self.temperature)
