"""What the methods of neural collaborative filtering share besides their networks: recipe, new users, cost. No torch here.

`models.gmf`, `models.mlp` and `models.neumf` say what they learn, `models.ncf_network` learns it.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import (
    Cost,
    DataShape,
    DotModel,
    FoldIn,
    Method,
    Model,
    PairModel,
    Runtime,
    State,
    Training,
    needs_history,
    no_new_items,
)
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.errors import ArtifactError, HyperparameterError, InputError
from recvec.types import F32, Array

STEPS = 100  # of an epoch at least: small tables have smaller batches, down to FEWEST pairs
FEWEST = 64
RIDGE = 1e-3  # of the map from histories to users, over the mean square of its inputs


@dataclass(frozen=True, kw_only=True)
class NCF(Method):
    """What the methods have in common, and the hyper-parameters that all declare."""

    family: ClassVar[str] = "neural collaborative filtering"
    gives: ClassVar[str] = "user and item vectors of the parts"
    extra: ClassVar[str] = "torch"
    likelihood: ClassVar[bool] = True  # predictions are

    embedding_dim: int
    epochs: int
    learning_rate: float
    batch_size: int
    n_negatives: int
    reg: float

    @property
    def gmf_dim(self) -> int:
        """Length of the vectors of the part that multiplies them; 0: there is none."""
        return 0

    @property
    def mlp_dim(self) -> int:
        """Length of the vectors of the part of dense layers; 0: there is none."""
        return 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the dense layers."""
        return ()

    @property
    def n_apart(self) -> int:
        """Epochs in which both parts are trained apart, at the beginning."""
        return 0

    @abstractmethod
    def _built(self, users: F32, items: F32, arrays: Mapping[str, Array], fold_in: "RidgeFoldIn", **kept: Any) -> Model:
        """Build the model of trained vectors and dense layers."""

    def _fit(self, dataset: Dataset, training: Training) -> Model:
        """Train the network, then the map that folds people in."""
        pairs = positives(self.name, dataset)
        users, items, arrays, notes = self._trained(pairs, training)
        fold_in = RidgeFoldIn.fitted(self.name, Histories.from_matrix(pairs), users, items)
        return self._built(users, items, arrays, fold_in, notes=notes, curve=tuple(training.curve))

    def _trained(self, pairs: sp.csr_array, training: Training) -> tuple[F32, F32, Mapping[str, Array], tuple[str, ...]]:
        """Return user vectors, item vectors, dense layers and notes."""
        from recvec.models.ncf_network import trained  # noqa: PLC0415  docs/decisions/0027

        return trained(self, pairs, training)

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """All epochs; the dense layers are products, everything else is counted with its gradient."""
        slots = shape.n_interactions * (1 + self.n_negatives)
        steps = shape.n_interactions / self.batch_size
        d, rows = self.gmf_dim + self.mlp_dim, shape.n_users + shape.n_items
        layers = [a * b for a, b in zip(self.widths, self.widths[1:], strict=False)]
        first = self.widths[0] if self.widths else 0
        other = slots * (6.0 * self.gmf_dim + 6.0 * first + 60) + 12.0 * steps * rows * d
        products = 6.0 * (slots * sum(layers) + steps * shape.n_items * self.mlp_dim * first)
        memory = 16 * rows * d + 40 * slots + 8 * self.batch_size * (1 + self.n_negatives) * sum((*self.widths, 16))
        return Cost(operations=self.epochs * other, bytes_moved=self.epochs * 4.0 * other, memory=memory, products=self.epochs * products)


