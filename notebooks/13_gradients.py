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
# # 13 · Gradient compression, and more than one machine
#
# **Goal.** Train on several machines at once, know what they have to send each other, send a thirtieth of it, and say when
# that makes training faster and when slower.
#
# **What you need.** Notebook 04 (training), notebook 09 (rounding to few levels). One section starts two processes, if
# mpi4py is installed (`pip install minigrad-compression[distributed]`); all others need one process. The notebook runs in
# well under a minute on two cores.
#
# The article on distillation names three things to quantize: weights, activations and, "somewhat more of a niche", gradients,
# mainly "to reduce communication in distributed computing". It leaves it at that. Here is the rest.
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
import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

import minigrad
from checks import check
from minigrad import DataLoader, Tensor, evaluate, kernels, parallel
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.figures import BLUE, COLORS, GREEN, GREY, ORANGE
from minigrad.compression.gradients import METHODS, QSGD, Compressor, Sign, TopK, train_simulated
from minigrad.compression.gradients.scaling import wire_bytes
from minigrad.compression.models import LeNet
from minigrad.compression.report import align
from minigrad.datasets import mnist, split_validation
from minigrad.errors import ParallelError
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD, CosineAnnealingLR

# %%
training, held_out = split_validation(mnist("train"))  # 5,000 of the training images are kept aside to compare by
few, loader = training.subset(slice(0, 4_000)), evaluation_loader(held_out)
minigrad.manual_seed(0)
lenet, loss_fn = LeNet(), CrossEntropyLoss()
x, labels = few.images[:64], few.labels[:64]
size = sum(p.data.nbytes for p in lenet.parameters())
print(f"LeNet's gradient: {size // 4:,} numbers, {size:,} bytes, at every step, from every machine")

assert size == 177_704, "44,426 parameters in float32."

# %% [markdown]
# ## 1. Many machines, one batch
#
# **Goal.** See that several machines can take exactly the step that one would take.
#
# **You need.** The gradient of a mean.
#
# **The idea.** Every machine holds the whole model. Each is given a part of the batch (a *shard*) and computes the gradient of
# its own images. The loss of the batch is a mean over images, and so is its gradient. So the machines' gradients have to be
# averaged, and then all take the same step. This is called *data-parallel* training.
#
# **The formula.** $N$ images, machine $k$ has $n_k$ of them, and $g_k$ is the gradient of the mean loss of these:
#
# $$g = \frac1N \sum_{i=1}^{N} \nabla \ell_i = \sum_k \frac{n_k}{N}\, g_k$$
#
# **Predict.** Three machines share 64 images: 21, 21 and 22. How far is the weighted mean from the whole batch's gradient? How
# far is the plain mean, $\frac13 \sum g_k$? And what if the shards have 4, 12 and 48 images?

# %%
cuts = {
    "whole batch": [slice(0, 64)],
    "21, 21, 22": [parallel.part(64, rank, 3) for rank in range(3)],
    "4, 12, 48": [slice(0, 4), slice(4, 16), slice(16, 64)],
}
gradients = {}
for words, shards in cuts.items():
    gradients[words] = []
    for shard in shards:
        lenet.zero_grad()
        loss_fn(lenet(Tensor(x[shard])), labels[shard]).backward()
        gradients[words].append(np.concatenate([p.grad.reshape(-1) for p in lenet.parameters()]))
whole = gradients["whole batch"][0]
for words in ("21, 21, 22", "4, 12, 48"):
    shares = np.float32([len(labels[shard]) / 64 for shard in cuts[words]])
    weighted, plain = shares @ gradients[words], np.mean(gradients[words], axis=0)
    far = [np.abs(mean - whole).max() for mean in (weighted, plain)]
    print(f"{words:11}: the weighted mean is off by {far[0]:.1e}, the plain mean by {far[1]:.1e}")
    assert far[0] < 1e-7, "Only float32's rounding is left."
    assert far[1] > 1e-4, "The plain mean counts an image of a small shard for more."
print(f"the largest number in the gradient is {np.abs(whole).max():.1e}")

# %% [markdown]
# The plain mean is the usual mistake. It looks right as long as all shards are equal, and nothing crashes when they are not:
# at the end of an epoch, say, when four images are left for three machines. `ShardedLoader` gives each process its part;
# `Team` weighs it.
#
# **Predict.** An epoch of 10 images, in batches of 6, on 3 machines. Who gets how many?

# %%
seen = []
for rank in range(3):
    shards = parallel.ShardedLoader(rank, 3, x[:10], np.arange(10), batch_size=6, shuffle=True, seed=0)
    parts = [targets.tolist() for _, targets in shards]
    print(f"machine {rank}: images", *parts)
    seen.extend(np.concatenate(parts).tolist())

assert sorted(seen) == list(range(10)), "Every image once, none twice."

# %% [markdown]
# **In short.** Weighted by images, the mean of the machines' gradients is the gradient of the whole batch.
#
# **Questions.**
# 1. Which layer would break this equality? (One that looks at the batch as a whole.)
# 2. Each of 8 machines gets 64 images of its own a step. With which batch size must one compare?
#
# **Source.** `minigrad.parallel`; J. Dean et al. 2012 for the history.

# %% [markdown]
# ## 2. All-reduce by hand
#
# **Goal.** Count what it takes until *every* machine knows the sum.
#
# **You need.** Addition.
#
# **The idea.** If all send everything to one machine, that one's link is the bottleneck. So share the adding out: cut the
# gradient into as many parts as there are machines. Machine $j$ receives part $j$ of all others and adds it up; then it sends
# the sum to all others. Two phases, and every link is used alike.
#
# **The formula.** With $K$ machines and a gradient of $n$ bytes, each machine sends in each phase $K - 1$ messages of $n / K$
# bytes:
#
# $$\text{sent by a machine} = 2\, \frac{K - 1}{K}\, n \;<\; 2 n$$
#
# **By hand**, $K = 3$ and 6 numbers a machine, so two a part. The first has 1 to 6, the second ten times, the third a hundred
# times as much, so that one can see in a number whose it is.
#
# **Predict.** What does the second machine know after the first phase? How many numbers has each machine sent in the end?

