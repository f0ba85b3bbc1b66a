"""The shortest ways over other people: a person - an item met - another user who met it - an item, and how much a walk takes each."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from recvec.data.histories import Histories
from recvec.types import F64, I32, I64, Array


class Paths(NamedTuple):
    """Paths of three steps, the strongest first.

    Parameters
    ----------
    items, users : I32, shape (n,)
        The item met and the other user of each path.
    ends : I32, shape (n,)
        The item at the end.
    weights : F64, shape (n,)
        The probability that a walk of three steps from the person takes this path.
    """

    items: I32
    users: I32
    ends: I32
    weights: F64

    def best(self, k: int) -> "Paths":
        """Return the first `k`."""
        return Paths(self.items[:k], self.users[:k], self.ends[:k], self.weights[:k])


def who_met(histories: Histories, item: int) -> I64:
    """Return the rows of the users whose history holds an item."""
    at = np.flatnonzero(histories.items == item)
    found: I64 = np.searchsorted(histories.indptr, at, side="right") - 1
    return found


def paths_to(graph: sp.csr_array, degrees: F64, person: Histories, itself: int | None, item: int, others: Array) -> Paths:
    """Return every path from a person to an item.

    Parameters
    ----------
    graph : csr_array, shape (n_users, n_items)
        Strengths.
    degrees : F64, shape (n_items,)
        Sums of its columns.
    person : Histories
        One row: what the person met.
    itself : int, optional
        Row of the person, if known: a path leads over somebody else.
    item : int
        Row of the end.
    others : array of int
        Users who met it.

    Notes
    -----
    Cost: the lengths of the histories of `others`.
    """
    others = others[others != (-1 if itself is None else itself)]
    first = np.zeros(graph.shape[1])  # probability of a step to each item, over its degree
    total = person.weights.sum(dtype=np.float64)
    if total > 0:
        first[person.items] = person.weights / total
    first[item] = 0
    first = np.divide(first, degrees, out=np.zeros_like(first), where=degrees > 0)
    rows = sp.csr_array(graph[others])
    row = np.repeat(np.arange(len(others)), np.diff(rows.indptr))
    sums = rows.sum(axis=1, dtype=np.float64)
    last = np.bincount(row, np.where(rows.indices == item, rows.data, 0), minlength=len(others))
    last = np.divide(last, sums, out=np.zeros_like(last), where=sums > 0)
    weights = first[rows.indices] * rows.data * last[row]
    kept = np.flatnonzero(weights > 0)
    items, users = rows.indices[kept].astype(np.int32), others[row[kept]].astype(np.int32)
    order = np.lexsort((users, items, -weights[kept]))
    return Paths(items[order], users[order], np.full(len(order), item, np.int32), weights[kept][order])
