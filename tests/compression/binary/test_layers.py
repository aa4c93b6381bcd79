"""Layers of signs: what they compute, where gradients pass, what they refuse."""

import numpy as np
import pytest

from minigrad import Tensor, nn
from minigrad.compression.binary import BinaryConv2d, BinaryLinear
from minigrad.compression.quantization import binarize


def test_a_convolution_of_signs_equals_the_sum_over_places(rng):
    layer = BinaryConv2d(3, 4, kernel_size=(2, 3), stride=(2, 1))
    x = rng.normal(size=(2, 3, 5, 6)).astype(np.float32)
    a, b = np.where(x >= 0, 1, -1), np.where(layer.weight.data >= 0, 1, -1)
    out = layer(x).data
    scale = np.abs(layer.weight.data).reshape(4, -1).mean(axis=1)
    assert out.shape == (2, 4, 2, 4)
    assert out.dtype == np.float32
    for n, f, i, j in np.ndindex(out.shape):
        total = (a[n, :, 2 * i : 2 * i + 2, j : j + 3] * b[f]).sum()
        assert out[n, f, i, j] == pytest.approx(scale[f] * total, rel=1e-6)


def test_sums_are_whole_numbers_before_the_scale(rng):
    layer = BinaryConv2d(20, 50, kernel_size=5)
    x = rng.normal(size=(2, 20, 7, 7)).astype(np.float32)
    layer.scale = lambda: np.float32(1)
    sums = layer(x).data
    np.testing.assert_array_equal(sums % 2, 0)  # 500 odd numbers
    assert np.abs(sums).max() <= 500


@pytest.mark.parametrize("layer", [BinaryConv2d(3, 4, kernel_size=2), BinaryLinear(7, 4)])
def test_the_scale_is_the_one_of_binarize(layer):
    layer.weight.data[0] = 0
    np.testing.assert_array_equal(layer.scale().reshape(-1), binarize(layer.weight.data).scale.reshape(-1))
    assert layer.scale().dtype == np.float32


def test_the_sign_of_zero_is_plus_one_on_both_sides():
    layer = BinaryLinear(4, 1)
    layer.weight.data[...] = [[0.0, -0.0, 2.0, -2.0]]  # signs + + + -, scale 1
    x = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, -0.0, 0.0, 0.0], [-1.0, -1.0, -1.0, -1.0]], np.float32)
    np.testing.assert_array_equal(layer(x).data, [[2.0], [2.0], [-2.0]])


def test_gradients_pass_the_signs_where_numbers_are_at_most_1(rng):
    layer = BinaryLinear(3, 2)
    layer.weight.data[...] = [[0.5, -2.0, 0.25], [1.0, 0.5, -3.0]]
    x = Tensor(np.array([[0.5, -0.5, 3.0]], np.float32), requires_grad=True)
    layer(x).backward(np.array([[1.0, 10.0]], np.float32))
    s = layer.scale()
    assert x.grad is not None
    assert layer.weight.grad is not None
    np.testing.assert_allclose(x.grad, [[s[0] + 10 * s[1], -s[0] + 10 * s[1], 0.0]], rtol=1e-6)
    inside = np.array([[1, 0, 1], [1, 1, 0]])
    np.testing.assert_allclose(layer.weight.grad, inside * s[:, None] * [[1], [10]] * [1, -1, 1], rtol=1e-6)


def test_after_a_batch_norm_no_gradient_reaches_the_scale(rng):
    """Which is why the layers treat it as a constant."""
    sums, norm = rng.integers(-9, 10, (8, 5)).astype(np.float64), nn.BatchNorm1d(5, eps=0.0)
    for name in ("weight", "bias"):
        setattr(norm, name, nn.Parameter(rng.normal(size=5)))
    scale = Tensor(np.linspace(0.1, 0.5, 5), requires_grad=True)
    (norm(scale * sums) * rng.normal(size=(8, 5))).sum().backward()
    assert scale.grad is not None
    np.testing.assert_allclose(scale.grad, 0, atol=1e-12)


def test_padding_is_refused():
    with pytest.raises(ValueError, match=r"^BinaryConv2d: padding is 2, expected 0: a border of zeros is neither \+1"):
        BinaryConv2d(1, 2, kernel_size=5, padding=2)


def test_layers_tell_their_sizes():
    assert repr(BinaryConv2d(20, 50, 5, stride=2)) == "BinaryConv2d(20, 50, kernel_size=(5, 5), stride=(2, 2))"
    assert repr(BinaryLinear(800, 500)) == "BinaryLinear(800, 500)"