# %%
K, start = 3, np.outer([1, 10, 100], np.arange(1, 7))
known, sent = start.reshape(K, K, 2).copy(), 0  # (machine, part, number)
for j in range(K):  # first phase: everybody's part j goes to machine j
    known[j, j] = start.reshape(K, K, 2)[:, j].sum(axis=0)
    sent += 2 * (K - 1)
middle = known.reshape(K, 6).copy()
for j in range(K):  # second phase: machine j tells the others
    known[:, j] = known[j, j]
    sent += 2 * (K - 1)

figure = Figure(figsize=(9, 2.1), layout="constrained")
stages = {"Before": start, "After the first phase": middle, "After the second": known.reshape(K, 6)}
for ax, (title, table) in zip(figure.subplots(1, 3), stages.items(), strict=True):
    ax.pcolormesh(table % 111 == 0, cmap="Blues", vmin=0, vmax=1.6, edgecolors="white", linewidth=2)
    for (row, column), number in np.ndenumerate(table):
        ax.text(column + 0.5, row + 0.5, number, ha="center", va="center", fontsize=10)
    ax.set(title=title, xticks=[1, 3, 5], xticklabels=["part 0", "part 1", "part 2"], yticks=[])
    ax.invert_yaxis()
figure.axes[0].set_yticks([0.5, 1.5, 2.5], ["machine 0", "1", "2"])
display(figure)
print(f"each machine has sent {sent // K} numbers")

# %%
print("bytes that a machine sends, for LeNet:", {k: round(wire_bytes(size, k, added=True)) for k in (2, 3, 8, 256)})

assert (known.reshape(K, 6) == start.sum(axis=0)).all(), "All know the whole sum."
assert sent // K == 2 * (K - 1) * 6 / K == wire_bytes(6, K, added=True), "8 numbers, as the formula says."

# %% [markdown]
# Whether 2 machines or 256: never more than two gradients. That is the mark to beat, and it depends on one thing: sums can be
# formed *on the way*.
#
# **In short.** All-reduce: $2 n (K - 1) / K$ bytes a machine, nearly independent of $K$.
#
# **Questions.**
# 1. One server collects all gradients and sends the mean back. What does *its* link carry with $K = 256$?
# 2. `all_reduce` adds in the order of ranks, on every machine. What would go wrong if each added in an order of its own?
#
# **Source.** Patarasuk and Yuan 2009.

# %% [markdown]
# ## 3. Signs, and what they leave out
#
# **Goal.** Send one bit a number, and lose nothing.
#
# **You need.** Vectors of two numbers.
#
# **The idea.** Send only the sign of each number, and one magnitude for all: their mean. That is wrong at every step, and
# wrong in the same way each time. *Error feedback*: the worker keeps what its message left out and adds it to the next
# gradient.
#
# **The formula.** With $C(v) = \operatorname{mean}|v| \cdot \operatorname{sign}(v)$ and a residual $r_0 = 0$:
#
# $$v_t = g_t + r_t, \qquad \text{send } C(v_t), \qquad r_{t+1} = v_t - C(v_t)$$
#
# Add that up over all steps, and the residuals cancel but for the last one (the sum *telescopes*):
#
# $$\sum_{t<T} C(v_t) + r_T = \sum_{t<T} g_t$$
#
# **By hand.** The gradient is $(3, 1)$ at every step. Mean magnitude 2, both signs +: send $(2, 2)$. Left out: $(1, -1)$.
# Next, $(3, 1) + (1, -1) = (4, 0)$: send $(2, 2)$ again, as 0 counts as +. Left out: $(2, -2)$.
#
# **Predict.** What is the third message? Where does one stand after 12 steps, with and without feedback?

# %%
g, paths = np.float32([3, 1]), {}
for feedback in (False, True):
    worker = Compressor(Sign(), error_feedback=feedback)
    messages = [worker.decompress("w", [worker.compress("w", g, step)], (2,)) for step in range(12)]
    paths[feedback] = np.cumsum([[0, 0], *messages], axis=0)
    print(f"feedback {feedback!s:5}: messages", *(m.astype(int).tolist() for m in messages[:6]), "...")

assert np.array_equal(paths[True][-1] + worker.residuals["w"], 12 * g), (
    "Sent + residual = sum of the gradients, exactly."
)

figure = Figure(figsize=(6.4, 4), layout="constrained")
ax = figure.subplots()
ax.plot(*np.outer(g, [0, 12]), color=GREY, linestyle="--", label="sum of the gradients")
ax.plot(*paths[False].T, "o-", color=ORANGE, label="sum of the messages, signs alone")
ax.plot(*paths[True].T, "s-", color=BLUE, label="with error feedback")
ax.set(xlabel="first number", ylabel="second number", title="12 steps of the gradient (3, 1)", ylim=(-1, 32))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

# %% [markdown]
# Signs alone walk at 45°, whatever the gradient. With feedback the path goes to and fro, but never far from the right one.
#
# A real gradient is cut into buckets of 512 numbers, each with a scale of its own: 4 bytes for the scale and 64 for the signs,
# 30 times fewer than in float32. `train_simulated` trains as $K$ machines would, in one process.
#
# **Predict.** LeNet, two workers, 189 steps, plain SGD. How do the loss curves lie: no compression, signs with feedback, signs
# alone? Then with momentum 0.9: the same order?

