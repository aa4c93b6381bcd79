"""`minigrad prune` with every criterion and schedule, `minigrad blame`, `minigrad criteria`."""

import json

import numpy as np
import pytest
from PIL import Image

from minigrad import load_checkpoint, read_checkpoint, save_checkpoint
from minigrad.compression import criteria_study
from minigrad.compression.models import LENET_CHECKPOINT, LeNet, trained_lenet
from minigrad.compression.prune_job import SCHEDULES, Plan, run
from minigrad.compression.pruning import (
    ARTICLE_SPARSITY,
    CRITERIA,
    Ledger,
    SparsePruner,
    model_sparsity,
    prunable,
    prune_channels,
    shrink,
)
from tests.compression.command_line import call
from tests.conftest import write_dataset


def sentence(*arguments):
    """The error, which must be one line on stderr."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    return lines[0]


def pruned(out, *arguments):
    result = call("prune", LENET_CHECKPOINT, "--out", out, *arguments)
    assert result.exit_code == 0, result.output
    model = LeNet()
    load_checkpoint(out, model)
    assert f"sparsity {model_sparsity(model):.4f}. Written to {out}." in result.output
    return model, result


def share(model):
    weights = [p.data for p in prunable(model).values()]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_runs(criterion, small_data, tmp_path):
    for scope in ("local", "global"):
        model, _ = pruned(
            tmp_path / "p", "--criterion", criterion, "--scope", scope, "--sparsity", 0.5, "--ties", "exact",
            "--data", small_data,
        )  # fmt: skip
        assert share(model) == 0.5
        gone = dict(trained_lenet().named_parameters())["fc1.weight"].data[model.fc1.weight.data == 0]
        assert (abs(gone).max() > 0.05) == (criterion not in ("magnitude", "l2"))
        assert read_checkpoint(tmp_path / "p")[1]["epoch"] == 5  # not trained


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory, small_training, small_test):
    """240 training images, of which 220 are trained on, in four steps, and 20 are held out."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    return write_dataset(folder, small_training.subset(slice(240)), small_test.subset(slice(60)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_runs_by_every_schedule(schedule, criterion, tiny_data, tmp_path):
    arguments = ["--schedule", schedule, "--criterion", criterion, "--data", tiny_data, "--ledger", tmp_path / "l"]
    arguments += ["--ties", "exact"]
    arguments += [] if schedule == "one-shot" else ["--epochs", 3]
    arguments += ["--rounds", 2] if schedule in ("iterative", "lottery") else []
    model, result = pruned(tmp_path / "p", *arguments, *(["--every", 2] if schedule == "gradual" else []))
    ledger = Ledger.load(tmp_path / "l")
    for name, mask in ledger.masks().items():
        np.testing.assert_array_equal(dict(model.named_parameters())[name].data == 0, ~mask)
    expected = {
        "one-shot": (1, 0.7426, 5),
        "iterative": (2, 0.7426, 5 + 2 * 3),
        "gradual": (4, 0.7426, 5 + 3),  # two thirds of 12 steps, every second
        "lottery": (2, None, 3),
    }
    steps, sparsity, epochs = expected[schedule]
    assert len(ledger) == steps
    assert read_checkpoint(tmp_path / "p")[1]["epoch"] == epochs
    if sparsity:
        assert round(share(model), 4) == sparsity
    else:
        assert (model.fc1.weight.data == 0).sum() == round(30720 * 0.36)
        assert (model.fc3.weight.data == 0).sum() == round(840 * 0.19)
    assert ("has seen the held-out images" in result.stderr) == (schedule != "one-shot")
    assert result.output.count("held-out accuracy") == {"one-shot": 0, "gradual": 1}.get(schedule, 2)
    assert {step.how.split(",")[0] for step in ledger.steps} == {criterion}


def test_the_default_is_the_articles_pruning_byte_for_byte(tmp_path):
    pruned(tmp_path / "p")
    model, metadata = trained_lenet(), read_checkpoint(LENET_CHECKPOINT)[1]
    metadata.pop("architecture")
    save_checkpoint(tmp_path / "q", SparsePruner(model, ARTICLE_SPARSITY).prune(model), **metadata)
    assert (tmp_path / "p").read_bytes() == (tmp_path / "q").read_bytes()


def test_shares_for_all_and_for_one(tmp_path):
    model, _ = pruned(tmp_path / "p", "--sparsity", 0.5, "--sparsity", "fc1.weight=0.75")
    assert (model.fc1.weight.data == 0).sum() == 23_040
    assert (model.fc2.weight.data == 0).sum() == 5_040
    model, _ = pruned(tmp_path / "p", "--scope", "global")
    assert round(share(model), 4) == 0.7426


