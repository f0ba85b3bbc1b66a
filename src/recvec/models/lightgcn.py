"""LightGCN: vectors that are averaged over the neighbourhood in the graph of users and items, and nothing else.

With the normalized adjacency A of the graph (`kernels.graph`) and x the learned vectors, one for each user and item::

    z = (x + A x + ... + A^L x) / (L + 1),        s_ui = z_u . z_i

``propagation`` says when the layers are applied: ``within`` every step of learning, as published, or ``after`` it, once, to the
directions that `softmax-mf` learns, users of length 1 and items of length ``c_i = (n_i / typical n) ** item_power``. z are as long as
they come out, so that popular items keep their advantage, but items are divided by ``(n_i / typical n) ** item_penalty``. With the
penalty equal to the power, one layer after learning is an adjacency whose items give by ``d_i ** -(1/2 - power)`` and receive by
``d_i ** -(1/2 + power)``.

``loss=softmax`` is that of `softmax-mf`, on the directions of z, by steps of Adam on all pairs of a batch of users, from singular vectors:
one propagation and its adjoint, which is the same propagation, serve the whole batch. ``loss=bpr`` is the published one::

    sum over (u, i) observed, j not met, of  log(1 + exp(s_uj - s_ui))  +  reg (|x_u|^2 + |x_i|^2 + |x_j|^2) / 2

on the products of z, with one item j drawn for each pair and step.

A person is folded in by one propagation step: the sum over the history of the items' vectors in the layers before the last one,
``sum_i w_ui / sqrt(d_u d_i) (x_i^(0) + ... + x_i^(L-1)) / (L + 1)``; the stored vector has a part of its own, x_u / (L + 1), beside it.
So lists agree in part, at least two fifths of the top 10 in the contract's tests. A score is a sum over the history and that
own part: an explanation that adds up. A person without history has the zero vector. An item without interactions keeps x / (L + 1), is
moved as a negative only, and ends low. More layers than the graph is wide do no harm, and no good.

Shapes: users and items (n, d). Cost of an epoch: that of `softmax-mf`, and ``8 nnz d L`` for each batch where propagation is within.

Source: He, Deng, Wang, Li, Zhang, Wang, "LightGCN", SIGIR 2020; Wu et al., "BSL", ICDE 2024 (softmax on cosine, scored by products).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import polars as pl

from recvec.contract import DotModel, FoldIn, LinearFoldIn, State, Training, no_new_items, param
from recvec.contract.fold_in import Parts
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.models.softmax import Ascent, Softmax, ascend, counts_of, popularity, positives, typical_count
from recvec.types import F32, Array


@dataclass(frozen=True, kw_only=True)
class LightGCN(Softmax):
    """Vectors averaged over the neighbourhood in the graph."""

    name: ClassVar[str] = "lightgcn"
    family: ClassVar[str] = "graph neural networks"
    gives: ClassVar[str] = "propagated user and item vectors"

    embedding_dim: int = param(64, "length of the vectors", low=1, high=2048, search=(16, 512, "log"))
    n_layers: int = param(1, "layers of propagation", low=1, high=10, search=(1, 4))
    propagation: str = param("after", "when layers are applied: within each step, or after learning", choices=("within", "after"))
    loss: str = param("softmax", "softmax on cosines, or pairs of items on products", choices=("softmax", "bpr"))
    epochs: int = param(120, "passes over the interactions", low=1, high=10_000, search=(20, 400, "log"))
    batches: int = param(1, "steps of an epoch, each over so many-th part of the users", low=1, high=10_000, search=(1, 16, "log"))
    learning_rate: float = param(0.02, "size of the first steps; it falls to zero", low=1e-8, high=1e3, search=(0.005, 0.1, "log"))
    temperature: float = param(0.12, "by what cosines are divided", low=1e-3, high=100.0, search=(0.05, 0.3, "log"))
    item_power: float = param(0.1, "exponent of the counts in the lengths of items", low=0.0, high=2.0, search=(0.0, 0.3))
    item_penalty: float = param(0.1, "exponent of the counts by which propagated items are divided", low=0.0, high=2.0, search=(0.0, 0.3))
    n_negatives: int = param(1024, "items drawn for all users of a step", low=1, high=1_000_000, search=(256, 4096, "log"))
    list_length: int = param(0, "K of the lists that pairs are weighed by; 0: pairs weigh alike", low=0, high=10_000)
    list_temperature: float = param(1.0, "how soft the end of such a list is", low=1e-3, high=100.0, search=(0.3, 3.0, "log"))
    reg: float = param(1e-4, "regularization (bpr only)", low=0.0, high=1e6, search=(1e-6, 1e-2, "log"))

    @property
    def layers_within(self) -> int:
        """Layers of propagation in each step of learning."""
        return self.n_layers if self.propagation == "within" else 0

    @property
    def by_pairs(self) -> bool:
        """Whether it learns by pairs of items."""
        return self.loss == "bpr"

    @property
    def shrinkage(self) -> float:
        """Regularization of what is learned by pairs."""
        return self.reg

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Ascend, then propagate what was learned."""
        pairs, executor = positives(self.name, dataset), training.runtime.executor
        ascent = Ascent.begin(self, pairs, training)
        notes = ascend(ascent, training)
        users, items = ascent.users.vectors, ascent.items.vectors
        if self.propagation == "after":
            here = ascent.here(executor)
            users, items = here.unit_users, here.unit_items * np.float32(1 if self.by_pairs else self.temperature)
        lower = ascent.graph.mean_of_layers(users, items, self.n_layers - 1, executor)[1]
        users, items = ascent.graph.mean_of_layers(users, items, self.n_layers, executor)
        items /= popularity(counts_of(pairs), typical_count(pairs), self.item_penalty)[:, None]
        users = ascent.in_rows(users)
        users[np.diff(pairs.indptr) == 0] = 0
        degrees = np.asarray(dataset.matrix().sum(axis=0), np.float32)  # in the units of the table, as those of a history will be
        roots = np.sqrt(np.where(degrees > 0, degrees, np.inf))[:, None] * np.float32((self.n_layers + 1) / self.n_layers)
        fold_in = GraphFoldIn(LinearFoldIn(self.name, lower / roots, "degree"))
        return DotModel(
            method=self, user_vectors=users, item_vectors=items, fold_in=fold_in, curve=tuple(training.curve), notes=notes
        )  # fmt: skip

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        return DotModel.restored(self, state, GraphFoldIn(LinearFoldIn(self.name, state.arrays["fold_in.into"], "degree")))


@dataclass(frozen=True, eq=False)
class GraphFoldIn(FoldIn):
    """One propagation step from the items of a history.

    Parameters
    ----------
    step : LinearFoldIn
        ``sum_i w_i into_i / sqrt(sum_i w_i)``, with what the items give in all layers as `into`.
    """

    step: LinearFoldIn

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """See `FoldIn.queries`."""
        return self.step.queries(histories, features)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.step.name)

    def parts(self, history: Histories, vector: F32) -> Parts:
        """See `FoldIn.parts`."""
        return self.step.parts(history, vector)

    def reasons(self, user: int, history: Histories, query: F32, item: int, vector: F32, context: pl.DataFrame | None) -> Parts:
        """Return what the history gives, and what the user's own learned vector does beside it."""
        _, given = self.step.parts(history, vector)
        return {"own vector": float(query @ vector) - float(given.sum(dtype=np.float64))}, given

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        return self.step.arrays()
