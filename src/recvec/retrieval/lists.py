"""Lists of items for users of the vocabulary: the known by the model, the others by whoever of the ladder can."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recvec.contract import Model, Ranked, Runtime
from recvec.contract.model import refuse_context
from recvec.data.dataset import Dataset
from recvec.data.histories import Histories
from recvec.errors import NotSupportedError
from recvec.retrieval.diversity import diverse_lists
from recvec.retrieval.frames import lists_frame
from recvec.retrieval.graph_walk import Walker
from recvec.retrieval.ladder import Ladder, as_frame
from recvec.retrieval.limits import either
from recvec.types import I32, Array


class Limits(NamedTuple):
    """What lists are held to.

    Parameters
    ----------
    k : int
        Length.
    candidates : I32, optional
        The only item rows allowed.
    denied : Histories, optional
        Items denied to each user of the vocabulary.
    diversity : float
        See `retrieval.diversity`.
    """

    k: int
    candidates: I32 | None
    denied: Histories | None = None
    diversity: float = 0.0


def known_lists(
    ladder: Ladder,
    rows: I32,
    warm: Array,
    known: Histories | None,
    limits: Limits,
    context: Mapping[str, object] | None,
    runtime: Runtime,
    walker: Walker | None = None,
) -> pl.DataFrame:
    """Return user_id, item_id, score, rank and route for users of the vocabulary, in the order of `rows`.

    Parameters
    ----------
    ladder : Ladder
        Who answers.
    rows : I32, shape (B,)
        Users.
    warm : bool, shape (B,)
        Who has a training history.
    known : Histories, optional
        What each user of the vocabulary met; left out of the lists.
    limits : Limits
        What the lists are held to.
    context : mapping, optional
        Of all requests, for models that use it; lower rungs know of none.
    runtime : Runtime
        Threads to use.
    walker : Walker, optional
        Answers for users with a history, instead of the model.
    """
    data, told = ladder.train, as_frame(context)
    check_context(ladder, told, walker)
    nobody = Ranked(np.zeros((0, limits.k), np.int32), np.zeros((0, limits.k), np.float32))
    parts = [lists_frame(nobody, "stored", rows, data.items, data.users.ids[rows])]
    for mine in (warm, ~warm):
        at = np.flatnonzero(mine)
        if len(at):
            route, model = ladder.known(warm=bool(warm[at[0]]))
            lister: Model | Walker = model
            queries: Any = model.queries(rows[at], context=told if model.uses_context else None)
            if walker is not None and warm[at[0]]:
                route, lister, queries = "history", walker, walker.asked(walker.histories.take(rows[at]), queries)
            lists = ranked(ladder.model, lister, queries, _left_out(data, rows[at], known, limits.denied), limits, runtime)
            parts.append(lists_frame(lists, route, at, data.items, data.users.ids[rows[at]]))
    return pl.concat(parts).sort("place", "rank").drop("place")


def _left_out(data: Dataset, rows: I32, known: Histories | None, denied: Histories | None) -> Histories:
    exclude = Histories.empty(len(rows), data.n_items) if known is None else known.take(rows)
    return exclude if denied is None else either(exclude, denied.take(rows))


def check_context(ladder: Ladder, told: pl.DataFrame | None, walker: Walker | None) -> None:
    """Refuse a context that nobody would look at.

    Raises
    ------
    NotSupportedError
        Where there is one.
    """
    if walker is not None and walker.model is None and told is not None:
        raise NotSupportedError("a walk over the graph knows of no context; leave it out, or re-rank a model's lists by n_candidates")
    if not ladder.model.uses_context:
        refuse_context(ladder.model.method, told)


def ranked(main: Model, model: Model | Walker, queries: Any, exclude: Histories | None, limits: Limits, runtime: Runtime) -> Ranked:
    """Return lists by score or, with diversity, re-ranked by the vectors of the main model, also on the rungs below."""
    how: dict[str, Any] = {"exclude": exclude, "candidates": limits.candidates, "runtime": runtime}
    if limits.diversity == 0:
        return model.recommend(queries, limits.k, **how)
    vectors = main.item_vectors
    plain = vectors[:, : vectors.shape[1] - main.n_extra]
    return diverse_lists(model, queries, limits.k, limits.diversity, vectors=plain, **how)
