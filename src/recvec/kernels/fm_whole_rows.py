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
from recvec.kernels.compiled import compiled, compiled_inline, compiled_into_callers
from recvec.kernels.conjugate_gradient import add_entries, row_chunks
from recvec.kernels.least_squares import FixedSide
from recvec.kernels.simd import borrowed
from recvec.types import F32, I32, I64, Executor

Features = tuple[I64, I32, F32, F32]
"""Where the shared features of each row begin (n + 1,), which and how much they are (nnz,), and their vectors (k, width)."""


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
    square : F32, shape (width,)
        The mean square of each coordinate over the entries: of an average entry.
    """

    indptr: I64
    indices: I32
    quadratic: F32
    linear: F32
    shift: F32
    times: F32
    fixed: FixedSide
    square: F32

    def image(self, own: F32, reg: F32, vectors: F32, features: Features, *, share: float, executor: Executor) -> tuple[F32, F32, float]:
        """Return ``share (right side) - (system) z`` of the ids' vectors z, the same of the rows' vectors, and the first times z.

        Parameters
        ----------
        own, reg : F32, shape (n,)
            The value of each row's id, and its regularization.
        vectors : F32, shape (n, width)
            z, in the eigenbasis.
        features : tuple
            The shared features of all rows, and their vectors.
        share : float
            1, for half the negative gradient, or 0 for the image of a direction.
        executor : Executor
            Runs blocks of rows.

        Notes
        -----
        Cost: ``4 nnz width`` operations; bound by the gathering of rows.
        """
        out, rows, part, width = np.empty_like(vectors), np.empty_like(vectors), np.float32(share), vectors.shape[1]
        arrays = (self.indices, self.quadratic, self.linear, self.fixed.turned, self.fixed.spectrum, self.shift)

        def one(bound: tuple[int, int]) -> float:
            at, begins = slice(*bound), slice(bound[0], bound[1] + 1)
            mine = (own[at], reg[at], self.times[at], vectors[at], rows[at], out[at])
            return float(_image(row_chunks(width), self.indptr[begins], arrays, (features[0][begins], *features[1:]), mine, part))

        products = executor.map(one, balanced_blocks(self.indptr, per_entry=2 * width, per_row=width))
        return out, rows, sum(products)


@compiled
def _image(chunks, indptr, arrays, features, mine, share):
    """Do what `RowLosses.image` does for some rows."""
    indices, quadratic, linear, fixed, spectrum, shift = borrowed(arrays)
    own, reg, times, z, rows, out = borrowed(mine)
    features, p = borrowed(features), np.empty_like(z)
    for u in range(len(z)):
        _write_shared(features, u, p[u])
        for a in range(z.shape[1]):
            p[u, a] += own[u] * z[u, a]
            rows[u, a] = times[u] * (share * shift[a] - spectrum[a] * p[u, a])
    spans = np.empty((2, len(z)), np.int64)  # one tile: all entries of a row are one span
    spans[0], spans[1] = indptr[:-1], indptr[1:]
    add_entries(chunks, spans, indices, quadratic, linear, fixed, share, p, rows)
    total = np.float64(0)
    for u in range(len(z)):
        product = np.float32(0)
        for a in range(z.shape[1]):
            out[u, a] = own[u] * rows[u, a] - reg[u] * z[u, a]
            product += z[u, a] * out[u, a]
        total += product
    return total


@compiled_into_callers
def _write_shared(features, u, row):
    """Write the sum of the vectors of a row's shared features."""
    indptr, indices, values, vectors = features
    row[:] = 0
    for e in range(indptr[u], indptr[u + 1]):
        value, vector = values[e], vectors[indices[e]]
        for a in range(len(row)):
            row[a] += value * vector[a]


@compiled
def explain_entries(indices, quadratic, terms, linear):
    """Write the weights of scores that are left once each row of the fixed side has a term of its own: w (1 - c)."""
    for e in range(len(linear)):
        linear[e] = quadratic[e] * (np.float32(1) - terms[indices[e]])


@compiled
def weigh(indptr, quadratic, weights):
    """Write the weights of all entries of each row (n,) together."""
    for u in range(len(weights)):
        weights[u] = quadratic[indptr[u] : indptr[u + 1]].sum()


@compiled_inline
def _diagonal(system, u, a):
    """Return row u's form at coordinate a were all its entries average ones, and one over the system of its id."""
    own, reg, times, weights, spectrum, square = system
    diagonal = times[u] * spectrum[a] + weights[u] * square[a]
    return diagonal, np.float32(1) / (own[u] * own[u] * diagonal + reg[u])


@compiled
def leave(system, left):
    """Add up what average forms leave to shared features once ids have explained their part, (width,)."""
    system = borrowed(system)
    reg = system[1]
    for u in range(len(reg)):
        for a in range(len(left)):
            diagonal, inverse = _diagonal(system, u, a)
            left[a] += diagonal * reg[u] * inverse


@compiled
def explain(system, given, out):
    """Write the part of right-hand sides (n, width) that ids explain."""
    system = borrowed(system)
    own = system[0]
    for u in range(len(given)):
        for a in range(given.shape[1]):
            diagonal, inverse = _diagonal(system, u, a)
            out[u, a] = own[u] * diagonal * inverse * given[u, a]


@compiled
def solve_ids(system, features, given, out):
    """Solve for ids beside shared features that are solved; return the inner product with the right-hand sides `given`."""
    system, features = borrowed(system), borrowed(features)
    own, total = system[0], np.float64(0)
    for u in range(len(given)):
        product = np.float32(0)
        _write_shared(features, u, out[u])
        for a in range(given.shape[1]):
            diagonal, inverse = _diagonal(system, u, a)
            out[u, a] = inverse * (given[u, a] - own[u] * diagonal * out[u, a])
            product += out[u, a] * given[u, a]
        total += product
    return total


@compiled
def add_multiple(to, scale, other):
    """Add a multiple of a matrix to another, in place."""
    for u in range(len(to)):
        for a in range(to.shape[1]):
            to[u, a] += scale * other[u, a]
