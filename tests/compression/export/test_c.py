import ctypes
import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.compression.export import to_c
from minigrad.compression.export.c import identifier
from minigrad.compression.export.c_layers import LEAST_SHIFT, MOST_SHIFT
from minigrad.compression.export.c_text import MEAN, REQUANTIZE, RESCALE
from minigrad.compression.integer import PROFILES, IntegerLayer, IntegerModel
from minigrad.compression.integer.arithmetic import INT32_MAX, requantize
from minigrad.compression.integer.reference import rounded_mean
from tests.compression.export.c_programs import (
    NO_FLOATS,
    call,
    compile_c,
    load,
    needs_compiler,
    run_main,
    sanitizers,
)
from tests.compression.export.random_integer import Builder, random_lenet, random_model, random_pixels
from tools.c_export import FIGURES
from tools.conformance import CASES as CONFORMANCE_CASES

SEED = 7


def builder(shape, profile="tflite", **settings):
    return Builder(np.random.default_rng(SEED), shape, profile, **settings)


def renamed(model, *names):
    return IntegerModel(model.input, [replace(x, name=n) for x, n in zip(model.layers, names, strict=True)])


def cases():
    """Models by name: what random ones may miss, and random ones in each profile."""
    b = builder((4, 9, 8))
    b.conv(6, (3, 2), stride=(2, 1), padding=(2, 1), groups=2, dilation=(2, 3), pad_value=-3, act="none")
    yield "everything", b.conv(6, (2, 2), groups=6, padding=(1, 0), act="relu6").flatten().linear(5, "none").model()
    yield "lonely", builder((1, 3, 4)).flatten().linear(3, "none").model()
    yield "images_out", builder((2, 5, 5)).conv(3, (3, 3), act="none").model()
    yield "averages_out", builder((2, 7, 9)).conv(3, (2, 2), act="none").avg_pool((3, 4), (2, 1), low=-9).model()
    pooled = builder((2, 6, 6)).conv(3, (2, 2), act="none").max_pool((3, 3), (1, 2), padding=(1, 1))
    pooled.layers[-1] = replace(pooled.layers[-1], low=-20, high=30)
    yield "clamped", pooled.flatten().linear(4, "none").model()
    steep = builder((1, 4, 4)).flatten().linear(3, "none").model()  # multipliers above 1, and one that is 0
    flat, linear = steep.layers
    numbers = {
        "multiplier": np.int32([2**30, 0, INT32_MAX]),
        "shift": np.int32([2, 0, 1]),
        "bias": np.int32([40, 5, 0]),
    }
    linear = replace(linear, weight=np.eye(3, 16, 5, np.int8) - np.eye(3, 16, dtype=np.int8), **numbers)
    yield "steep", IntegerModel(steep.input, (flat, linear))
    b = builder((1, 6, 6)).conv(2, (2, 2)).conv(2, (2, 2)).conv(2, (1, 1)).max_pool((1, 1)).flatten().linear(2, "none")
    yield "strange_names", renamed(b.model(), "int", "*/ #error ??/", "卷积", "0", "flatten", "layer")
    for seed in range(5):
        for profile in PROFILES:
            yield f"random_{profile}_{seed}", random_model(np.random.default_rng(seed), profile)


