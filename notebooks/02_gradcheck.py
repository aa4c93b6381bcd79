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
# # 02 · Gradients you can trust
#
# **Goal.** Check a gradient that somebody wrote (you, for example) against a derivative that needs no backward at all;
# know how exact the check is, and where it fails.
#
# **What you need.** Notebook 01 (what `backward` does), the derivative as a slope, a little NumPy. The notebook runs in
# well under a minute on two cores.
#
# **How to read it.** Before each result there is a line that begins with **Predict**. Write your guess down first, then
# run the cell. In an **exercise** a check stands below the cell for your answer. It says what differs, and hints more with
# every attempt. (`minigrad course open` writes copies without our answers, which stand between two markers.) Each exercise can
# be done by itself, once the first two cells of code were run.

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
import math
from unittest import mock

import numpy as np
from IPython.display import display
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import minigrad
from checks import check
from minigrad import AnomalyError, GradcheckError, Tensor, gradcheck, nn, ops
from minigrad import functional as F
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE
from minigrad.datasets import mnist
from minigrad.gradcheck import compare
from minigrad.optim import SGD

# %% [markdown]
# ## 1. Two calls give a slope
#
# **Goal.** Compute a derivative without any rule of calculus.
#
# **You need.** The Taylor series, or a picture of a tangent.
#
# **The idea.** Call the function at two points that lie close together, and divide: rise over run. If the two points
# are $x$ and $x + \varepsilon$, this is a *forward difference*. If they lie on both sides of $x$, it is a *central
# difference*.
#
# **The formulas.** Each comes with its *truncation error*: what the Taylor series leaves over.
#
# $$\frac{f(x + \varepsilon) - f(x)}{\varepsilon} = f'(x) + \frac{\varepsilon}{2} f''(x) + \ldots \qquad
# \frac{f(x + \varepsilon) - f(x - \varepsilon)}{2 \varepsilon} = f'(x) + \frac{\varepsilon^2}{6} f'''(x) + \ldots$$
#
# We take $f(x) = e^x$ at $x = 1$, since all of its derivatives are known: each is $e$.
#
# **Predict.** With $\varepsilon = 0.001$: how large is the error of each, in relation to $e$? Use the formulas.

# %%
x = Tensor(1.0, requires_grad=True)
F.exp(x).backward()
print(f"backward: {x.grad:.12f}      e = {math.e:.12f}")

eps = 1e-3
forward = (F.exp(1 + eps) - F.exp(1)).item() / eps
central = (F.exp(1 + eps) - F.exp(1 - eps)).item() / (2 * eps)
print(f"forward:  {forward:.12f}      relative error {forward / math.e - 1:.2e}")
print(f"central:  {central:.12f}      relative error {central / math.e - 1:.2e}")

assert math.isclose(forward / math.e - 1, eps / 2, rel_tol=0.01), "f'' = f' = e, so the relative error is ε/2."
assert math.isclose(central / math.e - 1, eps**2 / 6, rel_tol=0.01), "f''' = f' = e, so the relative error is ε²/6."

# %%
step, near = 0.6, np.linspace(0.1, 1.9, 50)
figure = Figure(figsize=(7, 3.2), layout="constrained")
ax = figure.subplots()
ax.plot(near, F.exp(near).data, color="black", label="$e^x$")
ax.plot(near, math.e * near, "--", color=GREY, label="tangent at 1: the slope we want")
for name, points, color in (("forward", [1, 1 + step], ORANGE), ("central", [1 - step, 1 + step], BLUE)):
    values = F.exp(points).data
    slope = (values[1] - values[0]) / (points[1] - points[0])
    ax.plot(points, values, "o-", color=color, label=f"{name} difference, slope {slope:.3f}")
ax.set(xlabel="x", ylabel="$e^x$", title=f"Two points give a slope (ε = {step}; the tangent's slope is {math.e:.3f})")
ax.spines[["top", "right"]].set_visible(False)
ax.legend()
display(figure)

# %% [markdown]
# The blue line is almost parallel to the tangent, the orange one is too steep.
#
# **In short.** Two calls each, and the central difference is far better: its error shrinks with $\varepsilon^2$.
#
# **Questions.**
# 1. For which functions is the forward difference exact, whatever $\varepsilon$? And the central one?
# 2. A function of 1,000 inputs has 1,000 slopes. How many calls does each way need?
#
# **Source.** Press et al. 2007, section 5.7.

# %% [markdown]
# ## 2. How small should the step be?
#
# **Goal.** Find the best step, and see why "as small as possible" is wrong.
#
# **You need.** Section 1. A computer's numbers have a limited number of digits.
#
# **The idea.** A smaller step makes the truncation error smaller. But $f(x + \varepsilon)$ and $f(x - \varepsilon)$
# then agree in more and more digits, and the digits that agree cancel in the difference. What is left is the noise of
# *rounding*, and it is divided by a tiny $\varepsilon$.
#
# **The formulas.** Each value is rounded by a share of up to $u$, the unit roundoff: $u = 2^{-53} \approx 10^{-16}$ in
# float64, $u = 2^{-24} \approx 6 \cdot 10^{-8}$ in float32. For $e^x$ at 1 the relative errors are roughly:
#
# $$\text{forward: } \frac{\varepsilon}{2} + \frac{u}{\varepsilon} \qquad
# \text{central: } \frac{\varepsilon^2}{6} + \frac{u}{\varepsilon} \qquad
# \text{smallest at } \varepsilon = \sqrt{2u} \text{ and } \varepsilon = \sqrt[3]{3u}$$
#
# **Predict.** How many digits can a forward difference get right at best, in float64? A central one? And in float32?

