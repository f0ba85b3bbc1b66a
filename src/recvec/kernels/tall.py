"""Tall thin matrices: products of the blocks of a Krylov basis with one more block of sixteen columns.

BLAS reads such matrices at a fraction of what memory gives. Here a block of columns is an array (n, 16) whose rows are
cache lines and vector registers at once: ``left' right`` of two blocks is sixteen sums in registers, and so is
``left @ coefficients`` for sixteen rows. Rows are cut into fixed pieces, and the sums of pieces are added in float64 in
their order, so that the bits do not depend on the number of threads.

All blocks have a multiple of sixteen rows; those behind the last one of the matrix are zero, and stay so.
"""

from collections.abc import Callable

import numpy as np

from recvec.kernels.blocks import even_blocks
from recvec.kernels.compiled import compiled
from recvec.kernels.simd import LANES, add_outer, fetch_early, load, store
from recvec.types import F32, F64, Array, Executor, Result

_PIECE = 2048  # rows of a piece: its part of two blocks stays in the cache beside the core
_AHEAD = 64  # rows that are fetched early
_LINE = 64  # bytes of a cache line


def tall(n: int, *before: int) -> F32:
    """Return zeros of shape (*before, n rounded up to sixteen, 16), each row one cache line."""
    shape = (*before, -(-n // LANES) * LANES, LANES)
    count = int(np.prod(shape))
    raw = np.zeros(count + _LINE // 4, np.float32)
    first = -raw.ctypes.data % _LINE // 4
    return raw[first : first + count].reshape(shape)


def crossed(basis: F32, block: F32, executor: Executor | None) -> F64:
    """Return the inner products of all columns of a basis with those of a block.

    Parameters
    ----------
    basis : F32, shape (b, n, 16)
    block : F32, shape (n, 16)
    executor : Executor or None
        Runs pieces of rows; with None the calling thread does them, which is faster for a basis of one block.

    Returns
    -------
    F64, shape (16 b, 16)

    Notes
    -----
    Cost: ``512 b n`` operations and one pass over the basis.
    """

    def one(at: slice) -> F32:
        sums = np.zeros((len(basis), LANES * LANES), np.float32)
        _cross((0,) * LANES, basis.reshape(-1), at.start, at.stop, block, sums)
        return sums

    total = np.zeros((len(basis) * LANES, LANES))
    for part in _mapped(one, len(block), executor):
        total += part.reshape(total.shape)
    return total


def add_combined(basis: F32, coefficients: Array, out: F32, executor: Executor | None) -> None:
    """Add ``basis @ coefficients`` to a block.

    Parameters
    ----------
    basis : F32, shape (b, n, 16)
    coefficients : array, shape (16 b, 16)
        Used in float32.
    out : F32, shape (n, 16)
        Changed in place.
    executor : Executor or None
        Runs pieces of rows; with None the calling thread does them, which is faster for a basis of one block.

    Notes
    -----
    Cost: ``512 b n`` operations and one pass over the basis.
    """
    weights = np.ascontiguousarray(coefficients, np.float32)
    tiles = out.reshape(-1, LANES * LANES)  # sixteen rows of the block are one row of registers

    def one(at: slice) -> None:
        _combine((0,) * LANES, basis.reshape(-1), at.start // LANES, at.stop // LANES, weights, tiles)

    _mapped(one, len(out), executor)


def _mapped(one: Callable[[slice], Result], n: int, executor: Executor | None) -> list[Result]:
    pieces = even_blocks(n, _PIECE)
    return [one(piece) for piece in pieces] if executor is None else executor.map(one, pieces)


@compiled
def _cross(chunks, basis, first, last, block, out):
    """Write for each block of the basis, given flat, the sums over some rows: (16, 16) numbers as a row of `out`."""
    n = len(block)
    for j in range(len(out)):
        total = load(chunks, out, j)  # zeros
        for t in range(first, last):
            fetch_early(basis, (j * n + t + _AHEAD) * 16)
            total = add_outer(total, basis, (j * n + t) * 16, 1, load((0,), block, t))
        store(out, j, total)


@compiled
def _combine(chunks, basis, first, last, coefficients, out):
    """Add basis @ coefficients to some tiles of sixteen rows, (1, 256) numbers each."""
    n = len(out) * 16
    for j in range(len(coefficients) // 16):
        for tile in range(first, last):
            total = load(chunks, out, tile)
            for a in range(16):
                fetch_early(basis, (j * n + tile * 16 + a + _AHEAD) * 16)
                total = add_outer(total, basis, (j * n + tile * 16) * 16 + a, 16, load((0,), coefficients, j * 16 + a))
            store(out, tile, total)
