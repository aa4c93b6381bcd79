"""Kernels over bits: twins agree, and both agree with signs multiplied out in NumPy."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.compression.binary.kernels import CHUNK, FILTERS, IMAGES, append, binary_conv2d, pack_signs
from minigrad.compression.binary.packed import pack_bits

CHANNELS = st.sampled_from([1, 3, 20, 63, 64, 65, 130])
SIZES = st.integers(1, 3)


def line(x):
    """Pack the signs of (C, M) into words of channels, compiled and as Python."""
    found = [np.full((-(-len(x) // 64), x.shape[1]), 77, np.uint64) for _ in range(2)]
    for words, pack in zip(found, (pack_signs, compiled_pack_signs), strict=True):
        for word in range(len(words)):
            pack(x[:, None], 0, 64 * word, words[word])
    np.testing.assert_array_equal(*found)
    return found[0]


compiled_pack_signs = numba.njit(pack_signs)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(CHANNELS, st.integers(1, 20), st.integers(0, 99))
def test_packed_signs_are_the_signs_and_spare_bits_are_0(channels, run, seed):
    x = np.random.default_rng(seed).normal(size=(channels, run)).astype(np.float32)
    for m, column in enumerate(line(x).T):
        whole = sum(int(word) << 64 * i for i, word in enumerate(column))
        assert whole == sum(1 << c for c in range(channels) if x[c, m] >= 0)


def test_lines_longer_than_a_chunk(rng):
    x = rng.normal(size=(2, CHUNK + 9)).astype(np.float32)
    np.testing.assert_array_equal(line(x)[0], (x[0] >= 0) + 2 * (x[1] >= 0))


def test_the_sign_of_zero_is_plus_and_nan_has_none():
    x = np.array([[0.0, -0.0, np.nan, -1e-45, np.inf, -np.inf]], np.float32)
    assert line(x)[0].tolist() == [1, 1, 0, 0, 1, 0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_counted_sums_equal_multiplied_ones(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    channels, images = draw(CHANNELS), draw(st.sampled_from([1, 2, 9, 17]))
    (kernel_h, kernel_w), stride = (draw(SIZES), draw(SIZES)), (draw(SIZES), draw(SIZES))
    out_h, out_w, filters = draw(SIZES), draw(SIZES), draw(st.integers(1, 4))
    size = (out_h - 1) * stride[0] + kernel_h, (out_w - 1) * stride[1] + kernel_w
    a = rng.choice([-1, 1], (channels, *size, images))
    b = rng.choice([-1, 1], (filters, channels, kernel_h, kernel_w))
    scale = rng.uniform(0.01, 1, filters).astype(np.float32)
    w = pack_bits(b.transpose(0, 3, 2, 1).reshape(filters, -1))
    x = a.reshape(channels, size[0], -1).astype(np.float32)
    found, stepped = (np.full((filters, out_h, out_w, images), np.nan, np.float32) for _ in range(2))
    for mode, out in (("compiled", found), ("python", stepped)):
        bits = np.full((size[0], -(-channels // 64), size[1], images), 77, np.uint64)
        with kernels.use(mode):
            binary_conv2d(x, w, scale, kernel_h, kernel_w, *stride, bits, out)
    np.testing.assert_array_equal(found, stepped)
    for i, j in np.ndindex(out_h, out_w):
        window = a[:, i * stride[0] : i * stride[0] + kernel_h, j * stride[1] : j * stride[1] + kernel_w]
        sums = np.tensordot(b, window, 3)  # (F, C, KH, KW) . (C, KH, KW, N) -> (F, N)
        np.testing.assert_array_equal(found[:, i, j], scale[:, None] * sums.astype(np.float32))


@pytest.mark.parametrize("threads", [1, 2])
def test_filters_and_images_of_several_tasks(rng, threads):
    filters, images = FILTERS + 5, 70
    a, b = rng.choice([-1, 1], (100, images)), rng.choice([-1, 1], (filters, 100))
    bits = np.empty((1, 2, 1, images), np.uint64)
    out = np.full((filters, 1, 1, images), np.nan, np.float32)
    before = kernels.get_num_threads()
    try:
        kernels.set_num_threads(min(threads, before))
        binary_conv2d(a[:, None].astype(np.float32), pack_bits(b), np.ones(filters, np.float32), 1, 1, 1, 1, bits, out)
    finally:
        kernels.set_num_threads(before)
    np.testing.assert_array_equal(out[:, 0, 0], b @ a)


def test_words_are_appended_without_gaps():
    """Three parts of 70 bits, 64 and 6, are 210 bits: what a word has no room for begins the next."""
    rng = np.random.default_rng(0)
    values = [int.from_bytes(rng.bytes(9), "little") % 2**70 for _ in range(3)]
    joined = np.zeros((4, IMAGES), np.uint64)
    for i, value in enumerate(values):
        append(joined, 70 * i, np.array([0, value % 2**64], np.uint64), 64)
        append(joined, 70 * i + 64, np.array([0, value >> 64], np.uint64), 6)
    whole = sum(value << 70 * i for i, value in enumerate(values))
    assert sum(int(word) << 64 * i for i, word in enumerate(joined[:, 1])) == whole
    assert not joined[:, [0, 2]].any()
