"""Models as C99: a header and a source file that need no library, no heap and no floating-point number."""

import re
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np

from minigrad.checkpoint import write_atomically

from ..integer.layers import LOW, IntegerFlatten, WeightedLayer
from ..integer.model import IntegerModel
from .c_layers import Constants, by, constants, function
from .c_text import HEADER, MAIN, MEAN, REQUANTIZE, RESCALE, SOURCE, WITH_SUMS, WITHOUT_SUMS

KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"
)


class CSource(NamedTuple):
    """What `to_c` wrote, and what the model needs on a chip.

    Attributes:
        layers: bytes of the constant arrays, a row for each layer with weights.
        buffers: bytes of the two buffers that hold the layers' outputs in turns.
        files: bytes of each file, by its name.
    """

    layers: list[Constants]
    buffers: tuple[int, int]
    files: dict[str, int]

    @property
    def flash(self) -> int:
        """Bytes of all constant arrays."""
        return sum(row.total for row in self.layers)

    @property
    def work(self) -> int:
        """Bytes of RAM for activations, which the caller of the C function provides."""
        return sum(self.buffers)


def to_c(model: IntegerModel, directory: str | Path, name: str = "model") -> CSource:
    """Write an integer model as C99: NAME.h, NAME.c, and NAME_main.c, which is for testing.

    The program does what the model does, in its profile, bit by bit: `NAME_run(image, outputs, sums, work)` takes the pixels
    of one image and memory for the activations. It compiles for a PC and for 8-bit AVRs, where weights stay in flash.

    Args:
        model: an integer model, of any profile.
        directory: where to; it is made if it is missing, and files of the same names are replaced.
        name: of files and functions.

    Returns:
        What the model needs, and the sizes of the files.

    Raises:
        ValueError: `name` is no identifier of C; or pixels are not shifted to int8, or a shift is too large for 64 bits,
            as can only be in a model that `to_integer` did not make.
        TypeError: a layer is of no kind that there is C for.
        OSError: the directory cannot be written to.

    Example:
        >>> import tempfile
        >>> from minigrad.compression.integer import to_integer
        >>> from minigrad.compression.models import trained_lenet
        >>> from minigrad.datasets import mnist
        >>> model = to_integer(trained_lenet(), mnist("train").pixels[:64])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = to_c(model, folder, "lenet")
        >>> sum(row.weights for row in made.layers), made.flash, made.buffers
        (44190, 45244, (864, 3456))
    """
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) or name in KEYWORDS.split():
        raise ValueError(
            f"to_c: name is {name!r}, expected an identifier of C, such as lenet_5: it names functions and files"
        )
    _check(model)
    texts, made = _texts(model, name)
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"to_c: {folder} is a file, expected a folder for {', '.join(texts)}")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        content = text.encode("ascii")
        write_atomically(folder / file, content)
        made.files[file] = len(content)
    return made


def _check(model: IntegerModel) -> None:
    """Refuse what the C functions were not written for."""
    if model.input.zero_point != LOW:
        raise ValueError(
            f"to_c: pixels have zero point {model.input.zero_point}, expected -128, so that they fit into int8"
        )
    for layer in model.layers:
        if isinstance(layer, WeightedLayer) and model.profile != "onnx":
            for channel, shift in enumerate(layer.shift.tolist()):
                if not -31 <= shift <= 30:
                    raise ValueError(f"to_c: {layer.name}, channel {channel}, has shift {shift}, expected -31 to 30")


