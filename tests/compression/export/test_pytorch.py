"""Weights from PyTorch and back, in files written by hand. `make parity` has PyTorch itself write and read them."""

import json
import pickle
import struct
import zipfile
from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import nn
from minigrad.compression.export import compare, from_pytorch, read_pytorch, suggest, to_pytorch
from minigrad.compression.export.pytorch import TorchArray
from minigrad.compression.models import CaffeLeNet, LeNet, LeNet300100, trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import to_sparse
from minigrad.errors import CheckpointError
from tests.compression.export.safetensors_by_hand import as_file


def floats(arrays):
    return {name: ("F32", np.shape(a), np.asarray(a, "<f4").tobytes()) for name, a in arrays.items()}


@pytest.fixture
def write(tmp_path):
    """Write {name: (dtype, shape, bytes)} as a file and return its path."""

    def write(arrays):
        (tmp_path / "weights.safetensors").write_bytes(as_file(arrays))
        return tmp_path / "weights.safetensors"

    return write


@pytest.mark.parametrize("make", [trained_lenet, LeNet300100, CaffeLeNet, lambda: LeNet(widths=(3, 4, 20, 9))])
def test_weights_come_in_and_go_back_bit_by_bit(make, write, tmp_path):
    theirs = make()
    fresh = LeNet(widths=(3, 4, 20, 9)) if theirs.fc1.weight.shape == (20, 64) else type(theirs)()
    before = fresh.state_dict()
    found = read_pytorch(write(floats(theirs.state_dict())))
    assert not any(row.problem for row in compare(fresh, found))
    made = from_pytorch(fresh, found)
    assert type(made) is type(theirs)
    for name, array in theirs.state_dict().items():
        assert made.state_dict()[name].tobytes() == array.tobytes()
        np.testing.assert_array_equal(fresh.state_dict()[name], before[name])
    content = to_pytorch(made)
    assert json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"] == {"format": "pt"}
    (tmp_path / "back").write_bytes(content)
    back = read_pytorch(tmp_path / "back")
    assert {name: array.values.tobytes() for name, array in back.items()} == {
        name: array.tobytes() for name, array in theirs.state_dict().items()
    }


@pytest.mark.parametrize("sparse", [None, "csr", "bitmask"])
def test_pruned_weights_go_back_as_exact_zeros(sparse, tmp_path):
    model = trained_lenet()
    pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    (tmp_path / "w").write_bytes(to_pytorch(to_sparse(pruned, sparse) if sparse else pruned))
    found = read_pytorch(tmp_path / "w")
    assert {array.dtype for array in found.values()} == {"F32"}
    for name, p in pruned.named_parameters():
        np.testing.assert_array_equal(found[name].values, p.data)
        assert not (np.signbit(found[name].values) & (found[name].values == 0)).any()
    assert sum(np.count_nonzero(array.values == 0) for array in found.values()) == 32_816


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20))
def test_other_floats_become_the_nearest_float32(values):
    exact = np.array(values, np.float64)
    cut = (np.array(values, "<f4").view("<u4") >> 16).astype("<u2")  # the upper half of a float32 is a bfloat16
    with np.errstate(over="ignore"):
        half = exact.astype("<f2")
    shape = exact.shape
    content = as_file({
        "F64": ("F64", shape, exact.astype("<f8").tobytes()), "F16": ("F16", shape, half.tobytes()),
        "BF16": ("BF16", shape, cut.tobytes()),
    })  # fmt: skip
    with NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        found = read_pytorch(file.name)
    assert {array.values.dtype for array in found.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(found["F64"].values, exact.astype(np.float32))
    np.testing.assert_array_equal(found["F16"].values, half.astype(np.float32))
    np.testing.assert_array_equal(found["BF16"].values.view("<u4"), cut.astype("<u4") << 16)


def changed(**changes):
    """The arrays of a Linear(2, 3) in a Sequential, some of them otherwise or (None) not there."""
    arrays = floats({"0.weight": np.ones((3, 2)), "0.bias": np.zeros(3)}) | {
        k.replace("_", "."): v for k, v in changes.items()
    }
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (changed(**{"0_bias": None}), r"weights of Sequential: 0\.bias is missing; is it another architecture"),
        (changed(extra=("F32", (1,), bytes(4))), r": extra is unexpected; is it another"),
        (changed(**{"0_weight": ("F32", (2, 3), bytes(24))}), r": 0\.weight has another shape: 2×3, expected 3×2; is"),
        (changed(**{"0_bias": ("F32", (), bytes(4))}), r": 0\.bias has another shape: a number, expected 3; is"),
        (changed(**{"0_bias": ("I64", (3,), bytes(24))}), r": 0\.bias holds no floats: I64, expected F32, F64, F16 or BF16"),
        (changed(**{"0_bias": ("BOOL", (3,), bytes(3))}), r": 0\.bias holds no floats: BOOL"),
        (changed(**{"0_bias": floats({"b": [0, np.nan, np.inf]})["b"]}), r"bias has NaN or infinity as float32: 2 of 3 num"),
        (changed(**{"0_bias": ("F64", (3,), np.array([0, 1e39, 0]).tobytes())}), r" NaN or infinity as float32: 1 of 3 num"),
        (changed(**{"0_bias": None, "b": ("F32", (1,), bytes(4))}), r": 0\.bias is missing, b is unexpected; is"),
        (
            changed(**{f"x{i}": ("F32", (1,), bytes(4)) for i in range(15)}),
            r": x0 is unexpected, x1 is .* x6 is unexpected, and 3 more; is",
        ),
        (changed(**{"\n\x1b[2J": ("F32", (1,), bytes(4))}), r": \\n\\x1b\[2J is unexpected"),
    ],
)  # fmt: skip
def test_every_misfit_is_named(arrays, sentence, write):
    model = nn.Sequential(nn.Linear(2, 3))
    found = read_pytorch(write(arrays))
    with pytest.raises(CheckpointError, match=sentence):
        from_pytorch(model, found)
    rows = compare(model, found)
    assert [row.name for row in rows][:2] == ["0.weight", "0.bias"]


