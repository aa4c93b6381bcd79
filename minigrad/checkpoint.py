"""Checkpoints: safetensors files, written so that a reader finds the old file or the new one and never half of either.

The same arrays and metadata give the same bytes: metadata is one key of sorted JSON, since safetensors does not fix the
order of several.
"""

import glob
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from minigrad.errors import CheckpointError
from minigrad.nn import Module
from minigrad.tensor import Array

METADATA_KEY = "minigrad"


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary file beside it, flushed to disk, then renamed over it.

    An existing file keeps its permissions; a symbolic link is followed.

    Raises:
        OSError: it cannot be written (missing rights, full disk); an existing file at `path` is left as it was.
    """
    target = Path(path).resolve()
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~UMASK)
        Path(temporary).replace(target)
        _flush_folder(target.parent)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):  # name the file that was asked for, not the temporary one
            raise type(error)(error.errno, f"cannot write: {error.strerror}", str(path)) from None
        raise


def remove_leftovers(path: str | Path) -> None:
    """Delete the temporary files of writers of `path` that were killed while they wrote.

    Only for a file with a single writer: another one, still at work, would lose its temporary file, and fail.
    """
    target = Path(path).resolve()
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename durable. Windows has no way to, and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _read_umask() -> int:
    mask = os.umask(0o077)  # the system tells it only by setting another
    os.umask(mask)
    return mask


UMASK = _read_umask()
"""The process's umask when minigrad was imported."""


def save_checkpoint(path: str | Path, model: Module, /, **metadata: Any) -> None:
    """Save a model's parameters, and what is worth knowing about them, as a safetensors file.

    Args:
        path: the file, usually *.safetensors.
        model: its `state_dict()` is written.
        metadata: anything JSON can hold, such as epoch=5, and NumPy's numbers.

    Raises:
        OSError: the file cannot be written.
        TypeError: metadata holds something else.
    """
    write_checkpoint(path, model.state_dict(), {**metadata, "architecture": type(model).__name__})


def write_checkpoint(path: str | Path, arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write arrays by name, and metadata, as a safetensors file: what `read_checkpoint` reads.

    Raises:
        OSError, TypeError: as `save_checkpoint`.
    """
    rows = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # the format knows no other order
    write_atomically(path, to_safetensors(rows, metadata={METADATA_KEY: to_json(metadata)}))


def to_json(metadata: Any) -> str:
    """Return metadata as JSON with sorted keys; NumPy's numbers count as numbers.

    Raises:
        TypeError: metadata holds something that JSON cannot.
    """
    return json.dumps(metadata, sort_keys=True, default=_as_json)


def _as_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"checkpoint: metadata holds {type(value).__name__}, which JSON cannot")


def read_checkpoint(path: str | Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a safetensors file: its arrays by name, and its metadata (empty for a file that others wrote).

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is not a safetensors file, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {path}: there is no such file" + (", but a folder" if path.is_dir() else "")
        )
    try:
        with safe_open(path, framework="numpy") as file:
            note = (file.metadata() or {}).get(METADATA_KEY, "{}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        metadata = json.loads(note)
    except (SafetensorError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"checkpoint {path}: expected a safetensors file of arrays, and it is damaged or something else ({error})"
        ) from None
    if not isinstance(metadata, dict):
        raise CheckpointError(f"checkpoint {path}: its metadata is not a JSON object")
    return arrays, metadata


def load_checkpoint(path: str | Path, model: Module) -> dict[str, Any]:
    """Load a checkpoint's parameters into `model`, and return the checkpoint's metadata.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or its names or shapes are not the model's; the model is then unchanged.
    """
    arrays, metadata = read_checkpoint(path)
    try:
        model.load_state_dict(arrays)
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path} is not one of {type(model).__name__}: {error.args[0]}") from None
    return metadata
