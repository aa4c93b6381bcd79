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
# # 04 · LeNet learns to read digits
#
# **Goal.** Train a small convolutional network until it reads about 98 of 100 handwritten digits correctly, and
# understand every step on the way: what goes in, what each layer does to it, what is learned, and how far to trust the
# result.
#
# **What you need.** Python, a little NumPy, and the idea of a derivative. No GPU: the whole notebook runs in well under
# a minute on two cores.
#
# These are the same steps, with the same functions, as the first half of the command `minigrad demo`. The second half,
# pruning, is notebook 05.
#
# **How to read it.** Before each result there is a line that begins with **Predict**. Write your guess down first, then
# run the cell. A wrong guess teaches more than a right one. At the end there are four exercises.

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
import math
import time

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

import minigrad
from checks import check
from minigrad import functional as F
from minigrad import kernels
from minigrad.compression.demo import ARTICLE_ACCURACY, Recipe, evaluation_loader, train_loader
from minigrad.compression.figures import BLUE, GREY, ORANGE
from minigrad.compression.models import LENET_CHECKPOINT, LeNet
from minigrad.compression.report import wilson_interval
from minigrad.datasets import MEAN, STD, mnist, show_image
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD
from minigrad.training import count_correct

# %% [markdown]
# ## 1. The digits
#
# **Goal.** Know the data before touching a network.
#
# **You need.** Nothing yet.
#
# **The idea.** MNIST is 70,000 grey pictures of handwritten digits, 28×28 pixels each: 60,000 to learn from and 10,000
# to be judged by. Each comes with a *label*, the digit it shows. The two sets are kept apart, since a network could
# learn pictures by heart and still be unable to read a new one.

# %%
training, test = mnist("train"), mnist("test")
print("to learn from:  ", training)
print("to be judged by:", test)
show_image(training, rows=2, seed=0)

# %% [markdown]
# In the file a pixel is a whole number from 0 (black) to 255 (white). A network learns more easily from numbers around
# zero, so every pixel is shifted and scaled with the mean $\mu = 0.1307$ and the standard deviation $\sigma = 0.3081$
# of all training pixels:
#
# $$x = \frac{\text{pixel}/255 - \mu}{\sigma}$$
#
# **Predict.** Which number does the network see for a black pixel, and which for a white one? Use the formula. And what
# will be the mean and the standard deviation of all training pixels afterwards?

# %%
image, label = training[0]
print(f"one image: shape {image.shape}, {image.dtype}, label {label}")
black, white = training.images.min(), training.images.max()
print(f"black is {black:.4f}, white is {white:.4f}")
mean, std = training.images.mean(dtype=np.float64), training.images.std(dtype=np.float64)
print(f"all training pixels: mean {mean:.4f}, standard deviation {std:.4f}")

assert math.isclose(black, (0 - MEAN) / STD, rel_tol=1e-5), "Black is pixel 0: subtract the mean, then divide."
assert math.isclose(white, (1 - MEAN) / STD, rel_tol=1e-5), "White is pixel 255, and 255/255 is 1."
assert abs(mean) < 0.01, "The mean was subtracted, so what is left has mean 0."
assert abs(std - 1) < 0.01, "Divided by the standard deviation, the pixels are left with 1."

# %%
figure = Figure(figsize=(8, 2.8), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=[1, 2])
shown = left.imshow(image[0], cmap="gray")
left.set(title=f"training image 0: label {label}", xlabel="column (pixels)", ylabel="row (pixels)")
figure.colorbar(shown, ax=left, label="normalised value")
right.hist(training.images[:1000].reshape(-1), bins=50, color=BLUE)
right.set(yscale="log", xlabel="normalised value", ylabel="pixels per bin (log scale)")
right.set_title("the pixels of 1,000 images: most are black")
display(figure)

# %% [markdown]
# **In short.** An image is a float32 array of shape `(1, 28, 28)`: one colour channel, 28 rows, 28 columns. A batch of
# $N$ images is `(N, 1, 28, 28)`.
#
# **Questions.**
# 1. Why are $\mu$ and $\sigma$ taken from the training images only, and then used for the test images too?
# 2. More than three quarters of the pixels are black. Would a network that saw 0 for black learn the same things?
#
# **Source.** LeCun, Cortes and Burges, the MNIST database; the pruning article, section 3 (all sources are listed at
# the end).

