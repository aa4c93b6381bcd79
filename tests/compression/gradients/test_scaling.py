"""What many machines would gain: a model of a step's parts, and the fit of a link."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import DataLoader, nn
from minigrad.compression.gradients import METHODS
from minigrad.compression.gradients.scaling import (
    Costs,
    Link,
    as_table,
    fit_link,
    measure_compute,
    measure_costs,
    plot_scaling,
    speed_up,
    step_seconds,
    wire_bytes,
)

LINK = Link(latency=1e-4, rate=1e8)
PLAIN = Costs(compute=0.01, encode=0.0, decode=0.0, sent=1e6, added=True)
CODED = Costs(compute=0.01, encode=0.002, decode=0.001, sent=1e4, added=False)


def test_a_step_by_hand():
    assert step_seconds(PLAIN, LINK, 4) == pytest.approx(
        {"compute": 0.01, "encode": 0, "wire": 4 * 2 * 1e-4 + 1.5e6 / 1e8, "decode": 0}
    )
    assert step_seconds(CODED, LINK, 5) == pytest.approx(
        {"compute": 0.01, "encode": 0.002, "wire": 4 * 3 * 1e-4 + 4e4 / 1e8, "decode": 0.005}
    )
    assert speed_up(CODED, LINK, 5) == pytest.approx(5 * 0.01 / (0.01 + 0.002 + 0.0016 + 0.005))


@pytest.mark.parametrize("costs", [PLAIN, CODED])
def test_one_machine_sends_nothing_and_gains_nothing(costs):
    assert sum(step_seconds(costs, LINK, 1).values()) == costs.compute
    assert speed_up(costs, LINK, 1) == 1


@given(st.integers(2, 256), st.booleans())
def test_bytes_that_machines_send_are_those_that_machines_receive(workers, added):
    sent = wire_bytes(1000, workers, added)
    if added:  # a part of the gradient to each other machine, and the sum of one's own part to each
        assert sent == pytest.approx(2 * (workers - 1) * (1000 / workers))
        assert sent < 2000
    else:
        assert sent == 1000 * (workers - 1)


@given(st.integers(1, 8).map(lambda n: 2**n))
def test_more_machines_never_gain_more_than_their_number(workers):
    for costs in (PLAIN, CODED):
        assert speed_up(costs, LINK, workers) < workers
        assert speed_up(costs, Link(0.0, math.inf), workers) <= workers
    assert speed_up(PLAIN, Link(0.0, math.inf), workers) == workers


@given(st.floats(1e-6, 1e-2), st.floats(1e5, 1e10))
def test_a_link_is_found_again(latency, rate):
    points = [(rounds, size, rounds * latency + size / rate) for rounds in (2, 4) for size in (0.0, 1e4, 1e6, 1e8)]
    found = fit_link(points)
    assert found.latency == pytest.approx(latency, rel=1e-4)
    assert found.rate == pytest.approx(rate, rel=1e-4)


def test_small_messages_count_as_much_as_large_ones():
    found = fit_link([(2, 0, 2e-4), (2, 1e8, 1.1), (2, 2e8, 1.9)])
    assert found.latency == pytest.approx(1e-4, rel=0.01)
    assert found.rate == pytest.approx(1e8, rel=0.05)


def test_points_that_fit_no_link_are_refused():
    with pytest.raises(ValueError, match="2 measured operations fit no link: more bytes take no longer"):
        fit_link([(2, 1000, 0.02), (2, 100_000, 0.01)])
    assert fit_link([(2, 100_000, 0.001), (2, 200_000, 0.0021)]).latency == 0.0  # never below


def batches():
    rng = np.random.default_rng(0)
    return DataLoader(rng.normal(size=(32, 6)).astype(np.float32), rng.integers(0, 3, 32), batch_size=8)


def test_costs_are_measured_with_the_models_own_gradients():
    loader, model = batches(), nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    before = {name: array.copy() for name, array in model.state_dict().items()}
    x, targets = next(iter(loader))
    for name in METHODS:
        found = measure_costs(model, x, targets, name, compute=0.5, repeats=2)
        assert (found.compute, found.added) == (0.5, name == "none")
        assert (found.encode > 0 and found.decode > 0) == (name != "none")
        assert (found.sent == 4 * 53) == (name == "none")
    assert all((array == before[name]).all() for name, array in model.state_dict().items())
    assert 0 < measure_compute(model, loader) < 5
    assert any((array != before[name]).any() for name, array in model.state_dict().items())


def test_the_table_and_the_picture():
    found, links = {"none": PLAIN, "int8": CODED}, {"slow": LINK, "fast": Link(1e-5, 1e9)}
    lines = as_table(found, links, (1, 2)).splitlines()
    assert lines[2].split() == ["none", "1,000,000", "10.00", "0.00", "0.00"]
    assert lines[7].split() == ["none", "1.0", f"{speed_up(PLAIN, LINK, 2):.1f}"]
    bars, slow, fast = plot_scaling(found, links, (1, 2)).axes
    assert [t.get_text() for t in bars.get_yticklabels()] == ["none", "int8"]
    wire = [patch.get_width() for patch in bars.containers[2]]
    assert wire == pytest.approx([1e3 * step_seconds(c, LINK, 8)["wire"] for c in found.values()])
    for ax, link in ((slow, LINK), (fast, links["fast"])):
        assert list(ax.lines[1].get_ydata()) == pytest.approx([1, speed_up(CODED, link, 2)])
