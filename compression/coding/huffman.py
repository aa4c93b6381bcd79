"""Canonical Huffman codes for small alphabets: only the lengths of the codes need to be stored."""

from typing import Any

import numpy as np

from minigrad.tensor import Array

from .kernels import huffman_decode

LIMIT = 15
"""The longest code, in bits: a length then fits into half a byte."""


def code_lengths(counts: Any, limit: int = LIMIT) -> Array:
    """Return how long each symbol's code is in the shortest code whose codes have at most `limit` bits.

    The package-merge algorithm: a symbol may be bought at every length, and costs its count each time. From the longest
    length upwards, the cheapest are put into pairs that compete with the symbols of the length above. What has been bought
    in the end, as often as it has been bought, is a code's length.

    Args:
        counts: how often each symbol occurs, integers (n,).
        limit: of a code, in bits.

    Returns:
        uint8 (n,): 0 for a symbol that does not occur; 1 if it is the only one.

    Raises:
        ValueError: there are more symbols than codes of that length, or a count is negative.

    Source:
        Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", 1990.

    Example:
        >>> code_lengths([5, 2, 0, 1, 1])
        array([1, 2, 0, 3, 3], dtype=uint8)
        >>> code_lengths([5, 2, 0, 1, 1], limit=2)
        array([2, 2, 0, 2, 2], dtype=uint8)
    """
    counts = np.asarray(counts)
    used = np.flatnonzero(counts).tolist()
    if counts.size and counts.min() < 0:
        raise ValueError(f"code_lengths: a symbol occurs {counts.min()} times; counts are 0 or more")
    if len(used) > 2**limit:
        raise ValueError(f"code_lengths: {len(used)} symbols need codes of more than {limit} bits")
    lengths = np.zeros(counts.size, np.uint8)
    if len(used) < 2:
        lengths[used] = 1
        return lengths
    coins = sorted((int(counts[symbol]), [symbol]) for symbol in used)
    packages = coins
    for _ in range(limit - 1):
        pairs = [(a + b, x + y) for (a, x), (b, y) in zip(packages[::2], packages[1::2], strict=False)]
        packages = sorted(coins + pairs)
    for _, symbols in packages[: 2 * len(used) - 2]:
        np.add.at(lengths, symbols, 1)
    return lengths


def canonical_codes(lengths: Any) -> Array:
    """Return each symbol's code as a number of so many bits, the first bit being the highest.

    Codes are given in order, the short ones first, and among those of one length by symbol: each is the one before it plus
    1, with zeros behind it where it is longer.

    Args:
        lengths: (n,), of which 0 is a symbol without a code.

    Returns:
        int32 (n,).

    Raises:
        ValueError: no code has these lengths, or a shorter one would do: the sum of 2**-length is not 1. One symbol alone
            has a code of 1 bit.

    Source:
        Deutsch, "DEFLATE compressed data format specification", RFC 1951, section 3.2.2.

    Example:
        >>> [f"{code:0{length}b}" for code, length in zip(canonical_codes([2, 1, 3, 3]), [2, 1, 3, 3])]
        ['10', '0', '110', '111']
    """
    lengths = np.asarray(lengths, np.uint8)
    check_lengths(lengths)
    codes, code, before = np.zeros(lengths.size, np.int32), 0, 0
    for symbol in by_code(lengths).tolist():
        code <<= int(lengths[symbol]) - before
        codes[symbol], before = code, int(lengths[symbol])
        code += 1
    return codes


def encode(symbols: Any, lengths: Any) -> bytes:
    """Write symbols as codes one after the other; bytes are filled from their lowest bit.

    Args:
        symbols: integers (count,).
        lengths: of the codes, see `code_lengths`.

    Returns:
        The bytes; the last one is filled up with zeros.

    Raises:
        ValueError: a symbol has no code, or the lengths are those of no code.

    Example:
        >>> encode([1, 1, 0, 3], [2, 1, 3, 3]).hex()  # 0 0 10 111, from the lowest bit: 01110100
        '74'
    """
    symbols, lengths = np.asarray(symbols, np.intp), np.asarray(lengths, np.uint8)
    if not symbols.size:
        return b""
    codes = canonical_codes(lengths)
    if symbols.min() < 0 or symbols.max() >= lengths.size or not lengths[symbols].all():
        raise ValueError(
            "huffman.encode: there is a symbol that has no code; were the lengths made from other symbols?"
        )
    each = lengths[symbols].astype(np.int32)
    after = np.cumsum(each, dtype=np.int32)  # where each code ends
    bits = np.repeat(codes[symbols], each) >> (np.repeat(after, each) - 1 - np.arange(after[-1], dtype=np.int32)) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def decode(payload: bytes, lengths: Any, count: int) -> Array:
    """Return the symbols that `encode` wrote.

    Args:
        payload: what `encode` returned. It need not be trusted.
        lengths: of the codes.
        count: of the symbols.

    Returns:
        uint16 (count,).

    Raises:
        ValueError: the lengths are those of no code, or the payload is shorter or longer than `count` codes.

    Example:
        >>> decode(bytes.fromhex("74"), [2, 1, 3, 3], count=4).tolist()
        [1, 1, 0, 3]
    """
    lengths = np.asarray(lengths, np.uint8)
    check_lengths(lengths)
    if count > 8 * len(payload):  # before memory is taken
        raise ValueError(f"{count} Huffman codes are said to be in {len(payload)} bytes")
    out, end = np.empty(count, np.uint16), np.zeros(1, np.int64)
    ordered = by_code(lengths).astype(np.uint16)
    data = np.frombuffer(payload, np.uint8)
    huffman_decode(data, np.bincount(lengths[lengths > 0], minlength=LIMIT + 1), ordered, out, end)
    if end[0] < 0 or -(-int(end[0]) // 8) != len(payload):
        raise ValueError(f"{len(payload)} bytes hold {'fewer' if end[0] < 0 else 'more'} than {count} Huffman codes")
    return out


def by_code(lengths: Array) -> Array:
    """Return the symbols in the order of their codes: short ones first, those of one length by number."""
    order = np.argsort(lengths, kind="stable")
    return order[lengths[order] > 0]


def check_lengths(lengths: Array) -> None:
    """Check that there is a complete code with these lengths.

    Raises:
        ValueError: there is none.
    """
    used = lengths[lengths > 0].astype(np.int64)
    if used.size and used.max() > LIMIT:
        raise ValueError(f"a Huffman code is {used.max()} bits long, longer than {LIMIT}")
    if used.size and used.tolist() != [1] and (1 << (LIMIT - used)).sum() != 1 << LIMIT:
        raise ValueError(
            f"no complete Huffman code has the lengths {used[:8].tolist()}{' ...' if used.size > 8 else ''}"
        )
