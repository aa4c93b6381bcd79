"""A student's copies of the notebooks, and the file of progress."""

import copy
import json

import pytest

from minigrad.compression import course

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
ANSWER = {
    "grade": False,
    "grade_id": "07-1-answer",
    "locked": False,
    "schema_version": 3,
    "solution": True,
    "task": False,
}
CHECK = {
    "grade": True,
    "grade_id": "07-1",
    "locked": True,
    "points": 1,
    "schema_version": 3,
    "solution": False,
    "task": False,
}


def cell(source, kind="code", **metadata):
    more = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "id": f"c{abs(hash(source)) % 10**8}", "metadata": metadata, "source": source, **more}


@pytest.fixture
def notebook():
    cells = [
        cell("# 07 · Sums\n\nSee [docs](../docs/sums.md).", "markdown"),
        cell('open("../results/sums.json")\nprint("a../b")'),
        cell(
            "a = 1\n# total = ...\n### BEGIN SOLUTION\ntotal = a + 1\n### END SOLUTION\nprint(total)", nbgrader=ANSWER
        ),
        cell('check("07-1", total)', nbgrader=CHECK),
    ]
    return {
        "cells": cells,
        "metadata": {"jupytext": {"formats": "ipynb,py:percent"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.fixture
def source(tmp_path, notebook):
    """A course of two notebooks."""
    folder = tmp_path / "clone" / "notebooks"
    (folder / "checks" / "__pycache__").mkdir(parents=True)
    (folder / "checks" / "__init__.py").write_text("# checks\n")
    (folder / "07_sums.ipynb").write_text(json.dumps(notebook))
    (folder / "08_more.ipynb").write_text(json.dumps(notebook))
    notebook["cells"][0]["source"] = "# 07 · 求和\n\n[文档](../../docs/sums.md)"
    (folder / "zh").mkdir()
    (folder / "zh" / "07_sums.ipynb").write_text(json.dumps(notebook))
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / ".ipynb_checkpoints" / "07_sums-checkpoint.ipynb").write_text(json.dumps(notebook))
    return folder


def test_a_students_version_has_a_line_that_raises_in_place_of_the_solution(notebook):
    before = copy.deepcopy(notebook)
    version = course.student_version(notebook)
    assert version["cells"][2]["source"].splitlines() == [
        "a = 1",
        "# total = ...",
        "# YOUR CODE HERE",
        'raise NotImplementedError("Exercise 07-1 has no answer yet: write yours here, in place of this line.")',
        "print(total)",
    ]
    assert version["cells"][2]["metadata"] == {"nbgrader": ANSWER}, "nbgrader finds the cell again"
    assert version["cells"][3] == notebook["cells"][3]
    assert version["metadata"] == {}, "a copy that is paired with a text would be overwritten by it"
    assert notebook == before


def test_what_is_read_and_linked_is_found_from_the_students_folder(notebook):
    version = course.student_version(notebook, "../../clone")
    assert version["cells"][0]["source"].endswith("See [docs](../../clone/docs/sums.md).")
    assert version["cells"][1]["source"] == 'open("../../clone/results/sums.json")\nprint("a../b")'


@pytest.mark.parametrize(
    "source",
    ["a = 1", f"{BEGIN}\na = 1", f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"],
)
def test_a_cell_without_its_two_markers_is_refused(source):
    with pytest.raises(
        ValueError, match="exercise 07-1: expected one line '### BEGIN SOLUTION' and, below it, one '### END"
    ):
        course.blank(source, "07-1")


def test_names_are_those_of_the_cells_that_check(notebook):
    assert course.exercises(notebook) == ["07-1"]
    assert course.title(notebook) == "07 · Sums"


def test_handing_out_keeps_what_a_student_wrote_and_renews_the_checks(source, tmp_path):
    folder = tmp_path / "clone" / "mine" / "deep"
    assert [path.name for path in course.hand_out(source, folder)] == ["07_sums.ipynb", "08_more.ipynb"]
    text = (folder / "07_sums.ipynb").read_text()
    assert "SOLUTION" not in text
    assert "../../results/sums.json" in text
    (folder / "07_sums.ipynb").write_text("mine")
    (folder / "08_more.ipynb").unlink()
    (source / "checks" / "__init__.py").write_text("# better checks\n")
    assert [path.name for path in course.hand_out(source, folder)] == ["08_more.ipynb"]
    assert (folder / "07_sums.ipynb").read_text() == "mine"
    assert (folder / "checks" / "__init__.py").read_text() == "# better checks\n"
    assert not (folder / "checks" / "__pycache__").exists()


def test_handing_out_into_the_courses_own_folder_is_refused(source):
    before = (source / "07_sums.ipynb").read_text()
    with pytest.raises(ValueError, match="is the course's own folder: choose another one"):
        course.hand_out(source, source.parent / "." / "notebooks")
    assert (source / "07_sums.ipynb").read_text() == before


def test_chinese_copies_lie_in_a_folder_of_their_own_and_share_checks_and_progress(source, tmp_path):
    folder = tmp_path / "clone" / "mine"
    course.hand_out(source, folder)
    english = (folder / "07_sums.ipynb").read_text()
    (folder / "checks" / "__init__.py").unlink()
    assert course.hand_out(source, folder, "zh") == [folder / "zh" / "07_sums.ipynb"]
    assert course.hand_out(source, folder, "zh") == []
    assert (folder / "07_sums.ipynb").read_text() == english
    assert (folder / "checks" / "__init__.py").exists()
    assert not (folder / "zh" / "checks").exists()

    chinese = course.read_notebook(folder / "zh" / "07_sums.ipynb")["cells"]
    assert [c["source"] for c in chinese[1:]] == [c["source"] for c in json.loads(english)["cells"][1:]]
    assert "raise NotImplementedError" in chinese[2]["source"]

    course.record_attempt(folder / "progress.json", "07-1", passed=True)
    old = course.reset(source, folder, "07", "zh")
    assert old.parent == folder / "zh" / "backup"
    assert (folder / "zh" / "07_sums.ipynb").exists()
    assert (folder / "07_sums.ipynb").read_text() == english
    assert course.read_progress(folder / "progress.json") == {}


@pytest.mark.parametrize("place", ["clone/mine", "elsewhere/deep", "clone/notebooks/mine"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_links_and_files_are_found_from_copies_anywhere(source, tmp_path, place, language):
    (source.parent / "docs").mkdir()
    (source.parent / "docs" / "sums.md").touch()
    (source.parent / "results").mkdir()
    (source.parent / "results" / "sums.json").touch()
    folder = tmp_path / place
    course.hand_out(source, folder, language)
    place_of_copy = course.in_language(folder, language)
    prose, code = [cell["source"] for cell in course.read_notebook(place_of_copy / "07_sums.ipynb")["cells"][:2]]
    assert (place_of_copy / prose.rpartition("(")[2].rpartition(")")[0]).samefile(source.parent / "docs" / "sums.md")
    assert (folder / code.split('"')[1]).samefile(source.parent / "results" / "sums.json"), "kernels work in `folder`"


def test_a_language_that_does_not_exist_is_named(source, tmp_path):
    with pytest.raises(ValueError, match=r"^the course is not written in the language 'fr': there is en, zh$"):
        course.hand_out(source, tmp_path / "mine", "fr")
    assert not (tmp_path / "mine").exists()


def test_a_reset_keeps_the_old_copy_and_forgets_one_notebooks_attempts(source, tmp_path):
    folder = tmp_path / "mine"
    course.hand_out(source, folder)
    fresh = (folder / "07_sums.ipynb").read_text()
    (folder / "07_sums.ipynb").write_text("mine")
    for name in ("07-1", "08-1"):
        course.record_attempt(folder / "progress.json", name, passed=True)
    old = [course.reset(source, folder, "07"), course.reset(source, folder, "07")]
    assert [path.read_text() for path in old] == ["mine", fresh], "two resets, two backups"
    assert (folder / "07_sums.ipynb").read_text() == fresh
    assert list(course.read_progress(folder / "progress.json")) == ["08-1"]
    assert list(course.read_progress(old[0].with_suffix(".progress.json"))) == ["07-1", "08-1"]


def test_a_reset_of_a_notebook_that_is_not_there_writes_it(source, tmp_path):
    assert course.reset(source, tmp_path / "mine", "08") is None
    assert (tmp_path / "mine" / "08_more.ipynb").exists()


def test_progress_is_a_list_of_records_without_a_name(tmp_path, monkeypatch):
    path = tmp_path / "elsewhere" / "p.json"
    monkeypatch.setenv("MINIGRAD_PROGRESS", str(path))
    assert course.progress_file(tmp_path) == path
    assert course.record_attempt(path, "07-2", passed=False) == 1
    assert course.record_attempt(path, "07-1", passed=True) == 1
    assert course.record_attempt(path, "07-2", passed=False) == 2
    first, second = json.loads(path.read_text())
    assert set(first) == {"exercise", "attempts", "passed", "time"}
    assert (first["exercise"], first["attempts"], first["passed"]) == ("07-1", 1, True)
    assert (second["exercise"], second["attempts"], second["passed"]) == ("07-2", 2, False)
    assert course.record_attempt(path, "07-1", passed=False) == 1, "what was passed stays passed"
    assert json.loads(path.read_text())[0] == first
    monkeypatch.delenv("MINIGRAD_PROGRESS")
    assert course.progress_file(tmp_path) == tmp_path / "progress.json"


@pytest.mark.parametrize("text", ["", "{", "{}x", "[1]", '[{"name": 1}]', '{"a": 1}'])
def test_a_damaged_file_of_progress_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "progress.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"progress\.json is no file of progress, or is damaged: move it away"):
        course.record_attempt(path, "07-1", passed=True)
    assert path.read_text() == text


def test_a_package_installed_without_notebooks_says_where_they_are(tmp_path, monkeypatch, source):
    monkeypatch.setattr(course, "__file__", str(tmp_path / "site-packages" / "minigrad" / "compression" / "course.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match="do not come with the installed package: they are in the folder notebooks"
    ):
        course.find_notebooks()
    monkeypatch.chdir(source.parent)
    assert course.find_notebooks() == source
