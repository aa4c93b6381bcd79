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
# # 10 · Integers only: from the pixel to the logits without a float
#
# **Goal.** Compute a neural network's answer with integers alone: first one number on paper, then one pixel of a feature
# map, then all of LeNet; and know of each bit why it is what it is.
#
# **What you need.** Notebook 09 (scale and zero point). Binary numbers, and what a shift does to them. The notebook runs
# in well under a minute on two cores, when its kernels are compiled.
#
# A microcontroller often has no floating-point unit. And where it has one, integers are still faster and take less
# current. Many teaching programs round weights to int8 and then multiply by a float; here there is none.
#
# **How to read it.** Before each result there is a line that begins with **Predict**. Write your guess down first, then
# run the cell. At the end there are three exercises.

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
import importlib.util
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from numba.core.errors import NumbaPerformanceWarning

from checks import check
from minigrad import evaluate
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.export import to_tflite
from minigrad.compression.figures import BLUE, GREY, ORANGE
from minigrad.compression.integer import IntegerModel, arithmetic, proof, quantize_multiplier, reference, to_integer
from minigrad.compression.integer.explorer import explore_multiplier
from minigrad.compression.models import trained_lenet
from minigrad.compression.quantization import activation_params, dequantize, quantize, weight_params
from minigrad.datasets import mnist, split_validation

# %%
training, held_out = split_validation(mnist("train"))
lenet = trained_lenet()
model = to_integer(lenet, training.pixels[:1000])  # ranges are measured on these images; nothing is trained
for layer in model.layers:
    print(type(layer).__name__, layer.name)

assert isinstance(model, IntegerModel), "Its layers are records of integers."

# %% [markdown]
# ## 1. A sum of products, in integers
#
# **Goal.** Find out which part of a layer is *not* an integer already.
#
# **You need.** $r = S(q - Z)$.
#
# **The idea.** Put that into a layer, $y = \sum_i w_i x_i + b$, with $Z_w = 0$, and solve for $q_y$. Scales come out of the
# sum; what stays inside are integers.
#
# **The formula.**
#
# $$q_y = Z_y + M \cdot \underbrace{\Big(\sum_i q_{w,i}\,(q_{x,i} - Z_x) + q_b\Big)}_{\text{acc, an int32}} \qquad
# M = \frac{S_x S_w}{S_y} \qquad q_b = \mathrm{round}\Big(\frac{b}{S_x S_w}\Big)$$
#
# The accumulator counts in units of $S_x S_w$, the output in units of $S_y$: $M$ converts one into the other, and is the
# only real number left.
#
# **Predict.** Is $M$ typically far below 1, about 1, or far above? (An accumulator has 20 bits or so; the output has 8.)

# %%
x, w, b = np.array([0.0, 0.8, 1.5, 0.3]), np.array([0.5, -0.25, 1.0, 0.1]), 0.2
Px, Pw, Py = activation_params(0, 2), weight_params(w, axis=None), activation_params(-1, 3)
qx, qw = quantize(x, Px), quantize(w, Pw)
qb = int(np.rint(b / (Px.scale * Pw.scale)))
acc = int(np.sum(qw.astype(int) * (qx.astype(int) - Px.zero_point))) + qb
M = float(Px.scale) * float(Pw.scale) / float(Py.scale)
qy = round(M * acc) + int(Py.zero_point)
print(f"q_x {qx}, Z_x {Px.zero_point};  q_w {qw};  q_b {qb}")
print(f"acc = {acc}, M = {M:.6f}, q_y = {qy}, which means {dequantize(np.int8(qy), Py):.4f}; exactly: {w @ x + b:.4f}")

assert abs(dequantize(np.int8(qy), Py) - (w @ x + b)) < Py.scale, "Within a step of the output's grid."

# %% [markdown]
# > **Box: int8 times int8 stays int8.** NumPy keeps the dtype: products and sums of int8 arrays wrap around at 127, without
# > a word. SciPy's CSR products do the same. Accumulate in int32, always.
#
# **Predict.** What does `qw @ (qx - Z_x)` give, left in int8?

