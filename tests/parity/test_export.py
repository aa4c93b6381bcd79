"""Files that the command line writes, in the runtimes that they are for, on all test images."""

import numpy as np
import pytest

from minigrad import nn, save_checkpoint
from minigrad.compression.export import to_onnx_float32, to_tflite_float32
from minigrad.compression.integer import IntegerModel
from minigrad.compression.models import CaffeLeNet, LeNet300100, trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.datasets import mnist
from tests.compression.command_line import output
from tests.compression.export.random_floats import random_chain
from tests.compression.export.random_integer import as_int8
from tests.parity import oracles

pytestmark = pytest.mark.parity
RUNTIMES = {"tflite": "tflite_micro", "onnx": "onnxruntime"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints "dense" and "pruned", and each as integers in all three profiles: "dense-onnx" ..."""
    folder, model = tmp_path_factory.mktemp("parity"), trained_lenet()
    models = {"dense": model, "pruned": SparsePruner(model, ARTICLE_SPARSITY).prune(model)}
    for name, model in models.items():
        save_checkpoint(folder / name, model)
        for profile in ("tflite", "single", "onnx"):
            output("to-integer", folder / name, "--profile", profile, "--out", folder / f"{name}-{profile}")
    return folder


def run(format_, data, images):
    if format_ == "onnx":
        return oracles.onnxruntime(data, images)
    runs = oracles.tflite_micro if images.dtype == np.int8 else oracles.litert
    return runs(data, images, batch=1)


@pytest.mark.parametrize("model", ["dense", "pruned"])
@pytest.mark.parametrize(
    ("format_", "form", "profile"),
    [
        ("tflite", "int8", "tflite"), ("onnx", "integer", "tflite"), ("onnx", "integer", "single"),
        ("onnx", "qlinear", "onnx"), ("onnx", "qdq", "onnx"),
    ],
)  # fmt: skip
def test_files_of_integers_differ_in_no_logit(format_, form, profile, model, folder, tmp_path):
    pytest.importorskip(RUNTIMES[format_], reason="a runtime is not installed; `make parity` installs it")
    test = mnist("test")
    output(
        "export", folder / model, "--format", format_, "--form", form, "--profile", profile, "--out", tmp_path / "file"
    )
    integer = IntegerModel.load(folder / f"{model}-{profile}")
    logits = run(format_, (tmp_path / "file").read_bytes(), as_int8(test.pixels[:, None]))
    assert np.count_nonzero(logits != integer.logits(test.pixels)) == 0
    assert logits.shape == (10_000, 10)
    assert len(np.unique(logits)) > 100
    # What to-integer wrote gives the same file.
    output("export", folder / f"{model}-{profile}", "--format", format_, "--form", form, "--out", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("model", ["dense", "pruned"])
@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_float_files_give_our_logits_and_the_same_digits(format_, model, folder, tmp_path):
    pytest.importorskip({"tflite": "ai_edge_litert"}.get(format_, "onnxruntime"), reason="a runtime is not installed")
    images = mnist("test").images
    output("export", folder / model, "--format", format_, "--form", "float32", "--out", tmp_path / "file")
    ours = trained_lenet()
    if model == "pruned":
        ours = SparsePruner(ours, ARTICLE_SPARSITY).prune(ours)
    expected = ours(images).data
    logits = run(format_, (tmp_path / "file").read_bytes(), images)
    # Logits are up to 28, where a step of float32 is 1.9e-6. LiteRT adds up in an order that is farther from ours.
    np.testing.assert_allclose(logits, expected, rtol=1e-6 if format_ == "tflite" else 0, atol=1e-5)
    np.testing.assert_array_equal(logits.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("make", [LeNet300100, CaffeLeNet])
def test_other_networks_run_in_float_too(make, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    model, images = make(), mnist("test").images[:500]
    save_checkpoint(tmp_path / "model", model)
    for format_ in ("onnx", "tflite"):
        output("export", tmp_path / "model", "--format", format_, "--form", "float32", "--out", tmp_path / "file")
        found = run(format_, (tmp_path / "file").read_bytes(), images)
        np.testing.assert_allclose(found, model(images).data, rtol=0, atol=1e-5)


def test_float_files_of_any_layers():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    for seed in range(25):
        rng = np.random.default_rng(seed)
        model = random_chain(rng)
        images = rng.normal(size=(20, 2, 13, 12)).astype(np.float32)
        expected = model(images).data
        close = {"rtol": 1e-4, "atol": 1e-4 * np.abs(expected).max()}
        found = oracles.onnxruntime(to_onnx_float32(model, (2, 13, 12)), images)
        np.testing.assert_allclose(found, expected, **close, err_msg=f"onnxruntime, seed {seed}")
        data = to_tflite_float32(model, (2, 13, 12), batch=20)
        for kernels in ("AUTO", "BUILTIN_REF"):
            found = oracles.litert(data, images, kernels, 20)
            np.testing.assert_allclose(found, expected, **close, err_msg=f"LiteRT, {kernels}, seed {seed}")


def test_onnx_s_own_checker_accepts_float_files():
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    for model, shape in ((trained_lenet(), (1, 28, 28)), (nn.Sequential(nn.Linear(3, 2)), (3,))):
        proto = onnx.load_from_string(to_onnx_float32(model, shape))
        onnx.checker.check_model(proto, full_check=True)
        assert [axis.dim_value for axis in proto.graph.output[0].type.tensor_type.shape.dim[1:]] in ([10], [2])
    for seed in range(10):
        proto = onnx.load_from_string(to_onnx_float32(random_chain(np.random.default_rng(seed)), (2, 13, 12)))
        onnx.checker.check_model(proto, full_check=True)
