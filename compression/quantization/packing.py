"""Integers of 1 to 8 bits, packed without gaps: what weights of few bits take on disk."""

from typing import Any

import numpy as np

from minigrad.tensor import Array

from .formats import QuantParams, check_bits


def pack(q: Any, bits: int, signed: bool = True) -> Array:
    """Pack integers into bytes, the first into the lowest bits: of 4 bits, two go into a byte.

    Args:
        q: integers, any shape; taken row by row.
        bits: of each, 1 to 8.
        signed: two's complement, from -2**(bits - 1) to 2**(bits - 1) - 1; otherwise from 0 to 2**bits - 1.

    Returns:
        uint8 (ceil(q.size * bits / 8),); the last byte is filled up with zeros.

    Raises:
        ValueError: bits out of range, or a number that does not fit.
        TypeError: q holds no integers.

    Example:
        >>> [f"{byte:08b}" for byte in pack([1, -1, 7], bits=4)]
        ['11110001', '00000111']
    """
    check_bits("pack", bits)
    q = np.asarray(q)
    if q.dtype.kind not in "iu" and q.size:
        raise TypeError(f"pack: q is {q.dtype}, expected integers; quantize it first")
    low, high = _limits(bits, signed)
    if q.size and (q.min() < low or q.max() > high):
        raise ValueError(f"pack: numbers from {q.min()} to {q.max()} do not fit into {bits} bits, {low} to {high}")
    codes = q.reshape(-1).astype(np.int64)
    fields = codes[:, None] >> np.arange(bits) & 1  # (n, bits), lowest bit first
    return np.packbits(fields.astype(np.uint8), bitorder="little")


def unpack(packed: Array, bits: int, shape: tuple[int, ...], signed: bool = True) -> Array:
    """Return the integers that `pack` packed.

    Args:
        packed: uint8.
        bits, signed: as they were packed.
        shape: of the integers.

    Returns:
        int8 of that shape; uint8 if not signed.

    Raises:
        ValueError: the shape takes another number of bytes.

    Example:
        >>> unpack(pack([[1, -1], [7, -8]], bits=4), bits=4, shape=(2, 2))
        array([[ 1, -1],
               [ 7, -8]], dtype=int8)
    """
    check_bits("unpack", bits)
    count = int(np.prod(shape, dtype=np.int64))
    if packed.shape != (packed_bytes(count, bits),):
        raise ValueError(
            f"unpack: {count} numbers of {bits} bits take {packed_bytes(count, bits)} bytes, got {packed.size} "
            f"(packed: {packed.shape}, shape: {shape})"
        )
    fields = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    codes = fields.astype(np.int64) @ (1 << np.arange(bits))  # (n, bits) @ (bits,) -> (n,)
    if signed:
        codes -= (codes >> (bits - 1)) << bits  # the highest bit counts -2**(bits - 1)
    return codes.astype(np.int8 if signed else np.uint8).reshape(shape)


def packed_bytes(count: int, bits: int) -> int:
    """Return how many bytes `count` integers take.

    Example:
        >>> packed_bytes(44190, bits=4)
        22095
    """
    return -(-count * bits // 8)


def stored_bytes(count: int, params: QuantParams) -> dict[str, int]:
    """Return what a quantized tensor of `count` elements takes, part by part: bytes of integers, scales, zero points.

    Zero points that are all 0, as weights have, are not stored; others take a byte each.

    Example:
        >>> from .formats import weight_params
        >>> stored_bytes(12, weight_params(np.ones((3, 4)), bits=4))
        {'integers': 6, 'scales': 12, 'zero points': 0}
    """
    zero_points = params.zero_point.size if params.zero_point.any() else 0
    return {
        "integers": packed_bytes(count, params.bits),
        "scales": 4 * params.scale.size,
        "zero points": zero_points,
    }


def _limits(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
