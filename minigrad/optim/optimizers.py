"""Optimizers, as PyTorch defines them. They write into the parameters' arrays and keep their dtype.

Each has one method that matters, `_update`: what happens to one parameter, given its gradient and what was kept of it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.nn import Parameter
from minigrad.tensor import Array, Tensor


class Optimizer:
    """Base of all optimizers.

    Args:
        params: the parameters to train. Those without a gradient are left alone.
        lr: learning rate. Schedules change it.
        settings: numbers, none negative, kept as attributes.

    Attributes:
        params: list of the parameters.
        state: for each parameter, what the optimizer keeps from step to step: name → array or number.

    Raises:
        ValueError: params is empty or holds a parameter twice, or a setting is negative.
        TypeError: params are not Parameters.
    """

    lr: float

    def __init__(self, params: Iterable[Parameter], lr: float, **settings: float):
        name = type(self).__name__
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{name}: there are no parameters to train")
        for p in self.params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{name}: expected Parameters, got {type(p).__name__}; pass model.parameters()")
        if len({id(p) for p in self.params}) < len(self.params):
            raise ValueError(f"{name}: a parameter is given twice, and would be moved twice a step")
        for setting, value in {"lr": lr, **settings}.items():
            if not value >= 0:
                raise ValueError(f"{name}: {setting} is {value}, expected 0 or more")
            setattr(self, setting, float(value))  # a NumPy float64 would turn float32 parameters' state into float64
        self.state: list[dict[str, Any]] = [{} for _ in self.params]

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for p, state in zip(self.params, self.state, strict=True):
            if p.grad is not None:
                self._update(p.data, p.grad, state)

    def _update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """Move p, in place, by its gradient g."""
        raise TypeError(f"{type(self).__name__} defines no _update")


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and weight decay.

    For each parameter p with gradient g:  g += weight_decay * p;  v = momentum * v + g (v = g the first time);
    p -= lr * v, or with nesterov p -= lr * (g + momentum * v).

    Args:
        params, lr: see `Optimizer`.
        momentum: share of the last step's direction that is kept, 0 for none.
        weight_decay: strength of the L2 penalty.
        nesterov: look ahead along the momentum (Sutskever et al. 2013).

    Raises:
        ValueError, TypeError: as `Optimizer`; nesterov without momentum.
    """

    momentum: float
    weight_decay: float

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(params, lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov looks ahead along the momentum, and momentum is 0")
        self.nesterov = nesterov

    def _update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * p
        if not self.momentum:
            p -= self.lr * g
            return
        if "velocity" not in state:
            state["velocity"] = np.zeros(p.shape, p.dtype)
        flat, lr, momentum = p.ravel(), p.dtype.type(self.lr), p.dtype.type(self.momentum)
        kernels.momentum_step(flat, g.ravel(), state["velocity"].ravel(), lr, momentum, self.nesterov)
        if not p.flags.c_contiguous:  # `flat` is a copy then
            p[...] = flat.reshape(p.shape)


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square, both corrected for their start at zero.

    m = b1 * m + (1 - b1) * g;  v = b2 * v + (1 - b2) * g**2;
    p -= lr * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps) at step t.

    Args:
        params, lr: see `Optimizer`.
        betas: (b1, b2), each at least 0 and below 1.
        eps: keeps the division from zero.
        weight_decay: strength of the L2 penalty, added to the gradient.

    Raises:
        ValueError, TypeError: as `Optimizer`; a beta outside [0, 1).

    Source:
        Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """

    eps: float
    weight_decay: float

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, lr, eps=eps, weight_decay=weight_decay)
        if not all(0 <= b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: betas are {betas}, expected two numbers from 0 to below 1")
        self.betas = (float(betas[0]), float(betas[1]))

    def _update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        self._adam_step(p, g + self.weight_decay * p if self.weight_decay else g, state)

    def _adam_step(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        b1, b2 = self.betas
        if not state:
            state.update(step=0, mean=np.zeros_like(p), square=np.zeros_like(p))
        state["step"] += 1
        state["mean"] += (1 - b1) * (g - state["mean"])
        state["square"] += (1 - b2) * (g * g - state["square"])
        mean = state["mean"] / (1 - b1 ** state["step"])
        root = np.sqrt(state["square"] / (1 - b2 ** state["step"])) + self.eps
        p -= self.lr * mean / root


class AdamW(Adam):
    """Adam with the weight decay taken out of the gradient: p is first shrunk by lr * weight_decay.

    Source:
        Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        p *= 1 - self.lr * self.weight_decay
        self._adam_step(p, g, state)


class RMSprop(Optimizer):
    """Steps scaled by a running mean of the squared gradient.

    s = alpha * s + (1 - alpha) * g**2;  p -= lr * g / (sqrt(s) + eps).

    Args:
        params, lr: see `Optimizer`.
        alpha: share of the running mean that is kept.
        eps: keeps the division from zero.
        weight_decay: strength of the L2 penalty, added to the gradient.
        momentum: share of the last step's direction that is kept.

    Raises:
        ValueError, TypeError: as `Optimizer`.

    Source:
        Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012.
    """

    alpha: float
    eps: float
    weight_decay: float
    momentum: float

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ):
        super().__init__(params, lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)

    def _update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        if self.weight_decay:
            g = g + self.weight_decay * p
        if not state:
            state.update(square=np.zeros_like(p), velocity=np.zeros_like(p))
        state["square"] += (1 - self.alpha) * (g * g - state["square"])
        direction = g / (np.sqrt(state["square"]) + self.eps)
        if self.momentum:
            state["velocity"] *= self.momentum
            state["velocity"] += direction
            direction = state["velocity"]
        p -= self.lr * direction
