"""`minigrad import`: weights as PyTorch names them, in safetensors written here, and what is said of those that do not fit."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from minigrad import load_checkpoint
from minigrad.checkpoint import read_checkpoint
from minigrad.compression.export import read_pytorch
from minigrad.compression.models import CaffeLeNet, LeNet, LeNet300100, trained_lenet
from tests.compression.command_line import call, output
from tests.compression.export.safetensors_by_hand import as_file

NAMES = {"features.0": "conv1", "features.3": "conv2", "classifier.0": "fc1", "classifier.2": "fc2", "out": "fc3"}


def test_a_lenet_is_taken_evaluated_pruned_and_given_back(tmp_path, small_data):
    theirs = trained_lenet().state_dict()
    save_file(theirs, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    said = output("import", tmp_path / "theirs.safetensors", "--out", tmp_path / "lenet")
    rows = [line.split() for line in said.splitlines()[2:12]]
    assert [row[0] for row in rows] == list(theirs)
    assert rows[2] == ["conv2.weight", "conv2.weight", "F32", "16×6×5×5", "16×6×5×5", "fits"]
    assert "Images must be normalised as in training here: (pixel / 255 - 0.1307) / 0.3081.\n" in said
    model = LeNet()
    assert load_checkpoint(tmp_path / "lenet", model) == {"architecture": "LeNet", "imported": "theirs.safetensors"}
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.data, theirs[name])
    assert float(output("evaluate", tmp_path / "lenet", "--data", small_data).split()[1]) > 95
    output("prune", tmp_path / "lenet", "--out", tmp_path / "pruned")
    output("export", tmp_path / "pruned", "--format", "pytorch", "--out", tmp_path / "back")
    pruned, _ = read_checkpoint(tmp_path / "pruned")
    back = read_pytorch(tmp_path / "back")
    assert all(back[name].values.tobytes() == array.tobytes() for name, array in pruned.items())
    assert sum(np.count_nonzero(array == 0) for array in pruned.values()) == 32_816


@pytest.mark.parametrize(
    ("make", "chosen"),
    [
        (LeNet300100, ["--model", "lenet300100"]),
        (CaffeLeNet, ["--model", "CaffeLeNet"]),
        (lambda: LeNet(widths=(2, 3, 7, 5)), []),
    ],
)
def test_other_networks_and_narrow_ones(make, chosen, tmp_path, small_data):
    theirs = make()
    save_file(theirs.state_dict(), tmp_path / "theirs")
    output("import", tmp_path / "theirs", *chosen, "--out", tmp_path / "ours")
    arrays, metadata = read_checkpoint(tmp_path / "ours")
    assert metadata["architecture"] == type(theirs).__name__
    for name, array in theirs.state_dict().items():
        np.testing.assert_array_equal(arrays[name], array)
    assert output("evaluate", tmp_path / "ours", "--data", small_data).startswith("accuracy ")


def test_other_names_are_mapped_and_what_would_fit_is_said(tmp_path):
    ours = trained_lenet().state_dict()
    layers = {ours_: theirs for theirs, ours_ in NAMES.items()}
    theirs = {f"{layers[name.split('.')[0]]}.{name.split('.')[1]}": array for name, array in ours.items()}
    save_file(theirs, tmp_path / "theirs")
    result = call("import", tmp_path / "theirs", "--out", tmp_path / "lenet")
    assert result.exit_code == 2
    options = [option for name in sorted(NAMES) for option in ("--map", f"{name}={NAMES[name]}")]
    assert f"Note: by their shapes alone, these would fit: {' '.join(options)}\n" in result.stderr
    assert "these are not the weights of LeNet: conv1.weight is missing, conv1.bias is missing, " in result.stderr
    assert not (tmp_path / "lenet").exists()
    said = output("import", tmp_path / "theirs", *options, "--out", tmp_path / "lenet")
    assert said.splitlines()[2].split()[:2] == ["conv1.weight", "features.0.weight"]
    arrays, _ = read_checkpoint(tmp_path / "lenet")
    assert all(np.array_equal(arrays[name], array) for name, array in ours.items())


@pytest.mark.parametrize(
    ("dtype", "note"),
    [(np.float64, "float64 is rounded there"), (np.float16, "float16 is exact there"), (np.float32, "")],
)
def test_other_floats_are_converted_with_a_note(dtype, note, tmp_path):
    theirs = {name: array.astype(dtype) for name, array in trained_lenet().state_dict().items()}
    save_file(theirs, tmp_path / "theirs")
    result = call("import", tmp_path / "theirs", "--out", tmp_path / "lenet")
    assert result.exit_code == 0
    assert result.stderr == (f"Note: the model computes in float32; {note}.\n" if note else "")
    arrays, _ = read_checkpoint(tmp_path / "lenet")
    for name, array in theirs.items():
        assert arrays[name].dtype == np.float32
        np.testing.assert_array_equal(arrays[name], array.astype(np.float32))


def test_every_misfit_stands_in_the_table_and_in_the_sentence(tmp_path):
    theirs = trained_lenet().state_dict()
    theirs["conv1.bias"] = np.full(6, np.nan, np.float32)
    theirs["fc1.weight"] = np.zeros((120, 400), np.float32)  # a LeNet for 32×32 images
    theirs["fc2.bias"] = np.zeros(84, np.int64)
    theirs["extra"] = theirs.pop("fc3.bias")[:5]
    save_file(theirs, tmp_path / "theirs")
    result = call("import", tmp_path / "theirs", "--out", tmp_path / "lenet")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: these are not the weights of LeNet: conv1.bias has NaN or infinity as float32: 6 of 6 numbers, fc1.weight "
        "has another shape: 120×400, expected 120×256, fc2.bias holds no floats: I64, expected F32, F64, F16 or BF16, "
        "fc3.bias is missing, extra is unexpected; is it another architecture, or are layers called otherwise?\n"
    )
    verdicts = {line.split()[0]: " ".join(line.split()[-4:]) for line in result.stdout.splitlines()[2:] if line}
    assert verdicts["fc1.weight"].endswith("has another shape")
    assert verdicts["fc2.bias"].endswith("holds no floats")
    assert verdicts["fc3.bias"].endswith("is missing")
    assert verdicts["extra"].endswith("is unexpected")
    assert verdicts["conv2.bias"].endswith("fits")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--map", "conv1"], "--map conv1: expected THEIRS=OURS, such as features.0=conv1"),
        (["--map", "=conv1"], "--map =: expected THEIRS=OURS"),
        (["--map", "a=b", "--map", "a=c"], "--map names one of theirs twice"),
        (["--map", "nowhere=conv1"], "theirs has nothing named 'nowhere'; it has conv1.bias, conv1.weight, "),
        (["--map", "conv1=conv2"], "conv1.bias and conv2.bias would both be conv2.bias; each name can be given once"),
        (["--model", "resnet"], "'resnet' is not one of"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, said, tmp_path):
    save_file(trained_lenet().state_dict(), tmp_path / "theirs")
    result = call("import", tmp_path / "theirs", *options, "--out", tmp_path / "lenet")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "lenet").exists()


def test_pickles_and_other_files_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "lenet.pth").write_bytes(b"PK\3\4 and what torch.save writes")
    result = call("import", tmp_path / "lenet.pth", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "lenet.pth is a pickle, as torch.save writes it" in result.stderr
    assert 'save_file(model.state_dict(), "lenet.safetensors")\n' in result.stderr
    (tmp_path / "text").write_text("conv1.weight")
    result = call("import", tmp_path / "text", "--out", tmp_path / "out")
    assert "text: expected a safetensors file, and it is damaged or no such file" in result.stderr
    result = call("import", tmp_path / "none", "--out", tmp_path / "out")
    assert result.stderr == f"Error: weights {tmp_path / 'none'}: there is no such file\n"


def test_arrays_without_elements_make_no_network_of_any_width(tmp_path):
    n = 10**6
    wide = {"conv1": (n, 0, 5, 5), "conv2": (n, n, 0), "fc1": (n, 16 * n, 0), "fc2": (7, n, 0)}
    (tmp_path / "theirs").write_bytes(as_file({f"{name}.weight": ("F32", shape, b"") for name, shape in wide.items()}))
    result = call("import", tmp_path / "theirs", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "conv1.weight has another shape: 1000000×0×5×5, expected 6×1×5×5" in result.stderr
