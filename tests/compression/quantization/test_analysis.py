import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import functional as F
from minigrad import nn
from minigrad.compression.integer.convert import lower
from minigrad.compression.models import as_sequential, trained_lenet
from minigrad.compression.quantization import calibrate, dequantize, quantize, round_weights, simulate, weight_params
from minigrad.compression.quantization.analysis import (
    SOURCES,
    RequantizationNoise,
    along_line,
    divergence,
    explain_flip,
    loss_by_source,
    mean_loss,
    sensitivity_by_layer,
    shapley,
    signal_to_noise,
    sqnr,
    with_noise,
)


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (60, 28, 28)).astype(np.uint8)


@pytest.fixture
def images(pixels):
    return ((pixels[:, None] / 255 - 0.1307) / 0.3081).astype(np.float32)


@pytest.fixture
def chain(images):
    return as_sequential(trained_lenet(), images[:1])


@pytest.fixture
def parts(chain, images):
    return chain, round_weights(chain, 3)[1], calibrate(chain, images, bits=4)


def test_each_source_does_what_it_says_and_nothing_else(parts, images):
    chain, weights, activations = parts
    w, params = chain.fc1.weight.data, weights["fc1"]
    rounded, reach = dequantize(quantize(w, params), params), params.range[1][:, None]
    alone = {source: with_noise(chain, weights, activations, [source]) for source in SOURCES}
    np.testing.assert_allclose(alone["weight clipping"].fc1.weight.data, np.clip(w, -reach, reach))
    inside = np.abs(w) <= reach
    np.testing.assert_allclose(alone["weight rounding"].fc1.weight.data[inside], rounded[inside], atol=1e-7)
    np.testing.assert_allclose(alone["weight rounding"].fc1.weight.data[~inside], w[~inside], atol=1e-7)
    assert 0 < (~inside).sum() < 0.2 * w.size
    unit = (activations["conv2"].scale * params.scale).astype(np.float64)
    steps = alone["bias"].fc1.bias.data / unit
    np.testing.assert_allclose(steps, np.rint(chain.fc1.bias.data / unit), atol=1e-3)
    expected = simulate(chain, None, activations)(images).data
    np.testing.assert_array_equal(alone["activation rounding"](images).data, expected)
    both = with_noise(chain, weights, activations, ["weight rounding", "weight clipping", "activation rounding"])
    np.testing.assert_array_equal(both(images).data, simulate(chain, weights, activations)(images).data)
    np.testing.assert_array_equal(with_noise(chain, weights, activations, [])(images).data, chain(images).data)


def test_all_sources_together_are_the_integer_engine(chain, images, pixels):
    weights = {name: weight_params(getattr(chain, name).weight) for name in ("conv1", "conv2", "fc1", "fc2", "fc3")}
    activations = calibrate(chain, images)
    model = lower(chain, activations, weights)
    params = activations["fc3"]
    noisy = quantize(with_noise(chain, weights, activations)(images), params)
    plain = quantize(with_noise(chain, weights, activations, ["activation rounding"])(images), params)
    off = np.abs(noisy.astype(int) - model.logits(pixels))
    assert off.mean() < 0.01  # what is left: float32's own rounding, where a sum lies halfway between two steps
    assert off.max() <= 1
    assert off.mean() < 0.1 * np.abs(plain.astype(int) - model.logits(pixels)).mean()


def test_requantization_noise_is_zero_or_a_step(rng):
    x = rng.normal(size=(50, 3, 4, 4)).astype(np.float32)
    noise = RequantizationNoise(0.01, np.array([0.5, 1.0, 2.0]), 0.015)(x).data - x
    steps = noise / 0.015
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert set(np.unique(np.rint(steps))) <= {-1, 0, 1}
    assert 0.1 < (np.rint(steps[:, 0]) != 0).mean() < 0.5  # M = 1/3: semantics of "tflite" differ there on a third


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=8), st.lists(st.floats(-5, 5), min_size=8, max_size=8))
def test_shares_add_up_are_linear_and_fair(first, second):
    names = ["a", "b", "c"]

    def game(values):
        return lambda group: values[sum(2 ** names.index(player) for player in group)]

    shares = [shapley(names, game(values)) for values in (first, second)]
    assert np.isclose(sum(shares[0].values()), first[7] - first[0])
    both = shapley(names, game([a + b for a, b in zip(first, second, strict=True)]))
    for name in names:
        assert np.isclose(both[name], shares[0][name] + shares[1][name])
    assert shapley(names, lambda group: float("b" in group)) == pytest.approx({"a": 0, "b": 1, "c": 0})
    # By its definition: the mean over all orders.
    orders = ["abc", "acb", "bac", "bca", "cab", "cba"]
    value = game(first)
    added = [value(frozenset(o[: o.index("a") + 1])) - value(frozenset(o[: o.index("a")])) for o in orders]
    assert np.isclose(shares[0]["a"], np.mean(added))


