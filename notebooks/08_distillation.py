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
# # 08 · Distillation: what a teacher knows besides the answer
#
# **Goal.** See what temperature does to a network's answers, check each claim of the theory with our engine, and end
# with a network of 1,466 parameters that beats the same network trained alone.
#
# **What you need.** Notebook 04 (LeNet, softmax, cross-entropy) and notebook 01 (gradients). The teacher is the trained
# LeNet that comes with the package. The notebook runs in well under a minute on two cores.
#
# Two articles are followed here: *the article on distillation* (its theory is right, and is checked), and *the
# model-optimisation article* (its listing does not work, and a box says why). Both go back to Hinton, Vinyals and Dean
# 2015.
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
from minigrad import DataLoader, Tensor, nn
from minigrad import functional as F
from minigrad.compression.distillation import (
    DistillationLoss,
    analysis,
    distill,
    explore_temperature,
    plots,
    soft_targets,
    teacher_logits,
)
from minigrad.compression.figures import BLUE, ORANGE
from minigrad.compression.models import trained_lenet
from minigrad.compression.report import t_interval
from minigrad.compression.soft_target_study import choose_digits
from minigrad.datasets import mnist, split_validation
from minigrad.optim import SGD, Adam

# %%
training, held_out = split_validation(mnist("train"))  # 5,000 training images to look at and choose by
teacher = trained_lenet()
logits = teacher_logits(teacher, held_out)  # (5000, 10), computed once
labels = held_out.labels
right = np.mean(logits.argmax(axis=1) == labels)
print(f"the teacher reads {100 * right:.1f} % of the held-out images; logits {logits.shape}, {logits.dtype}")

assert right > 0.97, "The shipped LeNet reads about 98 %."

# %% [markdown]
# ## 1. What a teacher says besides the answer
#
# **Goal.** Find knowledge in the wrong answers.
#
# **You need.** Softmax.
#
# **The idea.** A label says "2" and nothing else. A trained network also says *how much* the digit looks like a 3, a 7,
# a 1. One 2 looks like a 3, another like a 7: that is knowledge about pictures, and no label has it. It sits in the
# small probabilities, and there it is hard to see.
#
# **The formula.** Softmax at the temperature $T$, with logits $z$:
#
# $$q_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}$$
#
# The next cell picks three 2s that the teacher reads correctly: two where the second choice is a 3 or a 7, about 3 logits
# behind, and nothing else comes near; and the clearest of all.

# %%
order = np.argsort(-logits, axis=1)
chosen = choose_digits(logits, labels, digit=2, others=(3, 7), lead=3)
for i in chosen:
    print(f"image {i}: logits", " ".join(f"{z:5.1f}" for z in logits[i]))

assert [int(order[i, 1]) for i in chosen[:2]] == [3, 7], "The second choices are a 3 and a 7."

# %% [markdown]
# **Predict.** At $T = 1$ the first image's 2 is 3 logits ahead of its 3. How probable is the 3, compared with the 2?
# ($e^{-3} \approx 0.05$.) And at $T = 4$?

# %%
for temperature in (1, 4, 20):
    p = soft_targets(logits[chosen], temperature)
    print(f"T = {temperature:2}: the 2 and the 3 of the first image have {p[0, 2]:.3f} and {p[0, 3]:.3f}")
ratio = soft_targets(logits[chosen], 4)[0, 3] / soft_targets(logits[chosen], 4)[0, 2]
difference = logits[chosen[0], 2] - logits[chosen[0], 3]

assert np.isclose(ratio, np.exp(-difference / 4), rtol=1e-4), "The ratio of two probabilities is e^(difference / T)."

# %%
temperatures = np.geomspace(0.25, 100, 41)
plots.plot_soft_targets(logits[chosen], temperatures, held_out.pixels[chosen], labels[chosen])

# %% [markdown]
# At $T = 1$ the clear 2 is a label, and nothing more. Between 2 and 10 the other classes come out, in their order. From
# 20 on all classes are nearly alike, but the order is still there, in the small differences.
#
# **In short.** $T$ changes how loudly the small probabilities speak, never their order.
#
# **Questions.**
# 1. Which $T$ would you take to tell the three 2s apart?
# 2. Softmax does not change if the same number is added to all logits. Does softmax at temperature $T$?
#
# **Source.** Hinton et al. 2015, equation 1; the article on distillation, "T and softmax".

