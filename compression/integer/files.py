"""Integer models in files: safetensors with a checksum. Nothing in a wrong weight or shift would show that it is wrong.

Weights are packed: see `storage.py`.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.errors import CheckpointError

from ..checksum import read_checked, write_checked
from .layers import (
    IntegerAvgPool2d,
    IntegerConv2d,
    IntegerFlatten,
    IntegerLinear,
    IntegerMaxPool2d,
    Scale,
    TensorInfo,
)
from .storage import FileBytes, pack_weights, unpack_weights

Array = np.ndarray

KINDS = {
    cls.__name__: cls for cls in (IntegerConv2d, IntegerLinear, IntegerMaxPool2d, IntegerAvgPool2d, IntegerFlatten)
}
"""Layers, by the name they have in a file."""


def save_integer(path: str | Path, model: Any, **metadata: Any) -> FileBytes:
    """Write an `IntegerModel` as a safetensors file, whole or not at all.

    Args:
        path: the file, usually *.safetensors.
        model: the model.
        metadata: anything JSON can hold.

    Returns:
        Where the file's bytes are: those of the layers are reckoned from their shapes and bits, that of the header is what
        the file says of itself, and `total` is the file's size.

    Raises:
        OSError: the file cannot be written.
        TypeError: metadata holds something that JSON cannot.
    """
    arrays: dict[str, Array] = {}
    about = {"profile": model.profile, "input": _take_apart(model.input, "input", arrays)}
    about["layers"] = [_take_apart(layer, f"layers.{i}", arrays) for i, layer in enumerate(model.layers)]
    header = write_checked(path, arrays, {**metadata, "integer": about})
    return FileBytes(model.layer_bytes(), 8, header)


def load_integer(path: str | Path, cls: Any) -> Any:
    """Read a model that `save_integer` wrote.

    Args:
        path: the file.
        cls: `IntegerModel`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, or holds something else.
    """
    arrays, metadata = read_checked(path, "integer", "IntegerModel.save")
    about = metadata["integer"]
    try:
        layers = [_put_together(row, f"layers.{i}", arrays) for i, row in enumerate(about["layers"])]
        return cls(_put_together(about["input"], "input", arrays), tuple(layers), about["profile"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} holds no integer model that fits together: {error}") from None


def _take_apart(record: Any, name: str, arrays: dict[str, Array]) -> dict[str, Any]:
    """Return what JSON can hold of a record, and put its arrays into `arrays`."""
    row: dict[str, Any] = {"kind": type(record).__name__}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name == "weight":
            packed, row["weight"] = pack_weights(value)
            arrays |= {f"{name}.weight.{part}": array for part, array in packed.items()}
        elif isinstance(value, Scale):
            arrays[f"{name}.{field.name}.mantissa"], arrays[f"{name}.{field.name}.exponent"] = (
                value.mantissa,
                value.exponent,
            )
        elif isinstance(value, np.ndarray):
            arrays[f"{name}.{field.name}"] = value
        else:
            row[field.name] = value
    return row


def _put_together(row: dict[str, Any], name: str, arrays: dict[str, Array]) -> Any:
    """Return the record that `_take_apart` was given."""
    cls = TensorInfo if name == "input" else KINDS[row["kind"]]
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key != "kind"
    }
    if "weight" in values:
        stem = f"{name}.weight."
        packed = {key.removeprefix(stem): array for key, array in arrays.items() if key.startswith(stem)}
        values["weight"] = unpack_weights(packed, **values["weight"])
    for key in (field.name for field in fields(cls) if field.name not in values):
        stem = f"{name}.{key}"
        if f"{stem}.mantissa" in arrays:
            values[key] = Scale(arrays[f"{stem}.mantissa"], arrays[f"{stem}.exponent"])
        else:
            values[key] = arrays[stem]
    return cls(**values)
