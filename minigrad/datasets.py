"""MNIST, and any other dataset in its four-file layout: a strict reader of IDX files, and where the files are looked for.

IDX (LeCun's page): two zero bytes, a byte for the type (8: unsigned byte), a byte for the number of dimensions, the sizes
as big-endian int32, then the data.
"""

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from minigrad.checkpoint import write_atomically
from minigrad.errors import DatasetError
from minigrad.tensor import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN, STD = 0.1307, 0.3081
"""Mean and standard deviation of MNIST's training pixels, scaled to 0 ... 1."""

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}

MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}
"""MD5 of MNIST's files, decompressed: gzip's own bytes differ from mirror to mirror."""

CLASSES = 10


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled grey images.

    Attributes:
        pixels: uint8 (N, H, W), as in the file.
        labels: int64 (N,), 0 to 9.
    """

    pixels: Array
    labels: Array

    @cached_property
    def images(self) -> Array:
        """Normalised images, float32 (N, 1, H, W): see `normalize`. Computed once."""
        return normalize(self.pixels)[:, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        """Return one normalised image, float32 (1, H, W), and its label. For several, use `subset`."""
        return normalize(self.pixels[index])[None], int(self.labels[index])

    def subset(self, indices: Array | slice) -> "ImageDataset":
        """Return the images with these numbers (or a slice of them), in this order."""
        return ImageDataset(self.pixels[indices], self.labels[indices])

    def __repr__(self) -> str:
        height, width = self.pixels.shape[1:]
        return f"ImageDataset({len(self):,} images of {height}x{width})"


def normalize(pixels: Array) -> Array:
    """(pixels / 255 - MEAN) / STD in float32, through a table of the 256 possible values.

    Args:
        pixels: uint8, any shape.

    Returns:
        float32 of the same shape.

    Raises:
        TypeError: pixels are not uint8.

    Example:
        >>> normalize(np.array([0, 255], np.uint8))
        array([-0.42421296,  2.8214867 ], dtype=float32)
    """
    if np.asarray(pixels).dtype != np.uint8:
        raise TypeError(f"normalize: pixels are {np.asarray(pixels).dtype}, expected uint8, 0 to 255")
    table = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return table[pixels]


def mnist(split: str = "train", root: str | Path | None = None) -> ImageDataset:
    """Load MNIST's training or test images, or another dataset in the same four-file layout.

    The folder with the four gzipped IDX files is looked for in this order: `root`; the environment variable
    MINIGRAD_DATA; `data/mnist` of the checkout this package runs from; the user's cache (~/.cache/minigrad/mnist). If the
    cache has none either, MNIST is downloaded into it and its checksums are verified.

    Args:
        split: "train" (MNIST: 60,000 images) or "test" (10,000).
        root: a folder with the four files.

    Raises:
        ValueError: split is neither.
        DatasetError: a file is missing or damaged, or the download failed.
    """
    if split not in FILES:
        raise ValueError(f"mnist: split is {split!r}, expected one of {sorted(FILES)}")
    folder = find_data(root)
    images, labels = (folder / name for name in FILES[split])
    return read_dataset(images, labels)


def find_data(root: str | Path | None = None) -> Path:
    """Return the folder that `mnist` reads from, downloading into the user's cache if nothing else has the files."""
    named = root if root is not None else os.environ.get("MINIGRAD_DATA") or None
    if named is not None:
        named = Path(named).expanduser()
        missing = _missing(named)
        if missing:
            raise DatasetError(
                f"dataset folder {named}: expected the four gzipped IDX files, and {missing[0]} is missing"
            )
        return named
    checkout = Path(__file__).resolve().parent.parent / "data" / "mnist"
    if not _missing(checkout):
        return checkout
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigrad" / "mnist"
    for name in _missing(cache):
        download(MIRROR + name, cache / name, MNIST_MD5[name])
    return cache


def _missing(folder: Path) -> list[str]:
    return [name for pair in FILES.values() for name in pair if not (folder / name).is_file()]


