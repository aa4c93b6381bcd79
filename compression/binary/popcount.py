"""Counting the ones of words: an instruction that Python and Numba have no function for.

As in `minigrad.kernels.vector`, the function stands here twice: as Python for arrays, and as LLVM instructions for vectors of
uint64. `ctpop` counts the ones of each lane: with AVX512-VPOPCNTDQ that is one instruction for eight words; on other CPUs
LLVM looks the counts of half-bytes up. The numbers are the same everywhere.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from minigrad.kernels._kernel import instruction


def add_differing(total, x, y):
    """Return total + the number of bits in which x and y differ, lane by lane: vectors of uint64.

    Example:
        >>> one, x, y = (np.array([number], np.uint64) for number in (1, 0b1100, 0b1010))
        >>> add_differing(one, x, y)
        array([3], dtype=uint64)
    """
    return total + np.array([int(word).bit_count() for word in x ^ y], np.uint64)


@instruction(add_differing)
def _add_differing(total, x, y):
    def generate(context, builder, signature, args):
        kind = args[0].type
        ones = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind]), f"llvm.ctpop.v{kind.count}i64"
        )
        return builder.add(args[0], builder.call(ones, [builder.xor(args[1], args[2])]))

    return total(total, x, y), generate
