import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn
from minigrad.compression.models import CaffeLeNet, LeNet, LeNet300100, as_sequential, fold_batch_norm
from minigrad.nn.module import Parameter
from minigrad.tape import no_grad
from tests.compression.random_models import Branches, Residual, settle

IMAGES = (2, 1, 28, 28)


def names(chain):
    return [name for name, _ in chain.named_modules() if name]


@pytest.mark.parametrize(("model", "expected"), [
    (LeNet, "conv1 relu1 maxpool1 conv2 relu2 maxpool2 flatten fc1 relu3 fc2 relu4 fc3"),
    (CaffeLeNet, "conv1 maxpool1 conv2 maxpool2 flatten fc1 relu fc2"),
    (LeNet300100, "flatten fc1 relu1 fc2 relu2 fc3"),
])  # fmt: skip
def test_a_model_and_its_chain_give_the_same_bits_under_the_same_names(model, expected, rng):
    model, x = model(dropout=0.5), rng.normal(size=IMAGES).astype(np.float32)
    chain = as_sequential(model, x)
    assert names(chain) == expected.split()
    np.testing.assert_array_equal(chain(x).data, model.eval()(x).data)
    assert set(chain.state_dict()) == set(model.state_dict())


def test_the_model_stays_as_it_is_and_shares_nothing(rng):
    model, x = LeNet(), rng.normal(size=IMAGES).astype(np.float32)
    with no_grad():
        chain = as_sequential(model, x)
    assert chain.conv1.weight is not model.conv1.weight
    assert not chain.conv1.training
    assert model.training
    assert not any(module._hooked for module in [*model.modules(), *chain.modules()])
    chain.conv1.weight.data[...] = 0
    assert model.conv1.weight.data.all()


def test_geometry_names_and_batch_norm_of_a_sequential_survive(rng):
    model = nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2, bias=False), nn.BatchNorm2d(4), nn.ReLU6(),
        nn.MaxPool2d(3, stride=2, padding=1), nn.AvgPool2d((2, 1)), nn.Dropout(), nn.Flatten(), nn.Flatten(),
        nn.Linear(12, 3, bias=False),
    )  # fmt: skip
    settle(model, rng, np.float32)
    x = rng.normal(size=(3, 2, 7, 7)).astype(np.float32)
    chain = as_sequential(model, x)
    assert names(chain) == ["0", "1", "2", "3", "4", "6", "8"]
    np.testing.assert_array_equal(chain(x).data, model(x).data)


class Reuses(nn.Module):
    def __init__(self):
        self.fc, self.act, self.relu1 = nn.Linear(3, 3), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return F.relu(self.act(self.fc(F.relu(self.relu1(self.act(self.fc(x)))))))


def test_what_is_called_twice_becomes_two_layers_and_no_name_is_taken_twice(rng):
    x = rng.normal(size=(4, 3)).astype(np.float32)
    chain = as_sequential(Reuses(), x)
    assert names(chain) == ["fc1", "act1", "relu1", "relu2", "fc2", "act2", "relu3"]
    np.testing.assert_array_equal(chain(x).data, _like(chain)(x).data)


def _like(chain):
    model = Reuses()
    model.fc.load_state_dict(chain.fc1.state_dict())
    return model


class Borrowed(nn.Module):
    def __init__(self):
        self.weight = Parameter(np.ones((2, 3), np.float32))

    def forward(self, x):
        return F.linear(x, self.weight)


class Constant(nn.Module):
    def forward(self, x):
        return F.relu(Parameter(np.ones(3)))


@pytest.mark.parametrize(("model", "shape", "sentence"), [
    (Residual(2, 3, False, False), (1, 2, 5, 5), r"add is not supported \(\(1, 2, 5, 5\) -> .*\).*without branches"),
    (nn.Sequential(Branches(2, 3)), (1, 2, 5, 5), r"concatenate is not supported"),
    (nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), (1, 3), r"sigmoid is not supported"),
    (nn.Flatten(2), (2, 3, 4, 5), r"reshape is not supported \(\(2, 3, 4, 5\) -> \(2, 3, 20\)\)"),
    (LeNet(), (1, 1, 20, 20), r"LeNet cannot take an input of shape \(1, 1, 20, 20\) \(linear: .*"),
    (Borrowed(), (1, 3), r"a linear takes its weight or bias from no parameter, which is no nn.Linear"),
    (Constant(), (1, 3), r"the result of Constant cannot be followed back to its input, which it does not depend on"),
])  # fmt: skip
def test_what_is_no_chain_is_refused_by_name(model, shape, sentence):
    with pytest.raises(ValueError, match="as_sequential: .*" + sentence):
        as_sequential(model, np.ones(shape, np.float32))


def test_a_model_must_return_a_tensor(monkeypatch):
    monkeypatch.setattr(Constant, "forward", lambda self, x: 3)
    with pytest.raises(ValueError, match=r"as_sequential: Constant returned int, expected one Tensor"):
        as_sequential(Constant(), np.ones((1, 3)))


def test_folded_batch_norm_computes_the_same(rng):
    chain = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.BatchNorm2d(3, eps=0.1),
        nn.Flatten(), nn.Linear(27, 5), nn.BatchNorm1d(5), nn.BatchNorm1d(5),
    )  # fmt: skip
    settle(chain, rng, np.float64)
    x = rng.normal(size=(3, 2, 6, 6))
    before = chain.state_dict()
    folded = fold_batch_norm(chain)
    assert names(folded) == ["0", "2", "3", "5", "6"]
    np.testing.assert_allclose(folded(x).data, chain(x).data, rtol=1e-12)
    assert all(np.array_equal(array, before[name]) for name, array in chain.state_dict().items())
    assert fold_batch_norm(settle(chain, rng, np.float32))[0].bias.dtype == np.float32


@pytest.mark.parametrize(("chain", "before"), [
    (nn.Sequential(nn.BatchNorm2d(2)), "nothing"),
    (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.BatchNorm1d(2)), "ReLU"),
])  # fmt: skip
def test_batch_norm_without_a_layer_before_it_is_refused(chain, before):
    with pytest.raises(ValueError, match=rf"fold_batch_norm: before \d comes {before}, expected Conv2d or Linear"):
        fold_batch_norm(chain)
