"""Modules: names, state, repr, and the mistakes that are caught."""

import copy

import numpy as np
import pytest

import minigrad
from minigrad import functional as F
from minigrad import nn
from minigrad.tensor import Tensor


class Block(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(1, 2, 3)
        self.layers = nn.ModuleList([nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2, bias=False))])
        self.scale = nn.Parameter(np.ones(2, np.float32))

    def forward(self, x):
        return x


NAMES = ["conv.weight", "conv.bias", "layers.0.weight", "layers.0.bias", "layers.1.1.weight", "scale"]


def test_parameters_are_named_by_path():
    # A module's own parameters come before those of the modules below it, as in PyTorch.
    assert sorted(name for name, _ in Block().named_parameters()) == sorted(NAMES)
    assert [name for name, _ in Block().named_modules()] == [
        "", "conv", "layers", "layers.0", "layers.1", "layers.1.0", "layers.1.1",
    ]  # fmt: skip
    assert sum(p.size for p in Block().parameters()) == 18 + 2 + 12 + 3 + 6 + 2


def test_a_shared_module_is_trained_once_and_saved_under_both_names():
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, shared)
    assert len(list(net.parameters())) == 2
    assert set(net.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_repr_is_a_tree():
    assert repr(Block()) == (
        "Block(\n"
        "  (conv): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))\n"
        "  (layers): ModuleList(\n"
        "    (0): Linear(in_features=4, out_features=3, bias=True)\n"
        "    (1): Sequential(\n"
        "      (0): ReLU()\n"
        "      (1): Linear(in_features=3, out_features=2, bias=False)\n"
        "    )\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Conv2d(2, 4, (3, 1), stride=2, padding=1, dilation=2, groups=2, bias=False)) == (
        "Conv2d(2, 4, kernel_size=(3, 1), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=2, bias=False)"
    )
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=2, stride=2, padding=0)"
    assert repr(nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss(reduction='mean')"
    assert repr(nn.Parameter([1.0])) == "Parameter([1.], requires_grad=True)"


def test_train_and_eval_reach_every_module():
    net = Block()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())


def test_deepcopy_is_independent():
    net = Block()
    twin = copy.deepcopy(net)
    twin.conv.weight.data += 1
    assert not np.array_equal(net.conv.weight.data, twin.conv.weight.data)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in net.named_parameters()]
    assert not {id(p) for p in net.parameters()} & {id(p) for p in twin.parameters()}


def test_state_dict_is_a_copy_and_loads_back():
    net, other = Block(), Block()
    state = net.state_dict()
    net.conv.weight.data += 1
    assert not np.array_equal(state["conv.weight"], net.conv.weight.data)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.conv.weight.data, state["conv.weight"])
    other.conv.weight.data += 1
    assert not np.array_equal(state["conv.weight"], other.conv.weight.data)


def test_load_state_dict_checks_everything_before_it_writes():
    net = Block()
    before, good = net.state_dict(), {name: array + 1 for name, array in net.state_dict().items()}
    with pytest.raises(KeyError, match=r"missing \['scale'\], unexpected \['extra'\]"):
        net.load_state_dict({**{k: v for k, v in good.items() if k != "scale"}, "extra": np.ones(1)})
    with pytest.raises(ValueError, match=r"scale has shape \(3,\), but Block expects \(2,\)"):
        net.load_state_dict(good | {"scale": np.ones(3)})
    with pytest.raises(TypeError, match="scale holds <U1, expected numbers"):
        net.load_state_dict(good | {"scale": np.array(["a", "b"])})
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_loading_keeps_the_parameters_dtype():
    net = nn.Linear(2, 2)
    net.load_state_dict({"weight": np.ones((2, 2)), "bias": Tensor(np.ones(2))})
    assert net.weight.dtype == np.float32


def test_mistakes_are_named():
    net = Block()
    with pytest.raises(AttributeError, match=r"Block has no attribute 'conv3' \(its .*: conv, layers, scale\)"):
        net.conv3  # noqa: B018
    with pytest.raises(
        TypeError, match=r"Block.scale is a Parameter and cannot be replaced by ndarray; write into scale.data"
    ):
        net.scale = np.ones(2)
    with pytest.raises(TypeError, match=r"modules in a plain list would not be trained .* use nn.ModuleList"):
        net.blocks = [nn.ReLU()]
    with pytest.raises(TypeError, match="plain dict"):
        net.blocks = {"a": nn.ReLU()}
    with pytest.raises(TypeError, match="ModuleList: expected a Module, got str"):
        nn.ModuleList(["relu"])
    with pytest.raises(AttributeError, match="has no attribute 'forward'"):
        nn.ModuleList([])(1)
    net.scale = nn.Parameter(np.zeros(2))
    net.sizes = [1, 2]
    assert net.scale.data.sum() == 0


