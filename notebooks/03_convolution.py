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
# # 03 · Convolution and pooling, from loops to kernels
#
# **Goal.** Write a convolution as seven plain loops, then as one matrix product, then step into the kernel that trains
# the networks of this course. Know where its gradient comes from, what max-pooling does with a gradient, and how to
# count the work.
#
# **What you need.** Python, a little NumPy, and the idea of a gradient. No GPU: the whole notebook runs in well under a
# minute on two cores.
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
import cProfile
import inspect
import time
import timeit

import numpy as np
from IPython.display import display
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.lib.stride_tricks import sliding_window_view

import minigrad
from checks import check
from minigrad import Tensor, kernels
from minigrad import functional as F
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE
from minigrad.compression.models import LENET_CHECKPOINT, LeNet
from minigrad.datasets import mnist
from minigrad.kernels import tiles
from minigrad.kernels.vector import lanes
from minigrad.ops.layout import innermost

test = mnist("test")
rng = np.random.default_rng(0)

# %% [markdown]
# ## 1. Seven loops
#
# **Goal.** Compute a whole convolution layer with nothing but loops.
#
# **You need.** Sums of products.
#
# **The idea.** Lay a small table of weights, the *filter*, on the image. Multiply each weight by the pixel under it,
# and add everything up: one number of the output. Move the filter by one pixel, and repeat. A layer does so for each
# image $n$ and each filter $f$, and an image may have several channels $c$.
#
# **The formula.** With images $x$ of shape $(N, C, H, W)$, filters $w$ of shape $(F, C, K_H, K_W)$ and biases $b$:
#
# $$y_{n,f,h,v} = b_f + \sum_{c} \sum_{i} \sum_{j} w_{f,c,i,j}\; x_{n,\,c,\,h+i,\,v+j}$$
#
# Strictly this is a *cross-correlation*: a convolution would flip the filter first. Every deep-learning library says
# convolution all the same, and so do we.
#
# **Predict.** One image with two channels of 5×5, three filters of 2×3×3. What is the shape of the output? How often
# does the innermost line run?

# %%
x = rng.integers(0, 4, (1, 2, 5, 5)).astype(np.float32)
w = rng.integers(-1, 2, (3, 2, 3, 3)).astype(np.float32)
b = np.array([0, 10, 20], np.float32)

y, multiply_adds = np.zeros((1, 3, 3, 3), np.float32), 0
for n in range(1):  # image
    for f in range(3):  # filter
        for h in range(3):  # row of the output
            for v in range(3):  # column of the output
                y[n, f, h, v] = b[f]
                for c in range(2):  # channel
                    for i in range(3):  # row of the filter
                        for j in range(3):  # column of the filter
                            y[n, f, h, v] += w[f, c, i, j] * x[n, c, h + i, v + j]
                            multiply_adds += 1
print(f"output {y.shape}, {multiply_adds} multiply-adds; the first filter's map:")
print(y[0, 0])

assert y.shape == (1, 3, 3, 3), "3 filters, and a 3×3 window has 5 - 3 + 1 = 3 places in each direction."
assert multiply_adds == 27 * 18, "27 output numbers, each a sum of 2 · 3 · 3 = 18 products."
assert np.array_equal(y, F.conv2d(x, w, b).data), "conv2d computes the same sums; on small whole numbers exactly."

# %% [markdown]
# Now a real image. The filter below has −1 on its left and +1 on its right: it answers "how much brighter is it on the
# right?" The second filter is the same one, turned.
#
# **Predict.** The digit is bright on black. What does the first filter give at the left border of a stroke, and what at
# its right border? Which filter finds the horizontal bar of the 7?

# %%
digit = test.images[:1]
across = np.array([[-1, 0, 1]] * 3, np.float32)
edges = F.conv2d(digit, np.stack([across, across.T])[:, None]).data[0]

figure = Figure(figsize=(9, 3.2), layout="constrained")
axes = figure.subplots(1, 3)
axes[0].imshow(digit[0, 0], cmap="gray")
axes[0].set_title("the digit, 28×28\nframe: one window")
row, column = 6, 11
axes[0].add_patch(Rectangle((column - 0.5, row - 0.5), 3, 3, fill=False, edgecolor=ORANGE, linewidth=2))
for ax, values, name in zip(axes[1:], edges, ("brighter to the right?", "brighter below?"), strict=True):
    shown = ax.imshow(values, cmap="PuOr_r", vmin=-9, vmax=9)
    ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2))
    ax.set_title(f"{name}\n26×26")
for ax in axes:
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
figure.colorbar(shown, ax=axes, label="output value")
display(figure)

window = digit[0, 0, row : row + 3, column : column + 3]
assert np.isclose(edges[0, row, column], (across * window).sum(), atol=1e-5), "The window's products, added up."
assert edges.shape == (2, 26, 26), "28 - 3 + 1 is 26."

# %% [markdown]
# The orange window on the digit became the one pixel with a black frame in each map. A left border is positive, a right
# border negative; even areas give 0.
#
# **In short.** Seven loops, one line inside. Each output number is a sum of $C \cdot K_H \cdot K_W$ products.
#
# **Questions.**
# 1. Four of the loops choose an output number, three add up. Which ones may run in any order, or at the same time?
# 2. What does the first filter give, if the image is made brighter everywhere by the same amount?
#
# **Source.** LeCun et al. 1998, section II; Prewitt 1970 (the edge filter). All sources are listed at the end.

# %% [markdown]
# ## 2. Stride, padding, dilation, groups: one number traced
#
# **Goal.** Know the four settings, and the output's size before any code runs.
#
# **You need.** Section 1.
#
# **The idea.** *Stride* $s$: the window moves by $s$ pixels. *Padding* $p$: $p$ rows and columns of zeros are put
# around the image. *Dilation* $d$: the filter's weights are spread, $d$ pixels apart. *Groups* $G$: channels and
# filters are split into $G$ parts that do not see each other.
#
# **The formulas.** For height, and likewise for width; with $c_0$ the first channel of the filter's group:
#
# $$H' = \left\lfloor \frac{H + 2p - d\,(K - 1) - 1}{s} \right\rfloor + 1 \qquad\qquad
# y_{n,f,h,v} = b_f + \sum_{c,i,j} w_{f,c,i,j}\; x_{n,\; c_0 + c,\; h s + i d - p,\; v s + j d - p}$$
#
# **Predict.** A 7×7 image and a 3×3 filter. How large is the output (a) as it is, (b) with stride 2, (c) with padding
# 1, (d) with dilation 2? Which pixels does the output number at row 1, column 0 look at in each case?

# %%
image, weights = np.arange(49.0).reshape(1, 1, 7, 7), np.ones((1, 1, 3, 3))
cases = [{}, {"stride": 2}, {"padding": 1}, {"dilation": 2}]
sizes = {}

