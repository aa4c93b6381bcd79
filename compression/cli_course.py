"""The commands `course list | open | progress | reset`: a student's own copies of the notebooks, and what was solved."""

import importlib.util
from pathlib import Path

import click

from .course import (
    ENGLISH,
    PROGRESS,
    exercises,
    find_notebooks,
    hand_out,
    in_language,
    progress_file,
    read_notebook,
    read_progress,
    reset,
    title,
    translated,
)
from .report import align

folder_option = click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=Path("my-course"),
                             show_default=True, help="Your folder: your copies of the notebooks.")  # fmt: skip
language_option = click.option("--language", default=ENGLISH, show_default=True, metavar="CODE",
                               help="Of the notebooks: en or zh.")  # fmt: skip


@click.group()
def course() -> None:
    """The course: notebooks with exercises that check themselves.

    What was solved is kept in progress.json in your folder, or in the file that the environment variable
    MINIGRAD_PROGRESS names: for each exercise its attempts, whether it was passed, and when; nothing about you.
    """


@course.command("list")
@folder_option
@language_option
def list_command(folder: Path, language: str) -> None:
    """List the notebooks, and how many of their exercises you have passed."""
    notebooks = translated(find_notebooks(), language)
    records = read_progress(progress_file(folder))
    click.echo("passed    notebook")
    for path in notebooks.values():
        notebook = read_notebook(path)
        names = exercises(notebook)
        passed = sum(records[name]["passed"] for name in names if name in records)
        click.echo(f"{passed} of {len(names)}    {title(notebook)}")


@course.command("open")
@click.argument("number", default="00")
@click.argument("lab_options", nargs=-1)
@folder_option
@language_option
@click.option("--browser/--no-browser", default=True, show_default=True, help="Show JupyterLab in the browser.")
@click.option("--lab/--no-lab", default=True, show_default=True, help="Start JupyterLab at all.")
def open_command(
    number: str, lab_options: tuple[str, ...], folder: Path, language: str, browser: bool, lab: bool
) -> None:
    """Write your copies of the notebooks, without solutions, and open notebook NUMBER in JupyterLab.

    Copies that you have stay as they are. Those in Chinese go to a folder `zh` in yours; what you have passed counts
    in both languages. LAB_OPTIONS go to JupyterLab, after a double dash: `open 00 -- --port 9999`.
    """
    source = find_notebooks()
    notebooks = translated(source, language)
    number = known(notebooks, number)
    written = hand_out(source, folder, language)
    path = in_language(folder, language) / notebooks[number].name
    click.echo(f"{len(written)} notebooks were written to {path.parent}, {len(notebooks) - len(written)} kept.")
    if not lab:
        click.echo(f"Open {path} in any program that runs notebooks.")
        return
    if importlib.util.find_spec("jupyterlab") is None:
        raise ValueError(
            f"JupyterLab is not installed: run `make course`, or pip install -e '.[notebooks]'. {path} was written"
        )
    from jupyterlab.labapp import LabApp  # pyright: ignore[reportMissingImports]

    LabApp.launch_instance([str(path), *([] if browser else ["--no-browser"]), *lab_options])


@course.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@folder_option
def progress(folders: tuple[Path, ...], folder: Path) -> None:
    """Show which exercises were passed, at which attempt and when.

    FOLDERS: those of several students, or their files of progress; without any, it is your own.
    """
    files = [path / PROGRESS if path.is_dir() else path for path in folders] or [progress_file(folder)]
    for path in files:
        records = read_progress(path).values()
        passed = sum(record["passed"] for record in records)
        click.echo(f"{path}: {passed} passed, {len(records)} tried")
        if records:
            rows = [("exercise", "passed", "attempts", "last attempt (UTC)")]
            for r in records:
                when = r["time"].removesuffix("+00:00").replace("T", " ")
                rows.append((r["exercise"], "yes" if r["passed"] else "no", str(r["attempts"]), when))
            click.echo(align(rows))


@course.command("reset")
@click.argument("number")
@folder_option
@language_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset_command(number: str, folder: Path, language: str, yes: bool) -> None:
    """Begin notebook NUMBER anew: a fresh copy, no attempts. Your old copy goes to the folder backup."""
    source = find_notebooks()
    notebooks = translated(source, language)
    number = known(notebooks, number)
    path = in_language(folder, language) / notebooks[number].name
    if not yes and not click.confirm(f"Replace {path} by a fresh copy, and forget its attempts? A backup is kept."):
        click.echo("Nothing was changed.")
        return
    old = reset(source, folder, number, language)
    click.echo(f"{path} is fresh. " + (f"The old copy is {old}." if old else "There was no old copy."))


def known(notebooks: dict[str, Path], number: str) -> str:
    """Return a notebook's number in two digits.

    Raises:
        ValueError: there is no such notebook.
    """
    if number.zfill(2) not in notebooks:
        raise ValueError(f"there is no notebook {number}: the course has {', '.join(notebooks)}")
    return number.zfill(2)
