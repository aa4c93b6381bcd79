"""shrink: what is dead goes, what remains computes the same, and what cannot go is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad import nn
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.pruning import channel_masks, prune_channels, shrink
from tests.compression.random_models import random_model, settle

SEEDS = st.integers(0, 2**32 - 1)
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-6}


def size(model):
    return sum(p.size for p in model.parameters())


def assert_same_output(smaller, model, x, tolerance):
    expected, out = model(x).data, smaller(x).data
    assert out.dtype == expected.dtype == x.dtype
    assert out.shape == expected.shape
    # Below 1, outputs are differences of larger terms, and rounding is in proportion to these.
    assert np.abs(out - expected).max() <= tolerance * max(1, np.abs(expected).max())


def assert_sizes_are_stated(model):
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            shape = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
            assert module.weight.shape == shape
        elif isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.shape == module.running_var.shape == (module.num_features,)
        if vars(module).get("bias") is not None:
            assert module.bias.shape == module.weight.shape[:1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_a_model_without_its_masked_channels_computes_the_same(dtype, seed):
    rng = np.random.default_rng(seed)
    model, x = random_model(rng, dtype), rng.normal(size=(3, 2, 8, 8)).astype(dtype)
    rate, choice = float(rng.uniform(0, 0.9)), {"ord": int(rng.integers(1, 3)), "example": x}
    choice |= {"by": ["incoming", "outgoing"][rng.integers(2)], "scope": ["layer", "global"][rng.integers(2)]}
    masked = prune_channels(model, rate, **choice)
    before = masked.state_dict()
    smaller = shrink(masked, x)
    assert_same_output(smaller, masked, x, TOLERANCE[dtype])
    assert_sizes_are_stated(smaller)
    for name, array in masked.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    left = {name: len(array) for name, array in smaller.state_dict().items()}
    for name, mask in channel_masks(model, rate, **choice).items():
        assert left[name] == mask.reshape(len(mask), -1).any(axis=1).sum()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_a_model_without_its_dead_neurons_computes_the_same(dtype, seed):
    rng = np.random.default_rng(seed)
    model, x = random_model(rng, dtype), rng.normal(size=(3, 2, 8, 8)).astype(dtype)
    sparsity = rng.uniform(0.5, 0.98)
    for p in model.parameters():
        if p.ndim > 1:
            p.data[rng.random(p.shape) < sparsity] = 0
    smaller = shrink(model, x, strict=False)
    assert_same_output(smaller, model, x, TOLERANCE[dtype])
    assert_sizes_are_stated(smaller)
    assert size(shrink(smaller, x, strict=False)) == size(smaller)  # nothing dead is left


def test_a_dead_neurons_constant_goes_into_the_next_bias():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].weight.data[...] = [[1, 2], [0, 0], [0, 0]]
    model[0].bias.data[...] = [0.5, 3, -4]
    model[2].weight.data[...] = [[1, 10, 100], [2, 20, 200]]
    model[2].bias.data[...] = [7, 8]
    smaller = shrink(model)
    assert repr(smaller[0]) == "Linear(in_features=2, out_features=1, bias=True)"
    np.testing.assert_array_equal(smaller[2].weight.data, [[1], [2]])
    np.testing.assert_array_equal(smaller[2].bias.data, [7 + 10 * 3, 8 + 20 * 3])  # relu(-4) adds nothing
    assert smaller[2].bias.dtype == np.float32


def test_a_neuron_that_nobody_reads_goes_and_so_do_those_that_only_it_read():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    for layer in (model[0], model[2], model[4]):
        layer.weight.data[...] = 1
    model[4].weight.data[:, 0] = 0
    model[2].weight.data[1:, 1] = 0
    assert [m.weight.shape for m in shrink(model) if isinstance(m, nn.Linear)] == [(1, 2), (2, 1), (2, 2)]


def test_a_layer_without_bias_gets_one_only_if_something_is_folded():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    model[0].weight.data[0] = 0
    model[0].bias.data[...] = [2, 1]
    model[1].weight.data[...] = [[3, 1], [4, 1]]
    np.testing.assert_array_equal(shrink(model)[1].bias.data, [6, 8])
    model[0].bias.data[0] = 0
    assert shrink(model)[1].bias is None


def test_lenet_with_half_its_channels():
    model = trained_lenet()
    model.fc2.weight.requires_grad = False
    masked = prune_channels(model, 0.5).train()
    smaller = shrink(masked)
    shapes = [p.shape for p in smaller.parameters() if p.ndim > 1]
    assert shapes == [(3, 1, 5, 5), (8, 3, 5, 5), (60, 128), (42, 60), (10, 42)]
    assert type(smaller) is LeNet
    assert smaller.training
    assert [p.requires_grad for p in smaller.parameters()] == [p.requires_grad for p in model.parameters()]
    x = np.random.default_rng(1).normal(size=(8, 1, 28, 28)).astype(np.float32)
    assert_same_output(smaller, masked, x, 1e-6)
    F.cross_entropy(smaller(x), np.zeros(8, int)).backward()
    assert smaller.conv2.weight.grad.shape == (8, 3, 5, 5)


def test_norm_of_zero_weight_kills_its_channel(rng):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3))
    settle(model, rng, np.float64)
    model[1].weight.data[1] = 0
    x = rng.normal(size=(2, 1, 8, 8))
    smaller = shrink(model, x)
    assert smaller[0].weight.shape == (2, 1, 3, 3)
    assert repr(smaller[1]) == "BatchNorm2d(2, eps=1e-05, momentum=0.1)"
    np.testing.assert_array_equal(smaller[1].running_mean.data, model[1].running_mean.data[[0, 2]])
    assert_same_output(smaller, model, x, 1e-10)


def test_a_zero_filter_of_a_convolution_of_each_channel_kills_it(rng):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    settle(model, rng, np.float64)
    model[1].weight.data[2] = 0
    x = rng.normal(size=(2, 1, 6, 6))
    smaller = shrink(model, x)
    assert [(m.in_channels, m.out_channels, m.groups) for m in (smaller[0], smaller[1], smaller[3])] == [
        (1, 3, 1), (3, 3, 3), (3, 2, 1)
    ]  # fmt: skip
    assert_same_output(smaller, model, x, 1e-10)


class Sum(nn.Module):
    def __init__(self):
        self.stem, self.side, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + F.relu(self.side(x)))


def test_a_channel_of_a_sum_goes_when_both_sides_are_dead(rng):
    model, x = settle(Sum(), rng, np.float64), rng.normal(size=(2, 1, 5, 5))
    model.side.weight.data[[0, 1]] = 0
    assert size(shrink(model, x)) == size(model)
    model.stem.weight.data[[1, 2]] = 0
    smaller = shrink(model, x)
    # Channel 1 is gone from both; channel 2 is dead in the stem, but the other side of the sum lives.
    assert [m.weight.shape[:2] for m in smaller.children()] == [(3, 1), (3, 3), (2, 3)]
    assert_same_output(smaller, model, x, 1e-10)


def test_inputs_outputs_and_one_channel_of_each_layer_stay():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    for p in model.parameters():
        p.data[...] = 0
    model[0].bias.data[...], model[2].bias.data[...] = 1, [5, 6]
    smaller = shrink(model)
    assert [p.shape for p in smaller.parameters()] == [(1, 3), (1,), (2, 1), (2,)]
    np.testing.assert_array_equal(smaller(np.ones((1, 3), np.float32)).data, [[5, 6]])


def test_a_constant_before_padding_stays_and_is_named(rng):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))
    model[0].weight.data[2] = 0
    model[0].bias.data[2] = 1
    x = rng.normal(size=(2, 1, 6, 6)).astype(np.float32)
    message = r"shrink: channel 2 of 0 is dead but cannot be taken out: 2 reads it, .*border of a padded image.*strict"
    with pytest.raises(ValueError, match=message):
        shrink(model, x)
    assert size(shrink(model, x, strict=False)) == size(model)
    model[0].bias.data[2] = -1  # zero after ReLU, as the padding
    assert shrink(model, x)[0].out_channels == 2


class Reordered(nn.Module):
    """Something between two layers, given by `how`."""

    def __init__(self, how):
        self.fc1, self.fc2, self.how = nn.Linear(4, 6), nn.Linear(6, 2), how

    def forward(self, x):
        return self.fc2(self.how(self.fc1(x)))


@pytest.mark.parametrize(
    ("how", "op"),
    [
        (lambda x: x[:, ::-1], "getitem"),
        (lambda x: F.log_softmax(x), "log_softmax"),
        (lambda x: x * np.arange(1.0, 7.0, dtype=np.float32), "multiply"),
        (lambda x: x.reshape(-1, 2, 3).transpose(0, 2, 1).reshape(-1, 6), "reshape"),
    ],
)
def test_an_op_that_is_not_known_is_named(how, op):
    model = Reordered(how)
    assert size(shrink(model)) == size(model)  # nothing dead, nothing to complain of
    model.fc1.weight.data[[1, 3]] = 0
    with pytest.raises(ValueError, match=rf"channel 1 of fc1 .*: {op} reads it, which is not known .*2 such channels"):
        shrink(model)
    assert size(shrink(model, strict=False)) == size(model)
    with pytest.raises(ValueError, match=rf"channel_masks: channels of fc1 cannot be removed: {op} reads it"):
        prune_channels(model, {"fc1": 0.5})


def test_an_unknown_op_after_the_last_layer_does_no_harm():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Softmax())
    model[0].weight.data[[1, 3]] = 0
    model[2].weight.data[1] = 0
    assert [p.shape for p in shrink(model).parameters()] == [(4, 4), (4,), (3, 4), (3,)]


class Twice(nn.Module):
    def __init__(self):
        self.first, self.again, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(F.relu(self.again(F.relu(self.again(F.relu(self.first(x)))))))


def test_a_layer_called_twice_is_named():
    model = Twice()
    model.first.weight.data[0] = 0
    with pytest.raises(ValueError, match=r"channel 0 of first .*: again uses it, which is called more than once"):
        shrink(model)


def test_a_convolution_in_groups_is_named(rng):
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 2, 1))
    model[0].weight.data[3] = 0
    with pytest.raises(ValueError, match=r"channel 3 of 0 .*: 1 uses it, a convolution in 2 groups"):
        shrink(model, rng.normal(size=(2, 1, 3, 3)).astype(np.float32))


class Fixed(nn.Module):
    def __init__(self):
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(36, 2)

    def forward(self, x):
        return self.fc(self.conv(x).reshape(-1, 36))


def test_a_reshape_to_a_fixed_size_is_found_out(rng):
    model = Fixed()
    model.conv.weight.data[0] = 0
    with pytest.raises(ValueError, match=r"the smaller Fixed does not run .*reshape to a fixed number of features"):
        shrink(model, rng.normal(size=(2, 1, 5, 5)).astype(np.float32))


class BySize(nn.Module):
    def __init__(self):
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.fc2(self.fc1(x) * self.fc1.out_features)


def test_a_forward_that_depends_on_a_size_is_found_out():
    model = BySize()
    model.fc1.weight.data[0] = 0
    with pytest.raises(ValueError, match=r"the smaller BySize computes something else"):
        shrink(model)