# %%
roundoff = {np.float64: 2.0**-53, np.float32: 2.0**-24}
sizes = np.logspace(0, -16, 65)
errors = {}
for dtype, u in roundoff.items():
    x, steps = dtype(1), sizes.astype(dtype)
    forward = (F.exp(x + steps) - F.exp(x)).data / steps
    central = (F.exp(x + steps) - F.exp(x - steps)).data / (2 * steps)
    errors[dtype] = [np.abs(slope.astype(np.float64) / math.e - 1) for slope in (forward, central)]
    best = [math.sqrt(2 * u), (3 * u) ** (1 / 3)]
    for name, error, advised in zip(("forward", "central"), errors[dtype], best, strict=True):
        there = np.abs(np.log(sizes / advised)).argmin()
        print(f"{dtype.__name__}, {name}: best step by the formula {advised:.0e}, error there {error[there]:.0e}")
        assert error[there] < 100 * error.min(), "Near the formula's step the error should be among the smallest."
        assert error[-1] > 0.9, "With ε = 1e-16 both points round to the same number: the slope comes out as 0."

# %%
figure = Figure(figsize=(9, 3.8), layout="constrained")
for ax, (dtype, u) in zip(figure.subplots(1, 2, sharey=True), roundoff.items(), strict=True):
    for name, error, color, marker in zip(("forward", "central"), errors[dtype], (ORANGE, BLUE), "o^", strict=True):
        ax.loglog(sizes, np.maximum(error, 1e-14), marker, markersize=3.5, color=color, label=name)
    for truncation, label in ((sizes / 2, "formulas"), (sizes**2 / 6, None)):
        ax.loglog(sizes, truncation + u / sizes, "--", color=GREY, linewidth=1, label=label)
    ax.text(1e-15, 3e-13, "← rounding", fontsize=9)
    ax.text(1, 3e-13, "truncation →", fontsize=9, ha="right")
    ax.set(title=dtype.__name__, xlabel="step ε", ylim=(1e-13, 30))
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelleft=True)
figure.axes[0].set_ylabel("relative error of the slope")
figure.axes[0].legend(loc="upper center", ncols=3, fontsize=9)
display(figure)

# %% [markdown]
# On the right branch the error is smooth and follows the formula: truncation. On the left it jumps from step to step:
# rounding, which depends on chance. In float32 about five digits are left at best, and only at a step near $10^{-2}$; a
# tolerance that lets right gradients pass would let many wrong ones pass too. This is why gradients are checked in
# float64, with a step of $10^{-6}$.

# %% [markdown]
# ### Exercise 1
#
# A central difference has the error $c\,\varepsilon^2$, and after that $c'\,\varepsilon^4$. Take two of them, with the
# steps $\varepsilon$ and $\varepsilon/2$, and combine them so that the $\varepsilon^2$ disappears (Richardson 1911).
# How many digits does a step of 0.01 then give?

# %% nbgrader={"grade": false, "grade_id": "02-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
eps = 1e-2
whole = (F.exp(1 + eps) - F.exp(1 - eps)).item() / (2 * eps)
half = (F.exp(1 + eps / 2) - F.exp(1 - eps / 2)).item() / eps
# better = ... a number, made of whole and half
### BEGIN SOLUTION
better = (4 * half - whole) / 3
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "02-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("02-1", better, whole=whole, half=half)

# %% [markdown]
# **In short.** Half of the digits for a forward difference, two thirds for a central one. No choice of the step gives
# much more.
#
# **Questions.**
# 1. Suppose $f(x) = e^x + 10^6$. Its slope is the same. Which branch of the V moves, and by how much?
# 2. Why do the float32 points stop at an error of exactly 1 from some step on?
#
# **Source.** Press et al. 2007, section 5.7; Goldberg 1991 (cancellation).

# %% [markdown]
# ## 3. The complex step: no subtraction, no V
#
# **Goal.** Get all 15 digits.
#
# **You need.** Complex numbers: $i^2 = -1$, and a number has a real and an imaginary part.
#
# **The idea.** The trouble came from subtracting two numbers that are nearly equal. So step aside, into the imaginary
# direction. The real part keeps the value, the imaginary part collects the slope, and nothing is subtracted.
#
# **The formula.** By the Taylor series, with $i^2 = -1$ and $i^3 = -i$:
#
# $$f(x + ih) = f(x) + ih f'(x) - \frac{h^2}{2} f''(x) - \frac{ih^3}{6} f'''(x) + \ldots
# \qquad \frac{\operatorname{Im} f(x + ih)}{h} = f'(x) - \frac{h^2}{6} f'''(x) + \ldots$$
#
# **Predict.** The truncation error is as large as that of the central difference. What happens at
# $h = 10^{-8}$? At $h = 10^{-300}$?

# %%
for h in (1e-2, 1e-8, 1e-30, 1e-300):
    slope = F.exp(1 + 1j * h).data.imag / h
    print(f"h = {h:.0e}: {slope:.15f}, relative error {abs(slope / math.e - 1):.1e}")

complex_step = np.abs(F.exp(1 + 1j * sizes).data.imag / sizes / math.e - 1)
assert abs(slope / math.e - 1) < 1e-15, "Nothing cancels, so even h = 1e-300 gives all digits."
assert complex_step[sizes < 1e-9].max() < 1e-15, "Below 1e-8 the truncation h²/6 is smaller than the last digit."

# %%
figure = Figure(figsize=(7, 3.4), layout="constrained")
ax = figure.subplots()
forward, central = errors[np.float64]
for name, error, color, marker in (
    ("forward", forward, ORANGE, "o"),
    ("central", central, BLUE, "^"),
    ("complex step", complex_step, GREEN, "s"),
):
    ax.loglog(sizes, np.maximum(error, 2e-17), marker, markersize=3.5, color=color, label=name)
ax.axhline(2.0**-53, color=GREY, linestyle="--", linewidth=1)
ax.text(1, 3e-16, "u, the unit roundoff", ha="right", fontsize=9)
ax.set(xlabel="step ε or h", ylabel="relative error of the slope", ylim=(1e-17, 30))
ax.set_title("float64 (errors of exactly 0 are drawn at 2·10⁻¹⁷)")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.14))
display(figure)

