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
# # 11 · Training for few bits: the gradient of rounding, 4 bits, 2 bits, signs
#
# **Goal.** Train a network whose weights are rounded, although rounding has no useful gradient; and go down to weights that
# are nothing but a sign.
#
# **What you need.** Notebook 01 (gradients), notebook 09 (formats), and a glance at notebook 10 (integers only). The
# notebook runs in about half a minute on two cores.
#
# Notebook 09 ended with 2-bit weights that had lost eight points and more. The articles' level 3, *quantization-aware
# training*, gets most of them back.
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
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

import minigrad
from checks import check
from minigrad import DataLoader, Tensor, evaluate
from minigrad import functional as F
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE
from minigrad.compression.models import trained_lenet
from minigrad.compression.quantization import prepare_qat, quantize_model, train_qat
from minigrad.datasets import mnist, split_validation

# %%
training, held_out = split_validation(mnist("train"))
calibration, few, loader = training.images[:500], training.subset(slice(0, 6_000)), evaluation_loader(held_out)
lenet = trained_lenet()
before = evaluate(lenet, loader)
print(f"LeNet in float32: {before:.2f} % of the held-out images")

assert before > 97, "The shipped LeNet reads about 98 %."

# %% [markdown]
# ## 1. The gradient of rounding
#
# **Goal.** See why a rounded weight cannot learn, and what is done about it.
#
# **You need.** `backward`.
#
# **The idea.** $\mathrm{round}$ is a staircase. On a step nothing changes, so the derivative is 0; at an edge there is none. By
# the chain rule everything before a rounding gets the gradient 0: nothing learns. The way out is a lie that works. Forward,
# round. Backward, pretend that nothing was rounded: the *straight-through estimator*.
#
# **The formula.** With $v = x / S$ and the error of rounding $c = \mathrm{round}(v) - v$ taken as a *constant*:
#
# $$\hat x = S\,\mathrm{clip}\big(\mathrm{round}(v), q_\text{low}, q_\text{high}\big), \qquad
# \frac{\partial \hat x}{\partial x} := \begin{cases} 1 & \text{inside the range} \\ 0 & \text{where it is clipped}
# \end{cases}$$
#
# **Predict.** $S = 0.5$, 3 bits, $q$ from $-4$ to $3$. What becomes of $-3$, $0.3$, $0.6$, $1.4$, $1.9$, and which of
# them get a gradient?

# %%
x = Tensor([-3.0, 0.3, 0.6, 1.4, 1.9], requires_grad=True)
rounded = F.fake_quantize(x, scale=0.5, low=-4, high=3)
rounded.sum().backward()
h = 1e-4
true = (F.fake_quantize(x.data + h, 0.5, 0, -4, 3).data - F.fake_quantize(x.data - h, 0.5, 0, -4, 3).data) / (2 * h)
print("x              ", x.data)
print("rounded        ", rounded.data)
print("true derivative", true)
print("straight through", x.grad)

assert np.array_equal(rounded.data, [-2, 0.5, 0.5, 1.5, 1.5]), "Half steps, from -2 to 1.5."
assert not true.any(), "On a step, nothing changes."
assert np.array_equal(x.grad, [0, 1, 1, 1, 0]), "-3 and 1.9 round to beyond the range: no gradient there."

# %% [markdown]
# `fake_quantize` is an op of the tape like any other, with a row in the table of ops. *Fake*, since what comes out is float32,
# with only eight different values. The integers come in section 6.
#
# **Predict.** One weight $w$ begins at 0 and is to reach 0.65, by gradient descent on $(\hat w - 0.65)^2$ with $S = 0.5$. The
# grid has 0.5 and 1, not 0.65. Where does $w$ go? Where does $\hat w$?

