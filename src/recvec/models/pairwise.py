"""What `bpr` and `warp` share: the descent, the fold-in, the update; `models.bpr` says what they do.

The two differ in their loss and their negatives, a `Choice`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract import Cost, DataShape, DotModel, FoldIn, Method, Runtime, State, Training, lengthened, needs_history, no_new_items
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.errors import ArtifactError, DivergedError, InputError
from recvec.kernels.pairwise import BY_RANK, VIOLATOR, Choice, Factors, Rates, epoch, padded
from recvec.kernels.pairwise_rows import parts_of_user, place_items, solve_users
from recvec.kernels.sampling import Catalogue, catalogue
from recvec.kernels.strata import Positives, deal, n_groups
from recvec.types import F32, Array, Executor

PLACING = 30  # passes over the users of a new item
SPREAD = 0.1  # of the first vectors, in length


@dataclass(frozen=True, kw_only=True)
class Pairwise(Method):
    """What both methods do, and the hyper-parameters that both declare."""

    family: ClassVar[str] = "matrix factorization"
    gives: ClassVar[str] = "user and item factors, item biases"

    embedding_dim: int
    epochs: int
    learning_rate: float
    reg_user: float
    reg_positive: float
    reg_negative: float
    item_bias: bool
    user_passes: int

    @property
    @abstractmethod
    def choice(self) -> Choice:
        """How the kernels choose negatives."""

    @property
    @abstractmethod
    def exponent(self) -> float:
        """Exponent of the counts in the probability of a negative."""

    def _fit(self, dataset: Dataset, training: Training) -> DotModel:
        """Learn by pairs, then the users once more."""
        return _learned(self, dataset, training)

    def _update(self, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
        """Place new items, then fold in everyone who has new interactions."""
        return _updated(self, model, dataset, new, training)

    def restore(self, state: State) -> DotModel:
        """See `Method.restore`."""
        n_drawn, n_items = int(state.arrays["fold_in.n_drawn"][0]), len(state.arrays["item_vectors"])
        if not 1 <= n_drawn <= n_items:
            raise ArtifactError(f"the model draws negatives from {n_drawn} items; allowed: 1 to {n_items}, which it has; fit it again")
        return DotModel.restored(self, state, PairwiseFoldIn(self, state.arrays["item_vectors"], n_drawn))

    def estimate(self, shape: DataShape, runtime: Runtime | None = None) -> Cost:
        """All epochs, three rows moved in a step, and the passes of the fold-in; half of the most draws are taken."""
        d, pairs, rows = self.embedding_dim, shape.n_interactions, shape.n_users + shape.n_items
        draws = self.choice.trials / 2 if self.choice.kind == VIOLATOR else 1.0
        steps = pairs * (self.epochs * (1 + draws / 4) + self.user_passes)
        memory = 32 * pairs + 12 * rows * d + 16 * shape.n_items * d  # pairs of two epochs, their matrix; orders of items by factor
        return Cost(operations=steps * (22.0 * d + 400), bytes_moved=12.0 * pairs * self.epochs * d, memory=memory)


def _learned(method: Pairwise, dataset: Dataset, training: Training) -> DotModel:
    """Return the model of a dataset."""
    pairs = dataset.matrix()
    items = _descend(method, pairs, training)
    fold_in = PairwiseFoldIn(method, items, dataset.n_items)
    users = fold_in.solve(Histories.from_matrix(pairs), training.runtime.executor)
    _finite(method, users, "the last passes over users")
    return DotModel(
        method=method,
        user_vectors=users,
        item_vectors=items,
        fold_in=fold_in,
        n_extra=int(method.item_bias),
        curve=tuple(training.curve),
    )


def _descend(method: Pairwise, pairs: sp.csr_array, training: Training) -> F32:
    """Take the steps of all epochs, and return the item vectors."""
    executor, rng = training.runtime.executor, training.rng
    positives, counts = _positives(method, pairs), np.bincount(pairs.indices, minlength=pairs.shape[1])
    share = (1.0 + counts).astype(np.float64) ** method.exponent
    (n_users, n_items), (done, arrays) = pairs.shape, training.restore()
    factors = _resumed(method, arrays) if done else _start(method, pairs.shape, rng)
    groups = n_groups(n_users, n_items, factors.items.shape[1])
    for number in range(done + 1, method.epochs + 1):
        dealt = deal(positives, n_items, groups, rng, executor)
        ranked = (factors.items, factors.bias) if method.choice.kind == BY_RANK else None
        catalogues = executor.map(lambda members: catalogue(members, share[members], ranked), dealt.members)  # noqa: B023  used at once
        rates = _rates(method, 1 - (number - 1) / method.epochs)
        slope = epoch(factors, positives, dealt, catalogues, method.choice, rates, rng, executor)
        _finite(method, np.float32(slope), f"epoch {number}")
        watched = training.monitor is not None or training.checkpoint is not None
        training.end_epoch(number, *(_joined(method, factors) if watched else factors[:2]), slope=slope)
    items = _joined(method, factors)[1]
    _finite(method, items, f"epoch {method.epochs}")
    return items


def _positives(method: Pairwise, pairs: sp.csr_array) -> Positives:
    """Return the pairs with a weight above 0, weights over their mean; none where all are alike."""
    kept = pairs.copy()
    kept.eliminate_zeros()
    if not kept.nnz:
        raise InputError(f"{method.name} needs interactions with a weight above 0, and every weight is 0; correct them or leave them out")
    weights = (kept.data / kept.data.mean(dtype=np.float64)).astype(np.float32)
    alike = bool((weights == weights[0]).all())
    return Positives(kept.indptr.astype(np.int64), kept.indices.astype(np.int32), np.empty(0, np.float32) if alike else weights)


def _start(method: Pairwise, shape: tuple[int, int], rng: np.random.Generator) -> Factors:
    users, items = (_widened(_drawn(n, method.embedding_dim, rng)) for n in shape)
    return Factors(users, items, np.zeros(shape[1], np.float32))


def _drawn(n: int, d: int, rng: np.random.Generator) -> F32:
    return rng.standard_normal((n, d), dtype=np.float32) * np.float32(SPREAD / np.sqrt(d))


def _widened(vectors: F32) -> F32:
    """Return a copy as the kernels take it."""
    wide = padded(*vectors.shape)
    wide[:, : vectors.shape[1]] = vectors
    return wide


def _resumed(method: Pairwise, arrays: Mapping[str, F32]) -> Factors:
    users, items = arrays["user_vectors"], arrays["item_vectors"]
    return Factors(_widened(users[:, : method.embedding_dim]), *_split(method, items))


def _split(method: Pairwise, items: F32) -> tuple[F32, F32]:
    """Return item vectors as the kernels take them, and biases."""
    bias = items[:, -1].copy() if method.item_bias else np.zeros(len(items), np.float32)
    return _widened(items[:, : method.embedding_dim]), bias


def _joined(method: Pairwise, factors: Factors) -> tuple[F32, F32]:
    """Return user and item vectors as a model has them: with ones and biases as the last columns."""
    d, ones = method.embedding_dim, np.ones(len(factors.users), np.float32)
    users, items = factors.users[:, :d], factors.items[:, :d]
    if not method.item_bias:
        return np.ascontiguousarray(users), np.ascontiguousarray(items)
    return np.column_stack([users, ones]), np.column_stack([items, factors.bias])


def _rates(method: Pairwise, fade: float) -> Rates:
    learning = np.float32(method.learning_rate * fade)
    bias = learning if method.item_bias else np.float32(0)
    return Rates(learning, bias, *(np.float32(reg) for reg in (method.reg_user, method.reg_positive, method.reg_negative)))


def _finite(method: Pairwise, values: F32 | np.float32, when: str) -> None:
    if not np.isfinite(values).all():
        raise DivergedError(f"{method.name} left the finite numbers in {when}; lower learning_rate (it is {method.learning_rate:g})")


@dataclass(frozen=True, eq=False)
class PairwiseFoldIn(FoldIn):
    """The last passes of the fit, for anyone's history: `user_passes` of them, items held fixed.

    Parameters
    ----------
    method : BPR or WARP
        The recipe.
    item_vectors : F32, shape (n_items, d + n_extra)
        The fixed side.
    n_drawn : int
        Negatives are the first so many items: those of the fit. They are drawn as in the fit, but uniformly where that drew
        by popularity, which a model does not keep.
    """

    method: Pairwise
    item_vectors: F32
    n_drawn: int

    @cached_property
    def _fixed(self) -> tuple[F32, F32, Catalogue]:
        """Item vectors and biases as the kernels take them, and the negatives."""
        vectors, bias = _split(self.method, self.item_vectors)
        ranked = (vectors, bias) if self.method.choice.kind == BY_RANK else None
        return vectors, bias, catalogue(np.arange(self.n_drawn, dtype=np.int32), np.ones(self.n_drawn), ranked)

    def solve(self, histories: Histories, executor: Executor) -> F32:
        """Return the vectors, shape (B, d + n_extra)."""
        given = Positives(*histories.exclude, histories.weights)
        users = solve_users(
            given, *self._fixed, self.method.choice, _rates(self.method, 1), passes=self.method.user_passes, executor=executor
        )
        users = users[:, : self.method.embedding_dim]
        ones = np.ones((len(users), int(self.method.item_bias)), np.float32)
        return np.concatenate([users, ones], axis=1)

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """See `FoldIn.queries`."""
        return self.solve(needs_history(self.method.name, histories), Runtime().executor)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.method.name)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return the item's bias, and what the steps taken for each item of the history add to the score."""
        given = Positives(*history.exclude, history.weights)
        target = _widened(vector[None, : self.method.embedding_dim])[0]
        parts = parts_of_user(
            given, *self._fixed, self.method.choice, _rates(self.method, 1), passes=self.method.user_passes, target=target
        )
        return {"item bias": float(vector[-1])} if self.method.item_bias else {}, parts

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        return {"n_drawn": np.array([self.n_drawn])}


