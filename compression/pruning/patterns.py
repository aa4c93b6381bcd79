"""Masks with a pattern that hardware or memory likes: n of m, and blocks.

Both see a weight as a matrix, (O, ...) -> (O, I): a row for each filter or neuron, in the order in which it is stored.
"""

import numpy as np

from minigrad.tensor import Array

from .masks import without_lowest


def n_of_m_mask(scores: Array, n: int = 2, m: int = 4) -> Array:
    """Keep the n highest scores of every m that follow each other in a row; 2:4 is what sparse tensor cores take.

    Args:
        scores: (O, ...), such as |w|. Of equal scores, the first is kept.
        n, m: 0 <= n <= m. A last group of fewer than m, where a row's length is no multiple of m, keeps its n highest too.

    Returns:
        bool array of the shape of scores, True where the weight is kept.

    Raises:
        ValueError: n and m do not fit, scores have fewer than two dimensions or hold NaN.

    Source:
        Mishra et al., "Accelerating sparse deep neural networks", 2021.

    Example:
        >>> n_of_m_mask(np.array([[4, 1, 3, 2, 5, 6]]))
        array([[ True, False,  True, False,  True,  True]])
    """
    if not 0 <= n <= m or m < 1:
        raise ValueError(f"n_of_m_mask: {n}:{m} is no pattern; expected n of m with 0 <= n <= m")
    rows = _as_rows("n_of_m_mask", scores)  # (O, I)
    groups = -(-rows.shape[1] // m)
    padded = np.full((rows.shape[0], groups * m), -np.inf)
    padded[:, : rows.shape[1]] = rows
    order = np.argsort(-padded.reshape(-1, groups, m), axis=2, kind="stable")  # highest first
    keep = np.zeros(order.shape, bool)
    np.put_along_axis(keep, order[:, :, :n], True, axis=2)
    return keep.reshape(padded.shape)[:, : rows.shape[1]].reshape(scores.shape)


def block_mask(scores: Array, sparsity: float, block: tuple[int, int] = (4, 4), ties: str = "exact") -> Array:
    """Keep or remove whole blocks of the matrix: the k = round(blocks * sparsity) with the lowest mean score go.

    Here L1 and L2 scores rank differently: the mean of w² favours a block with one large weight.

    Args:
        scores: (O, ...).
        sparsity: share of the blocks to remove, 0 to 1.
        block: rows and columns of a block. Blocks at the edges may be smaller.
        ties: see `kth_value_mask`.

    Returns:
        bool array of the shape of scores, True where the weight is kept.

    Raises:
        ValueError: sparsity is outside [0, 1], a block has no rows or columns, ties is neither rule, scores have fewer
            than two dimensions or hold NaN.

    Source:
        Narang et al., "Block-sparse recurrent neural networks", 2017 (which ranks blocks by their largest weight).

    Example:
        >>> block_mask(np.array([[1, 1, 9, 0], [1, 1, 0, 0]]), 0.5, block=(2, 2))
        array([[False, False,  True,  True],
               [False, False,  True,  True]])
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"block_mask: sparsity is {sparsity}, expected 0 to 1")
    if ties not in ("drop", "exact"):
        raise ValueError(f"block_mask: ties is {ties!r}, expected 'drop' or 'exact'")
    if min(block) < 1:
        raise ValueError(f"block_mask: a block of {block[0]} x {block[1]} holds nothing; expected 1 or more of both")
    rows = _as_rows("block_mask", scores)
    starts = [np.arange(0, length, size) for length, size in zip(rows.shape, block, strict=True)]
    if not rows.size:
        return np.ones(scores.shape, bool)
    sums = np.add.reduceat(np.add.reduceat(rows, starts[0], axis=0), starts[1], axis=1)
    counts = np.outer(*(np.diff(start, append=length) for start, length in zip(starts, rows.shape, strict=True)))
    keep = without_lowest(sums / counts, round(sums.size * sparsity), "exact" if ties == "exact" else "drop")
    return (
        keep.repeat(block[0], axis=0).repeat(block[1], axis=1)[: rows.shape[0], : rows.shape[1]].reshape(scores.shape)
    )


def _as_rows(name: str, scores: Array) -> Array:
    """(O, ...) -> (O, I) in float64"""
    if scores.ndim < 2:
        raise ValueError(f"{name}: scores have shape {scores.shape}, expected two or more dimensions")
    if np.isnan(scores).any():
        raise ValueError(f"{name}: the scores hold NaN, which cannot be ranked")
    return scores.reshape(len(scores), int(np.prod(scores.shape[1:]))).astype(np.float64)
