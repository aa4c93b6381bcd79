"""One instruction for four products: AVX512-VNNI's VPDPBUSD, and what else kernels do with vectors of int32.

A vector here is 16 int32, of 16 images or of 16 output channels (see `minigrad.kernels.vector`). The instruction looks at
each int32 as four bytes, those of x unsigned and those of w signed, multiplies them one by one and adds the four products to
a third vector:

    lane of c  +=  x0 * w0 + x1 * w1 + x2 * w2 + x3 * w3        64 multiply-adds at once

Nothing saturates, and sums wrap around in int32 just as ordinary additions do. Since x has to be unsigned, activations q are
kept as q + 128 here; the 128 * sum of w that this adds to a sum is taken off the bias, so that not a bit changes.

As in `minigrad.kernels.vector`, each function stands here twice: as Python for arrays, and as LLVM instructions.
"""

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from minigrad.kernels._kernel import instruction

from .vectors import define

LANES = 16
"""Numbers of a vector: AVX-512 has 512 bits."""

AVAILABLE = bool(binding.get_host_cpu_features().get("avx512vnni"))
"""Whether this CPU has the instruction."""


def dot4(c, x, w):
    """Return c + the sum of four products, lane by lane: bytes of x unsigned, of w signed."""
    products = x.view(np.uint8).astype(np.int32) * w.view(np.int8)
    return c + products.reshape(-1, 4).sum(axis=1, dtype=np.int32)


def scale(c, q, bits):
    """Return (c * q + 2**(bits - 1)) >> bits, computed in int64."""
    return ((c.astype(np.int64) * int(q) + (1 << (int(bits) - 1))) >> int(bits)).astype(np.int32)


def shift_left(x, bits):
    """Return x * 2**bits."""
    return x << np.int32(bits)


def shift_right(x, bits):
    """Return x / 2**bits, as if x were unsigned: zeros come in at the top."""
    return (x.view(np.uint32) >> np.uint32(bits)).view(np.int32)


def shift_right_rounded(x, bits):
    """Return x / 2**bits, ties away from zero: `arithmetic.rounding_divide_by_power_of_two`."""
    mask = np.int32((1 << int(bits)) - 1)
    return (x >> np.int32(bits)) + ((x & mask) > (mask >> 1) + (x < 0)).astype(np.int32)


def clamp(x, zero, low, high):
    """Return x + zero, limited to low ... high."""
    return np.minimum(np.maximum(x + np.int32(zero), np.int32(low)), np.int32(high))


def larger(x, y):
    """Return the larger of x and y, lane by lane."""
    return np.maximum(x, y)


def join(x, y, bits):
    """Return x | y << bits: y's byte beside x's."""
    return x | y << np.int32(bits)


def low_bits(x, bits):
    """Return the lowest bits of x, 0 to 31 of them."""
    return x & np.int32((1 << int(bits)) - 1)


def load_word(octets, index):
    """Return four neighbouring bytes as an int32, the first one lowest.

    octets: uint8, flat and contiguous
    """
    return octets[index : index + 4].view(np.int32)[0]


def _wide(builder, value, kind):
    """Return a number in every lane."""
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


def _narrowed(builder, number, kind):
    """Return an integer of any width as int32 in every lane."""
    if number.type.width != 32:
        number = (
            builder.trunc(number, ir.IntType(32)) if number.type.width > 32 else builder.sext(number, ir.IntType(32))
        )
    return _wide(builder, number, kind)


def _dot4(builder, args):
    """c, x, w -> one VPDPBUSD. LLVM knows it by this name; its operands are vectors of int32."""
    if not AVAILABLE:
        return _dot4_anywhere(builder, args)
    kind = args[0].type
    function_type = ir.FunctionType(kind, [kind, kind, kind])
    name = "llvm.x86.avx512.vpdpbusd.512"
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def _dot4_anywhere(builder, args):
    """The same by what any CPU has: byte after byte is moved to the top of its lane, and back with zeros or its sign."""
    c, x, w = args
    for byte in range(4):
        left, right = (_wide(builder, ir.Constant(ir.IntType(32), bits), c.type) for bits in (24 - 8 * byte, 24))
        octet, factor = builder.lshr(builder.shl(x, left), right), builder.ashr(builder.shl(w, left), right)
        c = builder.add(c, builder.mul(octet, factor))
    return c


def _scale(builder, args):
    """Widen the lanes to int64, multiply, add half of what is shifted out, shift, and narrow them again."""
    c, q, bits = args
    wide, number = ir.VectorType(ir.IntType(64), c.type.count), ir.IntType(64)
    q, bits = (x if x.type.width == 64 else builder.sext(x, number) for x in (q, bits))
    half = builder.shl(ir.Constant(number, 1), builder.sub(bits, ir.Constant(number, 1)))
    product = builder.mul(builder.sext(c, wide), _wide(builder, q, wide))
    total = builder.add(product, _wide(builder, half, wide))
    return builder.trunc(builder.ashr(total, _wide(builder, bits, wide)), c.type)


def _shift_right_rounded(builder, args):
    x, bits = args[0], _narrowed(builder, args[1], args[0].type)
    one = _wide(builder, ir.Constant(ir.IntType(32), 1), x.type)
    mask = builder.sub(builder.shl(one, bits), one)
    negative = builder.lshr(x, _wide(builder, ir.Constant(ir.IntType(32), 31), x.type))  # 1 where x < 0
    threshold = builder.add(builder.lshr(mask, one), negative)
    up = builder.icmp_signed(">", builder.and_(x, mask), threshold)
    return builder.add(builder.ashr(x, bits), builder.zext(up, x.type))


def _larger(builder, args):
    return builder.select(builder.icmp_signed(">", args[0], args[1]), args[0], args[1])


def _clamp(builder, args):
    zero, low, high = (_narrowed(builder, number, args[0].type) for number in args[1:])
    x = _larger(builder, [builder.add(args[0], zero), low])
    return builder.select(builder.icmp_signed("<", x, high), x, high)


def _shift_left(builder, args):
    return builder.shl(args[0], _narrowed(builder, args[1], args[0].type))


def _shift_right(builder, args):
    return builder.lshr(args[0], _narrowed(builder, args[1], args[0].type))


def _join(builder, args):
    return builder.or_(args[0], builder.shl(args[1], _narrowed(builder, args[2], args[0].type)))


def _low_bits(builder, args):
    one = ir.Constant(ir.IntType(32), 1)
    bits = args[1] if args[1].type.width == 32 else builder.trunc(args[1], ir.IntType(32))
    return builder.and_(args[0], _wide(builder, builder.sub(builder.shl(one, bits), one), args[0].type))


@instruction(load_word)
def _load_word(octets, index):
    def generate(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(32).as_pointer())
        word = builder.load(place)
        word.align = 1  # anywhere
        return word

    return types.int32(octets, types.intp), generate


for function, instructions in {
    dot4: _dot4, scale: _scale, shift_left: _shift_left, shift_right: _shift_right, shift_right_rounded: _shift_right_rounded,
    clamp: _clamp, larger: _larger, join: _join, low_bits: _low_bits,
}.items():  # fmt: skip
    define(function, instructions)
