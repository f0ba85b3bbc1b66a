"""Item-kNN: the score of an item is its similarity to the items of the history, over its nearest neighbours only.

With X the interactions (n_users, n_items) with their weights and x_i its columns::

    W_ij = x_i . x_j / (|x_i|^(2 alpha) |x_j|^(2 (1 - alpha)) + shrink)     for i != j,     0 for i = j

alpha = 1/2 is the cosine; above it popular items of the history say less, and popular items are recommended more.
`shrink` pulls down similarities that rest on few people. For every recommended item j the `n_neighbours` largest W_ij
remain. A person's scores are h W, h the history.

Vectors are those of the truncated SVD of W (`ItemModel.decomposed`). A person without history has the score 0
everywhere; an item without interactions has no neighbours. Cost: two operations for each pair of items of each history.

Sources: Sarwar, Karypis, Konstan, Riedl, WWW 2001 (item-based neighbours); Aiolli, RecSys 2013 (asymmetric cosine);
Bell, Koren, ICDM 2007 (shrinkage).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, ItemModel, Method, Runtime, State, Training, neighbourhood_cost, param
from recvec.data.dataset import Dataset
from recvec.kernels.sparse_products import best_of_products
from recvec.types import Executor


@dataclass(frozen=True, kw_only=True)
class ItemKNN(Method):
    """Nearest neighbours among items by cosine, asymmetric and shrunken if wanted."""

    name: ClassVar[str] = "item-knn"
    family: ClassVar[str] = "item-item"
    gives: ClassVar[str] = "an item-item matrix; vectors by its decomposition"
    holds_histories: ClassVar[bool] = True
    saves_memory: ClassVar[str] = "lower n_neighbours"

    n_neighbours: int = param(50, "items kept for each recommended item", low=1, search=(20, 1000, "log"))
    alpha: float = param(0.7, "share of the norms that falls on the item of the history; 0.5: cosine", low=0.0, high=1.0, search=(0.3, 0.9))
    shrink: float = param(10.0, "added to the product of the norms", low=0.0, search=(0.1, 1000.0, "log"))
    embedding_dim: int = param(64, "length of the vectors; lists do not use them", low=1, high=2048)

    def _fit(self, dataset: Dataset, training: Training) -> ItemModel:
        """Compare and decompose."""
        histories = dataset.histories()
        weights = similarities(self, histories.matrix(), training.runtime.executor)
        return ItemModel.decomposed(self, histories, weights, self.embedding_dim, training)

    def restore(self, state: State) -> ItemModel:
        """See `Method.restore`."""
        return ItemModel.restored(self, state)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Count the products of all histories and the decomposition of what is kept."""
        return neighbourhood_cost(shape, self.n_neighbours, self.embedding_dim)


def similarities(method: ItemKNN, by_user: sp.csr_array, executor: Executor) -> sp.csr_array:
    """Return W of the interactions X (n_users, n_items), made row by row of its transpose: the neighbours of item j."""
    by_item = sp.csr_array(by_user.T.tocsr())
    squares = np.asarray(by_item.multiply(by_item).sum(axis=1), dtype=np.float32)
    squares = np.where(squares > 0, squares, np.float32(1))
    alpha = np.float32(method.alpha)
    neighbours = best_of_products(
        by_item, by_user, method.n_neighbours, row_scale=squares ** (1 - alpha), column_scale=squares**alpha,
        shrink=method.shrink, executor=executor,
    )  # fmt: skip
    return sp.csr_array(neighbours.T.tocsr())
