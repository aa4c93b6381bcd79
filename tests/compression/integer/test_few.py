"""The kernel for a few images gives the plain kernel's bits, whatever the model, and is the one that runs for a few images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.compression.integer import (
    PROFILES,
    IntegerFlatten,
    IntegerMaxPool2d,
    IntegerModel,
    Scale,
    TensorInfo,
    engine,
    few,
    vnni,
)
from minigrad.compression.integer import columns as col
from minigrad.compression.integer.arithmetic import requantize
from tests.compression.integer.integer_cases import random_chain, random_images, random_layer, small_lenet

pytestmark = pytest.mark.skipif(not vnni.AVAILABLE, reason="this CPU has no AVX512-VNNI")
PIXEL = np.float32(1 / 255)


def run_few(model, images):
    """Return logits and accumulators (of pooling: the largest) of the kernel for a few images."""
    pixels, found = images.reshape(len(images), model._plan.pixels), []
    for raw in (False, True):
        out = np.full((len(images), model._plan.features), 10**6, np.int32)
        few.run_few(pixels, model._plan.few, raw, out)
        found.append(out.reshape(-1, *model.shapes[-1]))
    return found


def check_against_plain(model, images):
    logits, sums = run_few(model, images)
    with engine.plain_kernel():
        np.testing.assert_array_equal(logits, model.logits(images))
        if not isinstance(model.layers[-1], IntegerMaxPool2d):  # there, accumulators are refused
            np.testing.assert_array_equal(sums, model.accumulators(images))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "settings_",
    [
        {"linear_per_channel": True},
        {"per_channel": False},
        {"padding": (2, 1), "pad_value": -95},
        {"padding": (1, 3), "stride": (2, 1)},
        {"dilation": (2, 2)},
    ],
    ids=lambda given: "-".join(given),
)
def test_lenets_have_the_same_bits(settings_, profile):
    model = small_lenet(1, profile=profile, **settings_)
    for count in (0, 1, 2, 7):
        check_against_plain(model, random_images(count, count))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(data=st.data(), seed=st.integers(0, 10_000), profile=st.sampled_from(PROFILES), count=st.integers(1, 2))
def test_any_chain_has_the_same_bits(data, seed, profile, count):
    rng = np.random.default_rng(seed)
    model = random_chain(data.draw, rng, profile, groups=(1, 2, 3, 4))
    check_against_plain(model, rng.integers(0, 256, (count, *model.input.shape), np.uint8))


@pytest.mark.parametrize("pool", [(1, 1), (1, 3), (2, 2), (3, 2), (3, 3)])
def test_windows_are_pooled_by_fours_and_one_by_one(pool):
    conv = random_layer(np.random.default_rng(0), (17, 3, 2, 3), PIXEL, -128, name="conv", stride=(1, 2))
    model = IntegerModel(TensorInfo((3, 9, 17), Scale.of(PIXEL)), (conv, IntegerMaxPool2d(pool, pool)))
    assert len(engine.fuse(model.input, model.layers, model.shapes)) == 1
    check_against_plain(model, random_images(3, 2, (3, 9, 17)))


def test_the_kernel_runs_as_python():
    rng = np.random.default_rng(0)
    conv = random_layer(rng, (3, 1, 2, 2), PIXEL, -128, name="conv", padding=(1, 0))
    fc = random_layer(rng, (18, 27), conv.output_scale.as_float32()[()], conv.output_zero, relu=False, name="fc")
    layers = (conv, IntegerMaxPool2d((2, 2), (2, 2)), IntegerFlatten(), fc)
    model, images = IntegerModel(TensorInfo((1, 5, 7), Scale.of(PIXEL)), layers), random_images(1, 2, (5, 7))
    with kernels.use("python"):
        check_against_plain(model, images)


@given(
    st.lists(st.integers(-(2**24), 2**24), min_size=16, max_size=16),
    st.lists(st.tuples(st.integers(2**23, 2**24 - 1), st.integers(-31, 0)), min_size=16, max_size=16),
    st.integers(0, 2),
)
def test_each_lane_has_a_multiplier_of_its_own(sums, pairs, profile):
    pairs = [(q, shift - 24) if profile == 2 else (q << 7, shift) for q, shift in pairs]
    c = np.array(sums, np.int32)
    few.requantize_channels(c, *np.array(pairs, np.int32).T, profile, (3, -100, 90))
    expected = [requantize(acc, *pair, profile) + 3 for acc, pair in zip(sums, pairs, strict=True)]
    assert c.tolist() == np.clip(expected, -100, 90).tolist()


def test_a_row_of_a_window_is_a_run_of_words():
    """Two columns of three channels are six bytes, read as eight; dilated columns are read one by one, as four bytes each."""
    for dilation, places in ((1, [0, 4, 24, 28]), (2, [0, 6, 48, 54])):
        conv = random_layer(
            np.random.default_rng(0), (5, 3, 2, 2), PIXEL, -128, name="conv", dilation=(dilation, dilation)
        )
        tables = IntegerModel(TensorInfo((3, 8, 8), Scale.of(PIXEL)), (conv,))._plan.few
        row = few.step_row(tables, 0)
        first = row[col.FIRST_PLACE]
        assert tables[first : first + row[col.TERMS]].tolist() == places
        octets = tables[row[col.FIRST_ROW] :][: len(places) * vnni.LANES].view(np.int8).reshape(len(places), -1, 4)
        w = conv.weight.transpose(0, 2, 3, 1).reshape(5, -1)
        used = (6, 8) if dilation == 1 else (3, 4)
        for filter_ in range(5):
            kept = octets[:, filter_].reshape(-1, used[1])
            assert kept[:, : used[0]].ravel().tolist() == w[filter_].tolist()
            assert not kept[:, used[0] :].any()
        assert not octets[:, 5:].any()


def test_which_kernel_runs(monkeypatch):
    seen = []
    monkeypatch.setattr(engine, "call", lambda kernel, *arguments: seen.append(kernel.__name__))
    lenet, onnx, average = small_lenet(), small_lenet(profile="onnx"), small_lenet(pool="average")
    for model, count in ((lenet, 1), (lenet, engine.FEW), (lenet, engine.FEW + 1), (onnx, 100), (average, 1)):
        model.logits(random_images(0, count))
    assert seen == ["run_few", "run_few", "run_packed", "run_few", "run_program"]
    with engine.plain_kernel():
        lenet.logits(random_images(0, 1))
    assert seen[-1] == "run_program"


@pytest.mark.parametrize(("groups", "runs"), [(4, True), (5, False)])
def test_many_groups_would_mostly_multiply_by_zeros(groups, runs):
    grouped = random_layer(np.random.default_rng(0), (groups, 1, 3, 3), PIXEL, -128, groups=groups, name="conv")
    model = IntegerModel(TensorInfo((groups, 8, 8), Scale.of(PIXEL)), (grouped,))
    assert (model._plan.few is not None) == runs