# %% [markdown]
# ## 2. Convolution: a small window that slides
#
# **Goal.** Compute a convolution by hand, once.
#
# **You need.** Sums of products.
#
# **The idea.** A *filter* is a small table of weights. Lay it on the image, multiply each weight by the pixel under it,
# add everything up: that is one number of the output. Slide the filter by one pixel, and repeat. A filter answers the
# same question everywhere ("is there an edge here?"), so it needs few weights, and it finds a thing wherever it is.
#
# **The formula.** For an image $x$, a $K \times K$ filter $w$ and a bias $b$:
#
# $$y_{i,j} = b + \sum_{u=0}^{K-1} \sum_{v=0}^{K-1} w_{u,v}\, x_{i+u,\,j+v} \qquad\text{output size } H - K + 1$$
#
# Below, the image is dark on the left and bright on the right; the filter has −1 on its left and +1 on its right.
#
# **Predict.** How large is the output of a 3×3 filter on a 6×6 image? Where is it zero, and what is its largest value?

# %%
x = np.zeros((1, 1, 6, 6), np.float32)
x[..., 3:] = 1
w = np.array([[[[-1, 0, 1]] * 3]], np.float32)
y = F.conv2d(x, w).data

figure = Figure(figsize=(8, 2.9), layout="constrained")
panels = {"image, 6×6": x[0, 0], "filter, 3×3": w[0, 0], "output, 4×4": y[0, 0]}
for ax, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
    shown = ax.imshow(values, cmap="PuOr_r", vmin=-3, vmax=3)
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, f"{value:.0f}", ha="center", va="center", color="white" if abs(value) > 2 else "black")
    ax.set(title=title, xlabel="column", ylabel="row", xticks=range(len(values)), yticks=range(len(values)))
figure.colorbar(shown, ax=figure.axes, label="value")
display(figure)

assert y.shape == (1, 1, 4, 4), "The filter fits at 6 - 3 + 1 = 4 places in each direction."
assert y[0, 0, 0, 1] == 3, "At column 1 the right column of the filter lies on ones: 1 + 1 + 1."
assert y[0, 0, 0, 0] == 0, "At column 0 everything under the filter is 0."

# %% [markdown]
# **In short.** This filter is silent on even areas, and loud where dark turns into bright. Nobody will write such
# filters by hand for LeNet: training finds them.
#
# **Questions.**
# 1. What does the output become if the image is bright on the left and dark on the right?
# 2. Which filter would find *horizontal* edges?
# 3. In mathematics a convolution flips the filter first; what you saw is called cross-correlation. Why does a network
#    that learns its filters not care?
#
# **Source.** LeCun et al. 1998, section II.

# %% [markdown]
# ## 3. LeNet: from 784 pixels to 10 scores
#
# **Goal.** Follow one digit through the network and know every shape.
#
# **You need.** Sections 1 and 2.
#
# **The idea.** Two convolutions look for patterns; after each, *ReLU* turns negative numbers into 0 and *max-pooling*
# keeps the largest of every 2×2 square, which halves height and width. What is left is laid out in a row and weighed by
# three fully connected layers. The last one gives ten scores, called *logits*, one for each digit; the largest wins.
#
# **The formulas.** For height (and in the same way for width):
#
# $$\text{conv: } H' = H - K + 1 \qquad \text{pool: } H' = H / 2 \qquad \operatorname{ReLU}(x) = \max(x, 0)
# \qquad \text{linear: } y = W x + b$$

# %%
print(LeNet())

# %% [markdown]
# **Predict.** Start with 28×28 and apply the formulas: 5×5 convolution, pool, 5×5 convolution, pool. Which shapes do
# you meet, and how many numbers arrive at `fc1`, if `conv2` has 16 filters?
#
# We take a network that is trained already (it comes with the package), so that there is something to see.

# %%
trained = LeNet()
note = minigrad.load_checkpoint(LENET_CHECKPOINT, trained)
print("the checkpoint says of itself:", note)

digit = test.images[:1]
with minigrad.no_grad():
    maps1 = F.relu(trained.conv1(digit))
    pooled1 = trained.maxpool(maps1)
    maps2 = F.relu(trained.conv2(pooled1))
    pooled2 = trained.maxpool(maps2)
    features = F.flatten(pooled2, start_dim=1)
    logits = trained.fc3(F.relu(trained.fc2(F.relu(trained.fc1(features)))))
