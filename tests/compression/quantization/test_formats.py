import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minigrad.compression.quantization import (
    QuantParams,
    activation_params,
    dequantize,
    power_of_two,
    quantize,
    weight_params,
)
from minigrad.tensor import Tensor

BITS = st.integers(2, 8)
FLOATS = st.floats(-1e3, 1e3, width=32)
WEIGHTS = arrays(np.float32, array_shapes(min_dims=2, max_dims=4, max_side=5), elements=FLOATS)


def exact(q, params):
    """S (q - Z), without float32's rounding."""
    scale, zero_point = params.spread(q.shape)
    return scale.astype(np.float64) * (q.astype(np.int64) - zero_point)


@given(WEIGHTS, BITS, st.booleans(), st.sampled_from([None, "channel", 1, 2, 3, 7]), st.data())
def test_weights_err_by_half_a_step_at_most_and_zero_is_exact(w, bits, narrow, kind, data):
    axis = None if kind is None else data.draw(st.integers(-w.ndim, w.ndim - 1))
    params = weight_params(w, bits, axis, kind if isinstance(kind, int) else None, narrow)
    q = quantize(w, params)
    scale = np.broadcast_to(params.spread(w.shape)[0], w.shape).astype(np.float64)
    assert not params.zero_point.any()
    assert (np.abs(w - exact(q, params)) <= scale * (0.5 + 1e-5)).all()  # 1e-5: S itself is rounded to float32
    assert q.dtype == np.int8
    assert q.min() >= -(2 ** (bits - 1)) + narrow
    assert q.max() <= 2 ** (bits - 1) - 1
    assert not q[w == 0].any()
    assert not dequantize(q, params)[w == 0].any()


@given(st.floats(-1e3, 0), st.floats(0, 1e3), st.integers(1, 8), arrays(np.float64, 20, elements=FLOATS))
def test_activations_err_by_half_a_step_inside_the_range_and_saturate_outside(low, high, bits, x):
    if high - low < 1e-3:
        high += 1
    params = activation_params(low, high, bits)
    smallest, largest = (
        params.scale.astype(np.float64) * (limit - params.zero_point) for limit in (params.low, params.high)
    )
    q = quantize(x, params)
    inside = (x >= smallest) & (x <= largest)
    assert (np.abs(x - exact(q, params))[inside] <= params.scale * (0.5 + 1e-5)).all()
    assert (q[x <= smallest] == params.low).all()
    assert (q[x >= largest] == params.high).all()
    assert exact(quantize(np.zeros(1), params), params) == 0
    assert params.range[0] <= 0 <= params.range[1]
    # The range is the one asked for, moved by half a step at most.
    np.testing.assert_allclose([smallest, largest], [low, high], atol=params.scale * (0.5 + 1e-4))
    assert params.high - params.low == 2**bits - 1


@given(st.integers(1, 8), st.floats(2**-10, 2**10, width=32), st.data())
def test_every_level_survives_the_round_trip(bits, scale, data):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    params = QuantParams(scale, data.draw(st.integers(low, high)), bits, low, high)
    levels = np.arange(low, high + 1)
    np.testing.assert_array_equal(quantize(dequantize(levels, params), params), levels)


@given(WEIGHTS, BITS, st.integers(1, 4))
def test_channels_and_groups_are_as_if_each_were_alone(w, bits, group):
    whole = weight_params(w, bits, axis=0)
    split = weight_params(w, bits, axis=0, group=group)
    q_whole, q_split = quantize(w, whole), quantize(w, split).reshape(len(w), -1)
    for c, channel in enumerate(w):
        alone = weight_params(channel, bits, axis=None)
        assert alone.scale == whole.scale[c]
        np.testing.assert_array_equal(quantize(channel, alone), q_whole[c])
        row = channel.reshape(-1)
        for g, start in enumerate(range(0, row.size, group)):
            alone = weight_params(row[start : start + group], bits, axis=None)
            assert alone.scale == split.scale[c, g]
            np.testing.assert_array_equal(
                quantize(row[start : start + group], alone), q_split[c, start : start + group]
            )


def test_groups_along_another_axis():
    w = np.arange(1.0, 13).reshape(2, 3, 2)
    params = weight_params(w, axis=1, group=3)
    assert params.scale.shape == (3, 2)
    # Channel 1 has 3, 4 | 9, 10: its first three share a scale.
    np.testing.assert_allclose(params.scale[1] * 127, [9, 10], rtol=1e-6)
    np.testing.assert_allclose(dequantize(quantize(w, params), params), w, atol=0.05)


def test_the_narrow_range_is_symmetric_and_the_full_one_has_a_level_more():
    w = np.array([[-1.0, 0.5]])
    narrow, full = weight_params(w), weight_params(w, narrow=False)
    assert (narrow.low, full.low, narrow.high, full.high) == (-127, -128, 127, 127)
    np.testing.assert_allclose([narrow.scale[0], full.scale[0]], [1 / 127, 1 / 128], rtol=1e-6)
    np.testing.assert_array_equal(quantize(w, narrow), [[-127, 64]])
    np.testing.assert_array_equal(quantize(w, full), [[-128, 64]])
    np.testing.assert_array_equal(quantize(-w, narrow), -quantize(w, narrow))
    np.testing.assert_array_equal(quantize(-w, full), [[127, -64]])  # 1 / 128 is no longer fine enough for -127.5 ...


