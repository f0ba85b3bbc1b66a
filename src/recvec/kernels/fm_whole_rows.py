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
from recvec.kernels.compiled import compiled, compiled_into_callers
from recvec.kernels.least_squares import FixedSide
from recvec.kernels.simd import LANES, add_scaled, borrowed, dot, dot4, four, load, store
from recvec.types import F32, I32, I64, Executor

UNROLLED = 256  # numbers in a row up to which each width is compiled on its own


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
        chunks = (0,) * (width // LANES) if width <= UNROLLED else None
        arrays = (self.indices, self.quadratic, self.linear, self.fixed.turned, self.fixed.spectrum, self.shift)

        def one(bound: tuple[int, int]) -> None:
            at = slice(*bound)
            _fill(chunks, self.indptr[bound[0] : bound[1] + 1], arrays, self.times[at], part, vectors[at], out[at])

        executor.map(one, balanced_blocks(self.indptr, per_entry=2 * width, per_row=width))
        return out


@compiled
def _fill(chunks, indptr, arrays, times, share, x, out):
    """Write the residuals of some rows."""
    indices, quadratic, linear, fixed, spectrum, shift = borrowed(arrays)
    for u in range(len(x)):
        for a in range(x.shape[1]):
            out[u, a] = times[u] * (share * shift[a] - spectrum[a] * x[u, a])
    if chunks is None:  # decided while compiling
        _add_entries_wide(indptr, indices, quadratic, linear, fixed, share, x, out)
    else:
        _add_entries(chunks, indptr, indices, quadratic, linear, fixed, share, x, out)


@compiled_into_callers
def _add_entries(chunks, indptr, indices, quadratic, linear, fixed, share, x, out):
    """Add ``sum_e (share l_e - q_e x'y_e) y_e``, four entries at a time; all stays in registers."""
    for u in range(len(x)):
        first, last = indptr[u], indptr[u + 1]
        x_u, r = load(chunks, x, u), load(chunks, out, u)
        fours = last - (last - first) % 4
        for e in range(first, fours, 4):
            i0, i1, i2, i3 = four(indices, e)
            q0, q1, q2, q3 = four(quadratic, e)
            l0, l1, l2, l3 = four(linear, e)
            y0, y1 = load(chunks, fixed, i0), load(chunks, fixed, i1)
            y2, y3 = load(chunks, fixed, i2), load(chunks, fixed, i3)
            s0, s1, s2, s3 = dot4(x_u, y0, y1, y2, y3)
            r = add_scaled(r, share * l0 - q0 * s0, y0)
            r = add_scaled(r, share * l1 - q1 * s1, y1)
            r = add_scaled(r, share * l2 - q2 * s2, y2)
            r = add_scaled(r, share * l3 - q3 * s3, y3)
        for e in range(fours, last):
            y = load(chunks, fixed, indices[e])
            r = add_scaled(r, share * linear[e] - quadratic[e] * dot(x_u, y), y)
        store(out, u, r)


@compiled_into_callers
def _add_entries_wide(indptr, indices, quadratic, linear, fixed, share, x, out):
    """Do what `_add_entries` does, for vectors too long for the registers."""
    for u in range(len(x)):
        for e in range(indptr[u], indptr[u + 1]):
            y, s = fixed[np.uint64(indices[e])], np.float32(0)
            for a in range(x.shape[1]):
                s += x[u, a] * y[a]
            w = share * linear[e] - quadratic[e] * s
            for a in range(x.shape[1]):
                out[u, a] += w * y[a]