figure = Figure(figsize=(10, 3), layout="constrained")
axes = figure.subplots(1, 4, sharey=True)
for ax, settings in zip(axes, cases, strict=True):
    seen = kernels.trace("conv2d", image, weights, at=(0, 0, 1, 0), **settings)
    ground = np.pad(np.ones((7, 7)), 1)  # 0: around, 1: image, 2: looked at, 3: looked at and padding
    ground[tuple(seen.places[:, 2:].T + 1)] = np.where(seen.inside, 2, 3)
    name = ", ".join(f"{key} {value}" for key, value in settings.items()) or "as it is"
    sizes[name] = F.conv2d(image, weights, **settings).shape[2:]
    palette = ListedColormap(["#FFFFFF", "#CCCCCC", BLUE, ORANGE])
    shown = ax.imshow(ground, cmap=palette, vmin=-0.5, vmax=3.5, extent=(-1.5, 7.5, 7.5, -1.5))
    ax.hlines(np.arange(-1.5, 8), -1.5, 7.5, color="black", linewidth=0.3)
    ax.vlines(np.arange(-1.5, 8), -1.5, 7.5, color="black", linewidth=0.3)
    ax.set(title=f"{name}: {sizes[name][0]}×{sizes[name][1]}", xlabel="column (pixels)", xticks=range(0, 7, 2))
axes[0].set(ylabel="row (pixels)", yticks=range(0, 7, 2))
bar = figure.colorbar(shown, ax=axes, ticks=range(4))
bar.ax.set_yticklabels(["around", "image", "looked at", "looked at:\npadding, 0"])
display(figure)

# %%
print(sizes)
for settings, (height, width) in zip(cases, sizes.values(), strict=True):
    s, p, d = (settings.get(key, usual) for key, usual in {"stride": 1, "padding": 0, "dilation": 1}.items())
    assert height == width == (7 + 2 * p - d * (3 - 1) - 1) // s + 1, (
        "Put the setting into the formula, and round down."
    )

# %% [markdown]
# All four together, and every single product: `kernels.trace` writes down how one output number comes about. Here are
# two channels and two groups, so each filter has one channel.
#
# **Predict.** For $y_{0,1,0,1}$ with stride 2, padding 1, dilation 2 and 2 groups: which channel does filter 1 see, at
# which rows and columns, and how many of its nine weights meet padding?

# %%
settings = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
x = rng.integers(0, 10, (1, 2, 7, 7)).astype(np.float32)
w = rng.integers(-2, 3, (2, 1, 3, 3)).astype(np.float32)
b = np.array([100, 200], np.float32)
steps = kernels.trace("conv2d", x, w, b, at=(0, 1, 0, 1), **settings)
print(steps)

y = F.conv2d(x, w, b, **settings).data
assert steps.result == y[0, 1, 0, 1], "The trace and the kernel compute one and the same number."
assert set(steps.places[:, 1]) == {1}, "Filter 1 is in group 1, which has channel 1 only."
assert (~steps.inside).sum() == 3, "Row 0 · 2 + 0 · 2 - 1 = -1 lies above the image: three weights meet padding."

# %% [markdown]
# And the window in motion: move it with the slider or the button, and change stride, padding and dilation on the way. The
# image is every fourth pixel of the 7, the filter the first one of section 1, "brighter to the right?". (Where sliders are
# not available, the cell shows the element in the middle.)
#
# **Predict.** With padding 1, how many of the 49 output elements have a window that reaches into the padding? And with
# stride 3, how many windows share a pixel with another one?

# %%
minigrad.debug.explore_window(test.pixels[0, ::4, ::4], across, padding=1)

# %% [markdown]
# **In short.** The settings change *where* a filter looks; what is done there stays the same sum.
#
# **Questions.**
# 1. With stride 2 on 7×7 and on 8×8 the output is 3×3 both times. What happens to the last row of the 8×8 image?
# 2. How many weights has a layer with 32 channels, 32 filters of 3×3 and 1 group? With 32 groups?
#
# **Source.** Dumoulin and Visin 2016.

# %% [markdown]
# ## 3. One matrix product
#
# **Goal.** Turn the seven loops into something that every computer does fast.
#
# **You need.** Matrix products.
#
# **The idea.** Write each window as a row of a matrix (*im2col*). Each filter, too, is a row of numbers. All sums of
# products of all windows with all filters are then one matrix product. The price: a pixel is copied as often as it lies
# under a window.
#
# **The formula.** With one row for each output place and one column for each weight:
#
# $$\underbrace{Y}_{N H' W' \,\times\, F} = \underbrace{X_\text{col}}_{N H' W' \,\times\, C K_H K_W}
# \cdot \underbrace{W^{\mathsf T}}_{C K_H K_W \,\times\, F} + b$$
#
# **Predict.** A 4×4 image and a 2×2 filter. How many rows and columns has the matrix, and how often does each of the
# four middle pixels occur in it?

# %%
x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
w = np.array([[[[1, 0], [0, 1]]]], np.float32)
columns = sliding_window_view(x, (2, 2), axis=(2, 3)).reshape(9, 4)
product = columns @ w.reshape(1, 4).T
print(
    "matrix:", columns.shape, "  pixel 5 occurs", np.sum(columns == 5), "times, pixel 0", np.sum(columns == 0), "time"
)

figure = Figure(figsize=(9, 3.6), layout="constrained")
panels = {"image\n4×4": x[0, 0], "windows as rows\n9×4": columns, "filter\n4×1": w.reshape(4, 1)}
panels["product\n9×1"] = product
for ax, (title, values) in zip(figure.subplots(1, 4, width_ratios=[4, 4, 1.6, 1.6]), panels.items(), strict=True):
    pixels = title.startswith(("image", "windows"))
    ax.imshow(values, cmap="cividis" if pixels else ListedColormap(["white"]), vmin=0, vmax=15)
    for (row, column), value in np.ndenumerate(values):
        ax.text(
            column, row, f"{value:.0f}", ha="center", va="center", color="white" if pixels and value < 8 else "black"
        )
    ax.set(title=title, xticks=[], yticks=range(len(values)), ylabel="row")
display(figure)

assert columns.shape == (9, 4), "Nine windows of four pixels."
assert np.sum(columns == 5) == 4, "A middle pixel lies under four windows, a corner under one."
assert np.array_equal(product.reshape(3, 3), F.conv2d(x, w).data[0, 0]), "The same sums, in the same places."

# %% [markdown]
# With several images and channels the axes must be brought into order first. We take the filters of the trained LeNet
# that comes with the package, and 64 digits.
#
# **Predict.** How many times larger than the images is the matrix for LeNet's first layer, 5×5 filters on 28×28 pixels?

# %%
lenet = LeNet()
minigrad.load_checkpoint(LENET_CHECKPOINT, lenet)
w, b = lenet.conv1.weight.data, lenet.conv1.bias.data
x = test.images[:64]

