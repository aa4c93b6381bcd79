import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import minigrad
from minigrad import nn
from minigrad.compression.integer import IntegerAvgPool2d, lower, reference
from minigrad.compression.models import as_sequential, trained_lenet
from minigrad.compression.quantization import (
    QuantParams,
    Round,
    RoundedMean,
    activation_params,
    calibrate,
    dequantize,
    quantize,
    simulate,
    weight_layers,
    weight_params,
)
from minigrad.tensor import Tensor
from tests.compression.integer.integer_cases import random_images


@pytest.fixture
def chain():
    return as_sequential(trained_lenet(), np.zeros((1, 1, 28, 28), np.float32))


@pytest.fixture
def images(rng):
    return rng.normal(size=(20, 1, 28, 28)).astype(np.float32)


def test_rounding_is_what_quantize_and_dequantize_do_together(rng):
    x = rng.normal(size=(3, 4)).astype(np.float32)
    for params in (activation_params(-1, 2, bits=3), weight_params(x, bits=3), weight_params(x, bits=3, group=3)):
        np.testing.assert_array_equal(Round(params)(x).data, dequantize(quantize(x, params), params))
        assert Round(params)(x).dtype == np.float32
    t = Tensor(x, requires_grad=True)
    Round(activation_params(-0.5, 0.5))(t).sum().backward()
    np.testing.assert_array_equal(t.grad, np.abs(x) <= 0.502)


def test_weights_and_activations_round_where_asked(chain, images):
    weights = {"conv1": weight_params(chain.conv1.weight, bits=3), "fc3": weight_params(chain.fc3.weight, bits=2)}
    activations = {"conv1": activation_params(0, 4, bits=2)}
    rounded = simulate(chain, weights, activations)
    assert [name for name, _ in rounded.named_modules() if name][:4] == ["conv1", "relu1", "conv1_round", "maxpool1"]
    expected = dequantize(quantize(chain.conv1.weight, weights["conv1"]), weights["conv1"])
    np.testing.assert_array_equal(rounded.conv1.weight.data, expected)
    np.testing.assert_array_equal(rounded.conv2.weight.data, chain.conv2.weight.data)
    assert len(np.unique(rounded.fc3.weight.data[0])) <= 3
    out = rounded.conv1_round(rounded.relu1(rounded.conv1(images)))
    np.testing.assert_allclose(np.unique(out.data), [0, 4 / 3, 8 / 3, 4], rtol=1e-6)
    assert not np.array_equal(chain.conv1.weight.data, expected)  # the chain itself is as before


def test_eight_bits_change_little_and_two_bits_much(chain, images):
    logits = chain(images).data
    off = []
    for bits in (8, 2):
        weights = {
            name: weight_params(getattr(chain, name).weight, bits) for name in ("conv1", "conv2", "fc1", "fc2", "fc3")
        }
        out = simulate(chain, weights, calibrate(chain, images, bits=bits))(images).data
        off.append(np.abs(out - logits).max() / np.abs(logits).max())
    assert off[0] < 0.05 < 0.3 < off[1]


def test_nothing_rounds_where_nothing_is_asked(chain, images):
    np.testing.assert_array_equal(simulate(chain)(images).data, chain(images).data)


def test_an_unknown_layer_is_refused():
    chain = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(KeyError, match=r"simulate: 1, fc: no such convolution or linear layer; there are 0"):
        simulate(chain, {"fc": weight_params(np.ones((2, 2)))}, {"1": activation_params(0, 1)})


CODES = arrays(np.int8, st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(3, 7), st.integers(3, 7)))


@given(CODES, st.integers(-128, 127), st.floats(2**-10, 4, width=32), st.integers(1, 3), st.integers(1, 3), st.data())
def test_means_are_rounded_as_the_integer_engine_rounds_them(q, zero, scale, rows, columns, data):
    params = QuantParams(scale, zero)
    stride = data.draw(st.integers(1, 2))
    pool = RoundedMean(nn.AvgPool2d((rows, columns), stride), lambda: params)
    expected = [
        reference.pool2d(IntegerAvgPool2d((rows, columns), (stride, stride), name="pool"), image.tolist())
        for image in q
    ]
    np.testing.assert_array_equal(quantize(pool(dequantize(q, params)), params), expected)


def test_means_pass_gradients_on_and_round_only_what_is_rounded(rng):
    x = Tensor(rng.normal(size=(2, 3, 4, 4)).astype(np.float32), requires_grad=True)
    for params in (None, QuantParams(0.5, 3)):
        x.grad = None
        out = RoundedMean(nn.AvgPool2d(2), lambda params=params: params)(x)
        assert np.array_equal(out.data, nn.AvgPool2d(2)(x).data) == (params is None)
        assert out.dtype == np.float32
        out.sum().backward()
        np.testing.assert_array_equal(x.grad, np.full(x.shape, 0.25))


def test_a_chain_with_average_pooling_says_what_its_integers_say():
    """Without biases, both compute the same numbers, but where a sum lies next to a tie."""
    pixels = random_images(3, 200, (12, 12))
    x = (pixels[:, None] / 255).astype(np.float32)
    minigrad.manual_seed(0)
    chain = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.AvgPool2d(3, 2), nn.Conv2d(4, 6, 2, bias=False), nn.ReLU6(),
        nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(24, 5, bias=False),
    )  # fmt: skip
    weights = {name: weight_params(layer.weight, 6) for name, layer in weight_layers(chain).items()}
    activations = calibrate(chain, x)
    model = lower(chain, activations, weights, input_shape=(1, 12, 12), profile="single", mean=0.0, std=1.0)
    simulated = simulate(chain, weights, activations)
    assert [type(layer).__name__ for layer in simulated].count("RoundedMean") == 2
    logits = model.logits(pixels)
    assert (quantize(simulated(x), activations["7"]) == logits).mean() >= 0.999
    for name in ("2", "5"):  # as it was without rounding
        setattr(simulated, name, getattr(simulated, name).pool)
    assert (quantize(simulated(x), activations["7"]) == logits).mean() < 0.95
