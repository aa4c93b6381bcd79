"""What the figures show (how they look is for eyes)."""

import numpy as np
import pytest

from minigrad.compression.distillation import (
    plot_confusions,
    plot_gain,
    plot_gap,
    plot_gradient_cosine,
    plot_gradient_terms,
    plot_mistakes_of_the_teacher,
    plot_negative_share,
    plot_noise_effect,
    plot_soft_targets,
    plot_temperature_entropy,
    soft_targets,
)
from minigrad.compression.distillation.analysis import GradientTerms, LabelShares, TeacherMistakes, entropy
from tests.sentences import raises

T = np.array([0.5, 1, 4, 20])


def ys(line):
    return np.asarray(line.get_ydata(), float)


def test_soft_targets_are_lines_over_t(rng):
    logits = rng.normal(0, 5, size=(4, 10))
    figure = plot_soft_targets(logits, T, images=rng.random((4, 1, 5, 5)), labels=[3, 1, 4, 1])
    panels = figure.axes[:4]
    assert [ax.get_title() for ax in panels] == [f"labelled {k}" for k in (3, 1, 4, 1)]
    for n, ax in enumerate(panels):
        p = np.array([soft_targets(logits, t)[n] for t in T])  # (S, K)
        order = np.argsort(-logits[n])
        for line, k in zip(ax.lines, order, strict=False):
            np.testing.assert_array_equal(line.get_xdata(), T)
            np.testing.assert_allclose(ys(line), p[:, k])
        assert [text.get_text() for text in ax.get_legend().get_texts()] == [*map(str, order[:4]), "others"]
        assert ax.get_xscale() == "log"
        assert len(ax.child_axes) == 1
    assert panels[0].get_ylabel() == "probability"
    assert panels[3].get_xlabel() == "temperature T"


def test_one_image_of_three_classes_needs_no_others():
    figure = plot_soft_targets([5.0, 1, 3], T)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["0", "2", "1"]


def test_entropy_is_drawn_with_its_limit(rng):
    logits = rng.normal(size=(20, 10))
    ax = plot_temperature_entropy(logits, T).axes[0]
    np.testing.assert_allclose(ys(ax.lines[0]), entropy(logits, T).mean(axis=1))
    np.testing.assert_allclose(ys(ax.lines[1]), np.log(10))
    assert "uniform: log 10 = 2.30" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_gradient_terms_are_three_lines():
    terms = GradientTerms(np.array([4.0, 3, 2, 1]), np.array([1.0, 3, 32, 400]), np.full(4, 0.5))
    ax = plot_gradient_terms(terms, T).axes[0]
    drawn = {line.get_label(): ys(line).tolist() for line in ax.lines}
    assert drawn["soft term alone"] == [4, 3, 2, 1]
    assert drawn["soft term times T²"] == [1, 3, 32, 400]
    assert drawn["hard term (labels)"] == [0.5] * 4
    assert drawn["1/T²"][0] == pytest.approx(25 * drawn["1/T²"][-1])  # from T = 4 to 20
    assert ax.get_yscale() == "log"


def test_the_cosine_leaves_out_images_without_one():
    cosines = np.array([[0.1, np.nan, 0.3], [0.5, np.nan, 0.7], [0.9, np.nan, 0.9], [1, np.nan, 1]])
    ax = plot_gradient_cosine(cosines, T).axes[0]
    np.testing.assert_allclose(ys(ax.lines[0]), [0.2, 0.6, 0.9, 1])


def test_gains_are_a_table_with_alpha_down_and_t_across():
    gain = np.array([[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]])
    ax = plot_gain(gain, [1, 4, 20], [0.5, 0.9]).axes[0]
    np.testing.assert_array_equal(ax.images[0].get_array(), gain)
    assert ax.images[0].get_clim() == (-0.6, 0.6)
    places = {text.get_position(): text.get_text() for text in ax.texts}
    assert places[(2, 1)] == "-0.60"
    assert places[(1, 0)] == "-0.20"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "4", "20"]
    with raises(
        ValueError,
        "plot_gain: gain must have a row for each alpha and a column for each temperature, (2, 3), got (3, 2)",
    ):
        plot_gain(gain.T, [1, 4, 20], [0.5, 0.9])
    assert plot_gain(np.zeros((1, 1)), [1], [1]).axes


