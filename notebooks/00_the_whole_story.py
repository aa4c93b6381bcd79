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
# # 00 · The whole story in five minutes
#
# **Goal.** Take one trained network, and make it smaller in every way that this course teaches: a line of code each, with
# what it saves and what it costs. Nothing is explained here; each step names the notebook that does.
#
# **What you need.** Nothing: the network comes with the package, and nothing is trained. The notebook runs in seconds; the
# first time, half a minute more, since kernels are compiled.
#
# **How to read it.** Before each result there is a line that begins with **Predict**. Write your guess down first, then
# run the cell. The first exercise comes soon, and at the end there are three more.

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
from pathlib import Path

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from checks import check
from minigrad.compression.coding import load_mgz, save_mgz, share_weights_of
from minigrad.compression.demo import evaluation_loader
from minigrad.compression.distillation import explore_temperature, soft_targets, teacher_logits
from minigrad.compression.export import to_c
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE
from minigrad.compression.integer import to_integer
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import SparsePruner, model_sparsity
from minigrad.compression.report import align, wilson_interval
from minigrad.compression.sparse import weight_bytes
from minigrad.datasets import mnist, show_image, split_validation
from minigrad.training import count_correct

# %% [markdown]
# ## 1. A network that reads digits
#
# **The idea.** LeNet looks at 28×28 pixels and gives ten numbers, one for each digit; the largest is its answer. It has 44,426
# parameters, each a float32 number of 4 bytes (notebooks 01 to 04 build all that, from the derivative upwards).
#
# **The formula.** Of $n$ images $c$ are read correctly: the accuracy is $c / n$, and its interval tells how far chance could
# have moved it.
#
# **Predict.** How many of 10,000 test images does it misread?

# %%
training, held_out = split_validation(mnist("train"))
test = mnist("test")
show_image(test, rows=1, seed=0)

# %%
lenet = trained_lenet()
digits = evaluation_loader(test)
total = len(test)
steps = {"float32": (4 * sum(p.size for p in lenet.parameters()), count_correct(lenet, digits)[0])}
print(f"{total - steps['float32'][1]} of {total:,} test images are misread")

assert steps["float32"][0] == 177_704, "44,426 parameters of 4 bytes each."

# %% [markdown]
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.)
#
# **Exercise 1: an accuracy.** 185 of 10,000 images are misread. How many percent are read correctly?

# %% nbgrader={"grade": false, "grade_id": "00-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# percent = ... a number
### BEGIN SOLUTION
percent = 100 * (10_000 - 185) / 10_000
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "00-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("00-1", percent)

# %% [markdown]
# ## 2. Prune: half of the weights go
#
# **The idea.** Set the smallest half of each layer's weights to zero (notebook 05; which ones are best to go, notebook 06),
# and store the others with one bit for each place that says whether something is there (notebook 07).
#
# **Predict.** No training follows. How much accuracy is left, of about 98 %? And how many bytes, of 177,704?

# %%
rates = {name: 0.5 for name, p in lenet.named_parameters() if p.ndim > 1}
pruned = SparsePruner(lenet, rates).prune(lenet)
biases = 4 * sum(p.size for p in lenet.parameters() if p.ndim == 1)
steps["half pruned"] = (weight_bytes(pruned)["bitmask"] + biases, count_correct(pruned, digits)[0])
print(
    f"{100 * model_sparsity(pruned):.1f} % of the parameters are zero; {steps['half pruned'][1]} of {total:,} are read"
)

assert 0.49 < model_sparsity(pruned) < 0.5, "Half of the weights; biases are left alone."

# %% [markdown]
# Prune more, and accuracy falls deeply; a few epochs of training then win it back, with three quarters of the weights gone.
#
# ## 3. Pack: few values, short codes
#
# **The idea.** Let the weights that are left share 15 values a layer, so that each takes 4 bits; write down how far it is to
# the next one; and give frequent numbers short codes. This is Deep Compression (notebook 12), in a file `.mgz`.
#
# **Predict.** How many bytes has the file, of 177,704?

