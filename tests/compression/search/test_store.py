"""A search's folder."""

import json

import numpy as np
import pytest

from minigrad import nn
from minigrad.compression.search import Candidate, Store

IDENTITY = {"model": "m", "images": ["i", "j"], "plan": {"seed": 0, "kept": (0.5,)}}


def test_seconds_add_up_and_count_once(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("minigrad.compression.search.store.time.perf_counter", lambda: now[0])

    def make(seconds, inner=None):
        def made():
            now[0] += seconds
            if inner is not None:
                Store(tmp_path, IDENTITY).model("inner", inner)
            return nn.Sequential(nn.Flatten(), nn.Linear(784, 1))

        return made

    assert Store(tmp_path, IDENTITY).seconds == 0
    Store(tmp_path, IDENTITY).model("outer", make(2.0, make(1.0)))
    assert Store(tmp_path, IDENTITY).seconds == 3.0
    Store(tmp_path, IDENTITY).model("outer", never)
    assert Store(tmp_path, IDENTITY).seconds == 3.0
    Store(tmp_path, IDENTITY).model("another", make(4.0))
    assert Store(tmp_path, IDENTITY).seconds == 7.0


def never(*_):
    raise AssertionError("made again")


def test_a_model_comes_back_to_the_last_bit(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 3))
    model[1].weight.data[0, :5] = [0, -0.0, 1e-30, np.pi, -7]
    made = Store(tmp_path, IDENTITY).model("a", lambda: model)
    again = Store(tmp_path, IDENTITY).model("a", never)
    for name, array in made.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    np.testing.assert_array_equal(again.state_dict()["1.weight"], model[1].weight.data)


@pytest.mark.parametrize(
    ("key", "words"), [("model", "another checkpoint"), ("images", "other images"), ("plan", "other settings")]
)
def test_another_search_is_refused(tmp_path, key, words):
    Store(tmp_path, IDENTITY)
    with pytest.raises(
        ValueError, match=rf"holds the search of {words}; give another folder with --runs, or delete it"
    ):
        Store(tmp_path, IDENTITY | {key: "z"})
    assert Store(tmp_path, IDENTITY).folder == tmp_path  # what was refused left no trace


def test_a_candidate_is_made_once(tmp_path):
    def make(file):
        file.write_bytes(b"12345")
        return Candidate("a", "m", "c", True, 5, 9, 10, {"fc": 3}, {"fc": 2})

    store = Store(tmp_path, IDENTITY)
    made = store.candidate("a", make)
    assert store.candidate("a", never) == made
    store.file("a").write_bytes(b"1234")  # not the file of the record
    assert store.candidate("a", make) == made
    assert store.file("a").read_bytes() == b"12345"
    record = store.file("a").with_suffix(".json")
    for damaged in ("{", "[]", json.dumps({"name": "a"})):
        record.write_text(damaged)
        assert store.candidate("a", make) == made
    store.file("a").unlink()
    assert store.candidate("a", make) == made
