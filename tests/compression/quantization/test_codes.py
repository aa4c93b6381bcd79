import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.cluster.vq import kmeans2

from minigrad.compression.models import trained_lenet
from minigrad.compression.quantization import article_rounding, binarize, kmeans_codebook, ternarize

WEIGHTS = arrays(np.float32, array_shapes(min_dims=2, max_dims=3, max_side=5), elements=st.floats(-100, 100, width=32))


def error(w, scale, signs):
    return ((w.astype(np.float64) - scale * signs) ** 2).sum()


@given(WEIGHTS, st.floats(-1, 1), st.booleans())
def test_signs_times_the_mean_magnitude_err_least(w, change, per_channel):
    coded = binarize(w, per_channel)
    best = error(w, coded.scale, coded.signs)
    np.testing.assert_array_equal(coded.signs, np.where(w >= 0, 1, -1))
    assert best <= error(w, coded.scale + change, coded.signs) * (1 + 1e-6) + 1e-6
    flipped = coded.signs.copy()
    flipped.flat[0] *= -1
    assert best <= error(w, coded.scale, flipped) * (1 + 1e-6) + 1e-6
    assert coded.decode().dtype == np.float32
    assert coded.scale.size == (len(w) if per_channel else 1)


def test_drawn_signs_are_right_on_average(rng):
    w = np.array([[-1.0, -0.3, 0.0, 0.6, 1.0, 5.0]])
    draws = np.mean([binarize(w, rng=rng, scale=1.0).decode() for _ in range(4000)], axis=0)
    np.testing.assert_allclose(draws, np.clip(w, -1, 1), atol=4 / np.sqrt(4000))
    again = [binarize(w, rng=np.random.default_rng(3)).signs.tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_drawn_signs_of_zeros_do_not_divide_by_their_scale(rng):
    coded = binarize(np.zeros((2, 50)), rng=rng)
    assert set(np.unique(coded.signs)) == {-1, 1}
    assert not coded.decode().any()


@given(WEIGHTS, st.booleans(), st.floats(-1, 1))
def test_ternary_weights_keep_what_exceeds_the_threshold_at_the_best_scale(w, per_channel, change):
    coded = ternarize(w, per_channel)
    for row, signs, scale in zip(
        w, coded.signs, np.broadcast_to(coded.scale, (len(w),) + (1,) * (w.ndim - 1)), strict=True
    ):
        limit = 0.7 * np.abs((row if per_channel else w).astype(np.float64)).mean()
        np.testing.assert_array_equal(signs, np.sign(row) * (np.abs(row) > limit))
        assert scale >= 0
    assert error(w, coded.scale, coded.signs) <= error(w, coded.scale + change, coded.signs) * (1 + 1e-6) + 1e-6


def test_the_ternary_threshold_is_nearly_the_best_for_normal_weights(rng):
    w = rng.normal(size=(1, 4000))
    errors = {t: error(w, c.scale, c.signs) for t in np.linspace(0.3, 1.2, 19) for c in [ternarize(w, threshold=t)]}
    coded = ternarize(w)
    assert error(w, coded.scale, coded.signs) <= 1.02 * min(errors.values())


def test_bytes_of_signs():
    w = np.ones((10, 9), np.float32)
    assert binarize(w).nbytes == 12 + 40
    assert binarize(w, per_channel=False).nbytes == 12 + 4
    assert ternarize(w).nbytes == 23 + 4


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_clusters_are_those_of_scipy_from_the_same_start(bits, rng):
    w = rng.uniform(-1, 1, (20, 30))  # no cluster is ever empty, of which SciPy would warn
    start = np.linspace(w.min(), w.max(), 2**bits)
    centroids, codes = kmeans2(w.reshape(-1, 1), start[:, None], iter=300, minit="matrix")
    found = kmeans_codebook(w, bits)
    np.testing.assert_allclose(found.centroids, centroids[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(found.codes, codes.reshape(w.shape))
    assert found.nbytes == 20 * 30 * bits // 8 + 4 * 2**bits


@given(WEIGHTS, st.integers(1, 3))
def test_clusters_are_stable_and_zeros_stay_zeros(w, bits):
    found = kmeans_codebook(w, bits)
    centroids = found.centroids.astype(np.float64)
    assert (np.diff(centroids) >= 0).all()
    assert len(centroids) <= 2**bits
    decoded = found.decode()
    assert not decoded[w == 0].any()
    used = w != 0
    for k in np.unique(found.codes[used]):
        members = w[used & (found.codes == k)].astype(np.float64)
        np.testing.assert_allclose(centroids[k], members.mean(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(kmeans_codebook(w, bits).codes, found.codes)


def test_as_many_clusters_as_values_lose_nothing():
    w = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])
    np.testing.assert_allclose(kmeans_codebook(w, 2).decode(), w)
    np.testing.assert_allclose(kmeans_codebook(w, 1).centroids, [1.5, 3.5])
    np.testing.assert_array_equal(kmeans_codebook(np.zeros((2, 2)), 3).decode(), np.zeros((2, 2)))


def test_a_centroid_gathers_the_gradients_of_its_members():
    found = kmeans_codebook([[1.0, 1.1], [5.0, 0.9]], bits=1)
    np.testing.assert_allclose(found.centroid_gradient(np.array([[1.0, 2.0], [4.0, 8.0]])), [11, 4])
    # The derivative of sum(g * decode) along one centroid says the same.
    for k, shift in itertools.product(range(2), [1e-3]):
        moved = found.centroids.copy()
        moved[k] += shift
        g = np.array([[1.0, 2.0], [4.0, 8.0]])
        slope = ((moved - found.centroids)[found.codes] * g).sum() / shift
        np.testing.assert_allclose(found.centroid_gradient(g)[k], slope, rtol=1e-3)


def test_the_articles_scale_of_one_rounds_nearly_all_of_lenet_to_zero():
    weights = np.concatenate([p.data.reshape(-1) for p in trained_lenet().parameters() if p.ndim > 1])
    rounded = article_rounding(weights, scale=1.0)
    np.testing.assert_array_equal(rounded == 0, np.abs(weights) < 0.5)
    assert (rounded == 0).mean() > 0.99
    assert np.abs(article_rounding(weights, 127.0) / 127 - weights).max() <= 0.5 / 127 + 1e-7


def test_the_articles_rounding_takes_ties_away_from_zero():
    np.testing.assert_array_equal(article_rounding([0.5, 1.5, 2.5, -0.5, -2.5], 1.0), [1, 2, 3, -1, -3])


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: binarize(np.zeros((0, 3))), r"binarize: there are no weights \(w: \(0, 3\)\)"),
    (lambda: ternarize([[np.inf]]), r"ternarize: a weight is NaN or infinite \(w: \(1, 1\)\)"),
    (lambda: kmeans_codebook([np.nan], 2), r"kmeans_codebook: a weight is NaN or infinite"),
    (lambda: kmeans_codebook([1.0], 9), r"kmeans_codebook: bits is 9, expected an integer from 1 to 8"),
    (lambda: binarize([[1.0]], scale=0.0), r"binarize: scale is 0.0, expected a positive number"),
    (lambda: ternarize([[1.0]], threshold=-1), r"ternarize: threshold is -1, expected 0 or more"),
])  # fmt: skip
def test_bad_weights_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