windows = sliding_window_view(x, (5, 5), axis=(2, 3))  # (N, C, H', W', KH, KW), a view: nothing is copied yet
columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(64 * 24 * 24, 25)  # the copy
y = (columns @ w.reshape(6, 25).T + b).reshape(64, 24, 24, 6).transpose(0, 3, 1, 2)
print(
    f"the images take {x.nbytes:,} bytes, the matrix {columns.nbytes:,}: {columns.nbytes / x.nbytes:.1f} times as many"
)

assert columns.nbytes // x.nbytes == 24 * 24 * 25 // (28 * 28), "24 · 24 windows of 25 pixels, for 28 · 28 pixels."
assert np.allclose(y, F.conv2d(x, w, b).data, atol=1e-4), "Is the order of the axes right, before and after?"

# %% [markdown]
# **In short.** A convolution *is* a matrix product, after the windows have been written out. That costs memory, and the
# time to write it.
#
# **Questions.**
# 1. Why does `np.allclose` need a tolerance here, when the seven loops agreed exactly?
# 2. How much larger is the matrix for a 1×1 filter? For which filters is im2col free?
#
# **Source.** Chellapilla, Puri and Simard 2006; Chetlur et al. 2014.

# %% [markdown]
# ## 4. The kernel: images side by side, results in registers
#
# **Goal.** Understand the one loop that trains every network of this course, and step into it.
#
# **You need.** Section 1. A *vector register* of a processor holds a few numbers side by side, for example 16 float32;
# one instruction multiplies and adds all of them. A *vector* below means the numbers of one register.
#
# **The idea.** (1) To fill a vector, take the same pixel of *many images*. For that, they must be neighbours in memory:
# the batch is the *innermost* axis, `(C, H, W, N)` instead of `(N, C, H, W)`. (2) A load or a store is an instruction
# too, like a multiply-add. So keep a *tile* of results in registers, six filters by four vectors, and add all products
# to it before it is stored, once.
#
# **The formula.** A tile of $f$ filters by $v$ vectors needs, for each weight position, $f + v$ operands for $fv$
# multiply-adds, and $fv + v + 1$ registers (results, pixels, a weight):
#
# $$\frac{\text{multiply-adds}}{\text{operands}} = \frac{f\,v}{f + v} \qquad\text{with}\qquad f v + v + 1 \le 32$$
#
# Below lie four images of 2×3 pixels in memory, in both orders. **Predict.** A vector of four takes four neighbours.
# What does it hold in each of the two?

# %%
x = np.arange(24).reshape(4, 1, 2, 3)  # number n * 6 + row * 3 + column
orders = {"(N, C, H, W)": x.ravel(), "(C, H, W, N)": innermost(x).ravel()}

