"""The matrix of gradient checks has no gap, its cells fail where they should, and docs/gradcheck.md shows it."""

import re
from functools import cache

import numpy as np
import pytest

from minigrad import functional as F
from minigrad.ops import TABLE, Op
from minigrad.tensor import apply
from tests.ops import variants
from tests.ops.cases import CASES, ENGINE, Case
from tests.ops.matrix import DTYPES, Trial, check_cell, takes_complex
from tests.ops.variants import COLUMNS, Refusal, public, row
from tools import gradcheck_matrix

checked = cache(check_cell)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", ENGINE)
def test_every_op_in_every_way(name, column, dtype):
    cell = checked(name, column, dtype)
    assert cell.error is not None or cell.refusals
    if cell.error is not None:
        assert cell.error < 1e-4


def test_no_row_is_left_without_its_op():
    assert set(variants.SPECIAL) <= set(ENGINE)
    assert set(variants.PUBLIC) <= set(ENGINE)
    assert all(set(columns) <= set(COLUMNS) for columns in variants.SPECIAL.values())


def figures_masked(text):
    return re.sub(r"✓ (0|1e-\d\d) +", "✓ ", text)


def test_the_page_is_up_to_date():
    """Figures depend on the machine; all else is as `make gradcheck` would write it now."""
    cells = {(n, c, d): checked(n, c, d) for n in ENGINE for c in COLUMNS for d in DTYPES}
    page, written = gradcheck_matrix.page(cells), gradcheck_matrix.PAGE.read_text()
    assert figures_masked(written) == figures_masked(page), "docs/gradcheck.md is out of date: run make gradcheck"
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == 3 * len(ENGINE)
    assert not any(re.search(r"\|\s*\|", line) for line in rows)


def test_the_complex_step_checks_what_is_no_kernel():
    assert {name for name in ENGINE if not takes_complex(name)} >= {"conv2d", "relu", "abs"}
    assert {name for name in ENGINE if takes_complex(name)} >= {"add", "matmul", "power", "log_softmax", "max", "gelu"}


@pytest.mark.parametrize(
    ("column", "contiguous", "negative", "zero"),
    [
        ("usual", True, False, False),
        ("non-contiguous", False, False, False),
        ("negative strides", False, True, False),
        ("broadcast", False, False, True),
    ],
)
def test_arrays_lie_as_the_column_says(column, contiguous, negative, zero):
    (case,) = (case for case in CASES["log"] if case.inputs[0].shape == (3, 2))
    (x,) = Trial("log", column, case).arrays(np.float32)
    assert x.dtype == np.float32
    assert x.shape == (3, 2)
    assert x.flags.c_contiguous == contiguous
    assert x.flags.f_contiguous is False
    assert (max(x.strides) < 0) == negative
    assert (0 in x.strides) == zero
    if not zero:
        np.testing.assert_array_equal(x, case.inputs[0].astype(np.float32))


def forget_strides(self, g):
    """g times the forward result, if both lay in C order."""
    return (np.ravel(g, "K") * self.out.ravel()).reshape(g.shape)


@pytest.mark.parametrize(
    ("column", "dtype", "vjp"),
    [
        ("usual", "float64", lambda self, g: -g * self.out),
        ("0-d", "float64", lambda self, g: g),
        ("non-contiguous", "float64", forget_strides),
        ("usual", "float32", lambda self, g: g * self.out * (1.01 if g.dtype == np.float32 else 1)),
    ],
)
def test_a_cell_with_a_wrong_gradient_fails(column, dtype, vjp, monkeypatch):
    assert check_cell("exp", column, dtype).error is not None
    monkeypatch.setattr(TABLE["exp"], "vjps", (vjp,))
    with pytest.raises(AssertionError):
        check_cell("exp", column, dtype)


def test_a_result_that_depends_on_memory_order_fails(monkeypatch):
    monkeypatch.setattr(TABLE["exp"], "forward", lambda self, x: np.exp(x) + 0.01 * (x.strides[-1] < 0))
    with pytest.raises(AssertionError):
        check_cell("exp", "negative strides", "float64")


def test_float64_leaking_into_float32_fails(monkeypatch):
    forward = TABLE["exp"].forward
    monkeypatch.setattr(TABLE["exp"], "forward", lambda self, x: forward(self, x.astype(np.float64)))
    with pytest.raises(AssertionError, match="exp: the result is float64, from float32"):
        check_cell("exp", "usual", "float32")


def test_a_refusal_must_be_raised_word_by_word(monkeypatch):
    def cell_with(refusal):
        monkeypatch.setitem(variants.SPECIAL, "exp", {"usual": [refusal]})
        return check_cell("exp", "usual", "float64")

    with pytest.raises(AssertionError, match="exp: nothing was raised, expected: exp: no"):
        cell_with(Refusal(Case((np.ones(2),)), ValueError, "exp: no"))
    monkeypatch.setitem(variants.PUBLIC, "exp", lambda x: F.sum(x, axis=7))
    with pytest.raises(AssertionError, match="exp raised: sum: axis 7 is out of bounds"):
        cell_with(Refusal(Case((np.ones(2),)), ValueError, "exp: no"))


def test_a_public_function_that_does_without_the_op_fails(monkeypatch):
    monkeypatch.setitem(variants.PUBLIC, "exp", lambda x: 1 * x)
    with pytest.raises(AssertionError, match=r"exp was not used, but .'multiply'.$"):
        check_cell("exp", "usual", "float64")


@pytest.fixture
def new_op():
    """An op that was added without a row anywhere."""

    class Triple(Op, name="triple", axes="x: (A, B) -> (A, B)", cost="out"):
        def forward(self, x):
            return 3 * x

        def vjp_x(self, g):
            return 3 * g

    yield Triple
    del TABLE["triple"]


def test_an_op_without_a_row_fails(new_op, monkeypatch, capsys, tmp_path):
    with pytest.raises(LookupError, match="op 'triple' has nothing for the column 'usual': add it to CASES or SPECIAL"):
        row("triple", "usual")
    with pytest.raises(LookupError, match=r"op 'triple' has no function of that name in minigrad.functional"):
        public("triple")
    monkeypatch.setitem(CASES, "triple", [Case((np.ones((2, 3)),))])
    monkeypatch.setitem(variants.PUBLIC, "triple", lambda x: apply(new_op, x))
    assert check_cell("triple", "usual", "float64").error < 1e-8
    for column in ("0-d", "empty"):
        with pytest.raises(LookupError, match=f"'triple' has nothing for the column '{column}'"):
            check_cell("triple", column, "float64")


def test_the_tool_fails_and_leaves_the_page_alone_if_a_cell_fails(new_op, monkeypatch, capsys, tmp_path):
    page = tmp_path / "docs" / "gradcheck.md"
    page.parent.mkdir()
    monkeypatch.setattr(gradcheck_matrix, "PAGE", page)
    monkeypatch.setattr(gradcheck_matrix, "ENGINE", {"exp": TABLE["exp"], "triple": new_op})
    monkeypatch.setattr(gradcheck_matrix, "check_cell", checked)
    assert gradcheck_matrix.main() == 1
    assert not page.exists()
    output = capsys.readouterr().err
    assert "FAILED triple, empty, float64: op 'triple' has nothing" in output
    assert "12 of 24 cells failed; the page is left as it was" in output
    monkeypatch.setattr(gradcheck_matrix, "ENGINE", {"exp": TABLE["exp"]})
    assert gradcheck_matrix.main() == 0
    assert "12 cells, no gap and no failure; written to docs/gradcheck.md" in capsys.readouterr().out
    assert page.read_text().count("| `exp` ") == 3
