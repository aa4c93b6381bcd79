"""Batches of images, shuffled by seed and laid out as the kernels want them."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from minigrad import kernels
from minigrad.ops.layout import empty, outermost
from minigrad.tensor import Array


class DataLoader:
    """Iterate over images and labels in batches; each pass is an epoch with a shuffle of its own.

    The order of an epoch depends on the seed and the epoch's number only, so that a resumed run meets the same batches.

    Args:
        images: (M, ...), float32 (or float64).
        labels: (M,), integers.
        batch_size: images a batch; the last batch may be smaller.
        shuffle: whether to draw a new order each epoch.
        seed: of the shuffles, and of what `transform` draws.
        transform: called as transform(x, generator) with every batch of a pass and a NumPy generator that depends on the
            seed, the epoch and the batch's number only; returns the batch to train on, as `transforms.Jitter` does.
            `batches`, and so `evaluate`, yield the images as they are.

    Attributes:
        epoch: number of the next pass, counted from 0. Set it to resume.
        step: batches that the next pass leaves out, since they are done already; 0 after that.

    Yields:
        (x, targets): x of shape (N, ...), batch-innermost in memory; targets (N,).

    Raises:
        ValueError: images and labels differ in number, or batch_size is below 1.

    Example:
        >>> loader = DataLoader(np.zeros((100, 1, 28, 28), np.float32), np.zeros(100, int), batch_size=64)
        >>> [x.shape for x, targets in loader]
        [(64, 1, 28, 28), (36, 1, 28, 28)]
    """

    def __init__(
        self,
        images: Array,
        labels: Array,
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        transform: Callable[[Array, np.random.Generator], Array] | None = None,
    ):
        if len(images) != len(labels):
            raise ValueError(f"DataLoader: {len(images)} images but {len(labels)} labels; expected as many of both")
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size is {batch_size}, expected 1 or more")
        self.images, self.labels = np.ascontiguousarray(images), np.asarray(labels)
        self.batch_size, self.shuffle, self.seed, self.transform = batch_size, shuffle, seed, transform
        self.epoch, self.step = 0, 0

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self.labels) // self.batch_size)

    def order(self, epoch: int) -> Array:
        """Return the order of the images in an epoch, int64 (M,)."""
        count = len(self.labels)
        return np.random.default_rng([self.seed, epoch]).permutation(count) if self.shuffle else np.arange(count)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        epoch, step = self._begin()
        batches = self.batches(self.order(epoch)[step * self.batch_size :])
        return batches if self.transform is None else self._transformed(batches, epoch, step)

    def _begin(self) -> tuple[int, int]:
        """Count the epoch that begins; return its number and the step it begins with."""
        epoch, step = self.epoch, self.step
        self.epoch, self.step = epoch + 1, 0
        return epoch, step

    def _transformed(
        self, batches: Iterator[tuple[Array, Array]], epoch: int, step: int
    ) -> Iterator[tuple[Array, Array]]:
        assert self.transform is not None
        for number, (x, targets) in enumerate(batches, step):
            yield self.transform(x, self.generator(epoch, number)), targets

    def generator(self, epoch: int, number: int) -> np.random.Generator:
        """Return what `transform` draws from for batch `number` of an epoch, both counted from 0."""
        return np.random.default_rng([self.seed, epoch, number + 1])  # [seed, epoch, 0] draws what the order drew

    def batches(self, order: Array) -> Iterator[tuple[Array, Array]]:
        """Yield the images with these numbers in batches, in this order, as they are. No epoch is counted."""
        for start in range(0, len(order), self.batch_size):
            yield self.gather(order[start : start + self.batch_size])

    def gather(self, chosen: Array) -> tuple[Array, Array]:
        """Return the images with these numbers as one batch, as they are, and their labels."""
        shape = self.images.shape[1:]
        rows = self.images.reshape(len(self.images), math.prod(shape))
        batch = empty((rows.shape[1], len(chosen)), rows.dtype)  # (features, N)
        kernels.gather_batch(rows, chosen, batch)
        return outermost(batch.reshape(*shape, len(chosen))), self.labels[chosen]
