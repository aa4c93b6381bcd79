from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.export import to_onnx, to_tflite
from minigrad.compression.integer import IntegerConv2d, IntegerLayer, IntegerModel
from tests.compression.export.numpy_runtimes import OnnxFile
from tests.compression.export.random_integer import Builder, as_int8, random_lenet, random_model, random_pixels

SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.sampled_from(["tflite", "single"]), st.sampled_from(["int8", "uint8"]))
def test_the_integer_file_computes_what_the_model_computes(seed, profile, activations):
    rng = np.random.default_rng(seed)
    model = random_model(rng, profile)
    pixels = random_pixels(rng, model, 3)
    file = OnnxFile(to_onnx(model, "integer", activations))
    logits = file.run(as_int8(pixels)) if activations == "int8" else as_int8(file.run(pixels))
    np.testing.assert_array_equal(logits, model.logits(pixels))


def test_the_integer_file_holds_no_float(rng):
    floats = [
        array
        for array in OnnxFile(to_onnx(random_lenet(rng), "qlinear")).initializers.values()
        if array.dtype.kind == "f"
    ]
    assert floats
    file = OnnxFile(to_onnx(random_lenet(rng), "integer"))
    assert all(array.dtype.kind == "i" for array in file.initializers.values())
    assert all(attributes["to"] in (3, 7) for op, _, _, attributes in file.nodes if op == "Cast")
    allowed = {
        "ConvInteger",
        "MatMulInteger",
        "MaxPool",
        "Flatten",
        "Identity",
        "Cast",
        "Clip",
        *["Add", "Sub", "Mul", "Div", "Sign"],
    }
    assert {op for op, *_ in file.nodes} == allowed


@pytest.mark.parametrize(
    ("form", "ops"),
    [
        ("qlinear", {"QLinearConv": 2, "QGemm": 3, "MaxPool": 2, "Flatten": 1, "Identity": 1}),
        (
            "qdq",
            {
                "DequantizeLinear": 15,
                "Conv": 2,
                "Gemm": 3,
                "QuantizeLinear": 5,
                "MaxPool": 2,
                "Flatten": 1,
                "Identity": 1,
            },
        ),
    ],
)
@pytest.mark.parametrize(("activations", "up"), [("int8", 0), ("uint8", 128)])
def test_files_for_float_runtimes_hold_integers_and_scales(rng, form, ops, activations, up):
    model = random_lenet(rng)
    file = OnnxFile(to_onnx(model, form, activations))
    assert {op: sum(node[0] == op for node in file.nodes) for op in {node[0] for node in file.nodes}} == ops
    dtype = {"int8": "<i1", "uint8": "<u1"}[activations]
    assert (file.input, file.output) == (("images", dtype, [1, 28, 28]), ("logits", dtype, [10]))
    for layer in (model.layers[0], model.layers[-1]):
        found = {what: file.initializers[f"{layer.name}/{what}"] for what in ("weight", "bias", "weight_scale")}
        assert np.array_equal(found["weight"], layer.weight)
        assert np.array_equal(found["bias"], layer.bias)
        assert np.array_equal(found["weight_scale"], layer.weight_scale.as_float32())
        assert file.initializers[f"{layer.name}/output_scale"] == layer.output_scale.as_float32()
        assert file.initializers[f"/{activations} {layer.output_zero + up}"] == layer.output_zero + up


def test_onnxruntime_s_own_operator_is_declared(rng):
    assert OnnxFile(to_onnx(random_lenet(rng))).opsets == {"": 13, "com.microsoft": 1}
    assert OnnxFile(to_onnx(random_lenet(rng), "integer")).opsets == {"": 13}


def test_the_same_model_gives_the_same_bytes(rng):
    model = random_lenet(rng)
    assert to_onnx(model, "integer") == to_onnx(model, "integer")


def test_a_border_other_than_the_zero_point_is_padded_explicitly(rng):
    for pad_value, expected in ((None, ["QLinearConv"]), (33, ["Pad", "QLinearConv"])):
        model = Builder(rng, (1, 8, 8)).conv(2, (3, 3), padding=(1, 0), pad_value=pad_value).model()
        nodes = OnnxFile(to_onnx(model)).nodes
        assert [op for op, *_ in nodes] == [*expected, "Identity"]
        assert nodes[-2][3]["pads"] == ([1, 0, 1, 0] if pad_value is None else [0, 0, 0, 0])


def test_unknown_forms_and_types_are_refused(rng):
    model = random_lenet(rng)
    with pytest.raises(ValueError, match=r"to_onnx: form is 'qoperator', expected one of qlinear, integer, qdq"):
        to_onnx(model, "qoperator")
    with pytest.raises(ValueError, match=r"to_onnx: activations is 'float32', expected int8 or uint8"):
        to_onnx(model, "qlinear", "float32")


def test_float_rounding_is_refused_in_the_integer_form(rng):
    with pytest.raises(ValueError, match=r'profile "onnx" rounds as float32 does, and the form "integer" has no float'):
        to_onnx(random_lenet(rng, profile="onnx"), "integer")


def test_layers_of_one_name_or_none_are_told_apart(rng):
    model = Builder(rng, (1, 8, 8)).conv(2, (3, 3)).max_pool((2, 2)).flatten().linear(5).linear(4).model()
    for names in (["same"] * 5, [""] * 5, ["images", "logits", "", "fc", "fc"]):
        layers = tuple(replace(layer, name=name) for layer, name in zip(model.layers, names, strict=True))
        renamed = IntegerModel(model.input, layers, model.profile)
        pixels = random_pixels(rng, model, 3)
        np.testing.assert_array_equal(OnnxFile(to_onnx(renamed, "integer")).run(as_int8(pixels)), model.logits(pixels))


def test_a_product_that_could_leave_int64_is_refused(rng):
    model = Builder(rng, (1, 8, 8), "single").conv(1, (3, 3)).model()
    (layer,) = model.layers
    assert isinstance(layer, IntegerConv2d)
    extreme = {"multiplier": np.full(1, 2**31 - 1, np.int32), "shift": np.full(1, -31, np.int32)}
    for bias, fits in ((2**29, True), (2**30 + 2**20, False)):
        changed = replace(layer, weight=0 * layer.weight, bias=np.full(1, bias, np.int32), **extreme)
        of_it = IntegerModel(model.input, (changed,), "single")
        if fits:
            assert (OnnxFile(to_onnx(of_it, "integer")).run(np.zeros((1, 1, 8, 8), np.int8)) == layer.output_zero).all()
        else:
            with pytest.raises(
                ValueError, match=r"layer0, channel 0: a sum of 1,074,790,400 times 2,147,483,647 leaves no"
            ):
                to_onnx(of_it, "integer")


@dataclass(frozen=True, eq=False)
class Strange(IntegerLayer):
    name: str = "strange"

    def output_shape(self, shape):
        return shape


@pytest.mark.parametrize("export", [to_onnx, to_tflite])
def test_a_layer_of_another_kind_is_refused(rng, export):
    model = Builder(rng, (1, 8, 8)).conv(1, (3, 3)).model()
    object.__setattr__(model, "layers", (*model.layers, Strange()))
    object.__setattr__(model, "shapes", model.shapes * 2)
    with pytest.raises(TypeError, match=r"strange is a Strange, which has no (ONNX|.tflite) form here"):
        export(model)
