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
# # 05 · Pruning: LeNet with three quarters of its weights removed
#
# **Goal.** Remove 74 of 100 parameters of a trained LeNet, see what that costs, win it back by training on, and then
# count honestly how many bytes were saved.
#
# **What you need.** Notebook 04 (LeNet, loss, gradient, training step). The notebook starts from a trained network that
# comes with the package, and runs in well under a minute on two cores.
#
# These are the same steps, with the same functions, as the second half of the command `minigrad demo`. It follows an
# article, called *the pruning article* below; where the article is not exact, a box says so.
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
import tempfile
import time
from pathlib import Path

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

import minigrad
from checks import check
from minigrad.compression.demo import ARTICLE_ACCURACY, Recipe, evaluation_loader, train_loader
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE, plot_accuracy, plot_weights
from minigrad.compression.models import LENET_CHECKPOINT, LeNet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner, finetune, kth_value_mask, model_sparsity
from minigrad.compression.pruning.explorer import explore_mask
from minigrad.compression.report import measure, table, wilson_interval
from minigrad.compression.sparse import weight_bytes
from minigrad.datasets import mnist, split_validation
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD
from minigrad.training import count_correct

# %%
recipe = Recipe()
training, test = mnist("train"), mnist("test")
test_batches = evaluation_loader(test)

baseline = LeNet()
note = minigrad.load_checkpoint(LENET_CHECKPOINT, baseline)
accuracy = minigrad.evaluate(baseline, test_batches)
print("the checkpoint says of itself:", note)
print(f"test accuracy {accuracy:.2f} %, sparsity {model_sparsity(baseline)}")

assert accuracy > 97, "The shipped LeNet reads about 98 % of the test digits."
assert model_sparsity(baseline) == 0, "Nothing is pruned yet: no parameter is exactly 0."

# %% [markdown]
# ## 1. Which weights may go? The rule on eight numbers
#
# **Goal.** Do the pruning rule by hand.
#
# **You need.** Sorting.
#
# **The idea.** A weight near zero changes the output little, so it is the first to go. The rule takes the *magnitudes*
# (the values without their signs), finds the $k$-th smallest, and keeps only what is strictly larger.
#
# **The formula.** For $n$ weights $w$ and a wanted sparsity $s$ (the share to remove), with $|w|_{(k)}$ the $k$-th
# smallest magnitude, counted from 1, and the indicator $I(\ldots)$, which is 1 if the condition holds and 0 otherwise:
#
# $$k = \operatorname{round}(n \cdot s) \qquad t = |w|_{(k)} \qquad m_i = I(|w_i| > t) \qquad w_i \leftarrow m_i\, w_i$$
#
# **Predict.** Take the eight weights in the cell below and $s = 0.5$. What is $k$? What is the threshold $t$? Which
# weights stay?

# %%
w = np.array([0.10, -0.40, 0.30, 0.20, -0.05, 0.50, -0.25, 0.15])
mask = kth_value_mask(w, sparsity=0.5)
print("weights     ", w)
print("mask        ", mask)
print("what is left", np.where(mask, w, 0))

assert mask.tolist() == [False, True, True, False, False, True, True, False], "k = 4: the four smallest magnitudes go."

# %%
order = np.argsort(np.abs(w))
threshold = np.abs(w[~mask]).max()

figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
ax.bar(range(8), np.abs(w[order]), color=[BLUE if kept else GREY for kept in mask[order]])
ax.axhline(threshold, color=ORANGE, linestyle="--")
ax.text(-0.4, threshold + 0.01, f"threshold t = {threshold:.2f}, the 4th smallest", color="black", va="bottom")
ax.set_xticks(range(8), [f"{value:+.2f}" for value in w[order]])
ax.set(xlabel="weight, sorted by magnitude", ylabel="magnitude |w|", title="Grey goes, blue stays")
ax.spines[["top", "right"]].set_visible(False)
display(figure)

assert threshold == 0.20, "Sorted: 0.05, 0.10, 0.15, 0.20 ... The fourth is 0.20."

# %% [markdown]
# ### Three traps
#
# **Predict.** (a) Ten weights, all equal to 1, and a sparsity of 10 %: how many go, by the rule above?
# (b) Eight weights and a sparsity of 5 %: what is $k$, and is there a $k$-th smallest?
# (c) What should a sparsity of 1.2 mean?

