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

`loads`, `stores`, `splats`, `fmas` and `largest` do the same with a tuple of vectors, whose length is fixed when a kernel is
compiled: how many a kernel takes may depend on REGISTERS.
"""

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import models, register_model

from minigrad.kernels._kernel import inlined, instruction

REGISTER_BYTES = 64 if binding.get_host_cpu_features().get("avx512f") else 32

REGISTERS = 32 if REGISTER_BYTES == 64 else 16
"""So many vectors a core holds. What does not fit goes to memory and back each time, and takes several times as long."""


def lanes(x):
    """Return how many elements of x's dtype a vector holds: 16 float32 with AVX-512, else 8; half as many float64."""
    return REGISTER_BYTES // x.itemsize


def load(x, index):
    """Return x[index : index + lanes] as a vector."""
    return x[index : index + lanes(x)].copy()


def load_bytes(x, index, like):
    """Return as many numbers of x, which are bytes, as a vector of like's dtype."""
    return x[index : index + lanes(like)].astype(like.dtype)


def store(x, index, vector):
    """x[index : index + lanes] = vector; as bytes, if that is what x holds"""
    x[index : index + vector.size] = vector


def store_first(x, index, vector):
    """x[index] = the first lane of vector, likewise"""
    x[index] = vector[0]


def splat(value):
    """Return a vector with the same value in every lane."""
    return np.full(lanes(value), value, value.dtype)


def spread(x, index):
    """Return a vector with x[index] in every lane."""
    return splat(x[index])


def fma(a, b, c):
    """Return a * b + c, lane by lane, rounded once when compiled (fused multiply-add)."""
    return a * b + c


def larger(a, b):
    """Return the larger of a and b, lane by lane; NaN in a or b stays."""
    return np.where((a > b) | (a != a), a, b)


def larger_at(best, where, value, place):
    """Return the larger of best and value, lane by lane, and `place` where that is value, else `where`; NaN in value wins."""
    better = (value > best) | (value != value)
    return np.where(better, value, best), np.where(better, place, where)


def where_equal(a, b, vector):
    """Return `vector`, but 0 in the lanes in which a and b differ."""
    return np.where(a == b, vector, vector.dtype.type(0))


def lane_sum(vector):
    """Return the sum of all lanes."""
    return vector.sum(dtype=vector.dtype)


def multiples(step, count):
    """Return (0, step, 2 * step, ...), `count` of them (a constant)."""
    return tuple(k * step for k in range(count))


def as_tuple(places, count):
    """Return the first `count` (a constant) places of an array."""
    return tuple(places[:count])


def loads(x, at, apart):
    """Return a vector of x for each place of the tuple `apart`, counted from `at`."""
    return tuple(load(x, at + place) for place in apart)


def stores(x, at, apart, vectors):
    """Write each vector of a tuple to its place of the tuple `apart`, counted from `at`."""
    for place, vector in zip(apart, vectors, strict=True):
        store(x, at + place, vector)


def splats(value, count):
    """Return a tuple of `count` (a constant) vectors that hold the same value in every lane."""
    return (splat(value),) * count


def fmas(a, b, c):
    """Return fma(a, b[k], c[k]) for each vector of the tuples b and c."""
    return tuple(fma(a, *pair) for pair in zip(b, c, strict=True))


def largest(vectors, least):
    """Return the largest of `least` and a tuple of vectors, lane by lane; NaN stays."""
    for vector in vectors:
        least = larger(vector, least)
    return least


@inlined
def get(x, index, alone):
    """Load a vector, or with `alone` one number into every lane."""
    return spread(x, index) if alone else load(x, index)


@inlined
def put(x, index, vector, alone):
    """Store a vector, or with `alone` only its first lane."""
    if alone:
        store_first(x, index, vector)
    else:
        store(x, index, vector)


