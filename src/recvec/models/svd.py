"""Singular value decomposition of the interaction matrix R, normalized for rankings, bias-centred for ratings.

``task="ranking"``: R~ = D_u^-1/2 R D_i^-1/2 with D the sums of rows and columns, R~ ~ U S V'. User vectors are
R~ V = U S, item vectors D_i^1/2 V: popular items keep their advantage when items are scored, but not when the space
is learned. Score s_ui = (D_u^-1/2 R D_i^-1/2 V V' D_i^1/2)_ui.

``task="rating"``: r_ui ~ mu + b_u + b_i + e_u V V'_i. The biases minimize the squared error with `bias_reg` added to
each count; E holds the residuals r - mu - b_u - b_i of the rated pairs (others zero), V its leading right singular
vectors. User vectors are (e_u V, b_u, 1), item vectors (V, 1, b_i): two extra columns.

A person is folded in by the same formula. Without history: zeros for rankings; (0, 0, 1) for ratings, the order of
the item biases. Cost: `kernels.factorization.truncated_svd`, seconds for a million interactions.

An update folds in the users who have new interactions, and places a new item where its users are: column i of
R~ ~ P V' with P = R~ V = U S the user vectors gives V_i = S^-2 P' R~_i, and S^2 are the squared lengths of the columns
of P. Degrees and biases of old items stay. Folding in a history gives the stored vector for everyone, as after a fit.

Sources: Cremonesi, Koren, Turrin, RecSys 2010 (PureSVD); Koren, "Factor in the neighbors", TKDD 2010 (biases).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import (
    Cost,
    DataShape,
    DotModel,
    FoldIn,
    LinearFoldIn,
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
from recvec.kernels.factorization import BLOCK, DENSE_SIDE, krylov_space, sparse_dense, truncated_svd
from recvec.types import F32, F64, Array, Executor

_BIAS_ROUNDS = 10  # alternations between user and item biases; the change is below 1e-3 stars by then


@dataclass(frozen=True, kw_only=True)
class SVD(Method):
    """Matrix factorization by a truncated singular value decomposition."""

    name: ClassVar[str] = "svd"
    family: ClassVar[str] = "matrix factorization"
    tasks: ClassVar[tuple[str, ...]] = ("ranking", "rating")
    gives: ClassVar[str] = "user and item factors"

    task: str = param("ranking", "what the vectors are for", choices=("ranking", "rating"))
    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(8, 512, "log"))
    bias_reg: float = param(5.0, "added to the counts of the biases (rating only)", low=0.0, search=(0.1, 50.0, "log"))

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Decompose; the user vectors are the fold-in of the training histories."""
        return self._fit_ranking(dataset, training) if self.task == "ranking" else self._fit_rating(dataset, training)

    def _fit_ranking(self, dataset: Dataset, training: Training) -> DotModel:
        histories = dataset.histories()
        matrix = histories.matrix()
        user_root, item_root = (_inverse_root(matrix.sum(axis=axis)) for axis in (1, 0))
        data = matrix.data * np.repeat(user_root, histories.lengths) * item_root[matrix.indices]
        normalized = sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
        _, _, v = truncated_svd(normalized, self.embedding_dim, rng=training.rng, executor=training.runtime.executor)
        fold_in = LinearFoldIn(self.name, v * item_root[:, None], "degree")
        return DotModel(
            method=self,
            user_vectors=fold_in.queries(histories, None),
            item_vectors=v / _nonzero(item_root)[:, None],
            fold_in=fold_in,
        )

    def _fit_rating(self, dataset: Dataset, training: Training) -> DotModel:
        histories = dataset.histories("rating")
        ratings = histories.matrix()
        mean = float(ratings.data.mean(dtype=np.float64))
        item_bias = _item_biases(ratings, mean, self.bias_reg)
        fold_in = RatingFoldIn(self, mean, item_bias, np.zeros((dataset.n_items, 0), np.float32))
        residuals, _ = fold_in.residuals(histories)
        _, _, v = truncated_svd(residuals, self.embedding_dim, rng=training.rng, executor=training.runtime.executor)
        fold_in = RatingFoldIn(self, mean, item_bias, v)
        return DotModel(
            method=self,
            user_vectors=fold_in.queries(histories, None),
            item_vectors=np.column_stack([v, np.ones_like(item_bias), item_bias]),
            n_extra=2,
            offset=mean,
            bounds=(float(ratings.data.min()), float(ratings.data.max())),
            fold_in=fold_in,
        )

    def _update(self, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
        """Place new items by the users who met them, then fold in the users who have new interactions."""
        changed = np.arange(dataset.n_users) if new is None else np.union1d(new.users, np.arange(model.n_users, dataset.n_users))
        users = lengthened(model.user_vectors, dataset.n_users)
        update = self._update_ranking if self.task == "ranking" else self._update_rating
        return update(model, dataset, users, changed, training.runtime.executor)

    def _update_ranking(self, model: DotModel, dataset: Dataset, users: F32, changed: Array, executor: Executor) -> DotModel:
        histories = dataset.histories()
        mine, items = histories.take(changed), lengthened(model.item_vectors, dataset.n_items)
        fold_in = LinearFoldIn(self.name, lengthened(model.fold_in.arrays()["into"], dataset.n_items), "degree")
        users[changed] = fold_in.queries(mine, None)
        if dataset.n_items > model.n_items:
            user_root = _inverse_root(histories.matrix().sum(axis=1))
            added = sp.csr_array(histories.matrix()[:, model.n_items :].T.tocsr())  # (n_new, n_users)
            item_root = _inverse_root(added.sum(axis=1))
            added = sp.csr_array(sp.diags_array(item_root) @ added @ sp.diags_array(user_root)).astype(np.float32)
            v = _placed(added, users, executor)
            fold_in.into[model.n_items :], items[model.n_items :] = v * item_root[:, None], v / _nonzero(item_root)[:, None]
            users[changed] = fold_in.queries(mine, None)
        return replace(model, user_vectors=users, item_vectors=items, fold_in=fold_in)

    def _update_rating(self, model: DotModel, dataset: Dataset, users: F32, changed: Array, executor: Executor) -> DotModel:
        histories = dataset.histories("rating")
        mine, v = histories.take(changed), lengthened(model.item_vectors[:, :-2], dataset.n_items)
        item_bias = lengthened(model.item_vectors[:, -1:], dataset.n_items)[:, 0]
        fold_in = RatingFoldIn(self, model.offset, item_bias, v)
        users[changed] = fold_in.queries(mine, None)
        if dataset.n_items > model.n_items:
            added = sp.csr_array(histories.matrix()[:, model.n_items :].T.tocsr())  # (n_new, n_users)
            rest = added.data.astype(np.float64) - model.offset - users[added.indices, -2]
            bias = _user_biases(added, rest, self.bias_reg)  # the same shrunken mean, of the rows of items
            added.data = (rest - np.repeat(bias, np.diff(added.indptr))).astype(np.float32)
            item_bias[model.n_items :], v[model.n_items :] = bias, _placed(added, users[:, :-2], executor)
            users[changed] = fold_in.queries(mine, None)
        known = histories.weights
        low, high = model.bounds or (np.inf, -np.inf)
        return replace(
            model,
            user_vectors=users,
            item_vectors=np.column_stack([v, np.ones_like(item_bias), item_bias]),
            fold_in=fold_in,
            bounds=(min(low, float(known.min())), max(high, float(known.max()))),
        )

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        if self.task == "ranking":
            return DotModel.restored(self, state, LinearFoldIn(self.name, state.arrays["fold_in.into"], "degree"))
        items, mean = state.arrays["item_vectors"], float(state.meta["offset"])  # type: ignore[arg-type]
        v = np.ascontiguousarray(items[:, :-2])
        return DotModel.restored(self, state, RatingFoldIn(self, mean, items[:, -1].copy(), v))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Sparse products and reorthogonalization of the Krylov space, or all eigenvectors of a small side."""
        side, space, d = min(shape.n_users, shape.n_items), krylov_space(self.embedding_dim), self.embedding_dim
        vectors = 4 * (2 * shape.n_users + 3 * shape.n_items) * d
        if side <= max(DENSE_SIDE, space):
            work, moved, working = 5.0 * side**3, 16.0 * shape.n_interactions**2 / max(shape.n_users, shape.n_items), 12 * side * side
        else:
            work = 4.0 * shape.n_interactions * space + 2.5 * side * space * space + 5.0 * space**3
            moved = 8.0 * shape.n_interactions * space + 5.0 * side * space * space / BLOCK
            working = 4 * side * space + 24 * space * space
        return Cost(operations=work, bytes_moved=moved, memory=28 * shape.n_interactions + working + vectors)


def _placed(items: sp.csr_array, vectors: F32, executor: Executor) -> F32:
    """Return the right singular vectors of new columns, given as rows (n, n_users), from the user vectors P = U S."""
    squares: F32 = np.einsum("ud,ud->d", vectors, vectors)
    return sparse_dense(items, vectors, executor=executor) / _nonzero(squares)


def _nonzero(values: F32) -> F32:
    return np.where(values > 0, values, 1).astype(np.float32)


def _inverse_root(sums: Array) -> F32:
    """Return 1 / sqrt, and 0 for rows and columns without entries."""
    positive = np.where(sums > 0, sums, 1)
    return np.where(sums > 0, positive**-0.5, 0).astype(np.float32)


def _user_biases(ratings: sp.csr_array, centred: F64, reg: float) -> F64:
    """Return the shrunken mean of each row of `centred`, the data of `ratings` less what is known."""
    counts = np.diff(ratings.indptr)
    people = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(people, centred, minlength=len(counts)) / np.maximum(counts + reg, 1e-9)


def _item_biases(ratings: sp.csr_array, mean: float, reg: float) -> F32:
    """Alternate between item and user biases and return the item biases, shape (n_items,)."""
    n_items = ratings.shape[1]
    people = np.repeat(np.arange(ratings.shape[0]), np.diff(ratings.indptr))
    counts = np.bincount(ratings.indices, minlength=n_items)
    user_bias = np.zeros(ratings.shape[0])
    for _ in range(_BIAS_ROUNDS):
        rest = ratings.data - mean - user_bias[people]
        item_bias = np.bincount(ratings.indices, rest, minlength=n_items) / np.maximum(counts + reg, 1e-9)
        user_bias = _user_biases(ratings, ratings.data - mean - item_bias[ratings.indices], reg)
    return item_bias.astype(np.float32)


@dataclass(frozen=True, eq=False)
class RatingFoldIn(FoldIn):
    """A person's bias and residuals, given the items' biases and vectors.

    Parameters
    ----------
    method : SVD
        The recipe.
    mean : float
        Mean rating of the training part.
    item_bias : F32, shape (n_items,)
        Biases.
    vectors : F32, shape (n_items, d)
        Right singular vectors of the residuals.
    """

    method: SVD
    mean: float
    item_bias: F32
    vectors: F32

    def residuals(self, histories: Histories) -> tuple[sp.csr_array, F32]:
        """Return what the biases leave over, (B, n_items), and the biases of the people, (B,)."""
        ratings = histories.matrix()
        rest = ratings.data.astype(np.float64) - self.mean - self.item_bias[ratings.indices]
        bias = _user_biases(ratings, rest, self.method.bias_reg)
        rest -= np.repeat(bias, histories.lengths)
        left = sp.csr_array((rest.astype(np.float32), ratings.indices, ratings.indptr), shape=ratings.shape)
        return left, bias.astype(np.float32)

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return ``(e V, b, 1)``, shape (B, d + 2)."""
        residuals, bias = self.residuals(needs_history(self.method.name, histories))
        projected = sparse_dense(residuals, self.vectors, executor=Runtime().executor)
        return np.column_stack([projected, bias, np.ones_like(bias)])

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return mean and biases, and ``e_ui V_i . V_j`` for each item i that the person has rated."""
        residuals, bias = self.residuals(history)
        named = {"mean rating": self.mean, "user bias": float(bias[0] * vector[-2]), "item bias": float(vector[-1])}
        return named, residuals.data * (self.vectors[history.items] @ vector[:-2])

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.method.name)

    def arrays(self) -> Mapping[str, Array]:
        """Nothing: the item vectors hold it all."""
        return {}
