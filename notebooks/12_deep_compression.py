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
# # 12 · Deep Compression: codebook, Huffman, bytes
#
# **Goal.** Turn a pruned LeNet into a file that is seventeen times smaller, know of each byte what it is for, and hold the
# same method against the paper it comes from.
#
# **What you need.** Notebook 05 (pruning), and notebook 09's codebooks. Logarithms. The notebook runs in well under a minute
# on two cores.
#
# The articles prune *or* quantize. Han, Mao and Dally put three steps after one another: *prune* (most weights are zero),
# *share* (the others take few values), *code* (frequent values get short codes). Each makes the next one pay more.
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
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

import minigrad
from checks import check
from minigrad import DataLoader, Tensor, evaluate
from minigrad.compression.coding import SharedSGD, cluster, load_mgz, read_mgz, save_mgz, share_weights_of, to_relative
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner, finetune
from minigrad.datasets import mnist, split_validation
from minigrad.nn import CrossEntropyLoss
from minigrad.training import train

# %%
training, held_out = split_validation(mnist("train"))  # 5,000 of the training images are kept aside to choose by
few, loader = training.subset(slice(0, 20_000)), evaluation_loader(held_out)
lenet = trained_lenet()
pruner = SparsePruner(lenet, ARTICLE_SPARSITY)  # the pruning article's rates
minigrad.manual_seed(0)
batches = DataLoader(few.images, few.labels, 64, shuffle=True, seed=0)
pruned = finetune(pruner.prune(lenet), pruner, batches, loader, epochs=3, lr=0.02, momentum=0.9).best
before = evaluate(pruned, loader)
w = pruned.fc1.weight.data
print(f"trained {evaluate(lenet, loader):.2f} %, pruned and fine-tuned {before:.2f} % of the held-out images")
print(f"fc1 keeps {np.count_nonzero(w):,} of {w.size:,} weights")

assert before > 96.5, "Fine-tuned, the pruned LeNet reads nearly what the dense one reads."

# %% [markdown]
# (The shipped LeNet was trained on the held-out images too. That does no harm here: what counts is how much *changes*.)
#
# ## 1. Where are the weights that are left?
#
# **Goal.** Store a sparse row without its zeros.
#
# **You need.** Notebook 07's CSR, if you know it: 16 or 32 bits for each column.
#
# **The idea.** Positions need many bits; *distances* are short. So store with each weight how many zeros lie between it and
# the one before. Where the gap is too long for the bits that there are, put a *filler* in between: a zero that is stored.
#
# **The formula.** With $b$ bits a gap is $0$ to $2^b - 1$. A filler stands for $2^b$ zeros, $2^b - 1$ in its gap and itself:
#
# $$z \text{ zeros} \;\to\; \lfloor z / 2^b \rfloor \text{ fillers, and a gap of } z \bmod 2^b$$
#
# **By hand**, $b = 2$, gaps up to 3:
#
#     0   0   0.8   0   0   0   0   0   -0.3   0
#
# Two zeros, then 0.8: the entry $(2,\ 0.8)$. Five zeros do not fit: three and a filler, $(3,\ \text{filler})$, then one more,
# $(1,\ -0.3)$. The last zero needs nothing.
#
# **Predict.** The same row with $b = 3$, with $b = 1$: how many entries?

# %%
row = np.array([0, 0, 0.8, 0, 0, 0, 0, 0, -0.3, 0])
for b in (3, 2, 1):
    gaps, filler = to_relative(np.flatnonzero(row), bits=b)
    print(f"{b} bits: {len(gaps)} entries, gaps {gaps.tolist()}, fillers {filler.astype(int).tolist()}")
    if b == 2:
        assert gaps.tolist() == [2, 3, 1], "As by hand."
        assert filler.tolist() == [False, True, False], "The second entry is the filler."

# %% [markdown]
# (The paper stores the step, one more than the gap. It is the same thing.)
#
# **Predict.** `fc1` keeps one weight in four. Each entry is a gap of $b$ bits and, say, a value of 5 bits. Few bits a gap make
# many fillers; many bits are wasted on short gaps. Which $b$ is best? How many bits does a weight that is kept take then?

# %%
positions, widths = np.flatnonzero(w), np.arange(9)
parts = []
for b in widths.tolist():
    gaps, filler = to_relative(positions, b)
    parts.append((5, len(positions) * b / len(positions), filler.sum() * (b + 5) / len(positions)))
total = np.sum(parts, axis=1)
best = int(np.argmin(total))

figure = Figure(figsize=(6.4, 3.4), layout="constrained")
ax = figure.subplots()
under = np.zeros(9)
for values, color, label in zip(np.transpose(parts), (BLUE, ORANGE, GREY), ("value", "gap", "fillers"), strict=True):
    ax.bar(widths, values, bottom=under, color=color, edgecolor="white", label=label)
    under = under + values