def _texts(model: IntegerModel, name: str) -> tuple[dict[str, str], CSource]:
    """Return the files' contents, by name, and what the model needs."""
    steps = _steps(model, name)
    buffers = _buffers(steps)
    has_sums = isinstance(steps[-1].layer, WeightedLayer)
    weighted = [constants(step.layer, step.name) for step in steps if isinstance(step.layer, WeightedLayer)]
    made = CSource([row for _, row in weighted], buffers, {})
    values = {
        "name": name, "upper": name.upper(), "guard": f"{name.upper()}_H", "profile": model.profile,
        "input_shape": by(model.input.shape), "pixels": int(np.prod(model.input.shape)),
        "outputs": int(np.prod(model.shapes[-1])), "work": made.work, "first": buffers[0], "second": buffers[1],
        "flash": made.flash, "weights": sum(row.weights for row in made.layers),
        "biases": sum(row.biases for row in made.layers),
        "rounding": sum(row.multipliers + row.shifts for row in made.layers),
    }  # fmt: skip
    values |= {
        key: Template(text).substitute(values) for key, text in (WITH_SUMS if has_sums else WITHOUT_SUMS).items()
    }
    functions = [function(s.layer, s.name, s.shape, has_sums and s is steps[-1]) for s in steps]
    values |= {
        "layers": "\n".join(" *     " + text.splitlines()[0][3:-3] for text in functions),
        "largest": max(made.work, *(row.weights for row in made.layers)),
        "constants": "\n".join(text for text, _ in weighted),
        "rounding_functions": RESCALE[model.profile] + "\n" + REQUANTIZE + (MEAN if _averages(functions) else ""),
        "functions": "\n".join(functions),
        "run": _run(steps, buffers, values["pixels"], has_sums),
    }
    files = {f"{name}.h": HEADER, f"{name}.c": SOURCE, f"{name}_main.c": MAIN}
    return {file: text.substitute(values) for file, text in files.items()}, made


class _Step(NamedTuple):
    """A layer that does something, its name in C, and the shape of its input."""

    layer: Any
    name: str
    shape: tuple[int, ...]


def _steps(model: IntegerModel, name: str) -> list[_Step]:
    steps, taken = [], {f"{name}_run".removeprefix("run_")}  # whose function would have the name of the model's
    for layer, shape in zip(model.layers, (tuple(model.input.shape), *model.shapes), strict=False):
        if not isinstance(layer, IntegerFlatten):
            steps.append(_Step(layer, identifier(layer.name, taken), shape))
    return steps


def identifier(name: str, taken: set[str]) -> str:
    """Return a layer's name as C can have it, with a number if it is taken, and add it to those.

    Whatever is called by it has `run_` before or `_weight` and the like behind, so it can be a keyword.

    Example:
        >>> taken = set()
        >>> [identifier(name, taken) for name in ("conv1", "features.0", "0", "features 0", "*/")]
        ['conv1', 'features_0', 'layer_0', 'features_0_2', 'layer']
    """
    clean = re.sub("[^A-Za-z0-9]+", "_", name).strip("_")[:40]
    if not clean or clean[0].isdigit():
        clean = f"layer_{clean}".rstrip("_")
    found, number = clean, 2
    while found in taken:
        found, number = f"{clean}_{number}", number + 1
    taken.add(found)
    return found


def _buffers(steps: list[_Step]) -> tuple[int, int]:
    """Return the bytes of both buffers: inputs of layers lie in one and the other by turns, the pixels in the first."""
    sizes = [int(np.prod(step.shape)) for step in steps]
    return max(sizes[::2]), max(sizes[1::2], default=0)


def _averages(functions: list[str]) -> bool:
    return any("mean(" in text for text in functions)


def _run(steps: list[_Step], buffers: tuple[int, int], pixels: int, has_sums: bool) -> str:
    """Return the body of the function that runs all layers."""
    lines = ["int8_t *const a = work;"]
    if len(steps) > 1:
        lines.append(f"int8_t *const b = work + {buffers[0]};")
    lines += [
        f"for (int i = 0; i < {pixels}; i++) {{",
        f"    a[i] = (int8_t)(image[i] - {-LOW});",
        "}",
    ]
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        x, y = ("a", "b") if number % 2 == 0 else ("b", "a")
        arguments = [x, "outputs" if last else y, *(["sums"] if last and has_sums else [])]
        lines.append(f"run_{step.name}({', '.join(arguments)});")
    return "\n".join("    " + line for line in lines)
