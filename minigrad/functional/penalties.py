"""Penalties on large weights, to be added to a loss: `loss + 1e-4 * F.l1_penalty(model.parameters())`."""

from collections.abc import Iterable
from functools import reduce
from operator import add

from minigrad import ops
from minigrad.tensor import Tensor, apply


def l1_penalty(parameters: Iterable[Tensor] | Tensor) -> Tensor:
    """Sum of |w| over all elements of all parameters. It pulls every weight to zero with the same force.

    The gradient is sign(w), and 0 at 0.

    Args:
        parameters: Tensors of any shapes, such as model.parameters(), or a single one.

    Returns:
        a single number of the parameters' dtype.

    Raises:
        ValueError: there are no parameters.
        TypeError: they are not Tensors.

    Source:
        Tibshirani, "Regression shrinkage and selection via the lasso", 1996.

    Example:
        >>> w = Tensor([3.0, -4.0, 0.0], requires_grad=True)
        >>> penalty = l1_penalty([w])
        >>> penalty.backward()
        >>> penalty.item(), w.grad
        (7.0, array([ 1., -1.,  0.]))
    """
    return reduce(add, [apply(ops.Abs, w).sum() for w in _tensors("l1_penalty", parameters)])


def l2_penalty(parameters: Iterable[Tensor] | Tensor) -> Tensor:
    """Sum of w ** 2 over all elements of all parameters. It pulls large weights harder than small ones.

    The gradient is 2 * w. So `loss + c * l2_penalty(...)` trains as an optimizer with weight_decay = 2 * c does, for those
    that add the decay to the gradient: SGD, Adam and RMSprop, not AdamW.

    Args, Returns, Raises: as `l1_penalty`.

    Source:
        Hoerl and Kennard, "Ridge regression", 1970.

    Example:
        >>> w = Tensor([3.0, -4.0, 0.0], requires_grad=True)
        >>> penalty = l2_penalty([w])
        >>> penalty.backward()
        >>> penalty.item(), w.grad
        (25.0, array([ 6., -8.,  0.]))
    """
    return reduce(add, [(w * w).sum() for w in _tensors("l2_penalty", parameters)])


def _tensors(name: str, parameters: Iterable[Tensor] | Tensor) -> list[Tensor]:
    if isinstance(parameters, Tensor):
        return [parameters]
    listed: list[Tensor] = list(parameters) if isinstance(parameters, Iterable) else [parameters]
    for w in listed:
        if not isinstance(w, Tensor):
            raise TypeError(f"{name}: expected Tensors, got {type(w).__name__}; pass model.parameters()")
    if not listed:
        raise ValueError(
            f"{name}: there are no parameters; model.parameters() can be gone through only once, call it anew"
        )
    return listed
