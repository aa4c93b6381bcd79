"""Sparse layers compute, train and complain as their dense counterparts; and there is no dense matrix anywhere."""

import copy
import tracemalloc

import numpy as np
import pytest

import minigrad
from minigrad import functional as F
from minigrad import nn, ops
from minigrad.compression.sparse import FORMATS, CSRMatrix, SparseConv2d, SparseLinear, encode, to_sparse
from minigrad.compression.sparse.ops import SparseConv2dOp
from minigrad.optim import SGD, Adam, AdamW
from tests.compression.sparse.sparse_cases import sparse_array


def pruned_net(rng):
    net = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 7, bias=False))
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.data[rng.random(parameter.shape) < 0.7] = 0
    return net


@pytest.mark.parametrize("format", FORMATS)
def test_layers_compute_what_the_pruned_dense_ones_do(format, rng):
    linear, conv = nn.Linear(9, 6), nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    for layer, x in ((linear, rng.normal(size=(2, 3, 9))), (conv, rng.normal(size=(3, 4, 7, 8)))):
        layer.weight.data[rng.random(layer.weight.shape) < 0.7] = 0
        kind = SparseLinear if layer is linear else SparseConv2d
        sparse, x = kind.from_dense(layer, format), x.astype(np.float32)
        out = sparse(x)
        assert out.dtype == np.float32
        np.testing.assert_allclose(out.data, layer(x).data, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(sparse.matrix.to_dense(), layer.weight.data.reshape(6, -1))
        np.testing.assert_array_equal(sparse.encoded().to_dense(), layer.weight.data.reshape(6, -1))
        assert type(sparse.encoded()) is FORMATS[format].matrix


@pytest.mark.parametrize("format", FORMATS)
def test_relu_and_pooling_run_as_one_with_a_sparse_convolution_and_give_the_same_bits(format, rng, monkeypatch):
    conv = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    x = rng.normal(size=(3, 4, 11, 8)).astype(np.float32)
    conv.weight.data[rng.random(conv.weight.shape) < 0.7] = 0
    sparse, results, ran = SparseConv2d.from_dense(conv, format), [], []
    for op in (SparseConv2dOp, ops.Relu, ops.MaxPool2d):
        monkeypatch.setattr(op, "__init__", lambda self: ran.append(self.name))
    for on, expected in ((True, []), (False, ["sparse_conv2d", "relu", "max_pool2d"])):
        ran.clear()
        with minigrad.no_grad(), F.fusion(on):
            results.append(F.max_pool2d(F.relu(sparse(x)), 2).data)
        assert ran == expected
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], F.max_pool2d(F.relu(conv(x)), 2).data, atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "make", [lambda p: SGD(p, 0.1, 0.9, weight_decay=0.01), lambda p: Adam(p, 0.01), lambda p: AdamW(p, 0.01)]
)
def test_training_follows_the_masked_dense_model_and_zeros_stay_zero(make, format, rng):
    dense = pruned_net(rng)
    sparse = to_sparse(dense, format)
    masks = [p.data != 0 for p in dense.parameters()]
    x, y = rng.normal(size=(6, 2, 4, 4)).astype(np.float32), rng.integers(0, 7, 6)
    optimizers = [make(model.parameters()) for model in (dense, sparse)]
    first = F.cross_entropy(dense(x), y).item()
    for _ in range(4):
        losses = []
        for model, optimizer in zip((dense, sparse), optimizers, strict=True):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        for parameter, mask in zip(dense.parameters(), masks, strict=True):
            parameter.data[~mask] = 0  # the dense model needs its masks again after each step; the sparse one does not
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[1] < first
    for ours, theirs in ((sparse[0], dense[0]), (sparse[3], dense[3])):
        weight = theirs.weight.data.reshape(theirs.weight.shape[0], -1)
        np.testing.assert_allclose(ours.matrix.to_dense(), weight, rtol=1e-3, atol=1e-4)
        assert np.count_nonzero(ours.matrix.to_dense()[weight == 0]) == 0
        assert ours.values.grad.dtype == np.float32


def test_no_dense_matrix_is_made_in_training_or_inference(rng):
    """As a dense matrix the weight would take 1.6 GB."""
    size, entries = 20_000, 500
    columns = np.sort(rng.permutation(size)[:entries])
    indptr = np.linspace(0, entries, size + 1).astype(np.int32)
    layer = SparseLinear(CSRMatrix(indptr, columns, rng.normal(size=entries).astype(np.float32), (size, size)))
    x = minigrad.Tensor(rng.normal(size=(8, size)).astype(np.float32), requires_grad=True)
    tracemalloc.start()
    try:
        layer(x).sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert layer.values.grad.shape == (entries,)
    assert peak < 20_000_000


