"""Bytes of weights, against arrays that really have them."""

import numpy as np
import pytest
import scipy.sparse

from minigrad import nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import FORMATS, format_bytes, weight_bytes


def test_the_pruned_lenet_has_the_published_ratios():
    model = LeNet()
    size = weight_bytes(SparsePruner(model, ARTICLE_SPARSITY).prune(model))
    assert size["dense"] == 176_760
    assert round(size["dense"] / size["csr"], 2) == 1.92
    assert round(size["dense"] / size["bitmask"], 2) == 3.46


@pytest.mark.parametrize(
    ("format", "value_dtype", "pointer_dtype", "ratio"),
    [
        ("csr", np.float32, np.int32, 1.92),
        ("csr16", np.float32, np.int32, 2.55),
        ("csr8", np.float32, np.int32, 3.06),
        ("bitmask", np.float32, np.int32, 3.46),
        ("dense", np.int8, np.int32, 4.00),
        ("csr8", np.int8, np.int32, 7.45),
        ("bitmask", np.int8, np.int32, 10.46),
        ("csr", np.float32, np.int16, 1.93),
        ("csr16", np.float32, np.int16, 2.57),
        ("csr8", np.float32, np.int16, 3.08),
        ("csr8", np.int8, np.int16, 7.61),
    ],
)
def test_every_format_has_its_published_ratio(format, value_dtype, pointer_dtype, ratio):
    model = LeNet()
    pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    size = format_bytes(pruned, format, value_dtype, pointer_dtype)
    assert round(format_bytes(pruned, "dense") / size, 2) == ratio


def test_formats_of_the_report_are_counted_as_the_arrays_are():
    size, model = weight_bytes(LeNet()), LeNet()
    assert [size[name] for name in ("dense", "csr", "bitmask")] == [
        format_bytes(model, name) for name in ("dense", "csr", "bitmask")
    ]
    with pytest.raises(ValueError, match=f"there is no format 'coo'; there are {', '.join(FORMATS)}"):
        format_bytes(model, "coo")


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
