"""Conjugate gradient for the feature vectors of one side, the other side held fixed.

A row's vector is the sum of its features' vectors, ``p_u = x_u z_u + sum_f s_uf v_f``: its id z, and the features v that rows
share. All of them are improved together: a loss that is quadratic in the rows' vectors (`fm_whole_rows`) is quadratic in the
features' too. One step takes one pass over the entries, as in alternating least squares, and products with the features.

The preconditioner is the same system with each row's form replaced by a diagonal, that of a row of average entries. The ids
are eliminated from it exactly; what is left for the shared features is ``S' diag(kappa_u t_a) S + reg`` in coordinate a, with
the mean t_a over the rows, and one eigendecomposition of ``S' diag(kappa) S``, made once, solves it for all coordinates and
all epochs. So ids and attributes, and attributes that say the same, do not wait for each other.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from recvec.kernels.blocks import even_blocks
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.fm_whole_rows import RowLosses
from recvec.types import F32, Executor

COUPLED = 1024  # shared features up to which their preconditioner is a full matrix
SLICE = 1024  # rows in one piece of elementwise work


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

    def add(self, scale: float, other: "Vectors") -> None:
        """Add a multiple of others, in place."""
        self.own[:] += np.float32(scale) * other.own
        self.shared[:] += np.float32(scale) * other.shared

    def dot(self, other: "Vectors") -> float:
        """Return the inner product with others, in float64, pieces in their order."""
        total = 0.0
        for mine, theirs in ((self.own, other.own), (self.shared, other.shared)):
            for at in even_blocks(len(mine), SLICE):
                total += float(np.einsum("na,na->", mine[at], theirs[at], dtype=np.float32))
        return total


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

    def coupling(self, executor: Executor) -> tuple[F32, F32]:
        """Return a basis (k, k), or only its diagonal (k,), and eigenvalues (k,) of ``S' diag(kappa) S`` over the regularization."""
        root = 1 / np.sqrt(self.shared_reg.astype(np.float64))
        k = len(root)
        if k > COUPLED:
            square = self.by_feature.power(2) @ self.scale.astype(np.float64)
            return root.astype(np.float32), (square * root**2).astype(np.float32)
        weighted = sp.csr_array(self.shared.multiply(self.scale[:, None].astype(np.float64)))
        gram = (self.by_feature @ weighted).toarray()
        values, vectors = executor.map(np.linalg.eigh, [root[:, None] * gram * root])[0]  # so that BLAS keeps to one thread
        return (root[:, None] * vectors).astype(np.float32), values.clip(min=0).astype(np.float32)

    def rows(self, vectors: Vectors, executor: Executor) -> F32:
        """Return the rows' vectors p, shape (n, d)."""
        out = self.own[:, None] * vectors.own
        if len(vectors.shared):
            out += sparse_dense(self.shared, vectors.shared, executor=executor)
        return out

    def features(self, rows: F32, executor: Executor) -> Vectors:
        """Return what rows (n, d) give their features, weighted by the values: the transpose of `rows`."""
        return Vectors(self.own[:, None] * rows, sparse_dense(self.by_feature, rows, executor=executor))

    def improve(self, vectors: Vectors, losses: RowLosses, coupling: tuple[F32, F32], *, steps: int, executor: Executor) -> Vectors:
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
        solve = Preconditioner(self, losses, coupling, executor)
        left = self._regularized(losses.residual(self.rows(found, executor), share=1, executor=executor), found, executor)
        direction, fit = solve(left), 0.0
        fit = left.dot(direction)
        for step in range(steps):
            image = self._regularized(losses.residual(self.rows(direction, executor), share=0, executor=executor), direction, executor)
            curvature = -direction.dot(image)
            if not curvature > 0:  # solved, or no longer finite
                break
            found.add(fit / curvature, direction)
            if step == steps - 1:
                break
            left.add(fit / curvature, image)
            better = solve(left)
            before, fit = fit, left.dot(better)
            better.add(fit / before, direction)
            direction = better
        return found.turned(np.ascontiguousarray(losses.fixed.basis.T), executor)

    def _regularized(self, residual: F32, vectors: Vectors, executor: Executor) -> Vectors:
        """Return half the negative gradient of the features, from that of their rows."""
        out = self.features(residual, executor)
        out.own[:] -= self.own_reg[:, None] * vectors.own
        out.shared[:] -= self.shared_reg[:, None] * vectors.shared
        return out


def _product(rows: F32, basis: F32, executor: Executor) -> F32:
    out = np.empty((len(rows), basis.shape[1]), np.float32)
    executor.map(lambda at: np.matmul(rows[at], basis, out=out[at]), even_blocks(len(rows), SLICE))
    return out


class Preconditioner:
    """Solves the system whose rows have a diagonal form."""

    def __init__(self, side: Side, losses: RowLosses, coupling: tuple[F32, F32], executor: Executor) -> None:
        self.side, self.coupling, self.executor = side, coupling, executor
        fixed, counts = losses.fixed, np.diff(losses.indptr)
        met = np.bincount(losses.indices, minlength=len(fixed.turned)).astype(np.float32)
        square = np.einsum("i,ia,ia->a", met, fixed.turned, fixed.turned) / max(1.0, float(met.sum()))  # (width,): of an average entry
        weights = np.add.reduceat(np.append(losses.quadratic, np.float32(0)), losses.indptr[:-1]) * (counts > 0)
        self.diagonal = losses.times[:, None] * fixed.spectrum + weights[:, None].astype(np.float32) * square.astype(
            np.float32
        )  # (n, width)
        self.inverse = 1 / (side.own[:, None] ** 2 * self.diagonal + side.own_reg[:, None])
        self.part = side.own[:, None] * self.diagonal * self.inverse  # (n, width)
        remaining = (self.diagonal * side.own_reg[:, None] * self.inverse).sum(axis=0, dtype=np.float64)
        self.level = (remaining / float(side.scale.sum(dtype=np.float64))).astype(np.float32)  # t, (width,)

    def __call__(self, given: Vectors) -> Vectors:
        """Return the solution for a right-hand side."""
        own, shared = given.own * self.inverse, given.shared
        if len(shared):
            shared = self._shared(shared - sparse_dense(self.side.by_feature, self.part * given.own, executor=self.executor))
            own -= self.part * sparse_dense(self.side.shared, shared, executor=self.executor)
        return Vectors(own, shared)

    def _shared(self, given: F32) -> F32:
        basis, values = self.coupling
        shrunk = 1 / (values[:, None] * self.level + 1)  # (k, width)
        if basis.ndim == 1:
            out: F32 = basis[:, None] ** 2 * given * shrunk
            return out
        return self.executor.map(lambda g: basis @ (shrunk * (basis.T @ g)), [given])[0]
