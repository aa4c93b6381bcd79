"""What holds for every codec: laws of decode(encode(g)), bytes, refusals, and messages that are damaged."""

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings

from minigrad.compression.gradients import METHODS, QSGD
from minigrad.compression.models import LeNet
from tests.compression.gradients.codec_cases import CODECS, GRADIENTS, generator, send
from tests.sentences import raises

every_codec = pytest.mark.parametrize("codec", CODECS, ids=repr)


def test_every_method_has_a_case_and_its_name():
    assert {type(codec) for codec in CODECS} == set(METHODS.values())
    assert [METHODS[name].name for name in METHODS] == list(METHODS)
    assert list(METHODS) == ["none", "float16", "int8", "sign", "qsgd", "terngrad", "topk"]


@every_codec
@settings(max_examples=40, deadline=None, derandomize=True)
@given(gradient=GRADIENTS)
@example(gradient=np.empty(0, np.float32))
@example(gradient=np.float32([-3]))
@example(gradient=np.float32([1e-45, -1e-45, 1e-40, 0]))
def test_what_comes_back_is_finite_and_of_the_same_size_and_no_sign_is_turned(codec, gradient):
    before = gradient.copy()
    message = codec.encode(gradient, generator())
    assert type(message) is bytes
    assert message == codec.encode(gradient, generator())
    found = codec.decode(message, gradient.size)
    assert found.dtype == np.float32
    assert found.shape == gradient.shape
    assert np.isfinite(found).all()
    assert (found * np.sign(gradient) >= 0).all()
    np.testing.assert_array_equal(gradient, before)
    found[:] = 0  # it can be written to, and belongs to nobody else
    assert message == codec.encode(gradient, generator())


@every_codec
def test_zeros_stay_zeros(codec):
    np.testing.assert_array_equal(send(codec, np.zeros(20, np.float32)), np.zeros(20))


@every_codec
def test_the_largest_and_the_smallest_numbers_neither_overflow_nor_vanish_unannounced(codec):
    largest = np.finfo(np.float32).max
    gradient = np.full(20, largest) * np.float32([1, -1] * 10)
    if isinstance(codec, QSGD):
        with raises(
            ValueError, "qsgd: the gradient's norm is beyond float32; a smaller learning rate is the usual cure"
        ):
            codec.encode(gradient, generator())
        gradient /= 8
    assert np.isfinite(send(codec, gradient)).all()
    tiny = np.full(20, 2.0**-149, np.float32)
    assert (send(codec, tiny) <= 5 * 2.0**-149).all()


@every_codec
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(codec, bad):
    with raises(
        ValueError, f"{codec.name}: the gradient holds NaN or infinity; a smaller learning rate is the usual cure"
    ):
        codec.encode(np.float32([0, bad]), generator())


@every_codec
def test_other_shapes_and_types_are_refused(codec):
    with raises(ValueError, f"{codec.name}: the gradient has shape (2, 3), expected it flat, (n,)"):
        codec.encode(np.zeros((2, 3), np.float32), generator())
    expected = "float32 or float64" if codec.name == "none" else "float32"
    with raises(TypeError, f"{codec.name}: the gradient is int64, expected {expected}"):
        codec.encode(np.zeros(3, np.int64), generator())
    if codec.name != "none":
        with raises(TypeError, f"{codec.name}: the gradient is float64, expected float32"):
            codec.encode(np.zeros(3), generator())


SHARE_OF_FLOAT32 = {
    "none": 1.0,
    "float16": 0.5,
    "int8": 0.26,
    "sign": 0.04,
    "topk": 0.01,
    "terngrad": 0.051,
    "qsgd": 0.08,
}


@pytest.mark.parametrize("name", METHODS)
def test_bytes_of_a_gradient_of_lenet(name, rng):
    codec, model = METHODS[name](), LeNet()
    messages = {n: codec.encode(rng.normal(size=p.size).astype(np.float32), rng) for n, p in model.named_parameters()}
    assert len(messages) == 10
    size, dense = sum(map(len, messages.values())), 4 * 44_426
    assert size <= SHARE_OF_FLOAT32[name] * dense
    exact = {
        "none": dense,
        "float16": dense // 2,
        "int8": 44_426 + 4 * 93,  # scales: 1 + 1, 5 + 1, 60 + 1, 20 + 1, 2 + 1
        "sign": sum(-(-p.size // 8) for p in model.parameters()) + 4 * 93,
        "terngrad": sum(-(-p.size // 5) + 4 for p in model.parameters()),
    }
    assert size == exact.get(name, size)


def flip(message, rng):
    for _ in range(rng.integers(1, 4)):
        message[rng.integers(len(message))] ^= 1 << rng.integers(8)


def cut(message, rng):
    del message[rng.integers(len(message)) :]


def extend(message, rng):
    message += rng.bytes(rng.integers(1, 9))


def overwrite(message, rng):
    at = rng.integers(len(message))
    message[at : at + 8] = rng.bytes(len(message[at : at + 8]))


@every_codec
def test_damaged_messages_are_refused_or_finite_and_take_no_more_memory(codec, rng):
    refused, largest = 0, 0
    for number in range(160):
        gradient = rng.normal(size=rng.integers(1, 60)).astype(np.float32)
        message = bytearray(codec.encode(gradient, rng))
        before = len(message)
        (flip, cut, extend, overwrite)[number % 4](message, rng)
        tracemalloc.start()
        try:
            found = codec.decode(bytes(message), gradient.size)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert len(message) == before or codec.name == "none"
            assert found.shape == gradient.shape
            assert found.dtype == np.float32 or (codec.name == "none" and found.dtype == np.float64)
            assert np.isfinite(found).all()
        finally:
            largest = max(largest, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert refused >= 80  # what was cut or made longer at the least
    assert largest < 60_000


@every_codec
def test_a_message_of_another_tensor_is_refused(codec, rng):
    message = codec.encode(rng.normal(size=300).astype(np.float32), rng)
    with pytest.raises(ValueError, match=re.escape("message")):
        codec.decode(message, 30)


FLOATS = {"none": "<f4", "float16": "<f2", "int8": "<f4", "sign": "<f4", "qsgd": "<f4", "terngrad": "<f4"}


@pytest.mark.parametrize("name", FLOATS)
def test_scales_and_numbers_that_are_not_finite_are_refused(name):
    codec = METHODS[name]()
    message = codec.encode(np.float32([1]), generator())
    for bad in (np.nan, np.inf):
        head = np.array(bad, FLOATS[name]).tobytes()
        with raises(ValueError, f"{name}: a message holds NaN or infinity; was it damaged on its way?"):
            codec.decode(head + message[len(head) :], 1)
    if name not in ("none", "float16"):
        with raises(ValueError, f"{name}: a message has the scale -2.0; was it damaged on its way?"):
            codec.decode(np.array(-2, "<f4").tobytes() + message[4:], 1)


@pytest.mark.parametrize("name", ["int8", "sign", "qsgd"])
def test_buckets_of_nothing_are_refused(name):
    with raises(ValueError, f"{name}: bucket is 0, expected 1 or more"):
        METHODS[name](bucket=0)
