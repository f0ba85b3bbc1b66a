"""Conjugate gradient for the feature vectors of one side, the other side held fixed.

A row's vector is the sum of its features' vectors, ``p_u = x_u z_u + sum_f s_uf v_f``: its id z, and the features v that rows
share. All of them are improved together: a loss that is quadratic in the rows' vectors (`fm_whole_rows`) is quadratic in the
features' too. One step takes one pass over the entries, as in alternating least squares, and products with the features.

The preconditioner is the same system with each row's form replaced by a diagonal, that of a row of average entries. The ids
are eliminated from it exactly; what is left for the shared features is ``S' diag(kappa_u t_a) S + reg`` in coordinate a, with
the mean t_a over the rows, and one eigendecomposition of ``S' diag(kappa) S``, made once, solves it for all coordinates and
all epochs. So ids and attributes, and attributes that say the same, do not wait for each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from recvec.kernels.blocks import even_blocks
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.fm_whole_rows import Features, RowLosses, add_multiple, explain, leave, solve_ids, weigh
from recvec.types import F32, F64, Executor, Result

COUPLED = 1024  # shared features up to which their preconditioner is a full matrix
SLICE = 1024  # rows in one matrix product
ROWS = 8192  # rows in one piece of elementwise work: fewer take less time than another thread needs to begin


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

    def features(self, vectors: F32) -> Features:
        """Return the shared features of all rows with vectors (k, width), as kernels read them."""
        return self.shared.indptr, self.shared.indices, self.shared.data, vectors

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
        left, _ = solver.image(found, share=1)
        direction, fit = solver.preconditioned(left)
        for step in range(steps):
            image, product = solver.image(direction, share=0)
            curvature = -product
            if not (fit > 0 and curvature > 0):  # solved, or no longer finite
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
    """One system of all features of a side, and its preconditioner. A block of rows goes through one kernel, and stays in the caches."""

    def __init__(self, side: Side, losses: RowLosses, coupling: Coupling, executor: Executor) -> None:
        self.side, self.losses, self.coupling, self.executor = side, losses, coupling, executor
        self.weights = np.empty_like(side.own)
        self._map(lambda at: weigh(losses.indptr[at.start : at.stop + 1], losses.quadratic, self.weights[at]))
        level = np.zeros(len(losses.shift))  # t, (width,)
        if len(side.shared_reg):
            level = sum(self._map(self._left), level) / float(side.scale.sum(dtype=np.float64))
        self.shrunk = np.float32(1) / (coupling[1][:, None] * level.astype(np.float32) + 1)  # (k, width)

    def image(self, vectors: Vectors, *, share: float) -> tuple[Vectors, float]:
        """Return ``share (right side) - (system) vectors``, and its inner product with them."""
        side = self.side
        features = side.features(vectors.shared)
        own, rows, product = self.losses.image(side.own, side.own_reg, vectors.own, features, share=share, executor=self.executor)
        shared = sparse_dense(side.by_feature, rows, executor=self.executor) - side.shared_reg[:, None] * vectors.shared
        return Vectors(own, shared), product + _dot(vectors.shared, shared)

    def preconditioned(self, given: Vectors) -> tuple[Vectors, float]:
        """Return the solution of the system of average entries for a right-hand side, and its inner product with that."""
        own, side, shared = np.empty_like(given.own), self.side, given.shared
        if len(shared):
            self._map(lambda at: explain(self._system(at), given.own[at], own[at]))
            shared = self._shared(given.shared - sparse_dense(side.by_feature, own, executor=self.executor))
        begin, *features = side.features(shared)

        def solve(at: slice) -> float:
            return float(solve_ids(self._system(at), (begin[at.start : at.stop + 1], *features), given.own[at], own[at]))

        return Vectors(own, shared), sum(self._map(solve)) + _dot(shared, given.shared)

    def add(self, to: Vectors, scale: float, other: Vectors) -> None:
        """Add a multiple of others, in place."""
        self._map(lambda at: add_multiple(to.own[at], np.float32(scale), other.own[at]))
        to.shared[:] += np.float32(scale) * other.shared

    def _system(self, at: slice) -> tuple[F32, ...]:
        side, losses = self.side, self.losses
        return side.own[at], side.own_reg[at], losses.times[at], self.weights[at], losses.fixed.spectrum, losses.square

    def _left(self, at: slice) -> F64:
        left = np.zeros(len(self.losses.shift))
        leave(self._system(at), left)
        return left

    def _shared(self, given: F32) -> F32:
        basis = self.coupling[0]
        if basis.ndim == 1:
            out: F32 = basis[:, None] ** 2 * given * self.shrunk
            return out
        return self.executor.map(lambda g: basis @ (self.shrunk * (basis.T @ g)), [given])[0]

    def _map(self, one: Callable[[slice], Result]) -> list[Result]:
        return self.executor.map(one, even_blocks(len(self.side.own), ROWS))


def _dot(left: F32, right: F32) -> float:
    return float(np.einsum("ka,ka->", left, right, dtype=np.float64))


def _product(rows: F32, basis: F32, executor: Executor) -> F32:
    out = np.empty((len(rows), basis.shape[1]), np.float32)
    executor.map(lambda at: np.matmul(rows[at], basis, out=out[at]), even_blocks(len(rows), SLICE))
    return out
