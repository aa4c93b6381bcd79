"""What `minigrad compress` does."""

import json
from dataclasses import replace
from functools import partial

import pytest
from PIL import Image

import minigrad
from minigrad.compression import compress_job
from minigrad.compression.coding import load_mgz
from minigrad.compression.compress_job import Images, run
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.models import trained_lenet
from minigrad.compression.search import Route, Wishes
from minigrad.compression.search.latency import with_latency
from minigrad.datasets import split_validation
from tests.compression.search.search_cases import PLAN

ONE = replace(PLAN, routes=(Route(1, 0.5),), kept=(0.1,))


@pytest.fixture(scope="module")
def images(small_training, small_test):
    return Images(*split_validation(small_training, count=200), small_test)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, images):
    """Of a search that is done."""
    path = tmp_path_factory.mktemp("job")
    run(trained_lenet(), Wishes(1, 1), ONE, images, path / "runs", path, lambda line: None)
    return path / "runs"


def ask(folder, images, out, *wishes):
    said = []
    problem = run(trained_lenet(), Wishes(*wishes), ONE, images, folder, out, said.append)
    return problem, json.loads((out / "compress.json").read_text()), "\n".join(said)


def test_the_chosen_file_is_written_and_the_report_is_true(folder, images, tmp_path):
    problem, report, said = ask(folder, images, tmp_path, 12_000, 80)
    assert problem is report["problem"] is None
    file = tmp_path / "compress.mgz"
    chosen = next(c for c in report["candidates"] if c["name"] == report["chosen"])
    assert chosen["bytes"] == file.stat().st_size <= 12_000
    loaders = {"test": evaluation_loader(images.test), "held out": evaluation_loader(images.held_out)}
    assert report["test"]["chosen"] == pytest.approx(minigrad.evaluate(load_mgz(file), loaders["test"]))
    assert report["test"]["given"] == pytest.approx(minigrad.evaluate(trained_lenet(), loaders["test"]))
    assert chosen["accuracy"] == pytest.approx(minigrad.evaluate(load_mgz(file), loaders["held out"]))
    assert chosen["accuracy"] == max(c["accuracy"] for c in report["candidates"] if c["bytes"] <= 12_000)
    assert report["given"]["weights"]["fc1"] == 30_720
    assert report["given"]["bytes"] == 4 * 44_426
    assert sum(row["kept"] for row in report["layers"]) == sum(chosen["weights"].values())
    assert set(report["frontier"]) <= {c["name"] for c in report["candidates"]}
    assert report["seconds"] > 0
    assert report["plan"]["kept"] == [0.1]
    for sentence in report["traded"]:
        assert sentence in said
    assert f"* {report['chosen']}" in said
    with Image.open(tmp_path / "compress.png") as image:
        assert image.width > 1000


def test_nothing_is_chosen_by_the_test_images(folder, images, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(compress_job, "evaluation_loader", lambda data: seen.append(data) or evaluation_loader(data))
    ask(folder, images, tmp_path, 500, 80)
    assert seen == []  # without a choice, nobody looks at them
    ask(folder, images, tmp_path, 12_000, 80)
    assert all(data is images.test for data in seen)


def test_an_impossible_budget(folder, images, tmp_path):
    assert ask(folder, images, tmp_path, 12_000, 80)[0] is None
    problem, report, said = ask(folder, images, tmp_path, 500, 80)
    assert problem == report["problem"]
    assert problem.startswith("none of 4 candidates meets 500 bytes, 80 %; the smallest file takes ")
    assert report["chosen"] is None
    assert not (tmp_path / "compress.mgz").exists()  # that of the wish before
    assert "frontier: what no other candidate beats" in said


def test_a_wish_for_time(folder, images, tmp_path, monkeypatch):
    monkeypatch.setattr(compress_job, "with_latency", partial(with_latency, seconds=0.01))
    problem, report, said = ask(folder, images, tmp_path, 12_000, 80, 1e6)
    assert problem is None
    assert all(c["milliseconds"] > 0 for c in report["candidates"])
    assert report["given"]["milliseconds"] > 0
    assert report["images timed at once"] == 64
    assert "timing, 64 images at once" in said
    assert report["traded"][-1].startswith("Time: ")
    assert ask(folder, images, tmp_path, 12_000, 80, 1e-9)[0].count("ms") >= 2
    report = ask(folder, images, tmp_path, 12_000, 80)[1]
    assert {c["milliseconds"] for c in report["candidates"]} == {None}
    assert report["images timed at once"] is None


def test_test_images_that_say_otherwise_are_reported(folder, images, tmp_path):
    other = images._replace(test=type(images.test)(images.test.pixels, (images.test.labels + 1) % 10))
    problem, report, _ = ask(folder, other, tmp_path, 12_000, 80)
    assert "of the test images" in problem
    assert "less than 80 %" in problem
    assert (tmp_path / "compress.mgz").exists()
    assert report["chosen"]