def test_names_are_taken_for_layers_arrays_and_prefixes(write):
    arrays = floats({"module.net.0.weight": np.ones((3, 2)), "module.net.0.bias": np.zeros(3), "module.scale": [5.0]})
    path = write(arrays)
    assert set(read_pytorch(path)) == set(arrays)
    assert set(read_pytorch(path, {"module": ""})) == {"net.0.weight", "net.0.bias", "scale"}
    found = read_pytorch(path, {"module.net.0": "fc", "module.scale": "gain"})
    assert {ours: array.name for ours, array in found.items()} == {
        "fc.weight": "module.net.0.weight", "fc.bias": "module.net.0.bias", "gain": "module.scale",
    }  # fmt: skip
    inner = read_pytorch(path, {"module": "m", "module.net.0.bias": "b"})  # the innermost name counts
    assert set(inner) == {"m.net.0.weight", "b", "m.scale"}


def test_names_that_are_nowhere_or_meet_are_refused(write):
    path = write(floats({"conv1.weight": [1.0], "conv10.weight": [2.0]}))
    with pytest.raises(ValueError, match=r"has nothing named 'conv'; it has conv1\.weight, conv10\.weight"):
        read_pytorch(path, {"conv": "x"})
    with pytest.raises(ValueError, match=r"conv1\.weight and conv10\.weight would both be a\.weight; each name can be"):
        read_pytorch(path, {"conv1": "a", "conv10": "a"})


def test_what_fits_by_shape_alone_is_suggested():
    torch_like = {
        "features.0": "conv1",
        "features.3": "conv2",
        "classifier.1": "fc1",
        "classifier.3": "fc2",
        "out": "fc3",
    }
    theirs = {}
    for layer, ours in torch_like.items():
        for part in ("weight", "bias"):
            theirs[f"{layer}.{part}"] = LeNet().state_dict()[f"{ours}.{part}"]
    found = _as_found(theirs)
    assert suggest(compare(LeNet(), found)) == torch_like
    ambiguous = _as_found({"a.weight": np.ones((2, 2)), "b.weight": np.ones((2, 2)), "c.bias": np.ones(2)})
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    assert suggest(compare(model, ambiguous)) == {"c": "0"}
    crossed = _as_found({"a.weight": np.ones((3, 2)), "a.bias": np.ones(4), "b.gain": np.ones((4, 3))})
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 4))
    assert suggest(compare(model, crossed)) == {"a": "0", "a.bias": "1.bias", "b.gain": "1.weight"}


def _as_found(arrays):
    return {name: TorchArray(name, "F32", a.shape, a.astype(np.float32)) for name, a in arrays.items()}


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was opened')",)


@pytest.mark.parametrize("name", ["lenet.pt", "lenet.pth", "lenet.bin", "lenet"])
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_pickles_are_never_opened(name, kind, tmp_path):
    path = tmp_path / name
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    else:
        path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    saving = r"save_file\(model\.state_dict\(\), \"lenet\.safetensors\"\)"
    with pytest.raises(CheckpointError, match=rf"is a pickle, .* can run any code when it is opened, .*{saving}"):
        read_pytorch(path)


def test_safetensors_may_have_any_name(tmp_path):
    (tmp_path / "w.pt").write_bytes(as_file(floats({"a": [1.0]})))
    assert read_pytorch(tmp_path / "w.pt")["a"].values.tolist() == [1.0]


def test_damaged_files_are_refused_in_a_sentence(tmp_path):
    content = as_file(floats({"a": np.ones(5), "b": np.ones((2, 2))}))
    path = tmp_path / "w.safetensors"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"expected a safetensors file, and it is damaged or no such file"):
            read_pytorch(path)
    path.write_bytes(struct.pack("<Q", 2**62) + content[8:])
    with pytest.raises(CheckpointError, match=r"expected a safetensors file"):
        read_pytorch(path)
    path.write_bytes(as_file({"a": ("F32", (2**40, 2**40), b"")}))
    with pytest.raises(CheckpointError, match=r"expected a safetensors file"):
        read_pytorch(path)
    with pytest.raises(FileNotFoundError, match=r"weights .*none: there is no such file"):
        read_pytorch(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"there is no such file, but a folder"):
        read_pytorch(tmp_path)


def test_a_model_without_floats_is_refused():
    with pytest.raises(ValueError, match=r"to_pytorch: Flatten has no parameters in floating-point numbers"):
        to_pytorch(nn.Flatten())
