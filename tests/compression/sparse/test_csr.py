"""CSRMatrix: what it accepts, what it refuses and with which sentence, and that it is what SciPy says it is."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor
from minigrad.compression.sparse import CSRMatrix, SparseMatrix, encode
from tests.compression.sparse.sparse_cases import sparse_array

SHAPES = [(1, 1), (3, 5), (7, 2), (0, 4), (4, 0), (0, 0), (40, 30)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_dense_to_csr_and_back(shape, dtype, rng):
    w = sparse_array(rng, shape, 0.6, dtype)
    a, reference = CSRMatrix.from_dense(w), scipy.sparse.csr_array(w)
    for ours, theirs in ((a.indptr, reference.indptr), (a.indices, reference.indices), (a.data, reference.data)):
        np.testing.assert_array_equal(ours, theirs)
    assert (a.indptr.dtype, a.indices.dtype, a.data.dtype) == (np.int32, np.int32, dtype)
    assert a.to_dense().dtype == dtype
    np.testing.assert_array_equal(a.to_dense(), w)
    np.testing.assert_array_equal(a.T.to_dense(), w.T)
    np.testing.assert_array_equal(a.T.T.indices, a.indices)
    assert a.T.shape == shape[::-1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p", [0, 1, 70])
def test_products_are_those_of_the_dense_matrix(shape, p, rng):
    w, x = sparse_array(rng, shape), rng.normal(size=(shape[1], p))
    np.testing.assert_allclose(CSRMatrix.from_dense(w) @ x, w @ x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(CSRMatrix.from_dense(w.T).T @ x, w @ x, rtol=1e-12, atol=1e-12)
    fortran = np.asfortranarray(np.repeat(x, 2, axis=1))[:, ::2]
    np.testing.assert_allclose(CSRMatrix.from_dense(w) @ fortran, w @ x, rtol=1e-12, atol=1e-12)


def test_int8_is_added_in_int32(rng):
    """SciPy's CSR and NumPy would stay in int8 and wrap."""
    w, x = np.full((2, 600), -128, np.int8), np.full((600, 3), -128, np.int8)
    out = CSRMatrix.from_dense(w) @ x
    assert out.dtype == np.int32
    np.testing.assert_array_equal(out, np.full((2, 3), 600 * 128**2))
    w, x = sparse_array(rng, (30, 40), 0.5, np.int8), sparse_array(rng, (40, 20), 0.0, np.int8)
    for format in ("csr", "csr16", "csr8", "bitmask", "block"):
        np.testing.assert_array_equal(encode(w, format) @ x, w.astype(int) @ x.astype(int))


def test_int8_rows_that_could_overflow_are_refused():
    longest = (2**31 - 1) // 128**2
    ones = np.ones((longest + 1, 1), np.int8)
    row = CSRMatrix([0, longest], np.arange(longest), np.full(longest, -128, np.int8), (1, longest + 1))
    assert (row @ (ones * np.int8(-128)))[0, 0] == longest * 128**2
    longer = CSRMatrix([0, longest + 1], np.arange(longest + 1), ones[:, 0], (1, longest + 1))
    with pytest.raises(ValueError, match=r"a row of 131072 int8 entries could overflow int32; 131071 are safe"):
        longer @ ones


def test_explicit_zeros_and_nan_are_values_as_any_other():
    a = CSRMatrix([0, 2], [0, 2], [0.0, np.nan], (1, 3))
    np.testing.assert_array_equal(a.to_dense(), [[0, 0, np.nan]])
    assert a.data.size == 2
    assert CSRMatrix.from_dense(np.array([[np.nan, 0]])).indices.tolist() == [0]


def test_the_structure_is_a_copy_that_nobody_can_break():
    indptr, indices = np.array([0, 1], np.int32), np.array([2], np.int32)
    a = CSRMatrix(indptr, indices, np.ones(1), (1, 3))
    indptr[1], indices[0] = 9, 99
    np.testing.assert_array_equal(a @ np.eye(3), [[0, 0, 1]])


