"""Graph filter: scores from the graph of users and items in closed form, a linear filter plus an ideal low-pass; nothing is trained.

With R the interactions (n_users, n_items) with their weights (the paper's are all 1), D_u and D_i the sums of its rows and
columns, R~ = D_u^-1/2 R D_i^-1/2 and V its leading right singular vectors (n_items, embedding_dim)::

    S = R (R~' R~)  +  weight R D_i^-1/2 V V' D_i^1/2

The first part is one step of smoothing over items that meet in histories: a walk from item to user to item, each step
divided by the roots of the degrees. The second keeps only the smoothest signals of the graph, taste that many share.

The vectors are those of the second part, ordinary embeddings: user vectors weight R D_i^-1/2 V, item vectors D_i^1/2 V.
R~' R~ is never made, for on real data it has tens of millions of entries: a history h goes through the sparse R~ twice.
A history that is folded in is scored by the same formula, so that it gives exactly the stored scores.

A person without history has the score 0 everywhere; an item without interactions has zeros in all vectors, and the score 0.
Cost: a truncated decomposition, `kernels.factorization.truncated_svd`; then for each list two operations an interaction.

Source: Shen, Wu, Zhang, Shan, Zhang, Letaief, Li, "How powerful is graph convolution for recommendation?", CIKM 2021
(GF-CF), equation 13.
"""

from dataclasses import dataclass
from typing import ClassVar

from recvec.contract import Cost, DataShape, ItemModel, Method, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.kernels.factorization import sparse_dense, truncated_svd
from recvec.kernels.gram import Gram
from recvec.kernels.walks import inverse, normalized
from recvec.models.svd import SVD


@dataclass(frozen=True, kw_only=True)
class GraphFilter(Method):
    """Linear filter plus ideal low-pass over the interaction graph."""

    name: ClassVar[str] = "graph-filter"
    family: ClassVar[str] = "graph"
    gives: ClassVar[str] = "singular vectors of the normalized graph, beside neighbours two steps away"
    holds_histories: ClassVar[bool] = True

    embedding_dim: int = param(256, "length of the vectors: singular vectors of the low-pass", low=1, high=2048, search=(32, 512, "log"))
    weight: float = param(0.3, "of the low-pass beside the linear filter; at 0 all user vectors are 0", low=0.0, search=(0.0, 1.0))

    def _fit(self, dataset: Dataset, training: Training) -> ItemModel:
        """Normalize and decompose; there is nothing else to do."""
        histories, executor = dataset.histories(), training.runtime.executor
        graph = normalized(histories.matrix())
        _, _, v = truncated_svd(graph.by_user, self.embedding_dim, rng=training.rng, executor=executor)
        into = v * (self.weight * graph.item_root)[:, None]
        return ItemModel(
            method=self,
            user_vectors=sparse_dense(histories.matrix(), into, executor=executor),
            item_vectors=v * inverse(graph.item_root)[:, None],
            trained=histories,
            weights=Gram(graph.by_item),
            into=into,
        )

    def restore(self, state: State) -> ItemModel:
        """See `Method.restore`."""
        return ItemModel.restored(self, state)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Count the decomposition, which is nearly all of it."""
        svd = SVD(embedding_dim=self.embedding_dim).estimate(shape, runtime)
        vectors = 4 * shape.n_items * self.embedding_dim
        return Cost(operations=svd.operations, bytes_moved=svd.bytes_moved, memory=svd.memory + 16 * shape.n_interactions + vectors)