# %%
w, path = Tensor([0.0], requires_grad=True), []
for _ in range(60):
    w.grad = None
    w_hat = F.fake_quantize(w, scale=0.5, low=-4, high=3)
    ((w_hat - 0.65) ** 2).sum().backward()
    path.append((w.data.item(), w_hat.data.item()))
    w.data[...] -= 0.1 * w.grad
latent, used = np.array(path).T

figure = Figure(figsize=(8, 3), layout="constrained")
ax = figure.subplots()
ax.plot(latent, color=BLUE, label="w, which is trained")
ax.step(range(len(used)), used, where="post", color=ORANGE, linestyle="--", label="w rounded, which is used")
ax.axhline(0.65, color=GREY, linestyle=":", label="the target, 0.65")
ax.axhline(0.75, color=GREY, linewidth=0.8)
ax.text(0, 0.76, "0.75: edge between 0.5 and 1", color=GREY, ha="left", va="bottom", fontsize=9)
ax.set(xlabel="step", ylabel="weight", title="Learning with a gradient that pretends")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="center right", bbox_to_anchor=(1, 0.25), fontsize=9)
display(figure)

assert abs(latent[30:].mean() - 0.75) < 0.03, "w stays near the edge between the two nearest points."
assert abs(used[30:].mean() - 0.65) < 0.05, "On average over the steps, the rounded weight is nearly right."

# %% [markdown]
# The weight that is trained stays float32 and moves by small steps; it remembers what rounding hides. It does not come to
# rest: it swings about the edge, and the rounded weight flips between 0.5 and 1, 0.5 more often, as 0.65 lies nearer to it.
# A smaller learning rate at the end calms that down.
#
# **In short.** Forward: round. Backward: pretend. Keep the float weights until the end.
#
# **Questions.**
# 1. Why is the gradient 0 where a number is clipped, and not 1? What would $w$ do, with 1, beyond the range?
# 2. The true gradient of the loss is 0 here. In which sense is the straight-through one *better* than the true one?
#
# **Source.** Bengio, Léonard and Courville 2013; Nagel et al. 2022 (weights that swing).

# %% [markdown]
# ## 2. Quantization-aware training
#
# **Goal.** Train LeNet for 2-bit weights, fairly compared.
#
# **You need.** Section 1.
#
# **The idea.** Put a fake quantization behind each weight and each activation, start from the trained float network, and
# train on, with a small learning rate. Three rules of thumb:
#
# - ranges of weights follow the weights; ranges of activations are moving averages;
# - activations are rounded only after a quarter of the steps, when the weights have settled;
# - ranges are frozen for the last quarter.
#
# **The formula.** $\min_w L\big(\hat w(w)\big)$, with gradients straight through.

# %%
qat = prepare_qat(lenet, calibration, bits=2)
print(qat.fc3)
largest = np.abs(qat.fc3.weight.data[0]).argmax() // 6 * 6
some = slice(largest, largest + 6)
print("six weights:     ", qat.fc3.weight.data[0, some].round(3))
print("as they are used:", qat.fc3.rounded_weight().data[0, some].round(3) + 0)

assert len(np.unique(qat.conv2.rounded_weight().data[0])) <= 3, "Two bits, symmetric: -S, 0, S."

# %% [markdown]
# Symmetric and with two bits, a weight is $-S$, $0$ or $S$: a *ternary* weight.
#
# The settings were chosen on the held-out images. A network that is trained *longer* may get better for that reason alone;
# so the float network is trained on for just as many steps, on the same batches. (The shipped LeNet itself was trained on
# the held-out images too; the training here does not see them.)
#
# **Predict.** At 2 bits, calibrated only, LeNet reads about 89 %. Trained for three epochs of 6,000 images: 90, 93, 96 or
# 98 %? And what does the float network gain?

