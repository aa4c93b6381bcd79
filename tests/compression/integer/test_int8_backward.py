"""The backward pass in int8: integers to the bit, gradients right on average, the forward pass untouched."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import DataLoader, Tensor, kernels, nn
from minigrad import functional as F
from minigrad.compression.integer import int8_backward
from minigrad.compression.integer.int8_backward import (
    Int8Conv2d,
    Int8Linear,
    int8_product,
    int8_row_product,
    round_to_int8,
    to_int8_backward,
)
from minigrad.compression.models import LeNet
from minigrad.optim import SGD

GEOMETRIES = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (1, 2), "padding": (2, 0), "dilation": (1, 2)},
    {"stride": (3, 1), "dilation": (2, 1)},
    {"groups": 2, "padding": 1, "bias": False},
]


def integers(seed, *shape):
    return np.random.default_rng(seed).integers(-127, 128, shape, np.int8)


def kernel_calls(seed, m, k, p):
    """Return each kernel's name and arguments, outputs filled with what nobody writes."""
    rng = np.random.default_rng(seed)
    words = rng.integers(-(2**31), 2**31, (k, 64), np.int32)
    c, i, j, oh, ow = rng.integers(1, 4, 5)
    stride, dilation = rng.integers(1, 3, 2), rng.integers(1, 3, 2)
    size = (np.array([oh, ow]) - 1) * stride + dilation * (np.array([i, j]) - 1) + 1
    columns = rng.integers(-999, 999, (c, i, j, oh, ow, p), np.int32)
    x = rng.normal(size=(m, p)).astype(np.float32)
    factor, noise = np.float32((127 << 16) / np.abs(x).max()), rng.integers(0, 2**16, x.shape, np.uint16)
    odd = np.int32(-77)
    return {
        "round_at_random": [x, factor, noise, np.full(x.shape, -128, np.int8)],
        "pack_words": [integers(seed, 4 * k, p), np.full((k, p), odd), np.full(p, odd)],
        "int8_matmul": [words[: m % k + 1, :k], words, words[0], np.full((m % k + 1, 64), odd)],
        "int8_row_products": [words[:, :16], words[::-1, :16], np.full((k, k), -77, np.int64)],
        "add_columns": [columns, *stride, *dilation, np.full((c, *size, p), odd)],
    }


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 6), st.integers(1, 70))
def test_twins_write_the_same_bytes(seed, m, k, p):
    for name, arguments in kernel_calls(seed, m, k, p).items():
        results = []
        for run in (kernels.TABLE[name].compiled, kernels.TABLE[name].python):
            own = [np.ascontiguousarray(a).copy() if isinstance(a, np.ndarray) else a for a in arguments]
            run(*own)
            results.append([a.tobytes() for a in own if isinstance(a, np.ndarray)])
        assert results[0] == results[1], name


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(0, 10), st.integers(0, 140), st.integers(0, 140))
def test_products_are_those_of_integers(seed, m, k, p):
    a, b = integers(seed, m, k), integers(seed + 1, k, p)
    expected = a.astype(np.int64) @ b.astype(np.int64)
    found, rows = int8_product(a, b), int8_row_product(a, np.ascontiguousarray(b.T))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(rows, expected)
    assert (found.dtype, rows.dtype) == (np.int32, np.int64)


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_at_the_edge_of_int32_and_beyond(sign):
    """131,072 products of 127 * 127 fit into int32, which holds 133,143 at most; more are summed in parts."""
    for terms in (2**17, 2**17 + 2_100):
        a, b = np.full((2, terms), 127, np.int8), np.full((terms, 3), sign * 127, np.int8)
        expected = np.full((2, 3), sign * 127**2 * terms)
        np.testing.assert_array_equal(int8_product(a, b), expected)
        np.testing.assert_array_equal(int8_row_product(a, b.T), expected)


