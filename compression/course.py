"""The course: where its notebooks are, a student's own copies of them, and what a student has solved.

A notebook is written with solutions, each between two markers that nbgrader knows as well. A student's copy has a line
in place of each solution that raises. The checks come along as a folder, so that a student's folder is complete.
"""

import copy
import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minigrad.checkpoint import write_atomically

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
"""The lines between which a solution stands, with nbgrader's words."""

PROGRESS = "progress.json"
"""Name of the file that says what was solved, in the folder of the student's notebooks."""

CHECKS = "checks"
"""Name of the folder that has the checks, beside the notebooks."""

ENGLISH = "en"
"""The language of the notebooks that lie in the course's folder itself. Others lie in a folder of their name below it."""

Notebook = dict[str, Any]


def find_notebooks() -> Path:
    """Return the folder of the course's notebooks: that of the checkout, or `notebooks` in the current folder.

    Raises:
        FileNotFoundError: the package was installed without them.
    """
    for folder in (Path(__file__).resolve().parents[1] / "notebooks", Path.cwd() / "notebooks"):
        if (folder / CHECKS).is_dir() and list_notebooks(folder):
            return folder
    raise FileNotFoundError(
        "the course's notebooks do not come with the installed package: they are in the folder notebooks of the "
        "project's repository. Clone it, and run this command in the clone"
    )


def list_notebooks(folder: Path) -> dict[str, Path]:
    """Return the notebooks of a folder by their numbers: "05" → .../05_pruning.ipynb."""
    return {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}


def in_language(folder: Path, language: str) -> Path:
    """Return where the notebooks in a language lie: in the course's or the student's folder, or below it.

    >>> in_language(Path("my-course"), "en").as_posix(), in_language(Path("my-course"), "zh").as_posix()
    ('my-course', 'my-course/zh')
    """
    return folder if language == ENGLISH else folder / language


def translated(source: Path, language: str) -> dict[str, Path]:
    """Return the course's notebooks in a language by their numbers.

    Args:
        source: folder of the course.
        language: its code, such as "en" or "zh".

    Raises:
        ValueError: the course is not there in this language.
    """
    there = [ENGLISH, *(path.name for path in sorted(source.glob("[a-z]*")) if list_notebooks(path))]
    if language not in there:
        raise ValueError(f"the course is not written in the language {language!r}: there is {', '.join(there)}")
    return list_notebooks(in_language(source, language))


def read_notebook(path: Path) -> Notebook:
    """Return a notebook as its JSON says it, each cell's source as one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def title(notebook: Notebook) -> str:
    """Return the first line of a notebook, without its mark as a heading."""
    return notebook["cells"][0]["source"].splitlines()[0].lstrip("# ")


def grade_id(cell: Notebook) -> str:
    """Return the name under which nbgrader knows a cell, "" for one that it does not."""
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def exercises(notebook: Notebook) -> list[str]:
    """Return the names of a notebook's exercises, such as "05-1": the names of the cells that check."""
    return [grade_id(cell) for cell in notebook["cells"] if cell["metadata"].get("nbgrader", {}).get("grade")]


def blank(source: str, exercise: str) -> str:
    r"""Return an answer cell without its solution: a line that raises stands in its place, as nbgrader writes it.

    Args:
        source: the cell.
        exercise: its name.

    Raises:
        ValueError: the two markers do not stand in the cell once each, in this order.

    >>> print(blank("k = ...\n### BEGIN SOLUTION\nk = 4\n### END SOLUTION", "05-1"))
    k = ...
    # YOUR CODE HERE
    raise NotImplementedError("Exercise 05-1 has no answer yet: write yours here, in place of this line.")
    """
    lines = source.splitlines()
    if lines.count(BEGIN) != 1 or lines.count(END) != 1 or lines.index(BEGIN) > lines.index(END):
        raise ValueError(f"exercise {exercise}: expected one line {BEGIN!r} and, below it, one {END!r}")
    sentence = f"Exercise {exercise} has no answer yet: write yours here, in place of this line."
    stub = ["# YOUR CODE HERE", f'raise NotImplementedError("{sentence}")']
    return "\n".join(lines[: lines.index(BEGIN)] + stub + lines[lines.index(END) + 1 :])


