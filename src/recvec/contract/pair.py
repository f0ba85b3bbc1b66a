"""Models in which a network scores pairs of vectors."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import polars as pl
from scipy.special import expit

from recvec.contract.blocks import ROWS_PER_BLOCK, ranked_in_blocks, ranked_users
from recvec.contract.dot import DotModel
from recvec.contract.fold_in import FoldIn
from recvec.contract.model import (
    Explanation,
    Model,
    Ranked,
    State,
    checked_k,
    checked_rows,
    refuse_context,
)
from recvec.contract.runtime import Runtime
from recvec.data.histories import Histories
from recvec.errors import ArtifactError, NotSupportedError
from recvec.kernels.blocks import even_blocks
from recvec.types import F32, Array, Json

PAIRS_PER_BLOCK = 4096  # scored at once


class PairScorer(Protocol):
    """A network that scores pairs of vectors."""

    def __call__(self, queries: F32, items: F32) -> F32:
        """Return scores, shape (B, n), of queries (B, d) against item vectors (n, d); it runs in several threads at once."""
        ...

    def pairs(self, queries: F32, items: F32) -> F32:
        """Return the score of each row of queries (n, d) with the same row of item vectors (n, d), shape (n,)."""
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
    n_drawing : int, optional
        The dot product is that of so many first columns of the vectors; by default of all.
    likelihood : bool
        Whether `predict` gives probabilities, ``1 / (1 + exp(-score))``, instead of scores.
    """

    vectors: DotModel
    scorer: PairScorer
    n_candidates: int | None = None
    n_drawing: int | None = None
    likelihood: bool = False

    def __post_init__(self) -> None:
        for name in ("method", "user_vectors", "item_vectors", "n_extra", "curve", "notes"):
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
        refuse_context(self.method, context)
        people, things = checked_rows(users, self.n_users, "user"), checked_rows(items, self.n_items, "item")
        blocks = even_blocks(len(people), PAIRS_PER_BLOCK)
        found = [self.scorer.pairs(self.user_vectors[people[at]], self.item_vectors[things[at]]) for at in blocks]
        scores = np.concatenate([np.zeros(0, np.float32), *found])
        return np.asarray(expit(scores), np.float32) if self.likelihood else scores

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
            return ranked_in_blocks(lambda at: self.scores(queries[at]), len(queries), k, exclude, allowed, runtime)
        n_drawn = max(k, self.n_candidates)
        first = slice(None, self.n_drawing)
        narrow = replace(self.vectors, item_vectors=np.ascontiguousarray(self.item_vectors[:, first]))
        asked = np.ascontiguousarray(queries[:, first])
        drawn = narrow.recommend(asked, n_drawn, exclude=exclude, candidates=candidates, runtime=runtime)
        return _rescored(self.scorer, queries, self.item_vectors, drawn.rows, k)

    def audience(
        self,
        items: Array,
        k: int = 100,
        *,
        exclude: Histories | None = None,
        users: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """See `Model.audience`; the network scores every user, whatever `n_candidates` is."""
        wanted = checked_rows(items, self.n_items, "item")
        allowed = None if users is None else checked_rows(users, self.n_users, "user")
        blocks = even_blocks(self.n_users, ROWS_PER_BLOCK)
        scores = [self.scores(self.user_vectors[block], wanted) for block in blocks]  # (b, B) each
        return ranked_users(np.concatenate(scores).T, checked_k(k), exclude, allowed, runtime)

    def explain(self, history: Histories, item: int, *, user: int | None = None, context: pl.DataFrame | None = None) -> Explanation:
        """See `Model.explain`."""
        raise NotSupportedError(f"{self.method.name} scores by a network, which has no parts that add up; use a DotModel such as als")

    def state(self) -> State:
        """See `Model.state`."""
        base = self.vectors.state()
        network = {f"scorer.{name}": array for name, array in self.scorer.arrays().items()}
        more: dict[str, Json] = {
            "kind": "pair",
            "n_candidates": self.n_candidates,
            "n_drawing": self.n_drawing,
            "likelihood": self.likelihood,
        }
        return State({**base.arrays, **network}, {**base.meta, **more})

    @staticmethod
    def restored(method: Any, state: State, fold_in: FoldIn, scorer: PairScorer) -> "PairModel":
        """Build the model of `state` again; the method supplies its fold-in and its network.

        Raises
        ------
        ArtifactError
            Where the network cannot score the vectors: its arrays do not fit each other.
        """
        kept: Any = {name: state.meta[name] for name in ("n_candidates", "n_drawing", "likelihood")}
        model = PairModel(vectors=DotModel.restored(method, state, fold_in), scorer=scorer, **kept)
        try:
            scorer(model.user_vectors[:1], model.item_vectors[:2])
        except (ValueError, IndexError, KeyError) as error:
            raise ArtifactError(f"the network of {method.name} does not fit its vectors; fit the model again") from error
        return model


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
