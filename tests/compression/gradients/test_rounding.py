"""int8, QSGD and TernGrad: right on average, never further off than a step, as noisy as the papers say."""

import numpy as np
import pytest
from hypothesis import given, settings

from minigrad.compression.gradients import QSGD, Int8, TernGrad
from minigrad.compression.gradients.rounding import round_at_random
from tests.compression.gradients.codec_cases import GRADIENTS, generator, send
from tests.sentences import raises

DRAWS, COORDINATES = 10_000, 16


def draws(codec, gradient, count):
    """Encode a gradient many times at once: as the buckets of a long one, or, with one scale, as its repetitions."""
    return send(codec, np.tile(gradient, count), seed=1).reshape(count, gradient.size).astype(np.float64)


UNBIASED = [Int8(bucket=COORDINATES), QSGD(1, COORDINATES), QSGD(3, COORDINATES), TernGrad()]


@pytest.mark.parametrize("codec", UNBIASED, ids=repr)
def test_the_mean_is_the_gradient(codec, rng):
    """10,000 draws of 16 coordinates, each mean within 4 standard errors; the variance is that of rounding at random."""
    gradient = (rng.normal(size=COORDINATES) * 10.0 ** rng.uniform(-2, 0, COORDINATES)).astype(np.float32)
    gradient[3] = 0
    found = draws(codec, gradient, DRAWS)
    scale = np.linalg.norm(gradient) if codec.name == "qsgd" else np.abs(gradient).max()
    step = scale / {"int8": 127, "terngrad": 1}.get(codec.name, getattr(codec, "levels", 0))
    above = np.abs(gradient) / step % 1
    error = step * np.sqrt(above * (1 - above))
    assert (np.abs(found.mean(axis=0) - gradient) <= 4 * error / np.sqrt(DRAWS) + 1e-6 * scale).all()
    np.testing.assert_allclose(found.std(axis=0), error, rtol=0.25, atol=1e-3 * scale)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(GRADIENTS)
def test_int8_is_less_than_a_step_away(gradient):
    scale = np.abs(gradient).max(initial=0)
    assert (np.abs(send(Int8(), gradient) - gradient) <= scale * np.float32(1.001 / 127) + 1e-45).all()


def test_every_bucket_has_its_own_scale():
    gradient = np.float32([1e-6, 2e-6, 1e6, 2e6, 3e-3])
    np.testing.assert_allclose(send(Int8(bucket=2), gradient), gradient, rtol=0.01)
    assert send(Int8(bucket=5), gradient)[:2].max() == 0


def test_int8_reaches_both_ends_and_refuses_the_integer_beyond():
    message = Int8().encode(np.float32([-2, 2, 0]), generator())
    assert message[4:] == bytes([129, 127, 0])
    with raises(ValueError, "int8: a message has the integer -128, expected -127 to 127; was it damaged on its way?"):
        Int8().decode(message[:4] + b"\x80\x7f\0", 3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(GRADIENTS)
def test_qsgd_sends_multiples_of_the_norm_and_is_less_than_one_away(gradient):
    norm = np.float32(np.linalg.norm(gradient.astype(np.float64)))
    for levels in (1, 5, 16):
        found = send(QSGD(levels), gradient)
        q = np.rint(found.astype(np.float64) / norm * levels) if norm > 1e-35 else np.zeros(gradient.size)
        np.testing.assert_allclose(found, q / levels * norm, rtol=1e-5, atol=1e-35)
        assert (np.abs(found - gradient) <= norm * np.float32(1.001 / levels) + 1e-35).all()


@pytest.mark.parametrize("levels", [1, 2, 8, 32])
@pytest.mark.parametrize("kind", ["normal", "all alike"])
def test_qsgd_errs_and_sends_no_more_than_the_paper_says(levels, kind, rng):
    """Lemma 3.1: E|Q(v) - v|² <= min(n/s², sqrt(n)/s) |v|², and at most s (s + sqrt(n)) non-zeros are expected."""
    n = 64
    gradient = (rng.normal(size=n) if kind == "normal" else np.ones(n)).astype(np.float32)
    found = draws(QSGD(levels, bucket=n), gradient, 1000)
    error = ((found - gradient) ** 2).sum(axis=1).mean() / (gradient**2).sum()
    assert error <= min(n / levels**2, np.sqrt(n) / levels)
    assert (found != 0).sum(axis=1).mean() <= levels * (levels + np.sqrt(n))
    if levels == 1 and kind == "all alike":
        assert error == pytest.approx(np.sqrt(n) - 1, rel=0.05)  # the largest that can be, for 1 level


def test_qsgd_message_by_hand():
    """Of norm 5 and 5 levels, 3, 0, -4 are 3, 0, -4: 2 entries (+ 1), distances 1 and 2, levels 3 and 4, signs + and -."""
    message = QSGD(levels=5).encode(np.float32([3, 0, -4]), generator())
    bits = "110" + "0" + "100" + "110" + "101000"
    stream = [int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8)]
    assert message == np.float32(5).tobytes() + bytes(stream) + bytes([0b10])
    np.testing.assert_allclose(QSGD(levels=5).decode(message, 3), [3, 0, -4], rtol=1e-6)


