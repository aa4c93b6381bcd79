"""One output element's whole integer computation, written out as one would do it by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import reference
from .arithmetic import bit_length, high_mul, requantize_onnx, round_half_even
from .layers import LOW, IntegerConv2d, IntegerFlatten, IntegerMaxPool2d, PoolingLayer, WeightedLayer


class Term(NamedTuple):
    """One product of a sum, or one value of a pooling window.

    Attributes:
        place: where in the layer's input, such as (c, h, w); a place outside is in the border.
        weight: None in pooling.
        value: the input there.
        product: weight * (value - zero point); None in pooling.
        running: bias and products so far; in max-pooling the largest value so far, in average pooling the sum.
    """

    place: tuple[int, ...]
    weight: int | None
    value: int
    product: int | None
    running: int


@dataclass(frozen=True)
class Explanation:
    """How one output element came about; `print` it.

    Attributes:
        layer: name of the layer.
        at: index of the output element, such as (f, oh, ow) or (o,).
        title: what is computed, in a line.
        terms: in the order in which they are added.
        steps: what turns the sum into the output, a line each.
        acc: the sum; None for max-pooling.
        result: the output, int8.
    """

    layer: str
    at: tuple[int, ...]
    title: str
    terms: tuple[Term, ...]
    steps: tuple[str, ...]
    acc: int | None
    result: int

    def __str__(self) -> str:
        weighted = self.terms and self.terms[0].weight is not None
        names = ("weight", "x", "product", "so far") if weighted else ("x", "so far")
        places = [f"x[{', '.join(map(str, term.place))}]" for term in self.terms]
        width = max(map(len, places), default=0)
        lines = [self.title, " " * width + "".join(f"{name:>12}" for name in names)]
        for place, term in zip(places, self.terms, strict=True):
            figures = (term.weight, term.value, term.product, term.running) if weighted else (term.value, term.running)
            lines.append(f"{place:{width}}" + "".join(f"{figure:>12}" for figure in figures))
        return "\n".join([*lines, *self.steps])


def explain(model: Any, image: Any, layer: str | None = None, at: Sequence[int] | None = None) -> Explanation:
    """Write out how one output element of one layer comes about.

    Args:
        model: an `IntegerModel`.
        image: uint8 (H, W) or (C, H, W).
        layer: its name; None: the last one.
        at: index of the output element; None: the largest one.

    Raises:
        ValueError: there is no such layer, or it computes nothing (Flatten); or the image has another shape.
        IndexError: `at` lies outside the layer's output.
        TypeError: the image is not uint8.

    Example:
        >>> from minigrad.compression.integer import to_integer
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> pixels = mnist("train").pixels[:100]
        >>> print("\\n".join(str(to_integer(trained_lenet(), pixels).explain(pixels[0], "fc3")).splitlines()[-7:]))
        x[82]          57         -69        3363      102568
        x[83]          56        -128           0      102568
        acc = 102568
        multiply: (102568 * ... + 2**30) >> 31 = 53091
        divide by 2**9, ties away from zero: 53091 = 103 * 512 + 355, and 355 > 255: 104
        add the zero point -19: 85
        clamp to -128 ... 127: 85
    """
    checked = model._checked(np.asarray(image)[None], "explain")[0]
    names = [part.name for part in model.layers]
    if layer is not None and layer not in names:
        raise ValueError(f"explain: there is no layer {layer!r}, only {', '.join(names)}")
    number = len(names) - 1 if layer is None else names.index(layer)
    part = model.layers[number]
    if isinstance(part, IntegerFlatten):
        raise ValueError(f"explain: {part.name} computes nothing, it only renames places; ask for another layer")
    steps = reference.run(model, checked, number + 1)
    zero = model.input.zero_point
    x = np.array(steps[number - 1].out if number else checked.astype(np.int64) + zero, object)
    out = np.array(steps[number].out, object)
    where = np.unravel_index(int(out.argmax()), out.shape) if at is None else at
    place = tuple(int(i) for i in where)
    if len(place) != out.ndim or not all(0 <= i < n for i, n in zip(place, out.shape, strict=True)):
        raise IndexError(f"explain: at={place} is not an element of {part.name}'s output, which has shape {out.shape}")
    if isinstance(part, WeightedLayer):
        return _weighted(part, x, place, model.profile)
    return _pooled(part, x, place)


def _weighted(layer: WeightedLayer, x: Any, at: tuple[int, ...], profile: str) -> Explanation:
    """Explain an element of a convolution or linear layer."""
    channel, zero = at[0], layer.input_zero
    running = bias = int(layer.bias[channel])
    terms = []
    for place, weight in _taps(layer, at):
        inside = all(0 <= i < n for i, n in zip(place, x.shape, strict=True))
        value = int(x[place]) if inside else layer.pad_value  # pyright: ignore[reportAttributeAccessIssue]
        product = weight * (value - zero)
        running += product
        terms.append(Term(place, weight, value, product, running))
    lines, q = _requantization(running, int(layer.multiplier[channel]), int(layer.shift[channel]), profile)
    lines.append(f"add the zero point {layer.output_zero}: {q + layer.output_zero}")
    result = min(max(q + layer.output_zero, layer.low), layer.high)
    lines.append(f"clamp to {layer.low} ... {layer.high}: {result}")
    title = (
        f"{layer.name}[{', '.join(map(str, at))}] = {result}, from a bias of {bias} and "
        f"{len(terms)} products weight * (x - {zero})"
    )
    return Explanation(layer.name, at, title, tuple(terms), (f"acc = {running}", *lines), running, result)


def _taps(layer: WeightedLayer, at: tuple[int, ...]) -> list[tuple[tuple[int, ...], int]]:
    """Return, for each weight of the element's sum, where its input lies."""
    w = layer.weight[at[0]]
    if not isinstance(layer, IntegerConv2d):
        return [((i,), int(weight)) for i, weight in enumerate(w)]
    first = at[0] // (len(layer.weight) // layer.groups) * len(w)
    rows, columns = (
        at[k + 1] * layer.stride[k] + np.arange(w.shape[k + 1]) * layer.dilation[k] - layer.padding[k] for k in range(2)
    )
    indices = np.ndindex(w.shape)
    return [((first + c, int(rows[i]), int(columns[j])), int(w[c, i, j])) for c, i, j in indices]


