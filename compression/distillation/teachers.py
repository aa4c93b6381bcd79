"""What teachers say about images: computed once and kept in a file, or batch by batch."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minigrad import functional as F
from minigrad.checkpoint import read_checkpoint, write_checkpoint
from minigrad.errors import CheckpointError
from minigrad.functional import fusion
from minigrad.loader import DataLoader
from minigrad.nn import Module
from minigrad.tape import no_grad
from minigrad.tensor import Array, Tensor, as_tensor
from minigrad.training import evaluating

Teachers = Module | Sequence[Module]
"""One teacher, or several: an ensemble."""


class ShiftAveraged(Module):
    """A teacher that looks at each image from several places: the mean of its logits over all shifts by a few pixels.

    A teacher trained on moved images (`transforms.Jitter`) has learned what moving leaves the same. Of one image, as it is,
    it tells that only in part, and with the accidents of that one position; the mean over shifts tells more.

    Args:
        model: takes images (N, C, H, W) and returns logits (N, K). The wrapper shares its parameters.
        pixels: the largest shift, across and down: (2 * pixels + 1) ** 2 positions. 0: the model itself.
        fill: value of the pixels that come in at the border, such as `transforms.BACKGROUND` for normalised images.

    Raises:
        ValueError: pixels is negative.

    Example:
        >>> from minigrad import nn
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(9, 1, bias=False))
        >>> model[1].weight.data[...] = [[0, 0, 0, 0, 9, 0, 0, 0, 0]]  # nine times the pixel in the middle
        >>> x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
        >>> model(x).item(), ShiftAveraged(model, 1)(x).item()  # the middle pixel; the mean of all
        (36.0, 36.0)
    """

    def __init__(self, model: Module, pixels: int, fill: float = 0.0):
        if pixels < 0:
            raise ValueError(f"ShiftAveraged: pixels is {pixels}, expected 0 or more")
        self.model, self.pixels, self.fill = model, pixels, fill

    def forward(self, x: Any) -> Tensor:
        """(N, C, H, W) -> (N, K)"""
        x = as_tensor(x)
        height, width = x.shape[2:]
        padded = F.pad(x, [(0, 0), (0, 0), *[(self.pixels, self.pixels)] * 2], self.fill)
        places = list(np.ndindex(2 * self.pixels + 1, 2 * self.pixels + 1))
        views = (padded[:, :, down : down + height, across : across + width] for down, across in places)
        total = self.model(next(views))
        for view in views:
            total = total + self.model(view)
        return total / len(places)

    def __repr__(self) -> str:  # part of the checksum of a teacher
        return f"ShiftAveraged({self.model!r}, pixels={self.pixels}, fill={self.fill})"


def teacher_logits(model: Teachers, dataset: Any, cache: str | Path | None = None, *, batch_size: int = 250) -> Array:
    """Return a teacher's logits for every image of a dataset; computed once if there is a file to keep them in.

    Args:
        model: the teacher, or a sequence of M of them. Stays as it is, and is run in evaluation mode: without dropout.
        dataset: an ImageDataset, or an array of images (N, ...).
        cache: a safetensors file. If it exists, the logits are read from it; else they are computed and written to it,
            with the checksums of the images and of the model. A new file is written whole or not at all.
        batch_size: images at a time.

    Returns:
        float32 (N, K), row n for image n; of several teachers (M, N, K).

    Raises:
        CheckpointError: the file is damaged, or belongs to other images or another model.
        ValueError: there are no teachers or no images, or teachers have different numbers of classes.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> teacher_logits(LeNet(), np.zeros((3, 1, 28, 28), np.float32)).shape
        (3, 10)
    """
    images = np.asarray(getattr(dataset, "images", dataset))
    models = as_teachers("teacher_logits", model)
    if not len(images):
        raise ValueError("teacher_logits: there are no images")
    marks = {"images": checksum_of_images(images), "model": [checksum_of_model(m) for m in models]}
    shape = (len(images),) if isinstance(model, Module) else (len(models), len(images))
    if cache is not None and Path(cache).exists():
        return _read(Path(cache), marks, shape)
    loader = DataLoader(images, np.zeros(len(images), np.int64), batch_size)
    logits = stack_teachers([_all_logits(m, loader) for m in models], alone=isinstance(model, Module))
    if cache is not None:
        Path(cache).parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(cache, {"logits": logits}, {"teacher_logits": marks})
    return logits


def _read(path: Path, marks: dict[str, Any], shape: tuple[int, ...]) -> Array:
    arrays, metadata = read_checkpoint(path)
    found = metadata.get("teacher_logits")
    if set(arrays) != {"logits"} or not isinstance(found, dict):
        raise CheckpointError(f"teacher logits {path}: the file holds something else; give a name that is not taken")
    for what, words in (("images", "another data set"), ("model", "another teacher")):
        if found.get(what) != marks[what]:
            raise CheckpointError(
                f"teacher logits {path} belong to {words} (the checksum of the {what} is not the one in the file); "
                "delete the file, or give another name, to compute them anew"
            )
    logits = arrays["logits"]
    if logits.shape[:-1] != shape or logits.dtype != np.float32:
        raise CheckpointError(f"teacher logits {path}: the file is damaged, it holds {logits.dtype} {logits.shape}")
    return logits


def checksum_of_images(images: Array) -> str:
    """Return the SHA-256 of the images' type, shape and values."""
    images = np.ascontiguousarray(images)
    digest = hashlib.sha256(f"{images.dtype.str} {images.shape}".encode())
    digest.update(images.data)
    return digest.hexdigest()