# %%
offset = (qx.astype(int) - Px.zero_point).astype(np.int8)  # 0 to 191 does not fit
print("in int8:", qw @ offset, "  in int32:", acc - qb)

assert int(qw @ offset) != acc - qb, "Wrapped around, and nobody said so."

# %% [markdown]
# **In short.** Inside the sum there are only integers. Outside stands one real number a channel, $M$.
#
# **Question.** Why is the bias rounded with the scale $S_x S_w$, and why does it need 32 bits?
#
# **Source.** Jacob et al. 2018, sections 2.2 to 2.4.

# %% [markdown]
# ## 2. A real number as an integer and a shift
#
# **Goal.** Multiply by $M$ without a float.
#
# **You need.** Binary numbers.
#
# **The idea.** $0.0123 \approx 806 / 65{,}536$: a product and a shift by 16. Write $M$ with 31 good bits: an integer $Q$
# between $2^{30}$ and $2^{31}$, and a power of two. This is done once, when the model is converted.
#
# **The formula.**
#
# $$M = Q \cdot 2^{\text{shift} - 31}, \qquad 2^{30} \le Q < 2^{31}$$
#
# **On paper**, for $M = 0.01$: double until it lies in $[\tfrac12, 1)$: $0.01 \cdot 2^6 = 0.64$, so the shift is $-6$. Then
# $Q = \mathrm{round}(0.64 \cdot 2^{31}) = 1{,}374{,}389{,}535$.
#
# **Predict.** $Q$ and shift for $M = 0.75$? For $M = 0.375$? For $M = 2^{-10}$?

# %%
for m in (0.01, 0.75, 0.375, 2**-10, 1 / 3):
    Q, shift = quantize_multiplier(m)
    print(f"M = {m:<20}: Q = {Q:13,}, shift = {shift:3}; relative error {abs(Q * 2.0 ** (shift - 31) / m - 1):.0e}")

assert quantize_multiplier(0.01) == (1_374_389_535, -6), "As on paper."
assert quantize_multiplier(0.75)[0] == 3 * 2**29, "0.75 lies in [1/2, 1) already."
assert quantize_multiplier(2**-10) == (2**30, -9), "2^-10 is 0.5 times 2^-9."

# %% [markdown]
# ### The two roundings
#
# The processor this was made for keeps the *upper half* of a 64-bit product. So one rounds twice:
#
# 1. **Doubling high multiply.** $h = (\text{acc} \cdot Q + 2^{30}) \gg 31$: the nearest integer to
#    $\text{acc} \cdot Q / 2^{31}$. Adding half before the shift makes it round and not floor.
# 2. **Rounding shift.** Divide $h$ by $2^{-\text{shift}}$, ties away from zero.
#
# **Predict.** $\text{acc} = 5{,}000$ and $M = 0.01$: $h$? And the result? Then for $-5{,}050$, whose exact product is
# $-50.5$: is it $-50$ or $-51$? What would a bare `>>` give for $-9 / 4$?

# %%
Q, shift = quantize_multiplier(0.01)
for acc in (5_000, 5_050, -5_050, 4_949):
    h = (acc * Q + 2**30) >> 31
    rest, half = h & 63, 31 + (h < 0)  # 2**6 = 64; ties of negative numbers go down
    q = (h >> 6) + (rest > half)
    print(f"acc = {acc:6}: h = {h:6} = {h >> 6} * 64 + {rest}  ->  {q};  in real numbers {0.01 * acc:.2f}")
    assert q == arithmetic.requantize(acc, Q, shift, 0), "The package's lines do the same; 0 is profile 'tflite'."
    assert h == arithmetic.rounding_doubling_high_mul(acc, Q), "The first rounding."
print("-9 >> 2 is", -9 >> 2, "; rounded:", arithmetic.rounding_divide_by_power_of_two(-9, 2))

# %% [markdown]
# A bare shift rounds *down*, always. That is not a small thing: each value comes out half a step too low on average, in
# every layer, and the next layer adds up hundreds of these errors, all with the same sign.

