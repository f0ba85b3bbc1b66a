"""RP3beta: random walks of three steps from a person over items and people to items, popular ends divided out.

With X the interactions (n_users, n_items) with their weights, d_u and d_i the sums of its rows and columns::

    P_ui = x_ui / d_u,   P_iu = x_ui / d_i                              probabilities of a step
    W_ij = sum_u P_iu^alpha P_uj^alpha / d_j^beta     for i != j,       0 for i = j

A person's scores are h W, h the history: the walk's first step is the history itself. Of W only `n_neighbours` entries
remain: first the largest of each row; then, where `normalize` is set, each row is divided by its sum; then the largest
of each column. This is the published implementation, step by step (for weights of 1; it takes P_iu as 1 / count).

Vectors are those of the truncated SVD of W (`ItemModel.decomposed`). A person without history has the score 0
everywhere; an item without interactions has no neighbours. Cost: two operations for each pair of items of each history.

Sources: Paudel, Christoffel, Newell, Bernstein, "Updatable, accurate, diverse, and scalable recommendations for
interactive applications", TiiS 2017; Ferrari Dacrema, Cremonesi, Jannach, "Are we really making much progress?",
RecSys 2019, whose implementation adds alpha, the selection and the normalization.
"""

from dataclasses import dataclass
from typing import ClassVar

import scipy.sparse as sp

from recvec.contract import Cost, DataShape, ItemModel, Method, Runtime, State, Training, neighbourhood_cost, param
from recvec.data.dataset import Dataset
from recvec.kernels.walks import three_steps
from recvec.types import Executor


@dataclass(frozen=True, kw_only=True)
class RP3Beta(Method):
    """Item-item matrix of three-step random walks with a penalty on popularity."""

    name: ClassVar[str] = "rp3beta"
    family: ClassVar[str] = "item-item"
    gives: ClassVar[str] = "an item-item matrix; vectors by its decomposition"
    holds_histories: ClassVar[bool] = True
    saves_memory: ClassVar[str] = "lower n_neighbours"

    alpha: float = param(0.6, "exponent of the probabilities", low=0.0, high=3.0, search=(0.2, 1.5))
    beta: float = param(0.2, "exponent of the popularity that is divided out", low=0.0, high=3.0, search=(0.0, 1.0))
    n_neighbours: int = param(500, "entries kept of each row and of each column", low=1, search=(50, 1000, "log"))
    normalize: bool = param(default=True, doc="whether each row is divided by its sum", search=(True, False))
    embedding_dim: int = param(64, "length of the vectors; lists do not use them", low=1, high=2048)

    def _fit(self, dataset: Dataset, training: Training) -> ItemModel:
        """Walk and decompose."""
        histories = dataset.histories()
        weights = walks(self, histories.matrix(), training.runtime.executor)
        return ItemModel.decomposed(self, histories, weights, self.embedding_dim, training)

    def restore(self, state: State) -> ItemModel:
        """See `Method.restore`."""
        return ItemModel.restored(self, state)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Count the products of all histories and the decomposition of what is kept."""
        return neighbourhood_cost(shape, self.n_neighbours, self.embedding_dim)


def walks(method: RP3Beta, by_user: sp.csr_array, executor: Executor) -> sp.csr_array:
    """Return W of the interactions X (n_users, n_items)."""
    return three_steps(
        by_user, alpha=method.alpha, beta=method.beta, n_neighbours=method.n_neighbours, normalize=method.normalize, executor=executor
    )