# %%
accuracy = {}
trained = {}
ways = {
    "float": {"bits": None, "activation_bits": None},
    "4, trained": {"bits": 4},
    "2, trained": {"bits": 2},
}
for name, settings in ways.items():
    minigrad.manual_seed(0)
    chain = prepare_qat(lenet, calibration, **settings)
    batches = DataLoader(few.images, few.labels, 64, shuffle=True, seed=0)
    losses = train_qat(chain, batches, epochs=3, lr=0.002)
    accuracy[name], trained[name] = evaluate(chain, loader), chain
    print(f"{name:11} loss of the epochs {np.round(losses, 3)}, {accuracy[name]:.2f} %")
for bits in (4, 2, 1):
    accuracy[f"{bits}, calibrated"] = evaluate(quantize_model(lenet, 2, calibration=calibration, bits=bits), loader)
    print(f"{bits} bits, calibrated only: {accuracy[f'{bits}, calibrated']:.2f} %")

assert accuracy["2, trained"] > accuracy["2, calibrated"] + 3, "Training for 2 bits gets most of the loss back."
assert accuracy["4, trained"] > before - 1, "4 bits lose next to nothing, trained or not."

# %% [markdown]
# **In short.** At 4 bits there was little to win. At 2 bits, less than three hundred steps bring back most of what rounding
# had taken.
#
# **Questions.**
# 1. Why start from the trained float network rather than from random weights?
# 2. Why are the logits kept at 8 bits?
#
# **Source.** Jacob et al. 2018, section 3; Krishnamoorthi 2018; the article on distillation, level 3.

# %% [markdown]
# ## 3. Learned step size
#
# **Goal.** Let the scale $S$ learn, too.
#
# **You need.** Section 1's formula.
#
# **The idea.** So far $S$ reached to the largest weight. Notebook 09 showed that a narrower range errs less. Rather than
# search, *train* it: $\hat x$ depends on $S$, so there is a gradient.
#
# **The formula.** Inside the range $\hat x = S(v + c)$ with $c$ constant and $v = x/S$:
#
# $$\frac{\partial \hat x}{\partial S} = \begin{cases} \mathrm{round}(v) - v & \text{inside} \\
# q_\text{low} \text{ or } q_\text{high} & \text{where it is clipped} \end{cases}$$
#
# **Predict.** $x = 0.6$ and $x = 1.9$ with $S = 0.5$, $q$ from $-4$ to $3$: what do they want $S$ to do, if $\hat x$ is too
# small?

# %%
for value in (0.6, 1.9):
    S = Tensor(0.5, requires_grad=True)
    F.fake_quantize(Tensor(value), S, 0, -4, 3).backward()
    v = value / 0.5
    print(f"x = {value}: gradient of S {S.grad:.2f}; round(v) - v = {np.round(v) - v:.2f}")
    expected = np.round(v) - v if np.round(v) <= 3 else 3
    assert np.isclose(S.grad, expected), "Inside: the error of rounding. Clipped: the limit."

# %% [markdown]
# A clipped number pulls at $S$ with all its might, a rounded one gently: together they find the range. (Since so many weights
# share one $S$, its gradient is divided by $\sqrt{n\, q_\text{high}}$.)
#
# **Predict.** Does that help more at 4 bits or at 2?

# %%
for bits in (4, 2):
    minigrad.manual_seed(0)
    chain = prepare_qat(lenet, calibration, bits=bits, learned=True)
    batches = DataLoader(few.images, few.labels, 64, shuffle=True, seed=0)
    train_qat(chain, batches, epochs=3, lr=0.002)
    name = f"{bits}, learned"
    accuracy[name], trained[name] = evaluate(chain, loader), chain
    print(f"{name:11} {accuracy[name]:.2f} %, to the largest weight {accuracy[f'{bits}, trained']:.2f} %")

assert accuracy["2, learned"] > accuracy["2, trained"], "At 2 bits the range decides."

