"""Models whose score is a dot product."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from recvec.contract.fold_in import FoldIn
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
from recvec.errors import NotSupportedError, ValueRangeError
from recvec.kernels.topk import top_k
from recvec.types import F32, Array, Json


class Link(ABC):
    """Turns vectors to the scale of a task where the score itself is on another one."""

    @abstractmethod
    def values(self, queries: F32, items: F32) -> F32:
        """Return one value a pair of rows, shape (n,), such as a probability."""

    def deviations(self, queries: F32, items: F32) -> F32 | None:
        """Return the standard deviation of what is predicted, shape (n,); None where nothing is known of it."""
        return None


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
    link : Link, optional
        Makes predictions of vectors where they are not the score with the offset; the method restores it.
    notes : tuple of str
        What a person should know of the data as the method read them.
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
    link: Link | None = None
    notes: tuple[str, ...] = ()
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
        if not self.fold_in.uses_context:
            refuse_context(self.method, context)
        if users is not None:
            found = self.user_vectors[checked_rows(users, self.n_users, "user")]
        else:
            found = self.fold_in.queries(checked_histories(histories, self.n_items), features)
        if context is None:
            return found
        if len(context) not in (1, len(found)):
            raise ValueRangeError(f"the context has {len(context)} rows for {len(found)} queries; allowed: one row each, or one for all")
        return self.fold_in.in_context(found, context)

    @property
    def answers_attributes(self) -> bool:  # type: ignore[override]
        """See `Model`."""
        return self.fold_in.answers_attributes

    @property
    def uses_context(self) -> bool:  # type: ignore[override]
        """See `Model`."""
        return self.fold_in.uses_context

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `Model.item_queries`."""
        return self.fold_in.item_queries(features)

    def scores(self, queries: F32, items: Array | None = None) -> F32:
        """See `Model.scores`."""
        vectors = self.item_vectors if items is None else self.item_vectors[checked_rows(items, self.n_items, "item")]
        return queries @ vectors.T  # (B, n_items)

    def predict(self, users: Array, items: Array, *, context: pl.DataFrame | None = None) -> F32:
        """See `Model.predict`."""
        queries, vectors = self._pairs(users, items, context)
        if self.link is not None:
            values = self.link.values(queries, vectors)
        else:
            values = np.einsum("nd,nd->n", queries, vectors) + np.float32(self.offset)
        return values if self.bounds is None else values.clip(*self.bounds)

    def deviations(self, users: Array, items: Array, *, context: pl.DataFrame | None = None) -> F32:
        """Return the standard deviation of what is predicted for each pair, on the task's scale, shape (n,).

        Raises
        ------
        NotSupportedError
            Where the method does not know how sure it is.
        """
        found = None if self.link is None else self.link.deviations(*self._pairs(users, items, context))
        if found is None:
            raise NotSupportedError(f"{self.method.name} does not know how sure it is; use fm for ratings with solver=gibbs")
        return found

    def _pairs(self, users: Array, items: Array, context: pl.DataFrame | None) -> tuple[F32, F32]:
        """Return query and item vector of each pair."""
        things = checked_rows(items, self.n_items, "item")
        return self.queries(users, context=context), self.item_vectors[things]

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

    def explain(self, history: Histories, item: int, *, user: int | None = None, context: pl.DataFrame | None = None) -> Explanation:
        """See `Model.explain`."""
        person = checked_history(history, self.n_items)
        row = checked_rows(np.asarray(item), self.n_items, "item")
        vector = self.item_vectors[row[0]]
        known = None
        if user is not None:
            query = self.queries(np.array([user]))[0]
            known = self.fold_in.reasons(user, person, query, int(row[0]), vector, context)
        if known is None:
            query = self.queries(histories=person)[0]
            known = self.fold_in.parts_of_item(person, int(row[0]), vector)
        if context is not None:
            query = self.queries(np.array([user]) if user is not None else None, histories=person, context=context)[0]
        parts, contributions = known
        return Explanation(score=float(query @ vector) + self.offset, parts=parts, items=person.items, contributions=contributions)

    def attribute_vectors(self, column: str) -> tuple[list[str], F32]:
        """See `Model.attribute_vectors`."""
        return self.fold_in.attribute_vectors(column) or super().attribute_vectors(column)

    def state(self) -> State:
        """See `Model.state`."""
        arrays = {"user_vectors": self.user_vectors, "item_vectors": self.item_vectors}
        arrays |= {f"fold_in.{name}": array for name, array in self.fold_in.arrays().items()}
        meta: dict[str, Json] = {"kind": "dot", "n_extra": self.n_extra, "offset": self.offset}
        meta["bounds"] = None if self.bounds is None else list(self.bounds)
        meta["curve"] = [dict(point) for point in self.curve]
        if self.notes:
            meta["notes"] = [*self.notes]
        if kept := dict(self.fold_in.meta()):
            meta["fold_in"] = kept
        return State(arrays, meta)

    @staticmethod
    def restored(method: Any, state: State, fold_in: FoldIn, link: Link | None = None) -> "DotModel":
        """Build the model of `state` again; the method supplies its fold-in and its link."""
        bounds: Any = state.meta["bounds"]
        curve: Any = state.meta["curve"]
        notes: Any = state.meta.get("notes", ())
        return DotModel(
            method=method,
            user_vectors=state.arrays["user_vectors"],
            item_vectors=state.arrays["item_vectors"],
            fold_in=fold_in,
            n_extra=int(state.meta["n_extra"]),  # type: ignore[arg-type]
            offset=float(state.meta["offset"]),  # type: ignore[arg-type]
            bounds=None if bounds is None else (bounds[0], bounds[1]),
            link=link,
            notes=tuple(notes),
            curve=tuple(curve),
        )
