import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.compression.models import LeNet
from minigrad.compression.quantization import QuantParams, pack, packed_bytes, stored_bytes, unpack, weight_params


@given(st.integers(1, 8), st.booleans(), st.data())
def test_packing_loses_nothing_and_takes_the_bytes_it_says(bits, signed, data):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    q = np.array(data.draw(st.lists(st.integers(low, high), max_size=40)), np.int64)
    packed = pack(q, bits, signed)
    assert packed.dtype == np.uint8
    assert len(packed) == packed_bytes(len(q), bits) == int(np.ceil(len(q) * bits / 8))
    again = unpack(packed, bits, q.shape, signed)
    np.testing.assert_array_equal(again, q)
    assert again.dtype == (np.int8 if signed else np.uint8)
    # Independent of how it is done: the bytes are one large number, of which q are the digits to the base 2**bits.
    whole = sum(int(value % 2**bits) << (bits * i) for i, value in enumerate(q))
    assert int.from_bytes(packed.tobytes(), "little") == whole


def test_of_four_bits_two_go_into_a_byte_the_first_one_low():
    np.testing.assert_array_equal(pack([[1, 2], [-1, 0]], 4), [0x21, 0x0F])
    np.testing.assert_array_equal(unpack(np.array([0x21, 0x0F], np.uint8), 4, (3,)), [1, 2, -1])


def test_bytes_of_a_layer_by_hand():
    w = LeNet().fc1.weight.data  # (120, 256)
    assert stored_bytes(w.size, weight_params(w, bits=4)) == {"integers": 15360, "scales": 480, "zero points": 0}
    assert stored_bytes(w.size, weight_params(w, bits=3, group=64)) == {
        "integers": 11520, "scales": 4 * 120 * 4, "zero points": 0,
    }  # fmt: skip
    assert stored_bytes(3, QuantParams([1.0, 1.0], [0, 5], axis=0))["zero points"] == 2


@pytest.mark.parametrize(("call", "error", "sentence"), [
    (lambda: pack([1], 9), ValueError, r"pack: bits is 9, expected an integer from 1 to 8"),
    (lambda: pack([8], 4), ValueError, r"pack: numbers from 8 to 8 do not fit into 4 bits, -8 to 7"),
    (lambda: pack([-1], 4, signed=False), ValueError, r"pack: numbers from -1 to -1 do not fit into 4 bits, 0 to 15"),
    (lambda: pack([0.5], 4), TypeError, r"pack: q is float64, expected integers; quantize it first"),
    (lambda: unpack(np.zeros(2, np.uint8), 4, (5,)), ValueError, r"5 numbers of 4 bits take 3 bytes, got 2"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
