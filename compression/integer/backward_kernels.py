"""Products of int8 matrices, summed in int32, for gradients: see `int8_backward.py`.

Four int8 lie in a word of 32 bits, and `vnni.dot4` adds the four products of two words to a sum: one instruction does it for a
whole vector of words where the CPU has AVX512-VNNI, a few do elsewhere, with the same bits.

The instruction takes one side's bytes as unsigned. So that side comes with 128 added to each number (uint8), and 128 times the
sum of the other side is taken off the sums. On the way sums may leave int32, and wrap around; what comes out is right as long
as it fits itself: `MOST_TERMS` products do.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, inlined, kernel
from minigrad.kernels.vector import lanes, load, loads, multiples, splat, store, stores

from .vnni import dot4

RAISE = np.int32(-0x7F7F7F80)
"""Four bytes of 128, as a word."""

WIDE = 64
"""Columns, or bytes of a row, that a kernel takes at a time: matrices are filled up with zeros to a multiple."""

MOST_TERMS = 2**17
"""Products of two int8, of magnitude 127 at most, that a sum may have: 2**17 * 127**2 < 2**31."""


@kernel
def round_at_random(x, factor, noise, out):
    """out = x * factor / 2**16, rounded up as often as it is near the integer above.

    The product becomes an integer with 16 bits behind the point; a random one of 16 bits is added; the 16 bits are dropped.

    x: floats (M, P)   factor: of x's type, at most 127 * 2**16 / the largest magnitude of x
    noise: uint16 (M, P), uniform   out: int8 (M, P), overwritten, -127 to 127
    """
    for row in prange(len(x)):
        values, bits, codes = x[row], noise[row], out[row]
        for m in range(values.size):
            code = (np.int32(np.rint(values[m] * factor)) + np.int32(bits[m])) >> 16
            codes[m] = min(max(code, -127), 127)


@kernel
def pack_words(x, words, minus):
    """Put four rows of bytes into a row of words, and sum the columns up.

    x: int8 (4 * K, P)   words: int32 (K, P), overwritten, the first row's byte lowest
    minus: int32 (P,), overwritten: -128 times the sum of x's columns
    """
    columns = x.shape[1]
    for block in prange((columns + WIDE - 1) // WIDE):
        own = slice(block * WIDE, min((block + 1) * WIDE, columns))
        total = minus[own]
        for p in range(total.size):
            total[p] = 0
        for k in range(len(words)):
            x0, x1, x2, x3, row = x[4 * k, own], x[4 * k + 1, own], x[4 * k + 2, own], x[4 * k + 3, own], words[k, own]
            for p in range(total.size):
                a, b, c, d = np.int32(x0[p]), np.int32(x1[p]), np.int32(x2[p]), np.int32(x3[p])
                total[p] -= 128 * (a + b + c + d)
                row[p] = (a & 255) | (b & 255) << 8 | (c & 255) << 16 | d << 24


@inlined
def _dot4(c, x, w):
    """Add the products of a word's bytes with those of four vectors of words."""
    c0, c1, c2, c3 = c
    w0, w1, w2, w3 = w
    x = splat(x)
    return dot4(c0, x, w0), dot4(c1, x, w1), dot4(c2, x, w2), dot4(c3, x, w3)


