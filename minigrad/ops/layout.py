"""Batch-innermost memory: shape (N, ...) outside, memory (..., N) inside.

Kernels want the images of a batch next to each other in memory. An array of shape (N, C, H, W) whose memory is
(C, H, W, N) is a transposed view: free to make, and everything NumPy does with its shape stays the same.
"""

import numpy as np

Array = np.ndarray


def innermost(x: Array) -> Array:
    """(N, ...) -> (..., N), C-contiguous. A view where the memory is batch-innermost already, a copy otherwise.

    Example:
        >>> x = outermost(np.zeros((3, 8, 8, 64)))  # shape (64, 3, 8, 8)
        >>> np.shares_memory(innermost(x), x)
        True
    """
    return np.ascontiguousarray(x.transpose((*range(1, x.ndim), 0)))


def outermost(x: Array) -> Array:
    """(..., N) -> (N, ...), always a view."""
    return x.transpose((x.ndim - 1, *range(x.ndim - 1)))


def pad_image(x: Array, height: int, width: int, value: float = 0.0) -> Array:
    """(C, H, W, N) -> (C, H + 2 * height, W + 2 * width, N), the border filled with `value`."""
    if not height and not width:
        return x
    return np.pad(x, ((0, 0), (height, height), (width, width), (0, 0)), constant_values=value)


def crop_image(x: Array, height: int, width: int) -> Array:
    """Undo `pad_image`: cut the border off again."""
    return x[:, height : x.shape[1] - height, width : x.shape[2] - width]
