"""The course's notebooks: clean as files, equal to their paired texts, and running from top to bottom."""

import ast
import json
from pathlib import Path

import pytest

from tools.docs import notebooks

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TIMEOUT = 600  # seconds a cell; a whole notebook takes about a minute, on a busy computer several
MOST_LINES = 25  # of a code cell
MOST_COLUMNS = 128

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def code_of(path):
    """The sources of the code cells, without IPython's % lines."""
    sources = ["".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "code"]
    return ["\n".join(line for line in source.splitlines() if not line.startswith("%")) for source in sources]


def test_every_notebook_has_its_text_and_every_text_its_notebook():
    assert NOTEBOOKS, f"no notebooks in {FOLDER}"
    assert [path.stem for path in NOTEBOOKS] == sorted(path.stem for path in FOLDER.glob("*.py"))


@each_notebook
def test_notebook_is_committed_clean(path):
    cells = cells_of(path)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code, f"{path.name} has no code"
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code), "clear the outputs"
    assert all(set(cell["metadata"]) <= {"nbgrader"} for cell in cells), "clear the cells' metadata"
    assert len({cell["id"] for cell in cells}) == len(cells), "cell ids repeat"

    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert set(metadata) == {"jupytext", "kernelspec"}, "only the pairing and the kernel are kept"
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["jupytext"]["formats"] == "ipynb,py:percent"


@each_notebook
def test_an_exercise_is_an_answer_and_its_check_as_nbgrader_knows_them(path):
    cells = cells_of(path)
    for i, cell in enumerate(cells):
        source, marked = "".join(cell["source"]), cell["metadata"].get("nbgrader")
        assert ("### BEGIN SOLUTION" in source) == bool(marked and marked["solution"]), f"{source[:60]}: its metadata?"
        assert source.startswith("check(") == bool(marked and marked["grade"]), f"{source[:60]}: its metadata?"
        if source.startswith("check("):
            name = ast.literal_eval(source.split(",")[0].removeprefix("check("))
            common = {"schema_version": 3, "task": False}
            check = {"grade": True, "grade_id": name, "locked": True, "points": 1, "solution": False}
            answer = {"grade": False, "grade_id": f"{name}-answer", "locked": False, "solution": True}
            assert marked == check | common
            assert cells[i - 1]["metadata"] == {"nbgrader": answer | common}, "the answer stands above its check"
            assert len(source.splitlines()) == 1


@each_notebook
def test_lines_of_the_text_are_not_too_long(path):
    lines = path.with_suffix(".py").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > MOST_COLUMNS and not line.startswith("# %% nbgrader=")] == []


@each_notebook
def test_first_code_cell_finds_the_course_and_the_second_draws_inline(path):
    first, second = ["".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "code"][:2]
    assert first == code_of(NOTEBOOKS[0])[0], "the first cell is the same in all notebooks"
    assert second.startswith("%matplotlib inline\n")


@each_notebook
def test_code_cells_are_short_and_define_no_functions(path):
    for code in code_of(path):
        assert len(code.splitlines()) <= MOST_LINES, f"a cell of more than {MOST_LINES} lines: {code[:60]}"
        definitions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert definitions == [], "functions and classes belong into the packages"


@each_notebook
def test_every_check_hints(path):
    checks = [node for code in code_of(path) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]
    assert checks, f"{path.name} checks nothing"
    assert [ast.unparse(check) for check in checks if check.msg is None] == []


@each_notebook
def test_notebook_equals_its_paired_text(path):
    jupytext = pytest.importorskip("jupytext", reason="comparing a notebook with its text needs jupytext")
    text = jupytext.read(path.with_suffix(".py"))
    pairs = [(cell.cell_type, cell.source) for cell in text.cells]
    here = [(cell["cell_type"], "".join(cell["source"])) for cell in cells_of(path)]
    assert here == pairs, f"run: jupytext --sync notebooks/{path.stem}.py"
    assert text.metadata["jupytext"]["formats"] == "ipynb,py:percent"


@each_notebook
def test_notebook_runs_from_a_clean_kernel(path, pytestconfig):
    if not pytestconfig.getoption("--notebooks"):
        pytest.skip("runs with --notebooks (make test-notebooks)")
    notebook = notebooks.run(path, TIMEOUT)  # the first error raises CellExecutionError, with its cell and traceback
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert all(cell.execution_count is not None for cell in code)
    pictures = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert pictures, f"{path.name} shows no figure"
    drawing = [cell for cell in code if any("image/png" in output.get("data", {}) for output in cell.outputs)]
    assert len(pictures) == len(drawing), "a cell shows a figure twice"
    notebooks.keep(notebook, path.name)  # for `make docs`
