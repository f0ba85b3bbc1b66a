"""Ranking metrics, one value per list; averages and intervals are made elsewhere.

Notation: R the relevant items of a person, L the list of length k, rel_r = 1 where the item at rank r is in R.
Every function takes ``hits`` (B, k), true where rel_r = 1, and ``n_relevant`` (B,), |R| >= 1, and returns (B,).
"""

from collections.abc import Callable

import numpy as np

from recvec.types import F64, Array, Bool

Metric = Callable[[Bool, Array], F64]


def recall(hits: Bool, n_relevant: Array) -> F64:
    """Return ``|L n R| / |R|``."""
    return hits.sum(axis=1) / n_relevant


def recall_capped(hits: Bool, n_relevant: Array) -> F64:
    """Return ``|L n R| / min(k, |R|)``: 1 is reachable also where more than k items are relevant."""
    return hits.sum(axis=1) / np.minimum(hits.shape[1], n_relevant)


def precision(hits: Bool, n_relevant: Array) -> F64:
    """Return ``|L n R| / k``; a list that is shorter than k counts as k long."""
    return hits.sum(axis=1) / hits.shape[1]


def hit_rate(hits: Bool, n_relevant: Array) -> F64:
    """Return 1 where any relevant item is in the list, else 0."""
    return np.asarray(hits.any(axis=1), dtype=np.float64)


def ndcg(hits: Bool, n_relevant: Array) -> F64:
    """Return ``sum_r rel_r / log2(r + 1)`` over its value for the ideal list of min(k, |R|) hits."""
    k = hits.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal: F64 = np.cumsum(discounts)[np.minimum(k, n_relevant) - 1]
    gain = np.asarray(hits @ discounts)
    return np.asarray(gain / ideal)


def mean_average_precision(hits: Bool, n_relevant: Array) -> F64:
    """Return ``sum_r rel_r precision@r / min(k, |R|)``."""
    k = hits.shape[1]
    precisions = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    return (precisions * hits).sum(axis=1) / np.minimum(k, n_relevant)


def mrr(hits: Bool, n_relevant: Array) -> F64:
    """Return 1 / rank of the first hit, or 0 without one."""
    first = hits.argmax(axis=1)
    return np.where(hits.any(axis=1), 1 / (first + 1), 0.0)


RANKING: dict[str, Metric] = {
    "recall": recall,
    "recall_capped": recall_capped,
    "precision": precision,
    "hit_rate": hit_rate,
    "ndcg": ndcg,
    "map": mean_average_precision,
    "mrr": mrr,
}
"""Metrics of a list by name."""


def from_rank(rank: Array, k: int) -> dict[str, F64]:
    """Return the same metrics for lists with one relevant item, from its rank (1 the best, fractions where scores tie).

    Parameters
    ----------
    rank : array, shape (n,)
        Rank of the relevant item.
    k : int
        Length of the lists.

    Returns
    -------
    dict of str to F64, shape (n,)
        By the names of `RANKING`.
    """
    inside = rank < k + 1  # a tie between ranks k and k + 1 takes k + 1/2, and counts as inside
    hit = inside.astype(np.float64)
    reciprocal = np.where(inside, 1 / rank, 0.0)
    gain = np.where(inside, 1 / np.log2(rank + 1), 0.0)
    return {"recall": hit, "recall_capped": hit, "precision": hit / k, "hit_rate": hit, "ndcg": gain, "map": reciprocal, "mrr": reciprocal}


def mean_rank(score: Array, others: Array) -> F64:
    """Return the rank of each score among the other scores of its row; ties take their mean rank.

    Parameters
    ----------
    score : array, shape (n,)
        Scores of the relevant items.
    others : array, shape (n, m)
        Scores of the items they compete with; NaN where there is none.

    Returns
    -------
    F64, shape (n,)
        ``1 + #greater + #equal / 2``.
    """
    own = score[:, None]
    return 1.0 + (others > own).sum(axis=1) + 0.5 * (others == own).sum(axis=1)
