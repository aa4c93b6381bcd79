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
# # 01 · Autograd by hand
#
# **Goal.** Compute gradients on paper the way `backward()` does, get the same numbers, and know which five mistakes an
# engine like this can make.
#
# **What you need.** Python, a little NumPy, and the derivative as a slope. No neural network is needed before section
# 8. The notebook runs in well under a minute on two cores.
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
import inspect
import math
import sys
from dataclasses import replace

import numpy as np
from IPython.display import display
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import minigrad
from checks import check
from minigrad import Tensor, nn, ops
from minigrad import functional as F
from minigrad.compression.figures import BLUE, GREEN, GREY, ORANGE
from minigrad.debug import explore_backward
from minigrad.tape import topological_order
from minigrad.wrong_engines import WRONG_ENGINES, chain

# %% [markdown]
# ## 1. One op on a card
#
# **Goal.** Read an op's forward and its gradient, and check the gradient by nudging.
#
# **You need.** The chain rule.
#
# **The idea.** Every calculation is made of small *ops*: add, multiply, exp. Each op knows two things. `forward`
# computes the result. For each argument, a *vector-Jacobian product* (VJP) answers one question: if the final result
# changes by $g$ for each unit that *my result* moves, by how much does it change for each unit that *this argument*
# moves? No op needs to know what the others do.
#
# **The formula.** With $L$ the final result and $z = f(x, y)$ the result of this op:
#
# $$g = \frac{\partial L}{\partial z} \qquad\qquad \texttt{vjp\_x}(g) = g \cdot \frac{\partial z}{\partial x}
# \qquad\qquad \texttt{vjp\_y}(g) = g \cdot \frac{\partial z}{\partial y}$$
#
# Here is the whole card of `multiply`, as minigrad uses it:

# %%
print(inspect.getsource(ops.Multiply))

# %% [markdown]
# `forward` keeps `x` and `y` on `self`, since the VJPs need them.
#
# **Predict.** $z = 2 \cdot 5$. What do the two VJPs give for $g = 1$? And for $g = 10$?

# %%
multiply = ops.Multiply()
print("forward:", multiply.forward(2.0, 5.0))
for g in (1.0, 10.0):
    print(f"g = {g:4}:  vjp_x = {multiply.vjp_x(g)},  vjp_y = {multiply.vjp_y(g)}")
nudge = 1e-6
slope = ((2.0 + nudge) * 5.0 - 2.0 * 5.0) / nudge
print(f"x nudged by {nudge}: the result moves {slope:.6f} times as far")

assert multiply.vjp_x(1.0) == 5.0, "The slope of x · 5 along x is 5: the other factor."
assert multiply.vjp_y(10.0) == 20.0, "The slope along y is the other factor, 2, and g = 10 multiplies it."
assert math.isclose(slope, multiply.vjp_x(1.0), rel_tol=1e-6), "Nudging x must give the same slope as the VJP."

# %% [markdown]
# With $g = 1$ the VJP of an op of one argument is the slope of its curve. Three cards, each at one point:
#
# **Predict.** The slope of $e^x$ at 1, of $\ln x$ at 0.5, and of $|x|$ at 0. (The last one has no right answer: the
# curve has a kink. Which number would *you* return?)

