"""Metrics of lists against the catalogue: how new, how popular, and how evenly shown the listed items are.

Notation: L the list of a person, n_i the number of users who met item i in training. Lists are rows (B, k) of item
rows, -1 behind the end of a list that is shorter than k.
"""

import numpy as np

from recvec.types import F64, I32, I64, Array


def novelty(rows: I32, item_counts: Array, n_users: int) -> F64:
    """Return the mean of ``-log2(n_i / n_users)`` over each list: the surprise of its items in bits.

    Parameters
    ----------
    rows : I32, shape (B, k)
        The lists.
    item_counts : array, shape (n_items,)
        n_i. An item that nobody met counts as met by one: with n_i = 0 its surprise would be infinite, and one such
        item would hide all others.
    n_users : int
        Number of users of the training part.

    Returns
    -------
    F64, shape (B,)
        0 where everybody met every item of the list, at most log2(n_users); NaN where the list is empty.

    Notes
    -----
    The mean self-information of Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems",
    PNAS 2010.
    """
    return _list_means(rows, -np.log2(np.maximum(item_counts, 1) / n_users))


def popularity_lift(rows: I32, item_counts: Array, usual: F64) -> F64:
    """Return the mean of n_i over each list, divided by the mean of n_i over the user's training items.

    Parameters
    ----------
    rows : I32, shape (B, k)
        The lists.
    item_counts : array, shape (n_items,)
        n_i.
    usual : F64, shape (B,)
        Mean n_i of the user's training items; NaN or 0 where there are none.

    Returns
    -------
    F64, shape (B,)
        1 where the list is as popular as what the user met, more where it is more popular; NaN where the list is empty
        or the user has no training items.
    """
    known = np.where(usual > 0, usual, np.nan)
    return _list_means(rows, np.asarray(item_counts, dtype=np.float64)) / known


def _list_means(rows: I32, values: F64) -> F64:
    """Return the mean of the items' values over each list, shape (B,); NaN where the list is empty."""
    listed = rows >= 0
    lengths = listed.sum(axis=1)
    sums = np.where(listed, values[np.maximum(rows, 0)], 0.0).sum(axis=1)
    return np.divide(sums, lengths, out=np.full(len(rows), np.nan), where=lengths > 0)


def exposure(rows: I32, n_items: int) -> I64:
    """Return in how many lists each item stands, shape (n_items,); exposures of blocks of lists add up."""
    return np.bincount(rows[rows >= 0], minlength=n_items).astype(np.int64)


def coverage(exposure: I64) -> float:
    """Return the share of the catalogue that stands in at least one list."""
    return float((exposure > 0).mean())


def gini(exposure: I64) -> float:
    """Return the Gini coefficient of exposure: ``sum_i (2 i - n - 1) x_(i) / (n sum_i x_(i))``, x_(1) <= ... <= x_(n).

    Parameters
    ----------
    exposure : I64, shape (n,)
        In how many lists each item of the catalogue stands, zeros included.

    Returns
    -------
    float
        0 where all items are shown alike, ``1 - 1 / n`` where one item takes every place; not multiplied by
        ``n / (n - 1)``. NaN where nothing is shown.
    """
    n, total = len(exposure), int(exposure.sum())
    if not total:
        return float("nan")
    ascending = np.sort(exposure)
    return float(((2 * np.arange(1, n + 1) - n - 1) * ascending).sum() / (n * total))
