"""Deep Compression, on few images: the first stage is reused, files hold what the report says, held-out images choose."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import minigrad
from minigrad.compression import cli_repro
from minigrad.compression.cli import main
from minigrad.compression.coding import load_mgz, read_mgz, share_weights_of
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.pruning import prunable
from minigrad.compression.repro import DEEPCOMPRESSION, HAN2015, Job, han2015, reproduce
from minigrad.compression.repro.deepcompression import (
    PAPER_LAYERS,
    PLANS,
    QUICK,
    choose_bits,
    figures,
    first_stage,
    train_centroids,
)
from minigrad.datasets import mnist
from minigrad.nn import Dropout
from tests.sentences import raises

SHORT = {"images": 600, "epochs": 2, "round_epochs": 1, "rounds": 2}
PRUNING = {part: replace(plan, **SHORT) for part, plan in HAN2015.settings.items()}
TINY = {
    part: replace(plan, pruning=PRUNING[part], images=600, epochs=1, candidates=(2, 4)) for part, plan in PLANS.items()
}
SIZES = {"LeNet-300-100": 266_610, "LeNet-5": 431_080}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "deepcompression"


@pytest.fixture(scope="module")
def report(folder, small_data):
    """A run of each network; that of LeNet-300-100 finds one of han2015's."""
    beside = Job("LeNet-300-100", 1, PRUNING["LeNet-300-100"], folder.with_name("han2015"), small_data)
    assert reproduce(HAN2015, [beside])["failed"] == []
    found = reproduce(DEEPCOMPRESSION, [Job(part, 1, plan, folder, small_data) for part, plan in TINY.items()])
    assert found["failed"] == []
    return found


@pytest.fixture(scope="module")
def runs(report):
    return {run["part"]: run["results"] for run in report["runs"]}


@pytest.fixture
def no_pruning(monkeypatch):
    """Pruning anew fails."""
    monkeypatch.setattr(han2015, "work", lambda job: pytest.fail("a network was pruned anew"))


def test_pruned_networks_are_reused_and_dropout_is_that_of_their_last_round(
    report, runs, folder, small_data, no_pruning
):
    places = {"LeNet-300-100": folder.with_name("han2015"), "LeNet-5": folder / "pruned"}
    for part, place in places.items():
        assert {path.name for path in place.iterdir() if part in path.name} == {
            f"{part}-seed-1.json",
            f"{part}-seed-1.safetensors",
        }
        first, small = first_stage(Job(part, 1, TINY[part], folder, small_data))
        assert first["pruned"] == runs[part]["pruned"]
        rates = [module.p for module in small.modules() if isinstance(module, Dropout)]
        assert rates
        assert all(0 < rate < PRUNING[part].dropout for rate in rates)


def test_a_run_of_other_settings_is_neither_used_nor_overwritten(folder, report, small_data, tmp_path):
    shutil.copytree(folder.with_name("han2015"), tmp_path / "han2015")
    before = (tmp_path / "han2015" / "LeNet-300-100-seed-1.safetensors").read_bytes()
    other = replace(TINY["LeNet-300-100"], pruning=replace(PRUNING["LeNet-300-100"], epochs=1, rounds=1, images=100))
    first_stage(Job("LeNet-300-100", 1, other, tmp_path / "deepcompression", small_data))
    assert (tmp_path / "deepcompression" / "pruned" / "LeNet-300-100-seed-1.safetensors").is_file()
    assert (tmp_path / "han2015" / "LeNet-300-100-seed-1.safetensors").read_bytes() == before


def test_a_network_that_is_not_its_runs_is_refused(folder, report, small_data, tmp_path):
    shutil.copytree(folder.with_name("han2015"), tmp_path / "han2015")
    file = tmp_path / "han2015" / "LeNet-300-100-seed-1.safetensors"
    minigrad.save_checkpoint(file, han2015.NETWORKS["LeNet-300-100"](0.0))
    job = Job("LeNet-300-100", 1, TINY["LeNet-300-100"], tmp_path / "deepcompression", small_data)
    with raises(ValueError, f"{file} is not the network of {file.with_suffix('.json')}; delete both"):
        first_stage(job)


