"""Random: scores that have nothing to do with taste; what any method must beat.

Item vectors b_i and hidden vectors z_i are independent draws from N(0, I / d). A person's vector is
q = sum of z_i over the history, scaled to unit length: the same history gives the same list, different
histories different ones. A person without history gets the zero vector, so that all items tie. Cost: one
sparse product, n_interactions x d.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from recvec.contract import Cost, DataShape, DotModel, FoldIn, LinearFoldIn, Method, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.errors import NotSupportedError
from recvec.types import F32, Array


@dataclass(frozen=True, kw_only=True)
class Random(Method):
    """Recommend at random, but repeatably."""

    name: ClassVar[str] = "random"
    family: ClassVar[str] = "baseline"
    gives: ClassVar[str] = "random user and item vectors"

    embedding_dim: int = param(32, "length of the vectors", low=1, high=2048)

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Draw vectors; the user vectors are the fold-in of the training histories."""
        return self._folded(dataset, *(self._drawn(dataset.n_items, training) for _ in ("items", "hidden")))

    def _update(self, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
        """Draw vectors of new items, and fold everyone in."""
        old = (model.item_vectors, model.fold_in.arrays()["into"])
        return self._folded(dataset, *(np.concatenate([v, self._drawn(dataset.n_items - len(v), training)]) for v in old))

    def _drawn(self, n: int, training: Training) -> F32:
        return training.rng.standard_normal((n, self.embedding_dim), dtype=np.float32) * np.float32(self.embedding_dim**-0.5)

    def _folded(self, dataset: Dataset, items: F32, hidden: F32) -> DotModel:
        fold_in = Noise(LinearFoldIn(self.name, hidden, "unit"))
        return DotModel(method=self, user_vectors=fold_in.queries(dataset.histories(), None), item_vectors=items, fold_in=fold_in)

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        return DotModel.restored(self, state, Noise(LinearFoldIn(self.name, state.arrays["fold_in.into"], "unit")))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """One sparse product."""
        numbers = (shape.n_users + 2 * shape.n_items) * self.embedding_dim
        work = 2 * shape.n_interactions * self.embedding_dim
        return Cost(operations=work, bytes_moved=2 * work, memory=4 * numbers)


@dataclass(frozen=True, eq=False)
class Noise(FoldIn):
    """Sums of hidden vectors, whose parts mean nothing.

    Parameters
    ----------
    hidden : LinearFoldIn
        The sums.
    """

    hidden: LinearFoldIn

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """See `FoldIn.queries`."""
        return self.hidden.queries(histories, features)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        return self.hidden.item_queries(features)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Refuse: the parts would add up, and explain nothing."""
        raise NotSupportedError("random has no reasons for its scores; use a method that learns, such as als or svd")

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        return self.hidden.arrays()
