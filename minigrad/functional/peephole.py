"""A peephole: conv2d, relu and max_pool2d that follow each other run as one, and so do linear and relu.

ReLU and pooling together read their input once instead of three times, and need not store what lies between. But an op that
has run cannot be merged with the next, so inside `with fusion():` some results wait until somebody looks at them:

- `relu` of a convolution waits. If `max_pool2d` comes for it, both run as one op, `relu_max_pool2d`.
- `conv2d` waits too where no gradient is recorded. All three then run as one kernel (the op's `relu_max_pool2d`).
- `linear` waits there as well, and `relu`, if it is next, runs with it.

Anything else that touches a waiting result (another op, `.data`, a forward hook) makes it run first: the values are the same
either way, bit for bit. What must not happen is that its inputs are written over in the meantime, so this is switched on
only where nobody can: `train` and `evaluate` do so. `with fusion(False):` around them switches it off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad import ops, tape
from minigrad.tape import Array, Node
from minigrad.tensor import Tensor, apply

_fusing: ContextVar[bool | None] = ContextVar("minigrad_fusing", default=None)


@contextmanager
def fusion(on: bool = True) -> Iterator[None]:
    """Let conv2d, linear, relu and max_pool2d wait for each other inside the block. An outer `fusion(False)` is obeyed.

    Example:
        >>> with fusion(False):
        ...     with fusion():
        ...         print(is_fusing())
        False
    """
    token = _fusing.set(on and _fusing.get() is not False)
    try:
        yield
    finally:
        _fusing.reset(token)


def is_fusing() -> bool:
    """Return True inside `with fusion():`."""
    return bool(_fusing.get())


class Waiting(Tensor):
    """A result that is computed when somebody looks at it.

    Attributes:
        call: the op, its inputs and its settings; None once it has run.
    """

    __slots__ = ("call", "known")

    def __init__(self, op: type[ops.Op], inputs: tuple[Any, ...], settings: dict[str, Any], shape: tuple[int, ...]):
        self.call: tuple[Any, ...] | None = (op, inputs, settings)
        self.known = shape, inputs[0].dtype
        self.grad = None
        self.requires_grad = tape.recording() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)

    def _run(self) -> None:
        (op, inputs, settings), self.call = self.call, None  # pyright: ignore[reportGeneralTypeIssues]
        with tape.set_recording(self.requires_grad):
            result = apply(op, *inputs, **settings)
        Node.values.__set__(self, result.values)
        Node.op.__set__(self, result.op)  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]

    @property
    def values(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The values."""
        if self.call is not None:
            self._run()
        return Node.values.__get__(self)

    @property
    def op(self) -> ops.Op | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The op that computed the values."""
        if self.call is not None:
            self._run()
        return Node.op.__get__(self)  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]

    @op.setter
    def op(self, op: ops.Op | None) -> None:
        Node.op.__set__(self, op)  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values, known before they are."""
        return self.known[0]

    @property
    def dtype(self) -> np.dtype:
        """Data type of the values."""
        return self.known[1]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.known[0])


def conv2d(op: type[ops.Op], inputs: tuple[Any, ...], shape: tuple[int, ...], **settings: Any) -> Tensor:
    """Run a convolution whose arguments were checked, or let it wait if no gradient is recorded.

    Args:
        op: `ops.Conv2d`, or another one with a `relu_max_pool2d`.
        inputs: x, which is (N, C, H, W), and the op's others.
        shape: of the result.
    """
    if _may_wait():
        return Waiting(op, inputs, settings, shape)
    return apply(op, *inputs, **settings)


def linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """Run a linear map of rows, whose arguments were checked, or let it wait if no gradient is recorded."""
    if _may_wait():
        return Waiting(ops.Linear, (x, w, b), {}, (x.shape[0], w.shape[0]))
    return apply(ops.Linear, x, w, b)


def _may_wait() -> bool:
    """Return True if a result may wait that is not needed for a gradient, and that no observer wants to see."""
    return bool(_fusing.get()) and not tape.recording() and not tape.observers.get()


def relu(x: Tensor) -> Tensor:
    """Run relu, together with a linear map that waits before it, or let it wait if x comes from a convolution."""
    if not _fusing.get():
        return apply(ops.Relu, x)
    if isinstance(x, Waiting) and x.call and x.call[0] is ops.Linear:
        rows, w, b = (None if t is None else t.data for t in x.call[1])
        return Tensor(ops.Linear.product(rows, np.ascontiguousarray(w), b, rectify=True))
    return Waiting(ops.Relu, (x,), {}, x.shape) if _comes_from_conv(x) else apply(ops.Relu, x)


def max_pool2d(x: Tensor, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Run max-pooling whose arguments were checked, together with what waits before it."""
    settings = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    if not (isinstance(x, Waiting) and x.call and x.call[0] is ops.Relu and kernel_size[0] * kernel_size[1] <= 255):
        return apply(ops.MaxPool2d, x, **settings)
    (source,) = x.call[1]
    if isinstance(source, Waiting) and source.call and pools_four(**settings):
        conv, inputs, conv_settings = source.call
        arrays = [None if t is None else t.data for t in inputs]
        return Tensor(conv.relu_max_pool2d(arrays, kernel_size, stride, **conv_settings))
    return apply(ops.ReluMaxPool2d, source, **settings)


def pools_four(kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> bool:
    """Return True if a convolution, ReLU and this pooling can run as one kernel, whatever the stride."""
    return padding == (0, 0) and kernel_size[0] * kernel_size[1] == 4


def _comes_from_conv(x: Tensor) -> bool:
    if isinstance(x, Waiting) and x.call is not None:
        return x.call[0] not in (ops.Relu, ops.Linear)
    return isinstance(x.op, ops.Conv2d)
