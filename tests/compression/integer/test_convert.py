"""Conversion of trained models: normalisation, ranges, bad input, and how near the integers come to the floats."""

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.compression.integer import (
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerLinear,
    lower,
    reference,
    to_integer,
)
from minigrad.compression.integer.convert import normalized
from minigrad.compression.models import LeNet, LeNet300100, trained_lenet
from minigrad.compression.quantization import activation_params, dequantize, quantize, weight_params
from minigrad.datasets import mnist, normalize, split_validation
from tests.compression.integer.integer_cases import random_images


@pytest.fixture(scope="module")
def held_out():
    """1,000 training images to calibrate on, and the 5,000 that are held out."""
    training, validation = split_validation(mnist("train"))
    return training.subset(slice(1000)), validation


def float_logits(model, images):
    with minigrad.no_grad():
        return np.concatenate([model(images[i : i + 500]).data for i in range(0, len(images), 500)])


def test_the_trained_lenet_keeps_its_accuracy(held_out):
    calibration, validation = held_out
    model = trained_lenet()
    logits = float_logits(model, validation.images)
    converted = to_integer(model, calibration.pixels)
    right = (logits.argmax(axis=1) == validation.labels).mean()
    for by in ("scores", "logits"):
        assert (converted.predict(validation.pixels, by) == validation.labels).mean() >= right - 0.0005
    last = converted.layers[-1]
    units = last.output_scale.as_float32()
    error = units * (converted.logits(validation.pixels).astype(np.float32) - last.output_zero) - logits
    signal = np.square(logits).mean() / np.square(error).mean()
    assert 10 * np.log10(signal) > 35  # decibels
    assert converted.logits(validation.pixels[:1])[0].tolist() == reference.run(converted, validation.pixels[0])[-1].out


@pytest.mark.parametrize(
    "settings",
    [
        {"profile": "single"},
        {"profile": "onnx"},
        {"per_channel": False},
        {"linear_per_channel": True},
        {"power_of_two": True},
        {"observer": "mse"},
    ],
    ids=lambda given: "-".join(map(str, given)),
)
def test_settings_cost_little(held_out, settings):
    calibration, validation = held_out
    model = trained_lenet()
    right = (float_logits(model, validation.images).argmax(axis=1) == validation.labels).mean()
    converted = to_integer(model, calibration.pixels, **settings)
    assert (converted.predict(validation.pixels) == validation.labels).mean() >= right - 0.003


def test_all_scales_but_the_pixels_are_powers_of_two():
    model = to_integer(trained_lenet(), mnist("train").pixels[:100], power_of_two=True, linear_per_channel=True)
    weighted = [layer for layer in model.layers if isinstance(layer, IntegerConv2d | IntegerLinear)]
    scales = [np.ravel(s.as_float32()) for layer in weighted for s in (layer.weight_scale, layer.output_scale)]
    assert (np.frexp(np.concatenate(scales))[0] == 0.5).all()
    assert all((layer.multiplier == 2**30).all() for layer in weighted[1:])
    assert (weighted[0].multiplier != 2**30).any()  # 1/255


def test_the_first_layer_takes_in_the_normalisation():
    """Its sums, in real units, are what its quantized weights make of normalised pixels."""
    conv = nn.Conv2d(2, 3, 3)
    images = random_images(0, 6, (2, 5, 5))
    model = to_integer(nn.Sequential(conv), images, mean=0.3, std=0.25)
    layer = model.layers[0]
    w = dequantize(layer.weight, weight_params(conv.weight))
    x = (images / 255 - 0.3) / 0.25
    expected = minigrad.functional.conv2d(x, w.astype(np.float64), conv.bias.data.astype(np.float64)).data
    step = layer.weight_scale.as_float32().astype(np.float64).reshape(-1, 1, 1) / 255
    np.testing.assert_allclose(model.accumulators(images) * step, expected, atol=step.max() * 0.51)


def test_a_padded_first_layer_pads_with_the_quantized_mean():
    conv = nn.Conv2d(1, 2, 3, padding=1)
    images = random_images(0, 4, (6, 6))
    model = to_integer(nn.Sequential(conv), images)
    assert model.layers[0].pad_value == 33 - 128
    x = normalized(images[:, None])
    assert np.abs(model.accumulators(images)).max() > 0
    step = model.layers[0].weight_scale.as_float32().reshape(-1, 1, 1) / 255
    np.testing.assert_allclose(model.accumulators(images) * step, conv(x).data, atol=0.06)


def test_later_layers_pad_with_the_zero_point(held_out):
    chain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, padding=1))
    model = to_integer(chain, held_out[0].pixels[:50])
    assert model.layers[1].pad_value == model.layers[1].input_zero != -128


def test_normalized_is_what_the_datasets_do():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(normalized(pixels), normalize(pixels))


def test_relus_become_clamps():
    images = random_images(1, 20, (8, 8))
    chain = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU6(), nn.AvgPool2d(2), nn.Conv2d(2, 2, 2), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()
    )
    chain[0].weight.data[...] *= 20
    model = to_integer(chain, images)
    conv, average, second, pool = model.layers[:4]
    assert conv.low == conv.output_zero == -128
    assert conv.output_scale.as_float32() * (conv.high + 128) == pytest.approx(6, rel=0.01)
    assert isinstance(average, IntegerAvgPool2d)
    assert (second.low, second.high) == (-128, 127)
    assert pool.low == second.output_zero > -128
    expected = chain(normalized(images[:, None])).data
    real = second.output_scale.as_float32() * (model.logits(images).astype(np.float32) - second.output_zero)
    np.testing.assert_allclose(real, expected, atol=4 * second.output_scale.as_float32())


