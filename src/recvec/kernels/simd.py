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

from recvec.kernels.compiled import compiled_exactly

LANES = 16

intrinsic: Any = numba.extending.intrinsic  # as called from Python it has one argument more than from a kernel

_FLOAT = ir.FloatType()
VECTOR = ir.VectorType(_FLOAT, LANES)
INT = ir.IntType(32)


class _Lanes(types.Type):
    """Sixteen float32 numbers in one register."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, VECTOR)


_lanes = _Lanes()


def _check(matrix):
    """Refuse, while compiling, what is not a C-contiguous float32 matrix."""
    if not isinstance(matrix, types.Array) or (matrix.dtype, matrix.ndim, matrix.layout) != (types.float32, 2, "C"):
        raise TypingError(f"{matrix} is not a C-contiguous matrix of float32")


def _address(context, builder, matrix_type, matrix, row, width):
    """Return the address of ``matrix[row, 0]`` as a pointer to vectors."""
    data = context.make_array(matrix_type)(context, builder, matrix).data
    step = ir.Constant(row.type, width)
    return builder.bitcast(builder.gep(data, [builder.mul(row, step)]), ir.PointerType(VECTOR))


def element(context, builder, kind, array, index):
    """Return the address of element `index` of a C-contiguous array, counted from its beginning."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def splat(builder, number):
    """Return a vector of sixteen times the number."""
    undefined = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(INT, LANES), [0] * LANES))


def multiply_add(builder, x, y, z):
    """Return ``x * y + z``, rounded once."""
    kind = x.type
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{LANES}f32")
    return builder.call(function, [x, y, z])


def _pick(builder, x, y, lanes):
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(INT, len(lanes)), lanes))


def _add_neighbours(builder, x, distance):
    """Return x plus itself with runs of `distance` lanes swapped: repeated for 8, 4, 2, 1, every lane holds the sum."""
    swapped = _pick(builder, x, x, [lane ^ distance for lane in range(LANES)])
    return builder.fadd(x, swapped)


def _interleave(builder, x, y, width):
    """Return a vector whose every run of `2 * width` lanes holds partial sums of x, then of y, `width` lanes each."""
    low, high = [], []
    for run in range(0, LANES, 2 * width):
        for source in (0, LANES):
            low += [source + run + lane for lane in range(width)]
            high += [source + run + width + lane for lane in range(width)]
    return builder.fadd(_pick(builder, x, y, low), _pick(builder, x, y, high))


def unpack(builder, row):
    """Return the vectors of a tuple."""
    return [builder.extract_value(row, at) for at in range(row.type.count)]


def pack(context, builder, kind, vectors):
    """Return a tuple of vectors."""
    return context.make_tuple(builder, kind, vectors)


def _without_owner(context, builder, kind, value):
    if isinstance(kind, types.Array):
        view = context.make_array(kind)(context, builder, value)
        view.meminfo, view.parent = (ir.Constant(pointer.type, None) for pointer in (view.meminfo, view.parent))
        return view._getvalue()  # noqa: SLF001  how numba's own code reads the struct
    if isinstance(kind, types.BaseTuple):
        kinds = enumerate(kind.types)  # type: ignore[attr-defined]
        parts = [_without_owner(context, builder, part, builder.extract_value(value, at)) for at, part in kinds]
        return pack(context, builder, kind, parts)
    return value


@intrinsic
def borrowed(typing, arrays):
    """``borrowed(arrays)``: the same array, or tuple of arrays, without an owner, so that no loop counts references to it.

    For what the caller of a kernel keeps alive, never for arrays that a kernel makes. Counting is an atomic operation, and
    takes most of the time where a loop hands arrays to a function or takes them out of a tuple.
    """

    def generate(context, builder, signature, arguments):
        return _without_owner(context, builder, arrays, arguments[0])

    return arrays(arrays), generate


@intrinsic
def four(typing, array, at):
    """``four(array, at)``: the numbers ``array[at], ..., array[at + 3]``, without the test for a negative index."""

    def generate(context, builder, signature, arguments):
        first = element(context, builder, array, *arguments)
        numbers = [builder.load(builder.gep(first, [ir.Constant(INT, at)])) for at in range(4)]
        return context.make_tuple(builder, signature.return_type, numbers)

    return types.UniTuple(array.dtype, 4)(array, types.intp), generate


@intrinsic
def load(typing, chunks, matrix, row):
    """``load(chunks, matrix, row)``: the row of a float32 (n, 16 * len(chunks)) matrix, as vectors."""
    count = len(chunks)
    _check(matrix)

    def generate(context, builder, signature, arguments):
        _, matrix_value, row_value = arguments
        base = _address(context, builder, matrix, matrix_value, row_value, LANES * count)
        vectors = []
        for at in range(count):
            vector = builder.load(builder.gep(base, [ir.Constant(INT, at)]))
            vector.align = 4
            vectors.append(vector)
        return pack(context, builder, signature.return_type, vectors)

    return types.UniTuple(_lanes, count)(chunks, matrix, types.intp), generate


@intrinsic
def store(typing, matrix, row, vectors):
    """``store(matrix, row, vectors)``: write the vectors to a row of the matrix."""
    _check(matrix)

    def generate(context, builder, signature, arguments):
        matrix_value, row_value, value = arguments
        base = _address(context, builder, matrix, matrix_value, row_value, LANES * len(vectors))
        for at, vector in enumerate(unpack(builder, value)):
            builder.store(vector, builder.gep(base, [ir.Constant(INT, at)]), align=4)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, vectors), generate