def test_patterns_deviation_and_penalties(small_data, tmp_path):
    model, _ = pruned(tmp_path / "p", "--pattern", "2:4")
    assert ((model.fc1.weight.data != 0).reshape(120, 64, 4).sum(axis=2) == 2).all()
    model, _ = pruned(tmp_path / "p", "--pattern", "4x4", "--sparsity", 0.5)
    blocks = (model.fc1.weight.data == 0).reshape(30, 4, 64, 4)
    assert (blocks.all(axis=(1, 3)) == blocks.any(axis=(1, 3))).all()
    model, _ = pruned(tmp_path / "p", "--quality", 1)
    w = trained_lenet().fc1.weight.data
    np.testing.assert_array_equal(model.fc1.weight.data != 0, abs(w) > w.std())
    model, result = pruned(tmp_path / "p", "--l1", 1e-3, "--epochs", 1, "--data", small_data)
    assert "train with a penalty" in result.output
    assert abs(model.fc1.weight.data).sum() < abs(np.where(model.fc1.weight.data != 0, w, 0)).sum()
    assert read_checkpoint(tmp_path / "p")[1]["epoch"] == 6


@pytest.mark.parametrize("penalty", ["--l1", "--l2"])
@pytest.mark.parametrize("schedule", ["one-shot", "iterative", "gradual"])
def test_a_penalty_before_makes_weights_smaller_by_every_schedule(penalty, schedule, tiny_data, tmp_path):
    arguments = ("--schedule", schedule, "--data", tiny_data, "--epochs", 2, "--ties", "exact", "--sparsity", 0.5)
    arguments += {"iterative": ("--rounds", 1)}.get(schedule, ())
    sizes = []
    for factor in (1e-9, 0.3):
        model, result = pruned(tmp_path / "p", penalty, factor, *arguments)
        sizes.append(sum(float((w.data**2).sum()) for w in prunable(model).values()))
        assert "train with a penalty" in result.output
        assert share(model) == 0.5
    assert sizes[1] < 0.95 * sizes[0]


@pytest.mark.parametrize("schedule", ["iterative", "lottery"])
def test_dropout_is_adjusted_to_what_is_left(schedule, tiny_data, tmp_path):
    arguments = ("--schedule", schedule, "--rounds", 2, "--epochs", 1, "--data", tiny_data, "--ties", "exact")
    sparsity = () if schedule == "lottery" else ("--sparsity", 0.36)
    model, result = pruned(tmp_path / "p", *arguments, *sparsity, "--dropout", 0.5)
    rates = [line.split("dropout ")[1] for line in result.output.splitlines() if "trained:" in line]
    assert rates == ["0.447 and 0.447", "0.400 and 0.400"]  # 0.5 * sqrt(0.8), 0.5 * sqrt(0.64)
    assert read_checkpoint(tmp_path / "p")[1]["architecture"] == "LeNet"
    again, _ = pruned(tmp_path / "q", *arguments, *sparsity, "--dropout", 0.5)
    without, plain = pruned(tmp_path / "r", *arguments, *sparsity)
    np.testing.assert_array_equal(again.fc3.weight.data, model.fc3.weight.data)
    assert (without.fc3.weight.data != model.fc3.weight.data).any()
    assert "dropout 0" not in plain.output


