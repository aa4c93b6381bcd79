"""`.mgz` files: a whole model in as few bytes as Deep Compression needs. docs/format.md says what each byte is."""

import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad import nn
from minigrad.checkpoint import to_json, write_atomically
from minigrad.errors import CheckpointError
from minigrad.tensor import Array

from ..models.chain import as_sequential, fold_batch_norm
from ..sparse.formats import check_format
from ..sparse.layers import SparseConv2d, SparseLinear
from .chain import WEIGHTED, LayerSettings, check_name, check_totals, check_values, read_layer, write_layer
from .weights import Storage, StoredWeight, read_weights, write_weights
from .wire import Reader, check_way, write_floats, write_number

MAGIC, VERSION = b"MGZ", 1
MOST_LAYERS, MOST_METADATA, MOST_BYTES = 256, 2**16, 2**25
"""Of a file, at most."""

DEFAULT_BITS = {nn.Conv2d: 8, nn.Linear: 5}
"""Of a codebook."""

PARTS = (
    "header", "metadata", "codebook", "scales", "Huffman tables", "values", "indices", "fillers", "mask", "biases", "CRC",
)  # fmt: skip
"""What the bytes of a file can be."""


class MgzLayer(NamedTuple):
    """A layer that was read. Layers without weights have no name, weight or bias."""

    name: str
    about: LayerSettings
    weight: StoredWeight | None
    bias: Array | None


@dataclass(frozen=True, eq=False)
class Container:
    """What a .mgz file holds.

    Attributes:
        layers: in the order in which they run.
        input_shape: of one image.
        metadata: what the file says of the model.
        account: bytes by (layer, part): layer "" is the file itself, parts are those of `PARTS`. They add up to the file.
        size: bytes of the file.
    """

    layers: list[MgzLayer]
    input_shape: tuple[int, ...]
    metadata: dict[str, Any]
    account: Counter[tuple[str, str]]
    size: int

    def model(self, sparse: str | None = None) -> nn.Sequential:
        """Return the model.

        Args:
            sparse: a name in `sparse.FORMATS`: convolutions and linear layers that leave zeros out are made sparse, straight
                from the file: their weights are never expanded. None: all layers are dense.

        Raises:
            ValueError: there is no such format.
        """
        if sparse is not None:
            check_format("load_mgz", sparse)
        chain, counts = nn.Sequential(), Counter[str]()
        taken = {layer.name for layer in self.layers}
        for layer in self.layers:
            name = layer.name
            while not name or (not layer.name and name in taken):
                kind = layer.about.kind.__name__.lower().removesuffix("2d")
                counts[kind] += 1
                name = f"{kind}{counts[kind]}"
            setattr(chain, name, _make(layer, sparse))
        return chain


def save_mgz(
    path: str | Path,
    model: nn.Module,
    storage: Storage | Mapping[str, Storage] | None = None,
    *,
    input_shape: tuple[int, ...] = (1, 28, 28),
    float_bits: int = 32,
    huffman: bool = True,
    **metadata: Any,
) -> Container:
    """Write a model as a .mgz file, whole or not at all.

    Nothing is pruned here: prune first. Weights that are zero are left out.

    Args:
        path: the file, usually *.mgz.
        model: a chain of layers, see `models.as_sequential`; it stays as it is. Batch normalisation becomes part of the
            layer before it.
        storage: how weights are stored, for all layers or by layer; layers that are not named get codebooks.
        input_shape: of one image.
        float_bits: of biases and centroids, 32 or 16.
        huffman: whether Huffman codes may be used.
        metadata: anything JSON can hold; it costs bytes.

    Returns:
        What is in the file now, as `read_mgz` reads it.

    Raises:
        ValueError: the model is no chain, is too large, or has NaN or infinity.
        KeyError: storage names a layer that there is not.
        TypeError: metadata holds something that JSON cannot.
        OSError: the file cannot be written.

    Source:
        Han, Mao and Dally, "Deep compression", 2016.

    Example:
        >>> import tempfile
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
        >>> model = trained_lenet()
        >>> pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     container = save_mgz(f"{folder}/lenet.mgz", pruned, Storage("codebook", bits=4), float_bits=16)
        ...     Path(f"{folder}/lenet.mgz").stat().st_size == container.size == sum(container.account.values())
        True
    """
    check_way("save_mgz: float_bits", float_bits, (16, 32))
    chain = fold_batch_norm(as_sequential(model, np.zeros((1, *input_shape), np.float32)))
    layers = {name: layer for name, layer in vars(chain).items() if isinstance(layer, nn.Module)}
    content = bytearray(_write_head(input_shape, metadata, len(layers)))
    content += _write_layers(layers, storage, huffman, float_bits)
    content += zlib.crc32(content).to_bytes(4, "little")
    try:
        container = _parse(bytes(content))  # before there is a file: what is written can be read
    except ValueError as error:
        raise ValueError(f"save_mgz: {type(model).__name__} does not fit into a .mgz file: {error}") from None
    write_atomically(path, bytes(content))
    return container