# %%
figure = Figure(figsize=(9, 3.2), layout="constrained")
titles = {"2, trained": "2 bits, to the largest weight", "2, learned": "2 bits, S learned"}
for ax, (name, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
    layer = trained[name].fc1
    steps = layer.weight_format().spread(layer.weight.shape)[0]
    v = (layer.weight.data / steps).ravel()
    ax.hist(v, bins=np.linspace(-3, 3, 121), color=BLUE if name == "2, trained" else ORANGE)
    for edge in (-0.5, 0.5):
        ax.axvline(edge, color=GREY, linestyle="--")
    zeros = np.mean(np.abs(v) < 0.5)
    ax.set(xlabel="weight of fc1 / S", ylabel="weights per bin", title=f"{title}: {zeros:.0%} become 0")
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# Dashed: the edges between $-S$, 0 and $S$. On the left the range reaches to the largest weight of each row, and most
# weights lie in the middle. On the right the scale has come down: large weights are clipped, and many more are *not* 0.
#
# **In short.** Few bits: let the step learn.
#
# **Question.** Where would $S$ go if only clipped weights had a gradient? If only the others had?
#
# **Source.** Esser et al. 2020.

# %% [markdown]
# ## 4. One bit
#
# **Goal.** Keep of each weight nothing but its sign.
#
# **You need.** Sections 1 and 2.
#
# **The idea.** $w \approx \alpha\,\mathrm{sign}(w)$ with one $\alpha$ for a filter. Signs take a 32nd of the bytes, and a
# product with a sign is an addition.
#
# **The formula.** The best $\alpha$ minimises $\sum_i (w_i - \alpha\, s_i)^2$ with $s_i = \mathrm{sign}(w_i)$. Set the
# derivative to zero: $\alpha = \frac1n \sum_i w_i s_i = \frac1n \sum_i |w_i|$, the mean magnitude.
#
# **Predict.** How much of the weights' power is left in the error, for weights from a normal distribution: 10, 36 or 64 %?
# ($E|w| = \sqrt{2/\pi}\,\sigma$.)

# %%
from minigrad.compression.quantization import binarize, ternarize

normal = np.random.default_rng(0).normal(size=(1, 100_000))
two, three = binarize(normal), ternarize(normal)
lost = {
    name: float(np.mean((signs.decode() - normal) ** 2)) for name, signs in {"signs": two, "ternary": three}.items()
}
print(
    f"signs: scale {two.scale.item():.3f}, {100 * lost['signs']:.0f} % of the power is lost (1 - 2/pi = {1 - 2 / np.pi:.2f})"
)
print(
    f"ternary: scale {three.scale.item():.3f}, {100 * lost['ternary']:.0f} % lost, {np.mean(three.signs == 0):.0%} zeros"
)

assert np.isclose(lost["signs"], 1 - 2 / np.pi, atol=0.01), "E|w| squared is what the signs catch."
assert lost["ternary"] < lost["signs"], "A third value helps."

# %% [markdown]
# Signs may also be *drawn*: $+1$ with probability $p = \mathrm{clip}\big((w/\alpha + 1)/2,\ 0,\ 1\big)$. A single draw errs
# more than the sign itself. But its mean is right: for $|w| \le \alpha$, $\ E[\alpha s] = \alpha(2p - 1) = w$. Rounding that
# is right on average is what one wants where many roundings add up (gradients, notebook 13).
#
# **Predict.** $w = 0.3$ and $\alpha = 1$: what is the mean of 1,000 drawn signs, about? And of the deterministic sign?

# %%
rng = np.random.default_rng(0)
w = np.linspace(-1.5, 1.5, 61)[None]
draws = np.mean([binarize(w, rng=rng, scale=1.0).decode()[0] for _ in range(1_000)], axis=0)
figure = Figure(figsize=(6, 3.2), layout="constrained")
ax = figure.subplots()
ax.plot(w[0], w[0], ":", color=GREY, label="w itself")
ax.step(w[0], binarize(w, scale=1.0).decode()[0], where="mid", color=BLUE, label="sign")
ax.plot(w[0], draws, "o", color=ORANGE, markersize=4, label="mean of 1,000 drawn signs")
ax.set(xlabel="w", ylabel="weight that is used", title="One bit, chosen or drawn (scale 1)")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

inside = np.abs(w[0]) <= 1
assert np.abs(draws - w[0])[inside].max() < 0.12, "Right on average, within the scale."
assert np.array_equal(draws[~inside], np.sign(w[0])[~inside]), "Beyond the scale the sign is certain."

# %% [markdown]
# Now LeNet. The sign's true derivative is 0 as well; the straight-through one is that of $\min(\max(w, -1), 1)$, so 1 for
# $|w| \le 1$. Signs flip only when a weight crosses 0, so the learning rate is larger here.
#
# **Predict.** Calibrated only, signs read about 71 %. Trained?

# %%
minigrad.manual_seed(0)
chain = prepare_qat(lenet, calibration, bits=1)
signs_before = np.sign(chain.fc1.weight.data)
losses = train_qat(chain, DataLoader(few.images, few.labels, 64, shuffle=True, seed=0), epochs=3, lr=0.01)
accuracy["1, trained"], trained["1, trained"] = evaluate(chain, loader), chain
flipped = np.mean(np.sign(chain.fc1.weight.data) != signs_before)
print(
    f"signs: loss of the epochs {np.round(losses, 3)}, {accuracy['1, trained']:.2f} %; {flipped:.1%} of fc1's signs flipped"
)

assert accuracy["1, trained"] > accuracy["1, calibrated"] + 10, "A few flipped signs make the difference."

# %%
figure = Figure(figsize=(7.5, 3.4), layout="constrained")
ax = figure.subplots()
groups = {"calibrated": (GREY, -0.27), "trained": (BLUE, 0.0), "learned": (ORANGE, 0.27)}
for kind, (color, shift) in groups.items():
    known = [(i, 100 - accuracy[f"{n}, {kind}"]) for i, n in enumerate((4, 2, 1)) if f"{n}, {kind}" in accuracy]
    places, values = np.array(known).T
    ax.bar(places + shift, values, 0.25, color=color, label={"learned": "trained, step learned too"}.get(kind, kind))
    for place, value in known:
        text = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        ax.text(place + shift, value + 0.8, f"{value:.1f}", ha="center", fontsize=9, bbox=text)
ax.axhline(100 - before, color=GREEN, linestyle="--", label="float32", zorder=0)
ax.set_xticks(range(3), ["4 bits", "2 bits (ternary)", "1 bit (signs)"])
ax.set(ylabel="held-out error (%)", ylim=(0, 34), title="Weights of few bits, 3 epochs of 6,000 images")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9, loc="upper left")
display(figure)

