"""Sparse storage and products: smaller on disk, faster in fact."""

from .accounting import WeightBytes, format_bytes, weight_bytes
from .atlas import CONTESTANTS, Crossover, Grid, find_crossovers, measure_atlas
from .convert import to_dense, to_sparse
from .csr import CSRMatrix
from .files import FileBytes, load_sparse, save_sparse
from .formats import FORMATS, BitmaskMatrix, BlockMatrix, DeltaMatrix, encode
from .layers import SparseConv2d, SparseLinear
from .matrix import SparseMatrix
from .planner import LayerPlan, Plan, plan

__all__ = [
    "CONTESTANTS",
    "FORMATS",
    "BitmaskMatrix",
    "BlockMatrix",
    "CSRMatrix",
    "Crossover",
    "DeltaMatrix",
    "FileBytes",
    "Grid",
    "LayerPlan",
    "Plan",
    "SparseConv2d",
    "SparseLinear",
    "SparseMatrix",
    "WeightBytes",
    "encode",
    "find_crossovers",
    "format_bytes",
    "load_sparse",
    "measure_atlas",
    "plan",
    "save_sparse",
    "to_dense",
    "to_sparse",
    "weight_bytes",
]
