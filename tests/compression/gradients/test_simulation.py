"""Workers in one process: without compression the whole batch's gradient, with it fewer bytes and still learning."""

import numpy as np
import pytest

import minigrad
from minigrad import DataLoader, nn, optim
from minigrad.compression.gradients import train_simulated
from tests.sentences import raises


def problem(dtype=np.float32, count=70):
    """Three classes in eight numbers, a small network, batches of 32, 32 and 6."""
    minigrad.manual_seed(1)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, count)
    images = (rng.normal(size=(count, 8)) + 2 * np.eye(3, 8)[labels]).astype(dtype)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    for p in model.parameters():
        p.data = p.data.astype(dtype)
    return model, DataLoader(images, labels, 32, shuffle=True)


def simulate(method="none", dtype=np.float32, momentum=0.5, epochs=20, **settings):
    model, loader = problem(dtype)
    sgd = optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
    return model, train_simulated(model, loader, nn.CrossEntropyLoss(), sgd, method, epochs=epochs, **settings)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_without_compression_it_is_training_on_the_whole_batch(workers):
    """4 workers share a batch of 6 as 2, 2, 1, 1."""
    model, loader = problem(np.float64)
    sgd, loss_fn, expected = optim.SGD(model.parameters(), lr=0.05, momentum=0.5), nn.CrossEntropyLoss(), []
    for _ in range(20):
        for x, targets in loader:
            sgd.zero_grad()
            loss = loss_fn(model(x), targets)
            loss.backward()
            sgd.step()
            expected.append(loss.item())
    found, run = simulate(dtype=np.float64, workers=workers)
    np.testing.assert_allclose(run.losses, expected, atol=1e-9, rtol=0)
    for name, array in found.state_dict().items():
        np.testing.assert_allclose(array, model.state_dict()[name], atol=1e-9, rtol=0)
    assert run.bytes_sent == [run.float_bytes] * 60 == [8 * (8 * 16 + 16 + 16 * 3 + 3)] * 60


@pytest.mark.parametrize(
    ("method", "options"),
    [("float16", {}), ("int8", {}), ("sign", {}), ("qsgd", {}), ("terngrad", {}), ("topk", {"ratio": 0.1})],
)
def test_every_method_learns_and_sends_less(method, options):
    _, run = simulate(method, **options)
    assert np.mean(run.losses[-3:]) < 0.5 * np.mean(run.losses[:3])
    assert max(run.bytes_sent) <= 0.5 * run.float_bytes
    assert sum(run.bytes_sent) == sum(worker.bytes_sent for worker in run.workers) / 2
    assert [worker.rank for worker in run.workers] == [0, 1]


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    (a, first), (b, second), (_, third) = (simulate("qsgd", seed=seed) for seed in (4, 4, 5))
    assert first.losses == second.losses != third.losses
    for name, array in a.state_dict().items():
        assert array.tobytes() == b.state_dict()[name].tobytes()


def corrected(optimizers):
    """Train with momentum correction, and an optimizer with so much momentum of its own."""
    model, loader = problem()
    sgd = optim.SGD(model.parameters(), lr=0.05, momentum=optimizers)
    settings = {"ratio": 0.1, "momentum": 0.5, "warmup": 10}
    return train_simulated(model, loader, nn.CrossEntropyLoss(), sgd, "topk", epochs=20, **settings)


def test_momentum_is_taken_once():
    with raises(ValueError, "train_simulated: the compressor has momentum, and so has the optimizer; give the optimizer "
                "momentum 0"):  # fmt: skip
        corrected(optimizers=0.5)
    run = corrected(optimizers=0.0)
    assert np.mean(run.losses[-3:]) < 0.5 * np.mean(run.losses[:3])


def test_epochs_are_told_and_shares_must_not_be_empty():
    seen = []
    simulate("sign", epochs=3, after_epoch=seen.append)
    assert seen == [0, 1, 2]
    with raises(ValueError, "train_simulated: a batch of 6 cannot be shared by 7 workers"):
        simulate(workers=7)
    with raises(ValueError, "train_simulated: workers is 0, expected 1 or more"):
        simulate(workers=0)


class WithSpare(nn.Module):
    """A network with a layer that nothing runs."""

    def __init__(self, layers):
        super().__init__()
        self.layers, self.spare = layers, nn.Linear(2, 2)

    def forward(self, x):
        return self.layers(x)


def test_parameters_without_a_gradient_are_left_alone():
    layers, loader = problem()
    model = WithSpare(layers)
    before = model.spare.weight.data.copy()
    train_simulated(model, loader, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), "sign")
    np.testing.assert_array_equal(model.spare.weight.data, before)
    assert model.spare.weight.grad is None


def test_the_rate_falls_step_by_step():
    layers, loader = problem()
    optimizer = optim.SGD(layers.parameters(), lr=0.1)
    schedule = optim.CosineAnnealingLR(optimizer, 3 * len(loader))
    train_simulated(layers, loader, nn.CrossEntropyLoss(), optimizer, "none", epochs=3, schedule=schedule)
    assert optimizer.lr == pytest.approx(0, abs=1e-12)
    assert schedule.rate(len(loader)) == pytest.approx(0.075)
