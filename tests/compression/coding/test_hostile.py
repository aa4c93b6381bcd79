"""Files that were damaged, or made to do damage: refused with a sentence, or a model that runs; memory stays small."""

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.compression.coding import chain, load_mgz, mgz, save_mgz
from minigrad.compression.coding.wire import write_number
from minigrad.compression.quantization import pack
from minigrad.errors import CheckpointError
from tests.compression.coding.coding_cases import INPUT, STORAGES, small_model, with_crc
from tests.sentences import raises

MUTANTS = 350  # of each of six ways: 2,100 in all


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three small files that together have every kind of layer and every way to store weights; without their CRC."""
    path, contents = tmp_path_factory.mktemp("mgz") / "model.mgz", []
    for seed, storage in enumerate(STORAGES):
        note = {"note": "x"} if seed else {}
        save_mgz(path, small_model(seed), storage, input_shape=INPUT, float_bits=16 if seed == 1 else 32, **note)
        contents.append(path.read_bytes()[:-4])
    return contents


def flip(content, rng, files):
    for _ in range(rng.integers(1, 4)):
        content[rng.integers(3, len(content))] ^= 1 << rng.integers(8)


def cut(content, rng, files):
    del content[rng.integers(4, len(content)) :]


def splice(content, rng, files):
    other = files[rng.integers(len(files))]
    content[rng.integers(4, len(content)) :] = other[rng.integers(4, len(other)) :]


def inflate(content, rng, files):
    """Put a large number where one byte was; most of the lengths are near the layers' beginnings."""
    at = rng.integers(4, min(len(content), 80 if rng.random() < 0.5 else 2**16))
    content[at : at + 1] = write_number(int(2 ** rng.uniform(7, 35)))


def overwrite(content, rng, files):
    at = rng.integers(4, len(content))
    content[at : at + rng.integers(1, 9)] = rng.bytes(rng.integers(0, 9))


def transplant(content, rng, files):
    other = files[rng.integers(len(files))]
    at, start = rng.integers(4, len(content)), rng.integers(4, len(other))
    content[at : at + rng.integers(1, 30)] = other[start : start + rng.integers(1, 30)]


@pytest.mark.parametrize("mutate", [flip, cut, splice, inflate, overwrite, transplant])
def test_mutants_are_refused_with_a_sentence_or_are_models_that_run(mutate, files, tmp_path):
    path, rng, refused, largest = tmp_path / "model.mgz", np.random.default_rng(len(mutate.__name__)), 0, 0
    for number in range(MUTANTS):
        content = bytearray(files[number % len(files)])
        mutate(content, rng, files)
        path.write_bytes(with_crc(bytes(content)))
        tracemalloc.start()
        try:
            container = mgz.read_mgz(path)
            model = container.model("csr" if number % 2 else None)
        except CheckpointError as error:
            refused += 1
            assert str(error).startswith(f"model {path} is damaged, or is no .mgz file: ")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert sum(container.account.values()) == path.stat().st_size
            assert sum(p.size for p in model.parameters()) <= chain.MOST_WEIGHTS
            with minigrad.no_grad(), np.errstate(over="ignore", invalid="ignore"):
                out = model(np.zeros((1, *container.input_shape), np.float32))
            shape = container.layers[-1].about.output_shape if container.layers else container.input_shape
            assert np.shape(getattr(out, "data", out)) == (1, *shape)
        finally:
            largest = max(largest, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert refused > MUTANTS / 5
    assert largest < 30e6


def test_without_a_new_crc_every_mutant_is_refused(files, tmp_path, rng):
    path, content = tmp_path / "model.mgz", with_crc(files[0])
    for place in rng.integers(4, len(content), 100):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.integers(8)]) + content[place + 1 :])
        with raises(
            CheckpointError, f"model {path} is damaged, or is no .mgz file: its checksum is not that of its content"
        ):
            load_mgz(path)


ROWS, COLUMNS = 1024, 2046  # near the limit of 2**21 weights


def linear(record):
    head = b"MGZ\1" + b"".join(map(write_number, (1, COLUMNS, 0, 1, 1, COLUMNS, ROWS, 1)))
    return with_crc(head + b"a" + record + b"\0")


