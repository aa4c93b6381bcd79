"""Training whose backward pass multiplies int8 by int8: gradients, weights and activations of linear layers and convolutions.

The forward pass stays as it is, float32, to the bit. For the backward pass a layer keeps its input as int8, a quarter of the
bytes. The gradient g of its result comes in as float32, and becomes int8 as well. Then

    gradient of the weights = g.T @ x        gradient of the input = g @ w

are sums of integers, which are multiplied by both sides' scales in the end. Each array has one scale: its largest magnitude is
127. Weights and inputs are rounded to the nearest integer; g is rounded at random, up as often as it is near the integer above,
so that what is too small for a step is not lost but comes through now and then: on average g stays what it was. The gradient of
the bias, a sum without products, is computed in float32.

Source:
    The article on quantization: gradients may be quantized on a single machine too, "to reduce the cost of backward".
    Wu et al., "Training and inference with integers in deep neural networks", 2018 (arXiv 1802.04680): integers in the
    backward pass, gradients rounded at random. Its shifts by powers of two, and its updates in integers, are not taken over.
    Banner et al., "Scalable methods for 8-bit training of neural networks", 2018 (arXiv 1805.11046): one scale a tensor,
    weights updated in float. Not taken over: its range batch norm, and its "gradient bifurcation", more than 8 bits of g in
    the product that gives the gradient of the weights; LeNet does without.
"""

import copy
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minigrad import nn, ops, tape
from minigrad.ops.conv import output_size
from minigrad.ops.layout import crop_image, innermost, outermost
from minigrad.random import generator
from minigrad.tensor import Array, Tensor, apply, as_tensor

from . import backward_kernels as kernels
from .backward_kernels import MOST_TERMS, WIDE

M = TypeVar("M", bound=nn.Module)


class Rounded(NamedTuple):
    """An array as integers: about q * scale.

    Attributes:
        q: int8, -127 to 127.
        scale: of one step; NaN if the array had NaN or infinity, so that they come through.
    """

    q: Array
    scale: float


