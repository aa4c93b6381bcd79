import numpy as np
import pytest

from minigrad import DataLoader, nn
from minigrad import functional as F
from minigrad.compression.distillation import DistillationLoss, SoftLoader, teacher_logits
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.pruning import SparsePruner
from minigrad.compression.quantization import (
    QuantizedLayer,
    as_float_chain,
    convert,
    freeze_ranges_,
    prepare_qat,
    quantize,
    round_activations_,
    simulate,
    train_qat,
    weight_params,
)
from minigrad.optim import SGD
from tests.compression.integer.integer_cases import random_images

SETTINGS = [
    {}, {"bits": 3}, {"bits": 1}, {"bits": 1, "per_channel": False}, {"per_channel": False, "bits": 4},
    {"bits": 2, "activation_bits": 4, "learned": True}, {"bits": 4, "learned": True, "per_channel": False},
]  # fmt: skip


@pytest.fixture
def images(rng):
    return rng.normal(size=(32, 1, 28, 28)).astype(np.float32)


@pytest.fixture
def loader(images, rng):
    return DataLoader(images, rng.integers(0, 10, 32), batch_size=8, shuffle=True, seed=0)


def layers(qat):
    return {name: m for name, m in qat.named_modules() if isinstance(m, QuantizedLayer)}


def test_a_prepared_model_computes_with_rounded_weights_and_changes_nothing(images):
    model = trained_lenet()
    before = model.state_dict()
    qat = prepare_qat(model, images, bits=3)
    formats = {name: weight_params(getattr(model, name).weight, 3) for name in layers(qat)}
    chain, weights, activations = as_float_chain(prepare_qat(model, images, bits=None, activation_bits=None))
    assert not weights
    assert not activations
    np.testing.assert_allclose(qat.eval()(images).data, simulate(chain, formats)(images).data, rtol=1e-5, atol=1e-4)
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    assert {f"{name}.weight" for name in layers(qat)} == {name for name in before if name.endswith("weight")}


@pytest.mark.parametrize("settings", SETTINGS)
def test_trained_integers_say_what_the_chain_says(settings, images, loader):
    qat = prepare_qat(trained_lenet(), images, **settings)
    train_qat(qat, loader, epochs=1, lr=0.002)
    logits = qat(images).data
    chain, weights, activations = as_float_chain(qat)
    simulated = simulate(chain, None, activations)(images).data
    np.testing.assert_allclose(simulated, logits, rtol=1e-4, atol=1e-4)
    for name, params in weights.items():  # the float weights are exactly what the integers stand for
        w = getattr(chain, name).weight.data
        steps = w / params.spread(w.shape)[0]
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
        assert len(np.unique(np.rint(steps))) <= 2 ** (settings.get("bits", 8))


@pytest.mark.parametrize("settings", [{}, {"bits": 2, "learned": True}, {"bits": 1}])
def test_the_integer_model_is_off_by_a_step_or_two_at_most(settings, loader, rng):
    pixels = rng.integers(0, 256, (32, 28, 28)).astype(np.uint8)
    images = ((pixels[:, None] / 255 - 0.1307) / 0.3081).astype(np.float32)
    qat = prepare_qat(trained_lenet(), images, **settings)
    round_activations_(qat)
    qat.eval()
    model = convert(qat)
    params = qat.fc3.activation_format()
    real = (model.logits(pixels).astype(np.float32) - params.zero_point) * params.scale
    assert np.abs(real - qat(images).data).max() <= 3 * params.scale
    np.testing.assert_array_equal(model.layers[0].weight != 0, qat.conv1.rounded_weight().data != 0)


def test_training_moves_what_is_rounded_and_helps():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(240, 8)).astype(np.float32)
    labels = (x @ rng.normal(size=(8, 4))).argmax(axis=1)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    loader = DataLoader(x, labels, batch_size=24, shuffle=True, seed=0)
    optimizer = SGD(model.parameters(), 0.2, 0.9)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    for learned in (False, True):
        qat = prepare_qat(model, x, bits=2, activation_bits=4, learned=learned)
        round_activations_(qat)
        before = F.cross_entropy(qat.eval()(x), labels).item()
        state = qat.state_dict()
        losses = train_qat(qat, loader, epochs=8, lr=0.01, activations_from=0.2, frozen_from=0.8)
        after = F.cross_entropy(qat(x), labels).item()
        assert after < 0.8 * before
        assert len(losses) == 8
        assert all(not np.array_equal(array, state[name]) for name, array in qat.state_dict().items())


