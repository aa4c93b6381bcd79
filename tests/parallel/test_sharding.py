"""Every image of a batch belongs to one process, and the batches are those of one process."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import DataLoader
from minigrad.parallel import ShardedLoader, part


@given(count=st.integers(0, 200), size=st.integers(1, 12))
def test_parts_follow_each_other_and_differ_by_one_at_most(count, size):
    parts = [range(count)[part(count, rank, size)] for rank in range(size)]
    assert [number for numbers in parts for number in numbers] == list(range(count))
    lengths = [len(numbers) for numbers in parts]
    assert max(lengths) - min(lengths) <= 1


def shuffled_noise(x, generator):
    return x + generator.normal(size=x.shape).astype(np.float32)


@settings(deadline=None)  # a kernel may have to be compiled
@given(
    count=st.integers(1, 40),
    size=st.integers(1, 5),
    more=st.integers(0, 9),
    shuffle=st.booleans(),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 2),
    data=st.data(),
    transform=st.sampled_from([None, shuffled_noise]),
)
def test_the_parts_of_all_processes_are_the_batches_of_one(count, size, more, shuffle, seed, epoch, data, transform):
    images, labels = np.arange(6 * count, dtype=np.float32).reshape(count, 1, 2, 3), np.arange(count)
    options = {"batch_size": size + more, "shuffle": shuffle, "seed": seed, "transform": transform}
    whole = DataLoader(images, labels, **options)
    loaders = [ShardedLoader(rank, size, images, labels, **options) for rank in range(size)]
    step = data.draw(st.integers(0, len(whole)))
    for loader in (whole, *loaders):
        loader.epoch, loader.step = epoch, step
    assert {len(loader) for loader in loaders} == {len(whole)}
    batches = list(whole)
    assert len(batches) == len(whole) - step
    for (x, targets), *parts in zip(batches, *loaders, strict=True):
        np.testing.assert_array_equal(np.concatenate([mine for mine, _ in parts]), x)
        np.testing.assert_array_equal(np.concatenate([mine for _, mine in parts]), targets)
    assert {(loader.epoch, loader.step) for loader in loaders} == {(whole.epoch, whole.step)} == {(epoch + 1, 0)}


def test_parts_lie_in_memory_as_the_kernels_want_them():
    images = np.arange(8 * 6, dtype=np.float32).reshape(8, 1, 2, 3)
    x, _ = next(iter(ShardedLoader(1, 2, images, np.arange(8), batch_size=8)))
    assert x.shape == (4, 1, 2, 3)
    assert x.transpose(1, 2, 3, 0).flags.c_contiguous


def test_more_processes_than_images_a_batch_are_refused():
    images, labels = np.zeros((8, 3), np.float32), np.zeros(8, int)
    assert len(ShardedLoader(0, 4, images, labels, batch_size=4)) == 2
    with pytest.raises(
        ValueError, match=r"ShardedLoader: 4 processes share batches of 3 images, so that some would never"
    ):
        ShardedLoader(0, 4, images, labels, batch_size=3)
