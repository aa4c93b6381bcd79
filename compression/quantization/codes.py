"""Weights from a short list of values: two signs, three signs, the means of clusters; and the articles' rounding.

Each function takes weights and returns what is stored; `decode()` gives weights back, `nbytes` says what it takes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tensor import Array

from .formats import as_array, check_bits
from .packing import packed_bytes


@dataclass(frozen=True, eq=False)
class Signs:
    """Weights as a sign times a scale.

    Attributes:
        signs: int8, of the weights' shape: -1, 1, and where `bits` is 2, 0.
        scale: float32, one for each channel along the first axis, or one for all; it broadcasts against signs.
        bits: that a sign takes.
    """

    signs: Array
    scale: Array
    bits: int

    def decode(self) -> Array:
        """Return the weights, float32."""
        return self.signs * self.scale

    @property
    def nbytes(self) -> int:
        """Bytes of the signs, packed, and of the scales."""
        return packed_bytes(self.signs.size, self.bits) + self.scale.nbytes


def binarize(
    w: Any, per_channel: bool = True, rng: np.random.Generator | None = None, scale: float | None = None
) -> Signs:
    """Keep of each weight its sign; the scale is the mean of |w|, which among all scales errs least (squared).

    Args:
        w: weights, (F, ...).
        per_channel: a scale for each filter; otherwise one for all.
        rng: None: the sign is w's own, + for 0. A generator draws it: + with probability (w / scale + 1) / 2, limited to
            [0, 1], so that weights within the scale are right on average.
        scale: the one to use; 1.0 with `rng` is Courbariaux's stochastic rule.

    Raises:
        ValueError: no weights, NaN or infinity among them, or a scale that is not positive.

    Source:
        Courbariaux et al., "BinaryConnect", 2015, equations 1 and 2; Rastegari et al., "XNOR-Net", 2016, equation 6.

    Example:
        >>> binarize([[0.5, -1.5], [2.0, 0.0]]).decode()
        array([[ 1., -1.],
               [ 1.,  1.]], dtype=float32)
    """
    w = _checked("binarize", w)
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"binarize: scale is {scale}, expected a positive number")
    shares = _mean(np.abs(w), per_channel) if scale is None else np.full((1,) * w.ndim, scale)
    if rng is None:
        positive = w >= 0
    else:
        relative = np.divide(w, shares, out=np.zeros(w.shape), where=np.broadcast_to(shares, w.shape) > 0)
        positive = rng.random(w.shape) < np.clip((relative + 1) / 2, 0, 1)
    return Signs(np.where(positive, 1, -1).astype(np.int8), shares.astype(np.float32), bits=1)


def ternarize(w: Any, per_channel: bool = False, threshold: float = 0.7) -> Signs:
    """Keep the sign of weights whose magnitude exceeds 0.7 times the mean of |w|; the others become 0.

    The scale is the mean of |w| over those that are kept, which errs least (squared). The factor 0.7 is nearly best for
    weights that are uniform or normal.

    Args:
        w: weights, (F, ...).
        per_channel: threshold and scale for each filter; otherwise for all, as in the paper.
        threshold: the factor.

    Raises:
        ValueError: no weights, NaN or infinity among them, or a negative threshold.

    Source:
        Li, Zhang and Liu, "Ternary weight networks", 2016, equations 5 and 6.

    Example:
        >>> ternarize([[0.1, -2.0, 1.0]]).decode()
        array([[ 0. , -1.5,  1.5]], dtype=float32)
    """
    w = _checked("ternarize", w)
    if not threshold >= 0:
        raise ValueError(f"ternarize: threshold is {threshold}, expected 0 or more")
    magnitude = np.abs(w)
    kept = magnitude > threshold * _mean(magnitude, per_channel)
    share = _mean(kept, per_channel)
    scale = np.divide(_mean(magnitude * kept, per_channel), share, out=np.zeros(share.shape), where=share > 0)
    return Signs((np.sign(w) * kept).astype(np.int8), scale.astype(np.float32), bits=2)


@dataclass(frozen=True, eq=False)
class Codebook:
    """Weights as numbers of centroids.

    Attributes:
        codes: uint8, of the weights' shape.
        centroids: float32 (k,), ascending.
        bits: that a code takes.
    """

    codes: Array
    centroids: Array
    bits: int

    def decode(self) -> Array:
        """Return the weights, float32."""
        return self.centroids[self.codes]

    def centroid_gradient(self, g: Array) -> Array:
        """Return the gradient of the centroids, float32 (k,): each one's is the sum over its members' gradients g."""
        sums = np.bincount(self.codes.reshape(-1), g.reshape(-1), len(self.centroids))
        return sums.astype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of the codes, packed, and of the centroids."""
        return packed_bytes(self.codes.size, self.bits) + self.centroids.nbytes


