"""Integer-only inference: from the pixel to the logits there is no floating-point number. And a backward pass in int8."""

from .arithmetic import PROFILES, quantize_multiplier
from .certificate import Bound
from .convert import lower, to_integer
from .int8_backward import to_int8_backward
from .layers import (
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerFlatten,
    IntegerLayer,
    IntegerLinear,
    IntegerMaxPool2d,
    Scale,
    TensorInfo,
)
from .model import IntegerModel
from .storage import FileBytes, LayerBytes

__all__ = [
    "PROFILES",
    "Bound",
    "FileBytes",
    "IntegerAvgPool2d",
    "IntegerConv2d",
    "IntegerFlatten",
    "IntegerLayer",
    "IntegerLinear",
    "IntegerMaxPool2d",
    "IntegerModel",
    "LayerBytes",
    "Scale",
    "TensorInfo",
    "lower",
    "quantize_multiplier",
    "to_int8_backward",
    "to_integer",
]