def test_confusions_show_mistakes_only_on_one_scale():
    a, b = np.array([[90, 2], [0, 80]]), np.array([[85, 7], [5, 75]])
    figure = plot_confusions({"teacher": a, "student": b})
    left, right = figure.axes[:2]
    np.testing.assert_array_equal(right.images[0].get_array(), [[0, 7], [5, 0]])
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 7)
    assert [ax.get_title() for ax in (left, right)] == ["teacher: 2 errors in 172", "student: 12 errors in 172"]
    assert {text.get_position(): text.get_text() for text in right.texts} == {(1, 0): "7", (0, 1): "5"}


def test_shares_are_stacked_to_100_percent():
    shares = LabelShares(np.full(4, 0.5), np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4]))
    ax = plot_negative_share(shares, T).axes[0]
    tops = [band.get_paths()[0].vertices[:, 1].max() for band in ax.collections]
    np.testing.assert_allclose(tops, [50, 90, 100])
    assert ax.get_ylim() == (0, 100)


def test_noise_is_told_at_the_marked_temperatures():
    ax = plot_noise_effect({"lowest 3": np.array([0, 0.01, 0.02, 0.3])}, T, marked=(4, 20)).axes[0]
    np.testing.assert_allclose(ys(ax.lines[0]), [0, 1, 2, 30])
    assert ax.get_legend().get_texts()[0].get_text() == "lowest 3: 2 % at T = 4, 30 % at T = 20"
    assert ax.get_legend().get_title().get_text() == "noise on the teacher's logits"
    legend = plot_noise_effect({"lowest 3": np.ones(4)}, T, scale=1.5).axes[0].get_legend()
    assert legend.get_title().get_text() == "noise (standard deviation 1.5) on the teacher's logits"


def test_mistakes_of_the_teacher_are_stacked_bars():
    found = TeacherMistakes(np.array([0, 0.5]), np.array([3, 40]), np.array([20, 2]), np.array([27, 8]))
    ax = plot_mistakes_of_the_teacher(found).axes[0]
    assert [bar.get_height() for bar in ax.patches] == [3, 40, 20, 2, 27, 8]
    assert [bar.get_y() for bar in ax.patches] == [0, 0, 3, 40, 23, 42]
    assert [text.get_text() for text in ax.texts if text.get_visible()] == ["3", "40", "20", "27", "8"]


def test_gaps_have_their_intervals():
    ax = plot_gap([100, 1000], {"hard targets": [[5.0, 6, 7], [1, 1, 1]], "soft targets": [[3.0], [0.5]]}).axes[0]
    hard, soft = ax.containers
    assert ax.get_ylabel() == "training minus test accuracy (points)"
    assert "minus held-out accuracy" in plot_gap([1], {"hard": [[1.0]]}, images="held-out").axes[0].get_ylabel()
    np.testing.assert_allclose(ys(hard[0]), [6, 1])
    np.testing.assert_allclose(ys(soft[0]), [3, 0.5])
    (low, high), _ = (segment[:, 1] for segment in hard[2][0].get_segments())
    assert (low, high) == pytest.approx((6 - 2.484, 6 + 2.484), abs=0.01)  # t = 4.303, deviation 1, root of 3
    with raises(ValueError, "plot_gap: hard: expected (2, seeds), got (2,)"):
        plot_gap([100, 1000], {"hard": [1.0, 2.0]})


@pytest.mark.parametrize("plot", [plot_soft_targets, plot_temperature_entropy])
def test_bad_input_is_refused(plot):
    name = plot.__name__
    for wrong in (0.0, -2.0, float("nan")):
        with raises(ValueError, f"{name}: temperature is {wrong}, expected a finite number above 0"):
            plot([[1.0, 2.0]], [1, wrong])
    with raises(ValueError, f"{name}: there are no temperatures, expected one or more"):
        plot([[1.0, 2.0]], [])
    with raises(ValueError, f"{name}: logits must be (N, K), at least one row (logits: (1, 1, 2))"):
        plot([[[1.0, 2.0]]], [1])


def test_images_and_labels_must_be_as_many():
    with raises(ValueError, "plot_soft_targets: 2 rows of logits but 3 labels; expected as many of both"):
        plot_soft_targets([[1.0, 2.0], [3, 4]], [1], labels=[0, 1, 1])
    with raises(ValueError, "plot_soft_targets: 2 rows of logits but 1 images; expected as many of both"):
        plot_soft_targets([[1.0, 2.0], [3, 4]], [1], images=np.zeros((1, 5, 5)))
