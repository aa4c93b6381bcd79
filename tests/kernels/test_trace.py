"""A trace must end in the op's own output element, whatever the geometry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import functional as F
from minigrad import kernels

small = st.integers(1, 3)
seeds = st.integers(0, 2**31)


def draw_at(draw, shape):
    return tuple(draw(st.integers(0, size - 1)) for size in shape)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_conv2d_ends_in_the_ops_output(data):
    draw = data.draw
    groups, per_group, filters = draw(small), draw(small), draw(small)
    window, stride, dilation = [(draw(small), draw(small)) for _ in range(3)]
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    size = tuple(d * (k - 1) + 1 + draw(st.integers(0, 3)) for d, k in zip(dilation, window, strict=True))
    rng = np.random.default_rng(draw(seeds))
    x, b = rng.normal(size=(2, groups * per_group, *size)), rng.normal(size=groups * filters)
    w = rng.normal(size=(groups * filters, per_group, *window))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    out = F.conv2d(x, w, b, **geometry).data
    at = draw_at(draw, out.shape)
    traced = kernels.trace("conv2d", x, w, b, at=at, **geometry)
    np.testing.assert_allclose(traced.result, out[at], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(b[at[1]] + traced.products.sum(), out[at], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(traced.values[traced.inside], [x[tuple(p)] for p in traced.places[traced.inside]])
    assert (traced.values[~traced.inside] == 0).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_pooling_ends_in_the_ops_output(data):
    draw = data.draw
    window, stride = [(draw(small), draw(small)) for _ in range(2)]
    padding = tuple(draw(st.integers(0, k // 2)) for k in window)
    size = tuple(k + draw(st.integers(0, 4)) for k in window)
    # Few different values: windows with ties.
    x = np.random.default_rng(draw(seeds)).integers(-3, 3, (2, 2, *size)).astype(float)
    geometry = {"kernel_size": window, "stride": stride, "padding": padding}
    largest = minigrad.Tensor(x, requires_grad=True)
    out = F.max_pool2d(largest, **geometry)
    at = draw_at(draw, out.shape)
    traced = kernels.trace("max_pool2d", x, at=at, **geometry)
    assert traced.result == out.data[at]
    np.testing.assert_array_equal(traced.running, np.maximum.accumulate(traced.values))
    gradient = np.zeros(out.shape)
    gradient[at] = 1
    out.backward(gradient)
    assert largest.grad[tuple(traced.places[traced.winner])] == 1  # the winner is who gets the gradient
    mean = kernels.trace("avg_pool2d", x, at=at, **geometry)
    np.testing.assert_allclose(mean.result, F.avg_pool2d(x, **geometry).data[at], rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_products_of_matrices_end_in_the_ops_output(data):
    draw = data.draw
    m, k, p = draw(small), draw(small), draw(small)
    rng = np.random.default_rng(draw(seeds))
    left, right = draw(st.sampled_from([((), ()), ((2,), (2,)), ((2, 1), (3,)), ((3,), (2, 3)), ((1,), (2,))]))
    x, y = rng.normal(size=(*left, m, k)), rng.normal(size=(*right, k, p))
    at = draw_at(draw, (x @ y).shape)
    traced = kernels.trace("matmul", x, y, at=at)
    np.testing.assert_allclose(traced.result, (x @ y)[at], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(traced.values, [x[tuple(place)] for place in traced.places])


def test_linear_ends_in_the_ops_output(rng):
    x, w, b = rng.normal(size=(3, 5)), rng.normal(size=(4, 5)), rng.normal(size=4)
    out = F.linear(x, w, b).data
    for at in np.ndindex(out.shape):
        traced = kernels.trace("linear", x, w, b, at=at)
        np.testing.assert_allclose(traced.result, out[at], rtol=1e-12, atol=1e-12)
        assert traced.bias == b[at[1]]


def test_every_step_of_a_small_convolution():
    x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]], np.float32)
    w = np.array([[[[5.0, 6.0], [7.0, 8.0]]]], np.float32)
    traced = kernels.trace("conv2d", x, w, [0.5], padding=1, at=(0, 0, 0, 1))
    np.testing.assert_array_equal(traced.places[:, 2:], [[-1, 0], [-1, 1], [0, 0], [0, 1]])
    np.testing.assert_array_equal(traced.inside, [False, False, True, True])
    np.testing.assert_array_equal(traced.values, [0, 0, 1, 2])
    np.testing.assert_array_equal(traced.weights, [5, 6, 7, 8])
    np.testing.assert_array_equal(traced.products, [0, 0, 7, 16])
    np.testing.assert_array_equal(traced.running, [0.5, 0.5, 7.5, 23.5])
    assert traced.running.dtype == np.float32
    lines = str(traced).splitlines()
    assert lines[0] == "conv2d: out[0, 0, 0, 1] = 23.5, from a bias of 0.5 and 4 products"
    assert lines[2].startswith("x[0, 0, -1, 0] padding")
    assert lines[-1].split() == ["x[0,", "0,", "0,", "1]", "2", "8", "16", "23.5"]


def test_the_winner_of_a_window_is_marked():
    x = np.array([[[[1.0, 5.0], [5.0, 2.0]]]])
    traced = kernels.trace("max_pool2d", x, kernel_size=2, at=(0, 0, 0, 0))
    assert (traced.winner, traced.result) == (1, 5.0)
    assert [line.endswith("<- wins") for line in str(traced).splitlines()] == [False, False, False, True, False, False]
    assert np.isnan(kernels.trace("max_pool2d", np.where(x == 2, np.nan, x), kernel_size=2, at=(0, 0, 0, 0)).result)


def test_tensors_count_as_their_values():
    w = minigrad.nn.Parameter(np.array([[2.0, 3.0]]))
    assert kernels.trace("linear", minigrad.Tensor([[4.0, 5.0]]), w, at=(0, 0)).result == 23


def test_a_sum_of_nothing_is_the_bias():
    traced = kernels.trace("linear", np.ones((2, 0)), np.ones((3, 0)), np.ones(3), at=(1, 2))
    assert traced.result == 1
    assert str(traced).startswith("linear: out[1, 2] = 1, from a bias of 1 and 0 products")


@pytest.mark.parametrize(
    ("arguments", "keywords", "sentence"),
    [
        (("tanh", np.ones(2)), {"at": (0,)}, "trace: there is no trace of 'tanh', only of conv2d, linear, matmul"),
        (
            ("conv2d", np.ones((1, 3, 4, 4)), np.ones((2, 1, 2, 2))),
            {"at": (0, 0, 0, 0)},
            r"trace: conv2d needs x .* w: ",
        ),
        (("linear", np.ones((2, 3)), np.ones((4, 2))), {"at": (0, 0)}, r"trace: linear needs .*\(x: \(2, 3\), w: "),
        (("matmul", np.ones((2, 3)), np.ones((2, 3))), {"at": (0, 0)}, r"trace: matmul needs .*\(x: \(2, 3\), y: "),
        (("avg_pool2d", np.ones((4, 4))), {"at": (0, 0), "kernel_size": 2}, "trace: avg_pool2d needs x"),
    ],
)
def test_what_cannot_be_traced_is_said(arguments, keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        kernels.trace(*arguments, **keywords)


@pytest.mark.parametrize("at", [(0, 0, 2, 0), (0, 0, 0), (1, 0, 0, 0), (0, -1, 0, 0)])
def test_an_element_outside_the_output_is_refused(at):
    with pytest.raises(IndexError, match=r"is not an element of conv2d's output, which has shape \(1, 1, 2, 3\)"):
        kernels.trace("conv2d", np.ones((1, 1, 3, 4)), np.ones((1, 1, 2, 2)), at=at)
