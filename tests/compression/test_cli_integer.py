"""`minigrad to-integer`, and integer files in `evaluate` and `predict`."""

import numpy as np
import pytest
from PIL import Image

from minigrad import save_checkpoint
from minigrad.compression import cli_integer
from minigrad.compression.integer import IntegerModel
from minigrad.compression.models import trained_lenet
from minigrad.datasets import mnist
from tests.compression.command_line import call, output


@pytest.mark.parametrize(("bits", "epochs"), [(8, 0), (4, 1)])
def test_a_pruned_model_becomes_integers_with_its_zeros_and_every_byte_is_named(
    bits, epochs, pruned, tmp_path, small_data
):
    out = tmp_path / "integer"
    said = output(
        "to-integer", tmp_path / "pruned", "--bits", bits, "--epochs", epochs, "--images", 300, "--out", out,
        "--data", small_data,
    )  # fmt: skip
    model = IntegerModel.load(out)
    for layer in model.layers:
        if hasattr(layer, "weight"):
            assert not layer.weight[getattr(pruned, layer.name).weight.data == 0].any()
            assert np.abs(layer.weight).max() <= 2 ** (bits - 1) - 1
    assert "32,816 weights were zero, and all of them are integer 0" in said
    table = [line.split() for line in said.splitlines() if line.startswith(("conv", "fc"))]
    parts = [int(cell.replace(",", "")) for row in table for cell in row[4:9]]
    assert sum(parts) == sum(int(row[9].replace(",", "")) for row in table)
    header = int.from_bytes(out.read_bytes()[:8], "little") + 8
    assert sum(parts) + 8 + header == out.stat().st_size
    assert f"scale of the pixels 8 B, header {header:,} B: {out.stat().st_size:,} B" in said
    assert ("trained" in said) == bool(epochs)
    measured = output("evaluate", out, "--data", small_data)
    test = mnist("test", small_data)
    right = 100 * (model.predict(test.pixels, "logits") == test.labels).mean()
    assert measured.startswith(f"accuracy {right:.2f} % (")
    assert [line.split() for line in measured.splitlines() if line.startswith("fc3")] == [table[-1]]


def test_digits_are_read_by_integers(tmp_path, small_data):
    save_checkpoint(tmp_path / "dense", trained_lenet())
    output("to-integer", tmp_path / "dense", "--out", tmp_path / "integer", "--data", small_data)
    test = mnist("test", small_data)
    Image.fromarray(test.pixels[0]).save(tmp_path / "digit.png")
    one, other = (
        output("predict", tmp_path / "digit.png", "--checkpoint", tmp_path / name).split(": ")[1].split()[0]
        for name in ("dense", "integer")
    )
    assert one == other


def test_a_zero_that_came_back_would_be_an_error(pruned, small_data):
    integer = cli_integer.quantize_model(pruned, 2, calibration=mnist("train", small_data).images[:50]).integer()
    assert cli_integer.count_zeros(pruned, integer).startswith("32,816 weights were zero")
    pruned.fc2.weight.data[...] = 0
    with pytest.raises(RuntimeError, match=r"to-integer: \d+ weights of fc2 were zero and are not any more"):
        cli_integer.count_zeros(pruned, integer)


def test_a_damaged_or_other_file_is_refused(tmp_path, small_data):
    save_checkpoint(tmp_path / "dense", trained_lenet())
    output("to-integer", tmp_path / "dense", "--out", tmp_path / "integer", "--data", small_data)
    content = (tmp_path / "integer").read_bytes()
    (tmp_path / "integer").write_bytes(content[:-3] + b"abc")
    result = call("evaluate", tmp_path / "integer", "--data", small_data)
    assert result.exit_code == 2
    assert "is damaged: what it holds does not match its checksum" in result.stderr
    again = call("to-integer", tmp_path / "integer", "--out", tmp_path / "other", "--data", small_data)
    assert again.exit_code == 2
    assert again.stderr.startswith("Error:")
