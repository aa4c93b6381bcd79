"""The checker checked: it must catch wrong gradients of every common kind."""

import numpy as np
import pytest

from minigrad import GradcheckError, gradcheck
from minigrad import functional as F
from minigrad.ops import TABLE
from minigrad.tensor import Tensor, apply

WRONG_VJPS = {
    "exp": lambda self, g: -g * self.out,  # the sign
    "log": lambda self, g: g * self.x,  # times for divided by
    "relu": lambda self, g: g,  # no kink
    "power": lambda self, g: g * self.x ** (self.exponent - 1),  # the factor in front
    "transpose": lambda self, g: np.ascontiguousarray(g).reshape(2, 3),  # the right shape, the wrong order
    "log_softmax": lambda self, g: g - np.exp(self.out) * g,  # the sum over classes
}

CALLS = {
    "power": {"exponent": 2},
    "transpose": {"axes": (1, 0)},
    "log_softmax": {"axis": 1},
}


@pytest.mark.parametrize("name", sorted(WRONG_VJPS))
def test_a_wrong_vjp_is_caught(name, monkeypatch):
    x = np.array([[0.3, -0.4, 1.2], [0.7, 0.2, -0.9]])
    if name == "log":
        x = np.abs(x)
    op = TABLE[name]
    assert gradcheck(lambda t: apply(op, t, **CALLS.get(name, {})), [x])
    monkeypatch.setattr(op, "vjps", (WRONG_VJPS[name],))
    with pytest.raises(GradcheckError):
        gradcheck(lambda t: apply(op, t, **CALLS.get(name, {})), [x])


def test_the_message_is_a_table(monkeypatch):
    monkeypatch.setattr(TABLE["exp"], "vjps", (lambda self, g: 0 * g,))
    with pytest.raises(GradcheckError) as caught:
        gradcheck(F.sum, [np.ones(3)]) and gradcheck(lambda x: x.exp(), [np.zeros((4, 3))])
    lines = str(caught.value).splitlines()
    assert lines[0] == "gradcheck: 12 gradient elements differ from finite differences"
    assert lines[1].split() == ["input", "index", "analytic", "numeric", "difference"]
    assert lines[2].split()[:3] == ["0", "(0,", "0)"]
    assert len(lines) == 2 + 10 + 1
    assert lines[-1] == "... and 2 more"


def test_a_gradient_of_nan_is_an_error(monkeypatch):
    monkeypatch.setattr(TABLE["exp"], "vjps", (lambda self, g: g * np.nan,))
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: x.exp(), [np.zeros(2)])


def test_a_function_that_ignores_its_input_has_gradient_zero():
    assert gradcheck(lambda x: Tensor(np.ones(2)), [np.ones(3)])
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: Tensor(x.data * 2), [np.ones(3)])


def test_float32_is_refused_and_integers_pass_through():
    with pytest.raises(TypeError, match="input 0 is float32; finite differences need float64"):
        gradcheck(F.relu, [np.ones(2, np.float32)])
    assert gradcheck(F.cross_entropy, [np.ones((2, 3)), np.array([0, 2])])
    with pytest.raises(TypeError, match="no input is floating point"):
        gradcheck(F.sum, [[1, 2]])


def test_inputs_are_left_alone():
    x = np.array([1.0, 2.0])
    gradcheck(lambda t: t * t, [x])
    np.testing.assert_array_equal(x, [1, 2])
