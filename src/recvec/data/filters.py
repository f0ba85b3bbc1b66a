"""Leaving out people and items with too little: the core of a table, and the count of what went."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.data.vocabulary import Vocabulary
from recvec.types import I32, I64, Bool

Counts = dict[str, int]
"""Reason -> number of rows, users or items that it left out."""


def minimum_core(
    rows: Interactions, users: Vocabulary, items: Vocabulary, min_per_user: int | None, min_per_item: int | None
) -> tuple[Interactions, Vocabulary, Vocabulary, Counts]:
    """Keep the rows of users and items that have enough of each other, and the ids that still have one or never had any.

    Users with fewer than `min_per_user` distinct items are removed with all their rows, items with fewer than
    `min_per_item` distinct users likewise, again and again until nothing changes; the result does not depend on the
    order. Where rows have labels, pairs without a row of label 1 do not count, but the rows of label 0 of whoever stays
    are kept.

    Parameters
    ----------
    rows : Interactions
        Row numbers within the vocabularies.
    users, items : Vocabulary
        May hold ids without interactions; those stay.
    min_per_user, min_per_item : int, optional
        No minimum where None.

    Returns
    -------
    tuple
        Rows and vocabularies that are left, and counts by reason; a row whose user and item both went counts with
        the user.

    Notes
    -----
    Linear in the rows, once the distinct pairs are sorted: after the first look, only those who lost a partner are
    looked at again.
    """
    matrix = _distinct(rows, len(users), len(items))
    few_users, few_items = _outside_core(matrix, min_per_user or 0, min_per_item or 0)
    of_users, of_items = few_users[rows.users], few_items[rows.items]
    of_items &= ~of_users
    kept = rows.take(~(of_users | of_items))
    old = [_present(rows.users, len(users)), _present(rows.items, len(items))]
    gone = [old[0] & ~_present(kept.users, len(users)), old[1] & ~_present(kept.items, len(items))]
    counts = {
        f"rows of users with fewer than {min_per_user} items": int(of_users.sum()),
        f"rows of items with fewer than {min_per_item} users": int(of_items.sum()),
        f"users with fewer than {min_per_user} items": int((few_users & old[0]).sum()),
        f"items with fewer than {min_per_item} users": int((few_items & old[1]).sum()),
        "users without a row left": int((gone[0] & ~few_users).sum()),
        "items without a row left": int((gone[1] & ~few_items).sum()),
    }
    users, user_rows = _without(users, gone[0])
    items, item_rows = _without(items, gone[1])
    kept = replace(kept, users=user_rows[kept.users], items=item_rows[kept.items])
    return kept, users, items, {reason: n for reason, n in counts.items() if n}


def _distinct(rows: Interactions, n_users: int, n_items: int) -> sp.csr_array:
    """Return which users chose which items, each pair once; the values mean nothing, they may even overflow."""
    chosen = slice(None) if rows.label is None else rows.label > 0
    pairs = (rows.users[chosen], rows.items[chosen])
    return sp.coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape=(n_users, n_items)).tocsr()


def _outside_core(matrix: sp.csr_array, min_per_user: int, min_per_item: int) -> tuple[Bool, Bool]:
    """Mark users and items that do not belong to the core."""
    partners = (_partners(matrix), _partners(matrix.T.tocsr()))
    left = [side.lengths for side in partners]  # distinct partners that each one still has
    removed: list[Bool] = [np.zeros(n, dtype=bool) for n in matrix.shape]
    look_at: list[I64] = [np.arange(n) for n in matrix.shape]
    while len(look_at[0]) or len(look_at[1]):
        for this, other, least in ((0, 1, min_per_user), (1, 0, min_per_item)):
            mine = look_at[this]
            few = mine[(left[this][mine] < least) & ~removed[this][mine]]
            removed[this][few] = True
            lost, times = np.unique(partners[this].take(few).items, return_counts=True)
            left[other][lost] -= times
            look_at[this], look_at[other] = np.zeros(0, np.int64), np.union1d(look_at[other], lost)
    return removed[0], removed[1]


def _partners(matrix: sp.csr_array) -> Histories:
    ones = np.broadcast_to(np.float32(1), matrix.nnz)  # nobody asks for the weights, so they take no memory
    return Histories(indptr=matrix.indptr.astype(np.int64), items=matrix.indices, weights=ones, n_items=matrix.shape[1])


def _present(side: I32, n: int) -> Bool:
    return np.bincount(side, minlength=n) > 0


def _without(vocabulary: Vocabulary, gone: Bool) -> tuple[Vocabulary, I32]:
    """Return the vocabulary of the ids that are left, and the new row of each old one, -1 for those that went."""
    ids = vocabulary.ids.filter(~gone)
    smaller = Vocabulary.of([ids], vocabulary.side)  # anew: what is left may be integers where before it was text
    rows = np.full(len(vocabulary), -1, np.int32)
    rows[~gone] = smaller.lookup(ids)
    return smaller, rows
