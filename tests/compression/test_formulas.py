"""The articles' formulas as printed and repaired, and clipping."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.pruning import (
    clip_weights,
    indicator,
    indicator_as_written,
    indicator_plus_epsilon_as_written,
    kth_value_mask,
)


def test_as_written_the_formulas_prune_nothing(rng):
    w = rng.normal(size=(5, 4)).astype(np.float32)
    w[0, 0] = 0
    np.testing.assert_array_equal(indicator_as_written(w), w)
    grown = indicator_plus_epsilon_as_written(w, 0.125)
    np.testing.assert_allclose(grown, w * 1.125, rtol=1e-6)
    assert np.count_nonzero(grown) == np.count_nonzero(w) == 19
    assert indicator_as_written(w).dtype == grown.dtype == np.float32


def test_repaired_it_is_the_kth_value_rule(rng):
    w = rng.normal(size=(5, 4)).astype(np.float32)
    threshold = float(np.sort(abs(w), axis=None)[9])
    pruned = indicator(w, threshold)
    np.testing.assert_array_equal(pruned, np.where(kth_value_mask(w, 0.5), w, 0))
    assert pruned.dtype == np.float32
    with pytest.raises(ValueError, match="indicator: threshold is -1, expected 0 or more"):
        indicator(w, -1)


def test_clipping_bounds_weights_and_removes_none():
    layer = nn.Linear(3, 2)
    layer.weight.data[...] = [[-2, 0.5, 3], [1, -0.1, 0.1]]
    before = layer.state_dict()
    clipped = clip_weights(layer, -1, 2)
    np.testing.assert_array_equal(clipped.weight.data, np.float32([[-1, 0.5, 2], [1, -0.1, 0.1]]))
    assert np.count_nonzero(clipped.weight.data) == 6
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(clipped.bias.data, before["bias"])
    assert (clip_weights(layer, minimum=5, names=["bias"]).bias.data == 5).all()
    with pytest.raises(ValueError, match="give a minimum, a maximum, or both"):
        clip_weights(layer)
    with pytest.raises(ValueError, match="minimum 2 is above maximum 1"):
        clip_weights(layer, 2, 1)
