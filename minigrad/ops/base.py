"""What every op needs once.

An op is a class: `forward` computes, and beside it stands one `vjp_<argument>` for each argument that can carry a gradient
(vector-Jacobian product: given the gradient of the result, the gradient of that argument). An instance is one use of the
op: what `forward` stores on `self` is what its VJPs need. Ops know arrays only; one without axes comes as NumPy's number
(np.float64 ...), with which NumPy computes six times faster, and may be returned as one.

    class Multiply(Op, name="multiply", axes="(...), (...) -> (...)", cost="out", broadcasts=True):
        def forward(self, x, y):
            self.x, self.y = x, y
            return x * y

        def vjp_x(self, g):
            return g * self.y

        def vjp_y(self, g):
            return g * self.x

Defining the class adds a row to `TABLE`; a row without a gradient check fails the test suite.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray

TABLE: dict[str, type["Op"]] = {}
"""Every op by name."""


class EachArray(tuple[Callable[..., Any], ...]):
    """The only VJP of an op of any number of arrays, told at each position which array is meant."""

    def __getitem__(self, position: Any) -> Any:
        return partial(super().__getitem__(0), position=position)


class Op:
    """One use of an operation: its forward, its VJPs, and what the one keeps for the others.

    Attributes of the class are filled in when a subclass is defined.

    Class attributes:
        name: the op's name in the table and in error messages.
        axes: shapes of arguments and result, by axis name.
        cost: floating-point operations of forward (see `cost.py`), by the names of axes, of settings, and of arguments and
            `out`, which stand for their numbers of elements.
        products: True if forward sums products; then cost / 2 counts its multiply-accumulates.
        domain: in words, where the op is defined and where its derivative jumps (a kink).
        arguments: names of forward's array arguments, in order (keyword-only ones are settings, not arrays). An op of any
            number of arrays has `*arrays`, and its `vjp_arrays` is told which of them is meant.
        vjps: one function per argument, None where no gradient flows (integer targets).
        broadcasts: True if arguments are broadcast against each other; their gradients are then summed back.
        spent: stands in the place of a use whose graph was freed: what that one had kept, and its inputs, can go.
    """

    name: ClassVar[str]
    axes: ClassVar[str]
    cost: ClassVar[str]
    products: ClassVar[bool]
    domain: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]]
    vjps: ClassVar[tuple[Callable[..., Any] | None, ...]]
    broadcasts: ClassVar[bool]
    variadic: ClassVar[bool]
    spent: ClassVar["Op"]

    forward: Callable[..., Any]
    """forward(self, *arrays, **settings) computes the result. Every op defines its own."""

    # Slots take less time than a dict. A subclass that names none has a dict beside them, for what its forward keeps.
    __slots__ = ("__weakref__", "inputs", "made")

    inputs: tuple[Any, ...]
    """What the op was applied to: tensors, and what was given beside them."""
    made: int
    """When (see `tape.tick`); 0 in place of a use that was freed."""

    def __init_subclass__(
        cls,
        *,
        name: str,
        axes: str,
        cost: str,
        domain: str = "any",
        products: bool = False,
        broadcasts: bool = False,
    ) -> None:
        if name in TABLE:
            raise TypeError(f"op {name!r} is defined twice: {TABLE[name].__qualname__} and {cls.__qualname__}")
        parameters = list(inspect.signature(cls.forward).parameters.values())[1:]
        cls.arguments = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL))
        cls.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        vjps: list[Any] = [getattr(cls, f"vjp_{argument}", None) for argument in cls.arguments]
        cls.vjps = EachArray(vjps) if cls.variadic else tuple(vjps)
        unknown = {n for n in vars(cls) if n.startswith("vjp_")} - {f"vjp_{a}" for a in cls.arguments}
        if unknown or not any(cls.vjps):
            raise TypeError(f"op {name!r}: {sorted(unknown) or 'no VJP'} does not match arguments {cls.arguments}")
        cls.name, cls.axes, cls.cost, cls.domain = name, axes, cost, domain
        cls.products, cls.broadcasts = products, broadcasts
        cls.spent = cls()
        cls.spent.inputs, cls.spent.made = (), 0
        TABLE[name] = cls

    @property
    def released(self) -> bool:
        """True if the graph that this use was part of has been freed."""
        return self.made == 0

    def saved(self) -> dict[str, Any]:
        """Return what forward kept for the VJPs, by name."""
        slots = [name for cls in type(self).__mro__[:-2] for name in vars(cls).get("__slots__", ())]
        return {name: getattr(self, name) for name in slots if hasattr(self, name)} | getattr(self, "__dict__", {})

    def argument_name(self, position: int) -> str:
        """Name argument number `position`: "x", or "arrays[1]" in an op of any number of arrays."""
        return f"{self.arguments[0]}[{position}]" if self.variadic else self.arguments[position]

    def fit(self, position: int, gradient: Any, x: Array) -> Array:
        """Return what a VJP gave for argument number `position`, whose value was x, in x's shape and dtype.

        Raises:
            RuntimeError: it has another shape: a mistake in the op, not in its use.
        """
        if not x.shape and type(gradient) is x.dtype.type:
            return gradient  # a number
        gradient = np.asarray(gradient)
        if gradient.shape != x.shape:
            gradient = unbroadcast(gradient, x.shape) if self.broadcasts else gradient
            if gradient.shape != x.shape:
                raise RuntimeError(
                    f"{self.name}: vjp_{self.argument_name(position)} returned shape {gradient.shape} "
                    f"for an argument of shape {x.shape}"
                )
        return gradient if gradient.dtype == x.dtype else gradient.astype(x.dtype)


def unbroadcast(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which an array of `shape` was broadcast.

    Example:
        >>> unbroadcast(np.ones((4, 3)), (3,))
        array([4., 4., 4.])
        >>> unbroadcast(np.ones((4, 3)), (4, 1)).shape
        (4, 1)
    """
    new_axes = tuple(range(gradient.ndim - len(shape)))
    gradient = gradient.sum(axis=new_axes) if new_axes else gradient
    stretched = tuple(axis for axis, size in enumerate(shape) if size == 1 and gradient.shape[axis] != 1)
    return gradient.sum(axis=stretched, keepdims=True) if stretched else gradient
