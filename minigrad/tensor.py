"""Tensor: an array, its gradient, and the op that made it.

Calling an op on Tensors (`apply`) computes the result and remembers the op with its inputs; how `backward` walks those
memories is `tape.py`.
"""

from collections.abc import Callable
from numbers import Real
from time import perf_counter
from typing import Any, Self

import numpy as np

from minigrad import ops, tape
from minigrad.in_place import Writable
from minigrad.tape import Array, observers, recording, tick

Axis = int | tuple[int, ...] | None

# Looked up by one name each: in a scalar graph an attribute of a module costs as much as the arithmetic.
_new = object.__new__

NUMPY_1 = np.lib.NumpyVersion(np.__version__) < "2.0.0"


def _operator(op_type: type[ops.Op]) -> Callable[["Tensor", Any], "Tensor"]:
    """Return the method that runs an op of two arguments: for `Add`, what `x + y` calls.

    Two single numbers take a way of their own: they always fit, nothing needs a look at axes, and in the graphs that are
    made of them (a neuron written out, a proof by hand) each call and each array would cost more than the arithmetic.
    """

    def run(x: "Tensor", other: Any) -> "Tensor":
        y = other if isinstance(other, Tensor) else as_tensor(other, like=x)
        a, b = x.values, y.values
        if type(a) is Array or type(b) is Array or observers.get():
            return apply(op_type, x, y)
        op, result = op_type(), _new(Tensor)  # from here on as at the end of `apply`
        result.values, result.grad = op.forward(a, b), None
        if (x.requires_grad or y.requires_grad) and recording():
            result.requires_grad, result.op = True, op
            op.inputs, op.made = (x, y), tick()
        else:
            result.requires_grad, result.op = False, None
        return result

    return run


