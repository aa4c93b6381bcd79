"""Deltas, bit masks and blocks: what they store, what they refuse, and that they multiply as what they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.sparse import FORMATS, BitmaskMatrix, BlockMatrix, CSRMatrix, DeltaMatrix, encode
from tests.compression.sparse.sparse_cases import sparse_array


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1_000),
    rows=st.integers(0, 9),
    columns=st.sampled_from([0, 1, 3, 8, 17, 255, 256, 257, 700]),
    share=st.sampled_from([0.0, 0.6, 0.99, 1.0]),
    dtype=st.sampled_from([np.float32, np.float64, np.int8]),
)
def test_decoding_undoes_encoding(format, seed, rows, columns, share, dtype):
    w = sparse_array(np.random.default_rng(seed), (rows, columns), share, dtype)
    a = encode(w, format)
    assert a.shape == w.shape
    again = type(a).from_arrays(a.arrays(), a.shape)
    for decoded in (a.to_dense(), again.to_dense(), a.to_csr().to_dense(), encode(a, "csr").to_dense()):
        assert decoded.dtype == dtype
        np.testing.assert_array_equal(decoded, w)
    assert a.nbytes == sum(array.nbytes for array in a.arrays().values())


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1_000),
    rows=st.integers(0, 9),
    columns=st.integers(0, 20),
    p=st.sampled_from([1, 5, 32, 70]),
    share=st.sampled_from([0.0, 0.6, 1.0]),
)
def test_products_are_those_of_the_dense_matrix(format, seed, rows, columns, p, share):
    rng = np.random.default_rng(seed)
    w = sparse_array(rng, (rows, columns), share)
    x, g = rng.normal(size=(columns, p)), rng.normal(size=(rows, p))
    a = encode(w, format)
    np.testing.assert_allclose(a @ x, w @ x, rtol=1e-11, atol=1e-11)
    a = a.to_runtime()
    values = a.data.reshape(-1)
    np.testing.assert_allclose(a.transposed_product(values, g), w.T @ g, rtol=1e-11, atol=1e-11)
    sampled = a.with_data(a.sampled(g, x)).to_dense()
    np.testing.assert_allclose(sampled, (g @ x.T) * (w != 0), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(a.with_data(3 * values) @ x, 3 * w @ x, rtol=1e-11, atol=1e-11)


def test_deltas_count_the_zeros_between_and_padding_bridges_256():
    row = np.zeros((2, 1100), np.float32)
    row[0, [0, 1, 257, 514]] = 1, 2, 3, 4  # 0, 0, 255 and 256 zeros between
    row[1, 1099] = 5
    a = DeltaMatrix.from_dense(row)
    assert a.deltas.tolist() == [0, 0, 255, 255, 0, 255, 255, 255, 255, 75]
    assert a.data.tolist() == [1, 2, 3, 0, 4, 0, 0, 0, 0, 5]
    assert a.indptr.tolist() == [0, 5, 10]
    np.testing.assert_array_equal(a.to_dense(), row)


def test_explicit_zeros_stay_but_for_deltas():
    csr = CSRMatrix([0, 2], [0, 5], [0.0, 1.0], (1, 8))
    assert encode(csr, "bitmask").to_csr().indices.tolist() == [0, 5]
    assert encode(csr, "csr16").to_csr().indices.tolist() == [0, 5]
    assert encode(csr, "csr8").to_csr().indices.tolist() == [5]


def test_bits_are_lowest_first_and_cross_rows():
    a = BitmaskMatrix.from_dense(np.array([[0, 0, 0, 0, 0, 0, 1.0], [1, 0, 1, 0, 0, 0, 0]]))
    assert a.mask.tolist() == [0b11000000, 0b00000010]
    assert a.nbytes == 2 + 3 * 8


def test_blocks_are_four_rows_high_and_zero_beyond_the_edge():
    w = np.zeros((6, 5))
    w[0, 0], w[5, 4] = 1, 2
    a = BlockMatrix.from_dense(w, width=3)
    assert a.indptr.tolist() == [0, 1, 2]
    assert a.indices.tolist() == [0, 1]
    assert a.data.shape == (2, 4, 3)
    assert a.data[0, 0, 0] == 1
    assert a.data[1, 1, 1] == 2
    assert a.count == 24
    assert a.entries.order.tolist() == [0, 16]
    with pytest.raises(ValueError, match=r"^BlockMatrix: width is 0, expected 1 or more columns a block$"):
        BlockMatrix.from_dense(w, width=0)


def test_widths_and_names():
    w = sparse_array(np.random.default_rng(0), (5, 300), 0.5, np.float32)
    n = int(np.count_nonzero(w))
    assert encode(w, "csr").nbytes == 8 * n + 4 * 6
    assert encode(w, "csr16").nbytes == 6 * n + 4 * 6
    assert encode(w, "csr8").nbytes == 5 * n + 4 * 6
    assert encode(w, "csr8", np.int16).nbytes == 5 * n + 2 * 6
    assert encode(w, "bitmask").nbytes == 4 * n + -(-w.size // 8)
    with pytest.raises(
        ValueError, match=r"^encode: there is no format 'coo'; there are csr, csr16, csr8, bitmask, block$"
    ):
        encode(w, "coo")
    with pytest.raises(ValueError, match=r"^CSRMatrix: indices reaches 32768, which does not fit in int16$"):
        encode(np.ones((1, 32_769), np.int8), "csr16")


F32 = np.float32
DELTA = {"indptr": [0, 2, 3], "deltas": np.array([1, 2, 0], np.uint8), "data": np.ones(3, F32), "shape": (2, 5)}
MASK = {"mask": np.array([0b101, 0b10], np.uint8), "data": np.ones(3, F32), "shape": (2, 5)}
BLOCK = {"indptr": [0, 1, 2], "indices": [0, 1], "data": np.ones((2, 4, 2), F32), "shape": (8, 4)}


@pytest.mark.parametrize(
    ("cls", "good", "change", "sentence"),
    [
        (DeltaMatrix, DELTA, {"shape": "ab"}, r"shape must be two whole numbers"),
        (DeltaMatrix, DELTA, {"indptr": [0, 3]}, r"indptr has 2 numbers, but 2 rows need 3"),
        (DeltaMatrix, DELTA, {"indptr": [0, 2, 4]}, r"indptr ends at 4, but there are 3 values"),
        (DeltaMatrix, DELTA, {"data": np.ones(3, int)}, r"data must be float32, float64 or int8, got int64"),
        (DeltaMatrix, DELTA, {"deltas": [1, 2, 0]}, r"deltas must be uint8, one for each of the 3 values, got int64"),
        (
            DeltaMatrix,
            DELTA,
            {"deltas": np.zeros(2, np.uint8)},
            r"one for each of the 3 values, got uint8 of shape \(2,\)",
        ),
        (
            DeltaMatrix,
            DELTA,
            {"deltas": np.array([1, 3, 0], np.uint8)},
            r"row 0 reaches column 5, but there are 5 columns",
        ),
        (
            DeltaMatrix,
            DELTA,
            {"data": np.array([1, 1, 0], F32)},
            r"row 1 has a zero after delta 0; only padding is zero",
        ),
        (BitmaskMatrix, MASK, {"mask": np.array([5, 2], np.int64)}, r"mask must be 2 bytes \(uint8\), .* got int64"),
        (
            BitmaskMatrix,
            MASK,
            {"mask": np.zeros(3, np.uint8)},
            r"a bit for each of 10 elements, got uint8 of shape \(3,\)",
        ),
        (
            BitmaskMatrix,
            MASK,
            {"mask": np.array([1, 6], np.uint8)},
            r"mask has a bit set beyond the last of 10 elements",
        ),
        (BitmaskMatrix, MASK, {"mask": np.array([1, 2], np.uint8)}, r"mask has 2 bits set, but there are 3 values"),
        (BlockMatrix, BLOCK, {"data": np.ones((2, 8), F32)}, r"data must have 3 axes, got shape \(2, 8\)"),
        (BlockMatrix, BLOCK, {"data": np.ones((2, 2, 4), F32)}, r"data must be \(blocks, 4, width\), got \(2, 2, 4\)"),
        (BlockMatrix, BLOCK, {"data": np.ones((2, 4, 0), F32)}, r"data must be \(blocks, 4, width\), got \(2, 4, 0\)"),
        (BlockMatrix, BLOCK, {"indptr": [0, 2]}, r"indptr has 2 numbers, but 2 rows need 3"),
        (BlockMatrix, BLOCK, {"indptr": [0, 1, 3]}, r"indptr ends at 3, but there are 2 blocks"),
        (BlockMatrix, BLOCK, {"indices": [0]}, r"there are 1 indices, but 2 blocks"),
        (BlockMatrix, BLOCK, {"indices": [0, 2]}, r"row 1 has column 2, but there are 2 columns"),
        (BlockMatrix, BLOCK, {"shape": (7, 4)}, r"a block has a value beyond the edge of shape \(7, 4\)"),
    ],
)
def test_every_malformed_input_has_its_sentence(cls, good, change, sentence):
    assert cls(**good).to_dense().sum() == good["data"].sum()
    with pytest.raises(ValueError, match=rf"^{cls.__name__}: .*{sentence}"):
        cls(**{**good, **change})


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("seed", range(40))
def test_random_bytes_are_refused_or_describe_a_matrix(format, seed):
    """Whatever is accepted decodes to a matrix of that shape, and multiplies as it."""
    rng = np.random.default_rng(seed)
    w = sparse_array(rng, (int(rng.integers(1, 9)), int(rng.integers(1, 300))), 0.7, np.float32)
    arrays, shape = encode(w, format).arrays(), w.shape
    part = str(rng.choice([name for name in arrays if arrays[name].size]))
    spoiled = arrays[part].copy()
    spoiled.view(np.uint8).reshape(-1)[rng.integers(spoiled.nbytes)] ^= np.uint8(1 << rng.integers(8))
    arrays[part] = spoiled
    cls = FORMATS[format].matrix
    try:
        a = cls.from_arrays(arrays, shape)
    except ValueError:
        with pytest.raises(ValueError, match=rf"^{cls.__name__}: "):
            cls.from_arrays(arrays, shape)
        return
    dense = a.to_dense().astype(np.float64)
    assert dense.shape == shape
    with np.errstate(all="ignore"):
        expected = dense @ np.ones((shape[1], 1))
        out = a @ np.ones((shape[1], 1), np.float32)
    if np.isfinite(dense).all() and np.abs(dense).max() < 1e3:
        np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3)
