"""Every block of the README is run: Python as it stands, commands on a small dataset, make targets by name."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from minigrad.compression.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line.strip()]
MAKEFILE = (ROOT / "Makefile").read_text()


def test_there_is_something_to_run_and_nothing_of_another_kind():
    assert {kind for kind, _ in BLOCKS} <= {"python", "sh", "text"}
    assert README.index("make demo") < README.index("make test") < README.index("pip install")
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("code", [block for kind, block in BLOCKS if kind == "python"])
def test_python_blocks_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    exec(compile(code, "README.md", "exec"), namespace)  # noqa: S102  our own README
    assert namespace


def without_comment(line):
    return shlex.split(line, comments=True)


@pytest.mark.parametrize("line", [c for c in COMMANDS if without_comment(c)[:1] == ["make"]])
def test_make_targets_exist(line):
    for target in without_comment(line)[1:]:
        assert re.search(rf"^{re.escape(target)}:.*##", MAKEFILE, flags=re.MULTILINE), target


def test_the_minigrad_commands_run_in_the_order_given(small_data, tmp_path, monkeypatch):
    """With the small dataset and one epoch where the README trains for five."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIGRAD_DATA", str(small_data))
    write_pictures(tmp_path)
    lines = [without_comment(c) for c in COMMANDS]
    calls = [line[1:] for line in lines if line and Path(line[0]).name == "minigrad"]
    assert {"demo", "train", "evaluate", "prune", "finetune", "predict"} <= {call[0] for call in calls}
    for call in calls:
        if call[0] in ("demo", "train", "finetune") and "--help" not in call:
            call = [*call, "--epochs", "1"]
        result = CliRunner().invoke(main, call)
        assert result.exit_code == 0, f"{call}: {result.output}"


def write_pictures(folder):
    """Draw the picture that the README classifies."""
    import numpy as np
    from PIL import Image

    picture = np.zeros((28, 28), np.uint8)
    picture[4:24, 13:16] = 255
    for name in re.findall(r"(\S+\.png)", " ".join(c for c in COMMANDS if "predict" in c)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name)


def test_commands_are_of_known_kinds():
    for line in COMMANDS:
        words = without_comment(line)
        program = Path(words[0]).name if words else ""
        assert program in {"", "make", "minigrad", "python3", "pip", "python"}, line


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_to_files_resolve(name):
    assert (ROOT / name).exists(), name


def test_the_chinese_readme_has_the_same_blocks_links_and_numbers():
    chinese = (ROOT / "README.zh.md").read_text(encoding="utf-8")
    assert re.findall(r"^```(\w*)\n(.*?)^```$", chinese, flags=re.M | re.S) == BLOCKS
    links = [set(re.findall(r"\]\(([^)#]+)", text)) - {"README.md", "README.zh.md"} for text in (README, chinese)]
    assert links[0] == links[1]
    assert {number for number in re.findall(r"\d[\d,.]*\d", README) if number not in chinese} == set()
