"""k-means from three beginnings; training that moves centroids and leaves zeros alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import functional as F
from minigrad import nn
from minigrad.compression.coding import SharedSGD, cluster, first_centroids, load_mgz, save_mgz, share_weights_of
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.quantization import kmeans_codebook
from minigrad.loader import DataLoader
from minigrad.nn import CrossEntropyLoss
from minigrad.training import train
from tests.sentences import raises

START = st.sampled_from(["linear", "density", "random"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 300), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 8), START)
def test_each_weight_belongs_to_the_nearest_centroid_and_each_centroid_is_a_mean(seed, zeros, bits, start):
    rng = np.random.default_rng(seed)
    w = np.where(rng.random((9, 11)) < zeros, 0, rng.normal(size=(9, 11))).astype(np.float32)
    book, own = cluster(w, bits, start, seed), w != 0
    assert len(book.centroids) <= 2**bits
    assert (np.diff(book.centroids) >= 0).all()
    assert (book.decode()[~own] == 0).all()
    apart = np.abs(w[own, None] - np.delete(book.centroids, np.unique(book.codes[~own])))
    np.testing.assert_allclose(np.abs(w - book.decode())[own], apart.min(axis=1) if own.any() else [], atol=1e-6)
    for code in np.unique(book.codes[own]):
        np.testing.assert_allclose(book.centroids[code], w[book.codes == code].mean(), atol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 300), st.sampled_from([0.0, 0.5]), st.integers(1, 8))
def test_a_linear_start_is_the_codebook_of_quantization(seed, zeros, bits):
    rng = np.random.default_rng(seed)
    w = np.where(rng.random((9, 11)) < zeros, 0, rng.normal(size=(9, 11))).astype(np.float32)
    one, other = cluster(w, bits), kmeans_codebook(w, bits)
    np.testing.assert_array_equal(one.codes, other.codes)
    np.testing.assert_array_equal(one.centroids, other.centroids)


def test_starts_lie_where_the_paper_says(rng):
    values = np.sort(rng.normal(size=5_001))
    linear, density, random = (first_centroids(values, 9, start) for start in ("linear", "density", "random"))
    np.testing.assert_allclose(np.diff(linear), (values[-1] - values[0]) / 8)
    np.testing.assert_array_equal(density, values[::625])  # 625 weights from one to the next
    assert np.isin(random, values).all()
    np.testing.assert_array_equal(random, first_centroids(values, 9, "random", seed=0))
    assert (random != first_centroids(values, 9, "random", seed=1)).any()
    assert len(first_centroids(values[:2], 9, "random")) == 9
    with raises(ValueError, "first_centroids: start is 'best'; there are linear, density, random"):
        first_centroids(values, 9, "best")


def test_a_linear_start_serves_large_weights_best(rng):
    """The paper's reason: the largest weights, which are few, are moved least."""
    w = rng.normal(size=20_000).astype(np.float32)
    large = np.abs(w) > 2.5
    errors = {
        start: np.abs(cluster(w, 5, start, iterations=3).decode() - w)[large].mean()
        for start in ("linear", "density", "random")
    }
    assert errors["linear"] < min(errors["density"], errors["random"])


def test_the_gradient_of_a_centroid_is_that_of_a_model_that_really_shares(rng):
    """The oracle looks its weights up in a Parameter of centroids, and lets the tape add."""
    codes = rng.integers(0, 4, (3, 5))
    centroids = nn.Parameter(np.array([-1.5, -0.5, 0.25, 2]))
    x, targets = rng.normal(size=(7, 5)), rng.integers(0, 3, 7)
    F.cross_entropy(F.linear(x, centroids[codes]), targets).backward()
    layer = nn.Linear(5, 3, bias=False)
    layer.weight = nn.Parameter(centroids.data[codes])
    optimizer, before = SharedSGD(layer, lr=0.1), layer.weight.data.copy()
    F.cross_entropy(layer(x), targets).backward()
    optimizer.step()
    np.testing.assert_allclose(layer.weight.data, before - 0.1 * centroids.grad[codes], rtol=1e-6)


def test_training_keeps_weights_shared_and_zeros_zero_and_lowers_the_loss(small_training, tmp_path):
    model = trained_lenet()
    pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    before = pruned.state_dict()
    shared = share_weights_of(
        pruned, {"conv1.weight": 4, "conv2.weight": 3, "fc1.weight": 2, "fc2.weight": 2, "fc3.weight": 3}
    )
    for name, array in pruned.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    values = {name: len(np.unique(p.data)) for name, p in shared.named_parameters() if p.ndim > 1}
    assert values["fc1.weight"] == 4
    loader = DataLoader(small_training.images, small_training.labels, 64, shuffle=True, seed=0)
    optimizer = SharedSGD(shared, lr=2e-4, momentum=0.9)
    losses = [train(shared, loader, CrossEntropyLoss(), optimizer) for _ in range(2)]
    assert losses[1] < losses[0]
    for name, p in shared.named_parameters():
        assert p.dtype == np.float32
        if p.ndim > 1:
            np.testing.assert_array_equal(p.data[before[name] == 0], 0)
            assert len(np.unique(p.data)) <= values[name]
            assert (p.data != before[name]).any()
    save_mgz(tmp_path / "x", shared)  # nothing is clustered again
    for name, array in load_mgz(tmp_path / "x").state_dict().items():
        np.testing.assert_array_equal(array, shared.state_dict()[name])


def test_errors_are_sentences():
    minigrad.manual_seed(0)
    with pytest.raises(
        ValueError, match=r"^SharedSGD: conv2.weight takes 2,\d+ values, more than 256; share_weights_of makes"
    ):
        SharedSGD(share_weights_of(LeNet(), {"conv1.weight": 3}), lr=0.1)
    with pytest.raises(
        KeyError, match=r"share_weights_of: fc9.weight: no such weight; there are conv1.weight, conv2.weight"
    ):
        share_weights_of(LeNet(), {"fc9.weight": 3})
    with raises(ValueError, "cluster: bits is 0, expected an integer from 1 to 8"):
        cluster(np.ones(2), 0)
    with raises(ValueError, "cluster: a weight is NaN or infinite (w: (1,))"):
        cluster(np.array([np.nan]), 2)
