"""What the peephole merges must equal the separate ops, bit for bit, and must not show otherwise."""

import numpy as np
import pytest

from minigrad import Tensor, nn, no_grad, tape
from minigrad import functional as F
from minigrad.functional.peephole import Waiting

GEOMETRIES = [
    ({}, {"kernel_size": 2}),
    ({"padding": 1, "stride": 2}, {"kernel_size": 3, "stride": 1}),
    ({"dilation": 2, "padding": (1, 2)}, {"kernel_size": (1, 2), "stride": (2, 1)}),
    ({"groups": 2}, {"kernel_size": 3, "stride": 2}),
    ({}, {"kernel_size": 3, "stride": 2, "padding": 1}),
]


def arrays(rng, images, dtype, groups=1):
    x = rng.normal(size=(images, 4, 11, 12)).astype(dtype)
    w, b = rng.normal(size=(6, 4 // groups, 3, 3)).astype(dtype), rng.normal(size=6).astype(dtype)
    return x, w, b


def run(x, w, b, conv, pool):
    return F.max_pool2d(F.relu(F.conv2d(x, w, b, **conv)), **pool)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("images", [1, 7, 16, 64, 70])
@pytest.mark.parametrize(("conv", "pool"), GEOMETRIES)
def test_training_gives_the_same_bits_with_and_without(conv, pool, images, dtype, rng):
    x, w, b = arrays(rng, images, dtype, conv.get("groups", 1))
    results = []
    for on in (True, False):
        tensors = [Tensor(a, requires_grad=True) for a in (x, w, b)]
        with F.fusion(on):
            out = run(*tensors, conv, pool)
        out.backward(np.linspace(-1, 1, out.size).reshape(out.shape))
        results.append([out.data, *(t.grad for t in tensors)])
    for fused, separate in zip(*results, strict=True):
        np.testing.assert_array_equal(fused, separate)
        assert fused.dtype == dtype


@pytest.mark.parametrize("images", [1, 7, 16, 64, 70, 130])
@pytest.mark.parametrize(("conv", "pool"), GEOMETRIES)
def test_inference_gives_the_same_bits_with_and_without(conv, pool, images, rng):
    x, w, b = arrays(rng, images, np.float32, conv.get("groups", 1))
    x[0, 0, 3, 3] = np.nan
    with no_grad():
        separate = run(x, w, b, conv, pool).data
        with F.fusion():
            fused = run(x, w, b, conv, pool)
            no_bias = run(x, w, None, conv, pool)
    np.testing.assert_array_equal(fused.data, separate)
    np.testing.assert_array_equal(no_bias.data, run(x, w, None, conv, pool).data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("images", [0, 1, 7, 64, 300])
def test_linear_and_relu_give_the_same_bits_with_and_without(images, dtype, rng):
    x, w, b = (rng.normal(size=shape).astype(dtype) for shape in ((images, 9), (70, 9), 70))
    x[:1, 3], w[5], b[5] = np.nan, 0, 0
    for bias in (b, None):
        with no_grad():
            separate = F.relu(F.linear(x, w, bias)).data
            with F.fusion():
                waiting = F.linear(x, w, bias)
                assert isinstance(waiting, Waiting)
                assert waiting.shape == (images, 70)
                fused = F.relu(waiting).data
                assert waiting.call is not None  # relu did not need it
        np.testing.assert_array_equal(fused, separate)
        np.testing.assert_array_equal(waiting.data, F.linear(x, w, bias).data)
        assert fused.dtype == dtype


def test_linear_waits_for_no_gradient_and_no_observer(rng):
    x, w, seen = rng.normal(size=(3, 4)), Tensor(rng.normal(size=(2, 4)), requires_grad=True), []

    class Names(tape.Observer):
        def forward(self, op, arrays, settings, out, seconds):
            seen.append(op.name)

    with F.fusion():
        assert F.relu(F.linear(x, w)).op.name == "relu"
        with no_grad(), tape.observing(Names()):
            F.relu(F.linear(x, w))
        with no_grad():
            pooled = F.max_pool2d(F.linear(x, w).reshape(1, 1, 3, 2), 2)
    assert seen == ["linear", "relu"]
    assert pooled.item() == (x @ w.data.T)[:2].max()


def test_which_ops_run(rng):
    x, w, b = arrays(rng, 2, np.float32)
    seen = []

    class Names(tape.Observer):
        def forward(self, op, arrays, settings, out, seconds):
            seen.append(op.name)

    weights = Tensor(w, requires_grad=True)
    for on, expected in ((True, ["conv2d", "relu_max_pool2d"]), (False, ["conv2d", "relu", "max_pool2d"])):
        seen.clear()
        with F.fusion(on), tape.observing(Names()):
            run(x, weights, b, {}, {"kernel_size": 2})
        assert seen == expected
    with F.fusion(False), F.fusion():
        assert not isinstance(F.relu(F.conv2d(x, weights, b)), Waiting)
    with F.fusion(), no_grad():
        waiting = F.conv2d(x, weights, b)
        assert isinstance(waiting, Waiting)
        assert (waiting.shape, waiting.ndim, waiting.dtype) == ((2, 6, 9, 10), 4, np.float32)
        assert waiting.call is not None
    np.testing.assert_array_equal(waiting.data, F.conv2d(x, w, b).data)
    assert waiting.call is None


def test_a_large_window_is_not_merged(rng):
    x = Tensor(rng.normal(size=(1, 1, 20, 20)).astype(np.float32))
    w = Tensor(np.ones((1, 1, 1, 1), np.float32), requires_grad=True)
    with F.fusion():
        out = F.max_pool2d(F.relu(F.conv2d(x, w)), 16)
    assert out.op.name == "max_pool2d"


def test_relu_of_relu_does_not_wait_for_a_convolution(rng):
    x, w, b = arrays(rng, 2, np.float32)
    results = []
    for on in (True, False):
        with F.fusion(on), no_grad():
            results.append(F.max_pool2d(F.relu(F.relu(F.conv2d(x, w, b))), 2).data)
    np.testing.assert_array_equal(*results)


def test_a_waiting_result_used_twice_gets_both_gradients(rng):
    x, w, b = arrays(rng, 3, np.float64)
    grads = []
    for on in (True, False):
        weights = Tensor(w, requires_grad=True)
        with F.fusion(on):
            hidden = F.relu(F.conv2d(x, weights, b))
            pooled = F.max_pool2d(hidden, 2)
            loss = (pooled * pooled).sum() + (hidden * 3).sum()
        loss.backward()
        grads.append(weights.grad)
    np.testing.assert_allclose(*grads, rtol=1e-12)


def test_recording_is_that_of_the_place_where_the_op_was_written(rng):
    x, w, b = arrays(rng, 2, np.float64)
    weights = Tensor(w, requires_grad=True)
    with F.fusion():
        hidden = F.relu(F.conv2d(x, weights, b))
        with no_grad():
            constant = F.relu(F.conv2d(x, weights, b))
            hidden.data  # noqa: B018  looking at it runs it, here without recording
    assert hidden.op.name == "relu"
    assert constant.op is None
    assert not constant.requires_grad
    hidden.sum().backward()
    assert np.abs(weights.grad).sum() > 0


def test_hooks_see_values(rng):
    layer, kept = nn.Conv2d(1, 2, 3), []
    layer.register_forward_hook(lambda module, inputs, out: kept.append(out))
    x = rng.normal(size=(1, 1, 5, 5)).astype(np.float32)
    with no_grad(), F.fusion():
        layer(x)
    assert kept[0].call is None
    before = kept[0].data.copy()
    layer.weight.data[...] = 0
    np.testing.assert_array_equal(kept[0].data, before)