def download(url: str, path: Path, md5: str) -> None:
    """Download a gzipped file with a progress bar, and keep it only if its decompressed content has this MD5.

    Raises:
        DatasetError: it could not be fetched, or its content is not the expected one.
    """
    import http.client  # here, so that importing minigrad does not wait for what a download needs
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            total = int(response.headers.get("Content-Length") or 0) or None
            content = bytearray()
            with tqdm(total=total, desc=path.name, unit="B", unit_scale=True, disable=None, leave=False) as bar:
                while block := response.read(1 << 16):
                    content += block
                    bar.update(len(block))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DatasetError(
            f"dataset file {path.name}: found in no folder, and the download from {url} failed ({error}); "
            "put the four files into a folder and name it with --data or MINIGRAD_DATA"
        ) from None
    found = hashlib.md5(_decompress(bytes(content), f"dataset file {url}")).hexdigest()
    if found != md5:
        raise DatasetError(f"dataset file {url}: the MD5 of its content is {found}, expected {md5}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, bytes(content))


def _decompress(content: bytes, name: str, limit: int = 1 << 30) -> bytes:
    """Decompress at most `limit` bytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(limit)
    except (gzip.BadGzipFile, EOFError, zlib.error, struct.error) as error:
        raise DatasetError(f"{name}: expected a whole gzip file ({error})") from None


def read_idx(path: str | Path, dimensions: int) -> Array:
    """Read a gzipped IDX file of unsigned bytes, and accept nothing that deviates from the format.

    Args:
        path: the file.
        dimensions: how many the array must have (3 for images, 1 for labels).

    Returns:
        uint8 array.

    Raises:
        DatasetError: the file is missing, not gzip, has another magic number, is shorter or longer than its header
            says, or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; expected a gzipped IDX file")
    compressed, header = path.read_bytes(), 4 + 4 * dimensions
    head = _decompress(compressed, str(path), header)
    magic, expected = head[:4], bytes([0, 0, 8, dimensions])
    if magic != expected or len(head) < header:
        raise DatasetError(
            f"{path}: expected an IDX file of unsigned bytes with {dimensions} dimension(s), magic number "
            f"0x{expected.hex()}, and it begins with 0x{magic.hex() or '(nothing)'}"
        )
    shape = struct.unpack(f">{dimensions}I", head[4:])
    size = math.prod(shape)
    if not size:
        raise DatasetError(f"{path}: its header promises no data at all, shape {shape}")
    # One byte more than promised is enough to know that there are too many, so that a bomb is not unpacked; and a header
    # that promises more than any compressed file of this length can hold (gzip shrinks 1,032-fold at best) gets no memory.
    most = min(header + size + 1, 1_100 * len(compressed) + 1)
    data = bytearray(_decompress(compressed, str(path), most)[header:])
    if len(data) != size:
        what, found = ("truncated", f"{len(data):,}") if len(data) < size else ("oversized", "more")
        raise DatasetError(f"{path}: {what}: its header promises {size:,} bytes of data, it has {found}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_dataset(images: str | Path, labels: str | Path) -> ImageDataset:
    """Read an IDX file of images and one of labels.

    Raises:
        DatasetError: a file is damaged, the counts differ, or a label is not 0 to 9.
    """
    pixels, classes = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(classes):
        raise DatasetError(
            f"{images} has {len(pixels):,} images, but {labels} has {len(classes):,} labels; expected as many of both"
        )
    if classes.size and classes.max() >= CLASSES:
        place = int(np.argmax(classes >= CLASSES))
        raise DatasetError(f"{labels}: label number {place:,} is {classes[place]}, expected 0 to {CLASSES - 1}")
    return ImageDataset(pixels, classes.astype(np.int64))


def split_validation(dataset: ImageDataset, count: int = 5_000, seed: int = 0) -> tuple[ImageDataset, ImageDataset]:
    """Split a training set, at random but always alike, into images to train on and images to choose by.

    Whatever is chosen by looking (epochs, temperatures, bits) is chosen on the second part, never on test images.

    Args:
        dataset: MNIST's 60,000 training images, say.
        count: how many to hold out.
        seed: of the split.

    Returns:
        (the other images, the `count` held-out images), each in the original order.

    Raises:
        ValueError: count is not between 0 and the number of images.
    """
    if not 0 <= count <= len(dataset):
        raise ValueError(f"split_validation: count is {count}, expected 0 to {len(dataset)}")
    order = np.random.default_rng(seed).permutation(len(dataset))
    return dataset.subset(np.sort(order[count:])), dataset.subset(np.sort(order[:count]))


def show_image(dataset: ImageDataset, rows: int = 1, seed: int | None = None) -> "Figure":
    """Draw a grid of rows x 10 randomly chosen digits with their labels.

    Args:
        dataset: where to draw from.
        rows: rows of the grid.
        seed: of the choice; None chooses anew each time.

    Returns:
        A matplotlib Figure; a notebook shows it, `.savefig(path)` writes it.

    Raises:
        ValueError: the dataset has fewer than rows x 10 images.
    """
    from matplotlib.figure import Figure  # here, so that importing minigrad does not wait for matplotlib

    count = 10 * rows
    if not 0 < count <= len(dataset):
        raise ValueError(f"show_image: {rows} rows need {count} images, the dataset has {len(dataset)}")
    chosen = np.random.default_rng(seed).choice(len(dataset), count, replace=False)
    figure = Figure(figsize=(10, 1.25 * rows), layout="constrained")
    for ax, index in zip(figure.subplots(rows, 10, squeeze=False).flat, chosen, strict=True):
        ax.imshow(dataset.pixels[index], cmap="gray", vmin=0, vmax=255)
        ax.set_title(f"Label: {dataset.labels[index]}", fontsize=9)
        ax.axis("off")
    return figure
