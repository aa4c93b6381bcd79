"""Weights as PyTorch has them: safetensors files of a `state_dict`, in and out. docs/pytorch.md tells both sides of it.

PyTorch's own files (.pt, .pth) are pickles, which run whatever code they hold when they are opened. They are not read here.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save as to_safetensors

from minigrad import nn
from minigrad.errors import CheckpointError
from minigrad.tensor import Array

from ..quantization.floats import BFLOAT16
from ..sparse.convert import to_dense

FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Numbers that are taken, by their name in a file, as NumPy reads them; bfloat16 is decoded by hand."""

MOST_NAMED = 12
"""Misfits that a sentence lists; what are more are counted."""


class TorchArray(NamedTuple):
    """An array as a file has it.

    Attributes:
        name: in the file.
        dtype: in the file, such as "F32", "BF16", "I64".
        shape: in the file.
        values: as float32; None if they are no floating-point numbers.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: Array | None


class Row(NamedTuple):
    """One array of the model, of the file, or of both, and whether they fit.

    Attributes:
        name: what the model calls it, or would.
        expected: the shape in the model; None: the model has none of this name.
        found: what the file has; None: it has none.
        problem: what is wrong, as the end of a sentence, details behind a colon; "" if nothing is.
    """

    name: str
    expected: tuple[int, ...] | None
    found: TorchArray | None
    problem: str


def to_pytorch(model: nn.Module) -> bytes:
    """Return a model's weights as a safetensors file that PyTorch's `load_state_dict` takes.

    Args:
        model: any float model; sparse layers are written out with their zeros. Pruned weights are exactly 0.0 in the file.

    Raises:
        ValueError: the model has no parameters, as an integer model in a wrapper.

    Example:
        >>> from minigrad.compression.models import LeNet
        >>> len(to_pytorch(LeNet())) - 4 * 44_426  # what the header takes
        768
    """
    arrays = {name: np.asarray(array, order="C") for name, array in to_dense(model).state_dict().items()}
    if not arrays:
        raise ValueError(f"to_pytorch: {type(model).__name__} has no parameters in floating-point numbers")
    return to_safetensors(arrays, metadata={"format": "pt"})


def read_pytorch(path: str | Path, names: Mapping[str, str] | None = None) -> dict[str, TorchArray]:
    """Read a safetensors file that was written in PyTorch.

    Args:
        path: the file.
        names: what is called otherwise there: their name → ours, of arrays or of layers. {"features.0": "conv1"} takes
            features.0.weight for conv1.weight; {"module": ""} takes "module." away from all names.

    Returns:
        The arrays by our names, floats as float32: bfloat16 and float16 exactly, float64 rounded.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is a pickle, is damaged, or is something else.
        ValueError: names has a name that the file does not have, or two arrays would get one name.
    """
    content = _read(Path(path))
    try:
        found = [_array(name, spec) for name, spec in sorted(deserialize(content), key=lambda row: row[0])]
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path}: expected a safetensors file, and it is damaged or no such file ({error})"
        ) from None
    ours = {array.name: _renamed(array.name, names or {}) for array in found}
    for theirs in names or {}:
        if not any(name == theirs or name.startswith(f"{theirs}.") for name in ours):
            raise ValueError(f"{path} has nothing named {theirs!r}; it has {_listed([shown(name) for name in ours])}")
    if twice := [name for name, count in Counter(ours.values()).items() if count > 1]:
        both = " and ".join(shown(theirs) for theirs, name in ours.items() if name == twice[0])
        raise ValueError(f"{path}: {both} would both be {shown(twice[0])}; each name can be given once")
    return {ours[array.name]: array for array in found}


def compare(model: nn.Module, found: Mapping[str, TorchArray]) -> list[Row]:
    """Hold the arrays of a file against a model, name by name: first all of the model's, then what it does not know.

    Example:
        >>> from minigrad import nn
        >>> compare(nn.Linear(2, 3), {})[0]
        Row(name='weight', expected=(3, 2), found=None, problem='is missing')
    """
    own = {name: array.shape for name, array in model.state_dict().items()}
    names = [*own, *(name for name in found if name not in own)]
    return [Row(name, own.get(name), found.get(name), _problem(own.get(name), found.get(name))) for name in names]


def from_pytorch(model: nn.Module, found: Mapping[str, TorchArray]) -> nn.Module:
    """Return a copy of a model with the weights of a file.

    Args:
        model: says which names and shapes are expected. It stays as it is.
        found: what `read_pytorch` returned.

    Raises:
        CheckpointError: a name is missing or unexpected, a shape is another, or an array holds no finite floats; the sentence
            names each.

    Example:
        >>> import tempfile
        >>> from minigrad.compression.models import LeNet
        >>> lenet = LeNet()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(f"{folder}/weights.safetensors").write_bytes(to_pytorch(lenet))
        ...     back = from_pytorch(LeNet(), read_pytorch(f"{folder}/weights.safetensors"))
        >>> bool((back.conv1.weight.data == lenet.conv1.weight.data).all())
        True
    """
    if wrong := [f"{shown(row.name)} {row.problem}" for row in compare(model, found) if row.problem]:
        raise CheckpointError(
            f"these are not the weights of {type(model).__name__}: {_listed(wrong)}; is it another architecture, or are "
            "layers called otherwise?"
        )
    made = copy.deepcopy(model)
    made.load_state_dict({name: array.values for name, array in found.items()})
    return made


def suggest(rows: Sequence[Row]) -> dict[str, str]:
    """Return `names` that would fit by their shapes alone, where there is one possibility; layers where it can be layers.

    Args:
        rows: of `compare`.

    Example:
        >>> from minigrad import nn
        >>> other = {"a.weight": TorchArray("a.weight", "F32", (3, 2), None), "a.bias": TorchArray("a.bias", "F32", (3,), None)}
        >>> suggest(compare(nn.Sequential(nn.Linear(2, 3)), other))
        {'a': '0'}
    """
    missing = {row.name: row.expected for row in rows if row.found is None}
    unknown = {row.found.name: row.found.shape for row in rows if row.expected is None and row.found}
    pairs = {
        theirs: ours
        for theirs, shape in unknown.items()
        for ours, expected in missing.items()
        if shape == expected and [*unknown.values()].count(shape) == [*missing.values()].count(shape) == 1
    }
    layers: dict[str, str] = {}
    for theirs, ours in pairs.items():
        (layer, _, part), (own, _, own_part) = theirs.rpartition("."), ours.rpartition(".")
        as_layer = layer and own and part == own_part and layers.get(layer, own) == own
        layers |= {layer: own} if as_layer else {theirs: ours}
    return layers


def _read(path: Path) -> bytes:
    """Return what a file holds, unless it is a pickle."""
    if not path.is_file():
        raise FileNotFoundError(f"weights {path}: there is no such file" + (", but a folder" if path.is_dir() else ""))
    content = path.read_bytes()
    is_safetensors = content[8:9] == b"{"
    if not is_safetensors and (path.suffix in (".pt", ".pth", ".pkl") or content[:2] in (b"PK", b"\x80\x02")):
        raise CheckpointError(
            f"{path} is a pickle, as torch.save writes it, which can run any code when it is opened, and is not opened here; "
            f"in PyTorch, write the weights as safetensors: from safetensors.torch import save_file; "
            f'save_file(model.state_dict(), "{path.with_suffix(".safetensors").name}")'
        )
    return content


def _array(name: str, spec: Mapping[str, object]) -> TorchArray:
    """Return an array of the file, as float32 if it holds floats."""
    dtype, shape, data = str(spec["dtype"]), tuple(map(int, spec["shape"])), bytes(spec["data"])  # pyright: ignore[reportArgumentType]
    if dtype not in FLOATS:
        return TorchArray(name, dtype, shape, None)
    values = np.frombuffer(data, FLOATS[dtype]).reshape(shape)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is reported as such
        values = BFLOAT16.decode(values) if dtype == "BF16" else values.astype(np.float32)
    return TorchArray(name, dtype, shape, values)


def _renamed(name: str, names: Mapping[str, str]) -> str:
    """Return what an array is called here: by its own name, or by that of the innermost layer that `names` has."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if (ours := names.get(".".join(parts[:end]))) is not None:
            return ".".join(filter(None, [ours, *parts[end:]]))
    return name


def _problem(expected: tuple[int, ...] | None, found: TorchArray | None) -> str:
    if found is None:
        return "is missing"
    if expected is None:
        return "is unexpected"
    if found.shape != expected:
        return f"has another shape: {by(found.shape)}, expected {by(expected)}"
    if found.values is None:
        return f"holds no floats: {found.dtype}, expected F32, F64, F16 or BF16"
    if wrong := int(np.count_nonzero(~np.isfinite(found.values))):
        return f"has NaN or infinity as float32: {wrong:,} of {found.values.size:,} numbers"
    return ""


def _listed(said: Sequence[str]) -> str:
    more = f", and {len(said) - MOST_NAMED:,} more" if len(said) > MOST_NAMED else ""
    return ", ".join(said[:MOST_NAMED]) + more


def by(shape: tuple[int, ...]) -> str:
    """Return a shape as "6×1×5×5"."""
    return "×".join(map(str, shape)) or "a number"


def shown(name: str, most: int = 80) -> str:
    """Return what comes from a file as it can be printed anywhere, cut off after so many characters."""
    return ascii(name)[1:-1][:most]
