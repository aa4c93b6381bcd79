"""Each process's part of a batch. The batches themselves are those of one process: same seed, same order, same sizes."""

from collections.abc import Iterator
from typing import Any

from minigrad.loader import DataLoader
from minigrad.tensor import Array


def part(count: int, rank: int, size: int) -> slice:
    """Return which of `count` things in a row belong to process `rank` of `size`: each to one, and no two parts differ by
    more than one.

    Example:
        >>> [part(10, rank, 4) for rank in range(4)]
        [slice(0, 2, None), slice(2, 5, None), slice(5, 7, None), slice(7, 10, None)]
    """
    return slice(count * rank // size, count * (rank + 1) // size)


class ShardedLoader(DataLoader):
    """A `DataLoader` that yields one process's part of every batch. `batch_size`, `labels` and the length are the whole's.

    An epoch's last batch may hold fewer images than there are processes; some parts are empty then.

    Args:
        rank, size: number of this process, from 0, and how many there are.
        images, labels, batch_size, shuffle, seed, transform: as for `DataLoader`. A transform is given the whole batch on
            every process, which then keeps its part: what it draws is the same for any number of processes.

    Raises:
        ValueError: as `DataLoader`; batch_size is below `size`.

    Example:
        >>> import numpy as np
        >>> loader = ShardedLoader(1, 2, np.zeros((5, 3), np.float32), np.arange(5), batch_size=4)
        >>> [targets for x, targets in loader]
        [array([2, 3]), array([4])]
    """

    def __init__(self, rank: int, size: int, images: Array, labels: Array, batch_size: int = 1, **settings: Any):
        if batch_size < size:
            raise ValueError(
                f"ShardedLoader: {size} processes share batches of {batch_size} images, so that some would never have "
                f"any; use a batch_size of {size} or more, or fewer processes"
            )
        super().__init__(images, labels, batch_size, **settings)
        self.rank, self.size = rank, size

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        epoch, step = self._begin()
        return self._parts(epoch, step)

    def _parts(self, epoch: int, step: int) -> Iterator[tuple[Array, Array]]:
        order = self.order(epoch)
        for number in range(step, len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            mine = part(len(chosen), self.rank, self.size)
            if self.transform is None:
                yield self.gather(chosen[mine])
            else:
                x, targets = self.gather(chosen)
                yield self.transform(x, self.generator(epoch, number))[mine], targets[mine]