def test_ranges_follow_as_moving_averages_until_they_are_frozen(images):
    qat = prepare_qat(trained_lenet(), images, momentum=0.25)
    start = qat.conv1.range.data.copy()
    extremes = [
        np.maximum(F.conv2d(x, qat.conv1.rounded_weight(), qat.conv1.bias).data, 0) for x in (images, 2 * images)
    ]
    qat(2 * images)
    expected = 0.75 * start + 0.25 * np.array([extremes[1].min(), extremes[1].max()])
    np.testing.assert_allclose(qat.conv1.range.data, expected, rtol=1e-5)
    np.testing.assert_allclose(start[1], np.maximum(trained_lenet().conv1(images).data, 0).max(), rtol=1e-5)
    freeze_ranges_(qat)
    qat(images)
    np.testing.assert_allclose(qat.conv1.range.data, expected, rtol=1e-5)
    freeze_ranges_(qat, on=False)
    qat.eval()(images)
    np.testing.assert_allclose(qat.conv1.range.data, expected, rtol=1e-5)


def test_switches_are_thrown_at_their_share_of_the_steps(images, loader, monkeypatch):
    qat = prepare_qat(LeNet(), images)
    seen = []
    whole = QuantizedLayer.forward

    def forward(self, x):
        if self is qat.conv1:
            seen.append((self.rounds_activations, self.frozen))
        return whole(self, x)

    monkeypatch.setattr(QuantizedLayer, "forward", forward)
    train_qat(qat, loader, epochs=2, activations_from=0.25, frozen_from=0.75)
    assert seen == [(False, False)] * 2 + [(True, False)] * 4 + [(True, True)] * 2


def test_learned_scales_learn_until_they_are_frozen_and_never_cross_zero(images):
    qat = prepare_qat(trained_lenet(), images, bits=3, learned=True)
    round_activations_(qat)
    qat.conv2.weight_scale.data[0] = -1
    qat.fc1.activation_scale.data[...] = 0
    qat(images).sum().backward()
    widest = weight_params(qat.conv2.weight, 3).scale[0]
    np.testing.assert_allclose(qat.conv2.weight_scale.data[0], widest / 100, rtol=1e-6)
    np.testing.assert_allclose(qat.fc1.activation_scale.data, qat.fc1.range.data[1] / 255 / 100, rtol=1e-2)
    for name, layer in layers(qat).items():
        assert np.abs(layer.weight_scale.grad).sum() > 0, name
        assert layer.weight_scale.shape == layer.weight.shape[:1]
    qat.zero_grad()
    freeze_ranges_(qat)
    qat(images).sum().backward()
    assert qat.conv2.weight_scale.grad is None


def test_the_first_learned_step_is_that_of_the_paper(images):
    model = trained_lenet()
    qat = prepare_qat(model, images, bits=3, learned=True, per_channel=False)
    expected = 2 * np.abs(model.fc1.weight.data).mean() / np.sqrt(3)
    np.testing.assert_allclose(qat.fc1.weight_scale.data, expected, rtol=1e-5)
    kept = {"fc1.weight": np.abs(model.fc1.weight.data) > 0.1}  # zeros are exact at any scale, and do not count
    pruned = SparsePruner.from_masks(kept).prune(model)
    w = np.abs(pruned.fc1.weight.data)
    first = prepare_qat(pruned, images, bits=3, learned=True).fc1.weight_scale.data
    means = w.sum(axis=1) / np.maximum(np.count_nonzero(w, axis=1), 1)
    np.testing.assert_allclose(first, np.minimum(2 * means / np.sqrt(3), w.max(axis=1) / 3), rtol=1e-5, atol=1e-30)


def test_groups_have_scales_of_their_own_even_learned_ones(images):
    for learned in (False, True):
        qat = prepare_qat(trained_lenet(), images, bits=3, group=100, learned=learned)
        w = qat.fc1.rounded_weight()
        assert len(np.unique(w.data[0, :100])) <= 7 < len(np.unique(w.data[0]))
        w.sum().backward()
    assert qat.fc1.weight_scale.grad.shape == (120, 3)
    with pytest.raises(ValueError, match=r"the weights of conv1 need one scale, or one for each output channel"):
        convert(qat)


