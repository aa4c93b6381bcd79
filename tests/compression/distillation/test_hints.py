"""Hints and attention: the papers' formulas, the teacher left alone, and hooks that are gone afterwards."""

import numpy as np
import pytest

from minigrad import gradcheck, nn
from minigrad.compression.distillation import Hint, attention_loss, attention_map, capture, hint_loss, regressor
from minigrad.tensor import Tensor
from tests.sentences import raises


def test_capture_keeps_the_latest_output_and_takes_its_hooks_away(rng):
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 1)))
    x = rng.normal(size=(5, 2)).astype(np.float32)
    with capture(model, ["0", "1.0"]) as seen:
        model(x[:2])
        model(x)
    np.testing.assert_array_equal(seen["0"].data, model[0](x).data)
    np.testing.assert_array_equal(seen["1.0"].data, np.maximum(seen["0"].data, 0))
    model(x[:2])
    assert seen["0"].shape == (5, 3)
    with (
        raises(KeyError, "\"capture: Sequential has no module 'conv9'; it has 0, 1, 1.0, 1.1\""),
        capture(model, ["conv9"]),
    ):
        pass


def test_capture_takes_its_hooks_away_after_an_error():
    model = nn.Linear(2, 3)
    with pytest.raises(ZeroDivisionError), capture(model, [""]) as seen:
        raise ZeroDivisionError
    model(np.ones((1, 2), np.float32))
    assert seen == {}


def test_the_hint_loss_is_the_papers(rng):
    x, y = rng.normal(size=(2, 4, 3, 2, 2))
    np.testing.assert_allclose(hint_loss(x, y).item(), 0.5 * ((x - y) ** 2).sum() / 4)
    layer = nn.Conv2d(3, 3, 1)
    for p in layer.parameters():
        p.data = p.data.astype(float)
    np.testing.assert_allclose(hint_loss(x, y, layer).item(), hint_loss(layer(x), y).item())
    gradcheck(lambda x: hint_loss(x, y), [x])


@pytest.mark.parametrize(("ours", "theirs"), [((4,), (7,)), ((4, 12, 12), (16, 8, 6)), ((3, 5, 5), (2, 5, 5))])
def test_a_regressor_maps_shapes(ours, theirs):
    layer = regressor(ours, theirs)
    assert layer(np.ones((2, *ours), np.float32)).shape == (2, *theirs)


def test_shapes_that_do_not_fit(rng):
    with raises(
        ValueError, "regressor: both features must be (D,) or both (C, H, W) (student: (4,), teacher: (3, 5, 5))"
    ):
        regressor((4,), (3, 5, 5))
    with raises(
        ValueError,
        "regressor: the student's maps are smaller than the teacher's (student: (4, 4, 9), teacher: (3, 5, 5)); "
        "choose an earlier layer of the student",
    ):
        regressor((4, 4, 9), (3, 5, 5))
    with raises(
        ValueError,
        "hint_loss: the student's features are (2, 3), the teacher's (2, 4); "
        "a regressor maps one to the other: regressor(student_shape, teacher_shape)",
    ):
        hint_loss(np.ones((2, 3)), np.ones((2, 4)))
    with raises(ValueError, "attention_loss: maps must be of one size (student: (2, 3, 4, 4), teacher: (2, 3, 5, 4))"):
        attention_loss(np.ones((2, 3, 4, 4)), np.ones((2, 3, 5, 4)))
    with raises(ValueError, "attention_map: features must be (N, C, H, W), got (2, 3)"):
        attention_map(np.ones((2, 3)))


def test_attention_is_the_papers_formula(rng):
    x, y = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 6, 4, 4))
    q = (x**2).sum(axis=1).reshape(2, 16), (y**2).sum(axis=1).reshape(2, 16)
    q_s, q_t = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in q)
    np.testing.assert_allclose(attention_map(x).data, q_s, rtol=1e-12)
    np.testing.assert_allclose(attention_loss(x, y).item(), (np.linalg.norm(q_s - q_t, axis=1) ** 2).mean(), rtol=1e-12)
    gradcheck(lambda x: attention_loss(x, y), [x])


@pytest.mark.parametrize("size", [0, 1e-18, 1e-3, 1e12])
def test_attention_of_tiny_and_huge_features_is_finite(rng, size):
    x = Tensor((size * rng.normal(size=(2, 3, 4, 4))).astype(np.float32), requires_grad=True)
    loss = attention_loss(x, np.ones((2, 1, 4, 4), np.float32))
    loss.backward()
    assert np.isfinite(loss.data)
    assert np.isfinite(x.grad).all()
    assert loss.dtype == x.grad.dtype == np.float32


def test_no_gradient_reaches_the_teacher(rng):
    x, y = (Tensor(a, requires_grad=True) for a in rng.normal(size=(2, 2, 3, 4, 4)))
    for loss in (hint_loss, attention_loss, Hint("a", "b"), Hint("a", "b", attention=True)):
        loss(x, y * 2).backward()
    assert y.grad is None
    assert x.grad is not None


def test_a_hint_weighs(rng):
    x, y = rng.normal(size=(2, 2, 3, 4, 4))
    np.testing.assert_allclose(Hint("a", "b", weight=3)(x, y).item(), 3 * hint_loss(x, y).item())
    np.testing.assert_allclose(Hint("a", "b", 3, attention=True)(x, y).item(), 3 * attention_loss(x, y).item())
