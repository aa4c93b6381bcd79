"""The integer engine against loops over Python's integers: every layer, every geometry, every profile, every bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.compression.integer import (
    PROFILES,
    IntegerAvgPool2d,
    IntegerFlatten,
    IntegerMaxPool2d,
    IntegerModel,
    Scale,
    TensorInfo,
    reference,
)
from minigrad.compression.integer.program import group_taps
from minigrad.functional import avg_pool2d, conv2d, max_pool2d
from tests.compression.integer.integer_cases import random_images, random_layer, small_lenet

PIXELS = Scale.of(np.float32(1 / 255))
PIXEL = np.float32(1 / 255)


def check_against_reference(model, images):
    """Compare each image's output, and its last sums, with the reference."""
    out = model.logits(images)
    assert out.dtype == np.int8
    steps = [reference.run(model, image)[-1] for image in images]
    np.testing.assert_array_equal(out, [step.out for step in steps])
    if steps[0].acc is not None:
        sums = model.accumulators(images)
        assert sums.dtype == np.int32
        np.testing.assert_array_equal(sums, [step.acc for step in steps])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "settings_",
    [
        {"per_channel": False},
        {"linear_per_channel": True},
        {"pool": "average"},
        {"padding": (2, 1), "pad_value": -95},
        {"stride": (2, 1), "padding": (3, 0)},
        {"dilation": (2, 2)},
    ],
    ids=lambda given: "-".join(given),
)
def test_lenets_with_random_weights(profile, settings_):
    model = small_lenet(1, profile=profile, **settings_)
    check_against_reference(model, random_images(2, 2))
    assert len(np.unique(model.logits(random_images(3, 50)))) > 30  # the logits make use of int8


POOLS = st.sampled_from([IntegerMaxPool2d, IntegerAvgPool2d])
SIZE = st.integers(1, 3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), seed=st.integers(0, 10_000), profile=st.sampled_from(PROFILES))
def test_convolutions_and_pooling_of_any_geometry(data, seed, profile):
    rng, draw = np.random.default_rng(seed), data.draw
    groups, images = draw(st.integers(1, 2)), draw(st.sampled_from([1, 2, 5]))
    shape = (groups * draw(SIZE), draw(st.integers(6, 9)), draw(st.integers(6, 9)))
    geometry = {"stride": (draw(SIZE), draw(SIZE)), "padding": (draw(SIZE) - 1, draw(SIZE) - 1)}
    geometry |= {"dilation": (draw(st.integers(1, 2)), draw(st.integers(1, 2))), "groups": groups}
    w = (groups * draw(SIZE), shape[0] // groups, draw(SIZE), draw(SIZE))
    conv = random_layer(rng, w, PIXEL, -128, profile=profile, relu=draw(st.booleans()), name="conv", **geometry)
    layers = [conv]
    out = conv.output_shape(shape)
    if draw(st.booleans()):
        kernel = tuple(draw(st.integers(1, min(3, n))) for n in out[1:])
        cls = draw(POOLS)
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel) if cls is IntegerMaxPool2d else (0, 0)
        low = draw(st.integers(-128, 0))
        layers.append(cls(kernel, (draw(SIZE), draw(SIZE)), padding, "pool", low, draw(st.integers(0, 127))))
    model = IntegerModel(TensorInfo(shape, PIXELS), tuple(layers), profile)
    check_against_reference(model, rng.integers(0, 256, (images, *shape), np.uint8))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 127, 130, 200])
def test_the_result_does_not_depend_on_how_many_images_there_are(count):
    model, images = small_lenet(4), random_images(5, 200)
    together = model.logits(images)
    np.testing.assert_array_equal(model.logits(images[:count]), together[:count])
    np.testing.assert_array_equal(model.accumulators(images[:count]), model.accumulators(images)[:count])


def test_the_kernel_runs_as_python():
    rng = np.random.default_rng(0)
    conv = random_layer(rng, (2, 1, 2, 2), PIXEL, -128, name="conv", padding=(1, 1))
    scale = conv.output_scale.as_float32()[()]
    fc = random_layer(rng, (3, 18), scale, conv.output_zero, relu=False, name="fc")
    layers = (conv, IntegerMaxPool2d((2, 2), (2, 2)), IntegerAvgPool2d((1, 1), (1, 1)), IntegerFlatten(), fc)
    model = IntegerModel(TensorInfo((1, 5, 5), PIXELS), layers)
    images = random_images(1, 3, (5, 5))
    with kernels.use("python"):
        check_against_reference(model, images)


