import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minigrad.compression.quantization import activation_params, dequantize, quantize
from minigrad.compression.quantization.observers import (
    OBSERVERS,
    EntropyObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageObserver,
    MSEObserver,
    PercentileObserver,
    make_observer,
)

VALUES = arrays(np.float32, st.integers(2, 50), elements=st.floats(-1e3, 1e3, width=32))


def range_of(observer, *batches):
    for batch in batches:
        observer.observe(batch)
    return observer.range()


def squared_error(x, low, high, bits):
    params = activation_params(low, high, bits)
    return ((dequantize(quantize(x, params), params) - x) ** 2).sum()


@pytest.mark.parametrize("name", OBSERVERS)
@settings(max_examples=10, deadline=None)
@given(x=VALUES)
def test_every_range_lies_within_the_extremes_and_does_not_depend_on_shape(name, x):
    if x.min() == x.max():
        return
    low, high = range_of(make_observer(name, bits=2), x)
    assert x.min() <= low <= high <= x.max()
    assert (low, high) == range_of(make_observer(name, bits=2), x[None, ::-1, None])
    assert isinstance(low, float)


def test_min_max_sees_every_batch():
    assert range_of(MinMaxObserver(), [1.0, 2.0], [-3.0], [0.5]) == (-3.0, 2.0)


def test_the_moving_average_by_hand():
    observer = MovingAverageObserver(momentum=0.25)
    assert range_of(observer, [0.0, 4.0]) == (0.0, 4.0)
    assert range_of(observer, [-4.0, 8.0]) == (-1.0, 5.0)
    assert range_of(observer, [0.0, 5.0]) == (-0.75, 5.0)


@settings(max_examples=25)
@given(VALUES, st.integers(1, 49))
def test_a_histogram_counts_each_number_once_in_any_order(x, cut):
    whole, parts = HistogramObserver(), HistogramObserver()
    whole.observe(x)
    for part in (x[cut:], x[:cut]):
        if part.size:
            parts.observe(part)
    assert whole.width == parts.width
    assert whole.counts.sum() + whole.zeros == x.size
    for observer in (whole, parts):
        for place, count in zip(observer.first + np.arange(len(observer.counts)), observer.counts, strict=True):
            inside = (x != 0) & (np.floor(x / np.float64(observer.width)) == place)
            assert inside.sum() == count
    assert len(whole.counts) <= 2048


def test_a_histogram_is_fine_enough(rng):
    observer = HistogramObserver()
    observer.observe(rng.normal(size=1000))
    observer.observe(100 * rng.normal(size=1000))
    assert len(observer.counts) > 700
    np.testing.assert_allclose(observer.centres[0], observer.low, atol=observer.width)
    np.testing.assert_allclose(observer.centres[-1], observer.high, atol=observer.width)


@pytest.mark.parametrize("shift", [-300.0, 0.0, 5.0])
def test_percentiles_are_numpys_up_to_a_bin(shift, rng):
    x = rng.normal(size=20000) + shift
    x[:5000] = 0
    observer = PercentileObserver(percentile=99)
    observer.observe(x)
    expected = np.percentile(x, [1, 99])
    np.testing.assert_allclose(observer.range(), expected, atol=2 * observer.width)


def test_all_of_the_numbers_are_the_extremes(rng):
    x = rng.normal(size=1000)
    np.testing.assert_allclose(range_of(PercentileObserver(percentile=100), x), [x.min(), x.max()])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shift", [-1.5, 0.0, 8.0])
def test_no_range_of_the_grid_has_less_squared_error(bits, shift, rng):
    x = rng.laplace(size=4000) + shift
    low, high = range_of(MSEObserver(bits), x)
    chosen = squared_error(x, low, high, bits)
    for share in np.arange(1, 101) / 100:
        assert chosen <= squared_error(x, low, x.max() * share, bits) * 1.01
        if x.min() < 0:
            assert chosen <= squared_error(x, x.min() * share, high, bits) * 1.01
    assert bits == 8 or chosen < 0.9 * squared_error(x, x.min(), x.max(), bits)