def _requantization(acc: int, multiplier: int, shift: int, profile: str) -> tuple[list[str], int]:
    """Return the steps from a sum to acc * M, in words, and the result."""
    if profile == "single":
        t = 31 - shift
        q = (acc * multiplier + (1 << (t - 1))) >> t
        return [f"multiply and divide: ({acc} * {multiplier} + 2**{t - 1}) >> {t} = {q}"], q
    if profile == "onnx":
        lost = max(bit_length(acc) - 24, 0)
        mantissa = round_half_even(acc, lost)
        product = mantissa * multiplier
        cut = max(bit_length(product) - 24, 0)
        kept, q = round_half_even(product, cut), requantize_onnx(acc, multiplier, shift)
        return [
            f"round to 24 bits: {mantissa} * 2**{lost}",
            f"multiply by {multiplier} * 2**{shift}, and round to 24 bits: {kept} * 2**{lost + cut + shift}",
            f"round, ties to even: {q}",
        ], q
    left, right = max(shift, 0), max(-shift, 0)
    shifted = acc << left
    high = high_mul(shifted, multiplier)
    lines = [f"shift left by {left}: {shifted}"] if left else []
    lines.append(f"multiply: ({shifted} * {multiplier} + 2**30) >> 31 = {high}")
    if not right:
        return lines, high
    whole, rest = divmod(high, 1 << right)
    threshold = ((1 << right) - 1 >> 1) + (high < 0)
    q = whole + (rest > threshold)
    compared = ">" if rest > threshold else "<="
    lines.append(
        f"divide by 2**{right}, ties away from zero: {high} = {whole} * {1 << right} + {rest}, and {rest} {compared} "
        f"{threshold}: {q}"
    )
    return lines, q


def _pooled(layer: Any, x: Any, at: tuple[int, ...]) -> Explanation:
    """Explain an element of a pooling layer."""
    pool: PoolingLayer = layer
    largest = isinstance(pool, IntegerMaxPool2d)
    top, left = (at[k + 1] * pool.stride[k] - pool.padding[k] for k in range(2))
    terms: list[Term] = []
    for row, column in np.ndindex(pool.kernel):
        place = (at[0], top + row, left + column)
        inside = all(0 <= i < n for i, n in zip(place, x.shape, strict=True))
        value = int(x[place]) if inside else LOW
        so_far = value if not terms else (max(terms[-1].running, value) if largest else terms[-1].running + value)
        terms.append(Term(place, None, value, None, so_far))
    total, count = terms[-1].running, len(terms)
    q = total if largest else reference.rounded_mean(total, count)
    result = min(max(q, pool.low), pool.high)
    lines = [] if largest else [f"divide by {count}, ties away from zero: {q}"]
    lines.append(f"clamp to {pool.low} ... {pool.high}: {result}")
    what = "the largest" if largest else "the mean"
    title = f"{pool.name}[{', '.join(map(str, at))}] = {result}, {what} of {count} values"
    return Explanation(pool.name, at, title, tuple(terms), tuple(lines), None if largest else total, result)