# %%
equal = np.ones(10)
print("(a) kept by the article's rule:  ", kth_value_mask(equal, 0.1).sum(), "of 10")
print('    kept with ties="exact":      ', kth_value_mask(equal, 0.1, ties="exact").sum(), "of 10")
print("(b) kept when k = round(0.4) = 0:", kth_value_mask(w, 0.05).sum(), "of 8")
try:
    kth_value_mask(w, 1.2)
except ValueError as error:
    print("(c)", error)

assert kth_value_mask(equal, 0.1).sum() == 0, "All ten equal the threshold, and none is strictly larger."
assert kth_value_mask(equal, 0.1, ties="exact").sum() == 9, '"exact" removes k = 1 weight, the first of the equal ones.'
assert kth_value_mask(w, 0.05).all(), "There is no 0th smallest value: everything is kept."

# %% [markdown]
# (a) Weights *equal* to the threshold all go, however many they are. Real float32 weights are almost never equal, so
# the rule works; but in a quantized network, with few different values, it would remove far too much. `ties="exact"`
# removes exactly $k$. (b) The article's code stops with an error here, since PyTorch's `kthvalue` has no 0th value. (c)
# The article quietly turns 1.2 into 1 and would remove everything; here it is an error.
#
# **In short.** A mask is an array of yes and no, as large as the weights. Sort, count to $k$, cut.
#
# **Questions.**
# 1. Python's `round(2.5)` is 2. What is $k$ for five weights and $s = 0.5$?
# 2. Is a small weight always unimportant? (Think of a small weight on an input that is always huge.)
#
# **Source.** The pruning article, section 5; Han et al. 2015.

# %% [markdown]
# ## 2. The threshold on real weights
#
# **Goal.** See where the cut falls in a trained layer.
#
# **You need.** Section 1.
#
# **The idea.** A histogram shows how many weights have which value. The rule cuts out its middle.
#
# **The formula.** The cut lies at the $s$-quantile of the magnitudes: $P(|w| \le t) = s$.
#
# **Predict.** `fc1` started from random numbers spread evenly between $\pm 1/\sqrt{256} = \pm 0.0625$. Training moved
# most of them only a little. The article removes 75 % of `fc1`. Where is the threshold, roughly?

# %%
weights = {name: p.data for name, p in baseline.named_parameters() if p.ndim > 1}
figure = Figure(figsize=(9, 3.2), layout="constrained")
for ax, name in zip(figure.subplots(1, 2), ("conv1.weight", "fc1.weight"), strict=True):
    values = weights[name].reshape(-1)
    kept = kth_value_mask(values, ARTICLE_SPARSITY[name])
    threshold = np.abs(values[~kept]).max()
    bins = np.linspace(-np.abs(values).max(), np.abs(values).max(), 62).tolist()
    ax.hist([values[~kept], values[kept]], bins=bins, stacked=True, color=[GREY, BLUE], label=["goes", "stays"])
    for sign in (-1, 1):
        ax.axvline(sign * threshold, color=ORANGE, linestyle="--", label="± threshold" if sign > 0 else None)
    ax.set(xlabel="weight", ylabel="weights per bin")
    ax.set_title(f"{name}: {np.sum(~kept):,} of {values.size:,} go, t = {threshold:.4f}", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=9)
display(figure)

share = np.mean(np.abs(weights["fc1.weight"]) <= threshold)
assert abs(share - 0.75) < 1e-3, "75 % of the magnitudes must be at or below the threshold of fc1."

# %% [markdown]
# The threshold of `fc1` is close to $0.75 \cdot 0.0625 \approx 0.047$: the weights are still nearly evenly spread. So a
# good part of what goes is not what training *made* small, but what *started* small and was never needed.
#
# > **Box: two formulas that remove nothing.** Another article, on model optimisation, prints these two formulas for
# > removing weights:
# >
# > $$w_\text{pruned} = w \cdot I(w \neq 0) \qquad\text{and}\qquad w_\text{pruned} = w \cdot (I(w \neq 0) + \epsilon)$$
# >
# > The first multiplies every non-zero weight by 1, and zeros were 0 before: $w$ stays as it is. The second makes every
# > weight larger by the factor $1 + \epsilon$, and removes none. Repaired, the condition must ask about the *size* of
# > the weight: $w_\text{pruned} = w \cdot I(|w| > t)$, which is the rule of section 1.
#
# **Predict.** With $\epsilon = 0.01$: which weights change by the first formula, and which by the second?

