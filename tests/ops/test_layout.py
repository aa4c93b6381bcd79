"""Memory: what is a view, what is copied, what is filled up."""

import numpy as np
import pytest

from minigrad.kernels.vector import lanes
from minigrad.ops.layout import LARGE, fill_vectors, innermost, outermost


@pytest.mark.parametrize("shape", [(1, LARGE), (LARGE, 1), (3, 2)])
def test_what_is_batch_innermost_already_is_not_copied(shape):
    x = outermost(np.zeros((shape[1], shape[0])))
    assert x.shape == shape
    assert np.shares_memory(innermost(x), x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_a_batch_too_small_for_a_vector_is_filled_up(dtype, rng):
    x = rng.normal(size=(2, 3)).astype(dtype)
    width = lanes(x)
    filled = fill_vectors(x, width - 1)
    assert filled.shape == (2, width)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled[:, :3], x)
    np.testing.assert_array_equal(filled[:, 3:], 0)
    for run in (width, width + 1):
        assert fill_vectors(x, run) is x
    assert fill_vectors(x[:, :0], 0).shape == (2, 0)
