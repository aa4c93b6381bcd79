import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minigrad.compression.quantization import BFLOAT16, FLOAT16

BITS = arrays(np.uint32, 30, elements=st.integers(0, 2**32 - 1))


def equal(x, y):
    """Equal bits, or both NaN."""
    nan = np.isnan(x) & np.isnan(y)
    return (nan | (x.view(np.uint32) == y.view(np.uint32))).all()


def bfloat16_by_adding(x):
    """The usual trick: half a unit of the last kept bit, less one where that is even, is added before the cut."""
    bits = x.view(np.uint32)
    return ((bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


@given(BITS)
def test_float16_is_numpys(bits):
    x = bits.view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(np.float16)
    codes = FLOAT16.encode(x)
    finite = ~np.isnan(x)
    np.testing.assert_array_equal(codes[finite], expected.view(np.uint16)[finite])
    assert np.isnan(FLOAT16.decode(codes)[~finite]).all()


def test_float16_of_every_code_and_of_everything_halfway():
    codes = np.arange(2**16, dtype=np.uint16)
    numbers = codes.view(np.float16).astype(np.float32)
    assert equal(FLOAT16.decode(codes), numbers)
    finite = numbers[np.isfinite(numbers)]
    halfway = ((finite[1:] + finite[:-1]) / 2).astype(np.float32)
    np.testing.assert_array_equal(FLOAT16.encode(halfway), halfway.astype(np.float16).view(np.uint16))


@given(BITS)
def test_bfloat16_is_float32s_upper_half_rounded(bits):
    x = bits.view(np.float32)
    x = x[~np.isnan(x)]
    np.testing.assert_array_equal(BFLOAT16.encode(x), bfloat16_by_adding(x))


def test_bfloat16_of_every_code_and_of_everything_halfway():
    codes = np.arange(2**16, dtype=np.uint16)
    numbers = (codes.astype(np.uint32) << 16).view(np.float32)
    assert equal(BFLOAT16.decode(codes), numbers)
    halfway = ((codes.astype(np.uint32) << 16) + 0x8000).view(np.float32)
    halfway = halfway[np.isfinite(halfway)]
    assert not (BFLOAT16.encode(halfway) & 1).any()  # the even neighbour
    np.testing.assert_array_equal(BFLOAT16.encode(halfway), bfloat16_by_adding(halfway))


@pytest.mark.parametrize(("form", "values", "codes"), [
    (FLOAT16, [0.0, -0.0, 1.0, 65504.0, 65520.0, np.inf, -np.inf, 2.0**-24, 2.0**-25, np.nan],
     [0, 0x8000, 0x3C00, 0x7BFF, 0x7C00, 0x7C00, 0xFC00, 1, 0, 0x7E00]),
    (BFLOAT16, [1.0, -2.0, 3.4e38, np.inf, np.nan], [0x3F80, 0xC000, 0x7F80, 0x7F80, 0x7FC0]),
])  # fmt: skip
def test_codes_by_hand(form, values, codes):
    np.testing.assert_array_equal(form.encode(values), np.array(codes, np.uint16))


def test_rounding_errs_by_half_a_step():
    x = np.linspace(0.5, 2, 1001).astype(np.float32)
    for form, step in ((FLOAT16, 2**-10), (BFLOAT16, 2**-7)):
        assert (np.abs(form.round(x) - x) <= step * np.where(x < 1, 0.25, 0.5)).all()
        assert form.round(x).dtype == np.float32
