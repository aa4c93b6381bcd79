"""Rounding that gradients pass: for training a model that will run with few bits."""

from typing import Any

import numpy as np

from minigrad import ops
from minigrad.functional.checks import check_kernel_dtype
from minigrad.tensor import Tensor, apply, as_tensor


def fake_quantize(
    input: Any, scale: Any, zero_point: Any = 0, low: int = -128, high: int = 127, grad_factor: float = 1.0
) -> Tensor:
    """Round to what integers of few bits can hold: scale * (q - zero_point), q = round(input / scale) + zero_point.

    q is limited to low ... high; ties go to the even neighbour. Gradients pass to the input where q is not limited (the
    straight-through estimator), and to the scale, if it requires one (learned step size); see `ops/quantize.py`.

    Args:
        input: x, (...), float.
        scale: of x's dtype, above 0; one number, or of a shape that broadcasts against x.
        zero_point: integers, likewise.
        low, high: smallest and largest q.
        grad_factor: by which the scale's gradient is multiplied; Esser et al. take 1 / sqrt(number of x * high).

    Returns:
        (...), as x.

    Raises:
        ValueError: shapes do not fit, a scale is not above 0, or low > high.
        TypeError: dtypes differ, or zero_point holds no integers.

    Source:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018;
        Esser et al., "Learned step size quantization", 2020.

    Example:
        >>> fake_quantize([0.3, -0.6, 9.0], scale=0.25, low=-8, high=7).data
        array([ 0.25, -0.5 ,  1.75])
    """
    x = as_tensor(input)
    check_kernel_dtype("fake_quantize", x)
    s, z = as_tensor(scale, like=x), as_tensor(zero_point)
    if s.dtype != x.dtype or z.dtype.kind not in "iu":
        raise TypeError(
            f"fake_quantize: scale is {s.dtype} and zero_point {z.dtype}, expected {x.dtype}, as x, and integers"
        )
    if not _fits(s.shape, x.shape) or not _fits(z.shape, x.shape):
        raise ValueError(
            f"fake_quantize: scale and zero_point must broadcast against x without widening it "
            f"(x: {x.shape}, scale: {s.shape}, zero_point: {z.shape})"
        )
    if not (s.data > 0).all():
        raise ValueError(
            f"fake_quantize: scale has {s.data.min()}, expected numbers above 0; has a learned one crossed 0?"
        )
    if low > high:
        raise ValueError(f"fake_quantize: low is {low} and high {high}, expected low <= high")
    return apply(ops.FakeQuantize, x, s, z, low=low, high=high, grad_factor=grad_factor)


def binary_sign(input: Any) -> Tensor:
    """1 where input >= 0, else -1; the gradient passes where |input| <= 1, as if it were min(max(input, -1), 1).

    Source:
        Hubara et al., "Binarized neural networks", 2016.

    Example:
        >>> x = Tensor([-2.0, -0.5, 0.0, 3.0], requires_grad=True)
        >>> binary_sign(x).data
        array([-1., -1.,  1.,  1.])
        >>> binary_sign(x).sum().backward()
        >>> x.grad
        array([0., 1., 1., 0.])
    """
    x = as_tensor(input)
    check_kernel_dtype("binary_sign", x)
    return apply(ops.BinarySign, x)


def _fits(shape: tuple[int, ...], x: tuple[int, ...]) -> bool:
    """Whether an array of `shape` broadcasts against one of shape x without widening it."""
    try:
        return np.broadcast_shapes(shape, x) == x
    except ValueError:
        return False
