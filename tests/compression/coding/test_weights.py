"""Weights in a file: which values, in how many bits, in which order; and what is no weights is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.coding import Storage
from minigrad.compression.coding.weights import read_weights, share_weights, write_weights
from minigrad.compression.coding.wire import Reader, write_floats, write_number
from minigrad.compression.quantization import kmeans_codebook
from tests.sentences import raises


def random_weights(seed, zeros, shape=(6, 3, 4, 2)):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < zeros, 0, rng.normal(size=shape)).astype(np.float32)


def written(w, storage, coded=True, float_bits=32):
    reader = Reader(write_weights(w, storage, coded, float_bits), section="fc1")
    found = read_weights(reader, w.shape)
    assert reader.at == len(reader.content) == sum(reader.account.values())
    return found, reader


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 500), st.sampled_from([0.0, 0.3, 0.9, 1.0]), st.integers(1, 8), st.none() | st.integers(0, 8),
    st.booleans(),
)  # fmt: skip
def test_codebooks_hold_the_means_of_clusters(seed, zeros, bits, index_bits, coded):
    w = random_weights(seed, zeros)
    found, _ = written(w, Storage("codebook", bits, index_bits), coded)
    np.testing.assert_array_equal(
        found.dense(), kmeans_codebook(w, bits).decode() if len(np.unique(w)) > 2**bits else w
    )
    assert (np.diff(found.positions) > 0).all()
    np.testing.assert_array_equal(found.csr().to_dense(), found.dense().reshape(6, -1))
    assert found.weight_bits <= bits
    assert found.coded_weight_bits <= found.entries * bits + 257 * 4 + 40  # a table would be taken only if it pays
    if index_bits is not None:
        assert found.index_bits == index_bits


def test_of_all_widths_and_both_orders_the_shortest_is_taken():
    w = random_weights(0, 0.8, (90, 100))
    w[:, 50:] = 0  # inputs that nobody looks at: down the columns all of them come last
    best = write_weights(w, Storage("codebook", 4), True, 32)
    sizes = [len(write_weights(w, Storage("codebook", 4, bits), True, 32)) for bits in range(9)]
    assert len(best) == min(sizes) < max(sizes)
    order = 3 + 4 * best[1]  # after way, k, bits of a float, and the centroids
    assert best[order] == 1
    turned = write_weights(w.T.copy(), Storage("codebook", 4), True, 32)
    assert turned[order] == 0
    assert len(turned) == len(best)


def test_fillers_are_booked_apart():
    w = np.zeros((1, 4000), np.float32)
    w[0, ::100] = 1
    found, reader = written(w, Storage("codebook", 1, 3), coded=False)
    fillers = 39 * (99 // 8)
    assert found.entries == 40 + fillers
    assert found.coded_index_bits == 3 * found.entries
    account = reader.account
    assert account["fc1", "fillers"] == fillers * 3 // 8 + fillers // 8
    assert account["fc1", "indices"] == -(-found.entries * 3 // 8) - fillers * 3 // 8
    assert account["fc1", "values"] == -(-found.entries // 8) - fillers // 8


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 500), st.sampled_from([0.0, 0.3, 0.9, 1.0]), st.integers(2, 8))
def test_integers_are_within_half_a_step_where_nothing_is_clipped(seed, zeros, bits):
    w = random_weights(seed, zeros)
    found, reader = written(w, Storage("integer", bits))
    scale = np.frombuffer(write_weights(w, Storage("integer", bits), True, 32)[5:29], "<f4").reshape(6, 1, 1, 1)
    q = found.dense() / scale
    np.testing.assert_allclose(q, np.rint(q), atol=1e-4)
    inside = np.abs(np.rint(q)) < 2 ** (bits - 1) - 1
    assert (np.abs(found.dense() - w)[inside] <= 0.5001 * np.broadcast_to(scale, w.shape)[inside]).all()
    assert (found.dense()[w == 0] == 0).all()
    masked = reader.account["fc1", "mask"] > 0
    assert masked == (-(-w.size // 8) + -(-(q != 0).sum() * bits // 8) < -(-w.size * bits // 8))


@pytest.mark.parametrize("bits", [16, 32])
def test_floats_stay_as_they_are(bits):
    w = random_weights(1, 0.5).astype(f"f{bits // 8}").astype(np.float32)
    found, _ = written(w, Storage("float", bits))
    np.testing.assert_array_equal(found.dense(), w)
    assert found.weight_bits == bits
    assert found.entries == w.size


def test_centroids_that_float16_does_not_tell_apart_become_one():
    w = np.float32([1, 1.0001, 2, 1e-9])
    centroids, codes = share_weights(w, bits=8, float_bits=16)
    assert centroids.tolist() == [1, 2]
    assert codes.tolist() == [0, 0, 1, 2]  # the last one is zero in float16


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\3", "way of storing is 3, expected 0 to 2"),
        (b"\1\x81\2", "number of centroids is 257, expected 0 to 256"),
        (b"\1\0\x10\2", "order is 2, expected 0 to 1"),
        (b"\1\0\x10\0\7", "number of entries is 7, expected 0 to 6"),
        (b"\1\0\x10\0\1\x09", "bits of an index is 9, expected 0 to 8"),
        (b"\1\0\x10\0\2\3\3\x3f\1\0", "the indices reach to weight 15, and there are 6"),
        (b"\1\0\x10\0\1\0\1\1", "values have a symbol 1; there are 1"),
        (b"\2\1", "bits of an integer is 1, expected 2 to 8"),
        (b"\2\2\2", "flag of the mask is 2, expected 0 to 1"),
        (b"\2\2\1\3", "number of scales is 3, expected 1 to 2"),
        (b"\2\x08\0\1" + write_floats(np.float32([3e38]), 32) + b"\x7f" * 6,
         "a scale is so large that a weight is infinite"),
    ],
)  # fmt: skip
def test_what_is_no_weights_is_refused(record, message):
    with raises(ValueError, f"fc1: {message}"):
        read_weights(Reader(record, section="fc1"), (2, 3))


def test_scales_are_one_or_as_many_as_outputs():
    record = b"\2\x08\0\2" + write_floats(np.float32([1, 1]), 32) + bytes(9)
    with raises(ValueError, "a: there are 2 scales, expected one, or one for each of 3 outputs"):
        read_weights(Reader(record, section="a"), (3, 3))
    one = read_weights(Reader(b"\2\x02\0\1" + write_floats(np.float32([2]), 32) + write_number(0b1101)), (2, 1))
    assert one.dense().tolist() == [[2], [-2]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("huffman",), "Storage: way is 'huffman'; there are float, codebook, integer"),
        (("float", 8), "Storage: float: bits is 8; there are 16, 32"),
        (("integer", 1), "Storage: integer: bits is 1; there are 2, 3, 4, 5, 6, 7, 8"),
        (("codebook", 9), "Storage: codebook: bits is 9; there are 1, 2, 3, 4, 5, 6, 7, 8"),
        (("codebook", 4, 9), "Storage: index_bits is 9; there are 0, 1, 2, 3, 4, 5, 6, 7, 8"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with raises(ValueError, message):
        Storage(*settings)