# %%
cards = {"exp": (ops.Exp(), 1.0), "log": (ops.Log(), 0.5), "abs": (ops.Abs(), 0.0)}
figure = Figure(figsize=(9, 2.9), layout="constrained")
slopes = {}
for ax, (name, (op, at)) in zip(figure.subplots(1, 3), cards.items(), strict=True):
    x = np.linspace(0.1 if name == "log" else -2, 2, 201)
    curve = op.forward(x)
    height = op.forward(np.float64(at))
    slopes[name] = float(op.vjp_x(1.0))
    ax.plot(x, curve, color=BLUE, label=name)
    ax.plot(x, height + slopes[name] * (x - at), "--", color=ORANGE, label=f"slope {slopes[name]:.3f}")
    ax.plot(at, height, "o", color="black")
    ax.set(xlabel="x", ylabel="result", title=f"{name} at x = {at:g}", ylim=(curve.min() - 0.5, curve.max() + 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=9)
display(figure)

assert math.isclose(slopes["exp"], math.e), "The slope of exp is exp itself, here e."
assert math.isclose(slopes["log"], 2), "The slope of ln x is 1/x, and 1/0.5 is 2."
assert slopes["abs"] == 0, "At the kink minigrad returns 0, which lies between the slopes -1 and 1."

# %% [markdown]
# **In short.** An op is its forward and one VJP for each argument. The VJP is $g$ times a local slope.
#
# **Questions.**
# 1. `exp` keeps its *result*, `log` keeps its *input*. Why does each keep what it keeps?
# 2. `add` keeps nothing at all. Why can it afford that?
#
# **Source.** Griewank and Walther 2008, chapter 3; Baydin et al. 2018, section 3.2.

# %% [markdown]
# ## 2. A graph, forward and back
#
# **Goal.** Do the work of `backward()` on paper, once.
#
# **You need.** Section 1.
#
# **The idea.** A `Tensor` remembers the op that made it, and the op remembers its inputs. So a calculation leaves a
# graph behind. To go back, start at the result with $g = 1$, and let each op pass its gradient on to its inputs. A
# tensor that is used twice gets two shares, and they are *added*. A tensor that no op made, like $a$ and $b$ below, is
# called a *leaf*; its gradient ends up in `.grad`.
#
# **The formula.** Write $\bar v$ for $\partial L / \partial v$. The sum runs over all uses $u$ of $v$:
#
# $$\bar L = 1 \qquad\qquad \bar v = \sum_{u\ \text{uses}\ v} \bar u \cdot \frac{\partial u}{\partial v}$$
#
# The example is $L = (a + b) \cdot b$ with $a = 2$ and $b = 3$.

# %%
a, b = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
s = a + b
L = s * b
print("s =", s.item(), "  L =", L.item())
print("what the result remembers: ", L)
minigrad.draw(L)

# %% [markdown]
# In the picture $a$ is the leaf on the left, $b$ the one on the right; `()` is the shape of a single number. $b$ has two
# users, `add` and `multiply`.
#
# **Predict.** Take paper. Start with $\bar L = 1$ and fill in, in this order: $\bar s$; the share that `multiply` gives
# $b$; the share that `add` gives $a$; the share that `add` gives $b$. What are $\bar a$ and $\bar b$?
#
# `step_backward` does what `backward` does, and stops after each op. Compare it with your paper line by line. (For
# `multiply`, x is $s$ and y is $b$. For `add`, x is $a$ and y is $b$.)

# %%
steps = list(minigrad.step_backward(L))
for step in steps:
    print(step)
print(f"\na.grad = {a.grad}   b.grad = {b.grad}")

shares = [float(gradient) for step in steps for x, gradient in step.outgoing if x is b]
assert a.grad == 3, "L = (a + b) · b. Along a the slope is b."
assert shares == [5, 3], "multiply gives b the other factor, s = 5; add passes on what it got, which is b = 3."
assert b.grad == sum(shares) == 8, "b is used twice, and its two shares are added."

# %% [markdown]
# `backward()` does all of this in one call. It must give the same numbers.

# %%
a2, b2 = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
((a2 + b2) * b2).backward()
print(f"backward(): a.grad = {a2.grad}, b.grad = {b2.grad}")

assert (a2.grad, b2.grad) == (a.grad, b.grad), "Step by step or at once: the same walk, the same numbers."

# %% [markdown]
# **Predict.** Hold $a = 2$, and draw $L$ as a curve over $b$. Which of these slopes touches it at $b = 3$: 5, 3 or 8?

# %%
x = np.linspace(1, 5, 101)
figure = Figure(figsize=(7, 3.2), layout="constrained")
ax = figure.subplots()
ax.plot(x, (2 + x) * x, color=BLUE, linewidth=2.5, label="L = (2 + b) · b")
lines = {"both shares: 8": (8, ORANGE, "--"), "only multiply's: 5": (5, GREY, ":"), "only add's: 3": (3, GREEN, "-.")}
for label, (slope, color, style) in lines.items():
    ax.plot(x, 15 + slope * (x - 3), style, color=color, label=label)
ax.plot(3, 15, "o", color="black")
ax.set(xlabel="b", ylabel="L", title="Only the sum of both shares is the slope")
ax.spines[["top", "right"]].set_visible(False)
ax.legend()
display(figure)

# %% [markdown]
# **In short.** Forward from the leaves to the result, backward from the result to the leaves. Each op multiplies by its
# local slopes; where ways meet, gradients are added.
#
# **Questions.**
# 1. Expand $L = ab + b^2$ and differentiate by hand. Which term belongs to which share?
# 2. Why is $\bar L = 1$?
#
# **Source.** Linnainmaa 1976; Rumelhart, Hinton and Williams 1986.

# %% [markdown]
# ## 3. The order matters
#
# **Goal.** See why `backward` sorts the graph first, by an engine that does not.
#
# **You need.** Section 2.
#
# **The idea.** An op may pass its gradient on only when that gradient is *complete*: when all users of its result have
# added their shares. Recursion ("pass on what arrives, at once") does not wait.
#
# **The formula.** A gradient is the sum over all paths from the result to the leaf, each path the product of its local
# slopes:
#
# $$\frac{\partial L}{\partial v} = \sum_{\text{paths}\ L \to v} \ \prod_{\text{steps of the path}} \text{local slope}$$
#
# The smallest example: $a = 1,\ b = a + a,\ c = b + b$.

# %%
a = Tensor(1.0, requires_grad=True)
b = a + a
c = b + b
minigrad.draw(c)

# %% [markdown]
# Follow the arrows back with a finger: two ways from $c$ to $b$, two from $b$ to $a$. That makes four paths, each with
# local slopes of 1, so the gradient is 4. (Indeed $c = 4a$.)
#
# Now the engine that passes on at once. This is all of it (`_add` adds a share to `x.grad`; `_forget_interior` clears
# what an earlier call left):

# %%
print(inspect.getsource(WRONG_ENGINES["without_order"].backward))

# %% [markdown]
# **Predict.** Play the computer. $c$ gives $b$ its first share, and `visit(b)` runs *at once*. Then $c$ gives $b$ its
# second share, and `visit(b)` runs again. What is `b.grad` each time, and what does $a$ receive?

# %%
engine = WRONG_ENGINES["without_order"]
print("this engine gives", engine.gradient(), "  backward gives", engine.right_gradient())
print(f"where it does no harm: {engine.harmless.__doc__}: {engine.gradient(engine.harmless)}")

assert engine.right_gradient() == 4, "Four paths, each a product of ones."
assert engine.gradient() == 6, "First b.grad = 1 goes to a twice: 2. Then b.grad = 2 goes to a twice: 4 more."

# %% [markdown]
# The first share of $b$ was passed on twice: once alone, and once inside the sum. With only one `add` the engine is
# right, so a small test would not have noticed.
#
# The cure is a list in which every tensor stands *after* all that it was computed from, a *topological order*. Backward
# goes through this list from its end. When it comes to a tensor, all users of that tensor have had their turn.

# %%
names = {id(a): "a", id(b): "b", id(c): "c"}
order = [names[id(node)] for node in topological_order(c)]
print("forward: ", " → ".join(order))
print("backward:", " → ".join(reversed(order)))

assert order == ["a", "b", "c"], "b needs a, and c needs b."

# %% [markdown]
# **Predict.** With three doublings the right gradient is $2^3 = 8$. What does the wrong engine give: 12, 18 or 26?

# %%
engines = {"without_order": engine.backward, "backward": Tensor.backward}
found = {name: [] for name in engines}
doublings = np.arange(1, 9)
for n in doublings:
    for name, backward in engines.items():
        leaf = x = Tensor(1.0, requires_grad=True)
        for _ in range(n):
            x = x + x
        backward(x)
        found[name].append(float(leaf.grad))
print("right:", found["backward"][:5])
print("wrong:", found["without_order"][:5])

assert found["backward"] == [2.0**n for n in doublings], "Each doubling doubles the number of paths."
assert found["without_order"][2] == 26, "The mistake of one level is passed on, and made again, at the next."

# %%
figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
ax.plot(doublings, found["without_order"], "s--", color=ORANGE, label="without order")
ax.plot(doublings, found["backward"], "o-", color=BLUE, label="backward: 2 to the power n")
ax.set(yscale="log", xlabel="doublings n", ylabel="gradient of a (log scale)")
ax.set_title("Without order, the error grows from level to level")
ax.spines[["top", "right"]].set_visible(False)
ax.legend()
display(figure)

# %% [markdown]
# ### The other way to lose a share: `=` for `+=`
#
# This engine goes in the right order, but writes `x.grad = g` where `x.grad += g` is meant.
#
# **Predict.** What is `a.grad` after $b = a + a$? For which graphs is this engine right?

# %%
engine = WRONG_ENGINES["assigning"]
print(engine)
print(f"where it does no harm: {engine.harmless.__doc__}: {engine.gradient(engine.harmless)}")

assert engine.gradient() == 1, "The second share of 1 overwrites the first."
assert engine.gradient(engine.harmless) == 4, "Where each tensor has one user, = and += are the same: 2 · 2."

# %% [markdown]
# ### Step by step
#
# A larger graph: one neuron with its loss, and a small penalty on $w$. Move the slider, or press the button beside it.
# Orange: the op whose turn it is; dashed: those that it gives a share to; white: not visited yet. (Where sliders are not
# available, the cell shows the last step.)
#
# **Predict.** $w$ is used three times. After which step is its gradient complete? Which op must wait until step 4, though
# its gradient has been complete since step 1?

# %%
w, b = Tensor(1.0, requires_grad=True), Tensor(-1.5, requires_grad=True)
u = F.tanh(w * 2 + b)
L = (u - 1) ** 2 + 0.1 * w * w
explore_backward(L, w=w, b=b, u=u, L=L)

# %% [markdown]
# **In short.** A gradient is a sum over paths. To pass each share on exactly once, wait until all have come: sort, then
# go through the list from its end.
#
# **Questions.**
# 1. How often does `without_order` call `visit` for $n$ doublings? And how many tensors does `backward` visit?
# 2. Tensors are made in an order that is topological already. Why not simply keep a list of all tensors ever made?
#
# **Source.** Kahn 1962; Tarjan 1976 (topological order); Griewank and Walther 2008 (sums over paths).

# %% [markdown]
# ## 4. Broadcasting: what was copied must be summed
#
# **Goal.** Find the gradient of a value that NumPy stretched.
#
# **You need.** Sections 2 and 3; NumPy's broadcasting.
#
# **The idea.** Adding a row $b$ of shape `(3,)` to a matrix of shape `(4, 3)` uses each number of $b$ four times, once
# in each row. A tensor that is used four times gets four shares, and they are added. So the gradient is summed over the
# axis along which $b$ was stretched, and has $b$'s shape again.
#
# **The formula.**
#
# $$y_{ij} = x_{ij} + b_j \qquad\Longrightarrow\qquad \bar b_j = \sum_i \bar y_{ij}$$
#
# In the cell below $L = \sum_{ij} y_{ij}\, m_{ij}$, so the gradient that arrives at $y$ is $m$.
#
# **Predict.** Which shape has `b.grad`, and which numbers?

# %%
x = np.zeros((4, 3))
m = np.array([[1.0, 0.0, 2.0], [1.0, -1.0, 0.0], [1.0, 2.0, 0.0], [1.0, -1.0, -3.0]])
b = Tensor([1.0, 2.0, 3.0], requires_grad=True)
y = x + b
L = (y * m).sum()
L.backward()
print("b.grad =", b.grad)

assert b.grad.shape == b.shape, "A gradient always has the shape of its tensor."
assert b.grad.tolist() == [4, 0, -1], "Add up each column of m."

# %%
figure = Figure(figsize=(9, 2.9), layout="constrained")
panels = {
    "forward:\nb, stretched to y's shape": np.broadcast_to(b.data, (4, 3)),
    "backward:\nthe gradient arriving at y": m,
    "summed over the rows:\nb.grad": b.grad[None],
}
for ax, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
    shown = ax.imshow(values, cmap="PuOr_r", vmin=-4, vmax=4)
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, f"{value:.0f}", ha="center", va="center", color="white" if abs(value) > 2 else "black")
    ax.set(xlabel="column j", xticks=range(3), yticks=range(4), ylim=(3.5, -0.5))
    ax.set_title(title, fontsize=10)
