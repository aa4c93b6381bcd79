"""The window of a convolution, moved over an image: the pixels under it, the products, and the sum they make."""

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.debug.widgets import BLUE, GREY, ORANGE, Picture, Slider, explore
from minigrad.functional import conv2d
from minigrad.kernels import trace
from minigrad.kernels.trace import Trace
from minigrad.ops.conv import output_size
from minigrad.tape import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDEST = 12  # with more columns than that, numbers would not be legible


def draw_window(
    image: Any, weight: Any, position: int = 0, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Picture:
    """Draw how one element of a convolution's output comes about, and what came before it.

    Args:
        image: one channel, (H, W).
        weight: one filter, (KH, KW).
        position: of the output element, counted row by row from 0.
        stride, padding, dilation: as in `functional.conv2d`.

    Returns:
        A Picture: the image with the pixels looked at, the filter, the products, the output so far.

    Raises:
        ValueError: image or weight have other axes, or the window does not fit.
        IndexError: there is no such position.

    Example:
        >>> draw_window(np.eye(3), np.ones((2, 2)), position=3).words.split(";")[0]
        'Output element 4 of 4, row 1, column 1: 1·1 + 0·1 + 0·1 + 1·1 = 2'
    """
    image, weight = _planes(image, weight)
    settings = {"stride": stride, "padding": padding, "dilation": dilation}
    out = conv2d(image[None, None], weight[None, None], **settings).data[0, 0]
    if not 0 <= position < out.size:
        raise IndexError(f"draw_window: position {position} is not among the {out.size} elements of the output")
    row, column = divmod(position, out.shape[1])
    told = trace("conv2d", image[None, None], weight[None, None], at=(0, 0, row, column), **settings)
    words = (
        f"Output element {position + 1} of {out.size}, row {row}, column {column}: {_sum_in_words(told)}; "
        f"{np.sum(~told.inside)} of {told.inside.size} pixels are padding. "
        f"Stride {stride}, padding {padding}, dilation {dilation}."
    )
    from matplotlib.figure import Figure  # here, so that importing minigrad does not wait for matplotlib

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1.7, 1, 1, 1.5))
    _draw_image(axes[0], image, padding, told)
    products = np.reshape(np.asarray(told.products), weight.shape) + 0.0  # no -0
    for ax, values, title in ((axes[1], weight, "filter"), (axes[2], products, f"products\nsum {told.result:.4g}")):
        _draw_values(ax, values, "PuOr_r", float(np.abs(values).max()) or 1.0, centred=True)
        ax.set_title(title, fontsize=10)
        ax.set(xticks=[], yticks=[])
    known = np.where(np.arange(out.size).reshape(out.shape) <= position, out, np.nan)
    _draw_values(axes[3], known, "PuOr_r", float(np.abs(out).max()) or 1.0, centred=True)
    axes[3].set_title(f"output so far\n{out.shape[0]}×{out.shape[1]}", fontsize=10)
    axes[3].set(xlabel="column", ylabel="row")
    axes[3].set_facecolor("#E8E8E8")
    _frame(axes[3], row, column, "black")
    return Picture(figure, words)


def explore_window(image: Any, weight: Any, stride: int = 1, padding: int = 0) -> Any:
    """Show a convolution's window with sliders for its place, stride, padding and dilation; a button sets it in motion.

    Args:
        image: one channel, (H, W).
        weight: one filter, (KH, KW).
        stride, padding: at the beginning.

    Returns:
        A widget, which a notebook shows; or the Picture of the middle element if ipywidgets (extra `notebooks`) is missing.

    Raises:
        ValueError: image or weight have other axes, or the window does not fit.
    """
    image, weight = _planes(image, weight)

    def count(settings: Any) -> int:
        """Return how many elements the output has."""
        padded = tuple(n + 2 * settings["padding"] for n in image.shape)
        height, width = output_size(padded, weight.shape, (settings["stride"],) * 2, (settings["dilation"],) * 2)
        return height * width

    middle = count({"stride": stride, "padding": padding, "dilation": 1}) // 2
    widest = min((n - 1) // max(k - 1, 1) for n, k in zip(image.shape, weight.shape, strict=True))
    return explore(
        lambda element, **settings: draw_window(image, weight, element - 1, **settings),
        lambda: draw_window(image, weight, middle, stride, padding),
        element=Slider("output element", 1, count, play=True),
        stride=Slider("stride", 1, 3, value=stride),
        padding=Slider("padding", 0, 2, value=padding),
        dilation=Slider("dilation", 1, max(min(widest, 3), 1)),
    )


def _planes(image: Any, weight: Any) -> tuple[Array, Array]:
    image, weight = np.asarray(image, np.float64), np.asarray(weight, np.float64)
    if image.ndim != 2 or weight.ndim != 2:
        raise ValueError(
            f"draw_window: expected one channel (H, W) and one filter (KH, KW) (image: {image.shape}, weight: {weight.shape})"
        )
    return image, weight


def _sum_in_words(told: Trace) -> str:
    if told.weights is None or len(told.values) > WIDEST:
        return f"{len(told.values)} products add up to {told.result:.4g}"
    terms = (
        f"{x:.3g}·{w:.3g}" if w >= 0 else f"{x:.3g}·({w:.3g})" for x, w in zip(told.values, told.weights, strict=True)
    )
    return f"{' + '.join(terms)} = {told.result:.4g}"


def _draw_image(ax: "Axes", image: Array, padding: int, told: Trace) -> None:
    """Draw the image and its padding, with a frame around each pixel that is looked at."""
    shown = np.pad(image.astype(float), padding, constant_values=np.nan)
    ax.set_facecolor("#CFE3EF")
    _draw_values(ax, shown, "gray", float(np.abs(image).max()) or 1.0, centred=image.min() < 0, first=-padding)
    for i, j in np.argwhere(np.isnan(shown)) if max(shown.shape) <= WIDEST else ():
        ax.text(j - padding, i - padding, "0", ha="center", va="center", fontsize=8, color=GREY)
    for (row, column), inside in zip(told.places[:, 2:].tolist(), told.inside, strict=True):
        _frame(ax, row, column, ORANGE if inside else BLUE)
    ax.set_title("image, pixels looked at" + ("\nblue: padding" if padding else ""), fontsize=10)
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")


def _draw_values(ax: "Axes", values: Array, colors: str, reach: float, centred: bool, first: int = 0) -> None:
    """Draw numbers as colours, and, if there are few, as numbers; row and column `first` is the upper left one."""
    low, (rows, columns) = (-reach if centred else 0), values.shape
    place = (first - 0.5, first + columns - 0.5, first + rows - 0.5, first - 0.5)
    ax.imshow(values, cmap=colors, vmin=low, vmax=reach, extent=place)
    ax.tick_params(labelsize=9)
    if max(values.shape) > WIDEST:
        return
    ax.set(xticks=range(first, first + columns), yticks=range(first, first + rows))
    size = 9 if columns <= 6 else 8
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = value < reach / 2 if colors == "gray" else abs(value) > 0.6 * reach
            color = "white" if dark else "black"
            ax.text(j + first, i + first, f"{value:.3g}", ha="center", va="center", fontsize=size, color=color)


def _frame(ax: "Axes", row: int, column: int, color: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=color, linewidth=2.5))
