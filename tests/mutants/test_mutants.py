"""The mistakes of the catalogue can be made, and the tool that makes them reports what it should."""

import ast
import shutil
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.mutants.catalogue import MUTANTS, NEEDS, Mutant
from tools import mutants

ROOT = Path(__file__).resolve().parent.parent.parent


parsed = cache(lambda source: ast.dump(ast.parse(source)))


def test_there_are_enough_and_each_has_its_own_name():
    assert len(MUTANTS) >= 30
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_every_mutant_can_be_made_and_changes_what_is_run(mutant):
    source = (ROOT / mutant.path).read_text()
    if mutant.path.endswith(".py"):
        assert ast.dump(ast.parse(mutant.apply(source))) != parsed(source)
    else:
        assert mutant.apply(source) != source


def test_a_text_that_is_not_there_once_is_refused():
    for old, times in (("x", 2), ("y", 0)):
        with pytest.raises(ValueError, match=f"lost: '{old}' occurs {times} times in minigrad/tape.py, not once"):
            Mutant("lost", "tape.py", old, "z").apply("x = x")


def test_every_explained_survivor_still_has_its_line():
    for row in tomllib.loads(mutants.EXPLAINED.read_text())["mutant"]:
        lines = " ".join(line.strip() for line in (ROOT / row["file"]).read_text().splitlines())
        assert row["old"] in lines, row
        assert row["why"]
    assert all(mutants.explanations().values())


def test_the_nearest_tests_come_first():
    for path in (*mutants.PARTS, *mutants.LIKELY, *mutants.LEFT_OUT):
        assert (ROOT / path).exists(), path
    tests = mutants.suite(ROOT, "minigrad/optim/schedules.py")
    assert tests[: 1 + len(mutants.LIKELY)] == ["tests/test_optim.py", *mutants.LIKELY]
    assert mutants.suite(ROOT, "minigrad/kernels/pool.py")[0].startswith("tests/kernels/")
    assert mutants.suite(ROOT, "minigrad/ops/pool.py")[0] == mutants.LIKELY[0]
    assert sorted(mutants.suite(ROOT, "minigrad/tape.py")) == sorted(tests)
    distillation = mutants.suite(ROOT, "compression/distillation/training.py")
    assert distillation[0] == "tests/compression/distillation/test_training.py"
    assert "tests/compression/distillation/test_losses.py" in distillation
    assert "tests/compression/test_criteria.py" in mutants.suite(ROOT, "compression/pruning/criteria.py")
    assert "tests/test_packaging.py" not in tests
    assert "tests/test_resume.py" not in tests
    assert mutants.suite(ROOT, "minigrad/resume.py")[0] == "tests/test_resume.py"  # slow, but whose else?


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A package of one function and its only test."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # faster
    base = tmp_path / "base"
    (base / "minigrad").mkdir(parents=True)
    (base / "minigrad" / "__init__.py").write_text("def one():\n    return 1\n")
    (base / "tests").mkdir()
    (base / "tests" / "test_one.py").write_text("import minigrad\n\ndef test_one():\n    assert minigrad.one() == 1\n")
    return base


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("def one():\n    return 1.0\n", None),
        ("def one():\n    return 2\n", "tests/test_one.py::test_one"),
        ("one = 1 / 0\n", "tests/test_one.py"),
        ("def one():\n    import os\n    os._exit(7)\n", "import or crash, exit code 7"),
        ("def one():\n    import time\n    time.sleep(60)\n", "no end within 2 s"),
        pytest.param(
            "def one():\n    return len([0] * 2**31) and 1\n",  # 16 GB
            "tests/test_one.py::test_one",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only"),
        ),
    ],
)
def test_what_notices_a_mistake_is_named(source, verdict, tree):
    trial = mutants.Trial("a mistake", "minigrad/__init__.py", source)
    assert mutants.try_one(tree, trial, timeout=2 if "sleep" in source else 60) == verdict
    assert (tree / trial.file).read_text() != source


def test_tests_that_import_another_minigrad_are_an_error(tree):
    shutil.rmtree(tree / "minigrad")
    with pytest.raises(RuntimeError, match="do not import the minigrad beside them"):
        mutants.failure(tree, ["tests/test_one.py"], 60)


def test_a_suite_that_fails_by_itself_is_an_error(monkeypatch):
    monkeypatch.setattr(mutants, "copy_checkout", lambda folder: folder)
    monkeypatch.setattr(mutants, "failure", lambda tree, tests, timeout: "tests/test_x.py::test_y")
    result = CliRunner().invoke(mutants.main)
    assert result.exit_code == 1
    assert "without any mistake the tests fail: tests/test_x.py::test_y" in result.output


