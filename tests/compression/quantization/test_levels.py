import numpy as np
import pytest

from minigrad import DataLoader, nn
from minigrad.compression.integer import to_integer
from minigrad.compression.models import as_sequential, fold_batch_norm, trained_lenet
from minigrad.compression.pruning import SparsePruner
from minigrad.compression.quantization import (
    FloatWrapper,
    change_architecture,
    dequantize,
    equalize,
    input_means,
    levels_table,
    quantize,
    quantize_model,
    weight_layers,
)
from minigrad.compression.quantization.levels import divergence


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (40, 28, 28)).astype(np.uint8)


@pytest.fixture
def images(pixels):
    return ((pixels[:, None] / 255 - 0.1307) / 0.3081).astype(np.float32)


@pytest.fixture
def loader(images, rng):
    return DataLoader(images, trained_lenet()(images).data.argmax(axis=1), batch_size=20, shuffle=True, seed=0)


def test_each_level_does_what_it_says_and_rounds_what_it_says(images, loader, pixels):
    model = trained_lenet()
    before, rows = model.state_dict(), []
    for level in (1, 2, 3, 4):
        quantized = quantize_model(
            model, level, calibration=images, training=loader, bits=4, activation_bits=6, lr=1e-4
        )
        rows.append((quantized, 90.0 + level))
        for name, params in quantized.weights.items():
            w = weight_layers(quantized.chain)[name].weight.data
            np.testing.assert_array_equal(dequantize(quantize(w, params), params), w)
            assert params.bits == 4
        assert {name: p.bits for name, p in quantized.activations.items()} == (
            {} if level == 1 else {"conv1": 6, "conv2": 6, "fc1": 6, "fc2": 6, "fc3": 8}
        )
        assert divergence(quantized, model, images) < 0.5
        assert not quantized.training
        assert quantized.seconds > 0
        if level > 1:
            agree = quantized.integer().predict(pixels) == quantized(images).data.argmax(axis=1)
            assert agree.mean() >= 0.9
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    assert [len(quantized.done) for quantized, _ in rows[:1] + rows[2:]] == [2, 1, 4]
    lines = levels_table(rows).splitlines()
    assert lines[0].split("  ")[0] == "level"
    assert lines[2].split()[:3] == ["1", "none", "no"]
    assert lines[5].split()[:4] == ["4", "training", "images", "yes"]
    assert lines[3].split()[-2:] == ["92.00", f"{rows[1][0].nbytes:,}"]


