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
# # 06 · Which weights matter?
#
# **Goal.** Notebook 05 removed the smallest weights, as the pruning article does. Here we ask whether these are the
# right ones: by other criteria, layer by layer, and in whole filters, which is what makes a network faster. At the end
# we go back to the beginning: could the small network have been trained from the start?
#
# **What you need.** Notebook 05 (masks, sparsity, fine-tuning), and the idea of a derivative. The notebook runs in
# well under a minute on two cores.
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
import copy
from functools import partial

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from scipy.stats import spearmanr

import minigrad
from checks import check
from minigrad import Tensor
from minigrad import functional as F
from minigrad.compression.demo import Recipe, evaluation_loader, train_on_
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE, plot_masks, plot_sensitivity
from minigrad.compression.models import LeNet, trained_lenet
from minigrad.compression.prune_job import calibration_loader

# %%
from minigrad.compression.pruning import (
    ARTICLE_SPARSITY,
    CRITERIA,
    SparsePruner,
    allocate_sparsity,
    choose,
    lottery_targets,
    model_sparsity,
    prunable,
    prune_channels,
    prune_conv,
    select,
    sensitivity_scan,
    shrink,
)
from minigrad.compression.sparse.timing import race, stopwatch
from minigrad.datasets import mnist, split_validation

# %%
training, test = mnist("train"), mnist("test")
others, held_out = split_validation(training)
test_batches = evaluation_loader(test.subset(np.arange(5_000)))  # half of the test images, to be quick

lenet = trained_lenet()
accuracy = minigrad.evaluate(lenet, test_batches)
print(f"accuracy on 5,000 test images: {accuracy:.2f} %")

assert accuracy > 96, "The LeNet that comes with the package reads about 98 % of all test digits."

# %% [markdown]
# > **Box: who has seen what.** This LeNet was trained on all 60,000 training images, the 5,000 held-out ones included.
# > Criteria score weights on 1,000 of the other 55,000; what else is chosen below is chosen on those 5,000. No test
# > image decides anything. For numbers to be quoted, train without them: `minigrad train --hold-out`.
#
# ## 1. What is a weight worth?
#
# **Goal.** Turn "this weight matters" into a number.
#
# **You need.** A function near a point: its slope and its curvature.
#
# **The idea.** A weight is worth what its removal costs: the loss without it, minus the loss with it. Measuring that
# takes a run over many images for each weight, and LeNet has 44,190. So one estimates it from what is known at the
# point where the network stands.
#
# **The formula.** With $g = \partial L / \partial w$ and $h = \partial^2 L / \partial w^2$, setting $w$ to zero is a
# step of $-w$:
#
# $$\Delta L = L(w = 0) - L(w) \approx -\,g\,w + \tfrac{1}{2}\,h\,w^2$$
#
# Criteria differ in what they look at:
#
# | criterion | score, the lowest goes first | what it leaves out |
# |---|---|---|
# | magnitude | $\lvert w \rvert$ | the loss |
# | gradient | $\lvert g \rvert$ | how far $w$ is from zero |
# | Taylor | $\lvert g\,w \rvert$ | the curvature |
# | optimal brain damage | $\tfrac{1}{2}\,h\,w^2$ | the slope, which is zero at a minimum |
#
# Two weights, and a loss that is flat along the first and steep along the second, with its minimum at $(4, 1)$:
#
# $$L(w_1, w_2) = \tfrac{1}{2}\left(0.1\,(w_1 - 4)^2 + 10\,(w_2 - 1)^2\right)$$
#
# **Predict.** Training has reached the minimum. One of the two weights has to go. Which one would each criterion
# remove, and which one *should* go?

# %%
steep, target = np.array([0.1, 10.0]), np.array([4.0, 1.0])
w = Tensor(target.copy(), requires_grad=True)
loss = (steep * (w - target) ** 2).sum() / 2
loss.backward()
g = w.grad
scores = {"magnitude": abs(w.data), "gradient": abs(g), "Taylor": abs(g * w.data), "OBD": steep * w.data**2 / 2}
for name, score in scores.items():
    print(f"{name:10} w1: {score[0]:.2f}   w2: {score[1]:.2f}")
for i in range(2):
    without = np.where(np.arange(2) == i, 0, target)
    print(f"removing w{i + 1} really costs {(steep * (without - target) ** 2).sum() / 2:.2f}")

