"""`minigrad soft-targets`, `distill` and `distill-scan`."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from minigrad import save_checkpoint
from minigrad.compression import distill_scan, distill_study, soft_target_study
from minigrad.compression.distill_study import Study, Training
from minigrad.compression.models import LENET_CHECKPOINT, LeNet
from minigrad.datasets import mnist
from tests.compression.command_line import call

SMALL = Training((2, 3, 8, 8), epochs=1, batch_size=32, jitter=1, images=96)
STUDY = Study(seeds=2, teachers=2, teacher=Training(epochs=1, images=96), alone=SMALL, seconds=0.01)
SCAN = distill_scan.Scan(2, (1.0, 4.0), (0.5, 1.0), replace(SMALL, jitter=0), sizes=(32, 96), jitters=(1,))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(distill_study, "QUICK", STUDY)
    monkeypatch.setattr(distill_scan, "QUICK", SCAN)


@pytest.fixture
def teacher(tmp_path):
    save_checkpoint(tmp_path / "teacher", LeNet(), held_out=True)
    return tmp_path / "teacher"


def test_a_student_is_distilled_and_its_checkpoint_is_read_by_the_other_commands(quick, small_data, tmp_path):
    settings = ("distill", "--quick", "--data", small_data, "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    result = call(*settings)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "distill.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["teacher", "ensemble", "alone", "distilled"]
    assert report["quick"] is True
    assert "student, distilled" in result.output
    with Image.open(tmp_path / "out" / "distill_confusions.png") as image:
        assert image.width > 800
    student = tmp_path / "runs" / "quick" / "distilled-seed-1.safetensors"
    evaluated = call("evaluate", student, "--data", small_data)
    assert f"accuracy {report['rows'][3]['accuracy']['values'][1]:.2f} %" in evaluated.output
    Image.fromarray(mnist("test", small_data).pixels[0]).save(tmp_path / "digit.png")
    assert call("predict", tmp_path / "digit.png", "--checkpoint", student).exit_code == 0
    again = call(*settings, "--alpha", 0.5)
    assert "2 of 2 runs are there already: teacher-seed-0, teacher-seed-1" in again.output
    assert "2 of 4 runs are there already: alone-seed-0, alone-seed-1" in again.output


def test_options_reach_the_study(monkeypatch, teacher, tmp_path):
    seen = {}

    class Stopping:
        def __init__(self, study, paths, given):
            seen.update(study=study, paths=paths, given=given)

        def run(self, seeds, quick, folder, *rest):
            seen.update(seeds=seeds, quick=quick, folder=folder)
            raise RuntimeError("alone, seed 0: it stopped")

    monkeypatch.setattr(distill_study, "experiment", Stopping)
    loss = ("--temperature", 2.5, "--alpha", 0.25)
    settings = ("--seeds", 3, "--epochs", 7, "--images", 99, "--widths", 1, 2, 3, 4, "--jitter", 0, *loss)
    result = call("distill", "--teacher", teacher, *settings, "--runs", tmp_path / "r", "--out", tmp_path)
    study = seen["study"]
    assert (seen["seeds"], study.seeds, study.temperature, study.alpha) == (3, 3, 2.5, 0.25)
    assert study.alone == replace(Study().alone, epochs=7, images=99, jitter=0, widths=(1, 2, 3, 4))
    assert study.teacher == Study().teacher
    assert (seen["folder"], seen["paths"], seen["given"], seen["quick"]) == (tmp_path / "r", (teacher,), True, False)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: alone, seed 0: it stopped; finished runs are in {tmp_path / 'r'}, and the same command goes on from there\n"
    )


def test_ctrl_c_says_how_to_go_on(monkeypatch, tmp_path):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(distill_study, "teachers", interrupt)
    result = call("distill", "--quick", "--runs", tmp_path, "--out", tmp_path)
    assert result.exit_code == 130
    assert "interrupted; finished runs are in" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--temperature", "0"), "0.0 is not in the range x>0"),
        (("--temperature", "nan"), "temperature is nan, expected a finite number above 0"),
        (("--alpha", "1.5"), "1.5 is not in the range 0<=x<=1"),
        (("--seeds", "1"), "1 is not in the range x>=2"),
        (("--teacher", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_refused_before_any_work(options, words, monkeypatch, tmp_path):
    for step in ("teachers", "experiment"):
        monkeypatch.setattr(distill_study, step, lambda *arguments, **given: pytest.fail("it began"))
    result = call("distill", *options, "--runs", tmp_path, "--out", tmp_path)
    assert result.exit_code == 2
    assert words in result.output


def test_a_teacher_that_has_seen_the_held_out_images_is_named(monkeypatch, tmp_path):
    def stop(*arguments, **given):
        raise RuntimeError("stop")

    monkeypatch.setattr(distill_study, "experiment", stop)
    result = call("distill", "--teacher", LENET_CHECKPOINT, "--runs", tmp_path, "--out", tmp_path)
    assert "it has seen the held-out images" in result.output


def test_the_scan_of_temperatures(quick, small_data, tmp_path):
    settings = ("--quick", "--data", small_data, "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    result = call("distill-scan", *settings)
    assert result.exit_code == 0, result.output
    assert "mean gain (points), T =" in result.output
    report = json.loads((tmp_path / "out" / "distill_scan.json").read_text())
    assert report["quick"] is True
    assert set(report["gain"]) == {"T=1 α=0.5", "T=1 α=1", "T=4 α=0.5", "T=4 α=1"}
    for name in ("distill_gain", "distill_mistakes", "distill_gap"):
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert image.width > 300
    assert (tmp_path / "runs" / "quick" / "teacher-seed-0.safetensors").exists()
    assert not (tmp_path / "runs" / "quick" / "teacher-seed-1.safetensors").exists()
    again = call("distill-scan", *settings)
    assert "22 of 22 runs are there already" in again.output


def test_the_scan_takes_another_teacher(quick, teacher, monkeypatch, small_data, tmp_path):
    monkeypatch.setattr(distill_scan, "QUICK", replace(SCAN, temperatures=(4.0,), alphas=(1.0,), sizes=(32,)))
    settings = ("--quick", "--data", small_data, "--runs", tmp_path / "runs", "--out", tmp_path / "out")
    result = call("distill-scan", "--teacher", teacher, *settings)
    assert result.exit_code == 0, result.output
    assert not list((tmp_path / "runs").rglob("teacher-seed-*"))


def test_soft_targets_of_the_shipped_lenet(monkeypatch, small_data, tmp_path):
    study = partial(soft_target_study.Study, temperatures=9, images=300)
    monkeypatch.setattr(soft_target_study, "Study", study)
    result = call("soft-targets", "--digit", 4, "--like", 9, "--data", small_data, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "soft_targets.json").read_text())
    assert [image["label"] for image in report["digits"]] == [4, 4]
    assert np.argsort(report["digits"][0]["logits"])[-2] == 9
    assert len(list((tmp_path / "out").glob("*.png"))) == 7
    assert "entropy" in result.output
    assert "Note: this checkpoint" in result.output
