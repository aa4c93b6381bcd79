"""Make the Chinese notebooks of their prose and of the English notebooks' cells.

    python -m tools.chinese                  writes notebooks/zh/*.ipynb
    python -m tools.chinese --missing 05     prints the cells of notebook 05 that have no translation yet

The prose of `notebooks/zh/05_pruning.md` is a list of blocks. Each begins with a line `<!-- 1a2b3c4d -->`, the checksum of
the English cell that it translates. So code is never written twice, and a translation cannot outlive a change of its
original: the cell with the new text is missing, the block with the old checksum is left over, and both are named.
"""

import hashlib
import json
import re
from pathlib import Path

import click

from minigrad.compression.course import Notebook, list_notebooks, read_notebook

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CHINESE = NOTEBOOKS / "zh"
MARK = re.compile(r"^<!-- ([0-9a-f]{8}) -->\n", re.MULTILINE)


def key(text: str) -> str:
    """Return the eight hexadecimal digits that stand for the text of an English cell."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def read_prose(path: Path) -> dict[str, str]:
    """Return key → translation, for the blocks of one file; {} if there is none.

    Raises:
        ValueError: there is text above the first mark, or a mark twice.
    """
    if not path.exists():
        return {}
    before, *parts = MARK.split(path.read_text(encoding="utf-8"))
    keys, texts = parts[::2], [text.strip() for text in parts[1::2]]
    if before.strip():
        raise ValueError(f"{path.name}: the text above the first line <!-- ... --> belongs to no cell")
    if repeated := sorted({k for k in keys if keys.count(k) > 1}):
        raise ValueError(f"{path.name}: {', '.join(repeated)} is translated twice")
    return dict(zip(keys, texts, strict=True))


def prose_cells(notebook: Notebook) -> dict[str, str]:
    """Return key → text, for a notebook's cells of prose."""
    texts = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    return {key(text): text for text in texts}


def translate(notebook: Notebook, prose: dict[str, str], name: str) -> Notebook:
    """Return an English notebook with its prose in Chinese, and all else as it was.

    Args:
        notebook: as `read_notebook` returns it. Changed in place.
        prose: key → translation.
        name: what to call it in errors.

    Raises:
        ValueError: a cell has no translation, or a translation no cell.
    """
    originals = prose_cells(notebook)
    if missing := [f"{k} ({text.splitlines()[0][:50]})" for k, text in originals.items() if not prose.get(k)]:
        raise ValueError(f"{name}: no translation of {'; '.join(missing)}")
    if left := sorted(set(prose) - set(originals)):
        raise ValueError(f"{name}: {', '.join(left)} translates no cell that is there: was its English changed?")
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            # the Chinese notebook lies one folder deeper
            cell["source"] = re.sub(r"(?<=\()\.\./", "../../", prose[key(cell["source"])])
    notebook["metadata"].pop("jupytext", None)
    return notebook


def as_file(notebook: Notebook) -> str:
    """Return the text of a notebook's file, each source as a list of lines, as Jupyter writes it."""
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def print_missing(number: str) -> None:
    """Print each cell of a notebook that wants a translation, below its mark, and name the blocks left over."""
    path = list_notebooks(NOTEBOOKS)[number]
    originals, prose = prose_cells(read_notebook(path)), read_prose(CHINESE / f"{path.stem}.md")
    for k, text in originals.items():
        if not prose.get(k):
            click.echo(f"<!-- {k} -->\n{text}\n")
    if left := [k for k in prose if k not in originals]:
        click.echo(f"left over, their English was changed: {', '.join(left)}", err=True)


@click.command(help="Make the Chinese notebooks of their prose and of the English notebooks' cells.")
@click.option("--missing", metavar="NUMBER", help="Print the cells of this notebook that have no translation.")
def main(missing: str | None) -> None:
    """Write all notebooks whose prose is whole, or print what is missing of one."""
    if missing:
        print_missing(missing)
        return
    faults = []
    for path in list_notebooks(NOTEBOOKS).values():
        try:
            notebook = translate(read_notebook(path), read_prose(CHINESE / f"{path.stem}.md"), path.stem)
        except ValueError as error:
            faults.append(str(error))
        else:
            (CHINESE / path.name).write_text(as_file(notebook), encoding="utf-8")
    if faults:
        raise click.ClickException("\n".join(faults))


if __name__ == "__main__":
    main()
