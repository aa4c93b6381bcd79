"""Sparse models in files: sizes as accounted, the same model back, and nothing damaged taken for whole."""

import json
import re

import numpy as np
import pytest

from minigrad import nn
from minigrad.checkpoint import read_checkpoint, save_checkpoint, write_checkpoint
from minigrad.compression.checksum import digest
from minigrad.compression.models import LeNet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import FORMATS, format_bytes, load_sparse, save_sparse, to_sparse
from minigrad.errors import CheckpointError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.safetensors"


def small_net(seed=0):
    rng = np.random.default_rng(seed)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    for parameter in net.parameters():
        parameter.data[rng.random(parameter.shape) < 0.5] = 0
    return net


@pytest.mark.parametrize("format", FORMATS)
def test_the_file_of_the_pruned_lenet_is_as_large_as_accounted(format, file):
    model = LeNet()
    pruned = SparsePruner(model, ARTICLE_SPARSITY).prune(model)
    size = save_sparse(file, to_sparse(pruned, format), epoch=5)
    assert size.weights == format_bytes(pruned, format)
    assert size.others == 4 * 236  # the biases
    assert size.header == 8 + int.from_bytes(file.read_bytes()[:8], "little")
    assert sum(size) == file.stat().st_size
    assert size.header < 2_100
    assert read_checkpoint(file)[1]["epoch"] == 5