figure.axes[0].set_ylabel("row i")
figure.axes[2].set_yticks([])
figure.axes[2].spines[:].set_visible(False)
figure.colorbar(shown, ax=figure.axes, label="value")
display(figure)

# %% [markdown]
# Which axes must be summed follows from the two shapes alone.
#
# **Predict.** A gradient of ones of shape `(4, 3)` arrives. What becomes of it for an argument of shape `(3,)`,
# `(4, 1)`, `(1, 1)` and `()`? Shapes and values.

# %%
arriving = np.ones((4, 3))
for shape in [(3,), (4, 1), (1, 1), ()]:
    print(f"{shape!s:8}", ops.base.unbroadcast(arriving, shape).tolist())

assert ops.base.unbroadcast(arriving, ()) == 12, "A single number was used in all 12 places."

# %% [markdown]
# An engine that forgets this sum does not stop with an error. On $L = \sum (a + [1, 1])$ with $a = [1]$:

# %%
engine = WRONG_ENGINES["without_unbroadcast"]
print(engine)
print(f"where it does no harm: {engine.harmless.__doc__}: {engine.gradient(engine.harmless)}")

assert engine.gradient().shape == (2,), "One share for each place, not added up."

# %% [markdown]
# **Predict.** The parameter `b` of shape `(3,)` is moved by the unsummed gradient, `b - 0.1 * gradient`. Does Python
# complain?

