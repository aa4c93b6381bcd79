"""The first cell of the notebooks: it finds the course in every place where a notebook is opened, and installs once."""

import site
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from minigrad.compression import course

NOTEBOOKS = course.list_notebooks(Path(__file__).resolve().parents[2] / "notebooks")
CELLS = course.read_notebook(NOTEBOOKS["00"])["cells"]
FIRST = next(cell["source"] for cell in CELLS if cell["cell_type"] == "code")


@pytest.fixture
def steps(monkeypatch):
    """What is done besides finding; nothing is installed, and the process goes back to its folder."""
    calls = []
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append((command, check)))
    monkeypatch.setattr(site, "main", lambda: calls.append("paths read again"))
    return calls


def folder_with_checks(path):
    (path / "checks").mkdir(parents=True)
    (path / "checks" / "checking.py").touch()


def start(monkeypatch, folder, installed):
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(
        metadata, "distributions", lambda name: ["found"] * (name == "minigrad-compression") * installed
    )
    monkeypatch.chdir(folder)
    exec(FIRST, {})  # noqa: S102


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize(
    ("opened_in", "course_in"),
    [
        ("minigrad/notebooks", "minigrad/notebooks"),
        ("minigrad/notebooks/zh", "minigrad/notebooks"),
        ("minigrad", "minigrad/notebooks"),
        ("minigrad/tests/deep", "minigrad/notebooks"),
        ("minigrad/my-course", "minigrad/my-course"),
        ("minigrad/my-course/zh", "minigrad/my-course"),
        (".", "minigrad/notebooks"),  # Colab, after !git clone
    ],
)
def test_the_course_is_found_and_installed_if_it_must_be(opened_in, course_in, installed, tmp_path, monkeypatch, steps):
    folder_with_checks(tmp_path / "minigrad" / "notebooks")
    folder_with_checks(tmp_path / "minigrad" / "my-course")
    start(monkeypatch, tmp_path / opened_in, installed)
    assert Path.cwd() == tmp_path / course_in
    assert sys.path[0] == str(tmp_path / course_in)
    if installed:
        assert steps == []
    else:
        (command, check), last = steps
        assert command == [sys.executable, "-m", "pip", "install", "-q", "-e", tmp_path / "minigrad"]
        assert check, "an installation that fails must stop the notebook"
        assert last == "paths read again"
        assert sys.path[-1] == str(tmp_path / "minigrad"), "a clone called minigrad is no package: the one inside it is"


def test_a_students_folder_elsewhere_needs_no_clone_where_minigrad_is_installed(tmp_path, monkeypatch, steps):
    folder_with_checks(tmp_path / "mine")
    start(monkeypatch, tmp_path / "mine", installed=True)
    assert Path.cwd() == tmp_path / "mine"
    assert steps == []


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_clone_a_sentence_says_what_to_do(installed, tmp_path, monkeypatch, steps):
    if not installed:
        folder_with_checks(tmp_path)  # the checks alone do not help
    with pytest.raises(FileNotFoundError, match="clone it, on Colab by !git clone in a cell of its own, then run this"):
        start(monkeypatch, tmp_path, installed)
    assert steps == []


def test_a_file_or_a_closed_folder_beside_the_notebook_does_no_harm(tmp_path, monkeypatch, steps):
    folder_with_checks(tmp_path / "clone" / "notebooks")
    (tmp_path / "a.txt").touch()
    (tmp_path / "closed").mkdir(mode=0)
    start(monkeypatch, tmp_path, installed=True)
    assert Path.cwd() == tmp_path / "clone" / "notebooks"
    (tmp_path / "closed").chmod(0o700)
