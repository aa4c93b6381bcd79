"""Jitter: whole pixels, every shift equally often, the same for the same seed."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.datasets import normalize
from minigrad.loader import DataLoader
from minigrad.ops.layout import innermost, outermost
from minigrad.transforms import BACKGROUND, Jitter


def shifted(image, down, across, fill):
    """(C, H, W) moved by hand."""
    out = np.full_like(image, fill)
    _, height, width = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - across < width:
                out[:, i, j] = image[:, i - down, j - across]
    return out


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 2), st.integers(1, 5), st.integers(1, 6), st.integers(0, 3), st.booleans())
def test_every_image_is_moved_by_whole_pixels(count, channels, height, width, pixels, inner):
    x = np.arange(1.0, count * channels * height * width + 1, dtype=np.float32).reshape(count, channels, height, width)
    given_ = outermost(np.ascontiguousarray(innermost(x))) if inner else x
    moved = Jitter(pixels, fill=-1)(given_, np.random.default_rng(0))
    steps = range(-pixels, pixels + 1)
    for before, after in zip(x, moved, strict=True):
        assert any(np.array_equal(after, shifted(before, d, a, -1)) for d in steps for a in steps)
    assert moved.dtype == np.float32
    assert not np.shares_memory(moved, given_)
    np.testing.assert_array_equal(x.reshape(-1), np.arange(1, x.size + 1))
    assert moved.transpose(1, 2, 3, 0).flags.c_contiguous


def test_all_25_shifts_come_equally_often():
    x = np.zeros((5_000, 1, 5, 5), np.float32)
    x[:, 0, 2, 2] = 1
    places = Jitter(2, fill=0)(x, np.random.default_rng(0)).sum(axis=(0, 1))
    assert places.min() > 140
    assert places.max() < 260  # 200 each, give or take 4 standard deviations
    assert places.sum() == 5_000


def test_what_comes_in_is_background():
    assert np.float32(BACKGROUND) == normalize(np.zeros(1, np.uint8))[0]
    moved = Jitter(1)(np.ones((50, 1, 3, 3), np.float32), np.random.default_rng(0))
    assert set(np.unique(moved).tolist()) == {1.0, float(np.float32(BACKGROUND))}


def test_a_loader_draws_the_same_for_the_same_seed():
    images = np.random.default_rng(0).normal(size=(50, 1, 8, 8)).astype(np.float32)

    def passes(seed, epoch=0, step=0, transform=Jitter(2)):  # noqa: B008  frozen
        loader = DataLoader(images, np.arange(50), 8, shuffle=True, seed=seed, transform=transform)
        loader.epoch, loader.step = epoch, step
        return [x.copy() for x, _ in loader]

    first = passes(0)
    for a, b in zip(first, passes(0), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(first[3:], passes(0, step=3), strict=True):  # resumed in the middle of an epoch
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], passes(1)[0])
    assert not np.array_equal(first[0], passes(0, epoch=1)[0])
    assert not np.array_equal(first[0], passes(0, transform=None)[0])


def test_each_batch_gets_a_generator_of_its_own():
    drawn = []

    def transform(x, generator):
        drawn.append(generator.integers(0, 2**62))
        return x

    loader = DataLoader(np.zeros((9, 1)), np.arange(9), 2, shuffle=True, transform=transform)
    first, second = list(loader), list(loader)
    assert len(first) == len(second) == 5
    assert len(set(drawn)) == 10
    assert drawn[0] != np.random.default_rng([0, 0]).integers(0, 2**62)  # what draws the order


def test_evaluation_sees_the_images_as_they_are():
    images = np.random.default_rng(0).normal(size=(9, 1, 4, 4)).astype(np.float32)
    loader = DataLoader(images, np.arange(9), 9, transform=Jitter(2))
    ((x, _),) = loader.batches(np.arange(9))
    np.testing.assert_array_equal(x, images)
    ((x, _),) = loader
    assert not np.array_equal(x, images)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"^Jitter: pixels is -1, expected 0 or more$"):
        Jitter(-1)
    sentence = "Jitter: x must be images (N, C, H, W), got (3, 784); flatten them in the model, after it"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Jitter()(np.zeros((3, 784)), np.random.default_rng(0))
