"""Layers: settings and Parameters around the functions of `minigrad.functional`, named and ordered as in PyTorch."""

from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad.functional.checks import Pair, pair
from minigrad.nn.init import default_uniform
from minigrad.nn.module import Buffer, Module, Parameter
from minigrad.tensor import Tensor


class Linear(Module):
    """x @ weight.T + bias: (..., in_features) -> (..., out_features).

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        bias: whether there is one.

    Example:
        >>> Linear(256, 120)
        Linear(in_features=256, out_features=120, bias=True)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(default_uniform((out_features, in_features), in_features))
        self.bias = Parameter(default_uniform((out_features,), in_features)) if bias else None

    def forward(self, x: Any) -> Tensor:
        """(..., in_features) -> (..., out_features)"""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes, for `repr`."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Conv2d(Module):
    """Two-dimensional convolution: (N, in_channels, H, W) -> (N, out_channels, OH, OW). See `functional.conv2d`.

    Example:
        >>> Conv2d(1, 6, kernel_size=5)
        Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: groups={groups} does not divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = (
            pair("Conv2d", "kernel_size", kernel_size, 1),
            pair("Conv2d", "stride", stride, 1),
        )
        self.padding, self.dilation = pair("Conv2d", "padding", padding, 0), pair("Conv2d", "dilation", dilation, 1)
        fan_in = in_channels // groups * self.kernel_size[0] * self.kernel_size[1]
        self.weight = Parameter(default_uniform((out_channels, in_channels // groups, *self.kernel_size), fan_in))
        self.bias = Parameter(default_uniform((out_channels,), fan_in)) if bias else None

    def forward(self, x: Any) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, OH, OW)"""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Channels and geometry, for `repr`."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding}" if self.padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text + (", bias=False" if self.bias is None else "")


class _Pool2d(Module):
    """What pooling layers share: a window, its step (None: its size) and padding."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def extra_repr(self) -> str:
        """Window, for `repr`."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """Largest value of each window: (N, C, H, W) -> (N, C, OH, OW). See `functional.max_pool2d`."""

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class Flatten(Module):
    """Join the axes from start_dim to end_dim: with the defaults (N, C, H, W) -> (N, C * H * W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Tensor:
        """(...) -> (... with the axes joined)"""
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Axes, for `repr`."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class AvgPool2d(_Pool2d):
    """Mean of each window: (N, C, H, W) -> (N, C, OH, OW). See `functional.avg_pool2d`."""

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class AdaptiveAvgPool2d(Module):
    """Mean over output_size parts of the image: (N, C, H, W) -> (N, C, OH, OW). See `functional.adaptive_avg_pool2d`."""

    def __init__(self, output_size: Pair):
        self.output_size = output_size

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W) -> (N, C, OH, OW)"""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        """Size, for `repr`."""
        return f"output_size={self.output_size}"


class Dropout(Module):
    """In training, zeros with probability p, the rest scaled by 1 / (1 - p); in evaluation nothing."""

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is {p}, expected 0 to 1")
        self.p = p

    def forward(self, x: Any) -> Tensor:
        """(...) -> (...)"""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Probability, for `repr`."""
        return f"p={self.p}"


class BatchNorm2d(Module):
    """Batch normalisation, channel by channel, of (N, C, ...): images, or with no further axes, features.

    Attributes:
        weight, bias: float32 (num_features,), trained.
        running_mean, running_var: float32 (num_features,), moved in training and used in evaluation.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean = Buffer(np.zeros(num_features, np.float32))
        self.running_var = Buffer(np.ones(num_features, np.float32))

    def forward(self, x: Any) -> Tensor:
        """(N, num_features, ...) -> (N, num_features, ...)"""
        running = (self.running_mean.data, self.running_var.data)
        return F.batch_norm(x, *running, self.weight, self.bias, self.training, self.momentum, self.eps)

    def extra_repr(self) -> str:
        """Channels and settings, for `repr`."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


BatchNorm1d = BatchNorm2d
