"""The same layers for inference: 64 weights in a word, and no multiplication but that by the scale.

A sum of signs is the same integer whether it is multiplied out in float32 or counted, and both forms then multiply it once by
the scale: a packed model's results equal those of the trained one bit by bit.
"""

from typing import Any

import numpy as np

from minigrad import nn
from minigrad.functional.checks import check_kernel_dtype
from minigrad.nn.module import Buffer
from minigrad.ops.conv import output_size
from minigrad.ops.layout import empty, innermost, outermost
from minigrad.tensor import Array, Tensor, as_tensor

from ..sparse.convert import with_layers
from .kernels import binary_conv2d
from .layers import BinaryConv2d, BinaryLinear


def pack_bits(signs: Any) -> Array:
    """Put each row's signs into words of 64 bits, the first into the lowest; the rest of the last word is 0.

    Args:
        signs: (F, K); what is >= 0 gives 1, the rest 0.

    Returns:
        uint64 (F, ceil(K / 64)).

    Example:
        >>> pack_bits([[1.0, -2.0, 0.0]])
        array([[5]], dtype=uint64)
    """
    positive = np.asarray(signs) >= 0
    full = np.zeros((len(positive), -(-positive.shape[1] // 64) * 64), bool)
    full[:, : positive.shape[1]] = positive
    return np.packbits(full, axis=1, bitorder="little").view("<u8").astype(np.uint64)


class PackedConv2d(nn.Module):
    """Convolution of signs by counting bits: (N, in_channels, H, W) -> (N, out_channels, OH, OW).

    Args:
        layer: what was trained. It stays as it is.

    Attributes:
        words: uint64 (out_channels, ceil(in_channels * KH * KW / 64)): a filter's signs, as `binary_conv2d` takes them.
        scale: float32 (out_channels,).

    Raises:
        ValueError: a weight is NaN; in `forward`, the input does not fit, or the layer is in training mode.

    Source:
        Rastegari et al., "XNOR-Net", 2016, section 3.2.

    Example:
        >>> trained = BinaryConv2d(20, 50, kernel_size=5)
        >>> packed = PackedConv2d(trained).eval()
        >>> packed.nbytes, trained.weight.data.nbytes
        (3400, 100000)
        >>> x = np.random.default_rng(0).normal(size=(2, 20, 12, 12)).astype(np.float32)
        >>> np.array_equal(packed(x).data, trained(x).data)
        True
    """

    def __init__(self, layer: BinaryConv2d):
        w = layer.weight.data
        _check_weights("PackedConv2d", w)
        self.in_channels, self.kernel_size, self.stride = layer.in_channels, layer.kernel_size, layer.stride
        self.words = Buffer(pack_bits(w.transpose(0, 3, 2, 1).reshape(len(w), -1)))
        self.scale = Buffer(layer.scale().reshape(-1))

    def forward(self, x: Any) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, OH, OW)"""
        x = _checked("PackedConv2d", self, x)
        if x.ndim != 4 or x.shape[1] != self.in_channels or min(np.subtract(x.shape[2:], self.kernel_size)) < 0:
            raise ValueError(
                f"PackedConv2d: x must be (N, {self.in_channels}, H, W), H and W at least the kernel's size "
                f"(x: {x.shape}, kernel_size: {self.kernel_size})"
            )
        return Tensor(self.convolve(x))

    def convolve(self, x: Array) -> Array:
        """(N, in_channels, H, W) -> (N, out_channels, OH, OW), float32"""
        x = innermost(x)  # (C, H, W, N)
        channels, height, width, images = x.shape
        size = output_size((height, width), self.kernel_size, self.stride, (1, 1))
        bits = empty((height, -(-channels // 64), width, images), np.dtype(np.uint64))
        out = empty((len(self.words), *size, images), np.dtype(np.float32))  # (F, OH, OW, N)
        lines = x.reshape(channels, height, width * images)
        binary_conv2d(lines, self.words.data, self.scale.data, *self.kernel_size, *self.stride, bits, out)
        return outermost(out)

    @property
    def nbytes(self) -> int:
        """Bytes of words and scales."""
        return self.words.data.nbytes + self.scale.data.nbytes

    def extra_repr(self) -> str:
        """Channels and geometry, for `repr`."""
        return f"{self.in_channels}, {len(self.words)}, kernel_size={self.kernel_size}, stride={self.stride}"


class PackedLinear(nn.Module):
    """Product of signs by counting bits, (N, in_features) -> (N, out_features): a convolution of images of one pixel.

    Args:
        layer: what was trained. It stays as it is.

    Raises:
        ValueError: as `PackedConv2d`.
    """

    def __init__(self, layer: BinaryLinear):
        _check_weights("PackedLinear", layer.weight.data)
        like = BinaryConv2d(layer.in_features, layer.out_features, kernel_size=1)
        like.weight.data[...] = layer.weight.data[:, :, None, None]
        self.conv = PackedConv2d(like)

    def forward(self, x: Any) -> Tensor:
        """(N, in_features) -> (N, out_features)"""
        x = _checked("PackedLinear", self, x)
        if x.ndim != 2 or x.shape[1] != self.conv.in_channels:
            raise ValueError(f"PackedLinear: x must be (N, {self.conv.in_channels}) (x: {x.shape})")
        return Tensor(self.conv.convolve(x[:, :, None, None])[:, :, 0, 0])

    @property
    def nbytes(self) -> int:
        """Bytes of words and scales."""
        return self.conv.nbytes


PACKED = {BinaryConv2d: PackedConv2d, BinaryLinear: PackedLinear}


def pack(model: nn.Module) -> nn.Module:
    """Return a copy of a model, for inference, whose binary layers are packed. Its results are the model's, bit by bit.

    Args:
        model: it stays as it is. Layers that are not binary are copied.

    Raises:
        ValueError: there is no binary layer, or a weight is NaN.

    Example:
        >>> from minigrad.compression.binary import BinaryLeNet
        >>> pack(BinaryLeNet()).conv2
        PackedConv2d(20, 50, kernel_size=(5, 5), stride=(1, 1))
    """
    made = {}
    for name, layer in model.named_modules():
        if type(layer) in PACKED:
            try:
                made[name] = PACKED[type(layer)](layer)
            except ValueError as error:
                raise ValueError(f"pack: {name}: {error}") from None
    if not made:
        raise ValueError(f"pack: {type(model).__name__} has no BinaryConv2d or BinaryLinear")
    return with_layers(model, made).eval()


def _check_weights(name: str, w: Array) -> None:
    if np.isnan(w).any():
        raise ValueError(f"{name}: {int(np.isnan(w).sum())} of {w.size} weights are NaN, which has no sign")


def _checked(name: str, layer: nn.Module, x: Any) -> Array:
    """Return the input as an array; refuse training, for bits have no gradient."""
    if layer.training:
        raise ValueError(f"{name}: bits cannot be trained; train the model that was packed, and pack it again")
    x = as_tensor(x)
    check_kernel_dtype(name, x)
    return x.data
