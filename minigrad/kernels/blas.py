"""A few rows of a matrix product, by one call of BLAS.

A compiled `np.dot` takes whole contiguous matrices. BLAS itself is told how far apart rows lie, so that it can also take a
few columns of a matrix, or write a few rows: nothing needs to be copied, cut or added up.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError

from minigrad.kernels._kernel import instruction

KINDS = {types.float32: "s", types.float64: "d", types.complex64: "c", types.complex128: "z"}
"""BLAS's letters for the dtypes."""


def product_rows(a, b, transposed, start, stop, out):
    """out[start:stop] = these rows of a @ b; with `transposed`, of a.T @ b.

    a: (M, K), or (K, M) if it is to be transposed, C-contiguous   b: (K, P), C- or F-contiguous
    out: (M, P), C-contiguous, these rows overwritten
    """
    out[start:stop] = (a.T if transposed else a)[start:stop] @ b


@instruction(product_rows)
def _product_rows(a: Any, b: Any, transposed: Any, start: Any, stop: Any, out: Any) -> Any:
    if out.dtype not in KINDS or {a.dtype, b.dtype} != {out.dtype} or "A" in (a.layout, b.layout, out.layout):
        raise TypingError(
            f"product_rows: expected contiguous arrays of one dtype that BLAS knows, got {a}, {b} and {out}"
        )

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        letter, size, pointer = ir.IntType(8), ir.IntType(64), ir.IntType(8).as_pointer()
        own_a, own_b, own_out = (
            context.make_array(kind)(context, builder, value)
            for kind, value in ((a, args[0]), (b, args[1]), (out, args[5]))
        )
        (a_rows, a_columns), (b_rows, columns) = (cgutils.unpack_tuple(builder, x.shape, 2) for x in (own_a, own_b))
        is_transposed, first, last = args[2:5]

        def char(text: str) -> Any:
            return ir.Constant(letter, ord(text))

        def number(value: float) -> Any:
            slot = cgutils.alloca_once_value(builder, context.get_constant_generic(builder, out.dtype, value))
            return builder.bitcast(slot, pointer)

        def apart(length: Any) -> Any:  # BLAS wants at least 1, even where there is nothing
            return builder.select(builder.icmp_signed("<", length, size(1)), size(1), length)

        def at(data: Any, element: Any) -> Any:
            return builder.bitcast(builder.gep(data, [element]), pointer)

        # BLAS counts by columns: what is a @ b for rows is b.T @ a.T for it, and each matrix is its own transpose.
        b_is = (char("n"), apart(columns)) if b.layout == "C" else (char("t"), apart(b_rows))
        a_is = builder.select(is_transposed, char("t"), char("n"))
        a_first = builder.select(is_transposed, first, builder.mul(first, a_columns))
        inner = builder.select(is_transposed, a_rows, a_columns)
        arguments = [letter] * 3 + [size] * 3 + [pointer, pointer, size, pointer, size, pointer, pointer, size]
        gemm = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), arguments), "numba_xxgemm"
        )  # Numba's own door to SciPy's BLAS, the one np.dot takes
        sizes = (columns, builder.sub(last, first), inner)
        left, right = (at(own_b.data, size(0)), b_is[1]), (at(own_a.data, a_first), apart(a_columns))
        target = (at(own_out.data, builder.mul(first, columns)), apart(columns))
        builder.call(
            gemm, (char(KINDS[out.dtype]), b_is[0], a_is, *sizes, number(1.0), *left, *right, number(0.0), *target)
        )
        return context.get_dummy_value()

    return types.void(a, b, types.boolean, types.intp, types.intp, out), generate