def test_zeros_stay_zeros(small_data, tmp_path):
    first, _ = pruned(tmp_path / "p", "--sparsity", 0.3)
    arguments = ("--criterion", "random", "--schedule", "iterative", "--rounds", 1, "--epochs", 1, "--sparsity", 0.5)
    assert call("prune", tmp_path / "p", "--out", tmp_path / "q", "--data", small_data, *arguments).exit_code == 0
    second = LeNet()
    load_checkpoint(tmp_path / "q", second)
    assert (second.fc1.weight.data[first.fc1.weight.data == 0] == 0).all()
    assert share(second) == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--rounds", 3], "--rounds has no effect here: the schedules iterative and lottery have rounds"),
        (["--every", 3], "--every has no effect here: the schedule gradual prunes every so many steps"),
        (["--epochs", 3], "--epochs has no effect here: the schedule one-shot trains nothing"),
        (["--batch-size", 3], "--batch-size has no effect here"),
        (["--scope", "global", "--sparsity", "fc1.weight=0.5"], "the scope global ranks all weights together"),
        (["--scope", "global", "--pattern", "2:4"], "a pattern is kept layer by layer"),
        (["--pattern", "2:4", "--sparsity", 0.5], "the pattern 2:4 fixes the sparsity: leave --sparsity out"),
        (["--pattern", "2:4", "--schedule", "gradual"], "it goes with the schedule one-shot, not gradual"),
        (["--pattern", "many"], "'many' is no pattern; expected n:m such as 2:4"),
        (["--schedule", "lottery", "--sparsity", 0.5], "a lottery removes 20 % of each layer a round"),
        (["--schedule", "lottery", "--l1", 1], "a lottery goes back to the first weights"),
        (["--quality", 1, "--sparsity", 0.5], "--quality compares magnitudes with each layer's deviation"),
        (["--quality", 1, "--criterion", "obd"], "--quality compares magnitudes"),
        (["--quality", 1, "--schedule", "gradual"], "with the schedules one-shot and iterative, not gradual"),
        (["--dropout", 0.5], "it goes with the schedules iterative and lottery, not one-shot"),
        (["--sparsity", 1.5], "is 1.5, expected 0 to 1"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_sentence(arguments, text, tmp_path):
    assert text in sentence("prune", LENET_CHECKPOINT, "--out", tmp_path / "x", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_two_shares_for_all_are_one_too_many(tmp_path):
    result = call("prune", LENET_CHECKPOINT, "--out", tmp_path / "x", "--sparsity", 0.5, "--sparsity", 0.6)
    assert result.exit_code == 2
    assert "2 shares for all layers were given, expected one" in result.stderr


def test_a_lottery_needs_a_dense_model_with_a_seed(tmp_path):
    model = trained_lenet()
    save_checkpoint(tmp_path / "a", model)
    save_checkpoint(tmp_path / "c", shrink(prune_channels(model, 0.5)), seed=0)
    model.fc1.weight.data[0, 0] = 0
    save_checkpoint(tmp_path / "b", model, seed=0)
    for name in "abc":
        text = sentence("prune", tmp_path / name, "--schedule", "lottery", "--out", tmp_path / "x")
        assert "this one has no seed or is pruned already" in text


def test_the_job_asks_for_what_it_needs():
    with pytest.raises(ValueError, match="there is no schedule 'daily'; there are one-shot, iterative"):
        Plan(schedule="daily").check()
    with pytest.raises(ValueError, match="this criterion or schedule needs images"):
        run(LeNet(), Plan(criterion="taylor"), None, None, print)


def test_a_lottery_without_first_weights_is_refused(small_training, small_test):
    with pytest.raises(ValueError, match="a lottery needs the model before its training"):
        run(LeNet(), Plan(schedule="lottery"), small_training, small_test, print)


def test_blame(tmp_path):
    model, _ = pruned(tmp_path / "p", "--ledger", tmp_path / "ledger")
    row, column = np.argwhere(model.fc1.weight.data == 0)[7]
    size = abs(float(trained_lenet().fc1.weight.data[row, column]))
    result = call("blame", tmp_path / "ledger", "fc1.weight", row, column)
    assert f"fc1.weight[{row}, {column}]: zeroed in step 1, |w| = {size:.4g}, threshold " in result.output
    assert "no step pruned 'fc9.weight'" in sentence("blame", tmp_path / "ledger", "fc9.weight", 0, 0)
    assert "fc1.weight has shape (120, 256) and no weight (120, 0)" in sentence(
        "blame", tmp_path / "ledger", "fc1.weight", 120, 0
    )
    assert "is no pruning ledger" in sentence("blame", tmp_path / "p", "fc1.weight", 0, 0)


def test_the_comparison_of_criteria(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(criteria_study, "QUICK", criteria_study.Study((0.0, 0.9), 1, 1, images=600))
    result = call("criteria", "--quick", "--data", small_data, "--out", tmp_path / "results", "--runs", tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "results" / "criteria.json").read_text())
    assert list(report["criteria"]) == list(CRITERIA)
    assert report["settings"]["sparsities"] == [0.0, 0.9]
    for stages in report["criteria"].values():
        whole, sparse = stages["pruned"]
        assert whole["values"] == report["dense"]["pruned"]["values"]
        assert len(sparse["values"]) == 2
        for point in (whole, sparse, *stages["tuned"]):
            assert point["interval"][0] <= point["mean"] <= point["interval"][1]
            assert point["mean"] == pytest.approx(np.mean(point["values"]))
        assert stages["tuned"][0] == report["dense"]["tuned"]  # nothing removed: the same training for all
    assert report["dense"]["tuned"]["values"] != report["dense"]["pruned"]["values"]
    assert report["machine"]["versions"]["numpy"] == np.__version__
    with Image.open(tmp_path / "results" / "criteria.png") as image:
        assert image.width > 1000
    assert "stability + training" in result.output