def test_containers_behave_like_lists():
    layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(12))
    assert len(layers) == 12
    assert layers[-1] is list(layers)[11]
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    assert net(np.ones((3, 2, 2), np.float32)).shape == (3, 2)


def test_zero_grad_forgets():
    net = nn.Linear(2, 1)
    net(np.ones((1, 2), np.float32)).sum().backward()
    assert net.weight.grad is not None
    net.zero_grad()
    assert net.weight.grad is None


def test_parameters_hold_copies_of_their_data():
    array = np.ones(2)
    p = nn.Parameter(array)
    p.data += 1
    np.testing.assert_array_equal(array, 1)
    assert not nn.Parameter(array, requires_grad=False).requires_grad


@pytest.mark.parametrize(
    ("layer", "fan_in"), [(nn.Linear(100, 400), 100), (nn.Conv2d(8, 60, 5), 200), (nn.Conv2d(8, 60, 5, groups=4), 50)]
)
def test_default_initialisation_is_uniform_within_one_over_root_fan_in(layer, fan_in):
    bound = fan_in**-0.5
    for p in (layer.weight, layer.bias):
        assert p.dtype == np.float32
        assert np.abs(p.data).max() <= bound
    # A uniform variable on [-bound, bound] has variance bound**2 / 3.
    assert layer.weight.data.std() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert abs(layer.weight.data.mean()) < 0.05 * bound


def test_the_seed_decides_initial_weights():
    def weights(seed):
        minigrad.manual_seed(seed)
        return nn.Linear(3, 3).weight.data

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    with pytest.raises(ValueError, match="seed is -1, expected 0 or more"):
        minigrad.manual_seed(-1)


def test_layers_refuse_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="groups=2 does not divide in_channels=3 and out_channels=4"):
        nn.Conv2d(3, 4, 3, groups=2)


def test_containers_hold_modules_and_may_have_parameters_beside_them():
    class Scaled(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(2, 2), nn.ReLU())
            self.scale = nn.Parameter(np.ones(1, np.float32))

        def forward(self, x):
            return super().forward(x) * self.scale

    net = Scaled()
    assert len(net) == len(list(net)) == 2
    assert net(x=np.ones((1, 2), np.float32)).shape == (1, 2)
    net[0] = nn.Linear(2, 5)
    assert net[0].out_features == 5
    with pytest.raises(TypeError, match="expected a Module, got int"):
        net[1] = 3


def test_sizes_from_numpy_are_welcome_and_wrong_ones_named():
    assert nn.Conv2d(1, 2, np.int64(3)).kernel_size == (3, 3)
    with pytest.raises(ValueError, match=r"Conv2d: stride must be one integer or two, each at least 1; got 1.5"):
        nn.Conv2d(1, 2, 3, stride=1.5)


