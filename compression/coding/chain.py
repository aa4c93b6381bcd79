"""The layers of a .mgz file: what they are, their settings, and the shapes that they make of an input."""

import math
import re
from typing import Any, NamedTuple

from minigrad import nn
from minigrad.functional.checks import pair
from minigrad.ops.conv import output_size

from .wire import Reader, write_number

PAIRS = ("kernel_size", "stride", "padding", "dilation")

KINDS: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (nn.Conv2d, ("in_channels", "out_channels", *PAIRS, "groups")),
    (nn.Linear, ("in_features", "out_features")),
    (nn.ReLU, ()),
    (nn.ReLU6, ()),
    (nn.MaxPool2d, PAIRS[:3]),
    (nn.AvgPool2d, PAIRS[:3]),
    (nn.Flatten, ()),
)
"""Layers and their settings; a file has their numbers in this list."""

WEIGHTED = (nn.Conv2d, nn.Linear)

MOST_WEIGHTS = 2**21
"""Weights and biases of a model, at most: five times those of LeNet-5."""

MOST_VALUES = 2**16
"""Values of a layer's input with its padding, or of its output, for one image, at most: five times those of LeNet-5."""

MOST_PRODUCTS = 2**28
"""Multiplications of a model for one image, at most."""

LARGEST = 2**16
"""Largest number of channels, size of a kernel and the like."""


class LayerSettings(NamedTuple):
    """A layer without its numbers.

    Attributes:
        kind: its class.
        settings: its arguments.
        input_shape, output_shape: for one image.
    """

    kind: type[nn.Module]
    settings: dict[str, Any]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        s = self.settings
        if self.kind is nn.Linear:
            return s["out_features"], s["in_features"]
        return s["out_channels"], s["in_channels"] // s["groups"], *s["kernel_size"]

    @property
    def uses(self) -> int:
        """How often each weight is multiplied for one image."""
        return math.prod(self.output_shape[1:])


def write_layer(name: str, layer: nn.Module) -> bytes:
    """Return a layer's kind and settings as bytes.

    Raises:
        ValueError: it is none of the kinds.
    """
    for number, (kind, names) in enumerate(KINDS):
        if type(layer) is kind:
            numbers = [n for setting in names for n in _as_numbers(setting, getattr(layer, setting))]
            return b"".join(map(write_number, [number, *numbers]))
    raise ValueError(
        f"{name} is a {type(layer).__name__}, which has no place in a .mgz file; "
        f"there are {', '.join(kind.__name__ for kind, _ in KINDS)}"
    )


def _as_numbers(name: str, value: Any) -> tuple[int, ...]:
    return pair("save_mgz", name, value, 0) if name in PAIRS else (value,)


def read_layer(reader: Reader, shape: tuple[int, ...]) -> LayerSettings:
    """Return the layer that comes next, and what it makes of an input of that shape.

    Raises:
        ValueError: there is no such layer, or it cannot take such an input.
    """
    kind, names = KINDS[reader.number("kind of layer", most=len(KINDS) - 1)]
    settings: dict[str, Any] = {}
    for name in names:
        least = 0 if name == "padding" else 1
        numbers = [reader.number(name, LARGEST, least) for _ in range(2 if name in PAIRS else 1)]
        settings[name] = tuple(numbers) if name in PAIRS else numbers[0]
    made = _output_shape(kind, settings, shape)
    check_values(f"the output of a {kind.__name__}", made)
    return LayerSettings(kind, settings, shape, made)


def check_values(what: str, shape: tuple[int, ...]) -> None:
    """Check that an array for one image is not too large.

    Raises:
        ValueError: it is.
    """
    if math.prod(shape) > MOST_VALUES:
        raise ValueError(f"{what} has {math.prod(shape):,} values, and {MOST_VALUES:,} are allowed")


def _output_shape(kind: type[nn.Module], settings: dict[str, Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a layer makes of that of one image."""
    name = kind.__name__
    if kind is nn.Flatten:
        return (math.prod(shape),)
    if kind is nn.Linear:
        if len(shape) != 1 or shape[0] != settings["in_features"]:
            raise ValueError(f"a Linear expects {settings['in_features']} features and gets an input of shape {shape}")
        return (settings["out_features"],)
    if "kernel_size" not in settings:
        return shape
    if len(shape) != 3:
        raise ValueError(f"a {name} expects images and gets an input of shape {shape}")
    kernel, padding = settings["kernel_size"], settings["padding"]
    padded = shape[1] + 2 * padding[0], shape[2] + 2 * padding[1]
    check_values(f"the padded input of a {name}", (shape[0], *padded))
    size = output_size(padded, kernel, settings["stride"], settings.get("dilation", (1, 1)))
    if min(size) < 1:
        raise ValueError(f"the window of a {name} does not fit into an input of {padded[0]}×{padded[1]}")
    if kind is not nn.Conv2d:
        if any(2 * p > k for p, k in zip(padding, kernel, strict=True)) or math.prod(kernel) > 256:
            raise ValueError(f"a {name} has a window of {kernel} and padding {padding}")
        return shape[0], *size
    channels, filters, groups = settings["in_channels"], settings["out_channels"], settings["groups"]
    if channels != shape[0] or channels % groups or filters % groups:
        raise ValueError(f"a Conv2d expects {channels} channels in {groups} groups and gets an input of shape {shape}")
    return filters, *size


def check_totals(weights: int, products: int) -> None:
    """Check how many weights and biases there are so far, and how many multiplications for one image.

    Raises:
        ValueError: they are too many.
    """
    if weights > MOST_WEIGHTS:
        raise ValueError(f"it has {weights:,} weights and biases or more, and {MOST_WEIGHTS:,} are read at most")
    if products > MOST_PRODUCTS:
        raise ValueError(f"it takes {products:,} multiplications an image or more, and {MOST_PRODUCTS:,} are allowed")


def check_name(name: str, names: Any) -> None:
    """Check that a name is one for a layer of its own.

    Raises:
        ValueError: it is used already, or has other characters than letters, digits, dots and underscores.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.]{0,63}", name) or hasattr(nn.Sequential(), name):
        raise ValueError(
            f"a layer is named {name!r}: expected letters, digits, dots and underscores, and no method's name"
        )
    if name in names:
        raise ValueError(f"two layers are named {name!r}")
