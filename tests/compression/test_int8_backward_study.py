"""`minigrad int8-backward`."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minigrad import kernels, nn
from minigrad.compression import int8_backward_study as study
from minigrad.compression.integer import to_int8_backward
from minigrad.compression.models import LeNet
from minigrad.compression.sparse.timing import Race
from minigrad.ops.layout import outermost

from .command_line import output


@pytest.fixture
def short(monkeypatch):
    """Replace times by those of a machine on which int8 takes twice as long; the contestants run once."""

    def race(contestants, seconds):
        assert seconds == 0.5
        assert kernels.get_num_threads() == 1
        for contestant in contestants.values():
            assert contestant(1) > 0
        return Race({"float32": np.array([0.001]), "int8": np.array([0.002])}, 2, True)

    monkeypatch.setattr(study, "race", race)
    small = {"linear": (lambda: nn.Linear(8, 4), (16, 8)), "conv": (lambda: nn.Conv2d(2, 3, 3), (4, 2, 6, 6))}
    monkeypatch.setattr(study, "LAYERS", small)
    for way in study.WAYS:
        monkeypatch.setitem(study.EXPERIMENT.quick, way, replace(study.QUICK, limit=600, epochs=2, lr=0.1))


def test_both_ways_are_compared_seed_by_seed(short, small_data, tmp_path):
    before = kernels.get_num_threads()
    said = output(
        "int8-backward", "--quick", "--data", small_data, "--runs", tmp_path / "runs", "--out", tmp_path
    )  # fmt: skip
    assert kernels.get_num_threads() == before
    report = json.loads((tmp_path / "int8_backward.json").read_text())
    one, other = report["ways"]["float32"], report["ways"]["int8"]
    below = [a - b for a, b in zip(one["test"]["values"], other["test"]["values"], strict=True)]
    assert report["points below float32"]["values"] == pytest.approx(below)
    assert one["held out"] != other["held out"]
    assert len(one["held out"]) == 2
    assert report["milliseconds of a step"] == {"float32": 1, "int8": 2, "settled": True}
    assert list(report["milliseconds of a layer's backward pass"]) == ["linear", "conv"]
    assert "int8 / float32" in said
    assert f"int8 is {np.mean(below):+.3f} points below float32 on test images" in said


def test_bytes_of_a_step_are_those_of_the_shapes():
    x, targets = outermost(np.zeros((1, 28, 28, 2), np.float32)), np.zeros(2, int)  # as loaders lay it out
    model = LeNet()
    plain, rounded = (study.count_bytes(m, x, targets) for m in (model, to_int8_backward(model)))
    inputs = 2 * (28 * 28 + 6 * 12 * 12 + 256 + 120 + 84)
    results = 2 * (6 * 24 * 24 + 16 * 8 * 8 + 120 + 84 + 10)
    assert (plain["inputs"], plain["gradients"]) == (4 * inputs, 4 * results)
    assert (rounded["inputs"], rounded["gradients"]) == (inputs, results)
    assert rounded["tape"] - plain["tape"] == inputs


def test_what_is_alive_is_counted_once():
    """ReLU keeps its result, which the tape and the next layer hold as well."""
    first, second = nn.Linear(3, 5), nn.Linear(5, 2)
    x, targets = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1])
    chains = nn.Sequential(first, second), nn.Sequential(first, nn.ReLU(), second)
    without, found = (study.count_bytes(chain, x, targets) for chain in chains)
    assert found["tape"] - without["tape"] == 4 * 4 * 5
    assert found["tape"] > 4 * (4 * 3 + 4 * 5 + 4 * 5 + 4 * 2)
    assert found["inputs"] == without["inputs"] == 4 * (4 * 3 + 4 * 5)
