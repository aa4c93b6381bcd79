"""Random sparse matrices."""

import numpy as np


def sparse_array(rng, shape, share=0.7, dtype=np.float64):
    """An array whose elements are zero with probability `share`."""
    w = rng.normal(size=shape) if np.dtype(dtype).kind == "f" else rng.integers(-128, 128, shape)
    w[rng.random(shape) < share] = 0
    return w.astype(dtype)
