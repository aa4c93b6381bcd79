# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 14 · Take it away: C, a microcontroller, other runtimes, a web page
#
# **Goal.** Let LeNet run where there is no Python: as one C file, on an 8-bit microprocessor, in TensorFlow Lite and ONNX, and
# in a browser; and prove each time that it is the same model, bit by bit.
#
# **What you need.** Notebook 10 (integers only). A little C helps in section 1, but the listing is explained. A C compiler, if
# there is one: cells that need it say so and go on without. The notebook runs in well under a minute on two cores.
#
# The article on distillation gives a reason for 8 bits: there are microprocessors that *have* only 8 bits, where floating-point
# numbers are slow. It does not say how the network gets there. Here it does.
#
# **How to read it.** Before each result there is a line that begins with **Predict**. Write your guess down first, then
# run the cell. At the end there are four exercises.

# %%
# Finds the folder of the course. Where minigrad is missing, as on Colab, installs it from the clone: a minute.
import os
import site
import subprocess
import sys
from importlib import metadata
from pathlib import Path

above = [Path.cwd(), *Path.cwd().parents]
clones = [f.parents[2] for p in [*above, *above[0].glob("*/")] for f in p.glob("notebooks/checks/checking.py")]
folders = [f.parents[1] for p in above for f in p.glob("checks/checking.py")] + [c / "notebooks" for c in clones]
if folders:
    os.chdir(folders[0])  # `checks` lies there, and what a notebook reads lies beside it
    sys.path.insert(0, str(folders[0]))
installed = any(metadata.distributions(name="minigrad-compression"))
if not folders or not (clones or installed):
    sentence = "minigrad's repository is neither here, nor above, nor right below: clone it, on Colab by !git clone"
    raise FileNotFoundError(f"{sentence} in a cell of its own, then run this cell again")
if not installed:
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", clones[0]], check=True)
    sys.path.append(str(clones[0]))
    site.main()  # without it, a kernel that runs already does not see what was installed

# %%
# %matplotlib inline
import base64
import hashlib
import html
import importlib.util
import json
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from IPython.display import IFrame, display
from matplotlib.figure import Figure

from checks import check
from minigrad.compression.export import to_c, to_html, to_onnx, to_tflite, to_tflite_float16
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE
from minigrad.compression.integer import to_integer
from minigrad.compression.models import trained_lenet
from minigrad.compression.report import align
from minigrad.datasets import mnist, split_validation

# %%
training, held_out = split_validation(mnist("train"))
lenet = trained_lenet()
model = to_integer(lenet, training.pixels[:1000])  # notebook 10: ranges are measured, nothing is trained
digits = held_out.pixels[:1000]
expected = model.logits(digits)
print(f"{100 * np.mean(model.predict(digits) == held_out.labels[:1000]):.1f} % of 1,000 held-out digits, in integers")
print("logits of the first:", expected[0])

assert expected.dtype == np.int8, "The answer is made of integers, so that two of them are equal or not: no tolerance."

# %% [markdown]
# ## 1. One C file
#
# **Goal.** Read a layer in C beside its formula.
#
# **You need.** $q_y = Z_y + M\,\bigl(\sum_i q_{w,i}\, q_{x,i} + b'\bigr)$, notebook 10.
#
# **The idea.** A general library must be told each layer's sizes and walk through a graph when it runs. But the model is known
# when the program is *written*. So write it out: one function a layer, its sizes as plain numbers, its weights as arrays. What
# comes out needs no library, no heap and no floating-point number, and a compiler sees every bound.
#
# **Predict.** LeNet has 44,190 weights of a byte. How large are all constants? How large is the C file that spells them out in
# decimal?

# %%
folder = tempfile.TemporaryDirectory()  # it is removed when the notebook ends
place = Path(folder.name)
made = to_c(model, place, "lenet")
source = (place / "lenet.c").read_text()
print(f"constants: {made.flash:,} bytes; files: {made.files}")
print(source[source.index("/* fc2: linear") : source.index("/* fc3: linear")])

assert made.flash == sum(row.total for row in made.layers), "Weights, biases, multipliers, shifts."
assert all((place / name).stat().st_size == size for name, size in made.files.items()), "Sizes are those of the files."

