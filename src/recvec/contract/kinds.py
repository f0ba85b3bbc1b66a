"""The three kinds of model that carry every method; everything above `models` knows only these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.contract.model import Explanation, FoldIn, Model, Ranked, State, checked_k, checked_rows
from recvec.contract.runtime import Runtime
from recvec.data.histories import Histories
from recvec.errors import NotSupportedError, ValueRangeError
from recvec.kernels.topk import top_k, top_k_of_scores
from recvec.types import F32, Array, Json

_ROWS_PER_BLOCK = 256  # queries whose scores of the whole catalogue are held at once


@dataclass(frozen=True, eq=False, kw_only=True)
class DotModel(Model):
    """The score is the dot product of query and item vector.

    Parameters
    ----------
    method : Method
        The recipe.
    user_vectors : F32, shape (n_users, d + n_extra)
        Stored queries.
    item_vectors : F32, shape (n_items, d + n_extra)
        Item vectors.
    fold_in : FoldIn
        Answers for people and items outside the training table.
    n_extra : int
        Trailing columns that hold biases and item-only terms; similarity leaves them out.
    offset : float
        Added to the score to reach the task's scale.
    bounds : tuple of float, optional
        Predictions are clipped to this range (the training ratings').
    curve : tuple of mappings
        What was measured after each epoch.
    """

    method: Any
    user_vectors: F32
    item_vectors: F32
    fold_in: FoldIn
    n_extra: int = 0
    offset: float = 0.0
    bounds: tuple[float, float] | None = None
    curve: tuple[Mapping[str, float], ...] = ()

    def queries(
        self,
        users: Array | None = None,
        *,
        histories: Histories | None = None,
        features: pl.DataFrame | None = None,
        context: pl.DataFrame | None = None,
    ) -> F32:
        """See `Model.queries`."""
        _no_context(self.method, context)
        if users is not None:
            return self.user_vectors[checked_rows(users, self.n_users, "user")]
        return self.fold_in.queries(_checked(histories, self.n_items), features)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `Model.item_queries`."""
        return self.fold_in.item_queries(features)

    def scores(self, queries: F32, items: Array | None = None) -> F32:
        """See `Model.scores`."""
        vectors = self.item_vectors if items is None else self.item_vectors[checked_rows(items, self.n_items, "item")]
        return queries @ vectors.T  # (B, n_items)

    def predict(self, users: Array, items: Array, *, context: pl.DataFrame | None = None) -> F32:
        """See `Model.predict`."""
        _no_context(self.method, context)
        people, things = checked_rows(users, self.n_users, "user"), checked_rows(items, self.n_items, "item")
        values = np.einsum("nd,nd->n", self.user_vectors[people], self.item_vectors[things]) + np.float32(self.offset)
        return values if self.bounds is None else values.clip(*self.bounds)

    def recommend(
        self,
        queries: F32,
        k: int = 10,
        *,
        exclude: Histories | None = None,
        candidates: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """See `Model.recommend`."""
        allowed = None if candidates is None else checked_rows(candidates, self.n_items, "item")
        left_out = None if exclude is None else exclude.exclude
        executor = (runtime or Runtime()).executor
        return Ranked(*top_k(queries, self.item_vectors, checked_k(k), exclude=left_out, candidates=allowed, executor=executor))

    def explain(self, user: int, item: int) -> Explanation:
        """See `Model.explain`."""
        raise NotSupportedError(f"{self.method.name} cannot explain a score yet; similar_items shows what its vectors have learned")

    def state(self) -> State:
        """See `Model.state`."""
        arrays = {"user_vectors": self.user_vectors, "item_vectors": self.item_vectors}
        arrays |= {f"fold_in.{name}": array for name, array in self.fold_in.arrays().items()}
        meta: dict[str, Json] = {"kind": "dot", "n_extra": self.n_extra, "offset": self.offset}
        meta["bounds"] = None if self.bounds is None else list(self.bounds)
        meta["curve"] = [dict(point) for point in self.curve]
        return State(arrays, meta)

    @staticmethod
    def restored(method: Any, state: State, fold_in: FoldIn) -> "DotModel":
        """Build the model of `state` again; the method supplies its fold-in."""
        bounds: Any = state.meta["bounds"]
        curve: Any = state.meta["curve"]
        return DotModel(
            method=method,
            user_vectors=state.arrays["user_vectors"],
            item_vectors=state.arrays["item_vectors"],
            fold_in=fold_in,
            n_extra=int(state.meta["n_extra"]),  # type: ignore[arg-type]
            offset=float(state.meta["offset"]),  # type: ignore[arg-type]
            bounds=None if bounds is None else (bounds[0], bounds[1]),
            curve=tuple(curve),
        )


class PairScorer(Protocol):
    """A network that scores pairs of vectors."""

    def __call__(self, queries: F32, items: F32) -> F32:
        """Return scores, shape (B, n), of queries (B, d) against item vectors (n, d)."""
        ...

    def arrays(self) -> Mapping[str, Array]:
        """Return what must be saved to build the network again."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class PairModel(Model):
    """A network scores pairs of the vectors of a `DotModel`.

    Parameters
    ----------
    vectors : DotModel
        The vectors, their fold-in, and the dot product that draws candidates.
    scorer : PairScorer
        The network.
    n_candidates : int, optional
        How many items the dot product draws for re-scoring; by default all are scored, which is exact.
    """

    vectors: DotModel
    scorer: PairScorer
    n_candidates: int | None = None

    def __post_init__(self) -> None:
        for name in ("method", "user_vectors", "item_vectors", "n_extra", "curve"):
            object.__setattr__(self, name, getattr(self.vectors, name))

    def queries(
        self,
        users: Array | None = None,
        *,
        histories: Histories | None = None,
        features: pl.DataFrame | None = None,
        context: pl.DataFrame | None = None,
    ) -> F32:
        """See `Model.queries`."""
        return self.vectors.queries(users, histories=histories, features=features, context=context)

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `Model.item_queries`."""
        return self.vectors.item_queries(features)

    def scores(self, queries: F32, items: Array | None = None) -> F32:
        """See `Model.scores`."""
        vectors = self.item_vectors if items is None else self.item_vectors[checked_rows(items, self.n_items, "item")]
        return self.scorer(queries, vectors)

    def predict(self, users: Array, items: Array, *, context: pl.DataFrame | None = None) -> F32:
        """See `Model.predict`."""
        _no_context(self.method, context)
        people, things = checked_rows(users, self.n_users, "user"), checked_rows(items, self.n_items, "item")
        pairs = [self.scorer(self.user_vectors[[u]], self.item_vectors[[i]])[0, 0] for u, i in zip(people, things, strict=True)]
        return np.asarray(pairs, dtype=np.float32)

    def recommend(
        self,
        queries: F32,
        k: int = 10,
        *,
        exclude: Histories | None = None,
        candidates: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """See `Model.recommend`; exact unless `n_candidates` is set."""
        k = checked_k(k)
        if self.n_candidates is None:
            allowed = None if candidates is None else checked_rows(candidates, self.n_items, "item")
            return _ranked_blocks(lambda at: self.scores(queries[at]), len(queries), k, exclude, allowed, runtime)
        n_drawn = max(k, self.n_candidates)
        drawn = self.vectors.recommend(queries, n_drawn, exclude=exclude, candidates=candidates, runtime=runtime)
        return _rescored(self.scorer, queries, self.item_vectors, drawn.rows, k)

    def explain(self, user: int, item: int) -> Explanation:
        """See `Model.explain`."""
        raise NotSupportedError(f"{self.method.name} scores by a network, which has no parts that add up; use a DotModel such as als")

    def state(self) -> State:
        """See `Model.state`."""
        base = self.vectors.state()
        network = {f"scorer.{name}": array for name, array in self.scorer.arrays().items()}
        return State({**base.arrays, **network}, {**base.meta, "kind": "pair", "n_candidates": self.n_candidates})

    @staticmethod
    def restored(method: Any, state: State, fold_in: FoldIn, scorer: PairScorer) -> "PairModel":
        """Build the model of `state` again; the method supplies its fold-in and its network."""
        n: Any = state.meta["n_candidates"]
        return PairModel(vectors=DotModel.restored(method, state, fold_in), scorer=scorer, n_candidates=n)


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemModel(Model):
    """The score is a history row times an item-item matrix, plus an optional dot part.

    A query is the history itself, a CSR row over the catalogue: ``scores = H W + (H A) B'`` with H the
    histories (B, n_items), W the item-item matrix, A (n_items, d) and B (n_items, d) the dot part. The
    vectors are ``H A`` and B where there is a dot part, else the truncated SVD of W that the method gives.

    Parameters
    ----------
    method, user_vectors, item_vectors, n_extra, curve
        As in `DotModel`.
    trained : Histories
        Training histories: the stored queries.
    weights : array or csr_array, shape (n_items, n_items)
        W.
    into : F32, shape (n_items, d), optional
        A; with it, B is `item_vectors`.
    """

    method: Any
    user_vectors: F32
    item_vectors: F32
    trained: Histories
    weights: F32 | sp.csr_array
    into: F32 | None = None
    n_extra: int = 0
    curve: tuple[Mapping[str, float], ...] = ()

    def queries(
        self,
        users: Array | None = None,
        *,
        histories: Histories | None = None,
        features: pl.DataFrame | None = None,
        context: pl.DataFrame | None = None,
    ) -> sp.csr_array:
        """See `Model.queries`; a query is a history row, shape (B, n_items)."""
        _no_context(self.method, context)
        if users is not None:
            return self.trained.take(checked_rows(users, self.n_users, "user")).matrix()
        given = _checked(histories, self.n_items)
        if given is None:
            raise NotSupportedError(f"{self.method.name} knows people by their history only; give histories, or use a demographic method")
        return given.matrix()

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `Model.item_queries`."""
        raise NotSupportedError(f"{self.method.name} knows items by their interactions only; use a content method for new items")

    def scores(self, queries: sp.csr_array, items: Array | None = None) -> F32:
        """See `Model.scores`."""
        product = queries @ self.weights
        dense = np.asarray(product.todense() if sp.issparse(product) else product, dtype=np.float32)
        if self.into is not None:
            dense += (queries @ self.into) @ self.item_vectors.T
        return dense if items is None else dense[:, checked_rows(items, self.n_items, "item")]

    def predict(self, users: Array, items: Array, *, context: pl.DataFrame | None = None) -> F32:
        """See `Model.predict`."""
        people, things = checked_rows(users, self.n_users, "user"), checked_rows(items, self.n_items, "item")
        values = np.empty(len(people), np.float32)
        for start in range(0, len(people), _ROWS_PER_BLOCK):
            at = slice(start, start + _ROWS_PER_BLOCK)
            block = self.scores(self.queries(people[at], context=context))
            values[at] = block[np.arange(len(block)), things[at]]
        return values

    def recommend(
        self,
        queries: sp.csr_array,
        k: int = 10,
        *,
        exclude: Histories | None = None,
        candidates: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """See `Model.recommend`."""
        allowed = None if candidates is None else checked_rows(candidates, self.n_items, "item")
        return _ranked_blocks(lambda at: self.scores(queries[at]), queries.shape[0], checked_k(k), exclude, allowed, runtime)

    def explain(self, user: int, item: int) -> Explanation:
        """See `Model.explain`."""
        raise NotSupportedError(f"{self.method.name} cannot explain a score yet; similar_items shows what it has learned")

    def state(self) -> State:
        """See `Model.state`."""
        arrays: dict[str, Array] = {"user_vectors": self.user_vectors, "item_vectors": self.item_vectors}
        arrays |= {f"trained.{n}": getattr(self.trained, n) for n in ("indptr", "items", "weights")}
        if sp.issparse(self.weights):
            arrays |= {f"weights.{n}": getattr(self.weights, n) for n in ("indptr", "indices", "data")}
        else:
            arrays["weights"] = self.weights
        if self.into is not None:
            arrays["into"] = self.into
        return State(arrays, {"kind": "item", "n_extra": self.n_extra, "curve": [dict(p) for p in self.curve]})

    @staticmethod
    def restored(method: Any, state: State) -> "ItemModel":
        """Build the model of `state` again."""
        arrays, items = state.arrays, state.arrays["item_vectors"]
        trained = Histories(n_items=len(items), **{n: arrays[f"trained.{n}"] for n in ("indptr", "items", "weights")})
        sparse = "weights" not in arrays
        parts = tuple(arrays[f"weights.{n}"] for n in ("data", "indices", "indptr")) if sparse else ()
        return ItemModel(
            method=method,
            user_vectors=arrays["user_vectors"],
            item_vectors=items,
            trained=trained,
            weights=sp.csr_array(parts, shape=(len(items), len(items))) if sparse else arrays["weights"],
            into=arrays.get("into"),
            n_extra=int(state.meta["n_extra"]),  # type: ignore[arg-type]
            curve=tuple(state.meta["curve"]),  # type: ignore[arg-type]
        )


def _ranked_blocks(scores: Any, n: int, k: int, exclude: Histories | None, candidates: Array | None, runtime: Runtime | None) -> Ranked:
    """Score and rank a block of queries at a time, so that queries x items never exist in memory."""
    executor = (runtime or Runtime()).executor
    rows, best = [], []
    for start in range(0, n, _ROWS_PER_BLOCK):
        at = np.arange(start, min(n, start + _ROWS_PER_BLOCK))
        left_out = None if exclude is None else exclude.take(at).exclude
        r, s = top_k_of_scores(scores(at), k, exclude=left_out, candidates=candidates, executor=executor)
        rows.append(r)
        best.append(s)
    if not rows:
        return Ranked(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
    return Ranked(np.concatenate(rows), np.concatenate(best))


def _rescored(scorer: PairScorer, queries: F32, items: F32, drawn: Array, k: int) -> Ranked:
    """Order drawn candidates by the network; ties to the smaller row."""
    rows = np.full((len(queries), k), -1, np.int32)
    best = np.full((len(queries), k), -np.inf, np.float32)
    for b, candidates in enumerate(drawn):
        mine = np.sort(candidates[candidates >= 0])
        scores = scorer(queries[[b]], items[mine])[0]
        top = np.argsort(-scores, kind="stable")[:k]
        rows[b, : len(top)], best[b, : len(top)] = mine[top], scores[top]
    return Ranked(rows, best)


def _checked(histories: Histories | None, n_items: int) -> Histories | None:
    if histories is not None and histories.n_items != n_items:
        raise ValueRangeError(f"the histories are over {histories.n_items} items; allowed: the model's {n_items}")
    return histories


def _no_context(method: Any, context: pl.DataFrame | None) -> None:
    if context is not None:
        raise NotSupportedError(f"{method.name} does not use context; leave it out, or use fm")
