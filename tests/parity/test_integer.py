"""Integer models beside other runtimes, which read the files that `minigrad.compression.export` writes: not one bit differs.

Run with `make parity`. `make conformance` compares all test images.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, nn, no_grad
from minigrad.compression.export import to_onnx, to_tflite, to_tflite_float16
from minigrad.compression.integer import (
    IntegerConv2d,
    IntegerFlatten,
    IntegerLinear,
    IntegerModel,
    Scale,
    TensorInfo,
    to_integer,
)
from minigrad.compression.integer.arithmetic import output_multipliers
from minigrad.compression.models import trained_lenet
from minigrad.compression.models.chain import fold_batch_norm
from minigrad.datasets import mnist
from tests.compression.export.random_integer import as_int8, random_lenet, random_model, random_pixels
from tests.parity import oracles

pytestmark = pytest.mark.parity
WHY = "is not installed; `make parity` installs it"
SEEDS = st.integers(0, 2**32 - 1)
ONNX_FORMS = [("tflite", "integer"), ("single", "integer"), ("onnx", "qlinear"), ("onnx", "qdq")]
LENETS = [
    {},
    {"linear_per_channel": True},
    {"per_channel": False},
    {"power_of_two": True, "linear_per_channel": True},
]


@pytest.fixture(scope="module")
def pixels():
    return mnist("test").pixels[:300, None]


@pytest.fixture(scope="module")
def calibration():
    return mnist("train").pixels[:500]


@settings(deadline=None, max_examples=40)
@given(SEEDS)
def test_any_architecture_agrees_with_tflite_micro(seed):
    pytest.importorskip("tflite_micro", reason=f"tflite-micro {WHY}")
    model, pixels = drawn(seed, "tflite")
    np.testing.assert_array_equal(oracles.tflite_micro(to_tflite(model, 20), as_int8(pixels), 20), model.logits(pixels))


@pytest.mark.parametrize(("profile", "form"), ONNX_FORMS)
@pytest.mark.parametrize("activations", ["int8", "uint8"])
def test_any_architecture_agrees_with_onnxruntime(profile, form, activations):
    pytest.importorskip("onnxruntime", reason=f"onnxruntime {WHY}")
    if activations == "uint8" and oracles.saturates():
        pytest.skip("onnxruntime's products of uint8 and int8 saturate on this processor, which has no VNNI")

    @settings(deadline=None, max_examples=20)
    @given(SEEDS)
    def agrees(seed):
        model, pixels = drawn(seed, profile)
        logits = oracles.onnxruntime(to_onnx(model, form, activations), as_int8(pixels))
        np.testing.assert_array_equal(logits, model.logits(pixels))

    agrees()


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_any_architecture_agrees_with_litert_s_float_kernels_in_profile_onnx(seed):
    pytest.importorskip("ai_edge_litert", reason=f"ai-edge-litert {WHY}")
    model, pixels = drawn(seed, "onnx")
    np.testing.assert_array_equal(oracles.litert(to_tflite(model, 20), as_int8(pixels), batch=20), model.logits(pixels))


@pytest.mark.parametrize(("profile", "form"), [("tflite", "tflite"), *ONNX_FORMS[:3]])
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_multipliers_agree_to_the_last_bit(rng, profile, form, linear, per_channel):
    """Sums right beside the border between two results, where a multiplier that is a little off gives the other one."""
    pytest.importorskip("tflite_micro" if form == "tflite" else "onnxruntime", reason=f"a runtime {WHY}")
    image = np.zeros((1, 1, 1, 1), np.uint8)
    for _ in range(40):
        model = borderline(rng, profile, linear, per_channel)
        if form == "tflite":
            logits = oracles.tflite_micro(to_tflite(model), as_int8(image), 1).ravel()
        else:
            logits = oracles.onnxruntime(to_onnx(model, form), as_int8(image)).ravel()
        np.testing.assert_array_equal(logits, model.logits(image).ravel())


def borderline(rng, profile, linear, per_channel):
    """A layer of one weight, 0, whose biases times M are nearly half-integers."""
    wanted = np.arange(-120, 120) + 0.5
    s_in, s_out = np.float32(rng.uniform(0.001, 0.1, 2))
    s_w = rng.uniform(0.0001, 0.001, wanted.shape if per_channel else ()).astype(np.float32)
    pair = output_multipliers(s_in, s_w, s_out, profile)
    multiplier, shift = (np.broadcast_to(part, wanted.shape).astype(np.int32) for part in pair)
    bias = np.rint(wanted * s_out / (s_in.astype(np.float64) * s_w)).astype(np.int32)
    layer = (IntegerLinear if linear else IntegerConv2d)(
        name="layer", weight=np.zeros((len(wanted), *(1,) * (1 if linear else 3)), np.int8), bias=bias, input_zero=-128,
        output_zero=0, multiplier=multiplier, shift=shift, weight_scale=Scale.of(s_w), input_scale=Scale.of(s_in),
        output_scale=Scale.of(s_out),
    )  # fmt: skip
    layers = (IntegerFlatten(name="flatten"), layer) if linear else (layer,)
    return IntegerModel(TensorInfo((1, 1, 1), Scale.of(s_in)), layers, profile)


def drawn(seed, profile):
    """A model and images. Average pooling has no float rounding here, so profile "onnx" goes without."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, profile, averages=profile != "onnx")
    return model, random_pixels(rng, model, 20)


