"""A frozen model computes what the model computes, to the bit, and says so where it cannot."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import DataLoader, Tensor, debug, freeze, kernels, nn, ops, tape
from minigrad import functional as F
from minigrad.compression.models import LeNet
from minigrad.compression.sparse import to_sparse
from minigrad.functional import fusion
from minigrad.nn.module import Buffer
from minigrad.ops.layout import innermost, outermost
from minigrad.tensor import apply

from .compression.random_models import random_model
from .sentences import raises


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def eager(model, x):
    with minigrad.no_grad(), fusion(False):
        return model.eval()(x).data


def steps(frozen, x):
    return [str(step) for step in frozen.steps(x)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000), images=st.sampled_from([1, 3, 8, 17]), dtype=st.sampled_from([np.float32, np.float64])
)
def test_it_gives_the_bits_of_the_model_for_new_values(seed, images, dtype):
    model = random_model(np.random.default_rng(seed), dtype)
    frozen = freeze(model)
    for number in range(3):
        x = normal(images, 2, 8, 8, seed=number, dtype=dtype)
        found = frozen(x)
        np.testing.assert_array_equal(found.data, eager(model, x))
        assert found.dtype == dtype
        assert not found.requires_grad


@pytest.mark.parametrize(("mode", "images"), [("compiled", 1), ("compiled", 64), ("compiled", 70), ("python", 2)])
def test_lenet_is_five_kernels(mode, images):
    model = LeNet()
    x = normal(images, 1, 28, 28)
    with kernels.use(mode):
        np.testing.assert_array_equal(freeze(model)(x).data, eager(model, x))
    assert steps(freeze(model), x) == [
        f"conv2d + relu + max_pool2d ({images}, 6, 12, 12)",
        f"conv2d + relu + max_pool2d ({images}, 16, 4, 4)",
        f"reshape ({images}, 256)",
        f"linear + relu ({images}, 120)",
        f"linear + relu ({images}, 84)",
        f"linear ({images}, 10)",
    ]


def test_a_sparse_model_keeps_its_kernels():
    model = LeNet()
    for parameter in model.parameters():
        parameter.data[...] *= normal(*parameter.shape) > 0.5
    sparse = to_sparse(model)
    x = normal(16, 1, 28, 28)
    frozen = freeze(sparse)
    np.testing.assert_array_equal(frozen(x).data, eager(sparse, x))
    assert steps(frozen, x)[:2] == [
        "sparse_conv2d + relu + max_pool2d (16, 6, 12, 12)",
        "sparse_conv2d + relu + max_pool2d (16, 16, 4, 4)",
    ]


class Chain(nn.Module):
    """Convolution, ReLU, pooling, of which the convolution's or the ReLU's result is read twice."""

    def __init__(self, twice=None, window=2, padding=0, bias=True):
        self.conv, self.twice, self.pool = nn.Conv2d(1, 2, 3, bias=bias), twice, (window, None, padding)

    def forward(self, x):
        y = self.conv(x)
        z = F.relu(y)
        pooled = F.max_pool2d(z, *self.pool).sum()
        return pooled + {None: 0, "conv": y, "relu": z}[self.twice] if self.twice else pooled


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Chain(), ["conv2d + relu + max_pool2d", "sum"]),
        (Chain(bias=False), ["conv2d + relu + max_pool2d", "sum"]),
        (Chain(window=3), ["conv2d + relu", "max_pool2d", "sum"]),
        (Chain(padding=1), ["conv2d + relu", "max_pool2d", "sum"]),
        (Chain("conv"), ["conv2d", "relu", "max_pool2d", "sum", "add"]),
        (Chain("relu"), ["conv2d + relu", "max_pool2d", "sum", "add"]),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.ReLU()), ["reshape", "linear + relu", "relu"]),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), ["relu", "max_pool2d"]),
    ],
)
def test_only_what_nobody_else_reads_is_put_together(model, expected):
    x, frozen = normal(4, 1, 8, 8), freeze(model)
    assert [step.rsplit(" (")[0] for step in steps(frozen, x)] == expected
    np.testing.assert_array_equal(frozen(x).data, eager(model, x))


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda x: x[:, :, ::2, ::-1],
        lambda x: outermost(innermost(x)),
        lambda x: x * np.float32(1e30),
        lambda x: np.where(x > 2, np.nan, np.where(x < -2, -np.inf, x)),
        lambda x: x[:0],
    ],
    ids=["strided", "batch_innermost", "large", "not_finite", "no_images"],
)
def test_any_memory_and_any_values_will_do(lay_out):
    model, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()), lay_out(normal(4, 2, 8, 8))
    frozen = freeze(model)
    frozen(normal(*x.shape))
    np.testing.assert_array_equal(frozen(x).data, eager(model, x))


def test_a_model_without_ops_gives_its_input():
    x = normal(3, 2)
    np.testing.assert_array_equal(freeze(nn.Sequential())(x).data, x)


def test_each_shape_and_dtype_is_traced_once():
    calls = []
    model = nn.Sequential(nn.Linear(4, 3))
    model.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0].shape))
    frozen = freeze(model)
    for images in (5, 2, 5, 2, 5):
        frozen(normal(images, 4))
    # Once to be traced, twice to be checked.
    assert calls == [(5, 4)] * 3 + [(2, 4)] * 3
    assert repr(frozen).splitlines() == [
        "Frozen: 2 shapes of input traced",
        "  float32 (5, 4)",
        "  -> linear (5, 3)",
        "  float32 (2, 4)",
        "  -> linear (2, 3)",
    ]


def test_later_training_does_not_reach_it_and_it_does_not_touch_the_model():
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).train()
    x = normal(5, 4)
    frozen = freeze(model)
    before = frozen(x).data.copy()
    model[0].weight.data[...] = 7
    np.testing.assert_array_equal(frozen(x).data, before)
    np.testing.assert_array_equal(frozen(normal(2, 4)).data[:, 0] != 7 * normal(2, 4).sum(axis=1), True)
    assert model[1].training
    assert list(frozen.parameters()) == []


def test_results_do_not_share_memory():
    frozen = freeze(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    first = frozen(normal(5, 4)).data
    copy = first.copy()
    second = frozen(normal(5, 4, seed=1)).data
    np.testing.assert_array_equal(first, copy)
    assert not np.shares_memory(first, second)


def test_values_that_no_later_step_reads_are_let_go():
    frozen = freeze(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Sigmoid(), nn.Linear(3, 2)))
    frozen(normal(5, 4))
    (plan,) = frozen._plans.values()
    assert [unread for *_, unread in plan.calls] == [[0], [1], [2], [3]]
    assert plan.values[:5] == [None] * 5


def test_evaluate_takes_it():
    model, images = LeNet(), normal(30, 1, 28, 28)
    loader = DataLoader(images, np.arange(30) % 10, 16)
    assert minigrad.evaluate(freeze(model), loader) == minigrad.evaluate(model, loader)


def test_observers_see_every_op():
    x, frozen = normal(4, 1, 8, 8), freeze(Chain())
    frozen(x)
    seen = []

    class Names(tape.Observer):
        def forward(self, op, arrays, settings, out, seconds):
            seen.append(op.name)

    with tape.observing(Names()):
        frozen(x)
    assert seen == ["conv2d", "relu", "max_pool2d", "sum"]
    with tape.observing(Names()):
        assert steps(frozen, normal(2, 1, 8, 8)) == ["conv2d + relu + max_pool2d (2, 2, 3, 3)", "sum ()"]
    with debug.detect_anomaly(), pytest.raises(minigrad.AnomalyError):
        frozen(np.full_like(x, np.inf))


def test_threads_do_not_meet():
    frozen, x = freeze(LeNet()), [normal(8, 1, 28, 28, seed=seed) for seed in range(4)]
    expected = [frozen(each).data.copy() for each in x]
    wrong = []

    def work(number):
        wrong.extend(1 for _ in range(50) if not np.array_equal(frozen(x[number]).data, expected[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Returns(nn.Module):
    """What a function makes of the input."""

    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


def of_values(x):
    """One way or another, by the values."""
    return x * 2 if x.data.mean() > 1 else x * 3


def past_the_tape(x):
    """A factor of which the tape does not know where it comes from."""
    return x * Tensor(np.abs(x.data))


def noisy(x):
    """Other numbers every time."""
    return x + np.random.default_rng().normal(size=x.shape)


def writes_into_its_input(x):
    """What an eager call gives too, but then x is another."""
    x.data *= 2
    return x.reshape(12)


class Counts(nn.Module):
    """Another number every time, in a buffer that the steps read."""

    def __init__(self):
        self.calls = Buffer(np.zeros(1, np.float32))

    def forward(self, x):
        self.calls[0] = self.calls.data[0] + 1
        return x + self.calls


@pytest.mark.parametrize(
    ("model", "mean"),
    [
        (Returns(of_values), 10),
        (Returns(past_the_tape), 10),
        (Returns(noisy), 10),
        (Returns(writes_into_its_input), 10),
        (Counts(), 10),
        # What a comparison with a tolerance would let pass: it is small, or beside infinity.
        (Returns(lambda x: of_values(x) * 1e-8), 10),
        (Returns(lambda x: F.concatenate([of_values(x), x * np.inf])), 10),
        # Noise is NaN in either way, so that only values like the input's tell.
        (Returns(lambda x: of_values(x - 7) + x.log().sum()), 9),
        # Another way, another shape.
        (Returns(lambda x: x[x > 10]), 10),
        (Returns(lambda x: of_values(x) if len(x.data[x.data > 10]) else x.sum()), 20),
    ],
)
def test_what_the_tape_does_not_see_is_refused(model, mean):
    frozen = freeze(model)
    for _ in range(2):
        with raises(
            ValueError,
            "freeze: replayed with other values, the steps do not give what the model gives: its forward depends on the "
            "values in a way that the tape does not see (an `if`, a comparison, `.data`, random numbers), or writes into "
            "its input or its buffers",
        ):
            frozen(normal(3, 4) + mean)


def test_zeros_are_no_excuse():
    """Values like the input's tell nothing if all are zero: noise does."""
    with pytest.raises(ValueError, match="replayed with other values"):
        freeze(Returns(lambda x: x * 2 if x.data.any() else x))(np.zeros((3, 4), np.float32))


