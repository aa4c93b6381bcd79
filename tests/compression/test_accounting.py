"""Bytes of weights, against arrays that really have them."""

import numpy as np
import pytest
import scipy.sparse

from minigrad import nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import weight_bytes


def test_the_pruned_lenet_has_the_published_ratios():
    model = LeNet()
    size = weight_bytes(SparsePruner(model, ARTICLE_SPARSITY).prune(model))
    assert size["dense"] == 176_760
    assert round(size["dense"] / size["csr"], 2) == 1.92
    assert round(size["dense"] / size["bitmask"], 2) == 3.46


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_csr_bytes_are_those_of_scipys_arrays(share, rng):
    layer = nn.Conv2d(3, 7, 5, bias=False)
    w = layer.weight.data
    w[rng.random(w.shape) < share] = 0
    matrix = scipy.sparse.csr_array(w.reshape(7, -1))
    arrays = (matrix.data.astype(np.float32), matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
    assert weight_bytes(layer)["csr"] == sum(a.nbytes for a in arrays)
    mask = np.packbits(w.reshape(-1) != 0)
    assert weight_bytes(layer)["bitmask"] == mask.nbytes + w[w != 0].nbytes
    assert weight_bytes(layer)["dense"] == w.nbytes


def test_biases_are_left_out():
    assert weight_bytes(nn.Linear(3, 2))["dense"] == 24
