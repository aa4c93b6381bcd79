"""Networks whose weights and activations are signs: trained in float, run by counting bits."""

from .layers import BinaryConv2d, BinaryLinear
from .models import BinaryLeNet
from .packed import PackedConv2d, PackedLinear, pack

__all__ = ["BinaryConv2d", "BinaryLeNet", "BinaryLinear", "PackedConv2d", "PackedLinear", "pack"]