def test_rounding_to_the_nearest():
    found = round_to_int8(np.float32([[1, -0.5], [0.0118, 0.0117]]))
    np.testing.assert_array_equal(found.q, [[127, -64], [1, 1]])
    assert found.q.dtype == np.int8
    assert found.scale == pytest.approx(1 / 127)
    x = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    found = round_to_int8(x)
    assert np.abs(found.q * found.scale - x).max() <= 0.5001 * found.scale
    assert np.abs(found.q).max() == 127


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_at_random_is_right_on_average(dtype):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=200) * 10.0 ** rng.integers(-4, 1, 200)).astype(dtype)
    codes, scale = [], 0.0
    for _ in range(4_000):
        q, scale = round_to_int8(x, rng)
        codes.append(q)
        assert np.abs(q * scale - x).max() < 1.0001 * scale
    # Of 200 means, 4 standard errors are left by one in 80 such tests; this one has fixed draws.
    error = np.std(codes, axis=0) / np.sqrt(4_000)
    assert (np.abs(np.mean(codes, axis=0) - x / scale) <= 4 * np.maximum(error, 1e-3)).all()
    assert np.std(codes, axis=0).max() > 0.4


def test_a_product_just_beyond_the_largest_code_does_not_wrap():
    """x * factor may be rounded up by one: with the largest noise 128 would follow, with none -128."""
    x, out = np.float32([[1, -1, 1, -1]]), np.zeros((1, 4), np.int8)
    noise = np.array([[65_535, 0, 65_534, 1]], np.uint16)
    kernels.TABLE["round_at_random"](x, np.float32((127 << 16) + 1), noise, out)
    assert out.tolist() == [[127, -127, 127, -127]]


@pytest.mark.parametrize("x", [[0, 0], [], [1e-45, -1e-45], [3e38, -1], [1e-38, 0]])
@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
def test_rounding_at_the_borders(x, rng):
    x = np.float32(x)
    q, scale = round_to_int8(x, rng)
    assert q.shape == x.shape
    assert np.abs(q * scale - x).max(initial=0) <= 1.0001 * scale


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_comes_through(bad):
    layer = to_int8_backward(nn.Linear(3, 2))
    x = Tensor(np.ones((4, 3), np.float32), requires_grad=True)
    layer(x).backward(np.float32([[1, bad]] * 4))
    assert np.isnan(x.grad).all()
    assert np.isnan(layer.weight.grad).all()
    assert layer.bias.grad[0] == 4
    assert not np.isfinite(layer.bias.grad[1])


def layers():
    rng = np.random.default_rng(0)
    yield nn.Linear(13, 9), rng.normal(size=(5, 13))
    yield nn.Linear(13, 9, bias=False), rng.normal(size=(2, 3, 13))
    for geometry in GEOMETRIES:
        yield nn.Conv2d(4, 6, (3, 2), **geometry), rng.normal(size=(3, 4, 9, 8))


@pytest.mark.parametrize(("layer", "x"), list(layers()), ids=lambda value: "")
def test_gradients_are_the_float_ones_of_rounded_arrays(layer, x):
    """The engine's gradients in float64, where sums of these integers are exact, of what was rounded."""
    minigrad.manual_seed(3)
    x = Tensor(x.astype(np.float32), requires_grad=True)
    model, g_draws = to_int8_backward(layer), np.random.default_rng(3)
    out, expected_out = model(x), layer(x.data)
    np.testing.assert_array_equal(out.data, expected_out.data)
    g = np.random.default_rng(1).normal(size=out.shape).astype(np.float32)
    out.backward(g)

    def valued(rounded, like):
        return (rounded.q * rounded.scale).reshape(like.shape)

    rounded_x = valued(round_to_int8(x.data), x.data)
    rounded_w = valued(round_to_int8(layer.weight.data), layer.weight.data)
    rows = g if g.ndim != 3 else g.reshape(-1, g.shape[-1])
    inner = np.ascontiguousarray(rows.transpose((*range(1, rows.ndim), 0)))  # drawn batch innermost
    rounded_g = valued(round_to_int8(inner, g_draws), inner)
    rounded_g = rounded_g.transpose((inner.ndim - 1, *range(inner.ndim - 1))).reshape(g.shape)
    exact = copy.deepcopy(layer)
    exact.weight = nn.Parameter(rounded_w)
    exact.bias = None
    exact_x = Tensor(rounded_x, requires_grad=True)
    exact(exact_x).backward(rounded_g)
    np.testing.assert_allclose(x.grad, exact_x.grad, rtol=3e-7, atol=1e-12)
    np.testing.assert_allclose(model.weight.grad, exact.weight.grad, rtol=3e-7, atol=1e-12)
    assert x.grad.dtype == model.weight.grad.dtype == np.float32
    if layer.bias is not None:
        axes = tuple(axis for axis in range(g.ndim) if axis != (1 if g.ndim == 4 else g.ndim - 1))
        np.testing.assert_allclose(model.bias.grad, g.sum(axis=axes), rtol=1e-5, atol=1e-5)


