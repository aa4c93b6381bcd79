"""Pages about public names: every name is described once, under the name to import it by."""

import importlib
import inspect
import re

import pytest

from tools.docs import api

DIRECTIVES = r"^\.\. (?:autoclass|autoexception|autofunction):: (\S+)|^\.\. py:data:: (\S+)\n   :module: (\S+)"


@pytest.fixture(scope="module")
def pages():
    return {package: api.page(package) for package in api.packages()}


@pytest.fixture(scope="module")
def described(pages):
    """Names as they stand on the pages."""
    found = re.findall(DIRECTIVES, "\n".join(pages.values()), re.MULTILINE)
    return [whole or f"{module}.{name}" for whole, name, module in found]


def test_nothing_is_described_twice(described):
    assert sorted(described) == sorted(set(described))


def test_every_public_name_leads_to_a_description(pages, described):
    modules = set(re.findall(r"^\.\. automodule:: (\S+)", "\n".join(pages.values()), re.MULTILINE))
    assert modules == set(api.public_modules())
    led = {name for name in api.every_name().values() if name}
    assert led == set(described)


@pytest.mark.parametrize("package", api.packages())
def test_every_name_in_all_is_public(package):
    listed = getattr(importlib.import_module(package), "__all__", [])
    names = {f"{package}.{name}" for name in listed if name != "__version__"}
    assert names <= set(api.every_name())


def test_every_class_and_function_without_an_underscore_is_public():
    """Found by looking at the modules as they are, not at their text."""
    for name in api.public_modules():
        found = inspect.getmembers(api.module(name), lambda thing: inspect.isclass(thing) or inspect.isfunction(thing))
        own = {f"{name}.{k}" for k, thing in found if (thing.__module__, thing.__name__) == (name, k) and k[0] != "_"}
        if not hasattr(api.module(name), "__all__"):
            assert own <= set(api.every_name()), name


@pytest.mark.parametrize(
    ("name", "shortest"),
    [
        ("minigrad.tensor.Tensor", "minigrad.Tensor"),
        ("minigrad.debug.draw.draw", "minigrad.draw"),
        ("minigrad.kernels.use", "minigrad.kernels.use"),  # defined in a module with an underscore
        ("minigrad.compression.course.BEGIN", "minigrad.compression.course.BEGIN"),
    ],
)
def test_a_thing_is_described_under_its_shortest_name(name, shortest):
    assert api.every_name()[name] == shortest


def test_a_constant_is_shown_with_its_value_and_the_text_below_it():
    text = api.described(("minigrad.compression.course", "PROGRESS"))
    assert "   :value: 'progress.json'\n" in text
    assert "   Name of the file that says what was solved" in text


def test_a_command_is_described_by_its_function():
    assert "Prune a checkpoint" in api.described(("minigrad.compression.cli_pruning", "prune"))


def test_a_module_that_a_function_hides_is_not_indexed(pages):
    assert ".. automodule:: minigrad.gradcheck\n   :no-index:\n" in pages["minigrad"]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("|w| and x*y", r"\|w\| and x\*y"),
        ("`a | b` is code, a | b is not", r"`a | b` is code, a \| b is not"),
        (">>> 2 ** 3\n8", ">>> 2 ** 3\n8"),
        ("As here:\n\n    a * b\n\nand |c|", "As here::\n\n    a * b\n\nand \\|c\\|"),
        ("Example:\n    A file:\n\n        a ** b", "Example:\n    A file::\n\n        a ** b"),
    ],
)
def test_marks_that_mean_nothing_in_docstrings_are_escaped(text, safe):
    assert api.safe(text) == safe