def test_buffers_are_saved_but_not_trained():
    norm = nn.BatchNorm2d(3)
    assert [name for name, _ in norm.named_parameters()] == ["weight", "bias"]
    assert set(norm.state_dict()) == {"weight", "bias", "running_mean", "running_var"}
    x = np.random.default_rng(0).normal(2, 3, (50, 3, 4, 4)).astype(np.float32)
    out = norm(x)
    np.testing.assert_allclose(out.data.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.data.std((0, 2, 3)), 1, atol=1e-3)
    np.testing.assert_allclose(norm.running_mean.data, 0.1 * x.mean((0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(norm.running_var.data, 0.9 + 0.1 * x.var((0, 2, 3), ddof=1), rtol=1e-4)
    assert norm.running_var.dtype == np.float32
    for _ in range(200):
        norm(x)
    np.testing.assert_allclose(norm.eval()(x).data, out.data, atol=2e-2)
    twin = nn.BatchNorm2d(3).eval()
    twin.load_state_dict(norm.state_dict())
    np.testing.assert_array_equal(twin(x).data, norm(x).data)


def test_forward_hooks_see_and_may_replace_the_output():
    layer, seen = nn.ReLU(), []
    remove = layer.register_forward_hook(lambda module, inputs, out: seen.append((module, inputs, out)))
    x = np.array([-1.0, 2.0])
    out = layer(x)
    assert seen[0][0] is layer
    assert seen[0][1][0] is x
    assert seen[0][2] is out
    remove()
    layer(x)
    assert len(seen) == 1
    layer.register_forward_hook(lambda module, inputs, out: out * 10)
    np.testing.assert_array_equal(layer(x).data, [0, 20])


def test_forward_pre_hooks_see_and_may_replace_the_inputs():
    layer, seen = nn.Linear(2, 3), []
    x = Tensor(np.ones((1, 2), np.float32))
    plain = layer(x).data
    remove = layer.register_forward_pre_hook(lambda module, inputs: seen.append((module, inputs)))
    np.testing.assert_array_equal(layer(x).data, plain)
    assert seen == [(layer, (x,))]
    remove()
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0,))
    np.testing.assert_array_equal(layer(x).data, layer.bias.data[None])
    assert len(seen) == 1


def test_backward_hooks_see_the_gradient_of_the_output():
    layer, seen = nn.Linear(2, 3), []
    remove = layer.register_backward_hook(lambda module, g: seen.append((module, g.copy())))
    g = np.arange(6, dtype=np.float32).reshape(2, 3)
    layer(np.ones((2, 2), np.float32)).backward(g)
    assert seen[0][0] is layer
    np.testing.assert_array_equal(seen[0][1], g)
    np.testing.assert_array_equal(layer.bias.grad, g.sum(axis=0))
    remove()
    layer(np.ones((2, 2), np.float32)).sum().backward()
    assert len(seen) == 1


def test_layers_call_their_functions(rng):
    x = rng.normal(size=(2, 3, 4, 4))
    for layer, function in (
        (nn.ReLU6(), F.relu6),
        (nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, 0.3)),
        (nn.Sigmoid(), F.sigmoid),
        (nn.Tanh(), F.tanh),
        (nn.GELU(), F.gelu),
        (nn.Softmax(axis=1, temperature=2.0), lambda x: F.softmax(x, 1, 2.0)),
        (nn.LogSoftmax(axis=1, temperature=2.0), lambda x: F.log_softmax(x, 1, 2.0)),
        (nn.AvgPool2d(2, 1, 1), lambda x: F.avg_pool2d(x, 2, 1, 1)),
        (nn.AdaptiveAvgPool2d((3, 1)), lambda x: F.adaptive_avg_pool2d(x, (3, 1))),
    ):
        np.testing.assert_array_equal(layer(x).data, function(x).data)
        assert repr(layer).startswith(type(layer).__name__ + "(")
    logits, targets = rng.normal(size=(4, 3)), np.array([0, 1, 2, 2])
    p = F.softmax(rng.normal(size=(4, 3))).data
    for loss, function, y in (
        (nn.CrossEntropyLoss(label_smoothing=0.1), lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), targets),
        (nn.NLLLoss(), F.nll_loss, targets),
        (nn.KLDivLoss(reduction="batchmean"), lambda x, y: F.kl_div(x, y, reduction="batchmean"), p),
        (nn.MSELoss(reduction="sum"), lambda x, y: F.mse_loss(x, y, reduction="sum"), p),
        (nn.BCEWithLogitsLoss(), F.bce_with_logits, p),
    ):
        assert loss(logits, y).item() == function(logits, y).item()


def test_dropout_layer_follows_the_mode():
    layer = nn.Dropout(0.5)
    x = np.ones(1000)
    assert 300 < (layer(x).data == 0).sum() < 700
    np.testing.assert_array_equal(layer.eval()(x).data, x)
    with pytest.raises(ValueError, match="Dropout: p is 2, expected 0 to 1"):
        nn.Dropout(2)


@pytest.mark.parametrize(
    ("fill", "variance"),
    [
        (nn.init.kaiming_uniform_, 2 / 300),
        (nn.init.kaiming_normal_, 2 / 300),
        (nn.init.xavier_uniform_, 2 / (300 + 200)),
        (nn.init.xavier_normal_, 2 / (300 + 200)),
    ],
)
def test_initialisers_have_the_variance_they_promise(fill, variance):
    weight = nn.Parameter(np.zeros((200, 300), np.float32))
    assert fill(weight) is weight
    assert weight.dtype == np.float32
    assert weight.data.var() == pytest.approx(variance, rel=0.05)
    if "uniform" in fill.__name__:
        assert np.abs(weight.data).max() <= (3 * variance) ** 0.5 * 1.0001
    assert nn.init.fan_in_and_out((4, 3, 5, 5)) == (75, 100)
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        fill(nn.Parameter(np.zeros(3)))
