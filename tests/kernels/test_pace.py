"""The number of threads follows what is faster, and is given back."""

import numpy as np
import pytest

from minigrad import DataLoader, kernels, nn, optim, train
from minigrad.kernels import pace, threads


@pytest.fixture
def machine(monkeypatch):
    """A machine of two threads on which a step takes as long as `seconds` says: {1: ..., 2: ...}."""

    class Machine:
        now, count, seconds = 0.0, 2, {1: 1.0, 2: 0.6}

        def run(self, p, steps):
            counts = []
            for _ in range(steps):
                self.now += self.seconds[self.count]
                counts.append(self.count)
                p.step()
            return counts

    machine = Machine()
    monkeypatch.setattr(pace, "perf_counter", lambda: machine.now)
    monkeypatch.setattr(threads, "get_num_threads", lambda: machine.count)
    monkeypatch.setattr(threads, "set_num_threads", lambda count: setattr(machine, "count", count))
    return machine


def test_two_threads_stay_where_they_are_faster_and_trials_become_rare(machine):
    with pace.pacing() as p:
        counts = machine.run(p, 1000)
    assert counts[:8] == [2] * 8
    assert counts[8:12] == [1] * 4
    assert counts[12:44] == [2] * 32
    assert counts.count(1) == 4 * 6  # after 8, 32, 128, 256, 256, 256 steps
    assert machine.count == 2


def test_one_thread_takes_over_where_it_is_faster_and_gives_way_again(machine):
    with pace.pacing() as p:
        machine.run(p, 20)
        machine.seconds = {1: 1.1, 2: 10.0}  # another program is busy now
        counts = machine.run(p, 400)
        assert counts.index(1) < 40
        assert counts[counts.index(1) :].count(2) <= 4 * 4
        machine.seconds = {1: 1.0, 2: 0.6}
        counts = machine.run(p, 600)
        assert counts[-200:].count(2) >= 196
        machine.seconds = {1: 0.1, 2: 0.6}
        machine.run(p, 300)
        assert p.count == 1
    assert machine.count == 2


def test_a_failing_loop_gives_the_threads_back(machine):
    def fail():
        with pace.pacing() as p:
            machine.seconds = {1: 0.1, 2: 1.0}
            machine.run(p, 50)
            assert machine.count == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert machine.count == 2


def test_one_thread_is_left_alone(machine):
    machine.count = 1
    with pace.pacing() as p:
        assert set(machine.run(p, 300)) == {1}


def test_changing_threads_in_the_middle_changes_no_bit(monkeypatch, rng):
    if kernels.threads.MOST_THREADS == 1:
        pytest.skip("needs two threads")
    x, targets = rng.normal(size=(600, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 600)
    weights = []
    for stay in (1, 10_000):
        monkeypatch.setattr(pace, "FIRST_STAY", stay)
        monkeypatch.setattr(pace, "LONGEST_STAY", stay)
        w = np.random.default_rng(0)
        model = nn.Sequential(nn.Conv2d(1, 7, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(63, 3))
        for p in model.parameters():
            p.data[...] = w.normal(size=p.shape)
        train(model, DataLoader(x, targets, 8), nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.01))
        weights.append(np.concatenate([p.data.ravel() for p in model.parameters()]).tobytes())
    assert weights[0] == weights[1]
