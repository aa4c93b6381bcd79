"""The layers of an integer model as C functions, each with its own numbers written out.

One function a layer, rather than one for all layers that is told their sizes: it can be read from top to bottom with the
numbers in place, the compiler knows every bound, and on an AVR no table of sizes takes up RAM.
"""

from collections.abc import Sequence
from string import Template
from typing import Any, NamedTuple

from ..integer.layers import (
    HIGH,
    LOW,
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerLinear,
    IntegerMaxPool2d,
    PoolingLayer,
    WeightedLayer,
)

INT8, INT32 = 1, 4
"""Bytes of a number in C's int8_t and int32_t."""

LEAST_SHIFT, MOST_SHIFT = -100, 32
"""Beyond these, requantization of profile "onnx" gives the same as at them; so that a shift fits into one byte."""


class Constants(NamedTuple):
    """The arrays of a layer, `static const` in C.

    Attributes:
        layer: its name in C.
        weights: bytes of the weights, one each.
        biases: 4 for each output channel; the input's zero point is folded in.
        multipliers: 4 for each output channel; 0 where all channels have the same, which then stands in the code.
        shifts: 1 for each output channel; 0 likewise.
    """

    layer: str
    weights: int
    biases: int
    multipliers: int
    shifts: int

    @property
    def total(self) -> int:
        """Bytes of the layer."""
        return sum(self[1:])


CONV = Template("""\
static void run_$name(const int8_t *x, int8_t *y$sums)
{
    for (int f = 0; f < $filters; f++) {$group
        for (int row = 0; row < $rows; row++) {
            for (int column = 0; column < $columns; column++) {
                const int8_t *w = ${name}_weight + f * $taps; /* walks through the filter in the loops' order */
                int32_t sum = READ_32(${name}_bias + f);
                for (int c = 0; c < $channels; c++) {
                    for (int i = 0; i < $height; i++) {
                        for (int j = 0; j < $width; j++) {
                            const int r = $r, k = $k;
$product
                        }
                    }
                }$keep
                *y++ = requantize(sum, $numbers);
            }
        }
    }
}
""")

PRODUCT = """\
                            sum += READ_8(w++) * {pixel};"""

PADDED_PRODUCT = """\
                            const int inside = r >= 0 && r < {height} && k >= 0 && k < {width};
                            sum += READ_8(w++) * (inside ? {pixel} : {pad});"""

LINEAR = Template("""\
static void run_$name(const int8_t *x, int8_t *y$sums)
{
    const int8_t *w = ${name}_weight;
    for (int f = 0; f < $filters; f++) {
        int32_t sum = READ_32(${name}_bias + f);
        for (int i = 0; i < $taps; i++) {
            sum += READ_8(w++) * x[i];
        }$keep
        *y++ = requantize(sum, $numbers);
    }
}
""")

POOL = Template("""\
static void run_$name(const int8_t *x, int8_t *y)
{
    for (int c = 0; c < $channels; c++) {
        for (int row = 0; row < $rows; row++) {
            for (int column = 0; column < $columns; column++) {
                $start
                for (int i = 0; i < $height; i++) {
                    for (int j = 0; j < $width; j++) {
                        const int r = $r, k = $k;
$step
                    }
                }
                *y++ = (int8_t)$result;
            }
        }
    }
}
""")

LARGEST = """\
                        if ({inside}{pixel} > largest) {{
                            largest = {pixel};
                        }}"""

ADDED = """\
                        sum += {pixel};"""


def constants(layer: WeightedLayer, name: str) -> tuple[str, Constants]:
    """Return the arrays of a layer in C, and how many bytes they take."""
    count = len(layer.weight)
    about = f"{by(layer.weight.shape)} weights; for each of the {count} outputs a bias, and what brings its sum back to int8"
    parts = [f"/* {name}: {about} */", _array(INT8, f"{name}_weight", layer.weight.reshape(count, -1).tolist())]
    parts.append(_array(INT32, f"{name}_bias", [layer.folded_bias.tolist()]))
    sizes = [INT8 * layer.weight.size, INT32 * count, 0, 0]
    if not _alike(layer.multiplier):
        parts.append(_array(INT32, f"{name}_multiplier", [layer.multiplier.tolist()]))
        sizes[2] = INT32 * count
    if not _alike(layer.shift):
        parts.append(_array(INT8, f"{name}_shift", [_shifts(layer)]))
        sizes[3] = INT8 * count
    return "\n".join(parts), Constants(name, *sizes)


def function(layer: Any, name: str, shape: tuple[int, ...], keeps_sums: bool) -> str:
    """Return a layer as a C function, with a comment above it.

    Args:
        layer: a layer that is not a flattening, which is nothing to do: images are in memory as vectors already.
        name: an identifier, which no other layer has.
        shape: of one image's input.
        keeps_sums: whether the function also writes its sums down as they are before requantization.

    Raises:
        TypeError: the layer is of no kind that there is a function for.
    """
    if isinstance(layer, WeightedLayer):
        values = {
            "name": name, "filters": len(layer.weight), "taps": layer.weight[0].size, "numbers": _numbers(layer, name),
            "sums": ", int32_t *sums" if keeps_sums else "",
        }  # fmt: skip
        if isinstance(layer, IntegerConv2d):
            return _about(layer, name, shape) + _conv(layer, shape, values, keeps_sums)
        if isinstance(layer, IntegerLinear):
            return _about(layer, name, shape) + LINEAR.substitute(values, keep=_keep(keeps_sums, 8))
    if isinstance(layer, IntegerMaxPool2d | IntegerAvgPool2d):
        return _about(layer, name, shape) + _pool(layer, name, shape)
    raise TypeError(f"to_c: {layer.name} is a {type(layer).__name__}, which has no form in C here")


