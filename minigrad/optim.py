"""Optimizers. They write into the parameters' arrays and keep their dtype."""

from collections.abc import Iterable

import numpy as np

from minigrad.nn import Parameter
from minigrad.tensor import Tensor


class SGD:
    """Stochastic gradient descent with momentum and weight decay, as PyTorch defines them.

    For each parameter p with gradient g:  g += weight_decay * p;  v = momentum * v + g (v = g the first time);
    p -= lr * v.

    Args:
        params: the parameters to train. Those without a gradient are left alone.
        lr: learning rate.
        momentum: share of the last step's direction that is kept, 0 for none.
        weight_decay: strength of the L2 penalty.

    Raises:
        ValueError: params is empty or holds a parameter twice, or a setting is negative.
        TypeError: params are not Parameters.
    """

    def __init__(
        self, params: Iterable[Parameter], lr: float = 1e-3, momentum: float = 0.0, *, weight_decay: float = 0.0
    ):
        self.params = list(params)
        if not self.params:
            raise ValueError("SGD: there are no parameters to train")
        for p in self.params:
            if not isinstance(p, Tensor):
                raise TypeError(f"SGD: expected Parameters, got {type(p).__name__}; pass model.parameters()")
        if len({id(p) for p in self.params}) < len(self.params):
            raise ValueError("SGD: a parameter is given twice, and would be moved twice a step")
        for name, value in (("lr", lr), ("momentum", momentum), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"SGD: {name} is {value}, expected 0 or more")
        self.lr, self.momentum, self.weight_decay = float(lr), float(momentum), float(weight_decay)
        self.velocities: list[np.ndarray | None] = [None] * len(self.params)

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for index, p in enumerate(self.params):
            if p.grad is None:
                continue
            direction = p.grad + self.weight_decay * p.data if self.weight_decay else p.grad
            if self.momentum:
                v = self.velocities[index]
                if v is None:
                    v = self.velocities[index] = direction.copy()
                else:
                    v *= self.momentum
                    v += direction
                direction = v
            p.data -= self.lr * direction
