"""Cutting a dataset into what is learned from and what is asked about."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from recvec.data.dataset import Dataset, time_order
from recvec.data.features import FeatureTable
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.data.readers import Source, read_columns, read_rows, to_interactions
from recvec.errors import InputError, ValueRangeError
from recvec.types import I64, Bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """A training part and a test part over one vocabulary.

    Parameters
    ----------
    protocol : str
        How it was cut.
    seed : int
        Seed of the cut, where it has one.
    train : Dataset
        What a method may see. Its vocabularies hold every user and item of all parts.
    test : Interactions
        Held-out rows.
    negatives : Histories, optional
        Items against which each test item of a user is ranked, instead of the whole catalogue.
    """

    protocol: str
    seed: int
    train: Dataset
    test: Interactions
    negatives: Histories | None = None

    def __repr__(self) -> str:
        return f"Split({self.protocol}, train {len(self.train.interactions):,} rows, test {len(self.test):,} rows)"

    @cached_property
    def relevant(self) -> Histories:
        """Distinct chosen test items of each user that are not in their training history."""
        found = self._chosen - self._chosen.multiply(self.train.matrix() != 0)
        found.eliminate_zeros()
        return Histories.from_matrix(sp.csr_array(found))

    @property
    def n_repeated(self) -> int:
        """Test pairs that are in the training part too: nobody can be recommended what is excluded, so they are left out."""
        return int(self._chosen.nnz - len(self.relevant.items))

    @cached_property
    def _chosen(self) -> sp.csr_array:
        rows = self.test if self.test.label is None else self.test.take(self.test.label > 0)
        ones = np.ones(len(rows), np.float32)
        pairs = sp.coo_array((ones, (rows.users, rows.items)), shape=(self.train.n_users, self.train.n_items)).tocsr()
        pairs.sum_duplicates()
        pairs.data[:] = 1
        return pairs

    @property
    def n_unseen_users(self) -> int:
        """Test users without a training row; they are ranked by the model's answer for people without history."""
        return int((self.train.user_counts[np.unique(self.test.users)] == 0).sum())

    @property
    def n_unseen_items(self) -> int:
        """Test items without a training row."""
        return int((self.train.item_counts[np.unique(self.test.items)] == 0).sum())


def split(
    data: Dataset,
    protocol: str = "leave-last-out",
    *,
    seed: int = 0,
    test_share: float = 0.1,
    test: Source | None = None,
    negatives: Source | None = None,
) -> Split:
    """Cut a dataset by a protocol, or take the test part from a table.

    Parameters
    ----------
    data : Dataset
        What to cut; all of it is training part where `test` is given.
    protocol : str
        ``"random"``: ``default_rng(seed).permutation(n_rows)``, the first `test_share` is test.
        ``"leave-last-out"``: the latest row of each user; unknown times count as oldest, equal ones go by
        file order, users with one row stay in train.
    seed : int
        Seed of the random cut.
    test_share : float
        Share of test rows of the random cut, between 0 and 1.
    test : path or table, optional
        Test rows with the columns of the interactions.
    negatives : path or table, optional
        Columns ``user_id`` and ``negative_item_id``.

    Returns
    -------
    Split
        Both parts over the union of all vocabularies.

    Raises
    ------
    InputError
        For an unknown protocol, or a test part without a row.
    """
    given = None if test is None else read_rows(test, data.reading, name="the test table")
    listed = None
    if negatives is not None:
        wanted = ("user_id", "negative_item_id")
        listed = read_columns(negatives, required=wanted, name="the table of negatives", columns=data.reading.columns)
    for table, items in ((given, "item_id"), (listed, "negative_item_id")):
        if table is not None:
            data = _extended(data, table["user_id"], table[items])
    if given is not None:
        made = Split(protocol="given", seed=seed, train=data, test=to_interactions(given, data.users, data.items))
    else:
        held_out = _mask(protocol, data.interactions, seed, test_share)
        rows = data.interactions
        made = Split(protocol=protocol, seed=seed, train=data.with_interactions(rows.take(~held_out)), test=rows.take(held_out))
    if not len(made.test):
        raise InputError(f"protocol {made.protocol} left no test row; allowed: users with two rows or more; give more interactions")
    if listed is None:
        return made
    pairs = sp.coo_array(
        (np.ones(len(listed), np.float32), (data.users.lookup(listed["user_id"]), data.items.lookup(listed["negative_item_id"]))),
        shape=(data.n_users, data.n_items),
    )
    return replace(made, negatives=Histories.from_matrix(pairs.tocsr()))


def _mask(protocol: str, rows: Interactions, seed: int, test_share: float) -> Bool:
    if protocol not in PROTOCOLS:
        raise InputError(f"there is no protocol '{protocol}'; allowed: {', '.join(PROTOCOLS)}, or a test table")
    if not 0 < test_share < 1:
        raise ValueRangeError(f"the test share is {test_share}; allowed: more than 0 and less than 1")
    mask = np.zeros(len(rows), dtype=bool)
    mask[PROTOCOLS[protocol](rows, seed, test_share)] = True
    return mask


def _random(rows: Interactions, seed: int, test_share: float) -> I64:
    return np.random.default_rng(seed).permutation(len(rows))[: int(test_share * len(rows))]


def _last_of_users(rows: Interactions, seed: int, test_share: float) -> I64:
    backwards = time_order(rows)[::-1]
    users, first, counts = np.unique(rows.users[backwards], return_index=True, return_counts=True)
    del users
    return backwards[first[counts > 1]]


PROTOCOLS: dict[str, Callable[[Interactions, int, float], I64]] = {"random": _random, "leave-last-out": _last_of_users}


def _extended(data: Dataset, user_ids: Any, item_ids: Any) -> Dataset:
    """Append ids that only the test part or the negatives name; old rows keep their numbers."""
    users, items = data.users.extended(user_ids), data.items.extended(item_ids)
    return replace(
        data,
        users=users,
        items=items,
        user_features=_lengthened(data.user_features, len(users)),
        item_features=_lengthened(data.item_features, len(items)),
    )


def _lengthened(table: FeatureTable | None, n: int) -> FeatureTable | None:
    if table is None or table.frame.height == n:
        return table
    blank = table.frame.clear(n - table.frame.height)
    return FeatureTable(frame=table.frame.vstack(blank), types=table.types)
