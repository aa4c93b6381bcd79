import itertools

import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.models import as_sequential, trained_lenet
from minigrad.compression.quantization import correct_biases, equalize, expected_inputs, simulate, weight_params

WEIGHTED = ("conv1", "conv2", "fc1", "fc2", "fc3")


@pytest.fixture
def uneven(rng):
    """The trained LeNet with channels scaled by up to 30, and nothing changed by it."""
    chain = as_sequential(trained_lenet(), np.zeros((1, 1, 28, 28), np.float32))
    for first, second in itertools.pairwise(WEIGHTED):
        a, b = getattr(chain, first), getattr(chain, second)
        s = np.exp(rng.uniform(-3.4, 3.4, len(a.weight.data))).astype(np.float32)
        a.weight.data[...] *= s.reshape(-1, *(1,) * (a.weight.ndim - 1))
        a.bias.data[...] *= s
        w = b.weight.data.reshape(len(b.weight.data), len(s), -1)
        b.weight.data[...] = (w / s[:, None]).reshape(b.weight.shape)
    return chain


def off(chain, rounded, images):
    return np.abs(rounded(images).data - chain(images).data).mean() / np.abs(chain(images).data).mean()


def round_all(chain, bits):
    return simulate(chain, {name: weight_params(getattr(chain, name).weight, bits, axis=None) for name in WEIGHTED})


def test_equalizing_changes_no_result_and_evens_ranges_out(uneven, rng):
    images = rng.normal(size=(5, 1, 28, 28)).astype(np.float32)
    before = uneven.state_dict()
    even = equalize(uneven, rounds=60)
    np.testing.assert_allclose(even(images).data, uneven(images).data, rtol=1e-3, atol=1e-2)
    made = np.abs(even.conv1.weight.data).max(axis=(1, 2, 3))
    read = np.abs(even.conv2.weight.data).max(axis=(0, 2, 3))
    np.testing.assert_allclose(made, read, rtol=0.01)
    flattened = np.abs(even.fc1.weight.data).reshape(120, 16, 16).max(axis=(0, 2))
    np.testing.assert_allclose(np.abs(even.conv2.weight.data).max(axis=(1, 2, 3)), flattened, rtol=0.01)
    assert all(np.array_equal(array, before[name]) for name, array in uneven.state_dict().items())


def test_one_scale_for_all_is_enough_afterwards(uneven, rng):
    images = rng.normal(size=(20, 1, 28, 28)).astype(np.float32)
    even = equalize(uneven)
    assert off(even, round_all(even, 6), images) < 0.4 * off(uneven, round_all(uneven, 6), images)


def test_dead_channels_and_relu6_are_left_alone(rng):
    chain = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU6(), nn.Linear(2, 2))
    chain[0].weight.data[0] = 0
    chain[2].weight.data[:, 1] = 0
    even = equalize(chain)
    np.testing.assert_array_equal(even[0].weight.data[:2], chain[0].weight.data[:2])
    np.testing.assert_array_equal(even[4].weight.data, chain[4].weight.data)
    x = rng.normal(size=(9, 2)).astype(np.float32)
    np.testing.assert_allclose(even(x).data, chain(x).data, rtol=1e-5, atol=1e-6)


def test_means_behind_batch_norm_are_those_of_normal_numbers_rectified(rng):
    chain = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU6(),
        nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2), nn.BatchNorm1d(2),
        nn.Linear(2, 2),
    )  # fmt: skip
    for norm in chain:
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data[...], norm.bias.data[...] = (
                rng.uniform(-4, 4, norm.weight.shape),
                rng.normal(size=norm.bias.shape),
            )
    found = expected_inputs(chain)
    assert list(found) == ["4", "7", "13"]  # not the one behind max-pooling
    draws = rng.normal(size=(200000, 3))
    for name, norm, top in (("4", chain[1], np.inf), ("7", chain[5], 6)):
        sampled = np.clip(draws * norm.weight.data + norm.bias.data, 0, top).mean(axis=0)
        np.testing.assert_allclose(found[name], sampled, atol=0.02)
    np.testing.assert_array_equal(found["13"], chain[12].bias.data)


def test_corrected_biases_restore_the_mean_of_each_output(rng):
    chain = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    x = (rng.normal(size=(50, 2, 6, 6)) + 1).astype(np.float32)
    rounded = simulate(chain, {"0": weight_params(chain[0].weight, 2, axis=None)})
    inputs = x.mean(axis=(0, 2, 3)).astype(np.float64)
    # With the mean of every pixel the restoration would be exact; with that of a channel it is nearly so.
    corrected = correct_biases(rounded, chain, {"0": inputs})
    want = chain[0](x).data.mean(axis=(0, 2, 3))
    assert np.abs(corrected[0](x).data.mean(axis=(0, 2, 3)) - want).max() < 0.05
    assert np.abs(rounded[0](x).data.mean(axis=(0, 2, 3)) - want).max() > 0.1
    np.testing.assert_array_equal(rounded[0].bias.data, chain[0].bias.data)


def test_biases_of_inputs_one_by_one_are_exact(rng):
    chain = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    x = rng.normal(size=(40, 6)).astype(np.float32) + 2
    rounded = simulate(chain, {"0": weight_params(chain[0].weight, 2)})
    corrected = correct_biases(rounded, chain, {"0": x.mean(axis=0, dtype=np.float64)})
    np.testing.assert_allclose(corrected[0](x).data.mean(axis=0), chain[0](x).data.mean(axis=0), atol=1e-5)
