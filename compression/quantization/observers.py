"""Which range of numbers to quantize: observers look at activations batch by batch, and then name one.

A wide range loses little at its ends and much inside, where its steps are coarse; a narrow one the other way round. The
extremes are the safe choice at 8 bits; with fewer bits it pays to cut some values off.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.tensor import Array

from .formats import QuantParams, activation_params, as_array, check_bits, dequantize, quantize

CANDIDATES = 100
"""Limits that the search for the least squared error tries for each end."""


class Observer:
    """Looks at numbers, and names their range. Subclasses say how.

    Example:
        >>> observer = MinMaxObserver()
        >>> observer.observe([0.5, 2.0])
        >>> observer.observe([-1.0, 1.0])
        >>> observer.range()
        (-1.0, 2.0)
    """

    seen: bool = False
    extremes: tuple[float, float] = (0.0, 0.0)
    _observe: Callable[[Array, float, float], None]
    """_observe(x, low, high) takes note of checked numbers and of the smallest and largest of them."""
    _range: Callable[[], tuple[float, float]]
    """_range() names the range."""

    def observe(self, x: Any) -> None:
        """Take note of numbers, any shape.

        Raises:
            ValueError: there are none, or NaN or infinity is among them.
        """
        x = as_array(x)
        if x.size == 0:
            raise ValueError(f"{type(self).__name__}: nothing to observe (x: {x.shape}); is the calibration set empty?")
        low, high = float(x.min()), float(x.max())
        if not np.isfinite(high - low):
            raise ValueError(
                f"{type(self).__name__}: an observed value is NaN or infinite (x: {x.shape}); did training diverge?"
            )
        self._observe(x, low, high)
        self.extremes = (min(low, self.extremes[0]), max(high, self.extremes[1])) if self.seen else (low, high)
        self.seen = True

    def range(self) -> tuple[float, float]:
        """Return (low, high).

        Raises:
            ValueError: nothing was observed, or always the same number.
        """
        if not self.seen:
            raise ValueError(f"{type(self).__name__}: nothing was observed; run the model on calibration images first")
        if self.extremes[0] == self.extremes[1]:
            raise ValueError(
                f"{type(self).__name__}: all observed values are {self.extremes[0]:g}, a range without width; "
                "is the layer dead, or the input constant?"
            )
        low, high = self._range()
        if min(low, 0.0) == max(high, 0.0):
            raise ValueError(
                f"{type(self).__name__}: nearly all observed values are {low:g}, and the few others, "
                "from {:g} to {:g}, are cut off; observe the extremes instead".format(*self.extremes)
            )
        return low, high

    def params(self, bits: int = 8) -> QuantParams:
        """Return the affine format for the range."""
        return activation_params(*self.range(), bits)


class MinMaxObserver(Observer):
    """From the smallest number seen to the largest: nothing is cut off."""

    def _observe(self, x: Array, low: float, high: float) -> None:
        self.low, self.high = (min(low, self.low), max(high, self.high)) if self.seen else (low, high)

    def _range(self) -> tuple[float, float]:
        return self.low, self.high


class MovingAverageObserver(Observer):
    """Moving averages of the batches' smallest and largest numbers: follows a model in training, whose ranges move.

    Args:
        momentum: share of each new batch. The first batch counts whole.

    Source:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
        2018, section 3.1.
    """

    def __init__(self, momentum: float = 0.01):
        if not 0 < momentum <= 1:
            raise ValueError(f"MovingAverageObserver: momentum is {momentum}, expected more than 0, at most 1")
        self.momentum = momentum

    def _observe(self, x: Array, low: float, high: float) -> None:
        if not self.seen:
            self.low, self.high = low, high
        self.low += self.momentum * (low - self.low)
        self.high += self.momentum * (high - self.high)

    def _range(self) -> tuple[float, float]:
        return self.low, self.high


class HistogramObserver(Observer):
    """Counts how often numbers occur. Subclasses choose the range from that.

    Bins are 2**k wide and begin at multiples of it. When numbers come that do not fit into `most_bins`, pairs of bins are
    joined: so the histogram does not depend on the order in which the numbers came. Zeros, of which ReLU makes many, are
    counted by themselves: they are exact in every format.

    Args:
        bits: of the format that a range is chosen for.

    Attributes:
        counts: int64 (n,), of the numbers other than zero.
        first: the first bin is from first * width to (first + 1) * width.
        width: of a bin.
        zeros: how many numbers were zero.
        low, high: smallest and largest number.
    """

    most_bins = 2048  # at least half as many, less the part that has no numbers, are in use

    def __init__(self, bits: int = 8):
        check_bits(type(self).__name__, bits)
        self.bits, self.counts, self.first, self.zeros = bits, np.zeros(1, np.int64), 0, 0
        self.low = self.high = 0.0
        self.width = 2.0**-60

    @property
    def centres(self) -> Array:
        """Middle of each bin, float64 (n,)."""
        return (self.first + 0.5 + np.arange(len(self.counts))) * self.width

    def _observe(self, x: Array, low: float, high: float) -> None:
        self.low, self.high = (min(low, self.low), max(high, self.high)) if self.seen else (low, high)
        span = max(self.high, 0.0) - min(self.low, 0.0)
        while span >= (self.most_bins - 1) * self.width:  # one bin less: neither end need lie on a border
            self._join_pairs()
        numbers = x[x != 0]
        self.zeros += x.size - numbers.size
        if numbers.size:
            places = np.floor(numbers / self.width).astype(np.int64)
            start = min(self.first, int(places.min()))
            counts = np.bincount(places - start, minlength=self.first - start + len(self.counts))
            counts[self.first - start : self.first - start + len(self.counts)] += self.counts
            self.counts, self.first = counts, start

    def _join_pairs(self) -> None:
        places = (self.first + np.arange(len(self.counts))) // 2
        self.counts = np.bincount(places - places[0], self.counts).astype(np.int64)
        self.first, self.width = int(places[0]), 2 * self.width


class PercentileObserver(HistogramObserver):
    """Cuts off the same share of all numbers (zeros count) at both ends.

    Args:
        percentile: 99.9 cuts off the largest 0.1 % and the smallest 0.1 %.
    """

    def __init__(self, bits: int = 8, percentile: float = 99.9):
        if not 50 < percentile <= 100:
            raise ValueError(f"PercentileObserver: percentile is {percentile}, expected more than 50, at most 100")
        super().__init__(bits)
        self.percentile = percentile

    def _range(self) -> tuple[float, float]:
        counts, borders = self._with_zeros()
        below = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
        share = 1 - self.percentile / 100
        low, high = np.interp([share, 1 - share], below, borders)  # as if numbers were spread evenly within a bin
        return max(float(low), self.low), min(float(high), self.high)

    def _with_zeros(self) -> tuple[Array, Array]:
        """Return all counts, zeros in a bin without width, and the borders of the bins."""
        borders = (self.first + np.arange(len(self.counts) + 1)) * self.width
        if not self.zeros:
            return self.counts, borders
        place = int(np.searchsorted(borders, 0.0))
        if place == len(borders):  # all are negative
            return np.append(self.counts, [0, self.zeros]), np.append(borders, [0.0, 0.0])
        if borders[place] > 0:  # all are positive, and zero is below the first bin
            return np.insert(self.counts, 0, [self.zeros, 0]), np.insert(borders, 0, [0.0, 0.0])
        return np.insert(self.counts, place, self.zeros), np.insert(borders, place, 0.0)


class MSEObserver(HistogramObserver):
    """The range with the least mean squared error, of those whose ends are k / 100 of the extremes.

    Both ends are chosen in turn, until neither moves.

    Source:
        Banner et al., "Post training 4-bit quantization of convolutional networks", 2019, who solve it for known
        distributions; here it is searched.
    """

    most_bins = 16384  # each stands for its middle, which must be exact within a step of 8 bits

    def _range(self) -> tuple[float, float]:
        low, high = self.low, self.high
        shares = np.arange(CANDIDATES, 0, -1) / CANDIDATES  # of equally good ranges the widest wins
        lows = [c for c in (self.low * shares).tolist() if c < min(self.high, 0)] or [self.low]
        highs = [c for c in (self.high * shares).tolist() if c > max(self.low, 0)] or [self.high]
        while True:
            before = low, high
            high = min(highs, key=lambda c: self.squared_error(low, c))
            low = min(lows, key=lambda c: self.squared_error(c, high))
            if (low, high) == before:
                return low, high

    def squared_error(self, low: float, high: float) -> float:
        """Return the sum of squared errors if numbers are quantized from low to high."""
        params, used = activation_params(low, high, self.bits), self.counts > 0
        values = self.centres[used]
        errors = dequantize(quantize(values, params), params) - values
        return float((errors**2 * self.counts[used]).sum())


class EntropyObserver(HistogramObserver):
    """The range that loses the least information: TensorRT's calibration.

    For each limit t, the histogram P of the numbers limited to [-t, t] is held against Q, what is left of it with 2**bits
    levels; the least Kullback-Leibler divergence KL(P || Q) wins. Zeros are left out, as there. Half of the numbers at
    least must lie inside: cut down to a single bin, P and Q would agree completely.

    Source:
        Migacz, "8-bit inference with TensorRT", GPU Technology Conference 2017.
    """

    def _range(self) -> tuple[float, float]:
        levels, places = 2**self.bits, self.first + np.arange(len(self.counts))
        largest = max(-self.first, self.first + len(self.counts))  # |place| of the last bin's outer border
        least = min(
            levels if places[0] >= 0 or places[-1] < 0 else levels // 2, largest
        )  # with fewer bins nothing merges
        divergences = [self._divergence(t, levels) for t in range(least, largest + 1)]
        t = (least + int(np.argmin(divergences))) * self.width
        return max(self.low, -t), min(self.high, t)

    def _divergence(self, t: int, levels: int) -> float:
        """Return KL(P || Q) for the limit of t bins to either side of zero."""
        start, stop = max(self.first, -t), min(self.first + len(self.counts), t)  # places of the bins inside
        if start >= stop:
            return np.inf
        inside = self.counts[start - self.first : stop - self.first].astype(np.float64)
        if 2 * inside.sum() < self.counts.sum():
            return np.inf
        p = inside.copy()
        p[0] += self.counts[: start - self.first].sum()  # what lies outside is limited to the ends
        p[-1] += self.counts[stop - self.first :].sum()
        low, high = min(start, 0), max(stop, 0)
        level = (np.arange(start, stop) - low) * levels // (high - low)  # of each bin
        used = inside > 0
        sums, shares = np.bincount(level, inside), np.bincount(level, used)
        q = np.where(used, (sums / np.maximum(shares, 1))[level], 0.0)  # a level's numbers, evenly in its used bins
        p, q = p / p.sum(), q / q.sum()
        mask = p > 0  # of bins in which only outliers lie, Q knows nothing; 1e-9 stands for that
        return float((p[mask] * np.log(p[mask] / np.maximum(q[mask], 1e-9))).sum())


OBSERVERS: dict[str, type[Observer]] = {
    "min-max": MinMaxObserver,
    "moving-average": MovingAverageObserver,
    "percentile": PercentileObserver,
    "mse": MSEObserver,
    "entropy": EntropyObserver,
}
"""Every observer by name."""


def make_observer(name: str, bits: int = 8) -> Observer:
    """Return a new observer.

    Args:
        name: of `OBSERVERS`.
        bits: of the format to choose a range for; those that look at the extremes alone do not ask.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> observer = make_observer("mse", bits=4)
        >>> observer.observe(np.append(np.linspace(0, 1, 1000), 2.0))
        >>> observer.range()
        (0.0, 1.46)
    """
    if name not in OBSERVERS:
        raise ValueError(f"make_observer: {name!r} is unknown, expected one of {', '.join(OBSERVERS)}")
    observer = OBSERVERS[name]
    return observer(bits) if issubclass(observer, HistogramObserver) else observer()