def test_whole_numbers_by_hand():
    """1x1 images: acc = 3 * (p - 128 + 128) + 7, halved and rounded half away from zero, -10 added."""
    rng = np.random.default_rng(0)
    layer = replace(
        random_layer(rng, (1, 1), PIXEL, -128, relu=False, per_channel=False),
        weight=np.array([[3]], np.int8),
        bias=np.array([7], np.int32),
        multiplier=np.array([2**30], np.int32),
        shift=np.array([0], np.int32),
        output_zero=-10,
    )
    model = IntegerModel(TensorInfo((1, 1, 1), PIXELS), (IntegerFlatten(), layer))
    images = np.array([0, 1, 2, 40, 255], np.uint8).reshape(-1, 1, 1)
    assert model.accumulators(images).ravel().tolist() == [7, 10, 13, 127, 772]
    assert model.logits(images).ravel().tolist() == [-6, -5, -3, 54, 127]


def test_layers_compute_what_the_float_ops_compute():
    """Without requantization there is nothing to round: sums are those of the engine's own ops, in float64."""
    rng = np.random.default_rng(0)
    conv = random_layer(rng, (3, 2, 3, 3), PIXEL, -128, stride=(2, 1), padding=(1, 2), dilation=(1, 2), name="conv")
    images = random_images(1, 4, (2, 8, 9))
    model = IntegerModel(TensorInfo((2, 8, 9), PIXELS), (conv,))
    x, w, b = images.astype(np.float64), conv.weight.astype(np.float64), conv.bias.astype(np.float64)
    expected = conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2)).data
    np.testing.assert_array_equal(model.accumulators(images), expected)
    q = np.array(model.logits(images), np.float64)
    for cls, pool in ((IntegerMaxPool2d, max_pool2d), (IntegerAvgPool2d, avg_pool2d)):
        pooled = IntegerModel(TensorInfo((2, 8, 9), PIXELS), (conv, cls((2, 3), (2, 2)))).logits(images)
        mean = pool(q, (2, 3), (2, 2)).data
        np.testing.assert_array_equal(pooled, np.copysign(np.floor(np.abs(mean) + 0.5), mean))


def test_scores_put_channels_on_one_scale():
    model, images = small_lenet(6), random_images(7, 20)
    last = replace(model.layers[-1], weight_scale=Scale.of([0.1, *range(1, 10)]))
    model = IntegerModel(model.input, (*model.layers[:-1], last))
    real = model.accumulators(images) * last.weight_scale.as_float32().astype(np.float64)
    scores = model.scores(images)
    assert scores.dtype == np.int64
    unit = 2.0 ** last.weight_scale.exponent.max()
    np.testing.assert_allclose(scores, real / unit, atol=0.5)
    assert (scores.argmax(axis=1) != model.accumulators(images).argmax(axis=1)).any()
    np.testing.assert_array_equal(model.predict(images), real.argmax(axis=1))


def test_with_one_scale_scores_are_exact_multiples_of_the_accumulators():
    model, images = small_lenet(6), random_images(7, 5)
    factor = int(model.layers[-1].weight_scale.mantissa)
    np.testing.assert_array_equal(model.scores(images), model.accumulators(images).astype(np.int64) * factor)


def test_of_equal_logits_the_lowest_class_wins():
    model, images = small_lenet(0), random_images(0, 200)
    silent = replace(model.layers[-1], weight=np.zeros_like(model.layers[-1].weight), bias=np.zeros(10, np.int32))
    tied = IntegerModel(model.input, (*model.layers[:-1], silent), model.profile)
    assert tied.predict(images[:3]).tolist() == tied.predict(images[:3], by="logits").tolist() == [0, 0, 0]
    logits = model.logits(images)
    np.testing.assert_array_equal(model.predict(images, by="logits"), logits.argmax(axis=1))
    with pytest.raises(ValueError, match="predict: by is 'softmax', expected 'scores' or 'logits'"):
        model.predict(images, by="softmax")


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 28, 28), np.float32), TypeError, "logits: images are float32, expected uint8 pixels, 0 to 255"),
        (np.zeros((2, 27, 28), np.uint8), ValueError, r"images have shape \(2, 1, 27, 28\), expected \(N, 1, 28, 28\) or"),
        (np.zeros((28, 28), np.uint8), ValueError, r"images have shape \(28, 28\), expected \(N, 1, 28, 28\) or \(N, 28, 28\)"),
    ],
)  # fmt: skip
def test_images_that_are_none_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        small_lenet().logits(images)