@pytest.mark.parametrize("format", [*FORMATS, {"0": "block"}, {"3": "csr8"}], ids=str)
def test_what_was_saved_comes_back(format, file, rng):
    sparse, fresh = to_sparse(small_net(), format), small_net(1)
    sparse[1].running_mean.data[...] = rng.normal(size=2)
    before = fresh.state_dict()
    save_sparse(file, sparse)
    content = file.read_bytes()
    loaded = load_sparse(file, fresh)
    x = rng.normal(size=(5, 1, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(loaded.eval()(x).data, sparse.eval()(x).data)
    assert repr(loaded) == repr(sparse)
    for name, array in fresh.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    save_sparse(file, loaded)
    assert file.read_bytes() == content


def test_trained_values_are_saved(file):
    sparse = to_sparse(small_net())
    sparse[3].values.data[:] = 7
    save_sparse(file, sparse)
    assert set(load_sparse(file, small_net())[3].values.data.tolist()) == {7.0}


def test_a_model_of_a_single_layer(file):
    save_sparse(file, to_sparse(nn.Linear(4, 3, bias=False)))
    assert set(read_checkpoint(file)[0]) == {"indptr", "indices", "data"}
    assert load_sparse(file, nn.Linear(4, 3, bias=False)).values.shape == (12,)


@pytest.mark.parametrize("format", FORMATS)
def test_one_changed_bit_anywhere_is_noticed(format, file):
    """Each byte of the file in turn, one of its bits: about 800 files a format."""
    net = nn.Linear(6, 3)
    net.weight.data[:, ::2] = 0
    save_sparse(file, to_sparse(net, format))
    content, rng = file.read_bytes(), np.random.default_rng(0)
    for place, byte in enumerate(content):
        file.write_bytes(content[:place] + bytes([byte ^ (1 << int(rng.integers(8)))]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load_sparse(file, nn.Linear(6, 3))
    file.write_bytes(content)
    assert load_sparse(file, nn.Linear(6, 3)).format == format
    assert len(content) > 200


def test_files_cut_short_or_too_long_are_noticed(file):
    save_sparse(file, to_sparse(nn.Linear(3, 2)))
    content = file.read_bytes()
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged or something else"):
            load_sparse(file, nn.Linear(3, 2))
    file.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError, match="damaged or something else"):
        load_sparse(file, nn.Linear(3, 2))


def rewritten(file, change):
    """Change arrays or metadata of a file and give it a checksum that is right: a writer's mistake, not damage."""
    arrays, metadata = read_checkpoint(file)
    del metadata["sha256"]
    change(arrays, metadata)
    metadata = json.loads(json.dumps(metadata))
    write_checkpoint(file, arrays, {**metadata, "sha256": digest(arrays, metadata)})


def set_item(which, index, value):
    return lambda arrays, metadata: arrays[which].__setitem__(index, value)


def update(which, change):
    return lambda arrays, metadata: arrays.update({which: change(arrays[which])})


def about(change):
    return lambda arrays, metadata: change(metadata["sparse"])


@pytest.mark.parametrize(
    ("format", "change", "sentence"),
    [
        ("csr", set_item("3.indices", 0, 8), r"3: CSRMatrix: row 0 has column 8, but there are 8 columns"),
        ("csr", set_item("3.indices", 0, -1), r"3: CSRMatrix: row 0 has column -1, but columns count from 0"),
        ("csr", set_item("3.indptr", 0, 1), r"3: CSRMatrix: indptr starts at 1, expected 0"),
        (
            "csr",
            lambda a, m: a.pop("3.indptr"),
            r"3: CSRMatrix: it is made of indptr, indices, data, but got data, ind",
        ),
        ("csr", update("3.indptr", lambda x: x[:-1]), r"3: CSRMatrix: indptr has 3 numbers, but 3 rows need 4"),
        ("csr", update("3.data", lambda x: x.astype(float)), r"3 holds float64, but the model expects float32"),
        ("csr8", update("3.deltas", lambda x: x + np.uint8(8)), r"3: DeltaMatrix: row 0 reaches column \d+, but there"),
        ("bitmask", set_item("3.mask", 0, 255), r"3: BitmaskMatrix: mask has \d+ bits set, but there are"),
        ("block", set_item("3.indices", 0, 3), r"3: BlockMatrix: row 0 "),
        ("csr", lambda a, m: a.update(extra=np.ones(3)), r"names do not match .* unexpected \['extra'\]"),
        ("csr", lambda a, m: a.pop("3.bias"), r"names do not match .* missing \['3.bias'\]"),
        ("csr", about(lambda s: s["3"].update(format="coo")), r"3 has format 'coo'; there are csr, csr16"),
        ("csr", about(lambda s: s["3"].update(format=["csr"])), r"3 has format \['csr'\]; there are csr, csr16"),
        ("csr", about(lambda s: s["3"].update(shape=[8, 3])), r"3 has shape \[8, 3\], but the model expects \[3, 8\]"),
        ("csr", about(lambda s: s.update({"9": s.pop("3")})), r"a sparse layer '9' where the model has no"),
        ("csr", about(lambda s: s.update({"1": s.pop("3")})), r"a sparse layer '1' where the model has no"),
        ("csr", about(lambda s: s.update({"3": 5})), r"3 is described by 5, expected a format and a shape"),
    ],
)
def test_wrong_contents_have_their_sentence(format, change, sentence, file):
    net = small_net()
    net[3].weight.data[0, 0] = 1
    save_sparse(file, to_sparse(net, format))
    rewritten(file, change)
    with pytest.raises(CheckpointError, match=rf"model.safetensors is not one of Sequential: .*{sentence}"):
        load_sparse(file, small_net())


def spoil(rng, arrays, others):
    """Change one of the arrays as a faulty writer might."""
    part = str(rng.choice(sorted(arrays)))
    array = arrays[part].copy()
    flat, kind = array.reshape(-1), int(rng.integers(8))
    where = int(rng.integers(max(flat.size, 1)))
    if kind == 0 and flat.size:  # one bit
        flat.view(np.uint8)[int(rng.integers(array.nbytes))] ^= np.uint8(1 << rng.integers(8))
    elif kind == 1 and flat.size:  # any number
        flat[where] = rng.integers(-128, 128) if array.dtype != np.uint8 else rng.integers(256)
    elif kind == 2:  # one too few
        array = np.delete(array, where, axis=0) if len(array) > where else array[:-1]
    elif kind == 3:  # one too many
        array = np.concatenate([array, array[:1]])
    elif kind == 4:  # another width or kind of number
        array = array.astype(str(rng.choice(["int8", "int16", "int64", "uint8", "uint16", "float32", "float64"])))
    elif kind == 5:  # another number of axes
        array = array[None]
    elif kind == 6 and flat.size > 1:  # out of order
        flat[:] = rng.permutation(flat)
    else:  # from another matrix
        array = others[part]
    arrays[part] = array


def decode(format, arrays, shape):
    """What the arrays stand for, element by element."""
    dense, data = np.zeros(shape, np.float32), arrays["data"]
    if format == "bitmask":
        bits = [place for place in range(dense.size) if arrays["mask"][place // 8] >> place % 8 & 1]
        dense.reshape(-1)[bits] = data
        return dense
    for row in range(len(arrays["indptr"]) - 1):
        column = -1
        for k in range(arrays["indptr"][row], arrays["indptr"][row + 1]):
            if format == "block":
                top, left = 4 * row, data.shape[2] * arrays["indices"][k]
                target = dense[top : top + 4, left : left + data.shape[2]]
                target[...] = data[k][: target.shape[0], : target.shape[1]]
            else:
                column = column + int(arrays["deltas"][k]) + 1 if format == "csr8" else arrays["indices"][k]
                dense[row, column] = data[k]
    return dense


@pytest.mark.parametrize("format", FORMATS)
def test_wrong_contents_with_a_right_checksum_are_refused_or_what_they_say(format, file):
    """60 files a format: each is refused with a sentence, or loads as what its arrays stand for."""
    rng, fresh, encoded = np.random.default_rng(0), nn.Linear(300, 6), []
    for _ in range(2):
        layer = nn.Linear(300, 6)
        layer.weight.data[rng.random((6, 300)) < 0.97] = 0
        save_sparse(file, to_sparse(layer, format))
        encoded.append(to_sparse(layer, format).encoded().arrays())
    original, metadata = read_checkpoint(file)
    del metadata["sha256"]
    sentences = []
    for case in range(60):
        arrays = dict(encoded[0])
        spoil(rng, arrays, encoded[1])
        stored = {**arrays, "bias": original["bias"]}
        write_checkpoint(file, stored, {**metadata, "sha256": digest(stored, metadata)})
        try:
            loaded = load_sparse(file, fresh)
        except CheckpointError as error:
            sentences.append(str(error))
        else:
            np.testing.assert_array_equal(loaded.matrix.to_dense(), decode(format, arrays, (6, 300)), f"case {case}")
    assert 20 < len(sentences) < 60
    for sentence in sentences:
        assert re.search(
            r"is not one of Linear: the layer(: \w+Matrix: | holds \w+, but the model expects float32)", sentence
        )


def test_two_files_glued_together_are_noticed(file):
    """Same header, so that only the checksum can tell: 50 pairs, cut at any byte of their contents."""
    contents = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        layer = nn.Linear(40, 6)
        layer.weight.data[np.arange(6).repeat(30), np.concatenate([rng.permutation(40)[:30] for _ in range(6)])] = 0
        save_sparse(file, to_sparse(layer, "csr"))
        contents.append(file.read_bytes())
    start = 8 + int.from_bytes(contents[0][:8], "little")
    assert len(contents[0]) == len(contents[1])
    for place in np.random.default_rng(2).integers(start + 1, len(contents[0]) - 1, 50):
        for one, other in (contents, contents[::-1]):
            file.write_bytes(one[:place] + other[place:])
            if file.read_bytes() not in contents:
                with pytest.raises(CheckpointError, match=r"is damaged: what it holds does not match its checksum"):
                    load_sparse(file, nn.Linear(40, 6))


def test_other_files_and_models(file):
    with pytest.raises(ValueError, match=r"^save_sparse: LeNet has no sparse layer; convert it with to_sparse first$"):
        save_sparse(file, LeNet())
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load_sparse(file, LeNet())
    save_checkpoint(file, LeNet())
    with pytest.raises(
        CheckpointError, match=r"is not a file of save_sparse: it describes no sparse layers, or has no checksum"
    ):
        load_sparse(file, LeNet())
    save_sparse(file, to_sparse(LeNet(num_classes=7)))
    with pytest.raises(CheckpointError, match=r"is not one of LeNet: fc3 has shape \[7, 84\], .* expects \[10, 84\]"):
        load_sparse(file, LeNet())
