"""The mask's explorer: thresholds, zeros and accuracies against masks made by hand."""

import sys

import numpy as np
import pytest

from minigrad import DataLoader, nn
from minigrad.compression.pruning.explorer import draw_mask, explore_mask, scan_masks
from minigrad.debug import Picture
from tests.sentences import raises


@pytest.fixture
def model(rng):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    for parameter in model.parameters():
        parameter.data[...] = rng.normal(size=parameter.shape)
    return model


@pytest.fixture
def loader(rng, model):
    images = rng.normal(size=(40, 1, 6, 6)).astype(np.float32)
    return DataLoader(images, model(images).data.argmax(axis=1), 40)  # the model is right on all


def pruned_accuracy(model, loader, shares):
    """Accuracy with weights zeroed by sorting, in percent."""
    state = model.state_dict()
    for name, share in shares.items():
        w = state[name].ravel().copy()
        w[np.argsort(np.abs(w))[: round(share * w.size)]] = 0
        state[name] = w.reshape(state[name].shape)
    other = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    other.load_state_dict(state)
    return 100 * np.mean(other(loader.images).data.argmax(axis=1) == loader.labels)


def test_accuracies_are_those_of_masks_made_by_hand(model, loader):
    scan = scan_masks(model, loader)
    names = list(scan.weights)
    assert scan.together[0] == scan.alone.dense == 100
    for percent in (35, 80, 100):
        share, i = percent / 100, percent // 5
        assert scan.together[i] == pytest.approx(pruned_accuracy(model, loader, dict.fromkeys(names, share)))
        for name in names:
            assert scan.alone.accuracy[name][i] == pytest.approx(pruned_accuracy(model, loader, {name: share}))


def test_the_model_stays_as_it_is(model, loader):
    before = model.state_dict()
    scan = scan_masks(model, loader)
    model.parameters().__next__().data[...] = 0
    np.testing.assert_array_equal(scan.weights["0.weight"], before["0.weight"])


def test_the_words_say_threshold_zeros_and_accuracies(model, loader):
    scan = scan_masks(model, loader)
    magnitudes = np.sort(np.abs(scan.weights["3.weight"]).ravel())
    gone = round(0.65 * 320)
    assert draw_mask(scan, "3.weight", 65).words == (
        f"3.weight at 65 % sparsity: threshold {magnitudes[gone - 1]:.4f}, {gone} of 320 weights are zero. "
        f"Of 40 images {scan.alone.accuracy['3.weight'][13]:.1f} % are read correctly with this layer pruned, "
        f"{scan.together[13]:.1f} % with all layers pruned alike, 100.0 % with none."
    )


@pytest.mark.parametrize(("name", "gone"), [("0.weight", 18), ("3.weight", 160)])
def test_the_panels_show_weights_mask_and_accuracy(name, gone, model, loader):
    scan = scan_masks(model, loader)
    weights, mask, accuracy = draw_mask(scan, name, 50).figure.axes
    heights = np.array([[patch.get_height() for patch in bars] for bars in weights.containers])
    np.testing.assert_array_equal(heights.sum(axis=1), [gone, scan.weights[name].size - gone])
    shown = mask.images[0].get_array()
    assert np.sum(shown == 0) == gone
    assert np.sum(shown == 1) == scan.weights[name].size - gone
    lines = {line.get_label(): line.get_ydata() for line in accuracy.lines}
    np.testing.assert_array_equal(lines["only this layer"], scan.alone.accuracy[name])
    np.testing.assert_array_equal(lines["all layers alike"], scan.together)
    assert (weights.get_xlabel(), accuracy.get_xlabel()) == ("weight", "weights removed (%)")


def test_what_was_not_measured_is_refused(model, loader):
    scan = scan_masks(model, loader)
    with raises(ValueError, "draw_mask: 52 % was not measured, only 0, 5 ... 100 %"):
        draw_mask(scan, "3.weight", 52)


def test_without_widgets_the_largest_layer_is_shown(model, loader, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    picture = explore_mask(model, loader)
    assert isinstance(picture, Picture)
    assert picture.words.startswith("3.weight at 75 % sparsity: ")


def test_layer_and_sparsity_move_the_mask(model, loader):
    widgets = pytest.importorskip("ipywidgets", reason="ipywidgets is not installed; `make course` installs it")
    box = explore_mask(model, loader)
    (name, percent), picture = box.children[0].children, box.children[1]
    assert name.options == (("3.weight", "3.weight"), ("0.weight", "0.weight"))
    assert (percent.min, percent.max, percent.step, percent.value) == (0, 100, 5, 50)
    seen = [picture.value]
    for control, value in ((percent, 90), (name, "0.weight")):
        control.value = value
        seen.append(picture.value)
    assert len(set(seen)) == 3
    assert 'alt="0.weight at 90 % sparsity: threshold' in seen[-1]
    widgets.Widget.close_all()
