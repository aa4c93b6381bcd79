"""Integer models with random weights, and scales that make good use of int8: for tests of the engine and of the writers."""

import numpy as np
from hypothesis import strategies as st

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


def random_layer(
    rng, weight_shape, scale, zero, *, profile="tflite", relu=True, per_channel=True, name="layer", **rest
):
    """Return a convolution or linear layer with random weights.

    scale, zero: float32 and int, of its input   per_channel: one weight scale a channel
    relu: the output's zero point is then -128, and it is clamped there
    """
    channels, terms = weight_shape[0], int(np.prod(weight_shape[1:]))
    size = rng.integers(20, 128, channels if per_channel else 1)  # largest weight of each channel
    weight = np.stack([rng.integers(-n, n + 1, weight_shape[1:]) for n in np.resize(size, channels)]).astype(np.int8)
    weight_scale = rng.uniform(0.5, 1.5, channels if per_channel else ()).astype(np.float32) / np.float32(64)
    spread = 60 * 64 * np.sqrt(terms)  # about how large a sum is
    output_scale = np.float32(scale * weight_scale.mean() * spread / 60)
    output_zero = -128 if relu else int(rng.integers(-20, 20))
    linear = len(weight_shape) == 2
    pair = output_multipliers(scale, weight_scale, output_scale, profile)
    multiplier, shift = (np.resize(part, channels).astype(np.int32) for part in pair)
    return (IntegerLinear if linear else IntegerConv2d)(
        name=name,
        weight=weight,
        bias=rng.integers(-spread // 2, spread // 2, channels).astype(np.int32),
        input_zero=zero,
        output_zero=output_zero,
        low=max(-128, output_zero) if relu else -128,
        multiplier=multiplier,
        shift=shift,
        weight_scale=Scale.of(weight_scale),
        input_scale=Scale.of(scale),
        output_scale=Scale.of(output_scale),
        **rest,
    )


def small_lenet(seed=0, *, profile="tflite", per_channel=True, linear_per_channel=False, pool="max", **conv1):
    """Return a LeNet with random weights for images of 1x28x28; `conv1` changes its first layer (padding=, stride= ...).

    Each layer's scale and zero point are what the next one reads.
    """
    rng = np.random.default_rng(seed)
    layers, scale, zero, shape = [], np.float32(1 / 255), -128, (1, 28, 28)

    def add(layer):
        nonlocal scale, zero, shape
        layers.append(layer)
        shape = layer.output_shape(shape)
        if hasattr(layer, "output_scale"):
            scale, zero = layer.output_scale.as_float32()[()], layer.output_zero

    pooling = {"max": IntegerMaxPool2d, "average": IntegerAvgPool2d}[pool]
    for i, filters in enumerate((6, 16), 1):
        settings = conv1 if i == 1 else {}
        w = (filters, shape[0] // settings.get("groups", 1), 5, 5)
        add(random_layer(rng, w, scale, zero, profile=profile, per_channel=per_channel, name=f"conv{i}", **settings))
        add(pooling(kernel=(2, 2), stride=(2, 2), name=f"maxpool{i}"))
    add(IntegerFlatten("flatten"))
    for i, outputs in enumerate((120, 84, 10), 1):
        settings = {"profile": profile, "per_channel": linear_per_channel, "relu": i < 3, "name": f"fc{i}"}
        add(random_layer(rng, (outputs, shape[0]), scale, zero, **settings))
    return IntegerModel(TensorInfo((1, 28, 28), Scale.of(np.float32(1 / 255))), tuple(layers), profile)


def random_chain(draw, rng, profile, groups=(1,)):
    """Return a model of up to two convolutions, with max-pooling or without, and maybe a linear layer at the end.

    draw: of hypothesis, which chooses sizes: channels that fill words and vectors, and those that leave some of them empty
    groups: numbers of groups that a convolution may have
    """
    size, pixel = st.integers(1, 3), np.float32(1 / 255)
    shape = start = (draw(st.integers(1, 6)), draw(st.integers(6, 9)), draw(st.integers(6, 9)))
    layers, scale, zero = [], pixel, -128
    for i in range(draw(st.integers(0, 2))):
        geometry = {"stride": (draw(size), draw(size)), "padding": (draw(size), draw(size))}
        geometry["dilation"] = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
        geometry["groups"] = draw(st.sampled_from([n for n in groups if shape[0] % n == 0]))
        filters = geometry["groups"] * draw(st.integers(1, 7))
        room = zip(shape[1:], geometry["padding"], geometry["dilation"], strict=True)
        kernel = [min(draw(size), (n + 2 * p - 1) // d + 1) for n, p, d in room]  # it fits
        w = (filters, shape[0] // geometry["groups"], *kernel)
        relu = draw(st.booleans())
        layers.append(random_layer(rng, w, scale, zero, profile=profile, relu=relu, name=f"conv{i}", **geometry))
        scale, zero = layers[-1].output_scale.as_float32()[()], layers[-1].output_zero
        shape = layers[-1].output_shape(shape)
        window = (draw(st.integers(1, min(3, shape[1]))), draw(st.integers(1, min(3, shape[2]))))
        if max(window) > 1:
            layers.append(IntegerMaxPool2d(window, window))
            shape = layers[-1].output_shape(shape)
    if not layers or draw(st.booleans()):
        layers.append(IntegerFlatten())
        w = (draw(st.integers(1, 20)), int(np.prod(shape)))
        layers.append(random_layer(rng, w, scale, zero, profile=profile, relu=False, name="fc"))
    return IntegerModel(TensorInfo(start, Scale.of(pixel)), tuple(layers), profile)


def random_images(seed, count, shape=(28, 28)):
    """Return uint8 images, (count, *shape): black and white blotches with noise, so that sums differ much between images."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2, (count, *(-(-n // 6) for n in shape)))
    for axis in range(1, coarse.ndim):
        coarse = coarse.repeat(6, axis)
    blotches = coarse[tuple(slice(n) for n in (count, *shape))]
    return np.where(rng.random((count, *shape)) < 0.2, rng.integers(0, 256, (count, *shape)), 255 * blotches).astype(
        np.uint8
    )
