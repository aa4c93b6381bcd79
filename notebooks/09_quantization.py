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
# # 09 · Quantization: formats, ranges, error
#
# **Goal.** Write numbers down with few bits, predict the error before you measure it, choose ranges, quantize LeNet in one
# call, and find out which layer paid for it.
#
# **What you need.** Notebook 04 (LeNet). Logarithms. The notebook runs in well under a minute on two cores.
#
# Three articles speak of quantization: *the article on distillation* (four levels, and why one wants few bits), *the
# model-optimisation article* (a formula and a listing; a box says what is wrong with them), and *the article on
# quantization in practice*. Nothing is trained here; that is notebook 11. What the integers are good for, integer
# arithmetic, is notebook 10.
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
import copy

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from checks import check
from minigrad import evaluate
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE
from minigrad.compression.models import as_sequential, trained_lenet
from minigrad.compression.quantization import (
    activation_params,
    article_rounding,
    dequantize,
    quantize,
    weight_layers,
    weight_params,
)
from minigrad.compression.quantization.explorer import explore_grid
from minigrad.datasets import mnist, split_validation

# %%
training, held_out = split_validation(mnist("train"))  # 5,000 of the training images are kept aside to choose by
calibration, loader = training.images[:500], evaluation_loader(held_out)
lenet = as_sequential(trained_lenet(), calibration[:1])  # its layers, one after the other
before = evaluate(lenet, loader)
layers = weight_layers(lenet)
w = layers["fc1"].weight.data
print(f"in float32: {before:.2f} % of the held-out images; fc1 has {w.size:,} weights, {w.min():.3f} to {w.max():.3f}")

assert before > 97, "The shipped LeNet reads about 98 %."

# %% [markdown]
# The shipped LeNet was trained on these 5,000 images too. That does no harm here: what counts is how much *changes* when
# its numbers are rounded.
#
# ## 1. A number on a grid
#
# **Goal.** Turn real numbers into small integers, and back.
#
# **You need.** Rounding.
#
# **The idea.** A computer that has 3 bits for a number can tell 8 numbers apart. So lay a grid of 8 points over the range
# that you need, and move each number to the nearest point. What is stored is the *number of the point*.
#
# **The formula.** With the *scale* $S$ (the distance of two points) and the *zero point* $Z$ (the integer that means 0):
#
# $$q = \mathrm{clip}\big(\mathrm{round}(r / S) + Z,\ q_\text{low},\ q_\text{high}\big) \qquad \hat r = S\,(q - Z)$$
#
# Where nothing is clipped, $|\hat r - r| \le S / 2$.
#
# **Predict.** The range is $-1$ to $2.5$, with 3 bits, $q$ from $-4$ to $3$. What are $S$ and $Z$? What become $-1$, $0$,
# $0.6$ and $9$?

# %%
r = np.array([-1.0, 0.0, 0.6, 9.0])
S = (2.5 - -1.0) / (2**3 - 1)
Z = round(-4 - -1.0 / S)
q = np.clip(np.round(r / S) + Z, -4, 3)
print(f"S = {S}, Z = {Z};   q = {q.astype(int)};   back: {S * (q - Z)}")

params = activation_params(-1.0, 2.5, bits=3)
assert (float(params.scale), int(params.zero_point)) == (S, Z), "The package chooses the same scale and zero point."
assert np.array_equal(quantize(r, params), q), "The package rounds to the same integers."
assert np.allclose(dequantize(q, params), [-1, 0, 0.5, 2.5]), "0 stays exactly 0; 9 saturates."

# %% [markdown]
# Zero must be a point of the grid: a ReLU makes many zeros, a padded border is zero, pruned weights are zero, and each
# of them would otherwise become a small number. That is why $Z$ is an *integer*.
#
# *Symmetric* formats go one step further, $Z = 0$: products of weights and activations then need one correction less
# (notebook 10). The price is that the range reaches equally far to both sides.
#
# **Predict.** The same range $-1$ to $2.5$, 3 bits, symmetric, $q$ from $-3$ to $3$: is $S$ larger or smaller? How many of
# the seven points does nobody need?

