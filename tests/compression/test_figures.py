"""What the figures show (how they look is for eyes)."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from minigrad.compression.figures import (
    plot_accuracy,
    plot_atlas,
    plot_masks,
    plot_sensitivity,
    plot_stability,
    plot_weights,
    spread_accuracies,
)
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import (
    ARTICLE_SPARSITY,
    SensitivityScan,
    SparsePruner,
    StabilityScan,
    prune_channels,
    shrink,
)


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


def test_masks_show_zeros_as_missing_and_the_rest_as_it_is():
    model = LeNet()
    masked = prune_channels(model, {"conv1": 0.5})
    figure = plot_masks({"dense": model, "filters": masked, "taken out": shrink(masked)})
    panels = figure.axes[:18]
    w = masked.conv1.weight.data[:, 0]
    for ax, values in zip(panels[6:12], w, strict=True):
        picture = ax.images[0].get_array()
        np.testing.assert_array_equal(np.ma.getmaskarray(picture), values == 0)
        np.testing.assert_array_equal(picture.filled(0), values)
        assert ax.get_title() == f"{np.count_nonzero(values)} of 25"
    left = w[(w != 0).any(axis=(1, 2))]
    assert len(left) == 3
    for ax, values in zip(panels[12:15], left, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), values)
    assert [len(ax.images) for ax in panels[15:]] == [0, 0, 0]
    assert [panels[row].get_ylabel() for row in (0, 6, 12)] == ["dense", "filters", "taken out"]
    assert len({ax.images[0].get_clim() for ax in panels[:15]}) == 1  # one scale


def test_masks_stack_channels_and_refuse_matrices():
    model = LeNet()
    ax = plot_masks({"dense": model}, "conv2.weight").axes[3]
    np.testing.assert_array_equal(ax.images[0].get_array()[5:10], model.conv2.weight.data[3, 1])
    wrapped = plot_masks({"dense": model}, "conv2.weight", columns=10)
    assert [len(ax.images) for ax in wrapped.axes[:20]] == [1] * 16 + [0] * 4
    np.testing.assert_array_equal(wrapped.axes[15].images[0].get_array()[:5], model.conv2.weight.data[15, 0])
    with pytest.raises(ValueError, match=r"fc1.weight of dense has shape \(120, 256\), expected that of a convolution"):
        plot_masks({"dense": model}, "fc1.weight")


def test_accuracies_are_spread_by_their_errors():
    ax = Figure().subplots()
    spread_accuracies(ax)
    places = ax.transData.transform([(0, a) for a in (0.0, 90, 99, 99.9, 100)])[:, 1]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert places[3] - places[2] == pytest.approx(places[1] - places[0])
    assert np.isfinite(places).all()
    assert places[4] == places[3]  # 100 % has no logarithm of errors
    assert ax.get_yticks().tolist() == [10, 50, 70, 80, 90, 95, 97, 98, 99]


def test_an_atlas_has_a_panel_for_each_shape_and_batch():
    seconds = {"numpy": 2.0, "minigrad": 3.0, "csr": 4.0, "bitmask": 8.0, "block": 1.0, "channels": 1.0}
    points = [
        {"shape": [8, 4], "batch": batch, "sparsity": sparsity, "seconds": seconds | {"csr": csr}}
        for batch, sparsity, csr in ((1, 0.9, 1.0), (1, 0.5, 4.0), (64, 0.5, 4.0), (64, 0.9, 3.0))
    ]
    crossings = {(1, "csr"): 0.8, (1, "block"): 0.5, (64, "csr"): None}
    crossovers = [
        {"shape": [8, 4], "batch": batch, "format": name, "sparsity": at} for (batch, name), at in crossings.items()
    ]
    grid = {"shapes": [[8, 4]], "batches": [1, 64], "sparsities": [0.5, 0.9]}
    axes = plot_atlas({"grid": grid, "points": points, "crossovers": crossovers}).axes
    assert [ax.get_title() for ax in axes] == ["8×4, batch 1", "8×4, batch 64"]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes[0].lines}
    assert lines["CSR, zeros anywhere"] == [[50, 2], [90, 0.5]]
    assert lines["minigrad's dense product"] == [[50, 1.5], [90, 1.5]]
    diamonds = [[line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "D"] for ax in axes]
    assert diamonds == [[[[80, 1]], []], []]  # one on the line, and the legend's
