"""The whole-data squared loss of a factorization machine as a quadratic form in the vectors of one side's rows.

With the other side held fixed (vectors y_i, terms of their own c_i), the loss of row u with vector p is

    p' (G + sum_e w_e y_e y_e') p  -  2 p' (h + sum_e w_e (1 - c_e) y_e) + constant,    G = a0 sum_i y_i y_i',  h = -a0 sum_i c_i y_i

over the row's entries e; a0 is the weight of every pair. A row may stand for several, and count r times: then G and h count r
times in it, and w holds the sums of what it stands for. In the eigenbasis of G the first sum is a diagonal, so that all pairs
together cost nothing (`kernels.least_squares.FixedSide`).
"""

from dataclasses import dataclass

import numpy as np

from recvec.kernels.blocks import balanced_blocks
from recvec.kernels.compiled import compiled
from recvec.kernels.conjugate_gradient import add_entries, row_chunks
from recvec.kernels.least_squares import FixedSide
from recvec.kernels.simd import borrowed
from recvec.types import F32, I32, I64, Executor


@dataclass(frozen=True, eq=False)
class RowLosses:
    """The quadratic forms of n rows.

    Parameters
    ----------
    indptr : I64, shape (n + 1,)
        Where the entries of each row begin.
    indices : I32, shape (nnz,)
        Row of the fixed side of each entry.
    quadratic : F32, shape (nnz,)
        w.
    linear : F32, shape (nnz,)
        w (1 - c).
    shift : F32, shape (width,)
        h, in the eigenbasis.
    times : F32, shape (n,)
        r.
    fixed : FixedSide
        The vectors of the other side and G, in the eigenbasis.
    """

    indptr: I64
    indices: I32
    quadratic: F32
    linear: F32
    shift: F32
    times: F32
    fixed: FixedSide

    def residual(self, vectors: F32, *, share: float, executor: Executor) -> F32:
        """Return ``share (linear part) - (quadratic part) vectors``, half the negative gradient where share is 1.

        Parameters
        ----------
        vectors : F32, shape (n, width)
            In the eigenbasis.
        share : float
            1, or 0 for the image of a direction.
        executor : Executor
            Runs blocks of rows.

        Returns
        -------
        F32, shape (n, width)
            Cost: ``4 nnz width`` operations; bound by the gathering of rows.
        """
        out, part = np.empty_like(vectors), np.float32(share)
        width = vectors.shape[1]
        arrays = (self.indices, self.quadratic, self.linear, self.fixed.turned, self.fixed.spectrum, self.shift)

        def one(bound: tuple[int, int]) -> None:
            at = slice(*bound)
            _fill(row_chunks(width), self.indptr[bound[0] : bound[1] + 1], arrays, self.times[at], part, vectors[at], out[at])

        executor.map(one, balanced_blocks(self.indptr, per_entry=2 * width, per_row=width))
        return out


@compiled
def _fill(chunks, indptr, arrays, times, share, x, out):
    """Write the residuals of some rows."""
    indices, quadratic, linear, fixed, spectrum, shift = borrowed(arrays)
    for u in range(len(x)):
        for a in range(x.shape[1]):
            out[u, a] = times[u] * (share * shift[a] - spectrum[a] * x[u, a])
    spans = np.empty((2, len(x)), np.int64)  # one tile: all entries of a row are one span
    spans[0], spans[1] = indptr[:-1], indptr[1:]
    add_entries(chunks, spans, indices, quadratic, linear, fixed, share, x, out)
