"""The command `export`: a model in the form of another runtime."""

import os
from pathlib import Path

import click

from minigrad import nn
from minigrad.checkpoint import write_atomically

from .cli_base import check_output, checkpoint_argument, data_option, load_images, make_folder
from .cli_integer import CALIBRATION
from .cli_sparse import load_any
from .export import CSource, to_c, to_onnx, to_tflite, to_tflite_float16
from .integer import PROFILES, IntegerModel
from .integer.layers import WeightedLayer
from .quantization import FloatWrapper, quantize_model
from .report import align

FORMS = {"c": (), "tflite": ("int8", "float16"), "onnx": ("qlinear", "integer", "qdq")}
"""Forms that a format has, the usual one first."""

ROUNDS_AS = {"int8": "tflite", "qlinear": "onnx", "qdq": "onnx"}
"""Profile of those who run a form, where it is theirs and not the model's."""


@click.command()
@checkpoint_argument
@click.option("--format", "format_", type=click.Choice(list(FORMS)), required=True,
              help="C99 for any compiler, TensorFlow Lite or ONNX.")  # fmt: skip
@click.option("--form", help="tflite: int8 (the default), float16. onnx: qlinear (the default), integer, qdq.")
@click.option("--profile", type=click.Choice(PROFILES),
              help="How sums are rounded. Default: as those who run the format do; else tflite.")  # fmt: skip
@click.option("--name", default="model", show_default=True, help="Of C's files and functions.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write; for C, a folder.")
@data_option
def export(
    checkpoint: Path, format_: str, form: str | None, profile: str | None, name: str, out: Path, data: Path | None
) -> None:
    """Write a LeNet for other runtimes: C99, TensorFlow Lite, ONNX.

    Takes a checkpoint or a .mgz file, whose ranges are measured on 500 training images, or what `minigrad to-integer` wrote.
    """
    form = _check_form(format_, form)
    if format_ == "c":
        _check_folder(out)
    else:
        check_output(out)
    model, _ = load_any(checkpoint)
    if form == "float16":
        _check_float(model, profile)
        click.echo(
            _write(out, to_tflite_float16(model), 2 * sum(p.size for p in model.parameters()), "float16 parameters")
        )
        return
    integer = as_integer(model, form, profile, data)
    if format_ == "c":
        click.echo(describe_source(out, to_c(integer, out, name)))
        return
    content = to_tflite(integer) if format_ == "tflite" else to_onnx(integer, form)
    weights = sum(layer.weight.size for layer in integer.layers if isinstance(layer, WeightedLayer))
    click.echo(_write(out, content, weights, "int8 weights"))


def as_integer(model: nn.Module, form: str, profile: str | None, data: Path | None) -> IntegerModel:
    """Return a model as integers, as `minigrad to-integer` does, unless it is of integers already."""
    if isinstance(model, FloatWrapper):
        integer = model.integer
        if profile and profile != integer.profile:
            raise click.UsageError(
                f'the model is in integers already, in profile "{integer.profile}"; leave out --profile'
            )
    else:
        training, _ = load_images(data, hold_out=True)
        quantized = quantize_model(model, 2, calibration=training.images[:CALIBRATION])
        integer = quantized.integer(profile or ROUNDS_AS.get(form, "tflite"))
    expected = ROUNDS_AS.get(form, integer.profile)
    if expected != integer.profile:
        click.echo(
            f'Note: who runs this form rounds as profile "{expected}" does, and the model is in profile "{integer.profile}": '
            "some logits will differ by 1.",
            err=True,
        )
    return integer


def describe_source(folder: Path, made: CSource) -> str:
    """Say what a model in C needs of a chip, layer by layer, and how large its files are.

    Raises:
        RuntimeError: a file has another size than was written.
    """
    rows = [["layer", "weights B", "biases B", "multipliers B", "shifts B", "all B"]]
    rows += [[row.layer, *(f"{n:,}" for n in (*row[1:], row.total))] for row in made.layers]
    first, second = made.buffers
    for file, size in made.files.items():
        _check_size(folder / file, size)
    files = ", ".join(f"{file} {size:,} B" for file, size in made.files.items())
    return (
        f"{align(rows)}\n\nFlash: {made.flash:,} B of constants, and the code. "
        f"RAM: {first:,} + {second:,} = {made.work:,} B for activations, and image, outputs, stack.\n"
        f"Written to {folder}: {files}."
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


def _check_float(model: nn.Module, profile: str | None) -> None:
    if profile or isinstance(model, FloatWrapper):
        raise click.UsageError("--form float16 writes a float model: no --profile, and no model of integers")


def _write(out: Path, content: bytes, weights: int, said: str) -> str:
    """Write a file, and say how large it is."""
    write_atomically(out, content)
    _check_size(out, len(content))
    return f"{weights:,} B {said}, {len(content) - weights:,} B all else: {len(content):,} B. Written to {out}."


def _check_size(path: Path, size: int) -> None:
    if (found := path.stat().st_size) != size:
        raise RuntimeError(f"export: {path} should have {size:,} bytes, and has {found:,}")
