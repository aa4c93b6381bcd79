"""Break the engine, or what compresses with it, on purpose, one mistake at a time, and see whether the tests notice.

    python -m tools.mutants                         the mistakes of tests/mutants/catalogue.py: all must be noticed
    python -m tools.mutants --random 100 --seed 0   mistakes made by a mutation tool (see `random_mutants.py`): each must
                                                    be noticed, or explained in tests/mutants/explained.toml

Each mistake is made in a fresh copy of the checkout, in a temporary folder; the tests there run in a process of their
own, up to the first failure. Run from the checkout's root, as `make mutants` does.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from llvmlite import binding

from tests.mutants.catalogue import MUTANTS, NEEDS, Mutant

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = ROOT / "tests" / "mutants" / "explained.toml"

PARTS = ("minigrad", "compression", "tests", "tools", "docs", "results", "pyproject.toml")
"""What the tests need, data apart."""

LEFT_OUT = (
    "tests/compression",
    "tests/docs",
    "tests/mutants",
    "tests/notebooks",
    "tests/parity",
    "tests/test_benchmarks.py",
    "tests/test_datasets.py",
    "tests/test_packaging.py",
    "tests/test_readme.py",
    "tests/test_resume.py",
)
"""Tests that are not the engine's, or slow: packaging, downloads, killed runs."""

LIKELY = ("tests/ops/test_every_op.py", "tests/test_tensor.py", "tests/test_numbers.py", "tests/test_functional.py")
"""Where most mistakes are noticed: these are run early."""

WRONG_COPY = 99

