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
# # 07 · Sparse storage and products: when is sparse faster?
#
# **Goal.** Store a matrix without its zeros, multiply with what is left, count the bytes, and find out on *your* machine
# from how many zeros on that is faster than a dense product.
#
# **What you need.** Notebook 05 (the pruned LeNet) and matrix products. The notebook runs in well under a minute on two
# cores; where it measures times, let nothing else run beside it.
#
# The field's oldest complaint is "I pruned it, and it is neither smaller nor faster". Notebook 05 ended there: the
# pruned checkpoint was as large as the dense one.
#
# **How to read it.** Before each result there is a line that begins with **Predict**. Write your guess down first, then
# run the cell.

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
import cProfile
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse
from IPython.display import display
from matplotlib.figure import Figure

from checks import check
from minigrad import kernels
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE, plot_atlas
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner
from minigrad.compression.sparse import BitmaskMatrix, CSRMatrix, DeltaMatrix, format_bytes, plan, to_sparse
from minigrad.compression.sparse.atlas import Grid, as_table, as_words, measure_atlas
from minigrad.compression.sparse.files import load_sparse, save_sparse
from minigrad.datasets import mnist
from minigrad.kernels.vector import lanes
from minigrad.training import evaluate

# %% [markdown]
# ## 1. Compressed sparse rows, by hand
#
# **Goal.** Write a small matrix down without its zeros.
#
# **You need.** Nothing.
#
# **The idea.** Go through the matrix row by row. Write each non-zero number into `data` and its column into `indices`.
# Now a reader knows what and in which column, but not in which row. So a third list, `indptr`, says where each row
# begins.
#
# **The formula.** Row $i$ owns the places from `indptr[i]` up to, but not including, `indptr[i + 1]`:
#
# $$A_{i,\,\text{indices}[k]} = \text{data}[k] \qquad \text{for } \text{indptr}[i] \le k < \text{indptr}[i+1]$$
#
# **Predict.** Write down the three lists for the matrix in the cell below. How long is `indptr`? What tells that row 1
# is empty?

# %%
a = np.array([[5.0, 0, 0, 2, 0, 0], [0, 0, 0, 0, 0, 0], [0, 3, 0, 0, 0, 4], [0, 0, 6, 0, 0, 0]])
csr = CSRMatrix.from_dense(a)
print("indptr ", csr.indptr)
print("indices", csr.indices)
print("data   ", csr.data)

assert csr.indptr.tolist() == [0, 2, 2, 4, 5], (
    "Two numbers in row 0, none in row 1, two in row 2, one in row 3: add up."
)
assert csr.indices.tolist() == [0, 3, 1, 5, 2], "Columns count from 0 and start again in each row."
assert np.array_equal(csr.to_dense(), a), "Nothing is lost."

# %%
figure = Figure(figsize=(9, 2.6), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=(6, 8))
left.imshow(a != 0, cmap="Blues", vmin=0, vmax=3)
for (i, j), value in np.ndenumerate(a):
    left.text(j, i, f"{value:g}", ha="center", va="center", color="black" if value else "#888888")
left.set(xticks=range(6), yticks=range(4), xlabel="column", ylabel="row", title="the matrix: 24 numbers")
for y, (name, values) in enumerate({"indices": csr.indices, "data": csr.data}.items()):
    right.text(-0.2, -y, name, ha="right", va="center")
    for k, value in enumerate(values):
        right.text(k + 0.5, -y, f"{value:g}", ha="center", va="center")
right.text(-0.2, 1, "indptr", ha="right", va="center")
for k in np.unique(csr.indptr):
    right.plot([k, k], [-1.4, 0.7], color=ORANGE, linewidth=1.5)
    right.text(k, 1, ", ".join([f"{k}"] * int(np.sum(csr.indptr == k))), ha="center", va="center", color=BLUE)
right.set(xlim=(-1.2, 5.4), ylim=(-1.5, 1.6), title="as CSR: a line wherever a row begins or ends")
right.axis("off")
display(figure)

# %% [markdown]
# Row 1 is empty: it begins at 2 and ends at 2. With $r$ rows and $z$ non-zeros, `indptr` has $r + 1$ numbers, the other
# two have $z$.
#
# A wrong column would silently give a model that computes something else, so the lists are checked when a matrix is
# built.
#
# **Predict.** What is wrong with each of these three?

