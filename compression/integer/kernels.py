"""The integer-only inference, compiled: additions, products and shifts of integers.

A task takes a block of images through all layers. Inside, the images of a block are innermost: x[c, h, w, n] lies at
((c * H + h) * W + w) * N + n, so that every inner loop runs over neighbouring images, and flattening costs nothing. What
the layers are is told by a table of integers, `program`, with a row for each step (see `columns.py`).

A product of two int8 fits into int16, where a vector register holds twice as many numbers as in int32. A few products even
add up there: as long as their weights' magnitudes sum to 255 at most, no sum can leave int16, as 255 * 128 = 32,640.
`program.group_taps` finds such groups of up to six weights. A group's sum then goes to int32. In which order integers are added
does not matter, and that is why there is a single correct result.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel

from . import columns as col
from .arithmetic import requantize

GROUP = 6
"""Products that are added in int16 before they go to int32."""

WHOLE = 64
"""Rows of weights are filled up with zeros to a multiple of this: vectors without a rest to be added one by one."""


@kernel
def run_program(images, program, taps, places, groups, rows, bias, multiplier, shift, profile, lanes, room, raw, out):
    """Take images through all steps of a program.

    images: uint8 (N, pixels)   program: int64 (steps, COLUMNS)
    taps: int16 (groups, GROUP), weights that are added in int16   places: int64 (groups, GROUP), where in an image their
    inputs lie   groups: int64 (channels + 1,), where each output channel's groups begin
    rows: int16, flat, the weights of linear layers, each row filled up with zeros to a multiple of WHOLE
    bias, multiplier, shift: int32 (channels,)   profile: number in PROFILES
    lanes: images of a block   room: integers an image needs at most between two steps
    raw: whether to return the last step's sums instead   out: int32 (N, features), overwritten
    """
    blocks = (len(images) + lanes - 1) // lanes
    for block in prange(blocks):
        first = block * lanes
        count = min(lanes, len(images) - first)
        x, y, acc = np.empty(room * count, np.int16), np.empty(room * count, np.int16), np.empty(room * count, np.int32)
        lay_out(images, first, count, x)
        for step in range(len(program)):
            row = program[step]
            if row[col.KIND] == col.CONV or row[col.KIND] == col.LINEAR:
                if row[col.KIND] == col.CONV:
                    conv2d(row, x, count, taps, places, groups, bias, acc)
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
    """x[p, n] = pixel p of image n, minus 128."""
    for p in range(images.shape[1]):
        target = x[p * count : (p + 1) * count]
        for n in range(count):
            target[n] = np.int16(images[first + n, p]) - 128


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
def conv2d(row, x, count, taps, places, groups, bias, acc):
    """A convolution's sums, and the largest of each window of the max-pooling after it: acc[f, ph, pw, n].

    Requantization never turns a larger sum into a smaller output. So pooling may as well come first: fewer sums remain.
    """
    line = row[col.OUT_WIDTH] * count
    lines, part = np.empty(row[col.POOL_H] * line, np.int32), np.empty(line, np.int16)
    for ph in range(row[col.POOLED_H]):
        for f in range(row[col.OUT_CHANNELS]):
            channel = row[col.FIRST_CHANNEL] + f
            own = slice(groups[channel], groups[channel + 1])
            for r in range(row[col.POOL_H]):
                at = (ph * row[col.POOL_STRIDE_H] + r) * row[col.STRIDE_H] * row[col.WIDTH] * count
                sums = lines[r * line : (r + 1) * line]
                fill(sums, bias[channel])
                add_groups(taps[own], places[own], x, at, count, row[col.STRIDE_W], part, sums)
            to = (f * row[col.POOLED_H] + ph) * row[col.POOLED_W] * count
            largest(row, lines, line, count, acc[to : to + row[col.POOLED_W] * count])


@helper
def add_groups(taps, places, x, at, count, stride, part, sums):
    """Add all products of a row of outputs: sums[ow, n] += sum over groups and taps of w * x[place + ow * stride, n].

    With a stride of 1, neighbouring outputs read neighbouring inputs, and the whole row is a single run. A group's sums are
    kept in int16 first: that loop does 32 of them with one instruction, where int32 would allow 16.
    """
    length = sums.size if stride == 1 else count
    for run in range(sums.size // length):
        start = at + run * stride * count
        target = sums[run * length : (run + 1) * length]
        for g in range(len(taps)):
            w0, w1, w2, w3, w4, w5 = taps[g, 0], taps[g, 1], taps[g, 2], taps[g, 3], taps[g, 4], taps[g, 5]
            x0 = x[start + places[g, 0] * count :]
            x1 = x[start + places[g, 1] * count :]
            x2 = x[start + places[g, 2] * count :]
            x3 = x[start + places[g, 3] * count :]
            x4 = x[start + places[g, 4] * count :]
            x5 = x[start + places[g, 5] * count :]
            for m in range(length):
                part[m] = w0 * x0[m] + w1 * x1[m] + w2 * x2[m] + w3 * x3[m] + w4 * x4[m] + w5 * x5[m]
            for m in range(length):
                target[m] += part[m]


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
    features = np.zeros(size, np.int16)
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