# %%
losses = {}
for momentum, lr in ((0.0, 0.05), (0.9, 0.02)):
    runs = {
        "not compressed": ("none", {}),
        "signs, feedback": ("sign", {}),
        "signs alone": ("sign", {"error_feedback": False}),
    }
    for words, (method, options) in runs.items():
        minigrad.manual_seed(0)
        model = LeNet()
        batches = DataLoader(few.images, few.labels, 64, shuffle=True, seed=0)
        sgd = SGD(model.parameters(), lr, momentum)
        run = train_simulated(model, batches, loss_fn, sgd, method, workers=2, epochs=3, **options)
        losses[momentum, words] = np.convolve(run.losses, np.ones(20) / 20, "valid")
        last, right = losses[momentum, words][-1], evaluate(model, loader)
        print(
            f"momentum {momentum}, {words:15}: {run.bytes_sent[0]:9,.0f} bytes a step, loss {last:.2f}, {right:.1f} %"
        )

assert losses[0.0, "signs, feedback"][-1] < losses[0.0, "signs alone"][-1] - 0.2, "Feedback helps plain SGD."
assert losses[0.9, "signs, feedback"][-1] > losses[0.9, "signs alone"][-1], "With so much momentum, here, it does not."

# %%
figure = Figure(figsize=(9, 3.4), layout="constrained")
for ax, momentum in zip(figure.subplots(1, 2, sharey=True), (0.0, 0.9), strict=True):
    for words, color, style in zip(runs, (GREY, BLUE, ORANGE), ("--", "-", "-."), strict=True):
        values = losses[momentum, words]
        ax.plot(np.arange(20, 20 + len(values)), values, color=color, linestyle=style, label=words)
    ax.set(xlabel="step", title=f"momentum {momentum}", ylim=(0, 2.5))
    ax.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("loss (nats, mean of 20 steps)")
figure.axes[1].legend(fontsize=9)
display(figure)

# %% [markdown]
# On the left, feedback makes up for nearly everything that signs lose. On the right it does harm. A likely reason: a residual
# is old when it is sent, and momentum goes on following it for ten more steps. So late gradients and strong momentum do not go
# well together; a learning rate that falls in the end helps (section 7). We tried three seeds: the order was the same in each.
#
# **In short.** Feedback makes late what would be lost. It is not free of charge: late is not on time.
#
# **Questions.**
# 1. Could one send signs with a *random* rounding instead, right on average? What would the magnitude have to be? (Section 4.)
# 2. What must a checkpoint hold, besides the model and the optimizer's state?
#
# **Source.** Seide et al. 2014; Karimireddy et al. 2019.

# %% [markdown]
# ## 4. QSGD: wrong each time, right on average
#
# **Goal.** Round so that errors cancel, without remembering anything.
#
# **You need.** A coin. The standard error of a mean.
#
# **The idea.** Rounded to the *nearest* level, a number is always wrong by the same amount. Rounded *at random*, up as often as
# it is near the level above, it is right on average. And there is always an average: over $K$ machines, and over steps.
#
# **The formula.** Norm $\lVert g \rVert$, $s$ levels, $a = s\, |g_i| / \lVert g \rVert$:
#
# $$Q(g_i) = \operatorname{sign}(g_i)\, \frac{\lVert g \rVert}{s}\, q, \qquad
# q = \begin{cases} \lfloor a \rfloor + 1 & \text{with probability } a - \lfloor a \rfloor \\
# \lfloor a \rfloor & \text{otherwise} \end{cases} \qquad\Rightarrow\qquad E[Q(g_i)] = g_i$$
#
# **By hand.** $g = (3, 0, -4)$, norm 5, $s = 4$: for 3, $a = 2.4$, so 2 with probability 0.6 and 3 with 0.4. The mean:
# $\frac54 (0.6 \cdot 2 + 0.4 \cdot 3) = 3$.
#
# **Predict.** Below, the first of four numbers is 0.6; the norm is 2.11. Which values do 2,000 draws take with $s = 1$? With
# $s = 16$? Which is the mean?

# %%
g, rng, draws = np.float32([0.6, -0.3, 0.1, 2.0]), np.random.default_rng(0), {}
figure = Figure(figsize=(9, 2.9), layout="constrained")
for ax, s in zip(figure.subplots(1, 3, sharex=True, sharey=True), (1, 4, 16), strict=True):
    codec = QSGD(levels=s)
    draws[s] = np.array([codec.decode(codec.encode(g, rng), 4)[0] for _ in range(2_000)])
    mean, error = draws[s].mean(), draws[s].std() / math.sqrt(2_000)
    ax.hist(draws[s], bins=np.linspace(-0.05, 2.25, 47), color=BLUE)
    ax.axvline(0.6, color="black", linestyle="--", label="the number, 0.6")
    ax.set(xlabel="what is received", title=f"s = {s}: mean {mean:.3f} ± {error:.3f}")
    ax.spines[["top", "right"]].set_visible(False)
    assert abs(mean - 0.6) < 4 * error, "Within four standard errors of the number itself."
figure.axes[0].set_ylabel("of 2,000 draws")
figure.axes[0].legend(fontsize=9)
display(figure)

# %% [markdown]
# **Predict.** The root mean square of the error, with $s = 4$, when $K$ machines that have the same number average it: what
# happens if $K$ grows fourfold? And with rounding to the nearest level?