# %%
w, epsilon = weights["fc1.weight"], 0.01
first = w * (w != 0)
second = w * ((w != 0) + epsilon)
repaired = w * (np.abs(w) > threshold)
for name, result in {"I(w ≠ 0)": first, "I(w ≠ 0) + ε": second, "I(|w| > t)": repaired}.items():
    print(f"{name:13} zeros: {np.sum(result == 0):6,}   weights changed: {np.sum(result != w):6,}")

assert np.array_equal(first, w), "Every weight was multiplied by 1, or was 0 already."
assert np.allclose(second, (1 + epsilon) * w), "Every weight was multiplied by 1 + ε."
assert np.array_equal(repaired != 0, kth_value_mask(w, 0.75)), "Asking for |w| > t is the k-th value rule."

# %% [markdown]
# **In short.** The rule cuts a gap into the middle of the histogram. A formula is worth trying on numbers before it is
# believed.
#
# **Questions.**
# 1. Which layer has the larger threshold, and why? (Compare $1/\sqrt{25}$ with $1/\sqrt{256}$.)
# 2. If all layers shared *one* threshold, which layers would lose the most?
#
# **Source.** The pruning article, section 5; the model-optimisation article, sections 1.3.1 and 1.3.4.

# %% [markdown]
# ## 3. All of LeNet: 32,816 zeros
#
# **Goal.** Prune every layer, and get the article's sparsity to the last digit.
#
# **You need.** Section 1 and the layer sizes of notebook 04.
#
# **The idea.** Each layer gets a sparsity of its own. `SparsePruner` computes the masks once; `prune` returns a pruned
# *copy*, so that the trained network stays as it is. Biases are few and are left alone.
#
# **The formula.**
#
# $$\text{sparsity} = \frac{\text{parameters that are exactly 0}}{\text{all parameters, biases included}}$$

# %%
for name, share in ARTICLE_SPARSITY.items():
    print(f"{name:13} {weights[name].size:6,} weights, remove {100 * share:.0f} %")

# %% [markdown]
# **Predict.** Compute $k$ for each layer and add up. Divide by 44,426. What changes if only the 44,190 weights are
# counted below the line?

# %%
pruner = SparsePruner(baseline, ARTICLE_SPARSITY)
pruned = pruner.prune(baseline)
by_hand = {name: round(weights[name].size * share) for name, share in ARTICLE_SPARSITY.items()}
zeros = {name: int(np.sum(~mask)) for name, mask in pruner.masks.items()}
print(zeros)
print(f"together {sum(zeros.values()):,} zeros")
print(f"of all parameters: {model_sparsity(pruned):.4f}")
weights_only = sum(zeros.values()) / sum(w.size for w in weights.values())
print(f"of the weights:    {weights_only:.4f}")

assert zeros == by_hand, "k = round(n · s) in each layer; conv1 for example: round(150 · 0.85) = 128."
assert sum(zeros.values()) == 32_816, "128 + 1,920 + 23,040 + 7,056 + 672."
assert round(model_sparsity(pruned), 4) == 0.7387, "32,816 / 44,426, with the 236 biases below the line."
assert round(weights_only, 4) == 0.7426, "32,816 / 44,190, weights only."
assert model_sparsity(baseline) == 0, "prune() works on a copy: the trained network is untouched."

# %% [markdown]
# What is left of the six filters of `conv1`? **Predict:** on average, how many of its 25 weights does a filter keep?

# %%
figure = Figure(figsize=(9, 3.4), layout="constrained")
axes = figure.subplots(2, 6)
reach = np.abs(weights["conv1.weight"]).max()
for row, (name, model) in zip(axes, {"before": baseline, "after": pruned}.items(), strict=True):
    for i, ax in enumerate(row):
        values = model.conv1.weight.data[i, 0]
        shown = ax.imshow(values, cmap="PuOr_r", vmin=-reach, vmax=reach)
        ax.set_title(f"filter {i} {name}: {np.count_nonzero(values)}", fontsize=9)
        ax.set(xticks=[], yticks=[])
figure.colorbar(shown, ax=axes, label="weight", pad=0.01)
figure.suptitle("conv1 before and after pruning, with the number of non-zero weights (white: 0)", fontsize=10)
display(figure)

left = int(np.count_nonzero(pruned.conv1.weight.data))
assert left == 22, "150 - 128 = 22 weights for six filters: fewer than four each."

