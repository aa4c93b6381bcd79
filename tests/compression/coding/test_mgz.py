"""`.mgz` files: what is read is what was written, byte by byte as the page says; every byte is named."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad import nn
from minigrad.compression.coding import Storage, is_mgz, load_mgz, read_mgz, save_mgz
from minigrad.compression.coding.wire import write_stream
from minigrad.compression.models import CaffeLeNet, LeNet, as_sequential, fold_batch_norm, trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import FORMATS
from minigrad.compression.sparse.layers import SparseLayer
from minigrad.errors import CheckpointError
from tests.compression.coding import mgz_by_the_page
from tests.compression.coding.coding_cases import INPUT, STORAGES, small_model
from tests.sentences import raises

PAGE = Path(__file__).parents[3] / "docs" / "format.md"


def exact(model):
    """Return storage that changes no weight: each is a centroid of its own, or a float."""
    return {
        name: Storage("codebook", 8) if len(np.unique(layer.weight.data)) <= 256 else Storage("float")
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


@pytest.mark.parametrize("sparse", [None, *FORMATS])
@pytest.mark.parametrize("huffman", [True, False])
def test_a_model_comes_back(huffman, sparse, tmp_path, rng):
    model = small_model()
    save_mgz(tmp_path / "model.mgz", model, exact(model), input_shape=INPUT, huffman=huffman)
    loaded = load_mgz(tmp_path / "model.mgz", sparse)
    x = rng.normal(size=(3, *INPUT)).astype(np.float32)
    if sparse is None:
        assert loaded.state_dict().keys() == model.state_dict().keys()
        for name, array in loaded.state_dict().items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, model.state_dict()[name])
        np.testing.assert_array_equal(loaded(x).data, model(x).data)
    else:
        assert sum(isinstance(layer, SparseLayer) for layer in loaded) == 4
        np.testing.assert_allclose(loaded(x).data, model(x).data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("float_bits", [16, 32])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_reader_made_from_the_page_reads_the_same(storage, float_bits, tmp_path):
    path = tmp_path / "model.mgz"
    save_mgz(path, small_model(1), storage, input_shape=INPUT, float_bits=float_bits, note="é")
    metadata, shape, layers = mgz_by_the_page.read(path.read_bytes())
    container = read_mgz(path)
    assert (metadata, shape) == ({"note": "é"}, list(INPUT))
    assert metadata == container.metadata
    assert tuple(shape) == container.input_shape
    assert [kind for kind, *_ in layers] == [0, 2, 4, 0, 6, 1, 3, 1]
    assert layers[3][1] == [3, 4, 3, 3, 1, 2, 0, 0, 1, 1, 1]
    loaded = load_mgz(path).state_dict()
    for _, _, name, weights, biases in layers:
        if name is not None:
            np.testing.assert_array_equal(np.float32(weights), loaded[f"{name}.weight"].reshape(-1))
            np.testing.assert_array_equal(biases is None, f"{name}.bias" not in loaded)
            if biases is not None:
                np.testing.assert_array_equal(np.float32(biases), loaded[f"{name}.bias"])


def hex_of(text):
    """Return the bytes of an example of the page: hex digits at the beginning of each line."""
    lines = text.split("\n\n")[1].splitlines()
    return bytes.fromhex("".join(re.match(r" {4}((?:[0-9a-f]{2} ?)+)(?= {2,}|$)", line)[1] for line in lines))


def test_the_examples_of_the_page(tmp_path):
    page, path = PAGE.read_text(encoding="utf-8"), tmp_path / "model.mgz"
    model = nn.Sequential(nn.Linear(8, 2), nn.ReLU())
    model[0].weight.data[...] = [[0, 0.5, 0, 0, -1, 0, 0, 0], [0, 0, 0, 0.5, 0, 0, 0, 0]]
    model[0].bias.data[...] = [0.25, -0.5]
    save_mgz(path, model, Storage("codebook", 2, 2), input_shape=(8,), float_bits=16)
    content = hex_of(page.split("<!-- example -->")[1])
    assert path.read_bytes() == content
    assert f"The file, {len(content)} bytes" in page
    _, _, layers = mgz_by_the_page.read(content)
    assert layers[0][3] == model[0].weight.data.reshape(-1).tolist()
    symbols = np.array([0] * 20 + [2, 1] + [0] * 30 + [1, 3, 2, 1] + [0] * 4)
    stream = hex_of(page.split("<!-- stream -->")[1])
    assert write_stream(symbols, 4) == stream
    assert mgz_by_the_page.File(stream).stream(60) == symbols.tolist()


@pytest.mark.parametrize("huffman", [True, False])
@pytest.mark.parametrize("storage", STORAGES)
def test_every_byte_is_named_and_the_same_model_gives_the_same_bytes(storage, huffman, tmp_path):
    paths, model = [tmp_path / "a", tmp_path / "b"], small_model(2)
    for path in paths:
        saved = save_mgz(path, model, storage, input_shape=INPUT, huffman=huffman)
    account, content = read_mgz(paths[0]).account, paths[0].read_bytes()
    assert content == paths[1].read_bytes()
    assert sum(account.values()) == saved.size == paths[0].stat().st_size
    assert account == saved.account
    assert min(account.values()) >= 0
    assert account["", "CRC"] == 4
    assert account["5", "biases"] == 4 * 12
    assert account["3", "biases"] == 0
    assert (sum(n for (_, part), n in account.items() if part == "Huffman tables") > 0) <= huffman


def test_huffman_codes_and_halved_floats_make_the_file_smaller(tmp_path):
    model = trained_lenet()
    pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    sizes = {
        settings: save_mgz(tmp_path / "x", pruned, Storage(bits=4), huffman=settings[0], float_bits=settings[1]).size
        for settings in ((True, 32), (False, 32), (True, 16))
    }
    assert sizes[True, 32] < sizes[False, 32]
    account = read_mgz(tmp_path / "x").account  # of the last one
    halved = sum(account[key] for key in account if key[1] in ("biases", "codebook"))
    assert sizes[True, 32] - sizes[True, 16] == halved


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 100), st.sampled_from([0.0, 0.5, 0.95, 1.0]), st.integers(1, 8), st.sampled_from([16, 32]))
def test_what_was_read_is_written_again_as_the_same_file(tmp_path_factory, seed, zeros, bits, float_bits):
    """A codebook is not clustered twice, and zeros stay zeros."""
    path, model = tmp_path_factory.getbasetemp() / "again.mgz", small_model(seed, zeros)
    save_mgz(path, model, dict.fromkeys("0357", Storage("codebook", bits)), input_shape=INPUT, float_bits=float_bits)
    content, loaded = path.read_bytes(), load_mgz(path)
    for name, p in loaded.named_parameters():
        if p.ndim > 1:
            np.testing.assert_array_equal(p.data == 0, dict(model.named_parameters())[name].data == 0)
            assert len(np.unique(p.data)) <= 2**bits
    save_mgz(path, loaded, dict.fromkeys("0357", Storage("codebook", bits)), input_shape=INPUT, float_bits=float_bits)
    assert path.read_bytes() == content


def test_the_default_is_8_bits_in_convolutions_and_5_in_linear_layers_unless_values_are_few(tmp_path):
    container = save_mgz(tmp_path / "x", LeNet(), huffman=False)
    found = {layer.name: layer.weight.weight_bits for layer in container.layers if layer.weight}
    assert found == {"conv1": 8, "conv2": 8, "fc1": 5, "fc2": 5, "fc3": 5}
    model = LeNet()
    model.fc1.weight.data[...] = np.round(model.fc1.weight.data * 1000)  # fewer than 256 values
    values = len(np.unique(model.fc1.weight.data))
    assert 32 < values < 256
    save_mgz(tmp_path / "x", model)
    np.testing.assert_array_equal(load_mgz(tmp_path / "x").fc1.weight.data, model.fc1.weight.data)


def test_lenets_layers_keep_their_names_and_the_model_stays_as_it_is(tmp_path, rng):
    model = CaffeLeNet()
    before = model.state_dict()
    save_mgz(tmp_path / "x", model, Storage("float"))
    loaded, x = load_mgz(tmp_path / "x"), rng.normal(size=(2, 1, 28, 28)).astype(np.float32)
    assert list(loaded.state_dict()) == list(before)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(loaded(x).data, as_sequential(model, x)(x).data)
    other = CaffeLeNet()
    other.load_state_dict(loaded.state_dict())
    np.testing.assert_array_equal(other.fc2.weight.data, model.fc2.weight.data)


def test_batch_normalisation_becomes_part_of_the_layer_before(tmp_path, rng):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()
    model[1].running_mean.data[...] = rng.normal(size=4)
    model[1].weight.data[...] = rng.normal(size=4)
    save_mgz(tmp_path / "x", model, Storage("float"), input_shape=(1, 4, 4))
    x = rng.normal(size=(2, 1, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(load_mgz(tmp_path / "x")(x).data, fold_batch_norm(model)(x).data)
    np.testing.assert_allclose(load_mgz(tmp_path / "x")(x).data, model(x).data, rtol=1e-4, atol=1e-5)


def test_names_of_layers_without_weights_make_room_for_those_with(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.ReLU())
    model.relu1 = nn.Linear(4, 2)
    save_mgz(tmp_path / "x", model, input_shape=(1, 2, 2))
    assert [name for name, _ in load_mgz(tmp_path / "x").named_modules() if name] == ["flatten1", "relu2", "relu1"]


def test_what_cannot_be_written_is_refused_and_no_file_is_left(tmp_path):
    path, model = tmp_path / "x", small_model()
    with pytest.raises(KeyError, match=r"save_mgz: storage names fc9; layers with weights are 0, 3, 5, 7"):
        save_mgz(path, model, {"fc9": Storage()}, input_shape=INPUT)
    model[5].weight.data[0, 0] = np.nan
    with raises(ValueError, "save_mgz: 5: a weight is NaN or infinite"):
        save_mgz(path, model, input_shape=INPUT)
    model[5].weight.data[0, 0] = 1e6
    with raises(ValueError, "save_mgz: 5: a number is NaN or infinite, or too large for 16 bits"):
        save_mgz(path, model, input_shape=INPUT, float_bits=16)
    with raises(
        ValueError,
        "save_mgz: Sequential does not fit into a .mgz file: it has 2,099,400 weights and biases or more, "
        "and 2,097,152 are read at most",
    ):
        save_mgz(path, nn.Sequential(nn.Linear(10_496, 200)), Storage("float"), input_shape=(10_496,))
    with raises(ValueError, "save_mgz: float_bits is 8; there are 16, 32"):
        save_mgz(path, model, float_bits=8)
    with raises(ValueError, "as_sequential: sigmoid is not supported ((1, 2) -> (1, 2)): expected a chain of Conv2d, "
                "Linear, BatchNorm2d, ReLU, ReLU6, MaxPool2d, AvgPool2d and Flatten without branches"):  # fmt: skip
        save_mgz(path, nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), input_shape=(3,))
    with pytest.raises(TypeError, match="metadata holds"):
        save_mgz(path, small_model(), input_shape=INPUT, note=object())
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x"
    with raises(FileNotFoundError, f"model {path}: there is no such file"):
        load_mgz(path)
    with raises(FileNotFoundError, f"model {tmp_path}: there is no such file, but a folder"):
        load_mgz(tmp_path)
    minigrad.save_checkpoint(path, LeNet())
    assert not is_mgz(path)
    with raises(CheckpointError, f"model {path} is damaged, or is no .mgz file: it does not begin with MGZ"):
        load_mgz(path)
    path.write_bytes(b"MGZ\1")
    assert is_mgz(path)
    with raises(CheckpointError, f"model {path} is damaged, or is no .mgz file: it ends in its header"):
        load_mgz(path)
    with path.open("wb") as file:
        file.truncate(2**25 + 1)
    with raises(CheckpointError, f"model {path}: it has 33,554,433 bytes; 33,554,432 are read at most"):
        load_mgz(path)
    save_mgz(path, small_model(), input_shape=INPUT)
    with raises(ValueError, "load_mgz: there is no format 'coo'; there are csr, csr16, csr8, bitmask, block"):
        load_mgz(path, sparse="coo")