# %%
wrong = {
    "(a)": ([0, 2, 1, 4, 5], [0, 3, 1, 5, 2]),
    "(b)": ([0, 2, 2, 4, 5], [0, 3, 1, 6, 2]),
    "(c)": ([0, 2, 2, 4, 5], [3, 0, 1, 5, 2]),
}
sentences = []
for name, (indptr, indices) in wrong.items():
    try:
        CSRMatrix(indptr, indices, csr.data, shape=(4, 6))
    except ValueError as error:
        sentences.append(str(error))
        print(name, error)

assert len(sentences) == 3, "None of the three describes a matrix of four rows and six columns."

# %% [markdown]
# **In short.** `data`: what. `indices`: in which column. `indptr`: where each row begins.
#
# **Questions.**
# 1. What are the three lists of a matrix without any non-zeros?
# 2. Why must the columns of a row increase? (What would two entries with the same column mean?)
#
# **Source.** Tinney and Walker 1967; the names are SciPy's.

# %% [markdown]
# ## 2. A product that skips the zeros
#
# **Goal.** Multiply a CSR matrix with a dense one.
#
# **You need.** Section 1.
#
# **The idea.** A row of the result is a sum of rows of $X$, each times a number of $A$. Where the number is zero, the
# row of $X$ need not even be looked at. In a linear layer $A$ holds the weights, and $X$ has a column for each image of
# the batch.
#
# **The formula.**
#
# $$Y_i = \sum_{k=\text{indptr}[i]}^{\text{indptr}[i+1]-1} \text{data}[k] \cdot X_{\text{indices}[k]}$$
#
# **Predict.** $A$ is 4×6 with five non-zeros, $X$ is 6×3. How many multiplications does a dense product need, and how
# many does this one?

# %%
x = np.arange(18.0).reshape(6, 3)
by_hand, multiplications = np.zeros((4, 3)), 0
for row in range(4):
    for k in range(csr.indptr[row], csr.indptr[row + 1]):
        by_hand[row] += csr.data[k] * x[csr.indices[k]]
        multiplications += x.shape[1]
print(by_hand)
print(f"{multiplications} multiplications, dense {a.size * x.shape[1]}")

assert multiplications == 15, "Five non-zeros, three columns each."
assert np.array_equal(by_hand, a @ x), "Left out are only terms that are 0."
assert np.array_equal(by_hand, csr @ x), "The kernel adds up the same terms."
assert np.array_equal(by_hand, scipy.sparse.csr_array(a) @ x), "So does SciPy."

# %% [markdown]
# Now a real one: `fc1` of the article's pruned LeNet, and 64 images. The same three arrays, given to SciPy, are the same
# matrix.

# %%
trained = trained_lenet()
pruned = SparsePruner(trained, ARTICLE_SPARSITY).prune(trained)
w = pruned.fc1.weight.data
fc1, x = CSRMatrix.from_dense(w), np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
scipys = scipy.sparse.csr_array((fc1.data, fc1.indices, fc1.indptr), shape=fc1.shape)
print(fc1)
print(
    f"largest difference to NumPy {np.abs(fc1 @ x - w @ x).max():.1e}, to SciPy {np.abs(fc1 @ x - scipys @ x).max():.1e}"
)

assert fc1.data.size == 7680, "A quarter of 120 · 256 weights is left."
assert np.allclose(fc1 @ x, w @ x, atol=1e-4), "Same sums, in another order: only rounding may differ."
assert np.allclose(fc1 @ x, scipys @ x, atol=1e-4), "Same sums, in another order: only rounding may differ."

# %% [markdown]
# ### Step into the kernel
#
# Compiled, one instruction multiplies and adds a whole *vector* of neighbouring numbers (`fma`). Inside
# `with kernels.use("python"):` the very same lines run as Python, and Python's profiler can count them.
#
# **Predict.** One non-zero weight meets 64 images. How many `fma` does it cost? How many are there for all of `fc1`?

# %%
with kernels.use("python"), cProfile.Profile() as watcher:
    stepped = fc1 @ x