def test_bytes_are_packed_integers_scales_and_biases():
    weights, outputs = 150 + 2400 + 30720 + 10080 + 840, 6 + 16 + 120 + 84 + 10
    for bits, integers in ((8, weights), (4, weights // 2), (1, -(-150 // 8) + (weights - 150) // 8)):
        assert quantize_model(trained_lenet(), 1, bits=bits).nbytes == integers + 8 * outputs


def test_bits_by_layer_and_a_teacher_go_through_to_training(images, loader):
    widths = {"conv1": 8, "conv2": 4, "fc1": 2, "fc2": 3, "fc3": 5}
    for level in (1, 2, 3):
        quantized = quantize_model(
            trained_lenet(), level, calibration=images, training=loader, bits=widths, distilled=level == 3
        )
        assert {name: params.bits for name, params in quantized.weights.items()} == widths
        assert any("8, 4, 2, 3, 5" in line for line in quantized.done)
    assert quantized.done[-1].endswith("1 epochs, by the float model")
    plain = quantize_model(trained_lenet(), 3, calibration=images, training=loader, bits=widths)
    assert "float model" not in plain.done[-1]
    assert not np.array_equal(plain.chain.fc2.weight.data, quantized.chain.fc2.weight.data)


@pytest.mark.parametrize("level", [2, 3])
def test_weights_alone_activations_alone_or_both_are_rounded(level, images, loader):
    model = trained_lenet()
    settings = {"calibration": images, "training": loader, "lr": 1e-4}
    weights, activations, both = (
        quantize_model(model, level, bits=bits, activation_bits=activation_bits, **settings)
        for bits, activation_bits in ((3, None), (None, 3), (3, 3))
    )
    assert (len(weights.weights), len(weights.activations)) == (5, 0)
    assert (len(activations.weights), len(activations.activations)) == (0, 5)
    assert (len(both.weights), len(both.activations)) == (5, 5)
    assert activations.nbytes == 4 * 44426 > 9 * both.nbytes
    assert len(np.unique(weights.chain.fc1.weight.data[0])) <= 7 < len(np.unique(activations.chain.fc1.weight.data[0]))
    for quantized, few in ((weights, False), (activations, True), (both, True)):
        values = nn.Sequential(*list(quantized.simulated)[:3])(
            images
        ).data  # convolution, ReLU, rounding or else pooling
        assert (len(np.unique(values)) <= 8) == few
    for quantized, missing in ((weights, "activations"), (activations, "weights")):
        with pytest.raises(ValueError, match=rf"no number format for the {missing} of conv1"):
            quantized.integer()


def test_batch_norm_is_put_to_use_at_levels_one_and_two(rng):
    chain = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(),
        nn.Linear(48, 5),
    )  # fmt: skip
    x = (2 * rng.normal(size=(300, 1, 8, 8))).astype(np.float32)
    for norm in (chain[1], chain[4]):
        norm.weight.data[...], norm.bias.data[...] = (
            rng.uniform(0.2, 3, norm.weight.shape),
            rng.normal(size=norm.bias.shape),
        )
    for _ in range(40):
        chain.train()(x)
    chain.eval()
    free = quantize_model(chain, 1, calibration=x[:1], bits=3, per_channel=False)
    assert free.done == ["ranges evened out", "weights rounded to 3 bits", "biases corrected in 3, 7"]
    # What is taken off a bias is what the change of the weights makes of the inputs' means, which no image has told.
    even = equalize(fold_batch_norm(chain))
    moved = even[2].bias.data - free.chain[2].bias.data
    error = (free.chain[2].weight.data - even[2].weight.data).sum(axis=(2, 3))  # (F, C); [2]: the second convolution
    np.testing.assert_allclose(moved, error @ input_means(even, x)["3"], atol=0.02 * np.abs(moved).max())
    measured = quantize_model(chain, 2, calibration=x, bits=4)
    assert measured.done[0] == "batch-norm statistics measured anew"
    assert divergence(measured, chain, x) < 0.1


def test_changed_architectures_compute_nearly_the_same(images):
    chain, done = as_sequential(trained_lenet(), images[:1]), []
    wide = change_architecture(chain, images, ["wider-first-layer"], 0, done)
    assert wide.conv1.weight.shape == (12, 1, 5, 5)
    assert wide.conv2.weight.shape == (16, 12, 5, 5)
    assert wide.conv1.out_channels == wide.conv2.in_channels == 12
    assert not np.array_equal(wide.conv1.weight.data[:6], wide.conv1.weight.data[6:])
    assert divergence(wide, chain, images) < 0.1
    limited = change_architecture(chain, images, ["relu6"], 0, done)
    assert {type(limited.relu1), type(limited.relu4)} == {nn.ReLU6}
    assert divergence(limited, chain, images) < 0.1
    hidden = limited.relu1(limited.conv1(images)).data
    assert 0.002 > (hidden == 6).mean() > 0
    assert [line.split()[0] for line in done] == ["first", "ReLU"]
    assert type(chain.relu1) is nn.ReLU


def test_powers_of_two_reach_the_integers(images, loader):
    model = quantize_model(trained_lenet(), 4, calibration=images, training=loader, changes=["power-of-two"], lr=1e-4)
    layers = [layer for layer in model.integer().layers if hasattr(layer, "weight")]
    for layer in layers:
        for scale in (layer.weight_scale, layer.output_scale):
            assert (np.frexp(scale.as_float32())[0] == 0.5).all()
    assert (np.asarray(layers[1].multiplier) == 2**30).all()


def test_a_pruned_model_keeps_every_zero_at_every_level(images, loader):
    model = trained_lenet()
    pruned = SparsePruner(model, dict.fromkeys([n for n, p in model.named_parameters() if p.ndim > 1], 0.8)).prune(
        model
    )
    for level in (1, 2, 3):
        quantized = quantize_model(pruned, level, calibration=images, training=loader, bits=4)
        for name, layer in weight_layers(quantized.chain).items():
            zeros = getattr(pruned, name).weight.data == 0
            assert not layer.weight.data[zeros].any()
            assert not quantize(layer.weight, quantized.weights[name])[zeros].any()


def test_the_wrapper_finds_the_pixels_again(images, pixels):
    integer = to_integer(trained_lenet(), pixels)
    logits = FloatWrapper(integer)(images)
    assert logits.dtype == np.float32
    last = integer.layers[-1]
    expected = (integer.logits(pixels).astype(float) - last.output_zero) * float(last.output_scale.as_float32())
    np.testing.assert_allclose(logits.data, expected, rtol=1e-6)
    every = ((np.arange(256) / 255 - 0.1307) / 0.3081).astype(np.float32)
    wrapper = FloatWrapper(integer)
    np.testing.assert_array_equal(np.rint((every * wrapper.std + wrapper.mean) * 255), np.arange(256))


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"level": 5}, r"quantize_model: level is 5, expected 1, 2, 3 or 4"),
    ({"level": 2}, r"quantize_model: level 2 needs calibration images, some hundred of the training images"),
    ({"level": 3, "calibration": np.zeros((1, 1, 28, 28))}, r"level 3 trains, and needs a loader of training images"),
    ({"level": 1, "changes": ["relu7"]}, r"changes has \['relu7'\], expected some of relu6, wider-first-layer"),
    ({"level": 1, "bits": 0}, r"quantize_model: bits is 0, expected an integer from 1 to 8"),
    ({"level": 1, "bits": {"fc1": 9}}, r"quantize_model: bits is 9, expected an integer from 1 to 8"),
    ({"level": 1, "activation_bits": 9}, r"quantize_model: bits is 9, expected an integer from 1 to 8"),
])  # fmt: skip
def test_bad_calls_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        quantize_model(trained_lenet(), **settings)


