"""`minigrad repro`: reports, resuming, errors."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from minigrad.compression import cli_repro
from minigrad.compression.cli import main
from minigrad.compression.repro import HAN2015, LOTTERY, REPRODUCTIONS
from minigrad.errors import NonFiniteLossError


def call(*arguments):
    return CliRunner().invoke(main, ["repro", *(str(a) for a in arguments)])


@pytest.fixture
def short(monkeypatch):
    """Make the quick runs shorter still."""
    for reproduction in (HAN2015, LOTTERY):
        changes = {"epochs": 1, "rounds": 1, "images": 300}
        changes |= {"round_epochs": 1} if reproduction is HAN2015 else {"reinitialised": (1,)}
        quick = {part: replace(plan, **changes) for part, plan in reproduction.quick.items()}
        monkeypatch.setitem(REPRODUCTIONS, reproduction.name, replace(reproduction, quick=quick))
    commands = {name: cli_repro._command(reproduction) for name, reproduction in REPRODUCTIONS.items()}
    monkeypatch.setattr(cli_repro.repro, "commands", commands)


def quick(name, tmp_path, small_data, *arguments):
    return call(
        name, "--quick", "--runs", tmp_path / "runs", "--out", tmp_path / "out", "--data", small_data, *arguments
    )


def test_the_report_the_page_and_the_figures_are_written(short, tmp_path, small_data):
    result = quick("han2015", tmp_path, small_data)
    assert result.exit_code == 0, result.output
    assert "\nLeNet-5\n" in result.output
    assert "\ntest error, pruned (%)" in result.output
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"han2015.json", "han2015.md", "han2015_fc1_map.png", "han2015_conv1.png"}
    report = json.loads((tmp_path / "out" / "han2015.json").read_text())
    assert (report["quick"], report["seeds"], report["failed"]) == (True, [0], [])
    assert report["deviations"] == list(HAN2015.deviations)
    page = (tmp_path / "out" / "han2015.md").read_text()
    assert all(f"- {sentence}\n" in page for sentence in HAN2015.deviations)
    assert "](han2015_fc1_map.png)" in page


def test_a_second_call_computes_nothing_and_more_seeds_only_what_is_missing(short, tmp_path, small_data):
    assert quick("lottery", tmp_path, small_data).exit_code == 0
    before = (tmp_path / "out" / "lottery.json").read_bytes()
    again = quick("lottery", tmp_path, small_data)
    assert "1 of 1 runs are there already: LeNet-300-100-seed-0" in again.output
    assert (tmp_path / "out" / "lottery.json").read_bytes() == before
    more = quick("lottery", tmp_path, small_data, "--seeds", 2)
    assert "1 of 2 runs are there already" in more.output
    assert "LeNet-300-100, seed 1: done" in more.output
    assert (tmp_path / "out" / "lottery.png").is_file()


def test_other_processes_give_the_same_results(short, tmp_path, small_data):
    for number, how in (("1", "serial"), ("2", "processes:2")):
        folder = tmp_path / number
        result = quick("lottery", folder, small_data, "--seeds", 2, "--executor", how)
        assert result.exit_code == 0, result.output
    reports = [json.loads((tmp_path / w / "out" / "lottery.json").read_text()) for w in "12"]
    one, two = ([run["results"] for run in report["runs"]] for report in reports)
    assert one == two
    assert one[0] != one[1]


def test_a_failed_run_is_told_in_one_sentence_and_the_others_are_reported(short, tmp_path, small_data, monkeypatch):
    work = HAN2015.work

    def half(job):
        if job.part == "LeNet-300-100":
            raise NonFiniteLossError("the loss is nan")
        return work(job)

    monkeypatch.setitem(REPRODUCTIONS, "han2015", replace(REPRODUCTIONS["han2015"], work=half))
    monkeypatch.setitem(cli_repro.repro.commands, "han2015", cli_repro._command(REPRODUCTIONS["han2015"]))
    result = quick("han2015", tmp_path, small_data)
    assert result.exit_code == 1
    assert "Error: 1 of 2 runs failed, the first with part LeNet-300-100, seed 0: NonFiniteLossError" in result.stderr
    report = json.loads((tmp_path / "out" / "han2015.json").read_text())
    assert [failure["part"] for failure in report["failed"]] == ["LeNet-300-100"]
    assert {row["part"] for row in report["rows"]} == {"LeNet-5"}


def test_ctrl_c_says_where_the_finished_runs_are(short, tmp_path, small_data, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_repro, "reproduce", interrupted)
    result = quick("lottery", tmp_path, small_data)
    assert result.exit_code == 130
    assert f"interrupted; finished runs are in {tmp_path / 'runs' / 'lottery-quick'}" in result.stderr


def test_wrong_arguments_end_in_a_sentence(tmp_path, small_data):
    assert "No such command 'han2016'" in call("han2016").output
    assert call("lottery", "--seeds", 0).exit_code == 2
    missing = quick("lottery", tmp_path, tmp_path / "nothing")
    assert missing.exit_code == 1
    assert "runs failed" in missing.stderr
    assert "expected the four gzipped IDX files" in missing.stderr
    (tmp_path / "file").write_text("")
    result = call("lottery", "--quick", "--runs", tmp_path / "file", "--data", small_data)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
