"""The explorer: its sliders move its picture, and without widgets there is a picture all the same."""

import sys

import numpy as np
import pytest

from minigrad.compression.distillation import DistillationLoss, explore_temperature, plot_explorer
from minigrad.compression.distillation.explorer import pulls
from minigrad.tensor import Tensor
from tests.sentences import raises


@pytest.fixture
def digits(rng):
    return rng.normal(0, 4, size=(3, 10)), rng.random((3, 1, 6, 6))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_pulls_are_minus_the_gradient_of_the_loss(alpha, rng):
    v = rng.normal(size=10)
    z = Tensor(np.zeros((1, 10)), requires_grad=True)
    DistillationLoss(3.0, alpha)(z, v[None], [4]).backward()
    np.testing.assert_allclose(sum(pulls(v, 4, 3.0, alpha)), -z.grad[0], atol=1e-12)


def test_the_picture_has_a_row_for_each_setting(digits):
    logits, images = digits
    figure = plot_explorer(logits[0], images[0], 7, [(1.0, 0.5), (20.0, 0.9)])
    assert len(figure.axes) == 6
    bars = [p.get_height() for p in figure.axes[1].patches]
    np.testing.assert_allclose(bars, np.exp(logits[0]) / np.exp(logits[0]).sum())
    assert figure.axes[0].get_title() == "labelled 7"
    assert figure.axes[4].get_title() == "what the teacher says, T = 20"
    soft, hard = pulls(logits[0], 7, 20.0, 0.9)
    np.testing.assert_allclose([p.get_height() for p in figure.axes[5].patches], [*soft, *hard])
    with raises(ValueError, "plot_explorer: temperature is 0, expected a finite number above 0"):
        plot_explorer(logits[0], images[0], 7, [(0, 0.5)])
    with raises(ValueError, "plot_explorer: alpha is 2, expected 0 (labels only) to 1 (teacher only)"):
        plot_explorer(logits[0], images[0], 7, [(1, 2)])


def test_without_widgets_there_is_a_picture(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    logits, images = digits
    picture = explore_temperature(logits, images, labels=[1, 2, 3])
    assert picture.figure.axes[0].get_title() == "labelled 1"
    assert len(picture.figure.axes) == 9
    for temperature in (1, 4, 20):
        p = np.exp(logits[0] / temperature) / np.exp(logits[0] / temperature).sum()
        k = int(p.argmax())
        assert f"Soft targets of a digit labelled 1 at T = {temperature}: {k} {100 * p[k]:.1f} %, " in picture.words
        soft = 0.5 * temperature * (p[1] - 0.1)
        assert f"Pull at the logit of 1 at α = 0.5: soft term {soft:.3f}, hard term 0.450." in picture.words


def test_the_sliders_move_the_picture(digits):
    widgets = pytest.importorskip("ipywidgets", reason="ipywidgets is not installed; `make course` installs it")
    logits, images = digits
    box = explore_temperature(logits, images)
    controls, picture = box.children
    digit, temperature, alpha = controls.children
    assert [label for label, _ in digit.options] == [f"{i}: labelled {k}" for i, k in enumerate(logits.argmax(axis=1))]
    assert (temperature.min, temperature.max, alpha.min, alpha.max) == (-1, 2, 0, 1)
    seen = [picture.value]
    for control, value in ((temperature, 20.0), (alpha, 0.9), (digit, 2)):
        control.value = value
        seen.append(picture.value)
    assert len(set(seen)) == 4
    label = logits[2].argmax()
    assert f'alt="Soft targets of a digit labelled {label} at T = 20: {label} ' in seen[-1]
    assert f"Pull at the logit of {label} at α = 0.9: soft term" in seen[-1]
    widgets.Widget.close_all()


def test_what_does_not_fit_is_refused(digits):
    logits, images = digits
    with raises(ValueError, "explore_temperature: 3 rows of logits, 2 images and 3 labels; expected as many of each"):
        explore_temperature(logits, images[:2])
