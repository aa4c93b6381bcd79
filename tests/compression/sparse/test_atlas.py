"""Crossovers and tables from made-up times; what is measured computes the same everywhere."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad import nn
from minigrad.compression.sparse import CONTESTANTS, Crossover, Grid, atlas, find_crossovers, measure_atlas, timing
from minigrad.compression.sparse.atlas import (
    as_table,
    as_words,
    check_planner,
    crossing,
    make_contestants,
    planner_table,
)
from tests.compression.sparse.fake_clock import FakeClock


def point(sparsity, batch=64, shape=(8, 4), settled=True, **seconds):
    times = dict.fromkeys(CONTESTANTS, 4e-6) | {"numpy": 2e-6} | seconds
    return {"shape": list(shape), "batch": batch, "sparsity": sparsity, "seconds": times, "settled": settled}


POINTS = [
    point(0.9, csr=1e-6, block=1e-6),
    point(0.5, csr=3e-6, block=1e-6, settled=False),
    point(0.5, batch=1),
    point(0.9, batch=1),
]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_from_the_crossing_on_no_ratio_is_above_one(ratios):
    sparsities = [0.1 * (place + 1) for place in range(len(ratios))]
    at = crossing(sparsities, ratios)
    assert (at is None) == (ratios[-1] > 1)
    if at is not None:
        assert all(ratio <= 1 for sparsity, ratio in zip(sparsities, ratios, strict=True) if sparsity > at + 1e-4)
        before = [ratio for sparsity, ratio in zip(sparsities, ratios, strict=True) if sparsity < at - 1e-4]
        assert not before or before[-1] > 1


def test_crossovers_are_interpolated():
    found = find_crossovers(POINTS)
    assert Crossover((8, 4), 64, "csr", 0.7) in found  # 1.5 at 0.5, 0.5 at 0.9: halfway
    assert Crossover((8, 4), 64, "block", 0.5) in found
    assert Crossover((8, 4), 64, "bitmask", None) in found
    assert Crossover((8, 4), 1, "csr", None) in found
    assert len(found) == 8


def report():
    crossovers = [vars(crossover) | {"shape": list(crossover.shape)} for crossover in find_crossovers(POINTS)]
    machine = {"busy": 0.25}
    return {"machine": machine, "grid": {"sparsities": [0.5, 0.9]}, "points": POINTS, "crossovers": crossovers}


def test_the_table_and_the_words():
    lines = as_table(report()).splitlines()
    assert lines[0].split() == ["weight", "batch", "zeros", "%", "numpy", "µs", *list(CONTESTANTS)[1:], "fastest"]
    assert lines[2].split() == ["8×4", "64", "50", "2.0", "2.00", "1.50", "2.00", "0.50", "2.00", "block", "?"]
    assert lines[3].split() == ["8×4", "64", "90", "2.0", "2.00", "0.50", "2.00", "0.50", "2.00", "csr"]
    assert lines[-2:] == [
        "? where times varied: 1 of 4.",
        "Other programs used 25% of the CPU when this began: the figures are off.",
    ]
    quiet = report() | {"machine": {"busy": None}, "points": POINTS[:1]}
    assert as_table(quiet).splitlines()[-1] == "Times as ratios to NumPy's dense product."
    assert as_words(report()).splitlines() == [
        "8×4, batch 64: csr from 70 %, bitmask not up to 90 %, block from 50 % or less, channels not up to 90 %",
        "8×4, batch 1: csr not up to 90 %, bitmask not up to 90 %, block not up to 90 %, channels not up to 90 %",
    ]


def test_contestants_compute_products_with_as_many_weights(monkeypatch):
    results = {}
    monkeypatch.setattr(atlas, "stopwatch", lambda work, clock: work)
    ours, numpys = make_contestants((40, 64), 16, 0.75, seed=1)
    dense = numpys["numpy"]()
    assert dense.shape == (40, 16)
    for name, work in ours.items():
        results[name] = work()
    rng = np.random.default_rng(1)
    w, x = (rng.normal(size=shape).astype(np.float32) for shape in ((40, 64), (64, 16)))
    np.testing.assert_allclose(dense, w @ x, rtol=1e-5)
    kept = np.where(rng.random((40, 64)) < 0.75, 0, w)
    np.testing.assert_allclose(results["csr"], kept @ x, atol=1e-4)
    np.testing.assert_array_equal(results["bitmask"], results["csr"])
    assert not np.allclose(results["block"], results["csr"], atol=1)
    assert numpys["channels"]().shape == (20, 16)


def test_an_atlas_is_measured(monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    grid, said = Grid(((8, 16), (4, 8)), (1, 4), (0.5, 0.9), seconds=0), []
    found = json.loads(json.dumps(measure_atlas(grid, said.append)))
    assert [(tuple(p["shape"]), p["batch"], p["sparsity"]) for p in found["points"]] == list(grid)
    assert all(set(p["seconds"]) == set(CONTESTANTS) and min(p["seconds"].values()) > 0 for p in found["points"])
    assert said[1] == "8×16, batch 1, 90 % zeros"
    assert len(found["crossovers"]) == 4 * len(atlas.FORMATS)
    assert found["machine"]["cores"]
    assert found["grid"]["dtype"] == "float32"


def test_points_that_did_not_settle_are_measured_again(monkeypatch):
    clock, calls = FakeClock(), []
    monkeypatch.setattr(atlas, "make_contestants", lambda *point: point)

    def race(shape, batch, sparsity, *_, seconds, clock):
        clock.spend(1)
        calls.append(sparsity)
        settled = sparsity == 0.5 or (sparsity == 0.7 and calls.count(sparsity) == 2)
        times = dict.fromkeys(CONTESTANTS, np.array([float(len(calls))]))
        return timing.Race(times, 2, settled)

    monkeypatch.setattr(atlas, "race", race)
    found = measure_atlas(Grid(((8, 16),), (1,), (0.5, 0.7, 0.9), seconds=6), clock=clock)
    assert calls == [0.5, 0.7, 0.9, 0.7, 0.9, 0.9]  # after six seconds it ends
    assert [p["settled"] for p in found["points"]] == [True, True, False]
    assert [p["seconds"]["csr"] for p in found["points"]] == [1, 4, 3]  # the new time, if it settled or is shorter


def test_the_planner_is_checked(monkeypatch):
    monkeypatch.setattr(timing, "PAUSE", 0)
    x = np.ones((4, 8), np.float32)
    (row,) = json.loads(json.dumps(check_planner({"one layer": (nn.Sequential(nn.Linear(8, 8)), x)}, seconds=0)))
    assert (row["model"], row["batch"]) == ("one layer", 4)
    assert set(row["seconds"]) == {"dense", "csr", "bitmask", "block", "planned"}
    assert row["ratio"] == row["seconds"]["planned"] / min(row["seconds"].values())
    assert row["plan"]["layers"][0]["name"] == "0"


@pytest.mark.parametrize(("ratio", "verdict"), [(1.05, "yes"), (1.06, "1 of 1 are not")])
def test_the_planners_check_is_printed(ratio, verdict):
    seconds = {"dense": 2e-6, "csr": 1e-6, "planned": 1.1e-6}
    lines = planner_table([{"model": "LeNet", "batch": 64, "seconds": seconds, "ratio": ratio}]).splitlines()
    assert lines[2].split() == ["LeNet", "64", "2.0", "1.0", "1.1", f"{ratio:.2f}"]
    assert lines[-1] == f"Is each planned model within 5 % of the best one measured? {verdict}"
