"""Shared weights: k-means from three beginnings, and training that moves centroids."""

import copy
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from minigrad.nn import Module
from minigrad.optim import SGD
from minigrad.tensor import Array

from ..pruning.criteria import prunable
from ..quantization.codes import Codebook, kmeans_codebook
from ..quantization.formats import check_bits
from .wire import check_way

M = TypeVar("M", bound=Module)

STARTS = ("linear", "density", "random")
"""Where k-means begins."""


def first_centroids(values: Array, count: int, start: str = "linear", seed: int = 0) -> Array:
    """Return centroids for k-means to begin with.

    Args:
        values: weights, sorted, (n,).
        count: of the centroids.
        start: "linear": evenly spaced from the smallest weight to the largest. "density": so that equally many weights lie
            between neighbours. "random": weights that are drawn. The paper finds "linear" best: few centroids lie where
            weights are large, but the others leave them none at all, and large weights matter most.
        seed: of the draw.

    Returns:
        (count,), ascending.

    Raises:
        ValueError: there is no such start.

    Source:
        Han, Mao and Dally, "Deep compression", 2016, section 3.2.

    Example:
        >>> values = np.array([0.0, 0.1, 0.2, 0.3, 4.0])
        >>> [first_centroids(values, 3, start).tolist() for start in ("linear", "density")]
        [[0.0, 2.0, 4.0], [0.0, 0.2, 4.0]]
    """
    check_way("first_centroids: start", start, STARTS)
    if start == "linear":
        return np.linspace(values[0], values[-1], count)
    if start == "density":
        return np.quantile(values, np.linspace(0, 1, count))
    return np.sort(np.random.default_rng(seed).choice(values, count, replace=len(values) < count))


def cluster(w: Array, bits: int, start: str = "linear", seed: int = 0, iterations: int = 300) -> Codebook:
    """Find up to 2**bits centroids for the weights by k-means. With start="linear" it is `kmeans_codebook`.

    Zeros are pruned weights: one centroid is theirs.

    Args:
        w: weights, any shape.
        bits: 1 to 8.
        start, seed: see `first_centroids`.
        iterations: at most.

    Raises:
        ValueError: bits out of range, no weights, no such start, or NaN or infinity among the weights.

    Example:
        >>> cluster(np.float32([0, 1, 1.5, 5]), bits=2, start="density").decode()
        array([0. , 1. , 1.5, 5. ], dtype=float32)
    """
    check_bits("cluster", bits)
    if not np.isfinite(w).all():
        raise ValueError(f"cluster: a weight is NaN or infinite (w: {w.shape})")
    return kmeans_codebook(w, bits, iterations, lambda values, count: first_centroids(values, count, start, seed))


def share_weights_of(model: M, bits: int | Mapping[str, int], start: str = "linear", seed: int = 0) -> M:
    """Return a copy of a model in which the weights of each layer take 2**bits values, zero among them if any is zero.

    `save_mgz` then keeps these values as they are.

    Args:
        model: it stays as it is.
        bits: for all weights, or by name, such as {"conv1.weight": 8}; weights without bits stay as they are.
        start, seed: see `first_centroids`.

    Raises:
        ValueError: as `cluster`.
        KeyError: bits names no weight.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> shared = share_weights_of(LeNet(), bits=5)
        >>> len(np.unique(shared.fc1.weight.data))
        32
    """
    shared = copy.deepcopy(model)
    weights = prunable(shared)
    by_name = bits if isinstance(bits, Mapping) else dict.fromkeys(weights, bits)
    if unknown := sorted(by_name.keys() - weights.keys()):
        raise KeyError(f"share_weights_of: {', '.join(unknown)}: no such weight; there are {', '.join(weights)}")
    for name, width in by_name.items():
        weights[name].data[...] = cluster(weights[name].data, width, start, seed).decode()
    return shared


class SharedSGD(SGD):
    """SGD for a model whose weights are shared: what is equal at the beginning moves as one, and zeros stay zero.

    Before each step every weight's gradient becomes that of its centroid, the sum over all its members. The sum of
    thousands is large: the learning rate should be a hundredth or less of that for single weights.

    Args:
        model: as `share_weights_of` makes it. Biases are trained as usual.
        lr, momentum, weight_decay: see `SGD`.

    Raises:
        ValueError: a weight takes more than 256 values.

    Source:
        Han, Mao and Dally, "Deep compression", 2016, section 3.3.

    Example:
        >>> from minigrad import nn
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> layer.weight.data[...] = [[0, 1], [1, 2]]
        >>> optimizer = SharedSGD(layer, lr=0.1)
        >>> layer.weight.grad = np.float32([[9, 1], [2, 4]])
        >>> optimizer.step()
        >>> layer.weight.data
        array([[0. , 0.7],
               [0.7, 1.6]], dtype=float32)
    """

    def __init__(self, model: Module, lr: float, momentum: float = 0.0, *, weight_decay: float = 0.0):
        super().__init__(model.parameters(), lr, momentum, weight_decay=weight_decay)
        self.books: dict[int, Codebook] = {}
        for name, p in prunable(model).items():
            centroids, codes = np.unique(p.data, return_inverse=True)
            if len(centroids) > 2**8:
                raise ValueError(
                    f"SharedSGD: {name} takes {len(centroids):,} values, more than 256; share_weights_of makes it take few"
                )
            self.books[id(p)] = Codebook(codes.reshape(p.shape).astype(np.uint8), centroids, bits=8)

    def step(self) -> None:
        """Sum the gradients of each centroid's members, and move all of them alike."""
        for p in self.params:
            if p.grad is not None and (book := self.books.get(id(p))) is not None:
                g = book.centroid_gradient(p.grad)
                g[book.centroids == 0] = 0
                p.grad = g[book.codes].astype(p.dtype)
        super().step()
