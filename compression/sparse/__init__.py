"""Sparse storage and products: smaller on disk, faster in fact."""

from .accounting import WeightBytes, format_bytes, weight_bytes
from .convert import to_sparse
from .csr import CSRMatrix
from .files import FileBytes, load_sparse, save_sparse
from .formats import FORMATS, BitmaskMatrix, BlockMatrix, DeltaMatrix, encode
from .layers import SparseConv2d, SparseLinear
from .matrix import SparseMatrix

__all__ = [
    "FORMATS",
    "BitmaskMatrix",
    "BlockMatrix",
    "CSRMatrix",
    "DeltaMatrix",
    "FileBytes",
    "SparseConv2d",
    "SparseLinear",
    "SparseMatrix",
    "WeightBytes",
    "encode",
    "format_bytes",
    "load_sparse",
    "save_sparse",
    "to_sparse",
    "weight_bytes",
]