# %% [markdown]
# | formula | C |
# |---|---|
# | $b' = q_b - Z_x \sum_i q_{w,i}$, folded (notebook 10) | `sum = READ_32(fc2_bias + f)` |
# | $\sum_i q_{w,i}\, q_{x,i}$ in int32 | `sum += READ_8(w++) * x[i]` |
# | $Z_y + M \cdot \text{sum}$, with $M = Q \cdot 2^{\text{shift} - 31}$ | `requantize(sum, Q, shift, Z_y,` ... |
# | ReLU: clamp to $[Z_y, 127]$ | ... `-128, 127)` |
#
# `READ_8` is an ordinary read on a PC. On an AVR, whose weights stay in flash, it is another instruction.
#
# **Predict.** What must the numbers $Q$, shift and the biases in the file be equal to, in our model?

# %%
fc2 = next(layer for layer in model.layers if layer.name == "fc2")
Q, shift, zero, low, high = map(int, re.search(r"run_fc2.*?requantize\(sum, (.*?)\);", source, re.DOTALL)[1].split(","))
arrays = {
    name: np.array(re.findall(r"-?\d+", re.search(rf"{name}\[[^=]*= \{{(.*?)\}};", source, re.DOTALL)[1]), np.int64)
    for name in ("fc2_weight", "fc2_bias")
}
print(f"M = {Q} * 2^({shift} - 31) = {Q * 2.0 ** (shift - 31):.6f}; Z_y = {zero}, clamped to {low} ... {high}")

assert {Q} == set(fc2.multiplier.tolist()), "The multiplier of the layer, one for all channels here."
assert np.array_equal(arrays["fc2_weight"], fc2.weight.ravel()), "The C file spells out the weights, row by row."
assert np.array_equal(arrays["fc2_bias"], fc2.folded_bias), "And the biases with the input's zero point folded in."
print(source[source.index("/* sum * multiplier * 2**(shift - 31)") : source.index("static int32_t clamp")])

# %% [markdown]
# That is notebook 10's *doubling high multiply* and *rounding shift*. A box on C: what happens when a signed sum overflows, C
# leaves *undefined*, and compilers make use of that. Notebook 10's certificate (no image can make a sum leave int32) is what
# makes this file safe, not luck.
#
# RAM: each layer reads one array and writes another. Two buffers, taken in turns, are enough.
#
# **Predict.** The outputs have 784 (the pixels), 3,456, 864, 1,024, 256, 120, 84 and 10 values. How large must the two buffers
# be? How much RAM would it take to keep all?

# %%
steps = [(layer, shape) for layer, shape in zip(model.layers, model.shapes, strict=True) if layer.name != "flatten"]
values = [784, *(int(np.prod(shape)) for _, shape in steps)]  # flattening moves nothing: it is no step
names = ["pixels", *(layer.name for layer, _ in steps)]
figure = Figure(figsize=(8, 3.2), layout="constrained")
ax = figure.subplots()
for step, size in enumerate(values):
    last = step == len(values) - 1
    ax.bar(step, size, color=GREY if last else (BLUE, ORANGE)[step % 2])
    ax.text(step, size + 120, f"{size:,}", ha="center", fontsize=9, bbox={"color": "white", "pad": 0.2})
for size, color, label in zip(made.buffers, (BLUE, ORANGE), ("first buffer", "second buffer"), strict=True):
    ax.axhline(size, color=color, linestyle="--", zorder=0, label=f"{label}: {size:,} bytes")
ax.set_xticks(range(len(names)), names)
ax.set(ylabel="bytes", ylim=(0, 4200), title=f"Two buffers by turns: {made.work:,} bytes; all outputs: {sum(values):,}")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

assert made.buffers == (max(values[:-1:2]), max(values[1:-1:2])), "The largest of every second array."

# %% [markdown]
# **In short.** One function a layer, constants in flash, two buffers in RAM.
#
# **Questions.**
# 1. Could max-pooling work in one buffer, over its own input? What would that save here?
# 2. A pruned model: which loop would you write for a layer in CSR, and when would it be faster?
#
# **Source.** `minigrad.compression.export.to_c`; the article on distillation, level 3.

# %% [markdown]
# ## 2. Compile it, and count
#
# **Goal.** Compare every logit with Python's.
#
# **You need.** gcc or another C compiler; without one, the cells show what was recorded.
#
# **The idea.** `lenet_main.c` reads images from standard input and prints the logits. "About as accurate" is not what we
# compare: a mistake in rounding would hide there. All bits, or it is another model.
#
# **Predict.** Of 10,000 logits: how many differ?