def _write_head(input_shape: tuple[int, ...], metadata: Mapping[str, Any], layers: int) -> bytes:
    """Return what comes before the layers as bytes."""
    note = to_json(metadata).encode() if metadata else b""
    sizes = b"".join(map(write_number, (len(input_shape), *input_shape)))
    return MAGIC + bytes([VERSION]) + sizes + write_number(len(note)) + note + write_number(layers)


def _write_layers(
    layers: Mapping[str, nn.Module], storage: Storage | Mapping[str, Storage] | None, huffman: bool, float_bits: int
) -> bytes:
    """Return all layers as bytes."""
    named = [name for name, layer in layers.items() if isinstance(layer, WEIGHTED)]
    chosen = dict(storage) if isinstance(storage, Mapping) else dict.fromkeys(named, storage or Storage())
    if unknown := sorted(chosen.keys() - set(named)):
        raise KeyError(
            f"save_mgz: storage names {', '.join(unknown)}; layers with weights are {', '.join(named) or 'none'}"
        )
    content = bytearray()
    for name, layer in layers.items():
        try:
            content += write_layer(name, layer)
            if isinstance(layer, nn.Conv2d | nn.Linear):
                content += _write_numbers(name, layer, chosen.get(name, Storage()), huffman, float_bits)
        except ValueError as error:
            raise ValueError(f"save_mgz: {name}: {error}") from None
    return bytes(content)


