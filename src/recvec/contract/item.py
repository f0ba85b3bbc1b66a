"""Models whose score is a history times an item-item matrix."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract.blocks import ROWS_PER_BLOCK, ranked_in_blocks, ranked_users
from recvec.contract.item_weights import ItemWeights, column, restored_weights, weighted, weights_arrays
from recvec.contract.method import Cost, DataShape, Training
from recvec.contract.model import (
    Explanation,
    Model,
    Ranked,
    State,
    checked_histories,
    checked_history,
    checked_k,
    checked_rows,
    refuse_context,
)
from recvec.contract.runtime import Runtime
from recvec.data.histories import Histories
from recvec.errors import NotSupportedError
from recvec.kernels.blocks import even_blocks
from recvec.kernels.factorization import krylov_space, sparse_dense, truncated_svd
from recvec.types import F32, Array


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemModel(Model):
    """The score is a history row times an item-item matrix, plus an optional dot part.

    A query is the history itself, a CSR row over the catalogue: ``scores = H W + (H A) B'`` with H the
    histories (B, n_items), W the item-item matrix, A (n_items, d) and B (n_items, d) the dot part. The
    vectors are ``H A`` and B where there is a dot part, else those of a truncated SVD of W, see `decomposed`.

    Parameters
    ----------
    method, user_vectors, item_vectors, n_extra, curve
        As in `DotModel`.
    trained : Histories
        Training histories: the stored queries.
    weights : array, csr_array or Gram, shape (n_items, n_items)
        W: all entries, those that are not 0, or a product F F' of a sparse matrix that stays as it is.
    into : F32, shape (n_items, d), optional
        A; with it, B is `item_vectors`.
    """

    method: Any
    user_vectors: F32
    item_vectors: F32
    trained: Histories
    weights: ItemWeights
    into: F32 | None = None
    n_extra: int = 0
    curve: tuple[Mapping[str, float], ...] = ()

    @staticmethod
    def decomposed(method: Any, trained: Histories, weights: F32 | sp.csr_array, embedding_dim: int, training: Training) -> "ItemModel":
        """Build the model of a matrix without a dot part; its vectors are those of the truncated SVD ``W ~ U S V'``.

        Item vectors are V S and user vectors H U: their dot product is the score as far as rank d can hold it.
        """
        u, s, v = truncated_svd(weights, embedding_dim, rng=training.rng, executor=training.runtime.executor)
        users = sparse_dense(trained.matrix(), u, executor=training.runtime.executor)
        return ItemModel(method=method, user_vectors=users, item_vectors=v * s, trained=trained, weights=weights)

    def queries(
        self,
        users: Array | None = None,
        *,
        histories: Histories | None = None,
        features: pl.DataFrame | None = None,
        context: pl.DataFrame | None = None,
    ) -> sp.csr_array:
        """See `Model.queries`; a query is a history row, shape (B, n_items)."""
        refuse_context(self.method, context)
        if users is not None:
            return self.trained.take(checked_rows(users, self.n_users, "user")).matrix()
        given = checked_histories(histories, self.n_items)
        if given is None:
            raise NotSupportedError(f"{self.method.name} knows people by their history only; give histories, or use a demographic method")
        return given.matrix()

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `Model.item_queries`."""
        raise NotSupportedError(f"{self.method.name} knows items by their interactions only; use a content method for new items")

    def scores(self, queries: sp.csr_array, items: Array | None = None) -> F32:
        """See `Model.scores`."""
        rows = np.arange(self.n_items) if items is None else checked_rows(items, self.n_items, "item")

        def block(at: slice) -> F32:
            dense = self._block_scores(queries[at])
            return dense if items is None else dense[:, rows]

        parts = Runtime().executor.map(block, even_blocks(queries.shape[0], ROWS_PER_BLOCK))
        return np.concatenate([np.zeros((0, len(rows)), np.float32), *parts])

    def _block_scores(self, queries: sp.csr_array) -> F32:
        """Return scores of all items for a block of queries, computed in the calling thread."""
        dense = weighted(queries, self.weights)
        if self.into is not None:
            dense += sparse_dense(queries, self.into, executor=None) @ self.item_vectors.T
        return dense

    def predict(self, users: Array, items: Array, *, context: pl.DataFrame | None = None) -> F32:
        """See `Model.predict`."""
        people, things = checked_rows(users, self.n_users, "user"), checked_rows(items, self.n_items, "item")
        values = np.empty(len(people), np.float32)
        for start in range(0, len(people), ROWS_PER_BLOCK):
            at = slice(start, start + ROWS_PER_BLOCK)
            block = self.scores(self.queries(people[at], context=context))
            values[at] = block[np.arange(len(block)), things[at]]
        return values

    def recommend(
        self,
        queries: sp.csr_array,
        k: int = 10,
        *,
        exclude: Histories | None = None,
        candidates: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """See `Model.recommend`."""
        allowed = None if candidates is None else checked_rows(candidates, self.n_items, "item")
        return ranked_in_blocks(lambda at: self._block_scores(queries[at]), queries.shape[0], checked_k(k), exclude, allowed, runtime)

    def audience(
        self,
        items: Array,
        k: int = 100,
        *,
        exclude: Histories | None = None,
        users: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """See `Model.audience`; one column of the item-item matrix at a time."""
        histories = self.trained.matrix()
        scores = [histories @ self._influences(item) for item in checked_rows(items, self.n_items, "item")]
        allowed = None if users is None else checked_rows(users, self.n_users, "user")
        return ranked_users(np.array(scores).reshape(-1, self.n_users), checked_k(k), exclude, allowed, runtime)

    def explain(self, history: Histories, item: int, *, user: int | None = None, context: pl.DataFrame | None = None) -> Explanation:
        """See `Model.explain`."""
        refuse_context(self.method, context)
        person = checked_history(history, self.n_items)
        row = checked_rows(np.asarray(item), self.n_items, "item")[0]
        contributions = person.weights * self._influences(row)[person.items]
        score = float(self.scores(person.matrix(), np.array([row]))[0, 0])
        return Explanation(score=score, parts={}, items=person.items, contributions=contributions)

    def _influences(self, item: int) -> F32:
        """Return what weight 1 of each item in a history adds to the score of `item`, shape (n_items,)."""
        direct = column(self.weights, item)
        return direct if self.into is None else direct + self.into @ self.item_vectors[item]

    def state(self) -> State:
        """See `Model.state`."""
        arrays: dict[str, Array] = {"user_vectors": self.user_vectors, "item_vectors": self.item_vectors}
        arrays |= {f"trained.{n}": getattr(self.trained, n) for n in ("indptr", "items", "weights")}
        arrays |= weights_arrays(self.weights)
        if self.into is not None:
            arrays["into"] = self.into
        return State(arrays, {"kind": "item", "n_extra": self.n_extra, "curve": [dict(p) for p in self.curve]})

    @staticmethod
    def restored(method: Any, state: State) -> "ItemModel":
        """Build the model of `state` again.

        Raises
        ------
        ValueError
            Where the histories or W are none, or not over the items: kernels trust them.
        """
        arrays, items = state.arrays, state.arrays["item_vectors"]
        trained = Histories(n_items=len(items), **{n: arrays[f"trained.{n}"] for n in ("indptr", "items", "weights")})
        trained.check()
        return ItemModel(
            method=method,
            user_vectors=arrays["user_vectors"],
            item_vectors=items,
            trained=trained,
            weights=restored_weights(arrays, len(arrays["user_vectors"]), len(items)),
            into=arrays.get("into"),
            n_extra=int(state.meta["n_extra"]),  # type: ignore[arg-type]
            curve=tuple(state.meta["curve"]),  # type: ignore[arg-type]
        )


def neighbourhood_cost(shape: DataShape, n_neighbours: int, embedding_dim: int) -> Cost:
    """Return the cost of a sparse matrix with `n_neighbours` entries a column out of the products of histories, and of its decomposition.

    A history of n items takes n^2 products. Real histories differ in length, so that there are about three times as
    many as if all were equally long.
    """
    n_users, n_items, space = shape.n_users, shape.n_items, krylov_space(embedding_dim)
    products = 3.0 * shape.n_interactions**2 / n_users
    kept = int(min(n_neighbours, n_items, 1 + products / n_items)) * n_items
    vectors = (space + 3 * embedding_dim) * n_items + embedding_dim * n_users
    return Cost(
        operations=2 * products + 4.0 * kept * space + 8.0 * n_items * space * space,
        bytes_moved=16.0 * products + 100.0 * kept + 8.0 * kept * space / 4,
        memory=32 * kept + 32 * shape.n_interactions + 4 * vectors + 32 * n_items,
    )
