"""Compressed gradients between processes, with threads in their place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.gradients import METHODS, compressor
from minigrad.compression.gradients.exchange import CompressedExchange, pack, unpack
from minigrad.nn import Parameter
from minigrad.parallel import Team
from tests.parallel.threads import together

SHAPES = {"w": (4, 3), "b": (), "empty": (0,)}


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_a_packet_holds_its_messages(messages):
    packet = pack(messages)
    assert len(packet) == sum(len(message) + 4 for message in messages)
    assert unpack(packet, len(messages)) == messages


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=4), st.data())
def test_a_packet_that_was_cut_or_is_of_another_model_is_refused(messages, data):
    packet = pack(messages)
    cut = data.draw(st.integers(1, len(packet)))
    with pytest.raises(
        ValueError, match=rf"exchange: a packet of \d+ bytes does not hold {len(messages)} messages; do"
    ):
        unpack(packet[:-cut], len(messages))
    with pytest.raises(ValueError, match="do all processes train the same model"):
        unpack(packet, len(messages) + 1)


def shares_of(rank, step, seed=0):
    rng = np.random.default_rng([seed, rank, step])
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("method", METHODS)
def test_every_process_gets_the_same_bits(method):
    options = {"momentum": 0.5} if method == "topk" else {}

    def exchange(comm):
        own = CompressedExchange(comm, compressor(method, seed=1, rank=comm.rank, **options))
        assert own.owns_momentum == (method == "topk")
        found = [own.total(shares_of(comm.rank, step), step) for step in range(3)]
        assert own.bytes_sent == own.compressor.bytes_sent + 3 * 4 * len(SHAPES) > 0  # a length before each message
        return own, found

    everyone = together(3, exchange)
    for own, found in everyone:
        assert own.settings() == everyone[0][0].settings()
        assert own.settings()["method"] == method
        for step, totals in enumerate(found):
            for name, shape in SHAPES.items():
                assert totals[name].shape == shape
                assert totals[name].dtype == np.float32
                assert totals[name].tobytes() == everyone[0][1][step][name].tobytes()


@settings(max_examples=20, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any), seed=st.integers(0, 99))
def test_without_loss_gradients_are_averaged_over_images(counts, seed):
    """However images are spread over processes, as with the engine's own exchange."""
    each = np.random.default_rng(seed).normal(size=(sum(counts), 3)).astype(np.float32)
    starts = np.cumsum([0, *counts])

    def average(comm):
        p = Parameter(np.zeros(3, np.float32))
        own = each[starts[comm.rank] : starts[comm.rank + 1]]
        p.grad = own.mean(axis=0) if len(own) else None
        exchange = CompressedExchange(comm, compressor("none", rank=comm.rank))
        Team(comm, exchange).average_([p], len(own) / len(each), step=0)
        return p.grad

    for gradient in together(len(counts), average):
        np.testing.assert_allclose(gradient, each.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_what_a_process_remembers_goes_on():
    def exchange(comm):
        def new():
            return CompressedExchange(comm, compressor("sign", seed=1, rank=comm.rank))

        straight, first, second = new(), new(), new()
        expected = [straight.total(shares_of(comm.rank, step), step) for step in range(4)]
        for step in range(2):
            first.total(shares_of(comm.rank, step), step)
        second.load_state_dict(first.state_dict())
        assert second.bytes_sent == first.bytes_sent > 0
        found = [second.total(shares_of(comm.rank, step), step) for step in (2, 3)]
        assert second.bytes_sent == straight.bytes_sent
        return expected[2:], found

    for expected, found in together(2, exchange):
        for one, other in zip(expected, found, strict=True):
            for name in SHAPES:
                np.testing.assert_array_equal(one[name], other[name])