# %% [markdown]
# ## 2. How much is said: entropy
#
# **Goal.** Put "softer" into one number.
#
# **You need.** Section 1.
#
# **The idea.** Entropy counts how much an answer leaves open: 0 if one class has everything, $\log 10 \approx 2.30$ if
# all ten are alike.
#
# **The formula.**
#
# $$H(p) = -\sum_i p_i \log p_i$$
#
# **Predict.** Towards which value does it go for $T \to 0$, and towards which for $T \to \infty$? Where, roughly, is it
# half of that?

# %%
entropy = analysis.entropy(logits, temperatures).mean(axis=1)
print(f"T = 0.25: {entropy[0]:.3f}   T = 100: {entropy[-1]:.3f}   log 10 = {np.log(10):.3f}")
print(f"half of log 10 at about T = {temperatures[np.argmin(np.abs(entropy - np.log(10) / 2))]:.1f}")
plots.plot_temperature_entropy(logits, temperatures)

# %%
assert (np.diff(entropy) > 0).all(), "Entropy rises with T: the logits are drawn together."
assert np.allclose(soft_targets(logits[:5], 1e-4), np.eye(10)[order[:5, 0]]), "T → 0 is argmax."
assert np.allclose(soft_targets(logits[:5], 1e6), 0.1, atol=1e-4), "T → ∞ is uniform."

# %% [markdown]
# **In short.** $T$ is a dial from "argmax" to "no idea". The range in which something is said lies between.
#
# **Question.** A teacher whose logits are twice as large: where does its curve lie?
#
# **Source.** The article on distillation, "About temperature".

# %% [markdown]
# ## 3. The loss and its two terms
#
# **Goal.** Write the loss of distillation, and avoid two mistakes that nobody notices.
#
# **You need.** Section 1; cross-entropy.
#
# **The idea.** The student is asked twice. *Softly*: what does it say at temperature $T$, and how far is that from the
# teacher at the same $T$? *Hard*: what does it say at $T = 1$ about the label?
#
# **The formula.** With $p$ the teacher's answer and $q$ the student's, both at $T$:
#
# $$L = \alpha\, T^2\, \mathrm{KL}(p \,\|\, q) + (1 - \alpha)\, \mathrm{CE}(\text{label}, q_{T=1}) \qquad
# \mathrm{KL}(p \,\|\, q) = \sum_i p_i \log \frac{p_i}{q_i}$$
#
# KL is *summed over the classes* and averaged over the batch.

# %%
student_logits = np.zeros((3, 10))  # a student that knows nothing yet
loss = DistillationLoss(temperature=4, alpha=0.9)
soft, hard = loss.terms(student_logits, logits[chosen], labels[chosen])

p, q = soft_targets(logits[chosen].astype(float), 4), 0.1
by_hand = 16 * np.mean(np.sum(p * np.log(p / q), axis=1))
print(f"soft term {soft.item():.4f}, by hand {by_hand:.4f}; hard term {hard.item():.4f} = log 10")
print(f"loss {loss(student_logits, logits[chosen], labels[chosen]).item():.4f}")

assert np.isclose(soft.item(), by_hand), "T² times KL, summed over the classes, averaged over the three images."

# %% [markdown]
# > **Box: ten times too small.** `kl_div(log_q, p, reduction="mean")` averages over the classes too, here and in
# > PyTorch. On MNIST the soft term is then ten times too small, $\alpha$ means something else, and nothing complains.
# > `reduction="batchmean"` is the divergence. Another trap: the first argument is the *student*, as *log*-probabilities.
#
# **Predict.** Many write the soft term as *cross-entropy* $-\sum_i p_i \log q_i$. Larger or smaller than KL? By what?
# Does the student learn anything else from it?

# %%
log_q = F.log_softmax(student_logits, axis=1, temperature=4)
wrong, kl = (F.kl_div(log_q, p, reduction=reduction).item() for reduction in ("mean", "batchmean"))
print(f"reduction='mean': {wrong:.4f}, 'batchmean': {kl:.4f}, ratio {kl / wrong:.1f}")
cross_entropy = F.cross_entropy(log_q, p).item()
H = analysis.entropy(logits[chosen], 4).mean()
print(f"cross-entropy {cross_entropy:.4f} = KL {kl:.4f} + entropy of the teacher {H:.4f}")

assert np.isclose(kl / wrong, 10), "Ten classes."
assert np.isclose(cross_entropy, kl + H), "The entropy is the teacher's own: a constant for the student."

