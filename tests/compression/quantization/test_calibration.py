import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.models import as_sequential, fold_batch_norm, trained_lenet
from minigrad.compression.quantization import calibrate, observe, stage_outputs, stages


@pytest.fixture
def chain(rng):
    return as_sequential(trained_lenet(), np.zeros((1, 1, 28, 28), np.float32))


@pytest.fixture
def images(rng):
    return rng.normal(size=(7, 1, 28, 28)).astype(np.float32)


def test_a_layer_and_its_activation_are_one_stage(chain):
    assert [(stage.name, len(stage.layers)) for stage in stages(chain) if stage.rounds] == [
        ("conv1", 2), ("conv2", 2), ("fc1", 2), ("fc2", 2), ("fc3", 1),
    ]  # fmt: skip
    alone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Linear(3, 3), nn.ReLU6(), nn.ReLU())
    assert [(len(stage.layers), stage.rounds) for stage in stages(alone)] == [
        (1, True), (1, False), (1, False), (2, True), (1, False),
    ]  # fmt: skip


def test_stages_compute_what_the_chain_computes(chain, images):
    x = images
    for stage in stages(chain):
        x = stage(x)
    np.testing.assert_array_equal(x.data, chain(images).data)
    logits = [out for name, out in stage_outputs(chain, images, batch_size=3) if name == "fc3"]
    assert [len(batch) for batch in logits] == [3, 3, 1]
    np.testing.assert_allclose(np.concatenate(logits), x.data, rtol=1e-5, atol=1e-5)


def test_ranges_are_those_of_the_activations_whatever_the_batches(chain, images):
    conv1 = np.maximum(chain.conv1(images).data, 0)
    logits = chain(images).data
    for batch_size in (2, 500):
        ranges = {name: seen.range() for name, seen in observe(chain, images, batch_size=batch_size).items()}
        np.testing.assert_allclose(ranges["conv1"], [0, conv1.max()], rtol=1e-5)
        np.testing.assert_allclose(ranges["fc3"], [logits.min(), logits.max()], rtol=1e-4)


def test_formats_follow_bits_and_observer(chain, images):
    wide, narrow = calibrate(chain, images, bits=4), calibrate(chain, images, "mse", bits=2)
    assert [(params.low, params.high) for params in wide.values()] == [(-8, 7)] * 5
    np.testing.assert_allclose(wide["conv1"].range[1], np.maximum(chain.conv1(images).data, 0).max(), rtol=1e-5)
    assert narrow["conv1"].range[1] < wide["conv1"].range[1]


def test_bad_calibration_is_refused_by_the_layers_name(chain, images):
    with pytest.raises(
        ValueError, match=r"calibration: there are no images; some hundred of the training images will do"
    ):
        calibrate(chain, images[:0])
    images[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"calibration: the output of conv1: MinMaxObserver: an observed value is NaN"):
        calibrate(chain, images)
    chain.conv2.weight.data[...] = 0
    chain.conv2.bias.data[...] = -1
    with pytest.raises(
        ValueError, match=r"calibration: the output of conv2: MinMaxObserver: all observed values are 0"
    ):
        calibrate(chain, images[1:])
    unfolded = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match=r"quantization: 1 is a BatchNorm2d; fold it first, by fold_batch_norm"):
        stages(unfolded)
    assert len(stages(fold_batch_norm(unfolded))) == 1