def test_copies_have_values_of_their_own(rng):
    layer = SparseLinear.from_dense(pruned_net(rng)[3])
    before = layer.matrix.to_dense()
    twin = copy.deepcopy(layer)
    twin.values.data[:] = 5
    np.testing.assert_array_equal(layer.matrix.to_dense(), before)
    assert np.unique(twin.matrix.to_dense()).tolist() == [0, 5]
    twin.values.data[:] = 6
    assert twin.matrix.to_dense().max() == 6


def test_values_of_another_structure_are_refused():
    """Pruned to the same sparsity, two layers have as many values, at other places."""
    one, two = np.zeros((2, 4, 6), np.float32)
    one[0, 1:4], two[2, :3] = 1, 1
    first, second = (SparseLinear(CSRMatrix.from_dense(each)) for each in (one, two))
    second.load_state_dict(first.state_dict())
    with pytest.raises(
        ValueError, match=r"^SparseLinear: the values were loaded from a layer with another structure; "
    ):
        second(np.ones((1, 6), np.float32))
    again = SparseLinear(CSRMatrix.from_dense(3 * one))
    again.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(again(np.eye(6, dtype=np.float32)).data, one.T)


def test_wrong_matrices_are_refused(rng):
    a = CSRMatrix.from_dense(sparse_array(rng, (4, 18), dtype=np.float32))
    with pytest.raises(ValueError, match=r"^SparseLinear: values must be float32 or float64 to be trained, got int8$"):
        SparseLinear(CSRMatrix.from_dense(np.eye(3, dtype=np.int8)))
    with pytest.raises(ValueError, match=r"^SparseLinear: bias must have shape \(4,\), one value a row, got \(3,\)$"):
        SparseLinear(a, np.ones(3, np.float32))
    with pytest.raises(ValueError, match=r"^SparseLinear: there is no format 'coo'; there are csr, "):
        SparseLinear(a, format="coo")
    with pytest.raises(
        ValueError, match=r"matrix is \(4, 18\), but a filter of 3 channels in 1 groups, 3x3, has 27 taps"
    ):
        SparseConv2d(a, in_channels=3, kernel_size=(3, 3))


def test_inputs_that_do_not_fit_are_refused(rng):
    linear = SparseLinear(CSRMatrix.from_dense(sparse_array(rng, (4, 18), dtype=np.float32)))
    conv = SparseConv2d(linear.matrix, in_channels=2, kernel_size=(3, 3))
    x = np.ones((5, 2, 4, 4), np.float32)
    for layer, wrong, error, sentence in (
        (
            linear,
            x.reshape(5, 32),
            ValueError,
            r"x has 32 features but the matrix expects 18 .*are images not flattened",
        ),
        (linear, np.ones(18), TypeError, r"x is float64, w is float32; they must all be float32"),
        (conv, x[:, :1], ValueError, r"x must be \(N, C, H, W\) with C=2 channels \(x: \(5, 1, 4, 4\)\)"),
        (conv, x[0], ValueError, r"x must be \(N, C, H, W\) .* is the axis of channels missing\?"),
        (conv, x[:, :, :2], ValueError, r"a 3x3 kernel with dilation \(1, 1\) does not fit into a padded image of 2x4"),
    ):
        with pytest.raises(error, match=rf"^{type(layer).__name__}: .*{sentence}"):
            layer(wrong)
    assert linear(np.ones(18, np.float32)).shape == (4,)
    assert conv(x).shape == (5, 4, 2, 2)


def test_repr_says_how_sparse_a_layer_is():
    w = np.zeros((2, 18), np.float32)
    w[0, :9] = 1
    settings = {"stride": (2, 1), "padding": (1, 1), "dilation": (1, 2), "groups": 2}
    assert repr(SparseConv2d(encode(w, "block"), format="block", in_channels=4, kernel_size=(3, 3), **settings)) == (
        "SparseConv2d(4, 2, kernel_size=(3, 3), stride=(2, 1), padding=(1, 1), dilation=(1, 2), groups=2, "
        "sparsity=0.75, format='block', bias=False)"
    )