ax.axhline(5 + 16, color="black", linestyle="--", linewidth=0.9, label="16 bits for a column")
ax.set(xlabel="bits of a gap", ylabel="bits for a weight that is kept", title="fc1: gaps and fillers", ylim=(0, 28))
ax.spines[["top", "right"]].set_visible(False)
ax.set_xticks(widths)
ax.legend(fontsize=9, ncols=4)
display(figure)
print(f"best: {best} bits, {total[best]:.2f} bits for a weight that is kept")

assert best in (3, 4), "Gaps average 3 zeros: 3 or 4 bits hold most of them."

# %% [markdown]
# The paper takes 5 bits for linear layers and 8 for convolutions: its `fc1` keeps 8 %, so gaps are longer.
#
# **In short.** Gaps instead of positions, fillers where a gap is too long.
#
# **Questions.**
# 1. $b = 0$ makes every zero a filler. What is the format then?
# 2. Gaps could run down the columns instead of along the rows. When would that be shorter? (Our files try both.)
#
# **Source.** Han, Mao and Dally 2016, section 2, figure 2.

# %% [markdown]
# ## 2. A codebook: where k-means begins
#
# **Goal.** Let all weights of a layer share a few values.
#
# **You need.** A mean.
#
# **The idea.** Sort the weights into $k$ clusters and store for each weight the number of its cluster. k-means does both by
# turns: each weight goes to the nearest centroid, each centroid to the mean of its weights, until nothing changes.
#
# **The formula.** $\displaystyle \min_C \sum_{j} \sum_{w \in C_j} |w - c_j|^2$. With $n$ weights of 32 bits and $k = 2^b$
# centroids, the bytes shrink by
#
# $$r = \frac{32\, n}{n\, b + 32\, k}$$
#
# k-means ends in a *local* minimum, so it matters where it begins. The paper compares three ways: centroids evenly spaced from
# the smallest to the largest weight (*linear*), so that equally many weights lie between them (*density*), or weights drawn
# at *random*. It found linear best: few weights are large, but they matter, and the other two begin mostly where the many are.
#
# **Predict.** In the next picture, where does each of the three begin? After hundreds of turns, do they end differently?

# %%
from minigrad.compression.coding import STARTS, first_centroids

kept, colors = np.sort(w[w != 0]), dict(zip(STARTS, (BLUE, ORANGE, GREEN), strict=True))
figure = Figure(figsize=(8, 4.4), layout="constrained")
top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
top.hist(kept, bins=120, color=GREY, alpha=0.7)
top.set(ylabel="weights per bin", title="fc1: the weights that are kept, and 7 centroids (3 bits, one of 8 is zero's)")
for y, start in enumerate(STARTS):
    book = cluster(w, bits=3, start=start)
    begin, end = first_centroids(kept, 7, start), book.centroids[book.centroids != 0]
    bottom.plot([begin, end], [np.full(7, -y), np.full(7, -y - 0.5)], color=colors[start], linewidth=0.8)
    bottom.plot(begin, np.full(7, -y), "o", color=colors[start], markerfacecolor="white")
    bottom.plot(end, np.full(7, -y - 0.5), "o", color=colors[start])
bottom.set_yticks(
    [0, -0.5, -1, -1.5, -2, -2.5], [f"{start}, {when}" for start in STARTS for when in ("begins", "ends")]
)
bottom.set(xlabel="weight", ylim=(-2.9, 0.4))
for ax in (top, bottom):
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %%
errors = {}
for start in STARTS:
    books = [cluster(w, 4, start, iterations=turns) for turns in (1, 3, 10, 300)]
    errors[start] = [1000 * np.sqrt(np.mean((book.decode() - w) ** 2)) for book in books]
    reads = [evaluate(share_weights_of(pruned, bits, start), loader) for bits in (4, 3, 2)]
    print(
        f"{start:8} error after 1, 3, 10, 300 turns: {np.round(errors[start], 2)} thousandths; "
        f"LeNet with 4, 3, 2 bits: {', '.join(f'{r:.2f}' for r in reads)} %"
    )
    assert min(reads[:2]) > before - 1, "With 3 or 4 bits, any beginning will do."
assert errors["linear"][0] > errors["density"][0], "Evenly spaced, most centroids begin where hardly any weights are."
assert np.ptp([values[-1] for values in errors.values()]) < 0.2, "In the end all three are nearly as good."

# %% [markdown]
# Run to its end, k-means nearly forgets where it began; at 3 bits it ends in the same place. After a few turns the beginning
# still shows, and *density* errs less there than *linear*. At 2 bits the three read a few points apart, and the paper's
# choice does not come out first; but this is one network and one seed. Our files take *linear*, as the paper does.
#
# **Predict.** $n = 7{,}680$ weights, 4 bits: what is $r$? And what share of the bits is the codebook?

# %%
n, b = len(kept), 4
r = 32 * n / (n * b + 32 * 2**b)
print(f"r = {r:.2f}; the codebook is {100 * 32 * 2**b / (n * b + 32 * 2**b):.1f} % of the bits")

assert 7.8 < r < 8, "Nearly 32 / 4."