steps = {"image": digit, "conv1 + ReLU": maps1, "pool": pooled1, "conv2 + ReLU": maps2, "pool again": pooled2}
for name, values in (steps | {"flatten": features, "logits": logits}).items():
    print(f"{name:14}{values.shape}")

assert maps1.shape[2:] == (24, 24), "28 - 5 + 1 is 24."
assert features.shape == (1, 256), "16 maps of 4×4 numbers are 256 features."
assert np.array_equal(logits.data, trained(digit).data), "Calling the model does these very steps."
assert logits.data.argmax() == test.labels[0], "The largest logit should stand at the digit's own place."

# %% [markdown]
# What comes out of a convolution is called a *feature map*: one small picture for each filter, bright where its pattern
# was found.

# %%
figure = Figure(figsize=(10, 4.4), layout="constrained")
axes = figure.subplots(3, 8)
pictures = [*maps1.data[0], *maps2.data[0]]
places = [*axes[0, 2:], *axes[1:].flat]
names = [f"conv1 · {i}" for i in range(6)] + [f"conv2 · {i}" for i in range(16)]
for ax, values, name in zip(places, pictures, names, strict=True):
    top = maps1.data.max() if name.startswith("conv1") else maps2.data.max()
    shown = ax.imshow(values, cmap="viridis", vmin=0, vmax=top)
    ax.set_title(name, fontsize=9)
    if name in ("conv1 · 5", "conv2 · 15"):
        rows = axes[:1] if name.startswith("conv1") else axes[1:]
        figure.colorbar(shown, ax=rows, label="activation", pad=0.01)
axes[0, 0].imshow(digit[0, 0], cmap="gray")
axes[0, 0].set_title("the digit", fontsize=9)
for ax in axes.flat:
    ax.axis("off")
figure.suptitle("After ReLU: conv1 gives 6 maps of 24×24, conv2 gives 16 of 8×8 (bright: pattern found)", fontsize=10)
display(figure)

# %% [markdown]
# The six maps of `conv1` still look like the digit, each with other strokes and edges bright. Those of `conv2` are
# coarser: each bright spot stands for a *combination* of patterns, and a person can hardly name it any more.
#
# > **Box: the article's prose and its code are two networks.** The pruning article that this course follows *describes*
# > an input of 32×32, maps of 28×28, 14×14, 10×10 and 5×5, and a row of 1×400 features; before its first evaluation it
# > calls the network AlexNet. Its *code* is the network above: `fc1` takes `16*4*4` = 256 features, which fits MNIST's
# > 28×28 images, and the network is LeNet. The 32×32 version is the original of 1998, whose images had a wider border.
# > We follow the code.
#
# **Predict.** What happens if we believe the prose and feed a 32×32 image?

# %%
try:
    trained(np.zeros((1, 1, 32, 32), np.float32))
except ValueError as error:
    sentence = str(error)
print(sentence)

assert "400" in sentence, "32 → 28 → 14 → 10 → 5, and 16 · 5 · 5 is 400: the prose's number."
assert "256" in sentence, "The code's fc1 expects 16 · 4 · 4 = 256."

# %% [markdown]
# **In short.** 1×28×28 → 6×24×24 → 6×12×12 → 16×8×8 → 16×4×4 → 256 → 120 → 84 → 10.
#
# **Questions.**
# 1. Each number in a `conv2` map depends on how many pixels of the digit? (Go backwards: 5×5 places, each a pooled 2×2
#    ...)
# 2. What would be lost if we left out every ReLU? (Hint: what is a linear function of a linear function?)
#
# **Source.** LeCun et al. 1998; the pruning article, section 2.

# %% [markdown]
# ## 4. A step into the engine
#
# **Goal.** See that there is no magic below: the compiled code is plain Python.
#
# **You need.** Section 2.
#
# **The idea.** Each heavy loop of minigrad is written once, as an ordinary Python function, and compiled by Numba.
# Inside `with minigrad.kernels.use("python"):` the same lines run uncompiled, so you can put a breakpoint into them, or
# print.
#
# **The formula.** It is the one of section 2. Both twins compute it, but compiled code may add the numbers in another
# order, and float32 rounds after each addition: $(a + b) + c$ and $a + (b + c)$ can differ in the last bit.

# %%
print(kernels.conv2d_forward)
with kernels.use("python"):
    print(kernels.conv2d_forward)
    stepped = F.conv2d(x, w).data
