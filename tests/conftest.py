"""Options and fixtures that every test may use."""

import gzip
import struct

import numpy as np
import pytest

import minigrad
from minigrad import kernels
from minigrad.datasets import FILES, ImageDataset, mnist
from minigrad.tape import observers, recording


def pytest_addoption(parser):
    parser.addoption("--notebooks", action="store_true", help="execute the course's notebooks")


@pytest.fixture(autouse=True)
def _nothing_leaks():
    """Fail a test that leaves a global switch set, and start each from the same seed."""
    minigrad.manual_seed(0)
    threads = kernels.get_num_threads()
    yield
    assert kernels.current_mode() == "compiled", "the test left kernels in Python mode"
    assert recording(), "the test left no_grad() on"
    assert not observers.get(), "the test left an observer of ops on"
    assert kernels.get_num_threads() == threads, "the test left the number of threads changed"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write_idx(path, array):
    """Write a gzipped IDX file, as `data/README.md` describes the format."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def write_dataset(folder, training: ImageDataset, test: ImageDataset):
    folder.mkdir(parents=True, exist_ok=True)
    for split, part in (("train", training), ("test", test)):
        images, labels = FILES[split]
        write_idx(folder / images, part.pixels)
        write_idx(folder / labels, part.labels)
    return folder


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """A folder in MNIST's layout with the first 2,400 training and 600 test images."""
    training, test = mnist("train"), mnist("test")
    return write_dataset(
        tmp_path_factory.mktemp("data") / "small", training.subset(slice(2_400)), test.subset(slice(600))
    )


@pytest.fixture(scope="session")
def small_training(small_data):
    return mnist("train", small_data)


@pytest.fixture(scope="session")
def small_test(small_data):
    return mnist("test", small_data)
