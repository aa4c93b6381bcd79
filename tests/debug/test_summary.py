"""Summaries against figures worked out by hand."""

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn, summary
from minigrad.compression.models import LeNet
from minigrad.tape import observers

COLUMNS = ("path", "type", "output_shape", "parameters", "macs", "activation_bytes")


def rows(found):
    return [tuple(getattr(layer, name) for name in COLUMNS) for layer in found.layers]


def test_lenet_by_hand():
    found = summary(LeNet(), (1, 1, 28, 28))
    assert rows(found) == [
        # four times relu, with as many bytes as conv1, conv2, fc1 and fc2; flatten is a view
        ("", "LeNet", (1, 10), 0, 0, 13_824 + 4_096 + 480 + 336),
        ("conv1", "Conv2d", (1, 6, 24, 24), 6 * 25 + 6, 86_400, 13_824),
        ("maxpool", "MaxPool2d", (1, 6, 12, 12), 0, 0, 3_456),
        ("conv2", "Conv2d", (1, 16, 8, 8), 16 * 6 * 25 + 16, 153_600, 4_096),
        ("maxpool", "MaxPool2d", (1, 16, 4, 4), 0, 0, 1_024),
        ("fc1", "Linear", (1, 120), 256 * 120 + 120, 30_720, 480),
        ("fc2", "Linear", (1, 84), 120 * 84 + 84, 10_080, 336),
        ("fc3", "Linear", (1, 10), 84 * 10 + 10, 840, 40),
    ]
    assert found.parameters == 44_426
    assert found.macs == 281_640
    assert found.activation_bytes == 18_736 + 13_824 + 3_456 + 4_096 + 1_024 + 480 + 336 + 40


def test_figures_are_for_the_whole_batch():
    assert summary(LeNet(), (64, 1, 28, 28)).macs == 64 * 281_640


class Inner(nn.Module):
    def __init__(self):
        self.scale = nn.Parameter(np.ones((3, 3), np.float32))
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x @ self.scale)


class Outer(nn.Module):
    def __init__(self):
        self.inner = Inner()
        self.unused = nn.Linear(5, 5)
        self.tied = nn.Linear(3, 2)
        self.tied.weight = self.inner.fc.weight

    def forward(self, x):
        hidden = self.inner(x)
        return hidden + self.tied(x), {"hidden": hidden}


def test_ops_belong_to_the_innermost_module_and_parameters_count_once():
    assert rows(summary(Outer(), (4, 3))) == [
        ("", "Outer", None, 0, 0, 4 * 2 * 4),  # the sum; the output is no Tensor
        ("inner", "Inner", (4, 2), 9, 4 * 3 * 3, 4 * 3 * 4),
        ("inner.fc", "Linear", (4, 2), 8, 4 * 3 * 2, 4 * 2 * 4),
        ("tied", "Linear", (4, 2), 2, 4 * 3 * 2, 4 * 2 * 4),  # its bias: the weight was counted above
        ("unused", "Linear", None, 30, 0, 0),
    ]


def test_the_table():
    lines = str(summary(Outer(), (4, 3))).splitlines()
    assert lines[0].split("  ")[0] == "layer"
    assert lines[1].split() == ["(itself)", "Outer", "-", "0", "0", "32"]
    assert lines[3].split() == ["inner.fc", "Linear", "(4,", "2)", "8", "24", "32"]
    assert lines[-1].split() == ["total", "49", "84", "144"]
    assert len({len(line) for line in lines}) == 1
    assert "281,640" in str(summary(LeNet(), (1, 1, 28, 28))).splitlines()[-1]


def test_the_model_stays_as_it_was():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model.train()
    vars(model)["1"].eval()
    before = model.state_dict()
    summary(model, (2, 3))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert not any(vars(m).get(kind) for m in model.modules() for kind in ("_forward_hooks", "_forward_pre_hooks"))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(p.grad is None for p in model.parameters())


def test_a_model_of_float64_gets_zeros_of_float64():
    layer = nn.Linear(2, 3)
    layer.weight, layer.bias = (nn.Parameter(p.data.astype(np.float64)) for p in (layer.weight, layer.bias))
    assert summary(layer, (1, 2)).activation_bytes == 3 * 8


def test_products_of_an_average_over_parts_are_counted():
    # (2, 6) @ (6, 8) for each of 3 channels, then (2, 8) @ (8, 2)
    found = summary(nn.AdaptiveAvgPool2d(2), (1, 3, 6, 8))
    assert found.macs == 3 * (2 * 8 * 6 + 2 * 2 * 8)


def test_an_input_that_does_not_fit_is_told_with_its_layer():
    with pytest.raises(
        ValueError,
        match=r"^summary: LeNet cannot take an input of shape \(1, 1, 32, 32\): in fc1, linear: x has 400 features",
    ):
        summary(LeNet(), (1, 1, 32, 32))
    assert observers.get() == ()


def test_an_error_of_the_model_itself_is_told():
    class Model(nn.Module):
        def forward(self, x):
            return F.conv2d(x, np.ones((1, 3, 1, 1), np.float32))

    with pytest.raises(ValueError, match=r"of shape \(1, 1, 4, 4\): conv2d: x has C=1 channels but w expects C=3"):
        summary(Model(), (1, 1, 4, 4))


@pytest.mark.parametrize("shape", [28, [1, 28], (1, -1), (1, 2.0), ()])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"summary: input_shape must be a tuple of sizes with the batch first"):
        summary(LeNet(), shape)
