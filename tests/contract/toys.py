"""Two methods that exist for the battery only, so that every kind of model runs through it, with all that it can hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, DotModel, ItemModel, LinearFoldIn, Method, PairModel, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.types import F32, Array


@dataclass(frozen=True, kw_only=True)
class CoCounts(Method):
    """Sparse co-occurrence counts with a dot part: the other half of what an ItemModel can hold."""

    name: ClassVar[str] = "co-counts"
    family: ClassVar[str] = "item-item"
    gives: ClassVar[str] = "item co-occurrence"
    holds_histories: ClassVar[bool] = True

    def _fit(self, dataset: Dataset, training: Training) -> ItemModel:
        histories = dataset.histories()
        x = histories.matrix()
        counts = sp.csr_array(x.T @ x).astype(np.float32)
        into = training.rng.standard_normal((dataset.n_items, 4), dtype=np.float32)
        return ItemModel(
            method=self,
            user_vectors=np.asarray(x @ into, dtype=np.float32),
            item_vectors=into.copy(),
            trained=histories,
            weights=counts,
            into=into,
        )

    def restore(self, state: State) -> ItemModel:
        return ItemModel.restored(self, state)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        return Cost(operations=10.0 * shape.n_interactions, bytes_moved=80.0 * shape.n_interactions, memory=8 * shape.n_interactions)


class TinyNetwork:
    """score = tanh(q . i) + |q| |i| / 100, which no dot product gives."""

    def __init__(self, slope: F32) -> None:
        self.slope = slope

    def __call__(self, queries: F32, items: F32) -> F32:
        lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(items, axis=1)
        products = np.einsum("bd,nd->bn", queries, items)  # each pair on its own: a batch equals one by one
        return (np.tanh(self.slope[0] * products) + lengths / 100).astype(np.float32)

    def pairs(self, queries: F32, items: F32) -> F32:
        lengths = np.linalg.norm(queries, axis=1) * np.linalg.norm(items, axis=1)
        return (np.tanh(self.slope[0] * np.einsum("nd,nd->n", queries, items)) + lengths / 100).astype(np.float32)

    def arrays(self) -> Mapping[str, Array]:
        return {"slope": self.slope}


@dataclass(frozen=True, kw_only=True)
class TinyPair(Method):
    """A PairModel over random projections of histories."""

    name: ClassVar[str] = "tiny-pair"
    family: ClassVar[str] = "pair"
    gives: ClassVar[str] = "vectors of a network"

    n_candidates: int = param(0, "candidates, 0 for all", low=0)

    def _fit(self, dataset: Dataset, training: Training) -> PairModel:
        x = dataset.matrix()
        items = np.asarray(x.T @ training.rng.standard_normal((dataset.n_users, 8), dtype=np.float32)) / 30
        fold_in = LinearFoldIn(self.name, items, "unit")
        vectors = DotModel(method=self, user_vectors=fold_in.queries(dataset.histories(), None), item_vectors=items, fold_in=fold_in)
        return PairModel(vectors=vectors, scorer=TinyNetwork(np.ones(1, np.float32)), n_candidates=self.n_candidates or None)

    def restore(self, state: State) -> PairModel:
        fold_in = LinearFoldIn(self.name, state.arrays["fold_in.into"], "unit")
        return PairModel.restored(self, state, fold_in, TinyNetwork(state.arrays["scorer.slope"]))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        return Cost(
            operations=16.0 * shape.n_interactions, bytes_moved=64.0 * shape.n_interactions, memory=32 * (shape.n_users + shape.n_items)
        )