# %% [markdown]
# **In short.** 0.7387 is a share of *all* parameters, 0.7426 of the *weights*. Say which one you mean.
#
# **Questions.**
# 1. A filter may lose all of its weights. What does its feature map look like then?
# 2. Why is it not worthwhile to prune biases?
#
# **Source.** The pruning article, section 5 (0.7387).

# %% [markdown]
# ## 4. What it costs
#
# **Goal.** Measure the accuracy right after pruning, and find the layer that hurts most.
#
# **You need.** Section 3.
#
# **The idea.** The network was trained *with* the small weights. Each one did little, but 32,816 of them together did a
# lot.
#
# **The formula.** For one output $y = \sum_i w_i x_i$, pruning makes an error of $\sum_{i:\,m_i = 0} w_i x_i$: the sum
# of all removed terms.
#
# **Predict.** The accuracy was about 98 %. Guessing gives 10 %. What is left after removing three quarters of the
# weights? And which single layer, pruned alone, costs most?

# %%
after_pruning = minigrad.evaluate(pruned, test_batches)
print(f"all five layers pruned: {accuracy:.2f} % -> {after_pruning:.2f} %")
alone = {}
for name, share in ARTICLE_SPARSITY.items():
    only = dict.fromkeys(ARTICLE_SPARSITY, 0.0) | {name: share}
    alone[name] = minigrad.evaluate(SparsePruner(baseline, only).prune(baseline), test_batches)
    print(f"only {name:13} {alone[name]:.2f} %")

assert after_pruning < accuracy - 5, "Without training on, this much pruning costs many points."
assert min(alone.values()) > after_pruning, "Five prunings at once cost more than any one of them."

# %%
drops = {name: accuracy - value for name, value in alone.items()}
drops |= {"sum of the five": sum(drops.values()), "all five at once": accuracy - after_pruning}

figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
bars = ax.barh(list(drops), list(drops.values()), color=[BLUE] * 5 + [GREY, ORANGE])
ax.bar_label(bars, [f"{value:.2f}" for value in drops.values()], padding=3, fontsize=9)
ax.invert_yaxis()
ax.set(xlabel="accuracy lost on the test images (percentage points)", title="Which layer hurts?")
ax.margins(x=0.12)
ax.spines[["top", "right"]].set_visible(False)
display(figure)

# %% [markdown]
# Turn the dial yourself: the threshold, the mask that follows, and what it costs, on 1,000 training images. (Where sliders
# are not available, the cell shows `fc1` at 75 %.)
#
# **Predict.** Up to which sparsity does `fc1` alone lose less than a point? And all layers, pruned alike?

# %%
explore_mask(baseline, evaluation_loader(training.subset(slice(0, 1000))))

# %% [markdown]
# The article's network fell from 97.99 % to 66.46 %, ours to about 51 %. That is no contradiction: the fall depends
# strongly on the seed, because nothing prepared the network for it. Trained from the seeds 0 to 4, this recipe reads
# 98.2, 98.2, 98.6, 97.6 and 98.1 % before pruning, and 51, 70, 74, 68 and 78 % right after.
#
# **In short.** Layers differ: a small layer near the output can cost more than a large one. And the costs do not simply
# add up.
#
# **Questions.**
# 1. Suppose you may choose the five sparsities yourself, for the same number of zeros. What would you change, after
#    the bars of "Which layer hurts?"
# 2. Choosing them by those bars would be choosing on test images. On which images should you choose?
#
# **Source.** The pruning article, section 5; Han et al. 2015, figure 6 (sensitivity of layers).

# %% [markdown]
# ## 5. Why the masks must be applied again and again
#
# **Goal.** See zeros fill up after one training step, and keep them from it.
#
# **You need.** The training step of notebook 04.
#
# **The idea.** A weight of 0 still has a gradient: the gradient asks what *would* happen if the weight moved. So an
# ordinary step moves it. The cure is simple: after each step, set the masked weights to 0 again.
#
# **The formulas.** For $y_j = \sum_i w_{ji}\, x_i$ the gradient does not contain the weight itself, so it does not
# vanish where the weight does; with the mask $m$ ($\odot$ multiplies element by element):
#
# $$\frac{\partial L}{\partial w_{ji}} = \frac{\partial L}{\partial y_j}\, x_i \qquad\qquad
# w \leftarrow m \odot (w - \eta\, v)$$
#
# **Predict.** Of 32,816 zeros, how many are still zero after *one* step on 64 images, without masks? All, a third, a
# few?

