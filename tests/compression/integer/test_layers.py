"""The records of an integer model: what they accept, what they refuse, and that nobody can change them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.compression.integer import (
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerFlatten,
    IntegerLinear,
    IntegerMaxPool2d,
    Scale,
)

ONE = Scale.of(1.0)


def linear(**changes):
    settings = {
        "name": "fc",
        "weight": np.ones((2, 3), np.int8),
        "bias": np.zeros(2, np.int32),
        "input_zero": -128,
        "output_zero": 0,
        "multiplier": np.full(2, 2**30, np.int32),
        "shift": np.zeros(2, np.int32),
        "weight_scale": ONE,
        "input_scale": ONE,
        "output_scale": ONE,
    }
    return IntegerLinear(**(settings | changes))


def conv(shape=(4, 2, 3, 3), **changes):
    filters = {"bias": np.int32, "multiplier": np.int32, "shift": np.int32}
    parts = {name: np.zeros(shape[0], dtype) for name, dtype in filters.items()}
    settings = {"name": "conv", "weight": np.ones(shape, np.int8), "input_zero": 3, "output_zero": 0, **parts}
    settings |= {"weight_scale": ONE, "input_scale": ONE, "output_scale": ONE}
    return IntegerConv2d(**(settings | changes))


@given(st.lists(st.floats(2.0**-100, 2.0**100, width=32), min_size=1, max_size=4))
def test_a_scale_comes_back_exactly(values):
    scale = Scale.of(np.float32(values))
    assert scale.as_float32().dtype == np.float32
    assert scale.as_float32().tolist() == values
    assert [m * 2.0**e for m, e in zip(scale.mantissa.tolist(), scale.exponent.tolist(), strict=True)] == values


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_is_no_positive_number_is_refused(value):
    with pytest.raises(ValueError, match=r"Scale: a scale must be a positive, finite float32 number \(got"):
        Scale.of(value)


def test_scales_check_their_integers():
    with pytest.raises(ValueError, match=r"mantissa and exponent must both be \(\) or \(C,\) \(mantissa: \(2,\)"):
        Scale(np.ones(2, np.int32), np.ones(3, np.int32))
    with pytest.raises(ValueError, match="a mantissa lies outside 1 to"):
        Scale(np.array(0, np.int32), np.array(0, np.int32))
    with pytest.raises(TypeError, match="mantissa is float32, expected int32"):
        Scale(np.float32(1), np.array(0, np.int32))


def test_arrays_are_copies_that_nobody_can_write_to():
    weight = np.ones((2, 3), np.int8)
    layer = linear(weight=weight)
    weight[0, 0] = 5
    assert layer.weight[0, 0] == 1
    for array in (layer.weight, layer.bias, layer.multiplier, layer.shift, layer.weight_scale.mantissa):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(AttributeError):
        layer.low = 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": np.ones((2, 3), np.int16)}, "fc: weight is int16, expected int8"),
        ({"weight": np.ones((2, 3))}, "fc: weight is float64, expected int8"),
        (
            {"bias": np.zeros(3, np.int32)},
            r"fc: bias must have one entry for each of weight's 2 output channels .*\(3,\)",
        ),
        ({"multiplier": np.array([1, -5], np.int32)}, "fc: multiplier is negative in channel 1"),
        ({"weight_scale": Scale.of([1.0, 1.0, 1.0])}, r"fc: weight_scale must be one number or 2 \(it is \(3,\)\)"),
        ({"low": 5, "high": 4}, "fc: low 5 and high 4 must be ordered and within -128 to 127"),
        ({"high": 128}, "fc: low -128 and high 128 must be ordered"),
        ({"output_zero": 128}, "fc: zero point 128 lies outside -128 to 127"),
        ({"weight": np.ones((2, 3, 1, 1), np.int8)}, r"fc: weight must be \(O, I\) \(weight: \(2, 3, 1, 1\)\)"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        linear(**changes)


def test_the_zero_point_is_folded_into_the_bias():
    layer = linear(weight=np.array([[1, 2, 3], [-4, 0, 1]], np.int8), bias=np.array([10, 20], np.int32), input_zero=-7)
    assert layer.folded_bias.tolist() == [10 + 7 * 6, 20 - 7 * 3]


def test_output_shapes():
    assert conv(stride=(2, 1), padding=(1, 2)).output_shape((2, 7, 5)) == (4, 4, 7)
    assert conv(dilation=(2, 1)).output_shape((2, 7, 5)) == (4, 3, 3)
    assert conv(groups=2).output_shape((4, 3, 3)) == (4, 1, 1)
    assert linear().output_shape((3,)) == (2,)
    assert IntegerMaxPool2d((2, 3), (2, 1), (1, 0)).output_shape((5, 4, 6)) == (5, 3, 4)
    assert IntegerFlatten().output_shape((2, 3, 4)) == (24,)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (conv(), (3, 9, 9), r"conv: expected an input of 2 channels, \(C, H, W\), got \(3, 9, 9\)"),
        (conv(), (2, 2, 9), r"conv: a window of \(3, 3\) does not fit into an image of \(2, 9\) with padding \(0, 0\)"),
        (linear(), (4,), r"fc: expected an input of 3 features, got \(4,\); is a Flatten missing before it\?"),
        (IntegerMaxPool2d((2, 2), (2, 2), name="pool"), (9,), r"pool: expected an input \(C, H, W\), got \(9,\)"),
    ],
)
def test_inputs_of_another_shape_are_refused(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.output_shape(shape)


def test_a_border_holds_the_zero_point_unless_told_otherwise():
    assert conv().pad_value == 3
    assert conv(pad_value=-95).pad_value == -95
    with pytest.raises(ValueError, match="conv: pad_value 200 lies outside"):
        conv(pad_value=200)
    with pytest.raises(ValueError, match=r"weight must be \(F, C / groups, KH, KW\) with F divisible by groups"):
        conv(groups=3)


def test_average_pooling_with_padding_is_refused():
    with pytest.raises(ValueError, match=r"avg: average pooling with padding \(1, 1\) has no integer form here"):
        IntegerAvgPool2d((2, 2), (2, 2), (1, 1), name="avg")