figure = Figure(figsize=(10, 2.2), layout="constrained")
axes = figure.subplots(2, 1, sharex=True)
for ax, (name, memory) in zip(axes, orders.items(), strict=True):
    shown = ax.imshow(memory[None] // 6, cmap=ListedColormap([BLUE, ORANGE, GREEN, "#DDDDDD"]), vmin=-0.5, vmax=3.5)
    for place, number in enumerate(memory % 6):
        dark = memory[place] // 6 in (0, 2)
        ax.text(place, 0, f"{number // 3},{number % 3}", ha="center", va="center", color="white" if dark else "black")
    ax.add_patch(Rectangle((-0.45, -0.47), 4, 0.94, fill=False, linewidth=3, edgecolor="black"))
    ax.set(title=f"{name}: each cell shows row, column", yticks=[])
axes[1].set_xlabel("place in memory (the frame: one vector of four)")
figure.colorbar(shown, ax=axes, ticks=range(4), label="image")
display(figure)

assert len(set(orders["(N, C, H, W)"][:4] % 6)) == 4, "Image after image: four neighbours are four pixels of one image."
assert len(set(orders["(C, H, W, N)"][:4] % 6)) == 1, "Batch innermost: four neighbours are one pixel of four images."

# %% [markdown]
# With the image outermost, the vector runs over the end of a row: the last of its four pixels belongs to the next row
# and would need another window. Rows are short (8 numbers after LeNet's second convolution), so vectors would often be
# half empty, and each filter size and stride would need its own care. With the batch innermost, the loops are the same
# for all of them.
#
# Users never see this: a Tensor has the shape `(N, C, H, W)`, and only its *strides* (how many bytes to the next number
# along each axis) tell how it lies in memory. (An axis of length 1, such as the digits' channel, may have any stride.)

# %%
x = test.images[:64]
y = F.conv2d(x, w, b).data
print("strides of the input: ", x.strides, "    strides of the output:", y.strides)

assert x.strides[3] == 4, "The digits come from NumPy as usual: the next column is 4 bytes away."
assert y.strides[0] == 4, "The kernel's output: the next *image* is 4 bytes away. The next layer need not copy it."

# %% [markdown]
# Why six by four? The picture shows the multiply-adds for each operand, for all tiles that fit into the 32 registers of
# a core with AVX-512. **Predict.** Where will the largest numbers be?

# %%
f, v = np.mgrid[1:9, 1:9]
work = np.where(f * v + v + 1 <= 32, f * v / (f + v), np.nan)

figure = Figure(figsize=(6, 4), layout="constrained")
ax = figure.subplots()
shown = ax.imshow(work, cmap="cividis", extent=(0.5, 8.5, 8.5, 0.5), vmin=0)
for filters, vectors in np.argwhere(~np.isnan(work)) + 1:
    value = work[filters - 1, vectors - 1]
    ax.text(vectors, filters, f"{value:.1f}", ha="center", va="center", color="white" if value < 1.3 else "black")
ax.add_patch(Rectangle((3.5, 5.5), 1, 1, fill=False, linewidth=3, edgecolor=ORANGE))
ax.set(xlabel="vectors of images v", ylabel="filters f", xticks=range(1, 9))
ax.set_title("White: too many registers. Frame: the kernel's tile", fontsize=10)
figure.colorbar(shown, label="multiply-adds for each operand")
display(figure)

assert np.isnan(work[7, 4 - 1]), "8 · 4 + 4 + 1 = 37 registers: one would have to keep results in memory."
assert work[6 - 1, 4 - 1] > 0.95 * np.nanmax(work), "Six by four: 24 multiply-adds for 10 operands, near the best."

# %% [markdown]
# Five by five would be slightly better on paper. But LeNet's first layer has *six* filters, and a batch of 64 images is
# *four* vectors of 16: no part of the tile is wasted.
#
# Now into the kernel itself. `conv2d_forward` in `minigrad/kernels/conv.py` lays the weights of six filters side by
# side; its heart is `_sums` in `minigrad/kernels/tiles.py`.

# %%
print(inspect.getsource(tiles._sums))

# %% [markdown]
# `c0` to `c5` are six running sums of four vectors each (of two, where a core has 16 registers: `VECTORS`); they start at
# the biases. The loop goes over the places of the filters: channels, rows, columns. For each, four vectors of pixels are
# loaded, six weights are read, and 24 vector multiply-adds done. Only after the loop does the caller, `_wide_tile`, store
# the results.
#
# Inside `with kernels.use("python"):` the very same lines run as ordinary Python, and a vector is a small NumPy array.
# So Python's own profiler can count them.
#
# **Predict.** 64 images of 8×8, six filters of 5×5. How many vector multiply-adds (`fma`) are there for each `load`,
# and for each `store`?

# %%
x = test.images[:64, :, 10:18, 10:18].copy()
compiled = F.conv2d(x, w, b).data
with kernels.use("python"), cProfile.Profile() as watcher:
    stepped = F.conv2d(x, w, b).data
calls = {entry.code.co_name: entry.callcount for entry in watcher.getstats() if not isinstance(entry.code, str)}
for name in ("_wide_tile", "fma", "load", "store"):
    print(f"{name:11}{calls[name]:6,} calls")
difference = np.abs(stepped - compiled).max()
print(f"a vector holds {lanes(x)} float32; Python and compiled differ by at most {difference:.1e}")

assert calls["fma"] * lanes(x) == 64 * 6 * 4 * 4 * 25, "All multiply-adds of the layer, a vector at a time."
assert calls["fma"] == 6 * calls["load"], "Each loaded vector is used by all six filters."
assert calls["fma"] == 25 * calls["store"], "25 products are added up before a result is stored."
assert difference < 1e-4, "The same lines: only the rounding of the last bits may differ."

# %% [markdown]
# The seven loops of section 1 load two numbers, and load and store a third, for *each* multiply-add.
#
# **In short.** Same sum, other order: images innermost fill the vectors, tiles keep results in registers. To step
# through it, put `breakpoint()` into `_sums` and call it inside `use("python")`.
#
# **Questions.**
# 1. The compiled `fma` computes $a b + c$ and rounds once; Python rounds twice. Which one is nearer to the truth?
# 2. A layer with 16 filters in three tiles of six would compute two filters in vain. What share of the work is that, and
#    what does the kernel do instead? (See `_filter` in `minigrad/kernels/conv.py`, and the `if`s of `_sums`.)
# 3. A core with AVX2 has 16 registers of 8 float32. Which tile would you choose there? (`VECTORS` in
#    `minigrad/kernels/tiles.py` says what the kernel does.)
# 4. What will happen if only *one* image is given? (Section 5 answers.)
#
# **Source.** Goto and van de Geijn 2008 (tiles in registers); Lavin 2015 (a GPU kernel with tiles, and the layout of
# cuda-convnet2); Lam, Pitrou and Seibert 2015 (Numba).

# %% [markdown]
# ## 5. How much faster?
#
# **Goal.** Measure what the sections before promised.
#
# **You need.** Sections 1, 3 and 4.
#
# **The idea.** All ways compute the same numbers, so compare the time for the same small job: two digits and LeNet's
# first layer. The number of multiply-adds is the same for all of them; what differs is what happens around each.
#
# **The formula.** $\text{ratio} = \text{seconds of a way} \,/\, \text{seconds of the compiled kernel}$. Ratios differ
# from computer to computer, but far less than seconds do.
#
# **Predict.** Order the four by their time, and guess the ratios: the seven loops, the kernel run as Python, im2col
# with NumPy's matrix product, the compiled kernel.

# %%
x, results, seconds = test.images[:2], {}, {}
y = np.zeros((2, 6, 24, 24), np.float32) + b[:, None, None]
start = time.perf_counter()
for n, f, h, v, c, i, j in np.ndindex(2, 6, 24, 24, 1, 5, 5):  # the seven loops, in one line
    y[n, f, h, v] += w[f, c, i, j] * x[n, c, h + i, v + j]
results["seven loops"], seconds["seven loops"] = y, time.perf_counter() - start

ways = {
    "im2col + matmul": lambda: (
        sliding_window_view(x, (5, 5), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5).reshape(-1, 25) @ w.reshape(6, 25).T + b
    ),
    "kernel, compiled": lambda: F.conv2d(x, w, b).data,
}
for name, way in ways.items():
    results[name], seconds[name] = way(), min(timeit.repeat(way, number=5, repeat=100)) / 5
results["im2col + matmul"] = results["im2col + matmul"].reshape(2, 24, 24, 6).transpose(0, 3, 1, 2)
with kernels.use("python"):
    results["kernel, as Python"] = ways["kernel, compiled"]()
    seconds["kernel, as Python"] = min(timeit.repeat(ways["kernel, compiled"], number=1, repeat=3))
for name, result in results.items():
    assert np.allclose(result, results["seven loops"], atol=1e-4), f"{name}: other numbers than the seven loops."

# %%
ratios = {name: s / seconds["kernel, compiled"] for name, s in sorted(seconds.items(), key=lambda item: -item[1])}
figure = Figure(figsize=(7, 2.4), layout="constrained")
ax = figure.subplots()
bars = ax.barh(list(ratios), list(ratios.values()), color=[BLUE if "kernel" in name else GREY for name in ratios])
ax.bar_label(bars, [f"{ratio:,.{0 if ratio > 10 else 1}f} ×" for ratio in ratios.values()], padding=4)
ax.set(
    xscale="log",
    xlim=(0.5 * min(ratios.values()), 20 * max(ratios.values())),
    xlabel="time (compiled kernel = 1, log scale)",
)
ax.set_title("One job, four ways")
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# Even *as Python* the kernel needs far fewer steps than the seven loops, since each step handles a whole vector.
#
# Two images are few. The next picture shows LeNet's *second* layer (6 channels of 12×12, 16 filters of 5×5) for more
# and more images at once. **Predict.** What happens to the time *per image*, in the kernel and in im2col?

# %%
w2, b2 = lenet.conv2.weight.data, lenet.conv2.bias.data
ways = {
    "kernel, compiled": lambda x: F.conv2d(x, w2, b2).data,
    "im2col + matmul": lambda x: (
        sliding_window_view(x, (5, 5), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5).reshape(-1, 150) @ w2.reshape(16, 150).T
        + b2
    ),
}
batches, per_image = [1, 2, 4, 8, 16, 32, 64, 128], {}
for name, way in ways.items():  # the kernel first: BLAS threads stay busy for a while after a large product
    per_image[name] = []
    for count in batches:
        x = rng.standard_normal((count, 6, 12, 12)).astype(np.float32)
        seconds_a_call = min(timeit.repeat(lambda x=x, way=way: way(x), number=2, repeat=50)) / 2
        per_image[name].append(seconds_a_call / count)
unit = per_image["kernel, compiled"][batches.index(64)]

# %%
figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
for (name, times), style, color in zip(per_image.items(), ("o-", "s--"), (BLUE, GREY), strict=True):
    ax.plot(batches, np.array(times) / unit, style, color=color, label=name)
ax.axhline(1, color=ORANGE, linewidth=1)
ax.set(xscale="log", yscale="log", xlabel="images at once", ylabel="time per image\n(kernel with 64 = 1)")
ax.set_xticks(batches, [str(count) for count in batches])
ax.set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
ax.minorticks_off()
ax.set_title("Batch innermost wants a batch")
ax.spines[["top", "right"]].set_visible(False)
ax.legend()
display(figure)
for name, times in per_image.items():
    print(f"{name:17}", "  ".join(f"{count}: {t / unit:.1f}" for count, t in zip(batches, times, strict=True)))

# %% [markdown]
# A row of one image has 8 output columns. Where a vector holds 16 float32, that is too short for even one of them: the
# kernel goes number by number (`_narrow_tile`, with `alone`). Part of the cost of a small batch is also the call itself,
# which takes the same time for 1 image and for 128. That is the price of this layout. Training, with its batches of 64,
# never pays it.
#
# **In short.** Nothing was saved in multiplications. What was saved is everything else: Python's steps, copies, loads
# and stores.
#
# **Questions.**
# 1. Why do we take the *smallest* of several times, not their mean?
# 2. If you could only serve single images, which of the layouts would you take?
#
# **Source.** The same as in section 4.

# %% [markdown]
# ## 6. The gradients of a convolution are convolutions
#
# **Goal.** Compute both gradients with `conv2d` itself.
#
# **You need.** Gradients; section 2.
#
# **The idea.** Let $g$ be the gradient of the loss with respect to the output $y$. Each product $w \cdot x$ in the sum
# of section 1 passes $g$ on to its two factors: $w$ gets $g x$, and $x$ gets $g w$. Now collect. A *weight* meets one
# pixel at each output place: correlate the input with $g$. A *pixel* meets a different weight in each window it lies
# in: correlate $g$ with the filter, flipped, and with filters and channels exchanged. Windows at the border hang over,
# so $g$ is padded by $K - 1$ (a *full* correlation).
#
# **The formulas.** For stride 1, no padding and no dilation:
#
# $$\frac{\partial L}{\partial w_{f,c,i,j}} = \sum_{n,h,v} g_{n,f,h,v}\; x_{n,c,h+i,v+j} \qquad
# \frac{\partial L}{\partial x_{n,c,r,s}} = \sum_{f,i,j} w_{f,c,i,j}\; g_{n,f,r-i,s-j} \qquad
# \frac{\partial L}{\partial b_f} = \sum_{n,h,v} g_{n,f,h,v}$$
#
# **Predict.** Below, $g$ is 0 except at two places. What does the gradient of the image look like? And if all of $g$
# and all weights are 1: which number does the gradient have in a corner, and which in the middle?

# %%
w = np.arange(1.0, 10).reshape(1, 1, 3, 3)
sparse_g = np.zeros((1, 1, 4, 4))
sparse_g[0, 0, 0, 0], sparse_g[0, 0, 2, 3] = 1, -1
gradients = []
for filters, g in ((w, sparse_g), (np.ones_like(w), np.ones_like(sparse_g))):
    pixels = Tensor(np.zeros((1, 1, 6, 6)), requires_grad=True)
    F.conv2d(pixels, filters).backward(g)
    gradients.append(pixels.grad)

figure = Figure(figsize=(10, 3), layout="constrained")
panels = {"filter": w, "gradient g\nof the output": sparse_g, "gradient\nof the image": gradients[0]}
panels["the same, if all of g\nand all weights are 1"] = gradients[1]
axes = figure.subplots(1, 4)
for ax, (title, values) in zip(axes, panels.items(), strict=True):
    shown = ax.imshow(values[0, 0], cmap="PuOr_r", vmin=-9, vmax=9)
    for (row, column), value in np.ndenumerate(values[0, 0]):
        ax.text(column, row, f"{value:.0f}", ha="center", va="center", color="white" if abs(value) > 6 else "black")
    ax.set(title=title, xlabel="column", ylabel="row", xticks=range(len(values[0, 0])), yticks=range(len(values[0, 0])))
figure.colorbar(shown, ax=axes, label="value")
display(figure)

assert np.array_equal(gradients[0][0, 0, :3, :3], w[0, 0]), "g = 1 at (0, 0) stamps the filter at (0, 0), unflipped."
assert gradients[1][0, 0, 0, 0] == 1, "A corner lies in one window only."
assert gradients[1][0, 0, 2, 2] == 9, "The middle lies in nine windows."

# %% [markdown]
# Seen from $g$, each output number *stamps* the filter onto the image. Seen from the image, each pixel *gathers* what
# it gets. The kernel gathers: then each task writes only to its own row, and several threads never meet.
#
# **Predict.** Two images, three channels of 6×6, four filters of 3×3. Which shapes have $g$ and the flipped, exchanged
# filters, and which padding is needed?

# %%
x, w, b = rng.standard_normal((2, 3, 6, 6)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)
tensors = [Tensor(values, requires_grad=True) for values in (x, w, b)]
y = F.conv2d(*tensors)
g = rng.standard_normal(y.shape)
y.backward(g)

flipped = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)  # (F, C, KH, KW) -> (C, F, KH, KW)
grad_x = F.conv2d(g, flipped, padding=2).data
grad_w = F.conv2d(x.transpose(1, 0, 2, 3), g.transpose(1, 0, 2, 3)).data.transpose(1, 0, 2, 3)
grad_b = g.sum(axis=(0, 2, 3))
for name, ours, tensor in zip("xwb", (grad_x, grad_w, grad_b), tensors, strict=True):
    print(f"gradient of {name}: shape {ours.shape}, largest difference {np.abs(ours - tensor.grad).max():.1e}")
    assert np.allclose(ours, tensor.grad), f"The gradient of {name}: compare with its formula, index by index."
