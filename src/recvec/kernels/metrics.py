"""Ranking metrics as gains of the places of a list, and the terms of the click metrics.

Notation: R the relevant items of a person, L the list of length k, rel_r = 1 where the item at rank r is in R.
A ranking metric takes ``hits`` (B, k), true where rel_r = 1, and ``n_relevant`` (B,), |R| >= 1, and returns its gains
(B, k): what each place adds to the person's value. The value is the sum over the list, and lies between 0 and 1. Kept
apart, gains can also be added up by item. Averages and intervals are made elsewhere.
"""

from collections.abc import Callable

import numpy as np

from recvec.types import F64, Array, Bool

Gain = Callable[[Bool, Array], F64]


def recall(hits: Bool, n_relevant: Array) -> F64:
    """Return ``rel_r / |R|``: the sum is ``|L n R| / |R|``."""
    return hits / n_relevant[:, None]


def recall_capped(hits: Bool, n_relevant: Array) -> F64:
    """Return ``rel_r / min(k, |R|)``: a sum of 1 is reachable also where more than k items are relevant."""
    return hits / np.minimum(hits.shape[1], n_relevant)[:, None]


def precision(hits: Bool, n_relevant: Array) -> F64:
    """Return ``rel_r / k``: the sum is ``|L n R| / k``; a list that is shorter than k counts as k long."""
    return hits / hits.shape[1]


def hit_rate(hits: Bool, n_relevant: Array) -> F64:
    """Return 1 at the first hit: the sum is 1 where any relevant item is in the list, else 0."""
    return _first(hits).astype(np.float64)


def ndcg(hits: Bool, n_relevant: Array) -> F64:
    """Return ``rel_r / log2(r + 1)`` over the sum of ``1 / log2(r + 1)`` for r from 1 to min(k, |R|), the ideal list's."""
    k = hits.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(k, n_relevant) - 1]
    return hits * discounts / ideal[:, None]


def mean_average_precision(hits: Bool, n_relevant: Array) -> F64:
    """Return ``rel_r precision@r / min(k, |R|)``."""
    k = hits.shape[1]
    precisions = np.cumsum(hits, axis=1) / np.arange(1, k + 1)
    return precisions * hits / np.minimum(k, n_relevant)[:, None]


def mrr(hits: Bool, n_relevant: Array) -> F64:
    """Return ``1 / r`` at the first hit: the sum is the reciprocal of its rank, or 0 without one."""
    return _first(hits) / np.arange(1, hits.shape[1] + 1)


def _first(hits: Bool) -> Bool:
    """Mark the first hit of each list, shape (B, k)."""
    return hits & (np.cumsum(hits, axis=1) == 1)


RANKING: dict[str, Gain] = {
    "recall": recall,
    "recall_capped": recall_capped,
    "precision": precision,
    "hit_rate": hit_rate,
    "ndcg": ndcg,
    "map": mean_average_precision,
    "mrr": mrr,
}
"""Gains of the metrics of a list by name."""


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


def logloss_terms(label: Array, probability: Array) -> F64:
    """Return ``-log(p)`` where the label is 1 and ``-log(1 - p)`` where it is not; logloss is their mean.

    Parameters
    ----------
    label : array, shape (n,)
        1 where the item was chosen; 0, -1 or false where it was not.
    probability : array, shape (n,)
        Predicted probability p of a 1.

    Returns
    -------
    F64, shape (n,)
        Natural logarithms. p and 1 - p are held within [eps, 1 - eps], eps = 2.2e-16 the step of float64 at 1, so that
        no term exceeds 36.04; scikit-learn's ``log_loss`` does the same for float64.
    """
    p = np.asarray(probability, dtype=np.float64)
    eps = np.finfo(np.float64).eps
    return -np.log(np.clip(np.where(label > 0, p, 1 - p), eps, 1 - eps))