print(stepped[0, 0])

assert np.array_equal(stepped, y), "The same lines on the same small whole numbers give the same output."

# %% [markdown]
# **Predict.** Now one whole digit through all of LeNet, compiled and in Python. How many times slower is Python: 3, 100
# or 10,000 times? And will the ten logits agree to the last bit?

# %%
seconds, scores = {}, {}
with minigrad.no_grad():
    for mode in ("compiled", "python"):
        with kernels.use(mode):
            trained(digit)  # the first call pays for memory that the second one finds ready
            start = time.perf_counter()
            scores[mode] = trained(digit).data[0]
            seconds[mode] = time.perf_counter() - start
difference = np.abs(scores["compiled"] - scores["python"]).max()
print(f"the logits differ by at most {difference:.1e}; the largest is {scores['compiled'].max():.1f}")

figure = Figure(figsize=(7, 1.9), layout="constrained")
ax = figure.subplots()
for mode, color in (("compiled", BLUE), ("python", ORANGE)):
    ms = 1000 * seconds[mode]
    ax.plot(ms, mode, "o", color=color, markersize=10)
    ax.annotate(f"{ms:.2f} ms", (ms, mode), (0, 9), textcoords="offset points", ha="center")
ax.set(xscale="log", xlim=(0.05, 1000), ylim=(-0.6, 1.8), xlabel="time for one digit (ms, log scale)")
ax.set_title("The same lines, compiled and in Python")
ax.grid(axis="x", color="#DDDDDD")
display(figure)

assert difference < 1e-4, "The twins are the same lines: only the rounding of the last bits may differ."

# %% [markdown]
# **In short.** Same lines, same numbers up to rounding; only the speed differs. To look closer, print the function with
# `kernels.conv2d_forward.python??`, or put `breakpoint()` into it and call it inside `use("python")`.
#
# **Questions.**
# 1. Why did the small example agree exactly, and LeNet (perhaps) only almost?
# 2. 10,000 test images, one by one, in Python: how long would that take, by the time you measured?
#
# **Source.** Lam, Pitrou and Seibert 2015 (Numba); Goldberg 1991 (rounding).

# %% [markdown]
# ## 5. Counting parameters by hand
#
# **Goal.** Know how many numbers there are to learn, and where they are.
#
# **You need.** Section 3.
#
# **The idea.** A convolution has one small filter for each pair of input channel and output channel, wherever it looks.
# A linear layer has one weight for each pair of input and output. Each output has one bias besides.
#
# **The formulas.**
#
# $$\text{conv: } C_\text{out}\,(C_\text{in}\,K^2) + C_\text{out} \qquad
# \text{linear: } n_\text{out}\,n_\text{in} + n_\text{out}$$
#
# **Predict.** Which of the five layers has the most parameters, and what share of all? Which one does the most
# *multiplications* for an image?

# %%
by_hand = {
    "conv1": 6 * (1 * 5 * 5) + 6,
    "conv2": 16 * (6 * 5 * 5) + 16,
    "fc1": 120 * 256 + 120,
    "fc2": 84 * 120 + 84,
    "fc3": 10 * 84 + 10,
}
by_machine = dict.fromkeys(by_hand, 0)
for name, parameter in trained.named_parameters():
    by_machine[name.split(".")[0]] += parameter.size
    print(f"{name:14}{parameter.shape!s:18}{parameter.size:7,}")
print(f"{'together':32}{sum(by_machine.values()):7,}")

assert by_hand == by_machine, "Weights plus biases: look again at the layer that differs."
assert by_hand == {"conv1": 156, "conv2": 2_416, "fc1": 30_840, "fc2": 10_164, "fc3": 850}, "Did you count the biases?"
assert sum(by_hand.values()) == 44_426, "The five layers together have 44,426 parameters."

# %% [markdown]
# A weight of a linear layer is used once for an image. A weight of a convolution is used once at each place of its
# output: 24·24 times in `conv1`, 8·8 times in `conv2`.

# %%
uses = {"conv1": 24 * 24, "conv2": 8 * 8, "fc1": 1, "fc2": 1, "fc3": 1}
weights = {name: p.size for name, p in trained.named_parameters() if p.ndim > 1}
multiplications = {name: uses[name] * weights[f"{name}.weight"] for name in uses}

