"""Rows of float32 numbers held in registers, for numba kernels: explicit vector instructions through llvmlite.

A row is a tuple of vectors of 16 numbers; how many is known while compiling, from the length of a tuple of zeros
that callers pass on as `chunks`: ``(0,) * 4`` stands for 64 numbers. So a module-level function compiles once per width
and lies in numba's cache on disk, which functions built by closures do not. LLVM makes 512-bit instructions of a
vector where the processor has them, whatever its own preference for loops, and splits it where it has not.

`load` and `store` take one row of a C-contiguous matrix. They check no bounds.
"""

from typing import Any

import numba.extending
from llvmlite import binding, ir
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


@_intrinsic
def add_outer(typing, total, weights, first, step, row):
    """``add_outer(total, weights, first, step, row)``: vector a of `total` plus ``weights[first + a * step] * row``."""
    kind = types.Array(types.float32, 1, "C")
    if weights != kind or row.count != 1:
        raise TypingError(f"{weights} is no contiguous vector of float32, or {row} is more than one vector")

    def generate(context, builder, signature, arguments):
        totals, (vector,) = _unpack(builder, arguments[0]), _unpack(builder, arguments[4])
        address = builder.gep(context.make_array(weights)(context, builder, arguments[1]).data, [arguments[2]])
        sums = []
        for vector_sum in totals:
            sums.append(_multiply_add(builder, _splat(builder, builder.load(address)), vector, vector_sum))
            address = builder.gep(address, [arguments[3]])
        return _pack(context, builder, signature.return_type, sums)

    return total(total, weights, types.intp, types.intp, row), generate


@_intrinsic
def fetch_early(typing, array, at):
    """``fetch_early(array, at)``: begin to bring the cache line of ``array[at]``, which may lie beyond the end."""

    def generate(context, builder, signature, arguments):
        address = builder.gep(context.make_array(array)(context, builder, arguments[0]).data, [arguments[1]])
        byte = ir.PointerType(ir.IntType(8))
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.bitcast(address, byte), *(ir.Constant(_INT, flag) for flag in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


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


# ---------------------------------------------------------------- small whole numbers

QUERIES, VECTORS = 6, 4  # a tile of 6 queries x 4 vectors of 16 items: 24 sums in 32 registers, 10 loads for 24 products
TILE_ITEMS = VECTORS * LANES

_COUNTS = ir.VectorType(_INT, LANES)
_MULTIPLY_BYTES = "llvm.x86.avx512.vpdpbusd.512"


def multiplies_bytes() -> bool:
    """Return whether the processor has the instruction that multiplies and adds four bytes a lane."""
    return bool(binding.get_host_cpu_features().get("avx512vnni", False))


class _Counts(types.Type):
    """Sixteen int32 numbers in one register."""

    def __init__(self) -> None:
        super().__init__(name=f"int32x{LANES}")


@register_model(_Counts)
class _CountsModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _COUNTS)


_tile = types.UniTuple(_Counts(), QUERIES * VECTORS)


def _element(context, builder, kind, array, index):
    """Return the address of element `index` of a C-contiguous array, counted from its beginning."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _splat_int(builder, number):
    undefined = ir.Constant(_COUNTS, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES))


@_intrinsic
def tile_of(typing, starts, first):
    """``tile_of(starts, first)``: a tile whose six rows hold the int32 numbers ``starts[first], ..., starts[first + 5]``."""

    def generate(context, builder, signature, arguments):
        base = _element(context, builder, starts, *arguments)
        rows = [_splat_int(builder, builder.load(builder.gep(base, [ir.Constant(_INT, at)]))) for at in range(QUERIES)]
        return _pack(context, builder, _tile, [row for row in rows for _ in range(VECTORS)])

    return _tile(starts, types.intp), generate


@_intrinsic
def add_bytes(typing, tile, items, at, queries, first, stride):
    """``add_bytes(tile, items, at, queries, first, stride)``: the tile plus products of four bytes each.

    `items` holds 64 words from position `at`, each four unsigned bytes of one item; `queries` a word at ``first``,
    ``first + stride``, ..., each four signed bytes of one query.
    """

    def generate(context, builder, signature, arguments):
        sums = _unpack(builder, arguments[0])
        multiply = ir.FunctionType(_COUNTS, [_COUNTS] * 3)
        function = cgutils.get_or_insert_function(builder.module, multiply, _MULTIPLY_BYTES)
        base = builder.bitcast(_element(context, builder, items, *arguments[1:3]), ir.PointerType(_COUNTS))
        loaded = []
        for v in range(VECTORS):
            vector = builder.load(builder.gep(base, [ir.Constant(_INT, v)]))
            vector.align = 4
            loaded.append(vector)
        word = _element(context, builder, queries, arguments[3], arguments[4])
        for q in range(QUERIES):
            query = _splat_int(builder, builder.load(word))
            word = builder.gep(word, [arguments[5]])
            for v, vector in enumerate(loaded):
                sums[q * VECTORS + v] = builder.call(function, [sums[q * VECTORS + v], vector, query])
        return _pack(context, builder, _tile, sums)

    return tile(tile, items, types.intp, queries, types.intp, types.intp), generate


@_intrinsic
def reaching(typing, tile, scales, at, cuts, first):
    """``reaching(tile, scales, at, cuts, first)``: for each query, the bits of the items whose scaled sum reaches its cut.

    `scales` holds 64 float32 numbers from position `at`, one an item; `cuts` six from `first`, one a query.
    """

    def generate(context, builder, signature, arguments):
        sums = _unpack(builder, arguments[0])
        base = builder.bitcast(_element(context, builder, scales, *arguments[1:3]), ir.PointerType(_VECTOR))
        cut = _element(context, builder, cuts, *arguments[3:5])
        bits, narrow, wide = [], ir.IntType(LANES), ir.IntType(TILE_ITEMS)
        for q in range(QUERIES):
            least = _splat(builder, builder.load(builder.gep(cut, [ir.Constant(_INT, q)])))
            found = ir.Constant(wide, 0)
            for v in range(VECTORS):
                scale = builder.load(builder.gep(base, [ir.Constant(_INT, v)]))
                scale.align = 4
                score = builder.fmul(builder.sitofp(sums[q * VECTORS + v], _VECTOR), scale)
                reached = builder.bitcast(builder.fcmp_ordered(">=", score, least), narrow)
                found = builder.or_(found, builder.shl(builder.zext(reached, wide), ir.Constant(wide, v * LANES)))
            bits.append(found)
        return _pack(context, builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, QUERIES)(tile, scales, types.intp, cuts, types.intp), generate


@_intrinsic
def lowest_bit(typing, bits):
    """``lowest_bit(bits)``: the position of the lowest set bit of a uint64."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


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
