"""What Binder reads (`.binder/`): it must name what there is."""

import os
import shlex
import tomllib
from pathlib import Path

from click.testing import CliRunner

from minigrad.compression.cli import main

ROOT = Path(__file__).resolve().parents[2]
BINDER = ROOT / ".binder"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_python_and_the_extra_are_those_of_the_project():
    python = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    assert (BINDER / "requirements.txt").read_text() == "-e .[notebooks]\n"
    assert "notebooks" in PROJECT["optional-dependencies"]


def test_what_is_done_after_the_build_writes_a_visitors_copies(tmp_path):
    script = BINDER / "postBuild"
    first, *lines = script.read_text().splitlines()
    assert first == "#!/bin/sh"
    assert os.access(script, os.X_OK)
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("minigrad ")]
    assert len(commands) == len([line for line in lines if not line.startswith("#")]) - 1, "set -e, and our command"
    for command in commands:
        result = CliRunner().invoke(main, [*command, "--folder", str(tmp_path / "my-course")])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "my-course" / "00_the_whole_story.ipynb").exists()
    assert (tmp_path / "my-course" / "zh" / "00_the_whole_story.ipynb").exists()