def checksum_of_model(model: Module) -> str:
    """Return the SHA-256 of what a model is made of: its layers and their settings, parameters and buffers."""
    digest = hashlib.sha256(repr(model).encode())
    for name, array in model.state_dict().items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def as_teachers(name: str, model: Any) -> list[Module]:
    """Return one teacher or several as a list."""
    models = [model] if isinstance(model, Module) else list(model)
    if not models or not all(isinstance(m, Module) for m in models):
        raise ValueError(f"{name}: expected a teacher, a Module, or one or more of them; got {model!r}")
    return models


def stack_teachers(logits: list[Array], alone: bool) -> Array:
    """[(N, K), ...] -> (N, K) of a teacher alone, else (M, N, K)."""
    if alone:
        return logits[0]
    if len({a.shape for a in logits}) > 1:
        classes = [a.shape[-1] for a in logits]
        raise ValueError(f"teachers: an ensemble's members must have the same classes, and they have {classes}")
    return np.stack(logits)


def _all_logits(model: Module, loader: DataLoader) -> Array:
    count, parts = len(loader.labels), []
    with (
        evaluating(model),
        no_grad(),
        fusion(),
        tqdm(total=count, desc="teacher", unit=" images", unit_scale=True, disable=None, leave=False) as bar,
    ):
        for x, _ in loader.batches(np.arange(count)):
            parts.append(np.array(model(x).data, np.float32))
            bar.update(len(x))
    return np.ascontiguousarray(np.concatenate(parts))


@dataclass(frozen=True)
class SoftBatch:
    """What a student learns from, for one batch: labels (N,), and the teacher's logits (N, K) or teachers' (M, N, K)."""

    labels: Array
    logits: Array

    def __len__(self) -> int:
        return len(self.labels)


class SoftLoader(DataLoader):
    """A DataLoader whose targets are a `SoftBatch`: labels, and what the teacher says of the very same images.

    Args:
        loader: gives images, labels, order, and `transform`.
        teacher: logits computed before, (N, K) or (M, N, K), row n for the loader's image n; or a teacher, or several,
            which then see each batch as the student sees it, moved by a `transform`.

    Logits computed before belong to the images as they are. With a `transform` they would answer for other images than the
    student sees, and are refused: a teacher that looks at the same view as the student teaches more (Beyer et al.,
    "Knowledge distillation: a good teacher is patient and consistent", 2022).

    Raises:
        ValueError: the logits' rows are not one an image; or there are logits and a transform.
    """

    def __init__(self, loader: DataLoader, teacher: Any):
        super().__init__(loader.images, loader.labels, loader.batch_size, loader.shuffle, loader.seed, loader.transform)
        self.epoch, self.step = loader.epoch, loader.step
        self.models: list[Module] = []
        self.logits: Array | None = None
        self.alone = isinstance(teacher, Module)
        if self.alone or (isinstance(teacher, list | tuple) and any(isinstance(t, Module) for t in teacher)):
            self.models = as_teachers("SoftLoader", teacher)
        else:
            self.logits = self._checked(np.asarray(teacher))

    def _checked(self, logits: Array) -> Array:
        if logits.ndim not in (2, 3) or logits.shape[-2] != len(self.labels):
            raise ValueError(
                f"SoftLoader: the teacher's logits have shape {logits.shape}, expected ({len(self.labels)}, K), "
                "one row for each image of the loader, in its order"
            )
        if self.transform is not None:
            raise ValueError(
                "SoftLoader: the teacher's logits were computed for the images as they are, and the loader's transform "
                "changes them; give the teacher itself, which then sees what the student sees"
            )
        return logits

    def __iter__(self) -> Iterator[tuple[Array, Any]]:
        order = self.order(self.epoch)[self.step * self.batch_size :]
        start = 0
        for x, labels in super().__iter__():
            chosen = order[start : start + len(labels)]
            start += len(labels)
            yield x, SoftBatch(labels, self._ask(x) if self.logits is None else self.logits[..., chosen, :])

    def _ask(self, x: Array) -> Array:
        logits = []
        for model in self.models:
            with evaluating(model), no_grad():
                logits.append(model(x).data)
        return stack_teachers(logits, self.alone)
