"""The checker checked: it must catch wrong gradients of every common kind."""

import numpy as np
import pytest

from minigrad import GradcheckError, gradcheck
from minigrad import functional as F
from minigrad.gradcheck import compare
from minigrad.ops import TABLE
from minigrad.ops.activation import SMALL
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


def one_op(name):
    """A function of one op, and an array that suits it."""
    x = np.array([[0.3, -0.4, 1.2], [0.7, 0.2, -0.9]])
    return lambda t: apply(TABLE[name], t, **CALLS.get(name, {})), np.abs(x) if name == "log" else x


@pytest.mark.parametrize("name", sorted(WRONG_VJPS))
def test_a_wrong_vjp_is_caught(name, monkeypatch):
    fn, x = one_op(name)
    assert gradcheck(fn, [x])
    monkeypatch.setattr(TABLE[name], "vjps", (WRONG_VJPS[name],))
    with pytest.raises(GradcheckError, match=r"gradient elements? differs? from finite differences\n"):
        gradcheck(fn, [x])


@pytest.mark.parametrize("name", sorted(WRONG_VJPS))
def test_a_wrong_vjp_is_caught_by_one_slope(name, monkeypatch):
    fn, x = one_op(name)
    assert gradcheck(fn, [x], fast=True)
    monkeypatch.setattr(TABLE[name], "vjps", (WRONG_VJPS[name],))
    with pytest.raises(
        GradcheckError, match=r"along a random direction of input 0 the slope is .* by finite differences: "
    ):
        gradcheck(fn, [x], fast=True)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", sorted(set(WRONG_VJPS) - {"relu"}))
def test_a_wrong_vjp_is_caught_by_the_complex_step(name, fast, monkeypatch):
    fn, x = one_op(name)
    assert gradcheck(fn, [x], method="complex", fast=fast)
    monkeypatch.setattr(TABLE[name], "vjps", (WRONG_VJPS[name],))
    with pytest.raises(GradcheckError, match=r"the complex step .which is right only if fn is analytic"):
        gradcheck(fn, [x], method="complex", fast=fast)


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


def test_the_fast_message_names_each_wrong_input(monkeypatch):
    multiply = TABLE["multiply"]
    x, y, z = np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([5.0, 6.0])
    monkeypatch.setattr(multiply, "vjps", (multiply.vjps[0], lambda self, g: g))
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x, y, z: x * y * z, [x, y, z], fast=True)
    lines = str(caught.value).splitlines()
    assert [line[:56] for line in lines[:-1]] == [
        "gradcheck: along a random direction of input 1 the slope",
        "gradcheck: along a random direction of input 2 the slope",
    ]
    assert lines[-1] == "without fast=True, gradcheck says which elements differ"


def test_fast_mode_takes_large_inputs_and_sees_a_single_wrong_element(monkeypatch):
    x = np.random.default_rng(0).normal(size=(300, 400))
    calls = []

    def fn(t):
        calls.append(1)
        return F.tanh(t)

    assert gradcheck(fn, [x], fast=True)
    assert len(calls) == 3 + 2

    def spoiled(self, g):
        gradient = g * (1 - self.out * self.out)
        gradient[17, 23] += 1
        return gradient * (g != 0)

    monkeypatch.setattr(TABLE["tanh"], "vjps", (spoiled,))
    with pytest.raises(GradcheckError):
        gradcheck(fn, [x], fast=True)


def test_a_gradient_of_nan_is_an_error(monkeypatch):
    def nan_for_one(self, g):
        return np.where(g == g.max(), np.nan, g) * (g != 0)

    monkeypatch.setattr(TABLE["exp"], "vjps", (nan_for_one,))
    for fast in (False, True):
        with pytest.raises(
            GradcheckError, match=r"where the result's gradient is zero, input 0 has gradient nan at \(0,\)"
        ):
            gradcheck(lambda x: x.exp(), [np.zeros(2)], fast=fast)
    monkeypatch.setattr(TABLE["exp"], "vjps", (lambda self, g: g * np.nan if g.any() else g,))
    for fast, sentence in ((False, "2 gradient elements differ"), (True, "the slope is nan by the gradient")):
        with pytest.raises(GradcheckError, match=sentence):
            gradcheck(lambda x: x.exp(), [np.zeros(2)], fast=fast)


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


def test_views_are_checked_as_views():
    strides = []

    def fn(t):
        strides.append(t.data.strides)
        return t * t

    x = np.arange(6.0)[::-2]
    assert gradcheck(fn, [x])
    assert strides[:3] == [(-16,)] * 3
    assert gradcheck(F.exp, [np.broadcast_to(1.0, (2, 3))])


# Every rule has a function that breaks it, and nothing else.


def writes_in_forward(t, n):
    t.data[0] += 1
    return t * 1


def writes_into_integers(t, n):
    n.data[-1] = 7
    return t * 1


def returns_float32(t, n):
    return Tensor(t.data.astype(np.float32))


_random = np.random.default_rng(5)


def random_result(t, n):
    return t * _random.normal()


def writes_in_backward(op, g):
    op.x *= 2
    return g * op.y


@pytest.mark.parametrize(
    ("fn", "sentence"),
    [
        (writes_in_forward, "fn wrote into input 0 in forward; compute a new array instead"),
        (writes_into_integers, "fn wrote into input 1 in forward"),
        (returns_float32, "the result is float32 though the inputs are float64; is there an astype"),
        (random_result, "a second run with the same inputs gives another result; is fn random"),
    ],
)
def test_a_function_that_breaks_a_rule(fn, sentence):
    x, n = np.array([1.0, 2.0]), np.array([1, 2])
    with pytest.raises(GradcheckError, match=f"^gradcheck: {sentence}"):
        gradcheck(fn, [x, n])
    np.testing.assert_array_equal(x, [1, 2])
    np.testing.assert_array_equal(n, [1, 2])