def test_widths_are_kept_and_must_suffice(rng):
    a = CSRMatrix.from_dense(sparse_array(rng, (4, 300)), index_dtype=np.int16, pointer_dtype=np.int16)
    assert (a.indptr.dtype, a.indices.dtype) == (np.int16, np.int16)
    assert a.nbytes == 2 * 5 + (2 + 8) * a.data.size
    np.testing.assert_allclose(a @ np.eye(300), a.to_dense())
    wide = np.zeros((1, 40_000))
    wide[0, 39_999] = 1
    with pytest.raises(ValueError, match=r"^CSRMatrix: indices reaches 39999, which does not fit in int16$"):
        CSRMatrix.from_dense(wide, index_dtype=np.int16)


GOOD = {"indptr": [0, 2, 2, 3], "indices": [0, 3, 1], "data": [1.0, 2.0, 3.0], "shape": (3, 4)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shape": 3}, r"shape must be two whole numbers, \(rows, columns\), got 3"),
        ({"shape": (3, 4, 1)}, r"shape must be two whole numbers, \(rows, columns\), got \(3, 4, 1\)"),
        ({"shape": (3, 4.0)}, r"shape must be two whole numbers"),
        ({"shape": (True, 4)}, r"shape must be two whole numbers"),
        ({"shape": (3, -4)}, r"shape \(3, -4\) has a negative size"),
        ({"shape": (3, 2**31)}, r"has a size beyond 2147483647, the largest column that int32 can name"),
        ({"data": [[1.0, 2.0, 3.0]]}, r"data must have 1 axis, got shape \(1, 3\)"),
        ({"data": ["a", "b", "c"]}, r"data must be float32, float64 or int8, got <U1"),
        ({"data": [1, 2, 3]}, r"data must be float32, float64 or int8, got int64"),
        ({"indptr": [[0, 2, 2, 3]]}, r"indptr must have one axis, got shape \(1, 4\)"),
        ({"indptr": [0.0, 2, 2, 3]}, r"indptr must hold whole numbers, int16, int32 or int64, got float64"),
        ({"indptr": [0, 2, 2, 2**40]}, r"indptr holds a number beyond int32"),
        ({"indptr": [0, 2, 3]}, r"indptr has 3 numbers, but 3 rows need 4, one more than rows; is shape transposed\?"),
        ({"indptr": []}, r"indptr must hold whole numbers, int16, int32 or int64, got float64"),
        ({"indptr": [1, 2, 2, 3]}, r"indptr starts at 1, expected 0"),
        ({"indptr": [-1, 2, 2, 3]}, r"indptr starts at -1, expected 0"),
        ({"indptr": [0, 2, 1, 3]}, r"indptr falls from 2 to 1 at row 1; it may only grow"),
        ({"indptr": [0, 2, 2, 4]}, r"indptr ends at 4, but there are 3 values"),
        ({"indices": [[0, 3, 1]]}, r"indices must have one axis, got shape \(1, 3\)"),
        ({"indices": np.array([True, False, True])}, r"indices must hold whole numbers, .*, got bool"),
        ({"indices": np.array([0, 3, 1], np.uint8)}, r"indices must hold whole numbers, .*, got uint8"),
        ({"indices": [0, 3]}, r"there are 2 indices, but 3 values; each needs its column"),
        ({"indices": [0, 3, -1]}, r"row 2 has column -1, but columns count from 0"),
        ({"indices": [0, 4, 1]}, r"row 0 has column 4, but there are 4 columns"),
        ({"indices": [3, 0, 1]}, r"row 0 lists column 0 after column 3; sort the columns of each row"),
        ({"indices": [3, 3, 1]}, r"row 0 lists column 3 twice; add the two values up"),
    ],
)
def test_every_malformed_input_has_its_sentence(change, sentence):
    assert CSRMatrix(**GOOD).to_dense().sum() == 6
    with pytest.raises(ValueError, match=r"^CSRMatrix: .*" + sentence):
        CSRMatrix(**{**GOOD, **change})


