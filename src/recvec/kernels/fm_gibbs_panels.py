"""The inner loop of `fm_gibbs_features`, unrolled for 16 rows of a matrix: LLVM would wait for each sum before the next."""

from llvmlite import ir
from numba import types

from recvec.kernels.simd import INT, LANES, VECTOR, element, intrinsic, pack, splat, unpack

_PARTIAL = 4  # sums side by side: a multiply-add takes as many cycles
_BYTES = 4


def _row(builder, base, row, count):
    """Return the addresses of the vectors of a row behind `base`."""
    address = builder.bitcast(builder.gep(base, [ir.Constant(INT, row * count * LANES)]), ir.PointerType(VECTOR))
    return [builder.gep(address, [ir.Constant(INT, at)]) for at in range(count)]


def _multiply_add(builder, x, y, z):
    kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
    name = f"llvm.fma.v{LANES}f32"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, [x, y, z])


@intrinsic
def add_panel(typing, chunks, source, a, square, weights, g, c, factors, p, target, s):
    """``add_panel(chunks, source, a, square, weights, g, c, factors, p, target, s)``: return ``sum_k factors[p + k] A_k``, and add.

    Over the 16 rows A_k that begin at ``source[a]``; ``square A_k + weights[g + k] c`` is added to the row that many rows behind
    ``target[s]``. Elements of arrays are counted through their rows; `c`, a row, has as many vectors as `chunks`.
    """
    count = len(chunks)

    def generate(context, builder, signature, arguments):
        _, source_at, first, scale, weight_at, g_at, row, factor_at, p_at, target_at, s_at = arguments
        matrix = element(context, builder, source, source_at, first)
        weight = element(context, builder, weights, weight_at, g_at)
        factor = element(context, builder, factors, factor_at, p_at)
        total = element(context, builder, target, target_at, s_at)
        square_of, vectors = splat(builder, scale), unpack(builder, row)
        sums = [[ir.Constant(VECTOR, [0.0] * LANES)] * count for _ in range(_PARTIAL)]
        for k in range(LANES):
            of_weight, of_factor = (splat(builder, builder.load(builder.gep(w, [ir.Constant(INT, k)]))) for w in (weight, factor))
            places = zip(_row(builder, matrix, k, count), _row(builder, total, k, count), vectors, strict=True)
            for at, (here, there, vector) in enumerate(places):
                line, old = builder.load(here, align=_BYTES), builder.load(there, align=_BYTES)
                new = _multiply_add(builder, of_weight, vector, _multiply_add(builder, square_of, line, old))
                builder.store(new, there, align=_BYTES)
                sums[k % _PARTIAL] = list(sums[k % _PARTIAL])
                sums[k % _PARTIAL][at] = _multiply_add(builder, of_factor, line, sums[k % _PARTIAL][at])
        answer = [builder.fadd(builder.fadd(w, x), builder.fadd(y, z)) for w, x, y, z in zip(*sums, strict=True)]
        return pack(context, builder, signature.return_type, answer)

    number, index = types.float32, types.intp
    return c(chunks, source, index, number, weights, index, c, factors, index, target, index), generate