def _updated(method: Pairwise, model: DotModel, dataset: Dataset, new: Interactions | None, training: Training) -> DotModel:
    """Return the model of a grown dataset: new users, then new items, then everyone who has new interactions."""
    pairs, executor = dataset.matrix(), training.runtime.executor
    fresh = pairs if new is None else dataset.with_interactions(new).matrix()
    users, items = lengthened(model.user_vectors, dataset.n_users), lengthened(model.item_vectors, dataset.n_items)
    histories, n_drawn = Histories.from_matrix(pairs), model.fold_in.n_drawn  # type: ignore[attr-defined]
    newcomers = np.arange(model.n_users, dataset.n_users)
    old = Histories.from_matrix(sp.csr_array(pairs[newcomers][:, : model.n_items]))
    users[newcomers] = PairwiseFoldIn(method, model.item_vectors, n_drawn).solve(old, executor)
    if dataset.n_items > model.n_items:
        items = _placed(method, pairs, users, items, dataset.n_items - model.n_items, training)
    fold_in = PairwiseFoldIn(method, items, n_drawn)
    people = np.flatnonzero(np.diff(fresh.indptr))
    users[people] = fold_in.solve(histories.take(people), executor)
    _finite(method, users, "the update")
    return replace(model, user_vectors=users, item_vectors=items, fold_in=fold_in)


def _placed(method: Pairwise, pairs: sp.csr_array, users: F32, items: F32, n_new: int, training: Training) -> F32:
    """Return the item vectors with those of the last `n_new` items learned from their users."""
    known, executor = _positives(method, pairs), training.runtime.executor
    by_item = sp.csr_array(pairs[:, len(items) - n_new :].T.tocsr())
    by_item.eliminate_zeros()
    fresh = Positives(by_item.indptr.astype(np.int64), by_item.indices.astype(np.int32), np.empty(0, np.float32))
    vectors, bias = _split(method, items)
    people, seed = _widened(users[:, : method.embedding_dim]), int(training.rng.integers(1 << 62))
    place_items(known, fresh, people, vectors, bias, _rates(method, 1), passes=PLACING, seed=seed, executor=executor)
    _finite(method, vectors, "the update")
    return _joined(method, Factors(people[:0], vectors, bias))[1]
