"""Choices and reasons, by times that are made up; the whole model decides in the end."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import nn
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import SparsePruner
from minigrad.compression.sparse import FORMATS, SparseConv2d, SparseLinear, plan, planner, timing
from minigrad.compression.sparse.layers import SparseLayer
from minigrad.compression.sparse.planner import choose, compare_forced, explain
from tests.compression.sparse.fake_clock import FakeClock

US = 1e-6


class Costs:
    """Makes every Linear, sparse or not, take a time by a table: (format, features of the output) → microseconds."""

    def __init__(self, monkeypatch, clock, table, switch=0.0):
        self.clock, self.table, self.switch, self.last = clock, table, switch, None
        for cls in (nn.Linear, SparseLinear):
            monkeypatch.setattr(cls, "forward", self.wrapped(cls.forward))

    def wrapped(self, forward):
        def slow(layer, x):
            out = forward(layer, x)
            format = layer.format if isinstance(layer, SparseLayer) else "dense"
            self.clock.spend(US * self.table[format, out.shape[1]])
            if (format == "dense") != (self.last == "dense"):
                self.clock.spend(US * self.switch)  # as if a layout had to change between dense and sparse layers
            self.last = format
            return out

        return slow


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    return FakeClock()


@pytest.fixture
def net():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 6))
    pruner = SparsePruner(model, {"0.weight": 0.5, "2.weight": 0.75, "4.weight": 0.0})
    return pruner.prune(model)


TABLE = {
    ("dense", 8): 10, ("csr", 8): 20, ("bitmask", 8): 30,
    ("dense", 7): 50, ("csr", 7): 20, ("bitmask", 7): 30,
    ("dense", 6): 100, ("csr", 6): 90, ("bitmask", 6): 60,
}  # fmt: skip


def test_each_layer_gets_its_fastest_format_and_a_reason(monkeypatch, clock, net):
    Costs(monkeypatch, clock, TABLE)
    before = net.state_dict()
    found = plan(net, np.ones((64, 4), np.float32), ("csr", "bitmask"), clock=clock)
    assert found.choices == {"0": "dense", "2": "csr", "4": "bitmask"}
    assert [layer.reason for layer in found.layers] == [
        "0 at 0.50, batch 64: dense is faster (10.0 µs, csr 20.0 µs), kept dense",
        "2 at 0.75, batch 64: csr is faster (20.0 µs, dense 50.0 µs), made csr",
        "4 at 0.00, batch 64: bitmask is faster (60.0 µs, dense 100.0 µs), made bitmask",
    ]
    assert found.layers[1].seconds == pytest.approx({"dense": 50 * US, "csr": 20 * US, "bitmask": 30 * US})
    assert (found.layers[1].shape, found.layers[1].sparsity) == ((7, 8), 0.75)
    assert found.dense_seconds == pytest.approx(160 * US)
    assert found.planned_seconds == pytest.approx(90 * US)
    assert found.settled
    assert net.training
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_plan_is_printed_and_stored_and_applied(monkeypatch, clock, net, rng):
    Costs(monkeypatch, clock, TABLE)
    found = plan(net, np.ones((64, 4), np.float32), ("csr", "bitmask"), clock=clock)
    lines = str(found).splitlines()
    assert lines[0].split() == [
        "layer",
        "weight",
        "zeros",
        "%",
        *["dense", "µs", "csr", "µs", "bitmask", "µs", "choice"],
    ]
    assert lines[3].split() == ["2", "7×8", "75.0", "50.0", "20.0", "30.0", "csr"]
    assert lines[6] == "0 at 0.50, batch 64: dense is faster (10.0 µs, csr 20.0 µs), kept dense."
    assert lines[-1] == "The whole model, batch 64: 90 µs as planned, 160 µs dense, ratio 0.56."
    stored = json.loads(json.dumps(found.as_json()))
    assert stored["layers"][2]["choice"] == "bitmask"
    assert stored["layers"][2]["shape"] == [6, 7]
    sparse = found.apply(net)
    assert [type(sparse[i]) for i in (0, 2, 4)] == [nn.Linear, SparseLinear, SparseLinear]
    x = rng.normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(sparse(x).data, net(x).data, atol=1e-6)


def test_what_does_not_pay_in_the_whole_model_is_dense_again(monkeypatch, clock, net):
    Costs(monkeypatch, clock, TABLE, switch=35)
    found = plan(net, np.ones((2, 4), np.float32), ("csr", "bitmask"), clock=clock)
    # All as planned would take 90 + 35, and all dense 160; forced formats never switch.
    assert found.choices == {"0": "dense", "2": "csr", "4": "bitmask"}
    Costs(monkeypatch, clock, dict.fromkeys(TABLE, 0), switch=65)
    found = plan(net, np.ones((2, 4), np.float32), ("csr", "bitmask"), clock=clock)
    assert set(found.choices.values()) == {"dense"}
    assert found.planned_seconds == found.dense_seconds
    reasons = [layer.reason for layer in found.layers]
    assert all(reason.endswith("kept dense") for reason in reasons)
    assert reasons[1].endswith("made csr, but the whole model did not gain by it: kept dense")


def test_a_gain_that_may_be_chance_is_not_worth_a_plan(monkeypatch, clock, net):
    table = dict.fromkeys(TABLE, 0) | {("dense", 8): 10, ("csr", 8): 9, ("bitmask", 8): 20, ("dense", 6): 90}
    table |= {("csr", 6): 90, ("bitmask", 6): 90}
    Costs(monkeypatch, clock, table)
    found = plan(net, np.ones((2, 4), np.float32), ("csr", "bitmask"), clock=clock)
    assert set(found.choices.values()) == {"dense"}  # clearly faster by itself, but the model only by a hundredth
    assert "csr is faster" in found.layers[0].reason
    table["csr", 8] = 7
    assert plan(net, np.ones((2, 4), np.float32), ("csr", "bitmask"), clock=clock).choices["0"] == "csr"


def test_a_plan_is_measured_anew_beside_every_format_forced(monkeypatch, clock, net):
    Costs(monkeypatch, clock, TABLE)
    x = np.ones((64, 4), np.float32)
    found = plan(net, x, ("csr", "bitmask"), clock=clock)
    forced = compare_forced(net, found, x, clock=clock)
    assert forced == pytest.approx({"dense": 160 * US, "csr": 130 * US, "bitmask": 120 * US, "planned": 90 * US})


@given(st.lists(st.floats(1e-7, 1e-2), min_size=2, max_size=4))
def test_the_choice_is_within_five_percent_of_the_fastest(times):
    seconds = dict(zip(["dense", *planner.PLANNED], times, strict=False))
    choice = choose(seconds, np.eye(8, dtype=np.float32))
    assert seconds[choice] <= 1.05 * min(times)
    assert choice == "dense" or seconds[choice] < seconds["dense"]


def test_of_formats_that_are_as_fast_the_smallest_is_taken():
    w = np.eye(64, dtype=np.float32)  # csr 772 bytes, bitmask 768, csr8 580
    assert choose({"dense": 9, "csr": 1.0, "bitmask": 1.01, "csr8": 1.03}, w) == "bitmask"
    assert choose({"dense": 9, "csr": 1.0, "bitmask": 1.03}, w) == "csr"


def test_a_tie_with_dense_is_called_one():
    seconds, w = {"dense": 10 * US, "csr": 9.7 * US}, np.eye(2, dtype=np.float32)
    assert explain("fc1", choose(seconds, w), seconds, w, 64) == (
        "fc1 at 0.50, batch 64: no format is clearly faster than dense (10.0 µs, csr 9.7 µs), kept dense"
    )


def test_convolutions_are_planned_and_the_plan_runs():
    model, x = LeNet(), np.random.default_rng(0).normal(size=(3, 1, 28, 28)).astype(np.float32)
    found = plan(model, x, list(FORMATS), seconds=0)
    assert [layer.name for layer in found.layers] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert found.layers[1].shape == (16, 150)
    assert all(set(layer.seconds) == {"dense", *FORMATS} for layer in found.layers)
    assert all(seconds > 0 for layer in found.layers for seconds in layer.seconds.values())
    sparse = found.apply(model)
    np.testing.assert_allclose(sparse(x).data, model(x).data, atol=1e-5)
    for layer in found.layers:
        expected = {"dense": (nn.Linear, nn.Conv2d)}.get(layer.choice, (SparseLinear, SparseConv2d))
        assert isinstance(dict(sparse.named_modules())[layer.name], expected)


def test_a_model_without_such_layers_has_an_empty_plan():
    found = plan(nn.Sequential(nn.ReLU()), np.ones((2, 3), np.float32), seconds=0)
    assert found.choices == {}
    assert "The whole model, batch 2: " in str(found)


def test_formats_that_there_are_not():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"^plan: there is no format 'coo'; there are csr, csr16"):
        plan(nn.Linear(3, 2), x, ["coo"])
    with pytest.raises(ValueError, match=r"^plan: formats is empty; name at least one to compare with dense$"):
        plan(nn.Linear(3, 2), x, [])
