"""How processes average their gradients: an exchange is given one process's share and returns the sum of all shares."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from minigrad.tensor import Array

BUCKET = 1024
"""Kilobytes a message: each costs some fixed time, so that small gradients had better travel together."""


class Exchange(ABC):
    """What `Team` sends gradients through.

    Attributes:
        bytes_sent: bytes of this process's gradients, as it has handed them over so far.
    """

    bytes_sent: int = 0

    @abstractmethod
    def total(self, shares: dict[str, Array], step: int) -> dict[str, Array]:
        """Return the sums over all processes, the same bits on each.

        Args:
            shares: name → this process's share of the gradient. The names, shapes and dtypes are the same everywhere.
            step: number of the run's step, from 0.
        """

    def settings(self) -> dict[str, Any]:
        """Return what must be the same for a run to go on, as JSON can hold it."""
        return {"exchange": type(self).__name__}

    def state_dict(self) -> dict[str, Any]:
        """Return what this process must remember from step to step: arrays, or what JSON can hold."""
        return {"bytes_sent": self.bytes_sent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set it to what `state_dict` returned."""
        self.bytes_sent = int(state["bytes_sent"])


class AllReduce(Exchange):
    """Sends gradients as they are, in flat buckets. The bits of the result depend on nothing but the shares.

    Args:
        comm: mpi4py's communicator.
        bucket: kilobytes a bucket; a larger gradient has one of its own.

    Raises:
        ValueError: bucket is not above 0.
    """

    def __init__(self, comm: Any, bucket: float = BUCKET):
        if not bucket > 0:
            raise ValueError(f"AllReduce: bucket is {bucket} KB, expected more than 0")
        self.comm, self.bucket = comm, bucket

    def total(self, shares: dict[str, Array], step: int) -> dict[str, Array]:
        """See `Exchange`."""
        found: dict[str, Array] = {}
        for names in in_buckets(shares, self.bucket * 1000):
            flat = all_reduce(self.comm, np.concatenate([shares[name].reshape(-1) for name in names]))
            self.bytes_sent += flat.nbytes
            ends = np.cumsum([shares[name].size for name in names])
            for name, values in zip(names, np.split(flat, ends[:-1]), strict=True):
                found[name] = values.reshape(shares[name].shape)
        return found


def in_buckets(arrays: dict[str, Array], limit: float) -> Iterator[list[str]]:
    """Yield names that follow each other and whose arrays have one dtype and together at most `limit` bytes.

    Example:
        >>> list(in_buckets({"a": np.zeros(3), "b": np.zeros(2), "c": np.zeros(4)}, limit=40))
        [['a', 'b'], ['c']]
    """
    names: list[str] = []
    for name, array in arrays.items():
        together = sum(arrays[n].nbytes for n in names) + array.nbytes
        if names and (together > limit or array.dtype != arrays[names[0]].dtype):
            yield names
            names = []
        names.append(name)
    if names:
        yield names


def all_reduce(comm: Any, flat: Array) -> Array:
    """Return the sum of all processes' arrays of shape (n,), added in the order of ranks.

    Each process adds up one part of the array, and hands the sums on: 2 (K - 1) / K of the array's bytes are sent by each
    of K, as few as possible (Patarasuk and Yuan 2009). MPI's own Allreduce sends as many, but may add in an order that
    depends on the machine, the size of the message and the version of the library.
    """
    count, size = flat.size, comm.size
    if size == 1:
        return flat
    parts = np.zeros((size, -(-count // size)), flat.dtype)  # the last one is filled up with zeros
    parts.reshape(-1)[:count] = flat
    received = np.empty_like(parts)
    comm.Alltoall(parts, received)  # part number `rank`, from everybody
    own = received[0]
    for share in received[1:]:
        own = own + share
    comm.Allgather(own, parts)
    return parts.reshape(-1)[:count]
