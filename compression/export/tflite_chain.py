"""A chain of layers in the terms of a .tflite file: what int8 and float32 files have in common.

TensorFlow Lite's images are (N, H, W, C). So filters are turned from (F, C, KH, KW) to (F, KH, KW, C), and the columns of the
linear layer behind a flatten are put in the order in which such an image is flattened.
"""

from typing import NamedTuple

import numpy as np

from minigrad.tape import Array

from .flatbuffer import Table, table
from .tflite_graph import (
    CONV_2D_OPTIONS,
    FULLY_CONNECTED_OPTIONS,
    PADV2_OPTIONS,
    POOL_2D_OPTIONS,
    RESHAPE_OPTIONS,
    SAME,
    VALID,
    Graph,
    Quantization,
)

Pair = tuple[int, int]


class Window(NamedTuple):
    """The geometry of a convolution or of pooling, each (rows, columns)."""

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @property
    def reach(self) -> Pair:
        """Rows and columns that a window spans."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    def output(self, size: tuple[int, ...]) -> Pair:
        """Return how many windows an image (H, W) has, down and across."""
        settings = zip(size, self.reach, self.stride, self.padding, strict=True)
        down, across = ((n + 2 * p - k) // s + 1 for n, k, s, p in settings)
        return down, across

    def is_same(self, size: tuple[int, ...]) -> bool:
        """Tell whether SAME puts windows where this padding, PyTorch's, does, in an image (H, W).

        SAME has ceil(size / stride) windows and pads what they lack, the smaller half in front. PyTorch pads both ends
        alike, and drops at the end what no window reaches.

        Example:
            >>> Window((3, 3), (2, 2), (1, 1)).is_same((28, 28)), Window((3, 3), (2, 2), (1, 1)).is_same((27, 27))
            (False, True)
        """
        windows = tuple(-(-n // s) for n, s in zip(size, self.stride, strict=True))
        settings = zip(windows, size, self.reach, self.stride, strict=True)
        front = tuple(max((count - 1) * s + k - n, 0) // 2 for count, n, k, s in settings)
        return front == self.padding and windows == self.output(size)


class Border(NamedTuple):
    """What padding fills in, and whether SAME would fill in the same."""

    fill: float
    as_same: bool


class Chain:
    """Operators of a graph, each reading what the one before wrote.

    Args:
        graph: to write into.
        shape: of the input, (N, H, W, C).
        dtype: of the input and of what the layers write.
        quantization: of the input.

    Attributes:
        x: the tensor written last.
        order: after a flatten: which feature, counted in (C, H, W), each place holds.
    """

    def __init__(self, graph: Graph, shape: tuple[int, ...], dtype: str, quantization: Quantization | None = None):
        self.graph, self.dtype, self.quantization = graph, dtype, quantization
        self.input = self.x = graph.tensor("images", shape, dtype, quantization)
        self.order: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor written last."""
        return self.graph.shapes[self.x]

    def append(
        self, op: str, version: int, name: str, shape: tuple[int, ...], constants: tuple[int, ...] = (),
        options: Table | None = None, quantization: Quantization | None = None,
    ) -> None:  # fmt: skip
        """Append an operator that reads the last tensor and `constants`; its output is quantized like its input, or anew."""
        self.quantization = quantization or self.quantization
        out = self.graph.tensor(name, shape, self.dtype, self.quantization)
        self.x = self.graph.operator(op, version, (self.x, *constants), out, options)

    def conv(
        self, name: str, arrays: tuple[int, int], window: Window, border: Border, activation: int,
        quantization: Quantization | None = None,
    ) -> None:  # fmt: skip
        """Append a convolution; `arrays` are the tensors of weight (F, KH, KW, C / groups) and bias (F,)."""
        filters = self.graph.shapes[arrays[0]][0]
        shape = (self.shape[0], *window.output(self.shape[1:3]), filters)
        padding = self._pad(name, window, border)
        (down, across), (rows, columns) = window.stride, window.dilation
        options = table(
            CONV_2D_OPTIONS, padding=padding, stride_w=across, stride_h=down, fused_activation_function=activation,
            dilation_w_factor=columns, dilation_h_factor=rows,
        )  # fmt: skip
        self.append("CONV_2D", 3, name, shape, arrays, options, quantization)

    def pool(self, op: str, name: str, window: Window, border: Border, activation: int) -> None:
        """Append MAX_POOL_2D or AVERAGE_POOL_2D."""
        shape = (self.shape[0], *window.output(self.shape[1:3]), self.shape[3])
        padding = self._pad(name, window, border)
        (down, across), (rows, columns) = window.stride, window.kernel
        options = table(
            POOL_2D_OPTIONS, padding=padding, stride_w=across, stride_h=down, filter_width=columns, filter_height=rows,
            fused_activation_function=activation,
        )  # fmt: skip
        self.append(op, 2, name, shape, (), options)

    def linear(
        self,
        name: str,
        arrays: tuple[int, int],
        version: int,
        activation: int,
        quantization: Quantization | None = None,
    ) -> None:
        """Append a linear layer; `arrays` are the tensors of weight (O, I), columns in `order`, and bias (O,)."""
        options = table(FULLY_CONNECTED_OPTIONS, fused_activation_function=activation, weights_format=0)
        shape = (self.shape[0], self.graph.shapes[arrays[0]][0])
        self.append("FULLY_CONNECTED", version, name, shape, arrays, options, quantization)
        self.order = None

    def flatten(self, name: str) -> None:
        """Append a reshape to (N, H * W * C); without effect on what is flat."""
        if len(self.shape) == 2:
            return
        n, h, w, c = self.shape
        self.order = np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0).ravel()
        new = np.array([n, h * w * c], np.int32)
        shape = self.graph.constant(f"{name}/shape", new)
        self.append("RESHAPE", 1, name, (n, h * w * c), (shape,), table(RESHAPE_OPTIONS, new_shape=new))

    def to_bytes(self) -> bytes:
        """Return the file.

        Raises:
            ValueError: the last layer is a flatten, whose output has another order in a .tflite file.
        """
        if self.order is not None and (np.diff(self.order) != 1).any():
            raise ValueError(
                "to_tflite: the model ends in a Flatten, whose features a .tflite file has in (H, W, C) order and not in "
                "(C, H, W); a linear layer behind it would take them as they come"
            )
        return self.graph.to_bytes(self.input, self.x)

    def _pad(self, name: str, window: Window, border: Border) -> int:
        """Pad the image where neither VALID nor SAME does it, and return which of the two is next."""
        if window.padding == (0, 0):
            return VALID
        if border.as_same and window.is_same(self.shape[1:3]):
            return SAME
        (top, left), (n, h, w, c) = window.padding, self.shape
        amounts = np.array([[0, 0], [top, top], [left, left], [0, 0]], np.int32)
        fill = np.array([border.fill], self.dtype)
        constants = (
            self.graph.constant(f"{name}/paddings", amounts),
            self.graph.constant(f"{name}/fill", fill, self.quantization),
        )
        shape = (n, h + 2 * top, w + 2 * left, c)
        self.append("PADV2", 2, f"{name}/padded", shape, constants, table(PADV2_OPTIONS))
        return VALID
