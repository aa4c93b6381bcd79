"""Pooling."""

import numpy as np

from minigrad import kernels
from minigrad.ops.base import Op
from minigrad.ops.conv import output_size
from minigrad.ops.layout import crop_image, empty, innermost, innermost_image, outermost


class MaxPool2d(
    Op,
    name="max_pool2d",
    axes="x: (N, C, H, W) -> (N, C, OH, OW)",
    cost="out * kernel_size",
    domain="any; kink where largest values of a window tie",
):
    """The largest value of each window. Of equal values the first, row by row, gets the gradient."""

    rectify = False

    def forward(self, x, *, kernel_size, stride, padding):
        self.window, self.padding = (*kernel_size, *stride), padding
        x = innermost_image(x, *padding, value=-np.inf)  # (C, H, W, N)
        self.padded_shape = x.shape
        out_h, out_w = output_size(x.shape[1:3], kernel_size, stride, (1, 1))
        out = empty((x.shape[0], out_h, out_w, x.shape[3]), x.dtype)  # (C, OH, OW, N)
        self.index = np.empty(out.shape, np.uint8)
        kernels.max_pool2d_forward(x, *self.window, self.rectify, out, self.index)
        return outermost(out)

    def vjp_x(self, g):
        # g: (C, OH, OW, N)   -> (C, H, W, N)
        grad_x = empty(self.padded_shape, g.dtype)
        kernels.max_pool2d_grad(innermost(g), self.index, *self.window, grad_x)
        return outermost(crop_image(grad_x, *self.padding))


class ReluMaxPool2d(
    MaxPool2d,
    name="relu_max_pool2d",
    axes="x: (N, C, H, W) -> (N, C, OH, OW)",
    cost="out * kernel_size + out",
    domain="any; kinks where the largest value of a window is 0 or ties",
):
    """max_pool2d(relu(x)) in one sweep over x (see `functional/peephole.py`). Windows of at most 255 places."""

    rectify = True


class AvgPool2d(Op, name="avg_pool2d", axes="x: (N, C, H, W) -> (N, C, OH, OW)", cost="out * kernel_size"):
    """The mean of each window; padding counts as zeros that are averaged too."""

    def forward(self, x, *, kernel_size, stride, padding):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        x = innermost_image(x, *padding)  # (C, H, W, N)
        self.padded_shape = x.shape
        self.out_size = output_size(x.shape[1:3], kernel_size, stride, (1, 1))
        total = sum(x[tap] for tap in self._taps())
        return outermost(total / (kernel_size[0] * kernel_size[1]))

    def vjp_x(self, g):
        # g: (C, OH, OW, N)   -> (C, H, W, N)
        share = innermost(g) / (self.kernel_size[0] * self.kernel_size[1])
        grad_x = np.zeros(self.padded_shape, g.dtype)
        for tap in self._taps():
            grad_x[tap] += share
        return outermost(crop_image(grad_x, *self.padding))

    def _taps(self):
        """Yield, for each place in the window, the slice of x that it meets as the window moves."""
        for i, j in np.ndindex(*self.kernel_size):
            rows = slice(i, i + self.stride[0] * (self.out_size[0] - 1) + 1, self.stride[0])
            columns = slice(j, j + self.stride[1] * (self.out_size[1] - 1) + 1, self.stride[1])
            yield slice(None), rows, columns
