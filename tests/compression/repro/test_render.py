"""A report as text."""

from minigrad.compression.repro import Row
from minigrad.compression.repro.render import as_markdown, as_table

REPORT = {
    "reproduction": "toy",
    "paper": "A toy, 2015",
    "quick": False,
    "seeds": [0, 1],
    "settings": {"one": {"epochs": 3, "qualities": {"fc1": 0.8}, "rounds": [1, 2], "images": None}},
    "rows": [
        Row("one", "test error", [1.5, 1.7], "%", paper=1.59, at_most=1.7).as_json(),
        Row("one", "times fewer weights", [11.0, 11.5], digits=1, at_least=12).as_json(),
        Row("two", "difference", [0.3], surely=True, at_least=0.0).as_json(),
    ],
    "deviations": ["it is a toy", "it is small"],
    "failed": [{"part": "two", "seed": 1, "error": "ArithmeticError: the loss is nan"}],
    "runs": [{"part": "one", "seed": 0, "seconds": 90.0, "versions": {"numpy": "2.0"}, "results": {}}] * 2,
}


def test_the_page_has_rows_deviations_failures_and_settings():
    page = as_markdown(REPORT, {"toy_map.png": "A map."})
    assert page.startswith("# toy\n\nA toy, 2015.\n\nMade by `minigrad repro toy --seeds 2`; 2 seed(s).\n\n## one\n")
    assert "| test error (%) | 1.60 | 0.14 | 0.33 to 2.87 | 1.59 | ≤ 1.70 | met |" in page
    assert "| times fewer weights | 11.2 | 0.4 | 8.1 to 14.4 |  | ≥ 12.0 | missed |" in page
    assert "## two\n" in page
    assert "| difference | 0.30 |  |  |  | ≥ 0.00, whole interval | missed |" in page
    assert "![A map.](toy_map.png)" in page
    assert "- it is a toy\n- it is small\n" in page
    assert "- two, seed 1: ArithmeticError: the loss is nan\n" in page
    assert "- one: epochs 3, qualities (fc1 0.8), rounds (1, 2), images none\n" in page
    assert page.count("Versions: numpy 2.0.") == 1
    assert page.endswith("All runs together took 3 minutes.\n")


def test_a_first_look_says_so_and_no_failures_need_no_heading():
    page = as_markdown(REPORT | {"quick": True, "failed": []}, {})
    assert "minigrad repro toy --seeds 2 --quick" in page
    assert "A first look" in page
    assert "failed" not in page


def test_the_table_for_the_terminal_is_aligned_and_names_each_part_once():
    lines = as_table(REPORT).splitlines()
    assert [line for line in lines if line in ("one", "two")] == ["one", "two"]
    assert lines[2] == "one"
    assert lines[3].startswith("test error (%)")
    assert lines[3].endswith("met")
    assert lines[0].index("paper") + len("paper") == lines[3].index("1.59") + len("1.59")
