"""Integer models with random weights and scales, of any architecture that the formats can hold."""

import numpy as np

from minigrad.compression.integer.arithmetic import output_multipliers
from minigrad.compression.integer.layers import (
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerFlatten,
    IntegerLinear,
    IntegerMaxPool2d,
    Scale,
    TensorInfo,
)
from minigrad.compression.integer.model import IntegerModel

PIXEL = Scale.of(np.float32(1 / 255))


class Builder:
    """Adds layers whose scales fit those before, so that outputs use int8's range and some of them saturate."""

    def __init__(self, rng, shape, profile="tflite", per_channel=True, linear_per_channel=False, power_of_two=False):
        self.rng, self.profile, self.power_of_two = rng, profile, power_of_two
        self.per_channel, self.linear_per_channel = per_channel, linear_per_channel
        self.input = TensorInfo(shape, PIXEL)
        self.shape, self.scale, self.zero, self.spread = shape, PIXEL, -128, 74.0  # spread: of x - zero point
        self.layers = []

    def conv(
        self, filters, kernel, stride=(1, 1), padding=(0, 0), groups=1, dilation=(1, 1), pad_value=None, act="relu"
    ):
        shape = (filters, self.shape[0] // groups, *kernel)
        settings = {
            "stride": stride,
            "padding": padding,
            "groups": groups,
            "dilation": dilation,
            "pad_value": pad_value,
        }
        return self._add(IntegerConv2d, shape, self.per_channel, act, **settings)

    def linear(self, outputs, act="relu"):
        return self._add(IntegerLinear, (outputs, self.shape[0]), self.linear_per_channel, act)

    def max_pool(self, kernel, stride=None, padding=(0, 0), low=-128):
        return self._append(
            IntegerMaxPool2d(kernel, stride or kernel, padding, name=f"pool{len(self.layers)}", low=low)
        )

    def avg_pool(self, kernel, stride=None, low=-128):
        return self._append(IntegerAvgPool2d(kernel, stride or kernel, name=f"pool{len(self.layers)}", low=low))

    def flatten(self):
        return self._append(IntegerFlatten(name="flatten"))

    def model(self):
        return IntegerModel(self.input, tuple(self.layers), self.profile)

    def _append(self, layer):
        self.shape = layer.output_shape(self.shape)
        self.layers.append(layer)
        return self

    def _add(self, kind, shape, per_channel, act, **settings):
        rng, inputs = self.rng, int(np.prod(shape[1:]))
        weight = rng.integers(-127, 128, shape).astype(np.int8)
        w_scale = self._number(rng.uniform(0.002, 0.02, shape[0]) if per_channel else rng.uniform(0.002, 0.02))
        spread = self.spread * 73 * np.sqrt(inputs)  # of the sum
        s_in = float(self.scale.as_float32())
        out_scale = self._number(s_in * np.mean(w_scale, dtype=np.float64) * spread / rng.uniform(30, 60))
        zero = {"relu": -128, "relu6": -128, "none": int(rng.integers(-40, 40))}[act]
        high = min(127, int(np.floor(np.float32(6) / out_scale + 0.5)) + zero) if act == "relu6" else 127
        q, s = output_multipliers(self.scale.as_float32(), w_scale, out_scale, self.profile)
        layer = kind(
            name=f"layer{len(self.layers)}", weight=weight, bias=rng.integers(-1, 2, shape[0], np.int32) * np.int32(spread / 2),
            input_zero=self.zero, output_zero=zero, high=high, weight_scale=Scale.of(w_scale), input_scale=self.scale,
            output_scale=Scale.of(out_scale), multiplier=np.full(shape[0], q, np.int32), shift=np.full(shape[0], s, np.int32),
            **settings,
        )  # fmt: skip
        self.scale, self.zero, self.spread = layer.output_scale, zero, 50.0
        return self._append(layer)

    def _number(self, value):
        value = np.asarray(value, np.float32)
        return np.exp2(np.round(np.log2(value))).astype(np.float32) if self.power_of_two else value


def random_lenet(rng, **settings):
    """LeNet's layers."""
    b = Builder(rng, (1, 28, 28), **settings)
    b.conv(6, (5, 5)).max_pool((2, 2)).conv(16, (5, 5)).max_pool((2, 2)).flatten()
    return b.linear(120).linear(84).linear(10, act="none").model()


def random_model(rng, profile="tflite", averages=True):
    """Up to three convolutions and poolings with any stride, padding, dilation and groups, then up to two linear layers."""
    flags = {
        "per_channel": rng.random() < 0.7,
        "linear_per_channel": rng.random() < 0.5,
        "power_of_two": rng.random() < 0.3,
    }
    b = Builder(rng, (int(rng.integers(1, 4)), *map(int, rng.integers(7, 13, 2))), profile, **flags)
    for _ in range(rng.integers(0, 4)):
        kernel = tuple(int(min(k, n)) for k, n in zip(rng.integers(1, 5, 2), b.shape[1:], strict=True))
        stride, kind = tuple(map(int, rng.integers(1, 4, 2))), rng.random()
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        if kind < 0.5:
            dilation = tuple(
                1 if k > 1 and (k - 1) * 2 + 1 > n else int(rng.integers(1, 3))
                for k, n in zip(kernel, b.shape[1:], strict=True)
            )
            groups = b.shape[0] if rng.random() < 0.3 else 1
            pad_value = int(rng.integers(-128, 128)) if rng.random() < 0.3 else None
            act = str(rng.choice(["relu", "relu6", "none"]))
            b.conv(groups * int(rng.integers(1, 4)), kernel, stride, padding, groups, dilation, pad_value, act)
        elif kind < 0.8 or not averages:
            b.max_pool(kernel, stride, padding, low=_relu(rng, b))
        else:
            b.avg_pool(kernel, stride, low=_relu(rng, b))
    b.flatten()
    if rng.random() < 0.5:
        b.linear(int(rng.integers(2, 9)))
    return b.linear(int(rng.integers(2, 11)), act=str(rng.choice(["relu6", "none"]))).model()


def _relu(rng, b):
    """The lower clamp of pooling: that of a ReLU, or none."""
    return int(max(-128, b.zero)) if rng.random() < 0.3 else -128


def random_pixels(rng, model, count):
    """uint8 (N, C, H, W), half of them extreme."""
    pixels = rng.integers(0, 256, (count, *model.input.shape))
    return np.where(rng.random(pixels.shape) < 0.5, pixels, 255 * (pixels > 127)).astype(np.uint8)


def as_int8(pixels):
    """What files take that have int8 inputs: pixel − 128."""
    return (pixels ^ 128).view(np.int8)