# %%
moved = b.data - 0.1 * m  # m is what arrives: b's gradient before the sum
print(f"b had shape {b.shape}; after one step it has shape {moved.shape}")

assert moved.shape == (4, 3), "NumPy broadcasts once more: the parameter has silently grown."

# %% [markdown]
# **In short.** Copying forward is summing backward. minigrad does it in one place for all ops, and checks that each
# gradient has its tensor's shape.
#
# **Questions.**
# 1. Turn the sentence round: `sum` adds numbers up in forward. What does it do in backward?
# 2. Why does `b.data -= 0.1 * m` stop with an error, where `b.data - 0.1 * m` does not?
#
# **Source.** Harris et al. 2020 (broadcasting); Griewank and Walther 2008.

# %% [markdown]
# ## 5. Backward twice
#
# **Goal.** Know what a second `backward()` does, and why `.grad` adds up.
#
# **You need.** Section 2.
#
# **The idea.** Two things are meant to happen, and one is not. (1) After `backward()` each op frees what it kept; the
# memory is needed elsewhere. (2) If the graph is kept, a second call *adds* the same gradient to the leaves once more.
# (3) Gradients *in between* must not be kept from call to call: they would be passed on again.
#
# **The formula.** Adding up is useful since the gradient of a sum is the sum of the gradients. A batch may come in
# pieces:
#
# $$\nabla (L_1 + L_2) = \nabla L_1 + \nabla L_2$$
#
# **Predict.** $b = 2a$, $c = 2b$, so the slope is 4. What happens at the second call?

# %%
a, c = chain()
c.backward()
print("after one call: ", a.grad)
refused = False
try:
    c.backward()
except RuntimeError as error:
    print(error)
    refused = True

assert refused, "The first call freed the graph; the second one must say so."
assert a.grad == 4, "2 · 2."

# %% [markdown]
# **Predict.** Now with `retain_graph=True`: what is `a.grad` after one, two and three calls? And which gradient does
# $b$, in between, have afterwards?

# %%
a = Tensor(1.0, requires_grad=True)
b = 2 * a
c = 2 * b
for call in (1, 2, 3):
    c.backward(retain_graph=True)
    print(f"after call {call}: a.grad = {a.grad}, b.grad = {b.grad}")