# %%
x = np.linspace(-2.2, 3.2, 1001)
grids = {"affine": params, "symmetric": weight_params([-1.0, 2.5], bits=3, axis=None)}
figure = Figure(figsize=(9, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
for (name, grid), color, style in zip(grids.items(), (BLUE, ORANGE), ("-", "--"), strict=True):
    back = dequantize(quantize(x, grid), grid)
    left.plot(x, back, style, color=color, label=f"{name}: S = {grid.scale:.2f}, Z = {grid.zero_point}")
    right.plot(x, back - x, style, color=color, label=f"{name}, S / 2 = {grid.scale / 2:.2f}")
for limit in (-1, 2.5):
    right.axvline(limit, color=GREY, linestyle=":")
left.set(xlabel="r", ylabel="r after rounding", title="3 bits: 8 points, or 7")
right.set(xlabel="r", ylabel="error", title="Error; dotted: the range asked for")
for ax in (left, right):
    ax.legend(fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

inside = (x >= -1) & (x <= 2.5)
errors = {name: np.abs(dequantize(quantize(x, grid), grid) - x)[inside].max() for name, grid in grids.items()}
assert all(errors[name] <= grids[name].scale / 2 + 1e-6 for name in grids), "Inside the range: half a step at most."

# %% [markdown]
# > **Box: the article's formula, and scale = 1.0.** The model-optimisation article prints
# > $w_\text{quantized} = \mathrm{round}(w \times S)$ and calls $S$ the step. But $w$ is *multiplied* by it: this $S$ is
# > one over a step, the larger the finer. Its listing then asks for `scale=1.0`. (The module and function that it calls,
# > `QE.quantize` of `torch.quantization.engine`, do not exist.)
#
# **Predict.** LeNet's largest weight is 0.74. How many of its 44,190 weights survive `round(w * 1.0)`? What does such a
# network read?

# %%
for scale in (1.0, 10.0, 127.0):
    listed = copy.deepcopy(lenet)
    for layer in weight_layers(listed).values():
        layer.weight.data[...] = article_rounding(layer.weight, scale) / np.float32(scale)
    left_over = sum(int(np.count_nonzero(layer.weight.data)) for layer in weight_layers(listed).values())
    accuracy = evaluate(listed, loader)
    print(f"S = {scale:5}: {left_over:6,} of 44,190 weights are not 0; {accuracy:5.2f} %")
    if scale == 1.0:
        assert left_over < 10, "Every |w| < 0.5 becomes 0."
        assert accuracy < 20, "Nothing is left to decide by."

# %% [markdown]
# One fixed $S$ for all networks cannot be right. It has to come from the numbers that are to be rounded.
#
# **In short.** $r = S(q - Z)$. Inside the range the error is half a step at most; outside, the number saturates; zero is
# exact.
#
# **Questions.**
# 1. Activations after a ReLU: where does the package put $Z$, and why is a symmetric format wasteful there?
# 2. Weights use $-127 \ldots 127$ and leave $-128$ out. What goes wrong with $-(-128)$ in int8?
#
# **Source.** Jacob et al. 2018, section 2.1; the model-optimisation article, sections 1.3.2 and 1.4.2.

# %% [markdown]
# ## 2. Six decibels a bit
#
# **Goal.** Predict the error of $b$ bits.
#
# **You need.** Section 1; the variance of a uniform distribution.
#
# **The idea.** Rounding adds noise. Where in its step a number lies is as good as random, so the noise is uniform between
# $-S/2$ and $S/2$. One more bit halves $S$, and quarters the power of the noise.
#
# **The formula.** Noise power: $S^2 / 12$. If the signal fills the range $[-a, a]$ evenly, its power is $a^2/3$, and with
# $S = 2a / 2^b$ the signal-to-quantization-noise ratio is
#
# $$\mathrm{SQNR} = 10 \log_{10} \frac{a^2 / 3}{S^2 / 12} = 20\, b \log_{10} 2 = 6.02\, b \ \text{dB}$$
#
# **Predict.** Real weights do not fill their range evenly: most lie near 0. Is their SQNR above or below $6.02\,b$? And
# by the same number of decibels at 8 bits and at 4?

# %%
from minigrad.compression.quantization import fit_weight_params

bits = np.arange(2, 9)
even = np.random.default_rng(0).uniform(-1, 1, 100_000)
signals = {
    "numbers spread evenly": [(even, activation_params(-1, 1, int(b))) for b in bits],
    "weights of fc1, range to the largest": [(w, weight_params(w, int(b), axis=None)) for b in bits],
    "weights of fc1, range of least error": [(w, fit_weight_params(w, int(b), axis=None)) for b in bits],
}
ratios = {
    name: [10 * np.log10(np.mean(v**2) / np.mean((dequantize(quantize(v, p), p) - v) ** 2)) for v, p in pairs]
    for name, pairs in signals.items()
}
for name, values in ratios.items():
    print(f"{name:38}", " ".join(f"{value:5.1f}" for value in values), "dB")

# %%
figure = Figure(figsize=(6.4, 3.6), layout="constrained")
ax = figure.subplots()
ax.plot(bits, 6.02 * bits, "--", color=GREY, label="6.02 dB a bit")
for (name, values), color, marker in zip(ratios.items(), (GREEN, BLUE, ORANGE), "osD", strict=True):
    ax.plot(bits, values, marker + "-", color=color, label=name)
ax.set(xlabel="bits", ylabel="signal to quantization noise (dB)", title="What a bit is worth")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

evenly, widest, fitted = (np.array(values) for values in ratios.values())
assert (np.abs(evenly - 6.02 * bits) < 3).all(), "Evenly spread numbers follow the rule."
assert (widest < 6.02 * bits - 3).all(), "A range that reaches to the largest weight is mostly empty."
assert (fitted >= widest - 1e-6).all(), "Among the ranges that are tried is the widest."
assert 5 < np.diff(widest)[2:].mean() < 7, "The slope is the rule's: about 6 dB a bit."

# %% [markdown]
# Turn the dial yourself: the weights of `fc1` above their grid, the errors, and the decibels. One bit, symmetric, is a sign
# times the mean magnitude. (Where sliders are not available, the cell shows 3 bits.)
#
# **Predict.** From how many bits on do the errors fill $\pm S/2$ evenly? Where does 1 bit do better than 2, and why?

# %%
explore_grid(w, "fc1")

# %% [markdown]
# In the lines above, from 4 bits on, the blue one lies about 8 decibels below the rule: that is the shape of the
# distribution, and bits do not change it. The slope is the rule's. At 8 bits cutting off the largest weights gains next to
# nothing; at 2 or 3 bits it is worth several decibels, for there a step is so wide that most weights would become 0.
#
# **In short.** A bit is worth 6 dB. What the distribution costs comes off once.
#
# **Questions.**
# 1. A single weight of `fc1` becomes ten times as large as the largest one. By how many dB does the blue line fall?
# 2. Why does the orange line lie *above* the blue one even though it clips?
#
# **Source.** Bennett 1948; Banner et al. 2019 (where to clip).

# %% [markdown]
# ## 3. Who shares a scale, and how it is packed
#
# **Goal.** See what finer scales gain, and what they cost.
#
# **You need.** Section 2.
#
# **The idea.** A tensor whose rows differ in size wastes range on its small rows. Give each *channel* (filter, or output)
# its own scale; or each *group* of, say, 32 weights that follow each other in a row.
#
# **The formula.** Bits a weight really takes, with $b$ bits, and a float32 scale for each $g$ weights: $b + 32 / g$.
#
# **Predict.** `fc1` is 120 × 256. How many bits does a 4-bit weight really take, with one scale for all, one for each row,
# one for each 32 weights?

# %%
from minigrad.compression.quantization import pack, stored_bytes, unpack

choices = {"tensor": {"axis": None}, "channel": {"axis": 0}, "group of 32": {"axis": 0, "group": 32}}
formats = {name: weight_params(w, bits=4, **choice) for name, choice in choices.items()}
for name, params in formats.items():
    parts = stored_bytes(w.size, params)
    rms = np.sqrt(np.mean((dequantize(quantize(w, params), params) - w) ** 2))
    real = 8 * sum(parts.values()) / w.size
    print(
        f"{name:12} {params.scale.size:4} scales, {sum(parts.values()):6,} B, {real:.2f} bits a weight, error {rms:.4f}"
    )

assert np.isclose(real, 4 + 32 / 32), "A float32 scale for 32 weights: one bit more for each."
mean_steps = [float(params.scale.mean()) for params in formats.values()]
assert mean_steps == sorted(mean_steps, reverse=True), "Fewer weights share a scale: none reaches further than needed."

# %% [markdown]
# 4-bit weights only take 4 bits if two of them share a byte. `pack` does that; the sign is two's complement.
#
# **Predict.** $3, -4, 7, -1$ in 4 bits each, the first one into the *low* half of the first byte: which two bytes are that?

# %%
numbers = np.array([3, -4, 7, -1], np.int8)
packed = pack(numbers, bits=4)
print([f"{byte:08b}" for byte in packed])

assert packed.tolist() == [0b1100_0011, 0b1111_0111], "-4 is 16 - 4 = 1100, -1 is 1111; the second number is in front."
q = quantize(w, formats["channel"])
assert np.array_equal(unpack(pack(q, bits=4), bits=4, shape=w.shape), q), "Packing loses nothing."
assert pack(q, bits=4).nbytes == w.size // 2, "Two to a byte."

# %% [markdown]
# Now all of LeNet, weights alone, from 8 bits down to 1 (one bit: a sign times the mean magnitude of its channel).
#
# **Predict.** At how many bits do you see the first loss of a whole point? Which of the three ways lasts longest? And what
# is better at 2 bits: ranges that reach to the largest weight, or those of least error?

# %%
from minigrad.compression.quantization import round_weights

widths = [2, 3, 4, 6, 8]
ways = {"tensor": {"per_channel": False}, "channel": {}, "group of 32": {"group": 32}}
accuracies = {}
for name, way in ways.items():
    for least_error in (False, True):
        accuracies[name, least_error] = [
            evaluate(round_weights(lenet, b, least_error=least_error, **way)[0], loader) for b in widths
        ]
signs = evaluate(round_weights(lenet, 1)[0], loader)

figure = Figure(figsize=(9, 3.6), layout="constrained")
for ax, least_error in zip(figure.subplots(1, 2, sharey=True), (False, True), strict=True):
    for name, color, marker in zip(ways, (BLUE, ORANGE, GREEN), "osD", strict=True):
        ax.semilogy(widths, 100 - np.array(accuracies[name, least_error]), marker + "-", color=color, label=name)
    ax.plot(1, 100 - signs, "k*", markersize=10, label="sign times mean, by channel")
    ax.axhline(100 - before, color=GREY, linestyle="--", label="float32")
    ax.set(xlabel="bits of the weights", title="Range of least error" if least_error else "Range to the largest weight")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=9, loc="upper right")
figure.axes[0].minorticks_off()
figure.axes[0].set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
figure.axes[0].set_ylabel("held-out error (%, log)")
display(figure)

# %%
for (name, least_error), values in accuracies.items():
    how = "least error" if least_error else "to the largest"
    print(f"{name:12} {how:15}", " ".join(f"{value:6.2f}" for value in values), "%")

assert min(values[-1] for values in accuracies.values()) > before - 0.3, "8 bits cost next to nothing here."
assert all(accuracies[name, True][0] > accuracies[name, False][0] for name in ways), "At 2 bits it pays to clip."
assert signs > accuracies["channel", False][0], "With 2 bits and a range to the largest, most weights become 0."

# %% [markdown]
# Down to 4 bits almost nothing happens. Below, the *range* matters more than who shares it. By channel, one bit with a
# good scale even does better than two with a bad one. At 3 bits, one scale a channel reads a little worse than one for
# all, although it errs less: the error of weights is not yet that of answers.
#
# **In short.** Finer scales err less and cost $32/g$ bits a weight. With few bits, choose the range by its error.
#
# **Questions.**
# 1. Is "4 bits in groups of 32" or "5 bits by channel" the better use of 5 bits a weight? (Section 2 helps.)
# 2. Scales could be stored in 8 bits themselves. What would a 4-bit weight in groups of 32 take then?
#
# **Source.** Krishnamoorthi 2018 (channels); Rastegari et al. 2016 (the sign's scale). `minigrad bits` runs this over
# seeds, also with training.

# %% [markdown]
# ## 4. Grids that are not even
#
# **Goal.** Compare int8 and int4 with 16-bit floats and with a codebook.
#
# **You need.** Section 3.
#
# **The idea.** The points need not lie evenly. *Floats* put them close together near 0. A *codebook* puts them where the
# weights are: k-means, each centroid the mean of its members. The stored number is then an index into a list.
#
# **The formula.** float16 has 5 bits for the exponent and 10 for the fraction, bfloat16 8 and 7. The relative error is
# at most $2^{-(f+1)}$ with $f$ fraction bits: a float's SQNR does not depend on the scale.
#
# **Predict.** Sort by error on the weights of `fc1`: float16, bfloat16, int8, int4, 4-bit codebook, signs. (Careful: int8
# has 8 bits, bfloat16 has 16.)

# %%
from minigrad.compression.quantization import BFLOAT16, FLOAT16, binarize, kmeans_codebook

rounders = {
    "float16": lambda a: FLOAT16.round(a),
    "bfloat16": lambda a: BFLOAT16.round(a),
    "int8, by channel": lambda a: dequantize(quantize(a, weight_params(a, 8)), weight_params(a, 8)),
    "codebook, 4 bits": lambda a: kmeans_codebook(a, bits=4).decode(),
    "int4, one scale": lambda a: dequantize(quantize(a, fit_weight_params(a, 4, None)), fit_weight_params(a, 4, None)),
    "signs, by channel": lambda a: binarize(a).decode(),
}
noise = {}
for name, rounder in rounders.items():
    other = copy.deepcopy(lenet)
    for layer in weight_layers(other).values():
        layer.weight.data[...] = rounder(layer.weight.data)
    noise[name] = 10 * np.log10(np.mean(w**2) / np.mean((rounder(w) - w) ** 2))
    print(f"{name:18} SQNR of fc1 {noise[name]:5.1f} dB; LeNet {evaluate(other, loader):.2f} %")

assert noise["float16"] > noise["bfloat16"] > noise["codebook, 4 bits"], "More fraction bits, less error."
assert noise["codebook, 4 bits"] > noise["int4, one scale"], "Of 16 points, k-means chooses the better 16."
print("float16 of 0.1:", f"{FLOAT16.encode([0.1])[0]:016b}", "bfloat16:", f"{BFLOAT16.encode([0.1])[0]:016b}")

# %%
rulers = {
    "int4, one scale": fit_weight_params(w, 4, None).scale * np.arange(-7, 8),
    "codebook, 4 bits": kmeans_codebook(w, bits=4).centroids,
    "2 bits, one scale": fit_weight_params(w, 2, None).scale * np.arange(-1, 2),
    "codebook, 2 bits": kmeans_codebook(w, bits=2).centroids,
}
figure = Figure(figsize=(8, 4), layout="constrained")
top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
top.hist(w.ravel(), bins=100, color=GREY, alpha=0.6)
top.set(ylabel="weights per bin", title="The weights of fc1, and the numbers that each format knows")
for y, ((_, points), color) in enumerate(zip(rulers.items(), (BLUE, ORANGE) * 2, strict=True)):
    bottom.plot(points, [-y] * len(points), "|", color=color, markersize=14, markeredgewidth=2)
bottom.set_yticks([-y for y in range(4)], list(rulers))
bottom.set(xlabel="weight", ylim=(-3.6, 0.6))
for ax in (top, bottom):
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# The codebook's points lie a little closer together where most weights are. What it cannot do: an index is no number,
# so a product needs a look into the list first. Notebook 12 makes files of it; integers are what processors multiply.
#
# **In short.** 16-bit floats: half the bytes, no thought needed. Codebook: the least error for its bits. Integers: the
# ones one can *compute* with.
#
# **Question.** bfloat16 has a larger error than float16, and is yet what training uses. Which numbers does float16 not
# have? (`FLOAT16.round([1e5, 1e-9])`.)
#
# **Source.** IEEE 754 (float16); Kalamkar et al. 2019 (bfloat16); Han, Mao and Dally 2016, section 3.

# %% [markdown]
# ## 5. Which range? Activations
#
# **Goal.** Choose ranges for numbers that are not known in advance.
#
# **You need.** Sections 1 and 2.
#
# **The idea.** Weights are there to be looked at. What a layer *passes on* depends on the image. So run some hundred
# images through the network (calibration) and let an *observer* watch each layer. Five of them:
#
# | observer | range |
# |---|---|
# | min-max | from the smallest to the largest number seen |
# | moving-average | a slow average of each batch's extremes |
# | percentile | without the largest and the smallest 0.1 % |
# | mse | the least squared error, searched |
# | entropy | the least loss of information (KL between the histograms before and after) |
#
# **Predict.** The next picture shows what `conv2` passes on, after its ReLU. Which observer's range is the widest, which
# cuts off most at 8 bits? Which two move when there are only 3 bits?

# %%
from minigrad.compression.quantization import OBSERVERS, calibrate, simulate, stage_outputs
from minigrad.compression.quantization.plots import plot_observers

batches = [out for name, out in stage_outputs(lenet, calibration, batch_size=50) if name == "conv2"]
display(plot_observers(batches, bits=(8, 3), title="output of conv2, after ReLU"))

# %%
few = {}
for name in OBSERVERS:
    for width in (8, 3):
        formats = calibrate(lenet, calibration, name, bits=width, batch_size=50)
        formats.pop("fc3")  # with 3 bits the largest logits would tie
        few[name, width] = evaluate(simulate(lenet, activations=formats), loader)
    print(f"{name:15} 8 bits: {few[name, 8]:.2f} %, 3 bits: {few[name, 3]:.2f} %")

assert min(few[name, 8] for name in OBSERVERS) > before - 1, "With 8 bits any sensible range will do."
assert few["mse", 3] > few["min-max", 3], "With 3 bits, it pays to cut off the rare large values."

# %% [markdown]
# **In short.** At 8 bits take the extremes and think no more about it. With few bits, choose by squared error.
#
# **Questions.**
# 1. One calibration image is broken, with a pixel of 10,000. Which observers suffer most?
# 2. "entropy" is the default of a well-known 8-bit runtime. Where would you trust it less?
#
# **Source.** Jacob et al. 2018 (moving averages); Migacz 2017 (entropy); Banner et al. 2019.

# %% [markdown]
# ## 6. LeNet in one call: levels 1 and 2
#
# **Goal.** Quantize the whole network without training, the way the article on distillation sorts it.
#
# **You need.** Sections 3 and 5.
#
# **The idea.** The article's *levels*, after Nagel et al.:
#
# | level | data | backpropagation | what is done |
# |---|---|---|---|
# | 1 | none | no | ranges evened out between layers, weights rounded |
# | 2 | some hundred images | no | activations rounded too, biases corrected |
# | 3 | training images | yes | quantization-aware training (notebook 11) |
# | 4 | training images | yes | the same, and the architecture may change |
#
# **The formula** of level 1: ReLU lets factors through, $\mathrm{ReLU}(s x) = s\,\mathrm{ReLU}(x)$ for $s > 0$. So divide a
# channel of one layer by $s$ and multiply what reads it by $s$: the network computes the same, and each channel uses the
# whole range.
#
# **Predict.** Bytes of the float network: $4 \cdot 44{,}426 = 177{,}704$. At 8, 4 and 2 bits? And what will level 2 read at
# each? (Its activations have 8 bits.)

# %%
from minigrad.compression.quantization import levels_table, quantize_model

rows = []
for width in (8, 4, 2):
    for level in (1, 2):
        model = quantize_model(lenet, level, calibration=calibration, bits=width)
        rows.append((model, evaluate(model, loader)))
        print(f"{width} bits, level {level}: {', '.join(model.done)}")
print(levels_table(rows))

assert rows[1][1] > before - 0.3, "8 bits, calibrated: next to nothing is lost."
assert rows[1][0].nbytes < 177_704 / 3.8, "A byte for each weight; scales and biases are few."

# %% [markdown]
# 8 bits: nearly four times smaller, next to nothing lost, no training. That is the everyday case. At 2 bits rounding
# after the fact is not enough; notebook 11 trains for it.
#
# **In short.** One call. Level 1 needs nothing but the weights; level 2 some images, and gives integers for activations
# too.
#
# **Question.** Why does the table have *more* than a quarter of the bytes at 8 bits? Which numbers have more than 8 bits?
#
# **Source.** The article on distillation, "Quantization"; Nagel et al. 2019.

# %% [markdown]
# ## 7. Which layer did it?
#
# **Goal.** Say where the loss comes from, in shares that add up.
#
# **You need.** Sections 2 and 6.
#
# **The idea.** First the signal-to-noise ratio of each tensor, beside the rule. Then the loss: quantize *one* layer and
# leave the others in float. And since layers may help or hurt each other, ask fairly: add the layers (or the kinds of
# noise) one by one, in every order, and average what each one adds. That is its *Shapley value*; the values add up to
# the whole.
#
# **The formula.** $\displaystyle \phi_i = \frac{1}{n!} \sum_{\text{orders}}
# \big[\, v(\text{those before } i, \text{ and } i) - v(\text{those before } i) \,\big], \qquad \sum_i \phi_i = v(\text{all})$
#
# **Predict.** Weights with 2 bits, activations with 4 (logits with 8). Which of the five layers suffers most? `fc1` has two
# thirds of the weights.

# %%
from minigrad.compression.quantization import signal_to_noise

_, weights = round_weights(lenet, 2)
activations = calibrate(lenet, calibration, "mse", bits=4)
activations["fc3"] = calibrate(lenet, calibration)["fc3"]  # with few bits, the largest logits would tie
images, labels = held_out.images[:1000], held_out.labels[:1000]
for row in signal_to_noise(lenet, weights, activations, images[:200]):
    print(
        f"{row.name:18} {row.bits} bits: {row.measured:5.1f} dB; rule {row.rule:4.1f}, for its shape {row.expected:4.1f}"
    )

# %%
from minigrad.compression.quantization import SOURCES, loss_by_source, sensitivity_by_layer

sensitivity = sensitivity_by_layer(lenet, weights, activations, images, labels)
shares = loss_by_source(lenet, weights, activations, images, labels)
total = sum(row["share"] for row in shares.values())
print(f"one layer at a time: {sum(sensitivity.values()):.3f} nats together; all at once: {total:.3f}")

assert total > sum(sensitivity.values()), "Here the layers' errors make each other worse."

# %%
figure = Figure(figsize=(9, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
left.barh(list(sensitivity), list(sensitivity.values()), color=BLUE)
left.set(xlabel="increase of the loss (nats)", title="One layer quantized, the others float")
places = np.arange(len(SOURCES))
right.barh(places - 0.2, [shares[s]["alone"] for s in SOURCES], 0.4, color=ORANGE, label="alone")
right.barh(places + 0.2, [shares[s]["share"] for s in SOURCES], 0.4, color=GREEN, label="share of all (Shapley)")
right.set_yticks(places, SOURCES)
right.set(xlabel="increase of the loss (nats)", title=f"By kind of noise; shares add up to {total:.3f}")
right.legend(fontsize=9)
for ax in (left, right):
    ax.invert_yaxis()
    ax.axvline(0, color="black", linewidth=0.8)
    ax.locator_params(axis="x", nbins=6)
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# Shares of kinds of noise add up, whatever happens between them. The left bars need not: here all layers at once cost
# more than the sum of each alone. Clipping is what costs most: with two bits a weight is $-S$, 0 or $S$, and the range of
# least error cuts off all that is larger.
#
# Behind the averages are images that are read *otherwise* now. Ask for the first of them which layer brought its margin
# down.
#
# **Predict.** Will it be one layer that does it alone, or several together?

# %%
from minigrad.compression.quantization import explain_flip, with_noise

read = [m.eval()(images).data.argmax(axis=1) for m in (lenet, with_noise(lenet, weights, activations))]
flipped = np.flatnonzero(read[0] != read[1])
i = int(flipped[0])
flip = explain_flip(lenet, weights, activations, images[i])
print(f"{len(flipped)} of 1,000 images are read otherwise; the first is image {i}, a {labels[i]}")
print(f"read as {flip.before} before, {flip.after} now; margin {flip.margin_before:.2f} -> {flip.margin_after:.2f}")

figure = Figure(figsize=(7, 2.6), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(1, 3))
left.imshow(held_out.pixels[i].squeeze(), cmap="gray")
left.axis("off")
right.barh(
    list(flip.shares), list(flip.shares.values()), color=[GREY if s > 0 else ORANGE for s in flip.shares.values()]
)
right.invert_yaxis()
right.axvline(0, color="black", linewidth=0.8)
right.set(xlabel="share of the change in the margin (logits)", title=f"Image {i}: {flip.culprit} above all")
right.spines[["top", "right"]].set_visible(False)
display(figure)

assert np.isclose(sum(flip.shares.values()), flip.margin_after - flip.margin_before), "Shares add up to the change."
assert flip.margin_before > 0 > flip.margin_after, "A margin below 0: another class has the largest logit."

# %% [markdown]
# **In short.** SQNR tells how much was rounded; sensitivity, how much that mattered; Shapley values, who is to blame, in
# shares that add up.
#
# **Questions.**
# 1. Where SQNR is lowest, is the sensitivity largest?
# 2. You may give one layer 8 bits instead of 2. Which one, per byte? (`bit_costs` and `choose_bits` do that for a budget.)
#
# **Source.** Shapley 1953.

# %% [markdown]
# ## Summary
#
# - $r = S(q - Z)$: error at most $S/2$ inside the range, saturation outside, 0 exact.
# - A bit is worth 6.02 dB; the shape of the distribution costs a constant.
# - A finer scale errs less and takes $32/g$ more bits a weight.
# - 8 bits: take the extremes. Few bits: choose ranges by squared error.
# - LeNet with 8 bits: nearly four times smaller, about the same accuracy, one call, no training.
#
# The whole thing on the command line: `minigrad quantize`, `minigrad bits`, `minigrad observers`. Next: notebook 10 computes
# with the integers.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: scale and zero point.** Activations go from $-0.5$ to $2.05$; $q$ has 8 bits, $-128$ to $127$. Both ends are to
# be points of the grid. Give $S$ and $Z$.

# %% nbgrader={"grade": false, "grade_id": "09-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# scale, zero_point = ... S and Z
### BEGIN SOLUTION
scale, zero_point = 0.01, -78
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "09-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("09-1", (scale, zero_point))

# %% [markdown]
# **Exercise 2: bytes.** A matrix of 120 × 256 weights, 3 bits each, packed, with a float32 scale for each group of 64 weights
# of a row. How many bytes, all in all? And how many decibels of SQNR do you expect to gain with one more bit?

# %% nbgrader={"grade": false, "grade_id": "09-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# nbytes, decibels = ... two numbers
### BEGIN SOLUTION
nbytes, decibels = 120 * 256 * 3 // 8 + 120 * 256 // 64 * 4, 6.02
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "09-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("09-2", (nbytes, decibels))

# %% [markdown]
# **Exercise 3: symmetric, by channel.** Round these weights to 4 bits, $q$ from $-7$ to $7$, $Z = 0$, a scale for each *row* so
# that its weight of largest magnitude just fits, and turn them back into real numbers. NumPy only.

# %% nbgrader={"grade": false, "grade_id": "09-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
rows = np.array([[0.7, -0.3, 0.1], [0.02, 0.014, -0.005], [-3.5, 1.0, 2.2]])
# decoded = ... an array of the same shape
### BEGIN SOLUTION
scale = np.abs(rows).max(axis=1, keepdims=True) / 7
decoded = scale * np.round(rows / scale)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "09-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("09-3", decoded, rows=rows)

# %% [markdown]
# ## Sources
#
# - B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
#   2018, arXiv:1712.05877.
# - R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: a whitepaper", 2018,
#   arXiv:1806.08342.
# - W. R. Bennett, "Spectra of quantized signals", Bell System Technical Journal 27, 1948.
# - R. Banner et al., "Post training 4-bit quantization of convolutional networks for rapid-deployment", NeurIPS 2019.
# - S. Migacz, "8-bit inference with TensorRT", GPU Technology Conference 2017.
# - M. Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019.
# - S. Han, H. Mao, W. Dally, "Deep compression", ICLR 2016, arXiv:1510.00149.
# - D. Kalamkar et al., "A study of BFLOAT16 for deep learning training", 2019, arXiv:1905.12322.
# - M. Rastegari et al., "XNOR-Net", ECCV 2016, arXiv:1603.05279.
# - L. Shapley, "A value for n-person games", 1953.
# - The article on distillation: "Deep learning: distillation, pruning, quantization" (in Chinese: 深度学习-蒸馏、剪枝、量化).
# - The model-optimisation article: "Chapter 5: training and optimising large models, 5.3 model optimisation" (in Chinese:
#   第五章:AI大模型的训练与优化 5.3 模型优化).
# - The article on quantization in practice: "Model compression and acceleration: quantization and pruning of Hugging Face
#   models" (in Chinese: 【模型压缩与加速】:实战Hugging Face模型量化与剪枝技术).
