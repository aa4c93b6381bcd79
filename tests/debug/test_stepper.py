"""The stepper's numbers are those of backward, at each step, and it leaves the graph as it was."""

import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from minigrad import Tensor
from minigrad import functional as F
from minigrad.debug import Picture, backward_frames, draw_backward, explore_backward, step_backward

SVG = "{http://www.w3.org/2000/svg}"


def leaf(value):
    return Tensor(value, requires_grad=True)


@pytest.fixture
def neuron():
    w, b = leaf(1.0), leaf(-1.5)
    u = F.tanh(w * 2 + b)
    return {"w": w, "b": b, "u": u, "L": (u - 1) ** 2 + 0.1 * w * w}


def boxes(picture):
    """First line of each box → (all lines, kind), without the spaces that keep its width."""
    found = {}
    for group in ElementTree.fromstring(picture.figure.svg).iter(SVG + "g"):
        lines = [(text.text or "").strip() for text in group.iter(SVG + "text")]
        found[lines[0]] = lines, group.find(SVG + "rect").get("class")
    return found


def test_the_last_frame_has_the_gradients_of_backward(neuron):
    frames = backward_frames(neuron["L"])
    assert len(frames) == 1 + 8
    assert not any(frames[-1].missing.values())
    gradients = {name: frames[-1].gradients[id(neuron[name])] for name in "wb"}
    neuron["L"].backward()
    for name in "wb":
        np.testing.assert_allclose(gradients[name], neuron[name].grad, rtol=1e-12)
    slope = 2 * (np.tanh(0.5) - 1) * (1 - np.tanh(0.5) ** 2)
    np.testing.assert_allclose(gradients["w"], 2 * slope + 0.2, rtol=1e-6)


def test_a_gradient_grows_share_by_share(neuron):
    w, frames = neuron["w"], backward_frames(neuron["L"])
    so_far = [round(float(frame.gradients.get(id(w), np.nan)), 4) for frame in frames]
    assert np.isnan(so_far[:2]).all()
    assert so_far[2:8] == [0.1, 0.2, 0.2, 0.2, 0.2, 0.2]
    assert [frame.missing[id(w)] for frame in frames] == [3, 3, 2, 1, 1, 1, 1, 1, 0]


def test_leaves_keep_what_they_have_and_the_graph_can_be_walked_again(neuron):
    neuron["w"].grad = kept = np.array(7.0)
    backward_frames(neuron["L"])
    assert neuron["w"].grad is kept
    assert neuron["b"].grad is None
    assert len(list(step_backward(neuron["L"]))) == 8


def test_leaves_keep_what_they_have_when_the_walk_fails(neuron):
    neuron["w"].grad = kept = np.array(7.0)
    with pytest.raises(ValueError, match="gradient"):
        backward_frames(neuron["L"], np.ones(3))
    assert neuron["w"].grad is kept


def test_a_picture_says_what_the_step_did(neuron):
    frames = backward_frames(neuron["L"])
    first = draw_backward(neuron["L"], frames, 0, **neuron)
    assert first.words == "Before step 1 of 8: the result's own gradient is 1. Gradients: L 1."
    sixth = draw_backward(neuron["L"], frames, 6, **neuron)
    assert sixth.words == (
        "Step 6 of 8: u = tanh, whose gradient is -1.076, passes on -0.846 to add. "
        "Gradients: w 0.2, u -1.076, L 1."
    )  # fmt: skip


def test_the_boxes_show_values_gradients_and_whose_turn_it_is(neuron):
    frames = backward_frames(neuron["L"])
    third = boxes(draw_backward(neuron["L"], frames, 3, **neuron))
    assert third["w"] == (["w", "value 1", "gradient so far 0.2"], "leaf gets")
    assert third["b"] == (["b", "value -1.5", "gradient: not yet"], "leaf")
    assert third["step 3: multiply"] == (["step 3: multiply", "value 0.1", "gradient 1"], "op now")
    assert third["step 1: L = add"][1] == "op"
    assert third["step 4: power"] == (["step 4: power", "value 0.2893", "gradient 1"], "op waiting")
    assert third["constant"][0][2] == "no gradient"
    last = boxes(draw_backward(neuron["L"], frames, 8, **neuron))
    assert last["w"] == (["w", "value 1", "gradient -1.492"], "leaf gets")
    assert not any("waiting" in kind for _, kind in last.values())


def test_boxes_stay_where_they_are_from_step_to_step(neuron):
    frames = backward_frames(neuron["L"])
    places = set()
    for number in range(len(frames)):
        root = ElementTree.fromstring(draw_backward(neuron["L"], frames, number).figure.svg)
        middle = float(root.get("width")) / 2  # a longer title widens the picture to both sides
        rects = [group.find(SVG + "rect") for group in root.iter(SVG + "g")]
        places.add(tuple((round(float(r.get("x")) - middle), r.get("y"), r.get("width")) for r in rects))
    assert len(places) == 1


def test_the_arrows_of_the_step_are_thick():
    a, b = leaf(2.0), leaf(3.0)
    total = (a + b) * 4
    root = ElementTree.fromstring(draw_backward(total, backward_frames(total), 1).figure.svg)
    flows = [p for p in root.iter(SVG + "path") if p.get("class") == "edge flow"]
    assert len(flows) == 1, "4 is a constant: nothing flows to it"


def test_arrays_are_summarised():
    x = leaf(np.arange(10.0))
    total = (x * x).sum()
    words = draw_backward(total, backward_frames(total), 2, x=x).words
    assert words.endswith("passes on from 0 to 9 to x and from 0 to 9 to x. Gradients: x from 0 to 18.")


def test_a_leaf_alone():
    x = leaf(3.0)
    picture = draw_backward(x, backward_frames(x), 1, x=x)
    assert picture.words == "Step 1 of 1: x, whose gradient is 1, is the end of the way. Gradients: x 1."


def test_without_widgets_the_last_step_is_shown(neuron, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    picture = explore_backward(neuron["L"], **neuron)
    assert isinstance(picture, Picture)
    assert picture.words.startswith("Step 8 of 8: multiply, whose gradient is -0.846, passes on -1.692 to w.")


def test_the_slider_walks_back_and_forth(neuron):
    widgets = pytest.importorskip("ipywidgets", reason="ipywidgets is not installed; `make course` installs it")
    box = explore_backward(neuron["L"], **neuron)
    (_, slider), picture = box.children[0].children, box.children[1]
    seen = []
    for step in (0, 8, 3, 0):
        slider.value = step
        seen.append(picture.value)
    assert (slider.min, slider.max) == (0, 8)
    assert "Step 3 of 8" in seen[2]
    assert seen[0] == seen[3]
    assert len(set(seen)) == 3
    widgets.Widget.close_all()
