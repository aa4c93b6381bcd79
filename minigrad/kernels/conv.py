"""Convolution kernels (cross-correlation, as in every deep-learning library).

Arrays here have the batch innermost: an image tensor of shape (N, C, H, W) arrives as an array (C, H, W, N). Whatever the
kernel size, the inner loops then run over contiguous images, which is what vector units want. With stride 1 a whole
row of columns and images is one contiguous run; with a larger stride each column is a run of its own.

A *tap* is one position of a filter: a channel, a kernel row and a kernel column. The inner loops take two filters (or
two channels) and up to four taps at once: eight multiply-adds for six loads and two stores, where one filter and one tap
would give one multiply-add for two loads and a store.

Padding was added before and is cut off after, at the edge of the op: these loops never ask where the border is.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import helper, kernel


@helper
def _join_columns(x):
    """(C, H, W, N) -> (C, H, W * N), without a copy."""
    return x.reshape((x.shape[0], x.shape[1], x.shape[2] * x.shape[3]))


@helper
def _runs(columns, images, stride):
    """Split a row of output columns into contiguous runs: how many, how long, and their step in the input row."""
    if stride == 1:
        return 1, columns * images, 0
    return columns, images, stride * images


@helper
def _add_rows(target0, target1, step, rows, source_step, a, b, runs, length):
    """target0 += sum of a[k] * rows[k] and target1 += sum of b[k] * rows[k], for four source rows, run by run."""
    a0, a1, a2, a3 = a
    b0, b1, b2, b3 = b
    r0, r1, r2, r3 = rows
    for run in range(runs):
        # Slice first, then index with the loop variable: a computed index would be checked for wrap-around each time.
        t0, t1 = target0[run * step :], target1[run * step :]
        s0, s1, s2, s3 = (
            r0[run * source_step :],
            r1[run * source_step :],
            r2[run * source_step :],
            r3[run * source_step :],
        )
        for m in range(length):
            t0[m] += a0 * s0[m] + a1 * s1[m] + a2 * s2[m] + a3 * s3[m]
            t1[m] += b0 * s0[m] + b1 * s1[m] + b2 * s2[m] + b3 * s3[m]


@helper
def _add_row(target0, target1, step, row, source_step, a, b, runs, length):
    """target0 += a * row and target1 += b * row, run by run: what is left when the taps do not divide by four."""
    for run in range(runs):
        t0, t1, s = target0[run * step :], target1[run * step :], row[run * source_step :]
        for m in range(length):
            t0[m] += a * s[m]
            t1[m] += b * s[m]


@helper
def _tap_row(x, c0, h0, tap, w, dilation_h, dilation_w, images):
    """Return the input row that tap number `tap` of a filter meets, when its first tap stands at channel c0, row h0."""
    kernel_h, kernel_w = w.shape[2:]
    channel, i, j = tap // (kernel_h * kernel_w), tap // kernel_w % kernel_h, tap % kernel_w
    return x[c0 + channel, h0 + i * dilation_h, j * dilation_w * images :]


@kernel
def conv2d_forward(x, w, b, stride_h, stride_w, dilation_h, dilation_w, groups, out):
    """Correlate images with filters, two filters and one output row a task.

    x: (C, H, W, N)   w: (F, C / groups, KH, KW)   b: (F,)   out: (F, OH, OW, N), overwritten
    """
    filters, channels, kernel_h, kernel_w = w.shape
    out_h, out_w, images = out.shape[1:]
    x, out = _join_columns(x), _join_columns(out)
    runs, length, step = _runs(out_w, images, stride_w)
    taps = channels * kernel_h * kernel_w
    group_filters = filters // groups
    pairs = (group_filters + 1) // 2

    for task in prange(groups * pairs * out_h):
        oh = task % out_h
        group = task // out_h // pairs
        f0 = group * group_filters + task // out_h % pairs * 2
        f1 = min(f0 + 1, (group + 1) * group_filters - 1)
        row0 = out[f0, oh]
        row1 = out[f1, oh] if f1 > f0 else np.empty_like(row0)  # an odd last filter has a partner that is thrown away
        row0[:] = b[f0]
        row1[:] = b[f1]
        w0, w1 = w[f0].reshape(-1), w[f1].reshape(-1)
        c0, h0 = group * channels, oh * stride_h

        whole = taps - taps % 4
        for t in range(0, whole, 4):
            rows = (
                _tap_row(x, c0, h0, t, w, dilation_h, dilation_w, images),
                _tap_row(x, c0, h0, t + 1, w, dilation_h, dilation_w, images),
                _tap_row(x, c0, h0, t + 2, w, dilation_h, dilation_w, images),
                _tap_row(x, c0, h0, t + 3, w, dilation_h, dilation_w, images),
            )
            a0, a1 = (w0[t], w0[t + 1], w0[t + 2], w0[t + 3]), (w1[t], w1[t + 1], w1[t + 2], w1[t + 3])
            _add_rows(row0, row1, length, rows, step, a0, a1, runs, length)
        for t in range(whole, taps):
            row = _tap_row(x, c0, h0, t, w, dilation_h, dilation_w, images)
            _add_row(row0, row1, length, row, step, w0[t], w1[t], runs, length)


@kernel
def conv2d_grad_input(g, w, stride_h, stride_w, dilation_h, dilation_w, groups, grad_x):
    """Gather the gradient of each input row from the output rows it took part in, two channels and one row a task.

    g: (F, OH, OW, N)   w: (F, C / groups, KH, KW)   grad_x: (C, H, W, N), overwritten
    """
    filters, channels, kernel_h, kernel_w = w.shape
    out_h, out_w, images = g.shape[1:]
    height = grad_x.shape[1]
    g, grad_x = _join_columns(g), _join_columns(grad_x)
    runs, length, step = _runs(out_w, images, stride_w)
    group_filters = filters // groups
    pairs = (channels + 1) // 2

    for task in prange(groups * pairs * height):
        ih = task % height
        group = task // height // pairs
        c0 = task // height % pairs * 2
        c1 = min(c0 + 1, channels - 1)
        row0 = grad_x[group * channels + c0, ih]
        row1 = grad_x[group * channels + c1, ih] if c1 > c0 else np.empty_like(row0)
        row0[:] = 0
        row1[:] = 0

        # The output rows that this input row took part in: of filter f[s], through kernel row i[s], at output row oh[s].
        sources = 0
        f, i, oh = np.empty((3, group_filters * kernel_h), np.int64)
        for filter_ in range(group * group_filters, (group + 1) * group_filters):
            for kernel_row in range(kernel_h):
                top = ih - kernel_row * dilation_h
                if top >= 0 and top % stride_h == 0 and top // stride_h < out_h:
                    f[sources], i[sources], oh[sources] = filter_, kernel_row, top // stride_h
                    sources += 1

        whole = sources - sources % 4
        for j in range(kernel_w):
            target0, target1 = row0[j * dilation_w * images :], row1[j * dilation_w * images :]
            w0, w1 = w[:, c0, :, j], w[:, c1, :, j]
            for s in range(0, whole, 4):
                p, q, r = s + 1, s + 2, s + 3
                rows = (g[f[s], oh[s]], g[f[p], oh[p]], g[f[q], oh[q]], g[f[r], oh[r]])
                a0 = (w0[f[s], i[s]], w0[f[p], i[p]], w0[f[q], i[q]], w0[f[r], i[r]])
                a1 = (w1[f[s], i[s]], w1[f[p], i[p]], w1[f[q], i[q]], w1[f[r], i[r]])
                _add_rows(target0, target1, step, rows, length, a0, a1, runs, length)
            for s in range(whole, sources):
                a0, a1 = w0[f[s], i[s]], w1[f[s], i[s]]
                _add_row(target0, target1, step, g[f[s], oh[s]], length, a0, a1, runs, length)


@kernel
def conv2d_grad_weight(x, g, stride_h, stride_w, dilation_h, dilation_w, groups, grad_w):
    """Sum, for each weight, input times gradient over all places and images: two filters and one kernel row a task.

    Every weight belongs to one task, so there are no partial sums and the thread count cannot change a bit.

    x: (C, H, W, N)   g: (F, OH, OW, N)   grad_w: (F, C / groups, KH, KW), overwritten
    """
    filters, channels, kernel_h, kernel_w = grad_w.shape
    out_h, out_w, images = g.shape[1:]
    x, g = _join_columns(x), _join_columns(g)
    runs, length, step = _runs(out_w, images, stride_w)
    group_filters = filters // groups
    pairs = (group_filters + 1) // 2

    for task in prange(groups * pairs * channels * kernel_h):
        i = task % kernel_h
        c = task // kernel_h % channels
        pair = task // kernel_h // channels
        group = pair // pairs
        f0 = group * group_filters + pair % pairs * 2
        f1 = min(f0 + 1, (group + 1) * group_filters - 1)
        for j0 in range(0, kernel_w, 2):
            j1 = min(j0 + 1, kernel_w - 1)
            s00 = s01 = s10 = s11 = grad_w.dtype.type(0)
            for oh in range(out_h):
                row = x[group * channels + c, oh * stride_h + i * dilation_h]
                row0, row1 = row[j0 * dilation_w * images :], row[j1 * dilation_w * images :]
                for run in range(runs):
                    x0, x1 = row0[run * step :], row1[run * step :]
                    g0, g1 = g[f0, oh, run * length :], g[f1, oh, run * length :]
                    for m in range(length):
                        s00 += g0[m] * x0[m]
                        s01 += g0[m] * x1[m]
                        s10 += g1[m] * x0[m]
                        s11 += g1[m] * x1[m]
            grad_w[f0, c, i, j0], grad_w[f0, c, i, j1] = s00, s01
            grad_w[f1, c, i, j0], grad_w[f1, c, i, j1] = s10, s11
