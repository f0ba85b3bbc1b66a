"""Ranking by full scores: items for a block of queries at a time, users for an item."""

from typing import Any

import numpy as np

from recvec.contract.model import Ranked
from recvec.contract.runtime import Runtime
from recvec.data.histories import Histories
from recvec.kernels.blocks import even_blocks
from recvec.kernels.topk import top_k_of_scores
from recvec.types import F32, I32, Array

ROWS_PER_BLOCK = 256  # queries whose scores of the whole catalogue are held at once


def ranked_in_blocks(scores: Any, n: int, k: int, exclude: Histories | None, candidates: Array | None, runtime: Runtime | None) -> Ranked:
    """Score and rank a block of queries at a time, so that queries x items never exist in memory.

    ``scores(slice)`` runs inside a block of the executor, so that it may not use an executor itself.
    """

    def best(at: slice) -> tuple[I32, F32]:
        left_out = None if exclude is None else exclude.take(np.arange(at.start, at.stop)).exclude
        return top_k_of_scores(scores(at), k, exclude=left_out, candidates=candidates)

    parts = (runtime or Runtime()).executor.map(best, even_blocks(n, ROWS_PER_BLOCK))
    rows, values = zip((np.zeros((0, k), np.int32), np.zeros((0, k), np.float32)), *parts, strict=True)
    return Ranked(np.concatenate(rows), np.concatenate(values))


def ranked_users(scores: F32, k: int, exclude: Histories | None, users: Array | None, runtime: Runtime | None) -> Ranked:
    """Rank users by their scores, shape (B, n_users), for B items."""
    left_out = None if exclude is None else exclude.exclude
    executor = (runtime or Runtime()).executor
    ready = np.ascontiguousarray(scores, dtype=np.float32)
    return Ranked(*top_k_of_scores(ready, k, exclude=left_out, candidates=users, executor=executor))
