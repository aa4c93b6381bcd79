"""`minigrad sparsify`, sparse files in `evaluate` and `predict`, `minigrad atlas`."""

import json

import numpy as np
import pytest
from PIL import Image

from minigrad import save_checkpoint
from minigrad.compression import cli_sparse
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.pruning import prune_channels, shrink
from minigrad.compression.sparse import FORMATS, Grid, format_bytes, load_sparse, planner, timing
from tests.compression.command_line import call, output


@pytest.mark.parametrize("format", FORMATS)
def test_a_sparse_file_is_as_large_as_accounting_and_header_say_and_runs(format, pruned, tmp_path, small_data, rng):
    out = tmp_path / "sparse"
    said = output("sparsify", tmp_path / "pruned", "--format", format, "--out", out)
    weights, others = format_bytes(pruned, format), 4 * 236
    header = out.stat().st_size - weights - others
    assert header == 8 + int.from_bytes(out.read_bytes()[:8], "little")  # as safetensors has it
    assert said.splitlines()[-2] == "All weights, dense: 176,760 B."
    assert said.splitlines()[-1] == (
        f"weights in sparse layers {weights:,} B, all else {others:,} B, header {header:,} B: "
        f"{out.stat().st_size:,} B. Written to {out}."
    )
    assert said.splitlines()[4].split()[:5] == ["fc1", format, "120×256", "75.0", "7,680"]
    x = rng.normal(size=(7, 1, 28, 28)).astype(np.float32)
    np.testing.assert_allclose(load_sparse(out, LeNet())(x).data, pruned(x).data, rtol=1e-4, atol=1e-4)
    dense = output("evaluate", tmp_path / "pruned", "--data", small_data)
    sparse = output("evaluate", out, "--data", small_data)
    assert sparse.split(")")[0] == dense.split(")")[0]  # accuracy and interval
    assert f"fc3  {format:>8}"[-8:] in sparse


def test_csr_is_the_default_and_metadata_is_kept(pruned, tmp_path):
    output("sparsify", tmp_path / "pruned", "--out", tmp_path / "sparse")
    _, metadata = cli_sparse.load_any(tmp_path / "sparse")
    assert metadata["sparse"]["fc1"]["format"] == "csr"
    assert (metadata["seed"], metadata["epoch"], metadata["architecture"]) == (0, 5, "LeNet")


def test_digits_are_read_by_a_sparse_model(pruned, tmp_path):
    output("sparsify", tmp_path / "pruned", "--out", tmp_path / "sparse")
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 13:16] = 255
    Image.fromarray(pixels).save(tmp_path / "one.png")
    said = [output("predict", tmp_path / "one.png", "--checkpoint", tmp_path / name) for name in ("pruned", "sparse")]
    assert said[0] == said[1]


def test_a_lenet_that_was_shrunk(tmp_path, small_data):
    model = shrink(prune_channels(trained_lenet(), 0.5))
    save_checkpoint(tmp_path / "shrunk", model)
    output("sparsify", tmp_path / "shrunk", "--format", "bitmask", "--out", tmp_path / "sparse")
    dense, sparse = (output("evaluate", tmp_path / name, "--data", small_data) for name in ("shrunk", "sparse"))
    assert sparse.split(")")[0] == dense.split(")")[0]


def fixed_times(**seconds):
    """Stands in for the planner's measuring: the same times for all layers."""

    def measure_layers(model, x, formats, *_):
        return {name: dict(seconds) for name in ("conv1", "fc1")}, True

    def measure_whole(models, *_):
        return {"dense": 2.0, "planned": 1.0}

    return measure_layers, measure_whole


def test_a_plan_makes_sparse_what_gets_faster(pruned, tmp_path, small_data, monkeypatch):
    layers, whole = fixed_times(dense=3e-6, csr=2e-6, bitmask=1e-6)
    monkeypatch.setattr(planner, "measure_layers", layers)
    monkeypatch.setattr(planner, "measure_whole", whole)
    out = tmp_path / "sparse"
    said = output("sparsify", tmp_path / "pruned", "--plan", "--batch", 8, "--out", out, "--data", small_data)
    assert "fc1 at 0.75, batch 8: bitmask is faster (1.0 µs, dense 3.0 µs), made bitmask." in said
    assert set(cli_sparse.load_any(out)[1]["sparse"]) == {"conv1", "fc1"}
    assert "weights in sparse layers 34,667 B" in said


def test_a_plan_of_dense_layers_is_no_sparse_file(pruned, tmp_path, small_data, monkeypatch):
    layers, whole = fixed_times(dense=1e-6, csr=2e-6)
    monkeypatch.setattr(planner, "measure_layers", layers)
    monkeypatch.setattr(planner, "measure_whole", whole)
    result = call("sparsify", tmp_path / "pruned", "--plan", "--out", tmp_path / "s", "--data", small_data)
    assert result.exit_code == 2
    assert (
        "Error: sparsify: at batch 64 no layer gets faster by being sparse, so the plan keeps all of" in result.stderr
    )
    assert not (tmp_path / "s").exists()


def test_what_cannot_be_made_sparse(pruned, tmp_path):
    result = call("sparsify", tmp_path / "pruned", "--plan", "--format", "csr", "--out", tmp_path / "s")
    assert result.exit_code == 2
    assert "--plan and --format exclude each other" in result.stderr
    output("sparsify", tmp_path / "pruned", "--out", tmp_path / "s")
    result = call("sparsify", tmp_path / "s", "--out", tmp_path / "t")
    assert result.exit_code == 2
    assert "is not one of LeNet" in result.stderr


def test_an_atlas_is_printed_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    monkeypatch.setattr(cli_sparse, "QUICK", Grid(((8, 16),), (4,), (0.5, 0.9), seconds=0))
    monkeypatch.setattr(cli_sparse, "planner_models", lambda quick: {"LeNet": (LeNet(), np.zeros((2, 1, 28, 28), "f"))})
    said = output("atlas", "--quick", "--out", tmp_path / "made")
    report = json.loads((tmp_path / "made" / "atlas.json").read_text())
    assert set(report) == {"machine", "grid", "points", "crossovers", "planner"}
    assert report["planner"][0]["plan"]["layers"][2]["name"] == "fc1"
    assert "  fc1 at 0.00, batch 2: " in said
    assert "8×16, batch 4: csr " in said
    assert "within 5 % of the best one measured? " in said
    assert (tmp_path / "made" / "atlas.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(("quick", "count"), [(True, 3), (False, 7)])
def test_the_planner_is_checked_on_models_that_run(quick, count):
    models = cli_sparse.planner_models(quick)
    assert len(models) == count
    for model, x in models.values():
        assert len(model(x[:2]).data) == min(2, len(x))
    layer = models["1024×1024 at 0.9"][0]
    assert round(float((next(layer.parameters()).data == 0).mean()), 2) == 0.9