# %%
K = 2 ** np.arange(9)
errors = [np.sqrt(np.mean((draws[4][: 2_000 // k * k].reshape(-1, k).mean(axis=1) - 0.6) ** 2)) for k in K]
step = np.linalg.norm(g) / 4
nearest = abs(step * round(0.6 / step) - 0.6)

figure = Figure(figsize=(6.4, 3.2), layout="constrained")
ax = figure.subplots()
ax.loglog(K, errors, "o-", base=2, color=BLUE, label="rounded at random, averaged")
ax.loglog(K, errors[0] / np.sqrt(K), color="black", linestyle=":", base=2, label="$1 / \\sqrt{K}$")
ax.axhline(nearest, color=ORANGE, linestyle="--", label="rounded to the nearest level")
ax.yaxis.set_major_formatter("{x:.3f}")
ax.set(xlabel="machines, K", ylabel="error (RMS)", title="Random errors cancel, equal errors do not")
ax.set_xticks(K, [str(k) for k in K])
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

assert np.allclose(errors * np.sqrt(K), errors[0], rtol=0.5), "One over the square root of K."
assert errors[0] > nearest > errors[-1], "Alone, the nearest level is the better choice; among many, chance is."

# %% [markdown]
# **In short.** $E[Q(g)] = g$; the price is noise, and averaging makes it small. TernGrad is the case $s = 1$ with the largest
# magnitude instead of the norm; our int8 has $s = 127$.
#
# **Questions.**
# 1. Why does QSGD need no residual, and `float16`, which rounds to the nearest, none in practice?
# 2. All machines draw with the *same* seed. What becomes of the blue line?
#
# **Source.** Alistarh et al. 2017; Wen et al. 2017.

# %% [markdown]
# ## 5. Elias's code: whole numbers without a table
#
# **Goal.** Write small numbers in few bits, though nobody knows the largest.
#
# **You need.** Binary numbers. Notebook 12's Huffman code, to compare.
#
# **The idea.** With 16 levels $q$ would take 5 bits, and a sign. But the norm of 512 numbers is far above each of them: nearly
# all $q$ are 0, 1 or 2. A Huffman code would need its table in every message. Elias's needs none: write the number in binary;
# before it, how many digits it has, less one, *in the same way*; go on until that is 1. A 0 at the end.
#
# **By hand**, 10: in binary `1010`. It has 4 digits, so write 3 before it: `11`. That has 2 digits, less one is 1: stop. At the
# end `0`. Together `11 1010 0`.
#
# **Predict.** 1, 2, 3 and 4 on paper. And 17?

# %%
from minigrad.compression.gradients import elias

for whole_number in (1, 2, 3, 4, 10, 17):
    number, code = whole_number, "0"
    while number > 1:
        code = f"{number:b} {code}"
        number = len(f"{number:b}") - 1
    print(f"{whole_number:3}: {code}")
    bits = np.unpackbits(np.frombuffer(elias.encode([whole_number]), np.uint8), bitorder="little")
    written = "".join(str(bit) for bit in bits[: elias.code_length(whole_number)])
    assert code.replace(" ", "") == written, "What the codec writes."
assert elias.decode(elias.encode([1, 17, 3]), 3)[0].tolist() == [1, 17, 3], "Read without separators."

# %% [markdown]
# A reader begins with 1. If the next bit is 1, it is the first digit of a number of that many digits and one more; if it is 0,
# the number is done. For a gradient, QSGD leaves zeros out and writes for the others the *distance* from the one before, the
# magnitude, and the sign.
#
# **Predict.** The gradient of LeNet, 44,426 numbers. int8, with 127 levels, takes 44,798 bytes. And QSGD with 127 levels, whose
# integers are as large? With 16? What becomes of the error?

# %%
rows = [["levels s", "bytes", "of float32", "squared error, of |g|²", "not zero"]]
messages, inside = {}, []
for s in (1, 4, 16, 64, 127):
    codec = QSGD(levels=s)
    messages[s] = codec.encode(whole, rng)
    received = codec.decode(messages[s], whole.size)
    error = np.sum((received - whole) ** 2) / np.sum(whole**2)
    inside.append(error <= min(512 / s**2, math.sqrt(512) / s))
    few_left = f"{100 * np.mean(received != 0):.1f} %"
    rows.append([str(s), f"{len(messages[s]):,}", f"{len(messages[s]) / size:.3f}", f"{error:.3f}", few_left])
print(align(rows))

assert all(inside), "The paper's bound: min(n / s², sqrt(n) / s), for buckets of n = 512."
assert len(messages[1]) < len(messages[16]) < size / 8, "Fewer levels, more zeros, fewer bytes."

# %%
codec = QSGD(levels=16)
bucket = np.sqrt(np.sum(np.pad(whole, (0, -whole.size % 512)).reshape(-1, 512) ** 2, axis=1)).repeat(512)[: whole.size]
q = np.abs(np.rint(16 * codec.decode(messages[16], whole.size) / bucket)).astype(int)
shares = np.bincount(q, minlength=7)[:7] / q.size
numbers = range(1, 25)
figure = Figure(figsize=(9, 3), layout="constrained")
left, right = figure.subplots(1, 2)
left.bar(np.arange(7), 100 * shares, color=BLUE)
left.set(xlabel="magnitude q", ylabel="share (%, log)", yscale="log", title="What QSGD has to write, s = 16")
left.yaxis.set_major_formatter("{x:g}")
right.step(numbers, [elias.code_length(n) for n in numbers], where="mid", color=ORANGE, label="Elias")
right.axhline(5, color=GREY, linestyle="--", label="5 bits, for 1 to 32")
right.set(xlabel="number", ylabel="bits of its code", title="Small numbers, short codes")
right.legend(fontsize=9)
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
display(figure)
print(
    f"{100 * shares[0]:.1f} % are zero and cost nothing; of the others, {100 * shares[1] / shares[1:].sum():.0f} % are 1"
)

# %% [markdown]
# **In short.** Frequent small numbers, rare large ones, no table: Elias.
#
# **Question.** For which distribution of numbers would Elias's code be as good as Huffman's? (A code of $\ell$ bits suits a
# probability of $2^{-\ell}$.)
#
# **Source.** Elias 1975; Alistarh et al. 2017, section 3.2.

# %% [markdown]
# ## 6. Top-k: few numbers at a time
#
# **Goal.** Send the largest numbers only, and see when the others get their turn.
#
# **You need.** Section 3's residual.
#
# **The idea.** Most of a gradient is small. Send the $k$ largest numbers and where they are; all others wait in the residual.
# There they pile up, until they are among the largest themselves. So nothing is dropped: a number that is $m$ times smaller is
# sent about $m$ times more rarely, with $m$ steps' worth in it.
#
# **Predict.** 24 numbers, the largest on top, with some noise; two are sent a step. What will the picture of 60 steps look
# like?

# %%
rng = np.random.default_rng(0)
typical = np.sort(rng.exponential(size=24))[::-1]
worker, sent, total = Compressor(TopK(ratio=2 / 24)), np.zeros((60, 24)), np.zeros(24)
for step in range(60):
    g = (typical + 0.2 * rng.normal(size=24)).astype(np.float32)
    total += g
    sent[step] = worker.decompress("w", [worker.compress("w", g, step)], (24,))

figure = Figure(figsize=(9, 4), layout="constrained")
ax, side = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
picture = ax.imshow(np.where(sent, sent, np.nan).T, aspect="auto", cmap="viridis_r", interpolation="nearest")
figure.colorbar(picture, ax=ax, label="what is sent")
ax.set(xlabel="step", ylabel="number (coordinate)", title="Two of 24 numbers a step", facecolor="#f2f2f2")
side.barh(np.arange(24), (sent != 0).sum(axis=0), color=BLUE)
side.set(xlabel="times sent")
side.spines[["top", "right"]].set_visible(False)
display(figure)

never = np.count_nonzero((sent != 0).sum(axis=0) == 0)
print(f"never sent: {never} numbers; they hold {100 * total[-never:].sum() / total.sum():.1f} % of the sum")
assert np.allclose(sent.sum(axis=0) + worker.residuals["w"], total, rtol=0, atol=1e-12), "Nothing is lost."
assert (sent != 0).sum() == 120, "Two a step."

# %% [markdown]
# The largest number goes first, and most often. Smaller ones wait longer and bring more of themselves along.
#
# **Momentum** comes off badly here, as in section 3: the optimizer would see a number once in fifty steps, fifty times as
# large, and follow that. *Deep Gradient Compression* takes the momentum *before* numbers are left out, in each worker, and
# forgets it where a number was sent:
#
# $$u \leftarrow \mu u + g, \qquad v \leftarrow v + u, \qquad \text{send the largest of } v; \text{ there } u = v = 0$$
#
# In our package that is `momentum=0.9` for the compressor, and then none for SGD. A *warm-up* sends more in the
# beginning: 25 %, then 6, 1.6 and 0.4 %.
#
# **Predict.** Top-k sends 1 % of the numbers. What share of the bytes is that?

# %%
message = TopK(ratio=0.01).encode(whole, np.random.default_rng(0))
count = round(0.01 * whole.size)
places = len(message) - 4 * count
print(f"{count} of {whole.size:,} numbers: {len(message):,} bytes, {100 * len(message) / size:.2f} % of float32;")
print(f"{places:,} bytes say where they are, {8 * places / count:.1f} bits each")

assert len(message) / size > 0.01, "Places cost bits as well."

# %% [markdown]
# **In short.** The largest $k$ now, the others later; momentum before, not after.
#
# **Question.** Two machines send *different* places. How many numbers does their mean have? And that of 256 machines, at 1 %
# each?
#
# **Source.** Lin et al. 2018.

# %% [markdown]
# ## 7. Accuracy against bytes
#
# **Goal.** Compare all methods by what counts: what was learned, for how many bytes.
#
# **You need.** Sections 3 to 6.
#
# **The idea.** The same LeNet, seed, images and number of steps for all; two workers; a learning rate that falls to 0. Bytes
# are counted as sent: scales, places and counts included.
#
# **Predict.** 252 steps on 4,000 images. Which methods end within a point of the uncompressed run? Which fall behind?

# %%
found = {}
for method in METHODS:
    options = {"momentum": 0.9, "ratio": 0.01} if method == "topk" else {}
    minigrad.manual_seed(0)
    model, curve = LeNet(), []
    batches = DataLoader(few.images, few.labels, 64, shuffle=True, seed=0)
    sgd = SGD(model.parameters(), 0.02, momentum=0 if options else 0.9)
    run = train_simulated(
        model, batches, loss_fn, sgd, method, workers=2, epochs=4, schedule=CosineAnnealingLR(sgd, 4 * len(batches)),
        after_epoch=lambda epoch, model=model, curve=curve: curve.append(evaluate(model, loader)), **options,
    )  # fmt: skip
    found[method] = (np.cumsum(run.bytes_sent)[len(batches) - 1 :: len(batches)], curve, np.mean(run.bytes_sent))
rows = [["method", "bytes a step", "of float32", "held-out images (%)", "of them after 1 epoch"]]
for method, (_, curve, step_bytes) in found.items():
    rows.append([method, f"{step_bytes:,.0f}", f"{step_bytes / size:.4f}", f"{curve[-1]:.2f}", f"{curve[0]:.2f}"])
print(align(rows))

best = found["none"][1][-1]
assert all(abs(found[method][1][-1] - best) < 1 for method in ("float16", "int8", "qsgd", "terngrad")), (
    "Right on average, or nearly exact."
)
assert found["sign"][2] < 0.04 * size, "A bit a number, and the scales."

# %%
figure = Figure(figsize=(8, 4.2), layout="constrained")
ax = figure.subplots()
styles = zip(COLORS, ("o-", "s--", "^-", "D--", "v-", "<--", "P-"), strict=False)
for (method, (sent, curve, _)), (color, style) in zip(found.items(), styles, strict=True):
    ax.plot(sent / 1e6, 100 - np.array(curve), style, color=color, label=method)
ax.set(xscale="log", yscale="log", xlabel="sent by a worker so far (million bytes, log)")
ax.set(ylabel="errors on held-out images (%, log)", title="LeNet, 2 workers, 4,000 images; a point an epoch")
ax.xaxis.set_major_formatter("{x:g}")
ax.yaxis.set_major_formatter("{x:g}")
ax.yaxis.set_minor_formatter("{x:g}")
ax.grid(alpha=0.3, which="both")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

# %% [markdown]
# Further left is cheaper, further down is better. Methods that are right on average (and float16, which is nearly exact) end
# where the uncompressed run ends, QSGD for less than a twentieth of the bytes. Sign and top-k fall behind at first, as their
# gradients come late; in 252 steps there is little time to catch up. But for half a million bytes nothing else has learned as
# much as top-k. One seed and 4,000 images show a tendency, not a ranking. The study with 55,000 images and several seeds is
# `minigrad gradients`; this is what it recorded:

# %%
from minigrad.compression import gradient_study

recorded = Path("../results/gradients.json")
if recorded.exists():
    report = json.loads(recorded.read_text())
    print(gradient_study.as_table(report))
    display(gradient_study.plot(report))
else:
    print("Skipped: results/gradients.json is not there; `minigrad gradients` makes it.")

# %% [markdown]
# **In short.** Several times fewer bytes cost hardly anything; a hundred times fewer cost time to learn.
#
# **Questions.**
# 1. A method needs 10 % more steps to the same accuracy and a thirtieth of the bytes. On which link is it faster?
# 2. Why would it be wrong to choose between the methods by their accuracy on the test images?
#
# **Source.** `minigrad.compression.gradient_study`.

# %% [markdown]
# ## 8. When does it pay?
#
# **Goal.** Predict the time of a step on $K$ machines.
#
# **You need.** Section 2's formula.
#
# **The idea.** Compressed messages cannot be added up on the way: the sum of two lists of signs is no list of signs. So each
# message must go to *everybody*, and everybody decodes *all* of them. What was saved per message is paid $K - 1$ times.
#
# **The formula.** With $n$ bytes uncompressed, a message $c$ times smaller, latency $L$ and rate $R$ of a link:
#
# $$t_\text{plain} = t_\text{compute} + \frac{2 (K - 1)}{K} \frac{n}{R} + 4 L \lceil\log_2 K\rceil$$
#
# $$t_\text{coded} = t_\text{compute} + t_\text{encode} + K\, t_\text{decode} + (K - 1) \frac{n}{c\, R}
# + 4 L \lceil\log_2 K\rceil$$
#
# Fewer bytes are sent only as long as $(K - 1) / c < 2 (K - 1) / K$, that is
#
# $$K < 2 c$$
#
# **Predict.** int8 has $c \approx 4$, signs $c \approx 30$. To how many machines do they save bytes at all?

# %%
K = np.arange(2, 257)
figure = Figure(figsize=(6.4, 3.6), layout="constrained")
ax = figure.subplots()
for method, color, style in (("none", GREY, "-"), ("int8", BLUE, "--"), ("sign", GREEN, "-."), ("topk", "black", ":")):
    sent = np.array([wire_bytes(found[method][2], k, method == "none") for k in K])
    cheaper = K[sent < [wire_bytes(size, k, True) for k in K]]
    ax.plot(K, sent / 1e6, color=color, linestyle=style, label={"topk": "topk, 1 %"}.get(method, method))
    print(
        f"{method:5} {size / found[method][2]:5.1f} times smaller; fewer bytes on the wire up to {cheaper.max(initial=0)}"
    )
    if method != "none":
        assert cheaper.max() == min(256, math.ceil(2 * size / found[method][2]) - 1), "K < 2 c."
ax.set(xscale="log", yscale="log", xlabel="machines", ylabel="sent by a machine in a step (MB, log)")
ax.set_xticks(2 ** np.arange(1, 9), [str(k) for k in 2 ** np.arange(1, 9)])
ax.set_title("Messages that cannot be added up")
ax.yaxis.set_major_formatter("{x:g}")
ax.minorticks_off()
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

# %% [markdown]
# Now with times. The cell measures on *your* machine what a step of LeNet takes (64 images, one thread), and encoding and
# decoding by each method (top-k now with 0.1 %), and predicts for a slow link and a fast one. The assumptions stand at the top
# of `compression/gradients/scaling.py`; two of them: nothing overlaps, and the switch is never the bottleneck.
#
# **Predict.** 8 machines over 100 Mbit/s: how many times as fast as one, without compression? With signs? And over 10 Gbit/s?

# %%
from minigrad.compression.gradients.scaling import (
    Link,
    as_table,
    measure_compute,
    measure_costs,
    plot_scaling,
    step_seconds,
)

links = {"100 Mbit/s": Link(latency=100e-6, rate=100e6 / 8), "10 Gbit/s": Link(latency=50e-6, rate=10e9 / 8)}
threads = kernels.get_num_threads()
kernels.set_num_threads(1)
some = training.subset(slice(64 * 30))
compute = measure_compute(LeNet(), DataLoader(some.images, some.labels, 64, shuffle=True, seed=0))
costs = {method: measure_costs(LeNet(), x, labels, method, compute, repeats=10) for method in METHODS}
kernels.set_num_threads(threads)
print(as_table(costs, links))
figure = plot_scaling(costs, links)
for ax in figure.axes[1:]:
    ax.set_yticks([2.0**e for e in range(-3, 9)], ["1/8", "1/4", "1/2", *(str(2**e) for e in range(9))])
    ax.set_ylim(0.1, 300)  # over the slow link, many machines can be slower than one
display(figure)

# %% [markdown]
# Times are your machine's, so this text cannot know them; but the shape is the same everywhere. Over the slow link, sending
# takes longer than computing: without compression, a few machines can be *slower* than one. Methods with $K$ far below $2c$
# win. As machines are added their lines bend: their bytes grow with $K$, those without compression do not.
#
# Over the fast link there is little to be saved. LeNet is *small*: its 178 kB take 0.14 ms at 10 Gbit/s. Compare that with the
# columns "encode" and "decode one", and remember that $K$ messages are decoded. That is the honest result for this network: on
# a fast wire, leave it.
#
# Is the model right? `make slow-link` gives processes TCP links slowed to 100 Mbit/s, measures, and compares:

# %%
recorded = Path("../results/slow_link.json")
if recorded.exists():
    rows = [["machines", "method", "predicted (ms)", "measured (ms)", "ratio"]]
    for row in json.loads(recorded.read_text())["steps"]:
        times = [f"{1e3 * row[f'{name} (s)']:.1f}" for name in ("predicted", "measured")]
        rows.append([str(row["machines"]), row["method"], *times, f"{row['ratio']:.2f}"])
    print(align(rows))
else:
    print("Skipped: results/slow_link.json is not there; `make slow-link` makes it.")

# %% [markdown]
# **The formula.** Both times are equal at the rate
#
# $$R^* = \frac{2 n (K - 1) / K - (K - 1)\, n / c}{t_\text{encode} + K\, t_\text{decode}}$$
#
# A slower link than that: compression pays. A faster one: it does not.
#
# **Predict.** How does $R^*$ change with $K$? Where does it reach 0?

# %%
figure = Figure(figsize=(7, 3.8), layout="constrained")
ax = figure.subplots()
for method, color, marker in (("int8", BLUE, "o"), ("sign", GREEN, "D"), ("qsgd", ORANGE, "v"), ("topk", "black", "P")):
    c, name = costs[method], {"topk": "topk, 0.1 %"}.get(method, method)
    saved = np.array([wire_bytes(size, k, True) - wire_bytes(c.sent, k, False) for k in K])
    rate = np.maximum(saved, 0) / (c.encode + K * c.decode)
    seconds = [sum(step_seconds(costs[way], Link(0, rate[0]), 2).values()) for way in ("none", method)]
    assert np.isclose(*seconds), "At this rate both ways take the same time: here, 2 machines."
    ax.loglog(K[rate > 0], 8e-6 * rate[rate > 0], color=color, marker=marker, markevery=0.12, label=name)
for rate, words in ((100, "100 Mbit/s"), (1_000, "1 Gbit/s"), (10_000, "10 Gbit/s")):
    ax.axhline(rate, color=GREY, linestyle=":", linewidth=1)
    ax.text(1, rate * 1.08, words, fontsize=9, color=GREY)
ax.set(
    xlabel="machines",
    ylabel="break-even rate (Mbit/s, log)",
    title="Below its line a method pays (LeNet, this machine)",
)
ax.set(
    xlim=(0.95, 300), ylim=(5, 20_000), xticks=2 ** np.arange(1, 9), xticklabels=[str(k) for k in 2 ** np.arange(1, 9)]
)
ax.yaxis.set_major_formatter("{x:g}")
ax.minorticks_off()
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9, loc="lower left")
display(figure)

# %% [markdown]
# A network with many more parameters for each multiplication, such as one with large linear layers, shifts nothing in this
# picture: bytes and codec times grow alike. What would shift it is a faster codec, or messages that *can* be added up on the
# way, as those of PowerSGD (Vogels et al. 2019). With these codecs, in NumPy, compression is for slow links and few machines.
#
# **In short.** $K < 2c$ or it cannot pay; below $R^*$ it does.
#
# **Questions.**
# 1. Encoding of layer 5 could run while layer 4's gradients are computed. Which terms of the formula would become a maximum
#    instead of a sum?
# 2. The article says that quantized gradients also save time in the backward pass on a *single* machine. Do the methods of this
#    notebook? What would have to be computed in int8 for that? (`minigrad int8-backward` tries it.)
#
# **Source.** `minigrad scaling`; `tools/slow_link.py`.

# %% [markdown]
# ## 9. Two processes, in earnest
#
# **Goal.** Start two processes that train one LeNet.
#
# **You need.** mpi4py. Without it the cell says so.
#
# **The idea.** Both processes run the *same* program. Each asks for its number, its *rank*, and takes its part of every batch.
# `mpiexec` starts them, on one machine or on many. Here is the whole program; what is special in it has `parallel` or `comm`
# in it.

# %%
program = """
import json, sys
import numpy as np
import minigrad
from minigrad import nn, optim, parallel
from minigrad.compression.gradients import compressor
from minigrad.compression.gradients.exchange import CompressedExchange
from minigrad.compression.models import LeNet

comm = parallel.world()
with parallel.ending_together(comm), np.load(sys.argv[1]) as data:
    for method in ("none", "sign"):
        minigrad.manual_seed(comm.rank)  # at first, each process has another LeNet
        model = LeNet()
        loader = parallel.ShardedLoader(comm.rank, comm.size, data["x"], data["labels"], 64, shuffle=True, seed=0)
        exchange = None if method == "none" else CompressedExchange(comm, compressor(method, rank=comm.rank))
        team, sgd = parallel.Team(comm, exchange), optim.SGD(model.parameters(), lr=0.05)
        losses = minigrad.fit(model, loader, nn.CrossEntropyLoss(), sgd, epochs=3, team=team)
        sums = comm.gather(parallel.checksum(model.fc1.weight.data))
        sent = comm.gather(team.exchange.bytes_sent)
        if comm.rank == 0:
            print(json.dumps({"method": method, "losses": losses, "checksums": sums, "bytes": sent}))
"""

# %% [markdown]
# **Predict.** 1,000 images make 16 steps an epoch, the last one with 40 images. How do the losses of two processes compare with
# those of one process that sees whole batches? And the checksums of the two models, which began differently?

# %%
minigrad.manual_seed(0)
model, thousand = LeNet(), few.subset(slice(0, 1_000))
batches = DataLoader(thousand.images, thousand.labels, 64, shuffle=True, seed=0)
alone = minigrad.fit(model, batches, loss_fn, SGD(model.parameters(), lr=0.05), epochs=3)
print("one process:               ", np.round(alone, 6))
lines = []
with tempfile.TemporaryDirectory() as folder:
    np.savez(Path(folder) / "data.npz", x=thousand.images, labels=thousand.labels)
    (Path(folder) / "two.py").write_text(program)
    command = [sys.executable, str(Path(folder) / "two.py"), str(Path(folder) / "data.npz")]
    try:
        code, _ = parallel.launch(command, 2, {"NUMBA_NUM_THREADS": "1"}, lines.append)
        assert code == 0, f"mpiexec ended with {code}; what went wrong is printed above."
    except ParallelError as error:
        print(f"Skipped: {error}.")
for two in map(json.loads, lines):
    print(f"two processes, method {two['method']}: ", np.round(two["losses"], 6))
    print(f"    checksums of the models {two['checksums']}, bytes sent {two['bytes']}")
    assert len(set(two["checksums"])) == 1, "The same bits in both processes: none was ever corrected by the other."
    assert two["method"] != "none" or np.allclose(two["losses"], alone, rtol=0, atol=1e-5), "One big batch."

# %% [markdown]
# Without compression, two processes do what one does, to float32's rounding. With signs it is another path, but still *one*:
# both add the same messages in the same order, so their models stay equal bit by bit, though no parameter is sent after the
# start.
#
# If one process is killed, the others would wait for its gradients forever. `ending_together` ends them, and
# `minigrad train --data-parallel --workers 2` goes on from its last checkpoint when it is started again.
#
# **In short.** The same program, a rank, a part of each batch, one exchange a step.
#
# **Question.** Both processes run on one computer here. What are they good for, compared with one process of two threads?
#
# **Source.** `minigrad.parallel`; MPI.

# %% [markdown]
# ## Summary
#
# - Weighted by images, the mean of the shards' gradients is the whole batch's gradient. The plain mean is not.
# - All-reduce sends $2 n (K - 1) / K$ bytes a machine.
# - Signs with error feedback: nothing is lost, only late; sent + residual = sum of the gradients. Late and momentum clash.
# - QSGD, TernGrad, int8: random rounding, right on average. Elias's code writes small numbers in few bits.
# - Top-k: the largest now, the others when they have piled up.
# - Compressed messages cannot be added up on the way: $K < 2c$ or it cannot pay. For LeNet on a fast link it does not.
#
# On the command line: `minigrad gradients`, `minigrad scaling`, `minigrad train --data-parallel --workers 2 --compress sign`.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: uneven shards.** Three machines have 5, 2 and 1 images of a batch. A weight's gradients, each the mean over the
# machine's own images, are 0.2, 0.9 and -1.0. What is the gradient of the whole batch?

# %% nbgrader={"grade": false, "grade_id": "13-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... a number, or an expression
### BEGIN SOLUTION
answer = (5 * 0.2 + 2 * 0.9 + 1 * -1.0) / 8
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "13-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("13-1", answer)

# %% [markdown]
# **Exercise 2: feedback on paper.** A worker sends signs with error feedback; two numbers share a scale. The gradients are
# $(5, 1)$, then $(1, -1)$. What is its second message, and what is left afterwards?

# %% nbgrader={"grade": false, "grade_id": "13-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... ((message, message), (residual, residual))
### BEGIN SOLUTION
answer = ((3, -3), (0, 0))
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "13-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("13-2", answer)

# %% [markdown]
# **Exercise 3: Elias.** Write 20 in Elias's code, as a string of 0 and 1.

# %% nbgrader={"grade": false, "grade_id": "13-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... a string
### BEGIN SOLUTION
answer = "10" + "100" + "10100" + "0"
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "13-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("13-3", answer)

# %% [markdown]
# **Exercise 4: does it pay?** An int8 message of LeNet takes 44,798 bytes, its gradient in float32 177,704. What is the largest
# number of machines for which int8 puts fewer bytes on the wire than all-reduce without compression?

# %% nbgrader={"grade": false, "grade_id": "13-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... an integer
### BEGIN SOLUTION
answer = math.ceil(2 * 177_704 / 44_798) - 1
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "13-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("13-4", answer)

# %% [markdown]
# ## Sources
#
# - F. Seide, H. Fu, J. Droppo, G. Li, D. Yu, "1-bit stochastic gradient descent and its application to data-parallel
#   distributed training of speech DNNs", Interspeech 2014.
# - S. P. Karimireddy, Q. Rebjock, S. Stich, M. Jaggi, "Error feedback fixes SignSGD and other gradient compression schemes",
#   ICML 2019, arXiv:1901.09847.
# - D. Alistarh, D. Grubic, J. Li, R. Tomioka, M. Vojnovic, "QSGD: communication-efficient SGD via gradient quantization and
#   encoding", NIPS 2017, arXiv:1610.02132.
# - W. Wen et al., "TernGrad: ternary gradients to reduce communication in distributed deep learning", NIPS 2017,
#   arXiv:1705.07878.
# - Y. Lin, S. Han, H. Mao, Y. Wang, W. Dally, "Deep gradient compression: reducing the communication bandwidth for distributed
#   training", ICLR 2018, arXiv:1712.01887.
# - P. Elias, "Universal codeword sets and representations of the integers", IEEE Transactions on Information Theory, 1975.
# - P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", Journal of Parallel and
#   Distributed Computing, 2009.
# - T. Vogels, S. P. Karimireddy, M. Jaggi, "PowerSGD: practical low-rank gradient compression for distributed optimization",
#   NeurIPS 2019, arXiv:1905.13727.
# - J. Dean et al., "Large scale distributed deep networks", NIPS 2012.
# - The article on distillation: "Deep learning: distillation, pruning, quantization" (in Chinese: 深度学习-蒸馏、剪枝、量化).