def kmeans_codebook(
    w: Any, bits: int, iterations: int = 300, start: Callable[[Array, int], Array] | None = None
) -> Codebook:
    """Find 2**bits centroids for the weights: each weight belongs to the nearest, each centroid is its members' mean.

    It begins with centroids spread evenly from the smallest weight to the largest, which is found best in the paper, since
    the few large weights matter and get centroids of their own; so nothing is drawn at random. A centroid that nobody is
    nearest to stays where it is. If some weights are exactly zero, one centroid is zero, and stays so, for them.

    SciPy's kmeans2 compares each weight with each centroid; among numbers in order, a cluster is an interval, and two
    binary searches find it. The results are the same.

    Args:
        w: weights, any shape.
        bits: 1 to 8.
        iterations: at most; it ends sooner if no weight changes its cluster.
        start: another beginning: called with the weights, without zeros and sorted, and the number of centroids, it returns
            them, ascending; see `coding.first_centroids`.

    Raises:
        ValueError: bits out of range, no weights, or NaN or infinity among them.

    Source:
        Han, Mao and Dally, "Deep compression", 2016, section 3.

    Example:
        >>> kmeans_codebook([0.0, 0.1, 0.9, 1.0], bits=1).decode()
        array([0.       , 0.6666667, 0.6666667, 0.6666667], dtype=float32)
    """
    check_bits("kmeans_codebook", bits)
    w = _checked("kmeans_codebook", w).astype(np.float64)
    values = np.sort(w[w != 0])
    count = 2**bits - int((w == 0).any())
    begin = start or (lambda values, count: np.linspace(values[0], values[-1], count))
    centroids = begin(values, count) if values.size else np.zeros(0)
    sums, borders = np.concatenate([[0.0], np.cumsum(values)]), None
    for _ in range(iterations):
        before, borders = borders, np.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2)
        if before is not None and np.array_equal(before, borders):
            break
        ends = np.concatenate([[0], borders, [len(values)]]).astype(np.intp)
        sizes = np.diff(ends)
        centroids = np.divide(np.diff(sums[ends]), sizes, out=centroids.copy(), where=sizes > 0)
    codes = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, w)
    if (w == 0).any():
        zero = int(np.searchsorted(centroids, 0.0))
        codes = np.where(w == 0, zero, codes + (codes >= zero))
        centroids = np.insert(centroids, zero, 0.0)
    return Codebook(codes.astype(np.uint8), centroids.astype(np.float32), bits)


def article_rounding(w: Any, scale: float) -> Array:
    """Return round(w * scale), as the article prints it; ties go away from zero.

    The article calls S the step, but what is multiplied is one over a step: the larger S, the finer. Its listing has
    scale=1.0, at which every |w| < 0.5 becomes 0, and so nearly all of a trained network.

    Args:
        w: weights, any shape.
        scale: the article's S.

    Returns:
        Integers as float32; divided by the scale, they are weights again.

    Example:
        >>> article_rounding([0.3, -0.49, 0.5, 1.2], scale=1.0)
        array([ 0., -0.,  1.,  1.], dtype=float32)
        >>> article_rounding([0.3, -0.49, 0.5, 1.2], scale=100.0)
        array([ 30., -49.,  50., 120.], dtype=float32)
    """
    scaled = as_array(w) * float(scale)
    return np.copysign(np.floor(np.abs(scaled) + 0.5), scaled).astype(np.float32)


def _checked(name: str, w: Any) -> Array:
    w = as_array(w)
    if w.size == 0 or not np.isfinite(w).all():
        raise ValueError(
            f"{name}: {'there are no weights' if w.size == 0 else 'a weight is NaN or infinite'} (w: {w.shape})"
        )
    return w


def _mean(values: Array, per_channel: bool) -> Array:
    """Return the mean of each filter, or of all, with the axes kept."""
    axes = tuple(range(1 if per_channel else 0, values.ndim))
    return values.mean(axis=axes, keepdims=True, dtype=np.float64)
