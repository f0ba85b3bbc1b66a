"""A dataset cut into what is learned from and what is asked about."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from recvec.data.dataset import Dataset, Value
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.data.protocols import N_PARTS, Cut, cut
from recvec.data.readers import Source, read_columns, read_rows, to_interactions
from recvec.errors import InputError
from recvec.types import I32


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
    folded : Interactions, optional
        Rows of held-out users, which a method does not learn from: their owners are asked about by this history.
    candidates : I32, optional
        The only item rows that compete (ascending); all items where None.
    negatives : Histories, optional
        Items against which each test item of a user is ranked, instead of the whole catalogue.
    n_known : tuple of int, optional
        Users and items before those that only the test part or the negatives name.
    """

    protocol: str
    seed: int
    train: Dataset
    test: Interactions
    folded: Interactions | None = None
    candidates: I32 | None = None
    negatives: Histories | None = None
    n_known: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"Split({self.protocol}, train {len(self.train.interactions):,} rows, test {len(self.test):,} rows)"

    def histories(self, value: Value = "weight") -> Histories:
        """Return what is known of each user when they are asked about: training rows, or the rows folded in."""
        if self.folded is None:
            return self.train.histories(value)
        parts = [data.matrix(value).tocoo() for data in (self.train, self.train.with_interactions(self.folded))]
        values, rows, columns = (np.concatenate(arrays) for arrays in zip(*((p.data, *p.coords) for p in parts), strict=True))
        return Histories.from_matrix(sp.coo_array((values, (rows, columns)), shape=parts[0].shape).tocsr())  # a sum would lose weights of 0

    @cached_property
    def relevant(self) -> Histories:
        """Distinct chosen test items of each user that are not among what is known of them."""
        known = self.histories().matrix()
        known.data = np.ones_like(known.data)  # met is met, also with a weight of 0
        found = self._chosen - self._chosen.multiply(known)
        found.eliminate_zeros()
        return Histories.from_matrix(sp.csr_array(found))

    @property
    def n_repeated(self) -> int:
        """Test pairs that are known too: nobody can be recommended what is excluded, so they are left out."""
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
        """Test rows whose item has no training row."""
        return int((self.train.item_counts[self.test.items] == 0).sum())

    @property
    def n_distinct_unseen_items(self) -> int:
        """Different items among those rows."""
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
        ``"time"``: the last `test_share` of the rows by time, equal times by file order.
        ``"strong"``: a fifth of the users is held out; 80 % of their rows are folded in, the others are test.
        ``"new-users"``, ``"new-items"``: a fifth of the users (items) is held out with all rows; of new items only
        the held-out ones compete. These are the first fold of `folds`.
    seed : int
        Seed of the random cuts.
    test_share : float
        Share of test rows of ``random`` and ``time``, between 0 and 1.
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
        For an unknown protocol, rows that it cannot cut, or a test part without a row.
    """
    return _split(data, protocol, Cut(seed=seed, test_share=test_share), test, negatives)


def folds(
    data: Dataset, protocol: str = "new-users", n_folds: int = N_PARTS, *, seed: int = 0, negatives: Source | None = None
) -> list[Split]:
    """Cut a dataset into parts and return one split for each part as the test part.

    Parameters
    ----------
    data : Dataset
        What to cut.
    protocol : str
        ``"new-users"``, ``"new-items"`` or ``"strong"``: users (items) that have rows are cut at random;
        ``"random"``: rows are.
    n_folds : int
        Number of parts, 2 or more.
    seed : int
        Seed of the cut.
    negatives : path or table, optional
        As in `split`.

    Raises
    ------
    InputError, ValueRangeError
        For a protocol that has no folds, or a number of parts that the data do not allow.
    """
    cuts = [Cut(seed=seed, fold=fold, n_folds=n_folds) for fold in range(max(n_folds, 1))]  # `cut` refuses fewer than 2
    return [_split(data, protocol, how, None, negatives) for how in cuts]


def _split(data: Dataset, protocol: str, how: Cut, test: Source | None, negatives: Source | None) -> Split:
    given = None if test is None else read_rows(test, data.reading, name="the test table")
    listed = None
    if negatives is not None:
        wanted = ("user_id", "negative_item_id")
        listed = read_columns(negatives, required=wanted, name="the table of negatives", columns=data.reading.columns)
    n_known = (data.n_users, data.n_items)
    for table, items in ((given, "item_id"), (listed, "negative_item_id")):
        if table is not None:
            data = _extended(data, table["user_id"], table[items])
    if given is not None:
        test_rows = to_interactions(given, data.users, data.items)
        made = Split(protocol="given", seed=how.seed, train=data, test=test_rows, n_known=n_known)
    else:
        made = replace(_cut(data, protocol, how), n_known=n_known)
    if not len(made.test):
        raise InputError(f"protocol {made.protocol} left no test row; allowed: users with two rows or more; give more interactions")
    if listed is None:
        return made
    if made.candidates is not None:
        raise InputError(f"protocol {protocol} ranks among the held-out items, so it takes no negatives; leave one of the two out")
    pairs = sp.coo_array(
        (np.ones(len(listed), np.float32), (data.users.lookup(listed["user_id"]), data.items.lookup(listed["negative_item_id"]))),
        shape=(data.n_users, data.n_items),
    )
    return replace(made, negatives=Histories.from_matrix(pairs.tocsr()))


def _cut(data: Dataset, protocol: str, how: Cut) -> Split:
    rows = data.interactions
    parts = cut(rows, protocol, how)
    apart = parts.test if parts.folded is None else parts.test | parts.folded
    return Split(
        protocol=protocol,
        seed=how.seed,
        train=data.with_interactions(rows.take(~apart)),
        test=rows.take(parts.test),
        folded=None if parts.folded is None else rows.take(parts.folded),
        candidates=parts.candidates,
        n_known=(data.n_users, data.n_items),
    )


def _extended(data: Dataset, user_ids: Any, item_ids: Any) -> Dataset:
    """Append ids that only the test part or the negatives name; old rows keep their numbers."""
    users, items = data.users.extended(user_ids), data.items.extended(item_ids)
    return replace(
        data,
        users=users,
        items=items,
        user_features=data.user_features and data.user_features.lengthened(len(users)),
        item_features=data.item_features and data.item_features.lengthened(len(items)),
    )
