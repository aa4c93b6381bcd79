"""Intervals, rows, JSON and the table."""

import json

import numpy as np
import pytest
from scipy import stats

from minigrad import nn
from minigrad.compression.report import as_report, measure, t_interval, table, wilson_interval, with_means, write_report


@pytest.mark.parametrize(("correct", "total"), [(9_799, 10_000), (0, 10), (10, 10), (5, 10), (1, 1)])
def test_wilson_interval_is_scipys(correct, total):
    expected = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(correct, total)
    assert low == pytest.approx(100 * expected.low, abs=1e-9)
    assert high == pytest.approx(100 * expected.high, abs=1e-9)


def test_wilson_interval_refuses_what_is_no_share():
    for correct, total in ((-1, 10), (11, 10), (0, 0)):
        with pytest.raises(ValueError, match="is not a share"):
            wilson_interval(correct, total)


def test_t_interval_is_scipys(rng):
    values = rng.normal(98, 0.3, size=5)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(list(values)) == pytest.approx((expected.low, expected.high))
    with pytest.raises(ValueError, match="1 value has no spread"):
        t_interval([1.0])


def layer():
    module = nn.Linear(4, 2)
    module.weight.data[0] = 0
    return module


def test_a_row_holds_every_figure():
    stage = measure("pruned", layer(), 90, 100, seconds=1.5)
    row = stage.as_json()
    assert set(row) == {"stage", "accuracy", "interval", "sparsity", "parameters", "nonzeros", "bytes", "seconds"}
    assert (row["accuracy"], row["parameters"], row["nonzeros"], row["sparsity"]) == (90, 10, 6, 0.4)
    assert row["interval"] == list(wilson_interval(90, 100))
    assert row["bytes"] == {"dense": 32, "csr": 4 * 8 + 4 * 3, "bitmask": 1 + 16}


def test_reports_over_seeds_have_means_with_intervals(tmp_path):
    reports = [as_report(seed, [measure("baseline", layer(), 90 + seed, 100, 1.0)]) for seed in range(3)]
    summary = with_means(reports)
    assert summary["reports"] == reports
    assert summary["means"]["baseline"]["accuracy"] == 91
    assert summary["means"]["baseline"]["interval"] == pytest.approx(list(t_interval([90, 91, 92])))
    write_report(tmp_path / "report.json", summary)
    assert json.loads((tmp_path / "report.json").read_text()) == summary


def test_the_table_shows_the_best_epoch_as_such_and_the_last_beside_it():
    tuned = measure("fine-tuned", layer(), 95, 100, 2.0)
    tuned.last_epoch = {"accuracy": 93.0, "interval": [86.3, 96.6]}
    lines = table([measure("pruned", layer(), 60, 100, 0.1), tuned]).splitlines()
    assert lines[0].split()[:2] == ["stage", "accuracy"]
    assert "60.00" in lines[2]
    assert "0.4000" in lines[2]
    assert "44 (0.73x)" in lines[2]
    assert lines[3].startswith("fine-tuned (best epoch, chosen on test)")
    assert "95.00" in lines[3]
    assert lines[4].split()[:4] == ["fine-tuned", "(last", "epoch)", "93.00"]
    assert len({len(line) for line in lines[:4]}) == 1 or np.ptp([len(line) for line in lines[:4]]) < 3
