"""Random mistakes for `mutants.py`, made by the mutation operators of Cosmic Ray (extra `mutation`).

A mistake is one operator, comparison, number, keyword, loop or decorator changed. Which ones are taken depends on the seed
and on the text of the line, not on its number: when the source changes, the sample changes with it in that place only.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

FILES = ("minigrad/ops/*.py", "minigrad/tensor.py", "minigrad/in_place.py", "minigrad/tape.py")

RAISES = re.compile(r"_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow|USub)_(RShift|LShift|BitOr|BitAnd|BitXor|Invert)$")
"""Operators that turn arithmetic into bit operations. Floats have none: such a mistake would notice itself."""


@dataclass(frozen=True)
class Change:
    """One mistake.

    Attributes:
        file: from the root.
        within: class and function that it is in, "Relu.forward".
        old, new: the lines that differ.
        source: the whole file with the mistake in it.
    """

    file: str
    within: str
    old: str
    new: str
    source: str


@dataclass(frozen=True)
class Place:
    """Where an operator can change a file: at its `occurrence`-th chance there."""

    file: str
    position: tuple[int, int]
    operator: str
    occurrence: int


def sample(root: Path, count: int, seed: int) -> list[Change]:
    """Return `count` mistakes in FILES, at most one in any place, ordered by file.

    Raises:
        ValueError: there are not as many.
    """
    sources = {str(p.relative_to(root)): p.read_text() for pattern in FILES for p in sorted(root.glob(pattern))}
    ranked = sorted(
        (_rank(place, sources[place.file], seed), place) for f in sources for place in _places(f, sources[f])
    )
    taken: dict[tuple[str, tuple[int, int]], Change] = {}
    for _, place in ranked:
        if len(taken) == count:
            break
        if (place.file, place.position) not in taken:
            change = _change(place, sources[place.file])
            if change is not None:
                taken[place.file, place.position] = change
    if len(taken) < count:
        raise ValueError(f"sample: only {len(taken)} of {count} mistakes can be made in {', '.join(FILES)}")
    return [taken[key] for key in sorted(taken)]


def _places(file: str, source: str) -> Iterator[Place]:
    tree = get_ast(source)
    nodes = list(ast_nodes(tree))
    for name in operator_names():
        if get_operator(name).arguments() or RAISES.search(name):
            continue  # the first need to be told names of variables
        operator = get_operator(name)()
        positions = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, position in enumerate(positions):
            yield Place(file, position, name, occurrence)


def _rank(place: Place, source: str, seed: int) -> tuple[str, int]:
    """Return what places are ordered by: a random number that does not change with other lines."""
    line, column = place.position
    text = source.splitlines()[line - 1].strip()
    key = f"{seed} {place.file} {_within(source, line)} {text} {column} {place.operator}"
    return sha256(key.encode()).hexdigest(), place.occurrence


def _change(place: Place, source: str) -> Change | None:
    """Make the mistake; return None if it is none: what does not compile, or changes types that nobody looks at."""
    mutated = mutate_code(source, get_operator(place.operator)(), place.occurrence)
    try:
        if ast.dump(_without_annotations(mutated)) == ast.dump(_without_annotations(source)):
            return None
        compile(mutated, place.file, "exec")
    except SyntaxError:
        return None
    before, after = source.splitlines(), mutated.splitlines()
    while before[-1] == after[-1]:
        del before[-1], after[-1]
    while before and after and before[0] == after[0]:
        del before[0], after[0]
    old, new = (" ".join(line.strip() for line in lines) for lines in (before, after))
    return Change(place.file, _within(source, place.position[0]), old, new, mutated)


def _without_annotations(source: str) -> ast.Module:
    """Parse a file and forget its annotations, which are not run or do not matter."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return tree


def _within(source: str, line: int) -> str:
    """Return the classes and functions that a line is in, outermost first."""
    names = [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    return ".".join(names) or "module"
