"""MNIST as it is, and every way in which its files can be wrong."""

import gzip
import hashlib
import http.server
import struct
import threading

import numpy as np
import pytest

from minigrad import datasets
from minigrad.datasets import (
    FILES,
    MNIST_MD5,
    DatasetError,
    ImageDataset,
    mnist,
    read_idx,
    show_image,
    split_validation,
)
from tests.conftest import write_dataset, write_idx

CHECKOUT_DATA = datasets.find_data()


def test_the_checkout_holds_mnist_itself():
    for name, md5 in MNIST_MD5.items():
        raw = gzip.decompress((CHECKOUT_DATA / name).read_bytes())
        assert hashlib.md5(raw).hexdigest() == md5, name


def test_mnist_is_complete_and_normalised():
    training, test = mnist("train"), mnist("test")
    assert (len(training), len(test)) == (60_000, 10_000)
    assert training.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.images.shape == (10_000, 1, 28, 28)
    assert test.images.dtype == np.float32
    expected = (test.pixels[:50, None] / 255 - 0.1307) / 0.3081
    np.testing.assert_allclose(test.images[:50], expected, atol=1e-6)
    assert repr(test) == "ImageDataset(10,000 images of 28x28)"


def test_a_dataset_is_indexed_like_a_list_of_pairs(small_test):
    image, label = small_test[3]
    np.testing.assert_array_equal(image, small_test.images[3])
    assert isinstance(label, int)
    assert len(small_test.subset(np.array([5, 2]))) == 2
    assert small_test.subset(np.array([5, 2]))[1][1] == small_test.labels[2]


def test_the_argument_comes_before_the_environment_and_that_before_the_checkout(small_data, tmp_path, monkeypatch):
    other = write_dataset(
        tmp_path / "other",
        ImageDataset(np.zeros((3, 4, 5), np.uint8), np.arange(3)),
        ImageDataset(np.zeros((2, 4, 5), np.uint8), np.arange(2)),
    )
    monkeypatch.setenv("MINIGRAD_DATA", str(other))
    assert len(mnist("train", small_data)) == 2_400
    assert mnist("train").pixels.shape == (3, 4, 5)
    monkeypatch.setenv("MINIGRAD_DATA", "")
    assert len(mnist("test")) == 10_000
    with pytest.raises(ValueError, match=r"split is 'validation', expected one of \['test', 'train'\]"):
        mnist("validation")