# %% [markdown]
# For large steps green lies on blue: the two truncation errors are equally large. Where the central difference meets
# rounding and turns, the complex step goes on down.
#
# The price: $f$ must take complex numbers, and it must be *analytic*. That leaves out `abs`, taking a real part, and
# kernels that were compiled for real numbers only. Where it does not work, minigrad says so.
#
# **Predict.** Which of these three can be checked by the complex step: `tanh`, `relu`, `abs`?

# %%
able = {}
for name, function in {"tanh": F.tanh, "relu": F.relu, "abs": F.abs}.items():
    try:
        able[name] = gradcheck(function, [np.array([1.0, 2.0])], method="complex")
        print(f"{name}: right to 12 digits")
    except TypeError as error:
        able[name] = False
        print(f"{name}: {error}")

assert able == {"tanh": True, "relu": False, "abs": False}, "relu is a kernel for real numbers; |x + ih| has no Im."

# %% [markdown]
# **In short.** Where it works, the complex step is right to the last digit, for any tiny $h$. Elsewhere, use central
# differences.
#
# **Questions.**
# 1. Compute $(3 + ih)^2$ by hand. What is its imaginary part, divided by $h$? Where did the $h^2$ go?
# 2. What would be the result for `abs` at $x = 2$, if nobody warned?
#
# **Source.** Squire and Trapp 1998; Lyness and Moler 1967.

# %% [markdown]
# ## 4. Weights that tell the outputs apart
#
# **Goal.** See a wrong gradient pass a test that is too kind.
#
# **You need.** `backward(gradient)` starts from a gradient of the result, also called *cotangent* (notebook 01).
#
# **The idea.** A function with many outputs has a slope for each pair of output and input. To check them in one go, add
# up the outputs and check the sum. But a plain sum treats all outputs alike. A gradient that mixes them up looks just
# as good. So each output gets a random weight of its own.
#
# **The formula.** With weights $c_i$, the cotangent:
#
# $$s(x) = \sum_i c_i\, f_i(x) \qquad\qquad
# \frac{\partial s}{\partial x_j} = \sum_i c_i\, \frac{\partial f_i}{\partial x_j}$$
#
# **The code.** To have something wrong, we replace the gradient of the op `transpose` for a while: `mock.patch.object`
# puts another function into its table of VJPs, and takes it out again at the end of the `with` block. The wrong one
# gives the right shape, but forgets to transpose back: it only fills the numbers into the shape of $x$, row by row.
#
# **Predict.** $x$ has shape (2, 3). For which cotangents does the wrong gradient equal the right one: for all ones, for
# random numbers, for both?

# %%
wrong_transpose = mock.patch.object(ops.Transpose, "vjps", (lambda op, g: g.reshape(2, 3),))
cotangents = {"all ones": np.ones((3, 2)), "random": np.random.default_rng(0).uniform(0.5, 2, (3, 2))}
table = {}
for name, cotangent in cotangents.items():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    x.T.backward(cotangent)
    right, x.grad = x.grad, None
    with wrong_transpose:
        x.T.backward(cotangent)
    table[name] = {"cotangent (3, 2)": cotangent, "right gradient (2, 3)": right, "wrong gradient (2, 3)": x.grad}
    print(f"{name:9} right equals wrong: {np.array_equal(right, x.grad)}")

agrees = {name: np.array_equal(*list(row.values())[1:]) for name, row in table.items()}
assert agrees["all ones"], "Ones stay ones wherever they are moved to."
assert not agrees["random"], "Numbers that differ show that they came to the wrong places."