def gradients(model, x, g):
    model.zero_grad()
    x = Tensor(x, requires_grad=True)
    model(x).backward(g)
    return model.weight.grad, x.grad


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear(6, 5), (4, 6)), (nn.Conv2d(2, 3, 3), (2, 2, 5, 5))], ids=["linear", "conv"]
)
def test_gradients_are_right_on_average_and_never_far_off(layer, shape):
    minigrad.manual_seed(0)
    rng, model = np.random.default_rng(0), to_int8_backward(layer)
    x = rng.normal(size=shape).astype(np.float32)
    g = rng.normal(size=layer(x).shape).astype(np.float32)
    step_g, step_x, step_w = (np.abs(a).max() / 127 for a in (g, x, layer.weight.data))
    draws = [gradients(model, x, g) for _ in range(2_000)]
    exact = copy.deepcopy(layer)  # what rounds to the nearest is rounded beforehand: that error does not average out
    exact.weight.data[...] = round_to_int8(layer.weight.data).q * step_w
    expected = (gradients(exact, round_to_int8(x).q * step_x, g)[0], gradients(exact, x, g)[1])
    for found, wanted in zip(zip(*draws, strict=True), expected, strict=True):
        error = np.std(found, axis=0) / np.sqrt(len(found))
        assert (np.abs(np.mean(found, axis=0, dtype=np.float64) - wanted) <= 4 * error + 1e-5).all()
        assert np.std(found, axis=0).max() > 0

    # |gx - (g + dg)(x + dx)| <= |g| dx + |x| dg + dg dx, term by term, with dg < a step and dx at most half a step.
    bound = gradients(layer, np.abs(x) * step_g + step_x * step_g / 2, np.ones_like(g))[0]
    bound = bound + gradients(layer, np.full_like(x, step_x / 2), np.abs(g))[0]
    wanted = gradients(layer, x, g)[0]
    assert all((np.abs(w - wanted) <= 1.001 * bound).all() for w, _ in draws)


def test_zero_gradients_stay_zero():
    for layer, x in layers():
        model = to_int8_backward(layer)
        w, grad_x = gradients(model, x.astype(np.float32), np.zeros(model(x.astype(np.float32)).shape, np.float32))
        assert not w.any()
        assert not grad_x.any()


def test_an_empty_batch():
    for layer, x in layers():
        model = to_int8_backward(layer)
        empty = x[:0].astype(np.float32)
        w, grad_x = gradients(model, empty, np.zeros(model(empty).shape, np.float32))
        assert not w.any()
        assert grad_x.shape == empty.shape


def test_the_model_is_left_alone_and_its_copy_computes_the_same():
    model = LeNet(dropout=0.5)
    before = model.state_dict()
    copied = to_int8_backward(model)
    assert [type(layer) for layer in (copied.conv1, copied.fc1)] == [Int8Conv2d, Int8Linear]
    assert [type(layer) for layer in (model.conv1, model.fc1)] == [nn.Conv2d, nn.Linear]
    copied.fc1.weight.data[...] = 0
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    copied = to_int8_backward(model).eval()
    x = np.random.default_rng(0).normal(size=(7, 1, 28, 28)).astype(np.float32)
    np.testing.assert_array_equal(copied(x).data, model.eval()(x).data)
    with minigrad.no_grad(), F.fusion():
        np.testing.assert_array_equal(copied(x).data, model(x).data)
    assert [name for name, _ in copied.named_parameters()] == [name for name, _ in model.named_parameters()]


