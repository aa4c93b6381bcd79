"""Outputs of executed notebooks, put below the cells that have the same code."""

import json

import pytest

from minigrad.compression.course import read_notebook
from tools.docs import notebooks


def code(source, outputs=(), **metadata):
    return {"cell_type": "code", "source": source, "outputs": list(outputs), "metadata": metadata}


def prose(source):
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def notebook(*cells):
    return {"cells": list(cells), "metadata": {}}


def picture():
    return {"output_type": "display_data", "data": {notebooks.WIDGETS: {}, "text/html": "<img>"}}


def test_a_translation_gets_the_outputs_of_equal_code_without_widgets():
    run = notebook(prose("# One"), code("a", [{"name": "stdout", "text": "1"}]), code("b", [picture()]))
    translated = notebook(prose("# 一"), code("b"), code("new"), code("a"))
    cells = notebooks.with_outputs(translated, run)["cells"]
    assert [cell.get("outputs") for cell in cells] == [
        None,
        [{"output_type": "display_data", "data": {"text/html": "<img>"}}],
        [],
        [{"name": "stdout", "text": "1"}],
    ]


def test_the_first_cell_and_solutions_are_folded_and_pictures_named_by_their_heading():
    page = notebook(
        prose("# Title"),
        code("import os"),
        prose("Text.\n\n## Pruning"),
        code("plot()"),
        code("k = 4", nbgrader={"solution": True}),
        code("check()", nbgrader={"solution": False}),
    )
    cells = notebooks.for_reading(page, "Preparation", "A solution", "Figure of: ")["cells"]
    found = [(cell["metadata"].get("tags"), cell["metadata"].get("mystnb")) for cell in cells]
    folded, picture = ["hide-input"], {"alt": "Figure of: Pruning"}
    assert found == [
        (None, None),
        (folded, {"image": {"alt": "Figure of: Title"}} | dict.fromkeys(PROMPTS, "Preparation")),
        (None, None),
        (None, {"image": picture}),
        (folded, {"image": picture} | dict.fromkeys(PROMPTS, "A solution")),
        (None, {"image": picture}),
    ]


PROMPTS = ("code_prompt_show", "code_prompt_hide")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A checkout with one notebook, and a runner that counts its runs."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "EXECUTED", tmp_path / "executed")
    (tmp_path / "minigrad").mkdir()
    path = tmp_path / "00_first.ipynb"
    path.write_text(json.dumps(notebook(prose("# One"), code("a"))))
    runs = []

    def run(path):
        runs.append(path.name)
        return notebook(prose("# One"), code(read_notebook(path)["cells"][1]["source"], [{"text": f"run {len(runs)}"}]))

    monkeypatch.setattr(notebooks, "run", run)
    return path


def outputs(path, **settings):
    return notebooks.executed(path, **settings)["cells"][1]["outputs"]


def test_a_notebook_is_run_once(course):
    assert outputs(course) == outputs(course) == [{"text": "run 1"}]


def test_it_is_run_again_when_its_code_changes_but_not_for_its_prose(course):
    assert outputs(course) == [{"text": "run 1"}]
    course.write_text(json.dumps(notebook(prose("# Another title"), code("a"))))
    assert outputs(course) == [{"text": "run 1"}]
    course.write_text(json.dumps(notebook(prose("# One"), code("b"))))
    assert outputs(course, stale=True) == [{"text": "run 1"}]
    assert outputs(course) == [{"text": "run 2"}]


def test_it_is_run_again_when_a_source_of_the_packages_changes(course):
    assert outputs(course) == [{"text": "run 1"}]
    (course.parent / "minigrad" / "new.py").write_text("x = 1\n")
    assert outputs(course) == [{"text": "run 2"}]
