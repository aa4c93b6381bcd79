"""to_sparse returns a converted copy and leaves the model alone."""

import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import FORMATS, SparseConv2d, SparseLinear, to_dense, to_sparse


@pytest.fixture
def pruned():
    model = LeNet()
    return SparsePruner(model, ARTICLE_SPARSITY).prune(model)


@pytest.mark.parametrize("format", FORMATS)
def test_the_copy_computes_the_same_and_the_model_is_left_alone(format, pruned, rng):
    before = pruned.state_dict()
    sparse = to_sparse(pruned, format)
    assert {name: type(part).__name__ for name, part in sparse.named_modules() if name} == {
        "conv1": "SparseConv2d",
        "conv2": "SparseConv2d",
        "maxpool": "MaxPool2d",
        "fc1": "SparseLinear",
        "fc2": "SparseLinear",
        "fc3": "SparseLinear",
    }
    x = rng.normal(size=(7, 1, 28, 28)).astype(np.float32)
    np.testing.assert_allclose(sparse(x).data, pruned(x).data, rtol=1e-4, atol=1e-5)
    for parameter in sparse.parameters():
        parameter.data[...] = 0
    assert isinstance(pruned.fc1, nn.Linear)
    for name, array in pruned.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("format", FORMATS)
def test_dense_again_is_what_it_was(format, rng):
    model = nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False), nn.BatchNorm2d(4),
        nn.Flatten(), nn.Linear(4 * 4 * 6, 5),
    ).eval()  # fmt: skip
    for p in model.parameters():
        p.data[rng.random(p.shape) < 0.6] = 0
    sparse = to_sparse(model, format)
    dense = to_dense(sparse)
    assert repr(dense) == repr(model)
    assert not dense.training
    assert not dense[0].training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(dense.state_dict()[name], array)
    x = rng.normal(size=(3, 2, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(dense(x).data, model(x).data)
    for p in dense.parameters():
        p.data[...] = 7
    assert not (sparse[3].values.data == 7).any()
    assert not (sparse[3].bias.data == 7).any()
    assert type(to_dense(model)[0]) is nn.Conv2d  # what is dense stays so


def test_formats_by_layer_and_dense_ones(pruned):
    sparse = to_sparse(pruned, {"fc1": "csr16", "conv2": "block", "fc2": "dense"})
    assert type(sparse.conv1) is nn.Conv2d
    assert type(sparse.fc2) is nn.Linear
    assert sparse.fc2 is not pruned.fc2
    assert (sparse.fc1.format, sparse.conv2.format) == ("csr16", "block")
    assert type(to_sparse(pruned, "dense").fc1) is nn.Linear


class Doubled(nn.Linear):
    def forward(self, x):
        return super().forward(x) * 2


def test_single_layers_shared_layers_and_derived_classes():
    assert isinstance(to_sparse(nn.Linear(3, 2)), SparseLinear)
    assert isinstance(to_sparse(nn.Conv2d(3, 2, 3)), SparseConv2d)
    shared = nn.Linear(3, 3)
    net = nn.Sequential(shared, nn.Sequential(Doubled(3, 3), shared))
    sparse = to_sparse(net)
    assert isinstance(sparse[0], SparseLinear)
    assert sparse[1][1] is sparse[0]
    assert type(sparse[1][0]) is Doubled
    assert net[0] is shared


def test_evaluation_stays_evaluation(pruned):
    assert to_sparse(pruned).fc1.training
    sparse = to_sparse(pruned.eval())
    assert not any(part.training for part in sparse.modules())


def test_what_cannot_be_converted(pruned):
    with pytest.raises(ValueError, match=r"^to_sparse: there is no format 'coo'; there are csr, csr16"):
        to_sparse(pruned, "coo")
    with pytest.raises(
        KeyError, match=r"to_sparse: LeNet has no Linear or Conv2d named fc9, maxpool; there are conv1, "
    ):
        to_sparse(pruned, {"fc9": "csr", "maxpool": "csr"})
    with pytest.raises(ValueError, match=r"^to_sparse: 0: CSRMatrix: indices reaches 39999, .* fit in int16$"):
        to_sparse(nn.Sequential(nn.Linear(40_000, 1)), "csr16")
