"""Layers in a file: settings and shapes come back; what does not fit together is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import nn
from minigrad.compression.coding import chain
from minigrad.compression.coding.wire import Reader, write_number
from tests.sentences import raises

SMALL = st.integers(1, 3)
PAIR = st.tuples(SMALL, SMALL)


def numbers(*values):
    return Reader(b"".join(map(write_number, values)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(PAIR, PAIR, st.tuples(st.integers(0, 2), st.integers(0, 2)), PAIR, SMALL, SMALL, SMALL)
def test_a_convolution_comes_back_with_its_shapes(kernel, stride, padding, dilation, groups, inputs, outputs):
    layer = nn.Conv2d(groups * inputs, groups * outputs, kernel, stride, padding, dilation, groups)
    x = np.zeros((1, groups * inputs, 9, 10), np.float32)
    read = chain.read_layer(Reader(chain.write_layer("a", layer)), x.shape[1:])
    assert read.weight_shape == layer.weight.shape
    assert read.output_shape == layer(x).shape[1:]
    assert {name: getattr(layer, name) for name in read.settings} == read.settings
    assert read.uses == np.prod(layer(x).shape[2:])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]), PAIR, st.none() | SMALL, st.integers(0, 1))
def test_a_pooling_comes_back_with_its_shapes(kind, kernel, stride, padding):
    layer = kind(kernel, stride, padding if min(kernel) > 1 else 0)
    x = np.zeros((1, 2, 8, 9), np.float32)
    read = chain.read_layer(Reader(chain.write_layer("a", layer)), x.shape[1:])
    assert read.kind is kind
    assert read.output_shape == layer(x).shape[1:] == kind(**read.settings)(x).shape[1:]


@pytest.mark.parametrize(
    ("layer", "out"), [(nn.ReLU(), (2, 3, 4)), (nn.ReLU6(), (2, 3, 4)), (nn.Flatten(), (24,)), (nn.Linear(5, 7), (7,))]
)
def test_other_layers_come_back(layer, out):
    shape = (5,) if isinstance(layer, nn.Linear) else (2, 3, 4)
    read = chain.read_layer(Reader(chain.write_layer("a", layer)), shape)
    assert read.kind is type(layer)
    assert read.output_shape == out


def test_other_kinds_are_refused():
    with raises(ValueError, "a is a Dropout, which has no place in a .mgz file; there are Conv2d, Linear, ReLU, ReLU6, "
                "MaxPool2d, AvgPool2d, Flatten"):  # fmt: skip
        chain.write_layer("a", nn.Dropout())
    with raises(ValueError, "kind of layer is 7, expected 0 to 6"):
        chain.read_layer(numbers(7), (1,))


@pytest.mark.parametrize(
    ("content", "shape", "message"),
    [
        ((1, 4, 2), (5,), "a Linear expects 4 features and gets an input of shape (5,)"),
        ((1, 4, 2), (1, 2, 2), "a Linear expects 4 features and gets an input of shape (1, 2, 2)"),
        ((1, 5, 65537), (5,), "out_features is 65537, expected 1 to 65536"),
        ((1, 5, 0), (5,), "out_features is 0, expected 1 to 65536"),
        ((4, 2, 2, 2, 2, 0, 0), (5,), "a MaxPool2d expects images and gets an input of shape (5,)"),
        ((4, 2, 2, 2, 2, 0, 2), (1, 5, 5), "a MaxPool2d has a window of (2, 2) and padding (0, 2)"),
        ((5, 20, 20, 1, 1, 0, 0), (1, 25, 25), "a AvgPool2d has a window of (20, 20) and padding (0, 0)"),
        ((5, 3, 3, 1, 1, 0, 0), (1, 2, 5), "the window of a AvgPool2d does not fit into an input of 2×5"),
        ((0, 1, 1, 1, 1, 1, 1, 300, 300, 1, 1, 1), (1, 5, 5),
         "the padded input of a Conv2d has 366,025 values, and 65,536 are allowed"),
        ((0, 1, 3000, 1, 1, 1, 1, 0, 0, 1, 1, 1), (1, 5, 5),
         "the output of a Conv2d has 75,000 values, and 65,536 are allowed"),
        ((0, 2, 2, 1, 1, 1, 1, 0, 0, 1, 1, 1), (1, 5, 5),
         "a Conv2d expects 2 channels in 1 groups and gets an input of shape (1, 5, 5)"),
        ((0, 3, 2, 1, 1, 1, 1, 0, 0, 1, 1, 2), (3, 5, 5),
         "a Conv2d expects 3 channels in 2 groups and gets an input of shape (3, 5, 5)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(content, shape, message):
    with raises(ValueError, message):
        chain.read_layer(numbers(*content), shape)


@pytest.mark.parametrize("name", ["", "_hooks", "forward", "training", "a b", "é", "x" * 65, "append"])
def test_names_that_would_hide_something_are_refused(name):
    with pytest.raises(
        ValueError, match=r"^a layer is named .*: expected letters, digits, dots and underscores, and no me"
    ):
        chain.check_name(name, set())


def test_a_name_is_used_once():
    chain.check_name("block.conv_1", {"fc1"})
    with raises(ValueError, "two layers are named 'fc1'"):
        chain.check_name("fc1", {"fc1"})


def test_totals_are_limited():
    chain.check_totals(2**21, 2**28)
    with raises(ValueError, "it has 2,097,153 weights and biases or more, and 2,097,152 are read at most"):
        chain.check_totals(2**21 + 1, 0)
    with raises(ValueError, "it takes 268,435,457 multiplications an image or more, and 268,435,456 are allowed"):
        chain.check_totals(0, 2**28 + 1)
