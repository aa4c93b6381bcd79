"""From layers to the tables of the kernels that multiply words of four bytes: see `packed.py` and `few.py`."""

from typing import Any, NamedTuple

import numpy as np

from . import columns as col
from . import few, packed, vnni
from .arithmetic import PROFILES
from .layers import IntegerConv2d, IntegerLinear, WeightedLayer
from .program import as_image, pad_step, weighted_step
from .vnni import LANES

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
            steps.append(np.concatenate([row, np.zeros(col.PACKED_COLUMNS - col.COLUMNS, np.int64)]))
            height, width = (int(n) for n in row[[col.OUT_HEIGHT, col.OUT_WIDTH]])
        step = np.zeros(col.PACKED_COLUMNS, np.int64)
        step[: col.COLUMNS] = weighted_step(stage, (-(-channels // 4), height, width), sum(map(len, tables["bias"])), 0)
        terms, step[col.SPREAD] = _terms(layer, channels, height, width)
        if not steps and stride:  # the images are laid out spread
            step[col.SPREAD] = 0
        step[[col.TERMS, col.FIRST_PLACE]] = len(terms), len(places)
        step[col.FIRST_ROW] = sum(array.nbytes for array in weights)
        step[col.APART] = layer.dilation[1] if isinstance(layer, IntegerConv2d) else 1
        steps.append(step)
        step[col.FIRST_CORNER] = len(places) + len(terms)
        places += [place * packed.IMAGES for place in (*(place for place, _ in terms), *_corners(step))]
        weights.append(_in_tiles(np.stack([octets for _, octets in terms], axis=1)))
        tables["bias"].append(_filled_up(_shifted_bias(layer), 4))
        tables["multiplier"].append(_filled_up(layer.multiplier, 4))
        tables["shift"].append(_filled_up(layer.shift, 4))
        before = as_image(stage.output_shape)
    # The last step's channels are stored one by one, and in fours, even where the last of these do not exist.
    words = [-(-row[a] // 4) * 4 * row[a + 1] * row[a + 2] for row in steps for a in (col.CHANNELS, col.OUT_CHANNELS)]
    return PackedProgram(
        np.array(steps),
        np.array(places, np.int64),
        np.concatenate([array.ravel() for array in weights]).view(np.uint8),
        np.concatenate(tables["bias"]),
        np.concatenate(tables["multiplier"]),
        np.concatenate(tables["shift"]),
        PROFILES.index(profile),
        int(max(words)),
        stride,
    )


def can_take_few(stages: Any) -> bool:
    """Tell whether this CPU and the kernel for a few images can run a model: convolutions of up to four groups (it multiplies
    by zeros in place of other groups), linear layers, max-pooling that is fused with them.
    """
    layers = [stage.layer for stage in stages]
    few_groups = all(layer.groups <= 4 for layer in layers if isinstance(layer, IntegerConv2d))
    return vnni.AVAILABLE and few_groups and all(isinstance(layer, WeightedLayer) for layer in layers)


def make_few(stages: Any, profile: str) -> Array:
    """Write down stages in the tables that `few.run_few` reads: int32, flat."""
    steps: list[Array] = []
    data: list[Array] = []  # what the steps point to, one after the other
    columns = [col.FIRST_CHANNEL, col.FIRST_ROW, col.FIRST_PLACE, col.FIRST_CORNER]
    before = as_image(stages[0].input_shape)
    for stage in stages:
        layer, (channels, height, width) = stage.layer, before
        if isinstance(layer, IntegerConv2d) and any(layer.padding):
            steps.append(np.pad(pad_step(layer, before), (0, col.WORD_COLUMNS - col.COLUMNS)))
            height, width = (int(n) for n in steps[-1][[col.OUT_HEIGHT, col.OUT_WIDTH]])
        places, weights = _runs(layer, channels, height, width)
        of_channels = [_filled_up(array, LANES) for array in (_shifted_bias(layer), layer.multiplier, layer.shift)]
        step = np.zeros(col.WORD_COLUMNS, np.int64)
        step[: col.COLUMNS] = weighted_step(stage, (channels, height, width), 0, 0)
        step[col.TERMS] = len(places)
        parts = [np.concatenate(of_channels), weights.ravel(), places, _corners(step) * step[col.CHANNELS]]
        step[columns] = sum(map(len, data)) + np.cumsum([0, *map(len, parts[:-1])])
        steps.append(step)
        data += parts
        before = as_image(stage.output_shape)
    rows = np.array(steps)
    rows[:, columns] += few.HEAD + rows.size  # the data lie behind these
    octets = [row[a] * row[a + 1] * row[a + 2] for row in rows for a in (col.CHANNELS, col.OUT_CHANNELS)]
    sums = (rows[:, col.OUT_CHANNELS] + LANES) * rows[:, col.POOLED_H] * rows[:, col.POOLED_W]
    head = [len(rows), PROFILES.index(profile), max(octets) + 4, max(sums)]  # a last word may begin at the last byte
    return np.concatenate([head, rows.ravel(), *data]).astype(np.int32)


def _corners(step: Array) -> Array:
    """Return where the windows that are pooled begin, counted in pixels from the first one."""
    down = np.arange(step[col.POOL_H]) * step[col.STRIDE_H] * step[col.WIDTH]
    right = np.arange(step[col.POOL_W]) * step[col.STRIDE_W]
    return (down[:, None] + right).ravel()


def _runs(layer: Any, channels: int, height: int, width: int) -> tuple[Array, Array]:
    """Return the words of a window, channels innermost: where each lies, counted in bytes from the window's corner, and its
    weights.

    Args:
        layer: convolution or linear layer.
        channels, height, width: how its input lies, with the border.

    Returns:
        int32 (words,), and int32 (tiles, words, LANES): four weights each. A word has the same place for all channels; the
        weights of other groups' channels are zeros.
    """
    if isinstance(layer, IntegerLinear):
        w, dilation = layer.weight.reshape(-1, channels, height, width), (1, 1)
    else:
        dilation = layer.dilation
        w = _without_groups(layer.weight, layer.groups)
    kernel_h, kernel_w = w.shape[2:]
    corners = np.arange(kernel_h)[:, None] * dilation[0] * width + np.arange(kernel_w) * dilation[1]
    w = w.transpose(0, 2, 3, 1)
    if dilation[1] == 1:  # neighbouring columns are neighbours in memory
        w, corners = w.reshape(len(w), kernel_h, 1, -1), corners[:, :1]
    w = np.pad(w, ((0, 0), (0, 0), (0, 0), (0, -w.shape[3] % 4)))
    places = corners[..., None] * channels + np.arange(0, w.shape[3], 4)
    words = _filled_up(np.ascontiguousarray(w).view(np.int32).reshape(len(w), -1), LANES)
    return places.ravel().astype(np.int32), words.reshape(-1, LANES, words.shape[1]).transpose(0, 2, 1)


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
    return _filled_up(words, 4).reshape(-1, 4, words.shape[1]).transpose(0, 2, 1)


def _shifted_bias(layer: WeightedLayer) -> Array:
    """Return the bias, int32, for activations that are kept as q + 128, with the input's zero point folded into it."""
    sums = layer.weight.reshape(len(layer.weight), -1).sum(axis=1, dtype=np.int64)
    return (layer.folded_bias - 128 * sums).astype(np.int32)  # may wrap around: so do the sums, and back


def _without_groups(weight: Array, groups: int) -> Array:
    """int8 (F, C / groups, KH, KW) -> int8 (F, C, KH, KW), with zeros for the channels of other groups."""
    filters, channels, kernel_h, kernel_w = weight.shape
    full = np.zeros((groups, filters // groups, groups, channels, kernel_h, kernel_w), np.int8)
    for g, own in enumerate(weight.reshape(groups, -1, *weight.shape[1:])):
        full[g, :, g] = own
    return full.reshape(filters, groups * channels, kernel_h, kernel_w)


def _filled_up(array: Array, whole: int) -> Array:
    """Return an array with zeros at its end, so that its length is a multiple of `whole`."""
    return np.concatenate([array, np.zeros((-len(array) % whole, *array.shape[1:]), array.dtype)])