# %% [markdown]
# One seed, few images: the order is clear, tenths of a point are not. `minigrad bits` measures five seeds with intervals.
#
# **In short.** A sign and a mean magnitude are enough for most digits, *if* the network is trained for it.
#
# **Questions.**
# 1. Why does training need the float weights, although only signs are used?
# 2. After training, how many bytes do the signs of `fc1` take, and how many the scales?
#
# **Source.** Courbariaux, Bengio and David 2015 (signs, drawn or not); Hubara et al. 2016; Rastegari et al. 2016 (the
# scale); Li, Zhang and Liu 2016 (ternary).

# %% [markdown]
# ## 5. Signs by signs: counting bits
#
# **Goal.** Multiply 64 pairs of signs with two instructions.
#
# **You need.** Section 4; exclusive or.
#
# **The idea.** Let *activations* be signs too. Write $+1$ as bit 1 and $-1$ as bit 0. Two signs differ where the exclusive or
# of their bits is 1; each such pair contributes $-1$ to the dot product, each other one $+1$.
#
# **The formula.** For $K$ signs:
#
# $$\sum_i x_i w_i = K - 2 \cdot \mathrm{popcount}(\text{bits}_x \oplus \text{bits}_w)$$
#
# **Predict.** $x = {+}{-}{+}{+}{-}{-}{+}{+}$ and $w = {+}{+}{+}{-}{-}{-}{-}{+}$: the dot product?

