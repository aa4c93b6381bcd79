"""Max-pooling kernels over batch-innermost memory (see `conv.py`).

The place of each maximum is kept as one byte, its index in the window counted row by row, so that the backward pass
knows where to send the gradient. Comparing and remembering are selects, not branches: they vectorise over the images.
"""

import numpy as np
from numba import prange

from minigrad.kernels._kernel import kernel


@kernel
def max_pool2d_forward(x, kernel_h, kernel_w, stride_h, stride_w, rectify, out, index):
    """Keep the largest value of each window; of equal values the first, row by row. NaN wins over any number.

    With `rectify` the result is max(largest, 0): ReLU costs nothing here, since the search starts at 0 instead of at the
    first value. An index of 255 then says that no value was above 0, and that the gradient stops.

    The index is counted in x's dtype until the window is done: selects vectorise when all they touch is of one size.

    x: (C, H, W, N)   out: (C, OH, OW, N), overwritten   index: uint8 (C, OH, OW, N), overwritten
    """
    out_h, out_w, images = out.shape[1:]
    for task in prange(x.shape[0] * out_h):
        c, oh = task // out_h, task % out_h
        where = np.empty(images, x.dtype)
        for ow in range(out_w):
            best, places = out[c, oh, ow], index[c, oh, ow]
            if rectify:
                best[:] = 0
                where[:] = 255
            else:
                best[:] = x[c, oh * stride_h, ow * stride_w]
                where[:] = 0
            for tap in range(0 if rectify else 1, kernel_h * kernel_w):
                values, place = x[c, oh * stride_h + tap // kernel_w, ow * stride_w + tap % kernel_w], x.dtype.type(tap)
                for m in range(images):
                    value = values[m]
                    better = (value > best[m]) | (value != value)
                    best[m] = value if better else best[m]
                    where[m] = place if better else where[m]
            for m in range(images):
                places[m] = np.uint8(where[m])


@kernel
def max_pool2d_grad(g, index, kernel_h, kernel_w, stride_h, stride_w, grad_x):
    """Send each output's gradient to the input that was its maximum. A channel is one task: windows may overlap.

    g: (C, OH, OW, N)   index: uint8 (C, OH, OW, N)   grad_x: (C, H, W, N), overwritten
    """
    out_h, out_w, images = g.shape[1:]
    # Windows that neither overlap nor leave gaps meet every place once: it need not be cleared and added to.
    once = kernel_h == stride_h and kernel_w == stride_w
    once = once and out_h * stride_h == grad_x.shape[1] and out_w * stride_w == grad_x.shape[2]
    for c in prange(g.shape[0]):
        if not once:
            grad_x[c] = 0
        for oh in range(out_h):
            for ow in range(out_w):
                gradient, where = g[c, oh, ow], index[c, oh, ow]
                for tap in range(kernel_h * kernel_w):
                    target = grad_x[c, oh * stride_h + tap // kernel_w, ow * stride_w + tap % kernel_w]
                    if once:
                        for m in range(images):
                            target[m] = gradient[m] if where[m] == tap else 0
                    else:
                        for m in range(images):
                            target[m] += gradient[m] if where[m] == tap else 0
