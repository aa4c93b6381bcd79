"""Numbers and sections of a .mgz file, written and read; the reader trusts nothing and books every byte."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.tensor import Array

from ..quantization.packing import pack, packed_bytes, unpack
from . import huffman

CHUNK = 2**16
"""Integers that are unpacked at a time."""

FLOATS = {16: np.dtype("<f2"), 32: np.dtype("<f4")}
"""Floating-point numbers, by their bits."""


def write_number(value: int) -> bytes:
    """Return a non-negative integer in base 128, lowest digits first; a byte's highest bit says that more follow (LEB128).

    Example:
        >>> [write_number(n).hex() for n in (5, 127, 128, 784)]
        ['05', '7f', '8001', '9006']
    """
    digits = [value & 127]
    while value := value >> 7:
        digits.append(value & 127)
    return bytes([digit | 128 for digit in digits[:-1]] + digits[-1:])


def write_floats(values: Array, bits: int) -> bytes:
    """Return the bits as a byte, and the numbers as float16 or float32.

    Raises:
        ValueError: a number is not finite in that format.
    """
    with np.errstate(over="ignore"):
        stored = np.asarray(values).astype(FLOATS[bits])
    if not np.isfinite(stored).all():
        raise ValueError(f"a number is NaN or infinite, or too large for {bits} bits")
    return bytes([bits]) + stored.tobytes()


def write_stream(symbols: Array, alphabet: int, coded: bool = True) -> bytes:
    """Return symbols in the shorter of two forms: all of one width, or in a Huffman code with its table.

    Args:
        symbols: integers from 0 to alphabet - 1.
        alphabet: at most 257.
        coded: whether the second form may be chosen.
    """
    largest = int(symbols.max(initial=0))
    width = max(1, largest.bit_length())
    fixed = b"" if width > 8 else bytes([width]) + pack(symbols, width, signed=False).tobytes()
    if fixed and not coded:
        return fixed
    lengths = huffman.code_lengths(np.bincount(symbols, minlength=largest + 1))
    table = pack(lengths, 4, signed=False).tobytes()
    payload = huffman.encode(symbols, lengths)
    stream = bytes([0]) + write_number(len(lengths)) + table + write_number(len(payload)) + payload
    return stream if not fixed or len(stream) < len(fixed) else fixed


@dataclass(frozen=True)
class Stream:
    """Symbols that were read.

    Attributes:
        symbols: uint16 or uint8.
        lengths: bits of each symbol's code.
    """

    symbols: Array
    lengths: Array

    @property
    def bits(self) -> int:
        """Bits of all symbols."""
        return int(np.bincount(self.symbols, minlength=self.lengths.size) @ self.lengths.astype(np.int64))


@dataclass
class Reader:
    """Goes through a file's bytes. Whatever does not fit raises ValueError with half a sentence about the file.

    Attributes:
        content: the file.
        section: what is being read: a layer's name, or "" for what belongs to none.
        account: bytes by (section, what they are).
    """

    content: bytes
    at: int = 0
    section: str = ""
    account: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, count: int, part: str) -> bytes:
        """Return the next bytes."""
        if count > len(self.content) - self.at:
            raise ValueError(
                f"{self._where()}{part} should take {count} bytes, and {len(self.content) - self.at} are left"
            )
        self.account[self.section, part] += count
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self, what: str, most: int, least: int = 0) -> int:
        """Return the next number of base 128."""
        value = 0
        for place in range(5):
            digit = self.take(1, "header")[0]
            value |= (digit & 127) << 7 * place
            if digit < 128:
                break
        else:
            raise ValueError(f"{self._where()}{what} has more than five bytes")
        if not least <= value <= most:
            raise ValueError(f"{self._where()}{what} is {value}, expected {least} to {most}")
        return value

    def floats(self, count: int, part: str) -> Array:
        """Return the next floating-point numbers, float32 (count,)."""
        bits = self.take(1, "header")[0]
        if bits not in FLOATS:
            raise ValueError(f"{self._where()}{part} should be floats of {bits} bits; there are those of 16 and of 32")
        values = np.frombuffer(self.take(count * bits // 8, part), FLOATS[bits]).astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"{self._where()}{part}: a number is NaN or infinite")
        return values

    def packed(self, count: int, bits: int, part: str, signed: bool = False) -> Array:
        """Return the next integers of one width."""
        data = np.frombuffer(self.take(packed_bytes(count, bits), part), np.uint8)
        out = np.empty(count, np.int8 if signed else np.uint8)
        for start in range(0, count, CHUNK):  # unpacking takes many times the memory of its result
            some = out[start : start + CHUNK]
            first = start * bits // 8
            some[...] = unpack(data[first : first + packed_bytes(some.size, bits)], bits, some.shape, signed)
        return out

    def stream(self, count: int, alphabet: int, part: str) -> Stream:
        """Return the next symbols, each less than `alphabet`."""
        width = self.number(f"width of {part}", most=8)
        if width:
            symbols, lengths = self.packed(count, width, part), np.full(2**width, width, np.uint8)
        else:
            symbols_listed = self.number(f"length of the Huffman table of {part}", most=alphabet, least=1)
            lengths = self.packed(symbols_listed, 4, "Huffman tables")
            size = self.number(f"length of {part}", most=2**31)
            payload = self.take(size, part)
            try:
                symbols = huffman.decode(payload, lengths, count)
            except ValueError as error:
                raise ValueError(f"{self._where()}{part}: {error}") from None
        if symbols.max(initial=0) >= alphabet:
            raise ValueError(f"{self._where()}{part} have a symbol {symbols.max()}; there are {alphabet}")
        return Stream(symbols, lengths)

    def rename(self, part: str, other: str, count: int) -> None:
        """Book bytes of this section under another name."""
        self.account[self.section, part] -= count
        self.account[self.section, other] += count

    def _where(self) -> str:
        return f"{self.section}: " if self.section else ""


def check_way(name: str, value: Any, choices: Any) -> None:
    """Check that a setting is one of several.

    Raises:
        ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; there are {', '.join(map(str, choices))}")
