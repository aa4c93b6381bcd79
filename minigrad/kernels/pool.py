"""Max-pooling kernels over batch-innermost memory (see `conv.py`).

The place of each maximum is kept as one byte, its index in the window counted row by row, so that the backward pass
knows where to send the gradient. Comparing and remembering are selects, not branches: they vectorise over the images.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import kernel


@kernel
def max_pool2d_forward(x, kernel_h, kernel_w, stride_h, stride_w, out, index):
    """Keep the largest value of each window; of equal values the first, row by row. NaN wins over any number.

    x: (C, H, W, N)   out: (C, OH, OW, N), overwritten   index: uint8 (C, OH, OW, N), overwritten
    """
    out_h, out_w, images = out.shape[1:]
    for task in prange(x.shape[0] * out_h):
        c, oh = task // out_h, task % out_h
        for ow in range(out_w):
            best, where = out[c, oh, ow], index[c, oh, ow]
            best[:] = x[c, oh * stride_h, ow * stride_w]
            where[:] = 0
            for tap in range(1, kernel_h * kernel_w):
                values = x[c, oh * stride_h + tap // kernel_w, ow * stride_w + tap % kernel_w]
                for m in range(images):
                    value = values[m]
                    better = (value > best[m]) | (value != value)
                    best[m] = value if better else best[m]
                    where[m] = np.uint8(tap) if better else where[m]


@kernel
def max_pool2d_grad(g, index, kernel_h, kernel_w, stride_h, stride_w, grad_x):
    """Send each output's gradient to the input that was its maximum. A channel is one task: windows may overlap.

    g: (C, OH, OW, N)   index: uint8 (C, OH, OW, N)   grad_x: (C, H, W, N), overwritten
    """
    out_h, out_w, images = g.shape[1:]
    for c in prange(g.shape[0]):
        grad_x[c] = 0
        for oh in range(out_h):
            for ow in range(out_w):
                gradient, where = g[c, oh, ow], index[c, oh, ow]
                for tap in range(kernel_h * kernel_w):
                    target = grad_x[c, oh * stride_h + tap // kernel_w, ow * stride_w + tap % kernel_w]
                    for m in range(images):
                        target[m] += gradient[m] if where[m] == tap else 0
