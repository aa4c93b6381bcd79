"""Weight clipping, and two formulas, as the article on model optimisation prints them; beside them what they should say."""

import copy
from typing import TypeVar

import numpy as np

from minigrad.nn import Module
from minigrad.tensor import Array

from .criteria import Names, prunable

M = TypeVar("M", bound=Module)


def indicator_as_written(w: Array) -> Array:
    """w · I(w ≠ 0), the article's formula for clipping weights, as printed. It returns w: only zeros become zero.

    Source:
        The article on model optimisation, section 1.3.1. `indicator` repairs it.

    Example:
        >>> indicator_as_written(np.array([0.5, 0.0, -0.01]))
        array([ 0.5 ,  0.  , -0.01])
    """
    return w * (w != 0)


def indicator_plus_epsilon_as_written(w: Array, epsilon: float = 1e-3) -> Array:
    """w · (I(w ≠ 0) + ε), the article's formula for pruning, as printed. It returns (1 + ε) · w: everything grows.

    Source:
        The article on model optimisation, section 1.3.4. `indicator` repairs it.

    Example:
        >>> indicator_plus_epsilon_as_written(np.array([0.5, 0.0, -1.0]), 0.5)
        array([ 0.75,  0.  , -1.5 ])
    """
    return w * ((w != 0).astype(w.dtype) + w.dtype.type(epsilon))


def indicator(w: Array, threshold: float) -> Array:
    """w · I(|w| > threshold): both formulas repaired. What is not larger than the threshold becomes zero.

    Raises:
        ValueError: threshold is negative or NaN.

    Example:
        >>> indicator(np.array([0.5, 0.25, -0.01]), 0.25)
        array([0.5, 0. , 0. ])
    """
    if not threshold >= 0:
        raise ValueError(f"indicator: threshold is {threshold}, expected 0 or more")
    return np.where(np.abs(w) > threshold, w, w.dtype.type(0))


def clip_weights(model: M, minimum: float | None = None, maximum: float | None = None, names: Names = None) -> M:
    """Return a copy of `model` whose weights below `minimum` are set to it, and those above `maximum` to that.

    The article counts this as a way to remove weights. It removes none: a clipped weight takes part as before, and unless
    a bound is 0, none becomes zero. What it does is narrow the range that a quantizer has to cover. The article's third
    way, "by sparsity", is pruning by magnitude: `choose`.

    Args:
        model: is left as it is.
        minimum, maximum: None leaves that side open.
        names: which parameters; by default those of two or more dimensions.

    Raises:
        ValueError: neither bound is given, or minimum is above maximum.
        KeyError: there is no such parameter.

    Source:
        The article on model optimisation, section 1.2.1: "minimum clipping" and "maximum clipping".

    Example:
        >>> from minigrad import nn
        >>> layer = nn.Linear(3, 1)
        >>> layer.weight.data[...] = [[-2, 0.5, 3]]
        >>> clip_weights(layer, minimum=-1).weight.data, clip_weights(layer, maximum=1).weight.data
        (array([[-1. ,  0.5,  3. ]], dtype=float32), array([[-2. ,  0.5,  1. ]], dtype=float32))
    """
    if minimum is None and maximum is None:
        raise ValueError("clip_weights: give a minimum, a maximum, or both")
    if minimum is not None and maximum is not None and not minimum <= maximum:
        raise ValueError(f"clip_weights: minimum {minimum} is above maximum {maximum}")
    clipped = copy.deepcopy(model)
    for p in prunable(clipped, names).values():
        np.clip(p.data, minimum, maximum, out=p.data)
    return clipped