figure = Figure(figsize=(9, 2.9), layout="constrained")
counts = {"parameters": by_hand, "multiplications for one image": multiplications}
for ax, (title, count), color in zip(figure.subplots(1, 2, sharey=True), counts.items(), (BLUE, ORANGE), strict=True):
    bars, total = ax.barh(list(count), list(count.values()), color=color), sum(count.values())
    ax.bar_label(bars, [f"{n:,} ({100 * n / total:.1f} %)" for n in count.values()], padding=3, fontsize=9)
    ax.set(title=f"{total:,} {title}", xlabel=title, xlim=(0, 1.5 * max(count.values())))
    ax.locator_params(axis="x", nbins=4)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.spines[["top", "right"]].set_visible(False)
figure.axes[0].invert_yaxis()
display(figure)

assert max(by_hand, key=by_hand.get) == "fc1", "fc1 has 120 · 256 weights."
assert max(multiplications, key=multiplications.get) == "conv2", "conv2 uses each of its 2,400 weights 64 times."

# %% [markdown]
# **In short.** Most *parameters* sit in `fc1`; most *work* is done in the two convolutions. Whoever wants a smaller
# file looks at `fc1` first; whoever wants a faster network looks at the convolutions. Keep that in mind for notebook
# 05.
#
# **Questions.**
# 1. How many parameters would a *linear* layer need to do the job of `conv1`, from 784 pixels to 6·24·24 numbers?
# 2. If images were twice as high and twice as wide, which layers would grow?
#
# **Source.** The pruning article, section 2 (it prints 44,426 as well).

# %% [markdown]
# ## 6. The loss of a network that knows nothing
#
# **Goal.** Predict a number before any training, and use it as a check for ever after.
#
# **You need.** Logarithms.
#
# **The idea.** *Softmax* turns ten logits into ten probabilities that add up to 1. The *cross-entropy loss* is small if
# the probability of the right digit is large. A new network has small random weights, so no digit stands out.
#
# **The formulas.** With logits $z$ and the right digit $t$:
#
# $$p_i = \frac{e^{z_i}}{\sum_j e^{z_j}} \qquad L = -\ln p_t$$
#
# **Predict.** If all ten digits look equally likely, what is $p_t$? And $L$?

# %%
minigrad.manual_seed(0)
model = LeNet()
with minigrad.no_grad():
    loss = F.cross_entropy(model(training.images[:1000]), training.labels[:1000]).item()
print(f"loss before training: {loss:.4f}      ln 10 = {math.log(10):.4f}")

assert abs(loss - math.log(10)) < 0.1, "Ten equally likely digits: p = 1/10, so the loss is -ln(1/10) = ln 10."

# %%
with minigrad.no_grad():
    before, after = F.softmax(model(digit)).data[0], F.softmax(trained(digit)).data[0]

figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
ax.bar(np.arange(10) - 0.2, before, width=0.4, color=GREY, label="before training")
ax.bar(np.arange(10) + 0.2, after, width=0.4, color=BLUE, label="after training")
ax.axhline(0.1, color=ORANGE, linestyle="--", label="1/10")
ax.set(xticks=range(10), xlabel="digit", ylabel="probability", title=f"What two networks say to a {test.labels[0]}")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="upper left")
display(figure)

assert math.isclose(before.sum(), 1, rel_tol=1e-5), "Softmax divides by the sum, so the ten add up to 1."

# %% [markdown]
# **In short.** A classifier of $K$ classes starts at $\ln K$. If yours starts far from it, look for the bug *before*
# training: labels out of order, weights too large, softmax applied twice.
#
# **Questions.**
# 1. What is the loss of a network that gives the right digit a probability of 1? Of 0.5? Of 0?
# 2. Where would the loss start with 100 classes?
#
# **Source.** Goodfellow, Bengio and Courville 2016, section 6.2.

# %% [markdown]
# ## 7. One training step by hand
#
# **Goal.** Make the loss smaller, once, in five lines.
#
# **You need.** The derivative as a slope.
#
# **The idea.** The *gradient* says, for each of the 44,426 parameters, how the loss changes if that parameter grows a
# little. Take a small step against it. `backward()` computes it for all of them in one sweep from the loss back to the
# weights.
#
# **The formulas.** With the learning rate $\eta$ and the gradient $g$; the second one is the tangent of the loss along
# the step:
#
# $$w \leftarrow w - \eta\, g \qquad\qquad L(w - \eta g) \approx L(w) - \eta\, \lVert g \rVert^2$$