# %%
sums = np.arange(-1_000, 1_001)
rounded, floored = arithmetic.requantize(sums, Q, shift, 0), (sums * Q) >> (31 - shift)
figure = Figure(figsize=(8, 3.2), layout="constrained")
ax = figure.subplots()
ax.plot(sums, rounded - 0.01 * sums, color=BLUE, label=f"two roundings, mean {np.mean(rounded - 0.01 * sums):+.3f}")
ax.plot(
    sums, floored - 0.01 * sums, "--", color=ORANGE, label=f"bare shift, mean {np.mean(floored - 0.01 * sums):+.3f}"
)
ax.axhline(0, color=GREY, linewidth=0.8)
ax.set(xlabel="accumulator acc", ylabel="integer result less 0.01 acc (steps)", title="What is lost", ylim=(-1.1, 1.0))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="upper center", ncols=2, fontsize=9)
display(figure)

assert abs(np.mean(rounded - 0.01 * sums)) < 0.01, "Rounded: right on average."
assert np.mean(floored - 0.01 * sums) < -0.45, "Floored: half a step too low."
assert np.abs(rounded - 0.01 * sums).max() <= 0.5 + 2**-6, "Half a step; rounding twice adds a little."

# %% [markdown]
# Does $Q$ need 31 bits? Turn the dials yourself: $M$, and the bits of $Q$. (Where sliders are not available, the cell shows
# $M = 0.01$ with 5 bits.)
#
# **Predict.** How many bits of $Q$ are enough that an output of 8 bits is off by hardly more than half a step?

# %%
explore_multiplier(0.01)

# %% [markdown]
# **In short.** $M$ becomes a 31-bit integer and a shift. Multiply, add half, shift; then shift once more, with care for ties.
#
# **Questions.**
# 1. Why $2^{30} \le Q$, rather than any $Q$ and shift with the right product?
# 2. Python's `round` takes half to even. Where would `round(0.64 * 2**31)` differ from TFLite's $Q$?
#
# **Source.** gemmlowp, "Low-precision matrix multiplication" (`SaturatingRoundingDoublingHighMul`, `RoundingDivideByPOT`);
# Jacob et al. 2018, section 2.2.

# %% [markdown]
# ## 3. Pixels and zero points
#
# **Goal.** Make the input, the normalisation and the zero points disappear.
#
# **You need.** Section 1.
#
# **The idea.** A pixel $p$ is an integer from 0 to 255: with $S = 1/255$ and $Z = -128$ its $q$ is $p - 128$, exactly. The
# network was trained on $(p/255 - \text{mean}) / \text{std}$; that is a factor and a constant, and both go into `conv1`.
#
# **The formula.** $Z_x$ is the same for each product, so it can be taken out of the sum once and for all:
#
# $$\sum_i q_{w,i}\,(q_{x,i} - Z_x) + q_b = \sum_i q_{w,i}\, q_{x,i} + b', \qquad b' = q_b - Z_x \sum_i q_{w,i}$$
#
# **Predict.** After a ReLU, the smallest real number is 0. Which $q$ has it, and what becomes of the ReLU itself?

# %%
conv1, fc1, fc3 = model.layers[0], *[layer for layer in model.layers if layer.name in ("fc1", "fc3")]
print(f"input: Z = {model.input.zero_point}; a pixel of 255 is {255 + model.input.zero_point}")
for layer in (conv1, fc1, fc3):
    print(f"{layer.name}: Z_in {layer.input_zero}, Z_out {layer.output_zero}, clamped to {layer.low} ... {layer.high}")
sums = fc1.weight.sum(axis=1, dtype=np.int64)
q = np.random.default_rng(0).integers(-128, 128, fc1.weight.shape[1])
direct = fc1.weight.astype(np.int64) @ (q - fc1.input_zero) + fc1.bias
folded = fc1.weight.astype(np.int64) @ q + (fc1.bias - fc1.input_zero * sums)

assert np.array_equal(direct, folded), "The zero point, folded into the bias: the same integers."
assert np.array_equal(fc1.folded_bias, fc1.bias - fc1.input_zero * sums), "The package folds it in the same way."
assert conv1.low == conv1.output_zero, "ReLU is the lower clamp: nothing below the q of 0."