assert a.grad == 12, "Three calls add 4 each."
assert b.grad is None, "b is not a leaf: its gradient is passed on and then forgotten."

# %% [markdown]
# The engine `stale_interior` keeps `b.grad` from call to call.
#
# **Predict.** What does it give after two calls? Follow `b.grad`: it is 2 after the first call. And then?

# %%
engine = WRONG_ENGINES["stale_interior"]
print(engine)
calls = np.arange(1, 7)
stale = [float(replace(engine, calls=int(n)).gradient(chain)) for n in calls]
right = [float(replace(engine, calls=int(n)).right_gradient(chain)) for n in calls]
print("right:", right)
print("stale:", stale)

assert stale[:2] == [4, 12], "In the second call b.grad is 2 + 2 = 4, and all of it goes to a: 4 + 2 · 4."
assert right == [4.0 * n for n in calls], "backward adds 4 for each call."

# %%
figure = Figure(figsize=(7, 3), layout="constrained")
ax = figure.subplots()
ax.plot(calls, stale, "s--", color=ORANGE, label="stale gradients in between")
ax.plot(calls, right, "o-", color=BLUE, label="backward(retain_graph=True)")
ax.set(xlabel="calls of backward", ylabel="a.grad", xticks=calls, title="Leaves add up; what lies between must not")
ax.spines[["top", "right"]].set_visible(False)
ax.legend()
display(figure)

# %% [markdown]
# After *one* call this engine is right. A test that calls `backward` once will never find it.
#
# Here is what adding up is good for: eight rows in two halves. **Predict.** Does the third line differ from the first?

# %%
rows = np.arange(16.0).reshape(8, 2)
w = Tensor([0.5, -1.0], requires_grad=True)
((rows @ w) ** 2).sum().backward()
whole = w.grad
print("all eight rows:         ", whole)

w.grad = None
for half in (rows[:4], rows[4:]):
    ((half @ w) ** 2).sum().backward()
    print("so far, with this half: ", w.grad)

assert np.allclose(w.grad, whole), "The gradient of a sum is the sum of the gradients."

# %% [markdown]
# **In short.** Leaves add up on purpose, so training must forget the old gradients before each step (`w.grad = None`, or
# an optimizer's `zero_grad()`). A graph is used once, unless you ask to keep it.
#
# **Questions.**
# 1. What would happen in training if you never reset `.grad`?
# 2. Why do leaves keep their gradient, while tensors in between forget theirs? (Think of memory.)
#
# **Source.** Baydin et al. 2018, section 3.2 (what the backward sweep must keep).

# %% [markdown]
# ## 6. Deep graphs
#
# **Goal.** Send a gradient through 10,000 ops.
#
# **You need.** Section 3.
#
# **The idea.** Textbooks list the graph by recursion: a function that calls itself for each input. Every step down is a
# call inside a call, and Python allows only so many. minigrad keeps the list of open work in a list of its own, where
# depth costs nothing.
#
# **The formula.** Start with $x_0 = a$, and multiply $n$ times by $1 + 1/n$. The gradient is the product of all local
# slopes:
#
# $$x_{k+1} = x_k \left(1 + \tfrac{1}{n}\right) \qquad\Longrightarrow\qquad
# \frac{\partial x_n}{\partial a} = \left(1 + \tfrac{1}{n}\right)^n$$
#
# **Predict.** Which famous number do you get for $n$ = 10,000, roughly? And up to which $n$ does the recursive engine
# come?

# %%
engine = WRONG_ENGINES["recursive"]
engines = {"recursive": engine.backward, "backward": Tensor.backward}
found = {name: [] for name in engines}
depths = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000]
for n in depths:
    for name, backward in engines.items():
        leaf = x = Tensor(1.0, requires_grad=True)
        for _ in range(n):
            x = x * (1 + 1 / n)
        try:
            backward(x)
            found[name].append(float(leaf.grad))
        except RecursionError:
            found[name].append(math.nan)
            print(f"{name}: RecursionError at n = {n:,}")
print(f"Python's recursion limit here is {sys.getrecursionlimit():,}")
print(f"backward at n = {n:,}: {found['backward'][-1]:.6f};   e = {math.e:.6f}")

assert math.isclose(found["backward"][-1], (1 + 1 / n) ** n, rel_tol=1e-9), "10,000 local slopes of 1.0001, multiplied."
assert math.isnan(found["recursive"][-1]), "10,000 calls inside each other are more than Python allows."

# %%
figure = Figure(figsize=(7, 3.2), layout="constrained")
ax = figure.subplots()
ax.plot(depths, found["backward"], "o-", color=BLUE, label="backward (a loop)")
ax.plot(depths, found["recursive"], "x", color=ORANGE, markersize=11, markeredgewidth=2.5, label="recursive")
ax.axhline(math.e, color=GREY, linestyle="--")
ax.text(1, math.e - 0.02, "e", color=GREY, va="top")
ax.axvline(sys.getrecursionlimit(), color=ORANGE, linestyle=":", label="Python's recursion limit")
ax.set(xscale="log", xlabel="ops in the chain n (log scale)", ylabel="gradient of a", ylim=(1.9, 2.8))
ax.set_title("The recursive engine is right, as long as it lives")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="lower right")
display(figure)

