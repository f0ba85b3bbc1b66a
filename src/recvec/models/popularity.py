"""Popularity: the score of an item is the number of its interaction rows, the same for everyone.

Vectors: user (1), item (count); cosine similarity of counts says nothing (all are equal), dot and euclidean
compare counts. A person without history gets the same list. Cost: one pass over the interactions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import polars as pl

from recvec.contract import Cost, DataShape, DotModel, FoldIn, Method, Runtime, State, Training, no_new_items
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.errors import InputError
from recvec.types import F32


@dataclass(frozen=True, kw_only=True)
class Popularity(Method):
    """Recommend what most people interacted with."""

    name: ClassVar[str] = "popularity"
    family: ClassVar[str] = "baseline"
    gives: ClassVar[str] = "item counts"

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Count rows of each item."""
        return DotModel(
            method=self,
            user_vectors=np.ones((dataset.n_users, 1), np.float32),
            item_vectors=dataset.item_counts.astype(np.float32)[:, None],  # (n_items, 1)
            fold_in=Everyone(),
        )

    def _update(self, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
        """Count the new rows on top of the old ones."""
        counts = dataset.item_counts.astype(np.float32)
        if new is not None:
            counts = dataset.with_interactions(new).item_counts.astype(np.float32)
            counts[: model.n_items] += model.item_vectors[:, 0]
        return replace(model, user_vectors=np.ones((dataset.n_users, 1), np.float32), item_vectors=counts[:, None])

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        return DotModel.restored(self, state, Everyone())

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """One pass over item rows."""
        return Cost(operations=shape.n_interactions, bytes_moved=4 * shape.n_interactions, memory=8 * (shape.n_users + shape.n_items))


class Everyone(FoldIn):
    """All people are alike: their query is 1."""

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return ones, shape (B, 1)."""
        people = histories if histories is not None else features
        if people is None:
            raise InputError("a query needs users, histories or features; give one of them")
        return np.ones((len(people), 1), np.float32)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return the count; the history adds nothing."""
        return {"interactions of the item": float(vector[0])}, np.zeros(len(history.items), np.float32)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items("popularity")