def batch_of(method: NCF, n_pairs: int) -> int:
    """Return how many pairs of the table a step takes."""
    return min(method.batch_size, max(FEWEST, n_pairs // STEPS))


def positives(name: str, dataset: Dataset) -> sp.csr_array:
    """Return the pairs with a weight above 0, (n_users, n_items).

    Raises
    ------
    InputError
        Where there are none.
    """
    pairs = dataset.matrix().copy()
    pairs.data = np.where(pairs.data > 0, pairs.data, 0)
    pairs.eliminate_zeros()
    if not pairs.nnz:
        raise InputError(f"{name} needs interactions with a weight above 0, and no weight is; correct them or leave them out")
    return pairs


def whole_numbers(method: Method, name: str) -> tuple[int, ...]:
    """Return a hyper-parameter such as ``128,64`` as numbers.

    Raises
    ------
    HyperparameterError
        Where it is something else.
    """
    text = getattr(method, name)
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= 1 << 16 for word in words):
        raise HyperparameterError(f"{method.name}: {name} is '{text}'; allowed: whole numbers from 1 to 65536, such as 128,64")
    return tuple(map(int, words))


@dataclass(frozen=True, eq=False)
class RidgeFoldIn(FoldIn):
    """The vector of a user is a linear function of two sums over the items of a history, fitted to the users of the training table.

    No paper says how to fold people in. With V the item vectors and W the sum of the weights w of a history, it is::

        query = base + sum_i w_i V_i (A / W + B / sqrt(W))

    A, B and the base by ridge regression of the trained users on their own histories; a person without history has the mean
    vector. One product of sparse rows a person, in numpy.

    Parameters
    ----------
    name : str
        Method, for messages.
    item_vectors : F32, shape (n_items, d)
    by_mean, by_root : F32, shape (d, d)
        A and B.
    base, mean : F32, shape (d,)
        The base, and the mean user.
    offset : float
        Of all scores, for explanations.
    """

    name: str
    item_vectors: F32
    by_mean: F32
    by_root: F32
    base: F32
    mean: F32
    offset: float = 0.0

    @classmethod
    def fitted(cls, name: str, histories: Histories, users: F32, items: F32) -> "RidgeFoldIn":
        """Return the map that gives back the users best, in the sum of squares."""
        known, d = histories.lengths > 0, items.shape[1]
        inputs = np.concatenate(_sums(histories, items), axis=1)[known].astype(np.float64)  # (n, 2 d)
        targets = users[known].astype(np.float64)
        middle, centre = inputs.mean(axis=0), targets.mean(axis=0)
        inputs -= middle
        square = inputs.T @ inputs
        square[np.diag_indices(2 * d)] += RIDGE * np.trace(square) / (2 * d) + 1e-12
        found = np.linalg.solve(square, inputs.T @ (targets - centre))
        base = (centre - middle @ found).astype(np.float32)
        return cls(name, items, found[:d].astype(np.float32), found[d:].astype(np.float32), base, centre.astype(np.float32))

    @cached_property
    def _into(self) -> tuple[F32, F32]:
        """What each item gives, (n_items, d) each: ``V A`` and ``V B``."""
        return self.item_vectors @ self.by_mean, self.item_vectors @ self.by_root

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return the vectors, shape (B, d)."""
        people = needs_history(self.name, histories)
        found = self.base + _sums(people, self._into[0])[0] + _sums(people, self._into[1])[1]
        return np.where((people.lengths > 0)[:, None], found, self.mean)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.name)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return the base, and what each item of the history adds."""
        if not len(history.items):
            return {"all pairs": self.offset, "everyone": float(self.mean @ vector)}, np.zeros(0, np.float32)
        total = history.weights.sum(dtype=np.float64)
        each = (self._into[0] @ vector)[history.items] / total + (self._into[1] @ vector)[history.items] / np.sqrt(total)
        return {"all pairs": self.offset, "everyone": float(self.base @ vector)}, (history.weights * each).astype(np.float32)

    def reasons(self, user: int, history: Histories, query: F32, item: int, vector: F32, context: pl.DataFrame | None) -> Any:
        """Return `parts`, and what the trained vector has beyond the history."""
        named, contributions = self.parts(history, vector)
        rest = self.offset + float(query @ vector) - sum(named.values()) - float(contributions.sum(dtype=np.float64))
        return {**named, "learned of the user": rest}, contributions

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        return {"by_mean": self.by_mean, "by_root": self.by_root, "base": self.base, "mean": self.mean}

    @classmethod
    def restored(cls, name: str, arrays: Mapping[str, Array], offset: float = 0.0) -> "RidgeFoldIn":
        """Build it again from the arrays of a model's state."""
        kept = {key: arrays[f"fold_in.{key}"] for key in ("by_mean", "by_root", "base", "mean")}
        d = arrays["item_vectors"].shape[1]
        wrong = next((key for key, array in kept.items() if array.shape != ((d, d) if key.startswith("by") else (d,))), None)
        if wrong:
            raise ArtifactError(f"the array '{wrong}' of {name} does not fit its vectors; fit the model again")
        return cls(name, arrays["item_vectors"], **kept, offset=offset)


def _sums(histories: Histories, vectors: F32) -> tuple[F32, F32]:
    """Return the sums of the vectors over histories, divided by the weight and by its root, (B, d) each."""
    known = histories.matrix()
    sums = np.asarray(known @ vectors, np.float32)
    weight: F32 = np.asarray(known.sum(axis=1), np.float32)[:, None]
    weight[weight <= 0] = 1
    root: F32 = np.sqrt(weight)
    return sums / weight, sums / root


def pair_model(
    method: NCF, users: F32, items: F32, scorer: Any, fold_in: FoldIn, *, n_candidates: int = 0, n_drawing: int | None = None, **kept: Any
) -> PairModel:
    """Return a model of vectors and the network that scores them."""
    vectors = DotModel(method=method, user_vectors=users, item_vectors=items, fold_in=fold_in, **kept)
    return PairModel(vectors=vectors, scorer=scorer, n_candidates=n_candidates or None, n_drawing=n_drawing, likelihood=method.likelihood)


def restored_pair_model(method: NCF, state: State, scorer: Callable[[Mapping[str, Array]], Any]) -> PairModel:
    """Build such a model again; `scorer` makes one of its arrays."""
    layers = {name.removeprefix("scorer."): array for name, array in state.arrays.items() if name.startswith("scorer.")}
    return PairModel.restored(method, state, RidgeFoldIn.restored(method.name, state.arrays), scorer(layers))