# %%
folder = tempfile.TemporaryDirectory()  # it is removed when the notebook ends
place = Path(folder.name)
packed = save_mgz(place / "lenet.mgz", share_weights_of(pruned, bits=4), float_bits=16)
steps["packed as .mgz"] = (packed.size, count_correct(load_mgz(place / "lenet.mgz"), digits)[0])
print(f"{packed.size:,} bytes: {177_704 / packed.size:.1f} times smaller")

assert packed.size == (place / "lenet.mgz").stat().st_size, "Bytes are counted on the disk."

# %% [markdown]
# ## 4. Quantize: integers of 8 bits
#
# **The idea.** Another way: keep all weights, but round each to one of 255 steps, $r \approx S (q - Z)$, and compute with the
# integers $q$ alone, from the pixel to the answer (notebooks 09 and 10; fewer bits, notebook 11).
#
# **Predict.** Not one floating-point number is left. How many of 10,000 images are read differently?

# %%
integer = to_integer(lenet, training.pixels[:1000])  # ranges are measured on these images
integer.save(place / "lenet-int8.safetensors")
answers = integer.predict(test.pixels)
steps["8-bit integers"] = ((place / "lenet-int8.safetensors").stat().st_size, int(np.sum(answers == test.labels)))
changed = np.sum(answers != teacher_logits(lenet, test).argmax(axis=1))
print(f"{changed} of {total:,} are read differently, {steps['8-bit integers'][1]:,} correctly")

assert steps["8-bit integers"][1] > steps["float32"][1] - 100, "8 bits cost less than a point."

# %% [markdown]
# ## 5. Take it away: one C file
#
# **The idea.** The integer model as a C file without a library, for a computer of any size, bit for bit the same answers
# (notebook 14 compiles it, and puts it on an 8-bit chip and on a web page).
#
# **Predict.** How many bytes do its constants take? And how much memory does it need to run?

# %%
made = to_c(integer, place, "lenet")
steps["C, constants"] = (made.flash, steps["8-bit integers"][1])
print(
    f"{made.flash:,} bytes of constants, {made.work:,} bytes to work in; lenet.c has {made.files['lenet.c']:,} characters"
)

# %% [markdown]
# ## 6. All in one table
#
# **Predict.** Whose interval does not overlap with that of the network we began with?

# %%
rows = [("step", "bytes", "times smaller", "accuracy (%)", "95 % interval")]
for name, (size, correct) in steps.items():
    low, high = wilson_interval(correct, total)
    accuracy = f"{100 * correct / total:.2f}"
    rows.append((name, f"{size:,}", f"{177_704 / size:.1f}", accuracy, f"{low:.2f} - {high:.2f}"))
print(align(rows))

assert all(correct > 0.96 * total for _, correct in steps.values()), "No step costs more than two points."

# %% [markdown]
# ## 7. And a teacher's doubts
#
# **The idea.** One way is left: train a *small* network from the start, and let the large one teach it. What a teacher knows
# besides the answer are the digits that it nearly took. A temperature $T$ makes them visible (notebook 08).
#
# **The formula.** $p_i = e^{z_i / T} / \sum_j e^{z_j / T}$, with the ten numbers $z$ that the network gives.
#
# **Predict.** The network takes the digit below for a 9, and is rather sure. What does $T = 5$ bring to light?

# %%
logits = teacher_logits(lenet, held_out)
candidates = np.flatnonzero((logits.argmax(axis=1) == 9) & (held_out.labels == 9))
second, first = np.sort(logits[candidates], axis=1)[:, -2:].T
chosen = candidates[np.argmin(np.abs(first - second - 4))]  # rather sure: the second digit is 4 behind
z = logits[[chosen]].astype(float)
temperatures = np.geomspace(0.5, 20, 60)
curves = np.array([soft_targets(z, T)[0] for T in temperatures])

assert np.allclose(curves.sum(axis=1), 1), "Probabilities add up to 1 at every temperature."

