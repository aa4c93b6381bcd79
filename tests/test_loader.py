"""Batches: nothing lost, nothing doubled, the same order for the same seed, the layout that the kernels want."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.loader import DataLoader


@settings(max_examples=40, deadline=None, derandomize=True)
@given(count=st.integers(0, 40), batch_size=st.integers(1, 50), shuffle=st.booleans(), seed=st.integers(0, 5))
def test_every_image_comes_once_with_its_label(count, batch_size, shuffle, seed):
    images = np.arange(count * 6, dtype=np.float32).reshape(count, 1, 2, 3)
    loader = DataLoader(images, np.arange(count), batch_size, shuffle, seed)
    batches = list(loader)
    assert len(batches) == len(loader)
    seen = [label for _, targets in batches for label in targets]
    assert sorted(seen) == list(range(count))
    for x, targets in batches:
        np.testing.assert_array_equal(x, images[targets])
        assert x.dtype == np.float32
        assert x.transpose(1, 2, 3, 0).flags.c_contiguous
    assert all(len(targets) == batch_size for _, targets in batches[:-1])


def test_the_seed_and_the_epoch_decide_the_order():
    images, labels = np.zeros((50, 1)), np.arange(50)

    def orders(seed, first_epoch=0):
        loader = DataLoader(images, labels, 50, shuffle=True, seed=seed)
        loader.epoch = first_epoch
        return [next(iter(loader))[1].tolist() for _ in range(3)]

    assert orders(0) == orders(0)
    assert orders(0) != orders(1)
    assert len({tuple(o) for o in orders(0)}) == 3
    assert orders(0, first_epoch=1)[0] == orders(0)[1]
    assert [t.tolist() for _, t in DataLoader(images, labels, 50)] == [list(range(50))]


def test_one_pass_leaves_out_the_batches_that_are_done():
    images, labels = np.zeros((50, 1)), np.arange(50)
    loader, other = (DataLoader(images, labels, 8, shuffle=True) for _ in range(2))
    passes = [[targets.tolist() for _, targets in loader] for _ in range(2)]
    other.step = 3
    assert [targets.tolist() for _, targets in other] == passes[0][3:]
    assert (other.epoch, other.step) == (1, 0)
    assert [targets.tolist() for _, targets in other] == passes[1]
    other.step = len(other)
    assert list(other) == []


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="3 images but 2 labels"):
        DataLoader(np.zeros((3, 1)), np.zeros(2, int))
    with pytest.raises(ValueError, match="batch_size is 0, expected 1 or more"):
        DataLoader(np.zeros((3, 1)), np.zeros(3, int), batch_size=0)


def test_defaults_are_pytorchs():
    loader = DataLoader(np.zeros((3, 1)), np.arange(3))
    assert [t.tolist() for _, t in loader] == [[0], [1], [2]]
    assert (loader.batch_size, loader.shuffle, loader.seed, loader.epoch) == (1, False, 0, 1)
    assert loader.transform is None
