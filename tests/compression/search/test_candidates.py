"""The frontier, and which candidate meets the wishes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.compression.search import Candidate, Wishes, choose, frontier, most_accurate, smallest


def candidate(name="a", size=1000, correct=4950, images=5000, milliseconds=None):
    return Candidate(name, name, "codebook5+4", True, size, correct, images, {}, {}, milliseconds)


def beats(a, b):
    return a.costs() != b.costs() and all(x <= y for x, y in zip(a.costs(), b.costs(), strict=True))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6), st.integers(1, 4)), max_size=12))
def test_the_frontier_is_what_nobody_beats(rows):
    found = [candidate(f"{i:02}", size, right, 6, time) for i, (size, right, time) in enumerate(rows)]
    best = frontier(found)
    for c in found:
        unbeaten = not any(beats(other, c) for other in found)
        first = not any(other.costs() == c.costs() for other in found[: found.index(c)])  # of equals, one
        assert (c in best) == (unbeaten and first)
    assert [c.bytes for c in best] == sorted(c.bytes for c in best)


def test_time_counts_where_it_was_measured():
    slow, fast = candidate("slow", 900, 4950, milliseconds=2.0), candidate("fast", 1000, 4940, milliseconds=1.0)
    assert frontier([slow, fast]) == [slow, fast]
    assert frontier([replace(c, milliseconds=None) for c in (slow, fast)]) == [replace(slow, milliseconds=None)]


@given(st.integers(1, 4999))
def test_what_is_sure_lies_one_sided_95_percent_below(correct):
    c = candidate(correct=correct)
    p = c.sure / 100
    assert (c.accuracy / 100 - p) / np.sqrt(p * (1 - p) / 5000) == pytest.approx(1.6448536, rel=1e-5)


def test_an_accuracy_that_is_not_sure_is_not_enough():
    unsure, sure = candidate("unsure", 900, 4920), candidate("sure", 1000, 4935)  # 98.40 %, 98.70 %
    wishes = Wishes(2000, 98.3)
    assert unsure.accuracy > 98.3 > unsure.sure
    assert choose([unsure], wishes) is None
    assert choose([unsure, sure], wishes) is sure
    assert choose([unsure, sure], Wishes(950, 98.3)) is None
    assert most_accurate([unsure, sure], Wishes(950, 98.3)) is unsure
    assert smallest([unsure, sure], 98.3) is sure
    assert smallest([unsure], 98.3) is None


def test_of_equally_accurate_files_the_smaller_is_chosen():
    large, small = candidate("large", 1000), candidate("small", 900)
    assert choose([large, small], Wishes(1000, 98)) is small


def test_the_budget_itself_fits_and_a_byte_more_does_not():
    assert candidate(size=8000).fits(Wishes(8000, 98))
    assert not candidate(size=8001).fits(Wishes(8000, 98))


def test_a_wish_for_time():
    fast, slow = candidate("fast", 900, 4940, milliseconds=0.5), candidate("slow", 800, 4980, milliseconds=0.6)
    assert choose([fast, slow], Wishes(1000, 98, 0.5)) is fast
    assert choose([fast, slow], Wishes(1000, 98, 0.6)) is slow
    assert choose([fast, slow], Wishes(1000, 98, 0.4)) is None
    assert not candidate().fits(Wishes(9999, 98, 1.0))  # nobody knows its time


def test_json_holds_what_follows_too():
    row = candidate(correct=4900).as_json()
    assert row["accuracy"] == 98.0
    assert row["sure"] == pytest.approx(candidate(correct=4900).sure)
    assert row["bytes"] == 1000