# %%
compiler = shutil.which("gcc") or shutil.which("cc")
recorded = json.loads(Path("../results/c_export.json").read_text())
flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"]
if compiler:
    sources = [str(place / "lenet.c"), str(place / "lenet_main.c")]
    subprocess.run([compiler, *flags, *sources, "-o", str(place / "lenet")], check=True)
    printed = subprocess.run([place / "lenet"], input=digits.tobytes(), capture_output=True, check=True).stdout
    logits = np.array([line.split() for line in printed.splitlines()], np.int64)
    different, of = np.count_nonzero(logits != expected), logits.size
else:
    print("There is no C compiler here; this is what `make c-export` recorded.")
    different, of = recorded["cases"]["LeNet, trained"]["tflite"], 10 * recorded["images"]
print(f"{different} of {of:,} logits differ")

assert different == 0, "Every bit."

# %% [markdown]
# A comparison that never fails proves nothing. So make a mistake: TensorFlow Lite rounds halves *away from zero*, and in C that
# is the `+ (x < 0)` of the threshold. Leave it out.
#
# **Predict.** How many of 10,000 logits change? By how much? And the accuracy?

# %%
if compiler:
    wrong = source.replace("(mask >> 1) + (x < 0)", "(mask >> 1)")
    assert wrong != source, "The text to be replaced is in the file."
    (place / "wrong.c").write_text(wrong)
    sources = [str(place / "wrong.c"), str(place / "lenet_main.c")]
    subprocess.run([compiler, *flags, *sources, "-o", str(place / "wrong")], check=True)
    printed = subprocess.run([place / "wrong"], input=digits.tobytes(), capture_output=True, check=True).stdout
    mutant = np.array([line.split() for line in printed.splitlines()], np.int64)
    gap, labels = np.abs(mutant - expected), held_out.labels[:1000]
    print(f"{np.count_nonzero(gap):,} logits differ, by {gap.max()} at most")
    print(f"{np.sum(mutant.argmax(1) == labels)} and {np.sum(expected.argmax(1) == labels)} of 1,000 digits are right")
    assert np.count_nonzero(gap) > 0, "Bits notice what accuracy does not."
else:
    print("Skipped: there is no C compiler here.")

# %% [markdown]
# `make c-export` does it for fifteen models in three profiles, 10,000 test images each, and with `-mgeneral-regs-only`: no
# floating-point register may be used at all. LeNet also runs with sanitizers, which stop at undefined behaviour or a wrong
# address, and under valgrind.
#
# **In short.** 0 differing logits, and a test that would notice one.
#
# **Question.** The program was compiled with `-O2`. Which property of integer arithmetic lets the compiler reorder sums without
# changing a bit, and why do floats not have it?

# %% [markdown]
# ## 3. A microprocessor of 8 bits
#
# **Goal.** See what the article's 8-bit microprocessor makes of LeNet.
#
# **You need.** Section 2. The chip is simulated, and its figures are recorded.
#
# **The idea.** An ATmega1284P has registers of 8 bits, 128 KB of flash and 16 KB of RAM, and at 16 MHz no floating-point unit,
# no cache, no operating system. float32 weights alone, 177,704 bytes, would not fit. `make c-export` compiles the same C file
# with `avr-gcc` and runs it in `simavr`, which counts every cycle.
#
# **Predict.** LeNet needs 281,640 multiplications an image. The chip multiplies 8 × 8 bits in 2 cycles, but a sum of 32 bits
# takes four additions, and the weight must come from flash. How many cycles a multiplication in all: 5, 15, 45 or 150? So how
# many seconds an image?

# %%
multiplications = 24 * 24 * 150 + 8 * 8 * 2400 + 30_720 + 10_080 + 840
rows = [["profile", "for", "flash B", "RAM B", "s an image", "cycles a product", "wrong logits"]]
for row in recorded["avr"]:
    aim = {"-Os": "size", "-O2": "speed"}[row["level"]]
    ram, cycles = row["ram"] + row["stack"], row["cycles"] / multiplications
    numbers = f"{row['flash']:,} {ram:,} {row['seconds']:.2f} {cycles:.0f} {row['differences']}".split()
    rows.append([row["profile"], aim, *numbers])
chip, images = (recorded["avr"][0][key] for key in ("chip", "images"))
print(f"{chip}, simulated, {images} images; {multiplications:,} multiplications an image")
print(align(rows))

fast = next(row for row in recorded["avr"] if row["profile"] == "tflite" and row["level"] == "-O2")
assert all(row["differences"] == 0 for row in recorded["avr"]), "The same logits on 8 bits."
assert 40 < fast["cycles"] / multiplications < 50, "About 44 cycles: fetch, multiply, widen, add four bytes, step on."

