"""What gradient kernels of factorization machines need beside `kernels.simd`: products of rows, and counters that threads share.

Counters order memory: what a thread wrote before it `claim`s is seen by a thread that `peek`s the new number.
"""

from llvmlite import ir
from numba import types

from recvec.kernels.simd import element, intrinsic, pack, unpack


@intrinsic
def add_product(typing, total, x, y):
    """``add_product(total, x, y)``: ``total + x * y``, number by number."""

    def generate(context, builder, signature, arguments):
        sums = []
        for z, a, b in zip(*(unpack(builder, row) for row in arguments), strict=True):
            sums.append(builder.fadd(z, builder.fmul(a, b)))
        return pack(context, builder, signature.return_type, sums)

    return total(total, x, y), generate


@intrinsic
def claim(typing, counters, at):
    """``claim(counters, at)``: add 1 to an int64 counter, and return what it was."""

    def generate(context, builder, signature, arguments):
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", element(context, builder, counters, *arguments), one, "seq_cst")

    return types.int64(types.Array(types.int64, 1, "C"), types.intp), generate


@intrinsic
def peek(typing, counters, at):
    """``peek(counters, at)``: what a counter is now."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(element(context, builder, counters, *arguments), "acquire", 8)

    return types.int64(types.Array(types.int64, 1, "C"), types.intp), generate