# %% [markdown]
# **In short.** Cross-entropy and KL differ by the teacher's entropy, a number that no weight of the student changes: the
# gradients are the same.
#
# **Question.** The articles call two things by name: "softmax distillation" and "temperature distillation". Which $T$
# has the first? (`softmax_distillation()` and `temperature_distillation(4)` are both `DistillationLoss`.)
#
# **Source.** Hinton et al. 2015, section 2; the article on distillation, "The process".

# %% [markdown]
# ## 4. Why T²
#
# **Goal.** Derive the soft term's gradient, and see what $T^2$ is for.
#
# **You need.** Section 3; `backward`.
#
# **The idea.** Softening divides the logits by $T$. Once for $T$ in the derivative of $z/T$, and once more since soft
# answers differ less: the gradient shrinks as $1/T^2$. The labels' term knows nothing of $T$ and does not shrink.
#
# **The formula.**
#
# $$\frac{\partial\, \mathrm{KL}}{\partial z_i} = \frac{1}{T} (q_i - p_i) \;\approx\; \frac{1}{N T^2} (z_i - v_i)
# \quad\text{for large } T$$
#
# for logits $z$ of the student and $v$ of the teacher with mean 0 in each image, and $N$ classes.
#
# From here on, the student is one that has learned half: its logits are half the teacher's, with noise.

# %%
rng = np.random.default_rng(0)
half = 0.5 * logits + rng.normal(size=logits.shape)
z = Tensor(half[:1], requires_grad=True)
DistillationLoss(temperature=4, alpha=1, balance=False)(z, logits[:1]).backward()
by_formula = (soft_targets(half[:1], 4) - soft_targets(logits[:1].astype(float), 4)) / 4
print("backward  ", z.grad[0].round(4))
print("(q - p)/T ", by_formula[0].round(4))

assert np.allclose(z.grad, by_formula), "The gradient is (q - p) / T."

# %% [markdown]
# **Predict.** From $T = 20$ to $T = 100$: by which factor does the soft gradient fall, without $T^2$?

# %%
terms = analysis.gradient_terms(half, logits, labels, temperatures)
print(f"from T = 20 to T = 100: {np.interp(20, temperatures, terms.soft) / terms.soft[-1]:.0f} times smaller")
plots.plot_gradient_terms(terms, temperatures)

# %% [markdown]
# Without $T^2$ the soft term is a whisper beside the labels: whoever tries $T = 20$ after $T = 4$ also changes $\alpha$,
# without knowing. With $T^2$ it levels out.
#
# It levels out at something we know: at the gradient of $\frac12 \cdot$ mean squared difference of the logits. So
# *logit matching* is distillation at a high temperature.
#
# **Predict.** The cosine between the two gradients is 1 where they point the same way. How large is it at $T = 1$?

# %%
cosines = analysis.gradient_cosine(half, logits, temperatures)
at_1, at_20 = (np.interp(t, temperatures, cosines.mean(axis=1)) for t in (1, 20))
print(f"mean cosine at T = 1: {at_1:.2f}, at T = 20: {at_20:.2f}, at T = 100: {cosines[-1].mean():.4f}")
display(plots.plot_gradient_cosine(cosines, temperatures))

assert cosines[-1].mean() > 0.99, "For large T the soft term is logit matching."

# %% [markdown]
# **In short.** $T^2$ keeps the two terms in balance when $T$ changes; for large $T$ the student copies logits.
#
# **Question.** Logits have mean 0 in the formula. The teacher's do not, exactly. Why does the soft term not care?
#
# **Source.** Hinton et al. 2015, section 2.1; the article on distillation, "Matching logits is a special case".

# %% [markdown]
# ## 5. Low and high temperatures: two claims
#
# **Goal.** Test what the article on distillation says about choosing $T$.
#
# **You need.** Section 4.
#
# **The claims.** (a) At a low temperature the student hardly looks at the labels that the teacher thinks least of; at a
# high one it does. (b) Those lowest logits are the least reliable: at a high temperature their noise harms, at a low one
# it is filtered out.
#
# **The formulas.** (a) Share of a class in the gradient: $|q_i - p_i| / \sum_j |q_j - p_j|$. (b) Add noise to the
# teacher's lowest logits, and take $|\text{change of the gradient}| / |\text{gradient}|$.
#
# **Predict.** What share have the negative labels *below* their mean, at $T = 0.5$ and at $T = 20$?