unflipped = F.conv2d(g, w.transpose(1, 0, 2, 3), padding=2).data
print(f"without the flip: largest difference {np.abs(unflipped - grad_x).max():.1e}")

assert flipped.shape == (3, 4, 3, 3), "g has 4 channels, and 3 maps are to come out."
assert not np.allclose(unflipped, grad_x), "Only a filter that looks the same when flipped hides the mistake."

# %% [markdown]
# That compares two ways of applying the same formula. `gradcheck` asks somebody else: it moves each input a little and
# looks how the result changes. It also works where our three lines do not, with stride, dilation and groups.

# %%
minigrad.gradcheck(F.conv2d, [x, w, b])
cases = [{"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": (1, 2), "padding": (2, 1), "dilation": (1, 2)}]
for settings in cases:
    right = minigrad.gradcheck(lambda x, w, b, settings=settings: F.conv2d(x, w, b, **settings), [x, w, b])
    print(settings, "gradients right:", right)
right = minigrad.gradcheck(lambda x, w: F.conv2d(x, w, groups=2), [x[:, :2], w[:, :1]])
print({"groups": 2}, "gradients right:", right)

assert right is True, "gradcheck returns True, or raises with a table of what differs."

# %% [markdown]
# **In short.** Backward costs as much as two forwards: one for the weights, one for the image. Same sums, same kind of
# kernel.
#
# **Questions.**
# 1. The first layer of a network needs no gradient of its input. What does that save?
# 2. With stride 2, how must $g$ be prepared, so that the gradient of the image is again a correlation? (Think of zeros
#    *between* its numbers.)
#
# **Source.** Goodfellow, Bengio and Courville 2016, section 9.5; Dumoulin and Visin 2016, chapter 4.