def test_a_model_that_ends_in_pooling_has_no_accumulators():
    layers = small_lenet().layers[:2]
    model = IntegerModel(TensorInfo((1, 28, 28), PIXELS), layers)
    assert model.logits(random_images(0, 2)).shape == (2, 6, 12, 12)
    with pytest.raises(ValueError, match="the model ends in IntegerMaxPool2d, which has no accumulators"):
        model.accumulators(random_images(0, 2))


def test_layers_must_fit_each_other():
    model = small_lenet()
    layers = list(model.layers)
    layers[2] = replace(layers[2], input_zero=5)
    with pytest.raises(
        ValueError, match=r"conv2 expects an input of scale .* and zero point 5, but gets .* and -128 from"
    ):
        IntegerModel(model.input, tuple(layers))
    with pytest.raises(ValueError, match="fc1: expected an input of 256 features"):
        IntegerModel(model.input, tuple(layer for layer in model.layers if not isinstance(layer, IntegerFlatten)))
    with pytest.raises(ValueError, match="there is no convolution or linear layer"):
        IntegerModel(model.input, (IntegerFlatten(),))
    with pytest.raises(ValueError, match="profile is 'fast', expected one of"):
        IntegerModel(model.input, model.layers, "fast")


def test_the_certificate_names_channel_and_bound():
    model = small_lenet()
    last = model.layers[-1]
    sums = np.abs(last.weight.astype(int)).sum(axis=1)
    rows = [row for row in model.bounds() if row.layer == "fc3"]
    assert [row.weights for row in rows] == sums.tolist()
    assert all(row.bound == 255 * row.weights + abs(row.bias) for row in rows)
    assert all(2 ** (row.bits - 2) <= row.bound < 2 ** (row.bits - 1) for row in rows)
    assert np.abs(model.accumulators(random_images(0, 50))).max() <= max(row.bound for row in rows)
    bias = last.bias.copy()
    bias[4] = 2**31 - 1
    with pytest.raises(ValueError, match=r"of fc3, channel 4, could reach 2,1\d\d,\d\d\d,\d\d\d, beyond int32's"):
        IntegerModel(model.input, (*model.layers[:-1], replace(last, bias=bias)))
    shift = last.shift.copy()
    shift[7] = 12
    shifted = (*model.layers[:-1], replace(last, shift=shift))
    with pytest.raises(ValueError, match=r"fc3, channel 7, could reach .* when it is shifted for its multiplier"):
        IntegerModel(model.input, shifted)
    assert IntegerModel(model.input, shifted, "single").profile == "single"  # does not shift first


def test_the_worst_images_reach_the_bound_and_do_not_overflow():
    """The largest bound that is let through: all weights 127, all pixels 255."""
    rng, pixels = np.random.default_rng(0), 256
    layer = random_layer(rng, (2, pixels), PIXEL, -128, relu=False, per_channel=False)
    weight = np.full((2, pixels), 127, np.int8)
    weight[1] = -127
    room = 2**31 - 1 - 255 * 127 * pixels - 128 * 127 * pixels
    layer = replace(layer, weight=weight, bias=np.array([room, -room], np.int32))
    model = IntegerModel(TensorInfo((1, 16, 16), PIXELS), (IntegerFlatten(), layer))
    acc = model.accumulators(np.full((1, 16, 16), 255, np.uint8))
    assert acc.tolist() == [[255 * 127 * pixels + room, -255 * 127 * pixels - room]]


@given(st.lists(st.integers(-128, 127).filter(bool), max_size=40))
def test_groups_of_products_fit_into_int16(weights):
    groups = group_taps(weights)
    assert sorted(i for group in groups for i in group) == list(range(len(weights)))
    for group in groups:
        assert 128 * sum(abs(weights[i]) for i in group) <= 2**15 - 1 + 128
