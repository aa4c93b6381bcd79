"""Times of candidates."""

import numpy as np
import pytest

from minigrad.compression.coding import Storage, save_mgz
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.search import Candidate, Store, latency
from minigrad.compression.search.latency import GIVEN, with_latency
from minigrad.compression.sparse.timing import Race


@pytest.fixture
def timed(tmp_path):
    """A store with two codes of one pruned model and one of another, their candidates, the model and images."""
    store, lenet = Store(tmp_path, {"model": 0, "images": 0, "plan": 0}), trained_lenet()
    pruned = SparsePruner(lenet, ARTICLE_SPARSITY).prune(lenet)
    found = []
    for name, model, way in (("a5", "a", "codebook"), ("a8", "a", "integer"), ("b8", "b", "integer")):
        container = save_mgz(store.file(name), pruned if model == "a" else lenet, Storage(way, 5))
        found.append(Candidate(name, model, way, True, container.size, 9, 10, {}, {}))
    return found, store, lenet, np.zeros((2, 1, 28, 28), np.float32)


def test_codes_of_a_model_have_one_time_that_of_the_faster_form(timed, monkeypatch):
    asked = []

    def race(team, seconds):
        asked.extend(team)
        for run in team.values():
            assert run(1) > 0  # they run
        return Race({name: np.array([t]) for name, t in seconds_of.items()}, 2, True)

    seconds_of = {"a dense": 3e-3, "a csr": 1e-3, "b dense": 2e-3, "b csr": 4e-3, GIVEN: 5e-3}
    monkeypatch.setattr(latency, "race", race)
    found, given = with_latency(*timed)
    assert sorted(asked) == sorted(seconds_of)
    assert [(c.name, c.milliseconds, c.runs) for c in found] == [
        ("a5", 1.0, "csr"), ("a8", 1.0, "csr"), ("b8", 2.0, "dense"),
    ]  # fmt: skip
    assert given == 5.0


def test_real_times_are_times(timed):
    found, given = with_latency(*timed, seconds=0.01)
    assert all(c.milliseconds > 0 for c in found)
    assert given > 0
    assert [c.bytes for c in found] == [c.bytes for c in timed[0]]