def test_shares_of_the_loss_add_up(parts, images):
    chain, weights, activations = parts
    labels = chain(images).data.argmax(axis=1)
    rows = loss_by_source(chain, weights, activations, images, labels)
    before, after = (mean_loss(m, images, labels) for m in (chain, with_noise(chain, weights, activations)))
    assert list(rows) == list(SOURCES)
    np.testing.assert_allclose(sum(row["share"] for row in rows.values()), after - before, rtol=1e-9, atol=1e-12)
    alone = mean_loss(with_noise(chain, weights, activations, ["weight rounding"]), images, labels)
    np.testing.assert_allclose(rows["weight rounding"]["alone"], alone - before)
    assert abs(rows["requantization"]["share"]) < 0.2 * abs(rows["weight clipping"]["share"])


def test_the_mean_loss_does_not_depend_on_batches(chain, images):
    labels = np.arange(60) % 10
    expected = F.cross_entropy(chain(images), labels).item()
    for size in (7, 60):
        np.testing.assert_allclose(mean_loss(chain, images, labels, size), expected, rtol=1e-5)


def test_a_spoiled_layer_is_the_sensitive_one_and_the_culprit(parts, images):
    chain, weights, activations = parts
    weights = {name: weight_params(getattr(chain, name).weight, 8) for name in weights}
    weights["fc2"] = weight_params(chain.fc2.weight, 2, axis=None)
    activations = calibrate(chain, images)
    labels = chain(images).data.argmax(axis=1)
    increases = sensitivity_by_layer(chain, weights, activations, images, labels)
    assert max(increases, key=lambda name: increases[name]) == "fc2"
    predictions = with_noise(chain, weights, activations)(images).data.argmax(axis=1)
    flipped = np.flatnonzero(predictions != labels)
    flip = explain_flip(chain, weights, activations, images[flipped[0]])
    assert (flip.before, flip.after) == (labels[flipped[0]], predictions[flipped[0]])
    assert flip.culprit == "fc2"
    assert "fc2" in flip.alone
    assert flip.margin_after < 0 < flip.margin_before
    np.testing.assert_allclose(sum(flip.shares.values()), flip.margin_after - flip.margin_before, rtol=1e-9)
    same = np.flatnonzero(predictions == labels)[0]
    assert explain_flip(chain, weights, activations, images[same : same + 1]) is None


def test_decibels_of_two_powers():
    assert sqnr(2.0**2 + 6.0**2, 0.1**2 + 0.3**2) == pytest.approx(10 * np.log10(400))  # errors of a twentieth
    assert sqnr(0.001, 1.0) == pytest.approx(-30)
    assert (sqnr(3.0, 0.0), sqnr(0.0, 0.0), sqnr(0.0, 3.0)) == (np.inf, np.inf, -np.inf)


def test_zeros_are_left_out_of_signal_and_noise(rng):
    """ReLU's zeros lie on any grid: they would raise the expected noise, and not the noise."""
    chain = nn.Sequential(nn.Linear(8, 4))
    w = chain[0].weight.data
    w[...] = 0
    weights = {"0": weight_params(np.ones((4, 8)), 4, axis=None)}  # steps of 1 / 7
    (nothing,) = signal_to_noise(chain, weights, {}, rng.normal(size=(2, 8)).astype(np.float32))
    assert (nothing.measured, nothing.expected) == (np.inf, np.inf)
    w[0, :2] = 0.5, -0.5  # 3.5 steps: half a step off
    (row,) = signal_to_noise(chain, weights, {}, rng.normal(size=(2, 8)).astype(np.float32))
    assert row.measured == pytest.approx(10 * np.log10(3.5**2 / 0.5**2), abs=1e-4)
    assert row.expected == pytest.approx(10 * np.log10(3.5**2 * 12), abs=1e-4)


