"""Layers that multiply signs by signs, in the form that is trained.

    a = sign(x), b = sign(w), scale = mean of |w|, filter by filter:      out = scale * (a ⋆ b)

The weights that are trained stay float32 and move by small steps; only their signs are used. A sum of signs is a small
integer, which float32 holds exactly: `PackedConv2d` finds the very same numbers by counting bits.

There is no bias, for a batch normalisation follows, which has one. And since that takes any factor out again, the gradient
that reaches the scale is zero, up to the `eps` in its root: the scale counts as a constant here.

Source: Rastegari, Ordonez, Redmon and Farhadi, "XNOR-Net", 2016, sections 3.2 and 3.3; without the factors K of its
equation 11, one for each place of the input, which the authors' own code leaves out.
"""

from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad import nn
from minigrad.functional.checks import Pair, pair
from minigrad.tensor import Array, Tensor


def mean_magnitude(w: Array) -> Array:
    """Return the mean of |w| of each filter, float32 (F,): the scale of `quantization.binarize`, without its checks."""
    return np.abs(w).reshape(len(w), -1).mean(axis=1, dtype=np.float64).astype(np.float32)


class BinaryConv2d(nn.Module):
    """Convolution of signs: (N, in_channels, H, W) -> (N, out_channels, OH, OW). The sign of 0 is +1.

    Args:
        in_channels, out_channels, kernel_size, stride: as of `nn.Conv2d`.
        padding: must be 0.

    Raises:
        ValueError: padding.

    Example:
        >>> layer = BinaryConv2d(20, 50, kernel_size=5)
        >>> layer
        BinaryConv2d(20, 50, kernel_size=(5, 5), stride=(1, 1))
        >>> import numpy as np
        >>> out = layer(np.ones((2, 20, 12, 12), np.float32))
        >>> out.shape, bool(np.abs(out.data / layer.scale()).max() <= 500)
        ((2, 50, 8, 8), True)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0):
        if pair("BinaryConv2d", "padding", padding, 0) != (0, 0):
            raise ValueError(
                f"BinaryConv2d: padding is {padding}, expected 0: a border of zeros is neither +1 nor -1; "
                "pad before the batch normalisation"
            )
        like = nn.Conv2d(in_channels, out_channels, kernel_size, stride, bias=False)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.weight = like.kernel_size, like.stride, like.weight

    def scale(self) -> Array:
        """Return the mean of |w| of each filter, float32 (out_channels, 1, 1)."""
        return mean_magnitude(self.weight.data)[:, None, None]

    def forward(self, x: Any) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, OH, OW)"""
        return F.conv2d(F.binary_sign(x), F.binary_sign(self.weight), stride=self.stride) * self.scale()

    def extra_repr(self) -> str:
        """Channels and geometry, for `repr`."""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"


class BinaryLinear(nn.Module):
    """Product of signs: (N, in_features) -> (N, out_features). The sign of 0 is +1.

    Example:
        >>> import numpy as np
        >>> layer = BinaryLinear(3, 1)
        >>> layer.weight.data[...] = [0.5, -1.5, 1.0]  # signs + - +, scale 1
        >>> layer(np.array([[2.0, 0.0, -3.0]], np.float32)).data  # 1 - 1 - 1
        array([[-1.]], dtype=float32)
    """

    def __init__(self, in_features: int, out_features: int):
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Linear(in_features, out_features, bias=False).weight

    def scale(self) -> Array:
        """Return the mean of |w| of each output, float32 (out_features,)."""
        return mean_magnitude(self.weight.data)

    def forward(self, x: Any) -> Tensor:
        """(N, in_features) -> (N, out_features)"""
        return F.linear(F.binary_sign(x), F.binary_sign(self.weight)) * self.scale()

    def extra_repr(self) -> str:
        """Sizes, for `repr`."""
        return f"{self.in_features}, {self.out_features}"
