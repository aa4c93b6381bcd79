"""The same inference with four activations in each int32, for CPUs with AVX512-VNNI: see `vnni.py`.

A task takes 32 images through all layers. Activations are words of four bytes, each byte an activation plus 128, and the
words of the 32 images lie side by side: word[p, h, w, n] at ((p * H + h) * W + w) * 32 + n, where plane p holds channels 4p
to 4p + 3. A layer's results are made in tiles of four output channels by 32 images, which stay in eight vector registers
while all products are added: and four channels are just a plane of the next layer's input.

The last plane may hold only one or two channels. It is then spread: the free bytes take the same channels of the columns
further right, so that one instruction does four, or two, neighbouring taps of a filter's row.

`columns.py` says what the columns of a program are (CHANNELS counts planes here). `packing.py` makes the tables.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, inlined, kernel
from minigrad.kernels.vector import load, splat, store

from . import columns as col
from .vectors import empty
from .vnni import (
    LANES,
    clamp,
    dot4,
    join,
    larger,
    load_word,
    low_bits,
    scale,
    shift_left,
    shift_right,
    shift_right_rounded,
)

IMAGES = 2 * LANES
"""Images of a task."""

LOWEST = -(2**31)


@kernel
def run_packed(images, program, places, weights, bias, multiplier, shift, profile, room, stride, raw, out):
    """Take images through all steps of a packed program.

    images: uint8 (N, pixels)   program: int64 (steps, PACKED_COLUMNS)
    places: int64, of each step the distance of its words from a window's corner, and of the corners of windows that are
    pooled from the first one's
    weights: uint8, flat; of each step, tile and word, four bytes for each of the tile's four channels
    bias, multiplier, shift: int32, four for each tile   profile: 0 or 1, number in PROFILES
    room: words an image needs at most between two steps
    stride: pixels from a word to the next, if words are neighbouring pixels; 0: their bytes are channels
    raw: whether to return the last step's sums instead   out: int32 (N, features), overwritten
    """
    for block in prange((len(images) + IMAGES - 1) // IMAGES):
        first = block * IMAGES
        count = min(IMAGES, len(images) - first)
        x, y = empty(room * IMAGES, np.int32), empty(room * IMAGES, np.int32)
        if stride:
            lay_out_words(images, first, count, stride, x)
        else:
            lay_out(images, first, count, program[0], x)
        for step in range(len(program)):
            row = program[step]
            if row[col.KIND] == col.PAD:
                pad(row, x, y)
            else:
                if row[col.SPREAD]:
                    spread(row, x)
                last = step == len(program) - 1
                for ph in range(row[col.POOLED_H]):
                    for tile in range((row[col.OUT_CHANNELS] + 3) // 4):
                        for pw in range(row[col.POOLED_W]):
                            sums = largest_sums(row, x, places, weights, bias, tile, ph, pw)
                            if not (last and raw):
                                sums = requantize(row, sums, multiplier, shift, profile, tile, 0 if last else 128)
                            put(row, sums, tile, ph, pw, last, y)
            x, y = y, x
        for i in range(out.shape[1]):
            for n in range(count):
                out[first + n, i] = x[i * IMAGES + n]


@helper
def lay_out_words(images, first, count, stride, x):
    """Make words of neighbouring pixels. Their bytes at the end of a row are the next row's, which no weight makes use of.

    Only each fourth pixel's word is read. Those between are put together from two of these, all images at once.
    A pixel p is q = p - 128, kept as q + 128.
    """
    pixels = images.shape[1]
    flat = images.reshape(-1)
    for p in range(0, pixels, 4):
        target = x[p // stride * IMAGES : p // stride * IMAGES + count]
        start = first * pixels + p
        if start + (count - 1) * pixels + 4 <= flat.size:
            for n in range(count):
                target[n] = load_word(flat, start + n * pixels)
        else:  # the very last pixels: nothing lies behind them
            for n in range(count):
                at = start + n * pixels
                missing = max(at + 4 - flat.size, 0)
                target[n] = np.int32((np.int64(load_word(flat, at - missing)) & 0xFFFFFFFF) >> 8 * missing)
    for p in range(pixels if stride == 1 else 0):
        behind = p % 4
        if behind:
            low, high = _load2(x, (p - behind) * IMAGES), _load2(x, (p + 4 - behind) * IMAGES)
            _store2(x, p * IMAGES, _join2(_shift_right2(low, 8 * behind), high, 32 - 8 * behind))


@helper
def lay_out(images, first, count, row, x):
    """Put the bytes of channels together, pixel by pixel; in the last plane some bytes may stay what they were."""
    places = row[col.HEIGHT] * row[col.WIDTH]
    octets = x.view(np.uint8)
    for p in range(images.shape[1]):
        channel, place = p // places, p % places
        at = (channel // 4 * places + place) * IMAGES * 4 + channel % 4
        for n in range(count):
            octets[at + 4 * n] = images[first + n, p]


@helper
def pad(row, x, y):
    """Copy x into the middle of a larger image; all four bytes of a word in the border are the pad value."""
    border = splat(np.int32((row[col.PAD_VALUE] + 128) * 0x01010101 - ((row[col.PAD_VALUE] + 128) // 128 << 32)))
    for at in range(0, row[col.CHANNELS] * row[col.OUT_HEIGHT] * row[col.OUT_WIDTH] * IMAGES, LANES):
        store(y, at, border)
    length = row[col.WIDTH] * IMAGES
    for line in range(row[col.CHANNELS] * row[col.HEIGHT]):
        plane, h = line // row[col.HEIGHT], line % row[col.HEIGHT]
        to = ((plane * row[col.OUT_HEIGHT] + h + row[col.PAD_H]) * row[col.OUT_WIDTH] + row[col.PAD_W]) * IMAGES
        for m in range(0, length, LANES):
            store(y, to + m, load(x, line * length + m))


@helper
def spread(row, x):
    """Fill the free bytes of the last plane with the same channels of columns to the right; at the edge with any."""
    used, width = 8 * row[col.SPREAD], row[col.WIDTH]
    for h in range(row[col.HEIGHT]):
        start = ((row[col.CHANNELS] - 1) * row[col.HEIGHT] + h) * width
        for w in range(width):
            for half in range(0, IMAGES, LANES):
                word = low_bits(load(x, (start + w) * IMAGES + half), used)
                for k in range(1, 4 // row[col.SPREAD]):
                    column = min(w + k * row[col.APART], width - 1)
                    other = low_bits(load(x, (start + column) * IMAGES + half), used)
                    word = join(word, other, k * used)
                store(x, (start + w) * IMAGES + half, word)


@inlined
def largest_sums(row, x, places, weights, bias, tile, ph, pw):
    """Return the sums of four channels for 32 images, the largest of a pooling window: a pair of vectors for each channel."""
    down, right = row[col.POOL_STRIDE_H] * row[col.STRIDE_H], row[col.POOL_STRIDE_W] * row[col.STRIDE_W]
    at = (ph * down * row[col.WIDTH] + pw * right) * IMAGES
    corner, area = row[col.FIRST_CORNER], row[col.POOL_H] * row[col.POOL_W]
    a = b = c = d = _splat2(np.int32(LOWEST))
    if area % 2:
        a, b, c, d = one_window(row, x, places, weights, bias, tile, at)
    for k in range(area % 2, area, 2):
        first, second = at + places[corner + k], at + places[corner + k + 1]
        e, f, g, h = two_windows(row, x, places, weights, bias, tile, first, second)
        a, b, c, d = _larger2(a, e), _larger2(b, f), _larger2(c, g), _larger2(d, h)
    return a, b, c, d


@inlined
def one_window(row, x, places, weights, bias, tile, at):
    """Return the sums of four channels in one window; where only one or two are left, those of the others stay 0."""
    i, more = row[col.FIRST_CHANNEL] + 4 * tile, row[col.OUT_CHANNELS] - 4 * tile > 2
    a, b, c, d = _splat2(bias[i]), _splat2(bias[i + 1]), _splat2(bias[i + 2]), _splat2(bias[i + 3])
    t = row[col.FIRST_ROW] + tile * row[col.TERMS] * 16
    for place in range(row[col.FIRST_PLACE], row[col.FIRST_PLACE] + row[col.TERMS]):
        v = _load2(x, at + places[place])
        a, b = _add2(a, v, load_word(weights, t)), _add2(b, v, load_word(weights, t + 4))
        if more:
            c, d = _add2(c, v, load_word(weights, t + 8)), _add2(d, v, load_word(weights, t + 12))
        t += 16
    return a, b, c, d


@inlined
def two_windows(row, x, places, weights, bias, tile, first, second):
    """Return the larger sums of two windows: a weight is loaded once for both, and more additions need not wait for others."""
    i, more = row[col.FIRST_CHANNEL] + 4 * tile, row[col.OUT_CHANNELS] - 4 * tile > 2
    a, b, c, d = _splat2(bias[i]), _splat2(bias[i + 1]), _splat2(bias[i + 2]), _splat2(bias[i + 3])
    e, f, g, h = a, b, c, d
    t = row[col.FIRST_ROW] + tile * row[col.TERMS] * 16
    for place in range(row[col.FIRST_PLACE], row[col.FIRST_PLACE] + row[col.TERMS]):
        u, v = _load2(x, first + places[place]), _load2(x, second + places[place])
        w = load_word(weights, t)
        a, e = _add2(a, u, w), _add2(e, v, w)
        w = load_word(weights, t + 4)
        b, f = _add2(b, u, w), _add2(f, v, w)
        if more:
            w = load_word(weights, t + 8)
            c, g = _add2(c, u, w), _add2(g, v, w)
            w = load_word(weights, t + 12)
            d, h = _add2(d, u, w), _add2(h, v, w)
        t += 16
    return _larger2(a, e), _larger2(b, f), _larger2(c, g), _larger2(d, h)


@inlined
def requantize(row, sums, multiplier, shift, profile, tile, offset):
    """Return sums * M + zero point + offset, clamped: `arithmetic.requantize`, for vectors."""
    a, b, c, d = sums
    i = row[col.FIRST_CHANNEL] + 4 * tile
    limits = (row[col.ZERO] + offset, row[col.CLAMP_LOW] + offset, row[col.CLAMP_HIGH] + offset)
    m0, m1, m2, m3 = multiplier[i], multiplier[i + 1], multiplier[i + 2], multiplier[i + 3]
    s0, s1, s2, s3 = shift[i], shift[i + 1], shift[i + 2], shift[i + 3]
    a, b = _rounded2(a, m0, s0, profile, limits), _rounded2(b, m1, s1, profile, limits)
    if row[col.OUT_CHANNELS] - 4 * tile > 2:
        c, d = _rounded2(c, m2, s2, profile, limits), _rounded2(d, m3, s3, profile, limits)
    return a, b, c, d


@inlined
def rounded(c, multiplier, shift, profile, limits):
    """Return c * M, rounded as the profile does, with the zero point added, and clamped."""
    zero, low, high = limits
    if profile == 0:
        x = scale(shift_left(c, max(shift, 0)), multiplier, 31)
        x = shift_right_rounded(x, max(-shift, 0))
    else:
        x = scale(c, multiplier, 31 - shift)
    return clamp(x, zero, low, high)


@inlined
def put(row, sums, tile, ph, pw, last, y):
    """Store four channels as a word; those of the last step each by itself."""
    a, b, c, d = sums
    area, at = row[col.POOLED_H] * row[col.POOLED_W], ph * row[col.POOLED_W] + pw
    if last:
        step, to = area * IMAGES, (4 * tile * area + at) * IMAGES
        _store2(y, to, a)
        _store2(y, to + step, b)
        _store2(y, to + 2 * step, c)
        _store2(y, to + 3 * step, d)
    else:
        _store2(y, (tile * area + at) * IMAGES, _join2(_join2(a, b, 8), _join2(c, d, 8), 16))


# What follows does for a pair of vectors, 32 images, what a vector function does for one.


@helper
def _load2(x, at):
    return load(x, at), load(x, at + LANES)


@helper
def _store2(x, at, c):
    store(x, at, c[0])
    store(x, at + LANES, c[1])


@helper
def _splat2(value):
    return splat(value), splat(value)


@helper
def _add2(c, x, word):
    w = splat(word)
    return dot4(c[0], x[0], w), dot4(c[1], x[1], w)


@helper
def _larger2(x, y):
    return larger(x[0], y[0]), larger(x[1], y[1])


@helper
def _join2(x, y, bits):
    return join(x[0], y[0], bits), join(x[1], y[1], bits)


@helper
def _shift_right2(x, bits):
    return shift_right(x[0], bits), shift_right(x[1], bits)


@helper
def _rounded2(c, multiplier, shift, profile, limits):
    return rounded(c[0], multiplier, shift, profile, limits), rounded(c[1], multiplier, shift, profile, limits)