# %%
batch = train_loader(training.subset(slice(0, recipe.batch_size)), recipe)
models = {"after pruning": pruned}
for name, after_step in {"one step, no masks": None, "one step, with masks": pruner.apply_}.items():
    model = pruner.prune(baseline)
    optimizer = SGD(model.parameters(), recipe.lr, recipe.momentum)
    minigrad.train(model, batch, CrossEntropyLoss(), optimizer, after_step)
    models[name] = model
left = {name: sum(int(np.sum(p.data == 0)) for p in model.parameters()) for name, model in models.items()}
for name, count in left.items():
    print(f"{name:21} {count:6,} zeros")

assert left["one step, no masks"] < 16_000, "Most zeros have a gradient, so an ordinary step fills them."
assert left["one step, with masks"] >= 32_816, "pruner.apply_ sets the masked weights to 0 after the step."

# %%
figure = Figure(figsize=(9, 4), layout="constrained")
for ax, (name, model) in zip(figure.subplots(3, 1, sharex=True), models.items(), strict=True):
    w = model.fc3.weight.data
    ax.imshow(w != 0, cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    ax.set_title(f"fc3.weight, {name}: {np.sum(w == 0)} of {w.size} are zero", fontsize=10)
    ax.set(ylabel="output (digit)", yticks=range(0, 10, 3))
ax.set_xlabel("input (number of the fc2 unit)        black: non-zero, white: zero")
display(figure)

# %% [markdown]
# Some zeros survive even without masks: where a ReLU was silent for all 64 images, the gradient is exactly 0.
#
# **In short.** `train(..., after_step=pruner.apply_)`: the pruner gets the last word after each step.
#
# **Questions.**
# 1. One could mask the *gradient* instead of the weight. What would *momentum* do to weights that were removed after
#    some training?
# 2. `apply_` writes 0 instead of multiplying by the mask. What is the product of 0 and NaN? Of 0 and −1?
#
# **Source.** The pruning article, section 6; Han et al. 2015, section 3.

# %% [markdown]
# ## 6. Fine-tuning: winning the accuracy back
#
# **Goal.** Train the pruned network on for five epochs, and report its accuracy honestly.
#
# **You need.** Section 5.
#
# **The idea.** The weights that are left can take over the work of those that are gone. Training goes on as before,
# with the masks held. After each epoch we look how good the network is, and keep the *best* epoch.
#
# **The formula.** With $a_e(D)$ the accuracy after epoch $e$ on the images $D$ that decide:
#
# $$e^* = \arg\max_e\ a_e(D)$$
#
# Which images are $D$? The article takes the *test* images. We do so first, to reproduce it. **It is not honest:** the
# largest of five numbers is a little too large, and the same images then serve as the proof.
#
# **Predict.** 26 % of the parameters are left. Which accuracy will they reach: 90 %, 95 %, 98 %?

# %%
start = time.perf_counter()
as_article = finetune(
    pruner.prune(baseline),
    pruner,
    train_loader(training, recipe, epochs_done=recipe.epochs),
    test_batches,  # the article's choice: the test images decide
    recipe.epochs,
    recipe.lr,
    recipe.momentum,
)
seconds = time.perf_counter() - start
for epoch, (loss, correct) in enumerate(zip(as_article.losses, as_article.correct, strict=True), start=1):
    best = "   <- best, chosen on the test images" if epoch == as_article.best_epoch else ""
    print(f"epoch {epoch}: loss {loss:.4f}, test accuracy {100 * correct / len(test):.2f} %{best}")

assert max(as_article.correct) / len(test) > 0.96, "Fine-tuning should bring back more than 96 %."
assert round(model_sparsity(as_article.best), 4) == 0.7387, "The zeros must have stayed zeros."

# %% [markdown]
# ### The honest way
#
# Hold 5,000 training images out. Train on the other 55,000, let the 5,000 choose the epoch, and look at the test images
# *once*, at the very end.
#
# **Predict.** Will the honest number be much lower?

# %%
others, held_out = split_validation(training)
print("to train on:", others, "  to choose by:", held_out)
honest = finetune(
    pruner.prune(baseline),
    pruner,
    train_loader(others, recipe, epochs_done=recipe.epochs),
    evaluation_loader(held_out),  # held-out training images decide
    recipe.epochs,
    recipe.lr,
    recipe.momentum,
)
honest_correct, total = count_correct(honest.best, test_batches)
print(f"epoch {honest.best_epoch} was best on the held-out images")
print(f"test accuracy, looked at once:    {100 * honest_correct / total:.2f} %")
print(f"best of five on the test images:  {100 * max(as_article.correct) / total:.2f} %")
print(f"last epoch, no choice at all:     {100 * as_article.correct[-1] / total:.2f} %")

assert len(others) == 55_000, "5,000 of 60,000 images are held out."
assert honest_correct / total > 0.96, "The honest way should reach more than 96 % as well."
assert round(model_sparsity(honest.best), 4) == 0.7387, "The zeros must have stayed zeros."

# %%
figure = Figure(figsize=(9, 3.6), layout="constrained")
choices = {
    "article's way: test images choose": (as_article, len(test), "test"),
    "honest way: held-out images choose": (honest, len(held_out), "held-out"),
}
for ax, (title, (found, count, images)) in zip(figure.subplots(1, 2, sharey=True), choices.items(), strict=True):
    values = 100 * np.array(found.correct) / count
    ax.plot(range(1, recipe.epochs + 1), values, "o-", color=BLUE)
    ax.plot(found.best_epoch, values.max(), "*", color=ORANGE, markersize=18, label="the epoch chosen")
    ax.set(xticks=range(1, recipe.epochs + 1), xlabel="epochs of fine-tuning")
    ax.set(ylabel=f"accuracy on the {images} images (%)")
    ax.set_title(title, fontsize=10)
    ax.tick_params(labelleft=True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="lower right")
ax.plot(honest.best_epoch, 100 * honest_correct / total, "D", color=GREEN, label="on the test images, once")
ax.legend(loc="lower right")
display(figure)

# %% [markdown]
# > **Box: how honest is honest?** The network that we *started* from was trained on all 60,000 images, so the 5,000
# > were not new to it. They may therefore be read a little too well, and are a slightly worse judge of epochs. The
# > *test* figure is clean all the same: no test image decided anything. To be strict from the beginning, train the
# > baseline without the 5,000 too: `minigrad train --hold-out`.
#
# The two curves are measured on different images, so their heights cannot be compared; what counts is that the green
# diamond was measured after the choice, on images that had no part in it.
#
# **In short.** A quarter of the parameters is enough for about 98 %. With five epochs to choose from, choosing on the
# test set flatters by little; with hundreds of settings to choose from, it would flatter by much.
#
# **Questions.**
# 1. Throw five fair dice and report the largest. What is the mean of that number? What has it to do with this section?
# 2. The article reports 98.31 % after 97.99 %. Look at the intervals of notebook 04: did pruning make the network
#    *better*? (The pruned one was also trained five epochs longer. What would be a fair comparison?)
#
# **Source.** The pruning article, section 6 (98.31 %).

# %% [markdown]
# ## 7. The whole story in two pictures
#
# **Goal.** See weights and accuracy at each stage, side by side.
#
# **You need.** Sections 2 to 6.
#
# **The idea.** The report of `minigrad demo` measures each stage alike, and so do we.
#
# **The formula.** The interval is Wilson's, from notebook 04.
#
# **Predict.** Pruning cuts a gap into the histogram of each layer. Will fine-tuning fill the gap, widen it, or leave
# it?

# %%
stages = {"baseline": baseline, "pruned": pruned, "fine-tuned": as_article.best}
plot_weights(stages)

# %% [markdown]
# The zeros (counted in each corner, not drawn) stay. The other weights move: the edges of the gap become soft, and many
# weights grow, since fewer of them do the same work.

# %%
rows = []
for name, model in stages.items():
    start = time.perf_counter()
    correct, total = count_correct(model, test_batches)
    rows.append(measure(name, model, correct, total, time.perf_counter() - start))
last = as_article.correct[-1]  # the report puts the last epoch beside one that was chosen on test images
rows[-1].last_epoch = {"accuracy": 100 * last / total, "interval": wilson_interval(last, total)}
plot_accuracy([row.as_json() for row in rows], ARTICLE_ACCURACY)

# %% [markdown]
# **In short.** 98 % → a deep fall → 98 %, with a quarter of the parameters. The orange diamonds are the article's run.
#
# **Questions.**
# 1. In which layer did fine-tuning move the weights most?
# 2. In the middle of the story our accuracy and the article's differ by many points, at both ends by little. Why?
#
# **Source.** The pruning article, sections 4 to 6.

# %% [markdown]
# ## 8. How many bytes were saved?
#
# **Goal.** Check the claim that the model became "26.13 % of its size".
#
# **You need.** A float32 number takes 4 bytes.
#
# **The idea.** The article concludes from a sparsity of 0.7387 that the model now has $1 - 0.7387$ = 26.13 % of its
# size. That counts the *values* that are left. But a file must also say *where* they stand, and that costs bytes too.
#
# **The formulas.** For a weight matrix with $n$ entries, $r$ rows and $z$ non-zeros:
#
# | format | what is stored | bytes |
# |---|---|---|
# | dense | every value, zeros too | $4n$ |
# | CSR (compressed sparse rows) | non-zeros, their columns and each row's start (int32) | $4z + 4z + 4(r + 1)$ |
# | bit mask | one bit for each entry, and the non-zeros | $\lceil n/8 \rceil + 4z$ |
#
# **Predict.** How large is the pruned network in CSR, in percent of the dense one: 26 %, 39 %, 52 %? And with a bit
# mask?

# %%
sizes = {name: weight_bytes(model) for name, model in stages.items()}
dense = sizes["baseline"]["dense"]
for name, size in sizes.items():
    print(f"{name:11}", "   ".join(f"{form}: {n:7,} B ({100 * n / dense:6.2f} %)" for form, n in size.items()))
nonzeros = sum(int(mask.sum()) for mask in pruner.masks.values())
rows_of_weights = [len(w) for w in weights.values()]

assert dense == 4 * 44_190, "Dense: 4 bytes for each of the 44,190 weights."
by_hand = 8 * nonzeros + sum(4 * (r + 1) for r in rows_of_weights)
assert sizes["pruned"]["csr"] == by_hand, "CSR: 8 bytes a non-zero, 4 bytes a row, and 4 more for each matrix."
assert sizes["baseline"]["csr"] > 2 * dense, "Without zeros CSR is a loss: each value also pays for its column."
assert sizes["pruned"]["bitmask"] < sizes["pruned"]["csr"], "n/8 bytes against 4 bytes for each non-zero."

# %%
values = 100 * 4 * nonzeros / dense
rest = {form: 100 * size / dense - values for form, size in sizes["pruned"].items()}

figure = Figure(figsize=(7, 2.8), layout="constrained")
ax = figure.subplots()
names = ["dense", "CSR", "bit mask + values"]
ax.barh(names, values, color=BLUE, label="non-zero values")
ax.barh("dense", rest["dense"], left=values, color=GREY, label="zeros, written out")
ax.barh(names[1:], [rest["csr"], rest["bitmask"]], left=values, color=ORANGE, label="where the values stand")
for name, share in zip(names, rest.values(), strict=True):
    ax.text(values + share + 1, name, f"{values + share:.1f} %", va="center")
ax.axvline(26.13, color="black", linestyle="--", label="the article's 26.13 %")
ax.invert_yaxis()
ax.set(xlim=(0, 115), xlabel="bytes of the pruned weights (% of dense float32)", title="Positions cost bytes too")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="lower right")
display(figure)

