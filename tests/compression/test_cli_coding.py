"""`minigrad pack` and `inspect`, and .mgz files in `evaluate` and `predict`."""

import numpy as np
import pytest
from PIL import Image

from minigrad import save_checkpoint
from minigrad.compression.coding import load_mgz, read_mgz
from minigrad.compression.models import LeNet300100
from minigrad.datasets import mnist
from tests.compression.command_line import call, output


def test_a_packed_lenet_runs_and_every_byte_is_named(pruned, tmp_path, small_data):
    out = tmp_path / "lenet.mgz"
    said = output("pack", tmp_path / "pruned", "--conv-bits", 6, "--fc-bits", 4, "--float-bits", 16, "--out", out)
    size = out.stat().st_size
    assert size < 10_500
    assert (
        f"Every byte is named: {size:,} B = size of the file. 44,426 parameters in float32 take 177,704 B: "
        f"{177_704 / size:.1f} times as much.\n"
    ) in said
    assert said.endswith(f", CRC 4 B: {size:,} B. Written to {out}.\n")
    assert said.splitlines()[2].split()[:4] == ["conv1", "150", "14.7", "5"]  # 22 values need no 6 bits
    assert said.splitlines()[4].split()[:4] == ["fc1", "30,720", "25.0", "4"]
    shown = output("inspect", out)
    assert said.split("\n\n")[0] in shown
    assert f"  {size:,}\n\nEvery byte is named: {size:,} B" in shown
    assert "all weights, float32, main memory" in shown
    dense = output("evaluate", tmp_path / "pruned", "--data", small_data)
    packed = output("evaluate", out, "--data", small_data)
    assert abs(float(packed.split()[1]) - float(dense.split()[1])) < 4  # 600 images, without fine-tuning
    assert packed.endswith(said.split("\n\n")[0] + "\n")
    loaded = load_mgz(out)
    for name, p in pruned.named_parameters():
        if p.ndim > 1:
            np.testing.assert_array_equal(dict(loaded.named_parameters())[name].data == 0, p.data == 0)


@pytest.mark.parametrize("way", ["integer", "float"])
def test_other_ways(way, pruned, tmp_path, small_data):
    out = tmp_path / "lenet.mgz"
    output("pack", tmp_path / "pruned", "--way", way, "--out", out)
    assert {layer.weight.way for layer in read_mgz(out).layers if layer.weight} == {way}
    dense = output("evaluate", tmp_path / "pruned", "--data", small_data)
    packed = output("evaluate", out, "--data", small_data)
    assert abs(float(packed.split()[1]) - float(dense.split()[1])) <= (1 if way == "integer" else 0)


def test_one_width_for_each_index_and_value_without_huffman(pruned, tmp_path):
    out = tmp_path / "lenet.mgz"
    output("pack", tmp_path / "pruned", "--no-huffman", "--index-bits", 4, "--out", out)
    found = [layer.weight for layer in read_mgz(out).layers if layer.weight]
    assert {weight.index_bits for weight in found} == {4}
    assert all(weight.coded_index_bits == 4 * weight.entries for weight in found)


def test_predict_takes_a_packed_model(pruned, tmp_path):
    output("pack", tmp_path / "pruned", "--out", tmp_path / "lenet.mgz")
    seven = mnist("test").pixels[0].squeeze()
    Image.fromarray(seven).resize((112, 112)).save(tmp_path / "seven.png")
    said = output("predict", tmp_path / "seven.png", "--checkpoint", tmp_path / "lenet.mgz")
    assert f"{tmp_path / 'seven.png'}: 7 (" in said


def test_networks_of_papers_are_known_by_their_name(tmp_path):
    model = LeNet300100()
    save_checkpoint(tmp_path / "big", model)
    said = output("pack", tmp_path / "big", "--fc-bits", 1, "--out", tmp_path / "x.mgz")
    assert "266,610 parameters" in said
    assert load_mgz(tmp_path / "x.mgz").fc1.weight.shape == (300, 784)


def test_errors_are_one_sentence(pruned, tmp_path):
    out = tmp_path / "x.mgz"
    result = call("pack", tmp_path / "pruned", "--fc-bits", 9, "--out", out)
    assert result.exit_code == 2
    assert "Storage: codebook: bits is 9; there are 1, 2, 3, 4, 5, 6, 7, 8" in result.output
    assert not out.exists()
    result = call("inspect", out)
    assert (result.exit_code, result.output) == (2, f"Error: model {out}: there is no such file\n")
    for command in ("inspect", "evaluate"):
        out.write_bytes(b"MGZ\1" + bytes(9))
        result = call(command, out)
        assert result.exit_code == 2
        assert result.output == (
            f"Error: model {out} is damaged, or is no .mgz file: its checksum is not that of its content\n"
        )
