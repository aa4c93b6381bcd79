"""n of m and blocks, against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.compression.pruning import block_mask, n_of_m_mask

SCORES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6), elements=st.sampled_from([0, 1, 2, 5])
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(scores=SCORES, m=st.integers(1, 5), data=st.data())
def test_n_of_m_keeps_the_highest_of_every_group(scores, m, data):
    n = data.draw(st.integers(0, m))
    mask = n_of_m_mask(scores, n, m)
    assert mask.shape == scores.shape
    rows, kept = scores.reshape(len(scores), -1), mask.reshape(len(scores), -1)
    for row, keep in zip(rows, kept, strict=True):
        for start in range(0, len(row), m):
            group, chosen = row[start : start + m], keep[start : start + m]
            assert chosen.sum() == min(n, len(group))
            if chosen.any() and not chosen.all():
                assert group[chosen].min() >= group[~chosen].max()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(scores=SCORES, sparsity=st.floats(0, 1), r=st.integers(1, 4), c=st.integers(1, 4))
def test_blocks_go_whole_and_the_lowest_mean_first(scores, sparsity, r, c):
    mask = block_mask(scores, sparsity, (r, c)).reshape(len(scores), -1)
    rows = scores.reshape(len(scores), -1).astype(float)
    means, kept = [], []
    for i in range(0, rows.shape[0], r):
        for j in range(0, rows.shape[1], c):
            block = mask[i : i + r, j : j + c]
            assert block.all() or not block.any()
            kept.append(bool(block.all()))
            means.append(rows[i : i + r, j : j + c].mean())
    assert kept.count(False) == round(len(kept) * sparsity)
    if True in kept and False in kept:
        highest_gone = max(mean for mean, keep in zip(means, kept, strict=True) if not keep)
        assert min(mean for mean, keep in zip(means, kept, strict=True) if keep) >= highest_gone - 1e-9


def test_l1_and_l2_rank_blocks_differently():
    w = np.array([[3.0, 0.0, 2.0, 2.0]])
    np.testing.assert_array_equal(block_mask(abs(w), 0.5, (1, 2)), [[False, False, True, True]])
    np.testing.assert_array_equal(block_mask(w**2, 0.5, (1, 2)), [[True, True, False, False]])


def test_ties_and_empty_arrays():
    assert not block_mask(np.ones((4, 4)), 0.25, (2, 2), ties="drop").any()
    assert block_mask(np.ones((4, 4)), 0.25, (2, 2)).sum() == 12
    assert block_mask(np.ones((0, 3)), 0.5).shape == n_of_m_mask(np.ones((0, 3))).shape == (0, 3)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="3:2 is no pattern"):
        n_of_m_mask(np.ones((2, 2)), 3, 2)
    with pytest.raises(ValueError, match="0:0 is no pattern"):
        n_of_m_mask(np.ones((2, 2)), 0, 0)
    with pytest.raises(ValueError, match=r"n_of_m_mask: scores have shape \(4,\), expected two or more dimensions"):
        n_of_m_mask(np.ones(4))
    with pytest.raises(ValueError, match="block_mask: the scores hold NaN"):
        block_mask(np.full((2, 2), np.nan), 0.5)
    with pytest.raises(ValueError, match=r"block_mask: sparsity is -0.5"):
        block_mask(np.ones((2, 2)), -0.5)
    with pytest.raises(ValueError, match="a block of 0 x 2 holds nothing"):
        block_mask(np.ones((2, 2)), 0.5, (0, 2))
    with pytest.raises(ValueError, match="ties is 'keep'"):
        block_mask(np.ones((2, 2)), 0.5, ties="keep")
