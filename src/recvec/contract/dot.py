"""Models whose score is a dot product."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from recvec.contract.model import (
    Explanation,
    FoldIn,
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
from recvec.kernels.topk import top_k
from recvec.types import F32, Array, Json


@dataclass(frozen=True, eq=False, kw_only=True)
class DotModel(Model):
    """The score is the dot product of query and item vector.

    Parameters
    ----------
    method : Method
        The recipe.
    user_vectors : F32, shape (n_users, d + n_extra)
        Stored queries.
    item_vectors : F32, shape (n_items, d + n_extra)
        Item vectors.
    fold_in : FoldIn
        Answers for people and items outside the training table.
    n_extra : int
        Trailing columns that hold biases and item-only terms; similarity leaves them out.
    offset : float
        Added to the score to reach the task's scale.
    bounds : tuple of float, optional
        Predictions are clipped to this range (the training ratings').
    curve : tuple of mappings
        What was measured after each epoch.
    """

    method: Any
    user_vectors: F32
    item_vectors: F32
    fold_in: FoldIn
    n_extra: int = 0
    offset: float = 0.0
    bounds: tuple[float, float] | None = None
    curve: tuple[Mapping[str, float], ...] = ()

    def queries(
        self,
        users: Array | None = None,
        *,
        histories: Histories | None = None,
        features: pl.DataFrame | None = None,
        context: pl.DataFrame | None = None,
    ) -> F32:
        """See `Model.queries`."""
        refuse_context(self.method, context)
        if users is not None:
            return self.user_vectors[checked_rows(users, self.n_users, "user")]
        return self.fold_in.queries(checked_histories(histories, self.n_items), features)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `Model.item_queries`."""
        return self.fold_in.item_queries(features)

    def scores(self, queries: F32, items: Array | None = None) -> F32:
        """See `Model.scores`."""
        vectors = self.item_vectors if items is None else self.item_vectors[checked_rows(items, self.n_items, "item")]
        return queries @ vectors.T  # (B, n_items)

    def predict(self, users: Array, items: Array, *, context: pl.DataFrame | None = None) -> F32:
        """See `Model.predict`."""
        refuse_context(self.method, context)
        people, things = checked_rows(users, self.n_users, "user"), checked_rows(items, self.n_items, "item")
        values = np.einsum("nd,nd->n", self.user_vectors[people], self.item_vectors[things]) + np.float32(self.offset)
        return values if self.bounds is None else values.clip(*self.bounds)

    def recommend(
        self,
        queries: F32,
        k: int = 10,
        *,
        exclude: Histories | None = None,
        candidates: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """See `Model.recommend`."""
        allowed = None if candidates is None else checked_rows(candidates, self.n_items, "item")
        left_out = None if exclude is None else exclude.exclude
        executor = (runtime or Runtime()).executor
        return Ranked(*top_k(queries, self.item_vectors, checked_k(k), exclude=left_out, candidates=allowed, executor=executor))

    def audience(
        self,
        items: Array,
        k: int = 100,
        *,
        exclude: Histories | None = None,
        users: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """See `Model.audience`; the item is the query, the users are the catalogue."""
        wanted = self.item_vectors[checked_rows(items, self.n_items, "item")]
        allowed = None if users is None else checked_rows(users, self.n_users, "user")
        left_out = None if exclude is None else exclude.exclude
        executor = (runtime or Runtime()).executor
        return Ranked(*top_k(wanted, self.user_vectors, checked_k(k), exclude=left_out, candidates=allowed, executor=executor))

    def explain(self, history: Histories, item: int) -> Explanation:
        """See `Model.explain`."""
        person = checked_history(history, self.n_items)
        vector = self.item_vectors[checked_rows(np.asarray(item), self.n_items, "item")[0]]
        parts, contributions = self.fold_in.parts(person, vector)
        score = float(self.fold_in.queries(person, None)[0] @ vector) + self.offset
        return Explanation(score=score, parts=parts, items=person.items, contributions=contributions)

    def state(self) -> State:
        """See `Model.state`."""
        arrays = {"user_vectors": self.user_vectors, "item_vectors": self.item_vectors}
        arrays |= {f"fold_in.{name}": array for name, array in self.fold_in.arrays().items()}
        meta: dict[str, Json] = {"kind": "dot", "n_extra": self.n_extra, "offset": self.offset}
        meta["bounds"] = None if self.bounds is None else list(self.bounds)
        meta["curve"] = [dict(point) for point in self.curve]
        return State(arrays, meta)

    @staticmethod
    def restored(method: Any, state: State, fold_in: FoldIn) -> "DotModel":
        """Build the model of `state` again; the method supplies its fold-in."""
        bounds: Any = state.meta["bounds"]
        curve: Any = state.meta["curve"]
        return DotModel(
            method=method,
            user_vectors=state.arrays["user_vectors"],
            item_vectors=state.arrays["item_vectors"],
            fold_in=fold_in,
            n_extra=int(state.meta["n_extra"]),  # type: ignore[arg-type]
            offset=float(state.meta["offset"]),  # type: ignore[arg-type]
            bounds=None if bounds is None else (bounds[0], bounds[1]),
            curve=tuple(curve),
        )
