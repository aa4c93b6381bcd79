"""Ops that move elements and compute nothing."""

import numpy as np

from minigrad.ops.base import Op


class Reshape(Op, name="reshape", axes="(...) -> shape", cost="0"):
    """The same elements, in C order of their indices, in another shape."""

    def forward(self, x, *, shape):
        self.shape = x.shape
        return x.reshape(shape)

    def vjp_x(self, g):
        return g.reshape(self.shape)


class Transpose(Op, name="transpose", axes="(...) -> (... permuted)", cost="0"):
    """Axes in another order."""

    def forward(self, x, *, axes):
        self.order = [axis % x.ndim for axis in axes]
        return x.transpose(axes)

    def vjp_x(self, g):
        return g.transpose(np.argsort(self.order))


class Concatenate(
    Op,
    name="concatenate",
    axes="(..., A, ...), (..., B, ...), ... -> (..., A + B + ..., ...)",
    cost="0",
):
    """Arrays joined along an axis that they have."""

    def forward(self, *arrays, axis=0):
        self.axis = axis
        self.ends = np.cumsum([x.shape[axis] for x in arrays])
        return np.concatenate(arrays, axis=axis)

    def vjp_arrays(self, g, position):
        return np.split(g, self.ends[:-1], axis=self.axis)[position]


class Pad(Op, name="pad", axes="(...) -> (... grown)", cost="0"):
    """A border of `value`; widths gives (before, after) for each axis."""

    def forward(self, x, *, widths, value=0.0):
        self.inside = tuple(slice(before, before + size) for (before, _), size in zip(widths, x.shape, strict=True))
        return np.pad(x, widths or 0, constant_values=value)

    def vjp_x(self, g):
        return g[self.inside]


class GetItem(Op, name="getitem", axes="(...) -> x[key]", cost="0"):
    """x[key], for any key that NumPy takes. An element picked several times collects all its gradients."""

    def forward(self, x, *, key):
        self.shape, self.key = x.shape, key
        return np.asarray(x)[key]

    def vjp_x(self, g):
        grad_x = np.zeros(self.shape, g.dtype)
        np.add.at(grad_x, self.key, g)
        return grad_x


class Watch(Op, name="watch", axes="(...) -> (...)", cost="0"):
    """x itself; backward shows its gradient to a function on the way."""

    def forward(self, x, *, call):
        self.call = call
        return x.view()

    def vjp_x(self, g):
        self.call(np.asarray(g))
        return g
