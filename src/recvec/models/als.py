"""Implicit alternating least squares (iALS): factor the whole interaction matrix, unobserved pairs included.

Objective, with s = p_u . q_i, w the weight of an observed pair (1 without a weight column) and a0 = `unobserved_weight`::

    L = sum_{(u,i) observed} w (s - 1)^2  +  a0 sum_{all (u,i)} s^2
        + reg * [ sum_u (n_u + a0 n_items)^nu |p_u|^2 + sum_i (n_i + a0 n_users)^nu |q_i|^2 ],   nu = `reg_exponent`

Users and items are solved in turn, each row a least-squares problem of its own (`kernels.least_squares`); the sum over
all pairs is one Gramian. The fit ends with the exact solve of the users, so that folding in a training history gives
the stored vector. Start: N(0, (0.1 / sqrt(d))^2).

By default a0 is not a number but a balance: all pairs together weigh `BALANCE` times the observed ones. The same a0
that is right for a dense table is ruinous for a sparse one; the balance carries over (docs/decisions/0009).

Shapes: users (n_users, d), items (n_items, d). Cost of an epoch by conjugate gradient: 8 nnz d (cg_steps + 1) + 4 (n_users
+ n_items) d^2. `solver` is "cg", "cholesky" (exact), "ials++" (blocks of coordinates), or "auto": in each half-step conjugate
gradient, or the exact solver where that costs no more, as it does for few entries a row and long vectors
(`least_squares.chosen`).
A user or item without interactions has the zero vector: it scores 0 everywhere.

An update solves, with old items as they are: new users, then new items, then everyone who has new interactions. Those
whose history has grown by more than `MUCH` of its weight are solved exactly, the others by `NEARLY` warm steps; all
other users keep their vectors. Solving touched items again as well cost twice the time and gained nothing measurable
(benchmarks/accuracy/update.py). Cost: 8 nnz d (NEARLY + 1) over the users with new interactions, and the exact solution
of those whose history has grown much (`kernels.exact_rows`).

Sources: Hu, Koren, Volinsky, ICDM 2008; Rendle, Krichene, Zhang, Koren, "Revisiting the performance of iALS on item
recommendation benchmarks", RecSys 2022 (count-scaled regularization, start).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import (
    Cost,
    DataShape,
    DotModel,
    FoldIn,
    Method,
    Runtime,
    State,
    Training,
    lengthened,
    needs_history,
    no_new_items,
    param,
)
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.errors import DivergedError, ValueRangeError
from recvec.kernels.least_squares import FixedSide, WeightedRows, gramian, solve
from recvec.types import F32, F64, Array, Executor

BALANCE = 10.0  # weight of all pairs over that of the observed ones; chosen on validation parts, benchmarks/tuning
MUCH = 0.05  # share of new weight in a history from which an update solves it exactly
NEARLY = 1  # steps of conjugate gradient for the others: 99 in 100 of their top 10 are then those of the exact solution


@dataclass(frozen=True, kw_only=True)
class ALS(Method):
    """Matrix factorization for implicit feedback by alternating least squares."""

    name: ClassVar[str] = "als"
    family: ClassVar[str] = "matrix factorization"
    gives: ClassVar[str] = "user and item factors"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 512, "log"))
    epochs: int = param(12, "passes over users and items", low=1, high=1000, search=(5, 30))
    reg: float = param(0.012, "regularization, scaled by counts", low=0.0, high=1e6, search=(1e-4, 0.1, "log"))
    unobserved_weight: float = param(
        0.0,
        "weight of every pair, observed or not; 0: all pairs together weigh 10 times the observed ones",
        low=0.0,
        search=(1e-3, 1.0, "log"),
    )
    reg_exponent: float = param(1.0, "exponent of the counts in the regularization", low=0.0, high=1.0, search=(0.0, 1.0))
    solver: str = param("auto", "solver of each half-step; auto: by cost", choices=("auto", "cg", "cholesky", "ials++"))
    cg_steps: int = param(2, "steps of conjugate gradient", low=1, high=100)
    block_size: int = param(64, "coordinates in a block of ials++", low=16, high=256, search=(32, 128, "log"))

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Settle the weight of unobserved pairs, then alternate."""
        by_user = dataset.matrix()  # (n_users, n_items)
        mean_weight = float(by_user.data.sum(dtype=np.float64)) / (dataset.n_users * dataset.n_items)  # over all pairs
        if not mean_weight > 0:
            raise ValueRangeError(
                "all weights are 0, which leaves als nothing to learn from; allowed: some above 0; correct column 'weight'"
            )
        method = replace(self, unobserved_weight=self.unobserved_weight or BALANCE * mean_weight)
        users, items = _alternate(method, by_user, training)
        return DotModel(
            method=method,
            user_vectors=users,
            item_vectors=items,
            fold_in=LeastSquaresFoldIn(method, items),
            curve=tuple(training.curve),
        )

    def _update(self, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
        """Place new items, then solve the users who have new interactions."""
        by_user, executor = dataset.matrix(), training.runtime.executor
        fresh = by_user if new is None else dataset.with_interactions(new).matrix()
        users, items = lengthened(model.user_vectors, dataset.n_users), lengthened(model.item_vectors, dataset.n_items)
        if dataset.n_items > model.n_items:
            by_item = sp.csr_array(fresh[:, model.n_items :].T.tocsr())  # (n_new, n_users)
            first = np.unique(by_item.indices[by_item.indices >= model.n_users])  # new users, to be known before their items are
            if len(first):
                users[first] = _solve(self, users[first], by_user[first], _fixed(self, items, executor), executor, solver="cholesky")
            items[model.n_items :] = _solve(
                self, items[model.n_items :], by_item, _fixed(self, users, executor), executor, solver="cholesky"
            )
        people = np.flatnonzero(np.diff(fresh.indptr))
        much = np.add.reduceat(fresh.data, fresh.indptr[people]) > MUCH * np.asarray(by_user.sum(axis=1))[people]
        known = _fixed(self, items, executor)
        nearly = replace(self, cg_steps=NEARLY)
        for some, solver in ((people[much], "cholesky"), (people[~much], "cholesky" if self.solver == "cholesky" else "cg")):
            users[some] = _solve(nearly, users[some], by_user[some], known, executor, solver)
        return replace(model, user_vectors=users, item_vectors=items, fold_in=LeastSquaresFoldIn(self, items))

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        return DotModel.restored(self, state, LeastSquaresFoldIn(self, state.arrays["item_vectors"]))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """All epochs, entries read once a step and vectors gathered for each of them, and the exact solve of the users at the end."""
        d, rows = self.embedding_dim, shape.n_users + shape.n_items
        passes = self.epochs * (self.cg_steps + 1)
        work = 8.0 * shape.n_interactions * d * passes + 4.0 * self.epochs * rows * d * d
        exact = 2.0 * shape.n_interactions * d * d + shape.n_users * d**3 / 3
        memory = 16 * shape.n_interactions + 12 * rows * d
        return Cost(operations=work, bytes_moved=8.0 * shape.n_interactions * d * (self.epochs + 1), memory=memory, products=exact)


def _alternate(method: ALS, by_user: sp.csr_array, training: Training) -> tuple[F32, F32]:
    """Solve users and items in turn; end with the exact solve of the users."""
    by_item = sp.csr_array(by_user.T.tocsr())
    done, arrays = training.restore()
    if done:
        users, items = arrays["user_vectors"], arrays["item_vectors"]
    else:
        users, items = (_start(n, method.embedding_dim, training.rng) for n in by_user.shape)
    executor = training.runtime.executor
    for epoch in range(done + 1, method.epochs + 1):
        users = _solve(method, users, by_user, _fixed(method, items, executor), executor)
        items = _solve(method, items, by_item, _fixed(method, users, executor), executor)
        if not np.isfinite(items).all():
            raise DivergedError(f"als left the finite numbers in epoch {epoch}; raise reg (it is {method.reg:g})")
        training.end_epoch(epoch, users, items)
    return _solve(method, users, by_user, _fixed(method, items, executor), executor, solver="cholesky"), items


def _start(n: int, d: int, rng: np.random.Generator) -> F32:
    return rng.standard_normal((n, d), dtype=np.float32) * np.float32(0.1 / np.sqrt(d))


def _fixed(method: ALS, vectors: F32, executor: Executor) -> FixedSide:
    """Return one side as it is held fixed."""
    return FixedSide.of(vectors, np.float32(method.unobserved_weight) * gramian(vectors, executor=executor), executor=executor)


def _solve(method: ALS, start: F32, entries: sp.csr_array, fixed: FixedSide, executor: Executor, solver: str | None = None) -> F32:
    """Return the vectors that minimize L for the rows of `entries`, the other side held fixed."""
    return solve(
        start,
        WeightedRows(entries.indptr, entries.indices, entries.data, entries.data),
        fixed,
        _regularization(method, np.diff(entries.indptr), len(fixed.turned)).astype(np.float32),
        solver=solver or method.solver,  # type: ignore[arg-type]
        cg_steps=method.cg_steps,
        block_size=method.block_size,
        executor=executor,
    )


def _regularization(method: ALS, counts: Array, n_fixed: int) -> F64:
    """Return the regularization of rows with so many entries each, against a fixed side of `n_fixed` rows."""
    reg: F64 = method.reg * (counts + method.unobserved_weight * n_fixed) ** method.reg_exponent
    return reg


@dataclass(frozen=True, eq=False)
class LeastSquaresFoldIn(FoldIn):
    """The last half-step of the fit, for anyone's history.

    Parameters
    ----------
    method : ALS
        The recipe.
    item_vectors : F32, shape (n_items, d)
        The fixed side.
    """

    method: ALS
    item_vectors: F32

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return the exact solutions, shape (B, d)."""
        known = needs_history(self.method.name, histories).matrix()
        start = np.zeros((known.shape[0], self.item_vectors.shape[1]), np.float32)
        return _solve(self.method, start, known, self.fixed, Runtime().executor, solver="cholesky")

    @cached_property
    def fixed(self) -> FixedSide:
        """The items as they are held fixed, made at the first fold-in."""
        return _fixed(self.method, self.item_vectors, Runtime().executor)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.method.name)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return ``w_i q_i' A^-1 q_j`` for each item i of the history: the solution is linear in the sum of w_i q_i.

        A is the person's system, solved in float64. Source: Hu, Koren, Volinsky 2008, section 5.
        """
        executor, d = Runtime().executor, len(vector)
        known = self.item_vectors[history.items].astype(np.float64)  # (n, d)
        reg = _regularization(self.method, history.lengths, len(self.item_vectors))[0]
        base = self.method.unobserved_weight * gramian(self.item_vectors, executor=executor)

        def contributions(vector: F32) -> F64:
            system = base + known.T @ (known * history.weights[:, None]) + reg * np.eye(d)
            return history.weights * (known @ np.linalg.solve(system, vector))

        return {}, executor.map(contributions, [vector])[0].astype(np.float32)  # through the executor: BLAS on one thread
