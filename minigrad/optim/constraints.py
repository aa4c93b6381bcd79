"""What is done to gradients before a step, and to weights after it."""

import math
from collections.abc import Iterable

import numpy as np

from minigrad.nn import Parameter


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients, in place, so that together their L2 norm is at most max_norm.

    Returns:
        The norm before.

    Raises:
        ValueError: max_norm is negative.

    Source:
        Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm is {max_norm}, expected 0 or more")
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    if norm > max_norm:
        for g in gradients:
            g *= max_norm / norm
    return norm


def clip_grad_value_(parameters: Iterable[Parameter], clip_value: float) -> None:
    """Cut every element of the gradients, in place, to at most clip_value in magnitude.

    Raises:
        ValueError: clip_value is negative.
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value is {clip_value}, expected 0 or more")
    for p in parameters:
        if p.grad is not None:
            np.clip(p.grad, -clip_value, clip_value, out=p.grad)


def max_norm_(weight: Parameter, limit: float) -> None:
    """Scale down, in place, each output's incoming weights whose L2 norm is above `limit`. For after each step.

    Args:
        weight: (outputs, ...).
        limit: largest norm allowed.

    Raises:
        ValueError: limit is not above 0.

    Source:
        Srivastava et al., "Dropout", 2014, section 5.1.
    """
    if not limit > 0:
        raise ValueError(f"max_norm_: limit is {limit}, expected a number above 0")
    rows = weight.data.reshape(len(weight.data), -1)
    norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    rows *= np.minimum(1, limit / np.maximum(norms, np.finfo(rows.dtype).tiny)).astype(rows.dtype)
