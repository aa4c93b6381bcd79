"""Elias's recursive code: whole numbers from 1 upwards, small ones in few bits, without any table.

1 is 0, 2 is 100, 3 is 110, 4 is 101000: a number in binary, before it its length - 1 in the same code, a 0 at the end. A
number x takes about log2 x + log2 log2 x + ... bits.
"""

from typing import Any

import numpy as np

from minigrad.tensor import Array

from .kernels import elias_decode, elias_encode

LARGEST = 2**32 - 1


def encode(numbers: Any) -> bytes:
    """Write numbers one after the other; bytes are filled from their lowest bit.

    Args:
        numbers: integers (n,), 1 to 2**32 - 1.

    Returns:
        The bytes; the last one is filled up with zeros.

    Raises:
        ValueError: a number is out of range.

    Source:
        Elias, "Universal codeword sets and representations of the integers", 1975: the omega code.

    Example:
        >>> encode([1, 2, 1, 3]).hex()  # 0 100 0 110, from the lowest bit: 01100010
        '62'
    """
    numbers = np.asarray(numbers, np.int64)
    if numbers.size and not 1 <= numbers.min() <= numbers.max() <= LARGEST:
        raise ValueError(f"elias.encode: numbers from {numbers.min()} to {numbers.max()}, expected 1 to {LARGEST}")
    end = np.zeros(1, np.int64)
    out = np.zeros(numbers.size * code_length(int(numbers.max(initial=1))) // 8 + 1, np.uint8)
    elias_encode(numbers, out, end)
    return out[: -(-int(end[0]) // 8)].tobytes()


def decode(payload: bytes, count: int) -> tuple[Array, int]:
    """Read numbers that `encode` wrote; more may follow them.

    Args:
        payload: need not be trusted.
        count: of the numbers.

    Returns:
        int64 (count,), and the number of bytes that they take.

    Raises:
        ValueError: the payload ends too soon, or a number is above 2**32 - 1.

    Example:
        >>> decode(b"\\x62more", count=4)
        (array([1, 2, 1, 3]), 1)
    """
    if count > 8 * len(payload):  # before memory is taken
        raise ValueError(f"{count} Elias codes are said to be in {len(payload)} bytes")
    out, end = np.empty(count, np.int64), np.zeros(1, np.int64)
    elias_decode(np.frombuffer(payload, np.uint8), out, end)
    if end[0] < 0:
        raise ValueError(f"{len(payload)} bytes hold fewer than {count} Elias codes of numbers up to {LARGEST}")
    return out, -(-int(end[0]) // 8)


def code_length(number: int) -> int:
    """Return how many bits a number's code has; larger numbers have no fewer.

    Example:
        >>> [code_length(number) for number in (1, 2, 3, 4, 16, 1000)]
        [1, 3, 3, 6, 11, 17]
    """
    number, length = int(number), 1
    while number > 1:
        length += number.bit_length()
        number = number.bit_length() - 1
    return length


def encode_entries(count: int, numbers: Array) -> bytes:
    """Write how many entries there are, and then their numbers."""
    return encode(np.concatenate([[count + 1], numbers]))


def decode_entries(payload: bytes, size: int, each: int) -> tuple[Array, int]:
    """Read how many entries there are, at most `size`, and then `each` numbers for each.

    Returns:
        As `decode`.

    Raises:
        ValueError: as `decode`; there are too many entries.
    """
    count = int(decode(payload, 1)[0][0]) - 1
    if count > size:
        raise ValueError(f"a message says that it has {count} entries, for {size} numbers; was it damaged on its way?")
    numbers, used = decode(payload, 1 + each * count)
    return numbers[1:], used


def gaps(places: Array) -> Array:
    """Return how far each place is from the one before, the first from -1.

    Example:
        >>> gaps(np.array([0, 1, 5])).tolist()
        [1, 1, 4]
    """
    return np.diff(places, prepend=-1)


def places(gaps: Array, size: int) -> Array:
    """Return the places that `gaps` was given.

    Raises:
        ValueError: the last one is not below `size`.
    """
    places = np.cumsum(gaps) - 1
    if places.size and places[-1] >= size:
        raise ValueError(f"a message has a number at place {places[-1]} of {size}; was it damaged on its way?")
    return places
