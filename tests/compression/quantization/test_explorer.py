"""The grid's explorer says what rounding by hand gives; its slider moves points and errors."""

import sys

import numpy as np
import pytest

from minigrad.compression.quantization.explorer import draw_grid, explore_grid, grid_points
from minigrad.debug import Picture
from tests.sentences import raises


@pytest.fixture
def w(rng):
    return rng.normal(0, 0.1, size=(20, 30)).astype(np.float32)


@pytest.mark.parametrize("bits", range(2, 9))
def test_symmetric_points_reach_to_the_largest_weight_on_both_sides(bits, w):
    points, rounded = grid_points(w, bits)
    most = float(np.abs(w).max())
    np.testing.assert_allclose(points, np.linspace(-most, most, 2**bits - 1), atol=1e-6)
    nearest = points[np.abs(w[..., None] - points).argmin(axis=-1)]
    np.testing.assert_allclose(rounded, nearest, atol=1e-6)


@pytest.mark.parametrize("bits", range(1, 9))
def test_affine_points_hold_zero_and_cover_the_weights_but_for_half_a_step(bits, w):
    points, rounded = grid_points(w + 0.05, bits, "affine")
    assert len(points) == 2**bits
    assert 0 in points
    step = points[1] - points[0]
    np.testing.assert_allclose(np.diff(points), step, rtol=1e-4)
    assert points[0] - step / 2 <= (w + 0.05).min()
    assert points[-1] + step / 2 >= (w + 0.05).max() - 1e-6
    assert np.isin(rounded, points).all()


def test_one_symmetric_bit_is_a_sign_times_the_mean_magnitude(w):
    points, rounded = grid_points(w, 1)
    np.testing.assert_allclose(points, [-np.abs(w).mean(), np.abs(w).mean()], rtol=1e-5)
    np.testing.assert_allclose(rounded, np.where(w >= 0, points[1], points[0]))


def test_the_words_say_points_error_and_decibels(w):
    step = float(np.abs(w).max()) / 3
    error = np.clip(np.rint(w / step), -3, 3) * step - w
    used = len(np.unique(np.rint(w / step)))
    rms, ratio = np.sqrt(np.mean(error**2)), 10 * np.log10(np.mean(w**2) / np.mean(error**2))
    picture = draw_grid(w, 3, title="these weights")
    assert picture.words == (
        f"these weights with 3 bits, symmetric: 7 points from {-3 * step:.3g} to {3 * step:.3g}, {used} of them used, "
        f"{step:.3g} apart. Root mean square error {rms:.3g}, SQNR {ratio:.1f} dB; "
        "the rule for evenly spread numbers says 18.1 dB."
    )


def test_the_panels_show_weights_points_errors_and_what_a_bit_is_worth(w):
    top, ruler, errors, ratios = draw_grid(w, 4, "affine").figure.axes
    points, rounded = grid_points(w, 4, "affine")
    np.testing.assert_allclose(ruler.lines[0].get_xdata(), points)
    for ax, count in ((top, w.size), (errors, w.size)):
        assert sum(patch.get_height() for patch in ax.patches) == count
    lines = {line.get_label(): line for line in ratios.lines}
    assert lines["affine"].get_ydata()[3] == pytest.approx(10 * np.log10(np.mean(w**2) / np.mean((rounded - w) ** 2)))
    assert (ratios.lines[-1].get_xdata(), ratios.lines[-1].get_ydata()[0]) == ([4], lines["affine"].get_ydata()[3])
    assert [ax.get_xlabel() for ax in (ruler, errors, ratios)] == ["weight", "error: rounded less weight", "bits"]


def test_what_is_no_grid_is_refused(w):
    with raises(ValueError, "grid_points: there is no kind 'cubic', only symmetric, affine"):
        grid_points(w, 3, "cubic")
    with pytest.raises(ValueError, match="bits"):
        grid_points(w, 9)


def test_without_widgets_three_bits_are_shown(w, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    picture = explore_grid(w)
    assert isinstance(picture, Picture)
    assert picture.words.startswith("weights with 3 bits, symmetric: 7 points")


def test_bits_and_kind_move_the_grid(w):
    widgets = pytest.importorskip("ipywidgets", reason="ipywidgets is not installed; `make course` installs it")
    box = explore_grid(w, "fc1")
    (bits, kind), picture = box.children[0].children, box.children[1]
    assert (bits.min, bits.max, bits.value, kind.value) == (1, 8, 3, "symmetric")
    seen = [picture.value]
    for control, value in ((bits, 8), (kind, "affine"), (bits, 1)):
        control.value = value
        seen.append(picture.value)
    assert len(set(seen)) == 4
    assert 'alt="fc1 with 1 bit, affine: 2 points from' in seen[-1]
    widgets.Widget.close_all()