# %% [markdown]
# **In short.** $b$ bits for a number, 32 for each centroid. Begin anywhere, but let k-means finish.
#
# **Questions.**
# 1. Why does zero get a number of its own, rather than being clustered with the rest?
# 2. Why has `conv1`, with 22 weights left, no use for a codebook of 5 bits?
#
# **Source.** Han, Mao and Dally 2016, sections 3.1 and 3.2.

# %% [markdown]
# ## 3. Centroids that learn
#
# **Goal.** Train a network whose weights are shared.
#
# **You need.** Notebook 01: the gradient of something that is used more than once.
#
# **The idea.** A thousand weights that share a centroid are *one* number, used a thousand times. Its gradient is the sum over
# all places where it is used.
#
# **The formula.** $\displaystyle \frac{\partial L}{\partial c_j} = \sum_{i} \frac{\partial L}{\partial w_i}
# \,[\,\text{code}_i = j\,]$
#
# **Predict.** Six weights take three centroids, below. Gradients of the weights are 1, 2, 3, 4, 5, 6. What are those of the
# centroids?

# %%
from minigrad.compression.quantization import Codebook

book = Codebook(np.array([[2, 0, 1], [1, 2, 1]], np.uint8), np.float32([-0.5, 0.1, 0.4]), bits=2)
g = np.array([[1.0, 2, 3], [4, 5, 6]])
print("weights:", *book.decode(), "; gradients of the centroids:", book.centroid_gradient(g))

c = Tensor(book.centroids, requires_grad=True)
(c[book.codes.astype(int)] * g).sum().backward()  # the tape, which knows nothing of codebooks
assert np.allclose(book.centroid_gradient(g), [2, 3 + 4 + 6, 1 + 5]), "Summed over the members."
assert np.allclose(c.grad, book.centroid_gradient(g)), "Backward does the same: a number used often collects."

# %% [markdown]
# `SharedSGD` does that in each step, and leaves zeros alone. A sum over thousands is large, so its learning rate is small.
#
# **Predict.** With 2 bits (zero and three centroids a layer) LeNet read about 91 %. How much does one epoch of 10,000 images
# bring back, if the *only* things that move are 15 centroids and the biases?

# %%
learned = {}
for bits in (2, 3):
    shared = share_weights_of(pruned, bits)
    first, begin = evaluate(shared, loader), np.unique(shared.fc1.weight.data)
    batches = DataLoader(few.images[:10_000], few.labels[:10_000], 64, shuffle=True, seed=0)
    train(shared, batches, CrossEntropyLoss(), SharedSGD(shared, lr=3e-4, momentum=0.9))
    learned[bits] = (first, evaluate(shared, loader))
    end = np.unique(shared.fc1.weight.data)
    print(
        f"{bits} bits: {first:.2f} %, trained {learned[bits][1]:.2f} %; fc1's centroids {begin.round(4)} -> {end.round(4)}"
    )
    assert np.array_equal(shared.fc1.weight.data == 0, w == 0), "What was pruned stays pruned."
    assert len(end) == len(begin), "And what was shared stays shared."

assert learned[2][1] > learned[2][0] + 2, "Fifteen numbers and some biases bring back most of the loss."

# %% [markdown]
# At 2 bits that is most of what was lost; at 3 bits there was little to win. In the paper's setting, with 5 to 8 bits, the
# reproduction in section 7 keeps the trained centroids in only one of six runs: elsewhere the means of k-means were as good.
#
# **In short.** Shared weights have summed gradients.
#
# **Question.** May a weight change its cluster while centroids are trained? What would have to be stored anew if it did?
#
# **Source.** Han, Mao and Dally 2016, section 3.3.

# %% [markdown]
# ## 4. A Huffman code by hand
#
# **Goal.** Give frequent symbols short codes, on paper.
#
# **You need.** A tree. Binary numbers.
#
# **The idea.** Five symbols need 3 bits each, if all get as many. But if `a` makes up half of a text, 1 bit for `a` saves more
# than longer codes for the rare ones cost. Huffman: put the two rarest symbols together, count them as one from now on, and go
# on until one is left. Each time a symbol is put together with others, its code gets a bit longer.
#
# **The formula.** No code does better, on average, than the *entropy* $H$; Huffman's mean length $L$ comes within a bit of it:
#
# $$H = -\sum_s p_s \log_2 p_s \;\le\; L = \sum_s p_s\, \ell_s \;<\; H + 1$$
#
# **Predict.** `a` occurs 7 times, `b` 2, `c` 1, `d` 4, `e` 1. How long is the code of each? Do it on paper.

# %%
counts = {"a": 7, "b": 2, "c": 1, "d": 4, "e": 1}
trees, lengths = [(count, symbol) for symbol, count in counts.items()], Counter()
while len(trees) > 1:
    (n, x), (m, y), *trees = sorted(trees)
    lengths.update(x + y)  # one bit more for each symbol in the two
    trees.append((n + m, x + y))
    print(f"{x} ({n}) and {y} ({m}) -> {x + y} ({n + m})")
print("lengths:", dict(sorted(lengths.items())))

