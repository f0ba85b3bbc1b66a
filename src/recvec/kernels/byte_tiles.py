"""A tile of products of small whole numbers, held in registers: six queries times sixty-four items, for numba kernels.

Queries are signed bytes, items unsigned ones, four of each in a word of int32. The instruction multiplies four pairs of bytes
in each of sixteen lanes and adds them up exactly (AVX-512 VNNI). A tile is a tuple of 24 vectors, as in `kernels.simd`.
"""

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from recvec.kernels.simd import INT, LANES, VECTOR, element, intrinsic, pack, splat, unpack

QUERIES, VECTORS = 6, 4  # a tile of 6 queries x 4 vectors of 16 items: 24 sums in 32 registers, 10 loads for 24 products
TILE_ITEMS = VECTORS * LANES

_COUNTS = ir.VectorType(INT, LANES)
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


@intrinsic
def tile_of(typing, starts, first):
    """``tile_of(starts, first)``: a tile whose six rows hold the int32 numbers ``starts[first], ..., starts[first + 5]``."""

    def generate(context, builder, signature, arguments):
        base = element(context, builder, starts, *arguments)
        rows = [splat(builder, builder.load(builder.gep(base, [ir.Constant(INT, at)]))) for at in range(QUERIES)]
        return pack(context, builder, _tile, [row for row in rows for _ in range(VECTORS)])

    return _tile(starts, types.intp), generate


@intrinsic
def add_bytes(typing, tile, items, at, queries, first, stride):
    """``add_bytes(tile, items, at, queries, first, stride)``: the tile plus products of four bytes each.

    `items` holds 64 words from position `at`, each four unsigned bytes of one item; `queries` a word at ``first``,
    ``first + stride``, ..., each four signed bytes of one query.
    """

    def generate(context, builder, signature, arguments):
        sums = unpack(builder, arguments[0])
        multiply = ir.FunctionType(_COUNTS, [_COUNTS] * 3)
        function = cgutils.get_or_insert_function(builder.module, multiply, _MULTIPLY_BYTES)
        base = builder.bitcast(element(context, builder, items, *arguments[1:3]), ir.PointerType(_COUNTS))
        loaded = []
        for v in range(VECTORS):
            vector = builder.load(builder.gep(base, [ir.Constant(INT, v)]))
            vector.align = 4
            loaded.append(vector)
        word = element(context, builder, queries, arguments[3], arguments[4])
        for q in range(QUERIES):
            query = splat(builder, builder.load(word))
            word = builder.gep(word, [arguments[5]])
            for v, vector in enumerate(loaded):
                sums[q * VECTORS + v] = builder.call(function, [sums[q * VECTORS + v], vector, query])
        return pack(context, builder, _tile, sums)

    return tile(tile, items, types.intp, queries, types.intp, types.intp), generate


@intrinsic
def reaching(typing, tile, scales, at, cuts, first):
    """``reaching(tile, scales, at, cuts, first)``: for each query, the bits of the items whose scaled sum reaches its cut.

    `scales` holds 64 float32 numbers from position `at`, one an item; `cuts` six from `first`, one a query.
    """

    def generate(context, builder, signature, arguments):
        sums = unpack(builder, arguments[0])
        base = builder.bitcast(element(context, builder, scales, *arguments[1:3]), ir.PointerType(VECTOR))
        cut = element(context, builder, cuts, *arguments[3:5])
        bits, narrow, wide = [], ir.IntType(LANES), ir.IntType(TILE_ITEMS)
        for q in range(QUERIES):
            least = splat(builder, builder.load(builder.gep(cut, [ir.Constant(INT, q)])))
            found = ir.Constant(wide, 0)
            for v in range(VECTORS):
                scale = builder.load(builder.gep(base, [ir.Constant(INT, v)]))
                scale.align = 4
                score = builder.fmul(builder.sitofp(sums[q * VECTORS + v], VECTOR), scale)
                reached = builder.bitcast(builder.fcmp_ordered(">=", score, least), narrow)
                found = builder.or_(found, builder.shl(builder.zext(reached, wide), ir.Constant(wide, v * LANES)))
            bits.append(found)
        return pack(context, builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, QUERIES)(tile, scales, types.intp, cuts, types.intp), generate


@intrinsic
def lowest_bit(typing, bits):
    """``lowest_bit(bits)``: the position of the lowest set bit of a uint64."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate
