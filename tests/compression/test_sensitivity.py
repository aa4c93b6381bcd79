"""Scans: the same on any executor; budgets met exactly and spent where it costs least; noise measured."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minigrad import DataLoader, nn
from minigrad.compression.executors import Processes
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.pruning import (
    ARTICLE_SPARSITY,
    SensitivityScan,
    SparsePruner,
    allocate_sparsity,
    group_mask,
    kth_value_mask,
    sensitivity_scan,
    stability_scan,
)
from minigrad.training import count_correct
from tools import compare_allocation


@pytest.fixture(scope="module")
def loader(small_test):
    return DataLoader(small_test.images[:300], small_test.labels[:300], batch_size=100)


def scan_of(curves, sizes, dense=90.0, sparsities=(0, 0.25, 0.5, 0.75, 1)):
    accuracy = {name: np.array(curve, float) for name, curve in curves.items()}
    return SensitivityScan(np.array(sparsities, float), accuracy, sizes, dense, 1000)


def test_a_point_is_the_model_with_one_layer_pruned(loader):
    model = trained_lenet()
    before = model.state_dict()
    scan = sensitivity_scan(model, loader, [0.9, 0, 0.5])
    assert scan.sparsities.tolist() == [0, 0.5, 0.9]
    assert scan.images == 300
    assert scan.dense == 100 * count_correct(model, loader)[0] / 300
    assert list(scan.accuracy) == list(ARTICLE_SPARSITY)
    assert scan.sizes["conv2.weight"] == 2400
    for name, curve in scan.accuracy.items():
        pruned = SparsePruner(model, dict.fromkeys(scan.sizes, 0.0) | {name: 0.9}).prune(model)
        assert curve[0] == scan.dense
        assert curve[2] == 100 * count_correct(pruned, loader)[0] / 300
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_threads_and_spawned_processes_find_the_same(loader):
    model = trained_lenet()
    here = sensitivity_scan(model, loader, [0.5, 0.9])
    with ThreadPoolExecutor(2) as threads, Processes(1) as processes:
        for executor in (threads, processes):
            there = sensitivity_scan(model, loader, [0.5, 0.9], executor)
            for name, curve in here.accuracy.items():
                np.testing.assert_array_equal(there.accuracy[name], curve)


def test_another_rule(loader):
    model = trained_lenet()
    by_filter = sensitivity_scan(model, loader, [0.5], rule=group_mask).accuracy["conv1.weight"]
    pruned = trained_lenet()
    pruned.conv1.weight.data[~group_mask(model.conv1.weight, 0.5)] = 0
    assert by_filter == 100 * count_correct(pruned, loader)[0] / 300


def test_each_point_starts_from_the_dense_weights(loader):
    def nothing_at_last(w, sparsity):
        return np.full(w.shape, sparsity == 1)

    scan = sensitivity_scan(trained_lenet(), loader, [0.5, 1], rule=nothing_at_last)
    for curve in scan.accuracy.values():
        assert curve[0] < 50 < curve[1] == scan.dense


def test_scans_of_nothing_are_refused(loader):
    for sparsities in ([], [0.5, 1.1], [-0.1]):
        with pytest.raises(ValueError, match=r"sensitivity_scan: sparsities are .*expected one or more of 0 to 1"):
            sensitivity_scan(LeNet(), loader, sparsities)
    with pytest.raises(ValueError, match=r"300 images and 0 weights to prune, expected some of both"):
        sensitivity_scan(nn.ReLU(), loader, [0.5])


def test_an_allocation_buys_the_cheapest_weights_first():
    scan = scan_of({"cheap": [90, 90, 90, 90, 85], "dear": [90, 80, 60, 30, 10]}, {"cheap": 400, "dear": 400})
    assert allocate_sparsity(scan, 0) == {"cheap": 0, "dear": 0}
    assert allocate_sparsity(scan, 0.25) == {"cheap": 0.5, "dear": 0}
    # The last quarter of "cheap" costs 5 points, the first of "dear" 10; then "dear" alone is left.
    assert allocate_sparsity(scan, 0.5) == {"cheap": 1, "dear": 0}
    assert allocate_sparsity(scan, 0.75) == {"cheap": 1, "dear": 0.5}
    assert allocate_sparsity(scan, 1) == {"cheap": 1, "dear": 1}


def test_the_price_is_per_weight_not_per_share():
    scan = scan_of({"small": [90, 89, 88, 87, 86], "large": [90, 88, 86, 84, 82]}, {"small": 100, "large": 1000})
    assert allocate_sparsity(scan, 0.5) == {"small": 0, "large": 0.55}


def test_a_dip_that_recovers_and_a_gain_do_not_mislead():
    dip = scan_of({"a": [90, 50, 90, 90, 90], "b": [90, 90, 90, 70, 50]}, {"a": 100, "b": 100})
    assert allocate_sparsity(dip, 0.75) == {"a": 1, "b": 0.5}
    gain = scan_of({"a": [90, 95, 91, 60, 10], "b": [90, 90, 90, 70, 50]}, {"a": 100, "b": 100})
    assert allocate_sparsity(gain, 0.4) == {"a": 0.5, "b": 0.3}


def test_of_weights_that_cost_nothing_those_of_the_larger_layer_go_first():
    scan = scan_of({"a": [90, 90, 90, 70, 50], "b": [90, 90, 90, 70, 50]}, {"a": 100, "b": 1000})
    assert allocate_sparsity(scan, 0.4) == {"a": 0, "b": 0.44}


def test_no_other_split_does_less_damage_on_convex_curves(rng):
    for _ in range(20):
        steps = np.sort(rng.integers(0, 20, (3, 4)), axis=1)
        sizes = dict(zip("abc", (40, 80, 120), strict=True))
        curves = {n: 90 - np.concatenate([[0], np.cumsum(s)]) for n, s in zip(sizes, steps, strict=True)}
        scan = scan_of(curves, sizes)

        def damage(shares, scan=scan):
            return sum(90 - np.interp(shares[n], scan.sparsities, scan.accuracy[n]) for n in shares)

        chosen = allocate_sparsity(scan, 0.5)
        assert sum(sizes[n] * s for n, s in chosen.items()) == pytest.approx(120)
        shares = np.arange(0, 1.001, 0.125)
        others = [
            damage(dict(zip(sizes, split, strict=True)))
            for split in itertools.product(shares, repeat=3)
            if np.dot(split, list(sizes.values())) >= 120
        ]
        assert damage(chosen) <= min(others) + 1e-9


def test_the_budget_is_met_to_the_weight():
    sizes = {"a": 7, "b": 150, "c": 2401}
    scan = scan_of({"a": [90, 90, 89, 80, 10], "b": [90, 80, 79, 70, 10], "c": [90, 89, 85, 80, 10]}, sizes)
    for budget in np.linspace(0, 1, 101):
        zeros = sum(
            int((~kth_value_mask(np.arange(1.0, size + 1), share)).sum())
            for size, share in zip(sizes.values(), allocate_sparsity(scan, budget).values(), strict=True)
        )
        assert zeros == round(budget * 2558)


def test_budgets_that_a_scan_does_not_cover_are_refused():
    scan = scan_of({"a": [90, 80]}, {"a": 100}, sparsities=(0, 0.5))
    with pytest.raises(ValueError, match=r"budget is 1.2, expected 0 to 1"):
        allocate_sparsity(scan, 1.2)
    with pytest.raises(ValueError, match=r"60 weights are to go, but a scan up to sparsity 0.5 covers 50"):
        allocate_sparsity(scan, 0.6)


def test_the_comparison_on_the_trained_lenet(tmp_path, small_data, capsys):
    report = compare_allocation.main(["--trained", "--data", str(small_data), "--json", str(tmp_path / "a.json")])
    (row,) = report["runs"]
    assert row["budget"] == pytest.approx(32_816 / 44_190)
    assert row["sparsity"]["uniform"] == pytest.approx(32_816 / 44_426, abs=1e-4)
    assert row["sparsity"]["allocated"] == 32_816 / 44_426
    assert row["error"]["dense"] < row["error"]["allocated"] < row["error"]["uniform"] / 2
    assert json.loads((tmp_path / "a.json").read_text())["ratio"] == report["ratio"] < 0.5
    assert "allocated over uniform: 0." in capsys.readouterr().out


def test_noise_changes_a_linear_model_in_proportion(rng):
    model = nn.Sequential(nn.Linear(6, 4, bias=False))
    images = rng.normal(size=(50, 6)).astype(np.float32)
    scan = stability_scan(model, images, noise=[0, 0.01, 0.1], draws=3)
    assert scan.noise.tolist() == [0, 0.01, 0.1]
    for kind in ("inputs", "weights"):
        assert scan.change[kind][0] == scan.flipped[kind][0] == 0
        assert scan.change[kind][2] == pytest.approx(10 * scan.change[kind][1], rel=1e-3)
        assert 0 < scan.flipped[kind][2] <= 100


def test_noise_on_one_weight_is_what_was_drawn():
    model = nn.Sequential(nn.Linear(1, 2))
    model[0].weight.data[...] = [[2], [0]]
    model[0].bias.data[...] = [0, 1]
    images = np.full((3, 1), 1, np.float32)
    scan = stability_scan(model, images, noise=[0.5], draws=1, seed=3)
    e = np.random.default_rng([3, 0]).standard_normal((2, 1))[0, 0]
    assert scan.change["weights"][0] == pytest.approx(abs(2 * 0.5 * e) / np.hypot(2, 1), rel=1e-5)
    assert scan.flipped["weights"][0] == (100 if 2 * (1 + 0.5 * e) < 1 else 0)
    assert scan.change["inputs"][0] == 0  # images that are all alike have no deviation


def test_stability_depends_on_the_seed_only_and_leaves_the_model(small_test):
    model = trained_lenet().train()
    before, images = model.state_dict(), small_test.images[:20]
    first, again, other = (stability_scan(model, images, [0.3], 2, seed, batch_size=7) for seed in (0, 0, 1))
    assert first.change["weights"] == again.change["weights"] != other.change["weights"]
    assert first.change["inputs"] == again.change["inputs"] != other.change["inputs"]
    assert model.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_stability_of_nothing_is_refused():
    images = np.zeros((2, 1, 28, 28), np.float32)
    for arguments in ({"images": images[:0]}, {"noise": []}, {"noise": [-1]}, {"draws": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=r"stability_scan: .*expected one or more of each, and no noise below 0"):
            stability_scan(LeNet(), **({"images": images} | arguments))