# %%
figure = Figure(figsize=(8, 4), layout="constrained")
axes = figure.subplots(2, 3, width_ratios=[2, 3, 3])
for row, (name, arrays) in zip(axes, table.items(), strict=True):
    for ax, (title, values) in zip(row, arrays.items(), strict=True):
        shown = ax.imshow(values, cmap="cividis", vmin=0.5, vmax=2, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", color="black" if value > 1.3 else "white")
        ax.set(xticks=range(values.shape[1]), yticks=range(values.shape[0]), xlabel="column", ylabel="row")
        if name == "all ones":
            ax.set_title(title, fontsize=10)
    row[0].set_ylabel(f"{name}\n\nrow")
figure.colorbar(shown, ax=axes, label="value")
display(figure)

# %% [markdown]
# **In short.** Never check with `sum()` alone. `gradcheck` weighs each output with a random number between 0.5 and 2.
#
# **Questions.**
# 1. The outputs of softmax always add up to 1. What is its gradient for a cotangent of all ones? Would a gradient that
#    is ten times too large be noticed?
# 2. Why are the weights kept away from 0?
#
# **Source.** Griewank and Walther 2008, chapter 3 (cotangents); PyTorch, "Gradcheck mechanics".

# %% [markdown]
# ## 5. gradcheck
#
# **Goal.** Let the machine do it, and read its answer.
#
# **You need.** Sections 2 to 4.
#
# **The idea.** `gradcheck(fn, inputs)` moves each element of each input by $\pm\varepsilon$, and compares the slope
# with what `backward` says. Its answer is `True`, or an error with a table.
#
# **The formula.** A pair passes if
#
# $$|\text{analytic} - \text{numeric}| \le \text{atol} + \text{rtol} \cdot |\text{numeric}|$$
#
# with $10^{-7}$ and $10^{-5}$ for central differences, and $10^{-12}$ twice for the complex step.
#
# **The code.** `clip` cuts off what lies below −1 or above 1. There its slope is 0. The wrong gradient below forgets
# that, and passes everything on.
#
# **Predict.** Which of the six elements will be in the table?

# %%
x = np.array([[0.5, -1.5, 0.2], [2.0, -0.3, 0.9]])
print("right:", gradcheck(lambda t: F.clip(t, -1, 1), [x]))
try:
    with mock.patch.object(ops.Clip, "vjps", (lambda op, g: g,)):
        gradcheck(lambda t: F.clip(t, -1, 1), [x])
except GradcheckError as error:
    sentence = str(error)
print("wrong:", sentence)

assert "2 gradient elements differ" in sentence, "Two of the six lie outside of -1 to 1."
assert "(0, 1)" in sentence, "x[0, 1] is -1.5, below the limit."
assert "(1, 0)" in sentence, "x[1, 0] is 2.0, above the limit."

# %% [markdown]
# The table does not only say *that* something is wrong. It says where, and that is half of the repair. "Analytic" is
# what `backward` said, "numeric" what the differences say.
#
# On the way, `gradcheck` checks what any differentiable function must keep: it leaves its inputs alone, gives the same
# bits twice, returns gradients of its inputs' shapes and dtypes, and turns a cotangent of zeros into zeros.
#
# **Predict.** Now the gradient of `exp` is too large by one part in a thousand million, a factor of $1 + 10^{-9}$.
# Which method notices? And what happens if the input is float32?

# %%
trials = {
    "central": {"inputs": [np.ones(3)]},
    "complex": {"inputs": [np.ones(3)], "method": "complex"},
    "float32": {"inputs": [np.ones(3, np.float32)]},
}
answers = {}
for name, trial in trials.items():
    try:
        with mock.patch.object(ops.Exp, "vjps", (lambda op, g: g * op.out * (1 + 1e-9),)):
            answers[name] = str(gradcheck(F.exp, **trial))
    except (GradcheckError, TypeError) as error:
        answers[name] = str(error)
    print(f"{name}: {answers[name]}\n")

assert answers["central"] == "True", "1e-9 is far below the tolerance of central differences."
assert "3 gradient elements differ" in answers["complex"], "The complex step is right to many more than nine digits."
assert "need float64" in answers["float32"], "Section 2: in float32 finite differences drown in rounding."

# %% [markdown]
# And gradients in float32, in which networks are trained? They are compared with float64's, which have been checked.
#
# **Predict.** For the ops below, how large are the three differences: float64 against central differences, float64
# against the complex step, float32 against float64?

# %%
rng = np.random.default_rng(0)
x, image, filters = rng.normal(size=(3, 4)), rng.normal(size=(2, 1, 6, 6)), rng.normal(size=(2, 1, 3, 3))
calls = {name: (getattr(F, name), [x]) for name in ("exp", "tanh", "gelu", "softmax", "logsumexp", "relu")}
calls |= {"matmul": (F.matmul, [x, x.T]), "linear": (F.linear, [x, x[:2]]), "conv2d": (F.conv2d, [image, filters])}
calls["cross_entropy"] = (lambda logits: F.cross_entropy(logits, [0, 3, 1]), [x])
calls["max_pool2d"] = (lambda t: F.max_pool2d(t, 2), [image])
pairs = {"central": {}, "complex step": {}, "float32": {}}
for name, (function, inputs) in calls.items():
    gradients = {}
    for dtype in (np.float64, np.float32):
        leaves = [Tensor(a.astype(dtype), requires_grad=True) for a in inputs]
        out = function(*leaves)
        out.backward(np.random.default_rng(1).uniform(0.5, 2, out.shape))
        gradients[dtype] = [leaf.grad for leaf in leaves]
    pairs["float32"][name] = list(zip(*gradients.values(), strict=True))
    for method in ("central", "complex"):
        try:
            found = compare(function, inputs, method=method)
        except TypeError:
            continue  # no complex numbers here
        pairs["complex step" if method == "complex" else method][name] = [(c.analytic, c.numeric) for c in found]

# %%
figure = Figure(figsize=(7.5, 3.8), layout="constrained")
ax = figure.subplots()
largest = {}
for (what, rows), color, marker in zip(pairs.items(), (BLUE, GREEN, ORANGE), "^so", strict=True):
    found = {name: max(np.max(np.abs(a - b) / (1 + np.abs(b))) for a, b in row) for name, row in rows.items()}
    largest[what] = max(found.values())
    own, reference = ("float32", "float64") if what == "float32" else ("float64", what)
    ax.plot(
        np.maximum(list(found.values()), 2e-17), list(found), marker, color=color, label=f"{own} against {reference}"
    )
ax.set(xscale="log", xlim=(1e-17, 1e-4), xlabel="largest difference of two gradients, |a − b| / (1 + |b|)")
ax.set(title="Eleven functions, right gradients", ylabel="function")
ax.grid(axis="x", color="#DDDDDD")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="compared")
display(figure)
print({what: f"{error:.0e}" for what, error in largest.items()}, " ops in all:", len(ops.TABLE))

assert largest["central"] < 1e-6, "Central differences in float64 are right to about eight digits."
assert largest["complex step"] < 1e-13, "The complex step is right to the last digits."
assert 1e-9 < largest["float32"] < 1e-5, "float32 has seven digits."

# %% [markdown]
# Central differences and the complex step lie where sections 2 and 3 put them; float32 lies near its unit roundoff.
# `relu`, `linear`, `conv2d` and `max_pool2d` have no green square: their kernels take real numbers only.
#
# The whole page, every op, in six memory layouts, in float64 and float32, is [docs/gradcheck.md](../docs/gradcheck.md).
# `make gradcheck` computes it anew.

# %% [markdown]
# ### Exercise 2
#
# Every op is right, and still a function built from ops can have a wrong gradient. This one divides by the standard
# deviation: `x / x.data.std()`. Look at its table, then write a function of the same values that passes. (`x.var()` is
# the square of the standard deviation.)

# %% nbgrader={"grade": false, "grade_id": "02-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
given = (lambda x: x / x.data.std(), [np.array([1.0, 2.0, 4.0])])
try:
    gradcheck(*given)
except GradcheckError as error:
    print(error)
# yours = (a lambda in place of given[0], given[1])
### BEGIN SOLUTION
yours = (lambda x: x / x.var() ** 0.5, given[1])
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "02-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("02-2", yours, given=given)