# An editable install finds minigrad through a hook that comes after the path: make sure that the copy is what is tested.
# A mistake may also make a list that never ends, so memory is limited, on systems where that can be relied on.
LAUNCH = f"""
import importlib.util, resource, sys
spec = importlib.util.find_spec("minigrad")
if spec is None or not str(spec.origin).startswith(sys.argv[1]):
    sys.exit({WRONG_COPY})
if sys.platform == "linux":
    resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Trial:
    """A mistake to be tried: its name, the file from the root, and the whole text of that file with the mistake in it."""

    name: str
    file: str
    source: str


def copy_checkout(folder: Path) -> Path:
    """Copy what the tests need; return the copy.

    Times of files are kept: Numba's caches, which lie beside the kernels, then stay valid until a kernel's file is changed.
    Python's own are left out, so that none can be taken for the changed file's.
    """
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy2(ROOT / part, folder / part)
    (folder / "data").symlink_to(ROOT / "data")
    (folder / "minigrad" / "compression").symlink_to("../compression")  # before an editable install's is looked for
    return folder


def failure(tree: Path, tests: Iterable[str], timeout: float) -> str | None:
    """Run the tests of a copy up to the first failure.

    Returns:
        the test that failed, or how else the run ended; None if all passed.

    Raises:
        RuntimeError: not the copy was tested.
    """
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", LAUNCH, str(tree), "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            return f"no end within {timeout:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with the processes that tests start
    if process.returncode == WRONG_COPY:
        raise RuntimeError(f"the tests in {tree} do not import the minigrad beside them")
    if process.returncode == 0:
        return None
    if found := re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE):
        return found[1]
    return f"import or crash, exit code {process.returncode}"


def suite(tree: Path, file: str = "") -> list[str]:
    """Return the test files in a copy that should notice a mistake in a file.

    For the engine: all of the engine's, first those of the file's own floor, however slow, then the likely ones. For a file in
    compression/: those of its folder, or all of the laboratory's without the commands where the folder has none of its own.
    """
    if file.startswith("compression/"):
        tests = tree / "tests" / "compression"
        own = tests / Path(file).parts[1]
        found = own.rglob("test_*.py") if own.is_dir() else (t for t in tests.glob("test_*.py") if "_cli" not in t.name)
        stem = Path(file).stem
        return sorted((str(t.relative_to(tree)) for t in found), key=lambda t: (stem not in t, t))
    floor = Path(file).parts[1].removesuffix(".py") if file else "tests"
    found = [str(path.relative_to(tree)) for path in sorted(tree.glob("tests/**/test_*.py"))]
    wanted = [test for test in found if not test.startswith(LEFT_OUT) or test == f"tests/test_{floor}.py"]
    return sorted(wanted, key=lambda t: (floor not in t, LIKELY.index(t) if t in LIKELY else len(LIKELY)))


def try_one(base: Path, trial: Trial, timeout: float) -> str | None:
    """Make one mistake in a copy of `base`; return what noticed it, None if nothing did."""
    with TemporaryDirectory() as folder:
        tree = Path(shutil.copytree(base, Path(folder).resolve() / "checkout", symlinks=True))
        (tree / trial.file).write_text(trial.source)
        return failure(tree, suite(tree, trial.file), timeout)


def try_all(trials: list[Trial], jobs: int, timeout: float) -> list[str]:
    """Try all mistakes, print a line for each, and return the names of those that nothing noticed.

    Raises:
        ClickException: the tests fail without a mistake.
    """
    with TemporaryDirectory() as folder:
        base = copy_checkout(Path(folder).resolve())
        needed = sorted({test for trial in trials for test in suite(base, trial.file)})
        if found := failure(base, needed, 4 * timeout):  # compiles what is not cached yet, for all copies to come
            raise click.ClickException(f"without any mistake the tests fail: {found}")

        def timed(trial: Trial) -> tuple[str | None, float]:
            start = time.perf_counter()
            return try_one(base, trial, timeout), time.perf_counter() - start

        survivors = []
        with ThreadPoolExecutor(jobs) as pool:
            for trial, (found, seconds) in zip(trials, pool.map(timed, trials), strict=True):
                print(
                    f"{'killed' if found else 'SURVIVED':8} {seconds:4.0f} s  {trial.name}  {found or ''}", flush=True
                )
                survivors += [] if found else [trial.name]
    return survivors


def explanations() -> dict[str, str]:
    """Return why survivors may live, by name."""
    rows = tomllib.loads(EXPLAINED.read_text())["mutant"]
    return {describe(row["file"], row["within"], row["old"], row["new"]): row["why"] for row in rows}


def describe(file: str, within: str, old: str, new: str) -> str:
    """Name a change so that it keeps its name when the file changes elsewhere."""
    return f"{file}, {within}: {old} -> {new or 'nothing'}"


def lacking(mutant: Mutant) -> str | None:
    """Return what this machine lacks of what the tests that would notice a mistake need; None if they are run."""
    need = NEEDS.get(mutant.name) or NEEDS.get(mutant.path)
    here = need is None or binding.get_host_cpu_features().get(need) or shutil.which(need)
    return None if here else need


def _is_chosen(name: str, only: tuple[str, ...]) -> bool:
    return not only or any(part in name for part in only)


@click.command()
@click.option("--only", multiple=True, help="Names, or parts of names, of the mistakes to try; all by default.")
@click.option("--random", "count", default=0, help="Try so many mistakes made by a mutation tool instead.")
@click.option("--seed", default=0, show_default=True, help="Of the random ones.")
@click.option("--jobs", default=1, show_default=True, help="How many to try at once.")
@click.option(
    "--timeout", default=300.0, show_default=True, help="Seconds for the tests of one; then it counts as noticed."
)
def main(only: tuple[str, ...], count: int, seed: int, jobs: int, timeout: float) -> None:
    """Make mistakes in copies of the engine, and fail if the tests do not notice one."""
    untried: list[Mutant] = []
    if count:
        from tools.random_mutants import sample

        changes = sample(ROOT, count, seed)
        trials = [Trial(describe(c.file, c.within, c.old, c.new), c.file, c.source) for c in changes]
        trials = [t for t in trials if _is_chosen(t.name, only)]
    else:
        chosen = [m for m in MUTANTS if _is_chosen(m.name, only)]
        untried = [m for m in chosen if lacking(m)]
        trials = [Trial(m.name, m.path, m.apply((ROOT / m.path).read_text())) for m in chosen if not lacking(m)]
    explained = explanations() if count else {}
    survivors = try_all(trials, jobs, timeout)
    unexplained = [name for name in survivors if name not in explained]
    for mutant in untried:
        print(f"not tried: {mutant.name}  its tests need {lacking(mutant)}, which this machine has not")
    killed, lives = len(trials) - len(survivors), len(survivors) - len(unexplained)
    print(f"{len(trials)} mutants: killed {killed}, explained {lives}, unexplained {len(unexplained)}")
    sys.exit(bool(unexplained))


if __name__ == "__main__":
    main()
