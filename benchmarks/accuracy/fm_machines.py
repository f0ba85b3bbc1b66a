"""Ranking machines as methods, for the benchmarks beside: the kernels over ids and chosen attributes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, DotModel, Method, Runtime, State, Training, param
from recvec.data.dataset import Dataset
from recvec.data.features import FeatureTable
from recvec.kernels.fm_blocks import Block, Factors
from recvec.kernels.fm_softmax import Softmax, solve_softmax
from recvec.kernels.fm_whole import WholeLoss, solve_whole
from recvec.models.popularity import Everyone


def block_of(n: int, table: FeatureTable | None, names: str) -> Block:
    """Return ids, and one-hot attributes; the values of a list count one together."""
    parts, groups = [sp.eye_array(n, format="csr", dtype=np.float32)], [np.zeros(n)]
    for name in names.split(",") if names else ():
        column = table.frame[name]  # type: ignore[union-attr]
        rows = pl.DataFrame({"row": np.arange(n), "value": column}).drop_nulls()
        if isinstance(column.dtype, pl.List):
            rows = rows.explode("value").drop_nulls()
        levels, at = np.unique(rows["value"].to_numpy().astype(str), return_inverse=True)
        counts = np.bincount(rows["row"], minlength=n)
        values = (1 / counts[rows["row"].to_numpy()]).astype(np.float32)
        parts.append(sp.coo_array((values, (rows["row"].to_numpy(), at)), shape=(n, len(levels))).tocsr())
        groups.append(np.full(len(levels), len(groups)))
    features = sp.csr_array(sp.hstack(parts, format="csr"), dtype=np.float32)
    return Block(features, np.concatenate(groups).astype(np.int32))


@dataclass(frozen=True, kw_only=True)
class Machine(Method):
    """What the two ways of learning share."""

    family: ClassVar[str] = "factorization machines"
    gives: ClassVar[str] = "sums of feature vectors"

    embedding_dim: int = param(32, "length of the vectors", low=1)
    user_attributes: str = param("", "attributes of users, apart by commas")
    item_attributes: str = param("", "attributes of items")

    def learned(self, users: Block, items: Block, pairs: sp.csr_array, training: Training) -> Factors:
        """Learn from the blocks."""
        raise NotImplementedError

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        users = block_of(dataset.n_users, dataset.user_features, self.user_attributes)
        items = block_of(dataset.n_items, dataset.item_features, self.item_attributes)
        found = self.learned(users, items, dataset.matrix(), training)
        first = users.n_features
        own = (items.features @ found.linear[first:])[:, None]
        mine, theirs = users.features @ found.factors[:first], items.features @ found.factors[first:]
        return DotModel(
            method=self,
            user_vectors=np.concatenate([mine, np.ones((len(mine), 1), np.float32)], axis=1),
            item_vectors=np.concatenate([theirs, own], axis=1).astype(np.float32),
            fold_in=Everyone(),
            n_extra=1,
        )

    def restore(self, state: State) -> DotModel:
        """Not needed here."""
        raise NotImplementedError

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """Not needed here."""
        return Cost(operations=0.0, bytes_moved=0.0, memory=0)


@dataclass(frozen=True, kw_only=True)
class Whole(Machine):
    """By the squared loss over all pairs."""

    name: ClassVar[str] = "fm, whole-data squared loss"

    epochs: int = param(12, "passes", low=1)
    balance: float = param(10.0, "weight of all pairs over that of the observed ones", low=0.0)
    reg: float = param(0.012, "regularization of ids", low=0.0)
    shared_reg: float = param(1.0, "regularization of attributes", low=0.0)
    cold_weight: float = param(0.0, "weight of the loss without ids", low=0.0)

    def learned(self, users: Block, items: Block, pairs: sp.csr_array, training: Training) -> Factors:
        """Learn from the blocks."""
        taking = np.count_nonzero(np.diff(pairs.indptr)) * np.count_nonzero(np.bincount(pairs.indices))
        loss = WholeLoss(
            unobserved_weight=self.balance * float(pairs.data.sum(dtype=np.float64)) / taking,
            reg=self.reg,
            shared_reg=self.shared_reg,
            cold_weight=self.cold_weight,
        )
        executor = training.runtime.executor
        return solve_whole(
            users, items, pairs, rank=self.embedding_dim, loss=loss, n_epochs=self.epochs, rng=training.rng, executor=executor
        )


@dataclass(frozen=True, kw_only=True)
class Picked(Machine):
    """By softmax over shared negatives."""

    name: ClassVar[str] = "fm, softmax"

    steps: int = param(150, "steps of Adam", low=1)
    learning_rate: float = param(0.03, "length of the first step", low=0.0)
    n_negatives: int = param(1024, "items in the log-sum-exp of a step", low=1)
    reg: float = param(0.03, "regularization of ids", low=0.0)
    shared_reg: float = param(1.0, "regularization of attributes", low=0.0)
    cold_weight: float = param(0.0, "weight of the loss without ids", low=0.0)

    def learned(self, users: Block, items: Block, pairs: sp.csr_array, training: Training) -> Factors:
        """Learn from the blocks."""
        return solve_softmax(
            users,
            items,
            pairs,
            rank=self.embedding_dim,
            loss=Softmax(reg=self.reg, shared_reg=self.shared_reg, cold_weight=self.cold_weight),
            n_negatives=self.n_negatives,
            n_steps=self.steps,
            learning_rate=self.learning_rate,
            rng=training.rng,
            executor=training.runtime.executor,
        )


def settings_of(method: Machine) -> dict[str, Any]:
    """Return the settings of a machine as JSON."""
    return {"learned": method.name, **method.recipe}
