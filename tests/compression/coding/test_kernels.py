"""The decoder's twins agree, and read what a decoder that walks a tree reads."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.compression.coding import huffman


def by_dictionary(payload, lengths, count):
    """Read bit by bit until what has been read is a code."""
    codes = {
        f"{code:0{n}b}": symbol
        for symbol, (code, n) in enumerate(zip(huffman.canonical_codes(lengths), lengths, strict=True))
        if n
    }
    found, so_far = [], ""
    for bit in "".join(f"{byte:08b}"[::-1] for byte in payload):
        if len(found) == count:
            break
        so_far += bit
        if so_far in codes:
            found.append(codes[so_far])
            so_far = ""
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=12), st.lists(st.integers(0, 30), min_size=2, max_size=20), st.integers(0, 60))
def test_twins_agree_on_any_bytes(payload, counts, size):
    lengths = huffman.code_lengths(counts)
    kernel, data = kernels.TABLE["huffman_decode"], np.frombuffer(payload, np.uint8)
    codes = np.bincount(lengths[lengths > 0], minlength=huffman.LIMIT + 1)
    ordered, results = huffman.by_code(lengths).astype(np.uint16), []
    for run in (kernel.compiled, kernel.python):
        out, end = np.zeros(size, np.uint16), np.full(1, -7)
        run(data, codes, ordered, out, end)
        results.append((out.tolist(), int(end[0])))
    assert results[0] == results[1]
    expected = by_dictionary(payload, lengths, size)
    if results[0][1] >= 0:
        assert results[0][0] == expected
        assert results[0][1] == sum(int(lengths[symbol]) for symbol in expected)
    else:
        assert len(expected) < size
