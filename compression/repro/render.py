"""A reproduction's report as text: a table for the terminal, a page of Markdown for `results/`."""

from collections.abc import Mapping
from typing import Any

from ..report import align

HEAD = ["", "mean", "standard deviation", "95 % interval", "paper", "target", ""]


def as_table(report: Mapping[str, Any]) -> str:
    """Lay a report's rows out for a terminal."""
    lines = align([HEAD, *(cells for _, cells in _cells(report))]).splitlines()
    table, part = lines[:2], None
    for row, line in zip(report["rows"], lines[2:], strict=True):
        table += [row["part"]] * (row["part"] != part) + [line]
        part = row["part"]
    return "\n".join(table)


def as_markdown(report: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """Write a report as a page: a table for each part, figures, deviations, failures, settings.

    Args:
        report: from `reproduce`.
        figures: file name → what it shows.
    """
    name, seeds = report["reproduction"], report["seeds"]
    command = f"minigrad repro {name} --seeds {len(seeds)}" + (" --quick" if report.get("quick") else "")
    lines = [f"# {name}", "", f"{report['paper']}.", "", f"Made by `{command}`; {len(seeds)} seed(s)."]
    lines += ["A first look: fewer images, fewer epochs, no figures to hold against the paper's."] * report.get(
        "quick", 0
    )
    for part in dict.fromkeys(row["part"] for row in report["rows"]):
        rows = [cells for row, cells in _cells(report) if row["part"] == part]
        lines += ["", f"## {part}", "", _line(HEAD), _line(["---", *["---:"] * (len(HEAD) - 1)]), *map(_line, rows)]
    for file, caption in figures.items():
        lines += ["", f"![{caption}]({file})", "", caption]
    lines += ["", "## What is not as in the paper", "", *(f"- {sentence}" for sentence in report["deviations"])]
    if report["failed"]:
        failed = (f"- {f['part']}, seed {f['seed']}: {f['error']}" for f in report["failed"])
        lines += ["", "## Runs that failed", "", *failed]
    lines += [
        "",
        "## Settings",
        "",
        "Chosen beforehand or on the 5,000 held-out training images, never on test images.",
        "",
    ]
    whose = {str(settings): f"as {part}" for part, settings in report["settings"].items()}
    for part, settings in report["settings"].items():
        told = (f"{key} {whose.get(str(value)) or _plain(value)}" for key, value in settings.items())
        lines += [f"- {part}: {', '.join(told)}"]
    for versions in {str(run["versions"]): run["versions"] for run in report["runs"]}.values():
        lines += ["", "Versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()) + "."]
    seconds = sum(run["seconds"] for run in report["runs"])
    lines += ["", f"All runs together took {seconds / 60:.0f} minutes."]
    return "\n".join(lines) + "\n"


def _cells(report: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], list[str]]]:
    return [(row, _row_cells(row)) for row in report["rows"]]


def _row_cells(row: Mapping[str, Any]) -> list[str]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.{row['digits']}f}"

    low, high = row["interval"] or (None, None)
    target = " ".join(
        f"{sign} {number(bound)}"
        for sign, bound in (("≥", row["at_least"]), ("≤", row["at_most"]))
        if bound is not None
    )
    target += ", whole interval" if target and row["surely"] else ""
    return [
        row["figure"] + (f" ({row['unit']})" if row["unit"] else ""),
        number(row["mean"]),
        number(row["std"]),
        "" if low is None else f"{number(low)} to {number(high)}",
        number(row["paper"]),
        target,
        {None: "", True: "met", False: "missed"}[row["met"]],
    ]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items()) + ")"
    if isinstance(value, list):
        return "(" + ", ".join(map(_plain, value)) + ")"
    return "none" if value is None else str(value)
