"""Sparse models in files: safetensors, as checkpoints are, with a checksum over all that they say.

A file holds, for each sparse layer, the arrays of its format, and all other parameters and buffers as they are. Nothing in
a wrong column number shows that it is wrong, so that a damaged file would be a model that computes something else: hence
the checksum.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minigrad import nn
from minigrad.errors import CheckpointError
from minigrad.tensor import Array

from ..checksum import read_checked, write_checked
from .convert import CONVERTERS, with_layers
from .formats import FORMATS
from .layers import SparseConv2d, SparseLayer, SparseLinear


class FileBytes(NamedTuple):
    """Where the bytes of a file are.

    Attributes:
        weights: arrays of the sparse layers' weights: the accounting's figure.
        others: biases, dense layers, buffers.
        header: names, dtypes, shapes, formats and the checksum, as JSON.
    """

    weights: int
    others: int
    header: int


def save_sparse(path: str | Path, model: nn.Module, **metadata: Any) -> FileBytes:
    """Write a model with sparse layers, as `to_sparse` makes it.

    Args:
        path: the file, usually *.safetensors.
        model: its sparse layers are stored in their formats.
        metadata: anything JSON can hold.

    Returns:
        The bytes of the file, by what they are for; their sum is its size.

    Raises:
        ValueError: the model has no sparse layer.
        OSError: the file cannot be written.
        TypeError: metadata holds something that JSON cannot.

    Example:
        >>> import tempfile
        >>> from minigrad.compression.models import LeNet
        >>> from minigrad.compression.sparse import to_sparse
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_sparse(f"{folder}/lenet.safetensors", to_sparse(LeNet(), "bitmask"))
        FileBytes(weights=182284, others=944, header=...)
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, SparseLayer)}
    if not layers:
        raise ValueError(f"save_sparse: {type(model).__name__} has no sparse layer; convert it with to_sparse first")
    arrays = {name: array for name, array in model.state_dict().items() if not is_weight(name, layers)}
    others = sum(array.nbytes for array in arrays.values())
    weights = 0
    for name, layer in layers.items():
        matrix = layer.encoded()
        weights += matrix.nbytes
        arrays |= {join(name, part): array for part, array in matrix.arrays().items()}
    about = {name: {"format": layer.format, "shape": list(layer.matrix.shape)} for name, layer in layers.items()}
    metadata = {**metadata, "architecture": type(model).__name__, "sparse": about}
    return FileBytes(weights, others, write_checked(path, arrays, metadata))


def load_sparse(path: str | Path, model: nn.Module) -> nn.Module:
    """Read a model that `save_sparse` wrote.

    Args:
        path: the file.
        model: the dense model that was converted, such as LeNet(); its values do not matter, and it stays as it is.

    Returns:
        A copy of `model` with sparse layers where the file has them, and the file's values.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, not of `save_sparse`, or of another architecture.
    """
    arrays, metadata = read_checked(path, "sparse", "save_sparse")
    about = metadata["sparse"]
    try:
        made = {name: _read_layer(name, about[name], model, arrays) for name in about}
        converted = with_layers(model, made)
        arrays |= {name: array for name, array in converted.state_dict().items() if is_weight(name, made)}
        converted.load_state_dict(arrays)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is not one of {type(model).__name__}: {error.args[0]}") from None
    return converted


def _read_layer(name: str, about: Any, model: nn.Module, arrays: dict[str, Array]) -> SparseLayer:
    """Take a layer's arrays out of `arrays`, and make the layer."""
    layer, said = dict(model.named_modules()).get(name), name or "the layer"
    if type(layer) not in CONVERTERS:
        raise ValueError(f"it has a sparse layer {name!r} where the model has no Linear or Conv2d")
    if not isinstance(about, dict):
        raise ValueError(f"{said} is described by {about!r}, expected a format and a shape")
    weight: Array = layer.weight.data  # pyright: ignore[reportOptionalMemberAccess]
    format, shape = about.get("format"), (len(weight), weight[:1].size)
    if not isinstance(format, str) or format not in FORMATS:
        raise ValueError(f"{said} has format {format!r}; there are {', '.join(FORMATS)}")
    if about.get("shape") != list(shape):
        raise ValueError(f"{said} has shape {about.get('shape')}, but the model expects {list(shape)}")
    cls = FORMATS[format].matrix
    found = {part: arrays.pop(join(name, part)) for part in cls.parts if join(name, part) in arrays}
    try:
        matrix = cls.from_arrays(found, shape)
    except ValueError as error:
        raise ValueError(f"{said}: {error}") from None
    if matrix.data.dtype != weight.dtype:
        raise ValueError(f"{said} holds {matrix.data.dtype}, but the model expects {weight.dtype}")
    bias = layer.bias  # pyright: ignore[reportOptionalMemberAccess]
    if isinstance(layer, nn.Conv2d):
        return SparseConv2d.like(layer, matrix, bias, format)
    return SparseLinear(matrix, bias, format)


def is_weight(name: str, layers: Mapping[str, Any]) -> bool:
    """Tell whether a name in a state_dict is that of a sparse layer's values or structure."""
    layer, _, part = name.rpartition(".")
    return layer in layers and part in ("values", "pattern")


def join(layer: str, part: str) -> str:
    """Return the name of a layer's array."""
    return f"{layer}.{part}" if layer else part