def spoiled(layer, weight=None, bias=None):
    """A LeNet with all weights, or all biases, of one layer set to a number."""
    model = trained_lenet()
    for parameter, value in ((getattr(model, layer).weight, weight), (getattr(model, layer).bias, bias)):
        if value is not None:
            parameter.data[...] = value
    return model


@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.parametrize(("model", "change", "sentence"), [
    (trained_lenet(), lambda x: x[:0], r"calibration: there are no images; some hundred of the training images"),
    (trained_lenet(), lambda x: x * np.nan, r"the output of conv1: .*an observed value is NaN or infinite"),
    (trained_lenet(), lambda x: x.repeat(2, axis=1), r"LeNet cannot take an input of shape \(1, 2, 28, 28\)"),
    (spoiled("fc2", bias=np.nan), None, r"the output of fc2: .*an observed value is NaN or infinite"),
    (spoiled("conv2", weight=0, bias=-1), None, r"conv2: .*all observed values are 0, a range without width"),
    (nn.Sequential(nn.Flatten(), nn.Linear(784, 3), nn.Sigmoid()), None, r"sigmoid is not supported .*expected a"),
])  # fmt: skip
def test_bad_images_and_models_are_refused_in_a_sentence(level, model, change, sentence, images, loader):
    with pytest.raises(ValueError, match=sentence):
        quantize_model(model, level, calibration=change(images) if change else images, training=loader)


def test_a_model_without_rounded_activations_has_no_integers():
    with pytest.raises(ValueError, match=r"no number format for the activations of conv1"):
        quantize_model(trained_lenet(), 1).integer()