class VectorType(types.Type):
    """Numba's name for a vector: its dtype and its number of lanes."""

    def __init__(self, dtype):
        if isinstance(dtype, types.Complex):
            raise TypingError(f"there are no vectors of {dtype}")
        self.dtype, self.lanes = dtype, REGISTER_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"vector({dtype} x {self.lanes})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    """A vector is an LLVM vector value: it lives in a register, never in an array."""

    def __init__(self, manager, vector_type):
        element = manager.lookup(vector_type.dtype).get_data_type()
        super().__init__(manager, vector_type, ir.VectorType(element, vector_type.lanes))


def _vector_pointer(context, builder, array_type, array, index, vector_type):
    """Return the address of an element of an array, as a pointer to a vector."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector_type.as_pointer())


def _build_load(context, builder, array_type, array, index):
    vector_type = context.get_data_type(VectorType(array_type.dtype))
    instruction = builder.load(_vector_pointer(context, builder, array_type, array, index, vector_type))
    instruction.align = array_type.dtype.bitwidth // 8  # an array starts where it starts
    return instruction


def _build_store(context, builder, array_type, array, index, vector):
    if array_type.dtype == types.uint8:
        vector = builder.fptoui(vector, ir.VectorType(ir.IntType(8), vector.type.count))
    pointer = _vector_pointer(context, builder, array_type, array, index, vector.type)
    builder.store(vector, pointer).align = array_type.dtype.bitwidth // 8


def _build_splat(context, builder, dtype, value):
    kind = context.get_data_type(VectorType(dtype))
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
    return builder.shuffle_vector(first, nothing, everywhere)


def _build_fma(builder, a, b, c):
    name = f"llvm.fma.v{a.type.count}{'f32' if a.type.element == ir.FloatType() else 'f64'}"
    return _call_llvm(builder, name, a.type, [a, b, c])


def _build_is_larger(builder, a, b):
    """Return for each lane whether a is larger than b, or not a number."""
    return builder.or_(builder.fcmp_ordered(">", a, b), builder.fcmp_unordered("uno", a, a))


def _build_larger(builder, a, b):
    return builder.select(_build_is_larger(builder, a, b), a, b)


def _call_llvm(builder, name, result, arguments, **flags):
    """Call an LLVM intrinsic."""
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments, **flags)


@instruction(lanes)
def _lanes(x):
    count = VectorType(getattr(x, "dtype", x)).lanes
    return types.intp(x), lambda context, *_: context.get_constant(types.intp, count)


@instruction(load)
def _load(x, index):
    def generate(context, builder, signature, args):
        return _build_load(context, builder, x, *args)

    return VectorType(x.dtype)(x, types.intp), generate


@instruction(load_bytes)
def _load_bytes(x, index, like):
    def generate(context, builder, signature, args):
        kind = context.get_data_type(signature.return_type)
        octets = builder.load(
            _vector_pointer(context, builder, x, args[0], args[1], ir.VectorType(ir.IntType(8), kind.count))
        )
        octets.align = 1
        return builder.uitofp(octets, kind)

    return VectorType(like.dtype)(x, types.intp, like), generate


@instruction(store)
def _store(x, index, vector):
    def generate(context, builder, signature, args):
        _build_store(context, builder, x, *args)
        return context.get_dummy_value()

    return types.void(x, types.intp, vector), generate


@instruction(store_first)
def _store_first(x, index, vector):
    def generate(context, builder, signature, args):
        first = ir.Constant(ir.VectorType(ir.IntType(32), 1), [0])
        _build_store(context, builder, x, args[0], args[1], builder.shuffle_vector(args[2], args[2], first))
        return context.get_dummy_value()

    return types.void(x, types.intp, vector), generate


@instruction(splat)
def _splat(value):
    def generate(context, builder, signature, args):
        return _build_splat(context, builder, value, args[0])

    return VectorType(value)(value), generate


@instruction(spread)
def _spread(x, index):
    def generate(context, builder, signature, args):
        data = context.make_array(x)(context, builder, args[0]).data
        return _build_splat(context, builder, x.dtype, builder.load(builder.gep(data, [args[1]])))

    return VectorType(x.dtype)(x, types.intp), generate


