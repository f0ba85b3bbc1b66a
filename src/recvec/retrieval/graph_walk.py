"""Lists by walks over the graph of who met what: from histories alone, without any training, or as a re-ranking of a model's candidates.

Three kinds:

- ``pagerank``: how often a walk from the person meets an item, on average; personalised PageRank of at most `steps` steps,
  by power iteration (`recvec.kernels.walks.visits`).
- ``sampled``: the same, counted over walks that are drawn (`recvec.kernels.walks.drawn_visits`): noisy, at a cost that does
  not grow with the graph.
- ``rp3beta``: three steps with exponents, and only the strongest neighbours of each item: the lists of the method
  ``rp3beta`` with the same settings. The matrix is made when the first list is asked for.

Every walk of a person begins at the history, be the person known or new, so that both get the same list for the same
history. A person without history, and an item that nobody met, has the score 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from recvec.contract import Model, Ranked, Runtime, param
from recvec.contract.blocks import ROWS_PER_BLOCK, ranked_in_blocks
from recvec.contract.hyperparameters import check, parameters, parse
from recvec.data.histories import Histories
from recvec.errors import ValueRangeError
from recvec.kernels.blocks import even_blocks
from recvec.kernels.sparse_products import sparse_sparse
from recvec.kernels.walks import drawn_visits, normalized, roads, three_steps, visits
from recvec.types import F32, I32, Array

Scores = Callable[[sp.csr_array], F32]
"""Histories (B, n_items) -> scores (B, n_items), in the calling thread."""


@dataclass(frozen=True, kw_only=True)
class GraphWalk:
    """How a graph is walked over; bounds and meanings stand in the metadata of the fields, as for a method.

    Raises
    ------
    HyperparameterError
        For a value that is not allowed.
    """

    name: ClassVar[str] = "walk"

    kind: str = param(
        "pagerank", "expected visits, those of walks that are drawn, or three steps", choices=("pagerank", "sampled", "rp3beta")
    )
    restart: float = param(0.5, "probability that a walk ends before a step (pagerank, sampled)", low=0.0, high=1.0, search=(0.05, 0.8))
    steps: int = param(5, "longest walk (pagerank, sampled); an even number is as the odd one below", low=3, high=999, search=(3, 5, 7, 11))
    n_walks: int = param(2000, "walks of each person (sampled)", low=1, high=10**7)
    seed: int = param(0, "of the walks (sampled)", low=0, high=2**63 - 1)
    alpha: float = param(0.6, "exponent of the probabilities (rp3beta)", low=0.0, high=3.0, search=(0.2, 1.5))
    beta: float = param(0.2, "exponent of the popularity that is divided out (all kinds)", low=0.0, high=3.0, search=(0.0, 1.0))
    n_neighbours: int = param(500, "entries kept of each row and of each column (rp3beta)", low=1, search=(50, 1000, "log"))
    normalize: bool = param(default=True, doc="whether each row is divided by its sum (rp3beta)", search=(True, False))
    n_candidates: int = param(0, "re-rank so many of a model's best items; 0: walk to all items", low=0)

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "GraphWalk":
        """Build it of ``name=value`` text."""
        return cls(**parse(cls, settings))

    @property
    def recipe(self) -> dict[str, int | float | bool | str]:
        """Every setting by name."""
        return {p.name: getattr(self, p.name) for p in parameters(self)}


@dataclass(frozen=True, eq=False)
class Asked:
    """B people, as a walk and a model know them; it has a shape and is sliced as the queries of a model are.

    Parameters
    ----------
    starts : csr_array, float32, shape (B, n_items)
        Histories.
    queries : any
        Of the model whose candidates are re-ranked; None without one.
    """

    starts: sp.csr_array
    queries: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        """Return (B, n_items)."""
        return self.starts.shape

    def __getitem__(self, at: slice) -> "Asked":
        return Asked(self.starts[at], None if self.queries is None else self.queries[at])


@dataclass(frozen=True, eq=False, kw_only=True)
class Walker:
    """A graph that is ready to be walked over.

    Parameters
    ----------
    recipe : GraphWalk
        How.
    histories : Histories
        Who met what.
    block_scores : callable
        Histories to scores.
    model : Model, optional
        Gives the candidates that are re-ranked; only where the recipe wants that.
    """

    recipe: GraphWalk
    histories: Histories
    block_scores: Scores
    model: Model | None = None

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self.histories.n_items

    def asked(self, histories: Histories, queries: Any = None) -> Asked:
        """Return people by their histories, and by their queries where a model's candidates are re-ranked.

        Raises
        ------
        ValueRangeError
            For a history over another catalogue, or with a negative weight: no step has a negative probability.
        """
        if histories.n_items != self.n_items:
            raise ValueRangeError(f"the histories are over {histories.n_items} items; allowed: the {self.n_items} of the graph")
        _refuse_negative(histories)
        return Asked(histories.matrix(), None if self.model is None else queries)

    def scores(self, histories: Histories, runtime: Runtime | None = None) -> F32:
        """Return the score of every item for people with these histories, shape (B, n_items)."""
        starts = self.asked(histories).starts
        parts = (runtime or Runtime()).executor.map(lambda at: self.block_scores(starts[at]), even_blocks(len(histories), ROWS_PER_BLOCK))
        return np.concatenate([np.zeros((0, self.n_items), np.float32), *parts])

    def recommend(
        self,
        queries: Asked,
        k: int = 10,
        *,
        exclude: Histories | None = None,
        candidates: Array | None = None,
        runtime: Runtime | None = None,
    ) -> Ranked:
        """Return the best `k` items of each person: see `Model.recommend`.

        Of the candidates of a model, equal scores keep the model's order.
        """
        if self.model is None:
            return ranked_in_blocks(lambda at: self.block_scores(queries.starts[at]), queries.shape[0], k, exclude, candidates, runtime)
        n = min(max(k, self.recipe.n_candidates), self.n_items)
        pool = self.model.recommend(queries.queries, n, exclude=exclude, candidates=candidates, runtime=runtime)
        blocks = even_blocks(queries.shape[0], ROWS_PER_BLOCK)
        parts = (runtime or Runtime()).executor.map(lambda at: self._reranked(queries.starts[at], pool.rows[at], k), blocks)
        rows, scores = zip((np.zeros((0, k), np.int32), np.zeros((0, k), np.float32)), *parts, strict=True)
        return Ranked(np.concatenate(rows), np.concatenate(scores))

    def _reranked(self, starts: sp.csr_array, pool: I32, k: int) -> tuple[I32, F32]:
        found = np.take_along_axis(self.block_scores(starts), pool.clip(min=0), axis=1)
        found[pool < 0] = -np.inf
        best = np.argsort(-found, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(pool, best, axis=1), np.take_along_axis(found, best, axis=1)


def walker(recipe: GraphWalk, histories: Histories, *, model: Model | None = None, runtime: Runtime | None = None) -> Walker:
    """Prepare the graph of some histories to be walked over.

    Parameters
    ----------
    recipe : GraphWalk
        How.
    histories : Histories
        Who met what; weights are strengths.
    model : Model, optional
        Gives the candidates where ``recipe.n_candidates`` is not 0.
    runtime : Runtime, optional
        Threads to use.

    Raises
    ------
    ValueRangeError
        For a negative weight: no step has a negative probability.
    """
    _refuse_negative(histories)
    matrix = histories.matrix()
    makers = {"pagerank": _expected, "sampled": _drawn, "rp3beta": _three_steps}
    scores = makers[recipe.kind](recipe, matrix, runtime or Runtime())
    return Walker(recipe=recipe, histories=histories, block_scores=scores, model=model if recipe.n_candidates else None)


def _refuse_negative(histories: Histories) -> None:
    if len(histories.weights) and histories.weights.min() < 0:
        raise ValueRangeError(
            f"a weight of a history is {histories.weights.min():g}; allowed for a walk: 0 or more; leave out what is disliked"
        )


def _expected(recipe: GraphWalk, matrix: sp.csr_array, _runtime: Runtime) -> Scores:
    graph, rest = normalized(matrix), _less_popular(recipe, matrix)
    rounds = (recipe.steps - 1) // 2
    return lambda starts: visits(graph, starts, recipe.restart, rounds) * rest


def _drawn(recipe: GraphWalk, matrix: sp.csr_array, _runtime: Runtime) -> Scores:
    from_user, from_item, rest = roads(matrix), roads(sp.csr_array(matrix.T.tocsr())), _less_popular(recipe, matrix)
    rounds = (recipe.steps - 1) // 2

    def scores(starts: sp.csr_array) -> F32:
        found = np.empty(starts.shape, np.float32)
        drawn_visits(roads(starts), from_user, from_item, recipe.restart, rounds, recipe.n_walks, recipe.seed, found)
        return found * rest

    return scores


def _three_steps(recipe: GraphWalk, matrix: sp.csr_array, runtime: Runtime) -> Scores:
    alpha, beta, k = recipe.alpha, recipe.beta, recipe.n_neighbours
    weights = three_steps(matrix, alpha=alpha, beta=beta, n_neighbours=k, normalize=recipe.normalize, executor=runtime.executor)
    return lambda starts: sparse_sparse(starts, weights)


def _less_popular(recipe: GraphWalk, matrix: sp.csr_array) -> F32:
    """Return d_i^-beta, 1 for items without edges, shape (n_items,)."""
    degrees = np.asarray(matrix.sum(axis=0), dtype=np.float32)
    rest: F32 = np.where(degrees > 0, degrees, 1) ** np.float32(-recipe.beta)
    return rest


class WalkScorer:
    """Walks as a function from user rows to scores, which `evaluate` measures like any competitor.

    Where a model's candidates are re-ranked, scores are minus the place in the list, and the others are not available.

    Parameters
    ----------
    walker : Walker
        What is measured.
    known : Histories
        What is known of each user: where walks begin.
    runtime : Runtime
        Threads to use.
    """

    __name__ = "walk"

    def __init__(self, walker: Walker, known: Histories, runtime: Runtime) -> None:
        self.walker, self.known, self.runtime = walker, known, runtime

    def __call__(self, users: I32) -> F32:
        """Return the scores of all items for some users, shape (B, n_items)."""
        mine = self.known.take(users)
        if self.walker.model is None:
            return self.walker.scores(mine, self.runtime)
        asked = self.walker.asked(mine, self.walker.model.queries(histories=mine))
        lists = self.walker.recommend(asked, self.walker.recipe.n_candidates, exclude=mine, runtime=self.runtime)
        scores = np.full((len(mine), self.walker.n_items), -np.inf, np.float32)
        person, place = np.nonzero(lists.rows >= 0)
        scores[person, lists.rows[person, place]] = -place.astype(np.float32)
        return scores
