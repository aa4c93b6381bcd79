"""Writing and reading Elias's recursive code, bit by bit."""

from numba import prange

from minigrad.kernels._kernel import kernel


@kernel
def elias_encode(numbers, out, end):
    """Write each number's code; end[0] becomes the number of bits written.

    A code is made from its end: a 0, before it the number in binary, before that its length - 1 in binary, until that is 1.

    numbers: int64 (n,), 1 to 2**32 - 1   out: uint8, zeros, large enough
    """
    for _ in prange(1):  # where a code begins is known only when the one before it is written: one thread
        at = 0
        for place in range(numbers.size):
            number, code, length = int(numbers[place]), 0, 1
            while number > 1:
                bits = 1
                while number >> bits:
                    bits += 1
                code |= number << length
                length += bits
                number = bits - 1
            for bit in range(length - 1, -1, -1):
                out[at >> 3] |= (code >> bit & 1) << (at & 7)
                at += 1
        end[0] = at


@kernel
def elias_decode(payload, out, end):
    """Read out.size numbers; end[0] becomes the number of bits read, or -1.

    A number begins as 1. A 1 that follows is the first bit of a longer number, of as many more bits as the number so far; a
    0 ends it. -1: the payload ends too soon, or a number has more than 32 bits.

    payload: uint8   out: int64 (n,)
    """
    for _ in prange(1):
        at, last = 0, payload.size * 8
        for place in range(out.size):
            number, bit = 1, 1
            while at < last:
                bit = int(payload[at >> 3]) >> (at & 7) & 1
                at += 1
                if bit == 0 or number > 31 or at + number > last:
                    break
                more, number = number, 1
                for _bit in range(more):
                    number = 2 * number + (int(payload[at >> 3]) >> (at & 7) & 1)
                    at += 1
            if bit == 1:
                at = -1
                break
            out[place] = number
        end[0] = at