calls = {entry.code.co_name: entry.callcount for entry in watcher.getstats() if not isinstance(entry.code, str)}
print(f"a vector holds {lanes(x)} numbers; {calls['fma']:,} fma for {fc1.data.size:,} weights and 64 images")

assert np.allclose(stepped, fc1 @ x, atol=1e-4), "The same lines, as Python and compiled."
assert calls["fma"] * lanes(x) == fc1.data.size * 64, "Each weight multiplies 64 images, a vector at a time."

# %% [markdown]
# Here is why a batch matters: one weight, one column number, and then 64 multiply-adds on neighbouring numbers. To look
# on, put `breakpoint()` into `csr_matmul` in `compression/sparse/kernels/products.py` and call it inside `use("python")`.
#
# **In short.** The work of a sparse product is $z \cdot P$ multiply-adds for $P$ images, in place of $r \cdot c \cdot P$.
#
# **Questions.**
# 1. How would you compute $A^T X$ from the CSR form of $A$, without transposing first? Which rows are written, and why
#    is that harder on two threads?
# 2. Each row of the result is written by one thread. When could one thread have much more to do than the other?
#
# **Source.** Buluç and Gilbert 2008 and SciPy's documentation (`csr_array`).

# %% [markdown]
# ## 3. Bytes
#
# **Goal.** Account for every byte of the pruned LeNet, in several formats.
#
# **You need.** Section 1; the table of notebook 05, section 8.
#
# **The idea.** A column below 256 needs no 32 bits. Two bytes, one byte, or a single bit can say where a value stands:
#
# | format | where the values stand | bytes for that |
# |---|---|---|
# | CSR | a column for each, int32 or int16; where rows begin, int32 | $4z$ or $2z$, and $4(r+1)$ |
# | CSR, 8 bits | how many zeros lie before each, uint8; where rows begin | $z$ + padding, and $4(r+1)$ |
# | bit mask | one bit for each element of the matrix | $\lceil n / 8 \rceil$ |
#
# More than 255 zeros in between do not fit in a byte. There, a *padding zero* is stored as if it were a value.
#
# **Predict.** A row of 700 elements has values in the columns 3, 4 and 600. Which bytes stand before them, and how many
# padding zeros are needed?

# %%
row = np.zeros((1, 700), np.float32)
row[0, [3, 4, 600]] = 1, 2, 3
delta, mask = DeltaMatrix.from_dense(row), BitmaskMatrix.from_dense(row)
print("zeros before", delta.deltas)
print("values      ", delta.data)
print("first two bytes of the mask, lowest bit first:", [f"{byte:08b}"[::-1] for byte in mask.mask[:2]])

assert delta.deltas.tolist() == [3, 0, 255, 255, 83], "595 zeros lie between 4 and 600: 255 + 1 + 255 + 1 + 83."
assert mask.mask.size == 88, "700 bits, rounded up to whole bytes."

# %% [markdown]
# **Predict.** LeNet has 44,190 weights, 11,374 of them non-zero after the article's pruning; dense they take 176,760
# bytes. Sort the formats by size before you run the cell: CSR with 32, 16 and 8 bits, bit mask, and dense with one byte
# a weight (int8) in place of four.

# %%
ways = {
    "dense, float32": ("dense", np.float32),
    "CSR, int32 columns": ("csr", np.float32),
    "CSR, int16 columns": ("csr16", np.float32),
    "CSR, 8-bit deltas": ("csr8", np.float32),
    "bit mask": ("bitmask", np.float32),
    "dense, int8": ("dense", np.int8),
    "CSR, 8-bit deltas, int8": ("csr8", np.int8),
    "bit mask, int8": ("bitmask", np.int8),
}
sizes = {name: format_bytes(pruned, *way) for name, way in ways.items()}
smaller = {name: sizes["dense, float32"] / size for name, size in sizes.items()}
for name, size in sizes.items():
    print(f"{name:24}{size:8,} B   {smaller[name]:5.2f} × smaller")

published = [1, 1.92, 2.55, 3.06, 3.46, 4, 7.45, 10.46]
assert [round(ratio, 2) for ratio in smaller.values()] == published, "Weights only, row pointers of four bytes."