# %% [markdown]
# **In short.** Recursion is right and short, and ends at Python's limit. A loop with its own list of open work has no
# such limit.
#
# **Questions.**
# 1. Which calculations make deep graphs? (Think of a loop that adds up one loss at a time.)
# 2. One could raise the limit with `sys.setrecursionlimit`. What would then run out?
#
# **Source.** Tarjan 1972 (depth-first search); Karpathy's micrograd lists its graph by recursion.

# %% [markdown]
# ## 7. Five mistakes against five tests
#
# **Goal.** See which test finds which mistake.
#
# **You need.** Sections 3 to 6.
#
# **The idea.** Each wrong engine is right on many inputs. So it matters which inputs a test has. Take the input that
# exposes each engine, and run *all* engines on it.
#
# **The formula.** Engine $e$ passes test $t$ if its gradient equals the right one, in shape and in every number.
#
# **Predict.** That makes 25 fields. How many are wrong? And how many of the five tests are enough to notice all five
# engines?

# %%
gradients, fails = {}, np.zeros((len(WRONG_ENGINES), len(WRONG_ENGINES)), bool)
for row, (name, engine) in enumerate(WRONG_ENGINES.items()):
    for column, test in enumerate(WRONG_ENGINES.values()):
        try:
            given = replace(engine, calls=test.calls).gradient(test.exposing)
            fails[row, column] = not np.array_equal(given, test.right)
            gradients[row, column] = str(given)
        except RecursionError:
            fails[row, column] = True
            gradients[row, column] = "Recursion\nError"
    print(f"{name:20} fails {fails[row].sum()} of {len(fails)}")
last_three = fails[:, 2:].any(axis=1)
print(f"{fails.sum()} of {fails.size} fields are wrong; the last three tests notice {last_three.sum()} of 5 engines")

assert fails.diagonal().all(), "Each engine fails on the input that was made for it."
assert fails.sum() == 8, "without_order fails on 2, assigning on 3, each of the others on 1."
assert last_three.all(), "Broadcasting, two calls and depth: each finds one mistake that no other test finds."

# %%
texts = ["a = 1\nb = a + a\nc = b + b", "a = 1\nb = a + a", "a = [1]\nb = sum(\na + [1, 1])"]
texts += ["a = 1; b = 2 * a\nc = 2 * b\nbackward twice", "a = 1\nb = a + 1 + 1\n+ ... (deep)"]
labels = [f"{text}\nright: {test.right}" for text, test in zip(texts, WRONG_ENGINES.values(), strict=True)]

figure = Figure(figsize=(9, 4.2), layout="constrained")
ax = figure.subplots()
ax.imshow(fails, cmap=ListedColormap(["#E8F1F7", ORANGE]), aspect="auto", vmin=0, vmax=1)
for (row, column), text in gradients.items():
    mark = "✗ " if fails[row, column] else ""
    ax.text(column, row, mark + text, ha="center", va="center", fontsize=10)
ax.set_xticks(range(5), labels, fontsize=9)
ax.set_yticks(range(5), list(WRONG_ENGINES))
ax.set(xlabel="test", ylabel="engine", title="The gradient of a by each engine (orange, ✗: wrong)")
ax.tick_params(length=0)
display(figure)

# %% [markdown]
# So three tests would do? Look at *why* they fail. The deep chain stops `without_order` because it is recursive, not
# because of its order: written as a loop, with the same mistake, it would pass. Only the diamond (the first test: `b`
# is used twice, and so is `a` below it) finds the mistake itself. A test that fails for another reason is luck.
#
# **In short.** Test an engine with a tensor that is used twice on two levels, with broadcasting, with two calls, and
# with depth.
#
# **Questions.**
# 1. Which *one* test would you write first, if you had time for one only?
# 2. Is there an engine that fails on `b = a + a` and passes the diamond? What does that say about the second test?
#
# **Source.** The engines and their inputs are in `minigrad/wrong_engines.py`.

# %% [markdown]
# ## 8. What it is for: learning by gradients
#
# **Goal.** Fit a small network to points with nothing but `backward()` and a subtraction.
#
# **You need.** Sections 2 and 5.
#
# **The idea.** A *loss* says with one number how wrong a network is. Its gradient says, for each parameter, in which
# direction the loss grows. Go a small step the other way, and repeat.
#
# **The formula.** With learning rate $\eta$, for every parameter $w$; the second line is our network, with 16 hidden
# units:
#
# $$w \leftarrow w - \eta\, \bar w$$
#
# $$\text{score} = W_2 \tanh(W_1 x + b_1) + b_2 \qquad p(\text{class A}) = \frac{1}{1 + e^{-\text{score}}}$$
#
# The points are two half moons that interlock, 100 of each class, with some noise.