# %% [markdown]
# **In short.** Nothing is left to do for normalisation, zero points and ReLU: they are in the bias and in the clamp.
#
# **Question.** With padding, the border of `conv1` must be the *normalised* 0. Which pixel is that? (mean = 0.1307.)
#
# **Source.** Jacob et al. 2018, section 2.3.

# %% [markdown]
# ## 4. One output, whole
#
# **Goal.** Follow one number of `conv1` from 25 pixels to its int8.
#
# **You need.** Sections 1 to 3.
#
# **The idea.** `explain` writes down what the engine does, step by step, with Python's integers. Without a place, it takes
# the layer's largest output.
#
# **Predict.** The last two lines add the zero point and clamp. Largest possible result? When would the clamp change it?

# %%
image = held_out.pixels[0]
told = model.explain(image, "conv1")
print(told)

# %%
f, row, column = told.at
window = image.reshape(28, 28)[row : row + 5, column : column + 5].astype(int) - 128
acc = int(np.sum(conv1.weight[f, 0].astype(int) * (window - conv1.input_zero))) + int(conv1.bias[f])
h = (acc * int(conv1.multiplier[f]) + 2**30) >> 31
down = -int(conv1.shift[f])
q = (h >> down) + ((h & (2**down - 1)) > (2**down - 1 >> 1) + (h < 0)) + conv1.output_zero
print(f"by hand: acc = {acc}, h = {h}, q = {min(max(q, -128), 127)};  it said {told.acc}, {told.result}")

assert acc == told.acc, "25 products and a bias."
assert min(max(q, conv1.low), conv1.high) == told.result, "Multiply, shift, add the zero point, clamp."

# %% [markdown]
# **In short.** 25 products, a bias, one multiplication, one shift, one addition, one clamp. All of LeNet is made of these.
#
# **Question.** `print(model.explain(image, "fc3"))` shows the logit that wins. How many of its 84 products are 0, and why?

# %% [markdown]
# ## 5. Can it overflow?
#
# **Goal.** Prove that no image whatever makes an int32 wrap around.
#
# **You need.** Section 3.
#
# **The idea.** No input is further than 255 from its zero point. So the weights themselves say how large a sum can get.
# That is a certificate: it holds for all images, those that nobody has thought of too.
#
# **The formula.** $|\text{acc}| \le 255 \sum_i |q_{w,i}| + |b'|$, for each channel, however the zero point is taken out: with
# it in the bias, $|q_x| \le 128$ would do in place of 255.
#
# **Predict.** How many bits does the largest accumulator of LeNet need: 16, 22 or 31? How near do real images come?

# %%
bounds = model.bounds()
largest = {}
for picture in held_out.pixels[:3]:
    for step in reference.run(model, picture):  # Python's integers, layer by layer
        if step.acc is not None:
            seen = int(np.abs(np.array(step.acc)).max())
            largest[step.layer.name] = max(seen, largest.get(step.layer.name, 0))
worst = max(bounds, key=lambda bound: bound.bound)
print(f"largest bound: {worst.layer}, channel {worst.channel}: 255 * {worst.weights:,} + {abs(worst.bias):,}")
print(f"= {worst.bound:,}, {worst.bits} bits of 32; seen in three images:", largest)

assert worst.bound < 2**31, "Certified: no image can make it overflow."
reach = {name: max(b.bound for b in bounds if b.layer == name) for name in largest}
assert all(seen <= reach[name] for name, seen in largest.items()), "What is seen stays below the bound."

# %%
figure = Figure(figsize=(7, 3.2), layout="constrained")
ax = figure.subplots()
ax.semilogy(
    [b.layer for b in bounds], [b.bound for b in bounds], "o", color=BLUE, alpha=0.4, label="bound of a channel"
)
ax.semilogy(list(largest), list(largest.values()), "D", color=ORANGE, label="largest seen in three images")
for power in (31, 15):
    ax.axhline(2**power, color=GREY, linestyle="--")
    ax.text(4.45, 2**power, f"int{power + 1}", color=GREY, va="bottom", ha="right")
ax.set(xlabel="layer", ylabel="|accumulator| (log)", title="What a sum can reach, and what it does", ylim=(1e4, 2e10))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="center left", fontsize=9)
display(figure)

