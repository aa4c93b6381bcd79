"""How many bytes a model's weights take, format by format. Biases are left out: no format makes them smaller."""

from typing import Any, TypedDict

import numpy as np

from minigrad.nn import Module
from minigrad.tensor import Array

from .formats import encode


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


def format_bytes(model: Module, format: str, value_dtype: Any = np.float32, pointer_dtype: Any = np.int32) -> int:
    """Return the bytes of all parameters of two or more dimensions, stored in any format and widths.

    Args:
        model: dense; what is zero in it is left out.
        format: "dense", or a name in `FORMATS`: "csr" has columns of 32 bits, "csr16" of 16, "csr8" deltas of 8.
        value_dtype: np.float32, np.float64 or np.int8. The scales of int8 values are not counted.
        pointer_dtype: np.int32 or np.int16, of row pointers.

    Raises:
        ValueError: there is no such format, or a column or row pointer does not fit into its width.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
        >>> model = LeNet()
        >>> pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
        >>> size = {name: format_bytes(pruned, name) for name in ("dense", "csr", "csr16", "csr8", "bitmask")}
        >>> {name: f"{size['dense'] / count:.2f}" for name, count in size.items()}
        {'dense': '1.00', 'csr': '1.92', 'csr16': '2.55', 'csr8': '3.06', 'bitmask': '3.46'}
    """
    weights = [p.data for p in model.parameters() if p.ndim > 1]
    if format == "dense":
        return sum(w.size for w in weights) * np.dtype(value_dtype).itemsize
    marks = [(w != 0).astype(value_dtype).reshape(len(w), -1) for w in weights]  # every non-zero is stored, as a value
    return sum(encode(mark, format, pointer_dtype).nbytes for mark in marks)