# %% [markdown]
# **In short.** `gradcheck(fn, [float64 arrays])` for central differences, `method="complex"` where it works. One line
# of code for each op you write.
#
# **Questions.**
# 1. A gradient is exactly 0 and the numeric one is $10^{-9}$. Which part of the tolerance lets it pass?
# 2. Why is the difference divided by $1 + |b|$ and not by $|b|$?
# 3. Why does `gradcheck` insist that a second run gives the same bits? (Think of dropout.)
#
# **Source.** [docs/gradcheck.md](../docs/gradcheck.md); PyTorch, "Gradcheck mechanics".

# %% [markdown]
# ## 6. One slope for a million inputs
#
# **Goal.** Check large inputs in two calls, and know what that misses.
#
# **You need.** Section 5; the dot product.
#
# **The idea.** Two calls for each element are too many for a large input. So move *all* elements at once, along a
# random direction $v$, and compare one single slope.
#
# **The formula.** With the gradient $\nabla s$ of the weighted sum of section 4:
#
# $$\nabla s \cdot v \;\approx\; \frac{s(x + \varepsilon v) - s(x - \varepsilon v)}{2 \varepsilon}$$
#
# **Predict.** An input has shape (30, 40). `gradcheck` calls the function three times to run backward and to test its
# rules. How often does it call it in all, without and with `fast=True`?

# %%
x, count = np.random.default_rng(0).normal(size=(30, 40)), {}
for fast in (False, True):
    counted = mock.Mock(wraps=F.tanh)  # calls F.tanh, and counts
    gradcheck(counted, [x], fast=fast)
    count[fast] = counted.call_count
    print(f"fast={fast}: {count[fast]:,} calls")

assert count[False] == 3 + 2 * x.size, "Two calls for each of the 1,200 elements."
assert count[True] == 3 + 2, "Two calls for each input, however large."

# %% [markdown]
# What is lost? First, the index: the error says which *input* is wrong, not which element. Second, sharpness. A
# gradient that is wrong in one element changes the slope by one term of a sum. The longer the sum, the smaller that
# part.
#
# **Predict.** The gradient of `exp` is wrong in one element only, by 1 %. The input has 100,000 elements. Does fast
# mode notice? And if it is wrong by 0.1 %?

# %%
counts, caught = [10, 100, 1_000, 10_000, 100_000], {}
factors = {"1 %": lambda size: np.where(np.arange(size) == 0, 1.01, 1)}
factors["0.1 %"] = lambda size: np.where(np.arange(size) == 0, 1.001, 1)
for name, factor in factors.items():
    with mock.patch.object(ops.Exp, "vjps", (lambda op, g, factor=factor: g * op.out * factor(g.size),)):
        for size in counts:
            trials = [compare(F.exp, [np.zeros(size)], seed=seed, fast=True)[0] for seed in range(40)]
            caught[name, size] = sum(bool(trial.wrong(atol=1e-7, rtol=1e-5)) for trial in trials) / 40

figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
for (name, color), marker in zip({"1 %": BLUE, "0.1 %": ORANGE}.items(), "o^", strict=True):
    ax.plot(counts, [100 * caught[name, size] for size in counts], f"{marker}-", color=color, label=f"wrong by {name}")
ax.set(xscale="log", ylim=(0, 105), xlabel="elements of the input, one of them wrong (log scale)")
ax.set(ylabel="noticed (% of 40 directions)", title="What fast mode notices")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="lower left")
display(figure)

assert caught["1 %", 10] == caught["0.1 %", 10] == 1, "Among ten elements even a small mistake stands out."
assert caught["0.1 %", 100_000] < 0.5, "Among 100,000 elements a small one drowns in the tolerance."

# %% [markdown]
# Real mistakes (a sign, a factor, a transpose) are rarely confined to one element, so fast mode finds them.
#
# **In short.** `fast=True` for large inputs; every element for small ones. Best of all: make the input small. A wrong
# formula is wrong for six numbers too.
#
# **Questions.**
# 1. The wrong part of the slope stays as it is while the slope itself grows with the number of elements $n$. How fast
#    does it grow, if its terms have random signs?
# 2. `gradcheck` draws $v$ from another seed than the weights $c$. What could go wrong if both were the same numbers?
#
# **Source.** PyTorch, "Gradcheck mechanics" (fast gradcheck).

# %% [markdown]
# ## 7. Kinks
#
# **Goal.** Know when a failing check is *not* a mistake.
#
# **You need.** ReLU is $\max(x, 0)$: slope 0 on the left of 0, slope 1 on its right.
#
# **The idea.** At a kink there is no slope, and each way of asking gives another answer. A central difference looks at
# both sides and takes the mean. The engine has to choose some number, and any number between the two slopes will do for
# training (a *subgradient*).
#
# **The formula.** A step of $\pm\varepsilon$ that crosses the kink of ReLU, with $|x| < \varepsilon$, gives
#
# $$\frac{(x + \varepsilon) - 0}{2 \varepsilon} = \frac12 + \frac{x}{2\varepsilon}$$
#
# **Predict.** minigrad takes the slope 0 at $x = 0$. What does the central difference say there? From which distance on
# do the two agree?

# %%
near = np.linspace(-0.3, 0.3, 121)
leaf = Tensor(near, requires_grad=True)
F.relu(leaf).sum().backward()

figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
ax.plot(near, leaf.grad, ".", color="black", markersize=4, label="backward")
for eps, color, style in ((0.1, BLUE, "-"), (0.02, ORANGE, "--")):
    numeric = (F.relu(near + eps) - F.relu(near - eps)).data / (2 * eps)
    ax.plot(near, numeric, style, color=color, label=f"central difference, ε = {eps}")
ax.set(xlabel="x", ylabel="slope of ReLU", title="Within ε of the kink the two disagree")
ax.spines[["top", "right"]].set_visible(False)
ax.legend()
display(figure)

