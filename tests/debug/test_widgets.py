"""Controls move a picture; without ipywidgets there is a picture all the same, with its words."""

import base64
import re
import sys

import pytest
from matplotlib.figure import Figure

from minigrad.debug import Choice, Drawing, Picture, Slider, explore

WHY = "ipywidgets is not installed; `make course` installs it"


def said(html):
    """The words of a picture in a page."""
    (words,) = re.findall('alt="(.*?)"', html)
    return words


def controls_of(box):
    return box.children[0].children


def drawn(**values):
    return Picture(Drawing("<svg/>"), f"drawn with {values}")


def static():
    return Picture(Drawing("<svg/>"), "the static one")


@pytest.fixture
def widgets():
    module = pytest.importorskip("ipywidgets", reason=WHY)
    yield module
    module.Widget.close_all()


def test_a_figure_is_a_png_and_its_words_are_escaped():
    html = Picture(Figure(figsize=(1, 1)), 'a < b & "c"')._repr_html_()
    assert said(html) == "a &lt; b &amp; &quot;c&quot;"
    kind, content = re.search(r'src="data:image/([a-z+]+);base64,(.*?)"', html).groups()
    assert kind == "png"
    assert base64.b64decode(content).startswith(b"\x89PNG")


def test_a_drawing_stays_svg():
    kind, content = re.search(r'src="data:image/([a-z+]+);base64,(.*?)"', static()._repr_html_()).groups()
    assert (kind, base64.b64decode(content)) == ("svg+xml", b"<svg/>")


def test_without_ipywidgets_the_static_picture_is_returned(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert explore(drawn, static, n=Slider("n", 1, 5)) == static()


def test_each_control_is_given_by_name_and_moves_the_picture(widgets):
    box = explore(
        drawn,
        static,
        whole=Slider("n", 1, 5, value=2),
        real=Slider("x", 0.0, 1.0, 0.25),
        power=Slider("t", -1, 2, 0.5, value=10, log=True),
        which=Choice("which", {"first": "a", "second": "b"}),
    )
    whole, real, power, which = controls_of(box)
    picture = box.children[1]
    assert said(picture.value) == "drawn with {'whole': 2, 'real': 0.0, 'power': 10.0, 'which': 'a'}".replace(
        "'", "&#x27;"
    )
    assert [type(control).__name__ for control in (whole, real, power, which)] == [
        "IntSlider", "FloatSlider", "FloatLogSlider", "Dropdown"
    ]  # fmt: skip
    assert [control.description for control in (whole, real, power, which)] == ["n", "x", "t", "which"]
    assert (whole.min, whole.max, whole.step, real.step, power.min, power.max) == (1, 5, 1, 0.25, -1, 2)
    for control, value in ((whole, 5), (real, 0.75), (power, 100), (which, "b")):
        before = picture.value
        control.value = value
        assert picture.value != before
    assert "5, &#x27;real&#x27;: 0.75, &#x27;power&#x27;: 100.0, &#x27;which&#x27;: &#x27;b&#x27;" in picture.value


def test_an_end_that_depends_on_the_others_follows_them(widgets):
    box = explore(
        drawn,
        static,
        place=Slider("place", 0, lambda values: 10 * values["size"] - 1),
        size=Slider("size", 1, 3, value=3),
    )
    place, size = controls_of(box)
    assert place.max == 29
    place.value = 25
    size.value = 1
    assert (place.max, place.value) == (9, 9)
    assert "&#x27;place&#x27;: 9, &#x27;size&#x27;: 1" in box.children[1].value


def test_where_there_is_nothing_to_choose_nothing_is_asked(widgets):
    box = explore(drawn, static, which=Choice("which", {"only": "a"}), n=Slider("n", 1, 5))
    (n,) = controls_of(box)
    assert n.description == "n"
    assert said(box.children[1].value) == "drawn with {&#x27;which&#x27;: &#x27;a&#x27;, &#x27;n&#x27;: 1}"


def test_a_button_beside_a_slider_plays_it(widgets):
    play, slider = controls_of(explore(drawn, static, n=Slider("n", 0, 5, value=2, play=True)))
    assert type(play).__name__ == "Play"
    assert (play.min, play.max, play.value) == (slider.min, slider.max, slider.value) == (0, 5, 2)


def test_a_page_without_widgets_shows_the_static_picture(widgets):
    bundle = explore(drawn, static, n=Slider("n", 1, 5))._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == static()._repr_html_()
