"""Numbers that the threads of one kernel share: int64 flags and counters, by which they agree on who does what.

They order memory: what a thread wrote before it changed a number is seen by a thread that then reads the new one.
"""

from llvmlite import ir
from numba import types

from recvec.kernels.simd import element, intrinsic

_WORD = 8  # bytes
_NUMBERS = types.Array(types.int64, 1, "C")


@intrinsic
def peek(typing, numbers, at):
    """``peek(numbers, at)``: what a number is now."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(element(context, builder, numbers, *arguments), "acquire", _WORD)

    return types.int64(_NUMBERS, types.intp), generate


@intrinsic
def publish(typing, numbers, at, value):
    """``publish(numbers, at, value)``: set a number, after all that was written before."""

    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[2], element(context, builder, numbers, *arguments[:2]), "release", _WORD)
        return context.get_dummy_value()

    return types.void(_NUMBERS, types.intp, types.int64), generate


@intrinsic
def claim(typing, numbers, at):
    """``claim(numbers, at)``: add 1 to a number, and return what it was."""

    def generate(context, builder, signature, arguments):
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", element(context, builder, numbers, *arguments), one, "seq_cst")

    return types.int64(_NUMBERS, types.intp), generate


@intrinsic
def take(typing, numbers, at, old, new):
    """``take(numbers, at, old, new)``: set a number to `new` if it is `old`, and say whether it was."""

    def generate(context, builder, signature, arguments):
        address = element(context, builder, numbers, *arguments[:2])
        answer = builder.cmpxchg(address, arguments[2], arguments[3], "acq_rel", "acquire")
        return builder.extract_value(answer, 1)

    return types.boolean(_NUMBERS, types.intp, types.int64, types.int64), generate