assert leaf.grad[60] == 0, "near[60] is x = 0, where minigrad's slope of ReLU is 0."
assert math.isclose(numeric[60], 0.5), "(ε - 0) / 2ε is one half: the mean of the slopes 0 and 1."
assert np.allclose(numeric[np.abs(near) > 0.021], leaf.grad[np.abs(near) > 0.021]), "Further off both see one side."

# %% [markdown]
# The largest of several numbers has a kink too: where two of them *tie*. Then each op has its own habit. `max` shares
# the gradient evenly among equals, `max_pool2d` gives it to the first one.
#
# **Predict.** Which of these pass? `relu` at 0; `abs` at 0 (slope 0 by minigrad); `max` of two equal numbers; `max` of
# three; `max_pool2d` over four. (A central difference gives every tied number $\frac12$: up counts, down does not.)

# %%
ties = {
    "relu at 0": (F.relu, np.zeros(1)),
    "abs at 0": (F.abs, np.zeros(1)),
    "max of two equals": (lambda t: t.max(), np.ones(2)),
    "max of three equals": (lambda t: t.max(), np.ones(3)),
    "max_pool2d of four equals": (lambda t: F.max_pool2d(t, 2), np.ones((1, 1, 2, 2))),
}
passes = {}
for name, (function, x) in ties.items():
    leaf = Tensor(x, requires_grad=True)
    function(leaf).backward()
    try:
        passes[name] = gradcheck(function, [x])
    except GradcheckError:
        passes[name] = False
    print(f"{name:26} backward {leaf.grad.ravel().round(2)!s:18} {'passes' if passes[name] else 'fails'}")

assert not passes["relu at 0"], "0 against one half."
assert passes["abs at 0"], "The mean of -1 and 1 is 0: right by luck."
assert passes["max of two equals"], "Half each is what the central difference says as well: luck again."
assert not passes["max of three equals"], "A third each, against one half each."
assert not passes["max_pool2d of four equals"], "1, 0, 0, 0 against one half each."

# %% [markdown]
# None of these gradients is a mistake: at a kink there is nothing to be right about. So the *inputs* of the check must
# keep away from kinks, by more than $\varepsilon$. Random numbers do, almost always. Pictures of digits do not: their
# background is one colour, and ties everywhere (exercise 3).

# %% [markdown]
# ### Exercise 3
#
# On a digit the check of `max_pool2d` fails, though the op is right. Change the *picture*, not the op: make `quiet`
# from `digit` so that no two neighbours tie, and no pixel moves by more than 0.1. (Black is −0.42, white is 2.82.)

# %% nbgrader={"grade": false, "grade_id": "02-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
image, _ = mnist("test")[0]
digit = image[None].astype(np.float64)
try:
    gradcheck(lambda t: F.max_pool2d(t, 2), [digit])
except GradcheckError as error:
    print("on the digit as it is,", str(error).splitlines()[0])
# quiet = ... an array of digit's shape
### BEGIN SOLUTION
quiet = digit + np.random.default_rng(0).uniform(0, 0.1, digit.shape)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "02-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("02-3", quiet, digit=digit)

# %% [markdown]
# **In short.** If a check fails in a few elements only, look for kinks near them before you look for mistakes. And a
# check that passes *at* a kink proves nothing.
#
# **Questions.**
# 1. About how likely is it that one of 1,000 standard normal numbers lies within $10^{-6}$ of 0?
# 2. Would a smaller $\varepsilon$ help? What does section 2 say against it?
#
# **Source.** Griewank and Walther 2008, chapter 14 ("Differentiation without differentiability").

# %% [markdown]
# ## 8. A wrong gradient that trains
#
# **Goal.** See why "the loss falls" is no proof.
#
# **You need.** Training steps: $w \leftarrow w - \eta\, d$, where $d$ should be the gradient $g$ of the loss $L$.
#
# **The idea.** A step against *any* direction $d$ that has an angle below 90° with the gradient goes downhill. Half of
# all directions do! A gradient has to be very wrong before training stops.
#
# **The formula.** For a small step:
#
# $$L(w - \eta\, d) \approx L(w) - \eta\, g \cdot d \qquad\qquad
# g \cdot d = \lVert g \rVert\, \lVert d \rVert \cos\varphi$$
#
# **The code.** A network with one hidden layer learns to read 10,000 handwritten digits (28×28 pixels; notebook 04 has
# more about them), in four ways: with the right gradient, and with three wrong ones.
#
# 1. *A slip*: the derivative of $t = \tanh(x)$ is $1 - t^2$; somebody wrote $1 - |t|$.
# 2. *Random weights*: on its way back through the last layer the gradient is multiplied by $w$. Here it is multiplied
#    by random numbers that have nothing to do with $w$.
# 3. *The sign*: the derivative of tanh with a minus.
#
# **Predict.** Which of the three will learn to read digits, at least nine of ten? Order the four by their accuracy.

# %%
digits, test = mnist("train").subset(slice(0, 10_000)), mnist("test")
random_weights = np.random.default_rng(0).uniform(-1 / 8, 1 / 8, (10, 64)).astype(np.float32)
_, *others = ops.Linear.vjps
engines = {
    "right": mock.patch.object(ops.Tanh, "vjps", ops.Tanh.vjps),
    "slip: 1 − |t|": mock.patch.object(ops.Tanh, "vjps", (lambda op, g: g * (1 - np.abs(op.out)),)),
    "random weights": mock.patch.object(ops.Linear, "vjps", (lambda op, g: g @ random_weights, *others)),
    "wrong sign": mock.patch.object(ops.Tanh, "vjps", (lambda op, g: -g * (1 - op.out**2),)),
}
epochs, some = 6, (digits.images[:1000], digits.labels[:1000])

