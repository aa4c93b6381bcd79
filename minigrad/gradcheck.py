"""Compare gradients from the tape with derivatives that need no tape: finite differences and the complex step."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba.core.errors import NumbaError

from minigrad.tensor import Array, Tensor

Method = Literal["central", "complex"]

TOLERANCES = {"central": (1e-7, 1e-5), "complex": (1e-12, 1e-12)}
"""(atol, rtol) where none are given."""

NAMES = {
    "central": "finite differences",
    "complex": "the complex step (which is right only if fn is analytic: no abs, no real part inside)",
}

COMPLEX_STEP = 1e-30
SHOWN_ROWS = 10


class GradcheckError(AssertionError):
    """A gradient is wrong, or fn breaks a rule that every differentiable function keeps; the message says which."""


def gradcheck(
    fn: Callable[..., Tensor],
    inputs: Sequence[Any],
    eps: float = 1e-6,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    *,
    method: Method = "central",
    fast: bool = False,
) -> bool:
    """Check the gradients of `fn` at `inputs` against derivatives that are computed without the tape.

    The output is weighted with random numbers of unequal size, so that a gradient that is right only for equal weights
    (a transposed one, say) is caught. Whatever the method, it is checked too that fn leaves its inputs alone, that the
    result is float64, that gradients have their inputs' shape and dtype, that a second run gives the same bits, and that
    a zero gradient of the result gives zero gradients.

    Args:
        fn: called as fn(*tensors), returns one Tensor, the same one each time: of a random function, set the seed inside.
        inputs: arrays or Tensors, float64: finite differences in float32 would drown in rounding. Integer arrays are
            passed through unchecked. fn is given the arrays as they lie in memory: a view is checked as a view.
        eps: step of the finite difference.
        atol, rtol: a difference counts when it exceeds atol + rtol * |numeric|. None: 1e-7 and 1e-5; for the complex
            step, both 1e-12.
        seed: of the weights and directions.
        method: "central", differences (f(x + eps) - f(x - eps)) / (2 eps), right to about eight digits; or "complex",
            Im f(x + ih) / h with h = 1e-30, which subtracts nothing and so is right to the last digits. It needs an fn
            that takes complex numbers and is analytic: no abs, no kernel (convolution, pooling, relu, linear).
        fast: compare one slope for each input, along a random direction, in place of every element: two calls of fn
            instead of two an element. For large inputs; it says which input is wrong, not where.

    Returns:
        True. It never returns anything else.

    Raises:
        GradcheckError: gradients differ, with a table of input, index, analytic, numeric and difference; or another
            check failed, with its sentence.
        TypeError: an input is float32 or float16, or none is floating point; or fn cannot take complex numbers.
        ValueError: the method is unknown.

    Source:
        Squire and Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40, 1998.

    Example:
        >>> gradcheck(lambda x, y: (x * y).sum(), [np.array([1.0, 2.0]), np.array([3.0, 4.0])])
        True
        >>> gradcheck(lambda x: x.exp().log(), [np.linspace(-1, 1, 5)], method="complex")
        True
        >>> gradcheck(lambda x: x.exp(), [np.zeros((100, 100))], fast=True)
        True
    """
    if method not in TOLERANCES:
        raise ValueError(f"gradcheck: method is {method!r}, expected 'central' or 'complex'")
    default_atol, default_rtol = TOLERANCES[method]
    atol, rtol = default_atol if atol is None else atol, default_rtol if rtol is None else rtol
    report = report_slopes if fast else report_elements
    report(compare(fn, inputs, eps, seed, method, fast), atol, rtol, method)
    return True


@dataclass(frozen=True)
class Comparison:
    """What the tape says of one input, and what a difference says.

    Attributes:
        position: the input's number.
        analytic, numeric: its gradients, float64, of the input's shape; or, in fast mode, slopes, of shape ().
    """

    position: int
    analytic: Array
    numeric: Array

    def wrong(self, atol: float, rtol: float) -> Array:
        """Where the two differ by more than atol + rtol * |numeric|, or either is NaN."""
        return ~(np.abs(self.analytic - self.numeric) <= atol + rtol * np.abs(self.numeric))


def compare(
    fn: Callable[..., Tensor],
    inputs: Sequence[Any],
    eps: float = 1e-6,
    seed: int = 0,
    method: Method = "central",
    fast: bool = False,
) -> list[Comparison]:
    """Do what `gradcheck` does, but return both gradients of each floating-point input, however much they differ.

    Raises:
        GradcheckError, TypeError: as `gradcheck`, but for differences.

    Example:
        >>> (x,) = compare(lambda x: x * x, [np.array(3.0)])
        >>> bool(abs(x.analytic - x.numeric) < 1e-7)
        True
    """
    arrays = _as_arrays(inputs)
    gradients, cotangent = _checked_gradients(fn, arrays, seed)
    rng = np.random.default_rng([seed, 1])  # not the weights' own numbers once more
    comparisons = []
    for position, analytic in gradients.items():
        slope = _slope_function(fn, arrays, position, cotangent, eps, method)
        if fast:
            direction = rng.uniform(0.5, 2.0, analytic.shape) * rng.choice([-1.0, 1.0], analytic.shape)
            analytic, numeric = (analytic * direction).sum(), slope(direction)
        else:
            numeric = _gradient(slope, analytic.shape)
        comparisons.append(Comparison(position, np.asarray(analytic), np.asarray(numeric)))
    return comparisons


def _as_arrays(inputs: Sequence[Any]) -> list[Array]:
    if isinstance(inputs, Tensor | np.ndarray):
        raise TypeError("gradcheck: inputs must be a list of arrays, one for each argument of fn: write [x], not x")
    arrays = [x.data if isinstance(x, Tensor) else np.asarray(x) for x in inputs]
    for position, x in enumerate(arrays):
        if x.dtype.kind == "f" and x.dtype != np.float64:
            raise TypeError(f"gradcheck: input {position} is {x.dtype}; finite differences need float64")
    if not any(x.dtype.kind == "f" for x in arrays):
        raise TypeError("gradcheck: no input is floating point, so there is no gradient to check; write 1.0, not 1")
    return arrays


def _checked_gradients(fn: Callable[..., Tensor], arrays: list[Array], seed: int) -> tuple[dict[int, Array], Array]:
    """Return the gradients by input, and the cotangent they belong to (the gradient of the result, its weights)."""

    def weights(shape: tuple[int, ...]) -> Array:
        return np.random.default_rng(seed).uniform(0.5, 2.0, shape)

    out, gradients = _run(fn, arrays, weights)
    again, second = _run(fn, arrays, weights)
    pairs = {"result": (out, again)} | {f"gradient of input {i}": (g, second[i]) for i, g in gradients.items()}
    for what, (one, other) in pairs.items():
        if not _same_bits(one, other):
            raise GradcheckError(
                f"gradcheck: a second run with the same inputs gives another {what}; "
                "is fn random, or does it change with each call? Set the seed inside fn"
            )
    for position, gradient in _run(fn, arrays, np.zeros)[1].items():
        for index in np.argwhere(~(gradient == 0))[:1]:  # NaN counts
            place = tuple(index.tolist())
            raise GradcheckError(
                f"gradcheck: where the result's gradient is zero, input {position} has gradient {gradient[place]} at "
                f"{place}; does a VJP add something that is not multiplied by g, or multiply by infinity or NaN?"
            )
    return gradients, weights(out.shape)


def _run(
    fn: Callable[..., Tensor], arrays: list[Array], cotangent: Callable[[tuple[int, ...]], Array]
) -> tuple[Array, dict[int, Array]]:
    """Run fn forward and backward once; return the result and the gradient of each floating-point input."""
    before = [x.copy() for x in arrays]
    tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    out = fn(*tensors)
    if not isinstance(out, Tensor):
        raise TypeError(f"gradcheck: fn returned {type(out).__name__}, expected one Tensor")
    _check_unchanged(arrays, before, "forward; compute a new array instead")
    if out.dtype != np.float64:
        raise GradcheckError(
            f"gradcheck: the result is {out.dtype} though the inputs are float64; "
            "is there an astype, or an array of another dtype, inside fn?"
        )
    if out.requires_grad:
        out.backward(cotangent(out.shape))
    _check_unchanged(arrays, before, "backward; does a VJP work in place on an array that forward kept?")
    gradients = {}
    for position, (x, t) in enumerate(zip(arrays, tensors, strict=True)):
        if not t.requires_grad:
            continue
        gradient = np.zeros_like(x) if t.grad is None else t.grad  # an input that fn ignores has none
        if gradient.shape != x.shape or gradient.dtype != x.dtype:
            raise GradcheckError(
                f"gradcheck: the gradient of input {position} is {gradient.dtype} of shape {gradient.shape}, "
                f"but the input is {x.dtype} of shape {x.shape}"
            )
        gradients[position] = gradient
    return out.data, gradients


def _check_unchanged(arrays: list[Array], before: list[Array], when: str) -> None:
    for position, (x, original) in enumerate(zip(arrays, before, strict=True)):
        if not _same_bits(x, original):
            x[...] = original  # the caller's array
            raise GradcheckError(f"gradcheck: fn wrote into input {position} in {when}")


def _same_bits(x: Array, y: Array) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()


def _slope_function(
    fn: Callable[..., Tensor], arrays: list[Array], position: int, cotangent: Array, eps: float, method: Method
) -> Callable[[Array], float]:
    """Return a function that gives the slope of sum(cotangent * fn) along a direction of one input."""
    start = arrays[position]

    def weighted(x: Array) -> Any:
        out = fn(*[Tensor(x if i == position else a) for i, a in enumerate(arrays)])
        return (out.data * cotangent).sum()

    def central(direction: Array) -> float:
        return float(weighted(start + eps * direction) - weighted(start - eps * direction)) / (2 * eps)

    def complex_step(direction: Array) -> float:
        # f(x + ih) = f(x) + ih f'(x) - h**2 f''(x) / 2 - ...: with an h this small the imaginary part is h f'(x).
        value = _call_with_complex(weighted, start + 1j * COMPLEX_STEP * direction, position)
        return float(value.imag) / COMPLEX_STEP

    return central if method == "central" else complex_step


def _gradient(slope: Callable[[Array], float], shape: tuple[int, ...]) -> Array:
    """Return the slopes along each element."""
    gradient, direction = np.zeros(shape), np.zeros(shape)
    for index in np.ndindex(shape):
        direction[index] = 1
        gradient[index] = slope(direction)
        direction[index] = 0
    return gradient


def _call_with_complex(weighted: Callable[[Array], Any], x: Array, position: int) -> Any:
    """Call weighted(x).

    Raises:
        TypeError: it refuses complex numbers, or drops their imaginary part.
    """
    instead = "check it by finite differences, gradcheck(..., method='central')"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            value = weighted(x)
    except (TypeError, ValueError, NumbaError, np.exceptions.ComplexWarning) as error:
        reason = str(error).strip().split("\n")[0]
        raise TypeError(f"gradcheck: fn cannot take complex numbers ({reason}); {instead}") from error
    if not np.iscomplexobj(value):
        raise TypeError(
            f"gradcheck: the result stays {value.dtype} when input {position} is complex: fn drops the imaginary part "
            f"(abs does) or does not depend on this input; {instead}"
        )
    return value


def report_elements(comparisons: list[Comparison], atol: float, rtol: float, method: Method) -> None:
    """Raise a table of the elements that differ, if any."""
    rows: list[str] = []
    for c in comparisons:
        for index in map(tuple, np.argwhere(c.wrong(atol, rtol)).tolist()):
            analytic, numeric = c.analytic[index], c.numeric[index]
            rows.append(
                f"{c.position:>5}  {index!s:<16}  {analytic:>14.6e}  {numeric:>14.6e}  {analytic - numeric:>10.2e}"
            )
    if rows:
        count = "1 gradient element differs" if len(rows) == 1 else f"{len(rows)} gradient elements differ"
        head = f"{'input':>5}  {'index':<16}  {'analytic':>14}  {'numeric':>14}  {'difference':>10}"
        more = [f"... and {len(rows) - SHOWN_ROWS} more"] if len(rows) > SHOWN_ROWS else []
        lines = [f"gradcheck: {count} from {NAMES[method]}", head, *rows[:SHOWN_ROWS], *more]
        raise GradcheckError("\n".join(lines))


def report_slopes(comparisons: list[Comparison], atol: float, rtol: float, method: Method) -> None:
    """Raise a sentence for each input whose slope differs, if any."""
    lines = [
        f"gradcheck: along a random direction of input {c.position} the slope is {c.analytic:.6e} by the gradient, "
        f"{c.numeric:.6e} by {NAMES[method]}: a difference of {c.analytic - c.numeric:.2e}"
        for c in comparisons
        if c.wrong(atol, rtol)
    ]
    if lines:
        raise GradcheckError("\n".join([*lines, "without fast=True, gradcheck says which elements differ"]))
