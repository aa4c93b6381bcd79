"""Costs against figures worked out by hand."""

import numpy as np
import pytest

from minigrad.ops import TABLE
from minigrad.ops.cost import flops
from tests.ops.cases import CASES, ENGINE

ROWS = [pytest.param(name, case, id=f"{name} {case}") for name, cases in CASES.items() for case in cases]


def cost(name, *shapes, **settings):
    arrays = [None if shape is None else np.ones(shape) for shape in shapes]
    return flops(TABLE[name], arrays, TABLE[name]().forward(*arrays, **settings), settings)


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_every_case_has_a_cost(name, case):
    out = TABLE[name]().forward(*case.inputs, **case.settings)
    figure = flops(TABLE[name], case.inputs, out, case.settings)
    assert figure >= 0
    assert (figure == 0) == (TABLE[name].cost == "0")


def test_elementwise_costs_count_the_broadcast_result():
    assert cost("add", (3, 1), (4,)) == 12
    assert cost("sigmoid", (2, 5)) == 4 * 10
    assert cost("log_softmax", (3, 5), axis=1) == 5 * 15


def test_products_count_each_multiplication_and_each_addition():
    assert cost("linear", (64, 256), (120, 256), (120,)) == 2 * 64 * 120 * 256
    assert cost("linear", (64, 256), (120, 256), None) == cost("linear", (64, 256), (120, 256))
    assert cost("matmul", (2, 1, 3, 4), (5, 4, 6)) == 2 * (2 * 5 * 3 * 6) * 4


def test_a_convolution_costs_its_window_times_its_results():
    # LeNet's two: 6 filters of 5x5 at 24x24 places; 16 filters of 6x5x5 at 8x8 places.
    assert cost("conv2d", (1, 1, 28, 28), (6, 1, 5, 5), (6,)) == 2 * 86_400
    assert cost("conv2d", (1, 6, 12, 12), (16, 6, 5, 5), (16,)) == 2 * 153_600
    # Two groups: each of 6 filters sees 4 / 2 channels. 3x2 windows at 3x4 places of 5x5 images, for 3 images.
    assert cost("conv2d", (3, 4, 5, 5), (6, 2, 3, 2), groups=2) == 2 * (3 * 6 * 3 * 4) * 2 * 3 * 2


def test_pooling_costs_its_window():
    settings = {"kernel_size": (3, 2), "stride": (3, 2), "padding": (0, 0)}
    assert cost("max_pool2d", (2, 4, 6, 6), **settings) == (2 * 4 * 2 * 3) * 6
    assert cost("avg_pool2d", (2, 4, 6, 6), **settings) == (2 * 4 * 2 * 3) * 6


def test_reductions_cost_their_input_and_losses_a_softmax():
    assert cost("sum", (3, 4), axis=0) == 12
    assert cost("logsumexp", (3, 4), axis=1) == 4 * 12 + 2 * 3
    targets = np.array([0, 4, 2])
    out = TABLE["cross_entropy"]().forward(np.ones((3, 5)), targets)
    assert flops(TABLE["cross_entropy"], [np.ones((3, 5)), targets], out, {}) == 5 * 3 * 5


def test_only_sums_of_products_are_counted_as_such():
    assert {name for name, op in ENGINE.items() if op.products} == {"conv2d", "linear", "matmul"}


@pytest.mark.parametrize(
    ("formula", "culprit"),
    [("2 * Q", "'Q'"), ("out ** 2", r"'out \*\* 2'"), ("abs(out)", r"'abs\(out\)'"), ("2.5 * out", "'2.5'")],
)
def test_a_formula_of_anything_else_is_refused(monkeypatch, formula, culprit):
    monkeypatch.setattr(TABLE["exp"], "cost", formula)
    with pytest.raises(ValueError, match=f"exp: its cost .* has {culprit}, which is no number, axis or setting"):
        cost("exp", (2, 3))


def test_ops_say_where_they_are_defined():
    assert TABLE["log"].domain == "x > 0"
    assert TABLE["divide"].domain == "y != 0"
    assert TABLE["add"].domain == "any"
    assert all(
        "kink" in TABLE[name].domain for name in ("abs", "relu", "relu6", "clip", "maximum", "max", "max_pool2d")
    )
