"""The layers of an integer model: frozen records of integers.

A real number r is kept as an integer q with r = S (q - Z): S is the scale, Z the zero point. Weights have Z = 0. Scales are
float32 numbers, and are kept here as the two integers they are made of; no step of the inference reads them. What it
reads instead are `multiplier` and `shift`: see `arithmetic.py`.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray

LOW, HIGH = -128, 127
"""The range of int8, that of all activations."""


@dataclass(frozen=True, eq=False)
class Scale:
    """Float32 numbers as integers: mantissa * 2**exponent, exactly.

    Attributes:
        mantissa: int32, () or (C,), 1 to 2**24 - 1.
        exponent: int32, of the same shape.

    Example:
        >>> Scale.of(0.75).mantissa.item(), Scale.of(0.75).exponent.item()
        (12582912, -24)
        >>> float(Scale.of(0.75).as_float32())
        0.75
    """

    mantissa: Array
    exponent: Array

    def __post_init__(self) -> None:
        _freeze(self, "scale", mantissa=np.int32, exponent=np.int32)
        if self.mantissa.shape != self.exponent.shape or self.mantissa.ndim > 1:
            raise ValueError(
                "Scale: mantissa and exponent must both be () or (C,) "
                f"(mantissa: {self.mantissa.shape}, exponent: {self.exponent.shape})"
            )
        if not ((self.mantissa > 0) & (self.mantissa < 2**24)).all():
            raise ValueError("Scale: a mantissa lies outside 1 to 2**24 - 1; a scale is a positive float32 number")

    @classmethod
    def of(cls, value: Any) -> "Scale":
        """Return float32 numbers as integers.

        Args:
            value: float32, () or (C,), positive and finite.

        Raises:
            ValueError: a number is not positive or not finite.
        """
        value = np.asarray(value, np.float32)
        if not (np.isfinite(value) & (value > 0)).all():
            raise ValueError(f"Scale: a scale must be a positive, finite float32 number (got {value})")
        fraction, exponent = np.frexp(value)  # value = fraction * 2**exponent, 0.5 <= fraction < 1
        return cls(np.asarray(fraction * np.float32(2**24)).astype(np.int32), np.asarray(exponent - 24, np.int32))

    def as_float32(self) -> Array:
        """Return the numbers as float32: for those who write other formats, not for computing with."""
        return np.ldexp(self.mantissa.astype(np.float32), self.exponent)


@dataclass(frozen=True, eq=False)
class TensorInfo:
    """The images a model takes.

    Attributes:
        shape: (C, H, W).
        scale: of a pixel; 1/255.
        zero_point: -128, so that a pixel p is q = p - 128.
    """

    shape: tuple[int, int, int]
    scale: Scale
    zero_point: int = LOW


class IntegerLayer:
    """What every layer has: a name, as in the model it was made from, and an output whose shape follows from its input's."""

    name: str

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one image's output, given that of its input.

        Raises:
            ValueError: the layer cannot take such an input.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class WeightedLayer(IntegerLayer):
    """What convolutions and linear layers share: acc = sum of weight * (x - input_zero) + bias, requantized and clamped.

    Attributes:
        name: as in the model it was made from.
        weight: int8; its first axis is the output channel.
        bias: int32 (F,), in units of input scale * weight scale; the input's zero point is not folded into it.
        input_zero, output_zero: zero points of input and output.
        low, high: what the output is clamped to. ReLU is low = max(-128, output_zero).
        multiplier, shift: int32 (F,), of each output channel. Profiles "tflite" and "single": M = multiplier * 2**(shift -
            31), multiplier 0 or 2**30 to 2**31 - 1. Profile "onnx": M = multiplier * 2**shift, multiplier below 2**24.
        weight_scale: () for one scale in all, (F,) for one a channel.
        input_scale, output_scale: ().
    """

    name: str
    weight: Array
    bias: Array
    input_zero: int
    output_zero: int
    low: int = LOW
    high: int = HIGH
    multiplier: Array
    shift: Array
    weight_scale: Scale
    input_scale: Scale
    output_scale: Scale

    def __post_init__(self) -> None:
        _freeze(self, self.name, weight=np.int8, bias=np.int32, multiplier=np.int32, shift=np.int32)
        channels = len(self.weight)
        for field_ in ("bias", "multiplier", "shift"):
            if getattr(self, field_).shape != (channels,):
                raise ValueError(
                    f"{self.name}: {field_} must have one entry for each of weight's {channels} output channels "
                    f"(weight: {self.weight.shape}, {field_}: {getattr(self, field_).shape})"
                )
        if self.weight_scale.mantissa.shape not in ((), (channels,)):
            raise ValueError(
                f"{self.name}: weight_scale must be one number or {channels} (it is {self.weight_scale.mantissa.shape})"
            )
        if not LOW <= self.low <= self.high <= HIGH:
            raise ValueError(f"{self.name}: low {self.low} and high {self.high} must be ordered and within -128 to 127")
        if (self.multiplier < 0).any():
            raise ValueError(f"{self.name}: multiplier is negative in channel {self.multiplier.argmin()}")
        for zero in (self.input_zero, self.output_zero):
            if not LOW <= zero <= HIGH:
                raise ValueError(f"{self.name}: zero point {zero} lies outside -128 to 127")

    @property
    def folded_bias(self) -> Array:
        """int64 (F,): bias - input_zero * sum of the channel's weights, so that acc = sum of weight * x + folded_bias."""
        sums = self.weight.reshape(len(self.weight), -1).sum(axis=1, dtype=np.int64)
        return self.bias.astype(np.int64) - self.input_zero * sums


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerConv2d(WeightedLayer):
    """A convolution.

    Attributes:
        weight: int8 (F, C / groups, KH, KW).
        stride, padding: (rows, columns); padding on both sides.
        groups: channels are split into so many groups that do not mix.
        dilation: (rows, columns), distance of neighbouring taps.
        pad_value: what the border is filled with; None: input_zero, which is a real 0. In a first layer that has the
            normalisation folded in, the quantized mean instead.
    """

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)
    pad_value: int = field(default=None)  # pyright: ignore[reportAssignmentType]  # becomes an int below

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight.ndim != 4 or self.groups < 1 or len(self.weight) % self.groups:
            raise ValueError(
                f"{self.name}: weight must be (F, C / groups, KH, KW) with F divisible by groups "
                f"(weight: {self.weight.shape}, groups: {self.groups})"
            )
        if self.pad_value is None:
            object.__setattr__(self, "pad_value", self.input_zero)
        if not LOW <= self.pad_value <= HIGH:
            raise ValueError(f"{self.name}: pad_value {self.pad_value} lies outside -128 to 127")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (F, OH, OW)"""
        filters, channels, *kernel = self.weight.shape
        if len(shape) != 3 or shape[0] != channels * self.groups:
            raise ValueError(
                f"{self.name}: expected an input of {channels * self.groups} channels, (C, H, W), got {shape} "
                f"(weight: {self.weight.shape}, groups: {self.groups})"
            )
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, self.dilation, strict=True)]
        return (filters, *_windows(self.name, shape, reach, self.stride, self.padding))


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerLinear(WeightedLayer):
    """A linear layer.

    Attributes:
        weight: int8 (O, I).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight.ndim != 2:
            raise ValueError(f"{self.name}: weight must be (O, I) (weight: {self.weight.shape})")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(I,) -> (O,)"""
        if tuple(shape) != self.weight.shape[1:]:
            raise ValueError(
                f"{self.name}: expected an input of {self.weight.shape[1]} features, got {tuple(shape)}; "
                "is a Flatten missing before it?"
            )
        return self.weight.shape[:1]


@dataclass(frozen=True, eq=False)
class PoolingLayer(IntegerLayer):
    """What both kinds of pooling share. Scale and zero point stay those of the input.

    Attributes:
        kernel, stride, padding: (rows, columns).
        low, high: what the output is clamped to: a ReLU that follows.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    name: str = ""
    low: int = LOW
    high: int = HIGH

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (C, OH, OW)"""
        if len(shape) != 3:
            raise ValueError(f"{self.name}: expected an input (C, H, W), got {tuple(shape)}")
        return (shape[0], *_windows(self.name, shape, self.kernel, self.stride, self.padding))


@dataclass(frozen=True, eq=False)
class IntegerMaxPool2d(PoolingLayer):
    """The largest value of each window; a border counts as -128, which never wins over a value."""


@dataclass(frozen=True, eq=False)
class IntegerAvgPool2d(PoolingLayer):
    """The mean of each window's integers, rounded half away from zero."""

    def __post_init__(self) -> None:
        if any(self.padding):
            raise ValueError(f"{self.name}: average pooling with padding {self.padding} has no integer form here")


@dataclass(frozen=True, eq=False)
class IntegerFlatten(IntegerLayer):
    """(C, H, W) -> (C * H * W,), channel by channel."""

    name: str = ""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (C * H * W,)"""
        return (int(np.prod(shape)),)


def _windows(name: str, shape: Any, kernel: Any, stride: Any, padding: Any) -> tuple[int, ...]:
    """Return (OH, OW): how many windows fit."""
    settings = zip(shape[1:], kernel, stride, padding, strict=True)
    size = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in settings)
    if min(size) < 1:
        raise ValueError(
            f"{name}: a window of {tuple(kernel)} does not fit into an image of {tuple(shape[1:])} with padding {padding}"
        )
    return size


def _freeze(owner: Any, said: str, **dtypes: Any) -> None:
    """Make a record's arrays read-only, after checking that they hold integers of these dtypes."""
    for name, dtype in dtypes.items():
        given = np.asarray(getattr(owner, name))
        if given.dtype != dtype:
            raise TypeError(f"{said}: {name} is {given.dtype}, expected {np.dtype(dtype)}")
        array = np.array(given, order="C")
        array.flags.writeable = False
        object.__setattr__(owner, name, array)
