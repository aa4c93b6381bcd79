"""Pooling."""

import numpy as np

from minigrad import kernels
from minigrad.ops.base import Op
from minigrad.ops.conv import output_size
from minigrad.ops.layout import crop_image, innermost, outermost, pad_image


class MaxPool2d(Op, name="max_pool2d", axes="x: (N, C, H, W) -> (N, C, OH, OW)"):
    """The largest value of each window. Of equal values the first, row by row, gets the gradient."""

    def forward(self, x, *, kernel_size=(2, 2), stride=(2, 2), padding=(0, 0)):
        self.window, self.padding = (*kernel_size, *stride), padding
        x = pad_image(innermost(x), *padding, value=-np.inf)  # (C, H, W, N)
        self.padded_shape = x.shape
        out_h, out_w = output_size(x.shape[1:3], kernel_size, stride, (1, 1))
        out = np.empty((x.shape[0], out_h, out_w, x.shape[3]), x.dtype)  # (C, OH, OW, N)
        self.index = np.empty(out.shape, np.uint8)
        kernels.max_pool2d_forward(x, *self.window, out, self.index)
        return outermost(out)

    def vjp_x(self, g):
        # g: (C, OH, OW, N)   -> (C, H, W, N)
        grad_x = np.empty(self.padded_shape, g.dtype)
        kernels.max_pool2d_grad(innermost(g), self.index, *self.window, grad_x)
        return outermost(crop_image(grad_x, *self.padding))
