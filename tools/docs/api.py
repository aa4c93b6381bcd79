"""Pages about every public name of the packages, for Sphinx's autodoc: one page a package, one section a module.

Public is what a package lists in `__all__`, and what a module without an underscore defines without one. Each thing stands
in the section of the module that defines it, under the name that users import it by, the shortest.
"""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any, TypeVar

import minigrad
import minigrad.compression
from minigrad.kernels import Kernel

Place = tuple[str, str]  # module, name


@cache
def modules() -> list[str]:
    """Return all modules and packages, those with an underscore too."""
    found = []
    for package in (minigrad, minigrad.compression):
        found += [package.__name__, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))]
    return sorted({name for name in found if not name.startswith("minigrad.checkpoints")})


def public_modules() -> list[str]:
    """Return the modules without an underscore."""
    return [name for name in modules() if "._" not in name]


def module(name: str) -> ModuleType:
    """Return a module, also where a function of its name hides it."""
    return importlib.import_module(name)


@cache
def definitions(name: str) -> tuple[dict[str, str | None], dict[str, Place]]:
    """Return what a module's text defines, in its order, and what it imports from where.

    What is defined comes with None for classes and functions, and for data with the text that stands below it, or "".
    """
    source = module(name)
    package = name if hasattr(source, "__path__") else name.rpartition(".")[0]
    own: dict[str, str | None] = {}
    imported: dict[str, Place] = {}
    body = ast.parse(Path(source.__file__ or "").read_text(encoding="utf-8")).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            imported |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            own[node.name] = None
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            text = ""
            if (
                isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                text = inspect.cleandoc(below.value.value)
            own |= {n.id: text for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return own, imported


def home(place: Place) -> Place:
    """Return where a thing is defined that a module may only import; for a module, itself and ""."""
    source, name = place
    own, imported = definitions(source)
    if name in own:
        return place
    origin = imported.get(name, place)
    if origin != place and origin[0] in modules():
        return home(origin)
    if f"{source}.{name}" in modules():
        return f"{source}.{name}", ""
    raise ValueError(f"{source} has {name!r} in __all__, and neither defines nor imports it")


def exported(name: str) -> list[str]:
    """Return the public names of a module or package."""
    listed = getattr(module(name), "__all__", None)
    if listed is not None:
        return [n for n in listed if n != "__version__"]
    names = [n for n in definitions(name)[0] if not n.startswith("_")]
    return [n for n in names if not isinstance(getattr(module(name), n, None), TypeVar)]


@cache
def public() -> dict[Place, list[str]]:
    """Return where each public thing is defined → the names by which it may be imported, the shortest first."""
    found: dict[Place, list[str]] = {}
    for source in public_modules():
        for name in exported(source):
            place = home((source, name))
            if place[1]:
                found.setdefault(place, []).append(f"{source}.{name}")
    return {place: sorted(names, key=lambda n: (n.count("."), n)) for place, names in found.items()}


def every_name() -> dict[str, str]:
    """Return each public name → the name under which it is described; modules are described under their own."""
    names = {name: names[0] for names in public().values() for name in names}
    return dict.fromkeys(public_modules(), "") | names


def value(place: Place) -> Any:
    """Return the thing defined there."""
    return getattr(module(place[0]), place[1])


def described(place: Place) -> str:
    """Return what describes a thing: a directive of autodoc for classes and functions, else its value and its text."""
    thing, name, text = value(place), public()[place][0], definitions(place[0])[0][place[1]]
    if text is None and isinstance(thing, type):
        kind = "exception" if issubclass(thing, BaseException) else "class"
        return f".. auto{kind}:: {name}\n   :members:\n   :show-inheritance:\n"
    if text is None and (isinstance(thing, Kernel) or inspect.isroutine(thing)):
        return f".. autofunction:: {name}\n"
    if text is None:  # what a decorator has made of a function: a command, an instruction for Numba
        text = inspect.getdoc(getattr(thing, "callback", thing)) or ""
    short = len(repr(thing)) < 100 and not re.search("^<| at 0x|Path\\(", repr(thing))  # a path is this machine's
    source, _, own = name.rpartition(".")
    head = f".. py:data:: {own}\n   :module: {source}\n" + (f"   :value: {thing!r}\n" if short else "")
    return f"{head}\n{indent(safe(text), '   ')}\n"


def safe(text: str) -> str:
    r"""Return a docstring with the marks escaped that mean nothing in ours: |w| is an amount, and ** a power.

    What is indented below a line that ends in a colon is code.

    >>> print(safe("|w|, `a * b` and x ** 2:\n\n    x *= 2"))
    \|w\|, `a * b` and x \*\* 2::
    <BLANKLINE>
        x *= 2
    """
    done: list[str] = []
    code = sys.maxsize  # how far the code is indented that we are in
    for paragraph in text.split("\n\n"):
        depth = len(paragraph) - len(paragraph.lstrip())
        above = done[-1].splitlines()[-1] if done and done[-1] else ""
        if above.endswith(":") and depth > len(above) - len(above.lstrip()):
            code, done[-1] = depth, f"{done[-1]}:"
        code = code if depth >= code else sys.maxsize
        if code == sys.maxsize and ">>>" not in paragraph:
            parts = re.split(r"(`+[^`]*`+)", paragraph)
            parts[::2] = [re.sub(r"[*|]", r"\\\g<0>", part) for part in parts[::2]]
            paragraph = "".join(parts)
        done.append(paragraph)
    return "\n\n".join(done)


def section(name: str) -> str:
    """Return the part of a page about one module: what it says of itself, and what it defines."""
    hidden = name in {n for names in public().values() for n in names}  # by a function of the same name
    parts = [f".. automodule:: {name}\n" + ("   :no-index:\n" if hidden else "")]
    parts += [described(place) for place in public() if place[0] == name]
    return "\n".join(parts)


def heading(text: str, mark: str) -> str:
    """Return a heading of reStructuredText."""
    return f"{text}\n{mark * len(text)}\n\n"


def page(package: str) -> str:
    """Return the page of a package and its modules, as reStructuredText."""
    inside = [name for name in public_modules() if name.rpartition(".")[0] == package]
    files = [name for name in inside if not hasattr(module(name), "__path__")]
    private = [m for m in modules() if m.rpartition(".")[0] == package and m not in public_modules()]
    parts = [heading(package, "="), section(package)]
    if names := [name for name in exported(package) if home((package, name))[1]]:
        links = ", ".join(f":py:obj:`{name} <{every_name()[f'{package}.{name}']}>`" for name in sorted(names))
        parts.append(f"**Names to import:** {links}\n")
    parts += [described(place) for place in public() if place[0] in private]
    parts += [heading(name, "-") + section(name) for name in files]
    return "\n".join(parts)


def packages() -> list[str]:
    """Return the packages, each of which has a page."""
    return [name for name in public_modules() if hasattr(module(name), "__path__")]


def missing(inventory: Path) -> list[str]:
    """Return a sentence for each public name that the inventory of a built site does not have."""
    from sphinx.util.inventory import InventoryFile  # pyright: ignore[reportMissingImports]  of the extra "docs"

    with inventory.open("rb") as file:
        kinds = InventoryFile.load(file, "", lambda base, path: path)
    there = {name for kind, names in kinds.items() if kind.startswith("py:") for name in names}
    return [f"the site says nothing of {name}" for name in every_name() if name not in there]
