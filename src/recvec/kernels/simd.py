"""Rows of float32 numbers held in registers, for numba kernels: explicit vector instructions through llvmlite.

A row is a tuple of vectors of 16 numbers; how many is known while compiling, from the length of a tuple of zeros
that callers pass on as `chunks`: ``(0,) * 4`` stands for 64 numbers. So a module-level function compiles once per width
and lies in numba's cache on disk, which functions built by closures do not. LLVM makes 512-bit instructions of a
vector where the processor has them, whatever its own preference for loops, and splits it where it has not.

`load` and `store` take one row of a C-contiguous matrix. They check no bounds.
"""

from typing import Any

import numba.extending
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import models, register_model

from recvec.kernels.compiled import REASSOCIATE

LANES = 16

_intrinsic: Any = numba.extending.intrinsic  # as called from Python it has one argument more than from a kernel

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INT = ir.IntType(32)


class _Lanes(types.Type):
    """Sixteen float32 numbers in one register."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _VECTOR)


_lanes = _Lanes()


def _check(matrix):
    """Refuse, while compiling, what is not a C-contiguous float32 matrix."""
    if not isinstance(matrix, types.Array) or (matrix.dtype, matrix.ndim, matrix.layout) != (types.float32, 2, "C"):
        raise TypingError(f"{matrix} is not a C-contiguous matrix of float32")


def _address(context, builder, matrix_type, matrix, row, width):
    """Return the address of ``matrix[row, 0]`` as a pointer to vectors."""
    data = context.make_array(matrix_type)(context, builder, matrix).data
    step = ir.Constant(row.type, width)
    return builder.bitcast(builder.gep(data, [builder.mul(row, step)]), ir.PointerType(_VECTOR))


def _splat(builder, number):
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES))


def _multiply_add(builder, x, y, z):
    """Return ``x * y + z``, rounded once."""
    kind = x.type
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{LANES}f32")
    return builder.call(function, [x, y, z])


def _pick(builder, x, y, lanes):
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(_INT, len(lanes)), lanes))


def _add_neighbours(builder, x, distance):
    """Return x plus itself with runs of `distance` lanes swapped: repeated for 8, 4, 2, 1, every lane holds the sum."""
    swapped = _pick(builder, x, x, [lane ^ distance for lane in range(LANES)])
    return builder.fadd(x, swapped, flags=REASSOCIATE)


def _interleave(builder, x, y, width):
    """Return a vector whose every run of `2 * width` lanes holds partial sums of x, then of y, `width` lanes each."""
    low, high = [], []
    for run in range(0, LANES, 2 * width):
        for source in (0, LANES):
            low += [source + run + lane for lane in range(width)]
            high += [source + run + width + lane for lane in range(width)]
    return builder.fadd(_pick(builder, x, y, low), _pick(builder, x, y, high), flags=REASSOCIATE)


def _unpack(builder, row):
    return [builder.extract_value(row, at) for at in range(row.type.count)]


def _pack(context, builder, kind, vectors):
    return context.make_tuple(builder, kind, vectors)


@_intrinsic
def four(typing, array, at):
    """``four(array, at)``: the numbers ``array[at], ..., array[at + 3]``, without the test for a negative index."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        first = builder.gep(data, [arguments[1]])
        numbers = [builder.load(builder.gep(first, [ir.Constant(_INT, at)])) for at in range(4)]
        return context.make_tuple(builder, signature.return_type, numbers)

    return types.UniTuple(array.dtype, 4)(array, types.intp), generate


@_intrinsic
def load(typing, chunks, matrix, row):
    """``load(chunks, matrix, row)``: the row of a float32 (n, 16 * len(chunks)) matrix, as vectors."""
    count = len(chunks)
    _check(matrix)

    def generate(context, builder, signature, arguments):
        _, matrix_value, row_value = arguments
        base = _address(context, builder, matrix, matrix_value, row_value, LANES * count)
        vectors = []
        for at in range(count):
            vector = builder.load(builder.gep(base, [ir.Constant(_INT, at)]))
            vector.align = 4
            vectors.append(vector)
        return _pack(context, builder, signature.return_type, vectors)

    return types.UniTuple(_lanes, count)(chunks, matrix, types.intp), generate