@pytest.mark.parametrize("part", ["LeNet-300-100", "LeNet-5"])
def test_files_hold_what_the_report_says(part, runs, folder, small_data):
    test_images = evaluation_loader(mnist("test", small_data))
    found = runs[part]
    for name, file in {"paper": found["paper"], **found["bits"]}.items():
        path = folder / f"{part}-seed-1-{name}.mgz"
        assert path.stat().st_size == file["bytes"] == sum(file["account"].values()) <= file["bytes_without_huffman"]
        assert 100 - minigrad.evaluate(load_mgz(path), test_images) == pytest.approx(file["error"])
        for layer in read_mgz(path).layers:
            if layer.weight is not None:
                assert len(np.unique(layer.weight.values)) <= 2 ** file["bits"][layer.name] - 1  # and one for zeros
        before, after = file["held_out_shared"], file["held_out_trained"]
        assert file["kept"] == (after < before)
        assert file["held_out_error"] == (after if file["kept"] else before)[0]
    expected = (
        {"fc1": 6, "fc2": 6, "fc3": 6} if part == "LeNet-300-100" else {"conv1": 8, "conv2": 8, "fc1": 5, "fc2": 5}
    )
    assert found["paper"]["bits"] == expected
    assert {row["index_bits"] for row in found["paper"]["layers"].values()} == {5}
    assert found["bits"]["2"]["bytes"] < found["bits"]["4"]["bytes"]
    allowed = found["pruned"]["held_out_error"] + TINY[part].allowed
    assert found["chosen"] == choose_bits({b: file["held_out_error"] for b, file in found["bits"].items()}, allowed)


def test_the_fewest_bits_that_are_good_enough_are_chosen():
    assert choose_bits({"2": 3.0, "10": 1.0, "4": 1.1}, 1.1) == "4"
    assert choose_bits({"2": 3.0, "10": 1.0, "4": 1.1}, 0.5) == "10"
    assert choose_bits({"5": 2.0, "4": 2.0}, 0.5) == "4"


def test_training_moves_centroids_only_and_decays_them_by_all_their_members(report, folder, small_training, small_data):
    plan = TINY["LeNet-300-100"]
    _, small = first_stage(Job("LeNet-300-100", 1, plan, folder, small_data))
    shared = share_weights_of(small, 3)
    before = {name: p.data.copy() for name, p in shared.named_parameters()}
    trained = train_centroids(shared, plan, small_training, seed=1)
    again = train_centroids(shared, plan, small_training, seed=1)
    decaying = replace(plan, pruning=replace(plan.pruning, weight_decay=0.3))
    decayed = train_centroids(shared, decaying, small_training, seed=1)
    for name, p in prunable(trained).items():
        np.testing.assert_array_equal(prunable(shared)[name].data, before[name])
        np.testing.assert_array_equal(prunable(again)[name].data, p.data)
        assert (p.data != before[name]).any()
        assert ((p.data == 0) == (before[name] == 0)).all()
        assert len(np.unique(p.data)) <= len(np.unique(before[name])) <= 8
    norms = [float((prunable(model)["fc1.weight"].data ** 2).sum()) for model in (trained, decayed)]
    assert norms[1] < 0.5 * norms[0]  # a single weight would lose less than 2 % in these 38 steps