# %%
rng = np.random.default_rng(0)
angle = rng.uniform(0, np.pi, (2, 100))
upper = np.stack([np.cos(angle[0]), np.sin(angle[0])], axis=1)
lower = np.stack([1 - np.cos(angle[1]), 0.5 - np.sin(angle[1])], axis=1)
points = np.concatenate([upper, lower]) + rng.normal(0, 0.15, (200, 2))
targets = np.repeat([[1.0], [0.0]], 100, axis=0)  # 1: class A, the upper moon; 0: class B

minigrad.manual_seed(0)
network = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
for parameter in network.parameters():
    parameter.data = parameter.data.astype(np.float64)  # so that a nudge of 0.00001 is seen
parameters = list(network.parameters())
loss = F.binary_cross_entropy_with_logits(network(points), targets)
print(f"loss before training: {loss.item():.4f}")
minigrad.draw(loss, network)

# %% [markdown]
# The gradient of the loss has one number for each parameter. One way to get it is nudging, as in section 1: move one
# parameter up and down, and compute the loss both times.
#
# **Predict.** How many parameters has the network? How often must the loss be computed to nudge each one up and down?
# And how many `backward()` calls give the same numbers?

# %%
loss.backward()
nudge, forwards, largest = 1e-5, 0, 0.0
for parameter in parameters:
    for place in np.ndindex(parameter.shape):
        middle, nudged = parameter.data[place], []
        for value in (middle + nudge, middle - nudge):
            parameter.data[place] = value
            with minigrad.no_grad():
                nudged.append(F.binary_cross_entropy_with_logits(network(points), targets).item())
        parameter.data[place] = middle
        forwards += 2
        slope = (nudged[0] - nudged[1]) / (2 * nudge)
        largest = max(largest, abs(slope - parameter.grad[place]))
count = sum(parameter.size for parameter in parameters)
print(f"{count} parameters, {forwards} losses computed; one backward() gives the same within {largest:.0e}")

assert count == 65, "16 · 2 + 16 in the first layer, 16 + 1 in the second."
assert forwards == 130, "Each of the 65 parameters is moved up and down."
assert largest < 1e-8, "Nudging and backward must agree; only rounding may differ."

# %% [markdown]
# That is why one goes *backward*: a single sweep gives all slopes, be they 65 or 65 million, at the price of a few
# forwards. (Notebook 02 asks how far nudging can be trusted.)
#
# **Predict.** The loss starts near 0.6. A loss of $\ln 2 \approx 0.69$ would mean: no idea. After 1,500 steps with
# $\eta = 1$, how many of the 200 points are on the right side?

# %%
sides = np.linspace(-1.6, 2.6, 120), np.linspace(-1.2, 1.7, 100)
grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
snapshots, losses = {}, []
for step in range(1501):
    if step in (0, 30, 1500):
        with minigrad.no_grad():
            right = float(np.mean((network(points).data > 0) == (targets > 0)))
            snapshots[step] = right, F.sigmoid(network(grid)).data.reshape(100, 120)
    for parameter in parameters:
        parameter.grad = None
    loss = F.binary_cross_entropy_with_logits(network(points), targets)
    loss.backward()
    for parameter in parameters:
        parameter.data -= 1.0 * parameter.grad
    losses.append(loss.item())
for step, (right, _) in snapshots.items():
    print(f"after {step:5,} steps: loss {losses[step]:.4f}, {100 * right:.1f} % of the points on the right side")

assert losses[-1] < losses[0] / 5, "Each step goes against the gradient: is .grad forgotten before each backward?"
assert snapshots[1500][0] > 0.95, "1,500 steps should put more than 95 % of the points on the right side."

# %%
figure = Figure(figsize=(10, 3), layout="constrained")
axes = figure.subplots(1, 4)
axes[0].plot(losses, color=BLUE)
axes[0].axhline(math.log(2), color=GREY, linestyle="--")
axes[0].text(1500, math.log(2) + 0.01, "ln 2: no idea", color=GREY, ha="right", va="bottom", fontsize=9)
axes[0].set(xlabel="steps", ylabel="loss (nats)", ylim=(0, 0.78), title="Loss")
axes[0].spines[["top", "right"]].set_visible(False)
for ax, (step, (right, p)) in zip(axes[1:], snapshots.items(), strict=True):
    shown = ax.pcolormesh(*sides, p, cmap="PuOr", vmin=0, vmax=1, alpha=0.4, rasterized=True)
    ax.contour(*sides, p, levels=[0.5], colors="black")
    for label, name, marker, color in ((1, "A", "o", BLUE), (0, "B", "^", "#A34E00")):
        x, y = points[targets[:, 0] == label].T
        ax.plot(x, y, marker, color=color, mec="white", mew=0.4, markersize=4, label=f"class {name}")
    ax.set(xlabel="x₁", yticks=[-1, 0, 1])
    ax.set_title(f"after {step:,} steps: {100 * right:.1f} %", fontsize=10)
axes[1].set_ylabel("x₂")
figure.colorbar(shown, ax=axes[1:], label="p(class A)")
axes[0].legend(*axes[1].get_legend_handles_labels(), fontsize=9, loc="center right")
display(figure)