# %%
figure = Figure(figsize=(9, 3), layout="constrained")
left, right = figure.subplots(1, 2)
labels = [f"{row['profile']}, {row['level']}" for row in recorded["avr"]]
left.barh(labels, [row["seconds"] for row in recorded["avr"]], color=[BLUE, ORANGE] * 3)
left.set(xlabel="seconds an image at 16 MHz", title="Time")
constants, flash = ([row[key] / 1000 for row in recorded["avr"]] for key in ("constants", "flash"))
right.barh(labels, constants, color=GREY, label="constants")
right.barh(labels, np.subtract(flash, constants), left=constants, color=ORANGE, label="code")
right.axvline(128 * 1.024, color="black", linestyle="--", label="the chip has 131 KB")
right.set(xlabel="flash (KB of 1,000 bytes)", title="Flash")
right.legend(fontsize=9, loc="center right", bbox_to_anchor=(0.92, 0.5))
for ax in (left, right):
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# Less than a second, in 49.5 KB of flash. Profile "onnx" takes two to four times as long: to round as float32 does, without
# floats, is work, and here it is done for each output. Flash is nearly all weights; notebook 12's codes would make them
# smaller, but somebody has to decode them.
#
# **In short.** 8 bits, no floating-point unit, 0.78 s, the same bits.
#
# **Questions.**
# 1. Two buffers take 4,320 bytes. What are the other 890 or so?
# 2. What would a chip with 2 KB of RAM need to be able to run this LeNet? (Look at `conv1` and `maxpool1`.)
#
# **Source.** `results/c_export.json`; `make c-export`; the article on distillation: "supports microprocessors".

# %% [markdown]
# ## 4. TensorFlow Lite and ONNX: what is in the files
#
# **Goal.** Take two model files apart by hand.
#
# **You need.** Bytes, little-endian. No library.
#
# **The idea.** Both files say the same: which operators, in which order, on which tensors; and the weights as raw bytes. They
# say it in two ways. *FlatBuffers* (TensorFlow Lite) are references: "so many bytes from here". A reader jumps, and need not
# copy a thing. *Protocol buffers* (ONNX) are messages within messages: key, length, content. A reader goes from the front to
# the back.
#
# **The formula.** FlatBuffers: a table begins with the distance back to its *vtable*, which says where each field lies.
# Protocol buffers: $\text{key} = 8 \cdot \text{number} + \text{kind}$; integers have 7 bits a byte, the lowest first, the top
# bit meaning "goes on".
#
# **Predict.** How large are the files? LeNet has 44,190 one-byte weights. TensorFlow Lite keeps the channels of a
# pixel side by side: what is the shape of `conv2`'s weights there?

# %%
tflite = to_tflite(model)
onnx = to_onnx(to_integer(lenet, training.pixels[:1000], profile="onnx"))  # it rounds as onnxruntime does
u32, i32, u16 = (struct.Struct(code).unpack_from for code in ("<I", "<i", "<H"))
at = u32(tflite, 0)[0]  # the root: Model
print(f"{len(tflite):,} bytes, identifier {tflite[4:8]}, root at {at}")
for slot, first in ((2, True), (0, False)):  # Model.subgraphs, of which the first; SubGraph.tensors
    at += u16(tflite, at - i32(tflite, at)[0] + 4 + 2 * slot)[0]  # the vtable says where the field is
    at += u32(tflite, at)[0]  # the field refers to a vector: a count, then its items
    if first:
        at += 4
        at += u32(tflite, at)[0]
for index in range(u32(tflite, at)[0]):
    tensor = at + 4 + 4 * index
    tensor += u32(tflite, tensor)[0]
    texts = []
    for slot, dtype in ((3, np.uint8), (0, "<i4")):  # Tensor.name, Tensor.shape
        field = tensor + u16(tflite, tensor - i32(tflite, tensor)[0] + 4 + 2 * slot)[0]
        field += u32(tflite, field)[0]
        texts.append(np.frombuffer(tflite, dtype, u32(tflite, field)[0], field + 4))
    print(f"  tensor {index:2}: {texts[0].tobytes().decode():16} {texts[1].tolist()}")

assert tflite[4:8] == b"TFL3", "Four bytes that name the format."

# %% [markdown]
# Images are (N, height, width, channels) there: channels last. Weights of convolutions are turned accordingly, and so are the
# columns of `fc1`, which reads a flattened image.
#
# Now ONNX, from the front to the back. Of all fields only some are opened: number 7 of the model is the graph, 1 and 5 of the
# graph are nodes and constants, 4 of a node is its operator, 8 of a constant its name, 9 its bytes.