# %%
recipe = Recipe()
images, targets = next(iter(train_loader(training, recipe)))
optimizer = SGD(model.parameters(), lr=recipe.lr)

optimizer.zero_grad()
loss = F.cross_entropy(model(images), targets)
loss.backward()
steepness = sum(float((p.grad**2).sum()) for p in model.parameters())
print(f"a batch of {len(images)} images: loss {loss.item():.6f}, squared length of the gradient {steepness:.4f}")

# %% [markdown]
# **Predict.** The learning rate is 0.01. Use the second formula: by how much will `step()` lower the loss of this
# batch?

# %%
start = copy.deepcopy(model)  # weights and gradients, for the picture below
optimizer.step()
with minigrad.no_grad():
    fall = loss.item() - F.cross_entropy(model(images), targets).item()
print(f"the tangent promises a fall of {recipe.lr * steepness:.6f}; the loss fell by {fall:.6f}")

assert fall > 0, "Against the gradient is downhill: for a small step the loss must fall."
assert 0.7 < fall / (recipe.lr * steepness) < 1.3, "The tangent should nearly be right: η ‖g‖²."

# %% [markdown]
# **Predict.** Why not take a step hundreds of times as large? Sketch the loss after one step
# for learning rates from 0 to 4.

# %%
rates = np.linspace(0, 4, 41)
losses = []
for rate in rates:
    trial = copy.deepcopy(start)
    SGD(trial.parameters(), lr=rate).step()
    with minigrad.no_grad():
        losses.append(F.cross_entropy(trial(images), targets).item())

figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
ax.plot(rates, losses, ".-", color=BLUE, label="the loss after one step")
ax.plot(rates, losses[0] - rates * steepness, "--", color=ORANGE, label="what the tangent promises")
ax.set(xlabel="learning rate η (no unit)", ylabel="loss of the batch (nats)", ylim=(2.15, 2.35))
ax.set_title("One step from the same weights")
ax.spines[["top", "right"]].set_visible(False)
ax.legend()
display(figure)

# %% [markdown]
# **In short.** `zero_grad`, forward, loss, `backward`, `step`. Near the start the loss follows its tangent; further
# away the ground curves up again. Hence many small steps instead of a large one.
#
# **Questions.**
# 1. What happens if you leave out `zero_grad()` and repeat the step? (Try it: gradients *add up*.)
# 2. The fall was measured on the batch that the gradient came from. Must the loss of *other* images fall too?
#
# **Source.** Rumelhart, Hinton and Williams 1986.

# %% [markdown]
# ## 8. Training
#
# **Goal.** Repeat the step until the network can read.
#
# **You need.** Section 7.
#
# **The idea.** One *epoch* goes through all 60,000 images in batches of 64, in a new random order each time. *Momentum*
# keeps part of the last direction, so that steps that agree add up and steps that contradict each other cancel.
#
# **The formula.** With momentum $m = 0.5$ and learning rate $\eta = 0.01$:
#
# $$v \leftarrow m\,v + g \qquad w \leftarrow w - \eta\, v$$
#
# **Predict.** How many steps are in an epoch? How many of 10,000 test digits will be read correctly after *one* epoch,
# and how many after five?

# %%
minigrad.manual_seed(recipe.seed)
model = LeNet()
optimizer = SGD(model.parameters(), recipe.lr, recipe.momentum)
batches, test_batches = train_loader(training, recipe), evaluation_loader(test)
losses, accuracies = [], []
for epoch in range(1, recipe.epochs + 1):
    losses.append(minigrad.train(model, batches, CrossEntropyLoss(), optimizer))
    accuracies.append(minigrad.evaluate(model, test_batches))
    print(f"epoch {epoch}: {len(batches)} steps, mean loss {losses[-1]:.4f}, test accuracy {accuracies[-1]:.2f} %")

assert losses[-1] < losses[0], "More training, less loss: if not, was the optimizer given this model's parameters?"
assert accuracies[-1] > 96, "Five epochs of this recipe should read more than 96 % of the test digits."

# %%
intervals = np.array([wilson_interval(round(a * len(test) / 100), len(test)) for a in accuracies]).T
epochs = range(1, recipe.epochs + 1)

