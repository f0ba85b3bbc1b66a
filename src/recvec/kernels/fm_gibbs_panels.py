"""The inner loop of `fm_gibbs_features`, unrolled for 16 rows of a matrix and several entries: LLVM would wait for each sum."""

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from recvec.kernels.fm_gibbs_moments import EXTRA
from recvec.kernels.simd import INT, LANES, VECTOR, element, intrinsic, multiply_add, splat

_PARTIAL = 4  # sums side by side: a multiply-add takes as many cycles
_BYTES = 4
_WORD = ir.IntType(64)


@intrinsic
def add_panels(typing, chunks, many, system, k, tile, moments, rows, values, e):
    """``add_panels(chunks, many, system, k, tile, moments, rows, values, e)``: 16 rows of A, of each entry.

    `many` is a tuple as long as there are entries, the first of which is number `e` of `rows` (of the moments) and `values`, x.
    To row ``k + m`` of the system this adds ``x^2 A[k + m] + weight[k + m] c``, and it subtracts ``sum_m P[k + m] A[k + m]`` from
    what is left. Weights, c, what is left, and P stand in the system from row `tile` on, in this order, a row for each entry.
    """
    count, n = len(chunks), len(many)

    def generate(context, builder, signature, arguments):
        _, _, system_at, k_at, tile_at, moments_at, rows_at, values_at, first = arguments
        zero = _number(0)

        def place(array, kind, row, column=zero):
            return element(context, builder, kind, array, builder.add(builder.mul(row, _number(count * LANES)), column))

        entries = []
        for i in range(n):
            at = builder.add(first, _number(i))
            row = builder.sext(builder.load(element(context, builder, rows, rows_at, at)), _WORD)
            x = builder.load(element(context, builder, values, values_at, at))
            top = builder.add(builder.mul(row, _number(count * LANES + EXTRA)), k_at)
            weight, c, left, p = (builder.add(tile_at, _number(part * n + i)) for part in range(4))
            entries.append(
                _Entry(
                    splat(builder, builder.fmul(x, x)),
                    place(moments_at, moments, top),
                    place(system_at, system, weight, k_at),
                    place(system_at, system, c),
                    place(system_at, system, left),
                    place(system_at, system, p, k_at),
                )
            )
        for column in range(0, count * LANES, LANES):
            _add_column(builder, place(system_at, system, k_at), entries, count * LANES, column)
        return context.get_dummy_value()

    index = types.intp
    kinds = (chunks, many, system, index, index, moments, rows, values, index)
    return types.void(*kinds), generate


class _Entry(NamedTuple):
    """The square of x in all lanes, and where the others begin."""

    square: Any
    matrix: Any
    weights: Any
    c: Any
    left: Any
    p: Any


def _add_column(builder, system, entries, width, column):
    """Do one vector of each of the 16 rows."""
    cs = [builder.load(_vector(builder, entry.c, column), align=_BYTES) for entry in entries]
    side_by_side = max(1, _PARTIAL // len(entries))
    sums = [[ir.Constant(VECTOR, [0.0] * LANES)] * side_by_side for _ in entries]
    for m in range(LANES):
        there = _vector(builder, system, m * width + column)
        new = builder.load(there, align=_BYTES)
        for entry, c, parts in zip(entries, cs, sums, strict=True):
            line = builder.load(_vector(builder, entry.matrix, m * width + column), align=_BYTES)
            new = multiply_add(builder, entry.square, line, new)
            new = multiply_add(builder, _everywhere(builder, entry.weights, m), c, new)
            parts[m % side_by_side] = multiply_add(builder, _everywhere(builder, entry.p, m), line, parts[m % side_by_side])
        builder.store(new, there, align=_BYTES)
    for entry, parts in zip(entries, sums, strict=True):
        there = _vector(builder, entry.left, column)
        found = builder.load(there, align=_BYTES)
        for part in parts:
            found = builder.fsub(found, part)
        builder.store(found, there, align=_BYTES)


def _number(value):
    return ir.Constant(_WORD, value)


def _vector(builder, address, lane):
    """Return the address of the vector that begins some numbers behind an address."""
    return builder.bitcast(builder.gep(address, [ir.Constant(INT, lane)]), ir.PointerType(VECTOR))


def _everywhere(builder, address, at):
    """Return a number behind an address, in all lanes."""
    return splat(builder, builder.load(builder.gep(address, [ir.Constant(INT, at)])))
