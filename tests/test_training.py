"""One epoch: what is called when, what is returned, and when it stops."""

import numpy as np
import pytest

from minigrad import DataLoader, NonFiniteLossError, Position, evaluate, nn, train
from minigrad import functional as F
from minigrad.optim import SGD
from minigrad.training import count_correct


@pytest.fixture
def points(rng):
    """300 points in the plane, in three classes that lines separate."""
    x = rng.normal(size=(300, 2)).astype(np.float32)
    return x, np.argmax(x @ np.array([[1, -1, 0], [0.2, 0.3, -1]]), axis=1)


def test_training_learns_and_reports_the_mean_loss(points):
    x, labels = points
    net, loader = nn.Linear(2, 3), DataLoader(x, labels, 64, shuffle=True)
    optimizer = SGD(net.parameters(), lr=0.5, momentum=0.5)
    losses = [train(net, loader, nn.CrossEntropyLoss(), optimizer) for _ in range(10)]
    assert losses[-1] < 0.5 * losses[0]
    assert evaluate(net, loader) > 95


def test_the_mean_loss_weighs_images_not_batches(points):
    x, labels = points
    net = nn.Linear(2, 3)
    expected = F.cross_entropy(net(x), labels).item()
    loss = train(net, DataLoader(x, labels, 299), nn.CrossEntropyLoss(), SGD(net.parameters(), lr=0.0))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_after_step_sees_the_model_after_every_step(points):
    x, labels = points
    net, seen = nn.Linear(2, 3), []
    train(
        net,
        DataLoader(x, labels, 100),
        nn.CrossEntropyLoss(),
        SGD(net.parameters(), lr=0.1),
        after_step=lambda model: seen.append((model is net, model.weight.data.copy())),
    )
    assert [same for same, _ in seen] == [True] * 3
    assert not np.array_equal(seen[0][1], seen[1][1])


def test_an_epoch_goes_on_from_a_position(points):
    x, labels = points
    net, loss_fn = nn.Linear(2, 3), nn.CrossEntropyLoss()
    loader = DataLoader(x, labels, 128, shuffle=True)
    order = loader.order(2)
    tail = loss_fn(net(x[order[128:]]), labels[order[128:]]).item()  # images of the last two batches
    optimizer, steps, position = SGD(net.parameters(), lr=0.0), [], Position(2, 1, images=128, loss_sum=128 * 5.0)
    loss = train(net, loader, loss_fn, optimizer, lambda model: steps.append(position.step), position)
    assert steps == [2, 3]
    assert loss == pytest.approx((128 * 5.0 + 172 * tail) / 300, rel=1e-5)
    assert (position.epoch, position.step, position.images, loader.epoch) == (2, 3, 300, 3)

    loader.epoch, loader.step = 2, 1
    assert train(net, loader, loss_fn, optimizer) == pytest.approx(tail, rel=1e-5)
    x[order[-1]] = np.nan
    loader.epoch, loader.step = 2, 1
    with pytest.raises(NonFiniteLossError, match="the loss is nan in epoch 3, step 3 of 3"):
        train(net, loader, loss_fn, optimizer)


def test_a_loss_that_is_not_finite_stops_and_names_epoch_and_step(points):
    x, labels = points
    x[150] = np.nan
    net, loader = nn.Linear(2, 3), DataLoader(x, labels, 100)
    optimizer = SGD(net.parameters(), lr=0.1)
    loader.epoch = 4
    with pytest.raises(NonFiniteLossError, match="the loss is nan in epoch 5, step 2 of 3"):
        train(net, loader, nn.CrossEntropyLoss(), optimizer)
    assert all(np.isfinite(p.data).all() for p in net.parameters())


def test_evaluation_counts_in_percent_and_keeps_the_mode(points):
    x, labels = points
    net = nn.Linear(2, 3)
    net.weight.data[...], net.bias.data[...] = 0, 0  # equal logits: the first class wins
    loader = DataLoader(x, labels, 64)
    assert count_correct(net, loader) == ((labels == 0).sum(), 300)
    assert evaluate(net, loader) == pytest.approx(100 * (labels == 0).mean())
    for mode in (True, False):
        net.train(mode)
        evaluate(net, loader)
        assert net.training is mode
    with pytest.raises(ValueError, match="the loader has no images"):
        evaluate(net, DataLoader(x[:0], labels[:0]))


def test_training_switches_to_training_mode_and_says_nothing_off_a_terminal(points, capsys):
    x, labels = points
    net = nn.Linear(2, 3).eval()
    train(net, DataLoader(x, labels, 64), nn.CrossEntropyLoss(), SGD(net.parameters(), lr=0.1))
    assert net.training
    assert "train" not in capsys.readouterr().err


def test_evaluation_counts_no_epoch_and_gives_every_module_its_mode_back(points):
    x, labels = points
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    net[1].eval()
    loader = DataLoader(x, labels, 64, shuffle=True)
    evaluate(net, loader)
    assert loader.epoch == 0
    assert (net.training, net[0].training, net[1].training) == (True, True, False)

    class Stops(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    stops = Stops()
    with pytest.raises(KeyboardInterrupt):
        evaluate(stops, loader)
    assert stops.training
