"""Float models as ONNX files, run in NumPy from what is in the files. `make parity` runs them in onnxruntime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import nn
from minigrad.compression.export import to_onnx_float32
from minigrad.compression.models import CaffeLeNet, LeNet300100, trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from tests.compression.export.numpy_runtimes import OnnxFile
from tests.compression.export.random_floats import random_chain


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_the_file_computes_what_the_model_computes(seed):
    rng = np.random.default_rng(seed)
    model = random_chain(rng)
    images = rng.normal(size=(3, 2, 13, 12)).astype(np.float32)
    expected = model(images).data
    found = OnnxFile(to_onnx_float32(model, (2, 13, 12))).run(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("make", [trained_lenet, LeNet300100, CaffeLeNet])
def test_the_networks_of_the_course_compute_the_same_in_their_files(make, small_test):
    model, images = make(), small_test.images[:40]
    expected = model(images).data
    found = OnnxFile(to_onnx_float32(model)).run(images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


def test_pruned_weights_are_zeros_in_the_file_and_the_others_are_as_they_were(small_test):
    model = trained_lenet()
    pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    file = OnnxFile(to_onnx_float32(pruned))
    for name, p in pruned.named_parameters():
        np.testing.assert_array_equal(file.initializers[f"/{name.replace('.', '/')}"], p.data)
    assert sum(np.count_nonzero(array == 0) for array in file.initializers.values()) == 32_816
    assert (file.input, file.output) == (("images", "<f4", [1, 28, 28]), ("logits", "<f4", [10]))
    assert [op for op, *_ in file.nodes] == [
        *["Conv", "Relu", "MaxPool"] * 2, "Flatten", *["Gemm", "Relu"] * 2, "Gemm", "Identity",
    ]  # fmt: skip
    assert file.opsets == {"": 13}


def test_rows_of_features_need_no_image_and_float64_is_narrowed():
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].weight = nn.Parameter(np.arange(6.0).reshape(2, 3))
    model[0].bias = nn.Parameter(np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"as_sequential: Sequential cannot take an input"):
        to_onnx_float32(model, (3,))  # float64 weights, float32 images
    for name in ("weight", "bias"):
        setattr(model[0], name, nn.Parameter(getattr(model[0], name).data.astype(np.float32)))
    np.testing.assert_array_equal(OnnxFile(to_onnx_float32(model, (3,))).run(np.eye(3, dtype=np.float32)[:1]), [[1, 5]])


def test_relu6_ends_at_six():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU6())
    model[0].weight.data[...] = [[1], [-1]]
    x = np.array([[5], [7], [-60]], np.float32)
    np.testing.assert_array_equal(OnnxFile(to_onnx_float32(model, (1,))).run(x), [[5, 0], [6, 0], [0, 6]])


def test_names_that_are_taken_are_no_trouble():
    model = nn.Sequential()
    model.images, model.logits = nn.Linear(3, 3), nn.Linear(3, 2)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(OnnxFile(to_onnx_float32(model, (3,))).run(x), model(x).data, rtol=1e-5)


def test_what_is_no_chain_is_refused():
    with pytest.raises(ValueError, match=r"as_sequential: sigmoid is not supported"):
        to_onnx_float32(nn.Sequential(nn.Flatten(), nn.Sigmoid()))
    with pytest.raises(ValueError, match=r"as_sequential: reshape is not supported \(\(28, 3\) -> \(1, 1, 28, 3\)\)"):
        to_onnx_float32(nn.Sequential(nn.Linear(28, 3)))  # of images that are not flattened
