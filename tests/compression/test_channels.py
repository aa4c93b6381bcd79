"""Tracing: which channels are one and the same, and what the model must be for that."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning.channels import trace_channels
from tests.compression.random_models import Branches, Residual


def layers(channels):
    return {layer.path: layer for layer in channels.layers}


def test_flattening_repeats_each_channel_for_its_pixels():
    found = layers(trace_channels(LeNet()))
    assert list(found) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    np.testing.assert_array_equal(found["conv2"].inputs, found["conv1"].outputs)
    np.testing.assert_array_equal(found["fc1"].inputs, np.repeat(found["conv2"].outputs, 16))


def test_a_sum_unites_its_sides_and_a_norm_passes_channels_on():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), Residual(4, 3, norm=True, shortcut=False))
    channels = trace_channels(model, np.zeros((2, 1, 5, 5), np.float32))
    found = layers(channels)
    np.testing.assert_array_equal(found["1.conv2"].outputs, found["0"].outputs)
    assert not set(found["1.conv1"].outputs) & set(found["0"].outputs)
    norms = {part.path: part.channels for part in channels.per_channel}
    np.testing.assert_array_equal(norms["1.norm1"], found["1.conv1"].outputs)
    np.testing.assert_array_equal(norms["1.norm2"], found["0"].outputs)
    assert channels.fixed[found["0"].outputs].all()  # the model's output
    assert not channels.fixed[found["1.conv1"].outputs].any()


def test_branches_are_joined_one_after_the_other():
    channels = trace_channels(Branches(2, 3), np.zeros((2, 2, 5, 5), np.float32))
    found = layers(channels)
    joined = np.concatenate([found["left"].outputs, found["right"].outputs])
    np.testing.assert_array_equal(found["point"].inputs, joined)
    np.testing.assert_array_equal(channels.per_channel[0].channels, joined)
    assert channels.per_channel[0].path == "each"


@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2), nn.AvgPool2d(2, padding=1), nn.AdaptiveAvgPool2d(2), nn.GELU(), nn.ReLU6(), nn.Dropout(0.5)],
)
def test_what_works_channel_by_channel_is_followed(pool, rng):
    model = nn.Sequential(nn.Conv2d(1, 3, 1), pool, nn.Conv2d(3, 2, 1))
    channels = trace_channels(model, rng.normal(size=(2, 1, 6, 6)).astype(np.float32))
    np.testing.assert_array_equal(channels.layers[1].inputs, channels.layers[0].outputs)
    assert not channels.fixed[channels.layers[0].outputs].any()


def test_zero_rows_are_constant_and_hold_what_the_bias_becomes():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1))
    model[0].weight.data[1] = 0
    model[0].bias.data[1] = 2
    last = trace_channels(model).layers[1]
    np.testing.assert_array_equal(last.constant, [False, True, False])
    np.testing.assert_allclose(last.values[1], 1 / (1 + np.exp(-2)), rtol=1e-6)


def test_tracing_leaves_the_model_alone():
    model = LeNet().train()
    before = model.state_dict()
    trace_channels(model)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


class Pair(nn.Module):
    def forward(self, x):
        return F.relu(x), x


def test_what_cannot_be_traced_is_said():
    with pytest.raises(ValueError, match=r"Linear cannot take an example of shape \(2, 5\) .*give one"):
        trace_channels(nn.Linear(4, 2), np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match=r"Pair returned tuple, expected one Tensor"):
        trace_channels(Pair(), np.zeros((2, 5), np.float32))
    with pytest.raises(ValueError, match=r"ReLU has no weights; give an input"):
        trace_channels(nn.ReLU())
