"""Ranking by full scores: items for a block of queries at a time, users for an item."""

from typing import Any

import numpy as np

from recvec.contract.model import Ranked
from recvec.contract.runtime import Runtime
from recvec.data.histories import Histories
from recvec.kernels.topk import top_k_of_scores
from recvec.types import F32, Array

ROWS_PER_BLOCK = 256  # queries whose scores of the whole catalogue are held at once


def ranked_in_blocks(scores: Any, n: int, k: int, exclude: Histories | None, candidates: Array | None, runtime: Runtime | None) -> Ranked:
    """Score and rank a block of queries at a time, so that queries x items never exist in memory."""
    executor = (runtime or Runtime()).executor
    rows, best = [], []
    for start in range(0, n, ROWS_PER_BLOCK):
        at = np.arange(start, min(n, start + ROWS_PER_BLOCK))
        left_out = None if exclude is None else exclude.take(at).exclude
        r, s = top_k_of_scores(scores(at), k, exclude=left_out, candidates=candidates, executor=executor)
        rows.append(r)
        best.append(s)
    if not rows:
        return Ranked(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
    return Ranked(np.concatenate(rows), np.concatenate(best))


def ranked_users(scores: F32, k: int, exclude: Histories | None, users: Array | None, runtime: Runtime | None) -> Ranked:
    """Rank users by their scores, shape (B, n_users), for B items."""
    left_out = None if exclude is None else exclude.exclude
    executor = (runtime or Runtime()).executor
    ready = np.ascontiguousarray(scores, dtype=np.float32)
    return Ranked(*top_k_of_scores(ready, k, exclude=left_out, candidates=users, executor=executor))
