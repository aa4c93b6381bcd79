"""`minigrad export`: files of other runtimes, and what it says of their sizes."""

import os
import re

import numpy as np
import pytest

from minigrad import save_checkpoint
from minigrad.checkpoint import read_checkpoint
from minigrad.compression import cli_base, cli_export
from minigrad.compression.coding import load_mgz, save_mgz
from minigrad.compression.export import (
    to_onnx,
    to_onnx_float32,
    to_pytorch,
    to_tflite,
    to_tflite_float16,
    to_tflite_float32,
)
from minigrad.compression.integer import IntegerModel
from minigrad.compression.models import LeNet300100, trained_lenet
from minigrad.datasets import mnist
from tests.compression.command_line import call, output
from tests.compression.export.c_programs import compile_c, needs_compiler, run_main


def numbers(text):
    return [int(found.replace(",", "")) for found in re.findall(r"([\d,]*\d) B", text)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_data):
    """A checkpoint, "float", and what `to-integer` makes of it: "integer", "onnx" in that profile."""
    folder = tmp_path_factory.mktemp("export")
    save_checkpoint(folder / "float", trained_lenet())
    for name, profile in (("integer", "tflite"), ("onnx", "onnx")):
        output("to-integer", folder / "float", "--profile", profile, "--out", folder / name, "--data", small_data)
    return folder


@needs_compiler
def test_c_computes_what_the_integer_file_computes_and_its_bytes_are_those_said(folder, tmp_path, small_data):
    said = output(
        "export", folder / "float", "--format", "c", "--name", "lenet", "--out", tmp_path, "--data", small_data
    )
    program = compile_c([tmp_path / "lenet.c", tmp_path / "lenet_main.c"], tmp_path / "lenet", "-O2")
    pixels = mnist("test", small_data).pixels[:200]
    np.testing.assert_array_equal(run_main(program, pixels), IntegerModel.load(folder / "integer").logits(pixels))
    for file in ("lenet.h", "lenet.c", "lenet_main.c"):
        assert f"{file} {(tmp_path / file).stat().st_size:,} B" in said
    rows = [
        [int(n.replace(",", "")) for n in line.split()[1:]] for line in said.splitlines() if line[:2] in ("co", "fc")
    ]
    assert len(rows) == 5
    assert all(sum(row[:-1]) == row[-1] for row in rows)
    flash = sum(row[-1] for row in rows)
    assert f"Flash: {flash:,} B of constants, and the code. RAM: 864 + 3,456 = 4,320 B for activations" in said
    assert f"#define LENET_FLASH {flash} " in (tmp_path / "lenet.h").read_text()


