"""LeNet in other widths, and the two networks that papers prune."""

import copy

import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.models import LENET_WIDTHS, CaffeLeNet, LeNet, LeNet300100, lenet_widths


def test_widths_are_outputs_in_order():
    model = LeNet(widths=(2, 3, 5, 7))
    shapes = [p.shape for name, p in model.named_parameters() if name.endswith("weight")]
    assert shapes == [(2, 1, 5, 5), (3, 2, 5, 5), (5, 48), (7, 5), (10, 7)]
    assert lenet_widths(model.state_dict()) == (2, 3, 5, 7)
    assert model(np.zeros((4, 1, 28, 28), np.float32)).shape == (4, 10)


def test_without_arguments_it_is_the_articles():
    assert lenet_widths(LeNet().state_dict()) == LENET_WIDTHS == (6, 16, 120, 84)
    assert sum(p.size for p in LeNet().parameters()) == 44_426


def test_arrays_of_another_network_say_nothing_about_widths():
    assert lenet_widths({}) == LENET_WIDTHS
    assert lenet_widths(LeNet300100().state_dict()) == LENET_WIDTHS
    arrays = LeNet(widths=(2, 3, 5, 7)).state_dict()
    for name in ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"):
        for wrong in (arrays[name][:0], np.float32(1.0), np.zeros(9, np.float32)):
            assert lenet_widths(arrays | {name: wrong}) == LENET_WIDTHS
    assert lenet_widths(arrays | {"fc1.weight": np.zeros((5, 47), np.float32)}) == LENET_WIDTHS


def test_dropout_is_after_the_hidden_linear_layers_and_of_training_only():
    model, x = LeNet(dropout=0.5), np.ones((8, 1, 28, 28), np.float32)
    assert (model.train()(x).data != model(x).data).any()
    np.testing.assert_array_equal(model.eval()(x).data, model(x).data)
    plain = LeNet().train()
    np.testing.assert_array_equal(plain(x).data, plain(x).data)
    assert [path for path, m in model.named_modules() if getattr(m, "p", None) == 0.5] == ["dropout1", "dropout2"]
    with pytest.raises(ValueError, match=r"Dropout: p is 2, expected 0 to 1"):
        LeNet(dropout=2)


def same_parameters(model, plain):
    """Give `plain` the parameters of `model`, in order."""
    for target, source in zip(plain.parameters(), model.parameters(), strict=True):
        target.data[...] = source.data
    return plain


@pytest.mark.parametrize(
    ("model", "layers", "weights"),
    [
        (LeNet300100, (nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)),
         266_200),
        (CaffeLeNet, (nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
                      nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)), 430_500),
    ],
)  # fmt: skip
def test_the_layers_are_the_papers(model, layers, weights, rng):
    network, x = model(), rng.normal(size=(3, 1, 28, 28)).astype(np.float32)
    np.testing.assert_array_equal(network(x).data, same_parameters(network, nn.Sequential(*layers))(x).data)
    assert sum(p.size for p in network.parameters() if p.ndim > 1) == weights
    assert network(x).dtype == np.float32


@pytest.mark.parametrize("model", [LeNet, LeNet300100, CaffeLeNet])
def test_there_is_no_dropout_without_a_rate(model, rng):
    plain, dropping = model(), model(dropout=0.5)
    assert not [path for path, _ in plain.named_modules() if "dropout" in path]
    plain.load_state_dict(dropping.state_dict())  # a checkpoint has no word of dropout
    x = rng.normal(size=(2, 1, 28, 28)).astype(np.float32)
    np.testing.assert_array_equal(plain(x).data, dropping.eval()(x).data)
    np.testing.assert_array_equal(copy.deepcopy(plain)(x).data, plain(x).data)
    for wrong in (-0.1, float("nan")):
        with pytest.raises(ValueError, match=rf"Dropout: p is {wrong}, expected 0 to 1"):
            model(dropout=wrong)


@pytest.mark.parametrize("model", [LeNet300100, CaffeLeNet])
def test_dropout_is_for_training_only(model, rng):
    network, x = model(dropout=0.5), rng.normal(size=(3, 1, 28, 28)).astype(np.float32)
    network.eval()
    np.testing.assert_array_equal(network(x).data, network(x).data)
    network.train()
    assert (network(x).data != network(x).data).any()