# %%
inside = {("model", 7): "graph", ("graph", 1): "node", ("graph", 5): "constant"}
waiting, operators, constants, name = [("model", onnx)], [], {}, ""
while waiting:
    kind, data = waiting.pop(0)
    at = 0
    while at < len(data):
        numbers = []
        for _ in range(2):  # the key, and then an integer, or the length of what follows
            end = next(place for place in range(at, len(data)) if data[place] < 128) + 1
            numbers.append(sum((byte & 127) << 7 * i for i, byte in enumerate(data[at:end])))
            at = end
        number, value = numbers[0] >> 3, b""
        if numbers[0] & 7 == 2:
            value, at = data[at : at + numbers[1]], at + numbers[1]
        if (kind, number) in inside:
            waiting.append((inside[kind, number], value))
        elif (kind, number) == ("node", 4):
            operators.append(value.decode())
        elif (kind, number) == ("constant", 8):
            name = value.decode()
        elif (kind, number) == ("constant", 9):
            constants[name] = value

# %%
print(f"{len(onnx):,} bytes; operators: {operators}")
print("constants of fc1, in bytes:", {name: len(data) for name, data in constants.items() if name.startswith("fc1")})

assert (operators.count("QLinearConv"), operators.count("QGemm")) == (2, 3), "Two convolutions, three linear layers."

# %% [markdown]
# Where in the files do the weights lie? Nothing has packed or scrambled them, so their bytes can simply be searched for.
#
# **Predict.** What share of a file is weights? What is the rest?

# %%
weighted = {layer.name: layer for layer in model.layers if hasattr(layer, "weight")}
turned = dict.fromkeys(("conv1", "conv2", "fc1"), (0, 2, 3, 1))  # channels last
styles = ((ORANGE, None), (GREEN, "////"), (BLUE, None), ("#56B4E9", None), ("#CC79A7", "...."))
figure = Figure(figsize=(9, 2.6), layout="constrained")
ax = figure.subplots()
for y, (title, file) in enumerate((("TensorFlow Lite", tflite), ("ONNX", onnx))):
    ax.broken_barh([(0, len(file))], (-y - 0.35, 0.7), color=GREY, alpha=0.5, label=None if y else "all else")
    found = 0
    for (name, layer), (color, hatch) in zip(weighted.items(), styles, strict=True):
        w = layer.weight
        if title == "TensorFlow Lite":
            w = w.reshape(120, 16, 4, 4) if name == "fc1" else w
            w = w.transpose(turned.get(name, (0, 1)))
        start = file.find(w.tobytes())
        style = {"facecolor": color, "edgecolor": "white", "linewidth": 0, "hatch": hatch}
        ax.broken_barh([(start, w.size)], (-y - 0.35, 0.7), label=None if y else f"{name}: {w.size:,}", **style)
        found += w.size if start >= 0 else 0
    print(f"{title:16} {len(file):,} bytes, {100 * found / len(file):.0f} % of them weights")
    assert found == 44_190, "All weights of all layers are there, byte for byte."
ax.set_yticks([0, -1], ["TensorFlow Lite", "ONNX"])
ax.set(xlabel="place in the file (bytes)", title="Where the weights lie")
ax.spines[["top", "right"]].set_visible(False)
figure.legend(loc="outside right center", fontsize=9)
display(figure)

# %% [markdown]
# Neither file says how to *round*. TensorFlow Lite holds scales as float32, and each runtime makes its own multipliers of them.
# So "the file loads" is not enough: run it, and compare bits. Where the runtimes are not installed, the cell shows what was
# recorded (`docs/conformance.md`).
#
# **Predict.** Logits that differ, of 5,000?

# %%
some, answers = digits[:500], {}
centred = (some.reshape(-1, 1, 28, 28).astype(int) - 128).astype(np.int8)
if importlib.util.find_spec("tflite_micro"):
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(to_tflite(model, batch=500), arena_size=20_000_000)
    interpreter.set_input(centred.transpose(0, 2, 3, 1), 0)
    interpreter.invoke()
    answers["TensorFlow Lite Micro"] = interpreter.get_output(0)
if importlib.util.find_spec("onnxruntime"):
    import onnxruntime

    session = onnxruntime.InferenceSession(to_onnx(model, "integer"), providers=["CPUExecutionProvider"])
    answers["onnxruntime, integers"] = session.run(None, {"images": centred})[0]
for name, answer in answers.items():
    print(f"{name:22} {np.count_nonzero(answer != expected[:500])} of {answer.size:,} logits differ")
    assert np.array_equal(answer, expected[:500]), "Every bit."