# %%
values = {name: 11_374 * np.dtype(way[1]).itemsize for name, way in ways.items()}
places = {name: sizes[name] - values[name] for name in ways}
dense = [way[0] == "dense" for way in ways.values()]

figure = Figure(figsize=(8, 3.4), layout="constrained")
ax = figure.subplots()
ax.barh(list(ways), [n / 1000 for n in values.values()], color=BLUE, label="non-zero values")
for is_dense, color, label in ((True, GREY, "zeros, written out"), (False, ORANGE, "where the values stand")):
    chosen = [name for name, d in zip(ways, dense, strict=True) if d == is_dense]
    left = [values[name] / 1000 for name in chosen]
    ax.barh(chosen, [places[name] / 1000 for name in chosen], left=left, color=color, label=label)
for name, size in sizes.items():
    ax.text(size / 1000 + 2, name, f"{smaller[name]:.2f} ×", va="center", fontsize=9)
ax.set(xlabel="weights of the pruned LeNet (kB, 1 kB = 1,000 bytes)", xlim=(0, 195), yticks=range(len(ways)))
ax.set_yticks(range(len(ways)), list(ways))
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="lower right")
display(figure)

# %% [markdown]
# Three quarters of the weights are gone, and CSR with 32-bit columns still takes half the bytes: a position costs as
# much as a value. With int8 values the *positions* are the larger part, unless they are single bits.
#
# **Predict.** Is the file as small as the accounting says? What else must be in it?

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "lenet.safetensors"
    parts = save_sparse(path, to_sparse(pruned, "bitmask"))
    on_disk = path.stat().st_size
    again = load_sparse(path, LeNet())
print(parts)
print(f"together {sum(parts):,} bytes; the file has {on_disk:,}")

assert parts.weights == sizes["bit mask"], "The weights take what the accounting says, to the byte."
assert parts.others == 4 * 236, "236 biases of four bytes."
assert sum(parts) == on_disk, "The rest is the header: names, shapes, formats, and a checksum."
assert np.array_equal(again.fc1.matrix.to_dense(), w), "Read again, the same weights."

# %% [markdown]
# **In short.** Sizes: 1 → 1.92 → 2.55 → 3.06 → 3.46 times smaller, from the widest positions to the narrowest. Below
# about 97 % zeros, one bit for each element is cheaper than 32 bits for each value.
#
# **Questions.**
# 1. Why 97 %? (Set $n/8 = 4z$.)
# 2. The article says "26.13 % of the size", which would be 3.83 times smaller. Which format comes nearest?
# 3. `conv1` has 150 weights. Which format is the best one for 22 non-zeros of 150? Check with `encode(..., name).nbytes`.
#
# **Source.** The pruning article, section 5; Han, Mao and Dally 2016, figure 2 (8-bit deltas).

# %% [markdown]
# ## 4. A small atlas of your machine
#
# **Goal.** Find out from how many zeros on a sparse product is faster than a dense one.
#
# **You need.** Section 2.
#
# **The idea.** Counting multiplications is not enough: the dense product is the best-tuned program on your computer. So
# measure. The contestants are NumPy's dense product; ours; CSR and bit mask with zeros anywhere; *blocks* of 4×4, with
# whole blocks of zeros; and *channels*: whole rows and columns are gone, and what is left is a smaller dense matrix. At
# one sparsity, all of the last four multiply with about as many weights.
#
# **The formula.** If a contestant does $v$ multiply-adds a second, then
#
# $$\frac{\text{sparse time}}{\text{dense time}} = (1 - s) \cdot \frac{v_\text{dense}}{v_\text{sparse}}$$
#
# and sparse is faster where this is below 1.
#
# **Predict.** For 1024×1024 and a batch of 64: from how many zeros on is CSR faster? And for a batch of *one* image?
# Draw the curves of the last four roughly before you look.

# %%
grid = Grid(shapes=((120, 256), (1024, 1024)), batches=(1, 64), sparsities=(0.3, 0.5, 0.7, 0.9), seconds=18)
atlas = measure_atlas(grid)
print(as_table(atlas))
print("\nFaster than NumPy's dense product:")
print(as_words(atlas))

assert len(atlas["points"]) == len(list(grid)), "Every shape with every batch and sparsity."

