"""The lottery, on few images."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from minigrad.compression.repro import LOTTERY, Job, reproduce
from minigrad.compression.repro.lottery import DEEP, FULL, MAIN, PART, mean_loss, plot_lottery, rows, work
from minigrad.loader import DataLoader
from minigrad.nn import Linear

SHORT = replace(FULL, rounds=2, reinitialised=(2,), epochs=1, images=600, every=5)


@pytest.fixture(scope="module")
def result(small_data, tmp_path_factory):
    return work(Job(PART, 0, SHORT, tmp_path_factory.mktemp("lottery"), small_data))


def test_each_round_leaves_four_fifths_and_both_networks_of_a_round_are_as_sparse(result):
    left = [learning["left"] for learning in result["tickets"]]
    weights = [266_200, 0.8 * 265_200 + 900, 0.64 * 265_200 + 810]
    np.testing.assert_allclose(left, [100 * w / 266_200 for w in weights], atol=0.01)
    assert result["reinitialised"].keys() == {"2"}
    assert result["reinitialised"]["2"]["left"] == left[2]
    assert result["reinitialised"]["2"]["loss"] != result["tickets"][2]["loss"]


def test_early_stop_is_the_step_of_the_lowest_held_out_loss(result):
    for learning in result["tickets"]:
        assert learning["iteration"] in range(5, 11, 5)  # 600 images make 10 steps
        assert 0 < learning["loss"] < 2.4
        assert 10 < learning["early"] <= 100
    at_the_end = [learning for learning in result["tickets"] if learning["iteration"] == 10]
    assert at_the_end, "the loss should still fall after 10 steps"
    assert all(learning["early"] == learning["end"] for learning in at_the_end)


def test_the_full_plan_ends_at_the_shares_the_paper_names(small_data, tmp_path):
    assert pytest.approx(79.03, abs=0.01) == (1 - 0.8**MAIN) * 100
    assert FULL.rounds == DEEP
    assert {MAIN, DEEP} <= set(FULL.reinitialised)
    assert (FULL.lr, FULL.batch_size, LOTTERY.seeds) == (1.2e-3, 60, 5)


def learning(left, iteration, early, end):
    return {"left": left, "iteration": iteration, "loss": 0.1, "early": early, "end": end}


def results(gain, loss):
    """Results of a seed whose ticket is `gain` better than dense, and `loss` better than with other first weights."""
    dense, ticket, other = (learning(100, 5000, 98.0, 98.1), learning(21.1, 4000, 98.0 + gain, 98.1 + gain),
                            learning(21.1, 6000, 98.0 + gain - loss, 98.1 + gain - loss))  # fmt: skip
    return {"tickets": [dense] + [ticket] * MAIN, "reinitialised": {str(MAIN): other}}


def test_differences_are_paired_by_seed():
    runs = [{"results": results(gain, loss)} for gain, loss in ((0.1, 0.3), (0.3, 0.5), (0.2, 0.4))]
    found = {row.figure: row.as_json() for row in rows({PART: runs})}
    assert {row["part"] for row in found.values()} == {"21.1 % of the weights left"}
    over_dense, over_other = (
        found[f"ticket − {name}: test accuracy at the end"] for name in ("dense", "re-initialised")
    )
    assert over_dense["mean"] == pytest.approx(0.2)
    assert over_dense["met"] is True
    assert over_other["values"] == pytest.approx([0.3, 0.5, 0.4])
    assert over_other["interval"] == pytest.approx([0.4 - 0.2484, 0.4 + 0.2484], abs=1e-3)
    assert over_other["met"] is True
    steps = found["ticket − re-initialised: step of early stop"]
    assert (steps["mean"], steps["met"]) == (-2000, True)  # fewer is better


def test_a_difference_that_chance_explains_is_none():
    runs = [{"results": results(gain, loss)} for gain, loss in ((-0.1, -0.1), (-0.3, 0.5), (0.2, 0.1))]
    found = {row.figure: row.as_json() for row in rows({PART: runs})}
    assert found["ticket − dense: test accuracy at early stop"]["met"] is False
    assert found["ticket − re-initialised: test accuracy at early stop"]["met"] is False


def test_a_run_that_did_not_get_that_far_has_no_rows(result, small_data, tmp_path):
    assert rows({PART: [{"results": result}]}) == []
    report = reproduce(LOTTERY, [Job(PART, 0, replace(SHORT, rounds=1), tmp_path, small_data)])
    assert (report["failed"], report["rows"]) == ([], [])
    assert report["settings"][PART] == {**asdict(replace(SHORT, rounds=1)), "reinitialised": [2]}


def test_the_picture_has_a_point_for_each_round(result):
    figure = plot_lottery([result, result])
    for ax in figure.axes:
        tickets, reinitialised, *_ = (line.get_xdata() for line in ax.lines if len(line.get_xdata()) in (1, 3))
        assert sorted((len(tickets), len(reinitialised))) in ([1, 3], [3, 3])
    assert [ax.get_ylabel() for ax in figure.axes][2] == "step of early stop"
    assert LOTTERY.figures([], None) == {}


def test_mean_loss_weighs_every_image_alike(rng):
    model, x = Linear(3, 2), rng.normal(size=(5, 3)).astype(np.float32)
    targets = np.array([0, 1, 1, 0, 1])
    whole = mean_loss(model, DataLoader(x, targets, batch_size=5))
    assert mean_loss(model, DataLoader(x, targets, batch_size=2)) == pytest.approx(whole, rel=1e-6)
