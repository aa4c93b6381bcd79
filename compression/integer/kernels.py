"""The integer-only inference, compiled: additions, products and shifts of integers.

A task takes a block of images through all layers. Inside, the images of a block are innermost: x[c, h, w, n] lies at
((c * H + h) * W + w) * N + n, so that every inner loop runs over neighbouring images, and flattening costs nothing. What
the layers are is told by a table of integers, `program`, with a row for each step (see `columns.py`).

A product of two int8 fits into int16, where a vector register holds twice as many numbers as in int32. A few products even
add up there: as long as their weights' magnitudes sum to 255 at most, no sum can leave int16, as 255 * 128 = 32,640.
`program.group_taps` finds such groups of weights. A group's sum then goes to int32. In which order integers are added does
not matter, and that is why there is a single correct result.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel
from minigrad.kernels.vector import REGISTER_BYTES, lanes, load, splat, store

from . import columns as col
from .arithmetic import requantize
from .vectors import LINE, add_high, add_low, empty, multiply_add

TILE = 4 * REGISTER_BYTES // 2
"""Numbers of four vectors of int16."""

WHOLE = 64
"""Rows of weights are filled up with zeros to a multiple of this: vectors without a rest to be added one by one."""


@kernel
def run_program(
    images, program, taps, places, ends, groups, rows, bias, multiplier, shift, profile, lanes, room, raw, out
):
    """Take images through all steps of a program.

    images: uint8 (N, pixels)   program: int64 (steps, COLUMNS)
    taps: int16, weights of convolutions, those that are added in int16 next to each other   places: int64, where in an image
    their inputs lie   ends: int64 (groups + 1,), where in these each group begins and the one before ends
    groups: int64 (channels + 1,), which is an output channel's first group
    rows: int16, flat, the weights of linear layers, each row filled up with zeros to a multiple of WHOLE
    bias, multiplier, shift: int32 (channels,)   profile: number in PROFILES
    lanes: images of a block   room: integers an image needs at most between two steps
    raw: whether to return the last step's sums instead   out: int32 (N, features), overwritten
    """
    blocks = (len(images) + lanes - 1) // lanes
    for block in prange(blocks):
        first = block * lanes
        count = min(lanes, len(images) - first)
        x, y = empty(room * count + TILE, np.int16), empty(room * count + TILE, np.int16)
        acc = empty(room * count, np.int32)
        lay_out(images, first, count, x)
        for step in range(len(program)):
            row = program[step]
            if row[col.KIND] == col.CONV or row[col.KIND] == col.LINEAR:
                if row[col.KIND] == col.CONV:
                    conv2d(row, x, count, taps, places, ends, groups, bias, acc)
                else:
                    linear(row, x, count, rows, bias, acc)
                if raw and step == len(program) - 1:
                    give_out(acc, first, count, out)
                else:
                    requantize_all(row, acc, count, multiplier, shift, profile, y)
            elif row[col.KIND] == col.PAD:
                pad(row, x, count, y)
            else:
                pool(row, x, count, y)
            x, y = y, x
        if not raw:
            give_out(x, first, count, out)


@helper
def lay_out(images, first, count, x):
    """x[p, n] = pixel p of image n, minus 128. A few pixels of all images are laid out before the next few."""
    for start in range(0, images.shape[1], LINE):
        for n in range(count):
            pixels = images[first + n, start : start + LINE]
            for p in range(pixels.size):
                x[(start + p) * count + n] = np.int16(pixels[p]) - 128


@helper
def give_out(x, first, count, out):
    """out[n, i] = x[i, n]"""
    for i in range(out.shape[1]):
        for n in range(count):
            out[first + n, i] = x[i * count + n]


@helper
def fill(target, value):
    """target = value. (A loop: Numba would turn `target[:] = value` into a parallel region of its own, here and below.)"""
    for m in range(target.size):
        target[m] = value


@helper
def copy(source, target):
    """target = source"""
    for m in range(target.size):
        target[m] = source[m]


@helper
def pad(row, x, count, y):
    """Copy x into the middle of a larger image whose border has the pad value."""
    channels, height, width = row[col.CHANNELS], row[col.HEIGHT], row[col.WIDTH]
    out_height, out_width = row[col.OUT_HEIGHT], row[col.OUT_WIDTH]
    fill(y[: channels * out_height * out_width * count], row[col.PAD_VALUE])
    for c in range(channels):
        for h in range(height):
            source = (c * height + h) * width * count
            to = ((c * out_height + h + row[col.PAD_H]) * out_width + row[col.PAD_W]) * count
            copy(x[source : source + width * count], y[to : to + width * count])


@helper
def conv2d(row, x, count, taps, places, ends, groups, bias, acc):
    """A convolution's sums, and the largest of each window of the max-pooling after it: acc[f, ph, pw, n].

    Requantization never turns a larger sum into a smaller output. So pooling may as well come first: fewer sums remain.
    """
    line = row[col.OUT_WIDTH] * count
    lines = empty(row[col.POOL_H] * line + TILE, np.int32)
    for ph in range(row[col.POOLED_H]):
        for f in range(row[col.OUT_CHANNELS]):
            channel = row[col.FIRST_CHANNEL] + f
            own = ends[groups[channel] : groups[channel + 1] + 1]
            for r in range(row[col.POOL_H]):
                at = (ph * row[col.POOL_STRIDE_H] + r) * row[col.STRIDE_H] * row[col.WIDTH] * count
                if row[col.STRIDE_W] == 1:  # neighbouring outputs read neighbouring inputs: the row is a single run
                    sum_run(taps, places, own, x, at, count, line, bias[channel], lines, r * line)
                else:
                    for ow in range(row[col.OUT_WIDTH]):
                        start = at + ow * row[col.STRIDE_W] * count
                        sum_run(taps, places, own, x, start, count, count, bias[channel], lines, r * line + ow * count)
            to = (f * row[col.POOLED_H] + ph) * row[col.POOLED_W] * count
            largest(row, lines, line, count, acc[to : to + row[col.POOLED_W] * count])


@helper
def sum_run(taps, places, ends, x, at, count, length, bias, sums, to):
    """sums[to + m] = bias + all products of a filter, for m in a run of outputs.

    A tile of outputs stays in vector registers while all is added to it. The run's last tile may go beyond the run: what it
    reads and writes there does not matter.
    """
    width = lanes(x)
    for m in range(0, length, 4 * width):
        a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = splat(bias)
        for g in range(len(ends) - 1):
            a = b = c = d = splat(np.int16(0))
            for t in range(ends[g], ends[g + 1]):
                w, p = splat(taps[t]), at + m + places[t] * count
                a, b = multiply_add(a, load(x, p), w), multiply_add(b, load(x, p + width), w)
                c, d = multiply_add(c, load(x, p + 2 * width), w), multiply_add(d, load(x, p + 3 * width), w)
            a0, a1, b0, b1 = add_low(a0, a), add_high(a1, a), add_low(b0, b), add_high(b1, b)
            c0, c1, d0, d1 = add_low(c0, c), add_high(c1, c), add_low(d0, d), add_high(d1, d)
        half, p = width // 2, to + m
        store(sums, p, a0)
        store(sums, p + half, a1)
        store(sums, p + 2 * half, b0)
        store(sums, p + 3 * half, b1)
        store(sums, p + 4 * half, c0)
        store(sums, p + 5 * half, c1)
        store(sums, p + 6 * half, d0)
        store(sums, p + 7 * half, d1)


@helper
def largest(row, acc, line, count, best):
    """best[pw, n] = the largest of acc in the window of pooled column pw. Rows first: they are the longest runs."""
    for r in range(1, row[col.POOL_H]):
        keep_larger(acc[r * line : (r + 1) * line], acc[:line])
    for pw in range(row[col.POOLED_W]):
        start = pw * row[col.POOL_STRIDE_W] * count
        target = best[pw * count : (pw + 1) * count]
        copy(acc[start : start + count], target)
        for c in range(1, row[col.POOL_W]):
            keep_larger(acc[start + c * count : start + (c + 1) * count], target)


@helper
def keep_larger(values, target):
    """target = max(target, values)"""
    for n in range(target.size):
        target[n] = max(target[n], values[n])


@helper
def linear(row, x, count, rows, bias, acc):
    """A linear layer's sums: acc[o, n] = bias[o] + sum over i of w[o, i] * x[i, n]."""
    size = (row[col.CHANNELS] + WHOLE - 1) // WHOLE * WHOLE
    features = empty(size, np.int16)
    fill(features, 0)
    for n in range(count):
        for i in range(row[col.CHANNELS]):
            features[i] = x[i * count + n]
        for o in range(row[col.OUT_CHANNELS]):
            start = row[col.FIRST_ROW] + o * size
            acc[o * count + n] = bias[row[col.FIRST_CHANNEL] + o] + dot(rows[start : start + size], features)