# %% [markdown]
# int16 would not do for any layer, int32 has room to spare. A model whose bound does not fit is refused when it is built,
# with the channel and the bound in the message.
#
# **In short.** $255 \sum |w| + |b'| < 2^{31}$, per channel: checked once, true for every image.
#
# **Question.** How many inputs can a linear layer have at most, if all weights could be $\pm 127$?

# %% [markdown]
# ## 6. All of LeNet, and no float
#
# **Goal.** Compare the integer model with the float one, and prove that no float slips in.
#
# **You need.** Sections 4 and 5.
#
# **Predict.** Of 5,000 held-out images: on how many do the two disagree: 5, 50 or 500?

# %%
predicted = model.predict(held_out.pixels)
accuracy = 100 * np.mean(predicted == held_out.labels)
before = evaluate(lenet, evaluation_loader(held_out))
read_by_float = np.concatenate(
    [lenet.eval()(held_out.images[i : i + 500]).data.argmax(axis=1) for i in range(0, 5000, 500)]
)
logits = model.logits(held_out.pixels[:1])
print(f"float: {before:.2f} %, integers only: {accuracy:.2f} %; they disagree on {np.sum(predicted != read_by_float)}")
print(
    "logits of the first image:", logits[0], logits.dtype, "; accumulators:", model.accumulators(held_out.pixels[:1])[0]
)

assert abs(accuracy - before) < 0.3, "Eight bits are enough for LeNet."
assert logits.dtype == np.int8, "The answer, too, is an integer."

# %% [markdown]
# int8 logits can tie, where the accumulators behind them differ. `predict` compares the accumulators, brought to one scale
# (`scores`).
#
# How would one *prove* that there is no float? Look at what the compiler made. LLVM's assembly is typed: a float cannot
# hide there. `scan_kernel` compiles a function and searches its code. And before a kernel runs, a guard looks at the arrays
# it is given.
#
# **Predict.** Two ways to requantize, below: which lines will be found in the second?

# %%
warnings.simplefilter("ignore", NumbaPerformanceWarning)  # a single number leaves nothing to run in parallel
clean = proof.scan_kernel(lambda acc, q, shift: arithmetic.requantize(acc, q, shift, 0), 5_000, 2**30, -6)
mutant = proof.scan_kernel(lambda acc, m: round(acc * m), 5_000, 0.01)
print(f"integers: {clean.instructions} lines of assembly, {len(clean.findings)} with a float")
print("the other:", *[finding.line for finding in mutant.findings], sep="\n   ")

assert not clean.findings, "Integers only."
assert mutant.findings, "A float that is put in must be found; otherwise the search proves nothing."

# %%
try:
    model.logits(held_out.images[:1])  # normalised floats, as the float model takes them
except TypeError as error:
    said = str(error)
    print(said)

assert "expected uint8 pixels" in said, "Floats are turned away at the door."

# %% [markdown]
# The tests scan the whole kernels in this way (`tests/compression/integer/test_proof.py`), thousands of lines; that takes
# longer than a notebook should.
#
# **In short.** Same accuracy, and not one float from the pixel to the logits: searched for, not promised.
#
# **Question.** Which arithmetic *is* done in float, and when? (Think of `to_integer`.)

# %% [markdown]
# ## 7. Two runtimes, two roundings
#
# **Goal.** See where correct runtimes disagree, and why "almost the same" is not enough for a test.
#
# **You need.** Section 2.
#
# **The idea.** Rounding twice is a choice. One may also round once, at the end. Both are right; they differ where the first
# rounding pushes a value onto a tie, or off it. The package calls such conventions *profiles*:
#
# | profile | rounds | is what |
# |---|---|---|
# | "tflite" | after the product, and after the shift | TensorFlow Lite's reference kernels do |
# | "single" | once: $(\text{acc} \cdot Q + 2^{t-1}) \gg t$, $t = 31 - \text{shift}$ | it does if built with single rounding |
# | "onnx" | as float32 does, half to even | onnxruntime does |
#
# **By hand**, $M = 1/3$, acc $= 1$: $h = \mathrm{round}(2/3) = 1$, and $1 / 2$ is a tie, so 1. Rounded once, $1/3$ is 0.
#
# **Predict.** In how many of 100 sums do they differ for $M = 1/3$? And for $M$ around 0.001, as LeNet has it?