@pytest.mark.parametrize("learned", [False, True])
def test_pruned_weights_stay_exactly_zero(learned, images, loader):
    model = trained_lenet()
    names = [name for name, p in model.named_parameters() if p.ndim > 1]
    pruned = SparsePruner(model, dict.fromkeys(names, 0.7)).prune(model)
    qat = prepare_qat(pruned, images, bits=4, learned=learned)
    train_qat(qat, loader, epochs=2)
    integers = {layer.name: layer.weight for layer in convert(qat).layers if hasattr(layer, "weight")}
    for name in names:
        zeros = dict(pruned.named_parameters())[name].data == 0
        layer = name.removesuffix(".weight")
        assert not getattr(qat, layer).weight.data[zeros].any()
        assert not integers[layer][zeros].any()
        assert zeros.mean() >= 0.69


def test_a_teacher_can_be_asked(images, loader):
    teacher = trained_lenet()
    soft = SoftLoader(loader, teacher_logits(teacher, loader))
    qat = prepare_qat(trained_lenet(), images, bits=4)
    loss = DistillationLoss(temperature=4.0, alpha=1.0)
    first, *_, last = train_qat(
        qat, soft, 5, lr=0.001, loss_fn=lambda out, batch: loss(out, batch.logits, batch.labels)
    )
    assert last < first


def test_two_bits_and_powers_of_two_leave_weights_that_are_not_zero(images):
    qat = prepare_qat(trained_lenet(), images, bits=2, power_of_two=True)
    for name, layer in layers(qat).items():
        params, w = layer.weight_format(), np.abs(layer.weight.data).reshape(len(layer.weight.data), -1)
        assert (np.frexp(params.scale / np.float32(layer.std))[0] == 0.5).all()
        assert 0.1 < (layer.rounded_weight().data != 0).mean() < 0.9, name
        finer = np.minimum(2 * w.mean(axis=1), w.max(axis=1))  # where Esser et al. begin
        within = 2 if (finer == w.max(axis=1)).any() else np.sqrt(2)
        assert ((params.scale / finer < within * 1.001) & (params.scale / finer > 0.7)).all()
    wide = prepare_qat(trained_lenet(), images, bits=8, power_of_two=True).fc1
    extremes = weight_params(wide.weight, 8).scale
    assert ((wide.weight_format().scale >= extremes) & (wide.weight_format().scale < 2 * extremes)).all()


def test_a_layer_that_died_in_training_is_named(images):
    qat = prepare_qat(trained_lenet(), images)
    qat.fc2.range.data[...] = 0
    with pytest.raises(ValueError, match=r"QuantizedLayer fc2: activation_params: the range 0.0 to 0.0 has no width"):
        convert(qat)


def test_the_float_model_teaches_the_rounded_one(images, rng):
    """Labels are noise: only the teacher says what the model said before."""
    teacher = trained_lenet()
    before = teacher.state_dict()
    loader = DataLoader(images, rng.integers(0, 10, 32), batch_size=8, shuffle=True, seed=0)
    off = []
    for settings in ({}, {"teacher": teacher}, {"teacher": teacher, "loss_fn": DistillationLoss(2.0, 1.0)}):
        qat = prepare_qat(teacher, images, bits=3)
        losses = train_qat(qat, loader, 8, lr=0.002, **settings)
        off.append(np.abs(F.softmax(qat(images), axis=1).data - F.softmax(teacher(images), axis=1).data).mean())
    assert losses[-1] < losses[0]
    assert off[2] < off[1] < off[0]
    assert all(np.array_equal(array, before[name]) for name, array in teacher.state_dict().items())


def test_logits_of_the_teacher_do_as_well_as_the_teacher(images, loader):
    teacher = trained_lenet()
    states = []
    for said in (teacher, teacher_logits(teacher, images)):
        qat = prepare_qat(teacher, images, bits=3)
        train_qat(qat, loader, 1, teacher=said)
        states.append(qat.state_dict())
    for name, array in states[0].items():
        np.testing.assert_allclose(array, states[1][name], rtol=1e-4, atol=1e-5)


