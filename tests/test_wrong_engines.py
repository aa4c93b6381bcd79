"""Each wrong engine is wrong as documented where it is exposed, and right elsewhere; the right one is right throughout."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from minigrad import Tensor, wrong_engines
from minigrad.wrong_engines import WRONG_ENGINES, chain, diamond

ENGINES = pytest.mark.parametrize("engine", WRONG_ENGINES.values(), ids=WRONG_ENGINES)


def test_the_table_lists_what_can_go_wrong():
    assert list(WRONG_ENGINES) == ["without_order", "assigning", "without_unbroadcast", "stale_interior", "recursive"]


@ENGINES
def test_an_engine_is_wrong_as_documented_and_the_right_one_right(engine):
    np.testing.assert_array_equal(engine.right_gradient(), engine.right, strict=True)
    if isinstance(engine.gives, type):
        with pytest.raises(engine.gives, match="recursion"):
            engine.gradient()
    else:
        np.testing.assert_array_equal(engine.gradient(), engine.gives, strict=True)
        assert not np.array_equal(engine.gives, engine.right)


@ENGINES
def test_an_engine_is_right_on_a_simpler_example(engine):
    np.testing.assert_array_equal(engine.gradient(engine.harmless), engine.right_gradient(engine.harmless), strict=True)


@ENGINES
def test_an_engine_is_small_and_says_what_is_wrong(engine):
    assert len(inspect.getsource(engine.backward).split('"""')[2].splitlines()) <= 20
    assert any(
        line.lstrip().startswith(("Wrong: ", "Right, and yet: ")) for line in engine.backward.__doc__.splitlines()
    )
    assert str(engine).startswith(f"{engine.name}: after a = ")


def test_the_example_of_the_course():
    """a = 1; b = a + a; c = b + b: four paths lead from c to a."""
    a = Tensor(1.0, requires_grad=True)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad == 4
    assert WRONG_ENGINES["without_order"].gradient(diamond) == 6
    assert WRONG_ENGINES["assigning"].gradient(diamond) == 1
    assert WRONG_ENGINES["recursive"].gradient(diamond) == 4


def test_a_missing_sum_over_rows_shows_in_the_shape():
    x = Tensor(np.zeros(3), requires_grad=True)
    wrong_engines.without_unbroadcast((x + np.ones((2, 3))).sum())
    assert x.grad is not None
    assert x.grad.shape == (2, 3)


def test_stale_gradients_give_neither_one_nor_two():
    engine = WRONG_ENGINES["stale_interior"]
    once, twice = (replace(engine, calls=calls).gradient(chain) for calls in (1, 2))
    assert once == 4
    assert twice == 3 * once
    leaf, result = chain()
    for calls in (1, 2):
        result.backward(retain_graph=True)
        assert leaf.grad == calls * once


@ENGINES
def test_two_calls_add_up_but_for_what_is_stale_or_assigned(engine):
    twice = replace(engine, calls=2).gradient(chain)
    assert twice == {"stale_interior": 12, "assigning": 4}.get(engine.name, 8)
