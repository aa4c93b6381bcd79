"""What an op costs: the formula in its row of the table, put into numbers.

One addition, multiplication, division, comparison, exp, log, sqrt, tanh or erf of one element counts as one operation.
A formula follows the op's definition, however forward goes about it. Moving elements is free; a bias is not counted.
That of batch_norm includes the batch's own mean and variance.
"""

import ast
import inspect
import operator
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from minigrad.ops.base import Op

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def flops(op: type[Op], arrays: Sequence[Any], out: Any, settings: Mapping[str, Any]) -> int:
    """Return the number of floating-point operations of one forward.

    Args:
        op: a row of the table.
        arrays: what forward was given; None for an optional one that is left out.
        out: its result.
        settings: its settings. One of several numbers, such as kernel_size, counts as their product.

    Raises:
        ValueError: the formula has something else than whole numbers, + - * / and names of axes, arguments and settings.

    Example:
        >>> from minigrad.ops import TABLE
        >>> flops(TABLE["matmul"], [np.ones((2, 3)), np.ones((3, 4))], np.ones((2, 4)), {})
        48
    """
    names = {**_defaults(op), **settings, "out": np.size(out)}
    names |= {name: np.size(x) for name, x in zip(op.arguments, arrays, strict=False)}
    arguments, result = op.axes.split("->")
    for axes, values in ((arguments, arrays), (result, [out])):
        for group, x in zip(re.findall(r"\(([^)]*)\)", axes), values, strict=False):
            names |= {} if x is None else _bind(group.split(","), np.shape(x))
    return int(_value(_parse(op.cost), names, op))


def _bind(axes: list[str], shape: tuple[int, ...]) -> dict[str, int]:
    """Give each axis before the first and after the last "..." its size: (["...", "M", "K"], (5, 2, 3)) -> M=2, K=3."""
    axes = [axis.strip() for axis in axes]
    dots = [i for i, axis in enumerate(axes) if axis.startswith("...")]
    if not dots:
        return dict(zip(axes, shape, strict=False))
    first, after = dots[0], len(axes) - dots[-1] - 1
    return dict(
        zip(axes[:first] + axes[len(axes) - after :], shape[:first] + shape[len(shape) - after :], strict=False)
    )


@cache
def _defaults(op: type[Op]) -> dict[str, Any]:
    return {p.name: p.default for p in inspect.signature(op.forward).parameters.values() if p.kind is p.KEYWORD_ONLY}


@cache
def _parse(cost: str) -> ast.expr:
    return ast.parse(cost, mode="eval").body


def _value(node: ast.expr, names: Mapping[str, Any], op: type[Op]) -> float:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name) if name in names:
            return int(np.prod(names[name]))
        case ast.BinOp(left, operation, right) if type(operation) in OPERATORS:
            return OPERATORS[type(operation)](_value(left, names, op), _value(right, names, op))
    raise ValueError(f"{op.name}: its cost {op.cost!r} has {ast.unparse(node)!r}, which is no number, axis or setting")
