"""The command line on a small dataset: what it writes, what it says, how it stops."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from minigrad import load_checkpoint, nn, read_checkpoint, save_checkpoint
from minigrad.compression import cli
from minigrad.compression.cli import main
from minigrad.compression.models import LENET_CHECKPOINT, LeNet
from minigrad.compression.pruning import model_sparsity
from tests.compression.command_line import call
from tests.conftest import write_dataset


def sentence(result, code=2):
    """The error, which must be one line on stderr and no traceback."""
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def demo(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    result = call("demo", "--data", small_data, "--out", folder, "--epochs", 2)
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_demo_writes_the_promised_report(demo):
    folder, _ = demo
    report = json.loads((folder / "report.json").read_text())
    assert report["seed"] == 0
    assert [s["stage"] for s in report["stages"]] == ["baseline", "pruned", "fine-tuned"]
    for stage in report["stages"]:
        assert {"stage", "accuracy", "interval", "sparsity", "parameters", "nonzeros", "bytes", "seconds"} <= set(stage)
        assert stage["interval"][0] < stage["accuracy"] < stage["interval"][1]
        assert stage["parameters"] == 44_426
        assert set(stage["bytes"]) == {"dense", "csr", "bitmask"}
    assert [round(s["sparsity"], 4) for s in report["stages"]] == [0, 0.7387, 0.7387]
    assert "last_epoch" in report["stages"][2]


def test_demo_prints_one_table_with_the_articles_figures(demo):
    _, output = demo
    assert output.count("baseline  ") == 1
    for text in ("44,426", "0.7387", "32,816", "26.13 %", "1.92x", "3.46x", "best epoch, chosen on test", "last epoch"):
        assert text in output


def test_demo_writes_checkpoints_and_figures(demo):
    folder, _ = demo
    for name in ("baseline", "pruned", "fine-tuned"):
        model = LeNet()
        metadata = load_checkpoint(folder / f"{name}.safetensors", model)
        assert metadata["seed"] == 0
        assert round(model_sparsity(model), 4) == (0 if name == "baseline" else 0.7387)
    for name in ("digits", "weights", "accuracy"):
        with Image.open(folder / f"{name}.png") as image:
            assert image.width > 400


def test_the_steps_singly_give_the_demos_bytes(demo, small_data, tmp_path):
    folder, _ = demo
    base, pruned, tuned = (tmp_path / f"{name}.safetensors" for name in ("base", "pruned", "tuned"))
    assert call("train", "--data", small_data, "--epochs", 2, "--out", base).exit_code == 0
    assert call("prune", base, "--out", pruned).exit_code == 0
    result = call("finetune", pruned, "--data", small_data, "--epochs", 2, "--choose-on", "test", "--out", tuned)
    assert result.exit_code == 0, result.output
    assert base.read_bytes() == (folder / "baseline.safetensors").read_bytes()
    assert pruned.read_bytes() == (folder / "pruned.safetensors").read_bytes()
    assert tuned.read_bytes() == (folder / "fine-tuned.safetensors").read_bytes()


def test_one_and_two_threads_write_the_same_bytes(small_data, tmp_path):
    for threads in (1, 2):
        command = [
            sys.executable,
            "-m",
            "minigrad.compression.cli",
            "train",
            "--data",
            str(small_data),
            "--epochs",
            "2",
        ]
        environment = os.environ | {"NUMBA_NUM_THREADS": str(threads)}
        subprocess.run(
            [*command, "--out", str(tmp_path / f"{threads}")], check=True, env=environment, capture_output=True
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_seeds_give_a_list_of_reports_and_their_means(small_data, tmp_path):
    result = call("demo", "--data", small_data, "--out", tmp_path, "--epochs", 1, "--seeds", 2)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "report.json").read_text())
    assert [r["seed"] for r in summary["reports"]] == [0, 1]
    accuracies = [r["stages"][2]["accuracy"] for r in summary["reports"]]
    assert accuracies[0] != accuracies[1]
    assert summary["means"]["fine-tuned"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert "means of 2 seeds" in result.output
    report = json.loads((tmp_path / "seed-1" / "report.json").read_text())
    assert report["stages"] == summary["reports"][1]["stages"]
    assert {path.suffix for path in (tmp_path / "seed-1").iterdir()} == {".json", ".png", ".safetensors"}
    (tmp_path / "seed-0" / "report.json").unlink()
    again = call("demo", "--data", small_data, "--out", tmp_path, "--epochs", 1, "--seeds", 2)
    assert "1 of 2 runs are there already: demo-seed-1\ndemo, seed 0: done" in again.output


def test_finetune_chooses_on_held_out_images_unless_told_otherwise(demo, small_data, tmp_path):
    folder, _ = demo
    result = call(
        "finetune", folder / "pruned.safetensors", "--data", small_data, "--epochs", 1, "--out", tmp_path / "a"
    )
    assert "held-out accuracy" in result.output
    assert "sparsity 0.7387" in result.output
    assert "it has seen the held-out images" in result.stderr


def test_a_run_that_holds_images_out_says_so_in_its_checkpoints(small_data, tmp_path):
    base, pruned, tuned = (tmp_path / name for name in ("base", "pruned", "tuned"))
    assert call("train", "--hold-out", "--data", small_data, "--epochs", 1, "--out", base).exit_code == 0
    assert call("prune", base, "--out", pruned).exit_code == 0
    result = call("finetune", pruned, "--data", small_data, "--epochs", 1, "--out", tuned)
    assert result.stderr == ""
    assert read_checkpoint(tuned)[1]["held_out"] is True
    assert read_checkpoint(tuned)[1]["epoch"] == 2


def test_seed_and_seeds_exclude_each_other(small_data, tmp_path):
    result = call("demo", "--seeds", 2, "--seed", 3, "--data", small_data, "--out", tmp_path / "a")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr
    result = call("demo", "--executor", "processes:2", "--data", small_data, "--out", tmp_path / "a")
    assert "--executor has no effect on a single run: add --seeds" in result.stderr


def test_evaluate_prints_accuracy_sparsity_and_bytes(demo, small_data):
    folder, _ = demo
    output = call("evaluate", folder / "fine-tuned.safetensors", "--data", small_data).output
    report = json.loads((folder / "report.json").read_text())
    assert f"accuracy {report['stages'][2]['accuracy']:.2f} %" in output
    assert "sparsity 0.7387" in output
    assert "dense 176,760, CSR 91,956, bit mask 51,020" in output


def test_the_committed_checkpoint_is_a_trained_lenet():
    model = LeNet()
    assert load_checkpoint(LENET_CHECKPOINT, model)["epoch"] == 5
    result = call("evaluate", LENET_CHECKPOINT)
    assert float(result.output.split()[1]) >= 97.5


def test_prune_takes_single_sparsities(demo, tmp_path):
    folder, _ = demo
    out = tmp_path / "p.safetensors"
    result = call(
        "prune", folder / "baseline.safetensors", "--sparsity", "fc1.weight=0.5", "--ties", "exact", "--out", out
    )
    assert result.exit_code == 0, result.output
    model = LeNet()
    load_checkpoint(out, model)
    assert (model.fc1.weight.data == 0).sum() == 15_360
    assert round(model_sparsity(model) * 44_426) == 15_360


def test_predict_names_the_digit(tmp_path):
    picture = np.zeros((28, 28), np.uint8)
    picture[4:24, 13:16] = 255
    Image.fromarray(picture).save(tmp_path / "one.png")
    result = call("predict", tmp_path / "one.png", tmp_path / "one.png")
    assert result.exit_code == 0, result.output
    assert result.output.count("one.png: 1 (") == 2


def test_help_is_complete():
    overview = call("--help").output
    for name, command in main.commands.items():
        assert name in overview
        text = call(name, "--help").output
        assert command.help
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in text
                assert parameter.help, f"{name} {parameter.name} has no help"
    assert "0.1.0" in call("--version").output


def test_wrong_input_is_one_sentence_and_exit_code_2(tmp_path, small_data):
    nowhere = tmp_path / "nowhere.safetensors"
    assert "nowhere.safetensors: there is no such file" in sentence(call("evaluate", nowhere))
    assert "there is no such file" in sentence(call("predict", tmp_path / "no.png"))

    foreign = tmp_path / "foreign.safetensors"
    save_checkpoint(foreign, nn.Linear(2, 2))
    assert "foreign.safetensors is not one of LeNet" in sentence(call("evaluate", foreign, "--data", small_data))
    wide = LeNet(num_classes=12)
    save_checkpoint(foreign, wide)
    assert "fc3.weight has shape (12, 84)" in sentence(call("prune", foreign, "--out", tmp_path / "x"))
    foreign.write_bytes(b"junk")
    assert "it is damaged or something else" in sentence(call("finetune", foreign, "--out", tmp_path / "x"))

    assert "is missing" in sentence(call("demo", "--data", tmp_path, "--out", tmp_path / "out"))
    for share, text in (("fc1.weight=2", "expected 0 to 1"), ("fc9.weight=0.5", "no such weight: ['fc9.weight']")):
        assert text in sentence(call("prune", LENET_CHECKPOINT, "--sparsity", share, "--out", tmp_path / "x"))
    assert not (tmp_path / "x").exists()
    assert "expected 1 to" in sentence(call("--threads", 4096, "evaluate", LENET_CHECKPOINT))
    bad_usage = call("prune", LENET_CHECKPOINT, "--sparsity", "fc1.weight", "--out", tmp_path / "x")
    assert bad_usage.exit_code == 2
    assert "is not NAME=SHARE" in bad_usage.stderr


def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path, small_data):
    (tmp_path / "file").write_text("in the way")
    line = sentence(call("train", "--data", small_data, "--epochs", 1, "--out", tmp_path / "file" / "a.safetensors"))
    assert str(tmp_path / "file") in line


def test_a_diverging_run_stops_with_epoch_and_step(small_data, tmp_path):
    with np.errstate(all="ignore"):
        result = call("train", "--data", small_data, "--epochs", 1, "--lr", 1e6, "--out", tmp_path / "a")
    assert "in epoch 1, step" in sentence(result, code=1)


def test_a_full_disk_is_one_sentence(small_data, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = call("train", "--data", small_data, "--epochs", 1, "--out", tmp_path / "a.safetensors")
    assert "No space left on device" in sentence(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to a child is POSIX's")
def test_ctrl_c_leaves_a_readable_checkpoint_and_says_where(small_data, tmp_path):
    out = tmp_path / "a.safetensors"
    command = [
        sys.executable,
        "-m",
        "minigrad.compression.cli",
        "train",
        "--data",
        str(small_data),
        "--epochs",
        "100000",
    ]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child would inherit that it is ignored
    try:
        process = subprocess.Popen(
            [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        for _ in range(3):  # lines: all kernels are compiled by then, and Numba swallows an interrupt while it compiles
            assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, errors
    assert f"interrupted; the last good checkpoint is {out}" in " ".join(errors.split())
    assert "Traceback" not in errors
    assert load_checkpoint(out, LeNet())["epoch"] >= 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_ctrl_c_before_the_first_checkpoint_says_so(small_data, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.main_job, "fit", interrupt)
    result = call("train", "--data", small_data, "--out", tmp_path / "a")
    assert "interrupted; no checkpoint was written yet" in sentence(result, code=130)


def test_small_datasets_work_and_the_report_comes_before_the_figures(tmp_path, small_training, small_test):
    tiny = write_dataset(tmp_path / "tiny", small_training.subset(slice(10)), small_test.subset(slice(5)))
    result = call("demo", "--data", tiny, "--epochs", 1, "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "demo" / "digits.png").exists()
    pruned = tmp_path / "demo" / "pruned.safetensors"
    assert call("finetune", pruned, "--data", tiny, "--epochs", 1, "--out", tmp_path / "a").exit_code == 0


def test_foreign_metadata_travels_along(tmp_path):
    save_checkpoint(tmp_path / "a", LeNet(), path="x", epoch="many")
    assert call("prune", tmp_path / "a", "--out", tmp_path / "b").exit_code == 0
    assert read_checkpoint(tmp_path / "b")[1]["path"] == "x"


def test_an_output_folder_is_refused_before_any_work(tmp_path, small_data):
    line = sentence(call("train", "--data", small_data, "--epochs", 100_000, "--out", tmp_path))
    assert "expected the name of a file, and it is a folder" in line


def test_traceback_shows_where_an_error_came_from(tmp_path):
    result = call("--traceback", "evaluate", tmp_path / "nowhere")
    assert isinstance(result.exception, FileNotFoundError)


def test_a_diverging_run_says_nothing_but_its_sentence(small_data, tmp_path):
    command = [sys.executable, "-m", "minigrad.compression.cli", "train", "--data", str(small_data), "--lr", "1e6"]
    result = subprocess.run([*command, "--out", str(tmp_path / "a")], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line and "compiling kernels" not in line]
    assert len(lines) == 1, result.stderr
    assert "in epoch 1, step" in lines[0]


def test_the_recipe_is_the_articles(demo):
    """The first loss of the committed checkpoint's own run pins learning rate, momentum, batch size and seed."""
    recipe = cli.main_job.Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.momentum, recipe.seed) == (5, 64, 0.01, 0.5, 0)


def test_the_last_epoch_is_the_last(small_training, small_test):
    told = []
    recipe = cli.main_job.Recipe(epochs=3, lr=0.05)
    result = cli.main_job.run(recipe, small_training, small_test, lambda *a, **k: None, told.append)
    shown = [line.split("test accuracy ")[1].split(" %")[0] for line in told if line.startswith("fine-tune")]
    assert f"{result.stages[2].last_epoch['accuracy']:.2f}" == shown[-1]
    assert f"{result.stages[2].accuracy:.2f}" == max(shown)


def test_choosing_on_test_makes_no_claim_about_held_out_images(small_data, tmp_path):
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    assert call("train", "--hold-out", "--data", small_data, "--epochs", 1, "--out", base).exit_code == 0
    arguments = ("--data", small_data, "--epochs", 1, "--choose-on", "test", "--out", tuned)
    assert call("finetune", base, *arguments).exit_code == 0
    assert "held_out" not in read_checkpoint(tuned)[1]
