"""Textbook versions of the kernels: as many Python loops as there are indices, NCHW, no cleverness."""

import numpy as np


def conv2d(x, w, b, stride, padding, dilation, groups):
    """x: (N, C, H, W)   w: (F, C / groups, KH, KW)   b: (F,)   -> (N, F, OH, OW)"""
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    filters, channels, kernel_h, kernel_w = w.shape
    out_h = (x.shape[2] - dilation[0] * (kernel_h - 1) - 1) // stride[0] + 1
    out_w = (x.shape[3] - dilation[1] * (kernel_w - 1) - 1) // stride[1] + 1
    out = np.zeros((len(x), filters, out_h, out_w), x.dtype)
    for n in range(len(x)):
        for f in range(filters):
            first = f // (filters // groups) * channels
            for oh in range(out_h):
                for ow in range(out_w):
                    total = b[f]
                    for c in range(channels):
                        for i in range(kernel_h):
                            for j in range(kernel_w):
                                row, column = oh * stride[0] + i * dilation[0], ow * stride[1] + j * dilation[1]
                                total += w[f, c, i, j] * x[n, first + c, row, column]
                    out[n, f, oh, ow] = total
    return out


def max_pool2d(x, kernel_size, stride):
    """x: (N, C, H, W)   -> the maxima and their (row, column) in x, each (N, C, OH, OW)"""
    out_h = (x.shape[2] - kernel_size[0]) // stride[0] + 1
    out_w = (x.shape[3] - kernel_size[1]) // stride[1] + 1
    out = np.zeros((*x.shape[:2], out_h, out_w), x.dtype)
    places = np.zeros((*out.shape, 2), int)
    for n, c, oh, ow in np.ndindex(out.shape):
        top, left = oh * stride[0], ow * stride[1]
        window = x[n, c, top : top + kernel_size[0], left : left + kernel_size[1]]
        i, j = np.unravel_index(np.argmax(window), window.shape)
        out[n, c, oh, ow], places[n, c, oh, ow] = window[i, j], (top + i, left + j)
    return out, places