# %%
losses, angles, accuracy = {name: [] for name in engines}, {name: [] for name in engines}, {}
for name, engine in engines.items():
    minigrad.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.Tanh(), nn.Linear(64, 10))
    optimizer = SGD(model.parameters(), lr=0.02)
    batches = minigrad.DataLoader(digits.images, digits.labels, batch_size=64, shuffle=True, seed=0)
    for epoch in range(epochs + 1):
        gradients = []
        for asked in (engines["right"], engine):  # both gradients of the hidden layer's weights, at this place
            optimizer.zero_grad()
            with asked:
                loss = F.cross_entropy(model(some[0]), some[1])
                loss.backward()
            gradients.append(model[1].weight.grad.astype(np.float64).ravel())
        g, d = gradients
        cosine = g @ d / (np.linalg.norm(g) * np.linalg.norm(d))
        angles[name].append(math.degrees(math.acos(min(1, max(-1, cosine)))))
        losses[name].append(loss.item())
        if epoch < epochs:
            with engine:
                minigrad.train(model, batches, nn.CrossEntropyLoss(), optimizer)
    accuracy[name] = minigrad.evaluate(model, minigrad.DataLoader(test.images, test.labels, batch_size=250))
    print(f"{name:15} loss {losses[name][0]:.2f} -> {losses[name][-1]:.2f}, test accuracy {accuracy[name]:.1f} %")

# %%
figure = Figure(figsize=(9.5, 3.6), layout="constrained")
left, right = figure.subplots(1, 2)
styles = dict(zip(engines, ((BLUE, "o-"), (ORANGE, "^--"), (GREEN, "s-."), ("black", "x:")), strict=True))
for name, (color, style) in styles.items():
    label = f"{name} ({accuracy[name]:.1f} %)"
    left.plot(range(epochs + 1), losses[name], style, color=color, markersize=5, label=label)
    right.plot(range(epochs + 1), angles[name], style, color=color, markersize=5)
left.set(ylim=(0, None), ylabel="loss of 1,000 training images (nats)", title="The loss falls all the same")
left.legend(title="gradient (test accuracy)", fontsize=9, title_fontsize=9, loc="center right")
right.axhline(90, color=GREY, linewidth=1)
right.text(epochs, 93, "above 90°: uphill", ha="right", fontsize=9)
right.set(ylim=(-5, 185), yticks=range(0, 181, 45), ylabel="angle to the right gradient (°)")
right.set_title("Hidden layer: how wrong the gradient is")
for ax in (left, right):
    ax.set(xlabel="epochs of training")
    ax.spines[["top", "right"]].set_visible(False)
display(figure)

assert accuracy["slip: 1 − |t|"] > 88, "1 - |t| has the sign and about the size of 1 - t²: nearly the right direction."
assert accuracy["random weights"] > 85, "The last layer learns rightly, and so the hidden one comes round."
assert angles["random weights"][-1] < 80, "Training turns the weights so that the random direction becomes useful."
assert losses["wrong sign"][-1] > 2 * losses["right"][-1], "An angle above 90° climbs."

# %% [markdown]
# Whoever sees the second or the third loss curve alone will not suspect a mistake. Even the random weights work. Their
# gradient begins at about a right angle, as good as no direction at all; then training turns the *last* layer until the
# wrong gradient points downhill (Lillicrap and others found this, and asked whether brains could learn that way). Such
# mistakes cost little accuracy, often less than one test can show. So they stay for years.
#
# **Predict.** And `gradcheck`, with three samples of four inputs, and the same 64 hidden units: how many of the first
# layer's 256 weights will be in its table, for each of the four?

# %%
rng = np.random.default_rng(0)
x, w1, w2 = rng.normal(size=(3, 4)), rng.normal(size=(64, 4)), rng.normal(size=(10, 64))
verdicts = {}
for name, engine in engines.items():
    try:
        with engine:
            verdicts[name] = str(gradcheck(lambda w1: F.linear(F.tanh(F.linear(x, w1)), w2), [w1]))
    except GradcheckError as error:
        verdicts[name] = str(error).splitlines()[0]
    print(f"{name:15} {verdicts[name]}")

assert verdicts.pop("right") == "True", "The right gradient passes."
assert all("256 gradient elements differ" in v for v in verdicts.values()), "None of the 256 is right."

# %% [markdown]
# **In short.** Training forgives wrong gradients. A check in float64 does not, and it takes a moment.
#
# **Questions.**
# 1. All gradients are twice too large. Which setting of SGD hides that completely? Does Adam need it?
# 2. In all three cases the gradient of the *last* layer's weights was right. Why?
# 3. How much accuracy did the slip cost? Look at the intervals in notebook 04 before you answer: is it more than
#    chance?
#
# **Source.** Lillicrap et al. 2016 (random weights); Nocedal and Wright 2006, section 2.2 (descent directions).

# %% [markdown]
# ## 9. The first NaN
#
# **Goal.** Find where a NaN was born.
#
# **You need.** Floating-point numbers include infinity ($1/0$) and NaN, "not a number" ($0/0$, $\infty/\infty$,
# $0 \cdot \infty$).
#
# **The idea.** Whatever touches a NaN becomes NaN. One bad number in one image spoils the sum over the batch, then the
# gradient, then all weights. By the time the loss prints `nan`, the trace is cold. `minigrad.detect_anomaly()` looks at
# every result, forward and backward, and stops at the first that is not finite.
#
# **The formula.** Softmax by hand, $p_{nk} = e^{z_{nk}} / \sum_j e^{z_{nj}}$. In float32, $e^z$ is infinite from about
# $z = 88.7$ on.
#
# **Predict.** The last of four samples was not normalised, and has an input of 200. Which numbers below are not finite:
# how many of the 12 exponentials, of the 12 probabilities, of the 6 gradients?

# %%
samples = np.array([[0.1, 0.5], [0.4, -0.3], [-0.6, 0.2], [200, 0.3]], np.float32)
w = Tensor(np.array([[0.5, -0.2, 0.1], [0.3, 0.4, -0.1]], np.float32), requires_grad=True)
with np.errstate(all="ignore"):  # NumPy would warn of a line inside the engine
    z = samples @ w
    powers = F.exp(z)
    p = powers / powers.sum(axis=1, keepdims=True)
    loss = -F.log(p[range(4), [0, 1, 2, 0]]).mean()
    loss.backward()