assert dict(lengths) == {"a": 1, "d": 2, "b": 3, "c": 4, "e": 4}, "c and e were put together four times."

# %% [markdown]
# Only the *lengths* matter for the size. Which code of its length a symbol gets, one may agree upon beforehand, so that a file
# has to hold lengths alone, 4 bits each. That is a **canonical** code: short codes first, those of one length by symbol; each
# is the one before plus 1, with zeros behind it where it is longer. DEFLATE (zip, PNG) does the same.
#
# **By hand.** `a` 0. Plus 1, a bit longer: `d` 10. Plus 1, a bit longer: `b` 110. Plus 1, a bit longer: `c` 1110. Plus 1:
# `e` 1111.
#
# **Predict.** No code is the beginning of another one. Why is that enough to read a stream without separators? And why can
# there be no sixth symbol?

# %%
from minigrad.compression.coding import huffman

ours = huffman.code_lengths(list(counts.values()))
codes = [f"{code:0{length}b}" for code, length in zip(huffman.canonical_codes(ours), ours, strict=True)]
text = "aadbaadcadabeda"
symbols = np.array(["abcde".index(letter) for letter in text])
payload = huffman.encode(symbols, ours)
p = np.array(list(counts.values())) / 15
H, L = -np.sum(p * np.log2(p)), np.sum(p * ours)
print("codes:", dict(zip(counts, codes, strict=True)))
print(
    f"entropy {H:.3f}, mean length {L:.3f} bits a symbol; {L * 15:.0f} bits, {len(payload)} bytes: {payload.hex(' ')}"
)

assert dict(zip(counts, codes, strict=True)) == {"a": "0", "b": "110", "c": "1110", "d": "10", "e": "1111"}, (
    "As by hand."
)
assert np.array_equal(huffman.decode(payload, ours, 15), symbols), "And back again."
assert H <= L < H + 1, "Within a bit of the entropy; here much nearer."

# %%
figure = Figure(figsize=(8, 2.2), layout="constrained")
ax = figure.subplots()
order = np.argsort(ours, kind="stable")
for y, (shares, texts) in enumerate(((p, "{:.2f}"), (2.0 ** -ours.astype(float), "{:.4g}"))):
    left = 0.0
    for place, s in enumerate(order):
        color = (BLUE, ORANGE, GREEN, "#56B4E9", "#CC79A7")[place]
        ax.barh(-y, shares[s], left=left, color=color, edgecolor="white", alpha=0.6)
        label = f"{'abcde'[s]}\n{texts.format(shares[s]) if y == 0 else codes[s]}"
        ax.text(left + shares[s] / 2, -y, label, ha="center", va="center", fontsize=9)
        left += shares[s]
ax.set_yticks([0, -1], ["share of the text, p", "share of the codes, $2^{-length}$"])
ax.set(xlabel="share", xlim=(0, 1), title="A code gives each symbol a piece of the room")
ax.spines[["top", "right"]].set_visible(False)
display(figure)

assert np.sum(2.0 ** -ours.astype(float)) == 1, "The room is full: the sum of 2**-length is 1 (Kraft)."

# %% [markdown]
# Huffman can only give $\frac12, \frac14, \frac18, \ldots$ of the room. Where the shares are just these, $L = H$.
#
# **In short.** Put the two rarest together, again and again. Store lengths; the codes follow.
#
# **Questions.**
# 1. A single symbol makes up 99 % of a text. What is $H$, about, and what is $L$ at best? Which coder would do better?
# 2. Our codes have at most 15 bits. When would Huffman's own be longer?
#
# **Source.** Huffman 1952; RFC 1951, section 3.2.2; Larmore and Hirschberg 1990 (lengths with a limit).

# %% [markdown]
# ## 5. How much is there to win?
#
# **Goal.** Compare entropy, Huffman and fixed width on real weights.
#
# **You need.** Section 4.
#
# **The idea.** A Huffman code pays where symbols are *unevenly* frequent. There are two streams a layer: the numbers of the
# centroids, and the gaps. If each weight is kept with probability $p$, whatever its neighbours do, gaps are geometric.
#
# **The formula.** $P(\text{gap} = g) = p\,(1 - p)^g$.
#
# **Predict.** With 4 bits for each of both: which stream gains more, numbers or gaps? Which gap is the most frequent?

# %%
shared = share_weights_of(pruned, bits=4)
streams = {}
for name in ("conv2", "fc1", "fc2", "fc3"):
    weights = getattr(shared, name).weight.data.ravel()
    kept = weights != 0
    streams[name, "numbers"] = np.unique(weights[kept], return_inverse=True)[1]
    streams[name, "gaps"] = to_relative(np.flatnonzero(kept), bits=4)[0]
print("layer  stream    symbols  fixed  Huffman  entropy")
for (name, stream), symbols in streams.items():
    counted = np.bincount(symbols, minlength=16)
    p = counted[counted > 0] / counted.sum()
    H, L = -np.sum(p * np.log2(p)), counted @ huffman.code_lengths(counted) / counted.sum()
    print(f"{name:6} {stream:8} {len(symbols):8,}      4 {L:8.3f} {H:8.3f}")
    assert H <= L < H + 0.1, "Here Huffman comes within a tenth of a bit."

