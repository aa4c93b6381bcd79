"""The exercises: solutions pass, blanks and catalogued mistakes fail, each with its own sentence.

Exercises are independent of the rest of their notebook: its imports and the answer's cell are enough. So no notebook
is run here, but for the test that takes students' copies from a clean kernel (with --notebooks).
"""

import doctest
import functools
import importlib.util
import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from checks import WrongAnswerError, check, difference, find_task
from minigrad.compression import course

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = {number: course.read_notebook(path) for number, path in course.list_notebooks(FOLDER).items()}
NAMES = [name for notebook in NOTEBOOKS.values() for name in course.exercises(notebook)]
each_exercise = pytest.mark.parametrize("name", NAMES)


def cells_of(number):
    return [cell for cell in NOTEBOOKS[number]["cells"] if cell["cell_type"] == "code"]


def run(source, namespace):
    """Run a cell without IPython's % lines."""
    exec("\n".join(line for line in source.splitlines() if not line.startswith("%")), namespace)  # noqa: S102


@functools.cache
def imports(number):
    """What the second code cell of a notebook defines. Without IPython, which `make test` does not need, nothing is shown."""
    namespace, stand_ins = {}, {}
    if importlib.util.find_spec("IPython") is None:
        stand_ins = {name: types.ModuleType(name) for name in ("IPython", "IPython.display")}
        stand_ins["IPython.display"].display = stand_ins["IPython.display"].IFrame = print
    sys.modules.update(stand_ins)
    try:
        run(cells_of(number)[1]["source"], namespace)
    finally:
        for name in stand_ins:  # other packages look for IPython as well
            del sys.modules[name]
    return namespace


@functools.cache
def solved(name):
    """Run an exercise's solution; return the answer and what was given, as its check is called with them."""
    cells = {course.grade_id(cell): cell["source"] for cell in cells_of(name[:2])}
    calls = []
    namespace = dict(imports(name[:2]))
    run(cells[f"{name}-answer"], namespace)
    namespace["check"] = lambda *answer, **given: calls.append((*answer, given))
    run(cells[name], namespace)
    assert len(calls) == 1, "a cell calls check once"
    return calls[0]


