"""How many bytes a model's weights take, format by format. Biases are left out: no format makes them smaller."""

from typing import TypedDict

import numpy as np

from minigrad.nn import Module
from minigrad.tensor import Array


class WeightBytes(TypedDict):
    """Bytes of all weights of a model: dense float32, CSR (float32, int32 columns, int32 row pointers), bit mask + float32."""

    dense: int
    csr: int
    bitmask: int


def dense_bytes(w: Array) -> int:
    """4 bytes a weight."""
    return 4 * w.size


def csr_bytes(w: Array) -> int:
    """4 bytes a non-zero and 4 for its column; 4 a row and 4 more: rows are outputs, columns all that an output sums."""
    return 8 * int(np.count_nonzero(w)) + 4 * (len(w) + 1)


def bitmask_bytes(w: Array) -> int:
    """A bit a weight, rounded up to whole bytes, and 4 bytes a non-zero."""
    return -(-w.size // 8) + 4 * int(np.count_nonzero(w))


def weight_bytes(model: Module) -> WeightBytes:
    """Add up the bytes of all parameters of two or more dimensions.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> weight_bytes(LeNet())["dense"]
        176760
    """
    weights = [p.data for p in model.parameters() if p.ndim > 1]
    return {
        "dense": sum(map(dense_bytes, weights)),
        "csr": sum(map(csr_bytes, weights)),
        "bitmask": sum(map(bitmask_bytes, weights)),
    }