# %% [markdown]
# **Predict.** And the checkpoint on disk, as the article would save it: is the pruned file smaller than the other?

# %%
with tempfile.TemporaryDirectory() as folder:
    on_disk = {}
    for name, model in stages.items():
        path = Path(folder) / f"{name}.safetensors"
        minigrad.save_checkpoint(path, model)
        on_disk[name] = path.stat().st_size
for name, size in on_disk.items():
    print(f"{name:11} {size:,} bytes on disk")

assert on_disk["pruned"] == on_disk["baseline"], "A stored zero takes 4 bytes, like any other float32."

# %% [markdown]
# Not one byte smaller: a zero that is written out is as long as any other number. Pruning *makes room*; only a sparse
# format *uses* it. (Nor is the network faster: the kernels multiply by zero as diligently as by anything else.)
#
# At last the whole report, as `minigrad demo` prints it. Here the seconds are those of the evaluation.

# %%
print(table(rows))
print(f"\nfine-tuning took {seconds:.1f} s")

# %% [markdown]
# **In short.** 26.13 % is a count of values, not a size. In bytes the pruned weights take about 52 % as CSR with 32-bit
# indices, and about 29 % with a bit mask. Narrower indices and fewer bits a value save more; later notebooks take that
# up.
#
# **Questions.**
# 1. From which sparsity on is CSR smaller than dense? And the bit mask? (Set the formulas equal; ignore the row
#    starts.)
# 2. Columns of `fc1` run from 0 to 255. Which integer type would be enough, and what would CSR take then?
# 3. What would `gzip` do to the pruned checkpoint? Try it with `gzip.compress`.
#
# **Source.** The pruning article, section 5 (26.13 %); Han, Mao and Dally 2016 (relative indices, and where this
# leads).

