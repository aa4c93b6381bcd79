"""LIME and SHAP against what is known exactly, and the arithmetic of agreement."""

import sys

import numpy as np
import pytest

from minigrad import no_grad
from minigrad.compression import explain
from minigrad.compression.explain import (
    attribution_map,
    lime_values,
    probabilities,
    rank_correlation,
    shap_values,
    superpixels,
    top_overlap,
)
from minigrad.compression.explain_study import Study, agreement, as_table, explain_models
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.quantization import quantize_model, shapley

# shap calls Colormap.set_bad, set_over and set_under at its import, which matplotlib means to take out.
pytestmark = pytest.mark.filterwarnings("ignore:The set_(bad|over|under) function:PendingDeprecationWarning")


@pytest.fixture
def libraries():
    for name in ("lime", "shap"):
        pytest.importorskip(name, reason=f"{name} is not installed; the extra `explain` installs it")


@pytest.fixture
def image():
    """Eight squares of ink, 16 x 8 pixels."""
    return np.random.default_rng(8).integers(1, 256, (16, 8)).astype(np.uint8)


def linear(weights):
    """A "model" whose class 1 is a weighted sum of pixels, class 0 the rest."""

    def predict(pixels):
        p = (pixels * weights).sum(axis=(1, 2))
        return np.stack([1 - p, p], axis=1)

    return predict


def exact_linear(image, weights, segments):
    """w * (x - background), summed over each superpixel: the background is black."""
    return np.bincount(segments.ravel(), (weights * image).ravel())


@pytest.mark.parametrize("samples", [400, 100])  # all 254 subsets; some of them
def test_shap_of_a_linear_model_is_weight_times_value(libraries, image, samples):
    weights = np.random.default_rng(1).normal(size=image.shape) / 1000
    segments = superpixels(image)
    found = shap_values(linear(weights), image, 1, segments, samples=samples)
    np.testing.assert_allclose(found, exact_linear(image, weights, segments), atol=1e-9)
    np.testing.assert_allclose(shap_values(linear(weights), image, 0, segments, samples=samples), -found, atol=1e-9)


def test_lime_of_a_linear_model_is_weight_times_value_but_for_its_ridge(libraries, image):
    weights = np.random.default_rng(1).normal(size=image.shape) / 1000
    segments = superpixels(image)
    found, exact = lime_values(linear(weights), image, 1, segments), exact_linear(image, weights, segments)
    np.testing.assert_allclose(found, exact, atol=0.05 * np.abs(exact).max())
    assert rank_correlation(found, exact) > 0.97


def test_shap_of_a_lenet_is_its_exact_shapley_value_where_all_subsets_are_tried(libraries):
    image = np.zeros((28, 28), np.uint8)
    image[8:20, 10:14] = 200  # 3 rows of squares, 2 columns
    predict, segments = probabilities(trained_lenet()), superpixels(image)
    assert segments.max() == 5
    label = int(predict(image[None])[0].argmax())

    def worth(group):
        shown = np.isin(segments, [int(name) for name in group])
        return float(predict((image * shown).astype(np.uint8)[None])[0, label])

    exact = shapley([str(i) for i in range(6)], worth)
    np.testing.assert_allclose(shap_values(predict, image, label, segments), list(exact.values()), atol=1e-6)


def test_squares_without_ink_are_no_players(libraries):
    image = np.zeros((12, 12), np.uint8)
    image[0, 0], image[0, 11], image[11, 5] = 100, 200, 250
    weights = np.random.default_rng(1).normal(size=image.shape) / 1000
    segments = superpixels(image)
    exact = [weights[0, 0] * 100, weights[0, 11] * 200, weights[11, 5] * 250]
    np.testing.assert_allclose(shap_values(linear(weights), image, 1, segments), exact, atol=1e-9)
    np.testing.assert_allclose(lime_values(linear(weights), image, 1, segments), exact, rtol=0.05)