def _write_numbers(name: str, layer: nn.Conv2d | nn.Linear, storage: Storage, huffman: bool, float_bits: int) -> bytes:
    """Return a layer's name, weight and bias as bytes."""
    w: Array = layer.weight.data.astype(np.float32)
    if storage.way == "codebook" and storage.bits is None:
        shared = len(np.unique(w)) <= min(2**8, np.count_nonzero(w) // 2)
        storage = replace(storage, bits=8 if shared else DEFAULT_BITS[type(layer)])
    content = write_number(len(name)) + name.encode() + write_weights(w, storage, huffman, float_bits)
    bias = None if layer.bias is None else layer.bias.data
    return content + (bytes([0]) if bias is None else bytes([1]) + write_floats(bias, float_bits))


def load_mgz(path: str | Path, sparse: str | None = None) -> nn.Sequential:
    """Read a model that `save_mgz` wrote. Nothing in the file is trusted; memory is bounded by limits, not by the file.

    Args:
        path: the file.
        sparse: see `Container.model`.

    Returns:
        The layers as a Sequential; those with weights have the names that they had in the model.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, is no .mgz file, or needs more than the limits allow.

    Example:
        >>> import tempfile
        >>> from minigrad import nn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_mgz(f"{folder}/a.mgz", nn.Sequential(nn.Linear(4, 3), nn.ReLU()), input_shape=(4,))
        ...     load_mgz(f"{folder}/a.mgz")
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=True)
          (relu1): ReLU()
        )
    """
    return read_mgz(path).model(sparse)


def read_mgz(path: str | Path) -> Container:
    """Read all that is in a .mgz file.

    Raises:
        FileNotFoundError, CheckpointError: as `load_mgz`.

    Example:
        >>> import tempfile
        >>> from minigrad import nn
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_mgz(f"{folder}/a.mgz", nn.Sequential(nn.Linear(4, 3)), Storage("float"), input_shape=(4,))
        ...     container = read_mgz(f"{folder}/a.mgz")
        >>> {part: n for (layer, part), n in container.account.items() if layer == "0"}
        {'header': 4, 'values': 48, 'biases': 12}
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model {path}: there is no such file" + (", but a folder" if path.is_dir() else ""))
    if path.stat().st_size > MOST_BYTES:
        raise CheckpointError(f"model {path}: it has {path.stat().st_size:,} bytes; {MOST_BYTES:,} are read at most")
    try:
        return _parse(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"model {path} is damaged, or is no .mgz file: {error}") from None


def is_mgz(path: str | Path) -> bool:
    """Tell whether there is a file that begins as .mgz files do.

    Raises:
        OSError: it cannot be read.
    """
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _parse(content: bytes) -> Container:
    """Return what is in the bytes of a file.

    Raises:
        ValueError: they are not those of a file.
    """
    if content[: len(MAGIC)] != MAGIC or len(content) < 8:
        raise ValueError("it does not begin with MGZ" if content[: len(MAGIC)] != MAGIC else "it ends in its header")
    if content[3] != VERSION:
        raise ValueError(f"it is of version {content[3]}, and only version {VERSION} is known here")
    if zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
        raise ValueError("its checksum is not that of its content")
    reader = Reader(content[:-4])
    reader.take(4, "header")
    shape = input_shape = tuple(
        reader.number("size of the input", 2**16, 1) for _ in range(reader.number("axes", 3, 1))
    )
    check_values("the input", input_shape)
    metadata = _read_metadata(reader)
    layers: list[MgzLayer] = []
    names, weights, products = set[str](), 0, 0
    for _ in range(reader.number("number of layers", MOST_LAYERS)):
        reader.section = ""
        about = read_layer(reader, shape)
        name, weight, bias = "", None, None
        if about.kind in WEIGHTED:
            count = math.prod(about.weight_shape)
            weights, products = weights + count + about.weight_shape[0], products + count * about.uses
            check_totals(weights, products)
            name = reader.take(reader.number("length of a name", 64, 1), "header").decode("ascii", "replace")
            check_name(name, names)
            names.add(name)
            reader.section = name
            weight = read_weights(reader, about.weight_shape)
            bias = reader.floats(about.weight_shape[0], "biases") if reader.number("flag of the biases", 1) else None
        layers.append(MgzLayer(name, about, weight, bias))
        shape = about.output_shape
    if reader.at < len(reader.content):
        raise ValueError(f"{len(reader.content) - reader.at} bytes follow the last layer")
    reader.account["", "CRC"] = 4
    return Container(layers, input_shape, metadata, reader.account, len(content))


def _read_metadata(reader: Reader) -> dict[str, Any]:
    note = reader.take(reader.number("length of the metadata", MOST_METADATA), "metadata")
    try:
        metadata = json.loads(note) if note else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its metadata is no JSON ({error})") from None
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is not a JSON object")
    return metadata


def _make(layer: MgzLayer, sparse: str | None) -> nn.Module:
    """Return a layer as a module."""
    kind, settings = layer.about.kind, layer.about.settings
    if layer.weight is None:
        return kind(**settings)
    if sparse is not None and layer.weight.positions.size < layer.weight.size:
        matrix = layer.weight.csr()
        if kind is nn.Linear:
            return SparseLinear(matrix, layer.bias, sparse)
        geometry = {name: value for name, value in settings.items() if name != "out_channels"}
        return SparseConv2d(matrix, layer.bias, sparse, **geometry)
    made: Any = kind(**settings, bias=layer.bias is not None)  # pyright: ignore[reportCallIssue]
    made.weight = nn.Parameter(layer.weight.dense())
    if layer.bias is not None:
        made.bias = nn.Parameter(layer.bias)
    return made
