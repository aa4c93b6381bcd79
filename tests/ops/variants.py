"""What each op is given in each column of the gradient-check matrix (`matrix.py`), and how users call it.

Most of it follows from the op's axes and its `CASES`. `SPECIAL` holds the rest; an op without a row there, for which
nothing can be derived, fails the suite.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from minigrad import functional as F
from minigrad.ops import TABLE
from minigrad.tensor import Tensor, apply, watch
from tests.ops.cases import CASES, Case, distinct, normal, positive

COLUMNS = ("usual", "0-d", "empty", "non-contiguous", "negative strides", "broadcast")


@dataclass(frozen=True)
class Refusal:
    """A call that makes no sense, and the error that must say so."""

    case: Case
    error: type[Exception]
    sentence: str


Row = list[Case | Refusal]


def _relu_max_pool2d(x: Tensor, **settings: Any) -> Tensor:
    """The fused op has no function of its own: `max_pool2d` runs it when its input waits (`functional/peephole.py`)."""
    return apply(TABLE["relu_max_pool2d"], x, **settings) if x.ndim == 4 else F.max_pool2d(F.relu(x), **settings)


PUBLIC: dict[str, Callable[..., Tensor]] = {
    "add": operator.add,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": lambda x, exponent: x**exponent,
    "max": Tensor.max,
    "reshape": lambda x, shape: x.reshape(shape),
    "transpose": lambda x, axes: x.transpose(axes),
    "concatenate": lambda *arrays, axis=0: F.concatenate(arrays, axis),
    "getitem": lambda x, key: x[key],
    "watch": watch,
    "relu_max_pool2d": _relu_max_pool2d,
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "batch_norm": lambda x, w, b, mean=None, var=None, eps=1e-5: F.batch_norm(x, mean, var, w, b, eps=eps),
    "cross_entropy": partial(F.cross_entropy, reduction="none"),
    "bce_with_logits": partial(F.bce_with_logits, reduction="none"),
}
"""How users call an op whose public name or arguments are not the op's own."""


def public(name: str) -> Callable[..., Tensor]:
    """Return what users call for an op: the row of PUBLIC, or the function of its name in `minigrad.functional`."""
    if name not in PUBLIC and not hasattr(F, name):
        raise LookupError(f"op {name!r} has no function of that name in minigrad.functional: add it to PUBLIC")
    return PUBLIC.get(name) or getattr(F, name)


def _refused(sentence: str, *inputs: Any, error: type[Exception] = ValueError, **settings: Any) -> Refusal:
    return Refusal(Case(tuple(np.asarray(x) for x in inputs), settings), error, sentence)


_SCALARS = (normal(), normal())