# %%
display(plot_atlas(atlas))

# %% [markdown]
# The line at 1 is NumPy's dense product. Below it, the format is faster; a diamond marks where it crosses.
#
# What to look for:
#
# - *Channels* fall about as the formula says with equal speeds: a smaller dense matrix is still a dense matrix. That is
#   what structured pruning is for.
# - With a batch, CSR and blocks win early: each weight that is read is used 64 times.
# - With one image, scattered zeros have a much harder time.
#
# Does a curve jump about, or stand 100 times too high? Then another program was busy: a kernel waits for the slowest of
# its threads. Close it, and run the cell again.
#
# **In short.** "Sparse is faster from 90 % on" is no law of nature. It depends on the shape, the batch, the kind of
# zeros, and on who wrote both programs.
#
# **Questions.**
# 1. Where did your prediction go wrong?
# 2. `minigrad atlas` measures more shapes, batches and sparsities, in about three minutes. What would change on a
#    machine with 64 cores?
#
# **Source.** Gale, Zaharia, Young and Elsen 2020 (the same question on a GPU).

# %% [markdown]
# ## 5. Why scattered zeros are hard for a CPU
#
# **Goal.** Explain the picture.
#
# **You need.** Sections 2 and 4.
#
# **The idea.** A dense product knows in advance what comes next: numbers lie beside each other, vectors are full, and
# each number that is loaded is used for several results before it is dropped. A scattered weight first has to be
# *found*: its column is read, then the row of $X$ that this names, which may lie anywhere.
#
# **The formula.** For one image, a weight is used once. Bytes read a multiply-add, at least:
#
# $$\text{dense: } 4 \qquad\qquad \text{CSR, int32: } 4 + 4 \text{, and a jump}$$
#
# With $P$ images a weight is used $P$ times, and this is divided by $P$.
#
# **Predict.** NumPy does some number of multiply-adds a nanosecond on the 1024×1024 matrix. How many does CSR do, with 1
# image and with 64: more, as many, half, a tenth?

# %%
size, rates = 1024 * 1024, {}
for point in (p for p in atlas["points"] if p["shape"] == [1024, 1024]):
    for name in ("numpy", "block", "csr"):
        done = size * point["batch"] * (1 if name == "numpy" else 1 - point["sparsity"])
        rates.setdefault((point["batch"], name), []).append(1e-9 * done / point["seconds"][name])
for (batch, name), values in rates.items():
    print(f"batch {batch:2}, {name:6}", "  ".join(f"{value:6.1f}" for value in values), " multiply-adds a nanosecond")

# %%
zeros = [100 * s for s in grid.sparsities]
styles = {"numpy": (GREY, "s--", "dense (NumPy)"), "block": (GREEN, "v-.", "4×4 blocks"), "csr": (BLUE, "o-", "CSR")}

figure = Figure(figsize=(9, 3.3), layout="constrained")
for ax, batch in zip(figure.subplots(1, 2, sharey=True), grid.batches, strict=True):
    for name, (color, style, label) in styles.items():
        ax.plot(zeros, rates[batch, name], style, color=color, label=label)
    ax.set(yscale="log", xlabel="weights that are zero (%)", title=f"1024×1024, batch {batch}")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("multiply-adds done per ns")
figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
display(figure)

# %% [markdown]
# Each curve shows how *fast* a format works on what it does not skip. Multiply with $1/(1-s)$, the work it saves, and
# you have the speed-up of section 4.
#
# With 64 images, one load of a weight feeds a whole run of neighbouring images, and the speed is near that of the dense
# product. With one image there is no run: what is left is one multiply-add after each jump, and the best that a kernel
# can do is to gather several such numbers at once. Whole rows and columns bring the neighbours back.
#
# **In short.** Speed-up = work saved × speed kept. Unstructured zeros save the most work at equal accuracy and keep the
# least speed; structured zeros the other way round.
#
# **Questions.**
# 1. Your phone classifies one picture at a time. Which kind of pruning would you use?
# 2. A bit mask has no columns to read, only bits. Why is it nevertheless slower than CSR?
#
# **Source.** Han et al. 2016 (EIE), which built hardware for exactly this; Mishra et al. 2021 (2:4, zeros with just
# enough structure).