report = json.loads(Path("../results/conformance.json").read_text())["cases"]["LeNet, trained"]
print(f"recorded, of {report['logits']:,}: {report['differences']}")

# %% [markdown]
# On the command line: `minigrad export CHECKPOINT --format tflite --out lenet.tflite`, and `--format onnx` likewise.
#
# **In short.** References or messages, and inside the same raw bytes. What a file leaves open, runtimes decide: compare bits.
#
# **Questions.**
# 1. A FlatBuffer's reader need not read the whole file. What is that worth on a device that maps its flash into memory?
# 2. A file that says "a vector of 4,000,000,000 items begins here": what must a reader do first?
#
# **Source.** flatbuffers.dev, "Internals"; protobuf.dev, "Encoding"; `docs/conformance.md`.

# %% [markdown]
# ## 5. A web page
#
# **Goal.** One HTML file that reads digits, without a network.
#
# **You need.** A browser.
#
# **The idea.** A browser runs JavaScript, and its numbers are float64, which hold integers exactly up to 53 bits. A sum of 32
# bits times a multiplier of 31 does not fit; so the multiplier is split into halves of 16 bits, and every step is exact.
# Weights travel as *base64*: text of 64 harmless letters.
#
# **The formula.** base64 writes 3 bytes as 4 letters: $4\,\lceil n / 3 \rceil$ letters for $n$ bytes.
#
# **Predict.** The page holds three LeNets: float32, pruned (in float32 as well) and int8. How large is it, and which part is
# the largest?

# %%
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner

pruned = SparsePruner(lenet, ARTICLE_SPARSITY).prune(lenet)  # not fine-tuned: one sees on the page what that costs
test = mnist("test")  # only to be shown
samples = [int(np.flatnonzero(test.labels == digit)[0]) for digit in range(10)]
page = to_html(model, lenet, pruned, samples=test.pixels[samples], labels=test.labels[samples])
(place / "playground.html").write_text(page, encoding="utf-8")
styles, data, network, script = re.findall(r"<(?:style|script)[^>]*>(.*?)</(?:style|script)>", page, re.DOTALL)
content, short = json.loads(data), {"separators": (",", ":")}
parts = {f"{name} model": len(json.dumps(part, **short)) for name, part in content["models"].items()}
parts["ten samples"] = len(json.dumps(content["samples"], **short))
parts["JavaScript"], parts["styles"] = len((network + script).encode()), len(styles.encode())
parts["markup and the rest"] = len(page.encode()) - sum(parts.values())
print(f"{len(page.encode()):,} bytes:", parts)

assert sum(parts.values()) == (place / "playground.html").stat().st_size, "Every byte of the file is in a part."
assert not re.search(r"https?:|fetch\(| src=", page), "It names no address and loads nothing."

# %%
figure = Figure(figsize=(8, 2.8), layout="constrained")
ax = figure.subplots()
ax.barh(list(parts), list(parts.values()), color=[BLUE] * 3 + [ORANGE] * 4)
for y, value in enumerate(parts.values()):
    ax.text(value, y, f" {value:,}", va="center", fontsize=9)
ax.invert_yaxis()
ax.set(xlabel="bytes", xlim=(0, 280_000), title=f"What the page is made of: {len(page.encode()):,} bytes")
ax.spines[["top", "right"]].set_visible(False)
display(figure)

int8 = len(base64.b64encode(model.layers[-1].weight.tobytes()))
print(f"fc3 as base64: {int8:,} letters for 840 bytes")
assert int8 == 4 * -(-840 // 3), "Four letters for three bytes."

# %% [markdown]
# Try it. Draw a digit in the frame, or choose one; look at the layers' pictures below. (The frame is the page itself, written
# into this notebook; it needs no network. It is in a *sandbox*: it may run its script, and reach nothing of the notebook.)

# %%
display(IFrame("about:blank", "100%", 640, extras=[f'srcdoc="{html.escape(page)}"', 'sandbox="allow-scripts"']))
print("The frame stays empty? Then open the file, with a double click or so; it needs no server:")
print("  minigrad playground --out playground.html")

# %% [markdown]
# Is it the same model? JavaScript also runs without a browser, in node. Where there is none, the cell is skipped.
# (`make try-playground` draws on the page in a real browser.)
#
# **Predict.** Of 2,000 logits, computed in JavaScript: how many differ?

# %%
node = shutil.which("node")
if node:
    program = f"""{network}
    const {{models}} = JSON.parse({json.dumps(data)}), model = load(models.int8);
    const images = new Uint8Array(require("fs").readFileSync(0)), logits = [];
    for (let n = 0; n < images.length; n += 784) logits.push(Array.from(run(model, images.slice(n, n + 784)).at(-1)));
    console.log(JSON.stringify(logits));"""
    (place / "run.cjs").write_text(program, encoding="utf-8")
    printed = subprocess.run([node, place / "run.cjs"], input=digits[:200].tobytes(), capture_output=True, check=True)
    logits = np.array(json.loads(printed.stdout))
    print(f"{np.count_nonzero(logits != expected[:200])} of {logits.size:,} logits differ")
    assert np.array_equal(logits, expected[:200]), "Every bit, in float64."
else:
    print("Skipped: there is no node here.")

# %% [markdown]
# **A page that promises.** The page says that nothing is sent. Why believe it? Because it binds itself, in its head:

# %%
policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1]
print(*policy.split("; "), sep="\n")