# %%
signs_x, signs_w = np.array([1, -1, 1, 1, -1, -1, 1, 1]), np.array([1, 1, 1, -1, -1, -1, -1, 1])
bits_x, bits_w = (sum(1 << i for i, s in enumerate(signs) if s > 0) for signs in (signs_x, signs_w))
differ = bits_x ^ bits_w
print(f"{bits_x:08b} xor {bits_w:08b} = {differ:08b}: {differ.bit_count()} differ, 8 - 2 * {differ.bit_count()}")

assert 8 - 2 * differ.bit_count() == signs_x @ signs_w == 2, "Three pairs differ: 5 - 3."

# %% [markdown]
# The package's `BinaryLinear` trains such a layer in float, `PackedLinear` runs it with 64 weights in a word.
#
# **Predict.** Do the two give the same numbers, or almost? How many bytes do 256 × 120 weights take?

# %%
from minigrad.compression.binary import BinaryLinear, PackedLinear

binary = BinaryLinear(256, 120)
packed = PackedLinear(binary).eval()
x = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
same = np.array_equal(packed(x).data, binary(x).data)
print(f"the same bits: {same}; {packed.nbytes:,} bytes, float32 {binary.weight.data.nbytes:,}")

assert same, "A sum of signs is an integer: float32 holds it exactly, and both are scaled in the same way."
assert packed.nbytes == 120 * 256 // 8 + 120 * 4, "A bit a weight, and a float32 scale for each output."

# %% [markdown]
# **In short.** xor, count, subtract. The trained layer and the packed one agree in every bit.
#
# **Question.** 250 inputs do not fill whole words of 64 bits. What must the bits that are left over be, so that the formula
# holds with $K = 250$?
#
# **Source.** Rastegari et al. 2016, section 3.2. `minigrad.compression.binary` has LeNet-5 with such layers.

# %% [markdown]
# ## 6. Into the integer engine
#
# **Goal.** Turn the fake quantization into a real one.
#
# **You need.** Notebook 10.
#
# **The idea.** A trained chain knows the format of each weight and activation. That is all the integer engine needs:
# `convert` writes it down in int8, int32, multipliers and shifts.
#
# **Predict.** Of 5,000 images, on how many do the chain in float32 and the integer model disagree? Which integers are the
# weights?

# %%
from minigrad.compression.quantization import convert

for name in ("4, learned", "2, learned", "1, trained"):
    chain = trained[name]
    model = convert(chain)
    predicted = model.predict(held_out.pixels)
    simulated = np.concatenate([chain(held_out.images[i : i + 500]).data.argmax(axis=1) for i in range(0, 5_000, 500)])
    right = 100 * np.mean(predicted == held_out.labels)
    fc1 = next(layer for layer in model.layers if layer.name == "fc1")
    print(
        f"{name:11} {right:.2f} % in integers, {accuracy[name]:.2f} % simulated; {np.sum(predicted != simulated)} differ"
    )
    print("    weights of fc1:", np.unique(fc1.weight))
    assert abs(right - accuracy[name]) < 0.5, "What was trained is what runs."

# %% [markdown]
# The few that differ have two logits nearly alike: biases are rounded to int32, and sums by a multiplier and a shift, which
# the simulation leaves out.
#
# **In short.** `prepare_qat`, `train_qat`, `convert`: from a float network to integers of few bits.
#
# **Question.** The engine holds a 2-bit weight in a byte. What would it take to compute with packed ones?
#
# **Source.** Jacob et al. 2018, figure 1.1.

