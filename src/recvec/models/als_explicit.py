"""Ratings by alternating least squares: factors and biases learned jointly, and the pattern of who rated what if wanted.

Prediction: r_ui ~ mu + b_u + b_i + p_u . q_i, with mu the mean rating. Objective, with x_ui = 1 for rated pairs and 0 for all
others, sigma the standard deviation of the ratings, lambda = `reg`, nu = `reg_exponent`, beta = `bias_reg`, w = `pattern_weight`,
n_u and n_i the numbers of ratings::

    L =  sum_{(u,i) rated} (r_ui - mu - b_u - b_i - p_u . q_i)^2
       + lambda * [ sum_u n_u^nu (sigma |p_u|^2 + beta b_u^2) + sum_i n_i^nu (sigma |q_i|^2 + beta b_i^2) ]
       + w sigma^2 * [ sum_{all (u,i)} (x_ui - p_u . c_i)^2 + lambda sigma n_users^nu sum_i |c_i|^2 ]
       + w sigma^2 * [ sum_{all (u,i)} (x_ui - d_u . q_i)^2 + lambda sigma n_items^nu sum_u |d_u|^2 ]

The last two lines are what others call implicit features: which films a person has rated says something about the person,
whatever the stars. p and q take part in two factorizations; C and D serve the second only, and have a closed form,
C = X' P (P'P + lambda sigma n_users^nu I)^-1, so that nothing of them is kept between epochs. With sigma where it stands, stars
times ten give the same model times ten: the settings do not depend on the scale of the ratings.

An epoch solves C, the users, D, the items, each exactly: no step raises L. A bias is one more coordinate: a user looks for
(p_u, b_u / s) against the rows (q_i, s) with s^2 = sigma / beta, which gives it its own regularization. The pattern adds
w sigma^2 C'C to the system of every user and w sigma^2 sum_{i rated} c_i to its right-hand side. The fit ends with C and the
users, so that folding in a training history gives the stored vector.

Shapes: users (p, b_u, 1) and items (q, 1, b_i), d + 2 columns. Cost of an epoch: 4 nnz d^2 + (n_users + n_items) d^3 / 3, and
with the pattern 8 nnz d more. A user or item without ratings has the zero vector and no bias; a person without history gets
the order of the item biases.

An update solves new users, then new items against the users, then everyone who has new ratings, all exactly; old items and C
stay, and new items have no part in C until the next fit.

Sources: Zhou, Wilkinson, Schreiber, Pan, AAIM 2008 (regularization by counts); Koren, Bell, Volinsky, "Matrix factorization
techniques for recommender systems", 2009 (biases); Cortes, "Cold-start recommendations in collective matrix factorization",
2018 (the pattern as a second matrix with factors in common).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

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
from recvec.errors import ArtifactError, DivergedError
from recvec.kernels.factorization import sparse_dense
from recvec.kernels.least_squares import WeightedRows, gramian, half_step
from recvec.types import F32, F64, I64, Array, Executor


@dataclass(frozen=True, kw_only=True)
class ALSExplicit(Method):
    """Matrix factorization for ratings by alternating least squares."""

    name: ClassVar[str] = "als-explicit"
    family: ClassVar[str] = "matrix factorization"
    tasks: ClassVar[tuple[str, ...]] = ("rating",)
    task: ClassVar[str] = "rating"
    needs: ClassVar[frozenset[str]] = frozenset({"interactions", "ratings"})
    gives: ClassVar[str] = "user and item factors, and biases"

    embedding_dim: int = param(32, "length of the vectors", low=1, high=2048, search=(8, 256, "log"))
    epochs: int = param(15, "passes over users and items", low=1, high=1000, search=(5, 40))
    reg: float = param(1.2, "regularization, scaled by counts", low=0.0, high=1e6, search=(0.1, 10.0, "log"))
    reg_exponent: float = param(0.5, "exponent of the counts in the regularization", low=0.0, high=1.0, search=(0.0, 1.0))
    bias_reg: float = param(0.3, "regularization of the biases over that of the factors", low=1e-6, high=1e12, search=(0.01, 10.0, "log"))
    pattern_weight: float = param(
        1.6, "weight of each pair in the factorization of who rated what; 0: none", low=0.0, search=(0.001, 1.0, "log")
    )

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Alternate; the user vectors are the fold-in of the training histories."""
        ratings = dataset.matrix("rating")  # (n_users, n_items)
        problem = Problem(self, float(ratings.data.mean(dtype=np.float64)), float(ratings.data.std(dtype=np.float64)) or 1.0)
        users, items, pattern = _alternate(problem, ratings, training)
        return DotModel(
            method=self,
            user_vectors=_as_users(users),
            item_vectors=_as_items(items),
            n_extra=2,
            offset=problem.mean,
            bounds=(float(ratings.data.min()), float(ratings.data.max())),
            fold_in=RatingFoldIn(problem, items, pattern),
            curve=tuple(training.curve),
        )

    def _update(self, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
        """Place new items by the users who rated them, then solve the users who have new ratings."""
        ratings, executor = dataset.matrix("rating"), training.runtime.executor
        fold_in: Any = model.fold_in  # a RatingFoldIn
        problem, pattern = fold_in.problem, fold_in.pattern
        changed = np.arange(dataset.n_users) if new is None else np.union1d(new.users, np.arange(model.n_users, dataset.n_users))
        mine = ratings[changed]
        users, items = lengthened(model.user_vectors, dataset.n_users)[:, :-1], lengthened(fold_in.items, dataset.n_items)
        if dataset.n_items > model.n_items:
            users[changed] = _solve(problem, mine, items, pattern, executor)  # new users are to be known before their items are
            beside = _pattern(problem, _ones(ratings[:, : model.n_items]), items[: model.n_items, :-1], executor)
            by_item = sp.csr_array(ratings[:, model.n_items :].T.tocsr())  # (n_new, n_users)
            items[model.n_items :] = _solve(problem, by_item, users, beside, executor)
        users[changed] = _solve(problem, mine, items, pattern, executor)
        low, high = model.bounds or (np.inf, -np.inf)
        return replace(
            model,
            user_vectors=_as_users(users),
            item_vectors=_as_items(items),
            fold_in=RatingFoldIn(problem, items, pattern),
            bounds=(min(low, float(ratings.data.min())), max(high, float(ratings.data.max()))),
        )

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        deviation = float(state.arrays["fold_in.deviation"][0])
        if not 0 < deviation < np.inf:
            raise ArtifactError(f"the model's standard deviation of the ratings is {deviation:g}; allowed: above 0; fit it again")
        problem = Problem(self, float(state.meta["offset"]), deviation)  # type: ignore[arg-type]
        fold_in = RatingFoldIn(problem, np.delete(state.arrays["item_vectors"], -2, axis=1), state.arrays.get("fold_in.pattern"))
        return DotModel.restored(self, state, fold_in)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """All epochs, each solved exactly."""
        d, rows = self.embedding_dim + 1, shape.n_users + shape.n_items
        pattern = 8.0 * shape.n_interactions * d if self.pattern_weight else 0.0
        work = 4.0 * shape.n_interactions * d * d + rows * d**3 / 3 + pattern
        memory = 64 * shape.n_interactions + 24 * rows * d
        return Cost(operations=self.epochs * work, bytes_moved=8.0 * self.epochs * shape.n_interactions * d, memory=memory)


@dataclass(frozen=True)
class Problem:
    """The recipe in the units of the ratings: the numbers that stand in L.

    Parameters
    ----------
    method : ALSExplicit
        The recipe.
    mean : float
        mu, the mean rating of the training part.
    deviation : float
        sigma, their standard deviation; 1 where they are all the same.
    """

    method: ALSExplicit
    mean: float
    deviation: float

    def reg(self, counts: Array) -> F64:
        """Return the regularization of the vectors of rows with so many ratings."""
        return self.method.reg * self.deviation * np.asarray(counts, np.float64) ** self.method.reg_exponent

    @property
    def bias_scale(self) -> float:
        """s, the length of the coordinate that a bias is multiplied by."""
        return float(np.sqrt(self.deviation / self.method.bias_reg))

    @property
    def pattern_weight(self) -> float:
        """What each pair of the pattern weighs, w sigma^2."""
        return self.method.pattern_weight * self.deviation**2


def _alternate(problem: Problem, by_user: sp.csr_array, training: Training) -> tuple[F32, F32, F32 | None]:
    """Solve users and items in turn; return both with their biases, (n, d + 1), and the factors C of the last solve."""
    by_item, executor = sp.csr_array(by_user.T.tocsr()), training.runtime.executor
    users_by_item, items_by_user = _ones(by_item), _ones(by_user)
    done, arrays = training.restore()
    if done:
        users, items = arrays["user_vectors"][:, :-1], np.delete(arrays["item_vectors"], -2, axis=1)
    else:
        users, items = (_start(problem, n, training.rng) for n in by_user.shape)
    for epoch in range(done + 1, problem.method.epochs + 1):
        users = _solve(problem, by_user, items, _pattern(problem, users_by_item, users[:, :-1], executor), executor)
        items = _solve(problem, by_item, users, _pattern(problem, items_by_user, items[:, :-1], executor), executor)
        if not np.isfinite(items).all():
            raise DivergedError(f"als-explicit left the finite numbers in epoch {epoch}; raise reg (it is {problem.method.reg:g})")
        training.end_epoch(epoch, _as_users(users), _as_items(items))
    pattern = _pattern(problem, users_by_item, users[:, :-1], executor)
    return _solve(problem, by_user, items, pattern, executor), items, pattern


def _start(problem: Problem, n: int, rng: np.random.Generator) -> F32:
    """Return vectors from N(0, 0.01 sigma / d), and no biases: (n, d + 1)."""
    d = problem.method.embedding_dim
    vectors = rng.standard_normal((n, d), dtype=np.float32) * np.float32(0.1 * np.sqrt(problem.deviation / d))
    return np.column_stack([vectors, np.zeros(n, np.float32)])


def _pattern(problem: Problem, x: sp.csr_array, vectors: F32, executor: Executor) -> F32 | None:
    """Return the factors that best rebuild the 0/1 pattern from `vectors` (m, d): ``X V (V'V + reg m^nu I)^-1``, (n, d)."""
    if not problem.pattern_weight:
        return None
    m, d = vectors.shape
    system = gramian(vectors, executor=executor) + problem.reg(np.array(m)) * np.eye(d)
    inverse = executor.map(np.linalg.inv, [system])[0].astype(np.float32)  # through the executor: BLAS on one thread
    return sparse_dense(x, vectors @ inverse, executor=executor)


def _solve(problem: Problem, ratings: sp.csr_array, fixed: F32, pattern: F32 | None, executor: Executor) -> F32:
    """Return what minimizes L for the rows of `ratings`.

    Parameters
    ----------
    problem : Problem
        What L holds.
    ratings : csr_array, shape (n, m)
        Ratings.
    fixed : F32, shape (m, d + 1)
        Vectors of the other side, their biases in the last column.
    pattern : F32, shape (m or fewer, d), optional
        Factors of the pattern; rows of `fixed` that they do not reach have no part in it.
    executor : Executor
        Runs the blocks.

    Returns
    -------
    F32, shape (n, d + 1)
        Vectors and biases; zeros for rows without ratings.
    """
    (n, m), d = ratings.shape, fixed.shape[1] - 1
    scale, weight = np.float32(problem.bias_scale), np.float32(problem.pattern_weight)
    known = np.column_stack([fixed[:, :-1], np.full(m, scale)])
    rest: F32 = (ratings.data - np.float32(problem.mean)) - fixed[ratings.indices, -1]
    entries = WeightedRows(ratings.indptr, ratings.indices, np.ones_like(rest), rest)
    gram = np.zeros((d + 1, d + 1), np.float32)
    if pattern is not None:
        met = _ones(ratings if len(pattern) == m else ratings[:, : len(pattern)])
        sums = sparse_dense(met, pattern, executor=executor)  # (n, d)
        known = np.concatenate([known, np.column_stack([sums, np.zeros(n, np.float32)])])
        entries = _with_sums(entries, m, weight)
        gram[:-1, :-1] = weight * gramian(pattern, executor=executor)
    reg = problem.reg(np.diff(ratings.indptr)).astype(np.float32)
    found = half_step(np.zeros((n, d + 1), np.float32), entries, known, gram, reg, solver="cholesky", executor=executor)
    found[:, -1] *= scale
    return found


def _with_sums(entries: WeightedRows, m: int, weight: np.float32) -> WeightedRows:
    """Give each row that has entries one more, linear only, at row m + u of the fixed side, where its sum stands."""
    rows = np.flatnonzero(np.diff(entries.indptr))
    at = entries.indptr[rows + 1]
    indptr: I64 = entries.indptr + np.searchsorted(rows, np.arange(len(entries.indptr)))  # one more for each of `rows` before
    return WeightedRows(
        indptr,
        np.insert(entries.indices, at, m + rows),
        np.insert(entries.quadratic, at, np.float32(0)),
        np.insert(entries.linear, at, weight),
    )


def _ones(ratings: sp.csr_array) -> sp.csr_array:
    """Return the pattern: 1 for every entry, also where the rating is 0."""
    return sp.csr_array((np.ones(len(ratings.data), np.float32), ratings.indices, ratings.indptr), shape=ratings.shape)


def _as_users(users: F32) -> F32:
    """Return (p, b_u, 1) from (p, b_u)."""
    return np.column_stack([users, np.ones(len(users), np.float32)])


def _as_items(items: F32) -> F32:
    """Return (q, 1, b_i) from (q, b_i)."""
    return np.insert(items, -1, np.float32(1), axis=1)


@dataclass(frozen=True, eq=False)
class RatingFoldIn(FoldIn):
    """The last half-step of the fit, for anyone's ratings.

    Parameters
    ----------
    problem : Problem
        What L holds.
    items : F32, shape (n_items, d + 1)
        Item vectors, biases in the last column.
    pattern : F32, shape (n_items or fewer, d), optional
        The factors C; items that came by an update have none.
    """

    problem: Problem
    items: F32
    pattern: F32 | None

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return the exact solutions ``(p, b, 1)``, shape (B, d + 2); without ratings ``(0, 0, 1)``."""
        ratings = needs_history(self.problem.method.name, histories).matrix()
        return _as_users(_solve(self.problem, ratings, self.items, self.pattern, Runtime().executor))

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.problem.method.name)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return mean, biases, and ``(q_j, 0)' A^-1 [(r_i - mu - b_i) (q_i, s) + w sigma^2 (c_i, 0)]`` for each item i of the history.

        A is the person's system, solved in float64: the solution is linear in what the items bring.
        """
        problem, mine, d = self.problem, self.items[history.items].astype(np.float64), len(vector) - 2
        bias = float(self.queries(history, None)[0, d])
        named = {"mean rating": problem.mean, "user bias": bias * float(vector[d]), "item bias": float(vector[d + 1])}
        if not len(mine):
            return named, np.zeros(0, np.float32)
        known = np.column_stack([mine[:, :-1], np.full(len(mine), problem.bias_scale)])  # (n, d + 1)
        brought = (history.weights - problem.mean - mine[:, -1])[:, None] * known
        system = known.T @ known + problem.reg(history.lengths) * np.eye(d + 1)
        if self.pattern is not None:
            shared = np.flatnonzero(history.items < len(self.pattern))
            brought[shared, :-1] += problem.pattern_weight * self.pattern[history.items[shared]]
            system[:-1, :-1] += problem.pattern_weight * gramian(self.pattern, executor=Runtime().executor)

        def contributions(wanted: F64) -> F64:
            return brought @ np.linalg.solve(system, wanted)

        asked = np.append(vector[:d], 0).astype(np.float64)
        return named, Runtime().executor.map(contributions, [asked])[0].astype(np.float32)  # through the executor: BLAS on one thread

    def arrays(self) -> Mapping[str, Array]:
        """Return what the item vectors do not hold: sigma, and the factors of the pattern, if any."""
        deviation = {"deviation": np.array([self.problem.deviation])}
        return deviation if self.pattern is None else {**deviation, "pattern": self.pattern}