def test_only_int8_is_kept_of_the_input():
    layer = to_int8_backward(nn.Conv2d(2, 3, 3, padding=1))
    out = layer(np.ones((4, 2, 6, 6), np.float32))
    assert out.op.kept.q.dtype == np.int8
    assert out.op.kept.q.nbytes == 4 * 2 * 8 * 8  # with the border
    assert out.op.w is layer.weight.data
    out = to_int8_backward(nn.Linear(6, 3))(np.ones((4, 6), np.float32))
    assert out.op.kept.q.nbytes == 4 * 6


@pytest.mark.parametrize("threads", [1, 2])
def test_training_learns_and_is_repeatable(threads):
    if threads > kernels.threads.MOST_THREADS:
        pytest.skip("Numba was started with one thread")
    before = kernels.get_num_threads()
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 256)
    x = (rng.normal(size=(256, 1, 8, 8)) + np.eye(4)[targets].repeat(16, axis=1).reshape(256, 1, 8, 8)).astype(
        np.float32
    )
    runs = []
    try:
        for _ in range(2):
            kernels.set_num_threads(threads)
            minigrad.manual_seed(0)
            model = to_int8_backward(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)))
            loader = DataLoader(x, targets, batch_size=32, shuffle=True, seed=0)
            losses = minigrad.fit(model, loader, F.cross_entropy, SGD(model.parameters(), 0.05, 0.9), epochs=4)
            runs.append((losses, model.state_dict()))
    finally:
        kernels.set_num_threads(before)
    assert runs[0][0] == runs[1][0]
    assert runs[0][0][0] > 3 * runs[0][0][-1]
    for name, array in runs[0][1].items():
        np.testing.assert_array_equal(array, runs[1][1][name])


def test_both_gradients_see_the_same_draw():
    """g is rounded once: with one row, the gradient of w is its outer product with x."""
    layer = to_int8_backward(nn.Linear(1, 50, bias=False))
    layer.weight.data[...] = 1
    x, g = (
        Tensor(np.float32([[1]]), requires_grad=True),
        np.random.default_rng(0).normal(size=(1, 50)).astype(np.float32),
    )
    layer(x).backward(g)
    assert x.grad[0, 0] == pytest.approx(layer.weight.grad.sum(dtype=np.float64), rel=1e-5)


def test_a_second_backward_pass_draws_anew():
    layer = to_int8_backward(nn.Linear(5, 4))
    out, g = layer(np.ones((3, 5), np.float32)), np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    out.backward(g, retain_graph=True)
    first = layer.weight.grad.copy()
    layer.zero_grad()
    out.backward(g.copy())
    assert (layer.weight.grad != first).any()


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (nn.Linear(3, 2), np.ones((4, 5)), r"linear: x has 5 features but w expects 3"),
        (nn.Conv2d(2, 3, 3), np.ones((4, 3, 8, 8)), r"conv2d: x has C=3 channels but w expects C=2"),
        (nn.Conv2d(2, 3, 3), np.ones((2, 8, 8)), r"conv2d: x must be \(N, C, H, W\)"),
        (nn.Conv2d(2, 3, 3), np.ones((4, 2, 2, 8)), r"conv2d: a 3x3 kernel with dilation \(1, 1\) does not fit"),
    ],
)
def test_what_does_not_fit_is_said_as_by_the_float_layer(layer, x, message):
    with pytest.raises(ValueError, match=message):
        to_int8_backward(layer)(x.astype(np.float32))
    with pytest.raises(TypeError, match=r"must all be float32 or all float64"):
        to_int8_backward(nn.Linear(3, 2))(np.ones((2, 3)))


def test_what_cannot_have_an_int8_backward_pass(monkeypatch):
    with pytest.raises(ValueError, match=r"to_int8_backward: ReLU has no Linear or Conv2d layers"):
        to_int8_backward(nn.ReLU())
    monkeypatch.setattr(int8_backward, "MOST_TERMS", 40)
    to_int8_backward(nn.Conv2d(2, 10, 2))
    with pytest.raises(
        ValueError, match=r"to_int8_backward: conv1: 150 weights read each pixel, .* more than 40 products"
    ):
        to_int8_backward(LeNet())
    with pytest.raises(ValueError, match=r"the layer: 44 weights read each pixel, .*\(weight: \(11, 2, 2, 2\)\)"):
        to_int8_backward(nn.Conv2d(2, 11, 2))