@intrinsic
def add_scaled(typing, total, weight, row):
    """``add_scaled(total, weight, row)``: ``total + weight * row``."""

    def generate(context, builder, signature, arguments):
        totals, vectors = unpack(builder, arguments[0]), unpack(builder, arguments[2])
        scale = splat(builder, arguments[1])
        sums = [multiply_add(builder, scale, x, z) for x, z in zip(vectors, totals, strict=True)]
        return pack(context, builder, signature.return_type, sums)

    return total(total, types.float32, row), generate


@intrinsic
def add_product(typing, total, x, y):
    """``add_product(total, x, y)``: ``total + x * y``, number by number."""

    def generate(context, builder, signature, arguments):
        totals, left, right = (unpack(builder, row) for row in arguments)
        sums = [multiply_add(builder, a, b, z) for z, a, b in zip(totals, left, right, strict=True)]
        return pack(context, builder, signature.return_type, sums)

    return total(total, x, y), generate


@intrinsic
def add_outer(typing, total, weights, first, step, row):
    """``add_outer(total, weights, first, step, row)``: vector a of `total` plus ``weights[first + a * step] * row``."""
    kind = types.Array(types.float32, 1, "C")
    if weights != kind or row.count != 1:
        raise TypingError(f"{weights} is no contiguous vector of float32, or {row} is more than one vector")

    def generate(context, builder, signature, arguments):
        totals, (vector,) = unpack(builder, arguments[0]), unpack(builder, arguments[4])
        address = element(context, builder, weights, *arguments[1:3])
        sums = []
        for vector_sum in totals:
            sums.append(multiply_add(builder, splat(builder, builder.load(address)), vector, vector_sum))
            address = builder.gep(address, [arguments[3]])
        return pack(context, builder, signature.return_type, sums)

    return total(total, weights, types.intp, types.intp, row), generate


def _prefetch(builder, address):
    """Ask for the cache line of an address, to read and to keep; it may lie beyond the end of an array."""
    byte = ir.PointerType(ir.IntType(8))
    kind = ir.FunctionType(ir.VoidType(), [byte, INT, INT, INT])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(address, byte), *(ir.Constant(INT, flag) for flag in (0, 3, 1))])


@intrinsic
def fetch_early(typing, array, at):
    """``fetch_early(array, at)``: begin to bring the cache line of ``array[at]``, which may lie beyond the end."""

    def generate(context, builder, signature, arguments):
        _prefetch(builder, element(context, builder, array, *arguments))
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def prefetch(typing, chunks, matrix, row):
    """``prefetch(chunks, matrix, row)``: begin to bring the row that `load` will read."""
    _check(matrix)

    def generate(context, builder, signature, arguments):
        base = _address(context, builder, matrix, arguments[1], arguments[2], LANES * len(chunks))
        for at in range(len(chunks)):
            _prefetch(builder, builder.gep(base, [ir.Constant(INT, at)]))
        return context.get_dummy_value()

    return types.void(chunks, matrix, types.intp), generate


def _dot_lanes(builder, x, y):
    """Return the products of two rows, added up lane by lane."""
    total = builder.fmul(x[0], y[0])
    for a, b in zip(x[1:], y[1:], strict=True):
        total = multiply_add(builder, a, b, total)
    return total


@intrinsic
def dot(typing, x, y):
    """``dot(x, y)``: the inner product of two rows."""

    def generate(context, builder, signature, arguments):
        total = _dot_lanes(builder, *(unpack(builder, value) for value in arguments))
        for distance in (8, 4, 2, 1):
            total = _add_neighbours(builder, total, distance)
        return builder.extract_element(total, ir.Constant(INT, 0))

    return types.float32(x, y), generate


@intrinsic
def dot4(typing, x, y0, y1, y2, y3):
    """``dot4(x, y0, y1, y2, y3)``: four inner products with x; the sums across lanes share their shuffles."""

    def generate(context, builder, signature, arguments):
        left, *rows = (unpack(builder, value) for value in arguments)
        s0, s1, s2, s3 = (_dot_lanes(builder, left, row) for row in rows)
        pairs = _interleave(builder, s0, s1, 8), _interleave(builder, s2, s3, 8)  # 8 lanes of one, 8 of the other
        total = _interleave(builder, *pairs, 4)  # four lanes of s0, of s2, of s1, of s3
        for distance in (2, 1):
            total = _add_neighbours(builder, total, distance)
        sums = [builder.extract_element(total, ir.Constant(INT, lane)) for lane in (0, 8, 4, 12)]
        return pack(context, builder, signature.return_type, sums)

    return types.UniTuple(types.float32, 4)(x, y0, y1, y2, y3), generate


def panel(width: int) -> tuple[int, ...]:
    """Return `chunks` of the widest panel, up to 64 numbers, that divides a row of `width`, a multiple of `LANES`."""
    return (0,) * next(n for n in (4, 3, 2, 1) if width % (n * LANES) == 0)


@compiled_exactly
def panels(chunks, matrix):
    """Return the matrix with rows as wide as `chunks`: some of them, one after the other, are a row."""
    return matrix.reshape((-1, LANES * len(chunks)))