class Tensor(Writable):
    """A NumPy array that remembers how it was computed.

    Args:
        data: an array, or anything `np.asarray` takes. An array is used as it is, without a copy, and keeps its dtype.
        requires_grad: whether `backward` should fill `.grad`.

    Attributes:
        data: the values, an ndarray. Writing into it goes unnoticed: between forward and backward, leave it alone.
        grad: after `backward`, an ndarray of data's shape and dtype; None before.
        requires_grad: True if a gradient flows here.
        op: the `Op` that computed this tensor, None for a leaf.

    Raises:
        TypeError: a gradient is asked for values that are not floating point.

    Example:
        >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> y = (x * x).sum()
        >>> y.backward()
        >>> x.grad
        array([2., 4., 6.])
    """

    __slots__ = ()

    # ndarray + Tensor must reach Tensor.__radd__ instead of looping over the array's elements.
    __array_ufunc__ = None

    def __init__(self, data: Any, requires_grad: bool = False):
        values = data.data if isinstance(data, Tensor) else np.float64(data) if type(data) is float else data
        self.values = values if isinstance(values, np.generic) else np.asarray(values)
        if self.values.dtype.kind not in "biufc":
            raise TypeError(f"Tensor: expected numbers, got {type(data).__name__} of {self.values.dtype}")
        if requires_grad and self.values.dtype.kind != "f":
            raise TypeError(
                f"Tensor: only floating-point values can require a gradient, and data is {self.values.dtype}; "
                "convert first, e.g. data.astype(np.float32)"
            )
        self.grad = None
        self.op = None
        self.requires_grad = requires_grad

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype:
        """Data type of the values."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.values.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.values.size

    def item(self) -> float:
        """Return the only element as a Python number.

        Raises:
            ValueError: there is not exactly one element.
        """
        if self.data.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} has {self.data.size} elements, expected 1")
        return self.data.item()

    def numpy(self) -> Array:
        """Return the values as an ndarray that shares this tensor's memory."""
        return self.data

    def detach(self) -> "Tensor":
        """Return a tensor with the same values (shared memory) that no gradient reaches."""
        return Tensor(self.data)

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor with respect to every leaf that requires one to that leaf's `.grad`.

        Args:
            gradient: the gradient of this tensor itself, of its shape. Needed unless it has one element, where it is 1.
            retain_graph: keep what the ops saved, so that `backward` can run again (it then adds once more).

        Raises:
            RuntimeError: nothing here requires a gradient; or the graph was freed by an earlier `backward`.
            ValueError: gradient is missing or has another shape.
        """
        tape.backward(self, self._first_gradient(gradient), retain_graph)

    def _first_gradient(self, gradient: Any) -> Array:
        if not self.requires_grad:
            raise RuntimeError(
                "backward: this tensor does not require a gradient: no input had requires_grad=True, "
                "or it was computed under no_grad()"
            )
        if gradient is None:
            if self.data.size != 1:
                raise ValueError(
                    f"backward: a tensor of shape {self.shape} needs the argument `gradient` (an array of that shape); "
                    "only a single number, such as a loss, can do without: sum() or mean() it first"
                )
            return np.ones_like(self.data)
        array = np.asarray(gradient.data if isinstance(gradient, Tensor) else gradient, self.dtype)
        if array.shape != self.shape:
            raise ValueError(f"backward: gradient has shape {array.shape}, the tensor has {self.shape}")
        return array.copy() if self.op is None else array  # a leaf keeps it

    # Arithmetic. Add, Multiply, Divide, Power and Matmul are ops; everything else is derived from them in one line.

    __add__ = __radd__ = _operator(ops.Add)
    __mul__ = __rmul__ = _operator(ops.Multiply)
    __truediv__ = _operator(ops.Divide)

    def __pow__(self, exponent: float) -> "Tensor":
        if not isinstance(exponent, Real):
            raise TypeError(f"power: the exponent must be a number, got {type(exponent).__name__}")
        return apply(ops.Power, self, exponent=int(exponent) if exponent == int(exponent) else float(exponent))

    def __matmul__(self, other: Any) -> "Tensor":
        return matmul(self, as_tensor(other))

    def __rmatmul__(self, other: Any) -> "Tensor":
        return matmul(as_tensor(other), self)

    def __neg__(self) -> "Tensor":
        return self * -1

    def __sub__(self, other: Any) -> "Tensor":
        return self + -as_tensor(other, like=self)

    def __rsub__(self, other: Any) -> "Tensor":
        return -self + other

    def __rtruediv__(self, other: Any) -> "Tensor":
        return as_tensor(other, like=self) / self

    def exp(self) -> "Tensor":
        """e ** self, elementwise."""
        return apply(ops.Exp, self)

    def log(self) -> "Tensor":
        """Natural logarithm, elementwise."""
        return apply(ops.Log, self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """Sum over `axis` (None: all axes)."""
        return apply(ops.Sum, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """Arithmetic mean over `axis` (None: all axes).

        Raises:
            ValueError: there is nothing to average.
        """
        total = self.sum(axis, keepdims)
        if self.size == 0 or total.size == 0:
            raise ValueError(f"mean: shape {self.shape} has no elements to average over axis {axis}")
        return total / (self.size // total.size)

    def max(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """Largest value over `axis`; equal largest values share the gradient evenly.

        Raises:
            ValueError: there is nothing to choose from.
        """
        self._check_not_empty("max", axis)
        return apply(ops.Max, self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """Smallest value over `axis`; equal smallest values share the gradient evenly.

        Raises:
            ValueError: there is nothing to choose from.
        """
        self._check_not_empty("min", axis)
        return -(-self).max(axis, keepdims)

    def _check_not_empty(self, name: str, axis: Axis) -> None:
        if self.size == 0 and self.sum(axis).size:
            raise ValueError(f"{name}: shape {self.shape} has no elements to choose from over axis {axis}")

    def var(self, axis: Axis = None, keepdims: bool = False, correction: int = 0) -> "Tensor":
        """Mean squared distance from the mean over `axis`.

        Args:
            correction: the sum of squares is divided by the number of elements less this (0, as in NumPy; PyTorch: 1).
        """
        squares = (self - self.mean(axis, keepdims=True)) ** 2
        total = squares.sum(axis, keepdims)
        return total / (self.size // total.size - correction)

    def reshape(self, *shape: Any) -> "Tensor":
        """The same elements in another shape; one size may be -1. Takes sizes or one tuple of them."""
        return apply(ops.Reshape, self, shape=shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> "Tensor":
        """Axes in another order, reversed if none is given. Takes numbers or one tuple of them, as NumPy does.

        Raises:
            ValueError: an axis is missing, named twice, or does not exist.
        """
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = tuple(order or range(self.ndim)[::-1])
        if sorted(axis + self.ndim if axis < 0 else axis for axis in order) != list(range(self.ndim)):
            raise ValueError(f"transpose: {order} does not name each axis once (x: {self.shape})")
        return apply(ops.Transpose, self, axes=order)

    def __getitem__(self, key: Any) -> "Tensor":
        if isinstance(key, tuple):
            key = tuple(k.data if isinstance(k, Tensor) else k for k in key)
        return apply(ops.GetItem, self, key=key.data if isinstance(key, Tensor) else key)

    @property
    def T(self) -> "Tensor":
        """The tensor with its axes reversed."""
        return self.transpose()

    def __repr__(self) -> str:
        values = np.array2string(self.data, separator=", ", prefix="Tensor(")
        dtype = "" if self.dtype == np.float64 else f", dtype={self.dtype}"
        made = f", op={self.op.name}" if self.op is not None else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({values}{dtype}{made})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"bool(tensor): shape {self.shape} is not one truth value; use tensor.data.any() or .all()"
            )
        return bool(self.data)

    # Comparisons have no gradient: they return plain boolean arrays.

    def __eq__(self, other: Any) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.data == as_tensor(other).data

    def __ne__(self, other: Any) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.data != as_tensor(other).data

    def __lt__(self, other: Any) -> Array:
        return self.data < as_tensor(other).data

    def __le__(self, other: Any) -> Array:
        return self.data <= as_tensor(other).data

    def __gt__(self, other: Any) -> Array:
        return self.data > as_tensor(other).data

    def __ge__(self, other: Any) -> Array:
        return self.data >= as_tensor(other).data

    __hash__ = object.__hash__

    def __len__(self) -> int:
        return len(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise TypeError(
                "np.array(tensor): this tensor requires a gradient, and NumPy would lose track of it; "
                "use tensor.data (or tensor.detach()) if that is what you want"
            )
        return np.array(self.data, dtype=dtype) if copy else np.asarray(self.data, dtype=dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if self.op is not None:
            raise RuntimeError(
                "copy.deepcopy: this tensor was computed by an op, and a copy would lose its graph; "
                "copy tensor.detach() instead"
            )
        copy = object.__new__(type(self))
        copy.data, copy.op, copy.requires_grad = self.data.copy(order="K"), None, self.requires_grad
        copy.grad = None if self.grad is None else self.grad.copy()
        memo[id(self)] = copy
        return copy


def apply(op_type: type[ops.Op], *inputs: Any, **settings: Any) -> Tensor:
    """Run an op on Tensors (or arrays, or None for an optional argument) and remember it if a gradient will be needed.

    Returns:
        A Tensor with the result; its `.op` is set if any input requires a gradient and recording is on.

    Raises:
        ValueError, IndexError: the arrays do not fit the op.
    """
    op = op_type()
    arrays, needs_gradient = [], False
    for x in inputs:
        values = x
        if isinstance(x, Tensor):
            values, needs_gradient = x.values, needs_gradient or x.requires_grad
        if type(values) is Array and not values.shape:
            values = values[()]  # NumPy is faster with its numbers (see `ops/base.py`)
        arrays.append(values)
    watching = observers.get()
    start = perf_counter() if watching else 0.0
    try:
        data = op.forward(*arrays, **settings)
    except (ValueError, IndexError) as error:  # NumPy's sentence, with the operation and the shapes that it leaves out
        shapes = ", ".join(f"{name}: {np.shape(x)}" for name, x in zip(op.arguments, arrays, strict=False))
        raise type(error)(f"{op.name}: {error} ({shapes})") from None
    if type(data) is not Array and (NUMPY_1 or not isinstance(data, np.generic)):
        data = _as_array(data, arrays)
    if watching:
        seconds = perf_counter() - start
        for observer in watching:
            observer.forward(op, arrays, settings, np.asarray(data), seconds)
    result = _new(Tensor)
    result.values, result.grad = data, None
    if needs_gradient and recording():
        result.requires_grad, result.op = True, op
        op.inputs, op.made = inputs, tick()
    else:
        result.requires_grad, result.op = False, None
    return result


def _as_array(number: Any, arrays: list[Any]) -> Array:
    """Return a single number, which NumPy gives for arrays without axes, as an array of its arguments' dtype."""
    number = np.asarray(number)
    if NUMPY_1 and number.dtype.kind == "f":  # NumPy 1 makes float64 of a float32 and a Python number
        dtypes = [x.dtype for x in arrays if x is not None and x.dtype.kind == "f"]
        number = number.astype(np.result_type(*dtypes)) if dtypes else number
    return number


