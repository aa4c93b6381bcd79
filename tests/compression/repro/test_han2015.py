"""Han et al.'s pruning, on few images."""

from dataclasses import replace

import numpy as np
import pytest

from minigrad import read_checkpoint
from minigrad.compression.repro import HAN2015, Job, reproduce
from minigrad.compression.repro.han2015 import NETWORKS, PAPER_KEPT, PLANS, figures, work


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("han")


@pytest.fixture(scope="module")
def runs(folder, small_data):
    """A run of each network, short."""
    jobs = [
        Job(part, 1, replace(plan, images=500, epochs=2, round_epochs=1, rounds=2), folder, small_data)
        for part, plan in PLANS.items()
    ]
    report = reproduce(HAN2015, jobs)
    assert report["failed"] == []
    return {run["part"]: run["results"] for run in report["runs"]} | {"report": report}


@pytest.mark.parametrize(("part", "weights"), [("LeNet-300-100", 266_200), ("LeNet-5", 430_500)])
def test_each_round_removes_weights_and_dead_neurons_go(part, weights, runs, folder):
    found = runs[part]
    assert sum(found["sizes"].values()) == weights
    assert found["sizes"].keys() == PAPER_KEPT[part].keys() == PLANS[part].qualities.keys()
    first, second = (round_["left"] for round_ in found["rounds"])
    assert all(found["sizes"][name] > first[name] > second[name] >= found["left"][name] for name in first)
    arrays = read_checkpoint(folder / f"{part}-seed-1.safetensors")[0]
    assert {name: np.count_nonzero(arrays[name]) for name in second} == second
    for name, neurons in found["neurons"].items():
        assert 0 < neurons <= (arrays[name] != 0).any(axis=tuple(range(1, arrays[name].ndim))).sum()
    biases = found["parameters_left"] - sum(found["left"].values())
    assert biases == sum(found["neurons"].values())
    assert found["parameters"] == sum(p.size for p in NETWORKS[part](0.0).parameters())


def test_rows_say_what_the_results_say(runs):
    rows = {(row["part"], row["figure"]): row for row in runs["report"]["rows"]}
    found = runs["LeNet-5"]
    fewer = rows["LeNet-5", "times fewer weights"]
    assert fewer["mean"] == pytest.approx(430_500 / sum(found["left"].values()))
    assert (fewer["paper"], fewer["at_least"]) == (12, 12)
    error = rows["LeNet-5", "test error, pruned"]
    assert (error["mean"], error["paper"], error["at_most"]) == (found["pruned"]["error"], 0.77, 0.85)
    assert rows["LeNet-300-100", "test error, pruned"]["at_most"] == 1.7
    kept = rows["LeNet-300-100", "weights kept, fc3"]
    assert kept["mean"] == pytest.approx(100 * runs["LeNet-300-100"]["left"]["fc3.weight"] / 1000)
    assert kept["paper"] == 26


def test_the_same_seed_gives_the_same_result_and_another_does_not(runs, folder, small_data, tmp_path):
    plan = replace(PLANS["LeNet-300-100"], images=500, epochs=2, round_epochs=1, rounds=2)
    same = work(Job("LeNet-300-100", 1, plan, tmp_path, small_data))
    assert same == runs["LeNet-300-100"]
    assert work(Job("LeNet-300-100", 2, plan, tmp_path, small_data)) != same


def test_figures_show_the_connections_that_are_left(runs, folder):
    drawn = figures(runs["report"]["runs"], folder)
    assert list(drawn) == ["fc1_map", "conv1"]
    figure, caption = drawn["fc1_map"]
    assert "28 bands" in caption
    assert f"{runs['LeNet-300-100']['rounds'][-1]['left']['fc1.weight']:,} of 235,200" in figure.axes[0].get_title()
    panels = drawn["conv1"][0].axes
    assert len(panels) == 21  # 20 filters in two rows, and the scale
    left = sum(int(ax.get_title().split()[0]) for ax in panels[:20])
    assert left == runs["LeNet-5"]["rounds"][-1]["left"]["conv1.weight"]


def test_without_a_model_there_is_no_figure(runs, tmp_path):
    assert figures(runs["report"]["runs"], tmp_path) == {}
    assert figures([], tmp_path) == {}


def test_settings_of_the_full_run_are_the_papers_where_it_gives_them():
    assert HAN2015.seeds == 3
    for plan in PLANS.values():
        assert plan.images is None
        assert plan.momentum == 0.9
