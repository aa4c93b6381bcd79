"""Safetensors files with a checksum over all that they say, for models in which nothing wrong would show that it is wrong.

A sparse or integer model with one wrong column number or shift is a model that computes something else.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minigrad.checkpoint import read_checkpoint, to_json, write_checkpoint
from minigrad.errors import CheckpointError
from minigrad.tensor import Array


def digest(arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 of arrays (names, dtypes, shapes, values) and metadata."""
    total = hashlib.sha256(to_json(json.loads(to_json(metadata))).encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def write_checked(path: str | Path, arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> int:
    """Write arrays, metadata and their checksum, whole or not at all.

    Returns:
        Bytes of the file's header, as the file says of itself; the arrays take all others.

    Raises:
        OSError, TypeError: as `save_checkpoint`.
    """
    write_checkpoint(path, arrays, {**metadata, "sha256": digest(arrays, metadata)})
    with Path(path).open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def read_checked(path: str | Path, kind: str, writer: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what `write_checked` wrote.

    Args:
        path: the file.
        kind: of its layers: the key under which the metadata describes them.
        writer: who should have written it, for the sentence if nobody did.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, or not of that writer.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     header = write_checked(f"{folder}/a", {"w": np.zeros(3)}, {"odd": {"w": 3}})
        ...     read_checked(f"{folder}/a", "odd", "save_odd"), Path(f"{folder}/a").stat().st_size - header
        (({'w': array([0., 0., 0.])}, {'odd': {'w': 3}}), 24)
    """
    arrays, metadata = read_checkpoint(path)
    expected = metadata.pop("sha256", None)
    if not isinstance(metadata.get(kind), dict) or expected is None:
        raise CheckpointError(f"{path} is not a file of {writer}: it describes no {kind} layers, or has no checksum")
    if digest(arrays, metadata) != expected:
        raise CheckpointError(f"{path} is damaged: what it holds does not match its checksum")
    return arrays, metadata
