"""`minigrad compress`."""

import json
from dataclasses import replace

import pytest

from minigrad import read_checkpoint
from minigrad.compression import search
from minigrad.compression.cli_base import HELD_OUT
from minigrad.compression.cli_compress import MILLISECONDS, PERCENT, SIZE
from minigrad.compression.coding import read_mgz
from minigrad.compression.models import LENET_CHECKPOINT
from minigrad.compression.search import Route, Search
from tests.compression.command_line import call, output
from tests.compression.search.search_cases import PLAN

ONE = replace(PLAN, routes=(Route(1, 0.5),), kept=(0.1,))


@pytest.fixture(autouse=True)
def small_plan(monkeypatch):
    monkeypatch.setattr(search, "QUICK", ONE)


@pytest.fixture
def asked(tmp_path, small_data):
    """The arguments of a quick search, but for the wishes."""
    return ["compress", LENET_CHECKPOINT, "--quick", "--data", small_data, "--runs", tmp_path / "runs"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("8KB", 8000), ("8 kB", 8000), ("8KiB", 8192), ("8192", 8192), ("7.5kb", 7500), ("1.5 MB", 1_500_000), ("900B", 900),
     ("2MiB", 2**21)],
)  # fmt: skip
def test_sizes(text, size):
    assert SIZE.convert(text, None, None) == size


def test_percent_and_milliseconds():
    assert [PERCENT.convert(text, None, None) for text in ("98.3", "98.3 %", "100")] == [98.3, 98.3, 100.0]
    assert [MILLISECONDS.convert(text, None, None) for text in (".3", "0.3ms", "2s", "250 us")] == [
        0.3,
        0.3,
        2000,
        0.25,
    ]


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        *(("--budget", text, f"{text!r} is not a size such as 8KB (8,000 bytes), 8KiB (8,192 bytes) or 8192")
          for text in ("8XB", "-8KB", "0", "small", "8%", "KB", "8K")),
        *(("--min-accuracy", text, f"{text!r} is not an accuracy in percent, such as 98.3")
          for text in ("0.983", "101", "98KB", "nan", "1")),
        *(("--max-latency", text, f"{text!r} is not a time in milliseconds, such as 0.3 or 0.3ms")
          for text in ("soon", "0", "-1", "3 %")),
    ],
)  # fmt: skip
def test_wishes_that_are_none_are_refused(asked, option, text, expected, tmp_path):
    wishes = {"--budget": "8KB", "--min-accuracy": "98"} | {option: text}
    result = call(*asked, *(word for pair in wishes.items() for word in pair))
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())
    assert not (tmp_path / "runs").exists()


def test_a_search_its_end_and_other_wishes_afterwards(asked, tmp_path, monkeypatch):
    result = call(*asked, "--budget", "12KB", "--min-accuracy", 80)
    assert result.exit_code == 0, result.output
    assert "it has seen the held-out images" in result.stderr
    folder = tmp_path / "runs" / "quick"
    report = json.loads((folder / "compress.json").read_text())
    assert result.output.count("held-out accuracy") >= 4
    assert f"chosen: {report['chosen']}" in result.output
    assert f"Written to {folder}: compress.mgz, compress.json, compress.png." in result.output
    assert read_mgz(folder / "compress.mgz").size <= 12_000
    assert report["wishes"] == {"budget": 12_000, "accuracy": 80.0, "milliseconds": None}
    monkeypatch.setattr(Search, "_train_", lambda *_: pytest.fail("trains"))
    result = call(*asked, "--budget", 500, "--min-accuracy", 80, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "Error: compress: none of 4 candidates meets 500 bytes, 80 %" in result.stderr
    assert "frontier" in result.output
    assert f"Written to {tmp_path / 'out'}: compress.json, compress.png." in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compress.json", "compress.png"]
    result = call(*asked, "--budget", "12KB", "--min-accuracy", 80, "--seed", 1)
    assert result.exit_code == 2
    assert "holds the search of other settings; give another folder with --runs, or delete it" in result.stderr


def test_without_a_checkpoint_a_lenet_is_trained_first(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "QUICK", replace(ONE, kept=()))
    arguments = [
        "--quick",
        "--budget",
        "50KB",
        "--min-accuracy",
        5,
        "--seed",
        3,
        "--runs",
        tmp_path,
        "--data",
        small_data,
    ]
    first = call("compress", *arguments)
    assert first.exit_code in (0, 1), first.output  # so few images may teach it nothing
    assert "training a LeNet: 5 epochs, seed 3" in first.output
    assert "has seen the held-out images" not in first.stderr
    _, metadata = read_checkpoint(tmp_path / "quick" / "fresh.safetensors")
    assert metadata[HELD_OUT] is True
    assert metadata["seed"] == 3
    trained = tmp_path / "train.safetensors"
    output("train", "--hold-out", "--seed", 3, "--data", small_data, "--out", trained)
    assert trained.read_bytes() == (tmp_path / "quick" / "fresh.safetensors").read_bytes()
    again = call("compress", *arguments)
    assert "training a LeNet" not in again.output
    assert again.exit_code == first.exit_code


def test_interrupted_it_says_how_to_go_on(asked, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    wishes = ["--budget", "12KB", "--min-accuracy", 80]
    with monkeypatch.context() as patched:
        patched.setattr(Search, "candidate", interrupted)
        result = call(*asked, *wishes)
    assert result.exit_code == 130
    assert f"finished runs are in {tmp_path / 'runs' / 'quick'}, and the same command goes on" in result.stderr
    assert call(*asked, *wishes).exit_code == 0