assert policy.startswith("default-src 'none'"), "Whatever is not allowed expressly is forbidden."

# %% [markdown]
# A *content security policy* tells the browser what a page may do, whatever its script tries. `default-src 'none'`: load
# nothing, from nowhere; no image, no font, no frame, and no request in the background. The exceptions: scripts and styles that
# are written in the page itself (`'unsafe-inline'`). That word is a warning: on a page with input from *others*, smuggled
# text could be a script as well. There one names the allowed scripts by their hash (exercise 4). This page has no such input:
# its data is JSON, in which every `<` is written as `\u003c`, so that no text can end the script element.
#
# **Predict.** May a script under this policy still send a drawing away, by *asking for an image* whose address contains it?

# %%
sources = dict(rule.split(" ", 1) for rule in policy.split("; "))
for what in ("img-src", "connect-src", "script-src"):
    print(f"{what:12} {sources.get(what, sources['default-src'])}")

assert sources.get("img-src", sources["default-src"]) == "'none'", "No: images are loads as well, and forbidden."

# %% [markdown]
# What the policy does *not* cover is leaving the page: a script may still go to another address, as a link does. That one would
# see. `default-src` does not cover forms either; for them there is `form-action`. A policy is a list to be read, not a spell.

# %% [markdown]
# **In short.** One file, every bit the same, and a policy under which the page loads nothing.
#
# **Questions.**
# 1. int8 takes a quarter of the float model's letters. What would notebook 12's file take, and what would have to be written in
#    JavaScript?
# 2. Integers above $2^{53}$: which is the first that float64 does not have?
#
# **Source.** W3C, "Content Security Policy Level 3"; RFC 4648 (base64).

# %% [markdown]
# ## 6. All formats
#
# **Goal.** Choose.
#
# **Predict.** Sort by bytes: TensorFlow Lite int8, ONNX of integers, C constants, the page, .mgz with 4-bit codebooks, integer
# safetensors, TensorFlow Lite float16.

# %%
from minigrad.compression.coding import Storage, save_mgz

for name, network in (("lenet", lenet), ("pruned", pruned)):
    save_mgz(place / f"{name}.mgz", network, Storage(bits=4))
model.save(place / "int8.safetensors")
on_disk = {path.name: path.stat().st_size for path in place.iterdir()}
formats = {  # bytes, what it needs when it runs, whether the logits are those of the integer model
    "float32 parameters": (4 * 44_426, "minigrad", "no: float"),
    ".mgz, 4-bit codebooks": (on_disk["lenet.mgz"], "a reader; floats", "no: float"),
    ".mgz, pruned as well": (on_disk["pruned.mgz"], "a reader; floats", "no: float"),
    "TensorFlow Lite, float16": (len(to_tflite_float16(lenet)), "LiteRT; floats", "no: float"),
    "integer safetensors": (on_disk["int8.safetensors"], "minigrad", "yes"),
    "TensorFlow Lite, int8": (len(tflite), "TensorFlow Lite Micro", "yes, by reference kernels"),
    "ONNX, QLinear": (len(onnx), "onnxruntime", 'yes, profile "onnx"'),
    "ONNX, integers": (len(to_onnx(model, "integer")), "an ONNX runtime", "yes"),
    "C, constants": (made.flash, "nothing", "yes"),
    "C, flash of an ATmega1284P": (fast["flash"], "nothing", "yes"),
    "web page, three models": (on_disk["playground.html"], "a browser", "yes"),
}
cells = [[name, f"{size:,}", needs, same] for name, (size, needs, same) in formats.items()]
print(align([["format", "bytes", "needs", "same bits"], *cells]))

