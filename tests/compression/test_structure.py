"""Which groups go: by norm, in a layer or overall, with all that belongs to them."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import channel_masks, group_mask, prune_channels, prune_conv, shrink
from tests.compression.random_models import Residual, settle


def test_groups_are_ranked_by_either_norm():
    w = np.zeros((3, 2, 1, 2))
    w[0, 0, 0] = [3, 0]  # L1 3, L2 3
    w[1] = -1  # L1 4, L2 2
    w[2, 1, 0] = [9, 9]
    assert group_mask(w, 1 / 3, ord=1).reshape(3, -1).all(axis=1).tolist() == [False, True, True]
    assert group_mask(w, 1 / 3, ord=2).reshape(3, -1).all(axis=1).tolist() == [True, False, True]
    mask = group_mask(w, 0.5, axis=1)  # input channels: L1 3 + 2 and 2 + 18
    assert mask.shape == w.shape
    assert not mask[:, 0].any()
    assert mask[:, 1].all()


def test_group_masks_at_the_borders():
    w = np.ones((4, 3))
    assert group_mask(w, 0).all()
    assert not group_mask(w, 1).any()
    np.testing.assert_array_equal(group_mask(w, 0.5)[:, 0], [False, False, True, True])  # ties: the first go first
    assert group_mask(np.ones((0, 3)), 0.5).shape == (0, 3)
    with pytest.raises(ValueError, match=r"group_mask: ord is 3, expected 1 or 2"):
        group_mask(w, 0.5, ord=3)
    with pytest.raises(ValueError, match=r"sparsity is 1.5, expected 0 to 1"):
        group_mask(w, 1.5)
    with pytest.raises(ValueError, match=r"NaN"):
        group_mask(w * np.nan, 0.5)


def test_prune_conv_both_ways():
    module = nn.Conv2d(2, 10, 3)
    before = module.weight.data.copy()
    filters = prune_conv(module, 0.3).weight.data
    weights = prune_conv(module, 0.3, structured=False).weight.data
    np.testing.assert_array_equal(module.weight.data, before)
    zero = (filters == 0).all(axis=(1, 2, 3))
    norms = np.abs(before).sum(axis=(1, 2, 3))
    assert zero.sum() == 3
    assert norms[zero].max() < norms[~zero].min()
    np.testing.assert_array_equal(filters[~zero], before[~zero])
    assert (weights == 0).sum() == 54
    assert np.abs(before[weights == 0]).max() < np.abs(before[weights != 0]).min()
    assert not (weights == 0).all(axis=(1, 2, 3)).any()  # what the article calls structured leaves every filter
    np.testing.assert_array_equal(prune_conv(module, 0.3).bias.data, module.bias.data)


def test_prune_conv_takes_convolutions_only():
    with pytest.raises(TypeError, match=r"prune_conv: expected a Conv2d, got Linear"):
        prune_conv(nn.Linear(2, 2), 0.1)


def test_every_layer_but_the_last_loses_its_share_with_biases():
    masks = channel_masks(LeNet(), 0.5)
    gone = {name: int((~m.reshape(len(m), -1).any(axis=1)).sum()) for name, m in masks.items()}
    halves = {"conv1": 3, "conv2": 8, "fc1": 60, "fc2": 42}
    assert gone == {f"{layer}.{part}": n for layer, n in halves.items() for part in ("weight", "bias")}


def test_incoming_and_outgoing_norms_differ():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].weight.data[...] = [[1, 1], [2, 2], [3, 3]]
    model[2].weight.data[...] = [[5, 4, 3], [5, 4, 3]]
    assert channel_masks(model, 1 / 3)["0.bias"].tolist() == [False, True, True]
    assert channel_masks(model, 1 / 3, by="outgoing")["0.bias"].tolist() == [True, True, False]


def test_the_global_ranking_compares_per_weight_and_leaves_each_layer_one():
    model = nn.Sequential(nn.Linear(10, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].weight.data[...] = [[1.0], [1.1], [1.2]]
    model[2].weight.data[...] = [[2.0], [2.1], [0.9]]
    masks = channel_masks(model, 0.5, scope="global")
    assert masks["0.bias"].tolist() == [False, False, True]
    assert masks["2.bias"].tolist() == [True, True, False]  # 3 * 0.9 is less than 10 * 1.1, but the mean is least too
    everything = channel_masks(model, 1.0, scope="global")
    assert everything["0.bias"].tolist() == [False, False, True]
    assert everything["2.bias"].tolist() == [False, True, False]


def test_summed_layers_lose_the_same_channels_by_their_common_norm(rng):
    model = nn.Sequential(nn.Conv2d(1, 3, 1), Residual(3, 2, norm=True, shortcut=False), nn.Conv2d(3, 2, 1))
    settle(model, rng, np.float64)
    model[0].weight.data[...] = np.reshape([1, 2, 3], (3, 1, 1, 1))
    model[1].conv2.weight.data[...] = np.reshape([4, 1, 2], (3, 1, 1, 1))
    x = rng.normal(size=(2, 1, 5, 5))
    masks = channel_masks(model, {"1.conv2": 1 / 3}, example=x)
    # Channel 1 has the least mean, (1 * 2 + 18 * 1) / 19, though not in layer 0.
    for name in ("0.weight", "0.bias", "1.conv2.weight", "1.norm2.weight", "1.norm2.bias"):
        if name in masks:
            assert masks[name].reshape(3, -1).all(axis=1).tolist() == [True, False, True], name
    assert masks.keys() == {"0.weight", "0.bias", "1.conv2.weight", "1.norm2.weight", "1.norm2.bias"}
    masked = prune_channels(model, {"1.conv2": 1 / 3}, example=x)
    smaller = shrink(masked, x)
    assert [smaller[0].out_channels, smaller[1].conv2.out_channels, smaller[2].in_channels] == [2, 2, 2]
    np.testing.assert_allclose(smaller(x).data, masked(x).data, rtol=1e-10, atol=1e-10)


class WithInput(nn.Module):
    """The input itself is summed with what a layer makes."""

    def __init__(self):
        self.fc1, self.fc2 = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.fc2(x + F.relu(self.fc1(x)))


def test_what_cannot_be_pruned_is_said():
    model = nn.Sequential(nn.Conv2d(1, 3, 1), Residual(3, 2, norm=False, shortcut=True), nn.Conv2d(3, 2, 1))
    x = np.zeros((2, 1, 5, 5), np.float32)
    with pytest.raises(KeyError, match=r"no such layer: \['fc9'\]; there are 0, 1.conv1, 1.conv2, 1.shortcut, 2"):
        channel_masks(model, {"fc9": 0.5}, example=x)
    with pytest.raises(ValueError, match=r"1.conv2, 1.shortcut are summed .* have rates \[0.2, 0.5\]"):
        channel_masks(model, {"1.conv2": 0.5, "1.shortcut": 0.2}, example=x)
    with pytest.raises(ValueError, match=r"the rate of 0 is 1.5, expected 0 to 1"):
        channel_masks(model, {"0": 1.5}, example=x)
    with pytest.raises(ValueError, match=r"channels of 2 cannot be removed: they are outputs of the model"):
        channel_masks(model, {"2": 0.5}, example=x)
    with pytest.raises(ValueError, match=r"channels of fc1 cannot be removed: .* summed with its input"):
        channel_masks(WithInput(), {"fc1": 0.5})
    with pytest.raises(ValueError, match=r"global ranking takes one rate"):
        channel_masks(model, {"0": 0.5}, scope="global", example=x)
    with pytest.raises(ValueError, match=r"ord=3, by='incoming', scope='layer'; expected 1 or 2"):
        channel_masks(model, 0.5, ord=3)


def test_the_model_is_left_alone_and_a_rate_of_one_leaves_a_channel():
    model = LeNet()
    before = model.state_dict()
    assert [int(m.sum()) for name, m in channel_masks(model, 1.0).items() if name.endswith("bias")] == [1, 1, 1, 1]
    pruned = prune_channels(model, 1.0)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert [p.shape[0] for p in shrink(pruned).parameters() if p.ndim > 1] == [1, 1, 1, 1, 10]
