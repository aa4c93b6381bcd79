"""The window shows the sum that conv2d computes, for each place and setting."""

import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad.debug import Picture, draw_window, explore_window
from tests.sentences import raises

IMAGE = np.arange(49.0).reshape(7, 7) % 10
FILTER = np.array([[-1.0, 0, 1]] * 3)


def texts(ax):
    return [text.get_text() for text in ax.texts]


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_the_words_say_the_element_that_conv2d_computes(data):
    image = np.array(data.draw(st.lists(st.lists(st.integers(-9, 9), min_size=6, max_size=6), min_size=5, max_size=5)))
    ranges = {"stride": (1, 3), "padding": (0, 2), "dilation": (1, 2)}
    chosen = {name: data.draw(st.integers(*ends)) for name, ends in ranges.items()}
    out = F.conv2d(image[None, None].astype(float), FILTER[None, None], **chosen).data[0, 0]
    position = data.draw(st.integers(0, out.size - 1))
    words = draw_window(image, FILTER, position, **chosen).words
    row, column = np.unravel_index(position, out.shape)
    assert words.startswith(f"Output element {position + 1} of {out.size}, row {row}, column {column}: ")
    terms, total = re.search(r": (.*) = (.*?);", words).groups()
    products = [x * y for x, y in re.findall(r"(-?\d+)·\(?(-?\d+)\)?", terms) for x, y in [(int(x), int(y))]]
    assert len(products) == 9
    assert sum(products) == float(total) == out[row, column]
    for name, value in chosen.items():
        assert f"{name} {value}" in words.lower()


def test_the_panels_show_image_filter_products_and_output_so_far():
    image_ax, filter_ax, product_ax, output_ax = draw_window(IMAGE, FILTER, 6, padding=1).figure.axes
    assert len(texts(image_ax)) == 81
    assert image_ax.get_xlabel() == "column (pixels)"
    assert texts(filter_ax) == ["-1", "0", "1"] * 3
    assert (
        product_ax.get_title()
        == f"products\nsum {F.conv2d(IMAGE[None, None], FILTER[None, None], padding=1).data.flat[6]:g}"
    )
    assert "-0" not in texts(product_ax)
    assert len(texts(output_ax)) == 7
    assert output_ax.get_title() == "output so far\n7×7"
    frames = [patch.get_xy() for patch in image_ax.patches]
    assert sorted(frames) == sorted((c - 0.5, r - 0.5) for r in (-1, 0, 1) for c in (5, 6, 7))
    assert len({patch.get_edgecolor() for patch in image_ax.patches}) == 2, "padding has a colour of its own"


def test_numbers_of_a_large_image_are_left_out():
    picture = draw_window(np.ones((28, 28)), FILTER, 30, padding=1)
    assert texts(picture.figure.axes[0]) == []
    assert len(texts(picture.figure.axes[1])) == 9


def test_many_products_are_not_written_out():
    assert "25 products add up to 25; 0 of 25 pixels" in draw_window(np.ones((7, 7)), np.ones((5, 5))).words


def test_what_does_not_fit_is_refused():
    with raises(
        ValueError,
        "draw_window: expected one channel (H, W) and one filter (KH, KW) (image: (1, 7, 7), weight: (3, 3))",
    ):
        draw_window(IMAGE[None], FILTER)
    with raises(IndexError, "draw_window: position 25 is not among the 25 elements of the output"):
        draw_window(IMAGE, FILTER, 25)


def test_without_widgets_the_middle_element_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    picture = explore_window(IMAGE, FILTER, stride=2, padding=1)
    assert isinstance(picture, Picture)
    assert picture.words.startswith("Output element 9 of 16, row 2, column 0: ")
    assert picture.words.endswith("Stride 2, padding 1, dilation 1.")


def test_each_slider_moves_the_window():
    widgets = pytest.importorskip("ipywidgets", reason="ipywidgets is not installed; `make course` installs it")
    box = explore_window(IMAGE, FILTER)
    (_, element, stride, padding, dilation), picture = box.children[0].children, box.children[1]
    assert (element.min, element.max, dilation.max) == (1, 25, 3)
    seen = [picture.value]
    for control, value in ((element, 25), (padding, 1), (stride, 2), (dilation, 2)):
        control.value = value
        seen.append(picture.value)
        out = F.conv2d(
            IMAGE[None, None], FILTER[None, None], stride=stride.value, padding=padding.value, dilation=dilation.value
        )
        assert element.max == out.size
    assert len(set(seen)) == 5
    assert "Stride 2, padding 1, dilation 2." in seen[-1]
    widgets.Widget.close_all()