def test_a_linear_network_and_layers_without_bias():
    model = LeNet300100()
    model.fc2.bias = None
    pixels = mnist("train").pixels[:300]
    converted = to_integer(model, pixels)
    logits = float_logits(model, normalized(pixels[:, None]))
    same = converted.predict(pixels) == logits.argmax(axis=1)
    assert same.mean() > 0.9


def test_batch_norm_is_folded(rng):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4))
    model[1].running_mean.data[...] = rng.normal(size=3)
    model[1].weight.data[...] = [2.0, -1.0, 0.5]
    model.eval()
    images = random_images(3, 200, (8, 8))
    converted = to_integer(model, images)
    assert [layer.name for layer in converted.layers] == ["0", "3", "4"]
    same = converted.predict(images) == float_logits(model, normalized(images[:, None])).argmax(axis=1)
    assert same.mean() > 0.95


def test_the_model_and_its_mode_are_left_alone():
    model = LeNet()
    model.train()
    before = model.state_dict()
    to_integer(model, random_images(0, 20))
    assert model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_zero_weights_stay_zero():
    model = trained_lenet()
    model.conv2.weight.data[::2] = 0
    converted = to_integer(model, mnist("train").pixels[:50])
    assert (converted.layers[2].weight[::2] == 0).all()
    assert (converted.layers[2].weight[1::2] != 0).mean() > 0.9


def test_lower_takes_the_formats_it_is_given():
    chain = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    weight, activation = weight_params(chain[1].weight, bits=4, axis=None), activation_params(-2, 2)
    model = lower(chain, {"1": activation}, {"1": weight}, input_shape=(1, 2, 2), mean=0, std=1)
    layer = model.layers[1]
    np.testing.assert_array_equal(layer.weight, quantize(chain[1].weight, weight))
    assert layer.output_scale.as_float32() == activation.scale
    assert np.abs(layer.weight).max() == 7
    narrow = lower(chain, {"1": activation_params(-2, 2, bits=4)}, {"1": weight}, input_shape=(1, 2, 2))
    assert (narrow.layers[1].low, narrow.layers[1].high) == (-8, 7)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((0, 28, 28), np.uint8), ValueError, r"calibration_images have shape \(0, 1, 28, 28\), expected some hundred"),
        (np.zeros((5, 784), np.uint8), ValueError, r"calibration_images have shape \(5, 784\)"),
        (np.zeros((5, 28, 28), np.float32), TypeError, "calibration_images are float32, expected uint8 pixels"),
        (np.zeros((5, 14, 14), np.uint8), ValueError, r"as_sequential: LeNet cannot take an input of shape"),
        (np.zeros((5, 28, 28, 1), np.uint8), ValueError, r"as_sequential: LeNet cannot take an input of shape"),
    ],
)  # fmt: skip
def test_bad_calibration_images_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        to_integer(LeNet(), images)


def test_activations_that_tell_nothing_are_refused():
    images = random_images(0, 5)
    constant, broken, large = LeNet(), LeNet(), LeNet()
    constant.conv2.weight.data[...] = 0
    constant.conv2.bias.data[...] = -1
    broken.fc2.bias.data[3] = np.nan
    large.fc1.bias.data[2] = 1e20
    with pytest.raises(ValueError, match=r"the output of conv2: .*all observed values are 0, a range without width"):
        to_integer(constant, images)
    with pytest.raises(ValueError, match=r"the output of fc2: .*NaN or infinite"):
        to_integer(broken, images)
    with pytest.raises(ValueError, match=r"the bias of fc1, channel 2, would be .* steps, which int32 cannot hold"):
        to_integer(large, images)


def test_layers_without_an_integer_form_are_named():
    images = random_images(0, 5)
    with pytest.raises(ValueError, match="sigmoid is not supported"):
        to_integer(nn.Sequential(nn.Flatten(), nn.Linear(784, 3), nn.Sigmoid()), images)
    with pytest.raises(ValueError, match="1, a ReLU, comes before any convolution or linear layer"):
        lower(nn.Sequential(nn.Flatten(), nn.ReLU()), {}, {})
    conv = nn.Conv2d(1, 2, 3)
    formats = {"0": activation_params(0, 1)}, {"0": weight_params(conv.weight)}
    with pytest.raises(ValueError, match=r"1 is BatchNorm2d.*which has no integer form here"):
        lower(nn.Sequential(conv, nn.BatchNorm2d(2)), *formats)
    with pytest.raises(ValueError, match=r"average pooling with padding \(1, 1\) has no integer form"):
        to_integer(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AvgPool2d(2, padding=1)), images)
    with pytest.raises(ValueError, match="profile is 'fast'"):
        to_integer(LeNet(), images, "fast")
    for bits in (0, 9):
        with pytest.raises(ValueError, match=rf"to_integer: conv1: .*bits is {bits}, expected an integer from 1 to 8"):
            to_integer(LeNet(), images, bits=bits)


def test_formats_that_cannot_be_summed_are_refused():
    chain = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    activation, weight = {"1": activation_params(0, 1)}, chain[1].weight
    with pytest.raises(ValueError, match=r"the weights of 1 need one scale, .*group=2"):
        lower(chain, activation, {"1": weight_params(weight, group=2)})
    with pytest.raises(ValueError, match=r"there is no number format for the weights of 1 \(there is for \['fc1'\]\)"):
        lower(chain, activation, {"fc1": weight_params(weight)})
    with pytest.raises(ValueError, match=r"the activations of 1 need one scale, not one along axis 0"):
        lower(chain, {"1": weight_params(weight)}, {"1": weight_params(weight)})