@pytest.mark.parametrize("settings_", LENETS, ids=str)
def test_lenet_agrees_with_tflite_micro(pixels, calibration, settings_):
    pytest.importorskip("tflite_micro", reason=f"tflite-micro {WHY}")
    model = integer_lenet(calibration, "tflite", settings_)
    logits = oracles.tflite_micro(to_tflite(model, oracles.BATCH), as_int8(pixels))
    np.testing.assert_array_equal(logits, model.logits(pixels))
    assert (model.predict(pixels) == mnist("test").labels[:300]).mean() > 0.95


@pytest.mark.parametrize(("profile", "form"), ONNX_FORMS)
@pytest.mark.parametrize("settings_", LENETS, ids=str)
def test_lenet_agrees_with_onnxruntime(pixels, calibration, profile, form, settings_):
    pytest.importorskip("onnxruntime", reason=f"onnxruntime {WHY}")
    model = integer_lenet(calibration, profile, settings_)
    logits = oracles.onnxruntime(to_onnx(model, form), as_int8(pixels))
    np.testing.assert_array_equal(logits, model.logits(pixels))


def integer_lenet(calibration, profile, settings_):
    return to_integer(trained_lenet(), calibration, profile, **settings_)


def test_another_rounding_is_noticed(pixels, rng):
    """What agrees above does so bit by bit: the next profile's logits differ here and there, by one."""
    pytest.importorskip("tflite_micro", reason=f"tflite-micro {WHY}")
    single = random_lenet(rng, profile="single")
    logits = oracles.tflite_micro(to_tflite(single, oracles.BATCH), as_int8(pixels))
    difference = logits.astype(int) - single.logits(pixels)
    assert 0 < np.count_nonzero(difference) < difference.size / 2
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize(("form", "profile"), [("qdq", "onnx"), ("integer", "tflite"), ("integer", "single")])
def test_onnx_s_own_checker_accepts_the_files(form, profile):
    onnx = pytest.importorskip("onnx", reason=f"onnx {WHY}")
    for seed in range(10):
        model = random_model(np.random.default_rng(seed), profile)
        for activations in ("int8", "uint8"):
            proto = onnx.load_from_string(to_onnx(model, form, activations))
            onnx.checker.check_model(proto, full_check=True)
            assert [axis.dim_value for axis in proto.graph.output[0].type.tensor_type.shape.dim[1:]] == list(
                model.shapes[-1]
            )


def test_tensorflow_s_own_schema_reads_the_files(rng):
    runtime = pytest.importorskip("tflite_micro", reason=f"tflite-micro {WHY}").runtime
    model = random_lenet(rng, linear_per_channel=True)
    read = runtime.convert_bytearray_to_object(bytearray(to_tflite(model, 7)))
    (graph,) = read.subgraphs
    assert [graph.tensors[i].shape.tolist() for i in (*graph.inputs, *graph.outputs)] == [[7, 28, 28, 1], [7, 10]]
    assert (read.description, read.version) == (b"minigrad, int8, profile tflite", 3)
    conv = graph.operators[0]
    assert type(conv.builtinOptions).__name__ == "Conv2DOptionsT"
    assert (conv.builtinOptions.strideW, conv.builtinOptions.dilationHFactor) == (1, 1)
    weight = graph.tensors[conv.inputs[1]]
    assert weight.quantization.scale.tolist() == model.layers[0].weight_scale.as_float32().tolist()
    assert len(read.buffers[weight.buffer].data) == 150


def test_float16_weights_give_the_logits_of_the_rounded_model(pixels):
    pytest.importorskip("ai_edge_litert", reason=f"ai-edge-litert {WHY}")
    model = trained_lenet()
    images = mnist("test").images[: len(pixels)]
    data = to_tflite_float16(model, batch=oracles.BATCH)
    for p in model.parameters():
        p.data = p.data.astype(np.float16).astype(np.float32)
    with no_grad():
        expected = model(Tensor(images)).data
    for kernels in ("AUTO", "BUILTIN_REF"):
        np.testing.assert_allclose(oracles.litert(data, images, kernels), expected, atol=1e-4)


@pytest.mark.parametrize("size", [(13, 12), (14, 15)])
def test_float16_files_of_any_layer_give_the_logits_of_the_rounded_model(rng, size):
    pytest.importorskip("ai_edge_litert", reason=f"ai-edge-litert {WHY}")
    layers = [
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(), nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(4, 6, 3, stride=2, padding=(1, 2), groups=2), nn.AvgPool2d(2, stride=1, padding=1), nn.ReLU(),
        nn.Conv2d(6, 6, 2, dilation=(1, 2)), nn.Flatten(), nn.ReLU6(),
    ]  # fmt: skip
    images = rng.normal(size=(20, 2, *size)).astype(np.float32)
    features = nn.Sequential(*layers)(images)
    model = nn.Sequential(*layers, nn.Linear(features.shape[1], 5)).eval()
    data = to_tflite_float16(model, (2, *size), batch=20)
    rounded = fold_batch_norm(model)
    for p in rounded.parameters():
        p.data = p.data.astype(np.float16).astype(np.float32)
    for kernels in ("AUTO", "BUILTIN_REF"):
        np.testing.assert_allclose(oracles.litert(data, images, kernels, 20), rounded(images).data, atol=1e-4)
