"""Convolution."""

import numpy as np

from minigrad import kernels
from minigrad.ops.base import Op
from minigrad.ops.layout import empty, fill_vectors, innermost, innermost_image, outermost


class Conv2d(
    Op,
    name="conv2d",
    axes="x: (N, C, H, W), w: (F, C / groups, KH, KW), b: (F,) -> (N, F, OH, OW)",
    cost="2 * out * C / groups * KH * KW",
    products=True,
):
    """Cross-correlation: out[n, f, oh, ow] = b[f] + sum over c, i, j of w[f, c, i, j] * x[n, c, oh * stride + i, ...]."""

    def forward(self, x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
        self.padding, self.geometry, self.laid_out = padding, (*stride, *dilation, groups), None
        self.x = innermost_image(x, *padding)  # (C, H, W, N)
        self.w = np.ascontiguousarray(w)
        out_h, out_w = output_size(self.x.shape[1:3], w.shape[2:], stride, dilation)
        images = x.shape[0]
        wide_x = fill_vectors(self.x, out_w * images if stride[1] == 1 else images)
        out = empty((w.shape[0], out_h, out_w, wide_x.shape[3]), x.dtype)  # (F, OH, OW, N)
        kernels.conv2d_forward(wide_x, self.w, _bias(b, len(w), x.dtype), *self.geometry, out)
        return outermost(out[..., :images])

    @staticmethod
    def relu_max_pool2d(arrays, window, step, *, stride, padding, dilation, groups):
        """max_pool2d(relu(conv2d(...))) of arrays x, w and b, for windows of four places, without gradient."""
        x, w, b = arrays
        images = len(x)
        x = fill_vectors(innermost_image(x, *padding), images)  # (C, H, W, N)
        size = output_size(output_size(x.shape[1:3], w.shape[2:], stride, dilation), window, step, (1, 1))
        out = empty((len(w), *size, x.shape[3]), x.dtype)  # (F, OH, OW, N)
        geometry = (*stride, *dilation, groups, *window, *step)
        kernels.conv2d_relu_max_pool2d(x, np.ascontiguousarray(w), _bias(b, len(w), x.dtype), *geometry, out)
        return outermost(out[..., :images])

    def vjp_x(self, g):
        # g: (F, OH, OW, N)   w: (F, C / groups, KH, KW)   -> (C, H, W, N)
        images = g.shape[0]
        wide_g = fill_vectors(self._innermost(g), images)
        channels, height, width, _ = self.x.shape
        size = (height - 2 * self.padding[0], width - 2 * self.padding[1])
        grad_x = empty((channels, *size, wide_g.shape[3]), g.dtype)
        kernels.conv2d_grad_input(wide_g, self.w, *self.geometry, *self.padding, grad_x)
        return outermost(grad_x[..., :images])

    def vjp_w(self, g):
        # x: (C, H, W, N)   g: (F, OH, OW, N)   -> (F, C / groups, KH, KW)
        grad_w = np.empty_like(self.w)
        kernels.conv2d_grad_weight(self.x, self._innermost(g), *self.geometry, grad_w)
        return grad_w

    def vjp_b(self, g):
        # g: (F, OH * OW * N)   -> (F,)
        grad_b = np.empty(g.shape[1], g.dtype)
        kernels.sum_rows(self._innermost(g).reshape(g.shape[1], g.size // max(g.shape[1], 1)), grad_b)
        return grad_b

    def _innermost(self, g):
        """Lay g out for the kernels, once for all three gradients."""
        if self.laid_out is None or self.laid_out[0] is not g:
            self.laid_out = g, innermost(g)
        return self.laid_out[1]


def _bias(b, filters, dtype):
    return np.zeros(filters, dtype) if b is None else np.ascontiguousarray(b)


def output_size(size, kernel, stride, dilation):
    """Return (OH, OW): how many places a window has in an image of `size` (padding included).

    Example:
        >>> output_size((28, 28), (5, 5), (1, 1), (1, 1))
        (24, 24)
    """
    height = (size[0] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    return height, (size[1] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