# %%
figure = Figure(figsize=(10, 3.6), layout="constrained")
left, middle, right = figure.subplots(1, 3, width_ratios=[2.2, 1, 2])
colors = (GREY, BLUE, ORANGE, GREEN, "black")
for (name, (size, correct)), color, marker in zip(steps.items(), colors, "os^Dv", strict=True):
    accuracy, (low, high) = 100 * correct / total, wilson_interval(correct, total)
    reach = [[accuracy - low], [high - accuracy]]
    left.errorbar(size / 1000, accuracy, reach, fmt=marker, color=color, capsize=3, label=name)
left.set(xscale="log", xlabel="size (KB of 1,000 bytes, log scale)", ylabel="accuracy on the test images (%)")
left.set_xticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"], minor=False)
left.set_title("Smaller, and what it costs")
left.legend(fontsize=9)
middle.imshow(held_out.pixels[chosen], cmap="gray")
middle.set_title("a 9, rather surely")
middle.axis("off")
for digit, color, style in zip(np.argsort(-z[0]), (ORANGE, BLUE, GREEN, GREY), ("-", "--", "-.", ":"), strict=False):
    right.plot(temperatures, curves[:, digit], color=color, linestyle=style, label=f"{digit}")
right.legend(title="digit", fontsize=9)
right.axvline(5, color="black", linewidth=0.8)
right.set(xscale="log", xlabel="temperature T (log scale)", ylabel="probability", title="The four likeliest digits")
right.set_xticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"], minor=False)
display(figure)

# %% [markdown]
# Turn the dial yourself: blue is what the network says at temperature $T$; on the right, what a small network would learn
# from it and what from the label, with the weight $\alpha$ between them. (Where sliders are not available, the cell shows
# three settings.)

# %%
explore_temperature(z, held_out.images[[chosen]], [9])

# %% [markdown]
# ## Summary
#
# - Zeros, few values, few bits: each saves bytes, and they can be combined. Without any training LeNet becomes an eleventh of
#   its size, for less than a point.
# - A saving is measured on the disk, an accuracy with its interval.
# - The other notebooks do each step by hand, train where it pays, and go much further.
#
# **Questions.**
# 1. Which of the steps could be combined with each other? Which could not?
# 2. Would you expect the network to be *faster* after pruning? (Notebook 07 measures it.)
#
# Next: notebook 01, where a gradient comes from. On the command line the same journey is `minigrad demo`.
#
# ## Exercises
#
# Each exercise can be done by itself, once the first two cells of code were run.
#
# **Exercise 2: how many times smaller?** A network has 1,000,000 weights in float32. Half of them are removed; the others take
# 4 bits each, and one bit for every place says whether something is there. How many times smaller is it?

# %% nbgrader={"grade": false, "grade_id": "00-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# times = ... a number
### BEGIN SOLUTION
times = 4_000_000 / (500_000 * 4 / 8 + 1_000_000 / 8)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "00-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("00-2", times)

# %% [markdown]
# **Exercise 3: how far to trust it?** 98 % of 10,000 images are read correctly. Chance has a standard deviation of
# $\sqrt{p (1 - p) / n}$, and a 95 % interval reaches 1.96 of them to each side. How many percentage points are that?

# %% nbgrader={"grade": false, "grade_id": "00-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# points = ... a number
### BEGIN SOLUTION
points = 100 * 1.96 * (0.98 * 0.02 / 10_000) ** 0.5
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "00-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("00-3", points)

# %% [markdown]
# **Exercise 4: a temperature.** A network gives a 9 the number 4 and a 4 the number 2; forget the others. Which probability
# has the 9 at $T = 2$?

# %% nbgrader={"grade": false, "grade_id": "00-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# p = ... a number
### BEGIN SOLUTION
p = np.exp(4 / 2) / (np.exp(4 / 2) + np.exp(2 / 2))
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "00-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("00-4", p)

# %% [markdown]
# ## Sources
#
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proceedings
#   of the IEEE 86, 1998.
# - S. Han, H. Mao, W. Dally, "Deep Compression", ICLR 2016, arXiv:1510.00149.
# - B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
#   2018, arXiv:1712.05877.
# - G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531.
# - E. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
