"""Layers whose weight is a sparse matrix, in inference and in training: at no time is there a dense one."""

import zlib
from typing import Any, Self

import numpy as np

from minigrad import nn
from minigrad.functional import peephole
from minigrad.functional.checks import check_dtypes
from minigrad.nn.module import Buffer
from minigrad.ops.conv import output_size
from minigrad.tensor import Tensor, apply, as_tensor

from .csr import CSRMatrix
from .formats import FORMATS, check_format, encode
from .matrix import FLOATS, SparseMatrix
from .ops import SparseConv2dOp, SparseLinearOp


class SparseLayer(nn.Module):
    """What both layers share: the values as a Parameter, and the structure that they belong to.

    Args:
        matrix: the weight, (rows, columns), float32 or float64.
        bias: (rows,) of the same dtype, or None.
        format: how files store the weight: a name in `FORMATS`.

    Attributes:
        values: Parameter, flat: the stored values, those that are not trained (zeros in a block) included.
        bias: Parameter or None.
        format: as given.
        pattern: Buffer with a checksum of the structure. `load_state_dict` brings the values' own: a layer refuses
            values that belong to another structure.

    Raises:
        ValueError: the matrix is int8, the bias has another length, or there is no such format.
    """

    values: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, matrix: SparseMatrix, bias: Any = None, format: str = "csr"):
        name = type(self).__name__
        check_format(name, format)
        if matrix.data.dtype not in FLOATS:
            raise ValueError(f"{name}: values must be float32 or float64 to be trained, got {matrix.data.dtype}")
        runtime = matrix.to_runtime()
        self.format = format
        self.values = nn.Parameter(runtime.data.reshape(-1))
        self.bias = None if bias is None else nn.Parameter(bias)
        if self.bias is not None and self.bias.shape != (matrix.shape[0],):
            raise ValueError(
                f"{name}: bias must have shape ({matrix.shape[0]},), one value a row, got {self.bias.shape}"
            )
        self._structure = runtime.with_data(np.empty(0, self.values.dtype))
        self._checksum = checksum(runtime)
        self.pattern = Buffer([self._checksum])

    @property
    def matrix(self) -> SparseMatrix:
        """The weight as it is now, in the form that the layer computes in. It shares the values' memory."""
        return self._structure.with_data(self.values.data)

    def encoded(self) -> SparseMatrix:
        """Return the weight in the layer's format."""
        matrix = self.matrix
        return matrix if type(matrix) is FORMATS[self.format].matrix is not CSRMatrix else encode(matrix, self.format)

    def _checked_structure(self, x: Tensor) -> SparseMatrix:
        name = type(self).__name__
        if int(self.pattern.data[0]) != self._checksum:
            raise ValueError(
                f"{name}: the values were loaded from a layer with another structure; "
                "load a sparse model with load_sparse, or convert the same pruned model"
            )
        check_dtypes(name, x, self.values, self.bias)
        return self._structure

    def _counts(self) -> str:
        rows, columns = self._structure.shape
        share = 1 - self._structure.entries.order.size / max(rows * columns, 1)
        return f"sparsity={share:.2f}, format={self.format!r}, bias={self.bias is not None}"


class SparseLinear(SparseLayer):
    """x @ A.T + bias for a sparse A: (..., in_features) -> (..., out_features). See `SparseLayer`.

    Example:
        >>> from minigrad import nn
        >>> from minigrad.compression.pruning import SparsePruner
        >>> dense = nn.Linear(8, 4)
        >>> pruned = SparsePruner(dense, {"weight": 0.75}).prune(dense)
        >>> sparse = SparseLinear.from_dense(pruned)
        >>> sparse
        SparseLinear(8, 4, sparsity=0.75, format='csr', bias=True)
        >>> x = np.ones((2, 8), np.float32)
        >>> bool(np.allclose(sparse(x).data, pruned(x).data, atol=1e-6))
        True
    """

    @classmethod
    def from_dense(cls, layer: nn.Linear, format: str = "csr") -> Self:
        """Convert a layer; its zeros stay zero from now on."""
        return cls(encode(layer.weight.data, format), layer.bias, format)

    def forward(self, x: Any) -> Tensor:
        """(..., in_features) -> (..., out_features)"""
        x = as_tensor(x)
        structure = self._checked_structure(x)
        if x.ndim < 1 or x.shape[-1] != structure.shape[1]:
            raise ValueError(
                f"SparseLinear: x has {x.shape[-1] if x.ndim else 'no'} features but the matrix expects "
                f"{structure.shape[1]} (x: {x.shape}, matrix: {structure.shape}); "
                "are images not flattened, or of another size?"
            )
        if x.ndim == 2:
            return apply(SparseLinearOp, x, self.values, self.bias, matrix=structure)
        rows = x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])
        out = apply(SparseLinearOp, rows, self.values, self.bias, matrix=structure)
        return out.reshape(*x.shape[:-1], structure.shape[0])

    def extra_repr(self) -> str:
        """Sizes and sparsity, for `repr`."""
        return f"{self._structure.shape[1]}, {self._structure.shape[0]}, {self._counts()}"