assert scores["magnitude"].argmin() == 1, "1 is smaller than 4: magnitude removes w2."
assert not g.any(), "At a minimum every slope is zero: gradient and Taylor cannot tell the two apart."
assert scores["OBD"].tolist() == [0.8, 5.0], "This loss is a parabola, so the second order is all there is."

# %% [markdown]
# The large weight should go: it lies in a flat direction. Magnitude gets it wrong, gradient and Taylor are silent, and
# the second-order term is exact.
#
# **In short.** Small is not the same as unimportant. A criterion is a guess about $\Delta L$, made from what is cheap
# to know.
#
# **Questions.**
# 1. Move the point to $(4, 0.9)$. What do gradient and Taylor say now?
# 2. When is magnitude right? (What would have to be equal for all weights?)
#
# **Source.** LeCun, Denker and Solla 1989 (OBD); Molchanov et al. 2017 (Taylor).

# %% [markdown]
# ## 2. One weight at a time
#
# **Goal.** Compare the criteria's guesses with the truth, on a real network.
#
# **You need.** Section 1.
#
# **The idea.** Measuring all 44,190 weights takes too long, measuring 80 does not. Take 80 weights of `fc1` at random,
# set each to zero by itself, and look at the loss of 1,000 *calibration images* (training images set aside for looking).
#
# **The formula.** $\Delta L_i = L(w_i = 0) - L(w)$, measured. What counts is whether a criterion *ranks* the weights
# well. Spearman's $\rho$ compares two rankings: 1 for the same order, 0 for no relation.
#
# **Predict.** Which of magnitude, gradient, Taylor and OBD ranks single weights best?

# %%
calibration = calibration_loader(others, seed=0)
scores = {name: criterion(lenet, None, calibration, 0) for name, criterion in CRITERIA.items()}
x, labels = calibration.images, calibration.labels

probe = copy.deepcopy(lenet)
weights = probe.fc1.weight.data.reshape(-1)
drawn = np.random.default_rng(0).choice(weights.size, 80, replace=False)
measured = []
with minigrad.no_grad():
    before = F.cross_entropy(probe(x), labels).item()
    for i in drawn:
        kept, weights[i] = weights[i], 0
        measured.append(F.cross_entropy(probe(x), labels).item() - before)
        weights[i] = kept
print(f"the loss fell for {np.sum(np.less(measured, 0))} of 80 weights, and rose for the others")
measured = np.abs(measured)
rho = {name: spearmanr(measured, s["fc1.weight"].reshape(-1)[drawn])[0] for name, s in scores.items()}
for name, value in sorted(rho.items(), key=lambda item: -item[1]):
    print(f"{name:10} {value:+.2f}")

assert max(rho, key=rho.get) == "taylor", "For a single weight, a tiny step, the slope is what counts."
assert abs(rho["random"]) < 0.35, "Random numbers know nothing of the loss."

