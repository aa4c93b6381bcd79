"""Structured against unstructured: what the study measures, and what its picture shows."""

from dataclasses import replace

import numpy as np
import pytest

from minigrad import nn
from minigrad.compression import structure_study
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import prunable
from minigrad.compression.sparse.timing import Race
from minigrad.compression.structure_study import (
    FORMS,
    Compressed,
    Study,
    as_table,
    compress,
    plot_structure,
    smallest_bytes,
)

STUDY = Study((0.0, 0.9), (0.5,), (0.5,), epochs=1, tuning_epochs=1, images=300, batch_size=8, seconds=0.01)


@pytest.fixture(scope="module")
def report(small_data, tmp_path_factory):
    said, folder = [], tmp_path_factory.mktemp("structure")
    study = replace(structure_study.EXPERIMENT, settings={"structure": STUDY})
    found = study.run(2, False, folder, small_data, said.append)
    assert len(said) == 4
    assert len(list(folder.glob("*.safetensors"))) == 2 * len(STUDY.shares())
    (folder / "structure-seed-1-filters-0.5.safetensors").unlink()
    said.clear()
    again = study.run(2, False, folder, small_data, said.append)
    assert said[0] == "1 of 2 runs are there already: structure-seed-0"
    for old, new in zip(found["points"], again["points"], strict=True):
        assert (old["accuracy"], old["bytes"]) == (new["accuracy"], new["bytes"])
    return found


def point(report, kind, form, share):
    (found,) = [p for p in report["points"] if (p["kind"], p["form"], p["share"]) == (kind, form, share)]
    return found


def test_every_way_is_measured_for_every_seed(report):
    found = [(p["kind"], p["form"], p["share"]) for p in report["points"]]
    assert found == [
        ("dense", "dense", 0.0),
        ("weights", "dense", 0.0), ("weights", "csr", 0.0), ("weights", "dense", 0.9), ("weights", "csr", 0.9),
        ("2:4", "csr", 0.5), ("blocks", "block", 0.5), ("filters", "dense", 0.5),
    ]  # fmt: skip
    for p in report["points"]:
        for key in ("accuracy", "milliseconds", "bytes"):
            assert len(p[key]["values"]) == 2
            assert p[key]["mean"] == pytest.approx(np.mean(p[key]["values"]))
            assert p[key]["mean"] > 0


def test_accuracies_and_bytes_are_those_of_the_models(report):
    dense = point(report, "dense", "dense", 0.0)
    assert point(report, "weights", "dense", 0.0)["accuracy"] == dense["accuracy"]  # nothing removed: the same training
    assert dense["bytes"]["values"] == [176_760, 176_760]
    sparse = point(report, "weights", "csr", 0.9)
    assert sparse["accuracy"] == point(report, "weights", "dense", 0.9)["accuracy"]
    assert sparse["accuracy"] != dense["accuracy"]
    assert point(report, "filters", "dense", 0.5)["bytes"]["values"] == [45_180, 45_180]
    half = point(report, "2:4", "csr", 0.5)["bytes"]["mean"]
    assert 4 * 44_190 / 2 < half < 4 * 44_190 / 2 + 44_190 / 8 + 500  # values, and a bit for each weight


def test_each_layer_is_stored_in_its_smallest_format():
    model = nn.Sequential(nn.Linear(256, 120), nn.Linear(256, 120), nn.Linear(256, 120))
    full, half, sparse = (model[i].weight.data for i in range(3))
    full[...] = 1
    half[:, ::2] = 0
    sparse[...] = 0
    sparse[:, 7] = 1
    bits, deltas = 256 * 120 // 8 + 4 * 128 * 120, 120 * (4 + 1) + 4 * 121
    assert smallest_bytes(model) == 4 * 256 * 120 + bits + deltas


def test_what_is_removed():
    model = LeNet()
    for kind in FORMS:
        share = 0.0 if kind == "dense" else 0.5
        compressed, pruner = compress(model, kind, share)
        zeros = sum(int((p.data == 0).sum()) for p in prunable(compressed).values())
        masked = sum(int((~mask).sum()) for mask in pruner.masks.values())
        assert masked == zeros
        sizes = sum(p.size for p in prunable(compressed).values())
        if kind == "filters":
            assert (zeros, sizes) == (0, 11_295)
        else:
            assert zeros / sizes == pytest.approx(share, abs=0.01)
    blocks = (compress(model, "blocks", 0.5)[0].fc1.weight.data == 0).reshape(30, 4, 64, 4)
    assert (blocks.all(axis=(1, 3)) == blocks.any(axis=(1, 3))).all()
    pairs = (compress(model, "2:4", 0.5)[0].fc1.weight.data == 0).reshape(-1, 4).sum(axis=1)
    assert (pairs == 2).all()


def test_the_picture_shows_each_series_over_both(report):
    left, right = plot_structure(report).axes
    expected = point(report, "filters", "dense", 0.5)
    words = structure_study.SERIES["filters", "dense"][0]
    for ax, key, scale in ((left, "milliseconds", 1), (right, "bytes", 1e-3)):
        (series,) = [c for c in ax.containers if c.get_label() == words]
        np.testing.assert_allclose(
            series.lines[0].get_xydata(), [[scale * expected[key]["mean"], expected["accuracy"]["mean"]]]
        )
    assert len(left.containers) == len(right.containers) + 1 == 6
    assert "8 images" in left.get_xlabel()
    rows = as_table(report).splitlines()
    assert len(rows) == 2 + len(report["points"])
    assert f"{expected['accuracy']['mean']:.2f}" in rows[-1]


def test_times_belong_to_their_models(small_test, monkeypatch):
    model = LeNet()
    found = [[Compressed("weights", 0.5, model, 90.0 + seed, 1_000), Compressed("filters", 0.5, model, 80.0, 500)]
             for seed in range(2)]  # fmt: skip
    turns = []

    def race(team, seconds):
        turns.append(len(team))
        for run in team.values():
            run(1)
        return Race({name: np.array([0.001 * (i + 1) * len(turns)]) for i, name in enumerate(team)}, 1, True)

    monkeypatch.setattr(structure_study, "race", race)
    points = structure_study.measure(STUDY, found, small_test, lambda line: None)["points"]
    assert turns == [3, 3]
    milliseconds = {(p["kind"], p["form"]): p["milliseconds"]["values"] for p in points}
    expected = {("weights", "dense"): [1, 2], ("weights", "csr"): [2, 4], ("filters", "dense"): [3, 6]}
    assert milliseconds == {key: pytest.approx(values) for key, values in expected.items()}
    assert [p["accuracy"]["values"] for p in points] == [[90, 91], [90, 91], [80, 80]]
    assert [p["bytes"]["mean"] for p in points] == [1_000, 1_000, 500]
