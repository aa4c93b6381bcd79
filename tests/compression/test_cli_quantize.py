"""`minigrad quantize`, `observers`, `bits` and `quantized-accuracy` on a small dataset."""

import json
import re

import numpy as np
import pytest

from minigrad.compression import accuracy_study, bits_study
from tests.compression.command_line import call


@pytest.fixture(scope="module")
def run(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantize")
    result = call(
        "quantize", "--data", small_data, "--bits", 3, "--epochs", 1, "--images", 500, "--image", 7, "--distill", "--out",
        folder,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for name in ("3_bits_noise", "line"):
        assert (folder / f"quantize_{name}.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "quantize_3_bits.json").read_text()), result.output


def test_quantize_reports_levels_noise_flips_and_bits(run):
    report, said = run
    assert [row["level"] for row in report["levels"]] == [1, 2, 3, 4]
    assert "integer accuracy" not in report["levels"][0]
    for row in report["levels"][1:]:
        assert abs(row["integer accuracy"] - row["accuracy"]) < 2
    assert report["settings"]["bits"] == 3
    assert report["measured on"] == "held-out images"
    assert set(report["versions"]) >= {"minigrad", "numpy", "numba"}
    assert report["mixed"]["bytes"] <= report["mixed"]["budget"] < report["mixed"]["uniform"]["bytes"]
    assert len(report["flips"]) == min(3, report["flipped"])
    for flip in report["flips"]:
        np.testing.assert_allclose(sum(flip["shares"].values()), flip["margin_after"] - flip["margin_before"])
        assert f"image {flip['image']}: {flip['before']} became {flip['after']}, mostly by {flip['culprit']}" in said
    asked = report["asked"]
    assert asked["image"] == 7
    assert f"image 7{' is read as' if asked['flip'] is None else ': '}" in said
    assert "by the float model" in report["levels"][2]["done"][-1]
    assert 0 <= report["mixed"]["trained"] <= 100
    assert "requantization" in said
    assert f"{report['float']:.2f} %" in said


def test_the_line_begins_at_the_float_model_and_ends_at_the_rounded_one(run):
    line = run[0]["line"]
    assert line["shares"][::10] == [0.0, 1.0]
    assert list(line["accuracy"]) == ["8", "4", "3", "2"]
    assert {values[0] for values in line["accuracy"].values()} == {run[0]["float"]}
    assert line["accuracy"]["2"][-1] < line["accuracy"]["8"][-1]


def test_an_image_that_is_not_held_out_is_refused(small_data, tmp_path):
    result = call("quantize", "--data", small_data, "--image", 4271, "--out", tmp_path)
    assert result.exit_code == 2
    assert re.search(r"4271 is not below \d+, how many are held out", result.output)


def test_shares_of_the_report_add_up_to_the_whole_increase(run):
    report, _ = run
    shares = [row["share"] for row in report["sources"].values()]
    assert np.isfinite(shares).all()
    assert set(report["sensitivity"]) == {"conv1", "conv2", "fc1", "fc2", "fc3"}
    assert len(report["signal to noise"]) == 10


def test_observers_draws_a_picture_and_knows_its_layers(small_data, tmp_path):
    result = call("observers", "--data", small_data, "--images", 100, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "observers.png").read_bytes().startswith(b"\x89PNG")
    refused = call("observers", "--data", small_data, "--images", 100, "--layer", "conv9", "--out", tmp_path)
    assert refused.exit_code == 2
    assert "no convolution or linear layer is called 'conv9'" in refused.output


def test_bits_are_studied_over_seeds_and_drawn(small_data, tmp_path, monkeypatch):
    quick = bits_study.Study(bits=(4, 1), epochs=1, qat_epochs=1, qat_images=300, limit=600, calibration=50)
    monkeypatch.setitem(bits_study.EXPERIMENT.quick, "bits", quick)
    arguments = ["bits", "--quick", "--seeds", 2, "--data", small_data, "--runs", tmp_path / "runs", "--out", tmp_path]
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "bits.json").read_text())
    assert [(row["bits"], row["scales"], row["way"]) for row in report["rows"]] == [
        (bits, scales, way)
        for bits, kinds in ((4, ("tensor", "channel", "group")), (1, ("tensor", "channel")))
        for scales in kinds
        for way in ("calibrated", "trained")
    ]
    for row in report["rows"]:
        floats = report["float"][row["way"]]["test"]["values"]
        below = [f - q for f, q in zip(floats, row["test"]["values"], strict=True)]
        np.testing.assert_allclose(row["points below float"]["values"], below)
        low, high = row["test"]["interval"]
        assert low < row["test"]["mean"] < high or low == high
    first, longer = (report["float"][way]["test"]["values"] for way in ("calibrated", "trained"))
    assert first != longer
    assert (tmp_path / "bits.png").read_bytes().startswith(b"\x89PNG")
    again = call(*arguments)
    assert "2 of 2 runs are there already: bits-seed-0, bits-seed-1" in again.output
    assert json.loads((tmp_path / "bits.json").read_text()) == report


def test_the_plot_of_bits_shows_errors_and_intervals():
    rows = [
        {"bits": bits, "scales": "channel", "way": way, "test": {"mean": 98.0, "interval": [97.5, 98.5]}}
        for bits in (8, 2)
        for way in bits_study.WAYS
    ]
    rows += [row | {"scales": scales} for row in rows for scales in ("tensor", "group")]
    floats = {way: {"test": {"mean": mean}} for way, mean in (("calibrated", 99.0), ("trained", 99.25))}
    report = {"settings": {"bits": [8, 2]}, "seeds": [0, 1], "float": floats, "rows": rows}
    figure = bits_study.plot(report)
    for ax, below in zip(figure.axes, (1.0, 0.75), strict=True):
        np.testing.assert_allclose(ax.lines[-1].get_ydata(), [below, below])
        assert ax.get_xlabel() == "bits of a weight"
        np.testing.assert_allclose(ax.containers[1][0].get_ydata(), [2.0, 2.0])
        (bars,) = ax.containers[1][2]
        np.testing.assert_allclose(bars.get_segments()[0][:, 1], [1.5, 2.5])


def test_accuracies_of_few_bits_are_told_and_kept(small_data, tmp_path, monkeypatch):
    lenet = accuracy_study.LeNetSettings(epochs=1, qat_epochs=1, calibration=50, limit=500)
    monkeypatch.setitem(accuracy_study.QUICK, accuracy_study.LENET, lenet)
    binary = accuracy_study.BinarySettings(epochs=1, binary_epochs=1, limit=500)
    monkeypatch.setitem(accuracy_study.QUICK, accuracy_study.BINARY, binary)
    arguments = ["quantized-accuracy", "--quick", "--seeds", 1, "--data", small_data, "--runs", tmp_path / "runs"]
    result = call(*arguments, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "quantized_accuracy.json").read_text())
    assert report["quick"]
    assert [row["at_most"] for row in report["rows"] if row["at_most"]] == [0.05, 0.3, 0.3]
    for row in report["rows"]:
        assert row["figure"] in result.output
    again = call(*arguments, "--out", tmp_path)
    assert "2 of 2 runs are there already" in again.output
    assert json.loads((tmp_path / "quantized_accuracy.json").read_text()) == report
