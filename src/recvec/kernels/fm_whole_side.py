"""Conjugate gradient for the feature vectors of one side, the other side held fixed.

A row's vector is the sum of its features' vectors, ``p_u = x_u z_u + sum_f s_uf v_f``: its id z, and the features v that rows
share. All of them are improved together: a loss that is quadratic in the rows' vectors (`fm_whole_rows`) is quadratic in the
features' too. One step takes one pass over the entries, as in alternating least squares, and products with the features.

The preconditioner is the same system with each row's form replaced by a diagonal, that of a row of average entries. The ids
are eliminated from it exactly; what is left for the shared features is ``S' diag(kappa_u t_a) S + reg`` in coordinate a, with
the mean t_a over the rows, and one eigendecomposition of ``S' diag(kappa) S``, made once, solves it for all coordinates and
all epochs. So ids and attributes, and attributes that say the same, do not wait for each other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from recvec.kernels.blocks import even_blocks
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.fm_whole_rows import RowLosses
from recvec.types import F32, F64, Block, Executor, Result

COUPLED = 1024  # shared features up to which their preconditioner is a full matrix
SLICE = 1024  # rows in one piece of elementwise work
SMALL = 1 << 20  # numbers of all rows up to which the calling thread is done with them before others have begun


Coupling = tuple[F32, F32]
"""A basis (k, k), or only its diagonal (k,), and eigenvalues (k,), of the shared features' preconditioner."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of one side's features.

    Parameters
    ----------
    own : F32, shape (n, d)
        z, one a row.
    shared : F32, shape (k, d)
        v.
    """

    own: F32
    shared: F32

    def turned(self, basis: F32, executor: Executor) -> "Vectors":
        """Return them in another basis (d, d')."""
        return Vectors(_product(self.own, basis, executor), _product(self.shared, basis, executor))


@dataclass(frozen=True, eq=False)
class Side:
    """The features of one side's rows.

    Parameters
    ----------
    own : F32, shape (n,)
        x, the value of each row's id; zeros where ids are no features.
    shared : csr_array, float32, shape (n, k)
        s, the values of shared features.
    own_reg : F32, shape (n,)
        Regularization of each z, above 0.
    shared_reg : F32, shape (k,)
        Regularization of each v, above 0.
    scale : F32, shape (n,)
        kappa: by how much the loss of each row weighs, about.
    """

    own: F32
    shared: sp.csr_array
    own_reg: F32
    shared_reg: F32
    scale: F32

    @cached_property
    def by_feature(self) -> sp.csr_array:
        """Rows of each shared feature, shape (k, n)."""
        return sp.csr_array(self.shared.T.tocsr())

    def coupling(self, executor: Executor) -> Coupling:
        """Return the eigendecomposition of ``S' diag(kappa) S`` over the regularization."""
        root = 1 / np.sqrt(self.shared_reg.astype(np.float64))
        if len(root) > COUPLED:
            square = self.by_feature.power(2) @ self.scale.astype(np.float64)
            return root.astype(np.float32), (square * root**2).astype(np.float32)
        weighted = sp.csr_array(self.shared.multiply(self.scale[:, None].astype(np.float64)))
        gram = (self.by_feature @ weighted).toarray()
        values, vectors = executor.map(np.linalg.eigh, [root[:, None] * gram * root])[0]  # so that BLAS keeps to one thread
        return (root[:, None] * vectors).astype(np.float32), values.clip(min=0).astype(np.float32)

    def rows(self, vectors: Vectors, executor: Executor) -> F32:
        """Return the rows' vectors p, shape (n, d)."""
        if len(vectors.shared):
            out = sparse_dense(self.shared, vectors.shared, executor=executor)
        else:
            out = np.zeros_like(vectors.own)

        def add(at: slice) -> None:
            out[at] += self.own[at, None] * vectors.own[at]

        executor.map(add, even_blocks(len(out), SLICE))
        return out

    def improve(self, vectors: Vectors, losses: RowLosses, coupling: Coupling, *, steps: int, executor: Executor) -> Vectors:
        """Return better vectors by some steps of conjugate gradient.

        Parameters
        ----------
        vectors : Vectors
            Where to begin; not changed.
        losses : RowLosses
            The quadratic forms of the n rows.
        coupling : tuple of F32
            As `coupling` returns it.
        steps : int
            Each takes a pass over the entries; one more goes first.
        executor : Executor
            Runs blocks of rows.
        """
        found = vectors.turned(losses.fixed.basis, executor)
        solver = _Solver(self, losses, coupling, executor)
        left = solver.image(found, share=1)
        direction, fit = solver.preconditioned(left)
        for step in range(steps):
            image = solver.image(direction, share=0)
            curvature = -solver.dot(direction, image)
            if not curvature > 0:  # solved, or no longer finite
                break
            solver.add(found, fit / curvature, direction)
            if step == steps - 1:
                break
            solver.add(left, fit / curvature, image)
            before, (better, fit) = fit, solver.preconditioned(left)
            solver.add(better, fit / before, direction)
            direction = better
        return found.turned(np.ascontiguousarray(losses.fixed.basis.T), executor)


class _Solver:
    """One system of all features of a side, and its preconditioner. Work on rows goes slice by slice, which stays in the caches."""

    def __init__(self, side: Side, losses: RowLosses, coupling: Coupling, executor: Executor) -> None:
        self.side, self.losses, self.coupling, self.executor = side, losses, coupling, executor
        self.around: Executor = executor if len(side.own) * len(losses.shift) > SMALL else _Here()  # runs what is not BLAS
        fixed, counts = losses.fixed, np.diff(losses.indptr)
        met = np.bincount(losses.indices, minlength=len(fixed.turned)).astype(np.float32)
        entries = self._summed(len(met), lambda at: np.einsum("i,ia->a", met[at], fixed.turned[at] ** 2))
        self.square = (entries / max(1.0, float(met.sum(dtype=np.float64)))).astype(np.float32)  # (width,): of an average entry
        weights = np.add.reduceat(np.append(losses.quadratic, np.float32(0)), losses.indptr[:-1]) * (counts > 0)
        self.weights = weights.astype(np.float32)  # (n,)
        self.inverse = np.empty((len(weights), len(losses.shift)), np.float32)  # of the systems of ids, a diagonal each
        self.part = np.empty_like(self.inverse) if len(side.shared_reg) else self.inverse[:0]  # of a row's own that its id explains
        level = self._summed(len(weights), self._prepare) / float(side.scale.sum(dtype=np.float64))  # t, (width,)
        self.shrunk = np.float32(1) / (coupling[1][:, None] * level.astype(np.float32) + 1)  # (k, width)

    def _prepare(self, at: slice) -> F32:
        """Fill the diagonals of some rows; return what their forms leave to shared features, added up."""
        losses, own, reg = self.losses, self.side.own[at, None], self.side.own_reg[at, None]
        diagonal = losses.times[at, None] * losses.fixed.spectrum + self.weights[at, None] * self.square
        self.inverse[at] = 1 / (own * own * diagonal + reg)
        if not len(self.part):
            return np.zeros(diagonal.shape[1], np.float32)
        self.part[at] = own * diagonal * self.inverse[at]
        left: F32 = np.einsum("na,na->a", diagonal, reg * self.inverse[at])
        return left

    def image(self, vectors: Vectors, *, share: float) -> Vectors:
        """Return ``share (right side) - (system) vectors``."""
        side = self.side
        rows = self.losses.residual(side.rows(vectors, self.around), share=share, executor=self.executor)
        shared = vectors.shared
        if len(shared):
            shared = sparse_dense(side.by_feature, rows, executor=self.around) - side.shared_reg[:, None] * shared

        def regularize(at: slice) -> None:
            rows[at] *= side.own[at, None]
            rows[at] -= side.own_reg[at, None] * vectors.own[at]

        self._slices(regularize)
        return Vectors(rows, shared)

    def preconditioned(self, given: Vectors) -> tuple[Vectors, float]:
        """Return the solution of the system of average entries for a right-hand side, and its inner product with that."""
        own, side = np.empty_like(given.own), self.side
        shared = given.shared
        if len(shared):
            self._slices(lambda at: np.multiply(self.part[at], given.own[at], out=own[at]))
            shared = self._shared(given.shared - sparse_dense(side.by_feature, own, executor=self.around))
            sparse_dense(side.shared, shared, executor=self.around, out=own)

        def solve(at: slice) -> float:
            explained = self.part[at] * own[at] if len(shared) else np.float32(0)
            own[at] = given.own[at] * self.inverse[at] - explained
            return float(np.einsum("na,na->", own[at], given.own[at]))

        fit = sum(self._slices(solve)) + float(np.einsum("ka,ka->", shared, given.shared, dtype=np.float64))
        return Vectors(own, shared), fit

    def add(self, to: Vectors, scale: float, other: Vectors) -> None:
        """Add a multiple of others, in place."""

        def one(at: slice) -> None:
            to.own[at] += np.float32(scale) * other.own[at]

        self._slices(one)
        to.shared[:] += np.float32(scale) * other.shared

    def dot(self, left: Vectors, right: Vectors) -> float:
        """Return an inner product; slices are added in their order."""
        own = sum(self._slices(lambda at: float(np.einsum("na,na->", left.own[at], right.own[at]))))
        return own + float(np.einsum("ka,ka->", left.shared, right.shared, dtype=np.float64))

    def _shared(self, given: F32) -> F32:
        basis = self.coupling[0]
        if basis.ndim == 1:
            out: F32 = basis[:, None] ** 2 * given * self.shrunk
            return out
        return self.executor.map(lambda g: basis @ (self.shrunk * (basis.T @ g)), [given])[0]

    def _slices(self, one: Callable[[slice], Result]) -> list[Result]:
        return self.around.map(one, even_blocks(len(self.side.own), SLICE))

    def _summed(self, n: int, one: Callable[[slice], F32]) -> F64:
        return np.asarray(sum(self.around.map(one, even_blocks(n, SLICE)), np.zeros(1)))


class _Here:
    """Runs blocks in the calling thread."""

    def map(self, fn: Callable[[Block], Result], blocks: Iterable[Block]) -> list[Result]:
        """See `Executor.map`."""
        return [fn(block) for block in blocks]


def _product(rows: F32, basis: F32, executor: Executor) -> F32:
    out = np.empty((len(rows), basis.shape[1]), np.float32)
    executor.map(lambda at: np.matmul(rows[at], basis, out=out[at]), even_blocks(len(rows), SLICE))
    return out