# %%
shares = analysis.negative_share(half, logits, labels, temperatures)
low, high = (100 * np.interp(t, temperatures, shares.below) for t in (0.5, 20))
print(f"negative labels below their mean: {low:.1f} % of the gradient at T = 0.5, {high:.0f} % at T = 20")
display(plots.plot_negative_share(shares, temperatures))

assert high > 10 * low, "Claim (a) holds for this teacher and this student."

# %% [markdown]
# **Predict.** Noise with a standard deviation of 2 on the three lowest logits of each image: by how many percent does
# the gradient change at $T = 2$, and at $T = 20$?

# %%
effects = {f"lowest {k} of 10": analysis.noise_effect(half, logits, temperatures, lowest=k, scale=2) for k in (1, 3, 5)}
display(plots.plot_noise_effect(effects, temperatures, scale=2))

at_2, at_20 = (np.interp(t, temperatures, effects["lowest 3 of 10"]) for t in (2, 20))
assert at_20 > 10 * at_2, "Claim (b) holds: at T = 2 the lowest logits hardly count."

# %% [markdown]
# **In short.** Both claims hold. A high temperature shows more of what the teacher thinks, and more of its noise too; a
# small student, which cannot learn everything anyway, is said to be better off with a low one (Hinton's experiment with
# 30 units; `minigrad repro hinton2015` repeats it).
#
# **Question.** Labels are the limit of one of the two ends. Which one, and of which teacher?
#
# **Source.** The article on distillation, "About temperature"; Hinton et al. 2015, section 3.

# %% [markdown]
# ## 6. Turn the dials yourself
#
# Blue bars: what the teacher says, and how its term pulls at the logits of a student that knows nothing yet. Orange: the
# label's pull. Move $T$ and $\alpha$. (Where sliders are not available, the cell shows three settings side by side.)

# %%
explore_temperature(logits[chosen], held_out.pixels[chosen], labels[chosen])

# %% [markdown]
# ## 7. A small student, alone and with a teacher
#
# **Goal.** Distil LeNet's 44,426 parameters into 1,466, fairly compared.
#
# **You need.** Sections 3 and 4.
#
# **The idea.** Few labels are where a teacher helps most: 2,000 images, 20 epochs (and fewer images, for later). Both
# students of a pair have the same initial weights and see the same images in the same order; only the loss differs. Five
# seeds, and the *difference* of each pair counts. All numbers here are on the held-out images, by which $T$ and $\alpha$
# were chosen; no test image is looked at. (The teacher was trained on them too, as in notebooks 05 and 06; both students
# of a pair are judged alike.)
#
# **The formula.** The teacher's logits are constants, computed once: row $n$ belongs to image $n$, and is taken along
# when images are shuffled.
#
# **Predict.** With 2,000 images the student alone reads about 91 % of the held-out images. With the teacher: 91, 92, 94
# or 97 %? The cell trains 30 students, about 20 seconds in all.

# %%
known = teacher_logits(teacher, training.subset(slice(0, 2_000)))
held = DataLoader(held_out.images, labels, 250)
losses = {"alone": DistillationLoss(4, alpha=0.0), "distilled": DistillationLoss(4, alpha=0.9)}
gaps = {name: [] for name in losses}
for size, epochs in {250: 60, 700: 30, 2_000: 20}.items():
    few = training.subset(slice(0, size))
    accuracy, gap, students = ({name: [] for name in losses} for _ in range(3))
    for seed in range(5):
        for name, loss in losses.items():
            minigrad.manual_seed(seed)
            student = nn.Sequential(
                nn.Conv2d(1, 2, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 4, 5), nn.ReLU(), nn.MaxPool2d(2),
                nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10),
            )  # fmt: skip
            loader = DataLoader(few.images, few.labels, 32, shuffle=True, seed=seed)
            distill(student, known[:size], loader, loss, Adam(student.parameters(), lr=0.003), epochs)
            accuracy[name].append(minigrad.evaluate(student, held))
            gap[name].append(minigrad.evaluate(student, loader) - accuracy[name][-1])
            students[name].append(student)
    for name, values in accuracy.items():
        gaps[name].append(gap[name])
        print(f"{size:5,} images, {name:9}: {' '.join(f'{value:.2f}' for value in values)} %")