CASES = dict(cases())
SOURCE_OF = {profile: f"{RESCALE[profile]}\n{REQUANTIZE}{MEAN}" for profile in PROFILES}
EXPORTS = """
int64_t exported_rescale_{0}(int32_t sum, int32_t multiplier, int shift) {{ return rescale(sum, multiplier, shift); }}
int exported_requantize_{0}(int32_t a, int32_t b, int c, int d, int e, int f) {{ return requantize(a, b, c, d, e, f); }}
int32_t exported_mean_{0}(int32_t total, int32_t count) {{ return mean(total, count); }}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """All cases and the functions that round, compiled as one library; and what `to_c` returned for each."""
    folder = tmp_path_factory.mktemp("c")
    made = {name: to_c(model, folder, name) for name, model in CASES.items()}
    for profile, text in SOURCE_OF.items():
        (folder / f"{profile}.c").write_text(f"#include <stdint.h>\n{text}{EXPORTS.format(profile)}")
    loaded = load([folder / f"{name}.c" for name in (*CASES, *PROFILES)], folder)
    for profile in PROFILES:
        getattr(loaded, f"exported_rescale_{profile}").restype = ctypes.c_int64
    return loaded, made


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_the_program_computes_what_the_model_computes_and_writes_nothing_else(name, library, rng):
    model, (loaded, made) = CASES[name], library
    pixels = random_pixels(rng, model, 20)
    with_sums = name != "averages_out"
    logits, sums = call(loaded, name, made[name], model, pixels, with_sums)
    np.testing.assert_array_equal(logits, model.logits(pixels).reshape(20, -1))
    assert name.startswith("random") or len(np.unique(logits)) > 5
    if with_sums:
        np.testing.assert_array_equal(sums, model.accumulators(pixels).reshape(20, -1))


@needs_compiler
@settings(deadline=None, max_examples=300)
@given(st.sampled_from(PROFILES), st.data())
def test_sums_are_rounded_as_in_the_profile(library, profile, data):
    shift = data.draw(st.integers(-31, 30) if profile != "onnx" else st.integers(LEAST_SHIFT, MOST_SHIFT))
    most = INT32_MAX >> max(shift, 0) if profile == "tflite" else INT32_MAX
    acc = data.draw(st.integers(-most, most) | st.integers(-40, 40).filter(lambda x: abs(x) <= most))
    multiplier = data.draw(
        st.sampled_from([0, 1, 2**23, 2**24 - 1]) | st.integers(2**23, 2**24 - 1)
        if profile == "onnx"
        else st.sampled_from([0, 2**30, INT32_MAX]) | st.integers(2**30, INT32_MAX)
    )
    expected = requantize(acc, multiplier, shift, PROFILES.index(profile))
    assert getattr(library[0], f"exported_rescale_{profile}")(acc, multiplier, shift) == expected
    zero, bounds = data.draw(st.integers(-128, 127)), sorted(data.draw(st.tuples(*[st.integers(-128, 127)] * 2)))
    clamped = min(max(expected + zero, bounds[0]), bounds[1])
    assert getattr(library[0], f"exported_requantize_{profile}")(acc, multiplier, shift, zero, *bounds) == clamped


@given(st.integers(-INT32_MAX, INT32_MAX), st.integers(1, 2**24 - 1), st.integers(0, 100), st.sampled_from([-1, 1]))
def test_shifts_beyond_a_byte_give_the_same_in_profile_onnx(acc, multiplier, further, sign):
    least, most = LEAST_SHIFT - further * (sign < 0), MOST_SHIFT + further * (sign > 0)
    assert requantize(acc, multiplier, least, 2) == requantize(acc, multiplier, LEAST_SHIFT, 2) == 0
    assert requantize(acc, multiplier, most, 2) == requantize(acc, multiplier, MOST_SHIFT, 2)


@needs_compiler
@pytest.mark.parametrize("profile", PROFILES)
def test_large_and_small_sums_are_rounded_as_in_the_profile(library, profile, rng):
    rescale = getattr(library[0], f"exported_rescale_{profile}")
    bits = 24 if profile == "onnx" else 31
    for _ in range(3_000):
        multiplier, acc = int(rng.integers(2 ** (bits - 1), 2**bits)), int(rng.integers(2**31)) >> int(rng.integers(31))
        shift = -int(rng.integers(31)) - 31 + bits
        for value in (acc, -acc):
            assert rescale(value, multiplier, shift) == requantize(value, multiplier, shift, PROFILES.index(profile))


@needs_compiler
@given(st.integers(-30_000, 30_000), st.integers(1, 200))
def test_means_are_rounded_half_away_from_zero(library, total, count):
    assert library[0].exported_mean_tflite(total, count) == rounded_mean(total, count)


@needs_compiler
def test_main_prints_outputs_or_sums_and_nothing_is_undefined(tmp_path, rng):
    model = CASES["everything"]
    to_c(model, tmp_path, "net")
    sources = [tmp_path / "net.c", tmp_path / "net_main.c"]
    program = compile_c(sources, tmp_path / "net", "-O1", *sanitizers())
    pixels = random_pixels(rng, model, 30)
    np.testing.assert_array_equal(run_main(program, pixels), model.logits(pixels))
    np.testing.assert_array_equal(run_main(program, pixels, "--sums"), model.accumulators(pixels))
    assert run_main(program, pixels[:0]).size == 0
    cut = subprocess.run([program], input=pixels.tobytes()[:-1], capture_output=True)
    assert cut.returncode == 1
    assert cut.stderr == b"net: the last image has 287 bytes, expected 288\n"
    assert len(cut.stdout.splitlines()) == 29


@needs_compiler
def test_a_model_that_ends_in_pooling_has_a_main_without_sums(tmp_path, rng):
    model = CASES["averages_out"]
    made = to_c(model, tmp_path)
    program = compile_c([tmp_path / "model.c", tmp_path / "model_main.c"], tmp_path / "net", "-O2", NO_FLOATS)
    pixels = random_pixels(rng, model, 5)
    np.testing.assert_array_equal(run_main(program, pixels), model.logits(pixels).reshape(5, -1))
    assert "sums" not in (tmp_path / "model.h").read_text()
    assert made.buffers == (2 * 7 * 9, 3 * 6 * 8)


def arrays_in(text):
    """Bytes of each constant array of a source file: its declared length, which is the number of values that follow."""
    found = {}
    for bits, name, length, values in re.findall(
        r"static const int(\d+)_t (\w+)\[(\d+)\] IN_FLASH = \{(.*?)\}", text, re.S
    ):
        assert len(re.findall(r"-?\d+", values)) == int(length)
        found[name] = int(bits) // 8 * int(length)
    return found


@pytest.mark.parametrize("name", ["everything", "strange_names", "steep", "random_onnx_1", "random_single_2"])
def test_the_accounting_is_that_of_the_files(name, tmp_path):
    made = to_c(CASES[name], tmp_path, "net")
    assert made.files == {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    arrays = arrays_in((tmp_path / "net.c").read_text())
    assert made.flash == sum(arrays.values()) == sum(row.total for row in made.layers)
    for row in made.layers:
        parts = (f"{row.layer}_{part}" for part in ("weight", "bias", "multiplier", "shift"))
        assert row[1:] == tuple(arrays.get(part, 0) for part in parts)
    header = (tmp_path / "net.h").read_text()
    assert f"#define NET_FLASH {made.flash} " in header
    assert f"#define NET_WORK {made.work} " in header


@needs_compiler
@pytest.mark.skipif(shutil.which("nm") is None, reason="there is no nm, which lists what is in an object file")
def test_the_compiler_puts_so_many_bytes_of_constants_into_the_object_file(tmp_path):
    made = to_c(CASES["everything"], tmp_path, "net")
    compile_c([tmp_path / "net.c"], tmp_path / "net.o", "-c", "-O0")
    symbols = subprocess.run(["nm", "-S", tmp_path / "net.o"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in symbols.splitlines()]
    assert sum(int(row[1], 16) for row in rows if len(row) == 4 and row[2] in "rR") == made.flash
    assert not [row for row in rows if row[-2] in "bBdDcCU"]  # no variables, and nothing from elsewhere


def test_lenet_needs_what_its_shapes_say(rng, tmp_path):
    made = to_c(random_lenet(rng, per_channel=True), tmp_path, "lenet")
    assert made.buffers == (6 * 12 * 12, 6 * 24 * 24)
    assert [row.weights for row in made.layers] == [150, 2_400, 30_720, 10_080, 840]
    assert [row.biases for row in made.layers] == [4 * n for n in (6, 16, 120, 84, 10)]
    assert [row.multipliers + row.shifts for row in made.layers] == [5 * 6, 5 * 16, 0, 0, 0]
    header = (tmp_path / "lenet.h").read_text()
    assert f"Flash: {made.flash} bytes of constants (44190 weights, 944 biases, 110 multipliers and shifts)" in header
    assert "RAM:   4320 bytes for activations, 784 for the image, 10 for the outputs, and the stack." in header
    assert " *     layer0: convolution with ReLU, 5 x 5 kernels; 1 x 28 x 28 -> 6 x 24 x 24\n" in header


def test_there_is_no_float_no_heap_and_no_library_but_stdint(tmp_path):
    for name, model in CASES.items():
        to_c(model, tmp_path, name)
        text = "".join((tmp_path / f"{name}.{kind}").read_text() for kind in "ch")
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        assert set(re.findall(r"#include (\S+)", code)) == {f'"{name}.h"', "<avr/pgmspace.h>", "<stdint.h>"}
        assert not re.search(r"\b(float|double|malloc|free)\b|\d\.\d", code)
        assert text.isascii()


def test_the_same_model_gives_the_same_files(tmp_path):
    for folder in ("a", "b/c"):
        to_c(CASES["clamped"], tmp_path / folder)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "c" / file.name).read_bytes()


@pytest.mark.skipif(shutil.which("avr-gcc") is None, reason="there is no avr-gcc, which compiles for 8-bit chips")
def test_on_an_avr_weights_stay_in_flash_and_more_than_64_kib_are_refused(tmp_path):
    made = to_c(CASES["everything"], tmp_path, "net")
    compiler = ["avr-gcc", "-mmcu=atmega1284p", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Os", "-c"]
    subprocess.run([*compiler, tmp_path / "net.c", "-o", tmp_path / "net.o"], check=True)
    said = subprocess.run(["avr-size", "-A", tmp_path / "net.o"], capture_output=True, text=True, check=True).stdout
    sizes = {
        words[0]: int(words[1]) for words in map(str.split, said.splitlines()) if len(words) == 3 and words[1].isdigit()
    }
    assert sizes[".progmem.data"] == made.flash
    assert sizes[".data"] == sizes[".bss"] == sizes.get(".rodata", 0) == 0
    b = builder((1, 12, 12)).flatten().linear(180).linear(180).linear(40, "none")
    assert to_c(b.model(), tmp_path, "large").flash > 65_000
    done = subprocess.run([*compiler, tmp_path / "large.c", "-o", tmp_path / "large.o"], capture_output=True, text=True)
    assert done.returncode
    assert "large: on an AVR, constants must fit into the first 64 KiB of flash" in done.stderr


def test_layers_get_names_that_c_can_have():
    taken = set()
    names = ["conv1", "conv1", "Conv 1", "features.0.conv", "0", "", "__x__", "é", "int", "a" * 99, "a" * 99]
    assert [identifier(name, taken) for name in names] == [
        "conv1", "conv1_2", "Conv_1", "features_0_conv", "layer_0", "layer", "x", "layer_2", "int", "a" * 40, "a" * 40 + "_2",
    ]  # fmt: skip
    assert len(taken) == len(names)


@pytest.mark.parametrize("name", ["", "int", "5", "le-net", "../lenet", "_net", "net\n", "ne t", "é"])
def test_a_name_that_c_cannot_have_is_refused(name, tmp_path):
    with pytest.raises(
        ValueError, match=rf"to_c: name is {re.escape(repr(name))}, expected an identifier of C, such as"
    ):
        to_c(CASES["lonely"], tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        NotADirectoryError, match=r"to_c: \S+/file is a file, expected a folder for net\.h, net\.c, net_"
    ):
        to_c(CASES["lonely"], tmp_path / "file", "net")
    with pytest.raises(OSError, match="Not a directory"):
        to_c(CASES["lonely"], tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_the_functions_cannot_do_is_refused(tmp_path):
    model = CASES["lonely"]
    flat, linear = model.layers
    with pytest.raises(
        ValueError, match=r"to_c: pixels have zero point -127, expected -128, so that they fit into int8"
    ):
        to_c(IntegerModel(replace(model.input, zero_point=-127), (flat, replace(linear, input_zero=-127))), tmp_path)
    for profile, shift in (("tflite", -32), ("single", -32), ("single", 31)):
        odd = IntegerModel(model.input, (flat, replace(linear, shift=np.int32([0, shift, 0]))), profile)
        with pytest.raises(ValueError, match=rf"to_c: layer1, channel 1, has shift {shift}, expected -31 to 30"):
            to_c(odd, tmp_path)

    class Odd(IntegerLayer):
        name = "odd"

        def output_shape(self, shape):
            return shape

    with pytest.raises(TypeError, match=r"to_c: odd is a Odd, which has no form in C here"):
        to_c(IntegerModel(model.input, (*model.layers, Odd())), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_record_of_make_c_export_has_every_model_and_no_difference():
    figures = json.loads(FIGURES.read_text())
    assert figures["images"] == 10_000
    assert figures["cases"] == {case.name: dict.fromkeys(PROFILES, 0) for case in CONFORMANCE_CASES}
    assert figures["lenet"]["sanitizers"]["images"] == 10_000
    assert figures["lenet"]["sanitizers"]["differences"] == figures["lenet"]["valgrind"]["differences"] == 0
    assert [row["profile"] for row in figures["avr"][::2]] == list(PROFILES)
    assert all(row["differences"] == 0 and row["ram"] + row["stack"] < 16 * 1024 for row in figures["avr"])