# %% [markdown]
# ## 6. A format for each layer
#
# **Goal.** Make the article's pruned LeNet faster than the dense one, or know why not.
#
# **You need.** Sections 4 and 5.
#
# **The idea.** Nobody needs to guess: `plan` runs the model dense and in each format, takes the time of each layer where
# it stands, and picks. In the end the whole model must be faster than the dense one, by 2 %; otherwise layers become
# dense again.
#
# **The formula.** For layer $\ell$ and format $f$: choose $\arg\min_f t_{\ell, f}$, but dense unless $f$ is faster by
# 4 %: less can be chance.
#
# **Predict.** Batch 64. `conv1` has 22 of 150 weights left, `fc3` 168 of 840, and `fc1`, the largest, 7,680 of 30,720.
# Which of the five layers stay dense?

# %%
test = mnist("test")
by_batch = {batch: plan(pruned, test.images[:batch], seconds=1) for batch in (64, 1)}
print(by_batch[64])

assert list(by_batch[64].choices) == ["conv1", "conv2", "fc1", "fc2", "fc3"], (
    "A choice for each layer that has weights."
)

# %% [markdown]
# A convolution, dense or sparse, runs together with its ReLU and pooling as one kernel. So the planner times a layer
# *with what follows it*.
#
# **Predict.** And for a batch of one? Think of section 5.

# %%
print(by_batch[1])
changed = [name for name, choice in by_batch[1].choices.items() if choice != by_batch[64].choices[name]]
print(f"\nother choices than for 64 images: {', '.join(changed) or 'none'}")

# %%
found = by_batch[64]
kinds = [*found.layers[0].seconds]
colors = dict(zip(kinds, (GREY, BLUE, ORANGE, GREEN), strict=True))

figure = Figure(figsize=(8, 3), layout="constrained")
ax = figure.subplots()
for place, kind in enumerate(kinds):
    times = [1e6 * layer.seconds[kind] for layer in found.layers]
    style = {"color": colors[kind], "label": kind, "edgecolor": "white", "hatch": "////" if kind == "block" else None}
    bars = ax.bar(np.arange(len(times)) + 0.2 * (place - 1.5), times, 0.18, **style)
    marks = ["chosen" if layer.choice == kind else "" for layer in found.layers]
    ax.bar_label(bars, marks, rotation=90, padding=3, fontsize=9)
ax.set_xticks(range(len(found.layers)), [f"{layer.name}\n{100 * layer.sparsity:.0f} % zeros" for layer in found.layers])
ax.set(ylabel="time for 64 images (µs)", title="Each layer with what follows it")
ax.margins(y=0.25)
ax.legend(ncols=4, fontsize=9)
ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# The planned model gives the same answers. **Predict:** will its accuracy be higher, lower or equal?

# %%
planned = found.apply(pruned)
batches = evaluation_loader(test)
accuracy = {"pruned, dense": evaluate(pruned, batches), "planned": evaluate(planned, batches)}
for name, value in accuracy.items():
    print(f"{name:14}{value:.2f} %")
print(planned)

assert np.allclose(planned(test.images[:64]).data, pruned(test.images[:64]).data, atol=1e-4), "The same sums."
assert abs(accuracy["planned"] - accuracy["pruned, dense"]) < 0.05, "Rounding may turn one digit in thousands."

# %% [markdown]
# (The accuracy is low because nothing was trained after pruning: see notebook 05. A sparse model can be trained too: its
# values are parameters, and no zero ever comes back, since it is not there.)
#
# **In short.** The format is a question for each layer, batch and machine. Measuring takes a second.
#
# **Questions.**
# 1. The planner compares *times*. What if you have to send the model over a slow line? (`minigrad sparsify --format`.)
# 2. Layers are timed together with what follows them. When could two choices that are both good alone be bad together?
#
# **Source.** Frigo and Johnson 1998 (FFTW), whose plans are made by measuring.