# %%
gain = np.array(accuracy["distilled"]) - accuracy["alone"]
low, high = t_interval(gain.tolist())
size = sum(p.size for p in students["alone"][0].parameters())
print(f"student: {size:,} parameters; teacher: 44,426, {100 * right:.1f} %; 2,000 images")
print(f"gain {gain.mean():.2f} points, 95 % interval {low:.2f} to {high:.2f} (paired, five seeds)")

figure = Figure(figsize=(5.6, 3), layout="constrained")
ax = figure.subplots()
for pair in zip(accuracy["alone"], accuracy["distilled"], strict=True):
    ax.plot([0, 1], pair, "-", color="#BBBBBB")
ax.plot([0] * 5, accuracy["alone"], "o", color=BLUE)
ax.plot([1] * 5, accuracy["distilled"], "s", color=ORANGE)
ax.set_xticks([0, 1], ["labels alone", "with the teacher"])
ax.set(xlim=(-0.4, 1.4), ylabel="held-out accuracy (%)", title="The same student, five seeds")
ax.spines[["top", "right"]].set_visible(False)
display(figure)

assert low > 0, "The interval of the paired difference should lie above 0."

# %% [markdown]
# ### Distillation as regularisation
#
# Soft targets say more about each image than a label: there is less to learn by heart.
#
# **Predict.** Training accuracy minus held-out accuracy, for 250, 700 and 2,000 images: larger or smaller with the
# teacher?

# %%
display(
    plots.plot_gap(
        [250, 700, 2_000], {"hard targets": gaps["alone"], "soft targets, T = 4": gaps["distilled"]}, "held-out"
    )
)

assert (np.mean(gaps["distilled"], axis=1) < np.mean(gaps["alone"], axis=1)).all(), "Soft targets narrow the gap."

# %% [markdown]
# ### Whose mistakes?
#
# **Predict.** On the images that the *teacher* gets wrong: does the distilled student repeat the teacher's mistakes more
# often than the student alone?

# %%
said = {name: analysis.predictions(models[0], held) for name, models in students.items()}
said = {"teacher": logits.argmax(axis=1)} | said
display(plots.plot_confusions({name: analysis.confusion_matrix(labels, predicted) for name, predicted in said.items()}))

# %%
found = analysis.mistakes_of_the_teacher(labels, said["teacher"], {0.0: said["alone"], 0.9: said["distilled"]})
print(f"the teacher's very mistakes: {found.repeated[0]} without it, {found.repeated[1]} with it")
display(plots.plot_mistakes_of_the_teacher(found))

assert found.repeated[1] > found.repeated[0], "A student inherits mistakes too: that is what the labels' term is for."

# %% [markdown]
# **In short.** A teacher is worth about two points here, and its mistakes are part of the lesson.
#
# **Questions.**
# 1. With all 55,000 images and many epochs the gain is much smaller. Why?
# 2. The last five points of accuracy: what would you change first, $T$, $\alpha$, or the student?
#
# **Source.** Hinton et al. 2015, sections 3 and 6; the article on distillation.

# %% [markdown]
# ## 8. A listing that teaches nothing
#
# **Goal.** Name the slips of the model-optimisation article's listing, and see what each would do.
#
# **You need.** Section 7.
#
# > **Box: what is wrong there.**
# > 1. Between the *student's* layers stands `softmax` instead of `relu`. A softmax over channels makes them share one
# >    unit of signal, and squeezes what differs.
# > 2. The optimizer holds the *teacher's* parameters only. The student never changes, and the teacher would, if the loss
# >    reached it.
# > 3. The teacher is switched to `train()`, and no `no_grad` or `detach` keeps gradients out of it.
# > 4. Both are fed random numbers, and the teacher was never trained.
# > 5. Its formula $\hat y = \mathrm{softmax}(W x / \tau)$ softens the student only. Teacher and student need the same
# >    $T$, as the article on distillation says.
# > 6. `super().__init()` lacks two underscores, so that the listing stops there.
#
# **Predict.** The student of section 7, with softmax between its layers: how much does it learn in the same time?

# %%
minigrad.manual_seed(0)
first, second = nn.Conv2d(1, 2, 5), nn.Conv2d(2, 4, 5)
rest = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
as_listed = nn.Sequential(first, nn.MaxPool2d(2), second, rest)
for layer in (first, second):
    layer.register_forward_hook(lambda module, inputs, out: F.softmax(out, axis=1))