def round_to_int8(x: Array, rng: np.random.Generator | None = None) -> Rounded:
    """Round an array to integers whose largest magnitude is 127 (less if all of x is below 1e-31, where float32 ends).

    Args:
        x: float32 or float64, any shape.
        rng: rounds at random, so that the mean over many draws is x (to 2**-17 of a step). None: to the nearest integer.

    Example:
        >>> round_to_int8(np.float32([1, -0.5, 0])).q
        array([127, -64,   0], dtype=int8)
        >>> x = np.full(4_000, 0.1, np.float32)
        >>> x[0] = 127
        >>> round_to_int8(x, np.random.default_rng(0)).q[1:].mean().round(2)
        np.float64(0.1)
    """
    largest = max(float(x.max(initial=0)), -float(x.min(initial=0)))  # NaN if there is one
    if largest == 0 or not np.isfinite(largest):
        return Rounded(np.zeros(x.shape, np.int8), 0.0 if largest == 0 else np.nan)
    steps = 127 if rng is None else 127 << 16
    factor = x.dtype.type(min(steps / largest, float(np.finfo(x.dtype).max)))
    if rng is None:
        return Rounded(np.rint(x * factor).astype(np.int8), 1 / float(factor))
    x = np.ascontiguousarray(x)
    flat, q = x.reshape(max(len(x), 1), -1), np.empty(x.shape, np.int8)
    noise = rng.integers(0, 2**64, -(-x.size // 4), np.uint64).view(np.uint16)[: x.size]
    kernels.round_at_random(flat, factor, noise.reshape(flat.shape), q.reshape(flat.shape))
    return Rounded(q, 2**16 / float(factor))


def int8_product(a: Array, b: Array) -> Array:
    """Return a @ b, of integers, exactly.

    Args:
        a: int8 (M, K).
        b: int8 (K, P). Neither has -128.

    Returns:
        int32 (M, P); int64 for more than 131,072 terms a sum, which int32 might not hold.

    Example:
        >>> int8_product(np.full((1, 3), 127, np.int8), np.full((3, 2), -127, np.int8))
        array([[-48387, -48387]], dtype=int32)
    """
    (rows, terms), columns = a.shape, b.shape[1]
    if terms > MOST_TERMS:
        parts = (slice(start, start + MOST_TERMS) for start in range(0, terms, MOST_TERMS))
        return np.asarray(sum(int8_product(a[:, part], b[part]).astype(np.int64) for part in parts))
    b = _filled(b, 4, WIDE)
    words, minus = np.empty((len(b) // 4, b.shape[1]), np.int32), np.empty(b.shape[1], np.int32)
    kernels.pack_words(b, words, minus)
    out = np.empty((rows, b.shape[1]), np.int32)
    kernels.int8_matmul(_words(_raised(_filled(a, 1, 4))), words, minus, out)
    return np.ascontiguousarray(out[:, :columns])


def int8_row_product(a: Array, b: Array) -> Array:
    """Return a @ b.T, of integers, exactly: the faster way where sums are long.

    Args:
        a: int8 (M, K).
        b: int8 (P, K), the one with fewer rows. Neither has -128.

    Returns:
        int64 (M, P). A lane of a vector sums its own share of the products, in int32.

    Example:
        >>> int8_row_product(np.int8([[1, 2, 3]]), np.int8([[4, 5, 6], [1, 0, 0]]))
        array([[32,  1]])
    """
    out, total = np.empty((len(a), len(b)), np.int64), np.zeros((len(a), len(b)), np.int64)
    for start in range(0, a.shape[1], MOST_TERMS):
        part = slice(start, start + MOST_TERMS)
        own, other = _filled(a[:, part], 1, WIDE), _filled(b[:, part], 1, WIDE)
        kernels.int8_row_products(_words(own), _words(_raised(other)), out)
        total += out
    return total


def _filled(x: Array, rows: int, columns: int) -> Array:
    """Return a matrix, C-contiguous, filled up with zeros so that its sizes are multiples of these."""
    shape = (x.shape[0] + -x.shape[0] % rows, x.shape[1] + -x.shape[1] % columns)
    if shape == x.shape:
        return np.ascontiguousarray(x)
    out = np.zeros(shape, x.dtype)
    out[: x.shape[0], : x.shape[1]] = x
    return out


def _raised(x: Array) -> Array:
    """Return x + 128 as unsigned bytes: the highest bit flipped."""
    return x.view(np.uint8) ^ np.uint8(128)


def _words(x: Array) -> Array:
    """(M, 4 * K) bytes -> int32 (M, K), the same memory."""
    return x.view(np.int32)


class Int8LinearOp(
    ops.Linear, name="int8_linear", axes="x: (N, I), w: (O, I), b: (O,) -> (N, O)", cost="2 * out * I", products=True
):
    """`linear` with a backward pass in int8."""

    seen: tuple[Array, Rounded] | None = None

    def forward(self, x, w, b=None):
        """See `linear`; x is kept as int8."""
        out = super().forward(x, w, b)
        self.kept = round_to_int8(innermost(self.x))  # (I, N)
        del self.x
        return out

    def vjp_x(self, g):
        """w.T: (I, O)   g.T: (O, N)   -> (I, N), seen as (N, I)"""
        w, g_t = round_to_int8(self.w), _rounded(self, g)
        return outermost(_scaled(int8_product(w.q.T, g_t.q), w, g_t, g.dtype))

    def vjp_w(self, g):
        """g.T: (O, N)   x: (N, I)   -> (O, I)"""
        g_t = _rounded(self, g)
        return _scaled(int8_product(g_t.q, self.kept.q.T), g_t, self.kept, g.dtype)


class Int8Conv2dOp(
    ops.Conv2d,
    name="int8_conv2d",
    axes="x: (N, C, H, W), w: (F, C / groups, KH, KW), b: (F,) -> (N, F, OH, OW)",
    cost="2 * out * C / groups * KH * KW",
    products=True,
):
    """`conv2d` with a backward pass in int8: products with *columns*, what each tap of a filter meets as it moves."""

    seen: tuple[Array, Rounded] | None = None

    def forward(self, x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
        """See `conv2d`; x is kept as int8."""
        out = super().forward(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
        self.kept = round_to_int8(self.x)  # (C, H, W, N), with its border
        del self.x
        return out

    def vjp_x(self, g):
        """w.T: (C / groups * KH * KW, F / groups)   g: (F / groups, OH * OW * N)   -> columns, for each group"""
        rounded_w, rounded_g = round_to_int8(self.w), _rounded(self, g)
        groups, (channels, *window) = self.geometry[4], self.w.shape[1:]
        grad_x = np.empty(self.kept.q.shape, np.int32)
        parts = (np.split(array, groups) for array in (_rows(rounded_w.q), _rows(rounded_g.q), grad_x))
        for w_q, g_q, part in zip(*parts, strict=True):
            columns = int8_product(w_q.T, g_q).reshape(channels, *window, *rounded_g.q.shape[1:])
            kernels.add_columns(columns, *self.geometry[:4], part)
        return outermost(_scaled(crop_image(grad_x, *self.padding), rounded_w, rounded_g, g.dtype))

    def vjp_w(self, g):
        """g: (F / groups, OH * OW * N)   columns.T: (OH * OW * N, C / groups * KH * KW)   -> w, for each group"""
        rounded_g, groups = _rounded(self, g), self.geometry[4]
        parts = zip(np.split(_rows(rounded_g.q), groups), np.split(self.kept.q, groups), strict=True)
        sums = [int8_row_product(_rows(self._columns(x_q), 3), g_q).T for g_q, x_q in parts]
        return _scaled(np.concatenate(sums), rounded_g, self.kept, g.dtype).reshape(self.w.shape)

    def _columns(self, x):
        """(C, H, W, N) -> (C, KH, KW, OH, OW, N)"""
        stride_h, stride_w, dilation_h, dilation_w, _ = self.geometry
        window = self.w.shape[2:]
        out_h, out_w = output_size(x.shape[1:3], window, (stride_h, stride_w), (dilation_h, dilation_w))
        columns = np.empty((len(x), *window, out_h, out_w, x.shape[3]), x.dtype)
        for i, j in np.ndindex(*window):
            top, left = i * dilation_h, j * dilation_w
            rows = slice(top, top + stride_h * (out_h - 1) + 1, stride_h)
            columns[:, i, j] = x[:, rows, left : left + stride_w * (out_w - 1) + 1 : stride_w]
        return columns


def _rounded(op: Any, g: Array) -> Rounded:
    """Round g at random, batch innermost, once for both gradients."""
    if op.seen is None or op.seen[0] is not g:
        op.seen = g, round_to_int8(innermost(g), generator())
    return op.seen[1]


def _scaled(sums: Array, a: Rounded, b: Rounded, dtype: Any) -> Array:
    """Return what sums of products stand for."""
    return (sums * (a.scale * b.scale)).astype(dtype)


def _rows(x: Array, axes: int = 1) -> Array:
    """Join the first axes, and the others."""
    rows = int(np.prod(x.shape[:axes]))
    return x.reshape(rows, x.size // max(rows, 1))


class Int8Linear(nn.Linear):
    """`nn.Linear` with a backward pass in int8, see `to_int8_backward`. Where no gradient is recorded, it is the same."""

    def forward(self, x: Any) -> Tensor:
        """(..., in_features) -> (..., out_features)"""
        x, w = as_tensor(x), self.weight
        if not tape.recording() or x.ndim < 1 or x.shape[-1] != w.shape[1] or x.dtype != w.dtype:
            return super().forward(x)  # which also says what does not fit
        rows = x if x.ndim == 2 else x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
        out = apply(Int8LinearOp, rows, w, self.bias)
        return out if x.ndim == 2 else out.reshape(*x.shape[:-1], w.shape[0])


class Int8Conv2d(nn.Conv2d):
    """`nn.Conv2d` with a backward pass in int8, see `to_int8_backward`. Where no gradient is recorded, it is the same."""

    def forward(self, x: Any) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, OH, OW)"""
        x, w = as_tensor(x), self.weight
        settings = {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}
        if not tape.recording() or x.ndim != 4 or x.shape[1] != w.shape[1] * self.groups or x.dtype != w.dtype:
            return super().forward(x)  # which also says what does not fit
        size = (x.shape[2] + 2 * self.padding[0], x.shape[3] + 2 * self.padding[1])
        if min(output_size(size, w.shape[2:], self.stride, self.dilation)) < 1:
            return super().forward(x)
        return apply(Int8Conv2dOp, x, w, self.bias, **settings)


LAYERS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: Int8Linear, nn.Conv2d: Int8Conv2d}


def to_int8_backward(model: M) -> M:
    """Return a copy of a model whose Linear and Conv2d layers have a backward pass in int8.

    What it computes stays the same, to the bit, and so do parameters, their names and hooks. Rounding draws from
    `minigrad.random.generator()`, so that `manual_seed` makes a training repeatable.

    Args:
        model: it stays as it is. Layers of classes derived from Linear and Conv2d are left alone.

    Raises:
        ValueError: it has neither Linear nor Conv2d layers; or a convolution has so many filters that sums could leave int32.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> to_int8_backward(LeNet()).fc2
        Int8Linear(in_features=120, out_features=84, bias=True)
    """
    copied = copy.deepcopy(model)
    layers: dict[str, Any] = {name: module for name, module in copied.named_modules() if type(module) in LAYERS}
    if not layers:
        raise ValueError(f"to_int8_backward: {type(model).__name__} has no Linear or Conv2d layers")
    for name, layer in layers.items():
        _check_terms(name, layer)
        layer.__class__ = LAYERS[type(layer)]
    return copied


def _check_terms(name: str, layer: nn.Module) -> None:
    """Check that the gradient of a convolution's input, a sum over its filters and their taps, fits into int32."""
    if isinstance(layer, nn.Conv2d) and (terms := layer.weight.size // layer.in_channels) > MOST_TERMS:
        raise ValueError(
            f"to_int8_backward: {name or 'the layer'}: {terms:,} weights read each pixel, and a sum of more than "
            f"{MOST_TERMS:,} products of int8 could leave int32 (weight: {layer.weight.shape}); take fewer filters, or groups"
        )