def test_values_of_the_check_warn_of_nothing():
    x, logarithm = np.abs(normal(3, 4)), Returns(lambda x: (x * 100).log())
    np.testing.assert_array_equal(freeze(logarithm)(x).data, eager(logarithm, Tensor(x)))


def test_a_model_that_refuses_the_values_of_the_check_is_told_where_they_come_from():
    with pytest.raises(FloatingPointError, match="pixels") as caught:
        freeze(Returns(of_pixels))(np.abs(normal(3, 4)))
    assert caught.value.__notes__ == ["freeze: this was raised for random values, with which the steps are checked"]


def of_pixels(x):
    if x.data.min() < 0:
        raise FloatingPointError("pixels below 0")
    return x * 2


def test_an_integer_that_an_op_is_given_is_not_the_number_of_a_step():
    x = normal(3, 4)
    found = freeze(Returns(lambda x: apply(ops.Multiply, x + 1, 1)))(x)
    np.testing.assert_array_equal(found.data, x + 1)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (Returns(lambda x: Tensor(x.data * 2)), "Tensor"),
        (Returns(lambda x: x.data), "ndarray"),
        (Returns(lambda x: [x]), "list"),
        (nn.Sequential(freeze(nn.Linear(3, 3)), nn.Linear(3, 3)), "Tensor"),
    ],
)
def test_what_does_not_lead_back_to_the_input_is_refused(model, kind):
    with raises(
        ValueError,
        f"freeze: the tape does not lead from what the model returned ({kind}) back to its input; only one tensor that ops "
        "compute can be replayed: is there a tuple, `.data`, `no_grad` or a frozen part?",
    ):
        freeze(model)(normal(2, 3))


def test_integers_are_refused():
    with raises(TypeError, "freeze: the input must be floating point to be traced, got int64"):
        freeze(LeNet())(np.zeros((2, 1, 28, 28), np.int64))


def test_wrong_shapes_get_the_models_own_sentence():
    frozen = freeze(nn.Sequential(nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="linear: x has 5 features but w expects 4"):
        frozen(normal(2, 5))


def test_one_number_is_a_number_for_ops():
    """Ops get NumPy's numbers for arrays without axes, also in a replay."""
    kinds = []

    class Kind(ops.Op, name="kind_of_number", axes="(...) -> (...)", cost="0"):
        def forward(self, x):
            kinds.append(type(x))
            return x * 2

        def vjp_x(self, g):
            return g * 2

    try:
        frozen = freeze(Returns(lambda x: apply(Kind, x.sum())))
        assert frozen(normal(3)).shape == ()
    finally:
        del ops.TABLE["kind_of_number"]
    assert set(kinds) == {np.float32}


def test_functions_are_refused():
    with raises(TypeError, "freeze: expected a Module, got function"):
        freeze(lambda x: x * 2)
