import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minigrad import nn
from minigrad.compression.export import to_tflite, to_tflite_float16, to_tflite_float32
from minigrad.compression.export.tflite_chain import Window
from minigrad.compression.integer.layers import IntegerConv2d, IntegerLinear
from minigrad.compression.models import LeNet, LeNet300100
from tests.compression.export.numpy_runtimes import TfliteFile
from tests.compression.export.random_integer import Builder, as_int8, random_lenet, random_model, random_pixels

SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=60)
@given(SEEDS)
def test_the_file_computes_what_the_model_computes(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    pixels = random_pixels(rng, model, 3)
    file = TfliteFile(to_tflite(model, batch=3))
    np.testing.assert_array_equal(file.run(as_int8(pixels).transpose(0, 2, 3, 1)), model.logits(pixels))


def test_lenet_computes_the_same_in_its_file(rng):
    model = random_lenet(rng, linear_per_channel=True)
    pixels = random_pixels(rng, model, 4)
    logits = TfliteFile(to_tflite(model, batch=4)).run(as_int8(pixels).transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(logits, model.logits(pixels))
    assert len(np.unique(logits)) > 10


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_the_file_holds_the_model_s_integers_and_scales(seed):
    model = random_model(np.random.default_rng(seed))
    file = TfliteFile(to_tflite(model))
    found = {tensor.name: tensor for tensor in file.tensors}
    assert (found["images"].scale, found["images"].zero, found["images"].dtype) == (np.float32(1 / 255), -128, "<i1")
    channels_last = model.input.shape
    for layer, shape in zip(model.layers, model.shapes, strict=True):
        if isinstance(layer, IntegerConv2d | IntegerLinear):
            weight, bias, out = (found[f"{layer.name}{what}"] for what in ("/weight", "/bias", ""))
            assert np.array_equal(bias.values, layer.bias)
            assert (weight.scale == layer.weight_scale.as_float32()).all()
            assert len(weight.scale) == max(1, layer.weight_scale.mantissa.size)
            assert (out.scale, out.zero) == (layer.output_scale.as_float32(), layer.output_zero)
        if isinstance(layer, IntegerConv2d):
            assert np.array_equal(weight.values.transpose(0, 3, 1, 2), layer.weight)
        if isinstance(layer, IntegerLinear):
            as_images = weight.values.reshape(len(weight.values), *channels_last[1:], channels_last[0])
            assert np.array_equal(as_images.transpose(0, 3, 1, 2).reshape(layer.weight.shape), layer.weight)
        channels_last = shape if len(shape) == 3 else channels_last if layer.name == "flatten" else (shape[0], 1, 1)


def test_the_same_model_gives_the_same_bytes(rng):
    model = random_lenet(rng)
    assert to_tflite(model) == to_tflite(model)


@settings(deadline=None)
@given(st.integers(3, 9), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2))
def test_same_is_taken_exactly_where_its_windows_are_ours(size, kernel, stride, padding):
    assume(padding <= kernel // 2 and kernel <= size + 2 * padding)
    count = -(-size // stride)
    front = max((count - 1) * stride + kernel - size, 0) // 2
    same = [start * stride - front for start in range(count)]
    ours = list(range(-padding, size + padding - kernel + 1, stride))
    window = Window((kernel, kernel), (stride, stride), (padding, padding))
    assert window.is_same((size, size)) == (same == ours)


@pytest.mark.parametrize(("padding", "pad_value", "codes"), [(1, None, [3]), (2, None, [60, 3]), (1, 33, [60, 3])])
def test_padding_is_explicit_only_where_same_differs(rng, padding, pad_value, codes):
    builder = Builder(rng, (1, 8, 8)).conv(2, (3, 3), padding=(padding, padding), pad_value=pad_value)
    operators = TfliteFile(to_tflite(builder.flatten().linear(3).model())).operators
    assert [op.code for op in operators] == [*codes, 22, 9]


def test_linear_layers_with_a_scale_for_each_output_are_version_12(rng):
    for per_channel, version in ((False, 4), (True, 12)):
        operators = TfliteFile(to_tflite(random_lenet(rng, linear_per_channel=per_channel))).operators
        assert [op.version for op in operators if op.code == 9] == [version] * 3


def test_a_clamp_that_is_no_activation_is_refused(rng):
    builder = Builder(rng, (1, 8, 8))
    builder.conv(2, (3, 3)).max_pool((2, 2), low=-100).flatten().linear(3)
    with pytest.raises(
        ValueError, match=r"to_tflite: pool1 clamps to \(-100, 127\), but a .tflite file can only name an"
    ):
        to_tflite(builder.model())


def test_a_model_that_ends_in_a_flatten_is_refused(rng):
    model = Builder(rng, (1, 8, 8)).conv(2, (3, 3)).flatten().model()
    with pytest.raises(ValueError, match=r"ends in a Flatten, whose features a .tflite file has in \(H, W, C\) order"):
        to_tflite(model)


def test_float16_weights_are_the_model_s_rounded_and_widened_before_use():
    model = LeNet()
    file = TfliteFile(to_tflite_float16(model))
    found = {tensor.name: tensor for tensor in file.tensors}
    # A filter is (F, KH, KW, C) there, and fc1 reads pixels of 16 channels.
    np.testing.assert_array_equal(
        found["conv2/weight/float16"].values, model.conv2.weight.data.transpose(0, 2, 3, 1).astype(np.float16)
    )
    columns = model.fc1.weight.data.reshape(120, 16, 4, 4).transpose(0, 2, 3, 1).reshape(120, 256)
    np.testing.assert_array_equal(found["fc1/weight/float16"].values, columns.astype(np.float16))
    np.testing.assert_array_equal(found["fc3/bias/float16"].values, model.fc3.bias.data.astype(np.float16))
    widened = [op for op in file.operators if op.code == 6]
    assert len(widened) == 10
    assert all(op.version == 3 and op.kind == 38 for op in widened)
    for op in widened:
        source, target = file.tensors[op.inputs[0]], file.tensors[op.outputs[0]]
        assert (source.name, source.dtype, target.dtype) == (f"{target.name}/float16", "<f2", "<f4")
    # ReLU is part of the layer before: 1 among its options.
    assert [op.options.scalar(3 if op.code == 3 else 0, "<i1") for op in file.operators if op.code in (3, 9)] == [
        1,
        1,
        1,
        1,
        0,
    ]


def test_float32_weights_are_the_model_s_and_read_as_they_are():
    model = LeNet()
    file, half = TfliteFile(to_tflite_float32(model, batch=3)), TfliteFile(to_tflite_float16(model, batch=3))
    found = {tensor.name: tensor for tensor in file.tensors}
    assert {tensor.dtype for tensor in file.tensors} == {"<f4", "<i4"}  # <i4: the shape of the reshape
    np.testing.assert_array_equal(found["conv2/weight"].values, model.conv2.weight.data.transpose(0, 2, 3, 1))
    columns = model.fc1.weight.data.reshape(120, 16, 4, 4).transpose(0, 2, 3, 1).reshape(120, 256)
    np.testing.assert_array_equal(found["fc1/weight"].values, columns)
    np.testing.assert_array_equal(found["fc3/bias"].values, model.fc3.bias.data)
    # Nothing is widened; all else is as in the file of float16.
    operators = [(op.code, op.version, [file.tensors[i].name for i in op.inputs]) for op in file.operators]
    others = [(op.code, op.version, [half.tensors[i].name for i in op.inputs]) for op in half.operators if op.code != 6]
    assert operators == others
    assert len(to_tflite_float32(model)) < 4 * 44_426 + 4_000


def test_float16_files_are_half_as_large():
    weights = sum(p.size for p in LeNet300100().parameters())
    assert 2 * weights < len(to_tflite_float16(LeNet300100())) < 2 * weights + 5_000


def test_a_weight_beyond_float16_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    model[1].weight.data[0, 0] = 65_519  # rounds down to 65,504
    to_tflite_float16(model, (1, 2, 2))
    model[1].weight.data[0, 0] = -65_520
    with pytest.raises(
        ValueError, match=r"1 has a weight that is not finite in float16, whose largest number is 65,504"
    ):
        to_tflite_float16(model, (1, 2, 2))
