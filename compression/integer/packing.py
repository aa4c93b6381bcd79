"""From layers to the tables of the packed kernel: see `packed.py`."""

from typing import Any, NamedTuple

import numpy as np

from . import kernels as k
from . import packed, vnni
from .arithmetic import PROFILES
from .layers import IntegerConv2d, IntegerLinear, WeightedLayer
from .program import as_image, pad_step, weighted_step

Array = np.ndarray


class PackedProgram(NamedTuple):
    """A model as `packed.run_packed` takes it; what each table holds is said there."""

    steps: Array
    places: Array
    weights: Array
    bias: Array
    multiplier: Array
    shift: Array
    profile: int
    room: int
    stride: int


def can_pack(stages: Any, profile: str) -> bool:
    """Tell whether this CPU and the packed kernel can run a model: convolutions without groups, linear layers, max-pooling
    that is fused with them, and profiles "tflite" and "single", the latter with multipliers below 1.
    """
    if not vnni.AVAILABLE or profile == "onnx":
        return False
    for layer in (stage.layer for stage in stages):
        if not isinstance(layer, WeightedLayer) or (isinstance(layer, IntegerConv2d) and layer.groups > 1):
            return False
        if profile == "single" and (layer.shift > 0).any():
            return False
    return True


def make_packed(stages: Any, profile: str) -> PackedProgram:
    """Write down stages, as `engine.fuse` gives them, in tables of packed weights."""
    steps: list[Array] = []
    places, weights, tables = [], [], {"bias": [], "multiplier": [], "shift": []}
    before = as_image(stages[0].input_shape)  # how the input lies in words: channels, rows, columns
    stride = _pixel_stride(stages[0].layer, before[0])
    for stage in stages:
        layer: Any = stage.layer
        channels, height, width = before
        if isinstance(layer, IntegerConv2d) and any(layer.padding):
            row = pad_step(layer, (-(-channels // 4), height, width))
            steps.append(np.concatenate([row, np.zeros(packed.PACKED_COLUMNS - k.COLUMNS, np.int64)]))
            height, width = (int(n) for n in row[[k.OUT_HEIGHT, k.OUT_WIDTH]])
        step = np.zeros(packed.PACKED_COLUMNS, np.int64)
        step[: k.COLUMNS] = weighted_step(stage, (-(-channels // 4), height, width), sum(map(len, tables["bias"])), 0)
        terms, step[packed.SPREAD] = _terms(layer, channels, height, width)
        if not steps and stride:  # the images are laid out spread
            step[packed.SPREAD] = 0
        step[[packed.TERMS, packed.FIRST_PLACE]] = len(terms), len(places)
        step[k.FIRST_ROW] = sum(array.size for array in weights)
        step[packed.APART] = layer.dilation[1] if isinstance(layer, IntegerConv2d) else 1
        steps.append(step)
        places += [place * packed.IMAGES for place, _ in terms]
        weights.append(_in_tiles(np.stack([octets for _, octets in terms], axis=1)))
        sums = layer.weight.reshape(len(layer.weight), -1).sum(axis=1, dtype=np.int64)
        tables["bias"].append(_to_fours(layer.folded_bias - 128 * sums).astype(np.int32))
        tables["multiplier"].append(_to_fours(layer.multiplier))
        tables["shift"].append(_to_fours(layer.shift))
        before = as_image(stage.output_shape)
    # The last step's channels are stored one by one, and in fours, even where the last of these do not exist.
    words = [-(-row[a] // 4) * 4 * row[a + 1] * row[a + 2] for row in steps for a in (k.CHANNELS, k.OUT_CHANNELS)]
    return PackedProgram(
        np.array(steps),
        np.array(places, np.int64),
        np.concatenate([array.ravel() for array in weights]),
        np.concatenate(tables["bias"]),
        np.concatenate(tables["multiplier"]),
        np.concatenate(tables["shift"]),
        PROFILES.index(profile),
        int(max(words)),
        stride,
    )


def _pixel_stride(layer: Any, channels: int) -> int:
    """Return how far apart words of neighbouring pixels begin, where the first layer reads such words; else 0."""
    if isinstance(layer, IntegerLinear):
        return 4
    narrow = channels == 1 and layer.dilation[1] == 1 and layer.weight.shape[3] > 1
    return 1 if narrow and not any(layer.padding) else 0


def _terms(layer: Any, channels: int, height: int, width: int) -> tuple[list[tuple[int, Array]], int]:
    """Return a layer's words: where each lies, counted from a window's corner, and its weights, int8 (F, 4).

    Args:
        layer: convolution or linear layer.
        channels, height, width: how its input lies, with the border.

    Returns:
        The words, and how many channels the last plane has if it is spread, or 0.
    """
    if isinstance(layer, IntegerLinear):
        w, dilation = layer.weight.reshape(-1, channels, height, width), (1, 1)
    else:
        w, dilation = layer.weight, layer.dilation
    kernel_h, kernel_w = w.shape[2:]
    rest = channels % 4
    spread = rest if rest in (1, 2) and kernel_w > 1 and isinstance(layer, IntegerConv2d) else 0
    terms = []
    for plane in range(-(-channels // 4)):
        own = spread if spread and plane == channels // 4 else 4
        for i in range(kernel_h):
            for j in range(0, kernel_w, 4 // own):
                octets = np.zeros((len(w), 4), np.int8)
                for byte in range(4):
                    channel, column = 4 * plane + byte % own, j + byte // own
                    if channel < channels and column < kernel_w:
                        octets[:, byte] = w[:, channel, i, column]
                terms.append(((plane * height + i * dilation[0]) * width + j * dilation[1], octets))
    return terms, spread


def _in_tiles(octets: Array) -> Array:
    """int8 (F, words, 4) -> int32 (tiles, words, 4): the four bytes of a word as one number, four filters a tile."""
    words = np.ascontiguousarray(octets).view(np.int32)[:, :, 0]
    return _to_fours(words).reshape(-1, 4, words.shape[1]).transpose(0, 2, 1)


def _to_fours(array: Array) -> Array:
    """Return an array with zeros at its end, so that its length is a multiple of four."""
    return np.concatenate([array, np.zeros((-len(array) % 4, *array.shape[1:]), array.dtype)])