@kernel
def int8_matmul(a, words, minus, out):
    """out[m, p] = sum over k of a[m, k] * b[k, p], four rows by four vectors at a time.

    a: int32 (M, K), words of four bytes, each 128 too high   words, minus: b as `pack_words` makes it, int32 (K, P) and (P,)
    out: int32 (M, P), overwritten; all C-contiguous, P a multiple of WIDE
    """
    rows, terms, columns = a.shape[0], a.shape[1], words.shape[1]
    flat, b, target, own = a.reshape(-1), words.reshape(-1), out.reshape(-1), multiples(lanes(words), 4)
    for four in prange((rows + 3) // 4):
        # Beyond the last row comes that one again.
        r0, r1, r2, r3 = 4 * four, min(4 * four + 1, rows - 1), min(4 * four + 2, rows - 1), min(4 * four + 3, rows - 1)
        for p in range(0, columns, 4 * lanes(b)):
            c0 = c1 = c2 = c3 = loads(minus, p, own)
            for k in range(terms):
                w = loads(b, k * columns + p, own)
                c0, c1 = _dot4(c0, flat[r0 * terms + k], w), _dot4(c1, flat[r1 * terms + k], w)
                c2, c3 = _dot4(c2, flat[r2 * terms + k], w), _dot4(c3, flat[r3 * terms + k], w)
            stores(target, r0 * columns + p, own, c0)
            stores(target, r1 * columns + p, own, c1)
            stores(target, r2 * columns + p, own, c2)
            stores(target, r3 * columns + p, own, c3)


@helper
def _total(vector, room):
    """Return the sum of a vector's lanes, in int64."""
    store(room, 0, vector)
    total = np.int64(0)
    for lane in range(lanes(room)):
        total += room[lane]
    return total


@kernel
def int8_row_products(a, b, out):
    """out[m, p] = sum over k of a[m, k] * b[p, k]: products of rows with rows, for few and long ones.

    A row's bytes lie as words already, and lane by lane each vector sums its own share of the terms.

    a: int32 (M, K), words of four int8   b: int32 (P, K), likewise, each byte 128 too high; K a multiple of WIDE / 4
    out: int64 (M, P), overwritten; all C-contiguous
    """
    rows, columns, terms = len(a), len(b), a.shape[1]
    x, w, width, raised = a.reshape(-1), b.reshape(-1), lanes(a), splat(RAISE)
    for four in prange((columns + 3) // 4):
        p0, p1 = 4 * four, min(4 * four + 1, columns - 1)
        p2, p3 = min(4 * four + 2, columns - 1), min(4 * four + 3, columns - 1)
        room = np.empty(width, np.int32)
        for m in range(rows):
            c0 = c1 = c2 = c3 = minus = splat(np.int32(0))
            for k in range(0, terms, width):
                v = load(x, m * terms + k)
                minus = dot4(minus, raised, v)
                c0 = dot4(c0, load(w, p0 * terms + k), v)
                c1 = dot4(c1, load(w, p1 * terms + k), v)
                c2 = dot4(c2, load(w, p2 * terms + k), v)
                c3 = dot4(c3, load(w, p3 * terms + k), v)
            off = _total(minus, room)
            out[m, p0], out[m, p1] = _total(c0, room) - off, _total(c1, room) - off
            out[m, p2], out[m, p3] = _total(c2, room) - off, _total(c3, room) - off


@kernel
def add_columns(columns, stride_h, stride_w, dilation_h, dilation_w, out):
    """Give each place the sum of what all taps that met it have: out[c, oh * stride + i * dilation, ...] += columns[c, i, j].

    columns: int32 (C, KH, KW, OH, OW, N)   out: int32 (C, H, W, N), overwritten
    """
    channels, kernel_h, kernel_w, out_h, out_w, images = columns.shape
    for c in prange(channels):
        image = out[c].reshape(-1)
        row = out.shape[2] * images
        for m in range(image.size):
            image[m] = 0
        for i in range(kernel_h):
            for oh in range(out_h):
                for j in range(kernel_w):
                    start = (oh * stride_h + i * dilation_h) * row + j * dilation_w * images
                    source = columns[c, i, j, oh].reshape(-1)
                    if stride_w == 1:
                        target = image[start : start + source.size]
                        for m in range(source.size):
                            target[m] += source[m]
                    else:
                        for ow in range(out_w):
                            part = source[ow * images : (ow + 1) * images]
                            target = image[start + ow * stride_w * images : start + (ow * stride_w + 1) * images]
                            for m in range(images):
                                target[m] += part[m]