def ones(count):
    """A Huffman stream of symbol 0, a bit each."""
    return b"\0\2\x11" + write_number(-(-count // 8)) + bytes(-(-count // 8))


def largest_files():
    size = ROWS * COLUMNS
    book = b"\1\2\x20" + np.float32([1, 2]).tobytes()
    scales = np.ones(ROWS, np.float32).tobytes()
    mask = pack(np.ones(size, np.uint8), 1, signed=False).tobytes()
    return {
        "zeros in a few bytes": linear(book + b"\0\0\0\1"),
        "a bit each, down the columns": linear(book + b"\1" + write_number(size) + b"\1" + ones(size) + ones(size)),
        "floats": linear(b"\0\x20" + np.ones(size, np.float32).tobytes()),
        "integers": linear(b"\2\x08\1" + write_number(ROWS) + b"\x20" + scales + mask + b"\1" * size),
    }


@pytest.mark.parametrize("name", largest_files())
def test_the_largest_models_that_are_read_take_little_memory(name, tmp_path):
    (tmp_path / "x").write_bytes(largest_files()[name])
    tracemalloc.start()
    try:
        model = load_mgz(tmp_path / "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.a.weight.shape == (ROWS, COLUMNS)
    assert peak < 100e6


BOMBS = {
    "a row more": (linear(b"\1\2")[:-4].replace(write_number(ROWS), write_number(ROWS + 1)),
                   "it has 2,098,175 weights and biases or more, and 2,097,152 are read at most"),
    "many entries": (linear(b"\1\0\x20\0" + write_number(ROWS * COLUMNS) + b"\0\1")[:-4],
                     "a: values should take 261888 bytes, and 1 are left"),
    "many entries in few bytes": (linear(b"\1\1\x20\0\0\0\0\0" + write_number(ROWS * COLUMNS) + b"\0\0\2\x11\1\0")[:-4],
                                  "a: values: 2095104 Huffman codes are said to be in 1 bytes"),
    "a thousand axes": (b"MGZ\1" + write_number(1000) + bytes(9), "axes is 1000, expected 1 to 3"),
    "an image": (b"MGZ\1\3" + b"\x80\x80\4" * 3 + bytes(9),
                 "the input has 281,474,976,710,656 values, and 65,536 are allowed"),
    "layers": (b"MGZ\1\1\1\0" + write_number(257) + b"\2" * 257, "number of layers is 257, expected 0 to 256"),
    "work": (b"MGZ\1" + b"".join(map(write_number, (3, 1, 256, 256, 0, 1, 0, 1, 2, 100, 100, 1, 1, 0, 0, 1, 1, 1))),
             "it takes 492,980,000 multiplications an image or more, and 268,435,456 are allowed"),
    "nested metadata": (b"MGZ\1\1\1" + write_number(60_000) + b"[" * 60_000 + b"\0",
                        "its metadata is no JSON (maximum recursion depth exceeded while decoding a JSON array from a "
                        "unicode string)"),
    "a list": (b"MGZ\1\1\1\2[]\0", "its metadata is not a JSON object"),
    "another version": (b"MGZ\2\1\1\0\0", "it is of version 2, and only version 1 is known here"),
    "more": (b"MGZ\1\1\1\0\0\0", "1 bytes follow the last layer"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_take_memory(name, tmp_path):
    content, message = BOMBS[name]
    path = tmp_path / "x"
    path.write_bytes(content + zlib.crc32(content).to_bytes(4, "little"))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            load_mgz(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"model {path} is damaged, or is no .mgz file: ")
    if name != "nested metadata":  # Python's own words, which change
        assert str(caught.value).endswith(f": {message}")
    assert peak < 3e6


def test_the_page_names_the_limits():
    page = (Path(__file__).parents[3] / "docs" / "format.md").read_text(encoding="utf-8")
    powers = {2**k: f"2{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(digit)] for digit in str(k))}" for k in range(33)}
    for sentence in (
        f"files of more than {powers[mgz.MOST_BYTES]} bytes, metadata of more than {powers[mgz.MOST_METADATA]}, "
        f"settings above {powers[chain.LARGEST]}",
        f"more than {powers[chain.MOST_WEIGHTS]} weights and biases in all",
        f"more than {powers[chain.MOST_VALUES]} values an image; models of more than {powers[chain.MOST_PRODUCTS]} mul",
        f"number, at most {mgz.MOST_LAYERS} |",
    ):
        assert sentence in page


def test_layers_with_the_same_or_a_forbidden_name_are_refused(tmp_path):
    save_mgz(tmp_path / "x", nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), input_shape=(2,))
    content = (tmp_path / "x").read_bytes()[:-4]
    for old, new, message in (
        (b"\1\x31", b"\1\x30", "two layers are named '0'"),
        (b"\1\x31", b"\1_", "a layer is named '_'"),
    ):
        (tmp_path / "x").write_bytes(with_crc(content.replace(b"\2\2" + old, b"\2\2" + new)))
        with pytest.raises(CheckpointError, match=message):
            load_mgz(tmp_path / "x")