# %% [markdown]
# The black line is where the network is undecided, $p = 0.5$. First it is nearly straight; then the hidden units bend
# it around the moons.
#
# **In short.** Forget the old gradients, forward, backward, subtract. `minigrad.optim.SGD` does the first and the last,
# and notebook 04 trains a network on images with it.
#
# **Questions.**
# 1. What happens if the lines `parameter.grad = None` are left out? Try it, with section 5 in mind.
# 2. Without `nn.Tanh()`, which shapes can the black line have?
#
# **Source.** Rumelhart, Hinton and Williams 1986; Griewank and Walther 2008 (the price of a gradient).

# %% [markdown]
# ## Summary
#
# - An op is a forward and one VJP for each argument: $g$ times a local slope.
# - `backward` starts with 1 at the result. A tensor that is used more than once adds up its shares.
# - It goes through a topological order from its end, so that a gradient is complete before it is passed on.
# - What broadcasting copies in forward is summed in backward.
# - Leaves add up over several calls; gradients in between are forgotten; the graph is freed unless it is retained.
# - A loop instead of recursion: 10,000 ops are no problem.
# - One backward gives all slopes; nudging needs two forwards for each parameter.
#
# Next: notebook 02 asks how to *prove* that a gradient is right.
#
# ## Exercises
#
# Below each cell for an answer stands its check. It says what differs, and hints more with every attempt. (`minigrad course
# open` writes copies without our answers, which stand between two markers.) Each exercise can be done by itself, once the
# first two cells of code were run.
#
# **Exercise 1: backward on paper.** $u = a \cdot b + a$ and $L = u^2$, with $a = 2$ and $b = -3$. Compute
# $\bar u$, $\bar a$ and $\bar b$ by hand.

# %% nbgrader={"grade": false, "grade_id": "01-1-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
# u_bar, a_bar, b_bar = ... three numbers
### BEGIN SOLUTION
u_bar, a_bar, b_bar = -8, 16, -16
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "01-1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("01-1", (u_bar, a_bar, b_bar))

# %% [markdown]
# **Exercise 2: write a VJP.** The op `sigmoid` computes `out` $= 1 / (1 + e^{-x})$. Write the gradient of `x` as an
# expression in `g` and `out` alone. (Start from $\sigma'(x) = e^{-x} / (1 + e^{-x})^2$.)

# %% nbgrader={"grade": false, "grade_id": "01-2-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
x, g = np.array([-2.0, 0.0, 0.5, 3.0]), np.array([1.0, -2.0, 3.0, 10.0])
out = 1 / (1 + np.exp(-x))
# x_bar = ... an array, made of g and out
### BEGIN SOLUTION
x_bar = g * out * (1 - out)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "01-2", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("01-2", x_bar, x=x, g=g)

# %% [markdown]
# **Exercise 3: a broadcast factor.** $y = x \cdot s$, where $x$ has the shape `(4, 3)`, and $s$ has the shape `(4, 1)`:
# one factor for each row. The gradient $g$ arrives at $y$. Write the gradient of $s$ with NumPy.

# %% nbgrader={"grade": false, "grade_id": "01-3-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
rng = np.random.default_rng(1)
x, g = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
# s_bar = ... an array of shape (4, 1), made of x and g
### BEGIN SOLUTION
s_bar = (g * x).sum(axis=1, keepdims=True)
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "01-3", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("01-3", s_bar, x=x, g=g)

# %% [markdown]
# **Exercise 4: a batch in two halves.** The loss of eight rows is their *mean*, `((rows @ w) ** 2).mean()`. Memory is
# enough for four rows only. Call `backward` twice, once for each half, so that `w.grad` is the gradient of the mean
# over all eight.

# %% nbgrader={"grade": false, "grade_id": "01-4-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
rows = np.random.default_rng(2).normal(size=(8, 2))
w = Tensor([0.5, -1.0], requires_grad=True)
halves = rows[:4], rows[4:]
# a loop over the halves that calls backward
### BEGIN SOLUTION
for half in halves:
    (((half @ w) ** 2).mean() / 2).backward()
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "01-4", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("01-4", w.grad, rows=rows)

# %% [markdown]
# ## Sources
#
# - S. Linnainmaa, "Taylor expansion of the accumulated rounding error", BIT 16, 1976: backward mode, first published in
#   his thesis of 1970.
# - D. Rumelhart, G. Hinton, R. Williams, "Learning representations by back-propagating errors", Nature 323, 1986.
# - A. Griewank, A. Walther, "Evaluating Derivatives", second edition, SIAM 2008.
# - A. Baydin, B. Pearlmutter, A. Radul, J. Siskind, "Automatic differentiation in machine learning: a survey", JMLR 18,
#   2018, arXiv:1502.05767.
# - A. Kahn, "Topological sorting of large networks", Communications of the ACM 5, 1962.
# - R. Tarjan, "Depth-first search and linear graph algorithms", SIAM Journal on Computing 1, 1972; "Edge-disjoint
#   spanning trees and depth-first search", Acta Informatica 6, 1976: topological order by depth-first search.
# - C. Harris et al., "Array programming with NumPy", Nature 585, 2020.
# - A. Karpathy, micrograd, <https://github.com/karpathy/micrograd>.
