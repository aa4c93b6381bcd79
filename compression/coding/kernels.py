"""Decoding Huffman codes, bit by bit."""

from numba import prange

from minigrad.kernels._kernel import kernel


@kernel
def huffman_decode(payload, counts, ordered, out, end):
    """Read out.size symbols of a canonical Huffman code; end[0] becomes the number of bits read, or -1.

    Codes of one length are consecutive numbers, and begin where the codes that are one bit shorter left off, times two.
    So a code is complete as soon as it is less than what `counts` codes of its length reach. -1: the payload ends too soon,
    or its bits are no code.

    payload: uint8   counts: (limit + 1,), codes of each length   ordered: the symbols, sorted by their codes
    """
    for _ in prange(1):  # where a code begins is known only when the one before it has been read: one thread
        at, last = 0, payload.size * 8
        for place in range(out.size):
            code = first = index = 0
            found = False
            for length in range(1, counts.size):
                if at >= last:
                    break
                code = 2 * code + (int(payload[at >> 3]) >> (at & 7) & 1)
                at += 1
                count = int(counts[length])
                if code - first < count:
                    out[place] = ordered[index + code - first]
                    found = True
                    break
                index, first = index + count, 2 * (first + count)
            if not found:
                at = -1
                break
        end[0] = at
