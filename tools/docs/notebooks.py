"""Executed notebooks, each run once and kept: what the site shows below the cells of the course.

`make test-notebooks` keeps what it has run, so that `make docs` need not run it again. A notebook is run anew when its code
or a source of the packages has changed.
"""

import hashlib
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minigrad.checkpoint import write_atomically
from minigrad.compression.course import Notebook, read_notebook

ROOT = Path(__file__).resolve().parents[2]
EXECUTED = ROOT / "build" / "executed"
WIDGETS = "application/vnd.jupyter.widget-view+json"

# Run before a notebook's own first cell: a warning raised in its cells or by our packages is an error there.
STRICT = r'import warnings; warnings.filterwarnings("error", module=r"__main__|minigrad(\.|$)")'


def code_cells(notebook: Notebook) -> list[Notebook]:
    """Return a notebook's cells of code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def key(notebook: Notebook) -> str:
    """Return what a notebook's outputs depend on as hexadecimal digits: its code, and the sources of packages and checks."""
    text = hashlib.sha256("\0".join(cell["source"] for cell in code_cells(notebook)).encode())
    for folder in ("minigrad", "compression", "notebooks/checks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text.update(path.read_bytes())
    return text.hexdigest()


def run(path: Path, timeout: int = 600) -> Any:
    """Run a notebook in a kernel of its own, warnings as errors, and return it with its outputs.

    Args:
        path: of the notebook.
        timeout: seconds that a cell may take. A whole notebook takes well under a minute on two cores that are free.

    Raises:
        CellExecutionError: a cell raised. It says which, and how.
        CellTimeoutError: a cell took too long.
    """
    import nbclient  # pyright: ignore[reportMissingImports]  of the extra "notebooks"
    import nbformat  # pyright: ignore[reportMissingImports]

    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    with TemporaryDirectory() as folder:  # attempts at exercises are not noted in the checkout
        resources = {"metadata": {"path": str(path.parent)}}
        client = nbclient.NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=resources)
        client.execute(env=os.environ | {"MINIGRAD_PROGRESS": str(Path(folder) / "progress.json")})
    del notebook.cells[0]
    return notebook


def keep(notebook: Notebook, name: str) -> None:
    """Write a notebook that was run to `EXECUTED`, with its key."""
    notebook["metadata"]["key"] = key(notebook)
    EXECUTED.mkdir(parents=True, exist_ok=True)
    write_atomically(EXECUTED / name, json.dumps(notebook, ensure_ascii=False).encode())


def executed(path: Path, stale: bool = False) -> Notebook:
    """Return a notebook with its outputs: as it was kept, or run now.

    Args:
        path: of the notebook.
        stale: take outputs of other code or earlier sources, too.
    """
    kept = EXECUTED / path.name
    if kept.exists():
        notebook = read_notebook(kept)
        if stale or notebook["metadata"]["key"] == key(read_notebook(path)):
            return notebook
    print(f"running {path.name}", flush=True)
    notebook = run(path)
    keep(notebook, path.name)
    return notebook


def with_outputs(notebook: Notebook, executed: Notebook) -> Notebook:
    """Return a notebook whose cells show what the cells with the same code gave when they were executed.

    Widgets are left out, since no page can run them: the picture that stands for them stays.

    Args:
        notebook: as `read_notebook` returns it; changed in place. It may be a translation, or incomplete.
        executed: the one that was run.
    """
    outputs = {cell["source"]: cell["outputs"] for cell in code_cells(executed)}
    for cell in code_cells(notebook):
        cell["outputs"] = outputs.get(cell["source"], [])
        for output in cell["outputs"]:
            output.get("data", {}).pop(WIDGETS, None)
    return notebook


def for_reading(notebook: Notebook, show: str, solution: str, figure: str) -> Notebook:
    """Return a notebook as its page shows it: first cell and solutions folded, and a text for each picture.

    Args:
        notebook: changed in place.
        show: what stands on the fold of the first cell, which prepares the others.
        solution: what stands on the fold of a solution.
        figure: what a picture is called for who cannot see it; the heading above follows.
    """
    heading = ""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            headings = [line for line in cell["source"].splitlines() if line.startswith("#")]
            heading = headings[-1].lstrip("# ") if headings else heading
            continue
        first = cell is code_cells(notebook)[0]
        words: Notebook = {"image": {"alt": f"{figure}{heading}"}}
        if first or cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["metadata"]["tags"] = ["hide-input"]
            words["code_prompt_show"] = words["code_prompt_hide"] = show if first else solution
        cell["metadata"]["mystnb"] = words
    return notebook