def test_fewer_bits_cut_off_more(rng):
    x = np.abs(rng.laplace(size=4000))
    tops = [range_of(MSEObserver(bits), x)[1] for bits in (2, 4, 8)]
    assert tops[0] < tops[1] < tops[2] <= x.max()
    assert range_of(EntropyObserver(2), x)[1] < range_of(EntropyObserver(8), x)[1]


def kullback_leibler(x, t, width, levels):
    """KL(P || Q) for positive numbers limited to t, written out in loops."""
    bins = round(t / width)
    inside, p = [0.0] * bins, [0.0] * bins
    for value in x:
        place = int(value // width)
        p[min(place, bins - 1)] += 1
        if place < bins:
            inside[place] += 1
    q = [0.0] * bins
    for level in range(levels):
        members = [i for i in range(bins) if i * levels // bins == level]
        used = [i for i in members if inside[i]]
        for i in used:
            q[i] = sum(inside[j] for j in members) / len(used)
    total_p, total_q = sum(p), sum(q)
    return sum(a / total_p * np.log(a / total_p / max(b / total_q, 1e-9)) for a, b in zip(p, q, strict=True) if a)


def test_the_entropy_observer_finds_the_least_divergence(rng):
    x = np.append(np.abs(rng.normal(size=1000)), 8.0)
    observer = EntropyObserver(bits=3)
    _, high = range_of(observer, x)
    chosen = kullback_leibler(x, high, observer.width, 8)
    others = np.arange(100, 1024, 60) * observer.width
    assert all(chosen <= kullback_leibler(x, t, observer.width, 8) + 1e-12 for t in others)
    assert 1 < high < 5


def test_numbers_far_from_zero_are_not_cut_down_to_a_single_bin(rng):
    x = rng.normal(size=1000) + 8
    assert range_of(EntropyObserver(bits=4), x)[1] >= np.median(x)


def test_a_few_numbers_beside_many_equal_ones_are_not_lost_without_a_word():
    x = np.zeros(100000)
    x[:3] = 5
    with pytest.raises(
        ValueError, match=r"nearly all observed values are 0, and the few others, from 0 to 5, are cut off"
    ):
        range_of(PercentileObserver(), x)


def test_an_outlier_moves_the_extremes_alone(rng):
    x = np.abs(rng.normal(size=20000))
    with_outlier = np.append(x, 50.0)
    for name in OBSERVERS:
        high = range_of(make_observer(name, bits=4), with_outlier)[1]
        assert (high == 50) == (name in ("min-max", "moving-average"))


@pytest.mark.parametrize("name", OBSERVERS)
def test_bad_numbers_are_refused_in_a_sentence(name):
    observer = make_observer(name)
    kind = type(observer).__name__
    with pytest.raises(ValueError, match=rf"{kind}: nothing was observed; run the model on calibration images first"):
        observer.range()
    with pytest.raises(
        ValueError, match=rf"{kind}: nothing to observe \(x: \(0, 3\)\); is the calibration set empty\?"
    ):
        observer.observe(np.zeros((0, 3)))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=rf"{kind}: an observed value is NaN or infinite \(x: \(2,\)\)"):
            observer.observe([bad, 1.0])
    for value in (0.0, 0.25):
        observer = make_observer(name)
        observer.observe(np.full(5, value))
        with pytest.raises(ValueError, match=rf"{kind}: all observed values are {value:g}, a range without width"):
            observer.range()


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: make_observer("max"), r"make_observer: 'max' is unknown, expected one of min-max, moving-average, percentile"),
    (lambda: MovingAverageObserver(0), r"MovingAverageObserver: momentum is 0, expected more than 0, at most 1"),
    (lambda: PercentileObserver(percentile=50), r"PercentileObserver: percentile is 50, expected more than 50, at most 100"),
    (lambda: MSEObserver(bits=9), r"MSEObserver: bits is 9, expected an integer from 1 to 8"),
])  # fmt: skip
def test_bad_settings_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_params_are_those_of_the_range():
    observer = MinMaxObserver()
    observer.observe([0.0, 1.0])
    params = observer.params(4)
    assert (params.low, params.high, params.zero_point) == (-8, 7, -8)
    np.testing.assert_allclose(params.scale, 1 / 15)
