"""Criteria: each against its definition, written out naively."""

import numpy as np
import pytest

from minigrad import DataLoader, nn, no_grad
from minigrad import functional as F
from minigrad.compression.pruning import CRITERIA, output_change, prunable
from minigrad.compression.pruning.criteria import WITHOUT_DATA, activation, movement, obd, stability


@pytest.fixture
def points(rng):
    x = rng.normal(size=(24, 4)).astype(np.float32)
    return DataLoader(x, rng.integers(0, 3, 24), batch_size=8)


def net():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def loss_of(model, loader):
    return F.cross_entropy(model(loader.images), loader.labels)


def gradients(model, loader):
    model.zero_grad()
    loss_of(model, loader).backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_scores_the_weights_and_leaves_the_model_alone(criterion, points):
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3)).train()
    model[4].weight.requires_grad = False  # frozen weights have a score as well
    before, modes = model.state_dict(), [m.training for m in model.modules()]
    scores = CRITERIA[criterion](model, None, points, 1)
    assert {name: s.shape for name, s in scores.items()} == {"0.weight": (5, 4), "4.weight": (3, 5)}
    again = CRITERIA[criterion](model, None, points, 1)
    for name, s in scores.items():
        assert np.isfinite(s).all()
        assert np.ptp(s) > 0
        if criterion != "movement":  # trains, with dropout
            np.testing.assert_array_equal(s, again[name])
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert points.epoch == 0
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_biases_are_scored_where_they_are_named(criterion, points):
    scores = CRITERIA[criterion](net(), ["0.bias", "2.weight"], points, 0)
    assert {name: s.shape for name, s in scores.items()} == {"0.bias": (5,), "2.weight": (3, 5)}
    with pytest.raises(KeyError, match=r"Sequential has no parameter '0.scale'; it has \['0.weight', '0.bias'"):
        CRITERIA[criterion](net(), ["0.scale"], points, 0)


def test_images_are_asked_for():
    empty = DataLoader(np.zeros((0, 4), np.float32), np.zeros(0, int))
    for criterion in CRITERIA.keys() - set(WITHOUT_DATA):
        for loader in (None, empty):
            with pytest.raises(ValueError, match=f"{criterion}: this criterion looks at images; pass a loader"):
                CRITERIA[criterion](net(), None, loader)
    for criterion in WITHOUT_DATA:
        assert CRITERIA[criterion](net())


def test_magnitude_l2_and_random():
    model = net()
    w = prunable(model)["0.weight"].data
    np.testing.assert_array_equal(CRITERIA["magnitude"](model)["0.weight"], abs(w))
    np.testing.assert_array_equal(CRITERIA["l2"](model)["0.weight"], w**2)
    a, b = CRITERIA["random"](model, seed=1), CRITERIA["random"](model, seed=2)
    assert (a["0.weight"] != b["0.weight"]).all()
    assert (a["0.weight"] >= 0).all()
    assert (a["0.weight"] < 1).all()


def test_gradient_and_taylor_follow_the_mean_loss(points):
    model = net()
    g = gradients(model, points)
    for name, p in prunable(model).items():
        np.testing.assert_allclose(CRITERIA["gradient"](model, None, points)[name], abs(g[name]), rtol=1e-4, atol=1e-7)
        taylor = CRITERIA["taylor"](model, None, points)[name]
        np.testing.assert_allclose(taylor, abs(g[name] * p.data), rtol=1e-4, atol=1e-7)


def test_taylor_predicts_the_change_of_the_loss_for_small_weights(points):
    model = net()
    w = model[0].weight.data
    w[2, 1] = 0.01
    predicted = CRITERIA["taylor"](model, None, points)["0.weight"][2, 1]
    before = loss_of(model, points).item()
    w[2, 1] = 0
    assert predicted == pytest.approx(abs(loss_of(model, points).item() - before), rel=0.1)


def test_movement_adds_up_along_plain_sgd(points):
    model = net()
    by_hand = net()
    by_hand.load_state_dict(model.state_dict())
    expected = {name: np.zeros(p.shape) for name, p in prunable(by_hand).items()}
    order = np.random.default_rng(3).permutation(24)
    for x, targets in points.batches(order):
        by_hand.zero_grad()
        F.cross_entropy(by_hand(x), targets).backward()
        for name, p in prunable(by_hand).items():
            expected[name] -= p.data * p.grad
        for p in by_hand.parameters():
            p.data -= 0.1 * p.grad
    for name, s in movement(model, None, points, seed=3, lr=0.1).items():
        np.testing.assert_allclose(s, expected[name], rtol=1e-4, atol=1e-7)


def test_movement_is_positive_where_training_enlarges_a_weight_and_holds_zeros():
    x = np.array([[1.0, 0.5], [-1.0, 0.25]], np.float32)
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data[...] = [[0.1, 0.5], [0.1, 0.0]]  # the first column must become (+, -)
    scores = movement(layer, None, DataLoader(x, np.array([0, 1])))["weight"]
    assert scores[0, 0] > 0 > scores[1, 0]
    assert scores[1, 1] == 0 != scores[0, 1]


