"""Lists whose items differ: a pool by score, re-ranked by maximal marginal relevance (`recvec.kernels.diversity`)."""

from typing import Any

import numpy as np

from recvec.contract import Model, Ranked, Runtime
from recvec.data.histories import Histories
from recvec.kernels.blocks import even_blocks
from recvec.kernels.diversity import mmr, pool_size
from recvec.retrieval.graph_walk import Walker
from recvec.types import F32, I32

PEOPLE_PER_BLOCK = 4096  # whose pools are held at once


def diverse_lists(
    model: Model | Walker,
    queries: Any,
    k: int,
    diversity: float,
    *,
    vectors: F32,
    exclude: Histories | None,
    candidates: I32 | None,
    runtime: Runtime,
) -> Ranked:
    """Return lists of `k` items, picked from the best `pool_size` of each person.

    Parameters
    ----------
    model, queries, k, exclude, candidates, runtime
        As in `Model.recommend`.
    diversity : float
        See `recvec.kernels.diversity.mmr`.
    vectors : F32, shape (n_items, d)
        What the items are compared by.
    """
    size = min(pool_size(k), model.n_items)
    parts = []
    for block in even_blocks(queries.shape[0], PEOPLE_PER_BLOCK):
        left_out = None if exclude is None else exclude.take(np.arange(block.start, block.stop))
        pool = model.recommend(queries[block], size, exclude=left_out, candidates=candidates, runtime=runtime)
        parts.append(mmr(pool.rows, pool.scores, vectors, k, diversity, executor=runtime.executor))
    return Ranked(*(np.concatenate(part) for part in zip(*parts, strict=True)))