@pytest.mark.parametrize("method", [lime_values, shap_values])
def test_a_seed_gives_the_same_values_and_leaves_numpys_generator_alone(libraries, small_test, method, capfd):
    digit, predict = small_test.pixels[0], probabilities(LeNet())
    segments = superpixels(digit)
    assert segments.max() == 15
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    first, again, other = (method(predict, digit, 7, segments, samples=80, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert capfd.readouterr().err.count("it/s") == 0  # no progress bars but ours


def test_probabilities_of_a_module_and_of_integers(small_training, small_test):
    model = trained_lenet()
    quantized = quantize_model(model, 2, calibration=small_training.images[:200])
    integer = quantized.integer()
    p, q = probabilities(model)(small_test.pixels[:50]), probabilities(integer)(small_test.pixels[:50])
    with no_grad():
        logits = np.float64(model(small_test.images[:50]).data)
        rounded = np.float64(quantized(small_test.images[:50]).data)
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(q.argmax(axis=1), integer.predict(small_test.pixels[:50]))
    # Differences of logits: those of the simulated model, but for its rounding of logits.
    step = float(integer.layers[-1].output_scale.as_float32())
    back = np.log(q) - np.log(q[:, :1])
    assert np.abs(back - (rounded - rounded[:, :1])).max() < 3 * step
    assert np.ptp(back) > 100 * step


def test_superpixels_of_a_side_that_does_not_divide_the_image():
    image = np.ones((5, 7), np.uint8)
    image[:, :4] = 0
    np.testing.assert_array_equal(superpixels(image, 4)[[0, 4]], [[-1] * 4 + [0] * 3, [-1] * 4 + [1] * 3])
    with pytest.raises(ValueError, match=r"expected one image \(H, W\) with ink in it \(shape \(5, 7\), sum 0\)"):
        superpixels(np.zeros((5, 7), np.uint8))


def test_a_map_puts_each_value_on_its_square():
    drawn = attribution_map(np.array([1.0, -2.0]), np.array([[0, 0, -1], [-1, 1, 1]]))
    np.testing.assert_array_equal(drawn, [[1, 1, np.nan], [np.nan, -2, -2]])


def test_rank_correlation_by_hand():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, np.array([2.0, 1.0, 4.0, 3.0])) == pytest.approx(1 - 6 * 4 / (4 * 15))
    assert rank_correlation(a, np.ones(4)) == 0
    with pytest.raises(ValueError, match=r"rank_correlation: .* \(shapes \(4,\) and \(3,\)\); were they made with one"):
        rank_correlation(a, a[:3])


def test_top_overlap_by_hand():
    a, b = np.array([-9.0, 5.0, 1.0, 0.0]), np.array([8.0, 0.5, 7.0, 0.1])
    assert [top_overlap(a, b, k) for k in (1, 2, 3, 4, 9)] == [1, 0.5, 1, 1, 1]
    assert top_overlap(a, np.array([0.0, 0.0, 1.0, 9.0]), 2) == 0
    with pytest.raises(ValueError, match="top_overlap: k is 0, expected 1 or more"):
        top_overlap(a, b, 0)


def test_agreement_is_with_the_first_models_first_draws():
    up, down, swapped = np.arange(4.0), -np.arange(4.0), np.array([1.0, 0.0, 3.0, 2.0])
    values = {
        ("LIME", "a", 0): [up, up],
        ("LIME", "a", 1): [up, swapped],
        ("LIME", "b", 0): [down, down],
        ("LIME", "b", 1): [swapped, down],
    }
    rows = {(row["model"], row["draws"]): row for row in agreement(values, top=2)}
    assert set(rows) == {("a", "other"), ("b", "same"), ("b", "other")}
    np.testing.assert_allclose(rows["a", "other"]["correlation"]["values"], [1, 0.6])
    np.testing.assert_allclose(rows["b", "same"]["correlation"]["values"], [-1, -1])
    np.testing.assert_allclose(rows["b", "other"]["correlation"]["values"], [0.6, -1])
    np.testing.assert_allclose(rows["b", "other"]["below"]["values"], [0.4, 1.6])
    assert rows["b", "other"]["below"]["mean"] == pytest.approx(1.0)
    assert "below" not in rows["a", "other"]
    assert "below" not in rows["b", "same"]
    assert rows["b", "same"]["overlap"]["values"] == [1, 1]  # the same size, the other way


def test_the_same_model_under_two_names_agrees_as_its_own_yardstick(libraries, small_test):
    found = explain_models(Study(images=3, samples=60), {"a": trained_lenet(), "b": trained_lenet()}, small_test)
    rows = {(row["explainer"], row["model"], row["draws"]): row for row in agreement(found.values, 5)}
    for explainer in ("LIME", "SHAP"):
        assert rows[explainer, "b", "same"]["correlation"]["mean"] == pytest.approx(1)
        assert rows[explainer, "b", "other"]["below"]["values"] == [0, 0, 0]
        assert 0.2 < rows[explainer, "a", "other"]["correlation"]["mean"] < 0.999
    chosen = np.random.default_rng(0).choice(len(small_test), 3, replace=False)
    np.testing.assert_array_equal(found.numbers, chosen)
    np.testing.assert_array_equal(found.images.labels, small_test.labels[chosen])
    assert found.same["b"].all()


def test_the_table_names_the_yardstick():
    one = {"values": [0.5, 0.7], "mean": 0.6, "interval": [0.5, 0.7]}
    rows = [
        {"explainer": e, "model": m, "draws": d, "correlation": one, "overlap": one, "below": one}
        for e, m, d in (("LIME", "dense", "other"), ("SHAP", "dense", "other"))
    ]
    for row in rows:
        del row["below"]
    said = as_table({"models": {"dense": {}}, "settings": {"top": 5}, "agreement": rows}).splitlines()
    assert said[2].split("  ")[0] == "LIME, dense"
    assert "0.600 (0.500 - 0.700)" in said[2]
    assert "yardstick" in said[3]


def test_too_many_images_are_refused(libraries, small_test):
    with pytest.raises(ValueError, match="explain: 601 images asked for, expected 2 to 600, which there are"):
        explain_models(Study(images=601), {"a": LeNet()}, small_test)


def test_missing_packages_are_named_with_their_extra(monkeypatch):
    monkeypatch.setattr(explain, "find_spec", lambda name: None if name == "lime" else sys)
    with pytest.raises(
        ImportError, match=r"explain: lime not installed; `pip install minigrad-compression\[explain\]`"
    ):
        explain.check_packages()
