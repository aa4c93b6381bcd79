"""Sliders around a picture, in a notebook; and the picture alone where there are none.

A picture comes with words that say what it shows, numbers included: its alternative text, for who cannot see it.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from minigrad.debug.draw import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#666666"


@dataclass(frozen=True)
class Picture:
    """A picture with its alternative text. In a notebook it shows itself.

    Attributes:
        figure: of matplotlib, or a drawing as SVG.
        words: what it shows, in a sentence or two.

    Example:
        >>> print(Picture(Drawing("<svg/>"), "3 > 2")._repr_html_())
        <img alt="3 &gt; 2" style="max-width: 100%; height: auto" src="data:image/svg+xml;base64,PHN2Zy8+">
    """

    figure: "Figure | Drawing"
    words: str

    def _repr_html_(self) -> str:
        if isinstance(self.figure, Drawing):
            kind, content = "svg+xml", self.figure.svg.encode()
        else:
            buffer = BytesIO()
            self.figure.savefig(buffer, format="png", dpi=90)
            kind, content = "png", buffer.getvalue()
        source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        return f'<img alt="{escape(self.words)}" style="max-width: 100%; height: auto" src="{source}">'


@dataclass(frozen=True)
class Slider:
    """A number to set.

    Attributes:
        label: what stands beside it.
        low, high: its ends; high may be a function of all controls' values, for a range that depends on the others.
        step: from one value to the next. Whole numbers, if low and step are.
        value: at the beginning; None: low.
        log: low and high are exponents of ten, and so is step.
        play: a button beside it moves it on by itself, twice a second.
    """

    label: str
    low: float
    high: float | Callable[[Mapping[str, Any]], float]
    step: float = 1
    value: float | None = None
    log: bool = False
    play: bool = False


@dataclass(frozen=True)
class Choice:
    """One of several things to choose.

    Attributes:
        label: what stands beside it.
        options: name → value; the first is chosen at the beginning. A single one is taken without asking.
    """

    label: str
    options: Mapping[str, Any]


def explore(draw: Callable[..., Picture], static: Callable[[], Picture], **controls: Slider | Choice) -> Any:
    """Show a picture below controls that change it; without ipywidgets, the static picture.

    Args:
        draw: called with the controls' values by name; returns the picture for them.
        static: returns the picture that is shown where there are no widgets: without ipywidgets, or in a saved page.
        controls: name → Slider or Choice.

    Returns:
        A widget, which a notebook shows, with the static picture for readers without widgets; or, if ipywidgets (extra
        `notebooks`) is missing, the static `Picture`.

    Example:
        >>> box = explore(lambda n: Picture(Drawing("<svg/>"), f"n is {n}"), lambda: Picture(Drawing("<svg/>"), "n"),
        ...               n=Slider("n", 1, 5))
    """
    try:
        import ipywidgets  # pyright: ignore[reportMissingImports]  of the extra "notebooks"
    except ImportError:
        return static()
    return _with_controls(ipywidgets, draw, static, controls)


def _with_controls(widgets: Any, draw: Callable[..., Picture], static: Callable[[], Picture], controls: Any) -> Any:
    made = {name: _control(widgets, control) for name, control in controls.items()}
    picture = widgets.HTML()

    def redraw(change: Any = None) -> None:
        for name, control in controls.items():
            if isinstance(control, Slider) and callable(control.high):
                made[name].max = control.high({name: control.value for name, control in made.items()})
        picture.value = draw(**{name: control.value for name, control in made.items()})._repr_html_()

    class Explorer(widgets.VBox):
        """The widget, and the static picture for pages without widgets."""

        def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
            return super()._repr_mimebundle_(**kwargs) | {"text/html": static()._repr_html_()}

    for control in made.values():
        control.observe(redraw, "value")
    redraw()
    parts = []
    for name, control in controls.items():
        if isinstance(control, Choice) and len(control.options) == 1:
            continue  # nothing to choose
        if isinstance(control, Slider) and control.play:
            play = widgets.Play(min=control.low, max=made[name].max, value=made[name].value, interval=500)
            widgets.jslink((play, "value"), (made[name], "value"))
            widgets.jslink((made[name], "max"), (play, "max"))
            parts.append(play)
        parts.append(made[name])
    return Explorer([widgets.HBox(parts, layout={"flex_flow": "row wrap"}), picture])


def _control(widgets: Any, control: Slider | Choice) -> Any:
    """Return the widget of one control."""
    look: Any = {"description": control.label, "style": {"description_width": "initial"}}
    if isinstance(control, Choice):
        return widgets.Dropdown(options=list(control.options.items()), **look)
    low, value = control.low, control.low if control.value is None else control.value
    # A range that depends on the others is set before the first picture.
    high = value if callable(control.high) else control.high
    look |= {"min": low, "max": high, "step": control.step, "layout": {"width": "330px"}}
    if control.log:
        return widgets.FloatLogSlider(value=value, base=10, readout_format=".3g", **look)
    whole = isinstance(low, int) and isinstance(control.step, int)
    return (widgets.IntSlider if whole else widgets.FloatSlider)(value=value, **look)
