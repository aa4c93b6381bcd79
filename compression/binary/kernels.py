"""Convolution of signs by counting bits: 64 products at once.

A bit 1 stands for +1, a bit 0 for -1. Two signs have the product -1 where their bits differ, so of K products the sum is

    K - 2 * (number of bits that differ)        differing bits: ones of a ^ b

Signs of an input lie as words of 64 channels, the images of a batch next to each other: bit c % 64 of bits[h, c // 64, w, n].
A convolution joins them into the words of a window, without gaps, as those of a filter are stored: first each column of the
window, which neighbouring windows share, then the columns. Bits of no product are 0 on both sides, and never differ.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel
from minigrad.kernels.vector import lanes, load, splat, store

from .popcount import add_differing

IMAGES = 64
"""Images whose windows are joined at a time: their words stay in the fastest cache."""

CHUNK = 1024
"""Words that signs are packed into at a time, likewise."""

FILTERS = 128
"""Filters of a task at most: so a linear layer, which has a single place, gives work to several threads."""


@kernel
def binary_conv2d(x, w, scale, kernel_h, kernel_w, stride_h, stride_w, bits, out):
    """out[f, oh, ow, n] = scale[f] * (sum of the products of signs)

    x: (C, H, W * N), C-contiguous   scale: (F,)   w: uint64 (F, ceil(C * kernel_h * kernel_w / 64)), the signs of a filter
    column by column, each from top to bottom, each place channel by channel
    bits: uint64 (H, ceil(C / 64), W, N), overwritten by the signs of x   out: (F, OH, OW, N), overwritten
    """
    channels, height, run = x.shape
    flat = bits.reshape(height, bits.shape[1], run)
    for task in prange(height * bits.shape[1]):  # both loops in one kernel: threads are woken once
        h, word = task // bits.shape[1], task % bits.shape[1]
        pack_signs(x, h, 64 * word, flat[h, word])

    filters, out_h, out_w, images = out.shape
    blocks, groups = (images + IMAGES - 1) // IMAGES, (filters + FILTERS - 1) // FILTERS
    products = channels * kernel_h * kernel_w
    for task in prange(groups * out_h * blocks):
        first_filter, oh = task // (out_h * blocks) * FILTERS, task // blocks % out_h
        first = task % blocks * IMAGES
        count = min(IMAGES, images - first)
        columns = np.zeros((bits.shape[2], (channels * kernel_h + 63) // 64, IMAGES), np.uint64)
        for column in range(len(columns)):
            for i in range(kernel_h):
                for word in range(bits.shape[1]):
                    source = bits[oh * stride_h + i, word, column]
                    size = min(64, channels - 64 * word)
                    append(columns[column], i * channels + 64 * word, source[first : first + count], size)
        window, differing = np.empty((w.shape[1], IMAGES), np.uint64), np.empty(4 * IMAGES, np.int64)
        for ow in range(out_w):
            window[:] = 0
            for j in range(kernel_w):
                for word in range(columns.shape[1]):
                    start, size = j * channels * kernel_h, min(64, channels * kernel_h - 64 * word)
                    append(window, start + 64 * word, columns[ow * stride_w + j, word], size)
            for f in range(first_filter, min(first_filter + FILTERS, filters), 4):
                last = filters - 1  # the last tile may hold it several times
                rows = (f, min(f + 1, last), min(f + 2, last), min(f + 3, last))
                compare(window.reshape(-1), w, rows, count, differing)
                for i in range(min(4, filters - f)):
                    sums, counts, factor = out[f + i, oh, ow, first:], differing[i * IMAGES :], scale[f + i]
                    for n in range(count):
                        sums[n] = factor * np.float32(products - 2 * counts[n])


@helper
def pack_signs(x, h, first, bits):
    """Make a bit of each sign of a line: 1 where x >= 0, so for 0 and -0 as well, and not for NaN.

    x: (C, H, M)   first: the channel of the lowest bit   bits: uint64 (M,), overwritten
    """
    for start in range(0, len(bits), CHUNK):
        words = bits[start : start + CHUNK]
        words[:] = 0
        for c in range(first, min(first + 64, len(x))):
            values, place = x[c, h, start:], np.uint64(c - first)
            for m in range(len(words)):
                words[m] |= np.uint64(values[m] >= 0) << place


@helper
def append(joined, start, source, size):
    """Put a word's bits behind the first `start` bits that are joined already.

    joined: uint64 (words, IMAGES), 0 from there on   source: uint64 (images,)   size: how many bits of it count, the rest is 0
    """
    low, shift = joined[start // 64], np.uint64(start % 64)
    for n in range(len(source)):
        low[n] |= source[n] << shift
    if start % 64 + size > 64:  # the word is full: what is left begins the next
        high, rest = joined[start // 64 + 1], np.uint64(64 - start % 64)
        for n in range(len(source)):
            high[n] |= source[n] >> rest


@helper
def compare(window, w, rows, count, differing):
    """Count for each image the bits in which its window and four filters differ, in vectors that stay in registers.

    window: uint64 (words * IMAGES,), flat   w: uint64 (F, words)   rows: four numbers of filters   count: images
    differing: int64 (4 * IMAGES,), overwritten
    """
    words, step = w.shape[1], lanes(window)
    wa, wb, wc, wd = w[rows[0]], w[rows[1]], w[rows[2]], w[rows[3]]
    for n in range(0, count, 2 * step):
        a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = splat(np.uint64(0))
        for k in range(words):
            x0, x1 = load(window, k * IMAGES + n), load(window, k * IMAGES + n + step)
            y = splat(wa[k])
            a0, a1 = add_differing(a0, x0, y), add_differing(a1, x1, y)
            y = splat(wb[k])
            b0, b1 = add_differing(b0, x0, y), add_differing(b1, x1, y)
            y = splat(wc[k])
            c0, c1 = add_differing(c0, x0, y), add_differing(c1, x1, y)
            y = splat(wd[k])
            d0, d1 = add_differing(d0, x0, y), add_differing(d1, x1, y)
        store(differing, n, a0)
        store(differing, n + step, a1)
        store(differing, n + IMAGES, b0)
        store(differing, n + IMAGES + step, b1)
        store(differing, n + 2 * IMAGES, c0)
        store(differing, n + 2 * IMAGES + step, c1)
        store(differing, n + 3 * IMAGES, d0)
        store(differing, n + 3 * IMAGES + step, d1)
