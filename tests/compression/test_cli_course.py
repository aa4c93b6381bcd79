"""`minigrad course`."""

import importlib.util
import json
import sys
import types

import pytest
from click.testing import CliRunner

from minigrad.compression import course
from minigrad.compression.cli import main

from .command_line import call, output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIGRAD_PROGRESS", raising=False)
    return tmp_path / "mine"


@pytest.fixture
def started(monkeypatch):
    """What JupyterLab is started with, in a stand-in for it."""
    calls = []
    lab = types.ModuleType("jupyterlab.labapp")
    lab.LabApp = types.SimpleNamespace(launch_instance=calls.append)
    monkeypatch.setitem(sys.modules, "jupyterlab", types.ModuleType("jupyterlab"))
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", lab)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return calls


def test_open_writes_all_copies_and_starts_jupyterlab_on_one(folder, started):
    count = len(course.list_notebooks(course.find_notebooks()))
    said = output("course", "open", "5", "--folder", folder, "--no-browser")
    assert said == f"{count} notebooks were written to {folder}, 0 kept.\n"
    assert started == [[str(folder / "05_pruning.ipynb"), "--no-browser"]]
    assert (folder / "checks" / "exercises_05.py").exists()
    assert all("### BEGIN SOLUTION" not in path.read_text() for path in folder.glob("*.ipynb"))

    (folder / "05_pruning.ipynb").write_text("mine")
    said = output("course", "open", "05", "--folder", folder, "--", "--port", "9999")
    assert said == f"0 notebooks were written to {folder}, {count} kept.\n"
    assert started[1:] == [[str(folder / "05_pruning.ipynb"), "--port", "9999"]]
    assert (folder / "05_pruning.ipynb").read_text() == "mine"


def test_without_jupyterlab_the_copies_are_there_and_a_sentence_names_the_extra(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = call("course", "open", "05", "--folder", folder)
    assert result.exit_code == 2
    assert "JupyterLab is not installed: run `make course`, or pip install -e '.[notebooks]'." in result.output
    said = output("course", "open", "05", "--folder", folder, "--no-lab")
    assert said.endswith(f"Open {folder / '05_pruning.ipynb'} in any program that runs notebooks.\n")


def test_list_and_progress_say_what_was_passed(folder, tmp_path):
    folder.mkdir()
    for name, passed in (("05-1", False), ("05-1", True), ("05-2", False)):
        course.record_attempt(folder / "progress.json", name, passed)
    lines = output("course", "list", "--folder", folder).splitlines()
    assert lines[0] == "passed    notebook"
    assert "1 of 4    05 · Pruning: LeNet with three quarters of its weights removed" in lines
    assert any(line.startswith("0 of 4    01 · ") for line in lines)

    own = output("course", "progress", "--folder", folder)
    (head, names, _, first, second) = own.splitlines()
    assert head == f"{folder / 'progress.json'}: 1 passed, 2 tried"
    assert names.split("  ")[0] == "exercise"
    assert first.split()[:3] == ["05-1", "yes", "2"]
    assert second.split()[:3] == ["05-2", "no", "1"]

    handed_in = tmp_path / "other.json"
    handed_in.write_text((folder / "progress.json").read_text())
    both = output("course", "progress", folder, handed_in)
    assert both == own + own.replace(str(folder / "progress.json"), str(handed_in))
    nothing = output("course", "progress", "--folder", tmp_path / "nobody")
    assert nothing == f"{tmp_path / 'nobody' / 'progress.json'}: 0 passed, 0 tried\n"


def test_reset_asks_and_keeps_a_backup(folder):
    output("course", "open", "05", "--folder", folder, "--no-lab")
    path = folder / "05_pruning.ipynb"
    path.write_text("mine")
    assert call("course", "reset", "05", "--folder", folder).exit_code == 1, "nobody answers"
    said = CliRunner().invoke(main, ["course", "reset", "05", "--folder", str(folder)], input="n\n").output
    assert said.startswith(f"Replace {path} by a fresh copy, and forget its attempts? A backup is kept. [y/N]: n\n")
    assert said.endswith("Nothing was changed.\n")
    assert path.read_text() == "mine"

    said = output("course", "reset", "5", "--folder", folder, "--yes")
    (backup,) = (folder / "backup").iterdir()
    assert said == f"{path} is fresh. The old copy is {backup}.\n"
    assert backup.read_text() == "mine"
    assert json.loads(path.read_text())["cells"]


def test_a_notebook_that_does_not_exist_is_named(folder):
    result = call("course", "reset", "77", "--folder", folder, "--yes")
    assert result.exit_code == 2
    assert "there is no notebook 77: the course has " in result.output
    assert not folder.exists()


@pytest.fixture
def bilingual(tmp_path, monkeypatch):
    """A course of one notebook, in two languages."""
    source = tmp_path / "clone" / "notebooks"
    (source / "checks").mkdir(parents=True)
    for place, heading in ((source, "# 05 · Pruning"), (source / "zh", "# 05 · 剪枝")):
        place.mkdir(exist_ok=True)
        cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": heading}
        (place / "05_pruning.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}}))
    monkeypatch.setattr("minigrad.compression.cli_course.find_notebooks", lambda: source)


@pytest.mark.usefixtures("bilingual")
def test_the_course_in_chinese(folder, started):
    assert output("course", "list", "--language", "zh", "--folder", folder).endswith("0 of 0    05 · 剪枝\n")
    assert "剪枝" not in output("course", "list", "--folder", folder)
    said = output("course", "open", "5", "--language", "zh", "--folder", folder)
    path = folder / "zh" / "05_pruning.ipynb"
    assert said == f"1 notebooks were written to {folder / 'zh'}, 0 kept.\n"
    assert started == [[str(path)]]
    assert not (folder / "05_pruning.ipynb").exists()
    said = output("course", "reset", "05", "--language", "zh", "--folder", folder, "--yes")
    assert said.startswith(f"{path} is fresh. The old copy is {folder / 'zh' / 'backup'}")


@pytest.mark.usefixtures("bilingual")
@pytest.mark.parametrize("command", [["list"], ["open", "05"], ["reset", "05", "--yes"]])
def test_a_language_without_notebooks_is_named(command, folder):
    result = call("course", *command, "--language", "fr", "--folder", folder)
    assert result.exit_code == 2
    assert "the course is not written in the language 'fr': there is en, zh" in result.output
    assert not folder.exists()