@pytest.mark.parametrize(
    ("format_", "form", "model", "expected"),
    [
        ("tflite", None, "float", lambda folder: to_tflite(IntegerModel.load(folder / "integer"))),
        ("tflite", "int8", "integer", lambda folder: to_tflite(IntegerModel.load(folder / "integer"))),
        ("tflite", "float16", "float", lambda folder: to_tflite_float16(trained_lenet())),
        ("tflite", "float32", "float", lambda folder: to_tflite_float32(trained_lenet())),
        ("onnx", "float32", "float", lambda folder: to_onnx_float32(trained_lenet())),
        ("pytorch", None, "float", lambda folder: to_pytorch(trained_lenet())),
        ("onnx", None, "float", lambda folder: to_onnx(IntegerModel.load(folder / "onnx"))),
        ("onnx", "qdq", "onnx", lambda folder: to_onnx(IntegerModel.load(folder / "onnx"), "qdq")),
        ("onnx", "integer", "float", lambda folder: to_onnx(IntegerModel.load(folder / "integer"), "integer")),
    ],
)
def test_files_are_those_of_the_writers_and_as_large_as_said(
    format_, form, model, expected, folder, tmp_path, small_data
):
    forms = ["--form", form] if form else []
    result = call(
        "export", folder / model, "--format", format_, *forms, "--out", tmp_path / "out", "--data", small_data
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out").read_bytes() == expected(folder)
    weights, others, total = numbers(result.stdout)
    assert total == weights + others == (tmp_path / "out").stat().st_size
    assert weights == {"float16": 88_852, "float32": 177_704}.get(form, 177_704 if format_ == "pytorch" else 44_190)
    assert result.stderr == ""


@pytest.mark.parametrize(("model", "format_", "theirs", "own"), [("onnx", "tflite", *("tflite", "onnx")),
                                                                 ("integer", "onnx", *("onnx", "tflite"))])  # fmt: skip
def test_a_note_says_that_a_runtime_will_round_in_its_own_way(model, format_, theirs, own, folder, tmp_path):
    result = call("export", folder / model, "--format", format_, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stderr == (
        f'Note: who runs this form rounds as profile "{theirs}" does, and the model is in profile "{own}": '
        "some logits will differ by 1.\n"
    )


def test_c_rounds_as_the_profile_that_is_asked_for(folder, tmp_path, small_data):
    output("export", folder / "float", "--format", "c", "--profile", "single", "--out", tmp_path, "--data", small_data)
    assert 'Profile "single" of minigrad' in (tmp_path / "model.h").read_text()
    output("export", folder / "onnx", "--format", "c", "--profile", "onnx", "--out", tmp_path)
    assert 'Profile "onnx" of minigrad' in (tmp_path / "model.h").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["float", "--format", "c", "--form", "int8"], "--form is 'int8' for --format c, which has no forms"),
        (
            ["float", "--format", "onnx", "--form", "x"],
            "--form is 'x' for --format onnx, expected one of qlinear, integer",
        ),
        (
            ["integer", "--format", "c", "--profile", "single"],
            'the model is in integers already, in profile "tflite"; leave',
        ),
        (["integer", "--format", "tflite", "--form", "float16"], "--form float16 begins with a float model, and this"),
        (
            ["integer", "--format", "onnx", "--form", "float32"],
            "--form float32 begins with a float model, and this one",
        ),
        (["integer", "--format", "html"], "--format html begins with a float model, and this one is of integers"),
        (["integer", "--format", "mgz"], "--format mgz begins with a float model, and this one is of integers"),
        (["integer", "--format", "pytorch"], "--format pytorch begins with a float model, and this one is of integers"),
        (
            ["float", "--format", "tflite", "--form", "float16", "--profile", "onnx"],
            "--form float16 does not round sums: leave out --profile",
        ),
        (["float", "--format", "mgz", "--profile", "tflite"], "--format mgz does not round sums: leave out --profile"),
        (["float", "--format", "mgz", "--form", "float32"], "--form is 'float32' for --format mgz, which has no forms"),
        (["integer", "--format", "c", "--name", "5"], "to_c: name is '5', expected an identifier of C"),
        (["onnx", "--format", "onnx", "--form", "integer"], 'to_onnx: profile "onnx" rounds as float32 does'),
        (["none", "--format", "c"], "none"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(arguments, said, folder, tmp_path):
    name, *options = arguments
    result = call("export", folder / name, *options, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").is_file()
    assert not list((tmp_path / "out").glob("*"))


def test_an_output_of_the_wrong_kind_is_refused_before_any_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_export, "load_any", lambda path: pytest.fail("the model was read"))
    (tmp_path / "file").write_text("mine")
    for format_, name, said in (
        ("c", "file", "expected the name of a folder, and it is a file"),
        ("onnx", "", "expected the name of a file, and it is a folder"),
    ):
        result = call("export", folder / "float", "--format", format_, "--out", tmp_path / name)
        assert result.exit_code == 2
        assert said in result.stderr
    monkeypatch.setattr(cli_export.os, "access", lambda path, mode: mode != os.W_OK)
    result = call("export", folder / "float", "--format", "c", "--out", tmp_path)
    assert "the folder cannot be written to" in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_mgz_and_html_are_what_pack_and_playground_write(pruned, tmp_path, small_data):
    for format_, command in (("mgz", ["pack"]), ("html", ["playground", "--no-open"])):
        own, other = tmp_path / f"own.{format_}", tmp_path / f"other.{format_}"
        data = ["--data", small_data] if format_ == "html" else []
        said = output("export", tmp_path / "pruned", "--format", format_, "--out", own, "--data", small_data)
        expected = output(*command, tmp_path / "pruned", "--out", other, *data)
        assert own.read_bytes() == other.read_bytes()
        assert said == expected.replace(str(other), str(own))


@pytest.mark.parametrize("source", ["sparse", "mgz"])
def test_files_without_zeros_are_written_out_again(source, pruned, tmp_path, small_data):
    if source == "sparse":
        output("sparsify", tmp_path / "pruned", "--format", "bitmask", "--out", tmp_path / "packed")
        model = pruned
    else:
        save_mgz(tmp_path / "packed", pruned)
        model = load_mgz(tmp_path / "packed")
    for format_, writer in (("pytorch", to_pytorch), ("onnx", to_onnx_float32)):
        form = ["--form", "float32"] if format_ == "onnx" else []
        output("export", tmp_path / "packed", "--format", format_, *form, "--out", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == writer(model)
    output("export", tmp_path / "packed", "--format", "pytorch", "--out", tmp_path / "weights")
    arrays, _ = read_checkpoint(tmp_path / "weights")
    for name, p in pruned.named_parameters():
        assert p.ndim == 1 or np.array_equal(arrays[name] == 0, p.data == 0)


def test_another_network_is_known_by_its_name(tmp_path, small_data):
    model = LeNet300100()
    save_checkpoint(tmp_path / "big", model)
    output("export", tmp_path / "big", "--format", "onnx", "--form", "float32", "--out", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == to_onnx_float32(model)
    said = output("export", tmp_path / "big", "--format", "tflite", "--out", tmp_path / "out", "--data", small_data)
    assert "int8 weights 266,200 B, " in said


def test_a_file_that_is_not_as_large_as_its_parts_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"123")
    assert (
        cli_base.account({"a": 1, "b": 2}, tmp_path / "file") == f"a 1 B, b 2 B: 3 B. Written to {tmp_path / 'file'}."
    )
    with pytest.raises(RuntimeError, match=r"^\S+file should have 4 bytes, and has 3$"):
        cli_base.account({"a": 1, "b": 3}, tmp_path / "file")