figure = Figure(figsize=(9, 3.2), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(epochs, losses, "o-", color=BLUE)
left.axhline(math.log(10), color=GREY, linestyle="--")
left.text(3, math.log(10) - 0.05, "ln 10: knows nothing", color=GREY, ha="center", va="top")
left.set(ylim=(0, 2.5), ylabel="mean training loss (nats)", title="Loss")
right.errorbar(epochs, accuracies, np.abs(intervals - accuracies), fmt="o-", color=BLUE, capsize=4, label="this run")
right.axhline(ARTICLE_ACCURACY["baseline"], color=ORANGE, linestyle="--", label="the article's network")
right.set(ylabel="test accuracy (%)", title="Accuracy, with 95 % intervals")
right.legend(loc="lower right")
for ax in (left, right):
    ax.set(xticks=epochs, xlabel="epochs of training")
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# The checkpoint that comes with the package was made by these very steps, with the same seed. How near did we come?

# %%
own, shipped = dict(model.named_parameters()), dict(trained.named_parameters())
difference = max(np.abs(own[name].data - shipped[name].data).max() for name in own)
print(f"largest difference of any weight: {difference}")

# %% [markdown]
# A difference of 0.0 means: the same bits, after 4,690 steps. On another kind of processor, sums may be rounded
# differently, and small differences may grow; the accuracy stays close all the same.
#
# **In short.** Most is learned in the first epoch; the others polish. We looked at the test images after each epoch,
# but we *chose* nothing by them. (The moment one does, they stop being a fair test: more on that in notebook 05.)
#
# **Questions.**
# 1. Why is the mean training loss of epoch 1 so much larger than the loss *at the end* of epoch 1?
# 2. Change the seed in `Recipe(seed=1)`. How much does the final accuracy move? Compare with the error bars.
#
# **Source.** The pruning article (recipe and 97.99 %); Polyak 1964 (momentum).

# %% [markdown]
# ## 9. How sure are we, and what does it get wrong?
#
# **Goal.** Put an honest interval beside an accuracy, and look at the mistakes.
#
# **You need.** Percentages.
#
# **The idea.** 10,000 test images are a sample of all digits that people write. Another sample would give a slightly
# different accuracy. The *Wilson interval* says which true accuracies fit what we saw.
#
# **The formula.** With $\hat p$ the share of correct answers among $n$, and $z = 1.96$ for 95 %:
#
# $$\frac{1}{1 + z^2/n}\left(\hat p + \frac{z^2}{2n}
# \pm z \sqrt{\frac{\hat p\,(1 - \hat p)}{n} + \frac{z^2}{4 n^2}}\right)$$
#
# **Predict.** How wide is the interval for about 98 % of 10,000 images: 0.06, 0.6 or 6 points? And of 100 images?

# %%
correct, total = count_correct(model, test_batches)
figure = Figure(figsize=(7, 2.6), layout="constrained")
ax = figure.subplots()
for n in (100, 1_000, total):
    right_answers = round(correct / total * n)
    low, high = wilson_interval(right_answers, n)
    print(f"{right_answers:6,} of {n:6,}: {100 * right_answers / n:.2f} %, interval {low:.2f} to {high:.2f} %")
    ax.plot([low, high], [f"{n:,}"] * 2, color=BLUE, linewidth=3)
    ax.plot(100 * right_answers / n, f"{n:,}", "o", color=BLUE, markersize=8)
ax.axvline(ARTICLE_ACCURACY["baseline"], color=ORANGE, linestyle="--", label="the article's 97.99 %")
ax.set(xlabel="accuracy (%), dot: measured, line: 95 % interval", ylabel="test images", ylim=(-0.5, 2.5))
ax.set_title("The same accuracy on more and more images")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="upper left")
display(figure)

assert low < 100 * correct / total < high, "The interval surrounds what was measured."
assert high - low < 1, "With 10,000 images the interval is narrower than one point."

# %% [markdown]
# If the article's 97.99 % lies inside the interval of our 10,000 images, then our network and theirs cannot be told
# apart by this one test.
#
# **Predict.** Think of the digits that you yourself confuse. Which pairs will we see among the mistakes?

# %%
with minigrad.no_grad():
    probabilities = F.softmax(model(test.images)).data
answers = probabilities.argmax(axis=1)
wrong = np.flatnonzero(answers != test.labels)
surest = wrong[np.argsort(-probabilities[wrong, answers[wrong]])][:20]
print(f"{len(wrong)} of {total:,} are read wrongly; here are the {len(surest)} that the network was surest of")