def is_csr(indptr, indices, data, shape):
    """What CSR is, in the words of its definition."""
    if len(indptr) != shape[0] + 1 or len(indices) != len(data) or indptr[0] != 0 or indptr[-1] != len(data):
        return False
    rows = [indices[start:stop] for start, stop in pairwise(indptr)]
    return sorted(indptr) == indptr and all(
        sorted(set(row)) == row and all(0 <= c < shape[1] for c in row) for row in rows
    )


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    indptr=st.lists(st.integers(-1, 4), min_size=1, max_size=4),
    indices=st.lists(st.integers(-1, 4), max_size=4),
    count=st.integers(0, 4),
    shape=st.tuples(st.integers(0, 3), st.integers(0, 4)),
)
def test_random_arrays_are_accepted_if_they_are_csr_and_refused_otherwise(indptr, indices, count, shape):
    arrays = (np.array(indptr, np.int64), np.array(indices, np.int64), np.ones(count))
    if is_csr(indptr, indices, arrays[2], shape):
        assert CSRMatrix(*arrays, shape).to_dense().sum() == count
    else:
        with pytest.raises(ValueError, match=r"^CSRMatrix: "):
            CSRMatrix(*arrays, shape)


def spoil(rng, arrays, shape):
    """Change one thing in a valid matrix that must not be changed."""
    indptr, indices, data = (a.copy() for a in arrays)
    where, row = int(rng.integers(indices.size)), int(rng.integers(1, len(indptr)))
    match int(rng.integers(8)):
        case 0:
            indices[where] = -int(rng.integers(1, 2**31))
        case 1:
            indices[where] = shape[1] + int(rng.integers(2**30))
        case 2:
            indptr[row] = indptr[-1] + 1 + int(rng.integers(2**30))
        case 3:
            indptr[row] = -int(rng.integers(1, 2**31))
        case 4:
            indptr[0] = int(rng.integers(1, 100))
        case 5:
            data = data[:-1]
        case 6:
            indices = np.append(indices, 0).astype(np.int32)
        case 7:
            indptr = np.delete(indptr, row)
    return indptr, indices, data


@pytest.mark.parametrize("seed", range(100))
def test_spoiled_matrices_are_refused(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(2, 30)), int(rng.integers(2, 30)))
    a = CSRMatrix.from_dense(sparse_array(rng, shape, 0.5) + np.eye(*shape))
    with pytest.raises(ValueError, match=r"^CSRMatrix: "):
        CSRMatrix(*spoil(rng, (a.indptr, a.indices, a.data), shape), shape)


@pytest.mark.parametrize(
    ("x", "error", "sentence"),
    [
        ([[1.0]], TypeError, r"^CSRMatrix @ x: x must be an array, got list; a SparseLinear takes Tensors$"),
        (Tensor(np.ones((4, 2))), TypeError, r"got Tensor; a SparseLinear takes Tensors"),
        (np.ones(4), ValueError, r"x must be \(4, P\), .* \(matrix: \(3, 4\), x: \(4,\)\)"),
        (np.ones((3, 2)), ValueError, r"\(matrix: \(3, 4\), x: \(3, 2\)\); is a transpose missing\?"),
        (np.ones((4, 2), np.float32), TypeError, r"the matrix is float64, x is float32; convert one with astype"),
    ],
)
def test_products_that_do_not_fit(x, error, sentence):
    with pytest.raises(error, match=sentence):
        CSRMatrix(**GOOD) @ x


def test_arrays_that_are_no_matrix():
    with pytest.raises(ValueError, match=r"^CSRMatrix.from_dense: data must have 2 axes, got shape \(3,\)$"):
        CSRMatrix.from_dense(np.ones(3))
    with pytest.raises(ValueError, match=r"^CSRMatrix: it is made of indptr, indices, data, but got data, mask$"):
        CSRMatrix.from_arrays({"mask": 1, "data": 2}, (1, 1))
    assert repr(CSRMatrix(**GOOD)) == "CSRMatrix(shape=(3, 4), values=3, float64)"
    assert isinstance(CSRMatrix(**GOOD), SparseMatrix)