def test_activation_is_one_minus_apoz(points, rng):
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 4), nn.ReLU(),
        nn.Linear(4, 2),
    )  # fmt: skip
    model[0].bias.data[0] = 100  # always active
    model[5].bias.data[1] = -100  # never
    images = DataLoader(rng.normal(size=(7, 1, 4, 4)).astype(np.float32), np.zeros(7, int), batch_size=3)
    with no_grad():
        model.eval()
        behind_norm = model[2](model[1](model[0](images.images))).data  # (N, F, H, W)
        behind_fc = model[6](model[5](model[4](model[3](behind_norm)))).data
    scores = activation(model, ["0.weight", "1.weight", "5.weight", "5.bias", "7.weight"], images)
    active = (behind_norm > 0).mean(axis=(0, 2, 3))
    assert active[0] == 1
    np.testing.assert_allclose(scores["0.weight"].reshape(3, -1), active[:, None].repeat(9, 1), atol=1e-8)
    np.testing.assert_allclose(scores["1.weight"], active, atol=1e-8)
    np.testing.assert_allclose(scores["5.bias"], (behind_fc > 0).mean(axis=0), atol=1e-8)
    assert scores["5.weight"][1].max() < 1e-8
    np.testing.assert_allclose(scores["7.weight"], 1, atol=1e-8)  # no ReLU behind it
    order = np.argsort(abs(model[5].weight.data[0]))
    assert (np.diff(scores["5.weight"][0][order]) > 0).all()  # among equals the smaller goes first


def test_activation_looks_through_fusion(rng):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
    model[0].bias.data[:] = [100, -100]
    images = DataLoader(rng.normal(size=(3, 1, 4, 4)).astype(np.float32), np.zeros(3, int))
    with F.fusion():
        scores = activation(model, None, images)["0.weight"]
    np.testing.assert_allclose(scores[:, 0, 0, 0], [1, 0], atol=1e-8)


def logit_gradients(model, x):
    """(N, K) lists of name → derivative of a logit of an image."""
    rows = []
    for image in x:
        row = []
        for k in range(3):
            model.zero_grad()
            model(image[None])[0, k].backward()
            row.append({name: p.grad.copy() for name, p in prunable(model).items()})
        rows.append(row)
    return rows


def test_obd_estimates_the_gauss_newton_diagonal(points):
    model = net()
    p = F.softmax(model(points.images)).data
    expected = {name: np.zeros(w.shape) for name, w in prunable(model).items()}
    for probability, row in zip(p, logit_gradients(model, points.images), strict=True):
        for name in expected:
            jacobian = np.stack([g[name] for g in row])  # (K, ...)
            mean = np.tensordot(probability, jacobian, 1)
            expected[name] += np.tensordot(probability, jacobian**2, 1) - mean**2
    scores = obd(model, None, points, draws=1000)
    for name, w in prunable(model).items():
        reference = expected[name] / 24 * w.data**2 / 2
        np.testing.assert_allclose(scores[name], reference, rtol=0.15, atol=0.01 * reference.max())


def test_obd_predicts_the_rise_of_the_loss_at_a_minimum():
    """Labels as often as the model says they come: the gradient is zero and the Hessian is Gauss and Newton's."""
    layer = nn.Linear(1, 2, bias=False)
    layer.weight.data[...] = [[0.1], [0.0]]
    p = F.softmax(layer(np.ones((1, 1), np.float32))).data[0]
    count = round(1000 * float(p[0]))
    images = DataLoader(np.ones((1000, 1), np.float32), np.arange(1000) >= count, batch_size=50)
    images.labels = images.labels.astype(int)
    before = loss_of(layer, images).item()
    predicted = obd(layer, None, images, draws=50)["weight"][0, 0]
    layer.weight.data[0, 0] = 0
    assert predicted == pytest.approx(0.5 * 0.01 * p[0] * p[1], rel=0.1)
    assert predicted == pytest.approx(loss_of(layer, images).item() - before, rel=0.3)


def test_stability_estimates_what_output_change_measures(points):
    """In the last layer the outputs are linear in a weight: the estimate is exact up to chance."""
    model = net()
    clean = stability(model, None, points, noise=0.0, draws=500)
    noisy = stability(model, None, points, noise=2.0, draws=500)
    for k in range(3):
        for j in range(5):
            exact = output_change(model, points, "2.weight", (k, j), noise=0.0)
            assert clean["2.weight"][k, j] == pytest.approx(exact, rel=0.1, abs=1e-6)
    largest = np.unravel_index(clean["2.weight"].argmax(), (3, 5))
    exact = output_change(model, points, "2.weight", largest, noise=2.0)
    assert exact > 1.5 * output_change(model, points, "2.weight", largest, noise=0.0)
    assert noisy["2.weight"][largest] == pytest.approx(exact, rel=0.5)  # other noise
    model[0].weight.data[...] *= 0.01 / abs(model[0].weight.data)  # small weights: the first order suffices
    model[0].bias.data[...] = 1
    first = stability(model, None, points, noise=0.0, draws=500)["0.weight"]
    assert first[1, 2] == pytest.approx(output_change(model, points, "0.weight", (1, 2), noise=0.0), rel=0.1)


def test_output_change_takes_groups(points):
    model = net()
    before = model(points.images).data
    changed = net()
    changed.load_state_dict(model.state_dict())
    changed[0].weight.data[3] = 0
    expected = ((changed(points.images).data - before) ** 2).sum() / 24
    assert output_change(model, points, "0.weight", 3, noise=0.0) == pytest.approx(expected, rel=1e-5)
    assert output_change(model, points, "0.weight", 3, seed=1) == output_change(model, points, "0.weight", 3, seed=1)
    with pytest.raises(KeyError, match=r"has no parameter '1.weight'"):
        output_change(model, points, "1.weight", 3)
