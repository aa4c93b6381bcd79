"""Vector registers for kernels: a few neighbouring numbers that the processor loads, multiplies and adds at once.

LLVM turns most loops into vector code by itself, but it will not keep a block of results in registers across an outer loop,
and that is what makes a convolution fast. With the functions here a kernel says so in Python:

    c = splat(bias)                             # every lane holds the bias
    for t in range(taps):
        c = fma(splat(w[t]), load(x, at[t]), c) # one instruction multiplies and adds 16 float32
    store(out, m, c)

Run as Python, a vector is a small array and each function does what its docstring says, so the same kernel can be stepped
through. Compiled, each is one instruction. Kernels index flat (one-dimensional, contiguous) arrays with these functions;
compiled, nothing checks the index.
"""

# Numba calls an intrinsic without its first parameter.
# pyright: reportCallIssue=false

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

REGISTER_BYTES = 64 if binding.get_host_cpu_features().get("avx512f") else 32


def lanes(x):
    """Return how many elements of x's dtype a vector holds: 16 float32 with AVX-512, else 8; half as many float64."""
    return REGISTER_BYTES // x.itemsize


def load(x, index):
    """Return x[index : index + lanes] as a vector."""
    return x[index : index + lanes(x)].copy()


def store(x, index, vector):
    """x[index : index + lanes] = vector"""
    x[index : index + lanes(x)] = vector


def splat(value):
    """Return a vector with the same value in every lane."""
    return np.full(lanes(value), value, value.dtype)


def fma(a, b, c):
    """Return a * b + c, lane by lane, rounded once when compiled (fused multiply-add)."""
    return a * b + c


def larger(a, b):
    """Return the larger of a and b, lane by lane; NaN in a or b stays."""
    return np.where((a > b) | (a != a), a, b)


def lane_sum(vector):
    """Return the sum of all lanes."""
    return vector.sum(dtype=vector.dtype)


class VectorType(types.Type):
    """Numba's name for a vector: its dtype and its number of lanes."""

    def __init__(self, dtype):
        self.dtype, self.lanes = dtype, REGISTER_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"vector({dtype} x {self.lanes})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    """A vector is an LLVM vector value: it lives in a register, never in an array."""

    def __init__(self, manager, vector_type):
        element = manager.lookup(vector_type.dtype).get_data_type()
        super().__init__(manager, vector_type, ir.VectorType(element, vector_type.lanes))


def _vector_pointer(context, builder, signature, args, vector_type):
    """Return the address of element args[1] of array args[0], as a pointer to a vector."""
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.bitcast(builder.gep(data, [args[1]]), vector_type.as_pointer())


def _call_llvm(builder, name, result, arguments, **flags):
    """Call an LLVM intrinsic."""
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments, **flags)


@intrinsic
def _load(typing, x, index):
    vector = VectorType(x.dtype)

    def generate(context, builder, signature, args):
        instruction = builder.load(_vector_pointer(context, builder, signature, args, context.get_data_type(vector)))
        instruction.align = x.dtype.bitwidth // 8  # an array starts where it starts
        return instruction

    return vector(x, types.intp), generate


@intrinsic
def _store(typing, x, index, vector):
    def generate(context, builder, signature, args):
        instruction = builder.store(args[2], _vector_pointer(context, builder, signature, args, args[2].type))
        instruction.align = x.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(x, types.intp, vector), generate


@intrinsic
def _splat(typing, value):
    vector = VectorType(value)

    def generate(context, builder, signature, args):
        kind = context.get_data_type(vector)
        nothing = ir.Constant(kind, ir.Undefined)
        first = builder.insert_element(nothing, args[0], ir.Constant(ir.IntType(32), 0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
        return builder.shuffle_vector(first, nothing, everywhere)

    return vector(value), generate


@intrinsic
def _fma(typing, a, b, c):
    def generate(context, builder, signature, args):
        return _call_llvm(builder, f"llvm.fma.v{a.lanes}f{a.dtype.bitwidth}", args[0].type, args)

    return a(a, b, c), generate


@intrinsic
def _larger(typing, a, b):
    def generate(context, builder, signature, args):
        greater = builder.fcmp_ordered(">", args[0], args[1])
        not_a_number = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(builder.or_(greater, not_a_number), args[0], args[1])

    return a(a, b), generate


@intrinsic
def _lane_sum(typing, vector):
    def generate(context, builder, signature, args):
        kind = args[0].type
        name = f"llvm.vector.reduce.fadd.v{kind.count}f{vector.dtype.bitwidth}"
        zero = ir.Constant(kind.element, 0.0)
        return _call_llvm(builder, name, kind.element, [zero, args[0]], fastmath=("reassoc",))

    return vector.dtype(vector), generate


@overload(lanes)
def _lanes_compiled(x):
    count = REGISTER_BYTES * 8 // getattr(x, "dtype", x).bitwidth
    return lambda x: count


@overload(load)
def _load_compiled(x, index):
    return lambda x, index: _load(x, index)


@overload(store)
def _store_compiled(x, index, vector):
    return lambda x, index, vector: _store(x, index, vector)


@overload(splat)
def _splat_compiled(value):
    return lambda value: _splat(value)


@overload(fma)
def _fma_compiled(a, b, c):
    return lambda a, b, c: _fma(a, b, c)


@overload(larger)
def _larger_compiled(a, b):
    return lambda a, b: _larger(a, b)


@overload(lane_sum)
def _lane_sum_compiled(vector):
    return lambda vector: _lane_sum(vector)
