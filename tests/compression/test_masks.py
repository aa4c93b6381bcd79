"""The k-th value rule and its traps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigrad import nn
from minigrad.compression.pruning import kth_value_mask, model_sparsity
from minigrad.tensor import Tensor

WEIGHTS = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=6),
    elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]),  # few values: many ties
)
SHARES = st.floats(0, 1)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(w=WEIGHTS, sparsity=SHARES)
def test_drop_follows_the_definition(w, sparsity):
    k = round(w.size * sparsity)
    mask = kth_value_mask(w, sparsity)
    assert mask.shape == w.shape
    assert mask.dtype == bool
    if k == 0:
        assert mask.all()
    else:
        threshold = sorted(abs(float(v)) for v in w.reshape(-1))[k - 1]
        for weight, kept in zip(w.reshape(-1), mask.reshape(-1), strict=True):
            assert kept == (abs(weight) > threshold)
        assert (~mask).sum() >= k


@settings(max_examples=200, deadline=None, derandomize=True)
@given(w=WEIGHTS, sparsity=SHARES)
def test_exact_removes_exactly_k_and_never_a_larger_one_before_a_smaller(w, sparsity):
    mask = kth_value_mask(w, sparsity, ties="exact")
    magnitude = np.abs(w)
    assert (~mask).sum() == round(w.size * sparsity)
    if mask.any() and not mask.all():
        assert magnitude[mask].min() >= magnitude[~mask].max()
    assert not (kth_value_mask(w, sparsity) & ~mask).any()  # what "drop" keeps, "exact" keeps too


def test_the_articles_first_layer():
    """round(150 * 0.85) is round(127.5): 128, since Python rounds half to even."""
    w = np.random.default_rng(0).normal(size=(6, 1, 5, 5))
    assert (~kth_value_mask(w, 0.85)).sum() == 128


def test_ties():
    constant = np.full(10, -0.5)
    assert kth_value_mask(constant, 0.1).sum() == 0
    np.testing.assert_array_equal(kth_value_mask(constant, 0.2, ties="exact"), [False] * 2 + [True] * 8)
    w = np.array([1.0, -1.0, 2.0, -2.0])
    np.testing.assert_array_equal(kth_value_mask(w, 0.25), [False, False, True, True])
    np.testing.assert_array_equal(kth_value_mask(w, 0.25, ties="exact"), [False, True, True, True])
    np.testing.assert_array_equal(kth_value_mask(w, 0.75, ties="exact"), [False, False, False, True])


@pytest.mark.parametrize("ties", ["drop", "exact"])
def test_the_edges(ties):
    w = np.array([[0.3, -0.1], [0.0, 2.0]])
    assert kth_value_mask(w, 0.0, ties).all()
    assert kth_value_mask(w, 0.1, ties).all()  # round(0.4) is 0: there is no 0-th value
    assert not kth_value_mask(w, 1.0, ties).any()
    assert kth_value_mask(np.zeros((0, 3)), 0.5, ties).shape == (0, 3)
    assert kth_value_mask(np.float32(5), 0.5, ties).item() is True  # round(0.5) is 0
    assert kth_value_mask(np.float32(5), 0.6, ties).item() is False
    np.testing.assert_array_equal(kth_value_mask(np.zeros(4), 0.5, ties), [False] * 2 + [ties == "exact"] * 2)
    np.testing.assert_array_equal(kth_value_mask([np.inf, -np.inf, 1.0], 0.34, ties), [True, True, False])
    np.testing.assert_array_equal(kth_value_mask(Tensor(w), 0.5, ties), kth_value_mask(w, 0.5, ties))


def test_wrong_arguments_are_refused():
    for sparsity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"sparsity is {sparsity}, expected 0 to 1"):
            kth_value_mask(np.ones(3), sparsity)
    with pytest.raises(ValueError, match="ties is 'keep', expected 'drop' or 'exact'"):
        kth_value_mask(np.ones(3), 0.5, ties="keep")
    with pytest.raises(ValueError, match="hold NaN"):
        kth_value_mask(np.array([1.0, np.nan]), 0.0)


def test_model_sparsity_counts_biases_too():
    layer = nn.Linear(3, 1)
    assert model_sparsity(layer) == 0
    layer.weight.data[0, 0] = 0
    assert model_sparsity(layer) == 0.25
    layer.bias.data[0] = -0.0
    assert model_sparsity(layer) == 0.5
    assert model_sparsity(nn.ReLU()) == 0


def test_the_most_negative_integer_is_the_largest():
    np.testing.assert_array_equal(kth_value_mask(np.array([-128, 1, 2], np.int8), 0.34), [True, False, True])
