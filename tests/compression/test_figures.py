"""What the figures show (how they look is for eyes)."""

import numpy as np

from minigrad.compression.figures import plot_accuracy, plot_sensitivity, plot_stability, plot_weights
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SensitivityScan, SparsePruner, StabilityScan


def test_weight_histograms_leave_zeros_out_and_count_them():
    model = LeNet()
    pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    figure = plot_weights({"baseline": model, "pruned": pruned})
    assert len(figure.axes) == 10
    for ax, (name, p) in zip(
        figure.axes[5:], ((n, p) for n, p in pruned.named_parameters() if p.ndim > 1), strict=True
    ):
        assert ax.get_title() == ""
        assert sum(bar.get_height() for bar in ax.patches) == np.count_nonzero(p.data)
        middle = ax.patches[len(ax.patches) // 2]
        assert middle.get_x() < 0 < middle.get_x() + middle.get_width()
        assert middle.get_height() == 0, name  # the hole that pruning leaves
        assert f"{(p.data == 0).sum():,} of {p.size:,}" in ax.texts[0].get_text()


def test_a_model_of_zeros_is_drawn():
    model = LeNet()
    for p in model.parameters():
        p.data[...] = 0
    assert len(plot_weights({"zero": model}).axes) == 5


def test_accuracy_bars_have_their_intervals():
    rows = [("a", 98.0, [97.0, 98.5]), ("b", 60.0, [58, 62])]
    stages = [{"stage": name, "accuracy": accuracy, "interval": interval} for name, accuracy, interval in rows]
    ax = plot_accuracy(stages, {"a": 97.99, "c": 1.0}).axes[0]
    assert [bar.get_height() for bar in ax.patches] == [98.0, 60.0]
    (segments,) = [c for c in ax.collections if hasattr(c, "get_segments")]
    np.testing.assert_allclose([s[:, 1] for s in segments.get_segments()], [[97.0, 98.5], [58, 62]])
    assert "97.99" not in ax.get_title()
    assert ax.get_legend().get_texts()[0].get_text() == "the article's run"


def test_sensitivity_lines_and_the_chosen_points():
    scan = SensitivityScan(
        np.array([0, 0.5, 1]),
        {"a": np.array([98.0, 97, 10]), "b": np.array([98.0, 90, 11])},
        {"a": 1000, "b": 5},
        98,
        9,
    )
    ax = plot_sensitivity(scan, {"a": 0.25, "b": 0.5}).axes[0]
    curve, chosen = ax.lines[0], ax.lines[1]
    np.testing.assert_array_equal(curve.get_xydata(), [[0, 98], [50, 97], [100, 10]])
    np.testing.assert_array_equal(chosen.get_xydata(), [[25, 97.5]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a (1,000)", "b (5)"]
    assert ax.get_ylim() == (78, 100)
    assert len(plot_sensitivity(scan).axes[0].lines) == 3  # two curves and the dense accuracy


def test_stability_panels():
    scan = StabilityScan(
        np.array([0, 0.1, 1]),
        {"inputs": np.array([0, 0.2, 2]), "weights": np.array([0, 0.3, 3])},
        {"inputs": np.array([0.0, 4, 40]), "weights": np.array([0.0, 5, 50])},
    )
    axes = plot_stability({"dense": scan, "pruned": scan}).axes
    drawn = [ax.lines[1].get_ydata().tolist() for ax in axes]
    assert drawn == [[0.2, 2], [0.3, 3], [4, 40], [5, 50]]
    assert [ax.get_title() for ax in axes[:2]] == ["noise on inputs", "noise on weights"]
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["dense", "pruned"]