# %%
figure = Figure(figsize=(9, 4.4), layout="constrained")
axes = figure.subplots(2, 2, sharex="col")
for column, (stream, title) in enumerate(
    {"numbers": "numbers of the centroids", "gaps": "gaps (15: or a filler)"}.items()
):
    counted = np.bincount(streams["fc1", stream], minlength=16)
    used = np.flatnonzero(counted)
    p, length = counted[used] / counted.sum(), huffman.code_lengths(counted)[used]
    axes[0, column].bar(used, 100 * p, color=BLUE)
    axes[1, column].bar(used, length, color=ORANGE, label="code length")
    axes[1, column].plot(used, -np.log2(p), "kD", markersize=4, label="$-\\log_2 p$")
    axes[1, column].axhline(4, color=GREY, linestyle="--", label="fixed width")
    axes[0, column].set_title(f"fc1: {title}")
    axes[1, column].set_xlabel("symbol")
axes[0, 1].plot(used, 100 * 0.25 * 0.75**used, "k_", markersize=9, label="geometric, p = 1/4")
axes[0, 0].set_ylabel("share (%)")
axes[1, 0].set_ylabel("bits")
axes[0, 1].legend(fontsize=9)
axes[1, 1].legend(fontsize=9)
for ax in axes.flat:
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# **In short.** Huffman comes close to the entropy. Gaps mostly gain more than numbers, as they are more uneven.
#
# **Question.** The frequent gap 0 falls a little off the geometric curve. What does that say about where the weights that
# are kept lie?
#
# **Source.** Han, Mao and Dally 2016, section 4 and figure 5.

# %% [markdown]
# ## 6. The whole file
#
# **Goal.** Write the file, and find the purpose of every byte.
#
# **You need.** Sections 1 to 5.
#
# **The idea.** A file is more than its weights: it must say which layers there are, how long each section is, and which code
# was used. If one counts only what one likes, the numbers look better than the file. So: the sum of all purposes must be the
# size that the operating system reports.
#
# **Predict.** LeNet has 44,426 parameters: 177,704 bytes in float32. A quarter is kept, in 4-bit numbers and gaps of about 3
# bits: how many bytes? What comes on top?

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "lenet.mgz"
    container = save_mgz(path, shared, float_bits=16)
    content, size = path.read_bytes(), path.stat().st_size
    again = load_mgz(path)
account = container.account
print(f"{size:,} bytes, {177_704 / size:.1f} times smaller; it reads {evaluate(again, loader):.2f} %")
print("the first bytes:", content[:31].hex(" "))
print("                 M  G  Z  v1 3  axes 1 28 28, no metadata, 12 layers, convolution ...")

assert sum(account.values()) == size, "Every byte has a purpose: the sum is the size of the file."
assert np.abs(again.fc1.weight.data - shared.fc1.weight.data).max() < 1e-3, "Centroids as float16; the rest is exact."

# %%
from minigrad.compression.coding import account_table

print(account_table(container))

# %%
names = ["conv1", "conv2", "fc1", "fc2", "fc3", ""]
purposes = list(dict.fromkeys(part for (_, part), n in account.items() if n))
palette = dict(zip(purposes, (GREY, "#F0E442", GREEN, BLUE, ORANGE, "#CC79A7", "#56B4E9", "black"), strict=True))
hatches = {"indices": "///", "biases": "..."}
figure = Figure(figsize=(10, 3.6), layout="constrained")
left, right = figure.subplots(1, 2, sharey=True)
under, sums = np.zeros(6), np.array([sum(n for (layer, _), n in account.items() if layer == name) for name in names])
for part in purposes:
    values = np.array([account[name, part] for name in names])
    style = {"color": palette[part], "edgecolor": "white", "linewidth": 0.3, "hatch": hatches.get(part)}
    left.barh(range(6), values, left=under, label=part, **style)
    right.barh(range(6), 100 * values / sums, left=100 * under / sums, **style)
    under = under + values
for y, total in enumerate(sums):
    left.text(total, y, f" {total:,}", va="center", fontsize=9)
left.set_yticks(range(6), [*names[:-1], "the file itself"])
left.invert_yaxis()
left.set(xlabel="bytes", xlim=(0, 1.15 * sums.max()), title=f"{size:,} bytes, all of them")
right.set(xlabel="share of the layer (%)", title="what they are for")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=9)
display(figure)

# %% [markdown]
# Small layers are mostly overhead: in `conv1` the codebook takes more than the values. Biases are neither pruned nor coded.
#
# Now step by step, and with other numbers of bits.
#
# **Predict.** Which step saves most: leaving zeros out, sharing values, or Huffman?