# %% [markdown]
# ## 7. Pooling: which pixel gets the gradient?
#
# **Goal.** Follow a gradient back through max-pooling and average pooling, and know what happens in a tie.
#
# **You need.** Section 6.
#
# **The idea.** *Max-pooling* keeps the largest number of each window. Only this number had any influence, so it alone
# gets the gradient. The kernel therefore writes down *where* the largest was: one byte, its place in the window,
# counted row by row from 0. *Average pooling* takes the mean, and shares the gradient out evenly.
#
# **The formulas.** For a window $\Omega$ with $k$ pixels, and $m$ the place of the largest:
#
# $$y = \max_{q \in \Omega} x_q \quad\Rightarrow\quad \frac{\partial y}{\partial x_q} = \begin{cases} 1 & q = m \\
# 0 & \text{otherwise} \end{cases} \qquad\qquad y = \frac{1}{k} \sum_{q \in \Omega} x_q \quad\Rightarrow\quad
# \frac{\partial y}{\partial x_q} = \frac{1}{k}$$
#
# **Predict.** In the 4×4 image below, which four pixels win, and which byte (0 to 3) is written down for each window?

# %%
image = np.array([[1, 3, 2, 0], [4, 2, 1, 1], [0, 5, 7, 6], [2, 2, 3, 8]], np.float32)[None, None]
g = np.array([[10, 20], [30, 40]], np.float32)[None, None]
print(image[0, 0])
print(kernels.trace("max_pool2d", image, at=(0, 0, 1, 1), kernel_size=2))

largest, mean = Tensor(image, requires_grad=True), Tensor(image, requires_grad=True)
y = F.max_pool2d(largest, 2)
index = y.op.index[:, :, :, 0]  # (C, H', W', N): the batch is innermost here too
print("the bytes:", index[0].tolist())
y.backward(g)
F.avg_pool2d(mean, 2).backward(g)

assert y.data[0, 0].tolist() == [[4, 2], [5, 8]], "The largest number of each 2×2 square."
assert index[0].tolist() == [[2, 0], [1, 3]], "0 is above left, 1 above right, 2 below left, 3 below right."

# %%
figure = Figure(figsize=(10, 3), layout="constrained")
panels = {"image,\nwinners framed": image, "gradient\nof the output": g}
panels |= {"max-pooling:\ngradient of the image": largest.grad, "average pooling:\ngradient of the image": mean.grad}
axes = figure.subplots(1, 4)
for ax, (title, values) in zip(axes, panels.items(), strict=True):
    first = ax is axes[0]
    shown = ax.imshow(values[0, 0], cmap="gray" if first else "Oranges", vmin=0, vmax=8 if first else 40)
    for (row, column), value in np.ndenumerate(values[0, 0]):
        white = value < 4 if first else value > 25
        ax.text(column, row, f"{value:g}", ha="center", va="center", color="white" if white else "black")
    ax.set(title=title, xlabel="column", ylabel="row", xticks=range(len(values[0, 0])), yticks=range(len(values[0, 0])))
    for line in (0.5, 1.5, 2.5) if len(values[0, 0]) == 4 else ():
        ax.axhline(line, color="black", linewidth=2 if line == 1.5 else 0.3)
        ax.axvline(line, color="black", linewidth=2 if line == 1.5 else 0.3)
for row, column in np.argwhere(largest.grad[0, 0]):
    axes[0].add_patch(Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, fill=False, edgecolor=ORANGE, linewidth=3))
figure.colorbar(shown, ax=axes, label="gradient")
display(figure)

assert largest.grad.sum() == mean.grad.sum() == g.sum(), "Both pass on all of the gradient; they share it differently."

# %% [markdown]
# Average pooling is a convolution with equal weights, one group a channel. Max-pooling is no convolution: it is not
# linear.
#
# **Predict.** *Ties.* All four numbers of a window are equal. Where does the gradient go? And what would finite
# differences, $\frac{y(x_q + \varepsilon) - y(x_q - \varepsilon)}{2 \varepsilon}$, say for one of the four? (Raise one
# of four equal numbers; lower one of them.)

# %%
averaging = np.full((1, 1, 2, 2), 0.25, np.float32)
assert np.array_equal(F.avg_pool2d(image, 2).data, F.conv2d(image, averaging, stride=2).data), "Mean = weights of 1/4."

tied = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
F.max_pool2d(tied, 2).backward(np.ones((1, 1, 1, 1)))
print("gradient in a tie:", tied.grad.ravel().tolist())
try:
    minigrad.gradcheck(lambda x: F.max_pool2d(x, 2), [np.ones((1, 1, 2, 2))])
except minigrad.GradcheckError as error:
    sentence = str(error)
print(sentence)

assert tied.grad.ravel().tolist() == [1, 0, 0, 0], "Of equal numbers the first, row by row, gets everything."
assert "4 gradient elements differ" in sentence, "At a tie there is no derivative, so nobody can confirm one."

# %% [markdown]
# Raising one of the equal numbers raises the maximum, lowering it does not: the difference says ½ for all four, times
# the random weight that `gradcheck` gives the output. Neither answer is *the* derivative: at a tie the maximum has a
# kink. A rule has to be chosen, and "the first" is cheap and always gives the same result.
#
# Ties are not rare: the black background of a digit is full of them.
#
# **Predict.** A gradient of 1 goes into every window of a digit. Where do you expect a regular pattern?

# %%
digit_grads = {}
for name, pool in {"max-pooling": F.max_pool2d, "average pooling": F.avg_pool2d}.items():
    pixels = Tensor(digit, requires_grad=True)
    pool(pixels, 2).backward(np.ones((1, 1, 14, 14), np.float32))
    digit_grads[name] = pixels.grad[0, 0]

figure = Figure(figsize=(9, 3.2), layout="constrained")
axes = figure.subplots(1, 3)
axes[0].imshow(digit[0, 0], cmap="gray")
axes[0].set_title("the digit\n")
for ax, (name, values) in zip(axes[1:], digit_grads.items(), strict=True):
    shown = ax.imshow(values, cmap="Oranges", vmin=0, vmax=1)
    ax.contour(digit[0, 0], levels=[1], colors="black", linewidths=1)
    ax.set_title(f"{name}:\nwho gets the gradient")
for ax in axes:
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
figure.colorbar(shown, ax=axes, label="gradient")
display(figure)

