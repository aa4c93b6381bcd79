"""The same inference for a few images, for CPUs with AVX512-VNNI: see `vnni.py`.

A single image cannot fill vectors with images. Here the 16 lanes are 16 output channels, and each image goes through all
layers by itself. Activations are bytes with the channels innermost: x[h, w, c], plus 128, at (h * W + w) * C + c. So a row of
a convolution's window is a run of neighbouring bytes, over all its columns and channels (of one column, where the window is
dilated), and so are all features of a linear layer. A run is read in words of four bytes; what the last one has too much
meets weights of zero:

    for each word:  lanes of the sums  +=  the word's four bytes * four weights of each of 16 channels

That is one instruction, `dot4`, whose word is the same in all lanes. A linear layer is a convolution whose window is all of its
input.

`columns.py` says what a step's columns are, and `packing.py` makes the tables: all in one array of int32, since each array
that a compiled function is given takes a while to be looked at, and there is little else to do for one image.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, inlined, kernel
from minigrad.kernels.vector import load, splat, store

from . import columns as col
from .arithmetic import requantize
from .vnni import LANES, dot4, larger, load_word

STEPS, PROFILE, BYTES, SUMS, HEAD = 0, 1, 2, 3, 4
"""The head of the tables: how many steps follow it, the profile's number, bytes and sums that an image needs at most."""

LOWEST = -(2**31)


@kernel
def run_few(images, tables, raw, out):
    """Take images through all steps, each by itself.

    images: uint8 (N, pixels)   tables: int32, flat: the head, a row of WORD_COLUMNS for each step, and what these point to
    raw: whether to return the last step's sums instead   out: int32 (N, features), overwritten
    """
    if len(images) == 1:  # threads would take longer to start than it takes
        run_image(images[0], tables, raw, out[0])
    else:
        for n in prange(len(images)):
            run_image(images[n], tables, raw, out[n])


@helper
def run_image(image, tables, raw, out):
    """Take an image through all steps."""
    x, y = np.empty(tables[BYTES], np.uint8), np.empty(tables[BYTES], np.uint8)
    sums = np.empty(tables[SUMS], np.int32)
    lay_out(image, step_row(tables, 0), x)
    for step in range(tables[STEPS]):
        row = step_row(tables, step)
        if row[col.KIND] == col.PAD:
            pad(row, x, y)
        else:
            add_up(row, x, tables, sums)
            last = step == tables[STEPS] - 1
            if not (last and raw):
                requantize_all(row, tables, sums)
            if last:
                give_out(row, sums, out)
            else:
                keep(row, sums, y)
        x, y = y, x


@helper
def step_row(tables, step):
    """Return a step's columns."""
    return tables[HEAD + step * col.WORD_COLUMNS : HEAD + (step + 1) * col.WORD_COLUMNS]


@helper
def lay_out(image, row, x):
    """x[h, w, c] = pixel [c, h, w]. A pixel p is q = p - 128, kept as q + 128."""
    channels, area = row[col.CHANNELS], row[col.HEIGHT] * row[col.WIDTH]
    for c in range(channels):
        for p in range(area):
            x[p * channels + c] = image[c * area + p]


@helper
def pad(row, x, y):
    """Copy x into the middle of a larger image whose border has the pad value."""
    line = row[col.WIDTH] * row[col.CHANNELS]
    for m in range(row[col.OUT_HEIGHT] * row[col.OUT_WIDTH] * row[col.CHANNELS]):
        y[m] = row[col.PAD_VALUE] + 128
    for h in range(row[col.HEIGHT]):
        to = ((h + row[col.PAD_H]) * row[col.OUT_WIDTH] + row[col.PAD_W]) * row[col.CHANNELS]
        for m in range(line):
            y[to + m] = x[h * line + m]


@helper
def tiles_of(row):
    """Return how many vectors a step's output channels are."""
    return (row[col.OUT_CHANNELS] + LANES - 1) // LANES


