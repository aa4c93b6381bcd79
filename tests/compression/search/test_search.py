"""The search itself."""

from dataclasses import replace

import numpy as np
import pytest

import minigrad
from minigrad.compression.coding import Storage, load_mgz, read_mgz, save_mgz, share_weights_of
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.models import as_sequential, trained_lenet
from minigrad.compression.pruning import prunable
from minigrad.compression.search import Coding, Route, Search
from minigrad.compression.search import search as search_module
from minigrad.datasets import ImageDataset, split_validation
from minigrad.errors import NonFiniteLossError
from minigrad.training import count_correct
from tests.compression.search.search_cases import PLAN


@pytest.fixture(scope="module")
def images(small_training):
    return split_validation(small_training, count=200)


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    """A search, its candidates, and what it said."""
    said = []
    search = Search(trained_lenet(), PLAN, *images, tmp_path_factory.mktemp("search"))
    return search, search.run(0, said.append), said


def test_every_candidate_is_a_file_that_was_measured(undisturbed, images):
    search, found, said = undisturbed
    assert len(found) == 2 * 3 * 2  # routes, models on each, codings
    assert len({c.name for c in found}) == len(found)
    for c, line in zip(found, said, strict=True):
        file = search.store.file(c.name)
        assert c.bytes == file.stat().st_size
        assert (c.correct, c.images) == count_correct(load_mgz(file), evaluation_loader(images[1]))
        weights = {layer.name: layer.weight for layer in read_mgz(file).layers if layer.weight is not None}
        assert c.weights == {name: np.count_nonzero(w.dense()) for name, w in weights.items()}
        assert c.widths == {name: w.shape[0] for name, w in weights.items()}
        assert line.split() == [c.name, f"{c.bytes:,}", "B", "held-out", "accuracy", f"{c.accuracy:.2f}", "%"]


def test_structure_and_sparsity_are_those_of_the_plan(undisturbed):
    _, found, _ = undisturbed
    whole = found[0]
    assert whole.widths == {"conv1": 6, "conv2": 16, "fc1": 60, "fc2": 42, "fc3": 10}
    assert found[6].widths == {"conv1": 3, "conv2": 8, "fc1": 60, "fc2": 42, "fc3": 10}
    for c in found:
        if "kept" in c.name and "integer" in c.name:  # rounding to 8 bits may lose a few
            count = round(float(c.model.rpartition("kept")[2]) / 100 * 44_190)
            assert 0.97 * count <= sum(c.weights.values()) <= count
    assert [c.taught for c in found] == [True] * 6 + [False] * 6


def test_a_search_that_was_interrupted_goes_on_and_ends_with_the_same_files(undisturbed, images, tmp_path):
    search, found, _ = undisturbed
    said = []

    def stop(line):
        said.append(line)
        if len(said) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Search(trained_lenet(), PLAN, *images, tmp_path).run(0, stop)
    assert Search(trained_lenet(), PLAN, *images, tmp_path).run(0) == found
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(search.store.folder) for p in search.store.folder.rglob("*") if p.is_file())
    for name in files:
        if name.name != "seconds.json":
            assert (tmp_path / name).read_bytes() == (search.store.folder / name).read_bytes(), name


def test_a_search_that_is_done_trains_nothing(undisturbed, images, monkeypatch):
    search, found, _ = undisturbed
    monkeypatch.setattr(Search, "_train_", lambda *_: pytest.fail("trains"))
    assert Search(trained_lenet(), PLAN, *images, search.store.folder).run(0) == found


def test_another_model_other_images_other_settings_are_refused(undisturbed, images):
    folder, (training, held_out) = undisturbed[0].store.folder, images
    other = trained_lenet()
    other.conv1.weight.data[0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match=r"holds the search of another checkpoint"):
        Search(other, PLAN, training, held_out, folder)
    with pytest.raises(ValueError, match=r"holds the search of other images"):
        Search(trained_lenet(), PLAN, training, held_out.subset(np.arange(199)), folder)
    with pytest.raises(ValueError, match=r"holds the search of other settings"):
        Search(trained_lenet(), replace(PLAN, lr=0.1), training, held_out, folder)


