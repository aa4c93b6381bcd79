import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.models import as_sequential, trained_lenet
from minigrad.compression.quantization import (
    binarize,
    dequantize,
    fit_weight_params,
    input_means,
    quantize,
    reestimate_batch_norm,
    round_weights,
    weight_layers,
    weight_params,
)


@pytest.fixture
def chain():
    return as_sequential(trained_lenet(), np.zeros((1, 1, 28, 28), np.float32))


def squared_error(w, params):
    return ((dequantize(quantize(w, params), params) - w) ** 2).sum()


@pytest.mark.parametrize("group", [None, 7])
@pytest.mark.parametrize("bits", [2, 4])
def test_fitted_ranges_err_less_in_every_channel(bits, group, rng):
    w = rng.laplace(size=(5, 4, 3, 3)).astype(np.float32)
    fitted, widest = fit_weight_params(w, bits, 0, group), weight_params(w, bits, 0, group)
    assert (fitted.scale <= widest.scale).all()
    for channel in range(5):
        alone = [weight_params(w[channel], bits, None), fit_weight_params(w[channel], bits, None)]
        if group is None:
            np.testing.assert_allclose(fitted.scale[channel], alone[1].scale)
            assert squared_error(w[channel], alone[1]) <= squared_error(w[channel], alone[0])
    assert squared_error(w, fitted) < 0.97 * squared_error(w, widest)
    tried = [squared_error(w, fit_weight_params(w, bits, None))]
    tensor = weight_params(w, bits, None)
    for share in (0.3, 0.5, 0.7):
        shrunk = type(tensor)(tensor.scale * share, 0, bits, tensor.low, tensor.high)
        tried.append(squared_error(w, shrunk))
    assert min(tried) == tried[0]


def test_layers_get_the_bits_asked_for(chain):
    rounded, formats = round_weights(chain, {"conv1": 1, "fc1": 3}, least_error=False)
    assert {name: params.bits for name, params in formats.items()} == {"conv1": 2, "fc1": 3}
    np.testing.assert_allclose(rounded.conv1.weight.data, binarize(chain.conv1.weight).decode(), rtol=1e-6)
    params = weight_params(chain.fc1.weight, 3)
    np.testing.assert_array_equal(rounded.fc1.weight.data, dequantize(quantize(chain.fc1.weight, params), params))
    np.testing.assert_array_equal(rounded.fc2.weight.data, chain.fc2.weight.data)
    assert list(weight_layers(chain)) == ["conv1", "conv2", "fc1", "fc2", "fc3"]


def test_zeros_stay_zeros(chain):
    chain.fc1.weight.data[:, ::2] = 0
    for settings in ({"bits": 4}, {"bits": 2, "group": 16}, {"bits": 3, "per_channel": False}):
        assert not round_weights(chain, **settings)[0].fc1.weight.data[:, ::2].any()


def test_means_of_inputs_are_those_of_all_images(chain, rng):
    images = rng.normal(size=(7, 1, 28, 28)).astype(np.float32)
    means = input_means(chain, images, batch_size=3)
    np.testing.assert_allclose(means["conv1"], [images.mean()], atol=1e-6)
    x = chain.maxpool1(chain.relu1(chain.conv1(images))).data
    np.testing.assert_allclose(means["conv2"], x.mean(axis=(0, 2, 3)), rtol=1e-4)
    x = chain.maxpool2(chain.relu2(chain.conv2(x))).data.reshape(7, -1)
    np.testing.assert_allclose(means["fc1"], x.mean(axis=0), rtol=1e-4)


def test_batch_norm_is_measured_anew_on_what_comes_in(rng):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5)).eval()
    images = (5 * rng.normal(size=(12, 1, 6, 6)) + 1).astype(np.float32)
    before = model.state_dict()
    anew = reestimate_batch_norm(model, images, batch_size=4)
    x = model[0](images).data
    np.testing.assert_allclose(anew[1].running_mean.data, x.mean(axis=(0, 2, 3)), rtol=1e-4)
    batches = [x[i : i + 4].var(axis=(0, 2, 3), ddof=1) for i in (0, 4, 8)]
    np.testing.assert_allclose(anew[1].running_var.data, np.mean(batches, axis=0), rtol=1e-4)
    assert anew[1].momentum == 0.1
    assert not anew[1].training
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())


@pytest.mark.parametrize(("call", "error", "sentence"), [
    (lambda c: round_weights(c, 9), ValueError, r"round_weights: conv1: weight_params: bits is 9"),
    (lambda c: round_weights(c, {"fc9": 4}), KeyError, r"round_weights: fc9: no such layer; there are conv1, conv2, fc1"),
    (lambda c: input_means(c, np.zeros((0, 1, 28, 28))), ValueError, r"calibration: there are no images"),
    (lambda c: reestimate_batch_norm(c, np.zeros((0, 1, 28, 28))), ValueError, r"there are no images; some hundred"),
])  # fmt: skip
def test_bad_input_is_refused(call, error, sentence, chain):
    with pytest.raises(error, match=sentence):
        call(chain)