# %%
figure = Figure(figsize=(8, 3.6), layout="constrained")
ax = figure.subplots()
colors = [ORANGE if same.startswith("no") else BLUE for _, _, same in formats.values()]
ax.barh(list(formats), [size for size, _, _ in formats.values()], color=colors)
for y, (size, _, _) in enumerate(formats.values()):
    ax.text(size, y, f" {size:,}", va="center", fontsize=9)
ax.plot([], [], "s", color=BLUE, label="integers, the same bits")
ax.plot([], [], "s", color=ORANGE, label="floats")
ax.axvline(44_190, color=GREY, linestyle="--", label="44,190 weights of a byte")
ax.invert_yaxis()
ax.set(xlabel="bytes (log)", xscale="log", xlim=(5_000, 2e6), title="One LeNet, eleven forms")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9, loc="center right")
display(figure)

integers = [size for size, _, same in formats.values() if same.startswith("yes") and size < 500_000]
assert all(44_190 < size < 1.5 * 44_190 for size in integers), "All of them are weights, and a little more."

# %% [markdown]
# Where weights are bytes, a form takes 45 to 63 KB; only fewer bits, codes and pruning get below. C needs least when it runs; a
# page needs what everybody has; a .tflite or ONNX file needs a runtime, and gets that runtime's fast kernels.
#
# ## Summary
#
# - `to_c`: one function a layer, constants in flash, two buffers in RAM; 0 differing logits, on a PC and on 8 bits.
# - One rounding rule left out changed 4 of 10,000 logits, and not the accuracy. Compare bits.
# - TensorFlow Lite files are references, ONNX files are messages; the weights lie inside as raw bytes.
# - A page runs integers exactly in float64, and its content security policy keeps it from loading anything.
#
# On the command line: `minigrad export --format c|tflite|onnx`, `minigrad playground`. Notebook 12 makes the smallest files.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: two buffers.** A network reads 1,024 pixels; its layers give 8,192, 2,048, 4,096, 1,024, 100 and 10 values, all
# int8. The pixels are copied into the first buffer, each layer reads from one and writes into the other; the last one writes
# into an array of its own. How many bytes must the two buffers have?

# %% nbgrader={"grade": false, "grade_id": "14-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... (bytes of the first buffer, bytes of the second)
### BEGIN SOLUTION
answer = (max(1_024, 2_048, 1_024), max(8_192, 4_096, 100))
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "14-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("14-1", answer)

# %% [markdown]
# **Exercise 2: seconds on a chip.** At 44 cycles a multiplication and 16 MHz: a convolution with 16 filters of 6 × 5 × 5, and
# an output of 8 × 8. How many seconds does the layer take?

# %% nbgrader={"grade": false, "grade_id": "14-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... seconds, or an expression
### BEGIN SOLUTION
answer = 16 * 8 * 8 * 6 * 5 * 5 * 44 / 16e6
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "14-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("14-2", answer)

# %% [markdown]
# **Exercise 3: read a protocol buffer.** These bytes are one field: a key and an integer. Which field number, and which value?

# %% nbgrader={"grade": false, "grade_id": "14-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
field = bytes([0x28, 0xE8, 0x07])
# answer = ... (field number, value)
### BEGIN SOLUTION
answer = (0x28 >> 3, (0xE8 & 127) + (0x07 << 7))
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "14-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("14-3", answer, field=field)

# %% [markdown]
# **Exercise 4: allow one script.** A policy may name a script by its hash: `'sha256-...'`, single quotes included, with base64
# of the SHA-256 digest of the script's text. Give that source for the text below. (`hashlib.sha256`, `base64.b64encode`.)

# %% nbgrader={"grade": false, "grade_id": "14-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
text = "console.log(7)"
# answer = ... a string that begins with 'sha256-
### BEGIN SOLUTION
answer = "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "14-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("14-4", answer, text=text)

# %% [markdown]
# ## Sources
#
# - B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
#   2018, arXiv:1712.05877.
# - R. David et al., "TensorFlow Lite Micro: embedded machine learning on TinyML systems", MLSys 2021, arXiv:2010.08678.
# - FlatBuffers, "Internals"; Protocol Buffers, "Encoding"; ONNX, onnx.proto3; TensorFlow Lite's schema.
# - Microchip, ATmega1284P data sheet.
# - W3C, "Content Security Policy Level 3"; RFC 4648, base64.
# - The article on distillation: "Deep learning: distillation, pruning, quantization" (in Chinese: 深度学习-蒸馏、剪枝、量化).
