"""Argument checks that several functions share. Each raises one sentence: the function, the shapes, the usual cause."""

import numpy as np

from minigrad.tensor import Tensor

Pair = int | tuple[int, int]

KERNEL_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
"""What kernels are compiled for."""


def check_axis(name: str, x: Tensor, axis: int) -> int:
    """Return the axis counted from 0."""
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{name}: axis {axis} does not exist in shape {x.shape}")
    return axis % x.ndim


def pair(name: str, what: str, value: Pair, least: int) -> tuple[int, int]:
    """Return (rows, columns), both `value` if it is one number."""
    if type(value) is int and value >= least:  # the first two are what nearly every call has
        return value, value
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) >= least:
        return value
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or any(not isinstance(v, int | np.integer) or v < least for v in both):
        raise ValueError(f"{name}: {what} must be one integer or two, each at least {least}; got {value!r}")
    return int(both[0]), int(both[1])


def check_bias(name: str, b: Tensor | None, w: Tensor) -> None:
    """Check that a bias has one value for each row of w."""
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"{name}: b must have shape ({w.shape[0]},), one value an output (b: {b.shape}, w: {w.shape})")


def check_dtypes(name: str, x: Tensor, w: Tensor, b: Tensor | None) -> None:
    """Check that input and parameters are all float32 or all float64."""
    dtype = x.dtype
    if dtype not in KERNEL_DTYPES or w.dtype != dtype or (b is not None and b.dtype != dtype):
        raise TypeError(
            f"{name}: x is {x.dtype}, w is {w.dtype}"
            + (f", b is {b.dtype}" if b is not None else "")
            + "; they must all be float32 or all float64: convert the data, e.g. x.astype(np.float32)"
        )


def check_kernel_dtype(name: str, x: Tensor) -> None:
    """Check that a kernel exists for x's type."""
    if x.dtype not in KERNEL_DTYPES:
        raise TypeError(f"{name}: x is {x.dtype}, expected float32 or float64; convert it, e.g. x.astype(np.float32)")
