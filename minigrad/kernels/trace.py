"""How one number came about: the window, the weights, the products and the running sum of a single output element.

Written from the definition of each op, one term after the other, so that it shows what the kernels must compute, not
how they go about it. Arrays are as users have them, images (N, C, H, W).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Trace:
    """The terms of one output element, in the order in which they are added (or compared).

    Attributes:
        op: "conv2d", "linear", "matmul", "max_pool2d" or "avg_pool2d".
        at: index of the output element.
        places: int (terms, axes of x), index of each term's value in x.
        inside: bool (terms,), False where that place lies in the padding.
        values: (terms,), the values of x there; in the padding 0, for max_pool2d minus infinity.
        weights: (terms,), what each value is multiplied by; None for max_pool2d, which only compares.
        products: (terms,), values * weights; None for max_pool2d.
        running: (terms,), the bias and all products so far; for max_pool2d the largest value so far.
        bias: what the sum starts from, 0 without a bias.
        winner: for max_pool2d, number of the term that won; otherwise None.
        result: the output element, which is the last of `running`.
    """

    op: str
    at: tuple[int, ...]
    places: Array
    inside: Array
    values: Array
    weights: Array | None
    products: Array | None
    running: Array
    bias: float
    winner: int | None

    @property
    def result(self) -> float:
        """The output element."""
        return float(self.running[-1]) if self.running.size else self.bias

    def __str__(self) -> str:
        title, table = f"{self.op}: out[{_index(self.at)}] = {self.result:.6g}", {"value": self.values}
        if self.weights is None or self.products is None:
            table |= {"largest yet": self.running}
        else:
            title += f", from a bias of {self.bias:.6g} and {len(self.values)} products"
            table |= {"weight": self.weights, "product": self.products, "sum": self.running}
        rows = zip(self.places, self.inside, strict=True)
        places = [f"x[{_index(place)}]" + ("" if inside else " padding") for place, inside in rows]
        width = max(map(len, places), default=0)
        lines = [title, " " * width + "".join(f"{name:>14}" for name in table)]
        for term, place in enumerate(places):
            figures = "".join(f"{column[term]:>14.6g}" for column in table.values())
            lines.append(f"{place:{width}}{figures}" + ("  <- wins" if term == self.winner else ""))
        return "\n".join(lines)


def trace(op: str, *arrays: Any, at: tuple[int, ...], **settings: Any) -> Trace:
    """Record how one output element is computed.

    Args:
        op: "conv2d", "linear", "matmul", "max_pool2d" or "avg_pool2d".
        arrays: the op's arguments: x, w, b (or None) for conv2d and linear; x, y for matmul; x for pooling. Images are
            (N, C, H, W). A Tensor counts as its values.
        at: index of the output element: (n, f, oh, ow) for images, (n, o) for linear, (..., m, p) for matmul.
        settings: as in `minigrad.functional`: stride, padding, dilation, groups; for pooling kernel_size, stride, padding.

    Raises:
        ValueError: there is no trace of that op, or the arrays do not fit.
        IndexError: `at` lies outside the output.

    Example:
        >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
        >>> w = np.array([[[[1.0, 0.0], [0.0, 2.0]]]])
        >>> print(trace("conv2d", x, w, at=(0, 0, 1, 1), padding=1))
        conv2d: out[0, 0, 1, 1] = 8, from a bias of 0 and 4 products
                              value        weight       product           sum
        x[0, 0, 0, 0]             0             1             0             0
        x[0, 0, 0, 1]             1             0             0             0
        x[0, 0, 1, 0]             3             0             0             0
        x[0, 0, 1, 1]             4             2             8             8
    """
    if op not in TRACERS:
        raise ValueError(f"trace: there is no trace of {op!r}, only of {', '.join(TRACERS)}")
    return TRACERS[op](op, *(_array(x) for x in arrays), at=tuple(int(i) for i in at), **settings)


def _conv2d(
    op: str,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    at: tuple[int, ...],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Trace:
    """out[n, f, oh, ow] = b[f] + sum over c, i, j of w[f, c, i, j] * x[n, group's first channel + c, row, column]."""
    if x.ndim != 4 or w.ndim != 4 or x.shape[1] != w.shape[1] * groups:
        raise ValueError(
            f"trace: conv2d needs x (N, C, H, W) and w (F, C / groups, KH, KW) (x: {x.shape}, w: {w.shape})"
        )
    out_size = _output_size(x, w.shape[2:], stride, padding, dilation)
    _check(op, at, (x.shape[0], w.shape[0], *out_size))
    n, f, *corner = at
    first = f // (w.shape[0] // groups) * w.shape[1]
    taps = np.array(list(np.ndindex(w.shape[1:])), int).reshape(-1, 3)  # (terms, 3): c, i, j
    pixels = corner * np.array(_pair(stride)) + taps[:, 1:] * _pair(dilation) - _pair(padding)
    places = np.column_stack([np.full(len(taps), n), first + taps[:, 0], pixels])
    return _sum_of_products(op, at, x, places, w[f].ravel(), 0 if b is None else b[f])


def _linear(op: str, x: Array, w: Array, b: Array | None = None, *, at: tuple[int, ...]) -> Trace:
    """out[n, o] = b[o] + sum over i of x[n, i] * w[o, i]."""
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(f"trace: linear needs x (N, I) and w (O, I) (x: {x.shape}, w: {w.shape})")
    _check(op, at, (x.shape[0], w.shape[0]))
    n, o = at
    places = np.array([(n, i) for i in range(x.shape[1])], int).reshape(-1, 2)
    return _sum_of_products(op, at, x, places, w[o], 0 if b is None else b[o])


def _matmul(op: str, x: Array, y: Array, *, at: tuple[int, ...]) -> Trace:
    """out[..., m, p] = sum over k of x[..., m, k] * y[..., k, p]; leading axes broadcast."""
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-2]:
        raise ValueError(f"trace: matmul needs x (..., M, K) and y (..., K, P) (x: {x.shape}, y: {y.shape})")
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    _check(op, at, (*batch, x.shape[-2], y.shape[-1]))
    *of_batch, m, p = at
    ours = [i if size > 1 else 0 for i, size in zip(of_batch[len(batch) - x.ndim + 2 :], x.shape[:-2], strict=True)]
    places = np.array([(*ours, m, k) for k in range(x.shape[-1])], int).reshape(-1, x.ndim)
    weights = np.broadcast_to(y, (*batch, *y.shape[-2:]))[(*of_batch, slice(None), p)]
    return _sum_of_products(op, at, x, places, weights, 0)