@pytest.fixture(autouse=True)
def progress(tmp_path, monkeypatch):
    """A file of progress of the test's own."""
    monkeypatch.setenv("MINIGRAD_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


def complaint(name, answer, given):
    with pytest.raises(WrongAnswerError) as error:
        check(name, answer, **given)
    return str(error.value)


def test_there_are_forty_exercises_and_three_a_notebook():
    assert len(NAMES) >= 40
    assert len(set(NAMES)) == len(NAMES)
    for number, notebook in NOTEBOOKS.items():
        found = course.exercises(notebook)
        assert found == [f"{number}-{i}" for i in range(1, len(found) + 1)]
        assert len(found) >= 3, f"notebook {number} has {len(found)} exercises"


def test_the_catalogue_has_no_exercise_that_no_notebook_has():
    for path in sorted((FOLDER / "checks").glob("exercises_*.py")):
        module = importlib.import_module(f"checks.{path.stem}")
        functions = [name for name in vars(module) if name.startswith("exercise_")]
        number = path.stem.removeprefix("exercises_")
        assert [f"{number}-{name.removeprefix('exercise_')}" for name in functions] == course.exercises(
            NOTEBOOKS[number]
        )


@each_exercise
def test_the_solution_passes(name, progress, capsys):
    exercise, answer, given = solved(name)
    assert exercise == name
    capsys.readouterr()
    check(exercise, answer, **given)
    assert capsys.readouterr().out == f"Exercise {name}: right.\n"
    (record,) = json.loads(progress.read_text())
    assert (record["exercise"], record["attempts"], record["passed"]) == (name, 1, True)


@each_exercise
def test_the_blank_fails_with_the_sentence_that_asks_for_an_answer(name):
    (cell,) = [
        c for c in course.student_version(NOTEBOOKS[name[:2]])["cells"] if course.grade_id(c) == f"{name}-answer"
    ]
    assert "SOLUTION" not in cell["source"]
    with pytest.raises(NotImplementedError, match=f"^Exercise {name} has no answer yet: write yours here, in place"):
        run(cell["source"], dict(imports(name[:2])))


@each_exercise
def test_each_catalogued_mistake_fails_with_its_own_hint_and_hints_grow(name, progress):
    _, _, given = solved(name)
    task = find_task(name, **given)
    hints = [hint for _, hint in task.mistakes]
    assert len(hints) >= 2
    assert len({*hints, task.hint, task.stronger}) == len(hints) + 2, "each hint is another sentence"
    for wrong, hint in task.mistakes:
        progress.unlink(missing_ok=True)
        first, second, third = [complaint(name, wrong, given) for _ in range(3)]
        assert first.startswith(f"Exercise {name}: ")
        assert "expected" in first
        assert "got" in first
        assert first.count("\n") == 0, "the first attempt is told what differs, no more"
        assert second == f"{first}\nHint: {hint}"
        assert third == f"{second}\nStronger hint: {task.stronger}"


@each_exercise
@pytest.mark.parametrize("nothing", [None, "a text", [[1], [2, 3]], np.full((2, 1), np.nan)], ids=repr)
def test_an_answer_of_the_wrong_kind_is_wrong_too(name, nothing):
    _, _, given = solved(name)
    complaint(name, nothing, given)
    assert "\nHint: " in complaint(name, nothing, given)


@each_exercise
def test_the_second_attempt_at_a_mistake_nobody_foresaw_gets_the_general_hint(name):
    _, _, given = solved(name)
    task = find_task(name, **given)
    if task.judge is None:
        complaint(name, None, given)
        assert complaint(name, None, given).endswith(f"\nHint: {task.hint}")
    else:
        assert task.judge(None), "the judge itself gives the hint"


@pytest.mark.parametrize(
    ("answer", "right", "sentence"),
    [
        (5, 4, "expected a smaller number, got 5"),
        (float("nan"), 4, "expected a finite number, got nan"),
        (4.00001, 4, "expected a smaller number, got 4.00001"),
        ("4", 4, "expected a number, got '4'"),
        ([4], 4, r"expected a number, got \[4\]"),
        (None, 4.0, "expected a number, got None"),
        ([1, 2], (1, 2, 3), r"expected 3 answers in a tuple, got \[1, 2\]"),
        ((1, "up"), (1, "down"), "answer 2 of 2: first wrong index 0: expected 'd', got 'u'"),
        ({"a": 1}, {"a": 1, "b": 2}, "expected a dictionary with the keys a, b, got"),
        ({"a": 1, "b": 3}, {"a": 1, "b": 2}, "b: expected a smaller number, got 3"),
        ("ab", "abc", "expected a text of 3 characters, got 2: 'ab'"),
        (["0", "11"], ["0", "10"], "first wrong index 1: expected '10', got '11'"),
        ([True, True], [True, False], r"first wrong index 1: expected 0, got 1 \(1 of 2 are wrong\)"),
        ([[1, 8], [9, 4]], np.array([[1, 2], [3, 4]]), r"first wrong index \(0, 1\): expected 2, got 8 \(2 of 4 are"),
        ([[1, 2], [3]], np.zeros((2, 2)), r"expected numbers of shape \(2, 2\), got"),
    ],
)  # fmt: skip
def test_a_difference_is_a_sentence(answer, right, sentence):
    assert re.match(sentence, difference(answer, right))


def test_integers_are_compared_exactly_and_other_numbers_nearly():
    assert difference(1_000_000, 1_000_001)
    assert difference(1_000_000.0, 1_000_001.0) is None
    assert difference(2.0, 2) is None
    assert difference([1e-9, 1.0], np.array([0.0, 1.0])) is None
    assert difference(1.001, 1.0)


def test_a_wrong_answer_shows_its_sentence_and_no_traceback():
    error = WrongAnswerError("Exercise 05-1: expected ...")
    assert error._render_traceback_() == ["Not yet. Exercise 05-1: expected ..."]


def test_examples_of_the_checks_run():
    assert doctest.testmod(importlib.import_module("checks.checking")).failed == 0


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_students_notebook_fails_at_its_first_exercise(number, tmp_path, pytestconfig):
    if not pytestconfig.getoption("--notebooks"):
        pytest.skip("runs with --notebooks (make test-notebooks)")
    import nbclient
    import nbformat

    course.hand_out(FOLDER, tmp_path)
    notebook = nbformat.read(course.list_notebooks(tmp_path)[number], as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    client = nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources)
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=f"Exercise {number}-1 has no answer yet"):
        client.execute()
    (failed,) = [c for c in notebook.cells if any(o.output_type == "error" for o in c.get("outputs", []))]
    assert failed.metadata["nbgrader"]["grade_id"] == f"{number}-1-answer"