# %% [markdown]
# ## Summary
#
# - Rounding has the derivative 0. The straight-through estimator passes gradients as if nothing had been rounded, and none
#   where a number is clipped.
# - Float weights are trained; their rounded values are used. Weights swing about the edges of the grid.
# - Training brings back most of what 2 bits and signs cost; at 4 bits there is little to bring back.
# - A learned step finds the range that pays: $\mathrm{round}(v) - v$ inside, the limit where it is clipped.
# - Signs: $\alpha$ is the mean magnitude; drawn signs are right on average; dot products are xor and popcount.
#
# On the command line: `minigrad quantize --bits 2`, `minigrad bits`. Next: notebook 12 puts pruning, codebooks and codes
# together.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: the gradient on paper.** $S = 0.25$, $q$ from $-2$ to $1$, and $L = \sum_i g_i\,\hat x_i$ with the $g$ below.
# Give the straight-through gradient of $L$ with respect to each $x_i$. (Mind what *rounds* to a point inside.)

# %% nbgrader={"grade": false, "grade_id": "11-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
values, g = np.array([-0.7, -0.55, 0.1, 0.3, 0.36, 0.5]), np.array([2.0, 3.0, -1.0, 4.0, 5.0, 6.0])
# gradient = ... six numbers
### BEGIN SOLUTION
gradient = [0.0, 3.0, -1.0, 4.0, 5.0, 0.0]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "11-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("11-1", gradient, values=values, g=g)

# %% [markdown]
# **Exercise 2: which way does the step go?** Four weights share $S = 0.5$, with $q$ from $-1$ to $1$. Give
# $\frac{\partial}{\partial S} \sum_i \frac12 (\hat w_i - w_i)^2$, the gradient of the squared error (the factor
# $1/\sqrt{n\, q_\text{high}}$ left out). Is $S$ too large or too small?

# %% nbgrader={"grade": false, "grade_id": "11-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
weights = np.array([0.1, -0.4, 1.3, 0.9])
# answer = ... (the gradient, "too large" or "too small")
### BEGIN SOLUTION
v = weights / 0.5
q = np.clip(np.round(v), -1, 1)
by_scale = np.where(np.abs(np.round(v)) <= 1, q - v, q)
answer = (np.sum((0.5 * q - weights) * by_scale), "too small")
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "11-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("11-2", answer, weights=weights)

# %% [markdown]
# **Exercise 3: count bits.** Two vectors of 10 signs are packed into words of 16 bits; the six bits left over are 0 in both.
# Give their dot product, from the words alone.

# %% nbgrader={"grade": false, "grade_id": "11-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
a, b = 0b0000001011001101, 0b0000001111101100
# answer = ... an integer, or an expression
### BEGIN SOLUTION
answer = 10 - 2 * (a ^ b).bit_count()
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "11-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("11-3", answer, a=a, b=b)

# %% [markdown]
# ## Sources
#
# - Y. Bengio, N. Léonard, A. Courville, "Estimating or propagating gradients through stochastic neurons", 2013,
#   arXiv:1308.3432.
# - B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
#   2018, arXiv:1712.05877.
# - R. Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: a whitepaper", 2018.
# - S. Esser et al., "Learned step size quantization", ICLR 2020, arXiv:1902.08153.
# - M. Nagel et al., "Overcoming oscillations in quantization-aware training", ICML 2022.
# - M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect", NIPS 2015.
# - I. Hubara et al., "Binarized neural networks", NIPS 2016.
# - M. Rastegari et al., "XNOR-Net", ECCV 2016, arXiv:1603.05279.
# - F. Li, B. Zhang, B. Liu, "Ternary weight networks", 2016, arXiv:1605.04711.
# - The article on distillation: "Deep learning: distillation, pruning, quantization" (in Chinese: 深度学习-蒸馏、剪枝、量化).
# - The article on quantization in practice: "Model compression and acceleration: quantization and pruning of Hugging Face
#   models" (in Chinese: 【模型压缩与加速】:实战Hugging Face模型量化与剪枝技术).