def test_a_folder_without_the_files_is_named(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match=f"dataset folder {tmp_path}: .* train-images-idx3-ubyte.gz is missing"):
        mnist("train", tmp_path)
    monkeypatch.setenv("MINIGRAD_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=f"dataset folder {tmp_path}"):
        mnist("train")


def idx(array, magic=None):
    header = struct.pack(f">{array.ndim}I", *array.shape)
    return (magic or bytes([0, 0, 8, array.ndim])) + header + array.astype(np.uint8).tobytes()


def zipped(content):
    return gzip.compress(content, mtime=0)  # the time of day has no place in the name of a test


IMAGES = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (zipped(idx(IMAGES)[:-1]), "truncated: its header promises 24 bytes of data, it has 23"),
        (zipped(idx(IMAGES) + b"x"), "oversized: its header promises 24 bytes of data, it has more"),
        (zipped(idx(IMAGES))[:-12], r"expected a whole gzip file \("),
        (zipped(idx(IMAGES))[:-4] + b"abcd", "expected a whole gzip file"),
        (idx(IMAGES), "expected a whole gzip file .*Not a gzipped file"),
        (b"", "magic number 0x00000803, and it begins with 0x.nothing"),
        (zipped(b""), "magic number 0x00000803, and it begins with 0x.nothing"),
        (zipped(b"\0\0\x08\x03\0\0"), "with 3 dimension"),
        (zipped(idx(IMAGES, b"\0\0\x0d\x03")), "magic number 0x00000803, and it begins with 0x00000d03"),
        (zipped(idx(np.arange(3))), "0x00000801"),
        (zipped(b"\0\0\x08\x03" + b"\0" * 4 + b"\xff" * 8), "promises no data at all"),
        (zipped(b"\0\0\x08\x03" + b"\xff" * 12), "truncated: its header promises 79,228,162,458"),
    ],
)
def test_a_damaged_file_is_refused_by_name(content, sentence, tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"file.gz: .*{sentence}"):
        read_idx(path, 3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere.gz: there is no such file; expected a gzipped IDX file"):
        read_idx(tmp_path / "nowhere.gz", 3)


def test_images_and_labels_must_fit(tmp_path):
    images, labels = tmp_path / "images.gz", tmp_path / "labels.gz"
    write_idx(images, IMAGES)
    write_idx(labels, np.array([1, 2, 3]))
    with pytest.raises(DatasetError, match=r"images.gz has 2 images, but .*labels.gz has 3 labels"):
        datasets.read_dataset(images, labels)
    write_idx(labels, np.array([9, 10]))
    with pytest.raises(DatasetError, match=r"labels.gz: label number 1 is 10, expected 0 to 9"):
        datasets.read_dataset(images, labels)
    write_idx(labels, np.array([9, 0]))
    np.testing.assert_array_equal(datasets.read_dataset(images, labels).pixels, IMAGES)


def test_the_validation_split_is_fixed_and_loses_nothing(small_training):
    marked = ImageDataset(small_training.pixels, np.arange(len(small_training)))
    rest, held_out = split_validation(marked, 200)
    assert (len(rest), len(held_out)) == (2_200, 200)
    np.testing.assert_array_equal(np.sort(np.r_[rest.labels, held_out.labels]), np.arange(2_400))
    np.testing.assert_array_equal(split_validation(marked, 200)[1].labels, held_out.labels)
    assert not np.array_equal(split_validation(marked, 200, seed=1)[1].labels, held_out.labels)
    with pytest.raises(ValueError, match="count is 2401, expected 0 to 2400"):
        split_validation(marked, 2_401)


def test_show_image_draws_a_labelled_grid(small_test, tmp_path):
    figure = show_image(small_test, rows=2, seed=0)
    assert len(figure.axes) == 20
    assert figure.axes[0].get_title().startswith("Label: ")
    shown, label = figure.axes[7].images[0].get_array(), int(figure.axes[7].get_title().split()[1])
    matches = (small_test.pixels == shown).all(axis=(1, 2))
    assert label in small_test.labels[matches]
    with pytest.raises(ValueError, match="61 rows need 610 images, the dataset has 600"):
        show_image(small_test, rows=61)


@pytest.fixture
def mirror(small_data):
    """A mirror on this machine that serves the small dataset."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(small_data))

        def log_message(self, *args):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch, mirror, small_data):
    """As for an installed package: no checkout around it, an empty cache, and a mirror."""
    raw = {name: gzip.decompress((small_data / name).read_bytes()) for pair in FILES.values() for name in pair}
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "site" / "minigrad" / "datasets.py"))
    monkeypatch.setattr(datasets, "MIRROR", mirror)
    monkeypatch.setattr(
        datasets, "MNIST_MD5", {name: hashlib.md5(content).hexdigest() for name, content in raw.items()}
    )
    return tmp_path / "cache" / "minigrad" / "mnist"


def test_what_is_nowhere_is_downloaded_once_and_verified(elsewhere, monkeypatch):
    assert len(mnist("train")) == 2_400
    assert sorted(p.name for p in elsewhere.iterdir()) == sorted(MNIST_MD5)
    monkeypatch.setattr(datasets, "MIRROR", "http://127.0.0.1:9/")
    assert len(mnist("test")) == 600


def test_a_download_with_other_content_is_not_kept(elsewhere, monkeypatch):
    monkeypatch.setitem(datasets.MNIST_MD5, "train-images-idx3-ubyte.gz", "0" * 32)
    with pytest.raises(DatasetError, match=r"the MD5 of its content is \w{32}, expected 0{32}"):
        mnist("train")
    assert not (elsewhere / "train-images-idx3-ubyte.gz").exists()


def test_a_failed_download_says_what_to_do(elsewhere, monkeypatch):
    monkeypatch.setattr(datasets, "MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(DatasetError, match=r"the download from .* failed .*; put the four files into a folder"):
        mnist("train")


def test_a_bomb_is_not_unpacked(tmp_path):
    import tracemalloc

    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx(IMAGES) + bytes(200_000_000)))
    tracemalloc.start()
    with pytest.raises(DatasetError, match="oversized: its header promises 24 bytes of data, it has more"):
        read_idx(path, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_arrays_can_be_written_to_and_only_bytes_are_pixels(tmp_path):
    write_idx(tmp_path / "a.gz", IMAGES)
    assert read_idx(tmp_path / "a.gz", 3).flags.writeable
    with pytest.raises(TypeError, match="pixels are int64, expected uint8"):
        datasets.normalize(np.array([-1]))


def test_the_default_split_holds_5_000_of_60_000_out():
    marks = ImageDataset(np.zeros((60_000, 1, 1), np.uint8), np.arange(60_000))
    rest, held_out = split_validation(marks)
    assert (len(rest), len(held_out)) == (55_000, 5_000)