# %%
sums = np.arange(-30_000, 30_001)
multipliers = np.append(np.geomspace(4.1e-4, 0.47, 40), 1 / 3)
differ = []
for m in multipliers:
    Q, shift = quantize_multiplier(float(m))
    differ.append(np.mean(arithmetic.requantize(sums, Q, shift, 0) != arithmetic.requantize(sums, Q, shift, 1)))

figure = Figure(figsize=(6.4, 3.2), layout="constrained")
ax = figure.subplots()
ax.loglog(multipliers[:-1], 100 * np.array(differ[:-1]), "o-", color=BLUE, markersize=4)
ax.loglog(multipliers[-1], 100 * differ[-1], "D", color=ORANGE, label=f"M = 1/3: {100 * differ[-1]:.0f} %")
mine = np.concatenate(
    [layer.multiplier * 2.0 ** (layer.shift - 31) for layer in model.layers if hasattr(layer, "shift")]
)
ax.axvspan(mine.min(), mine.max(), color=GREY, alpha=0.2, label="LeNet's multipliers")
ax.set(xlabel="multiplier M (log)", ylabel="sums rounded differently (%, log)", title="'tflite' beside 'single'")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

assert np.isclose(differ[-1], 1 / 3, atol=0.01), "One sum in three."

# %% [markdown]
# A staircase: each bit more that is shifted out halves the share, for only remainders next to a tie can fall to the other
# side.
#
# **Predict.** Of LeNet's 50,000 logits of the held-out images: how many differ between profiles, and by how much at most?
# Does accuracy tell the profiles apart?

# %%
profiles = {name: to_integer(lenet, training.pixels[:1000], profile=name) for name in arithmetic.PROFILES}
outputs = {name: m.logits(held_out.pixels).astype(int) for name, m in profiles.items()}
for first, second in (("tflite", "single"), ("tflite", "onnx"), ("single", "onnx")):
    gap = np.abs(outputs[first] - outputs[second])
    print(f"{first:6} and {second:6}: {np.count_nonzero(gap):5,} of {gap.size:,} logits differ, by {gap.max()} at most")
print({name: f"{100 * np.mean(m.predict(held_out.pixels) == held_out.labels):.2f} %" for name, m in profiles.items()})

assert all(np.abs(outputs["tflite"] - out).max() <= 1 for out in outputs.values()), "One step, never more."
assert not np.array_equal(outputs["tflite"], outputs["single"]), "But they do differ."

# %% [markdown]
# Three in a hundred differ: more than the picture promises for one layer, since a step in an early layer moves many
# sums of the next. Accuracy does not see it. A test that compares accuracies, or allows "a difference of 1", would not
# see a real mistake either. So the package compares every bit, with the runtime that each profile claims to be: a
# .tflite file of the same model in TensorFlow Lite for microcontrollers. Where that is not installed, the cell shows
# the recorded comparison.
#
# **Predict.** Logits that differ, in profile "tflite"?

# %%
if importlib.util.find_spec("tflite_micro"):
    from tflite_micro import runtime

    few = held_out.pixels[:500]
    interpreter = runtime.Interpreter.from_bytes(to_tflite(model, batch=500), arena_size=20_000_000)
    interpreter.set_input((few.reshape(-1, 28, 28, 1).astype(int) - 128).astype(np.int8), 0)
    interpreter.invoke()
    different, of = np.count_nonzero(interpreter.get_output(0) != model.logits(few)), 10 * len(few)
else:
    recorded = json.loads(Path("../results/conformance.json").read_text())["cases"]["LeNet, trained"]
    different, of = recorded["differences"]["tflite-micro (tflite)"], recorded["logits"]
print(f"TensorFlow Lite Micro and our profile 'tflite': {different} of {of:,} logits differ")

assert different == 0, "Every bit."