stages = {"z (4, 3)": z.data, "exp(z)": powers.data, "p": p.data, "gradient of w (2, 3)": w.grad}
bad = {name: int(np.sum(~np.isfinite(values))) for name, values in stages.items()}
print(f"loss: {loss.item()}, not finite: {bad}")

assert list(bad.values()) == [0, 1, 1, 6], "exp(100) is too large; inf / inf is NaN; the gradient sums over the batch."

# %%
figure = Figure(figsize=(9.5, 2.9), layout="constrained")
for ax, (name, values) in zip(figure.subplots(1, 4), stages.items(), strict=True):
    ax.imshow(np.isfinite(values), cmap=ListedColormap([ORANGE, "#DCE9F5"]), vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=9)
    ax.set_title(name, fontsize=10)
    ax.set(xticks=range(values.shape[1]), yticks=range(values.shape[0]), xlabel="class")
figure.axes[0].set_ylabel("sample")
figure.axes[3].set_ylabel("feature")
figure.suptitle("One infinity spreads (orange: not finite)", fontsize=10)
display(figure)

# %% [markdown]
# **Predict.** Which op will `detect_anomaly` name?

# %%
try:
    with minigrad.detect_anomaly():
        powers = F.exp(samples @ w)
        loss = -F.log(powers / powers.sum(axis=1, keepdims=True)).mean()
        loss.backward()
except AnomalyError as error:
    sentence = str(error)
print(sentence)
with minigrad.detect_anomaly():
    print("cross_entropy, which subtracts the largest z first:", F.cross_entropy(samples @ w, [0, 1, 2, 0]).item())

assert sentence.startswith("exp, forward"), "exp made the infinity; the division only made NaN of it."
assert "index (3, 0)" in sentence, "Sample 3, class 0."

# %% [markdown]
# Some mistakes show in backward only. The next function is finite everywhere: the square root where $x > 0$, and 0
# elsewhere.
#
# **Predict.** What is the gradient at $x = 0$? (`where` sends the gradient 0 back to the square root, whose slope is
# infinite there.)

# %%
x = Tensor([4.0, 1.0, 0.0], requires_grad=True)
with np.errstate(all="ignore"):
    out = F.where(x > 0, F.sqrt(x), 0.0).sum()
    out.backward()
print("value", out.item(), "   gradient", x.grad)
try:
    with minigrad.detect_anomaly():
        F.where(x > 0, F.sqrt(x), 0.0).sum().backward()
except AnomalyError as error:
    sentence = str(error)
print(sentence)

assert np.isnan(x.grad).tolist() == [False, False, True], "0 times infinity is NaN."
assert sentence.startswith("sqrt, backward"), "Forward was fine; the slope of sqrt at 0 was not."

# %% [markdown]
# ### Exercise 4
#
# Repair this function: the same values, and a gradient of 0 where $x \le 0$. (The NaN came from a root that was
# computed though nobody wanted it. Of what could it be computed instead?)

# %% nbgrader={"grade": false, "grade_id": "02-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
x = Tensor([4.0, 1.0, 0.0, -1.0], requires_grad=True)
# out = ... a Tensor computed from x
### BEGIN SOLUTION
harmless = F.where(x > 0, x, 1.0)
out = F.where(x > 0, F.sqrt(harmless), 0.0)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "02-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("02-4", out, x=x)

# %% [markdown]
# **In short.** Wrap one step in `with minigrad.detect_anomaly():` and read the sentence: the op, forward or backward,
# the index, and whether what came in was finite. Switch it off afterwards, since it looks at every number.
#
# **Questions.**
# 1. Why is `max(z)` subtracted in `cross_entropy`, and why does that not change the result?
# 2. Would `gradcheck` have found the second mistake? For which inputs?
#
# **Source.** Goldberg 1991 (NaN and infinity); Blanchard, Higham and Higham 2021 (softmax without overflow).

# %% [markdown]
# ## Summary
#
# - A central difference is right to about ten digits in float64, at a step near $10^{-6}$; smaller steps make it worse.
#   In float32 at most five digits are left.
# - The complex step subtracts nothing, and is right to the last digit wherever a function takes complex numbers.
# - Weigh the outputs with random, unequal numbers. With ones, a transposed gradient passes.
# - `gradcheck(fn, inputs)` does all that and says where; `method="complex"` is sharper, `fast=True` takes large inputs.
# - At a kink no check means anything: keep away by more than $\varepsilon$.
# - A loss that falls proves little: any direction within 90° of the gradient makes it fall.
# - `minigrad.detect_anomaly()` names the op that made the first NaN or infinity.
#
# Next: notebook 03 goes from loops to kernels.
#
# ## Sources
#
# - W. Press, S. Teukolsky, W. Vetterling, B. Flannery, "Numerical Recipes", 3rd edition, Cambridge 2007, section 5.7.
# - D. Goldberg, "What every computer scientist should know about floating-point arithmetic", ACM Computing Surveys 23,
#   1991.
# - W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40, 1998.
# - J. Lyness, C. Moler, "Numerical differentiation of analytic functions", SIAM Journal on Numerical Analysis 4, 1967.
# - L. F. Richardson, "The approximate arithmetical solution by finite differences of physical problems involving
#   differential equations", Philosophical Transactions of the Royal Society A 210, 1911.
# - A. Griewank, A. Walther, "Evaluating Derivatives", 2nd edition, SIAM 2008.
# - PyTorch, "Gradcheck mechanics", <https://pytorch.org/docs/stable/notes/gradcheck.html>.
# - T. Lillicrap, D. Cownden, D. Tweed, C. Akerman, "Random synaptic feedback weights support error backpropagation for
#   deep learning", Nature Communications 7, 2016.
# - J. Nocedal, S. Wright, "Numerical Optimization", 2nd edition, Springer 2006.
# - P. Blanchard, D. Higham, N. Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal of
#   Numerical Analysis 41, 2021.
