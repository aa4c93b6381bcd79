"""Deep Compression's last step: relative indices, codebooks and Huffman codes, in a file format of its own."""

from .codebook import STARTS, SharedSGD, cluster, first_centroids, share_weights_of
from .indices import to_absolute, to_relative
from .mgz import Container, MgzLayer, is_mgz, load_mgz, read_mgz, save_mgz
from .table import Energy, LayerRow, account_table, energy, energy_table, layer_rows, layer_table
from .weights import Storage, StoredWeight

__all__ = [
    "STARTS", "Container", "Energy", "LayerRow", "MgzLayer", "SharedSGD", "Storage", "StoredWeight", "account_table",
    "cluster", "energy", "energy_table", "first_centroids", "is_mgz", "layer_rows", "layer_table", "load_mgz",
    "read_mgz", "save_mgz", "share_weights_of", "to_absolute", "to_relative",
]  # fmt: skip