flat = digit[0, 0].reshape(14, 2, 14, 2).std(axis=(1, 3)) == 0  # windows of four equal pixels
assert digit_grads["max-pooling"][::2, ::2][flat].all(), "In each even window, the pixel above left is the first."
print(f"{flat.sum()} of {flat.size} windows are ties of four equal pixels")

# %% [markdown]
# **In short.** Max-pooling sends the gradient to one pixel, average pooling to all; the sum is the same. In a tie, the
# first wins.
#
# **Questions.**
# 1. After ReLU, which value do most ties have? Why does it then not matter who gets the gradient?
# 2. One byte for the place: how large may a window be?
# 3. Padding adds zeros for average pooling, but $-\infty$ for max-pooling. Why not 0?
#
# **Source.** Scherer, Müller and Behnke 2010; Goodfellow, Bengio and Courville 2016, section 9.3.

# %% [markdown]
# ## 8. Counting the work
#
# **Goal.** Count multiply-accumulates by hand and by machine, and compare them with the time.
#
# **You need.** Sections 2 and 6.
#
# **The idea.** One *multiply-accumulate* (MAC) is one product, added to a sum: the innermost line of the seven loops.
# Counting them needs no clock.
#
# **The formula.** For one convolution with $G$ groups; a MAC counts as two floating-point operations:
#
# $$\text{MACs} = N \cdot F \cdot H' \cdot W' \cdot \frac{C}{G} \cdot K_H \cdot K_W$$
#
# **Predict.** LeNet's `conv1`: 6 filters of 1×5×5, output 24×24. `conv2`: 16 filters of 6×5×5, output 8×8. How many
# MACs for one image? How many has pooling?

# %%
found = minigrad.summary(lenet, (1, 1, 28, 28))
print(found)

macs = {layer.path: layer.macs for layer in found.layers}
assert macs["conv1"] == 6 * 24 * 24 * 1 * 5 * 5, "3,456 output numbers, each a sum of 25 products."
assert macs["conv2"] == 16 * 8 * 8 * 6 * 5 * 5, "1,024 output numbers, each a sum of 150 products."
assert macs["maxpool"] == 0, "Pooling compares. It multiplies nothing."

# %% [markdown]
# `summary` counts a forward. `profile` watches everything that runs in its block, forward and backward, and takes the
# time. It counts operations, two for each MAC.
#
# **Predict.** A training step on 64 images. How many times the forward's operations does the *backward* of the two
# convolutions take: 1, 1.65 or 2 times? (Section 6, question 1.) And do ReLU and pooling take time, though they
# multiply nothing?

# %%
images, targets = test.images[:64], test.labels[:64]
blocks = []
for _ in range(20):  # 20 blocks of 3 steps; the quietest one is least disturbed by whatever else the computer does
    with minigrad.profile(show=False) as p:
        for _ in range(3):
            F.cross_entropy(lenet(images), targets).backward()
    blocks.append(p)
p = min(blocks, key=lambda p: p.seconds)
print(p)

conv = p.rows["conv2d"]
print(f"\nconv2d: backward has {conv.backward_flops / conv.forward_flops:.2f} times the forward's operations")
both = 2 * 64 * 3  # two operations a MAC, 64 images, 3 steps
biases = 64 * 3 * (6 * 24 * 24 + 16 * 8 * 8)  # the gradient of a bias is one addition for each output number
assert conv.forward_flops == both * (macs["conv1"] + macs["conv2"]), "Two operations a MAC, 64 images, 3 steps."
backward = both * (macs["conv1"] + 2 * macs["conv2"]) + biases
assert conv.backward_flops == backward, "conv2 needs both gradients; conv1 only that of its weights."

# %%
names = sorted(p.rows, key=lambda name: -p.rows[name].seconds)[:5]
total = p.total()
shares = {"operations": [100 * p.rows[name].flops / total.flops for name in names]}
shares["time"] = [100 * p.rows[name].seconds / total.seconds for name in names]

figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
for offset, (name, share), color in zip((-0.2, 0.2), shares.items(), (GREY, BLUE), strict=True):
    bars = ax.barh(np.arange(5) + offset, share, height=0.38, color=color, label=f"share of the {name}")
    ax.bar_label(bars, [f"{value:.1f} %" for value in share], padding=3, fontsize=9)
ax.set_yticks(range(5), names)
ax.set(xlim=(0, 100), xlabel="share of the training step (%)", title="A training step of LeNet, by op")
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="lower right")
display(figure)

# %% [markdown]
# ReLU and pooling do hardly any arithmetic, but they read and write whole maps. Their share of the time is far above
# their share of the operations: what they cost is *memory*.
#
# **In short.** MACs tell how much there is to compute, not how long it takes.
#
# **Questions.**
# 1. With stride 2 in `conv1`, how many MACs would the two convolutions have? (`conv2` then gets smaller maps as well.)
# 2. `of peak` in the table compares each op with what the machine can do at best. Which op is furthest from it?
#
# **Source.** Williams, Waterman and Patterson 2009 (operations and bytes against a machine's peak).

# %% [markdown]
# ## 9. ReLU and pooling at once: the peephole
#
# **Goal.** Save memory traffic without changing a single bit.
#
# **You need.** Sections 7 and 8.
#
# **The idea.** ReLU reads the maps and writes them; pooling reads them again. Together they could read them once. In
# the pooling kernel that costs nothing: the search for the largest number starts at 0 instead of at the first number.
# If nothing beats the 0, it writes down the byte 255, which means: the gradient stops here. Inside `with F.fusion():` a
# ReLU that follows a convolution *waits* until it is known what comes next. If it is max-pooling, the two run as one.
#
# **The formula.** A maximum of maxima is a maximum, in any order, and nothing is rounded:
#
# $$\max_{q} \max(0, x_q) = \max\Bigl(0, \max_{q} x_q\Bigr)$$
#
# **Predict.** Which ops run with fusion on, and which with it off? Will results and gradients agree in all bits, or up
# to rounding?

# %%
g = rng.standard_normal((64, 6, 12, 12)).astype(np.float32)
outputs, moved = {}, {}
for on in (False, True):
    lenet.conv1.weight.grad = None
    with F.fusion(on), minigrad.profile(show=False) as p:
        y = F.max_pool2d(F.relu(lenet.conv1(images)), 2)
        y.backward(g)
    outputs[on] = y.data.tobytes(), lenet.conv1.weight.grad.tobytes()
    moved[on] = {name: row.bytes / 1e6 for name, row in p.rows.items()}
    print(f"fusion {'on' if on else 'off':4}", {name: f"{mb:.1f} MB" for name, mb in moved[on].items()})

assert outputs[False] == outputs[True], "Outputs and gradients must be the same, bit for bit."
assert "relu_max_pool2d" in moved[True], "The two ops became one."
assert "relu" not in moved[True], "With fusion on, no ReLU runs of its own."

