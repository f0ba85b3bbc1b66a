"""Lists of items that differ: re-ranking by maximal marginal relevance, and how much the items of a list are alike.

A pool of p items, best first, becomes a list of k. With L the items picked so far and D = `diversity`, the next one
is the item i of the pool that maximizes::

    (1 - D) rel_i  -  D max_{j in L} cos(v_i, v_j),      rel_i = (s_i - s_min) / (s_max - s_min) within the pool

The first is the best of the pool. Equal values go to the better rank in the pool, so that D = 0 gives the first k
items of the pool as they are.

Cost: 2 k p d operations a list. Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for
reordering documents and producing summaries", SIGIR 1998.
"""

import numpy as np

from recvec.errors import ValueRangeError
from recvec.kernels.blocks import even_blocks
from recvec.kernels.compiled import compiled, compiled_exactly, compiled_into_callers
from recvec.types import F32, F64, I32, Executor

LISTS_PER_BLOCK = 256
POOL = 100  # items from which a list is picked, at least
POOL_PER_ITEM = 5  # ... and for each item of the list


def pool_size(k: int) -> int:
    """Return how many items a list of `k` is picked from: ``max(100, 5 k)``."""
    return max(POOL, POOL_PER_ITEM * k)


def mmr(rows: I32, scores: F32, vectors: F32, k: int, diversity: float, *, executor: Executor) -> tuple[I32, F32]:
    """Pick `k` items of each pool by maximal marginal relevance.

    Parameters
    ----------
    rows : int32 array, shape (B, p)
        Pools of item rows, best first; -1 at the end of a shorter pool.
    scores : float32 array, shape (B, p)
        Their scores, descending.
    vectors : float32 array, shape (n_items, d)
        What the items are compared by; a zero vector has cosine 0 with everything.
    k : int
        Length of the lists.
    diversity : float
        0: by score alone; 1: after the first item by difference alone.
    executor : Executor
        Runs blocks of lists; each list is computed by itself, so that the bits do not depend on the executor.

    Returns
    -------
    rows : int32 array, shape (B, k)
        The picked items in the order of picking; -1 beyond the end of the pool.
    scores : float32 array, shape (B, k)
        Their scores, which need not descend; -inf where the row is -1.

    Raises
    ------
    ValueRangeError
        Where `diversity` is not within 0 ... 1.
    """
    check_diversity(diversity)
    picked = np.full((len(rows), k), -1, np.int32)
    kept = np.full((len(rows), k), -np.inf, np.float32)
    units = _units(vectors)

    def pick(block: slice) -> None:
        _pick_lists(rows[block], scores[block], units, float(diversity), picked[block], kept[block])

    executor.map(pick, even_blocks(len(rows), LISTS_PER_BLOCK))
    return picked, kept


def check_diversity(diversity: float) -> None:
    """Refuse a diversity that is not a number within 0 ... 1.

    Raises
    ------
    ValueRangeError
        Names the value.
    """
    if isinstance(diversity, bool) or not isinstance(diversity, float | int | np.number) or not 0 <= diversity <= 1:
        raise ValueRangeError(f"diversity is {diversity}; allowed: a number from 0 (by score alone) to 1")


def intra_list_similarity(rows: I32, vectors: F32, *, executor: Executor) -> F64:
    """Return the mean cosine over all pairs of items of each list, shape (B,).

    Parameters
    ----------
    rows : int32 array, shape (B, k)
        Lists of item rows; -1 at the end of a shorter list. A list with fewer than two items has no pair, and gets 0.
    vectors : float32 array, shape (n_items, d)
        What the items are compared by; a zero vector has cosine 0 with everything.
    executor : Executor
        Runs blocks of lists.

    Notes
    -----
    ``(|sum u_i|^2 - sum |u_i|^2) / (n (n - 1))`` with u the unit vectors: 2 k d operations a list.
    """
    units = _units(vectors)
    parts = executor.map(lambda block: _mean_cosines(rows[block], units), even_blocks(len(rows), LISTS_PER_BLOCK))
    return np.concatenate([np.zeros(0), *parts])


def _units(vectors: F32) -> F32:
    """Return the vectors to length 1, zeros as they are; lengths in float64, because squares of float32 may overflow."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return (vectors / np.where(length > 0, length, 1)[:, None]).astype(np.float32)


@compiled_exactly
def _pick_lists(rows, scores, units, diversity, picked, kept):
    """Fill `picked` and `kept`; the pool's vectors are gathered once, and each pick costs one pass over them."""
    n_lists, size = rows.shape
    pool = np.empty((size, units.shape[1]), np.float32)
    for b in range(n_lists):
        n = 0
        while n < size and rows[b, n] >= 0:
            pool[n] = units[rows[b, n]]
            n += 1
        if n == 0:
            continue
        low, high = np.float64(scores[b, n - 1]), np.float64(scores[b, 0])
        span = high - low if high > low else 1.0
        closest = np.full(n, -np.inf)  # largest cosine with what is picked
        free = np.ones(n, np.bool_)
        for place in range(min(n, picked.shape[1])):
            best, most = -1, -np.inf
            for j in range(n):
                if free[j]:
                    value = (1 - diversity) * ((scores[b, j] - low) / span)
                    if place > 0:
                        value -= diversity * closest[j]
                    if value > most:
                        best, most = j, value
            free[best] = False
            picked[b, place], kept[b, place] = rows[b, best], scores[b, best]
            _come_closer(pool, best, n, closest)


@compiled_into_callers
def _come_closer(pool, best, n, closest):
    """Raise the largest cosines by those with the item that was picked."""
    last = pool[best]
    for j in range(n):
        cosine = np.float32(0)
        for t in range(pool.shape[1]):
            cosine += pool[j, t] * last[t]
        closest[j] = max(closest[j], np.float64(cosine))


@compiled
def _mean_cosines(rows, units):
    n_lists, k = rows.shape
    d = units.shape[1]
    means = np.zeros(n_lists)
    for b in range(n_lists):
        total, squares, n = np.zeros(d), 0.0, 0
        for j in range(k):
            if rows[b, j] >= 0:
                n += 1
                for t in range(d):
                    u = np.float64(units[rows[b, j], t])
                    total[t] += u
                    squares += u * u
        if n > 1:
            means[b] = ((total * total).sum() - squares) / (n * (n - 1))
    return means
