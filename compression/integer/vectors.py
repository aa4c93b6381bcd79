"""What kernels do with vectors of integers, beside loading and storing them: see `minigrad.kernels.vector`.

As there, each function on vectors stands here twice: as Python for arrays, and as LLVM instructions that any CPU has. What
overflows wraps around.
"""

import numpy as np
from llvmlite import ir

from minigrad.kernels._kernel import helper, instruction

LINE = 64
"""Bytes of a cache line."""


@helper
def empty(size, dtype):
    """As `np.empty` for one axis, but beginning where a cache line does, so that no vector lies in two."""
    memory = np.empty(size + LINE, dtype)
    start = -memory.ctypes.data % LINE // memory.itemsize
    return memory[start : start + size]


def multiply_add(c, x, w):
    """Return c + x * w, lane by lane."""
    return c + x * w


def add_low(c, x):
    """Return c + the lower half of x's lanes: x is int16, c is int32 and has half as many."""
    return c + x[: c.size]


def add_high(c, x):
    """Return c + the upper half of x's lanes."""
    return c + x[c.size :]


def define(function, generate):
    """Give a function its compiled form: `generate(builder, args)` writes its instructions. The result is a vector like the
    first argument.
    """

    @instruction(function)
    def instructions(*kinds):
        return kinds[0](*kinds), lambda context, builder, signature, args: generate(builder, args)


def _multiply_add(builder, args):
    return builder.add(args[0], builder.mul(args[1], args[2]))


def _add_half(first):
    """Return what adds lanes of x to c, from the first or from the middle one on."""

    def generate(builder, args):
        c, x = args
        start = 0 if first else c.type.count
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), c.type.count), list(range(start, start + c.type.count)))
        return builder.add(c, builder.sext(builder.shuffle_vector(x, x, lanes), c.type))

    return generate


define(multiply_add, _multiply_add)
define(add_low, _add_half(True))
define(add_high, _add_half(False))
