"""Check every op's gradients in every way of `tests/ops/matrix.py`, print the matrix and write it as docs/gradcheck.md.

Run from the checkout's root, as `make gradcheck` does: python -m tools.gradcheck_matrix
"""

import math
import sys
import warnings
from pathlib import Path

from tests.ops.cases import ENGINE
from tests.ops.matrix import DTYPES, Cell, check_cell, takes_complex
from tests.ops.variants import COLUMNS
from tools.markdown import table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "gradcheck.md"

Cells = dict[tuple[str, str, str], Cell]

HEAD = """# Every gradient, checked

`make gradcheck` writes this page, and ends with an error if a cell fails. The test suite checks the same cells.

An op is called as users call it, through `minigrad.functional` or the Tensor. ✓ stands for a pass, and the figure
beside it for the largest difference between two gradients, |a − b| / (1 + |b|), rounded up to a power of ten. An empty
array has nothing to differ in. Where a call makes no sense, the cell names the error that is raised; the note below has
its sentence, which is tested word by word.

| column | what the op is given |
|---|---|
| usual | contiguous arrays of the usual number of axes |
| 0-d | arrays of shape () |
| empty | arrays with an axis of size 0, the batch where there is one |
| non-contiguous | the first axis innermost in memory, with gaps; the gradient arrives transposed |
| negative strides | views that run backwards along every axis |
| broadcast | shapes that differ; an op of one array gets a broadcast view of it, and a broadcast gradient |

A ✓ in float64 says more than its figure: the op left its inputs alone, a second run gave the same bits, a zero gradient
of the result gave zero gradients, and values are those of contiguous arrays.
"""

FLOAT64 = """float64 gradients beside central differences, whose own error is what is seen. Where an op takes complex numbers
(last column), its gradients agree with the complex step too, to 1e-12. An op whose domain says "straight-through" rounds,
and its true derivative is 0 nearly everywhere: it states another function, whose derivatives its gradients are, and is
held against the slopes of that one (`tests/ops/straight_through.py`).
"""

FLOAT32 = """float32 results and gradients stay float32. Here the gradients are compared with float64's.
"""


def main() -> int:
    """Print the matrix, and write the page if every cell passed."""
    warnings.simplefilter("error")
    cells, failures = check_all()
    for (name, column, dtype), error in failures.items():
        print(f"FAILED {name}, {column}, {dtype}: {error}", file=sys.stderr)
    if failures:
        print(
            f"{len(failures)} of {len(failures) + len(cells)} cells failed; the page is left as it was", file=sys.stderr
        )
        return 1
    text = page(cells)
    print(text)
    PAGE.write_text(text)
    print(f"{len(cells)} cells, no gap and no failure; written to {PAGE.relative_to(PAGE.parent.parent)}")
    return 0


def check_all() -> tuple[Cells, dict[tuple[str, str, str], Exception]]:
    """Check all cells; return what came out, and the errors of those that failed."""
    cells: Cells = {}
    failures: dict[tuple[str, str, str], Exception] = {}
    for key in ((name, column, dtype) for dtype in DTYPES for name in sorted(ENGINE) for column in COLUMNS):
        try:
            cells[key] = check_cell(*key)
        except Exception as error:  # noqa: BLE001  whatever it is, the cell failed, and the others are still to check
            failures[key] = error
    return cells, failures


def page(cells: Cells) -> str:
    """Return the page as Markdown."""
    notes: dict[str, int] = {}
    ops = [[f"`{name}`", f"`{ENGINE[name].axes}`", ENGINE[name].domain] for name in sorted(ENGINE)]
    double = [
        [f"`{name}`", *(_mark(cells[name, c, "float64"], notes) for c in COLUMNS), "✓" if takes_complex(name) else "no"]
        for name in sorted(ENGINE)
    ]
    single = [[f"`{name}`", *(_mark(cells[name, c, "float32"], notes) for c in COLUMNS)] for name in sorted(ENGINE)]
    parts = [
        HEAD,
        "## Ops\n",
        table(["op", "axes", "domain"], ops),
        "## float64\n",
        FLOAT64,
        table(["op", *COLUMNS, "complex step"], double),
        "## float32\n",
        FLOAT32,
        table(["op", *COLUMNS], single),
        "## Errors\n",
        "\n".join(f"[^{number}]: {note}" for note, number in notes.items()) + "\n",
    ]
    return "\n".join(parts)


def _mark(cell: Cell, notes: dict[str, int]) -> str:
    """Return what stands in a cell; a new error gets the next number in `notes`."""
    marks = [] if cell.error is None else [f"✓ {_figure(cell.error):<5}"]
    for refusal in cell.refusals:
        error, sentence = refusal.split(": ", 1)
        note = f"{error}: `{sentence}`"
        marks.append(f"{error} [^{notes.setdefault(note, len(notes) + 1)}]")
    return " ".join(marks)


def _figure(error: float) -> str:
    return f"{10.0 ** math.ceil(math.log10(error)):.0e}" if error else "0"


if __name__ == "__main__":
    sys.exit(main())
