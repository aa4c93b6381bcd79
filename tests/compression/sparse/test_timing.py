"""Turns, medians and laps, by a clock that is moved by hand."""

from itertools import cycle

import numpy as np
import pytest

from minigrad import functional as F
from minigrad import nn, ops
from minigrad.compression.sparse import timing
from minigrad.compression.sparse.timing import Laps, describe_machine, race, stopwatch
from tests.compression.sparse.fake_clock import FakeClock


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Write pauses down instead of making them."""
    made = []
    monkeypatch.setattr(timing.time, "sleep", made.append)
    return made


def work(clock, name, log, *durations):
    """Work that takes these durations in turn, the last one for ever."""
    left = list(durations)

    def run():
        log.append(name)
        clock.spend(left.pop(0) if len(left) > 1 else left[0])

    return stopwatch(run, clock)


def test_the_median_of_the_turns_counts_and_the_first_call_does_not():
    clock = FakeClock()
    found = race({"a": work(clock, "a", [], 100, 0.5)}, {"b": work(clock, "b", [], 0.25)}, clock=clock)
    assert found == ({"a": 0.5, "b": 0.25}, timing.ROUNDS, True)


def test_members_of_a_team_take_turns_and_teams_take_rounds(pauses):
    clock, log = FakeClock(), []
    ours = {name: work(clock, name, log, 1.0) for name in "ab"}
    race(ours, {"n": work(clock, "n", log, 1.0)}, clock=clock)
    first, second = ["a", "b"] * (1 + timing.TURNS), ["n"] * (1 + timing.TURNS)  # one of them warms up
    assert "".join(log) == "".join(list("aabbnn") + first + second + second + first)
    assert pauses == [timing.PAUSE] * 3  # before the first team, and wherever the team changes


def test_short_work_is_called_often_in_a_turn():
    clock, log = FakeClock(), []
    found = race({"a": work(clock, "a", log, timing.TURN / 8)}, clock=clock)
    warm = int(timing.WARM / (timing.TURN / 8)) + 1
    assert len(log) == pytest.approx(2 + timing.ROUNDS * (warm + 8 * timing.TURNS), abs=2 * timing.ROUNDS)
    assert found.seconds["a"] == pytest.approx(timing.TURN / 8)


def test_what_varies_is_measured_until_it_settles_or_time_is_up():
    clock = FakeClock()
    durations = cycle([1, 2])
    restless = stopwatch(lambda: clock.spend(next(durations)), clock)
    found = race({"a": restless}, seconds=100, clock=clock)
    assert not found.settled
    assert found.rounds > timing.ROUNDS
    assert clock() >= 100
    clock = FakeClock()
    found = race({"a": work(clock, "a", [], *[1, 3] * 15, 1)}, seconds=10_000, clock=clock)  # settles down
    assert found.settled
    assert found.rounds > timing.ROUNDS
    assert found.seconds["a"] == 1


def test_laps_count_what_follows_a_layer_as_its_own(monkeypatch):
    clock = FakeClock()
    for cls, seconds in ((nn.Flatten, 1), (nn.ReLU, 2), (nn.Linear, 10)):
        forward = cls.forward
        monkeypatch.setattr(cls, "forward", lambda self, x, f=forward, s=seconds: (clock.spend(s), f(self, x))[1])
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2), nn.Flatten())
    laps = Laps(model, ["1", "3", "4"], np.ones((5, 2, 3), np.float32), clock)
    assert laps(3).tolist() == [12, 10, 1, 1]
    assert not model.training
    assert Laps(model, [], np.ones((5, 2, 3), np.float32), clock)(1).tolist() == [24]


class TwoConvolutions(nn.Module):
    def __init__(self):
        self.first, self.second, self.third = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return F.relu(self.third(F.relu(self.second(F.relu(self.first(x))))))


def test_a_layer_whose_result_waits_is_timed_in_its_own_lap(monkeypatch):
    clock, forward = FakeClock(), ops.Conv2d.forward

    def slow(self, x, w, *rest, **settings):
        clock.spend(len(w))
        return forward(self, x, w, *rest, **settings)

    monkeypatch.setattr(ops.Conv2d, "forward", slow)
    laps = Laps(TwoConvolutions(), ["first", "second", "third"], np.ones((1, 1, 9, 9), np.float32), clock)
    assert laps(1).tolist() == [2, 3, 4, 0]


class Twice(nn.Module):
    def __init__(self):
        self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(F.relu(self.used(x)))


def test_a_layer_that_runs_twice_has_both_laps_and_one_that_does_not_run_has_none(monkeypatch):
    clock, forward = FakeClock(), nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: (clock.spend(1), forward(self, x))[1])
    laps = Laps(Twice(), ["used", "idle"], np.ones((3, 2), np.float32), clock)
    assert laps(1).tolist() == [2, 0, 0]


def test_a_machine_is_described():
    found = describe_machine()
    assert found["kernel threads"] >= 1
    assert found["versions"]["numpy"] == np.__version__
    assert all("threads" in library for library in found["blas"])


def test_a_busy_machine_is_noticed(monkeypatch, tmp_path):
    lines = iter(["cpu 10 0 5 80 5 0 0 0 0 0\nrest", "cpu 30 0 15 140 15 0 0 0 0 0\nrest"])
    monkeypatch.setattr(timing.Path, "read_text", lambda path: next(lines))
    monkeypatch.setattr(timing.Path, "exists", lambda path: True)
    assert timing.busy_share() == pytest.approx(0.3)  # 30 of 100 ticks were not idle or waiting
    monkeypatch.setattr(timing.Path, "exists", lambda path: False)
    assert timing.busy_share() is None
