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
from .vnni import LANES, clamp, dot4, join, larger, load_word, low_bits, scale, shift_left, shift_right_rounded

IMAGES = 2 * LANES
"""Images of a task."""

LOWEST = -(2**31)


@kernel
def run_packed(images, program, places, weights, bias, multiplier, shift, profile, room, stride, raw, out):
    """Take images through all steps of a packed program.

    images: uint8 (N, pixels)   program: int64 (steps, PACKED_COLUMNS)
    places: int64, of each step the distance of its words from a window's corner
    weights: int32, flat; of each step, tile and word, four bytes for each of the tile's four channels
    bias, multiplier, shift: int32, four for each tile   profile: 0 or 1, number in PROFILES
    room: words an image needs at most between two steps
    stride: pixels from a word to the next, if words are neighbouring pixels; 0: their bytes are channels
    raw: whether to return the last step's sums instead   out: int32 (N, features), overwritten
    """
    for block in prange((len(images) + IMAGES - 1) // IMAGES):
        first = block * IMAGES
        count = min(IMAGES, len(images) - first)
        x, y = np.empty(room * IMAGES, np.int32), np.empty(room * IMAGES, np.int32)
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
                            c = window(row, x, places, weights, bias, tile, ph, pw)
                            if not (last and raw):
                                c = requantize(row, c, multiplier, shift, profile, tile, 0 if last else 128)
                            put(row, c, tile, ph, pw, last, y)
            x, y = y, x
        for i in range(out.shape[1]):
            for n in range(count):
                out[first + n, i] = x[i * IMAGES + n]


@helper
def lay_out_words(images, first, count, stride, x):
    """Make words of neighbouring pixels. Their bytes at the end of a row are the next row's, which no weight makes use of.

    A pixel p is q = p - 128, kept as q + 128.
    """
    pixels = images.shape[1]
    flat = images.reshape(-1)
    for word in range((pixels + stride - 1) // stride):
        target = x[word * IMAGES : word * IMAGES + count]
        start = first * pixels + word * stride
        if start + (count - 1) * pixels + 4 <= flat.size:
            for n in range(count):
                target[n] = load_word(flat, start + n * pixels)
        else:  # the very last pixels: nothing lies behind them
            for n in range(count):
                at = start + n * pixels
                behind = max(at + 4 - flat.size, 0)
                target[n] = np.int32((np.int64(load_word(flat, at - behind)) & 0xFFFFFFFF) >> 8 * behind)


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
def window(row, x, places, weights, bias, tile, ph, pw):
    """Return the sums of four channels for 32 images, the largest of a pooling window: two vectors for each channel."""
    b = row[col.FIRST_CHANNEL] + 4 * tile
    channels = row[col.OUT_CHANNELS] - 4 * tile
    lowest = splat(np.int32(LOWEST))
    best = (lowest, lowest, lowest, lowest, lowest, lowest, lowest, lowest)
    for k in range(row[col.POOL_H] * row[col.POOL_W]):
        oh = ph * row[col.POOL_STRIDE_H] + k // row[col.POOL_W]
        ow = pw * row[col.POOL_STRIDE_W] + k % row[col.POOL_W]
        at = (oh * row[col.STRIDE_H] * row[col.WIDTH] + ow * row[col.STRIDE_W]) * IMAGES
        a0 = a1 = splat(bias[b])
        b0 = b1 = splat(bias[b + 1])
        c0 = c1 = splat(bias[b + 2])
        d0 = d1 = splat(bias[b + 3])
        t = row[col.FIRST_ROW] + tile * row[col.TERMS] * 4
        for place in range(row[col.FIRST_PLACE], row[col.FIRST_PLACE] + row[col.TERMS]):
            p = at + places[place]
            x0, x1 = load(x, p), load(x, p + LANES)
            w = splat(weights[t])
            a0, a1 = dot4(a0, x0, w), dot4(a1, x1, w)
            w = splat(weights[t + 1])
            b0, b1 = dot4(b0, x0, w), dot4(b1, x1, w)
            if channels > 2:
                w = splat(weights[t + 2])
                c0, c1 = dot4(c0, x0, w), dot4(c1, x1, w)
                w = splat(weights[t + 3])
                d0, d1 = dot4(d0, x0, w), dot4(d1, x1, w)
            t += 4
        e0, e1, f0, f1, g0, g1, h0, h1 = best
        best = (
            larger(a0, e0), larger(a1, e1), larger(b0, f0), larger(b1, f1),
            larger(c0, g0), larger(c1, g1), larger(d0, h0), larger(d1, h1),
        )  # fmt: skip
    return best


@inlined
def requantize(row, c, multiplier, shift, profile, tile, offset):
    """Return c * M + zero point + offset, clamped: `arithmetic.requantize`, for vectors."""
    a0, a1, b0, b1, c0, c1, d0, d1 = c
    i = row[col.FIRST_CHANNEL] + 4 * tile
    limits = (row[col.ZERO] + offset, row[col.CLAMP_LOW] + offset, row[col.CLAMP_HIGH] + offset)
    return (
        rounded(a0, multiplier[i], shift[i], profile, limits),
        rounded(a1, multiplier[i], shift[i], profile, limits),
        rounded(b0, multiplier[i + 1], shift[i + 1], profile, limits),
        rounded(b1, multiplier[i + 1], shift[i + 1], profile, limits),
        rounded(c0, multiplier[i + 2], shift[i + 2], profile, limits),
        rounded(c1, multiplier[i + 2], shift[i + 2], profile, limits),
        rounded(d0, multiplier[i + 3], shift[i + 3], profile, limits),
        rounded(d1, multiplier[i + 3], shift[i + 3], profile, limits),
    )


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
def put(row, c, tile, ph, pw, last, y):
    """Store four channels as a word; those of the last step each by itself."""
    a0, a1, b0, b1, c0, c1, d0, d1 = c
    area, at = row[col.POOLED_H] * row[col.POOLED_W], ph * row[col.POOLED_W] + pw
    if not last:
        to = (tile * area + at) * IMAGES
        store(y, to, join(join(a0, b0, 8), join(c0, d0, 8), 16))
        store(y, to + LANES, join(join(a1, b1, 8), join(c1, d1, 8), 16))
        return
    step, to = area * IMAGES, (4 * tile * area + at) * IMAGES
    store(y, to, a0)
    store(y, to + LANES, a1)
    store(y, to + step, b0)
    store(y, to + step + LANES, b1)
    store(y, to + 2 * step, c0)
    store(y, to + 2 * step + LANES, c1)
    store(y, to + 3 * step, d0)
    store(y, to + 3 * step + LANES, d1)
