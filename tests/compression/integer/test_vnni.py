"""The packed kernel gives the plain kernel's bits, its vectors do as Python says, and both can be stepped through."""

from contextlib import contextmanager

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.compression.integer import IntegerFlatten, IntegerMaxPool2d, IntegerModel, Scale, TensorInfo, engine, vnni
from minigrad.compression.integer.arithmetic import requantize
from minigrad.compression.integer.packed import IMAGES, rounded
from minigrad.compression.integer.vectors import define
from minigrad.kernels.vector import lanes, load, splat, store
from tests.compression.integer.integer_cases import random_chain, random_images, random_layer, small_lenet

needs_vnni = pytest.mark.skipif(not vnni.AVAILABLE, reason="this CPU has no AVX512-VNNI")
PIXEL = np.float32(1 / 255)


@contextmanager
def packed_kernel():
    """Use the packed kernel, however few the images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "FEW", -1)
        yield


def both_kernels(model, images):
    """Return logits and accumulators of the packed and of the plain kernel."""
    assert model._plan.packed is not None
    with packed_kernel():
        packed = model.logits(images), model.accumulators(images)
    with engine.plain_kernel():
        return packed, (model.logits(images), model.accumulators(images))


@needs_vnni
@pytest.mark.parametrize("count", [1, IMAGES - 1, IMAGES, IMAGES + 1, 200])
@pytest.mark.parametrize(
    "settings_",
    [
        {},
        {"profile": "single", "linear_per_channel": True},
        {"padding": (2, 1), "pad_value": -95},
        {"padding": (1, 3), "stride": (2, 1)},
        {"dilation": (2, 2)},
    ],
    ids=lambda given: "-".join(given) or "lenet",
)
def test_lenets_have_the_same_bits(settings_, count):
    for one, other in zip(*both_kernels(small_lenet(count, **settings_), random_images(1, count)), strict=True):
        np.testing.assert_array_equal(one, other)


@needs_vnni
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), seed=st.integers(0, 10_000))
def test_any_chain_has_the_same_bits(data, seed):
    rng = np.random.default_rng(seed)
    model = random_chain(data.draw, rng, data.draw(st.sampled_from(["tflite", "single"])))
    images = rng.integers(0, 256, (3, *model.input.shape), np.uint8)
    with packed_kernel():
        packed = model.logits(images)
    assert model._plan.packed is not None
    with engine.plain_kernel():
        np.testing.assert_array_equal(model.logits(images), packed)


@needs_vnni
def test_the_packed_kernel_runs_as_python():
    rng = np.random.default_rng(0)
    conv = random_layer(rng, (3, 1, 2, 2), PIXEL, -128, name="conv", padding=(1, 0))
    fc = random_layer(rng, (2, 27), conv.output_scale.as_float32()[()], conv.output_zero, relu=False, name="fc")
    layers = (conv, IntegerMaxPool2d((2, 2), (2, 2)), IntegerFlatten(), fc)
    model, images = IntegerModel(TensorInfo((1, 5, 7), Scale.of(PIXEL)), layers), random_images(1, 3, (5, 7))
    compiled, plain = both_kernels(model, images)
    with kernels.use("python"):
        stepped, _ = both_kernels(model, images)
    np.testing.assert_array_equal(stepped[0], compiled[0])
    np.testing.assert_array_equal(stepped[1], plain[1])


def test_what_the_packed_kernel_cannot_run():
    assert small_lenet(pool="average")._plan.packed is None
    assert small_lenet(profile="onnx")._plan.packed is None
    rng = np.random.default_rng(0)
    grouped = random_layer(rng, (4, 1, 3, 3), PIXEL, -128, groups=2, name="conv")
    assert IntegerModel(TensorInfo((2, 8, 8), Scale.of(PIXEL)), (grouped,))._plan.packed is None


WORDS = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=16, max_size=16).map(
    lambda given: np.array(given, np.int32)
)


def test_a_word_is_four_products():
    """Bytes of x are unsigned, those of w signed: 255 * -128 and so on."""
    octets = np.array([255, 0, 1, 2], np.uint8).view(np.int32)
    w = np.array([-128, 127, 5, -3], np.int8).view(np.int32)
    assert vnni.dot4(np.array([10], np.int32), octets, w).tolist() == [10 - 255 * 128 + 5 - 6]


def each(c, x, w, bits, number, out):
    """Every vector function, one after the other."""
    a, b, wide = load(c, 0), load(x, 0), splat(w[0])
    store(out, 0, vnni.dot4(a, b, wide))
    store(out, 16, vnni.larger(a, b))
    store(out, 32, vnni.shift_right_rounded(a, bits))
    store(out, 48, vnni.clamp(vnni.shift_right_rounded(a, 20), number, -100, 90))
    store(out, 64, vnni.join(vnni.low_bits(a, 8), vnni.low_bits(b, 8), 8))
    store(out, 80, vnni.shift_left(vnni.low_bits(a, 12), bits % 16))
    store(out, 96, vnni.scale(a, 2**30 + number, 31))
    store(out, 112, vnni.shift_right(a, bits))


@needs_vnni
@settings(max_examples=40, deadline=None, derandomize=True)
@given(WORDS, WORDS, WORDS, st.integers(0, 30), st.integers(-128, 127))
def test_vector_functions_do_as_python_says(c, x, w, bits, number):
    found, expected = np.zeros(128, np.int32), np.zeros(128, np.int32)
    compiled_each(c, x, w, bits, number, found)
    each(c, x, w, bits, number, expected)
    np.testing.assert_array_equal(found, expected)


compiled_each = numba.njit(each)


def dot4_anywhere(c, x, w):
    return vnni.dot4(c, x, w)


define(dot4_anywhere, vnni._dot4_anywhere)


@numba.njit
def words_anywhere(c, x, w, out):
    for at in range(0, c.size, lanes(c)):
        store(out, at, dot4_anywhere(load(c, at), load(x, at), load(w, at)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(WORDS, WORDS, WORDS)
def test_without_the_instruction_words_are_multiplied_alike(c, x, w):
    found = np.zeros(16, np.int32)
    words_anywhere(c, x, w, found)
    np.testing.assert_array_equal(found, vnni.dot4(c, x, w))


@given(
    st.lists(st.integers(-(2**24), 2**24), min_size=16, max_size=16),
    st.integers(2**30, 2**31 - 1),
    st.integers(-31, 0),
    st.integers(0, 1),
)
def test_vectors_are_requantized_like_numbers(sums, multiplier, shift, profile):
    found = rounded(np.array(sums, np.int32), multiplier, shift, profile, (3, -100, 90))
    expected = [min(max(requantize(acc, multiplier, shift, profile) + 3, -100), 90) for acc in sums]
    assert found.tolist() == expected
