"""The benchmarks' scripts start, their targets are the agreed ones, and their figures are worked out right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
LIBRARIES = ("common.py", "epochs.py")
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name not in LIBRARIES)

LIMITS = {
    "train": 0.40, "inference_64": 0.9, "inference_1000": 0.9, "mlp": 1.05, "caffe_lenet": 1.0, "conv": 1.2,
    "scalar_10000": 1.5, "scalar_500": 1.0,
    "sparse_scipy": 0.4, "sparse_torch": 1.0, "sparse_dense": 1.0, "sparse_fc1": 1.0,
    "sparse_planned": 1.0, "sparse_lenet": None, "surgery_64": 0.6, "surgery_1000": 0.6,
    "integer_int8_64": 0.2, "integer_float_64": 0.5, "integer_onnx_64": 0.4, "integer_plain_64": 1.5,
    "integer_int8_1000": 0.2, "integer_float_1000": 0.5, "integer_onnx_1000": 0.4, "integer_plain_1000": 1.5,
    "integer_int8_1": 1.0,
    "binary_64": 0.25, "binary_1000": 0.25,
    "data_parallel": None,
    "import": 0.7, "compile": 30, "first_step": 2, "memory": 900,
    "scaling_batch": None, "scaling_pixels": None, "scaling_channels": None,
}  # fmt: skip


@pytest.fixture
def load(monkeypatch):
    """Import a benchmark's module by name, and forget it afterwards."""
    monkeypatch.syspath_prepend(FOLDER)
    loaded = {path.stem for path in FOLDER.glob("*.py")}
    assert not loaded & set(sys.modules)
    yield __import__
    for name in loaded & set(sys.modules):
        del sys.modules[name]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_tells_its_options(script):
    """It does so at once: what it compares is imported only when it measures."""
    result = subprocess.run([sys.executable, FOLDER / script, "--help"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--json FILE" in result.stdout


def test_the_targets_are_the_agreed_ones(load):
    assert {key: target.limit for key, target in load("common").TARGETS.items()} == LIMITS


def test_every_script_and_every_target_is_in_the_table(load):
    run = load("run")
    assert sorted(f"{name}.py" for name in [*run.BENCHMARKS, "run"]) == SCRIPTS
    assert [key for keys in run.BENCHMARKS.values() for key in keys] == list(LIMITS)


def test_turns_alternate_and_the_first_round_only_warms_up(load, monkeypatch):
    common, turns = load("common"), []
    monkeypatch.setattr(common, "PAUSE", 0)
    monkeypatch.setattr(common.gc, "collect", lambda: turns.append("|"))
    seconds = common.take_turns(lambda: turns.append("a"), lambda: turns.append("b"), rounds=2, calls=2)
    assert "".join(turns) == "|aa|bb" * 3
    assert [len(times) for times in seconds.values()] == [2, 2]


def test_turns_of_a_given_time_begin_with_untimed_calls(load, monkeypatch):
    common, now, turns = load("common"), [0.0], []
    monkeypatch.setattr(common.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(common.time, "sleep", lambda seconds: turns.append("|"))

    def work(name, seconds):
        def call():
            turns.append(name)
            now[0] += seconds

        return call

    sides = {"a": work("a", 0.25), "b": work("b", 0.5), "c": work("c", 3.0)}
    seconds = common.rotate(sides, rounds=2, turn=1.0)
    assert "".join(turns) == "abc" + "|aaaaaa|bbb|cc" * 2  # half the time untimed, at least one call of each kind
    assert seconds == {"a": [0.25] * 2, "b": [0.5] * 2, "c": [3.0] * 2}


def test_a_ratio_compares_each_turn_with_the_one_beside_it(load):
    row = load("common").make_row("conv", [{"ours": [1.0, 6.0, 2.0], "theirs": [2.0, 4.0, 2.0]}])
    assert (row["value"], row["low"], row["high"], row["met"]) == (1.0, 0.5, 1.5, True)
    assert (row["ours_seconds"], row["theirs_seconds"]) == (2.0, 2.0)


def test_of_several_processes_the_other_sides_best_counts(load):
    runs = [{"ours": [1.0, 3.0, 2.0], "theirs": [8.0, 9.0, 7.0]}, {"ours": [2.0, 2.0, 2.0], "theirs": [4.0, 1.0, 5.0]}]
    row = load("common").make_row("train", runs)
    assert (row["value"], row["low"], row["high"], row["met"]) == (0.5, 0.25, 0.75, False)
    assert row["against"] == "PyTorch eager, best of 2 processes"


def test_a_row_in_words(load):
    common = load("common")
    missed = common.make_row("conv", [{"ours": [0.03, 0.05, 0.04], "theirs": [0.02, 0.02, 0.02]}])
    assert common.sentence(missed) == (
        "conv2d forward and backward, 3×3, 32→64, 32×32, batch 64: minigrad 40 ms, PyTorch eager 20 ms, "
        "ratio 2.00 (1.50–2.50), target ≤ 1.2: missed"
    )
    memory = common.make_row("memory", [{"values": [512.4]}])
    assert common.sentence(memory) == "peak memory of minigrad demo: 512 MB, target ≤ 900 MB: met"
    assert common.sentence(common.make_row("scaling_batch", [{"values": [1.25]}])).endswith("by batch size: 1.25 ×")


def test_sides_that_differ_are_not_timed(load):
    common = load("common")
    common.check_same("loss", [1.0, 2.0], [1.0, 2.0001])
    with pytest.raises(SystemExit, match=r"^loss: the two sides do not compute the same \(they differ by 0\.5\)$"):
        common.check_same("loss", [1.0, 2.0], [1.0, 2.5])
    with pytest.raises(SystemExit, match=r"they differ by \(1,\) and \(2,\)"):
        common.check_same("loss", [1.0], [1.0, 1.0])


def test_a_benchmark_runs_in_a_clean_process_and_writes_its_figures(load, tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, sys\nsys.path.append({str(FOLDER)!r})\nfrom common import main, make_parser\n"
        "def measure(options):\n"
        "    dirty = 'OPENBLAS_CORETYPE' in os.environ or os.environ['OPENBLAS_NUM_THREADS'] != '1'\n"
        "    return {'conv': {'ours': [1.0] * options.rounds, 'theirs': [4.0 if dirty else 2.0] * options.rounds}}\n"
        "main(measure, make_parser('no more than an example'))\n"
    )
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    command = [sys.executable, script, "--json", tmp_path / "figures.json", "--rounds=3", "--threads=1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"minigrad {minigrad.__version__}" in result.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["rows"]["conv"]["value"] == 0.5
    assert figures["runs"] == [{"conv": {"ours": [1.0] * 3, "theirs": [2.0] * 3}}]


def test_the_table_says_what_was_met_missed_and_failed(load):
    common, run = load("common"), load("run")
    rows = {"mlp": common.make_row("mlp", [{"ours": [1.0], "theirs": [2.0]}])}
    lines = run.table({"mlp": {"rows": rows}, "conv": None}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["work", "against", "target", "measured", ""]
    assert cells[2] == ["MLP 784-1200-1200-10, training, batch 100", "PyTorch eager", "≤ 1.05", "0.50", "met"]
    assert cells[3][-1] == "failed"
    assert len({len(line) for line in lines}) == 1


def test_the_line_through_measured_points(load):
    fixed, slope = load("scaling").fit([1, 2, 4, 8], [5.0, 7.0, 11.0, 19.0])
    assert (round(fixed, 9), round(slope, 9)) == (3, 2)


def test_micrograds_algorithm_gives_the_gradients(load):
    module = load("scalar_graph")
    y, x_grad, a_grad, b_grad = module.chain(module.Value, 4)  # ((x + a) * b + a) * b
    x, a, b = 1.0, 0.001, 0.9995
    expected = [((x + a) * b + a) * b, b * b, b * b + b, 2 * (x + a) * b + a]
    assert [y.data, x_grad, a_grad, b_grad] == pytest.approx(expected, rel=1e-12)