loader = DataLoader(few.images, few.labels, 32, shuffle=True)
distill(as_listed, known, loader, losses["distilled"], Adam(as_listed.parameters(), lr=0.003), epochs=20)
print(f"softmax between the layers: {minigrad.evaluate(as_listed, held):.1f} %, relu: {accuracy['distilled'][0]:.1f} %")

assert minigrad.evaluate(as_listed, held) < accuracy["distilled"][0], "Softmax between layers costs accuracy."

# %% [markdown]
# **Predict.** What does `distill` do with an optimizer of the teacher's parameters?

# %%
before = teacher.state_dict()
try:
    distill(students["alone"][0], teacher, loader, losses["distilled"], SGD(teacher.parameters(), lr=0.01), epochs=1)
except ValueError as error:
    print(error)

same = all(np.array_equal(array, before[name]) for name, array in teacher.state_dict().items())
assert same, "The teacher must be the same, to the last bit."

# %% [markdown]
# **In short.** Run a listing before you believe it. A loss that falls is not enough: look at what changed.
#
# **Source.** The model-optimisation article, section 1.4.3.

# %% [markdown]
# ## Summary
#
# - Softmax at temperature $T$: from argmax ($T \to 0$) to uniform ($T \to \infty$). Its entropy rises with $T$.
# - Loss: $\alpha T^2\, \mathrm{KL}(\text{teacher} \,\|\, \text{student}) + (1 - \alpha)\,$ cross-entropy with the label;
#   KL summed over classes; $T = 1$ when the student is used.
# - The gradient is $(q - p)/T$ and falls as $1/T^2$; for large $T$ it is logit matching.
# - Low $T$: the lowest logits are ignored. High $T$: they count, with their noise.
# - With 2,000 images a teacher is worth about two points to a student of 1,466 parameters, and the gap between training
#   and held-out accuracy shrinks.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: a temperature.** There are two classes only, their logits 6 apart. At which $T$ has the weaker one a
# probability of exactly 0.25?

# %% nbgrader={"grade": false, "grade_id": "08-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# temperature = ... a number, or an expression
### BEGIN SOLUTION
temperature = 6 / np.log(3)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "08-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("08-1", temperature)

# %% [markdown]
# **Exercise 2: the gradient of the whole loss.** Write the gradient of
# $L = \alpha T^2\, \mathrm{KL} + (1 - \alpha)\, \mathrm{CE}$ for *one* image with respect to the student's logits, with
# $p$, $q$ at temperature $T$, $q_1$ at $T = 1$, and the one-hot label $y$.

# %% nbgrader={"grade": false, "grade_id": "08-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
T, alpha, y = 4.0, 0.7, np.eye(10)[[3]]
v, z = np.random.default_rng(0).normal(0, 3, (2, 1, 10))  # logits of the teacher, of the student
p, q, q_1 = soft_targets(v, T), soft_targets(z, T), soft_targets(z)
# gradient = ... an array (1, 10), made of T, alpha, p, q, q_1, y
### BEGIN SOLUTION
gradient = alpha * T * (q - p) + (1 - alpha) * (q_1 - y)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "08-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("08-2", gradient, T=T, alpha=alpha, v=v, z=z, y=y)

# %% [markdown]
# **Exercise 3: an ensemble.** Two teachers speak about one image. The ensemble's soft target is the mean of their
# softened *probabilities*. A friend takes the mean of the *logits* first. Give logits of two teachers, three classes each,
# for which the friend finds all three classes alike, while the ensemble gives the first class less than 0.01, at $T = 1$.

# %% nbgrader={"grade": false, "grade_id": "08-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# teachers = ... np.array of shape (2, 1, 3): teachers, images, classes
### BEGIN SOLUTION
teachers = np.array([[[0.0, 9.0, -9.0]], [[0.0, -9.0, 9.0]]])
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "08-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("08-3", teachers)

# %% [markdown]
# ## Sources
#
# - G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531.
# - J. Ba, R. Caruana, "Do deep nets really need to be deep?", NIPS 2014, for section 4.
# - L. Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", CVPR 2022: to read on.
# - The article on distillation: "Deep learning: distillation, pruning, quantization" (in Chinese: 深度学习-蒸馏、剪枝、量化).
# - The model-optimisation article: "Chapter 5: training and optimising large models, 5.3 model optimisation" (in Chinese:
#   第五章:AI大模型的训练与优化 5.3 模型优化).
