"""Single numbers: inside, ops compute with NumPy's numbers; whoever looks finds an array."""

import operator
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import no_grad, tape
from minigrad.tensor import Tensor, watch


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_inside_and_arrays_outside(dtype):
    """Ops compute with NumPy's numbers where there are no axes; a tensor holds an array of the same dtype all the same."""
    x, seen = Tensor(np.array(3.0, dtype), requires_grad=True), []
    y = watch(x * x + x, seen.append) * 2
    y.backward()
    assert [type(a) for a in (y.data, x.grad, *seen)] == [np.ndarray] * 3
    assert [a.dtype for a in (y.data, x.grad, *seen)] == [dtype] * 3
    assert (y.item(), x.grad.item(), seen[0].item()) == (24.0, 14.0, 2.0)


STEPS = st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=25)


def run(steps, leaves):
    """Compute each step from two of the values before it; return the last value and the leaves."""
    values = [Tensor(x, requires_grad=needs) for x, needs in leaves]
    for sign, i, j in steps:
        x, y = values[i % len(values)], values[j % len(values)]
        values.append({"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[sign](x, y))
    return values[-1], values[: len(leaves)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(steps=STEPS, dtypes=st.tuples(*[st.sampled_from([np.float32, np.float64])] * 3))
def test_numbers_and_arrays_of_one_element_agree_to_the_bit(steps, dtypes):
    """The way of numbers against the way of arrays: values, gradients and dtypes, also where dtypes are mixed."""
    start = [(dtype(x), needs) for dtype, x, needs in zip(dtypes, (1.25, -0.7, 3.0), (True, True, False), strict=True)]
    with np.errstate(all="ignore"):
        number, leaves = run(steps, start)
        array, one_element = run(steps, [(np.array([x]), needs) for x, needs in start])
        assert number.requires_grad == array.requires_grad
        if number.requires_grad:
            number.backward()
            array.backward()
    assert (number.shape, number.ndim, number.size, number.dtype) == ((), 0, 1, array.dtype)
    np.testing.assert_array_equal(number.data, array.data[0])
    for x, y in zip(leaves, one_element, strict=True):
        assert (x.grad is None) == (y.grad is None)
        if x.grad is not None:
            assert (type(x.grad), x.grad.shape, x.grad.dtype) == (np.ndarray, (), y.grad.dtype)
            np.testing.assert_array_equal(x.grad, y.grad[0])


def test_the_array_that_was_looked_at_is_the_value_from_then_on():
    y = Tensor(3.0) * 2
    seen = y.data
    seen[()] = 10
    assert y.data is seen
    assert (y + 1).item() == 11
    for share in (Tensor.detach, Tensor):
        unseen = Tensor(3.0) * 2
        share(unseen).data[()] = 20
        assert unseen.item() == 20


@pytest.mark.parametrize("value", [2.0, np.float32(2), np.float64(2), np.int64(2), 2, True, np.array(2.0)])
def test_a_tensor_of_a_number_is_numpys_array_of_it(value):
    x = Tensor(value)
    assert (type(x.data), x.dtype, x.shape, x.item()) == (np.ndarray, np.asarray(value).dtype, (), value)
    with no_grad():
        computed = x * x
    for same in (pickle.loads(pickle.dumps(computed)), Tensor(computed)):  # noqa: S301
        assert (same.dtype, same.item()) == (computed.dtype, value * value)


def test_python_numbers_keep_float32():
    x = Tensor(np.float32(3), requires_grad=True)
    for y in (x + 1, 2.5 * x, 1 - x, x / 3, 1 / x):
        assert y.dtype == np.float32
        y.backward()
        assert x.grad.dtype == np.float32


def test_numbers_are_not_recorded_under_no_grad_and_are_seen_by_observers():
    class Count(tape.Observer):
        def __init__(self):
            self.forwards, self.backwards = [], []

        def forward(self, op, arrays, settings, out, seconds):
            self.forwards.append((op.name, type(out)))

        def backward(self, op, position, g, gradient, seconds):
            self.backwards.append((op.name, position, gradient.item()))

    x, y = Tensor(3.0, requires_grad=True), Tensor(4.0)
    with no_grad():
        assert not (x * y).requires_grad
    count = Count()
    with tape.observing(count):
        (y * x).backward()
    assert count.forwards == [("multiply", np.ndarray)]
    assert count.backwards == [("multiply", 1, 4.0)]


def test_a_number_that_was_written_over_is_noticed():
    x, y = Tensor(3.0, requires_grad=True), Tensor(4.0)
    product = x * y
    y *= 2
    with pytest.raises(RuntimeError, match=r"multiply used a tensor of shape \(\) that was written in place"):
        product.backward()
    assert x.grad is None
