"""Ops that round, and the gradients they pass straight through."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minigrad import functional as F
from minigrad.tensor import Tensor
from tests.ops.cases import ENGINE
from tests.ops.straight_through import DEFINITIONS

NUMBERS = arrays(np.float32, 12, elements=st.floats(-20, 20, width=32))


def test_every_op_that_passes_gradients_straight_through_states_what_they_are_of():
    assert set(DEFINITIONS) == {name for name, op in ENGINE.items() if "straight-through" in op.domain}


@given(NUMBERS, st.floats(0.0625, 4, width=32), st.integers(-3, 3))
def test_fake_quantize_by_its_definition_one_number_at_a_time(x, scale, zero):
    """Esser et al. 2020, equation 3, with the limits where numbers begin to round to beyond them."""
    low, high = -4, 3
    t, s = Tensor(x, requires_grad=True), Tensor(np.float32(scale), requires_grad=True)
    out = F.fake_quantize(t, s, zero, low, high)
    g = np.arange(1, 13, dtype=np.float32)
    out.backward(g)
    to_scale = 0.0
    for i, value in enumerate(x):
        v = np.float32(value) / np.float32(scale)
        q = round(float(v)) + zero
        expected, inside = (low, 0) if q < low else (high, 0) if q > high else (q, 1)
        assert out.data[i] == np.float32(scale) * (expected - zero)
        assert t.grad[i] == g[i] * inside
        to_scale += g[i] * ((round(float(v)) - float(v)) if inside else expected - zero)
    np.testing.assert_allclose(s.grad, to_scale, rtol=1e-4, atol=1e-3)
    assert out.dtype == t.grad.dtype == s.grad.dtype == np.float32


def test_ties_go_to_the_even_neighbour_as_in_quantize():
    out = F.fake_quantize(np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5]), 1.0, 1, low=-8, high=7)
    np.testing.assert_array_equal(out.data, [0, 2, 2, 0, -2, -2])


def test_the_largest_weight_at_the_very_limit_still_learns():
    w = np.float32([0.1, -0.3, 0.3])
    t = Tensor(w, requires_grad=True)
    F.fake_quantize(t, np.float32(0.3 / 127), low=-127, high=127).sum().backward()
    np.testing.assert_array_equal(t.grad, [1, 1, 1])


def test_the_gradient_of_the_scale_alone_is_scaled(rng):
    x, scale = (Tensor(a, requires_grad=True) for a in (rng.normal(size=20), np.float64(0.3)))
    gradients = []
    for factor in (1.0, 0.25):
        x.grad = scale.grad = None
        F.fake_quantize(x, scale, 0, -2, 1, factor).sum().backward()
        gradients.append((x.grad.copy(), scale.grad.copy()))
    np.testing.assert_array_equal(gradients[0][0], gradients[1][0])
    np.testing.assert_allclose(gradients[1][1], 0.25 * gradients[0][1])
    assert abs(gradients[0][1]) > 0.1


def test_scales_of_channels_get_their_own_gradients(rng):
    x, s = rng.normal(size=(3, 4, 2, 2)), rng.uniform(0.1, 0.3, (3, 1, 1, 1))
    together = Tensor(s, requires_grad=True)
    F.fake_quantize(x, together, low=-2, high=1).sum().backward()
    assert together.grad.shape == s.shape
    for channel in range(3):
        alone = Tensor(s[channel, 0, 0, 0], requires_grad=True)
        F.fake_quantize(x[channel], alone, low=-2, high=1).sum().backward()
        np.testing.assert_allclose(together.grad[channel, 0, 0, 0], alone.grad)


@given(NUMBERS)
def test_signs_pass_gradients_between_minus_one_and_one(x):
    t = Tensor(x, requires_grad=True)
    out = F.binary_sign(t)
    out.backward(np.full(12, 3.0))
    np.testing.assert_array_equal(out.data, [1 if value >= 0 else -1 for value in x])
    np.testing.assert_array_equal(t.grad, [3 if abs(value) <= 1 else 0 for value in x])


X = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(("call", "error", "sentence"), [
    (lambda: F.fake_quantize(X, np.float32(0)), ValueError, r"scale has 0.0, expected numbers above 0; has a learned one"),
    (lambda: F.fake_quantize(X, np.float32(np.nan)), ValueError, r"scale has nan, expected numbers above 0"),
    (lambda: F.fake_quantize(X, 1.0, low=2, high=1), ValueError, r"low is 2 and high 1, expected low <= high"),
    (lambda: F.fake_quantize(X, np.ones((2, 2, 3), np.float32)), ValueError,
     r"must broadcast against x without widening it \(x: \(2, 3\), scale: \(2, 2, 3\), zero_point: \(\)\)"),
    (lambda: F.fake_quantize(X, 1.0, np.zeros(2, int)), ValueError, r"without widening it .*zero_point: \(2,\)"),
    (lambda: F.fake_quantize(X, np.ones(3)), TypeError, r"scale is float64 and zero_point int64, expected float32, as x"),
    (lambda: F.fake_quantize(X, 1.0, np.zeros(3)), TypeError, r"zero_point float64, expected float32, as x, and integers"),
    (lambda: F.fake_quantize(np.ones(3, int), 1.0), TypeError, r"fake_quantize: x is int64, expected float32 or float64"),
    (lambda: F.binary_sign(np.ones(3, int)), TypeError, r"binary_sign: x is int64, expected float32 or float64"),
])  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
