"""Products with F F', a matrix between items that is never made: F (n, m) is sparse, F F' of real data mostly is not.

A row of ``H F F'`` takes two steps. The first spreads the few entries of a history h over the m columns of F, users say; the
second gathers from them, for many histories side by side, so that what is read of F serves all of them. Every number is a sum
in an order that F alone gives: neither threads nor the other histories of a batch change a bit.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recvec.kernels.compiled import compiled_exactly
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.simd import LANES
from recvec.types import F32, I32, I64

SIDE_BY_SIDE = 64  # histories: a row of so many numbers is held in registers
_TILE = 16  # columns that are turned at once: a cache line of the result


@dataclass(frozen=True, eq=False)
class Gram:
    """The matrix F F'.

    Parameters
    ----------
    factor : csr_array, float32, shape (n, m)
        F.
    """

    factor: sp.csr_array

    def rows(self, left: sp.csr_array) -> F32:
        """Return ``left @ F F'`` for a sparse `left` (B, n), shape (B, n), in the calling thread.

        Notes
        -----
        Cost: two operations for each pair of an entry of `left` and one of the row of F that it meets, then
        ``2 nnz(F) B``, B rounded up to lanes. Memory: ``4 (n + m)`` bytes for each of 64 rows.
        """
        out = np.empty((left.shape[0], self.factor.shape[0]), np.float32)
        for start in range(0, len(out), SIDE_BY_SIDE):
            some = left[start : start + SIDE_BY_SIDE]
            gathered = sparse_dense(self.factor, spread(some, self.factor), executor=None)  # (n, B or a little more)
            turn(gathered, out[start : start + some.shape[0]])
        return out

    def column(self, j: int) -> F32:
        """Return column j, shape (n,)."""
        found: F32 = self.factor @ self.factor[[j]].toarray()[0]
        return found


def spread(left: sp.csr_array, factor: sp.csr_array) -> F32:
    """Return ``(left @ factor)'``, shape (m, B), with columns of zeros up to a whole number of lanes."""
    width = -(-left.shape[0] // LANES) * LANES
    out = np.zeros((factor.shape[1], width), np.float32)
    indptr, factor_indptr = (m.indptr.astype(np.int64, copy=False) for m in (left, factor))
    _spread(indptr, left.indices, left.data, factor_indptr, factor.indices, factor.data, out)
    return out


@compiled_exactly
def _spread(indptr: I64, indices: I32, data: F32, factor_indptr: I64, factor_indices: I32, factor_data: F32, out: F32) -> None:
    for b in range(len(indptr) - 1):
        for e in range(indptr[b], indptr[b + 1]):
            for f in range(factor_indptr[indices[e]], factor_indptr[indices[e] + 1]):
                out[factor_indices[f], b] += data[e] * factor_data[f]


@compiled_exactly
def turn(columns: F32, rows: F32) -> None:
    """Write the first columns of a matrix (n, b or more) as rows (b, n), a tile at a time: five times as fast as numpy."""
    b, n = rows.shape
    for first in range(0, n, _TILE):
        last = min(n, first + _TILE)
        for r in range(b):
            for j in range(first, last):
                rows[r, j] = columns[j, r]
