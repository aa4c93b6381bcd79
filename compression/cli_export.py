"""The command `export`: a model in the form of another runtime."""

import os
from collections.abc import Callable
from pathlib import Path

import click

from minigrad import nn
from minigrad.checkpoint import write_atomically

from .cli_base import account, check_output, checkpoint_argument, data_option, make_folder
from .cli_coding import write_mgz
from .cli_integer import as_rounded
from .cli_playground import write_page
from .cli_sparse import load_any
from .export import CSource, to_c, to_onnx, to_onnx_float32, to_pytorch, to_tflite, to_tflite_float16, to_tflite_float32
from .integer import PROFILES, IntegerModel
from .integer.layers import WeightedLayer
from .quantization import FloatWrapper
from .report import align
from .sparse import to_dense

FORMS = {
    "c": (), "tflite": ("int8", "float32", "float16"), "onnx": ("qlinear", "integer", "qdq", "float32"), "html": (),
    "mgz": (), "pytorch": (),
}  # fmt: skip
"""Forms that a format has, the usual one first."""

FLOAT_WRITERS: dict[tuple[str, str], tuple[Callable[[nn.Module], bytes], int]] = {
    ("tflite", "float32"): (to_tflite_float32, 4),
    ("tflite", "float16"): (to_tflite_float16, 2),
    ("onnx", "float32"): (to_onnx_float32, 4),
    ("pytorch", ""): (to_pytorch, 4),
}
"""What writes a float model as bytes, and how many bytes a parameter takes."""

ROUNDS_AS = {"int8": "tflite", "qlinear": "onnx", "qdq": "onnx"}
"""Profile of those who run a form, where it is theirs and not the model's."""


@click.command()
@checkpoint_argument
@click.option("--format", "format_", type=click.Choice(list(FORMS)), required=True,
              help="C99 for any compiler, TensorFlow Lite, ONNX, a web page (as `playground`), Deep Compression's .mgz (as "
              "`pack`), weights for PyTorch.")  # fmt: skip
@click.option(
    "--form", help="tflite: int8 (the default), float32, float16. onnx: qlinear (the default), integer, qdq, float32."
)
@click.option("--profile", type=click.Choice(PROFILES),
              help="How sums are rounded. Default: as those who run the format do; else tflite.")  # fmt: skip
@click.option("--name", default="model", show_default=True, help="Of C's files and functions.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write; for C, a folder.")
@data_option
def export(
    checkpoint: Path, format_: str, form: str | None, profile: str | None, name: str, out: Path, data: Path | None
) -> None:
    """Write a model for other runtimes: C99, TensorFlow Lite, ONNX, a web page, PyTorch; or as .mgz.

    Takes a checkpoint, a sparse or a .mgz file; and what `minigrad to-integer` wrote, where the format is one of integers.
    Of other models, ranges are measured on 500 training images then.
    """
    form = _check_form(format_, form)
    if format_ == "c":
        _check_folder(out)
    else:
        check_output(out)
    model, _ = load_any(checkpoint)
    if isinstance(model, FloatWrapper):
        _check_takes_integers(format_, form)
    else:
        model = to_dense(model)
    if profile and (format_ == "mgz" or (format_, form) in FLOAT_WRITERS):
        raise click.UsageError(f"{_said(format_, form)} does not round sums: leave out --profile")
    if format_ == "html":
        click.echo(write_page(out, model, None, profile or "tflite", data))
    elif format_ == "mgz":
        click.echo(write_mgz(out, model))
    elif (format_, form) in FLOAT_WRITERS:
        click.echo(_write_floats(out, model, *FLOAT_WRITERS[format_, form]))
    else:
        click.echo(_write_integers(out, as_integer(model, form, profile, data), format_, form, name))


def _write_floats(out: Path, model: nn.Module, writer: Callable[[nn.Module], bytes], width: int) -> str:
    content = writer(model)
    write_atomically(out, content)
    parameters = width * sum(p.size for p in model.parameters())
    return account({f"float{8 * width} parameters": parameters, "all else": len(content) - parameters}, out)


def _write_integers(out: Path, model: IntegerModel, format_: str, form: str, name: str) -> str:
    if format_ == "c":
        return describe_source(out, to_c(model, out, name))
    content = to_tflite(model) if format_ == "tflite" else to_onnx(model, form)
    write_atomically(out, content)
    weights = sum(layer.weight.size for layer in model.layers if isinstance(layer, WeightedLayer))
    return account({"int8 weights": weights, "all else": len(content) - weights}, out)


def as_integer(model: nn.Module, form: str, profile: str | None, data: Path | None) -> IntegerModel:
    """Return a model as integers, as `minigrad to-integer` does, unless it is of integers already."""
    if isinstance(model, FloatWrapper):
        integer = model.integer
        if profile and profile != integer.profile:
            raise click.UsageError(
                f'the model is in integers already, in profile "{integer.profile}"; leave out --profile'
            )
    else:
        integer = as_rounded(model, data).integer(profile or ROUNDS_AS.get(form, "tflite"))
    expected = ROUNDS_AS.get(form, integer.profile)
    if expected != integer.profile:
        click.echo(
            f'Note: who runs this form rounds as profile "{expected}" does, and the model is in profile "{integer.profile}": '
            "some logits will differ by 1.",
            err=True,
        )
    return integer


def describe_source(folder: Path, made: CSource) -> str:
    """Say what a model in C needs of a chip, layer by layer, and how large its files are."""
    rows = [["layer", "weights B", "biases B", "multipliers B", "shifts B", "all B"]]
    rows += [[row.layer, *(f"{n:,}" for n in (*row[1:], row.total))] for row in made.layers]
    first, second = made.buffers
    return (
        f"{align(rows)}\n\nFlash: {made.flash:,} B of constants, and the code. "
        f"RAM: {first:,} + {second:,} = {made.work:,} B for activations, and image, outputs, stack.\n"
        f"{account(made.files, *(folder / file for file in made.files))}"
    )


def _check_form(format_: str, form: str | None) -> str:
    forms = FORMS[format_]
    if form is None:
        return forms[0] if forms else ""
    if form not in forms:
        known = f"expected one of {', '.join(forms)}" if forms else "which has no forms"
        raise click.UsageError(f"--form is {form!r} for --format {format_}, {known}")
    return form


def _check_folder(path: Path) -> None:
    """Make sure that a folder is there and can be written to."""
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"--out {path}: expected the name of a folder, and it is a file")
    if not os.access(make_folder(path), os.W_OK):
        raise PermissionError(f"--out {path}: the folder cannot be written to")


def _check_takes_integers(format_: str, form: str) -> None:
    if format_ in ("html", "mgz") or (format_, form) in FLOAT_WRITERS:
        raise click.UsageError(f"{_said(format_, form)} begins with a float model, and this one is of integers")


def _said(format_: str, form: str) -> str:
    return f"--form {form}" if form else f"--format {format_}"