@pytest.fixture
def outcomes(monkeypatch):
    """What notices each mistake, by name; nothing is run."""
    found = {}
    monkeypatch.setattr(mutants, "copy_checkout", lambda folder: folder)
    monkeypatch.setattr(mutants, "failure", lambda tree, tests, timeout: None)
    monkeypatch.setattr(mutants, "try_one", lambda base, trial, timeout: found[trial.name])
    return found


def run(*arguments):
    result = CliRunner().invoke(mutants.main, arguments)
    return result.exit_code, result.output


def test_a_survivor_fails_the_run(outcomes):
    first, second = MUTANTS[0].name, MUTANTS[1].name
    outcomes |= {first: None, second: "test_x"}
    code, output = run("--only", first, "--only", second)
    assert code == 1
    assert f"SURVIVED    0 s  {first}" in output
    assert f"killed      0 s  {second}  test_x" in output
    assert output.endswith("2 mutants: killed 1, explained 0, unexplained 1\n")
    outcomes[first] = "test_y"
    code, output = run("--only", first, "--only", second)
    assert code == 0
    assert output.endswith("2 mutants: killed 2, explained 0, unexplained 0\n")


def test_a_mistake_whose_tests_are_skipped_on_this_machine_is_not_called_a_survivor(outcomes, monkeypatch):
    first, second, third = MUTANTS[:3]
    outcomes |= {first.name: "test_x", third.name: "test_x"}
    monkeypatch.setitem(NEEDS, first.name, "sh")
    monkeypatch.setitem(NEEDS, second.name, "no-such-command")
    code, output = run("--only", first.name, "--only", second.name, "--only", third.name)
    assert code == 0
    assert f"not tried: {second.name}  its tests need no-such-command, which this machine has not\n" in output
    assert output.endswith("2 mutants: killed 2, explained 0, unexplained 0\n")


def test_what_is_needed_is_needed_by_something():
    assert set(NEEDS) <= {m.name for m in MUTANTS} | {m.path for m in MUTANTS}


def test_a_random_survivor_fails_the_run_unless_it_is_explained(outcomes, monkeypatch):
    pytest.importorskip("cosmic_ray", reason="Cosmic Ray is not installed; `make mutants` installs it")
    from tools import random_mutants

    change = random_mutants.Change("minigrad/tape.py", "f", "x + 1", "x - 1", "")
    monkeypatch.setattr(random_mutants, "sample", lambda root, count, seed: [change])
    outcomes["minigrad/tape.py, f: x + 1 -> x - 1"] = None
    assert run("--random", "1")[0] == 1
    monkeypatch.setattr(mutants, "explanations", lambda: dict.fromkeys(outcomes, "why"))
    code, output = run("--random", "1")
    assert code == 0
    assert output.endswith("1 mutants: killed 0, explained 1, unexplained 0\n")


def test_random_mistakes_depend_on_the_seed_and_on_their_line_only(tmp_path):
    pytest.importorskip("cosmic_ray", reason="Cosmic Ray is not installed; `make mutants` installs it")
    from tools import random_mutants

    (tmp_path / "minigrad" / "ops").mkdir(parents=True)
    file = tmp_path / "minigrad" / "tape.py"
    (tmp_path / "minigrad" / "tensor.py").write_text("")
    source = "def f(x: int | None = None, *, y) -> int | None:\n    return x + y if x > 0 else x * 3\n"
    file.write_text(source)

    def sample(count, seed):
        return [(c.file, c.within, c.old, c.new) for c in random_mutants.sample(tmp_path, count, seed)]

    everything = sample(5, 0)  # +, the condition, >, 0, *, 3, and no annotation
    assert {old for _, _, old, _ in everything} == {"return x + y if x > 0 else x * 3"}
    assert len({new for *_, new in everything}) == 5
    assert all(within == "f" for _, within, _, _ in everything)
    assert sample(5, 0) == everything
    assert {tuple(sample(2, seed)) for seed in range(9)} != {tuple(sample(2, 0))}
    two = sample(2, 0)
    file.write_text("import os\n\n\n" + source)
    assert sample(2, 0) == two
    with pytest.raises(ValueError, match=r"sample: only \d of 50 mistakes can be made in minigrad/ops"):
        sample(50, 0)
