"""The binary LeNet-5 and its float twin."""

import numpy as np
import pytest

import minigrad
from minigrad import DataLoader, evaluate, nn
from minigrad.compression.binary import BinaryLeNet, BinaryLinear, pack
from minigrad.compression.models import CaffeLeNet
from minigrad.optim import Adam
from minigrad.training import train


def twins():
    found = []
    for binary in (True, False):
        minigrad.manual_seed(3)
        found.append(BinaryLeNet(binary))
    return found


def test_twins_have_the_same_names_and_initial_weights():
    one, other = (dict(model.named_parameters()) for model in twins())
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name].data, other[name].data)


def test_the_twin_is_caffes_network_with_batch_norm(rng):
    """With weights of Caffe's and statistics that change nothing, all but ReLU in place of none after conv1 and conv2."""
    caffe, twin = CaffeLeNet(), BinaryLeNet(binary=False).eval()
    for name in ("conv1", "conv2", "fc1", "fc2"):
        getattr(twin, name).weight.data[...] = getattr(caffe, name).weight.data
        for layer in (getattr(caffe, name), getattr(twin, name)):
            if layer.bias is not None:
                layer.bias.data[...] = 0
    for norm in (twin.norm1, twin.norm2, twin.norm3):
        norm.running_var.data[...] -= norm.eps
    caffe.maxpool = nn.Sequential(caffe.maxpool, nn.ReLU())
    x = rng.normal(size=(2, 1, 28, 28)).astype(np.float32)
    np.testing.assert_allclose(twin(x).data, caffe(x).data, rtol=1e-4, atol=1e-5)


def test_nearly_all_weights_are_in_the_binary_layers():
    model = BinaryLeNet()
    sizes = {name: p.size for name, p in model.named_parameters() if p.ndim > 1}
    assert sum(sizes.values()) == 430_500
    assert sizes["conv2.weight"] + sizes["fc1.weight"] == 425_000
    assert isinstance(model.fc1, BinaryLinear)


@pytest.fixture(scope="module")
def trained(small_training):
    minigrad.manual_seed(0)
    model = BinaryLeNet()
    loader = DataLoader(small_training.images, small_training.labels, batch_size=32, shuffle=True, seed=0)
    optimizer = Adam(model.parameters(), 0.002)
    for _ in range(2):
        train(model, loader, nn.CrossEntropyLoss(), optimizer)
    return model.eval()


def test_it_learns(trained, small_test):
    assert evaluate(trained, DataLoader(small_test.images, small_test.labels, batch_size=100)) > 90


def test_packed_it_gives_the_same_logits(trained, small_test):
    x = small_test.images[:100]
    packed = pack(trained)
    np.testing.assert_array_equal(packed(x).data, trained(x).data)
    layers = [getattr(packed, name) for name in ("conv2", "fc1")]
    assert [layer.nbytes for layer in layers] == [50 * 8 * 8 + 4 * 50, 500 * 13 * 8 + 4 * 500]