def student_version(notebook: Notebook, to_course: str = "..") -> Notebook:
    """Return a notebook as a student gets it: solutions blanked, and no longer paired with a text.

    Args:
        notebook: as `read_notebook` returns it; it is left as it was.
        to_course: path from the student's folder to the one that has the course's folder. What the notebook reads from
            there, and its links, begin with "../" and are led this way. A translated notebook lies one folder deeper, and
            so do its copies: its links begin with one "../" more.
    """
    version = copy.deepcopy(notebook)
    version["metadata"].pop("jupytext", None)
    for cell in version["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] = blank(cell["source"], grade_id(cell).removesuffix("-answer"))
        cell["source"] = re.sub(r'(?<=["(])((?:\.\./)*)\.\./', lambda m: f"{m[1]}{to_course}/", cell["source"])
    return version


def hand_out(source: Path, folder: Path, language: str = ENGLISH) -> list[Path]:
    """Write a student's copies of all notebooks that the folder does not have, and bring its checks up to date.

    Args:
        source: folder of the course.
        folder: the student's; made if it is missing. A notebook that is there stays as it is. Translated ones go to a
            folder below it: their exercises are the same, so checks and progress are shared.
        language: of the notebooks.

    Returns:
        The notebooks written.

    Raises:
        ValueError: the folder is the course's own, or the course is not there in this language.
    """
    notebooks = translated(source, language)
    folder = folder.resolve()
    if folder == source.resolve():
        raise ValueError(f"{folder} is the course's own folder: choose another one for your copies")
    in_language(folder, language).mkdir(parents=True, exist_ok=True)
    shutil.copytree(source / CHECKS, folder / CHECKS, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    to_course = Path(os.path.relpath(source.resolve().parent, folder)).as_posix()
    written = []
    for path in notebooks.values():
        copy_ = in_language(folder, language) / path.name
        if not copy_.exists():
            text = json.dumps(student_version(read_notebook(path), to_course), indent=1, ensure_ascii=False)
            write_atomically(copy_, f"{text}\n".encode())
            written.append(copy_)
    return written


def reset(source: Path, folder: Path, number: str, language: str = ENGLISH) -> Path | None:
    """Write a fresh copy of one notebook and forget what was solved in it; the old ones go to the folder `backup`.

    Args:
        source: folder of the course.
        folder: the student's.
        number: of the notebook, such as "05".
        language: of the notebook. What was solved is forgotten for all languages: it is kept once.

    Returns:
        Where the old copy is now; None if there was none.
    """
    path = in_language(folder, language) / translated(source, language)[number].name
    old = None
    if path.exists():
        backup = path.parent / "backup"
        backup.mkdir(exist_ok=True)
        old = backup / f"{path.stem}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.ipynb"
        path.rename(old)
        if progress_file(folder).exists():
            shutil.copy2(progress_file(folder), old.with_suffix(f".{PROGRESS}"))
    records = read_progress(progress_file(folder))
    if any(name.startswith(f"{number}-") for name in records):
        left = {name: record for name, record in records.items() if not name.startswith(f"{number}-")}
        write_progress(progress_file(folder), left)
    hand_out(source, folder, language)
    return old


def progress_file(folder: Path) -> Path:
    """Return the file that says what was solved: the one that the variable MINIGRAD_PROGRESS names, or the folder's."""
    return Path(os.environ.get("MINIGRAD_PROGRESS") or folder / PROGRESS)


def read_progress(path: Path) -> dict[str, dict[str, Any]]:
    """Return exercise → its record (exercise, attempts, passed, time), {} if there is no such file.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        return {record["exercise"]: record for record in json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"{path} is no file of progress, or is damaged: move it away, and a new one is begun"
        ) from None


def write_progress(path: Path, records: dict[str, dict[str, Any]]) -> None:
    """Write the records as a JSON list, in the order of the exercises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{json.dumps([records[name] for name in sorted(records)], indent=1)}\n".encode())


def record_attempt(path: Path, exercise: str, passed: bool) -> int:
    """Note an attempt at an exercise, and return which one it is, from 1.

    An exercise that was passed stays passed, and its attempts are counted no further.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "progress.json"
    ...     print([record_attempt(file, "05-1", passed) for passed in (False, False, True, False)])
    [1, 2, 3, 3]
    """
    records = read_progress(path)
    known = records.get(exercise, {"attempts": 0, "passed": False})
    if known["passed"]:
        return known["attempts"]
    attempts = known["attempts"] + 1
    now = datetime.now(UTC).isoformat(timespec="seconds")
    records[exercise] = {"exercise": exercise, "attempts": attempts, "passed": passed, "time": now}
    write_progress(path, records)
    return attempts