@pytest.mark.parametrize(
    ("vjp", "sentence"),
    [
        (writes_in_backward, "fn wrote into input 0 in backward; does a VJP work in place"),
        (
            lambda op, g: g * op.y * _random.normal(),
            "a second run with the same inputs gives another gradient of input 0; is fn random",
        ),
        (
            lambda op, g: g * op.y + (g == 0),
            r"where the result's gradient is zero, input 0 has gradient 1.0 at \(0,\); does a VJP add",
        ),
    ],
)
def test_a_gradient_that_breaks_a_rule(vjp, sentence, monkeypatch):
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert gradcheck(lambda a, b: a * b, [x, y])
    monkeypatch.setattr(TABLE["multiply"], "vjps", (vjp, TABLE["multiply"].vjps[1]))
    with pytest.raises(GradcheckError, match=f"^gradcheck: {sentence}"):
        gradcheck(lambda a, b: a * b, [x, y])
    np.testing.assert_array_equal(x, [1, 2])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda g: g.astype(np.float32), r"float32 of shape \(2, 1\)"),
        (lambda g: g.ravel(), r"float64 of shape \(2,\)"),
    ],
)
def test_a_gradient_of_another_dtype_or_shape(change, what, monkeypatch):
    """Ops cannot return one, since their base class checks; a tape with a mistake could."""
    original = TABLE["exp"].fit
    monkeypatch.setattr(TABLE["exp"], "fit", lambda self, *args: change(original(self, *args)))
    with pytest.raises(GradcheckError, match=f"the gradient of input 0 is {what}, but the input is float64 of shape"):
        gradcheck(F.exp, [np.ones((2, 1))])


def test_what_is_asked_for_must_exist():
    with pytest.raises(ValueError, match="method is 'symbolic', expected 'central' or 'complex'"):
        gradcheck(F.exp, [np.ones(2)], method="symbolic")
    with pytest.raises(TypeError, match=r"inputs must be a list of arrays, .* write .x., not x"):
        gradcheck(F.exp, np.ones(2))
    with pytest.raises(TypeError, match="fn returned ndarray, expected one Tensor"):
        gradcheck(lambda x: x.data, [np.ones(2)])


ANALYTIC = {
    "arithmetic": lambda x, y: (x - 3 * y) / (x * y + 2) + 1 / x - x**3 * y**-2,
    "elementwise": lambda x, y: F.exp(-x) * F.log(y) + F.sqrt(x) * F.tanh(y) + F.sigmoid(x * y) + F.gelu(x - y),
    "sums": lambda x, y: (x * y).mean(axis=0) * F.logsumexp(x + y, axis=1, keepdims=True) + x.var() * y.sum(),
    "shapes": lambda x, y: F.concatenate([x.T.reshape(2, -1), F.pad(y, [(0, 0), (2, 1)])], axis=1)[1:, ::-2],
    "products": lambda x, y: F.softmax(x @ y.T, axis=0, temperature=2.0),
    "pieces": lambda x, y: F.maximum(x, y) + F.clip(x, 0.7, 1.2) * F.leaky_relu(y - 1) + F.where(x > y, x, y * y),
    "losses": lambda x, y: F.cross_entropy(x * y, [1, 0]) + F.mse_loss(x, y) + F.bce_with_logits(x, y),
}


@pytest.mark.parametrize("name", sorted(ANALYTIC))
def test_the_complex_step_agrees_to_twelve_digits(name):
    x, y = np.random.default_rng(1).uniform(0.5, 1.5, (2, 2, 3))
    assert gradcheck(ANALYTIC[name], [x, y], method="complex")
    assert gradcheck(ANALYTIC[name], [x, y])
    for c in compare(ANALYTIC[name], [x, y], method="complex"):
        np.testing.assert_allclose(c.analytic, c.numeric, rtol=1e-12, atol=1e-14)


def test_the_complex_step_sees_what_finite_differences_do_not(monkeypatch):
    x = np.array([0.5, -1.0])
    monkeypatch.setattr(TABLE["exp"], "vjps", (lambda self, g: g * self.out * (1 + 1e-9),))
    assert gradcheck(F.exp, [x])
    with pytest.raises(GradcheckError, match="2 gradient elements differ from the complex step"):
        gradcheck(F.exp, [x], method="complex")
    assert gradcheck(F.exp, [x], method="complex", rtol=1e-8)


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (F.relu, r"cannot take complex numbers .relu: x is complex128, expected float32 or float64; convert"),
        (lambda x: F.linear(x, np.ones((4, 3))), "cannot take complex numbers .linear: x is complex128, w is float64"),
        (lambda x: F.max_pool2d(x.reshape(1, 1, 2, 3), 2), "cannot take complex numbers .max_pool2d: x is complex128"),
        (
            lambda x: Tensor(x.data.astype(float)),
            "cannot take complex numbers .Casting complex values to real discards",
        ),
        (lambda x: x * float(x.data[0, 0]), "cannot take complex numbers .*complex"),
        (F.abs, "the result stays float64 when input 0 is complex: fn drops the imaginary part .abs does. or does not"),
    ],
)
def test_functions_of_real_numbers_are_named_as_such(fn, reason):
    with pytest.raises(TypeError, match=f"^gradcheck: .*{reason}.*method='central'"):
        gradcheck(fn, [np.ones((2, 3))], method="complex")


def test_a_kernel_that_gets_complex_numbers_past_the_checks_is_named_too():
    with pytest.raises(TypeError, match="cannot take complex numbers"):
        gradcheck(lambda x: apply(TABLE["relu"], x), [np.ones(SMALL + 1)], method="complex")