def test_a_hopeless_route_is_left(undisturbed, images, tmp_path):
    said = []
    _, found, _ = undisturbed
    asked = max(c.accuracy for c in found[:2]) + PLAN.give_up + 0.01
    few = Search(trained_lenet(), PLAN, *images, tmp_path).run(asked, said.append)
    assert few[:2] == found[:2]
    assert few[2].model == "filters50-neurons50-alone"
    assert "filters100-neurons50-taught: ends here, 1 points below what is asked for" in said


def test_the_given_model_stays_and_so_do_its_zeros(images, pruned, tmp_path):
    before = pruned.state_dict()
    search = Search(
        pruned, replace(PLAN, routes=(Route(),), kept=(), codings=(Coding("integer", 8, 8),)), *images, tmp_path
    )
    (found,) = search.run(0)
    for name, array in pruned.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    small = load_mgz(search.store.file(found.name))
    for name, p in prunable(small).items():
        assert not np.any(p.data[before[name] == 0])
        assert np.any(p.data != before[name])


def test_the_taught_learn_from_the_teacher_and_the_others_from_labels(images, tmp_path):
    training, held_out = images
    wrong = ImageDataset(training.pixels, (training.labels + 1) % 10)
    routes = (Route(), Route(taught=False))
    plan = replace(PLAN, routes=routes, kept=(), codings=(Coding("integer", 8, 8),), alpha=1.0, epochs=2, images=None)
    search = Search(trained_lenet(), plan, wrong, held_out, tmp_path)
    search.store.model("teacher", trained_lenet)  # as it is, not trained on wrong labels
    taught, alone = search.run(0)
    assert taught.accuracy > 90
    assert alone.accuracy < 50


@pytest.mark.parametrize("failure", ["worse", "not finite"])
def test_training_of_centroids_that_makes_things_worse_is_dropped(images, tmp_path, monkeypatch, failure):
    search = Search(trained_lenet(), replace(PLAN, centroid_lr=1.0), *images, tmp_path)
    model, coding = as_sequential(trained_lenet(), images[1].images[:1]), Coding("codebook", 4, 3)

    def train(self, model, *_):
        if failure == "not finite":
            raise NonFiniteLossError("the loss is nan")
        model.fc3.weight.data[...] *= -1

    monkeypatch.setattr(Search, "_train_", train)
    found = search.candidate("a", Route(), model, coding)
    bits = {f"{name}.weight": 4 if "conv" in name else 3 for name in found.weights}
    storage = {name: Storage("codebook", 4 if "conv" in name else 3) for name in found.weights}
    save_mgz(tmp_path / "b.mgz", share_weights_of(model, bits), storage, float_bits=16)
    assert search.store.file(found.name).read_bytes() == (tmp_path / "b.mgz").read_bytes()


def test_training_of_centroids_that_helps_is_kept(images, tmp_path):
    model, coding = as_sequential(trained_lenet(), images[1].images[:1]), Coding("codebook", 2, 2)
    plan = replace(PLAN, images=None, centroid_epochs=2)
    trained = Search(trained_lenet(), plan, *images, tmp_path / "a").candidate("a", Route(taught=False), model, coding)
    bits = {f"{name}.weight": 2 for name in trained.weights}
    as_shared = minigrad.evaluate(share_weights_of(model, bits), evaluation_loader(images[1]))
    assert trained.accuracy > as_shared


def test_images_beyond_the_plan_are_not_trained_on(images, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(search_module.minigrad, "fit", lambda model, loader, *_, **__: seen.append(len(loader.labels)))
    search = Search(trained_lenet(), PLAN, *images, tmp_path)
    assert search.teacher
    assert seen == [200]
