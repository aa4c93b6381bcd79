"""The public functions: shapes they give, sentences they refuse with, identities they obey."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad
from minigrad import functional as F
from minigrad import gradcheck
from minigrad.tensor import Tensor


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (zeros(64, 3, 28, 28), zeros(6, 1, 5, 5)),
            r"conv2d: x has C=3 channels but w expects C=1 \(x: \(64, 3, 28, 28\), w: \(6, 1, 5, 5\)\)",
        ),
        ((zeros(1, 28, 28), zeros(6, 1, 5, 5)), r"x must be \(N, C, H, W\) and w"),
        ((zeros(2, 1, 4, 4), zeros(6, 1, 5, 5)), r"a 5x5 kernel with dilation \(1, 1\) does not fit .* 4x4"),
        ((zeros(2, 1, 6, 6), zeros(6, 1, 5, 5), zeros(5)), r"b must have shape \(6,\).*b: \(5,\)"),
        ((zeros(2, 1, 6, 6), zeros(6, 1, 5, 5), None, 0), "stride must be one integer or two, each at least 1; got 0"),
        ((zeros(2, 1, 6, 6), zeros(6, 1, 5, 5), None, 1, -1), "padding must be .* at least 0; got -1"),
        ((zeros(2, 1, 6, 6), zeros(6, 1, 5, 5), None, (1, 2, 3)), r"stride must be .* got \(1, 2, 3\)"),
        ((zeros(2, 1, 6, 6), zeros(6, 1, 0, 5)), r"a filter without elements .x: \(2, 1, 6, 6\), w: \(6, 1, 0, 5\)"),
        ((zeros(2, 3, 6, 6), zeros(6, 1, 5, 5), None, 1, 0, 1, 2), "groups=2 does not divide C=3 and F=6"),
    ],
)
def test_conv2d_says_what_does_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        F.conv2d(*arguments)


@pytest.mark.parametrize("function", [F.conv2d, F.linear])
def test_mixed_and_integer_dtypes_are_refused(function):
    x, w = ((2, 1, 6, 6), (6, 1, 5, 5)) if function is F.conv2d else ((2, 3), (4, 3))
    with pytest.raises(TypeError, match=r"x is float64, w is float32; .* convert the data"):
        function(zeros(*x), zeros(*w, dtype=np.float32))
    with pytest.raises(TypeError, match="x is int64, w is int64"):
        function(zeros(*x, dtype=np.int64), zeros(*w, dtype=np.int64))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((zeros(2, 4, 4), 2), r"x must be \(N, C, H, W\) \(x: \(2, 4, 4\)\)"),
        ((zeros(1, 1, 4, 4), 5), "a window of 5x5 does not fit into a padded image of 4x4"),
        ((zeros(1, 1, 40, 40), 17), "over 256 places"),
        ((zeros(1, 1, 4, 4), 2, 1, 2), r"padding \(2, 2\) is more than half the window \(2, 2\)"),
    ],
)
def test_max_pool2d_says_what_does_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        F.max_pool2d(*arguments)
    with pytest.raises(TypeError, match="x is int64, expected float32 or float64"):
        F.max_pool2d(zeros(1, 1, 4, 4, dtype=np.int64), 2)


def test_max_pool_indices_reach_the_largest_window():
    x = np.zeros((1, 1, 16, 16))
    x[0, 0, 15, 15] = 1
    tensor = Tensor(x, requires_grad=True)
    F.max_pool2d(tensor, 16).backward()
    assert tensor.grad[0, 0, 15, 15] == 1
    assert tensor.grad.sum() == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (zeros(64, 400), zeros(120, 256)),
            r"linear: x has 400 features but w expects 256 \(x: \(64, 400\), w: \(120, 256\)\); are images not flattened",
        ),
        ((zeros(2, 3), zeros(4, 3), zeros(3)), r"b must have shape \(4,\)"),
        ((zeros(2, 3), zeros(3)), r"w expects shape \(out, in\)"),
    ],
)
def test_linear_says_what_does_not_fit(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        F.linear(*arguments)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4)])
def test_linear_takes_any_leading_axes(shape, rng):
    x, w, b = rng.normal(size=shape), rng.normal(size=(5, 4)), rng.normal(size=5)
    np.testing.assert_allclose(F.linear(x, w, b).data, x @ w.T + b, atol=1e-12)
    assert gradcheck(F.linear, [x, w, b])


@pytest.mark.parametrize(
    ("logits", "targets", "error", "sentence"),
    [
        (zeros(4, 3), [0, 1, 2], ValueError, r"be \(N, K\) and targets \(N,\) \(logits: \(4, 3\), targets: \(3,\)\)"),
        (zeros(4), [0], ValueError, r"logits: \(4,\)"),
        (zeros(2, 3), [0, 3], ValueError, "targets run from 0 to 3, but logits have 3 classes"),
        (zeros(2, 3), [-1, 0], ValueError, "targets run from -1 to 0"),
        (zeros(2, 3), [0.0, 1.0], TypeError, "targets must be integer class numbers, got float64"),
    ],
)  # fmt: skip
def test_cross_entropy_says_what_does_not_fit(logits, targets, error, sentence):
    with pytest.raises(error, match=sentence):
        F.cross_entropy(logits, np.array(targets))


def test_cross_entropy_reductions(rng):
    logits, targets = rng.normal(size=(4, 3)), np.array([0, 2, 1, 1])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    each = -np.log(p[np.arange(4), targets])
    np.testing.assert_allclose(F.cross_entropy(logits, targets, reduction="none").data, each, rtol=1e-12)
    np.testing.assert_allclose(F.cross_entropy(logits, targets, reduction="sum").data, each.sum(), rtol=1e-12)
    np.testing.assert_allclose(F.cross_entropy(logits, Tensor(targets)).data, each.mean(), rtol=1e-12)
    with pytest.raises(ValueError, match="reduction is 'avg', expected 'mean', 'sum' or 'none'"):
        F.cross_entropy(logits, targets, reduction="avg")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    logits=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(-1e4, 1e4)),
    shift=st.floats(-1e3, 1e3),
)
def test_softmax_is_a_distribution_that_a_shift_leaves_alone(logits, shift):
    p = F.softmax(logits, axis=1).data
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (p >= 0).all()
    np.testing.assert_allclose(F.softmax(logits + shift, axis=1).data, p, atol=1e-9)
    assert np.isfinite(F.log_softmax(logits, axis=1).data).all()
    losses = F.cross_entropy(logits, np.zeros(len(logits), int), reduction="none").data
    assert (losses >= 0).all()


def test_softmax_axis(rng):
    x = rng.normal(size=(2, 3))
    np.testing.assert_allclose(F.softmax(x, axis=0).data.sum(axis=0), 1)
    np.testing.assert_allclose(F.softmax(x).data.sum(axis=1), 1)
    with pytest.raises(ValueError, match=r"log_softmax: axis 2 does not exist in shape \(2, 3\)"):
        F.softmax(x, axis=2)


def test_flatten_joins_the_named_axes():
    x = zeros(2, 3, 4, 5)
    assert F.flatten(x).shape == (120,)
    assert F.flatten(x, 1).shape == (2, 60)
    assert F.flatten(x, 1, 2).shape == (2, 12, 5)
    assert F.flatten(np.float64(3)).shape == (1,)
    with pytest.raises(ValueError, match=r"flatten: axis 4 does not exist in shape \(2, 3, 4, 5\)"):
        F.flatten(x, 4)
    with pytest.raises(ValueError, match="start_dim 2 comes after end_dim 1"):
        F.flatten(x, 2, 1)


def test_flatten_of_batch_innermost_memory_copies_nothing(rng):
    x = np.moveaxis(rng.normal(size=(3, 4, 4, 8)), -1, 0)
    assert np.shares_memory(F.flatten(x, 1).data, x)


def test_sum_and_mean_as_functions(rng):
    x = rng.normal(size=(2, 3))
    np.testing.assert_allclose(F.sum(x, axis=0).data, x.sum(axis=0))
    np.testing.assert_allclose(F.mean(x, axis=1, keepdims=True).data, x.mean(axis=1, keepdims=True))


def test_empty_batches_go_through():
    assert F.conv2d(zeros(0, 1, 6, 6), zeros(2, 1, 3, 3)).shape == (0, 2, 4, 4)
    assert F.max_pool2d(zeros(0, 1, 6, 6), 2).shape == (0, 1, 3, 3)
    w = Tensor(zeros(2, 1, 3, 3), requires_grad=True)
    F.conv2d(zeros(0, 1, 6, 6), w, zeros(2)).sum().backward()
    np.testing.assert_array_equal(w.grad, 0)


def test_reductions_of_nothing():
    nothing = zeros(0, 4)
    assert F.sum(nothing).item() == 0
    assert F.logsumexp(nothing).item() == -np.inf
    np.testing.assert_array_equal(F.logsumexp(nothing, axis=0).data, [-np.inf] * 4)
    assert F.logsumexp(nothing, axis=1).shape == (0,)
    assert F.log_softmax(nothing, axis=0).shape == F.softmax(nothing, axis=1).shape == (0, 4)
    for loss in (
        lambda **s: F.cross_entropy(nothing, zeros(0, dtype=int), **s),
        lambda **s: F.mse_loss(nothing, nothing, **s),
    ):
        with pytest.raises(ValueError, match=r"(cross_entropy|mse_loss): an empty batch has no mean loss .losses: \(0"):
            loss()
        assert loss(reduction="sum").item() == 0


def test_joining_and_padding_are_numpys(rng):
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    np.testing.assert_array_equal(F.concatenate([x, y], axis=1).data, np.concatenate([x, y], axis=1))
    for axis in (0, 1, 2, -1):
        np.testing.assert_array_equal(F.stack([x, y], axis=axis).data, np.stack([x, y], axis=axis))
    np.testing.assert_array_equal(F.pad(x, [(1, 2), (0, 1)], 7).data, np.pad(x, [(1, 2), (0, 1)], constant_values=7))
    assert gradcheck(lambda a, b: F.stack([a, b, a], axis=1), [x, y])
    with pytest.raises(ValueError, match="no tensors to join"):
        F.concatenate([])
    with pytest.raises(ValueError, match=r"tensors must have one shape, got \[\(2, 3\), \(3,\)\]"):
        F.stack([x, y[0]])
    with pytest.raises(ValueError, match=r"expected .before, after., none negative, for each of 2 axes"):
        F.pad(x, [(1, -1), (0, 0)])
    with pytest.raises(ValueError, match=r"concatenate: shapes .* but axis 0, got \(2, 3\), \(2, 2\)"):
        F.concatenate([x, y[:, :2]])
    with pytest.raises(ValueError, match=r"concatenate: shapes .* but axis 0, got \(2,\), \(\)"):
        F.concatenate([x[:, 0], y[0, 0]])
    with pytest.raises(ValueError, match=r"concatenate: axis 2 does not exist in shape \(2, 3\)"):
        F.concatenate([x, y], axis=2)
    np.testing.assert_array_equal(F.pad(2.5, []).data, 2.5)


@pytest.mark.parametrize(
    ("ours", "numpys"),
    [
        (F.exp, np.exp), (F.log, np.log), (F.sqrt, np.sqrt), (F.abs, np.abs), (F.tanh, np.tanh),
        (lambda x: F.clip(x, 0.6, 1.4), lambda x: np.clip(x, 0.6, 1.4)),
        (lambda x: F.maximum(x, 1.0), lambda x: np.maximum(x, 1.0)),
        (lambda x: F.minimum(1.0, x), lambda x: np.minimum(x, 1.0)),
        (lambda x: F.where(x > 1, x, 0.0), lambda x: np.where(x > 1, x, 0.0)),
        (lambda x: F.logsumexp(x, axis=0), lambda x: np.log(np.exp(x).sum(axis=0))),
        (F.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
        (lambda x: F.relu6(4 * x), lambda x: np.clip(4 * x, 0, 6)),
        (lambda x: F.leaky_relu(x - 1, 0.2), lambda x: np.where(x > 1, x - 1, 0.2 * (x - 1))),
    ],
)  # fmt: skip
def test_functions_are_numpys_and_keep_float32(ours, numpys, rng):
    x = rng.uniform(0.5, 2.0, (3, 4))
    np.testing.assert_allclose(ours(Tensor(x)).data, numpys(x), rtol=1e-12)
    assert ours(Tensor(x.astype(np.float32))).dtype == np.float32


def test_integers_are_promoted_where_numpy_promotes_them_and_refused_by_kernels():
    np.testing.assert_allclose(F.softmax([1, 2, 3]).data.sum(), 1)
    assert F.cross_entropy([[1, 2]], [0]).item() > 1
    for dtype in (np.float16, np.longdouble, ">f4", np.int64):
        with pytest.raises(TypeError, match="expected float32 or float64"):
            F.relu(np.ones(3, dtype))
    with pytest.raises(TypeError, match="must all be float32 or all float64"):
        F.linear(np.ones((1, 2), np.float16), np.ones((3, 2), np.float16))
    half = Tensor(np.ones((2, 2), np.float16))
    assert (half @ half).dtype == np.float16


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: F.cross_entropy(x, np.array([0, 2, 1])),
        lambda x: F.cross_entropy(x, np.array([0, 2, 1]), label_smoothing=0.1),
        lambda x: F.cross_entropy(x, np.full((3, 4), 0.25), label_smoothing=0.2, reduction="sum"),
        lambda x: F.nll_loss(F.log_softmax(x), np.array([0, 2, 1])),
        lambda x: F.kl_div(F.log_softmax(x), np.array([[0.5, 0.5, 0, 0]] * 3), reduction="batchmean"),
        lambda x: F.kl_div(np.log(np.full((3, 4), 0.25)), F.softmax(x), reduction="none"),
        lambda x: F.mse_loss(x, np.ones((3, 4))),
        lambda x: F.bce_with_logits(x, np.eye(3, 4), reduction="none"),
        lambda x: F.squared_hinge(x, 2 * np.eye(3, 4) - 1),
        lambda x: F.softmax(x, axis=0, temperature=3.0),
        lambda x: F.adaptive_avg_pool2d(x.reshape(1, 1, 3, 4), (2, 3)),
        lambda x: F.batch_norm(x, None, None, np.ones(4, x.dtype), np.zeros(4, x.dtype)),
        lambda x: F.flatten(F.avg_pool2d(x.reshape(1, 1, 3, 4), 2, 1)),
    ],
)
def test_gradients_of_what_is_built_from_ops(loss, rng):
    x = rng.normal(size=(3, 4))
    assert gradcheck(loss, [x])
    assert loss(Tensor(x.astype(np.float32), requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("function", "x", "slope"),
    [
        (F.relu, 0.0, 0),
        (F.relu6, 0.0, 0),
        (F.relu6, 6.0, 0),
        (lambda x: F.leaky_relu(x, 0.2), 0.0, 0.2),
        (F.abs, 0.0, 0),
        (lambda x: F.clip(x, -1, 2), -1.0, 1),
        (lambda x: F.clip(x, -1, 2), 2.0, 1),
        (lambda x: F.maximum(x, 1.0), 1.0, 0.5),
        (lambda x: F.maximum(1.0, x), 1.0, 0.5),
        (lambda x: F.minimum(x, 1.0), 1.0, 0.5),
    ],
)
def test_slopes_at_kinks_are_what_the_docstrings_say(function, x, slope):
    tensor = Tensor([x], requires_grad=True)
    function(tensor).backward()
    np.testing.assert_array_equal(tensor.grad, [slope])


def test_losses_say_what_does_not_fit():
    for loss in (F.kl_div, F.mse_loss, F.bce_with_logits, F.squared_hinge):
        with pytest.raises(ValueError, match=r"must have one shape \(input: \(2, 3\), target: \(3,\)\)"):
            loss(zeros(2, 3), zeros(3))
    with pytest.raises(ValueError, match="a target is negative"):
        F.kl_div(zeros(1, 2), np.array([[-0.1, 1.1]]))
    with pytest.raises(ValueError, match=r"label_smoothing is 1.5, expected 0 to 1"):
        F.cross_entropy(zeros(1, 2), np.array([0]), label_smoothing=1.5)
    with pytest.raises(ValueError, match="reduction is 'batch', expected"):
        F.mse_loss(zeros(2), zeros(2), reduction="batch")
    for temperature in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"temperature is {temperature}, expected a number above 0"):
            F.softmax(zeros(2), temperature=temperature)


def test_kl_of_a_distribution_with_itself_is_zero_and_averages_over_the_batch_only(rng):
    p = F.softmax(rng.normal(size=(5, 10))).data
    q = F.softmax(rng.normal(size=(5, 10))).data
    assert F.kl_div(np.log(p), p, reduction="batchmean").item() == pytest.approx(0, abs=1e-12)
    expected = (p * np.log(p / q)).sum() / 5
    assert F.kl_div(np.log(q), p, reduction="batchmean").item() == pytest.approx(expected)
    assert F.kl_div(np.log(q), p).item() == pytest.approx(expected / 10)


def test_dropout_keeps_the_mean_and_the_seed_decides(rng):
    x = np.ones((200, 200), np.float32)
    minigrad.manual_seed(3)
    out = F.dropout(x, 0.25)
    minigrad.manual_seed(3)
    np.testing.assert_array_equal(F.dropout(x, 0.25).data, out.data)
    assert out.dtype == np.float32
    assert set(np.unique(out.data).tolist()) == {0.0, np.float32(4 / 3)}
    assert out.data.mean() == pytest.approx(1, abs=0.02)
    assert not F.dropout(x, 1.0).data.any()
    np.testing.assert_array_equal(F.dropout(x, 0.5, training=False).data, x)
    t = Tensor(x, requires_grad=True)
    y = F.dropout(t, 0.5)
    y.sum().backward()
    np.testing.assert_array_equal(t.grad, y.data)
    with pytest.raises(ValueError, match=r"p is 1.5, expected 0 to 1"):
        F.dropout(x, 1.5)


def test_batch_norm_says_what_does_not_fit():
    one = np.ones(3)
    with pytest.raises(ValueError, match=r"x must be \(N, C, ...\) and w \(C,\) \(x: \(2, 4\), w: \(3,\)\)"):
        F.batch_norm(zeros(2, 4), None, None, one, one)
    with pytest.raises(ValueError, match="needs two values or more a channel, got 1"):
        F.batch_norm(zeros(1, 3), None, None, one, one)


def test_pooling_by_means():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(F.avg_pool2d(x, 2).data[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(F.avg_pool2d(x, 2, padding=1).data[0, 0, 0], [0, 0.75, 0.75])
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, 1).data, x.mean((2, 3), keepdims=True))
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, (4, 4)).data, x)
    row = np.array([1.0, 2, 4, 8, 16])
    thirds = [1.5, 14 / 3, 12]  # pixels 0 and 1, 1 to 3, 3 and 4
    np.testing.assert_allclose(F.adaptive_avg_pool2d(row.reshape(1, 1, 1, 5), (1, 3)).data[0, 0, 0], thirds)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(row.reshape(1, 1, 5, 1), (3, 1)).data[0, 0, :, 0], thirds)
    with pytest.raises(ValueError, match=r"adaptive_avg_pool2d: x must be \(N, C, H, W\)"):
        F.adaptive_avg_pool2d(zeros(3, 3), 1)


def test_max_pool2d_never_chooses_the_padding():
    x = -np.arange(1.0, 5.0).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(F.max_pool2d(x, 2, padding=1).data[0, 0], x[0, 0])


def test_padding_is_bounded_on_each_axis():
    for window, padding in (((4, 2), (0, 2)), ((2, 4), (2, 0))):
        for pool in (F.max_pool2d, F.avg_pool2d):
            with pytest.raises(ValueError, match="is more than half the window"):
                pool(zeros(1, 1, 8, 8), window, padding=padding)
            assert pool(zeros(1, 1, 8, 8), (4, 4), padding=(2, 2)).shape == (1, 1, 3, 3)


def test_batch_norm_uses_what_it_is_given_in_evaluation(rng):
    x, mean, var = rng.normal(size=(4, 3)), rng.normal(size=3), rng.uniform(1, 2, 3)
    w, b = rng.normal(size=3), rng.normal(size=3)
    before = mean.copy(), var.copy()
    out = F.batch_norm(x, mean, var, w, b, eps=0.5)
    np.testing.assert_allclose(out.data, (x - mean) / np.sqrt(var + 0.5) * w + b)
    np.testing.assert_array_equal(before, (mean, var))
