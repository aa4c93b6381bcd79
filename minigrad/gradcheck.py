"""Compare gradients from the tape with finite differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.tensor import Array, Tensor

SHOWN_ROWS = 10


class GradcheckError(AssertionError):
    """A gradient from the tape differs from the finite difference; the message is a table of where."""


def gradcheck(
    fn: Callable[..., Tensor],
    inputs: Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-7,
    rtol: float = 1e-5,
    seed: int = 0,
) -> bool:
    """Check the gradients of `fn` at `inputs` by central differences, one input element at a time.

    The output is weighted with random numbers of unequal size, so that a gradient that is right only for equal weights
    (a transposed one, say) is caught.

    Args:
        fn: called as fn(*tensors), returns one Tensor.
        inputs: arrays or Tensors, float64: finite differences in float32 would drown in rounding. Integer arrays are
            passed through unchecked.
        eps: step of the difference.
        atol, rtol: a difference counts when it exceeds atol + rtol * |numeric|.
        seed: of the weights.

    Returns:
        True. It never returns anything else.

    Raises:
        GradcheckError: with a table of input, index, analytic, numeric and difference.
        TypeError: an input is float32 or float16, or none is floating point.

    Example:
        >>> gradcheck(lambda x, y: (x * y).sum(), [np.array([1.0, 2.0]), np.array([3.0, 4.0])])
        True
    """
    if isinstance(inputs, Tensor | np.ndarray):
        raise TypeError("gradcheck: inputs must be a list of arrays, one for each argument of fn: write [x], not x")
    arrays = [np.array(x.data if isinstance(x, Tensor) else x) for x in inputs]
    for position, x in enumerate(arrays):
        if x.dtype.kind == "f" and x.dtype != np.float64:
            raise TypeError(f"gradcheck: input {position} is {x.dtype}; finite differences need float64")

    if not any(x.dtype.kind == "f" for x in arrays):
        raise TypeError("gradcheck: no input is floating point, so there is no gradient to check; write 1.0, not 1")

    tensors = [Tensor(x.copy(), requires_grad=x.dtype.kind == "f") for x in arrays]
    out = fn(*tensors)
    cotangent = np.random.default_rng(seed).uniform(0.5, 2.0, out.shape)
    if out.requires_grad:
        out.backward(cotangent)

    rows: list[str] = []
    for position, x in enumerate(arrays):
        if x.dtype.kind != "f":
            continue
        analytic = tensors[position].grad
        analytic = np.zeros_like(x) if analytic is None else analytic
        numeric = numeric_gradient(fn, arrays, position, cotangent, eps)
        wrong = ~(np.abs(analytic - numeric) <= atol + rtol * np.abs(numeric))  # written so that NaN counts as wrong
        for index in map(tuple, np.argwhere(wrong)):
            difference = analytic[index] - numeric[index]
            place = str(tuple(int(i) for i in index))
            rows.append(
                f"{position:>5}  {place:<16}  {analytic[index]:>14.6e}  {numeric[index]:>14.6e}  {difference:>10.2e}"
            )
    if rows:
        head = f"{'input':>5}  {'index':<16}  {'analytic':>14}  {'numeric':>14}  {'difference':>10}"
        more = f"\n... and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
        raise GradcheckError(
            f"gradcheck: {len(rows)} gradient elements differ from finite differences\n"
            + "\n".join([head, *rows[:SHOWN_ROWS]])
            + more
        )
    return True


def numeric_gradient(
    fn: Callable[..., Tensor], arrays: Sequence[Array], position: int, cotangent: Array, eps: float = 1e-6
) -> Array:
    """Return d(sum(cotangent * fn(*arrays))) / d(arrays[position]) by central differences, float64."""

    def weighted(x: Array) -> float:
        values = fn(*[Tensor(x if i == position else a) for i, a in enumerate(arrays)])
        return float((values.data * cotangent).sum())

    x = arrays[position].copy()
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + eps
        above = weighted(x.copy())
        x[index] = value - eps
        below = weighted(x.copy())
        x[index] = value
        gradient[index] = (above - below) / (2 * eps)
    return gradient