# %% [markdown]
# `docs/conformance.md` has the whole table: twelve ways to run LeNet, each with each, 100,000 logits. LiteRT's own fast
# kernels differ from its reference kernels; it is not one thing.
#
# **In short.** "int8" does not say how to round. Name the profile, and compare bits.
#
# **Question.** Why do "single" and "onnx" differ so seldom?
#
# **Source.** `docs/conformance.md`; TensorFlow Lite's 8-bit quantization specification.

# %% [markdown]
# ## 8. Saving
#
# **Goal.** Put the model into a file, and get the same bits back.
#
# **Predict.** LeNet in float32 takes 177,704 bytes and a header. The integer model?

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "lenet-int8.safetensors"
    model.save(path)
    size = path.stat().st_size
    again = IntegerModel.load(path)
weights = sum(layer.weight.size for layer in model.layers if hasattr(layer, "weight"))
print(f"{size:,} bytes in the file, {weights:,} of them weights; float32 weights and biases alone: {4 * 44_426:,}")

assert np.array_equal(again.logits(held_out.pixels[:500]), model.logits(held_out.pixels[:500])), "The same bits."
assert size < 4 * 44_426 / 2.5, "A byte a weight, and what requantization needs."

# %% [markdown]
# The rest: int32 biases, multipliers and shifts, a mantissa and an exponent for each scale (integers again), and names.
#
# ## Summary
#
# - $q_y = Z_y + M \cdot \text{acc}$: the sum is integer already; $M = Q \cdot 2^{\text{shift} - 31}$ makes the rest so.
# - Doubling high multiply, then rounding shift. A bare shift floors, and is half a step too low.
# - Zero points go into the bias, normalisation into `conv1`, ReLU into the clamp.
# - $255 \sum |w| + |b'|$ bounds each accumulator, for every image.
# - Correct runtimes round differently, by one step. So name the profile, and compare bits.
#
# On the command line: `minigrad quantize` ends in an integer model; `make conformance` compares runtimes. Next: notebook 11
# trains for fewer bits.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: multiplier and shift.** Write $M = 0.1$ as $Q \cdot 2^{\text{shift} - 31}$ with $2^{30} \le Q < 2^{31}$.
# Paper, and one product on the computer; `quantize_multiplier` is for checking.

# %% nbgrader={"grade": false, "grade_id": "10-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... (Q, shift)
### BEGIN SOLUTION
answer = (round(0.8 * 2**31), -3)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "10-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("10-1", answer)

# %% [markdown]
# **Exercise 2: requantize.** acc, $Q$, the shift of $M$ and $Z_y$ are in the cell. Which int8 comes out in profile "tflite"?
# Use integers and shifts only: the doubling high multiply, the rounding shift (ties away from zero), the zero point.

# %% nbgrader={"grade": false, "grade_id": "10-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
acc, Q, shift, zero = -3_217, 1_374_389_535, -6, -10  # M is 0.01
# answer = ... an integer, or an expression
### BEGIN SOLUTION
h = (acc * Q + 2**30) >> 31
answer = (h >> 6) + ((h & 63) > 31 + (h < 0)) + zero
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "10-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("10-2", answer, acc=acc, Q=Q, shift=shift, zero=zero)

# %% [markdown]
# **Exercise 3: fold the zero point.** A channel has the weights, the bias and the input zero point below. Give $b'$, so that
# $\sum q_w q_x + b'$ equals $\sum q_w (q_x - Z_x) + q_b$ for every input.

# %% nbgrader={"grade": false, "grade_id": "10-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
weights, bias, zero = np.array([100, 90, -3, 77, 127], np.int8), 412, -128
# answer = ... an integer, or an expression
### BEGIN SOLUTION
answer = bias - zero * int(weights.sum(dtype=np.int64))
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "10-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("10-3", answer, weights=weights, bias=bias, zero=zero)

# %% [markdown]
# ## Sources
#
# - B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
#   2018, arXiv:1712.05877.
# - gemmlowp, "Low-precision matrix multiplication", and its fixed-point arithmetic.
# - TensorFlow Lite, "8-bit quantization specification".
# - ONNX, operators QLinearConv and QLinearMatMul.
# - The article on distillation: "Deep learning: distillation, pruning, quantization" (in Chinese: 深度学习-蒸馏、剪枝、量化).