# %%
figure = Figure(figsize=(10, 3.2), layout="constrained")
for ax, name in zip(figure.subplots(1, 3, sharey=True), ("magnitude", "gradient", "taylor"), strict=True):
    ax.loglog(scores[name]["fc1.weight"].reshape(-1)[drawn], measured, "o", color=BLUE, markersize=4)
    ax.set(xlabel=f"score by {name}")
    ax.set_title(f"{name}: ρ = {rho[name]:.2f}", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("measured change of the loss (nats)")
figure.suptitle("80 weights of fc1, each removed by itself", fontsize=11)
display(figure)

# %% [markdown]
# Taylor's points lie on a line: for one weight it is almost exact, far better than magnitude. The network is *not*
# quite at a minimum, so slopes are not zero; and the step is so short that the curvature hardly counts.
#
# So Taylor should prune best. Should it?
#
# **In short.** For a single weight, $\lvert g\,w \rvert$ is nearly the truth.
#
# **Question.** For some weights the loss *falls* when they go. Why does nobody prune by the signed value, most
# negative first? (Think of what would be learned about the 1,000 images.)
#
# **Source.** Molchanov et al. 2017.

# %% [markdown]
# ## 3. Thousands of weights at once
#
# **Goal.** Prune by every criterion, and meet a wrong intuition.
#
# **You need.** Section 2.
#
# **The idea.** Each criterion removes the same share of every layer. *Random* is the control: whoever cannot beat it
# knows nothing.
#
# **The formula.** With all removed weights in one vector $r$, and $H$ the matrix of second derivatives:
#
# $$\Delta L \approx -\,g^\top r + \tfrac{1}{2}\, r^\top H\, r$$
#
# **Predict.** Order them by the accuracy they leave at a sparsity of 70 %: magnitude, gradient, Taylor, OBD, random.

# %%
shares = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
found = {}
for name, score in scores.items():
    pruned = [SparsePruner.from_masks(select(score, share, ties="exact").masks).prune(lenet) for share in shares]
    found[name] = [minigrad.evaluate(model, test_batches) for model in pruned]
    print(f"{name:10}", "  ".join(f"{value:6.2f}" for value in found[name]))

at_70 = {name: line[shares.index(0.7)] for name, line in found.items()}
assert found["magnitude"] == found["l2"], "For single weights |w| and w² give the same order."
assert at_70["magnitude"] > at_70["gradient"] + 20, "The gradient alone forgets how far a weight is from zero."
assert at_70["obd"] > at_70["taylor"] + 10, "When many weights go, the second order decides."

# %%
figure = Figure(figsize=(7, 3.8), layout="constrained")
ax = figure.subplots()
shown = {"obd": GREEN, "stability": "#D55E00", "magnitude": BLUE, "taylor": ORANGE, "gradient": "#8A7000"}
styles = zip("*XoDv^", ("--", "-", "-", "-", "-.", ":"), (shown | {"random": GREY}).items(), strict=True)
for marker, dashes, (name, color) in styles:
    ax.plot(shares, found[name], marker=marker, color=color, label=name, linestyle=dashes)
ax.axhline(accuracy, color="black", linestyle=":", linewidth=1)
ax.text(0.9, accuracy + 1, "nothing removed", fontsize=9, ha="right")
ax.set(xlabel="share removed of each layer", ylabel="accuracy on 5,000 test images (%)", ylim=(0, 105))
ax.set_title("Right after pruning, without training", fontsize=11)
ax.spines[["top", "right"]].set_visible(False)
ax.legend(fontsize=9)
display(figure)

# %% [markdown]
# Taylor, almost exact for one weight, is beaten by plain magnitude. Why? At a sparsity of 70 %, compare what the first
# order says, $-g^\top r$, with what happens to the loss of the calibration images.
#
# **Predict.** Is the measured change about as large as the first-order term, much smaller, or much larger? And whose
# step $r$ is longer, Taylor's or magnitude's?

# %%
probe = copy.deepcopy(lenet)
loss = F.cross_entropy(probe(x), labels)
loss.backward()
slopes = {name: p.grad * p.data for name, p in prunable(probe).items()}
first_order, change, length = {}, {}, {}
for name in ("taylor", "magnitude", "obd"):
    pruner = SparsePruner.from_masks(select(scores[name], 0.7, ties="exact").masks)
    first_order[name] = -sum(float(slopes[key][~mask].sum()) for key, mask in pruner.masks.items())
    length[name] = sum(float(scores["l2"][key][~mask].sum()) for key, mask in pruner.masks.items()) ** 0.5
    with minigrad.no_grad():
        change[name] = F.cross_entropy(pruner.prune(lenet)(x), labels).item() - loss.item()
    print(
        f"by {name:10} first order {first_order[name]:+.3f}   measured {change[name]:+.3f}   |r| = {length[name]:.2f}"
    )

assert change["taylor"] > 5 * abs(first_order["taylor"]), "The loss rises far more than the first order says."
assert length["taylor"] > length["magnitude"], "Nobody makes a shorter step than magnitude: it takes the smallest."

# %% [markdown]
# The first order says that little happens, and the loss rises many times more. The step is no longer short, and the
# curvature, $\tfrac{1}{2} r^\top H r$, decides. Taylor removes *large* weights too, if their slope happens to be small.
# Magnitude knows nothing of the loss, but it makes the shortest step; OBD looks at the curvature itself. After training
# on, the better criteria come close together again: `minigrad criteria` draws that for five seeds.
#
# > **Box: criteria made for something else.** *Movement* asks where training is moving a weight. It was made for
# > fine-tuning on a *new* task; here, where training has settled, it is worse than random. *Activation* (how often a
# > neuron is active) was made to remove whole neurons, not single weights.
#
# **In short.** What is right for one weight can be wrong for ten thousand. Always run the random control.
#
# **Questions.**
# 1. Prune by Taylor in ten small steps, with new gradients in between. Why should that help?
# 2. Which of the criteria need no images at all?
#
# **Source.** The article on quantization and pruning in practice (gradients); Sanh et al. 2020 (movement); Hu et al.
# 2016 (activation).

# %% [markdown]
# ## 4. Which layer bears how much?
#
# **Goal.** Choose a sparsity for each layer from measurements.
#
# **You need.** Section 3.
#
# **The idea.** Prune one layer at a time, more and more, and watch the accuracy. A layer with a flat curve can give
# more. Then spend a *budget*: so many weights have to go, from wherever it hurts least.
#
# **The formula.** With $n_l$ weights, sparsity $s_l$ and damage $D_l(s_l)$ (points lost) in layer $l$:
#
# $$\min_{s}\; \sum_l D_l(s_l) \quad\text{with}\quad \sum_l n_l\, s_l = \text{budget}$$
#
# That damages add up is an assumption. The budget is the article's: 32,816 of 44,190 weights.
#
# **Predict.** Which layer is the most sensitive? And from which layer will most weights be taken?

# %%
scan = sensitivity_scan(lenet, evaluation_loader(held_out))
budget = sum(round(n * ARTICLE_SPARSITY[name]) for name, n in scan.sizes.items()) / sum(scan.sizes.values())
allocation = allocate_sparsity(scan, budget)
for name, share in allocation.items():
    print(f"{name:13} article {ARTICLE_SPARSITY[name]:.2f}   chosen {share:.2f}")
display(plot_sensitivity(scan, allocation))

gone = sum(round(share * scan.sizes[name]) for name, share in allocation.items())
assert gone == 32_816, "All the budget has to be spent, and no more."

# %% [markdown]
# **Predict.** Three ways to remove 32,816 weights: the same share everywhere, the article's shares, the chosen ones.
# How many test digits are misread after each, without training?

# %%
ways = {
    "the same share": dict.fromkeys(allocation, budget),
    "the article's": ARTICLE_SPARSITY,
    "chosen by the scan": allocation,
}
errors = {"nothing removed": 100 - accuracy}
for way, sparsities in ways.items():
    pruned = SparsePruner(lenet, sparsities, ties="exact").prune(lenet)
    errors[way] = 100 - minigrad.evaluate(pruned, test_batches)

figure = Figure(figsize=(7, 2.4), layout="constrained")
ax = figure.subplots()
bars = ax.barh(list(errors), list(errors.values()), color=[GREY, BLUE, BLUE, ORANGE])
ax.bar_label(bars, [f"{error:.1f} %" for error in errors.values()], padding=3)
ax.invert_yaxis()
ax.margins(x=0.12)
ax.set(xlabel="error on 5,000 test images (%)", title="32,816 weights removed, no training")
ax.spines[["top", "right"]].set_visible(False)
display(figure)

assert errors["chosen by the scan"] < errors["the same share"] / 2, "The scan should at least halve the error."

# %% [markdown]
# Equal size, a fraction of the error: most weights come from the largest layer, and the small, sensitive ones are
# spared. The article's shares do the opposite with `conv1` and `fc3`, which together have only 990 weights to give.
#
# **In short.** Measure each layer, then spend the budget where it is cheapest.
#
# **Questions.**
# 1. Why is the scan done on held-out training images, and the comparison on test images?
# 2. Damages that add up: think of two layers for which this is wrong.
#
# **Source.** Han et al. 2015, section 3 and figure 6.

# %% [markdown]
# ## 5. Whole filters: smaller and faster in fact
#
# **Goal.** Take filters out, and see the clock agree.
#
# **You need.** Shapes of LeNet's layers (notebook 04).
#
# **The idea.** Zeros that are scattered over a weight leave the layer its shape, and the dense kernels their work. If a
# *whole* filter is zero, its feature map is constant, and filter, map and everything that reads the map can be taken
# out: the layers become smaller.
#
# > **Box: a slip in the article.** One article announces *structured* pruning, and its `prune_conv` removes "the 10 % of
# > *parameters* of least magnitude". Single parameters are *unstructured* pruning. Here `prune_conv` does either.
#
# **The formula.** Filters go by their norm, $\lVert w_f \rVert_1 = \sum_{c,i,j} \lvert w_{f,c,i,j} \rvert$.
#
# **Predict.** Half of `conv1`, once by single weights, once by filters. How many filters are left in each?

# %%
halves = {"dense": lenet}
for words, structured in (("single weights", False), ("whole filters", True)):
    halves[words] = copy.deepcopy(lenet)
    halves[words].conv1 = prune_conv(lenet.conv1, 0.5, structured=structured)
display(plot_masks(halves))

left = {words: int(model.conv1.weight.data.any(axis=(1, 2, 3)).sum()) for words, model in halves.items()}
print("filters with a weight left:", left)
assert left == {"dense": 6, "single weights": 6, "whole filters": 3}, "75 zeros both times, placed differently."

# %% [markdown]
# Now half of the filters and neurons of every layer but the last. `prune_channels` only writes zeros. `shrink` is the
# *surgery*: it follows each channel to whoever reads it (`conv1` → `conv2` → flatten → `fc1` ...) and cuts it out.
#
# **Predict.** Half of the filters and half of the neurons everywhere: which share of the 44,426 parameters is left? How
# much will the outputs of the masked network and of the shrunken one differ?

# %%
masked = prune_channels(lenet, 0.5)
small = shrink(masked)
for words, model in {"dense": lenet, "masked": masked, "shrunken": small}.items():
    cost = minigrad.summary(model, (1, 1, 28, 28))
    print(f"{words:9} {cost.parameters:6,} parameters, {cost.macs:7,} multiply-accumulates an image")
print(small.conv2, small.fc1, sep="\n")
images = test.images[:1_000]
with minigrad.no_grad():
    difference = np.abs(masked(images).data - small(images).data).max()
print(f"largest difference between the outputs: {difference:.1e}")

assert difference < 1e-4, "Only dead channels were cut, so only the rounding of sums may differ."
assert small.fc1.in_features == 128, "8 maps of 4 × 4 are 128 features."

# %% [markdown]
# A weight matrix loses rows *and* columns, so about a quarter of it is left, not half.
#
# **Predict.** Four networks, a batch of 64 images each: dense; 75 % of the single weights zero; half of the filters
# masked; half of the filters taken out. Which ones are faster than dense?

# %%
single = choose(lenet, 0.75, ties="exact")
contestants = {
    "dense": lenet,
    "75 % of single weights zero": SparsePruner.from_masks(single.masks).prune(lenet),
    "half of the filters zero": masked,
    "half of the filters taken out": small,
}
batch = next(iter(evaluation_loader(test)))[0][:64]
with minigrad.no_grad():
    team = {name: stopwatch(partial(model.eval(), batch)) for name, model in contestants.items()}
    milliseconds = {name: 1_000 * float(t.sum()) for name, t in race(team, seconds=3).seconds.items()}

figure = Figure(figsize=(7, 2.4), layout="constrained")
ax = figure.subplots()
bars = ax.barh(list(milliseconds), list(milliseconds.values()), color=[GREY, BLUE, BLUE, GREEN])
ax.bar_label(bars, [f"{ms:.2f} ms" for ms in milliseconds.values()], padding=3)
ax.invert_yaxis()
ax.margins(x=0.15)
ax.set(xlabel="time of a batch of 64 images (ms, on this machine)", title="Dense kernels multiply zeros, too")
ax.spines[["top", "right"]].set_visible(False)
display(figure)

assert milliseconds["half of the filters taken out"] < milliseconds["dense"], "Fewer multiplications, less time."

# %% [markdown]
# Only the network that lost whole filters is faster. (Kernels that *skip* zeros exist as well: notebook 07.) And the
# accuracy? Train both on for one epoch, with the single weights' masks held:

# %%
recipe = Recipe()
tuned = {"75 % of single weights zero": single.masks, "half of the filters taken out": {}}
for name, masks in tuned.items():
    model = copy.deepcopy(contestants[name])
    before = minigrad.evaluate(model, test_batches)
    train_on_(model, SparsePruner.from_masks(masks), others, recipe, epochs=1)
    after = minigrad.evaluate(model, test_batches)
    print(f"{name:30} {before:.2f} % -> {after:.2f} %")
    assert after > 95, "One epoch should bring back more than 95 %."

# %% [markdown]
# About as many weights are left in both. Single weights may stay wherever they are needed, which keeps a little more
# accuracy, as long as not too many go; whole filters give the speed. `minigrad structure` draws that trade, with
# intervals over five seeds, and `minigrad shrink` cuts a checkpoint.
#
# **In short.** Unstructured: a little more accuracy for as many weights. Structured: faster with ordinary kernels.
#
# **Questions.**
# 1. A removed filter has a bias $b$. Its map is constant, $\operatorname{ReLU}(b)$. Where must that constant go?
# 2. In a residual network two layers are *added*. Which filters may go then?
#
# **Source.** Li et al. 2017; the article on quantization and pruning in practice, section 3.2.2.

# %% [markdown]
# ## 6. A lottery, in small
#
# **Goal.** Find out whether the sparse network could have been trained from the start.
#
# **You need.** Initial weights are random (notebook 04).
#
# **The idea.** Train, remove the smallest 20 %, and set what is left back to its *first* random values. Train again, and
# so on. The *lottery ticket hypothesis* says: a large random network holds a small one that happened to be drawn well,
# a *winning ticket*. The control: the same mask with *other* random values.
#
# **The formula.** After $r$ rounds a share of $0.8^r$ is left (of the last layer $0.9^r$).
#
# A ticket consists of the weights that grew large, and these often *began* large. New random values are smaller on
# average, and a sparse layer of small weights passes on little. So there is a second control: new values, scaled up by
# $1/\sqrt{\text{share left}}$.
#
# **Predict.** 2 epochs on only 6,000 images; 27 % of the weights left. Which one learns best: dense, ticket, other
# values, other values scaled up?

# %%
few, recipes, rounds = training.subset(np.arange(6_000)), [Recipe(lr=0.05, seed=seed) for seed in range(3)], 6
learned = {"dense": [], "ticket": [], "other values": [], "other values, scaled up": []}
for recipe in recipes:
    minigrad.manual_seed(recipe.seed)
    first, other = LeNet(), LeNet()
    trained, masks = copy.deepcopy(first), {}
    train_on_(trained, SparsePruner.from_masks(masks), few, recipe, epochs=2)
    learned["dense"].append(minigrad.evaluate(trained, test_batches))
    for target in lottery_targets(first, rounds):
        masks = choose(trained, target, ties="exact", earlier=masks).masks
        pruner = SparsePruner.from_masks(masks)
        trained = pruner.prune(first)  # what is left goes back to its first values
        train_on_(trained, pruner, few, recipe, epochs=2)
    learned["ticket"].append(minigrad.evaluate(trained, test_batches))
    scaled = copy.deepcopy(other)
    for name, p in prunable(scaled).items():
        p.data[...] /= np.sqrt(masks[name].mean())
    for words, start in {"other values": other, "other values, scaled up": scaled}.items():
        model = pruner.prune(start)
        train_on_(model, pruner, few, recipe, epochs=2)
        learned[words].append(minigrad.evaluate(model, test_batches))
print(f"{100 * (1 - model_sparsity(trained)):.1f} % of the parameters are left")

# %%
figure = Figure(figsize=(7, 2.6), layout="constrained")
ax = figure.subplots()
for row, (words, values) in enumerate(learned.items()):
    ax.plot(values, [row] * 3, "o", color=GREEN if words == "ticket" else BLUE, markersize=8, alpha=0.7)
    print(f"{words:24}", "  ".join(f"{value:.2f} %" for value in values))
ax.set_yticks(range(4), list(learned))
ax.set_ylim(3.5, -0.5)
ax.set(xlabel="accuracy on 5,000 test images (%), a point for each seed", title="2 epochs on 6,000 images")
ax.grid(axis="x", alpha=0.4)
ax.spines[["top", "right"]].set_visible(False)
display(figure)

assert min(np.subtract(learned["ticket"], learned["other values"])) > 5, (
    "With other values the mask alone does not learn."
)
assert np.mean(learned["ticket"]) > np.mean(learned["dense"]), "The ticket should learn at least as fast as dense."

# %% [markdown]
# With a quarter of its weights, the ticket is ahead of the dense network that it came from. The *same mask* with other
# values learns far worse, and scaling the values up brings back a part: so what a ticket keeps is not only where its
# weights are, but also how large they began, and with which sign.
#
# Three seeds and two epochs on a tenth of the images are a first look. `minigrad repro lottery` repeats the paper's
# network, with five seeds and long training.
#
# **In short.** The mask alone is not the ticket: mask and first values belong together.
#
# **Questions.**
# 1. Why is the ticket found *after* training, and not before? What would it be worth to find it before?
# 2. Is it fair to compare the ticket with a dense network trained for two epochs only?
#
# **Source.** Frankle and Carbin 2019; Zhou et al. 2019 (which part of the first values counts: the signs).

# %% [markdown]
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: who goes first?** Three weights, their slopes and their curvatures. Which weight (0, 1 or 2) does each
# criterion remove first?

# %% nbgrader={"grade": false, "grade_id": "06-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
w, g, h = np.array([0.5, -2.0, 0.1]), np.array([0.0, 0.01, 0.4]), np.array([0.2, 0.001, 3.0])
# first_to_go = ... {"magnitude": ..., "gradient": ..., "taylor": ..., "obd": ...}
### BEGIN SOLUTION
first_to_go = {"magnitude": 2, "gradient": 0, "taylor": 0, "obd": 1}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "06-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("06-1", first_to_go, w=w, g=g, h=h)

# %% [markdown]
# **Exercise 2: a budget by hand.** Two layers of 100 weights each. Pruned by itself, layer `a` reads 98 % at sparsity 0,
# 97 % at 0.5 and 90 % at 1; layer `b` reads 98 %, 98 % and 60 %. In between, take the curves as straight. 120 of the 200
# weights have to go. Which sparsity should each layer get? (What does one more weight cost, in each piece?)

# %% nbgrader={"grade": false, "grade_id": "06-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# by_hand = ... {"a": ..., "b": ...}
### BEGIN SOLUTION
by_hand = {"a": 0.7, "b": 0.5}
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "06-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("06-2", by_hand)

# %% [markdown]
# **Exercise 3: surgery on paper.** 8 of the 16 filters of `conv2` are taken out, and nothing else. How many parameters
# does LeNet have then? (44,426 before; biases count; which layer *reads* `conv2`'s maps, and how many numbers a map?)

# %% nbgrader={"grade": false, "grade_id": "06-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# parameters_left = ... a number
### BEGIN SOLUTION
parameters_left = 44_426 - 8 * (6 * 25 + 1) - 120 * 8 * 16
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "06-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("06-3", parameters_left)

# %% [markdown]
# **Exercise 4: rounds of a lottery.** Each round removes 20 % of what is left. After how many rounds is less than 5 % of
# a layer left?

# %% nbgrader={"grade": false, "grade_id": "06-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# rounds_needed = ... a whole number
### BEGIN SOLUTION
rounds_needed = 14
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "06-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("06-4", rounds_needed)

# %% [markdown]
# ## Summary
#
# - A weight is worth what its removal costs: $\Delta L \approx -g\,w + \tfrac{1}{2} h\,w^2$. Criteria are guesses at it.
# - For one weight the first order (Taylor) is almost exact; for thousands at once the second order decides.
# - Random pruning is the control that every criterion has to beat; some do not.
# - Layers differ: a scan, and a budget spent where it is cheapest, halve the error at equal size, or better.
# - Scattered zeros leave dense kernels as slow as they were. Whole filters can be cut out, and the clock shows it.
# - In a lottery, mask and first values belong together.
#
# On the command line: `minigrad prune --criterion ... --schedule ...`, `minigrad criteria`, `minigrad scan`, `minigrad
# shrink`, `minigrad structure`.
#
# ## Sources
#
# - The article on quantization and pruning in practice (in Chinese), sections 3.1 and 3.2: gradients, stability,
#   `prune_conv`.
# - Y. LeCun, J. Denker, S. Solla, "Optimal brain damage", NIPS 1989.
# - S. Han, J. Pool, J. Tran, W. Dally, "Learning both weights and connections for efficient neural networks", 2015,
#   arXiv:1506.02626.
# - P. Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", 2017,
#   arXiv:1611.06440.
# - H. Li et al., "Pruning filters for efficient ConvNets", 2017, arXiv:1608.08710.
# - H. Hu et al., "Network trimming", 2016, arXiv:1607.03250.
# - V. Sanh, T. Wolf, A. Rush, "Movement pruning", 2020, arXiv:2005.07683.
# - J. Frankle, M. Carbin, "The lottery ticket hypothesis", 2019, arXiv:1803.03635.
# - H. Zhou et al., "Deconstructing lottery tickets", 2019, arXiv:1905.01067.