def test_qsgd_refuses_what_it_cannot_mean():
    message = QSGD(levels=5).encode(np.float32([3, 0, -4]), generator())
    with raises(ValueError, "qsgd: a message has the level 4, expected up to 3"):
        QSGD(levels=3).decode(message, 3)
    with raises(ValueError, "a message has a number at place 2 of 2; was it damaged on its way?"):
        QSGD(levels=5).decode(message, 2)
    with raises(ValueError, "a message says that it has 2 entries, for 1 numbers; was it damaged on its way?"):
        QSGD(levels=5).decode(message, 1)
    with raises(ValueError, "qsgd: a message of 3 numbers begins with 4 bytes, got 2"):
        QSGD().decode(message[:2], 3)
    for levels in (0, 2**20 + 1):
        with raises(ValueError, f"qsgd: levels is {levels}, expected 1 to 1048576"):
            QSGD(levels)


def test_more_levels_are_nearer_and_take_more_bytes(rng):
    gradient = rng.normal(size=5_000).astype(np.float32)
    sizes, errors = [], []
    for levels in (1, 4, 16, 64, 256):
        sizes.append(len(QSGD(levels).encode(gradient, generator())))
        errors.append(np.square(send(QSGD(levels), gradient) - gradient).sum())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(GRADIENTS)
def test_terngrad_sends_three_values(gradient):
    scale, found = np.abs(gradient).max(initial=0), send(TernGrad(), gradient)
    assert set(np.unique(found)) <= {-scale, 0, scale}
    assert (found[np.abs(gradient) == scale] == gradient[np.abs(gradient) == scale]).all()


def test_terngrad_by_hand_and_the_first_byte_that_is_none():
    message = TernGrad().encode(np.float32([2, -2, 0, 0, 2, -2]), generator())
    assert message == np.float32(2).tobytes() + bytes([2 * 81 + 0 * 27 + 9 + 3 + 2, 0])
    assert TernGrad().decode(message[:4] + bytes([242, 0]), 5 + 1).tolist() == [2] * 5 + [-2]
    with raises(ValueError, "terngrad: a message has the byte 243, expected up to 242, five digits of base 3"):
        TernGrad().decode(message[:4] + bytes([243, 0]), 6)


def test_terngrad_clips_at_standard_deviations():
    gradient = np.float32([0] * 99 + [10])
    found = send(TernGrad(clip=2.5), gradient)
    np.testing.assert_allclose(found[-1], 2.5 * gradient.std(), rtol=1e-6)
    assert send(TernGrad(clip=20), gradient)[-1] == 10
    with raises(ValueError, "terngrad: clip is -1, expected 0 or more"):
        TernGrad(clip=-1)


def test_rounding_at_random_never_leaves_the_levels():
    """1 + 0.99999994 would be 2 in float32; and a scale that was rounded may be below the number."""
    x = np.full((1, 200_000), 1, np.float32)
    for scale in (1, np.nextafter(np.float32(1), np.float32(0))):
        q = round_at_random(x, np.full((1, 1), scale, np.float32), 127, generator())
        assert set(np.unique(q)) == {127}