def test_noise_follows_the_rule_for_numbers_that_fill_their_range(rng):
    chain = nn.Sequential(nn.Linear(400, 50), nn.Linear(50, 2))
    chain[0].weight.data[...] = rng.uniform(-1, 1, (50, 400))
    images = rng.normal(size=(20, 400)).astype(np.float32)
    for bits in (3, 5, 8):
        weights = {"0": weight_params(chain[0].weight, bits)}
        first, *others = signal_to_noise(chain, weights, calibrate(chain, images), images)
        assert (first.name, first.bits, first.rule) == ("0 weights", bits, 6.02 * bits)
        assert abs(first.measured - first.expected) < 0.5
        assert (
            abs(first.measured - 20 * np.log10(2**bits - 2)) < 0.5
        )  # 6.02 * bits, less what the narrow range gives up
        assert [row.name for row in others] == ["0 activations", "1 activations"]


def test_the_line_from_float_to_rounded_weights(chain):
    rounded, _ = round_weights(chain, 2)
    middle = along_line(chain, rounded, [0, 0.25, 1], lambda model: float(model.fc1.weight.data[0, 0]))
    a, b = float(chain.fc1.weight.data[0, 0]), float(rounded.fc1.weight.data[0, 0])
    np.testing.assert_allclose(middle, [a, 0.75 * a + 0.25 * b, b], rtol=1e-5)


def test_unknown_names_are_refused(parts):
    with pytest.raises(ValueError, match=r"with_noise: unknown rounding; sources are weight rounding, weight clipping"):
        with_noise(*parts, ["rounding"])
    with pytest.raises(ValueError, match=r"with_noise: unknown fc9; sources are .*, layers \['conv1', 'conv2'"):
        with_noise(*parts, layers=["fc9"])
    with pytest.raises(ValueError, match=r"with_noise: fc2, fc3: no format of its weights or of its activations"):
        with_noise(
            parts[0],
            *({n: p for n, p in part.items() if n != out} for part, out in zip(parts[1:], ("fc3", "fc2"), strict=True)),
        )
    with pytest.raises(ValueError, match=r"shapley: 13 players would need 8,192 evaluations; at most 12"):
        shapley([str(i) for i in range(13)], len)


def test_without_images_there_is_no_loss_and_no_divergence(chain, images):
    with pytest.raises(ValueError, match=r"mean_loss: there are no images; held-out training images will do"):
        mean_loss(chain, images[:0], np.zeros(0, int))
    with pytest.raises(ValueError, match=r"divergence: there are no images; held-out training images will do"):
        divergence(chain, chain, images[:0])


def test_answers_diverge_by_zero_or_more_also_where_the_loss_falls(chain, images):
    assert divergence(chain, chain, images) == 0
    rounded, labels = round_weights(chain, 2)[0], chain(images).data.argmax(axis=1)
    wrong = (labels + 1) % 10  # of which the model is less sure after rounding
    assert mean_loss(rounded, images, wrong) < mean_loss(chain, images, wrong)
    p, q = (np.exp(F.log_softmax(model(images), axis=1).data.astype(np.float64)) for model in (chain, rounded))
    np.testing.assert_allclose(divergence(rounded, chain, images), (p * np.log(p / q)).sum() / len(p), rtol=1e-3)
    assert divergence(rounded, chain, images) > 0


def test_average_pooling_is_rounded_with_activations_only(rng):
    chain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3))
    x = rng.normal(size=(20, 1, 8, 8)).astype(np.float32)
    weights, activations = round_weights(chain, 8)[1], calibrate(chain, x, bits=3)
    for sources, rounds in ((SOURCES, True), (["weight rounding"], False)):
        noisy = with_noise(chain, weights, activations, sources)
        pooled = {type(layer).__name__: layer for layer in noisy}
        assert ("RoundedMean" in pooled) == rounds
        assert ("AvgPool2d" in pooled) != rounds
    assert "RoundedMean" not in [type(m).__name__ for m in with_noise(chain, weights, activations, layers=["4"])]