def as_tensor(x: Any, like: Tensor | None = None) -> Tensor:
    """Return x as a Tensor. A Python number takes the dtype of `like`, so that 2 * x keeps float32 in float32."""
    if isinstance(x, Tensor):
        return x
    if like is not None and isinstance(x, int | float) and like.dtype.kind == "f":
        return Tensor(like.dtype.type(x))
    return Tensor(x)


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Matrix product of (..., M, K) and (..., K, P); leading axes broadcast. A vector counts as one row or one column.

    Raises:
        ValueError: the inner sizes differ, or an operand has no axes.
    """
    if x.ndim == 0 or y.ndim == 0:
        raise ValueError(f"matmul: operands need at least one axis, got shapes {x.shape} and {y.shape}")
    inner = y.shape[-2] if y.ndim > 1 else y.shape[0]
    if x.shape[-1] != inner:
        raise ValueError(
            f"matmul: the last axis of x ({x.shape[-1]}) and the axis of y that it is summed with ({inner}) differ "
            f"(x: {x.shape}, y: {y.shape}); is a transpose missing?"
        )
    rows = x.reshape(1, -1) if x.ndim == 1 else x
    columns = y.reshape(-1, 1) if y.ndim == 1 else y
    out = apply(ops.Matmul, rows, columns)
    if x.ndim == 1:
        out = out.reshape(*out.shape[:-2], out.shape[-1])
    return out.reshape(out.shape[:-1]) if y.ndim == 1 else out


def watch(x: Tensor, call: Callable[[Array], Any]) -> Tensor:
    """Return x unchanged, and call `call` in backward with the gradient that arrives here."""
    return apply(ops.Watch, x, call=call)