# %%
figure = Figure(figsize=(7, 2.8), layout="constrained")
ax = figure.subplots()
colors = {"conv2d": GREY, "relu": ORANGE, "max_pool2d": BLUE, "relu_max_pool2d": GREEN}
hatches = {"relu_max_pool2d": "///"}  # its green looks grey to some
left = {"fusion off": 0, "fusion on": 0}
for name, color in colors.items():
    sizes = [moved[on].get(name, 0) for on in (False, True)]
    ax.barh(
        list(left), sizes, left=list(left.values()), color=color, label=name, edgecolor="white", hatch=hatches.get(name)
    )
    left = {bar: start + size for (bar, start), size in zip(left.items(), sizes, strict=True)}
for bar, total in left.items():
    ax.text(total + 0.1, bar, f"{total:.1f} MB", va="center")
ax.set(xlim=(0, 1.15 * max(left.values())), title="conv1, ReLU and pooling of 64 images")
ax.set_xlabel("bytes read and written, forward and backward (MB)")
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
figure.legend(loc="outside lower center", ncols=4)
display(figure)

# %% [markdown]
# Where no gradient is recorded, even the convolution waits, and all three run as one kernel: the rows of the
# convolution that one pooled row needs never leave the cache.
#
# **Predict.** A waiting result already knows its shape. What makes it run?

# %%
with minigrad.no_grad(), F.fusion():
    waiting = F.relu(lenet.conv1(images))
    print(type(waiting).__name__, waiting.shape, "has run:", waiting.call is None)
    looked_at = waiting.data
    print("after a look at .data, has run:", waiting.call is None)

times, bits = {False: [], True: []}, {}
with minigrad.no_grad():
    for on in [False, True] * 30:
        with F.fusion(on):
            bits[on] = F.max_pool2d(F.relu(lenet.conv1(images)), 2).data.tobytes()
            times[on] += timeit.repeat(lambda: F.max_pool2d(F.relu(lenet.conv1(images)), 2), number=5, repeat=3)
print(f"without gradients: off takes {min(times[False]) / min(times[True]):.1f} times as long as on")

assert waiting.call is None, "Whoever looks at a waiting result gets it computed first."
assert bits[False] == bits[True], "One kernel or three ops: the same bits."

# %% [markdown]
# `minigrad.train` and `minigrad.evaluate` switch fusion on by themselves. In your own code it is off: a result that
# waits would go wrong if its input were written over in the meantime, and only `train` and `evaluate` know that nobody
# does. `with F.fusion(False):` around them switches it off.
#
# **In short.** The fastest way to move a byte is not to move it. And a shortcut is worth having if it gives the same
# bits as the long way.
#
# **Questions.**
# 1. Would fusing ReLU with *average* pooling be as easy?
# 2. Can ReLU and max-pooling be exchanged for max-pooling and ReLU? And sigmoid and max-pooling? What has a function to
#    fulfil?
#
# **Source.** McKeeman 1965 (peephole optimisation).

# %% [markdown]
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: a padding that keeps the size.** A 5×5 filter with dilation 2 and stride 1 shall give an output as large
# as its 28×28 input. Which padding does it need?

# %% nbgrader={"grade": false, "grade_id": "03-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# padding = ... a number
### BEGIN SOLUTION
padding = 4
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "03-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("03-1", padding)

# %% [markdown]
# **Exercise 2: stamps with stride 2.** A 2×2 filter with *stride 2* on a 4×4 image gives a 2×2 output. Its gradient $g$
# is below. Write down the 4×4 gradient of the image by hand. (Stamp; the windows do not overlap.)

# %% nbgrader={"grade": false, "grade_id": "03-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
w = np.array([[1.0, 2.0], [3.0, 4.0]])
g = np.array([[1.0, 0.0], [0.0, 10.0]])
# by_hand = ... an array of shape (4, 4)
### BEGIN SOLUTION
by_hand = np.array([[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 10, 20], [0, 0, 30, 40]])
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "03-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("03-2", by_hand, w=w, g=g)

# %% [markdown]
# **Exercise 3: pooling windows that overlap.** Windows may overlap. Max-pooling with a 2×2 window and *stride 1* on the
# 3×3 image below has four windows, and a gradient of 1 comes into each. Write down the gradient of the image.

# %% nbgrader={"grade": false, "grade_id": "03-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
image = np.array([[1.0, 2.0, 0.0], [3.0, 3.0, 4.0], [5.0, 6.0, 7.0]])
# by_hand = ... an array of shape (3, 3)
### BEGIN SOLUTION
by_hand = np.array([[0, 0, 0], [1, 0, 1], [0, 1, 1]])
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "03-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("03-3", by_hand, image=image)

# %% [markdown]
# **Exercise 4: a depthwise convolution.** A *depthwise* convolution has as many groups as channels. How many MACs has
# one with 32 channels, 32 filters of 3×3, padding 1 and stride 1, on one image of 14×14? First work out the size of the
# output.

# %% nbgrader={"grade": false, "grade_id": "03-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# depthwise_macs = ... a number
### BEGIN SOLUTION
depthwise_macs = 32 * 14 * 14 * 3 * 3
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "03-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("03-4", depthwise_macs)

# %% [markdown]
# ## Summary
#
# - A convolution is seven loops around one multiply-add; stride, padding, dilation and groups change where it looks.
# - $H' = \lfloor (H + 2p - d(K-1) - 1) / s \rfloor + 1$.
# - im2col makes it one matrix product and costs memory. The kernel needs no copy: images innermost, tiles in registers.
# - `kernels.use("python")` runs the same lines as Python; `kernels.trace` writes down one output number.
# - Gradient of the weights: input correlated with $g$. Gradient of the input: full correlation with the flipped filters,
#   sides exchanged.
# - Max-pooling sends the gradient to the first largest pixel, average pooling to all alike.
# - MACs are counted, not measured. Memory traffic costs time too, and fusing saves some of it, with the same bits.
#
# Next: notebook 04 puts these layers together and trains them.
#
# ## Sources
#
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proceedings
#   of the IEEE 86, 1998.
# - J. Prewitt, "Object enhancement and extraction", in "Picture Processing and Psychopictorics", 1970.
# - V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, arXiv:1603.07285.
# - K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document processing", 2006.
# - S. Chetlur et al., "cuDNN: efficient primitives for deep learning", 2014, arXiv:1410.0759.
# - K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34, 2008.
# - A. Lavin, "maxDNN: an efficient convolution kernel for deep learning with Maxwell GPUs", 2015, arXiv:1501.06633.
# - S. K. Lam, A. Pitrou, S. Seibert, "Numba: a LLVM-based Python JIT compiler", LLVM-HPC 2015.
# - D. Scherer, A. Müller, S. Behnke, "Evaluation of pooling operations in convolutional architectures for object
#   recognition", ICANN 2010.
# - I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press 2016.
# - S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
#   architectures", CACM 52, 2009.
# - W. McKeeman, "Peephole optimization", CACM 8, 1965.
