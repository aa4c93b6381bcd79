"""Writing into a tensor: allowed where no gradient is at stake, and noted: backward never uses what was written over."""

from typing import Any, Self

import numpy as np

from minigrad.tape import Node, note_write


class Writable(Node):
    """The in-place operators of Tensor. On one that requires a gradient each raises a RuntimeError that says what to do."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refuse_in_place("tensor[...] = value")
        self.data[key] = value.data if isinstance(value, Writable) else value
        note_write(self)

    def _refuse_in_place(self, what: str) -> None:
        if self.requires_grad:
            raise RuntimeError(
                f"{what}: writing into a tensor that requires a gradient would change values that backward needs; "
                "compute a new tensor instead, or write to tensor.data if no gradient should see it"
            )

    def __iadd__(self, other: Any) -> Self:
        return self._in_place("tensor += value", np.add, other)

    def __isub__(self, other: Any) -> Self:
        return self._in_place("tensor -= value", np.subtract, other)

    def __imul__(self, other: Any) -> Self:
        return self._in_place("tensor *= value", np.multiply, other)

    def __itruediv__(self, other: Any) -> Self:
        return self._in_place("tensor /= value", np.divide, other)

    def _in_place(self, what: str, function: Any, other: Any) -> Self:
        self._refuse_in_place(what)
        if isinstance(other, Writable):
            other._refuse_in_place(what)
        function(self.data, other.data if isinstance(other, Writable) else other, out=self.data, casting="same_kind")
        note_write(self)
        return self