@_intrinsic
def store(typing, matrix, row, vectors):
    """``store(matrix, row, vectors)``: write the vectors to a row of the matrix."""
    _check(matrix)

    def generate(context, builder, signature, arguments):
        matrix_value, row_value, value = arguments
        base = _address(context, builder, matrix, matrix_value, row_value, LANES * len(vectors))
        for at, vector in enumerate(_unpack(builder, value)):
            builder.store(vector, builder.gep(base, [ir.Constant(_INT, at)]), align=4)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, vectors), generate


@_intrinsic
def add_scaled(typing, total, weight, row):
    """``add_scaled(total, weight, row)``: ``total + weight * row``."""

    def generate(context, builder, signature, arguments):
        totals, vectors = _unpack(builder, arguments[0]), _unpack(builder, arguments[2])
        scale = _splat(builder, arguments[1])
        sums = [_multiply_add(builder, scale, x, z) for x, z in zip(vectors, totals, strict=True)]
        return _pack(context, builder, signature.return_type, sums)

    return total(total, types.float32, row), generate


def _dot_lanes(builder, x, y):
    """Return the products of two rows, added up lane by lane."""
    total = builder.fmul(x[0], y[0], flags=REASSOCIATE)
    for a, b in zip(x[1:], y[1:], strict=True):
        total = _multiply_add(builder, a, b, total)
    return total


@_intrinsic
def dot(typing, x, y):
    """``dot(x, y)``: the inner product of two rows."""

    def generate(context, builder, signature, arguments):
        total = _dot_lanes(builder, *(_unpack(builder, value) for value in arguments))
        for distance in (8, 4, 2, 1):
            total = _add_neighbours(builder, total, distance)
        return builder.extract_element(total, ir.Constant(_INT, 0))

    return types.float32(x, y), generate


@_intrinsic
def dot4(typing, x, y0, y1, y2, y3):
    """``dot4(x, y0, y1, y2, y3)``: four inner products with x; the sums across lanes share their shuffles."""

    def generate(context, builder, signature, arguments):
        left, *rows = (_unpack(builder, value) for value in arguments)
        s0, s1, s2, s3 = (_dot_lanes(builder, left, row) for row in rows)
        pairs = _interleave(builder, s0, s1, 8), _interleave(builder, s2, s3, 8)  # 8 lanes of one, 8 of the other
        total = _interleave(builder, *pairs, 4)  # four lanes of s0, of s2, of s1, of s3
        for distance in (2, 1):
            total = _add_neighbours(builder, total, distance)
        sums = [builder.extract_element(total, ir.Constant(_INT, lane)) for lane in (0, 8, 4, 12)]
        return _pack(context, builder, signature.return_type, sums)

    return types.UniTuple(types.float32, 4)(x, y0, y1, y2, y3), generate


@_intrinsic
def prefetch(typing, chunks, matrix, row):
    """``prefetch(chunks, matrix, row)``: ask for the row that `load` will read, and go on without it."""
    _check(matrix)
    count = len(chunks)

    def generate(context, builder, signature, arguments):
        _, matrix_value, row_value = arguments
        base = _address(context, builder, matrix, matrix_value, row_value, LANES * count)
        pointer = ir.PointerType(ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [pointer, _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for at in range(count):
            address = builder.bitcast(builder.gep(base, [ir.Constant(_INT, at)]), pointer)
            builder.call(function, [address, *(ir.Constant(_INT, n) for n in (0, 3, 1))])  # to read, to keep, data
        return context.get_dummy_value()

    return types.void(chunks, matrix, types.intp), generate