@instruction(fma)
def _fma(a, b, c):
    def generate(context, builder, signature, args):
        return _build_fma(builder, *args)

    return a(a, b, c), generate


@instruction(larger)
def _larger(a, b):
    def generate(context, builder, signature, args):
        return _build_larger(builder, *args)

    return a(a, b), generate


@instruction(larger_at)
def _larger_at(best, where, value, place):
    def generate(context, builder, signature, args):
        better = _build_is_larger(builder, args[2], args[0])
        chosen = [builder.select(better, new, old) for new, old in ((args[2], args[0]), (args[3], args[1]))]
        return context.make_tuple(builder, signature.return_type, chosen)

    return types.UniTuple(best, 2)(best, where, value, place), generate


@instruction(where_equal)
def _where_equal(a, b, vector):
    def generate(context, builder, signature, args):
        zero = ir.Constant(args[2].type, None)
        return builder.select(builder.fcmp_ordered("==", *args[:2]), args[2], zero)

    return vector(a, b, vector), generate


@instruction(lane_sum)
def _lane_sum(vector):
    def generate(context, builder, signature, args):
        kind = args[0].type
        name = f"llvm.vector.reduce.fadd.v{kind.count}f{vector.dtype.bitwidth}"
        zero = ir.Constant(kind.element, 0.0)
        return _call_llvm(builder, name, kind.element, [zero, args[0]], fastmath=("reassoc",))

    return vector.dtype(vector), generate


def _items(builder, values):
    """Return the values that a tuple holds."""
    return [builder.extract_value(values, k) for k in range(values.type.count)]


@instruction(multiples, constant=True)
def _multiples(step, count):
    def generate(context, builder, signature, args):
        places = [builder.mul(args[0], ir.Constant(args[0].type, k)) for k in range(count.literal_value)]
        return context.make_tuple(builder, signature.return_type, places)

    return types.UniTuple(types.intp, count.literal_value)(types.intp, count), generate


@instruction(as_tuple, constant=True)
def _as_tuple(places, count):
    def generate(context, builder, signature, args):
        data = context.make_array(places)(context, builder, args[0]).data
        items = [builder.load(builder.gep(data, [ir.Constant(ir.IntType(64), k)])) for k in range(count.literal_value)]
        return context.make_tuple(builder, signature.return_type, items)

    return types.UniTuple(types.intp, count.literal_value)(places, count), generate


@instruction(loads)
def _loads(x, at, apart):
    def generate(context, builder, signature, args):
        places = [builder.add(args[1], place) for place in _items(builder, args[2])]
        vectors = [_build_load(context, builder, x, args[0], place) for place in places]
        return context.make_tuple(builder, signature.return_type, vectors)

    return types.UniTuple(VectorType(x.dtype), apart.count)(x, types.intp, apart), generate


@instruction(stores)
def _stores(x, at, apart, vectors):
    def generate(context, builder, signature, args):
        for place, vector in zip(_items(builder, args[2]), _items(builder, args[3]), strict=True):
            _build_store(context, builder, x, args[0], builder.add(args[1], place), vector)
        return context.get_dummy_value()

    return types.void(x, types.intp, apart, vectors), generate


@instruction(splats, constant=True)
def _splats(value, count):
    def generate(context, builder, signature, args):
        vectors = [_build_splat(context, builder, value, args[0])] * count.literal_value
        return context.make_tuple(builder, signature.return_type, vectors)

    return types.UniTuple(VectorType(value), count.literal_value)(value, count), generate


@instruction(fmas)
def _fmas(a, b, c):
    def generate(context, builder, signature, args):
        pairs = zip(_items(builder, args[1]), _items(builder, args[2]), strict=True)
        return context.make_tuple(
            builder, signature.return_type, [_build_fma(builder, args[0], *pair) for pair in pairs]
        )

    return c(a, b, c), generate


@instruction(largest)
def _largest(vectors, least):
    def generate(context, builder, signature, args):
        largest = args[1]
        for vector in _items(builder, args[0]):
            largest = _build_larger(builder, vector, largest)
        return largest

    return least(vectors, least), generate