SPECIAL: dict[str, dict[str, Row]] = {
    "reshape": {
        "0-d": [Case((normal(),), {"shape": (1, 1)})],
        "empty": [Case((normal(0, 4),), {"shape": (2, 0)})],
    },
    "transpose": {
        "0-d": [
            Case((normal(),), {"axes": ()}),
            _refused("transpose: (0,) does not name each axis once (x: ())", normal(), axes=(0,)),
        ]
    },
    "concatenate": {
        "0-d": [_refused("concatenate: axis 0 does not exist in shape ()", *_SCALARS)],
        "empty": [Case((normal(0, 3), normal(2, 3)))],
        "broadcast": [
            _refused(
                "concatenate: shapes must agree in every dimension but axis 0, got (2, 3), (2, 1)",
                normal(2, 3),
                normal(2, 1),
            )
        ],
    },
    "pad": {"0-d": [Case((normal(),), {"widths": ()})]},
    "getitem": {
        "0-d": [
            Case((normal(),), {"key": ()}),
            Case((normal(),), {"key": None}),
            _refused(
                "getitem: too many indices for array: array is 0-dimensional, but 1 were indexed (x: ())",
                normal(),
                error=IndexError,
                key=0,
            ),
        ],
        "empty": [
            Case((normal(0, 3),), {"key": (slice(None, None, -2), 1)}),
            Case((normal(4, 3),), {"key": np.array([], int)}),
            _refused(
                "getitem: index 0 is out of bounds for axis 0 with size 0 (x: (0, 3))",
                normal(0, 3),
                error=IndexError,
                key=0,
            ),
        ],
    },
    "max": {
        "empty": [
            Case((normal(0, 4),), {"axis": 1}),
            _refused("max: shape (0, 4) has no elements to choose from over axis None", normal(0, 4)),
        ],
        "broadcast": [Case((distinct(3, 4),), {"axis": 1})],  # over axis 0 the copies would tie
    },
    "log_softmax": {
        "0-d": [_refused("log_softmax: axis 0 does not exist in shape ()", normal(), axis=0)],
        "empty": [Case((normal(0, 5),), {"axis": 1}), Case((normal(0, 5),), {"axis": 0})],
    },
    "matmul": {
        "0-d": [_refused("matmul: operands need at least one axis, got shapes () and ()", *_SCALARS)],
        "empty": [
            Case((normal(0, 4), normal(4, 2))),
            Case((normal(3, 0), normal(0, 2))),
            Case((normal(3, 4), normal(4, 0))),
            Case((normal(0, 3, 4), normal(4, 2))),
        ],
        "broadcast": [
            Case((normal(2, 1, 3, 4), normal(5, 4, 2))),
            Case((normal(3, 4), normal(2, 4, 2))),
        ],
    },
    "linear": {
        "0-d": [
            _refused(
                "linear: x has no features but w expects 4 (x: (), w: (3, 4)); "
                "are images not flattened, or of another size?",
                normal(),
                normal(3, 4),
            )
        ],
        "empty": [
            Case((normal(0, 4), normal(3, 4), normal(3))),
            Case((normal(5, 0), normal(3, 0), normal(3))),
            Case((normal(5, 4), normal(0, 4), normal(0))),
        ],
        "broadcast": [
            _refused(
                "linear: x has 4 features but w expects 1 (x: (5, 4), w: (3, 1)); "
                "are images not flattened, or of another size?",
                normal(5, 4),
                normal(3, 1),
            )
        ],
    },
    "conv2d": {
        "0-d": [
            _refused(
                "conv2d: x must be (N, C, H, W) and w (F, C / groups, KH, KW) (x: (), w: (3, 2, 2, 2))",
                normal(),
                normal(3, 2, 2, 2),
            )
        ],
        "empty": [
            Case((normal(0, 2, 5, 5), normal(3, 2, 2, 2), normal(3)), {"padding": (1, 1)}),
            Case((normal(2, 2, 5, 5), normal(0, 2, 2, 2), normal(0))),
            _refused(
                "conv2d: a filter without elements (x: (2, 0, 5, 5), w: (3, 0, 2, 2))",
                normal(2, 0, 5, 5),
                normal(3, 0, 2, 2),
            ),
        ],
        "broadcast": [
            _refused(
                "conv2d: x has C=4 channels but w expects C=1 (x: (5, 4, 3, 3), w: (3, 1, 2, 2))",
                normal(5, 4, 3, 3),
                normal(3, 1, 2, 2),
            )
        ],
    },
    "relu_max_pool2d": {
        "0-d": [_refused("max_pool2d: x must be (N, C, H, W) (x: ())", normal(), kernel_size=2)],
    },
    "batch_norm": {
        "0-d": [
            _refused("batch_norm: x must be (N, C, ...) and w (C,) (x: (), w: (2,))", normal(), positive(2), normal(2))
        ],
        "empty": [
            Case((normal(0, 2, 4), positive(2), normal(2)), {"mean": normal(2), "var": positive(2)}),
            _refused(
                "batch_norm: a training batch needs two values or more a channel, got 0 (x: (0, 2))",
                normal(0, 2),
                positive(2),
                normal(2),
            ),
        ],
        "broadcast": [
            _refused(
                "batch_norm: x must be (N, C, ...) and w (C,) (x: (5, 4), w: (1,))",
                normal(5, 4),
                positive(1),
                normal(1),
            )
        ],
    },
    "cross_entropy": {
        "0-d": [
            _refused(
                "cross_entropy: logits must be (N, K) and targets (N,) (logits: (), targets: ())", normal(), np.array(0)
            )
        ],
        "broadcast": [
            _refused(
                "cross_entropy: logits must be (N, K) and targets (N,) (logits: (3, 4), targets: (1,))",
                normal(3, 4),
                np.array([2]),
            )
        ],
    },
    "bce_with_logits": {
        "broadcast": [
            _refused(
                "binary_cross_entropy_with_logits: input and target must have one shape (input: (3, 4), target: (4,))",
                normal(3, 4),
                normal(4),
            )
        ]
    },
}


def row(name: str, column: str) -> Row:
    """Return what the op is given in a column.

    Raises:
        LookupError: nothing is said about it and nothing can be derived.
    """
    found = SPECIAL.get(name, {}).get(column) or _derived(name, column)
    if not found:
        raise LookupError(f"op {name!r} has nothing for the column {column!r}: add it to CASES or SPECIAL")
    return found


def _derived(name: str, column: str) -> Row:
    usual = [case for case in CASES.get(name, []) if not _broadcasts(name, case)]
    if not usual:
        return []
    arguments = re.findall(r"\(([^)]*)\)", TABLE[name].axes.split("->")[0])
    if column == "0-d":
        if arguments == ["N, C, H, W"]:
            return [_refused(f"{name}: x must be (N, C, H, W) (x: ())", 1.0, **usual[0].settings)]
        whole = [case for case in usual if not {"axis", "axes"} & {*case.settings}]
        return [_element(case, i) for case in whole for i in range(4)] if set(arguments) == {"..."} else []
    if column == "empty":
        case = next(case for case in usual if np.ndim(case.inputs[0]))
        has_batch = [axes.startswith(("...", "N")) for axes in arguments]
        inputs = (x[:0] if shrinks else x for x, shrinks in zip(case.inputs, has_batch, strict=False))
        return [Case(tuple(inputs), case.settings)] if any(has_batch) else []
    if column == "broadcast" and TABLE[name].broadcasts:
        return [case for case in CASES[name] if _broadcasts(name, case)]
    if column == "broadcast" and not takes_one_array(name):
        return []
    return list(usual)


def takes_one_array(name: str) -> bool:
    """Whether an op has nothing to broadcast its array against: what can be broadcast is that array itself."""
    return len(TABLE[name].arguments) == 1 and not TABLE[name].variadic


def _broadcasts(name: str, case: Case) -> bool:
    """Whether an op that broadcasts has arrays of different shapes to broadcast."""
    return TABLE[name].broadcasts and len({np.shape(x) for x in case.inputs}) > 1


def _element(case: Case, i: int) -> Case:
    """The case with a single element of each array, of shape ()."""
    return Case(tuple(np.array(x.flat[i % x.size]) for x in map(np.asarray, case.inputs)), case.settings)