def test_ties_go_to_the_even_neighbour_and_infinity_saturates():
    params = QuantParams(1.0, 0)
    x = [0.5, 1.5, 2.5, -0.5, -1.5, np.inf, -np.inf, 126.5, 128.5]
    np.testing.assert_array_equal(quantize(x, params), [0, 2, 2, 0, -2, 127, -128, 126, 127])


def test_pixels_are_their_own_q_less_128():
    pixels = np.arange(256)
    params = activation_params(0, 1)
    assert params.scale == np.float32(1 / 255)
    np.testing.assert_array_equal(quantize(pixels / 255, params), pixels - 128)


def test_unsigned_levels_are_int16():
    params = QuantParams(1 / 255, 0, low=0, high=255)
    q = quantize(Tensor([1.0]), params)
    assert (q.dtype, q.item()) == (np.int16, 255)


@pytest.mark.parametrize(("low", "high", "expected"), [(1.0, 3.0, (0, 3)), (-3.0, -1.0, (-3, 0)), (2.0, 2.0, (0, 2))])
def test_a_range_is_widened_to_contain_zero(low, high, expected):
    np.testing.assert_allclose(activation_params(low, high).range, expected, rtol=1e-6)


def test_weights_that_are_all_zero_stay_so_and_do_not_widen_their_neighbours():
    w = np.array([[0, 0], [2, -1]], np.float32)
    params = weight_params(w)
    np.testing.assert_allclose(params.scale * 127, [1, 2], rtol=1e-6)
    np.testing.assert_array_equal(quantize(w, params)[0], 0)


def test_weights_too_small_for_a_scale_become_zero():
    params = weight_params(np.full((1, 2), 1e-42, np.float32))
    assert params.scale[0] >= np.finfo(np.float32).tiny
    np.testing.assert_array_equal(quantize(np.full((1, 2), 1e-42), params), 0)


@given(WEIGHTS, BITS)
def test_powers_of_two_never_narrow_a_range_nor_double_it(w, bits):
    params = weight_params(w, bits)
    shifted = power_of_two(params)
    mantissa, _ = np.frexp(shifted.scale)
    assert (mantissa == 0.5).all()
    assert ((params.scale <= shifted.scale) & (shifted.scale < 2 * params.scale)).all()
    assert power_of_two(shifted).scale.tolist() == shifted.scale.tolist()
    kept = power_of_two(activation_params(-1, 2))
    assert (kept.zero_point, kept.scale) == (activation_params(-1, 2).zero_point, 1 / 64)


def test_params_cannot_be_written_to_and_copy_what_they_are_given():
    scale = np.ones(2, np.float32)
    params = QuantParams(scale, [0, 0], axis=0)
    scale[0] = 5
    assert params.scale[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        params.scale[0] = 3


W = np.ones((2, 3))


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: weight_params(W, bits=9), r"weight_params: bits is 9, expected an integer from 1 to 8"),
    (lambda: weight_params(W, bits=0), r"weight_params: bits is 0, expected an integer from 1 to 8"),
    (lambda: activation_params(0, 1, bits=2.5), r"activation_params: bits is 2.5, expected an integer from 1 to 8"),
    (lambda: weight_params(W, bits=1), r"weight_params: 1 bit has no room for both signs beside zero; see `binarize`"),
    (lambda: weight_params(W[:0]), r"weight_params: there are no weights \(w: \(0, 3\)\)"),
    (lambda: weight_params(W * np.nan), r"weight_params: a weight is NaN or infinite \(w: \(2, 3\)\)"),
    (lambda: weight_params(W, axis=None, group=2), r"weight_params: groups lie within channels; give an axis"),
    (lambda: activation_params(np.nan, 1), r"activation_params: nan to 1 is no range; were the activations NaN"),
    (lambda: activation_params(1, 0), r"activation_params: 1 to 0 is no range"),
    (lambda: activation_params(0, np.inf), r"activation_params: 0 to inf is no range"),
    (lambda: activation_params(0, 0), r"activation_params: the range 0.0 to 0.0 has no width; is the layer dead"),
    (lambda: quantize([0, np.nan], QuantParams(1.0, 0)), r"quantize: x has NaN, which has no q \(x: \(2,\)\)"),
    (lambda: quantize(W, weight_params(np.ones((3, 3)))), r"3 channels along axis 0 do not fit a tensor of shape \(2, 3\)"),
    (lambda: quantize(W, weight_params(np.ones((2, 9)), group=2)), r"5 groups of 2 do not fit the 3 elements of a channel"),
    (lambda: QuantParams(0.0, 0), r"QuantParams: a scale is not a positive number"),
    (lambda: QuantParams(np.nan, 0), r"QuantParams: a scale is not a positive number"),
    (lambda: QuantParams(1.0, 128), r"QuantParams: a zero point lies outside -128 to 127; zero has no q then"),
    (lambda: QuantParams([1.0], [0]), r"both have 0 axes with axis=None, group=None \(scale: \(1,\), zero_point: \(1,\)\)"),
    (lambda: QuantParams(1.0, 0, low=0, high=256), r"QuantParams: 0 to 256 does not fit into 8 bits"),
    (lambda: QuantParams(1.0, 0, group=2), r"QuantParams: groups of 2 along axis None, expected 1 or more and an axis"),
])  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
