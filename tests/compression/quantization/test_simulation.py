import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.models import as_sequential, trained_lenet
from minigrad.compression.quantization import (
    Round,
    activation_params,
    calibrate,
    dequantize,
    quantize,
    simulate,
    weight_params,
)
from minigrad.tensor import Tensor


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
