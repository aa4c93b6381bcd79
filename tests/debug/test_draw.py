"""The picture must hold every node and every edge, apart and readable. SVG is XML: it is parsed, not searched."""

from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from minigrad import Tensor, draw, nn
from minigrad import functional as F
from minigrad.compression.models import LeNet

SVG = "{http://www.w3.org/2000/svg}"


class Picture:
    """What can be read off a drawing."""

    def __init__(self, drawing):
        root = ElementTree.fromstring(drawing.svg)
        self.width, self.height = (float(root.get(k)) for k in ("width", "height"))
        self.labels, self.kinds, self.boxes = {}, {}, {}
        for group in root.iter(SVG + "g"):
            node, rect = group.get("data-node"), group.find(SVG + "rect")
            self.labels[node] = " ".join(text.text for text in group.iter(SVG + "text"))
            self.kinds[node] = rect.get("class")
            self.boxes[node] = [float(rect.get(k)) for k in ("x", "y", "width", "height")]
        self.arrows = [p for p in root.iter(SVG + "path") if p.get("class") == "edge"]

    def edges(self):
        return sorted((self.labels[p.get("data-from")], self.labels[p.get("data-to")]) for p in self.arrows)

    def check_layout(self):
        for (ax, ay, aw, ah), (bx, by, bw, bh) in combinations(self.boxes.values(), 2):
            assert ax + aw < bx or bx + bw < ax or ay + ah < by or by + bh < ay, "two boxes overlap"
        for x, y, w, h in self.boxes.values():
            assert 0 <= x <= x + w <= self.width
            assert 0 <= y <= y + h <= self.height
        for arrow in self.arrows:
            (x, y, w, h), (to_x, to_y, to_w, _) = (self.boxes[arrow.get(k)] for k in ("data-from", "data-to"))
            numbers = [float(v) for v in arrow.get("d").replace("C", " ").replace("L", " ").strip("M").split()]
            assert numbers[:2] == pytest.approx([x + w / 2, y + h], abs=0.1), "an arrow begins elsewhere"
            assert numbers[-1] == to_y > y + h, "an arrow does not point down"
            assert to_x < numbers[-2] < to_x + to_w
            self.check_passes_beside_boxes(arrow.get("d"))

    def check_passes_beside_boxes(self, line):
        """Between layers an arrow bends; across a layer it runs straight down, and no box may be there."""
        for before, after in pairwise(line.split("L")):
            x, bottom = (float(v) for v in after.split("C")[0].split())
            top = float(before.split()[-1])
            assert top < bottom
            for left, y, width, height in self.boxes.values():
                assert not (left < x < left + width and y < bottom and y + height > top), "an arrow crosses a box"


def leaf(*shape):
    return Tensor(np.ones(shape), requires_grad=True)


def test_a_small_graph():
    a, b = leaf(2), leaf(3, 1)
    picture = Picture(draw((a + a) * b))
    assert sorted(picture.labels.values()) == ["add (2,)", "leaf (2,)", "leaf (3, 1)", "multiply (3, 2)"]
    assert picture.edges() == [
        ("add (2,)", "multiply (3, 2)"),
        ("leaf (2,)", "add (2,)"),
        ("leaf (2,)", "add (2,)"),
        ("leaf (3, 1)", "multiply (3, 2)"),
    ]
    ends = [p.get("d").split()[-2] for p in picture.arrows if picture.labels[p.get("data-to")] == "add (2,)"]
    assert len(set(ends)) == 2, "the two arrows from a lie on each other"
    picture.check_layout()


def test_lenets_loss():
    model, images = LeNet(), np.zeros((2, 1, 28, 28), np.float32)
    loss = F.cross_entropy(model(images), np.array([3, 5]))
    picture = Picture(draw(loss, model=model))
    labels = set(picture.labels.values())
    assert {f"{name} {p.shape}" for name, p in model.named_parameters()} <= labels
    assert {"conv2d (2, 6, 24, 24)", "max_pool2d (2, 16, 4, 4)", "cross_entropy (2,)"} <= labels
    assert ("conv1.weight (6, 1, 5, 5)", "conv2d (2, 6, 24, 24)") in picture.edges()
    assert sum(kind == "leaf" for kind in picture.kinds.values()) == 10
    assert "constant (2, 1, 28, 28)" in labels
    assert len(picture.arrows) == len(picture.boxes) - 1  # each value is used once
    picture.check_layout()


def test_long_arrows_pass_between_the_boxes():
    w, h = leaf(4, 4), Tensor(np.ones((2, 4)))
    for _ in range(3):
        h = h + F.tanh(h @ w) - 2 * h.mean()
    picture = Picture(draw(h.sum()))
    assert sum(start == "leaf (4, 4)" for start, _ in picture.edges()) == 3
    picture.check_layout()


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs(seed):
    rng = np.random.default_rng(seed)
    values = [leaf(2) for _ in range(3)]
    for _ in range(25):
        x, y = (values[i] for i in rng.integers(0, len(values), 2))
        values.append(x * y if rng.random() < 0.5 else x + y)
    root = F.concatenate(values)
    picture = Picture(draw(root))
    assert len(picture.boxes) == len(values) + 1
    assert len(picture.arrows) == 2 * 25 + len(values)
    picture.check_layout()


def test_leaves_constants_and_numbers_are_told_apart():
    x = leaf(2)
    picture = Picture(draw(x * 2 + np.array([1.0, 2.0]) - Tensor(0.5)))
    kinds = {label: picture.kinds[node] for node, label in picture.labels.items()}
    assert kinds["leaf (2,)"] == "leaf"
    assert kinds["2 ()"] == kinds["constant (2,)"] == kinds["-0.5 ()"] == "constant"
    assert kinds["multiply (2,)"] == "op"


def test_a_leaf_alone():
    picture = Picture(draw(leaf(3)))
    assert (list(picture.labels.values()), picture.arrows) == (["leaf (3,)"], [])


def test_names_are_escaped():
    model = nn.Module()
    setattr(model, "a<b&c", nn.Parameter(np.ones(2)))
    picture = Picture(draw(model.parameters().__next__() * 2, model=model))
    assert "a<b&c (2,)" in picture.labels.values()


def test_it_shows_in_a_notebook_and_is_saved(tmp_path):
    drawing = draw(leaf(2) * 2)
    assert drawing._repr_svg_() == drawing.svg
    drawing.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == drawing.svg


def test_what_cannot_be_drawn_is_said():
    loss = (leaf(2) * 2).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"draw: backward\(\) freed this graph; draw it before"):
        draw(loss)
    x = leaf(1)
    for _ in range(1000):
        x = F.tanh(x)
    with pytest.raises(ValueError, match="draw: the graph has 1001 nodes, too many to read"):
        draw(x)