# %% [markdown]
# ## Summary
#
# - Rule: $k = \operatorname{round}(n s)$, threshold = the $k$-th smallest magnitude, keep what is strictly larger.
# - The article's five sparsities make 32,816 zeros of 44,426 parameters: 0.7387, or 0.7426 of the weights.
# - Accuracy falls deeply right after pruning, and five epochs of fine-tuning bring it back to about 98 %.
# - The masks must be applied after every step: zeros have gradients.
# - The best epoch is chosen on held-out training images; choosing on test images is the article's way, and is labelled
#   so.
# - Bytes depend on the format: 100 % dense, 52 % CSR, 29 % bit mask. The article's 26.13 % counts values only.
#
# On the command line: `minigrad prune`, `minigrad finetune`, `minigrad evaluate`, or everything at once: `minigrad
# demo`.

# %% [markdown]
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: a mask by hand.** Which of these ten weights stay at a sparsity of 0.3? Give the mask: ten times `True` or
# `False`.

# %% nbgrader={"grade": false, "grade_id": "05-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
w = np.array([0.3, -0.1, 0.25, -0.6, 0.04, 0.5, -0.35, 0.2, -0.05, 0.15])
# mask = ... a list of ten
### BEGIN SOLUTION
mask = [True, False, True, True, False, True, True, True, False, True]
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "05-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("05-1", mask, w=w)

