"""Sums over processes: the right ones, the same bits everywhere, and in which messages."""

import functools
import itertools
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.parallel import AllReduce, all_reduce, in_buckets
from tests.parallel.threads import together

DTYPES = st.sampled_from([np.float32, np.float64])


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 5), count=st.integers(0, 23), dtype=DTYPES, seed=st.integers(0, 99))
def test_all_reduce_adds_in_the_order_of_ranks(size, count, dtype, seed):
    shares = np.random.default_rng(seed).normal(size=(size, count)).astype(dtype)
    expected = functools.reduce(operator.add, shares)
    for found in together(size, lambda comm: all_reduce(comm, shares[comm.rank])):
        assert found.dtype == dtype
        assert found.tobytes() == expected.tobytes()


@given(
    lengths=st.lists(st.tuples(st.integers(0, 9), DTYPES), max_size=9),
    limit=st.integers(1, 100),
)
def test_buckets_keep_the_order_one_dtype_and_the_limit(lengths, limit):
    arrays = {f"p{i}": np.zeros(count, dtype) for i, (count, dtype) in enumerate(lengths)}
    buckets = list(in_buckets(arrays, limit))
    assert [name for names in buckets for name in names] == list(arrays)
    for names in buckets:
        assert len({arrays[name].dtype for name in names}) == 1
        assert len(names) == 1 or sum(arrays[name].nbytes for name in names) <= limit
    for names, after in itertools.pairwise(buckets):  # none could have been one more
        one_more = arrays[after[0]]
        sizes = [arrays[name].nbytes for name in names]
        assert one_more.dtype != arrays[names[0]].dtype or sum(sizes) + one_more.nbytes > limit


@pytest.mark.parametrize("bucket", [0.001, 0.05, 1024])
def test_sums_do_not_depend_on_the_buckets(bucket):
    rng = np.random.default_rng(0)
    shapes = {"a": (2, 3), "b": (), "c": (4, 1, 2, 2), "d": (0,), "e": (7,)}
    shares = [{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(3)]
    shares[0]["c"] = np.asfortranarray(shares[0]["c"])  # in whatever order it lies

    def total(comm):
        exchange = AllReduce(comm, bucket)
        found = exchange.total(shares[comm.rank], step=0)
        exchange.total(shares[comm.rank], step=1)
        return found, exchange.bytes_sent

    for found, sent in together(3, total):
        assert sent == 2 * 4 * (6 + 1 + 16 + 0 + 7)
        assert list(found) == list(shapes)
        for name, shape in shapes.items():
            assert found[name].shape == shape
            np.testing.assert_array_equal(found[name], shares[0][name] + shares[1][name] + shares[2][name])


def test_a_bucket_of_no_size_is_refused():
    with pytest.raises(ValueError, match="AllReduce: bucket is 0 KB, expected more than 0"):
        AllReduce(None, bucket=0)


def test_the_count_of_bytes_goes_on():
    exchange, other = AllReduce(None), AllReduce(None)
    exchange.bytes_sent = 17
    other.load_state_dict(exchange.state_dict())
    assert other.bytes_sent == 17
    assert exchange.settings() == {"exchange": "AllReduce"}
