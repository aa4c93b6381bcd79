"""`minigrad shrink`, `scan` and `structure`."""

import json

import numpy as np
import pytest
from PIL import Image

from minigrad import evaluate, load_checkpoint, read_checkpoint, save_checkpoint
from minigrad.compression import structure_study
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.models import LENET_CHECKPOINT, LeNet, lenet_widths, trained_lenet
from minigrad.compression.pruning import SparsePruner, prune_channels, shrink
from minigrad.datasets import split_validation
from tests.compression.command_line import call


def shrunk(out, *arguments, checkpoint=LENET_CHECKPOINT):
    result = call("shrink", checkpoint, "--out", out, *arguments)
    assert result.exit_code == 0, result.output
    arrays, metadata = read_checkpoint(out)
    model = LeNet(widths=lenet_widths(arrays))
    load_checkpoint(out, model)
    return model, metadata, result.output


def test_half_of_all_filters(tmp_path):
    model, metadata, output = shrunk(tmp_path / "s", "--rate", 0.5)
    expected = shrink(prune_channels(trained_lenet(), 0.5))
    for name, array in expected.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)
    assert metadata == read_checkpoint(LENET_CHECKPOINT)[1]
    assert "before  6-16-120-84      44,426                        281,640               176,760" in output
    assert "after     3-8-60-42      11,418                         92,220                45,180" in output


def test_shares_and_counts_by_layer(tmp_path):
    model, *_ = shrunk(tmp_path / "s", "--rate", "conv2=0.25", "--rate", 0.5, "--keep", "conv1=5", "--keep", "fc2=84")
    assert lenet_widths(model.state_dict()) == (5, 12, 60, 84)
    model, *_ = shrunk(tmp_path / "s", "--keep", "fc1=1")
    assert lenet_widths(model.state_dict()) == (6, 16, 1, 84)


def test_the_norm_and_whose_it_is(tmp_path):
    lenet = trained_lenet()
    w = lenet.fc1.weight.data
    w[...], w[2:, 0], w[0, :4], w[1, 0] = 0, 1, 0.6, 2  # L1: 2.4, 2, 1, 1 ...; L2: 1.2, 2, 1, 1 ...
    lenet.fc2.weight.data[:, 0] = 1e-6  # neuron 0 is hardly read
    save_checkpoint(tmp_path / "a", lenet)
    for arguments, first in (((), w[0]), (("--norm", "l2"), w[1]), (("--by", "outgoing"), None)):
        model, *_ = shrunk(tmp_path / "s", "--keep", "fc1=1", *arguments, checkpoint=tmp_path / "a")
        if "--by" in arguments:
            assert model.fc1.weight.data[0, 0] == 1
        else:
            np.testing.assert_array_equal(model.fc1.weight.data[0, :4], first[:4])


def test_what_is_dead_already_goes_without_being_asked(tmp_path, small_test):
    lenet = trained_lenet()
    lenet.fc1.weight.data[7] = 0
    lenet.fc1.bias.data[7] = 0.5  # a constant, which goes into fc2's bias
    save_checkpoint(tmp_path / "a", lenet, epoch=3)
    model, metadata, _ = shrunk(tmp_path / "s", checkpoint=tmp_path / "a")
    assert lenet_widths(model.state_dict()) == (6, 16, 119, 84)
    assert metadata["epoch"] == 3
    np.testing.assert_allclose(model(small_test.images).data, lenet(small_test.images).data, atol=1e-5)