figure = Figure(figsize=(10, 3.2), layout="constrained")
for ax, index in zip(figure.subplots(2, 10).flat, surest, strict=True):
    ax.imshow(test.pixels[index], cmap="gray")
    sure = 100 * probabilities[index, answers[index]]
    ax.set_title(f"{test.labels[index]}, read as {answers[index]}\n{sure:.0f} % sure", fontsize=9)
    ax.axis("off")
display(figure)

assert len(wrong) == total - correct, "Every image is either right or wrong."

# %% [markdown]
# **In short.** Say "98.2 % (97.9 to 98.4)" rather than "98.2 %". And look at the mistakes: some are digits that people
# would argue about, others show that a network can be very sure and wrong.
#
# **Questions.**
# 1. How many test images would you need to tell 98.0 % from 98.2 % with some confidence?
# 2. Our interval covers the choice of the *images*. What about the choice of the *seed*? (`minigrad demo --seeds 5`
#    answers.)
# 3. The network was 99 % sure and wrong. Which temperature in the softmax would make it more modest?
#
# **Source.** Wilson 1927.

# %% [markdown]
# ## Summary
#
# - An image is normalised and goes through two convolutions, two poolings and three linear layers: ten logits come out.
# - LeNet has 44,426 parameters, most of them in `fc1`; most multiplications happen in the convolutions.
# - Before training, the loss is $\ln 10$. One step against the gradient lowers it by about $\eta \lVert g \rVert^2$.
# - Five epochs give about 98 %, with an interval of half a point.
#
# The whole run, on the command line: `minigrad train --out lenet.safetensors`, then `minigrad evaluate
# lenet.safetensors`. Next: notebook 05 removes three quarters of these parameters.

# %% [markdown]
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: smaller images.** LeNet's layers are kept, but the images have 20×20 pixels. How many features does `fc1` get?

# %% nbgrader={"grade": false, "grade_id": "04-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# features = ... a number
### BEGIN SOLUTION
features = 16 * 2 * 2
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "04-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("04-1", features)

# %% [markdown]
# **Exercise 2: two filters more.** `conv1` gets 8 filters in place of 6. How many parameters more does the network have?

# %% nbgrader={"grade": false, "grade_id": "04-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# more = ... a number
### BEGIN SOLUTION
more = 2 * (25 + 1) + 16 * 2 * 25
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "04-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("04-2", more)

# %% [markdown]
# **Exercise 3: a loss by hand.** The logits of one image are below, and its label is 2. What is the cross-entropy loss?

# %% nbgrader={"grade": false, "grade_id": "04-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
logits = np.array([1.0, 0.0, 3.0, -1.0])
# loss = ... a number, made of the logits
### BEGIN SOLUTION
loss = np.log(np.exp(logits).sum()) - logits[2]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "04-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("04-3", loss, logits=logits)

# %% [markdown]
# **Exercise 4: two steps with momentum.** A weight is 1, and its gradient is 2 in both steps. $\eta = 0.1$, and the momentum
# is 0.9 ($v \leftarrow 0.9\, v + g$, then $w \leftarrow w - \eta\, v$; $v$ begins with 0). What is the weight after each step?

# %% nbgrader={"grade": false, "grade_id": "04-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# steps = ... (after the first, after the second)
### BEGIN SOLUTION
steps = (1 - 0.1 * 2, 1 - 0.1 * 2 - 0.1 * (0.9 * 2 + 2))
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "04-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("04-4", steps)

# %% [markdown]
# ## Sources
#
# - The pruning article: "Model compression: pruning after training" (in Chinese: 模型压缩——训练后剪枝),
#   <https://blog.csdn.net/xiaojia1001/article/details/143900227>.
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proceedings
#   of the IEEE 86, 1998.
# - Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
# - D. Rumelhart, G. Hinton, R. Williams, "Learning representations by back-propagating errors", Nature 323, 1986.
# - B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
# - I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press 2016.
# - E. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
# - S. K. Lam, A. Pitrou, S. Seibert, "Numba: a LLVM-based Python JIT compiler", LLVM-HPC 2015.
# - D. Goldberg, "What every computer scientist should know about floating-point arithmetic", ACM Computing Surveys 23,
#   1991.
