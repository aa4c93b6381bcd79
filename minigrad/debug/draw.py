"""The graph below a Tensor as a picture: SVG, written in plain Python.

Top to bottom, as forward computes. A node's layer is its longest distance from the result, so every arrow points down; an
arrow across several layers gets an invisible place in each, so that it passes between boxes. Within a layer, nodes are
sorted by the mean place of their neighbours, up and down a few times (Sugiyama, Tagawa and Toda 1981: the barycentre
method), then moved towards it as far as boxes of their layer allow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.nn import Module
from minigrad.tape import Node
from minigrad.tensor import Tensor

CHARACTER, LINE, GAP_X, GAP_Y, MARGIN = 7.3, 16, 22, 34, 16  # pixels; a character of the 12-pixel monospace font
SWEEPS = 8

# A notebook puts pictures into one page: the class keeps these rules from the others.
STYLE = """
.graph text { font: 12px monospace; text-anchor: middle; fill: #1b1f24 }
.graph text + text { fill: #57606a }
.graph .op { fill: #ddf4ff; stroke: #0969da }
.graph .leaf { fill: #dafbe1; stroke: #1a7f37 }
.graph .constant { fill: #f6f8fa; stroke: #8c959f; stroke-dasharray: 4 3 }
.graph .edge { fill: none; stroke: #57606a }
.graph .waiting { fill: #ffffff }
.graph .gets { stroke: #a85b00; stroke-width: 2.5; stroke-dasharray: 7 3 }
.graph .now { fill: #ffe1a0; stroke: #a85b00; stroke-width: 3 }
.graph .flow { stroke: #a85b00; stroke-width: 2.5 }
"""


@dataclass(eq=False)
class Box:
    """One node of the picture; or, without text, a place that a long arrow passes.

    Attributes:
        above, below: where its arrows come from (for an op in the order of its arguments) and where they go.
        layer, rank: row, 0 at the top, and place in the row, 0 on the left.
        x, y: middle of the upper edge, in pixels.
        height: in pixels, the same for all.
    """

    lines: tuple[str, ...] = ()
    kind: str = ""
    above: list["Box"] = field(default_factory=list)
    below: list["Box"] = field(default_factory=list)
    layer: int = 0
    rank: int = 0
    x: float = 0.0
    y: float = 0.0
    height: int = 0

    @property
    def width(self) -> float:
        """In pixels."""
        return max(map(len, self.lines)) * CHARACTER + 20 if self.lines else 0.0


@dataclass(frozen=True)
class Drawing:
    """A picture. In a notebook it shows itself.

    Attributes:
        svg: the picture as an SVG document.
    """

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> None:
        """Write the picture into a file, which any browser shows."""
        Path(path).write_text(self.svg, encoding="utf-8")


def draw(tensor: Tensor, model: Module | None = None) -> Drawing:
    """Draw the graph from which `tensor` was computed.

    Args:
        tensor: the result, drawn at the bottom.
        model: names its parameters in the picture.

    Returns:
        A `Drawing`. Boxes are ops, with the shapes of their results; rounded ones are leaves that require a gradient;
        dashed ones are constants, of which single numbers show their value.

    Raises:
        RuntimeError: `backward` freed the graph.
        ValueError: the graph has over 1,000 nodes.

    Example:
        >>> a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0], requires_grad=True)
        >>> drawing = draw((a + a) * b)
        >>> drawing.svg.count('class="op"'), drawing.svg.count('class="leaf"'), drawing.svg.count('class="edge"')
        (2, 2, 4)
    """
    names = {id(p): name for name, p in model.named_parameters()} if model is not None else {}
    return draw_labelled(tensor, lambda x: _label(x, names))


def draw_labelled(
    tensor: Tensor, label: Callable[[Any], tuple[tuple[str, ...], str]], title: Sequence[str] = ()
) -> Drawing:
    """Draw the graph with texts of one's own.

    Args:
        tensor: the result.
        label: called with each tensor, array and number; returns its lines of text and its kind: "op", "leaf" or "constant",
            with "waiting", "gets" or "now" after it for a step on the way back. Arrows between the last two are thick.
        title: lines above the picture.

    Raises:
        RuntimeError, ValueError: as `draw`.

    Example:
        >>> a = Tensor([1.0], requires_grad=True)
        >>> draw_labelled(a * a, lambda x: (("text",), "leaf gets" if x is a else "op now")).svg.count("edge flow")
        2
    """
    boxes = _boxes(tensor, label)
    if len(boxes) > 1000:
        raise ValueError(f"draw: the graph has {len(boxes)} nodes, too many to read; draw a smaller part of it")
    layers = _layers(boxes)
    _sort(layers)
    _place(layers, top=MARGIN + LINE * len(title))
    return Drawing(_svg(boxes, layers, title))


def _boxes(root: Tensor, label: Callable[[Any], tuple[tuple[str, ...], str]]) -> list[Box]:
    """Return a box for each tensor, array and number from which the root was computed, every one after its inputs."""
    made: dict[int, Box] = {}
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        x, inputs_are_made = stack.pop()
        op = x.op if isinstance(x, Node) else None
        if op is not None and op.released:
            raise RuntimeError("draw: backward() freed this graph; draw it before, or call backward(retain_graph=True)")
        inputs = [i for i in op.inputs if i is not None] if op is not None else []
        if id(x) in made:
            continue
        if not inputs_are_made:
            stack += [(x, True), *((i, False) for i in reversed(inputs))]
            continue
        made[id(x)] = Box(*label(x), [made[id(i)] for i in inputs])
    return list(made.values())


def _label(x: Any, names: dict[int, str]) -> tuple[tuple[str, str], str]:
    """Return a box's lines of text and its kind."""
    values = np.asarray(x.data if isinstance(x, Node) else x)
    shape = str(values.shape)
    if isinstance(x, Node) and x.op is not None:
        return (x.op.name, shape), "op"
    if isinstance(x, Node) and x.requires_grad:
        return (names.get(id(x), "leaf"), shape), "leaf"
    return (names.get(id(x), f"{values.item():.4g}" if values.size == 1 else "constant"), shape), "constant"


def _layers(boxes: list[Box]) -> list[list[Box]]:
    """Give each box its layer, put places for long arrows into the layers between, and return the layers from the top."""
    for box in reversed(boxes):  # users first; counted from the bottom
        for source in box.above:
            source.layer = max(source.layer, box.layer + 1)
    deepest = max(box.layer for box in boxes)
    layers: list[list[Box]] = [[] for _ in range(deepest + 1)]
    for box in boxes:
        box.layer = deepest - box.layer
        layers[box.layer].append(box)
        for i, source in enumerate(box.above):
            while source.layer < box.layer - 1:
                place = Box(above=[source], layer=source.layer + 1)
                layers[place.layer].append(place)
                source.below.append(place)
                source = place
            source.below.append(box)
            box.above[i] = source
    return layers


def _sort(layers: list[list[Box]]) -> None:
    """Sort each layer by its neighbours' ranks: those of the layer above on the way down, of the one below on the way up."""
    for layer in layers:
        _number(layer)
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            layer.sort(key=_rank_by_inputs if sweep % 2 == 0 else _rank_by_users)
            _number(layer)


def _number(layer: list[Box]) -> None:
    for rank, box in enumerate(layer):
        box.rank = rank


def _rank_by_inputs(box: Box) -> float:
    return _mean([n.rank for n in box.above] or [box.rank])


def _rank_by_users(box: Box) -> float:
    """Of the inputs of one op, the first argument stands left."""
    return _mean([n.rank + n.above.index(box) / len(n.above) for n in box.below] or [box.rank])


def _place(layers: list[list[Box]], top: float) -> None:
    """Give each box its coordinates: near the mean of its neighbours', in order, and apart from the next."""
    height = LINE // 2 + LINE * max(len(box.lines) for layer in layers for box in layer)
    for layer in layers:
        _spread(layer, [0.0] * len(layer))
    for _ in range(SWEEPS):
        for layer in [*layers, *reversed(layers)]:
            _spread(layer, [_mean([n.x for n in (*box.above, *box.below)] or [box.x]) for box in layer])
    left = min(box.x - box.width / 2 for layer in layers for box in layer)
    for depth, layer in enumerate(layers):
        for box in layer:
            box.x += MARGIN - left
            box.y, box.height = top + depth * (height + GAP_Y), height


def _spread(layer: list[Box], wanted: list[float]) -> None:
    """Move boxes to where they are wanted, but apart: half-way between pushing each other right and pushing left."""
    steps = [(a.width + b.width) / 2 + GAP_X for a, b in pairwise(layer)]
    right, left = list(wanted), list(wanted)
    for i, step in enumerate(steps):
        right[i + 1] = max(right[i + 1], right[i] + step)
    for i, step in reversed(list(enumerate(steps))):
        left[i] = min(left[i], left[i + 1] - step)
    for i, box in enumerate(layer):
        box.x = (right[i] + left[i]) / 2


def _svg(boxes: list[Box], layers: list[list[Box]], title: Sequence[str]) -> str:
    number = {id(box): i for i, box in enumerate(boxes)}
    width = max(box.x + box.width / 2 for layer in layers for box in layer) + MARGIN
    wanted = max((CHARACTER * len(line) for line in title), default=0.0) + 2 * MARGIN
    for box in (box for layer in layers for box in layer):
        box.x += max(0.0, wanted - width) / 2
    width, height = max(width, wanted), layers[-1][0].y + layers[-1][0].height + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.1f} {height}" role="img">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="graph-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>',
        f'<rect class="page" width="{width:.1f}" height="{height}" fill="white"/>',
    ]
    parts += [
        f'<text x="{width / 2:.1f}" y="{MARGIN + LINE * i}">{escape(line)}</text>' for i, line in enumerate(title)
    ]
    for box in boxes:
        for i in range(len(box.above)):
            source, line = _arrow(box, i)
            edge = "edge flow" if "now" in box.kind and "gets" in source.kind else "edge"
            parts.append(
                f'<path class="{edge}" data-from="{number[id(source)]}" data-to="{number[id(box)]}" d="{line}" '
                'marker-end="url(#graph-arrow)"/>'
            )
    for box in boxes:
        round_ = 4 if box.kind.startswith("op") else 20
        texts = "".join(
            f'<text x="{box.x:.1f}" y="{box.y + LINE * (i + 1)}">{escape(line)}</text>'
            for i, line in enumerate(box.lines)
        )
        parts.append(
            f'<g data-node="{number[id(box)]}"><rect class="{box.kind}" x="{box.x - box.width / 2:.1f}" y="{box.y}" '
            f'width="{box.width:.1f}" height="{box.height}" rx="{round_}"/>{texts}</g>'
        )
    return "\n".join([*parts, "</svg>"])


def _arrow(box: Box, argument: int) -> tuple[Box, str]:
    """Return where the arrow into an argument comes from, and its line. Arguments stand side by side on the upper edge."""
    x, y = box.x - box.width / 2 + box.width * (argument + 1) / (len(box.above) + 1), box.y
    source, line = box.above[argument], ""
    while True:
        bottom = source.y + source.height
        middle = (bottom + y) / 2
        line = f"C{source.x:.1f} {middle} {x:.1f} {middle} {x:.1f} {y}{line}"
        if source.lines:
            return source, f"M{source.x:.1f} {bottom}{line}"
        x, y, line = source.x, source.y, f"L{source.x:.1f} {bottom}{line}"
        source = source.above[0]


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
