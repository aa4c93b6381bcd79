"""The mapping of compression/ to minigrad.compression, and its guards (see docs/architecture.md)."""

import ast
import importlib
import pkgutil
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest

import minigrad
import minigrad.compression

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())


def python(script, cwd, *arguments):
    """Run a script in a fresh process."""
    command = [sys.executable, *arguments, "-c", textwrap.dedent(script)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def modules(package):
    found = [package.__name__]
    found += [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    return [name for name in found if not name.endswith(".__main__")]


def test_the_package_is_imported_from_another_folder(tmp_path):
    result = python("import minigrad.compression.pruning as p; print(p.SparsePruner.__module__)", tmp_path)
    assert result.stdout.strip() == "minigrad.compression.pruning.pruner", result.stderr


def test_the_standard_librarys_compression_stays_reachable_from_the_repository_root(tmp_path):
    """Python 3.14's gzip imports compression._common; a stand-in for it later on the path must be found."""
    stand_in = tmp_path / "lib" / "compression" / "_common"
    stand_in.mkdir(parents=True)
    (stand_in.parent / "__init__.py").write_text("")
    (stand_in / "__init__.py").write_text("")
    (stand_in / "_streams.py").write_text("BUFFER_SIZE = 42\n")
    script = f"""
        import sys
        sys.path.append({str(tmp_path / "lib")!r})
        assert sys.path[0] == "", sys.path
        import compression
        from compression._common._streams import BUFFER_SIZE
        assert compression.__file__.startswith({str(ROOT)!r}), compression.__file__
        import minigrad.compression.models
        print(BUFFER_SIZE)
    """
    result = python(script, ROOT)
    assert result.stdout.strip() == "42", result.stderr


def test_the_citation_names_this_version_and_the_licences_authors():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {minigrad.__version__}\n" in citation
    author = (ROOT / "LICENSE").read_text().splitlines()[2].removeprefix("Copyright (c) 2026 ")
    assert f"authors:\n  - name: {author}\n" in citation


def test_compression_init_holds_the_path_idiom_and_nothing_else():
    lines = (ROOT / "compression" / "__init__.py").read_text().split("\n")
    assert [line for line in lines if line] == [
        "from pkgutil import extend_path",
        "__path__ = extend_path(__path__, __name__)",
    ]


def test_the_list_of_packages_is_the_list_of_folders():
    mapped = SETTINGS["tool"]["setuptools"]["package-dir"]
    folders = [
        p.parent.relative_to(ROOT) for top in ("minigrad", "compression") for p in (ROOT / top).rglob("__init__.py")
    ]
    names = {str(folder).replace("/", ".").replace("compression", "minigrad.compression") for folder in folders}
    assert mapped == {"minigrad.compression": "compression", "minigrad.checkpoints": "data/checkpoints"}
    assert set(SETTINGS["tool"]["setuptools"]["packages"]) == names | {"minigrad.checkpoints"}


@pytest.mark.parametrize("name", modules(minigrad) + modules(minigrad.compression))
def test_every_module_imports_and_its_examples_run(name):
    import doctest

    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


def test_no_module_is_loaded_twice():
    for name in modules(minigrad) + modules(minigrad.compression):
        importlib.import_module(name)
    files = [Path(m.__file__).resolve() for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
    ours = [f for f in files if f.is_relative_to(ROOT / "minigrad") or f.is_relative_to(ROOT / "compression")]
    assert len(ours) == len(set(ours))
    assert "compression.pruning" not in sys.modules


FLOORS = ["kernels", "ops", "tensor", "functional", "nn", "optim"]


def test_a_room_imports_only_from_floors_below():
    """kernels -> ops -> tensor -> functional -> nn -> optim; and minigrad never imports compression."""
    for path in (ROOT / "minigrad").rglob("*.py"):
        room = path.relative_to(ROOT / "minigrad").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                imported = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
            for name in imported:
                assert "compression" not in name, f"{path} imports {name}"
                parts = name.split(".")
                if parts[0] == "minigrad" and len(parts) > 1 and parts[1] in FLOORS and room in FLOORS:
                    assert FLOORS.index(parts[1]) <= FLOORS.index(room), f"{path} imports {name}"


def test_importing_the_engine_does_not_wait_for_what_few_programs_need(tmp_path):
    late = {"matplotlib", "torch", "scipy.linalg", "scipy.special", "urllib.request"}
    result = python(f"import sys, minigrad; print(sorted({late} & set(sys.modules)))", tmp_path)
    assert result.stdout.strip() == "[]", result.stderr


def test_the_version_is_said_once():
    assert SETTINGS["project"]["dynamic"] == ["version"]
    assert minigrad.__version__.count(".") == 2


def test_floor_constraints_are_the_lower_bounds():
    bounds = dict(requirement.split(">=") for requirement in SETTINGS["project"]["dependencies"])
    lines = (ROOT / "constraints" / "floor.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert set(bounds) <= set(pins)
    for name, bound in bounds.items():
        assert pins[name] == bound or pins[name].startswith(bound + "."), name


@pytest.fixture(scope="module")
def wheel_site(tmp_path_factory):
    """The packages as a wheel has them, unpacked beside the environment's dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return folder


def test_a_wheel_and_an_sdist_build_and_the_wheel_works_outside_the_checkout(wheel_site, tmp_path):
    (wheel,) = (wheel_site / "dist").glob("*.whl")
    (sdist,) = (wheel_site / "dist").glob("*.tar.gz")
    assert wheel.name.startswith("minigrad_compression-")
    assert sdist.stat().st_size < 5_000_000
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    files = [p for p in (ROOT / "compression").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    others = {p for p in files if p.suffix != ".py"}
    assert {f"minigrad/{p.relative_to(ROOT).as_posix()}" for p in others} <= set(names)
    assert "minigrad/compression/export/playground.html" in names
    site = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(site),
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    script = f"""
        import sys
        sys.path.insert(0, {str(site)!r})
        import numpy as np
        from PIL import Image
        import minigrad, minigrad.compression.cli as cli
        assert minigrad.__file__.startswith({str(site)!r}), minigrad.__file__
        assert cli.__file__.startswith({str(site)!r}), cli.__file__
        picture = np.zeros((28, 28), np.uint8)
        picture[4:24, 13:16] = 255
        Image.fromarray(picture).save("one.png")
        cli.main(["predict", "one.png"])
    """
    result = python(script, tmp_path, "-P")
    assert result.stdout.startswith("one.png: 1 ("), result.stderr