@helper
def dot(w, x):
    """Return the sum of w * x in int32. (Numba would go on in int64 by itself, where there is no instruction for this.)"""
    total = np.int32(0)
    for i in range(w.size):
        total = np.int32(total + np.int32(np.int32(w[i]) * np.int32(x[i])))
    return total


@helper
def requantize_all(row, acc, count, multiplier, shift, profile, y):
    """Turn the sums of all output channels into int8."""
    size = row[col.POOLED_H] * row[col.POOLED_W] * count
    for f in range(row[col.OUT_CHANNELS]):
        channel = row[col.FIRST_CHANNEL] + f
        own = slice(f * size, (f + 1) * size)
        requantize_run(acc[own], multiplier[channel], shift[channel], profile, row, y[own])


@helper
def requantize_run(acc, multiplier, shift, profile, row, out):
    """out[m] = acc[m] * M + zero, clamped."""
    zero, low, high = row[col.ZERO], row[col.CLAMP_LOW], row[col.CLAMP_HIGH]
    q, s = np.int64(multiplier), np.int64(shift)
    for m in range(acc.size):
        out[m] = min(max(requantize(np.int64(acc[m]), q, s, profile) + zero, low), high)


@helper
def pool(row, x, count, y):
    """Pooling of each channel by itself: the largest value of a window, or its mean, rounded half away from zero."""
    height, width, area = row[col.HEIGHT], row[col.WIDTH], row[col.POOL_H] * row[col.POOL_W]
    for c in range(row[col.CHANNELS]):
        for ph in range(row[col.POOLED_H]):
            for pw in range(row[col.POOLED_W]):
                p = ((c * row[col.POOLED_H] + ph) * row[col.POOLED_W] + pw) * count
                target = y[p : p + count]
                fill(target, -128 if row[col.KIND] == col.MAX_POOL else 0)
                for t in range(area):
                    h = ph * row[col.POOL_STRIDE_H] + t // row[col.POOL_W] - row[col.PAD_H]
                    w = pw * row[col.POOL_STRIDE_W] + t % row[col.POOL_W] - row[col.PAD_W]
                    if 0 <= h < height and 0 <= w < width:
                        s = ((c * height + h) * width + w) * count
                        take(row[col.KIND], x[s : s + count], target)
                for n in range(count):
                    value = np.int64(target[n])
                    if row[col.KIND] == col.AVG_POOL:
                        mean = (abs(value) + area // 2) // area
                        value = -mean if value < 0 else mean
                    target[n] = min(max(value, row[col.CLAMP_LOW]), row[col.CLAMP_HIGH])


@helper
def take(kind, values, target):
    """Take values into a window's result so far."""
    if kind == col.MAX_POOL:
        keep_larger(values, target)
    else:
        for n in range(target.size):
            target[n] += values[n]
