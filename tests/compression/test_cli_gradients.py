"""`minigrad gradients` and `minigrad scaling`."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from minigrad import kernels
from minigrad.compression import cli_gradients, gradient_study
from minigrad.compression.gradients import METHODS

from .command_line import call


@pytest.fixture(scope="module")
def study(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradients")
    with pytest.MonkeyPatch.context() as patch:
        for name, plan in gradient_study.lessons(replace(gradient_study.QUICK, limit=200, epochs=2)).items():
            patch.setitem(gradient_study.EXPERIMENT.quick, name, plan)
        result = call("gradients", "--quick", "--data", small_data, "--runs", folder / "runs", "--out", folder)
    assert result.exit_code == 0, result.output
    return folder, json.loads((folder / "gradients.json").read_text()), result.output


def test_every_method_is_compared_with_none_seed_by_seed(study):
    folder, report, output = study
    assert list(report["methods"]) == list(METHODS)
    plain = report["methods"]["none"]
    assert plain["points below none"]["values"] == [0, 0]
    assert (plain["ratio"], plain["ratio of all steps"]) == (1, 1)
    assert plain["sent"] == [4 * 177_704, 8 * 177_704]  # 200 images make 4 steps
    for found in report["methods"].values():
        below = [a - b for a, b in zip(plain["test"]["values"], found["test"]["values"], strict=True)]
        assert found["points below none"]["values"] == pytest.approx(below)
        assert len(found["held out"]) == 2
        assert found["sent"][1] / 8 / 177_704 == pytest.approx(found["ratio of all steps"])
    assert report["methods"]["int8"]["ratio"] < 0.26
    assert report["methods"]["sign"]["ratio"] < 0.04
    assert report["methods"]["topk"]["ratio"] < 0.01  # after the warm-up
    assert report["methods"]["topk"]["ratio of all steps"] > 0.02
    assert "int8" in output
    with Image.open(folder / "gradients.png") as image:
        assert image.width > 700


def test_where_the_compressor_has_the_momentum_sgd_has_none(small_data, tmp_path):
    plans = gradient_study.lessons(gradient_study.QUICK)
    assert plans["topk"].options == {"momentum": 0.9, "warmup": 15}
    assert plans["int8"].options == {}
    assert all(plan.method == name and plan.epochs == 1 for name, plan in plans.items())


def test_the_speed_up_is_predicted(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_gradients, "STEPS", 2)
    before = kernels.get_num_threads()
    result = call("scaling", "--data", small_data, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert kernels.get_num_threads() == before
    report = json.loads((tmp_path / "scaling.json").read_text())
    assert list(report["costs"]) == list(METHODS)
    assert report["costs"]["none"]["sent"] == 177_704
    assert list(report["speed-up"]) == ["1 Gbit/s", "10 Gbit/s"]
    for found in report["speed-up"].values():
        assert found["none"]["1"] == 1
        assert 1 < found["none"]["256"] < 256
    with Image.open(tmp_path / "scaling.png") as image:
        assert image.width > 1000