# %% [markdown]
# **Exercise 2: which sparsity?** LeNet-300-100 has weight matrices of 784 × 300, 300 × 100 and 100 × 10, and 410 biases.
# 92 %, 91 % and 74 % of the weights are removed. Which share of all *parameters* is 0, and which share of the *weights*?

# %% nbgrader={"grade": false, "grade_id": "05-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# sparsities = ... (of all parameters, of the weights)
### BEGIN SOLUTION
zeros, weights = 0.92 * 235_200 + 0.91 * 30_000 + 0.74 * 1_000, 235_200 + 30_000 + 1_000
sparsities = (zeros / (weights + 410), zeros / weights)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "05-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("05-2", sparsities)

# %% [markdown]
# **Exercise 3: when does CSR pay?** Values are float32, and columns take *one byte* each (`fc1` has 256). The starts of the
# rows are few: leave them out. Above which sparsity is CSR smaller than the dense matrix?

# %% nbgrader={"grade": false, "grade_id": "05-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# sparsity = ... a number between 0 and 1
### BEGIN SOLUTION
sparsity = 1 - 4 / 5
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "05-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("05-3", sparsity)

# %% [markdown]
# **Exercise 4: a step that fills zeros.** Three weights, two of them pruned. One step of gradient descent ($\eta = 0.1$, no
# momentum) with the gradient below, and then the mask is applied. Give the weights before and after the mask is applied.

# %% nbgrader={"grade": false, "grade_id": "05-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
w, mask, gradient = np.array([0.0, 0.8, 0.0]), np.array([False, True, False]), np.array([2.0, -1.0, 0.0])
# steps = ... an array of shape (2, 3): weights before, weights after the mask
### BEGIN SOLUTION
stepped = w - 0.1 * gradient
steps = np.stack([stepped, np.where(mask, stepped, 0)])
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "05-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("05-4", steps, w=w, mask=mask, gradient=gradient)

# %% [markdown]
# ## Sources
#
# - The pruning article: "Model compression: pruning after training" (in Chinese: 模型压缩——训练后剪枝),
#   <https://blog.csdn.net/xiaojia1001/article/details/143900227>.
# - The model-optimisation article: "Chapter 5: training and optimising large models, 5.3 model optimisation" (in
#   Chinese: 第五章:AI大模型的训练与优化 5.3 模型优化).
# - S. Han, J. Pool, J. Tran, W. Dally, "Learning both weights and connections for efficient neural networks", 2015,
#   arXiv:1506.02626.
# - S. Han, H. Mao, W. Dally, "Deep Compression", 2016, arXiv:1510.00149.
# - Y. LeCun, J. Denker, S. Solla, "Optimal brain damage", NIPS 1989: why small weights are not always unimportant.
