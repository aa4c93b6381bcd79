"""The gradient-check matrix: every op in every column of `variants.py`, in float64 and in float32.

float64 is compared with finite differences, and with the complex step where the op takes complex numbers; float32 with
float64. Whatever cannot be is called all the same, and must raise its sentence.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from minigrad.gradcheck import TOLERANCES, Comparison, compare, report_elements
from minigrad.tape import topological_order
from minigrad.tensor import Tensor
from tests.ops.cases import Case
from tests.ops.straight_through import straight_through
from tests.ops.variants import Refusal, public, row, takes_one_array

DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class Cell:
    """What came out of one op in one column and one dtype: nothing that should not.

    Attributes:
        error: the largest difference of two gradients, |a - b| / (1 + |b|); None if every call is refused.
        refusals: the errors of calls that cannot be, "ValueError: linear: x has no features ...".
    """

    error: float | None
    refusals: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """One call of an op's public function, with arrays that lie in memory as the column says."""

    name: str
    column: str
    case: Case

    def arrays(self, dtype):
        inputs = map(np.asarray, self.case.inputs)
        return [self._laid_out(x.astype(dtype) if x.dtype.kind == "f" else x) for x in inputs]

    def __call__(self, *inputs):
        return self.reshaped(public(self.name)(*inputs, **self.case.settings))

    def reshaped(self, out):
        """What the column makes of the result."""
        if self.column == "non-contiguous":
            return out.T  # the gradient arrives in another order too
        return out.sum() if self._stretched else out  # ... and with strides of 0

    @property
    def _stretched(self):
        return self.column == "broadcast" and takes_one_array(self.name)

    def _laid_out(self, x):
        if x.ndim == 0:
            return x
        if self.column == "non-contiguous":  # the first axis innermost, and gaps between all elements
            view = np.zeros((*x.shape[::-1], 2), x.dtype)[..., 0].T
            view[...] = x
            return view
        if self.column == "negative strides":
            return np.flip(np.flip(x).copy())
        return np.broadcast_to(x[:1], x.shape) if self._stretched else x


def check_cell(name, column, dtype):
    """Check one op in one column and one dtype, and return its Cell.

    Raises:
        AssertionError: a gradient is wrong; or a call that must be refused is not, or in other words.
        LookupError: the op has no row.
    """
    check = _float64_error if dtype == "float64" else _float32_error
    errors, refusals = [], []
    for item in row(name, column):
        if isinstance(item, Refusal):
            refusals.append(_check_refusal(name, item, dtype))
        else:
            errors.append(check(Trial(name, column, item)))
    return Cell(max(errors, default=None), tuple(refusals))


@cache
def takes_complex(name):
    """Return whether the complex step can check an op."""
    trial = next(Trial(name, "usual", item) for item in row(name, "usual") if isinstance(item, Case))
    try:
        _compare(trial, trial.arrays(np.float64), method="complex")
    except TypeError:
        return False
    return True


def _compare(trial, arrays, **settings):
    """Compare gradients with slopes; those of an op that rounds, with the slopes of its straight-through definition."""
    return compare(straight_through(trial.name, trial.case, trial, trial.reshaped), arrays, **settings)


def _float64_error(trial):
    """Check values against those of plain memory and gradients against differences; return the largest difference."""
    arrays = trial.arrays(np.float64)
    out = trial(*[Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays])
    used = {node.op.name for node in topological_order(out) if node.op is not None}
    assert trial.name in used, f"{trial.name} was not used, but {used}"
    plain = trial(*[Tensor(x.copy(order="C")) for x in arrays])
    np.testing.assert_allclose(out.data, plain.data, rtol=1e-12, atol=1e-12)
    if takes_complex(trial.name):
        report_elements(_compare(trial, arrays, method="complex"), *TOLERANCES["complex"], "complex")
    comparisons = _compare(trial, arrays)
    report_elements(comparisons, *TOLERANCES["central"], "central")
    return max(map(_largest, comparisons))


def _float32_error(trial):
    """Check that result and gradients are float32, and float64's up to rounding; return the largest difference."""
    results = []
    for dtype in (np.float32, np.float64):
        tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in trial.arrays(dtype)]
        out = trial(*tensors)
        assert out.dtype == dtype, f"{trial.name}: the result is {out.dtype}, from {np.dtype(dtype)}"
        out.backward(np.random.default_rng(0).uniform(0.5, 2.0, out.shape))
        results.append((out.data, [t.grad for t in tensors if t.requires_grad]))
    (out32, gradients32), (out64, gradients64) = results
    np.testing.assert_allclose(out32, out64, rtol=1e-4, atol=1e-5)
    for single, double in zip(gradients32, gradients64, strict=True):
        assert single.dtype == np.float32, f"{trial.name}: a gradient is {single.dtype}, from float32"
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)
    return max(_largest(Comparison(0, *pair)) for pair in zip(gradients32, gradients64, strict=True))


def _largest(c):
    return float((np.abs(c.analytic - c.numeric) / (1 + np.abs(c.numeric))).max(initial=0.0))


def _check_refusal(name, refusal, dtype):
    """Check that the call raises its error, word by word; return both."""
    trial, raised = Trial(name, "usual", refusal.case), None
    try:
        trial(*map(Tensor, trial.arrays(dtype)))
    except refusal.error as error:
        raised = error
    assert raised is not None, f"{name}: nothing was raised, expected: {refusal.sentence}"
    assert str(raised) == refusal.sentence, f"{name} raised: {raised}"
    return f"{type(raised).__name__}: {raised}"