def test_a_narrow_lenet_goes_through_the_other_commands(tmp_path, small_data):
    small = tmp_path / "small"
    model, *_ = shrunk(small, "--rate", 0.5)
    result = call("evaluate", small, "--data", small_data)
    assert "dense 45,180" in result.output
    tuned = tmp_path / "tuned"
    assert call("finetune", small, "--epochs", 1, "--out", tuned, "--data", small_data).exit_code == 0
    assert lenet_widths(read_checkpoint(tuned)[0]) == (3, 8, 60, 42)
    assert (read_checkpoint(tuned)[0]["fc1.weight"] != model.fc1.weight.data).any()
    result = call("prune", small, "--sparsity", 0.5, "--ties", "exact", "--out", tmp_path / "p")
    assert result.exit_code == 0, result.output
    assert (read_checkpoint(tmp_path / "p")[0]["fc1.weight"] == 0).sum() == 60 * 128 / 2
    Image.fromarray(np.pad(np.full((20, 3), 255, np.uint8), ((4, 4), (13, 12)))).save(tmp_path / "one.png")
    assert call("predict", tmp_path / "one.png", "--checkpoint", tuned).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--rate", "half"], "'half' is not a share such as 0.5, or LAYER=SHARE such as conv2=0.25"),
        (["--rate", "fc3=0.5"], "there is no layer 'fc3' to narrow; there are conv1, conv2, fc1, fc2"),
        (["--rate", 1.5], "is 1.5, expected 0 to 1"),
        (["--rate", "nan"], "expected 0 to 1"),
        (["--keep", "6"], "there is no layer '' to narrow"),
        (["--keep", "conv1=0"], "conv1=0: expected 1 to 6, whole"),
        (["--keep", "conv1=7"], "conv1=7: expected 1 to 6, whole"),
        (["--keep", "conv1=2.5"], "conv1=2.5: expected 1 to 6, whole"),
        (["--keep", "conv1=many"], "'conv1=many' is not LAYER=COUNT, such as conv1=3"),
    ],
)
def test_what_cannot_be_taken_out_is_said(arguments, text, tmp_path):
    result = call("shrink", LENET_CHECKPOINT, "--out", tmp_path / "x", *arguments)
    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_scan_writes_what_it_prints(tmp_path, small_data, small_training):
    result = call("scan", LENET_CHECKPOINT, "--budget", 0.5, "--data", small_data, "--out", tmp_path / "s")
    assert result.exit_code == 0, result.output
    assert "it has seen the held-out images" in result.stderr
    report = json.loads((tmp_path / "s" / "scan.json").read_text())
    model, (_, held_out) = trained_lenet(), split_validation(small_training, count=200)
    at = report["sensitivity"]["sparsities"].index(0.8)
    alone = SparsePruner(model, dict.fromkeys(report["allocation"], 0.0) | {"fc3.weight": 0.8}).prune(model)
    expected = evaluate(alone, evaluation_loader(held_out))
    assert report["sensitivity"]["accuracy"]["fc3.weight"][at] == pytest.approx(expected)
    assert report["sensitivity"]["images"] == 200
    gone = sum(share * model.state_dict()[name].size for name, share in report["allocation"].items())
    assert round(gone) == round(0.5 * 44_190)
    assert set(report["stability"]) == {"as it is", "pruned"}
    assert report["stability"]["as it is"] != report["stability"]["pruned"]
    assert "kernel threads" in report["machine"]
    for name in ("sensitivity", "stability"):
        with Image.open(tmp_path / "s" / f"{name}.png") as image:
            assert image.width > 600
    printed = result.output.split("least damage:")[1].split("Written")[0].split()
    again = call("prune", LENET_CHECKPOINT, *printed, "--ties", "exact", "--out", tmp_path / "p")
    assert again.exit_code == 0, again.output
    zeros = sum(int((a == 0).sum()) for name, a in read_checkpoint(tmp_path / "p")[0].items() if a.ndim > 1)
    assert zeros == round(0.5 * 44_190)


def test_scan_takes_the_articles_budget(tmp_path, small_data):
    assert call("scan", LENET_CHECKPOINT, "--data", small_data, "--out", tmp_path).exit_code == 0
    allocation = json.loads((tmp_path / "scan.json").read_text())["allocation"]
    sizes = {name: a.size for name, a in trained_lenet().state_dict().items()}
    assert round(sum(share * sizes[name] for name, share in allocation.items())) == 32_816


def test_the_comparison_of_structures(small_data, tmp_path, monkeypatch):
    study = structure_study.Study((0.8,), (), (0.5,), 1, 1, images=300, seconds=0.01)
    monkeypatch.setitem(structure_study.EXPERIMENT.quick, "structure", study)
    result = call("structure", "--quick", "--data", small_data, "--out", tmp_path / "results", "--runs", tmp_path)
    assert result.exit_code == 0, result.output
    assert len(json.loads((tmp_path / "results" / "structure.json").read_text())["points"]) == 5
    with Image.open(tmp_path / "results" / "structure.png") as image:
        assert image.width > 1000
    assert "filters and neurons, taken out, dense kernels" in result.output