# %% [markdown]
# ## Summary
#
# - CSR: `data` (what), `indices` (which column), `indptr` (where each row begins).
# - The product needs $z P$ multiply-adds. A kernel takes a weight and a whole run of images at a time.
# - Bytes: CSR 1.92 to 3.06 times smaller by the width of its positions, bit mask 3.46; with int8 values 7.45 and 10.46.
# - Speed-up = work saved × speed kept. Batches keep speed, structure keeps speed, scattered zeros and single images do
#   not.
# - `plan` measures each layer in its place and says why it chose what.
#
# On the command line: `minigrad atlas`, `minigrad sparsify CHECKPOINT --plan --out FILE`, `minigrad evaluate FILE`.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: to CSR.** Write down the three lists of this matrix.

# %% nbgrader={"grade": false, "grade_id": "07-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
a = np.array([[0.0, 7, 0], [0, 0, 0], [0, 0, 0], [1, 0, 9], [0, 0, 0]])
# indptr, indices, data = ... three lists
### BEGIN SOLUTION
indptr, indices, data = [0, 1, 1, 1, 3, 3], [1, 0, 2], [7, 1, 9]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "07-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("07-1", (indptr, indices, data), a=a)

# %% [markdown]
# **Exercise 2: sums of rows.** Compute the sum of each row of `fc1` from its three arrays, without making it dense.
# (Careful with rows that have no entries, such as row 7 below.)

# %% nbgrader={"grade": false, "grade_id": "07-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
lenet = trained_lenet()
w = SparsePruner(lenet, ARTICLE_SPARSITY).prune(lenet).fc1.weight.data.copy()
w[7] = 0
csr = CSRMatrix.from_dense(w)
# sums = ... an array of 120 numbers, made of csr.indptr and csr.data
### BEGIN SOLUTION
sums = np.array([csr.data[start:stop].sum() for start, stop in zip(csr.indptr[:-1], csr.indptr[1:], strict=True)])
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "07-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("07-2", sums, csr=csr)

# %% [markdown]
# **Exercise 3: bytes of a bit mask.** A layer is 300×784, with 8 % of its weights left: 18,816 float32 values. How many
# bytes does it take as a bit mask with its values? And how many as CSR with int32 columns and row pointers? Which is
# smaller?

# %% nbgrader={"grade": false, "grade_id": "07-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# mask_bytes, csr_bytes = ... two numbers
### BEGIN SOLUTION
mask_bytes, csr_bytes = 300 * 784 // 8 + 4 * 18_816, 4 * 18_816 + 4 * 18_816 + 4 * 301
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "07-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("07-3", (mask_bytes, csr_bytes))

# %% [markdown]
# **Exercise 4: where do they cross?** Somebody measured a dense product at 600 µs and CSR at 900, 750, 450 and 150 µs,
# for sparsities of 0.5, 0.6, 0.8 and 0.95. From which sparsity on is CSR faster? Draw a straight line between
# neighbouring points.

# %% nbgrader={"grade": false, "grade_id": "07-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# at = ... a number between 0 and 1
### BEGIN SOLUTION
at = 0.6 + (0.8 - 0.6) * (750 - 600) / (750 - 450)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "07-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("07-4", at)

# %% [markdown]
# ## Sources
#
# - The pruning article: "Model compression: pruning after training" (in Chinese: 模型压缩——训练后剪枝),
#   <https://blog.csdn.net/xiaojia1001/article/details/143900227>.
# - W. Tinney, J. Walker, "Direct solutions of sparse network equations by optimally ordered triangular factorization",
#   Proceedings of the IEEE 55, 1967.
# - S. Han, H. Mao, W. Dally, "Deep Compression", 2016, arXiv:1510.00149.
# - S. Han, X. Liu, H. Mao, J. Pu, A. Pedram, M. Horowitz, W. Dally, "EIE: efficient inference engine on compressed deep
#   neural network", 2016, arXiv:1602.01528.
# - T. Gale, M. Zaharia, C. Young, E. Elsen, "Sparse GPU kernels for deep learning", 2020, arXiv:2006.10901.
# - A. Mishra et al., "Accelerating sparse deep neural networks", 2021, arXiv:2104.08378.
# - A. Buluç, J. Gilbert, "On the representation and multiplication of hypersparse matrices", IPDPS 2008.
# - M. Frigo, S. Johnson, "FFTW: an adaptive software architecture for the FFT", ICASSP 1998.
