"""Huffman codes: shortest, prefix-free, and back again."""

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.coding import huffman
from tests.sentences import raises

COUNTS = st.lists(st.integers(0, 1_000) | st.sampled_from([0, 1, 10**6]), min_size=1, max_size=40)
SYMBOLS = st.lists(st.integers(0, 12), min_size=1, max_size=200)


def bits_by_merging(counts):
    """Bits of all symbols in a Huffman code: the sum of what is merged, the two rarest first."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def bits(counts, lengths):
    return sum(int(c) * int(n) for c, n in zip(counts, lengths, strict=True))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(COUNTS)
def test_codes_are_as_short_as_the_textbooks_where_the_limit_does_not_bind(counts):
    lengths = huffman.code_lengths(counts, limit=40)
    used = np.flatnonzero(counts)
    assert set(np.flatnonzero(lengths)) == set(used)
    if used.size > 1:
        assert bits(counts, lengths) == bits_by_merging(counts)
        p = np.array(counts)[used] / np.sum(counts)
        entropy = -(p * np.log2(p)).sum()
        assert entropy - 1e-9 <= bits(counts, lengths) / np.sum(counts) < entropy + 1
    elif used.size:
        assert lengths[used[0]] == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=6), st.integers(3, 4))
def test_with_a_limit_no_other_code_within_it_is_shorter(counts, limit):
    lengths = huffman.code_lengths(counts, limit)
    assert lengths.max() <= limit
    possible = (
        some for some in itertools.product(range(1, limit + 1), repeat=len(counts)) if sum(2.0**-n for n in some) <= 1
    )
    assert bits(counts, lengths) == min(bits(counts, some) for some in possible)


def test_fibonacci_counts_would_need_longer_codes_than_the_limit():
    counts = [1, 1]
    while len(counts) < 30:
        counts.append(counts[-1] + counts[-2])
    assert huffman.code_lengths(counts, limit=40).max() == 29
    limited = huffman.code_lengths(counts)
    assert limited.max() == huffman.LIMIT == 15
    assert sum(2.0 ** -limited.astype(float)) == 1.0


@settings(max_examples=100, deadline=None, derandomize=True)
@given(COUNTS)
def test_codes_are_complete_and_none_begins_another(counts):
    lengths = huffman.code_lengths(counts).tolist()
    codes = [
        f"{code:0{length}b}" for code, length in zip(huffman.canonical_codes(lengths), lengths, strict=True) if length
    ]
    assert all(len(code) <= huffman.LIMIT for code in codes)
    if len(codes) > 1:
        assert sum(2.0 ** -len(code) for code in codes) == 1
    assert not [(a, b) for a, b in itertools.permutations(codes, 2) if b.startswith(a)]
    used = [(length, symbol) for symbol, length in enumerate(lengths) if length]
    in_order = [int(huffman.canonical_codes(lengths)[symbol]) << (15 - length) for length, symbol in sorted(used)]
    assert in_order == sorted(in_order)  # canonical: short ones first, then by symbol


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SYMBOLS)
def test_symbols_come_back_and_take_as_many_bytes_as_the_lengths_say(symbols):
    counts = np.bincount(symbols)
    lengths = huffman.code_lengths(counts)
    payload = huffman.encode(symbols, lengths)
    assert len(payload) == -(-bits(counts, lengths) // 8)
    assert huffman.decode(payload, lengths, len(symbols)).tolist() == symbols


def test_no_symbols_take_no_bytes():
    assert huffman.encode([], [0, 0]) == b""
    assert huffman.decode(b"", [0, 1], 0).size == 0


def test_a_code_from_rfc_1951():
    """The example of its section 3.2.2: symbols A to H."""
    codes = huffman.canonical_codes([3, 3, 3, 3, 3, 2, 4, 4])
    assert codes.tolist() == [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]


@pytest.mark.parametrize("lengths", [[1, 1, 1], [2, 2, 2], [1, 2], [2], [0, 3, 3]])
def test_lengths_of_no_complete_code_are_refused(lengths):
    with pytest.raises(ValueError, match=r"^no complete Huffman code has the lengths \["):
        huffman.decode(b"\0\0", lengths, 1)


def test_errors_are_sentences():
    with raises(ValueError, "a Huffman code is 16 bits long, longer than 15"):
        huffman.canonical_codes([16])
    with raises(ValueError, "code_lengths: 5 symbols need codes of more than 2 bits"):
        huffman.code_lengths([1] * 5, limit=2)
    with raises(ValueError, "code_lengths: a symbol occurs -1 times; counts are 0 or more"):
        huffman.code_lengths([1, -1])
    with raises(
        ValueError, "huffman.encode: there is a symbol that has no code; were the lengths made from other symbols?"
    ):
        huffman.encode([2], [1, 1, 0])
    with raises(ValueError, "1000000000 Huffman codes are said to be in 1 bytes"):
        huffman.decode(b"\0", [1, 1], 10**9)
    with raises(ValueError, "1 bytes hold fewer than 4 Huffman codes"):
        huffman.decode(b"\xff", [2, 1, 3, 3], 4)
    with raises(ValueError, "2 bytes hold more than 3 Huffman codes"):
        huffman.decode(b"\0\0", [1, 1], 3)
    with raises(ValueError, "1 bytes hold fewer than 1 Huffman codes"):  # a code of one symbol: only 0 is one
        huffman.decode(b"\1", [1], 1)