def _conv(layer: IntegerConv2d, shape: tuple[int, ...], values: dict[str, Any], keeps_sums: bool) -> str:
    _, rows, columns = layer.output_shape(shape)
    _, channels, height, width = layer.weight.shape
    image, group = "x", ""
    if layer.groups > 1:
        image, first = "own", f"f / {len(layer.weight) // layer.groups} * {channels * shape[1] * shape[2]}"
        group = f"\n        const int8_t *own = x + {first}; /* the channels of its group */"
    pixel = f"{image}[(c * {shape[1]} + r) * {shape[2]} + k]"
    padded = PADDED_PRODUCT if any(layer.padding) else PRODUCT
    return CONV.substitute(
        values, rows=rows, columns=columns, channels=channels, height=height, width=width, group=group,
        r=_place("row", layer.stride[0], "i", layer.dilation[0], layer.padding[0]),
        k=_place("column", layer.stride[1], "j", layer.dilation[1], layer.padding[1]),
        product=padded.format(pixel=pixel, height=shape[1], width=shape[2], pad=layer.pad_value),
        keep=_keep(keeps_sums, 16),
    )  # fmt: skip


def _pool(layer: PoolingLayer, name: str, shape: tuple[int, ...]) -> str:
    _, rows, columns = layer.output_shape(shape)
    (height, width), pixel = layer.kernel, f"x[(c * {shape[1]} + r) * {shape[2]} + k]"
    if isinstance(layer, IntegerMaxPool2d):
        inside = f"r >= 0 && r < {shape[1]} && k >= 0 && k < {shape[2]} && " if any(layer.padding) else ""
        start, step, result = f"int largest = {LOW};", LARGEST.format(inside=inside, pixel=pixel), "largest"
    else:
        start, step, result = "int32_t sum = 0;", ADDED.format(pixel=pixel), f"mean(sum, {height * width})"
    if (layer.low, layer.high) != (LOW, HIGH):
        result = f"clamp({result}, {layer.low}, {layer.high})"
    return POOL.substitute(
        name=name, channels=shape[0], rows=rows, columns=columns, height=height, width=width,
        start=start, step=step, result=result,
        r=_place("row", layer.stride[0], "i", 1, layer.padding[0]),
        k=_place("column", layer.stride[1], "j", 1, layer.padding[1]),
    )  # fmt: skip


def _about(layer: Any, name: str, shape: tuple[int, ...]) -> str:
    """Return the comment above a function: what the layer is, and the shapes of its input and output."""
    what = {
        IntegerConv2d: "convolution", IntegerLinear: "linear layer", IntegerMaxPool2d: "max-pooling",
        IntegerAvgPool2d: "average pooling",
    }[type(layer)]  # fmt: skip
    if isinstance(layer, WeightedLayer) and layer.low == layer.output_zero:
        what += " with ReLU"
    details = []
    if isinstance(layer, IntegerConv2d):
        details.append(f"{by(layer.weight.shape[2:])} kernels")
    elif isinstance(layer, PoolingLayer):
        details.append(f"{by(layer.kernel)} windows")
    for setting, usual in (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1))):
        if getattr(layer, setting, usual) != usual:
            details.append(f"{setting} {by(getattr(layer, setting))}")
    if isinstance(layer, IntegerConv2d) and layer.groups > 1:
        details.append(f"{layer.groups} groups")
    shapes = f"{by(shape)} -> {by(layer.output_shape(shape))}"
    return f"/* {name}: {', '.join([what, *details])}; {shapes} */\n"


def by(shape: Sequence[int]) -> str:
    """Return a shape in words: "6 x 24 x 24"."""
    return " x ".join(map(str, shape))


def _numbers(layer: WeightedLayer, name: str) -> str:
    """Return what `requantize` takes besides the sum, channel f's multiplier and shift among it."""
    multiplier = str(layer.multiplier[0]) if _alike(layer.multiplier) else f"READ_32({name}_multiplier + f)"
    shift = str(_shifts(layer)[0]) if _alike(layer.shift) else f"READ_8({name}_shift + f)"
    return f"{multiplier}, {shift}, {layer.output_zero}, {layer.low}, {layer.high}"


def _alike(array: Any) -> bool:
    return bool((array == array[0]).all())


def _shifts(layer: WeightedLayer) -> list[int]:
    return layer.shift.clip(LEAST_SHIFT, MOST_SHIFT).tolist()


def _place(index: str, stride: int, tap: str, dilation: int, padding: int) -> str:
    """Return where a tap of a window lies, as an expression: "row * 2 + i - 1"."""
    terms = [name if factor == 1 else f"{name} * {factor}" for name, factor in ((index, stride), (tap, dilation))]
    return " + ".join(terms) + (f" - {padding}" if padding else "")


def _keep(keeps_sums: bool, indent: int) -> str:
    """Return the lines that write a sum down for those who asked for it."""
    space = "\n" + " " * indent
    return f"{space}if (sums) {{{space}    *sums++ = sum;{space}}}" if keeps_sums else ""


def _array(size: int, name: str, rows: Sequence[Sequence[int]]) -> str:
    """Return an array in C; each of the rows begins on a new line."""
    per_line = 20 if size == INT8 else 8
    lines = []
    for row in rows:
        for start in range(0, len(row), per_line):
            lines.append("    " + ", ".join(map(str, row[start : start + per_line])) + ",")
    head = f"static const int{8 * size}_t {name}[{sum(map(len, rows))}] IN_FLASH = {{"
    return "\n".join([head, *lines, "};\n"])
