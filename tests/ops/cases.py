"""Sample inputs for every op. An op without a row here fails the suite.

Ops with kinks (relu, max-pooling) get values that are all different and none near zero, so that finite differences do
not step over a kink.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.ops import TABLE

ENGINE = {name: op for name, op in TABLE.items() if op.__module__.startswith("minigrad.ops.")}
"""The engine's own ops. Packages on top of it define more, and check them in their own tests."""


@dataclass(frozen=True)
class Case:
    """Arguments of one call: float64 arrays (integer ones carry no gradient) and settings."""

    inputs: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self):
        shapes = ",".join("x".join(map(str, np.shape(x))) or "scalar" for x in self.inputs)
        return " ".join([shapes, *(f"{k}={getattr(v, '__name__', v)}" for k, v in self.settings.items())])


_rng = np.random.default_rng(7)


def normal(*shape):
    return _rng.normal(size=shape)


def positive(*shape):
    return _rng.uniform(0.5, 2.0, shape)


def distinct(*shape):
    """Values at least 0.1 apart, none within 0.05 of zero, in random order."""
    size = int(np.prod(shape))
    return (_rng.permutation(size) - size // 2 + 0.5).reshape(shape) * 0.1


def batch_innermost(x):
    """The same array with the first axis innermost in memory, as the kernels lay it out."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)


def off_grid(scale, *shape):
    """Values a quarter of a step or less from a multiple of scale, most of them within 6 steps, none of them a tie."""
    return scale * (_rng.integers(-8, 9, shape) + _rng.uniform(-0.25, 0.25, shape))


_steps = positive(3, 4)


CASES: dict[str, list[Case]] = {
    "add": [
        Case((normal(3, 4), normal(3, 4))),
        Case((normal(3, 4), normal(4))),
        Case((normal(3, 1), normal(2, 1, 4))),
        Case((normal(), normal(2))),
    ],
    "multiply": [
        Case((normal(3, 4), normal(3, 4))),
        Case((normal(3, 4), normal(3, 1))),
        Case((normal(1), normal(2, 3))),
        Case((normal(), normal())),
    ],
    "divide": [
        Case((normal(3, 4), positive(3, 4))),
        Case((normal(3, 1), positive(4))),
        Case((normal(), -positive(2))),
    ],
    "power": [Case((positive(3, 2),), {"exponent": e}) for e in (-1.0, 0, 0.5, 2, 3)],
    "exp": [Case((normal(3, 2),)), Case((normal(),))],
    "log": [Case((positive(3, 2),))],
    "sqrt": [Case((positive(3, 2),))],
    "abs": [Case((distinct(3, 4),))],
    "clip": [
        Case((distinct(3, 4),), {"low": -0.3, "high": 0.2}),
        Case((distinct(5),), {"high": 0.1}),
        Case((distinct(5),), {"low": 0.1}),
    ],
    "maximum": [
        Case((distinct(3, 4), distinct(3, 4)[:, ::-1] + 0.03)),
        Case((distinct(3, 1), distinct(4) + 0.03)),
    ],
    "where": [
        Case((_rng.random((3, 4)) < 0.5, normal(3, 4), normal(3, 4))),
        Case((np.array([[True], [False]]), normal(3), normal())),
    ],
    "fake_quantize": [
        Case((off_grid(_steps, 3, 4), _steps, _rng.integers(-2, 3, (3, 4))), {"low": -5, "high": 4}),
        Case((off_grid(_steps[:, :1], 3, 4), _steps[:, :1], np.array([[1], [0], [-2]])), {"low": -4, "high": 3}),
        Case((off_grid(0.3, 2, 3), np.array(0.3), np.array(0)), {"low": -7, "high": 7}),
        Case((off_grid(0.3, 5), np.array(0.3), np.array(-8)), {"low": -8, "high": -2, "grad_factor": 0.5}),
    ],
    "binary_sign": [Case((distinct(4, 11),))],
    "relu6": [Case((10 * distinct(4, 3),))],
    "leaky_relu": [Case((distinct(4, 3),)), Case((distinct(4, 3),), {"slope": 0.3})],
    "sigmoid": [Case((normal(3, 4),)), Case((40 * normal(4),))],
    "tanh": [Case((normal(3, 4),))],
    "gelu": [Case((2 * normal(3, 4),))],
    "max": [
        Case((distinct(3, 4),)),
        Case((distinct(3, 4),), {"axis": 1}),
        Case((distinct(2, 3, 4),), {"axis": (0, 2), "keepdims": True}),
    ],
    "logsumexp": [
        Case((normal(3, 4),)),
        Case((normal(3, 4),), {"axis": 0}),
        Case((normal(2, 3, 4),), {"axis": (1, -1), "keepdims": True}),
    ],
    "concatenate": [
        Case((normal(2, 3), normal(4, 3), normal(1, 3))),
        Case((normal(2, 3), normal(2, 1)), {"axis": -1}),
    ],
    "pad": [Case((normal(2, 3),), {"widths": ((1, 0), (2, 3)), "value": 1.5})],
    "getitem": [
        Case((normal(4, 3),), {"key": (slice(None, None, -2), 1)}),
        Case((normal(4, 3),), {"key": np.array([0, 2, 2, 0, -1])}),
        Case((normal(4, 3),), {"key": (np.array([0, 0, 3]), np.array([1, 1, 2]))}),
        Case((normal(2, 3),), {"key": np.array([[True, False, True], [False, False, True]])}),
        Case((normal(2, 3),), {"key": (None, Ellipsis, 0)}),
    ],
    "watch": [Case((normal(2, 3),), {"call": np.shape})],
    "avg_pool2d": [
        Case((normal(2, 2, 4, 6),), {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}),
        Case((normal(2, 1, 5, 7),), {"kernel_size": (3, 2), "stride": (1, 3), "padding": (1, 1)}),
    ],
    "batch_norm": [
        Case((normal(5, 3), positive(3), normal(3))),
        Case((normal(3, 2, 4, 3), positive(2), normal(2)), {"eps": 0.1}),
        Case((normal(3, 2, 4), positive(2), normal(2)), {"mean": normal(2), "var": positive(2)}),
    ],
    "bce_with_logits": [Case((normal(3, 4), _rng.random((3, 4)))), Case((normal(3, 1), _rng.random(4)))],
    "relu": [Case((distinct(5, 4),)), Case((batch_innermost(distinct(3, 2, 4, 4)),))],
    "sum": [
        Case((normal(3, 4),)),
        Case((normal(3, 4),), {"axis": 0}),
        Case((normal(3, 4, 2),), {"axis": (0, -1)}),
        Case((normal(3, 4),), {"axis": 1, "keepdims": True}),
        Case((normal(),)),
    ],
    "reshape": [
        Case((normal(3, 4),), {"shape": (2, 6)}),
        Case((batch_innermost(normal(3, 2, 2, 2)),), {"shape": (3, -1)}),
    ],
    "transpose": [Case((normal(2, 3, 4),), {"axes": (2, 0, 1)}), Case((normal(2, 3),), {"axes": (1, 0)})],
    "matmul": [
        Case((normal(3, 4), normal(4, 2))),
        Case((normal(2, 3, 4), normal(2, 4, 5))),
        Case((normal(2, 1, 3, 4), normal(5, 4, 2))),
        Case((normal(3, 4), normal(2, 4, 2))),
    ],
    "linear": [
        Case((normal(5, 4), normal(3, 4), normal(3))),
        Case((batch_innermost(normal(7, 6)), normal(2, 6))),
        Case((normal(1, 1), normal(1, 1), normal(1))),
    ],
    "conv2d": [
        Case((normal(2, 1, 6, 6), normal(2, 1, 3, 3), normal(2))),
        Case((normal(3, 2, 6, 5), normal(3, 2, 3, 2), normal(3)), {"stride": (2, 1)}),
        Case((normal(2, 3, 5, 6), normal(5, 3, 2, 3)), {"padding": (1, 2), "stride": (2, 2)}),
        Case((normal(2, 1, 7, 7), normal(2, 1, 3, 2), normal(2)), {"dilation": (2, 3)}),
        Case((normal(2, 4, 5, 5), normal(6, 2, 3, 3), normal(6)), {"groups": 2, "padding": (1, 1)}),
        Case((normal(2, 3, 4, 4), normal(3, 1, 2, 2)), {"groups": 3}),
        Case((normal(1, 1, 9, 8), normal(1, 1, 2, 2)), {"stride": (3, 2), "dilation": (2, 2), "padding": (1, 0)}),
    ],
    "max_pool2d": [
        Case((distinct(2, 2, 4, 6),), {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}),
        Case((distinct(2, 1, 5, 7),), {"kernel_size": (3, 2), "stride": (1, 2), "padding": (0, 0)}),
        Case((distinct(2, 1, 5, 4),), {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}),
    ],
    "relu_max_pool2d": [
        Case((distinct(2, 2, 4, 6),), {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0)}),
        Case((distinct(2, 1, 5, 7) - 1,), {"kernel_size": (3, 2), "stride": (1, 2), "padding": (0, 0)}),
        Case((distinct(2, 1, 5, 4),), {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}),
    ],
    "log_softmax": [Case((normal(3, 5),), {"axis": 1}), Case((normal(3, 2, 4),), {"axis": 0})],
    "cross_entropy": [Case((normal(4, 5), np.array([0, 4, 2, 2])))],
}
