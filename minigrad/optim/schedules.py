"""Learning-rate schedules. Each is a function of the number of `step()` calls so far, so that a run can be resumed."""

import math

from minigrad.optim.optimizers import Optimizer


class Schedule:
    """Base of all schedules: sets the optimizer's learning rate at once, and anew at every `step()`.

    Attributes:
        count: how often `step` was called. Set it, and call `apply`, to resume.
        base_lr: the optimizer's learning rate when the schedule began.
    """

    def __init__(self, optimizer: Optimizer):
        self.optimizer, self.base_lr, self.count = optimizer, optimizer.lr, 0
        self.apply()

    def rate(self, count: int) -> float:
        """Return the learning rate after `count` steps."""
        raise TypeError(f"{type(self).__name__} defines no rate")

    def apply(self) -> None:
        """Give the optimizer the learning rate of the present count."""
        self.optimizer.lr = self.rate(self.count)

    def step(self) -> None:
        """Count one more step (epoch or batch, as you use it) and set the learning rate."""
        self.count += 1
        self.apply()


class StepLR(Schedule):
    """Multiply the learning rate by gamma every step_size steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        if step_size < 1:
            raise ValueError(f"StepLR: step_size is {step_size}, expected 1 or more")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, count: int) -> float:
        """base_lr * gamma ** (count // step_size)"""
        return self.base_lr * self.gamma ** (count // self.step_size)


class CosineAnnealingLR(Schedule):
    """Follow half a cosine wave from base_lr down to eta_min in T_max steps.

    Source:
        Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation 5.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):  # noqa: N803  PyTorch's name
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: T_max is {T_max}, expected 1 or more")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, count: int) -> float:
        """eta_min + (base_lr - eta_min) * (1 + cos(pi * count / T_max)) / 2"""
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + math.cos(math.pi * count / self.T_max)) / 2


class OneCycleLR(Schedule):
    """Rise along a cosine from max_lr / div_factor to max_lr, then fall to the start's share 1 / final_div_factor.

    Args:
        optimizer: its momentum is left alone.
        max_lr: the peak.
        total_steps: length of the cycle.
        pct_start: share of the steps spent rising.
        div_factor, final_div_factor: start is max_lr / div_factor, end is start / final_div_factor.

    Source:
        Smith and Topin, "Super-convergence", 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ):
        if total_steps < 1:
            raise ValueError(f"OneCycleLR: total_steps is {total_steps}, expected 1 or more")
        self.max_lr, self.total_steps, self.peak = max_lr, total_steps, pct_start * total_steps - 1
        self.start = max_lr / div_factor
        self.end = self.start / final_div_factor
        super().__init__(optimizer)

    def rate(self, count: int) -> float:
        """Half a cosine wave up to the peak, another one down to the end."""
        if count > self.total_steps:  # the last step() of a loop may set a rate that no batch uses
            raise ValueError(f"OneCycleLR: step {count} lies beyond the cycle of {self.total_steps} steps")
        if count <= self.peak:
            if self.peak == 0:
                return self.max_lr
            return _cosine(self.start, self.max_lr, count / self.peak)
        return _cosine(self.max_lr, self.end, (count - self.peak) / (self.total_steps - 1 - self.peak))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