def _pool2d(
    op: str,
    x: Array,
    *,
    at: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
) -> Trace:
    """The largest value of a window (the first of equal ones; NaN beats any number), or its mean."""
    if x.ndim != 4:
        raise ValueError(f"trace: {op} needs x (N, C, H, W) (x: {x.shape})")
    window, stride = _pair(kernel_size), kernel_size if stride is None else stride
    _check(op, at, (*x.shape[:2], *_output_size(x, window, stride, padding, 1)))
    pixels = at[2:] * np.array(_pair(stride)) + np.array(list(np.ndindex(window))) - _pair(padding)
    places = np.column_stack([np.full((len(pixels), 2), at[:2]), pixels])
    if op == "avg_pool2d":
        return _sum_of_products(op, at, x, places, np.full(len(places), 1 / len(places), x.dtype), 0)
    values, inside = _look_up(x, places, -np.inf)
    running, winner = values.copy(), 0
    for term, value in enumerate(values):
        if value > values[winner] or value != value:
            winner = term
        running[term] = values[winner]
    return Trace(op, at, places, inside, values, None, None, running, 0.0, winner)


TRACERS: dict[str, Callable[..., Trace]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool2d": _pool2d,
    "avg_pool2d": _pool2d,
}
"""The ops of which there is a trace."""


def _sum_of_products(op: str, at: tuple[int, ...], x: Array, places: Array, weights: Array, bias: Any) -> Trace:
    values, inside = _look_up(x, places, 0)
    products = values * weights
    running = np.cumsum([bias, *products], dtype=products.dtype)[1:]
    return Trace(op, at, places, inside, values, weights.copy(), products, running, float(bias), None)


def _look_up(x: Array, places: Array, outside: float) -> tuple[Array, Array]:
    """Return the values of x at `places`, `outside` where they lie beyond x, and which lie within."""
    inside = np.array([all(0 <= i < size for i, size in zip(place, x.shape, strict=True)) for place in places], bool)
    values = np.full(len(places), outside, x.dtype)
    values[inside] = x[tuple(places[inside].T)]
    return values, inside


def _output_size(x: Array, window: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair) -> list[int]:
    """Return [OH, OW]."""
    settings = zip(x.shape[2:], window, _pair(stride), _pair(padding), _pair(dilation), strict=True)
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in settings]


def _check(op: str, at: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if len(at) != len(shape) or not all(0 <= i < size for i, size in zip(at, shape, strict=True)):
        raise IndexError(f"trace: at={at} is not an element of {op}'s output, which has shape {shape}")


def _array(x: Any) -> Any:
    return x if x is None or isinstance(x, np.ndarray) else np.asarray(getattr(x, "data", x))


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int | np.integer) else (value[0], value[1])


def _index(place: Any) -> str:
    return ", ".join(str(i) for i in place)