def test_rows_say_what_the_results_say(report, runs):
    rows = {(row["part"], row["figure"]): row for row in report["rows"]}
    for part, found in runs.items():
        own, paper = found["bits"][found["chosen"]], found["paper"]
        assert found["parameters"] == SIZES[part]
        for title, file in ((f"{part}, our bits", own), (f"{part}, the paper's bits", paper)):
            assert rows[title, "file"]["values"] == [file["bytes"] / 1024]
            assert rows[title, "file, counted as the paper does"]["values"] == [file["bytes"] / 1000]
            assert rows[title, "times smaller"]["mean"] == pytest.approx(4 * SIZES[part] / file["bytes"])
            assert rows[title, "test error, compressed"]["mean"] == file["error"]
        assert rows[f"{part}, our bits", "bits of a weight"]["values"] == [int(found["chosen"])]
        for layer, size in found["sizes"].items():
            name = layer.removesuffix(".weight")
            row = rows[f"{part}, the paper's bits, by layer", f"{name}: share of float32's bytes, Huffman"]
            assert row["mean"] == pytest.approx(100 * paper["layers"][name]["bytes"] / (4 * size))
            assert row["paper"] == PAPER_LAYERS[part][name][-1]
    for part, limits in {"LeNet-300-100": (27, 1.65), "LeNet-5": (44, 0.85)}.items():
        assert tuple(rows[f"{part}, our bits", key]["at_most"] for key in ("file", "test error, compressed")) == limits


def test_the_papers_rates_follow_from_its_sizes():
    """Its KB are of 1,000 bytes: 266,610 numbers of 4 bytes are its 1,070 KB."""
    for part, (kilobytes, times) in {"LeNet-300-100": (27, 40), "LeNet-5": (44, 39)}.items():
        assert 4 * SIZES[part] / (1000 * kilobytes) == pytest.approx(times, abs=0.6)


def test_the_figure_shows_each_file_beside_the_papers(report, folder):
    figure, caption = figures(report["runs"], folder)[""]
    assert "float16" in caption
    for ax, run in zip(figure.axes, report["runs"], strict=True):
        assert ax.get_title() == f"{run['part']} (1 seed)"
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("file (KB of 1,000 bytes)", "test error (%)")
        drawn = {tuple(line.get_xydata()[0]) for line in ax.lines}
        files = [run["results"]["paper"], *run["results"]["bits"].values()]
        assert {(file["bytes"] / 1000, file["error"]) for file in files} <= drawn
        assert [text.get_text() for text in ax.texts] == ["2 bits", "4 bits"]
    assert figures([], folder) == {}


def test_the_command_goes_on_from_quick_runs_of_han2015(report, folder, small_data, tmp_path, monkeypatch, no_pruning):
    shutil.copytree(folder.with_name("han2015"), tmp_path / "han2015-quick")
    for file in (tmp_path / "han2015-quick").iterdir():
        file.rename(file.with_name(file.name.replace("seed-1", "seed-0")))
    stored = tmp_path / "han2015-quick" / "LeNet-300-100-seed-0.json"
    stored.write_text(stored.read_text().replace('"seed": 1', '"seed": 0'))
    quick = {"LeNet-300-100": replace(TINY["LeNet-300-100"], candidates=(2,))}
    command = cli_repro._command(replace(DEEPCOMPRESSION, quick=quick))
    monkeypatch.setitem(cli_repro.repro.commands, "deepcompression", command)
    options = ["--quick", "--runs", tmp_path, "--out", tmp_path / "out", "--data", small_data]
    result = CliRunner().invoke(main, ["repro", "deepcompression", *map(str, options)])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "deepcompression.json",
        "deepcompression.md",
        "deepcompression.png",
    }
    page = (tmp_path / "out" / "deepcompression.md").read_text()
    assert "| file (KB of 1,024 bytes) |" in page
    assert all(f"- {sentence}\n" in page for sentence in DEEPCOMPRESSION.deviations)


def test_settings_of_the_full_run_are_the_papers_where_it_gives_them():
    assert DEEPCOMPRESSION.seeds == 3
    assert PLANS["LeNet-300-100"].pruning == HAN2015.settings["LeNet-300-100"]
    for part, plan in PLANS.items():
        assert (plan.images, plan.index_bits) == (None, 5)
        assert QUICK[part].pruning == HAN2015.quick[part]