def test_each_layer_can_have_its_own_bits(images, loader):
    widths = {"conv1": 8, "conv2": 1, "fc1": 2, "fc2": 4, "fc3": 8}
    qat = prepare_qat(trained_lenet(), images, bits=widths, learned=True)
    train_qat(qat, loader, 1, lr=0.001)
    _, weights, _ = as_float_chain(qat)
    assert {name: params.bits for name, params in weights.items()} == widths | {"conv2": 2}  # signs, as integers
    model = convert(qat)
    largest = {layer.name: int(np.abs(layer.weight).max()) for layer in model.layers if hasattr(layer, "weight")}
    assert all(largest[name] <= max(2 ** (bits - 1) - 1, 1) for name, bits in widths.items())
    assert largest["conv1"] > 7
    some = prepare_qat(trained_lenet(), images, bits={"fc1": 2})
    assert some.conv2.rounded_weight() is some.conv2.weight
    assert len(np.unique(some.fc1.rounded_weight().data[0])) <= 3
    with pytest.raises(KeyError, match=r"prepare_qat: conv9: no such layer; there are conv1, conv2, fc1, fc2, fc3"):
        prepare_qat(trained_lenet(), images, bits={"conv9": 2})
    with pytest.raises(ValueError, match=r"prepare_qat: bits is 9, expected an integer from 1 to 8"):
        prepare_qat(trained_lenet(), images, bits={"fc1": 9})


def test_average_pooling_rounds_as_soon_as_activations_do(rng):
    pixels = random_images(0, 40, (8, 8))
    x = (pixels[:, None] / 255).astype(np.float32)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4))
    qat = prepare_qat(model, x, std=1.0)
    pooled = qat[1]
    inside = qat[0](x)
    np.testing.assert_array_equal(pooled(inside).data, nn.AvgPool2d(2)(inside).data)
    train_qat(qat, DataLoader(x, rng.integers(0, 4, 40), 8), 1)
    steps = pooled(qat[0](x)).data / qat[0].activation_format().scale
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    integer = convert(qat, input_shape=(1, 8, 8), mean=0.0, std=1.0)
    assert type(as_float_chain(qat)[0][1]) is nn.ReLU
    assert type(as_float_chain(qat)[0][2]) is nn.AvgPool2d
    params = qat[3].activation_format()
    assert np.abs(integer.logits(pixels).astype(int) - quantize(qat(x), params)).max() <= 1


def test_batch_norm_is_folded_before_training(rng):
    x = rng.normal(size=(8, 2, 6, 6)).astype(np.float32)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU6(), nn.AvgPool2d(2), nn.Flatten(),
                          nn.Linear(12, 2))  # fmt: skip
    model.train()(x)
    qat = prepare_qat(model, x, bits=None, activation_bits=None)
    np.testing.assert_allclose(qat.eval()(x).data, model.eval()(x).data, rtol=1e-4, atol=1e-5)
    assert [type(m).__name__ for m in qat] == ["QuantizedLayer", "AvgPool2d", "Flatten", "QuantizedLayer"]


def test_logits_keep_eight_bits(images):
    qat = prepare_qat(trained_lenet(), images, activation_bits=2)
    assert qat.fc2.activation_format().bits == 2
    assert qat.fc3.activation_format().bits == 8


def test_bad_settings_are_refused(images, loader):
    model = LeNet()
    for settings, sentence in (
        ({"bits": 9}, r"prepare_qat: bits is 9, expected an integer from 1 to 8"),
        ({"activation_bits": 0}, r"prepare_qat: bits is 0, expected an integer from 1 to 8"),
    ):
        with pytest.raises(ValueError, match=sentence):
            prepare_qat(model, images, **settings)
    with pytest.raises(ValueError, match=r"calibration: there are no images"):
        prepare_qat(model, np.zeros((0, 1, 28, 28), np.float32))
    qat = prepare_qat(model, images, bits=None)
    with pytest.raises(ValueError, match=r"no number format for the weights of conv1"):
        convert(qat)
    with pytest.raises(ValueError, match=r"its weights are not rounded \(bits=None\), so they have no format"):
        qat.conv1.weight_format()
    with pytest.raises(ValueError, match=r"its results are not rounded \(activation_bits=None\)"):
        prepare_qat(model, images, activation_bits=None).conv1.activation_format()
    with pytest.raises(ValueError, match=r"train_qat: epochs=1, activations_from=2, frozen_from=0.75; expected"):
        train_qat(qat, loader, 1, activations_from=2)
    model.conv2.weight.data[...], model.conv2.bias.data[...] = 0, -1
    with pytest.raises(ValueError, match=r"prepare_qat: conv2: MinMaxObserver: all observed values are 0"):
        prepare_qat(model, images)