@helper
def add_up(row, x, tables, sums):
    """A layer's sums, the largest of each pooling window: sums[ph, pw, f], with f up to a whole number of vectors."""
    tiles, area = tiles_of(row), row[col.POOL_H] * row[col.POOL_W]
    down = row[col.POOL_STRIDE_H] * row[col.STRIDE_H] * row[col.WIDTH] * row[col.CHANNELS]
    right = row[col.POOL_STRIDE_W] * row[col.STRIDE_W] * row[col.CHANNELS]
    corners = tables[row[col.FIRST_CORNER] : row[col.FIRST_CORNER] + area]
    for ph in range(row[col.POOLED_H]):
        for pw in range(row[col.POOLED_W]):
            at = ph * down + pw * right
            for tile in range(tiles):
                best = splat(np.int32(LOWEST))
                for k in range(0, area - 3, 4):
                    best = larger(best, four_windows(row, x, tables, tile, at, corners[k : k + 4]))
                for k in range(area - area % 4, area):
                    best = larger(best, window(row, x, tables, tile, at + corners[k]))
                store(sums, ((ph * row[col.POOLED_W] + pw) * tiles + tile) * LANES, best)


@inlined
def window(row, x, tables, tile, corner):
    """Return the sums of 16 channels in one window."""
    c = load(tables, row[col.FIRST_CHANNEL] + tile * LANES)  # their bias
    w = row[col.FIRST_ROW] + tile * row[col.TERMS] * LANES
    for place in range(row[col.FIRST_PLACE], row[col.FIRST_PLACE] + row[col.TERMS]):
        word = load_word(x, corner + tables[place])  # four neighbouring bytes of the window ...
        c = dot4(c, splat(word), load(tables, w))  # ... times those of each channel's weights, added up
        w += LANES
    return c


@inlined
def four_windows(row, x, tables, tile, at, corners):
    """Return the largest sums of four windows: the weights are loaded once, and four additions need not wait for each other."""
    a = b = c = d = load(tables, row[col.FIRST_CHANNEL] + tile * LANES)
    first, second, third, fourth = at + corners[0], at + corners[1], at + corners[2], at + corners[3]
    w = row[col.FIRST_ROW] + tile * row[col.TERMS] * LANES
    for place in range(row[col.FIRST_PLACE], row[col.FIRST_PLACE] + row[col.TERMS]):
        p, weights = tables[place], load(tables, w)
        a = dot4(a, splat(load_word(x, first + p)), weights)
        b = dot4(b, splat(load_word(x, second + p)), weights)
        c = dot4(c, splat(load_word(x, third + p)), weights)
        d = dot4(d, splat(load_word(x, fourth + p)), weights)
        w += LANES
    return larger(larger(a, b), larger(c, d))


@helper
def requantize_all(row, tables, sums):
    """sums = sums * M + zero point, clamped, with an M for each channel: multipliers lie behind biases, shifts behind these."""
    width, bias = tiles_of(row) * LANES, row[col.FIRST_CHANNEL]
    limits = row[col.ZERO], row[col.CLAMP_LOW], row[col.CLAMP_HIGH]
    for p in range(row[col.POOLED_H] * row[col.POOLED_W]):
        for f in range(0, width, LANES):
            c = sums[p * width + f : p * width + f + LANES]
            multiplier = tables[bias + width + f : bias + width + f + LANES]
            shift = tables[bias + 2 * width + f : bias + 2 * width + f + LANES]
            requantize_channels(c, multiplier, shift, tables[PROFILE], limits)


@inlined
def requantize_channels(c, multiplier, shift, profile, limits):
    """c[i] = c[i] * M[i] + zero point, clamped, for a vector's lanes. (That their number is known lets LLVM use vectors.)"""
    zero, low, high = limits
    for i in range(LANES):
        x = requantize(np.int64(c[i]), np.int64(multiplier[i]), np.int64(shift[i]), profile)
        c[i] = min(max(x + zero, low), high)


@helper
def keep(row, sums, y):
    """y[h, w, f] = the activation plus 128"""
    channels, width = row[col.OUT_CHANNELS], tiles_of(row) * LANES
    for p in range(row[col.POOLED_H] * row[col.POOLED_W]):
        for f in range(channels):
            y[p * channels + f] = np.uint8(sums[p * width + f] + 128)


@helper
def give_out(row, sums, out):
    """out[f, h, w] = sums[h, w, f]"""
    area, width = row[col.POOLED_H] * row[col.POOLED_W], tiles_of(row) * LANES
    for f in range(row[col.OUT_CHANNELS]):
        for p in range(area):
            out[f * area + p] = sums[p * width + f]