class SparseConv2d(SparseLayer):
    """Convolution with sparse filters: (N, in_channels, H, W) -> (N, out_channels, OH, OW). See `SparseLayer`.

    Args:
        matrix: the filters, (out_channels, in_channels / groups * KH * KW), each flattened in C order.
        bias, format: see `SparseLayer`.
        in_channels, kernel_size, stride, padding, dilation, groups: as those of `nn.Conv2d`; pairs.

    Raises:
        ValueError: as `SparseLayer`; the matrix has another number of columns than a filter has taps.
    """

    def __init__(
        self,
        matrix: SparseMatrix,
        bias: Any = None,
        format: str = "csr",
        *,
        in_channels: int,
        kernel_size: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ):
        taps = in_channels // groups * kernel_size[0] * kernel_size[1]
        if matrix.shape[1] != taps or matrix.shape[0] % groups or in_channels % groups:
            raise ValueError(
                f"SparseConv2d: the matrix is {matrix.shape}, but a filter of {in_channels} channels in {groups} groups, "
                f"{kernel_size[0]}x{kernel_size[1]}, has {taps} taps"
            )
        super().__init__(matrix, bias, format)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, matrix.shape[0], kernel_size
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    @classmethod
    def from_dense(cls, layer: nn.Conv2d, format: str = "csr") -> Self:
        """Convert a layer; its zeros stay zero from now on."""
        return cls.like(layer, encode(layer.weight.data.reshape(layer.out_channels, -1), format), layer.bias, format)

    @classmethod
    def like(cls, layer: nn.Conv2d, matrix: SparseMatrix, bias: Any, format: str) -> Self:
        """Make a layer with the geometry of another."""
        geometry = ("in_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        return cls(matrix, bias, format, **{name: getattr(layer, name) for name in geometry})

    def forward(self, x: Any) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, OH, OW)"""
        x = as_tensor(x)
        structure = self._checked_structure(x)
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"SparseConv2d: x must be (N, C, H, W) with C={self.in_channels} channels (x: {x.shape}); "
                "is the axis of channels missing?"
            )
        size = (x.shape[2] + 2 * self.padding[0], x.shape[3] + 2 * self.padding[1])
        out_size = output_size(size, self.kernel_size, self.stride, self.dilation)
        if min(out_size) < 1:
            raise ValueError(
                f"SparseConv2d: a {self.kernel_size[0]}x{self.kernel_size[1]} kernel with dilation {self.dilation} does "
                f"not fit into a padded image of {size[0]}x{size[1]} (x: {x.shape})"
            )
        settings: dict[str, Any] = {"kernel_size": self.kernel_size, "stride": self.stride, "padding": self.padding}
        settings |= {"dilation": self.dilation, "groups": self.groups, "matrix": structure}
        shape = (len(x), self.out_channels, *out_size)
        return peephole.conv2d(SparseConv2dOp, (x, self.values, self.bias), shape, **settings)

    def extra_repr(self) -> str:
        """Channels, geometry and sparsity, for `repr`."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding}" if self.padding != (0, 0) else ""
        text += f", dilation={self.dilation}" if self.dilation != (1, 1) else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return f"{text}, {self._counts()}"


def checksum(matrix: SparseMatrix) -> int:
    """Return a number that matrices of the same class, shape and structure share, and others hardly ever do."""
    total = zlib.crc32(f"{type(matrix).__name__}{matrix.shape}{matrix.count}".encode())
    for part in matrix.parts:
        if part != "data":
            total = zlib.crc32(getattr(matrix, part).tobytes(), total)
    return total
