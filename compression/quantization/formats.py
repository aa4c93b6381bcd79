"""Numbers as integers: r = S (q - Z), with a scale S and a zero point Z for a tensor, a channel or a group of weights.

    quantize    q = round(r / S) + Z, kept within [low, high]     ties go to the even neighbour, as NumPy's rint has it
    dequantize  r = S (q - Z)

Inside the range, from S (low - Z) to S (high - Z), the error is at most S / 2; beyond it, q stays at its limit. Zero is
always exact: q = Z.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minigrad.tensor import Array, Tensor

SMALLEST_SCALE = np.finfo(np.float32).tiny
"""Below this, float32 loses digits."""


@dataclass(frozen=True, eq=False)
class QuantParams:
    """How a tensor is quantized: r = S (q - Z). Arrays are kept as read-only copies.

    Attributes:
        scale: S, float32: () for a whole tensor; (C,) for each channel along `axis`; (C, ceil(K / group)) for groups of
            weights that follow each other among a channel's K, the last group being what is left.
        zero_point: Z, int32, of the same shape, from low to high.
        bits: 1 to 8.
        low, high: smallest and largest q; at most 2**bits values.
        axis: of the channels; None: one scale for all.
        group: how many weights share a scale; None: all of a channel.

    Raises:
        ValueError: a scale is not a positive number, a zero point is out of range, or the settings do not fit each other.

    Source:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
        2018, equation 1.

    Example:
        >>> params = QuantParams(0.5, 0, bits=4, low=-8, high=7)
        >>> quantize([0.6, 100.0], params)
        array([1, 7], dtype=int8)
    """

    scale: Any
    zero_point: Any
    bits: int = 8
    low: int = -128
    high: int = 127
    axis: int | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        check_bits("QuantParams", self.bits)
        scale, zero_point = np.array(self.scale, np.float32), np.array(self.zero_point, np.int32)
        axes = 0 if self.axis is None else 1 if self.group is None else 2
        if self.group is not None and (self.axis is None or self.group < 1):
            raise ValueError(
                f"QuantParams: groups of {self.group} along axis {self.axis}, expected 1 or more and an axis"
            )
        if scale.ndim != axes or zero_point.shape != scale.shape:
            raise ValueError(
                f"QuantParams: scale and zero_point must both have {axes} axes with axis={self.axis}, group={self.group} "
                f"(scale: {scale.shape}, zero_point: {zero_point.shape})"
            )
        if not (self.low <= self.high and self.high - self.low < 2**self.bits):
            raise ValueError(f"QuantParams: {self.low} to {self.high} does not fit into {self.bits} bits")
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("QuantParams: a scale is not a positive number; is the range empty, or were there NaNs?")
        if (zero_point < self.low).any() or (zero_point > self.high).any():
            raise ValueError(f"QuantParams: a zero point lies outside {self.low} to {self.high}; zero has no q then")
        for name, array in (("scale", scale), ("zero_point", zero_point)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def dtype(self) -> np.dtype:
        """Type of q: int8, or int16 for values such as 0 to 255."""
        return np.dtype(np.int8 if self.low >= -128 and self.high <= 127 else np.int16)

    @property
    def range(self) -> tuple[Array, Array]:
        """Smallest and largest number that can be told apart from its neighbours, float32, of the scale's shape."""
        return self.scale * (self.low - self.zero_point), self.scale * (self.high - self.zero_point)

    def spread(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Return scale and zero point for each element of a tensor, so that they broadcast against `shape`.

        Raises:
            ValueError: a tensor of that shape has other channels or groups.
        """
        if self.axis is None:
            return self.scale, self.zero_point
        if not -len(shape) <= self.axis < len(shape) or shape[self.axis] != len(self.scale):
            raise ValueError(
                f"quantize: {len(self.scale)} channels along axis {self.axis} do not fit a tensor of shape {shape}"
            )
        if self.group is None:
            column = tuple(-1 if i == self.axis % len(shape) else 1 for i in range(len(shape)))
            return self.scale.reshape(column), self.zero_point.reshape(column)
        order = _channels_first(shape, self.axis)
        size = int(np.prod(order[1:]))
        if self.scale.shape[1] != -(-size // self.group):
            raise ValueError(
                f"quantize: {self.scale.shape[1]} groups of {self.group} do not fit the {size} elements of a channel "
                f"(x: {shape})"
            )
        scale, zero_point = (
            np.moveaxis(np.repeat(a, self.group, axis=1)[:, :size].reshape(order), 0, self.axis)
            for a in (self.scale, self.zero_point)
        )
        return scale, zero_point


def quantize(x: Any, params: QuantParams) -> Array:
    """Return q = round(x / S) + Z, limited to low ... high. Ties go to the even neighbour; infinity saturates.

    Args:
        x: numbers, any shape.
        params: how.

    Returns:
        int8 of x's shape (int16 where low and high do not fit).

    Raises:
        ValueError: x has NaN, or other channels than params.

    Example:
        >>> quantize([-1.0, 0.0, 0.25, 1.0], weight_params([-1.0, 0.5], axis=None))
        array([-127,    0,   32,  127], dtype=int8)
    """
    x = as_array(x)
    scale, zero_point = params.spread(x.shape)
    # In float64, so that the quotient's own rounding moves nothing across a border between two q.
    q = np.rint(x / scale.astype(np.float64)) + zero_point
    if np.isnan(q).any():
        raise ValueError(f"quantize: x has NaN, which has no q (x: {x.shape}); did training diverge?")
    return np.clip(q, params.low, params.high).astype(params.dtype)


def dequantize(q: Array, params: QuantParams) -> Array:
    """Return r = S (q - Z), float32.

    Args:
        q: integers, any shape.
        params: how they were quantized.

    Example:
        >>> params = activation_params(0.0, 2.55)
        >>> dequantize(quantize([0.0, 1.0, 9.0], params), params)
        array([0.  , 1.  , 2.55], dtype=float32)
    """
    scale, zero_point = params.spread(np.shape(q))
    return (scale * (np.asarray(q, np.int32) - zero_point)).astype(np.float32)


def weight_params(
    w: Any, bits: int = 8, axis: int | None = 0, group: int | None = None, narrow: bool = True
) -> QuantParams:
    """Return the symmetric format whose range just holds the weights: Z = 0, so that pruned zeros stay zeros.

    Args:
        w: weights, any shape; a layer's are (F, ...), and axis 0 gives each filter its own scale.
        bits: 2 to 8.
        axis: of the channels; None: one scale for the tensor.
        group: weights of a channel that share a scale; None: all of them.
        narrow: use [-127, 127] rather than [-128, 127] (of 8 bits), so that -w is as exact as w.

    Returns:
        QuantParams. Where all weights are zero, any scale would do; S * high is 1 there.

    Raises:
        ValueError: bits out of range, no weights, or NaN or infinity among them.

    Example:
        >>> params = weight_params([[1.0, -0.2], [0.5, 0.1]], bits=4)
        >>> (params.scale * 7).round(6), params.low, params.high
        (array([1. , 0.5], dtype=float32), -7, 7)
    """
    check_bits("weight_params", bits)
    if bits == 1:
        raise ValueError("weight_params: 1 bit has no room for both signs beside zero; see `binarize`")
    w = as_array(w)
    if w.size == 0 or not np.isfinite(w).all():
        raise ValueError(
            f"weight_params: {'there are no weights' if w.size == 0 else 'a weight is NaN or infinite'} (w: {w.shape})"
        )
    if axis is None and group is not None:
        raise ValueError("weight_params: groups lie within channels; give an axis")
    high = 2 ** (bits - 1) - 1
    low = -high if narrow else -high - 1
    parts = grouped(w, axis, group).astype(np.float64)  # (C, groups, group)
    # The narrowest scale that reaches both ends.
    scale = np.maximum(parts.max(axis=2) / high, parts.min(axis=2) / low)
    scale = np.where(scale > 0, np.maximum(scale, SMALLEST_SCALE), 1 / high)
    scale = scale[0, 0] if axis is None else scale[:, 0] if group is None else scale
    return QuantParams(scale, np.zeros(np.shape(scale)), bits, low, high, axis, group)


def fit_weight_params(w: Any, bits: int = 8, axis: int | None = 0, group: int | None = None) -> QuantParams:
    """Return the symmetric, narrow format with the least squared error: of few bits, it pays to cut the largest weights off.

    For each scale, ranges of 0.02, 0.04 ... 1 times the one of `weight_params` are tried, and the best is taken.

    Args:
        w, bits, axis, group: as for `weight_params`.

    Raises:
        ValueError: as `weight_params`.

    Example:
        >>> w = np.append(np.linspace(-1, 1, 50), 4.0)[None]
        >>> [round(float(make(w, bits=3).range[1][0]), 2) for make in (weight_params, fit_weight_params)]
        [4.0, 2.64]
    """
    widest = weight_params(w, bits, axis, group)
    w = as_array(w).astype(np.float64)
    best, least = widest.scale, np.full(widest.scale.shape, np.inf)
    for share in np.arange(50, 0, -1) / 50:  # of equally good ones the widest
        params = replace(widest, scale=np.maximum(widest.scale * np.float32(share), SMALLEST_SCALE))
        errors = grouped((dequantize(quantize(w, params), params) - w) ** 2, axis, group).sum(axis=2)  # (C, groups)
        error = errors.reshape(widest.scale.shape)
        best, least = np.where(error < least, params.scale, best), np.minimum(error, least)
    return replace(widest, scale=best)


def activation_params(low: float, high: float, bits: int = 8) -> QuantParams:
    """Return the affine format for numbers from `low` to `high`, one scale for all.

    The range is widened to contain 0, and then moved by at most half a step, so that 0.0 has a q of its own: a ReLU
    and a padded border must be exact.

    Args:
        low, high: the range; see `observers`.
        bits: 1 to 8: q goes from -2**(bits - 1) to 2**(bits - 1) - 1.

    Raises:
        ValueError: bits out of range, a limit is not finite, low > high, or the range has no width.

    Source:
        TensorFlow Lite's choice of a zero point: of the two that keep one end of the range, the one that errs less.

    Example:
        >>> params = activation_params(0.0, 1.0)
        >>> print(f"{params.scale * 255:.4f}", params.zero_point)
        1.0000 -128
    """
    check_bits("activation_params", bits)
    if not (np.isfinite(low) and np.isfinite(high) and low <= high):
        raise ValueError(f"activation_params: {low} to {high} is no range; were the activations NaN, or none observed?")
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if high - low < SMALLEST_SCALE * 2**bits:
        raise ValueError(
            f"activation_params: the range {low} to {high} has no width; is the layer dead, or the input constant?"
        )
    first, last = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = float(np.float32((high - low) / (last - first)))
    # Either end can be kept exactly; what float rounds is relative to the size of the numbers.
    keep_low, keep_high = first - low / scale, last - high / scale
    error_low, error_high = abs(first) + abs(low / scale), abs(last) + abs(high / scale)
    zero_point = np.floor((keep_low if error_low < error_high else keep_high) + 0.5)
    return QuantParams(scale, np.clip(zero_point, first, last), bits, first, last)


def power_of_two(params: QuantParams) -> QuantParams:
    """Return the same format with each scale raised to the next power of two: multiplying by it is a shift of bits.

    The range only widens; Z stays.

    Example:
        >>> float(power_of_two(QuantParams(0.3, 0)).scale)
        0.5
    """
    mantissa, exponent = np.frexp(params.scale)  # mantissa * 2**exponent, mantissa in [0.5, 1)
    scale = np.ldexp(np.float32(1), np.where(mantissa == 0.5, exponent - 1, exponent))
    return QuantParams(scale, params.zero_point, params.bits, params.low, params.high, params.axis, params.group)


def grouped(w: Array, axis: int | None, group: int | None) -> Array:
    """Return weights as (C, groups, group): channels first, those that share a scale last; zeros fill the last group.

    Example:
        >>> grouped(np.ones((2, 5)), axis=0, group=3).shape
        (2, 2, 3)
    """
    rows = w.reshape(1, -1) if axis is None else np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1)
    size = rows.shape[1] if group is None else group
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % size)))
    return rows.reshape(len(rows), -1, size)


def check_bits(name: str, bits: int) -> None:
    """Check that bits is an integer from 1 to 8.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(bits, int | np.integer) or not 1 <= bits <= 8:
        raise ValueError(f"{name}: bits is {bits!r}, expected an integer from 1 to 8")


def as_array(x: Any) -> Array:
    """Return the numbers of a Tensor, an array or a list."""
    return np.asarray(x.data if isinstance(x, Tensor) else x)


def _channels_first(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    axis %= len(shape)
    return (shape[axis], *shape[:axis], *shape[axis + 1 :])