# %%
sizes, reads = {}, {}
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "lenet.mgz"
    for bits in (2, 3, 4, 5, 6):
        model = share_weights_of(pruned, bits)
        sizes[bits] = [save_mgz(path, model, float_bits=16, huffman=coded).size for coded in (False, True)]
        reads[bits] = evaluate(load_mgz(path), loader)
        print(f"{bits} bits: {sizes[bits][0]:6,} bytes, with Huffman codes {sizes[bits][1]:6,}; {reads[bits]:.2f} %")
biases = sum(p.size for p in pruned.parameters() if p.ndim == 1)
entries = sum(len(to_relative(np.flatnonzero(p.data), 5)[0]) for p in pruned.parameters() if p.ndim > 1)
steps = {
    "float32": 4 * 44_426,
    "pruned: float32, gaps of 5 bits": 4 * biases + entries * (32 + 5) // 8,
    "shared: 4 bits": sizes[4][0],
    "Huffman codes": sizes[4][1],
}

assert all(coded < fixed for fixed, coded in sizes.values()), "The shorter of two streams is written."
assert reads[3] > before - 1, "Three bits, zero among them, are enough here."

# %%
figure = Figure(figsize=(10, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
left.barh(list(steps), list(steps.values()), color=[GREY, BLUE, ORANGE, GREEN])
for y, (_, value) in enumerate(steps.items()):
    left.text(value, y, f" {value:,}", va="center", fontsize=9)
left.invert_yaxis()
left.set(xlabel="bytes", xlim=(0, 215_000), title="LeNet, step by step")
for place, (color, style, label) in enumerate(((ORANGE, "s-.", "fixed width"), (GREEN, "o-", "Huffman codes"))):
    x = [sizes[bits][place] for bits in sizes]
    right.plot(x, list(reads.values()), style, color=color, label=label)
for bits in sizes:
    right.annotate(
        f"{bits} bits", (sizes[bits][1], reads[bits]), xytext=(-2, -13), textcoords="offset points", fontsize=9
    )
right.axhline(before, color=GREY, linestyle="--", label="pruned, float32")
right.set(xlabel="bytes of the file", ylabel="held-out accuracy (%)", title="Bits, bytes, accuracy", ylim=(89, 98.5))
right.legend(fontsize=9, loc="lower right")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# Pruning at these rates and sharing save by far the most; Huffman takes a tenth of what is left. To go on from here one would
# prune more, share less finely, and do it layer by layer: `minigrad compress --budget 8KB --min-accuracy 98.3` searches for
# that.
#
# **In short.** Count the whole file. Prune, share, code: most, much, a little.
#
# **Question.** `load_mgz(path, sparse="csr")` never makes the weights dense. What is that good for on a small device?
#
# **Source.** `docs/format.md`, which describes every byte; `minigrad pack`, `minigrad inspect`.

# %% [markdown]
# ## 7. Beside the paper
#
# **Goal.** Compare with the numbers that the paper prints.
#
# **You need.** Section 6.
#
# `minigrad repro deepcompression` does the paper's experiment with the paper's networks, LeNet-300-100 and Caffe's LeNet-5,
# over three seeds: pruned much harder than here (7 to 8 % are kept), shared, coded. It takes minutes; the cell reads what it
# wrote.
#
# **Predict.** The paper makes LeNet-300-100 40 times smaller, LeNet-5 39 times. Do our files, in which everything counts, come
# out larger or smaller, with the paper's bits? And with bits chosen on held-out images?

# %%
report = json.loads(Path("../results/deepcompression.json").read_text())
table = {(row["part"], row["figure"]): row for row in report["rows"]}
for network in ("LeNet-300-100", "LeNet-5"):
    for whose in ("the paper's bits", "our bits"):
        rows = [table[f"{network}, {whose}", figure] for figure in (
            "file, counted as the paper does", "times smaller", "test error, compressed")]  # fmt: skip
        kilobytes, times, error = (f"{row['mean']:.2f} ({row['paper']})" for row in rows)
        print(f"{network:13} {whose:16} {kilobytes} KB, {times} times smaller, error {error} %")
print("ours, a mean of three seeds; in brackets, the paper's; KB of 1,000 bytes, as there")
for network in ("LeNet-300-100", "LeNet-5"):
    assert table[f"{network}, our bits", "times smaller"]["mean"] > 50, "Bits chosen on held-out images: over 50 times."

# %%
from minigrad.compression.repro.deepcompression import plot_sizes

display(plot_sizes(report["runs"]))
layers = [(part, figure.split(":")[0]) for part, figure in table if figure.endswith(": weights kept")]
print("                      kept (%)     value, bits   gap, bits    share of float32 (%)")
for part, layer in layers:
    cells = []
    for what in (
        "weights kept",
        "bits of a weight, Huffman",
        "bits of an index, Huffman",
        "share of float32's bytes, Huffman",
    ):
        row = table[part, f"{layer}: {what}"]
        cells.append(f"{row['mean']:5.1f} ({row['paper']:4.1f})")
    print(f"{part.split(',')[0]:13} {layer:6}", "  ".join(cells))

# %% [markdown]
# With the paper's bits we come out where the paper does: the same size to within eight parts in a hundred, and an error that
# is not higher. With fewer bits, chosen on held-out images, our files are about a quarter smaller still, and the error changes
# by at most 0.06 points.
#
# > **Box: numbers that do not add up.** The paper's tables contradict themselves in places. LeNet-300-100 has 5.1 bits a
# > weight in all, and at most 4.4 in each layer; LeNet-5's last layer has 5.2 bits *after* Huffman coding and 5 before; its
# > layers add up to 47 KB, and the total says 44. Nobody is to blame for a slip, but one finds it only if bytes are counted
# > from the file.
#
# **In short.** It reproduces. And "40 times" says little without "of what, counted how".
#
# **Question.** `conv1` of LeNet-5 has 500 weights. Why is ours so much smaller than the paper's, and why does that hardly
# matter?
#
# **Source.** Han, Mao and Dally 2016, tables 1 to 3; `results/deepcompression.md` lists what differs.

# %% [markdown]
# ## 8. Energy
#
# **Goal.** Estimate what an image costs, and see why bytes are what counts.
#
# **You need.** Multiplication.
#
# **The idea.** Fetching a number from main memory takes far more energy than computing with it. At 45 nm, for 32 bits:
#
# | | picojoules |
# |---|---|
# | float addition | 0.9 |
# | float multiplication | 3.7 |
# | on-chip memory (SRAM) | 5 |
# | main memory (DRAM) | 640 |
#
# **The formula.** $E = \underbrace{(3.7 + 0.9)\, N_\text{products}}_\text{arithmetic} + \underbrace{e_\text{memory} \cdot
# \text{bytes} / 4}_\text{weights} + \underbrace{5\, N_\text{values}}_\text{activations}$
#
# **Predict.** By what factor does the energy fall if the file stays in main memory? And if it is so small that it fits on the
# chip?

# %%
from minigrad.compression.coding import energy, energy_table

print(energy_table(container))
cases = energy(container)
print("times less than the first:", [f"{cases[0].total / case.total:.0f}" for case in cases[1:]])
figure = Figure(figsize=(8, 2.6), layout="constrained")
ax = figure.subplots()
parts = zip(("arithmetic", "weights", "activations"), (ORANGE, BLUE, GREY), (-0.25, 0, 0.25), strict=True)
for part, color, shift in parts:
    ax.barh(np.arange(3) + shift, [getattr(case, part) for case in cases], 0.24, color=color, label=part)
ax.set_yticks(range(3), [case.case for case in cases])
ax.invert_yaxis()
ax.set(
    xscale="log",
    xlim=(3, 1e5),
    xlabel="nanojoules for an image (estimate, log)",
    title="Fetching costs more than computing",
)
ax.spines[["top", "right"]].set_visible(False)
figure.legend(loc="outside right center", fontsize=9)
display(figure)

assert cases[0].weights > 0.9 * cases[0].total, "Dense and in main memory: nearly all goes into fetching weights."
assert cases[2].total < cases[0].total / 50, "On the chip: less than a fiftieth."

# %% [markdown]
# This is an estimate: decoding, instructions, leakage and everything else a processor does are left out. It says in which
# direction to go, not what a battery lasts.
#
# **In short.** A model that fits on the chip saves twice: fewer bytes, and cheaper ones.
#
# **Question.** Convolutions use each weight many times. For which layers does pruning save mainly arithmetic, for which mainly
# memory?
#
# **Source.** Horowitz 2014, as Han et al. 2015 cite it (table 1).

# %% [markdown]
# ## 9. A file from somewhere
#
# **Goal.** See what a reader does with a damaged file.
#
# **You need.** Nothing.
#
# **The idea.** In a Huffman stream one wrong bit can shift all that follows. So the file ends in a CRC-32, a checksum of all
# bytes before. That is for accidents. Whoever *wants* to do harm computes the CRC anew; then every length and index must be
# checked before it is believed.
#
# **Predict.** Of 100 files with one flipped bit: how many are refused? And if the CRC is put right afterwards?

# %%
rng = np.random.default_rng(0)
flips = rng.integers(8 * (len(content) - 4), size=100)
outcomes, said, damaged = {False: 0, True: 0}, Counter(), []
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "damaged.mgz"
    for repaired in (False, True):
        for bit in flips.tolist():
            altered = bytearray(content)
            altered[bit // 8] ^= 1 << bit % 8
            if repaired:
                altered[-4:] = zlib.crc32(altered[:-4]).to_bytes(4, "little")
            path.write_bytes(altered)
            try:
                damaged.append(read_mgz(path).model())
            except minigrad.CheckpointError as error:
                outcomes[repaired] += 1
                said[str(error).split("file: ")[1]] += 1
print(f"refused: {outcomes[False]} of 100; with the CRC put right, {outcomes[True]} of 100. Some of the sentences:")
print(*[f"  {sentence}" for sentence, _ in said.most_common(6)], sep="\n")

assert outcomes[False] == 100, "No flipped bit gets past the checksum."
assert outcomes[True] < 50, "Most flipped bits make another valid file: other weights, no crash."

# %% [markdown]
# **Predict.** The files that were read, though a bit had been flipped: what do such networks read?

# %%
images = evaluation_loader(held_out.subset(slice(0, 1000)))
right, undamaged = [evaluate(model, images) for model in damaged], evaluate(shared, images)
print(f"{len(right)} networks: worst {min(right):.1f} %, median {np.median(right):.1f} %; undamaged {undamaged:.1f} %")
figure = Figure(figsize=(6.4, 2.8), layout="constrained")
ax = figure.subplots()
ax.hist(right, bins=np.linspace(0, 100, 51), color=BLUE)
ax.set(
    xlabel="accuracy with one flipped bit (%, 1,000 held-out images)",
    ylabel="files",
    title="One flipped bit, and a CRC to match",
)
ax.spines[["top", "right"]].set_visible(False)
display(figure)

assert min(right) < 90, "Somewhere one bit is enough to ruin the network."

# %% [markdown]
# Most of them read as before: a Huffman stream usually falls back into step after a few symbols. But where a *gap* went wrong,
# all weights of the layer behind it have moved. The tests damage thousands of files (bits, lengths, cuts) and watch time and
# memory.
#
# **In short.** A checksum against accidents; checks against intent.
#
# **Question.** What would one add if the file should also prove *who* made it?
#
# **Source.** `docs/format.md`, "What a reader checks".

# %% [markdown]
# ## Summary
#
# - Gaps of few bits instead of positions; a filler where a gap is too long.
# - k-means: $b$ bits a weight and a short list. Centroids learn from summed gradients.
# - Huffman: within a tenth of a bit of the entropy here. A canonical code needs only its lengths.
# - All bytes are booked: values, gaps, fillers, codebooks, tables, biases, headers, CRC.
# - LeNet-300-100 and LeNet-5 come out at the paper's sizes, and smaller where bits are chosen.
# - A file is refused with a sentence, or it is a valid model.
#
# On the command line: `minigrad pack`, `minigrad inspect`, `minigrad repro deepcompression`. Notebook 14 takes the model out
# of Python.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: fillers.** Non-zeros lie at places 3, 4 and 13 (counted from 0). Gaps have 2 bits. Give all gaps in order,
# those of fillers among them.

# %% nbgrader={"grade": false, "grade_id": "12-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... a list of integers
### BEGIN SOLUTION
answer = [3, 0, 3, 3, 0]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "12-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("12-1", answer)

# %% [markdown]
# **Exercise 2: bytes on paper.** A layer of 100 × 300 keeps 2,400 weights. There are 120 fillers. Values have 5 bits, gaps 4
# bits, and the codebook has 31 centroids in float32. How many bytes, without Huffman codes? (Values and gaps are packed
# separately, each up to a whole byte.)

# %% nbgrader={"grade": false, "grade_id": "12-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... an integer, or an expression
### BEGIN SOLUTION
answer = -(-(2_400 + 120) * 5 // 8) - (-(2_400 + 120) * 4 // 8) + 4 * 31
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "12-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("12-2", answer)

# %% [markdown]
# **Exercise 3: a Huffman code.** Five symbols occur 10, 1, 1, 3 and 5 times. Give the canonical code of each, as strings of 0
# and 1, in this order.

# %% nbgrader={"grade": false, "grade_id": "12-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# answer = ... a list of five strings
### BEGIN SOLUTION
answer = ["0", "1110", "1111", "110", "10"]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "12-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("12-3", answer)

# %% [markdown]
# **Exercise 4: one step of the centroids.** The weights below share two centroids; zeros are pruned. The learning rate is 0.1.
# What are the two centroids after one step of gradient descent?

# %% nbgrader={"grade": false, "grade_id": "12-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
weights = np.array([0.5, 0.0, -0.2, 0.5, -0.2, 0.5])
gradients = np.array([1.0, 9.0, 2.0, -3.0, 1.0, 4.0])
# answer = ... (the new centroid of -0.2, that of 0.5)
### BEGIN SOLUTION
answer = (-0.2 - 0.1 * (2 + 1), 0.5 - 0.1 * (1 - 3 + 4))
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "12-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("12-4", answer, weights=weights, gradients=gradients)

# %% [markdown]
# ## Sources
#
# - S. Han, H. Mao, W. Dally, "Deep compression: compressing deep neural networks with pruning, trained quantization and
#   Huffman coding", ICLR 2016, arXiv:1510.00149.
# - S. Han, J. Pool, J. Tran, W. Dally, "Learning both weights and connections for efficient neural networks", NIPS 2015.
# - D. Huffman, "A method for the construction of minimum-redundancy codes", 1952.
# - L. Larmore, D. Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", 1990.
# - P. Deutsch, "DEFLATE compressed data format specification", RFC 1951, 1996.
# - M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014.
# - The pruning article: "Model compression: pruning after training" (in Chinese: 模型压缩——训练后剪枝),
#   <https://blog.csdn.net/xiaojia1001/article/details/143900227>.
