"""The table, the picture and the sentences of a search."""

import re

import pytest

from minigrad.compression.coding import Storage, layer_rows, save_mgz
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.search import Candidate, Wishes
from minigrad.compression.search.report import as_table, plot_frontier, traded, why_not

WIDTHS = {"conv1": 5, "fc3": 10}


def candidate(name, size, correct, milliseconds=None, taught=True, coding="codebook5+4"):
    return Candidate(name, name, coding, taught, size, correct, 5000, {"conv1": 7, "fc3": 1500}, WIDTHS, milliseconds)


FOUND = [candidate("tiny", 900, 4700), candidate("small", 3000, 4900), candidate("large", 20_000, 4950, taught=False)]
TIMED = [candidate("slow", 900, 4950, 2.0), candidate("fast", 3000, 4900, 1.0)]


def test_the_table_marks_the_chosen_one():
    lines = as_table(FOUND, FOUND[1]).splitlines()
    assert lines[0].split() == ["bytes", "held-out", "%", "sure", "%", "weights", "widths"]
    assert [line[:2] for line in lines[2:]] == ["  ", "* ", "  "]
    assert lines[3].split() == ["*", "small", "3,000", "98.00", "97.65", "1,507", "5"]
    assert "*" not in as_table(FOUND)


def test_the_table_has_times_where_there_are_some():
    lines = as_table(TIMED).splitlines()
    assert lines[0].split()[-2:] == ["ms", "runs"]
    assert lines[2].split()[-2:] == ["2.000", "dense"]


@pytest.mark.parametrize(
    ("found", "wishes", "expected"),
    [
        (
            FOUND,
            Wishes(5000, 98.0),
            "none of 3 candidates meets 5,000 bytes, 98 %; the best that is small enough reads 98.00 % of the held-out "
            "images, which makes 97.65 % sure (small, 3,000 bytes); the smallest that is surely accurate enough takes 20,000 "
            "bytes (large)",
        ),
        (
            FOUND,
            Wishes(500, 99.5),
            "none of 3 candidates meets 500 bytes, 99.5 %; the smallest file takes 900 bytes (94.00 %); none is surely so "
            "accurate: the best makes 98.74 % sure, at 20,000 bytes",
        ),
        (
            TIMED,
            Wishes(5000, 98.5, 1.5),
            "none of 2 candidates meets 5,000 bytes, 98.5 % and 1.5 ms; the best that is small and fast enough reads 98.00 % "
            "of the held-out images, which makes 97.65 % sure (fast, 3,000 bytes); the smallest that is surely accurate enough "
            "takes 900 bytes and 2.000 ms (slow)",
        ),
        (
            TIMED,
            Wishes(5000, 98.0, 0.5),
            "none of 2 candidates meets 5,000 bytes, 98 % and 0.5 ms; the smallest file takes 900 bytes (99.00 %); the fastest "
            "takes 1.000 ms (3,000 bytes); the smallest that is surely accurate enough takes 900 bytes and 2.000 ms (slow)",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said_with_what_came_closest(found, wishes, expected):
    assert why_not(found, wishes) == expected


def test_the_picture_shows_all_files_the_wishes_and_the_chosen_one():
    ax = plot_frontier(FOUND, Wishes(8000, 97.5), FOUND[1], "title").axes[0]
    points = sorted(
        tuple(point) for group in ax.collections for point in getattr(group, "get_offsets", list)().tolist()
    )
    assert {(c.bytes / 1000, c.accuracy) for c in FOUND} <= set(points)
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.get_lines()}
    assert lines["frontier"] == [[0.9, 94.0], [3.0, 98.0], [20.0, 99.0]]
    assert lines["budget: 8,000 B"][0][0] == 8.0
    assert lines["asked for: 97.5 %"][0][1] == 97.5
    assert any(points == [[3.0, 98.0]] for points in lines.values())  # the star
    assert "below the picture: 1" in [text.get_text() for text in ax.texts]
    assert ax.get_xlabel() == "file (KB of 1,000 bytes)"
    assert ax.get_ylabel() == "accuracy on held-out images (%)"


def test_the_frontier_of_bytes_does_not_hang_on_times():
    ax = plot_frontier(TIMED, Wishes(8000, 97.5, 9), None, "title").axes[0]
    (line,) = [line for line in ax.get_lines() if line.get_label() == "frontier"]
    assert line.get_xydata().tolist() == [[0.9, 99.0]]  # "fast" is larger and worse


def test_what_was_traded_is_counted_from_the_file(tmp_path):
    lenet = trained_lenet()
    small = SparsePruner(lenet, ARTICLE_SPARSITY).prune(lenet)
    container = save_mgz(tmp_path / "a.mgz", small, Storage("integer", 4))
    rows = {row.layer: row for row in layer_rows(container)}
    widths = {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84, "fc3": 10}
    chosen = Candidate(
        "a", "a", "integer4+4", True, container.size, 9, 10, {name: row.kept for name, row in rows.items()}, widths, 0.5, "csr"
    )  # fmt: skip
    given = {
        "weights": {name: row.weights for name, row in rows.items()},
        "widths": widths | {"fc1": 240, "conv1": 8},
        "bytes": 177_704,
        "milliseconds": 0.75,
    }
    test = {"given": 98.36, "teacher": 99.30, "chosen": 99.10}
    accuracy, weights, structure, bits, size, time = traded(chosen, container, given, test)
    assert "99.10 %. The given model reads 98.36 %: +0.74 points" in accuracy
    assert "it reads 99.30 %: −0.20 points" in accuracy
    kept = sum(row.kept for row in rows.values())
    assert f"{kept:,} of 44,190 are left, {100 * kept / 44_190:.1f} %" in weights
    assert f"conv1 {rows['conv1'].kept:,} of 150" in weights
    assert structure == "Filters and neurons: conv1 8 to 6, fc1 240 to 120."
    assert "now 4.0 for its value" in bits
    assert f"177,704 as float32, now {container.size:,}, {177_704 / container.size:.1f} times fewer" in size
    parts = re.findall(r"(?:fc|conv)\d ([\d,]*\d)|sizes\) ([\d,]*\d)", size)
    assert sum(int("".join(part).replace(",", "")) for part in parts) == container.size
    assert time == "Time: 0.500 ms (csr); the given model takes 0.750 ms."
    given["widths"] = widths
    assert traded(chosen, container, given, test)[2] == "Filters and neurons: all are left."
