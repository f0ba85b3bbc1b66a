"""Everything a method may learn from: interactions by row number, the ids behind them, typed attributes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.data.features import FeatureTable
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.data.reading import Reading
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ColumnError
from recvec.types import F64, I32, I64, Bool

Value = Literal["weight", "rating"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Interactions with their vocabularies and attribute tables.

    Parameters
    ----------
    interactions : Interactions
        Every row of the table.
    users, items : Vocabulary
        Ids in row order; they may name people and items that no interaction names.
    user_features, item_features : FeatureTable, optional
        One row per user or item of the vocabulary. A text that `reading` takes from interactions is made of those
        of this dataset alone; that is what `with_interactions` is for.
    merged : Histories, optional
        The histories that the interactions are the entries of, see `from_histories`; they need not be merged again.
    reading : Reading
        How the tables were read.
    left_out : mapping of str to int
        What reading left out: reason -> number of rows, or of users or items where a filter removed them.
    """

    interactions: Interactions
    users: Vocabulary
    items: Vocabulary
    user_features: FeatureTable | None = None
    item_features: FeatureTable | None = None
    merged: Histories | None = None
    reading: Reading = field(default_factory=Reading)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        left_out = "".join(f"; left out {n:,} {reason}" for reason, n in self.left_out.items())
        return f"Dataset({len(self.interactions):,} interactions, {self.n_users:,} users, {self.n_items:,} items{left_out})"

    @property
    def n_users(self) -> int:
        """Number of users in the vocabulary."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items in the vocabulary."""
        return len(self.items)

    @property
    def has(self) -> frozenset[str]:
        """What a method may ask for: ``interactions``, ``ratings``, ``context``, ``user attributes``, ..."""
        found = {"interactions"} if len(self.interactions) else set()
        if self.interactions.rating is not None:
            found.add("ratings")
        if self.interactions.context is not None:
            found.add("context")
        if self.user_features is not None:
            found.add("user attributes")
        if self.item_features is not None:
            found.add("item attributes")
            if self.item_features.of_type("text"):
                found.add("text")
        return frozenset(found)

    @classmethod
    def from_histories(
        cls,
        histories: Histories,
        *,
        users: Vocabulary,
        items: Vocabulary,
        value: Value = "weight",
        user_features: FeatureTable | None = None,
        item_features: FeatureTable | None = None,
    ) -> "Dataset":
        """Return a dataset with one row for each entry of the histories; their weights become the `value` column."""
        people = np.repeat(np.arange(len(histories), dtype=np.int32), histories.lengths)
        rows = Interactions(
            users=people,
            items=histories.items,
            weight=histories.weights if value == "weight" else None,
            rating=histories.weights if value == "rating" else None,
            timestamp=histories.times,
        )
        return cls(interactions=rows, users=users, items=items, user_features=user_features, item_features=item_features, merged=histories)

    def _kept(self, value: Value) -> Histories | None:
        """Return the histories that this dataset was made of, where its rows, people and items are still theirs."""
        kept, rows = self.merged, self.interactions
        if kept is None or kept.items is not rows.items or kept.weights is not (rows.weight if value == "weight" else rows.rating):
            return None
        return kept if (len(kept), kept.n_items) == (self.n_users, self.n_items) else None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over rows, ids and attributes, in hexadecimal."""
        digest = hashlib.sha256(self.interactions.fingerprint.encode())
        for vocabulary in (self.users, self.items):
            digest.update(vocabulary.fingerprint.encode())
        for table in (self.user_features, self.item_features):
            digest.update(b"-" if table is None else table.fingerprint.encode())
        return digest.hexdigest()

    def with_interactions(self, interactions: Interactions) -> "Dataset":
        """Return the same people, items and attributes with other interactions.

        Where `reading` takes a text of items from interactions, it is made anew of those given, so that the training
        part of a split holds no word of the test part.
        """
        name = self.reading.item_text_from
        if name is None:
            return replace(self, interactions=interactions)
        texts = texts_of_items(interactions, self.n_items).alias(name)
        alone = FeatureTable(frame=texts.to_frame(), types={name: "text"})
        table = alone if self.item_features is None else self.item_features.with_text(texts)
        return replace(self, interactions=interactions, item_features=table)

    def matrix(self, value: Value = "weight") -> sp.csr_array:
        """Return interactions as a CSR matrix (n_users, n_items) with each pair once.

        Parameters
        ----------
        value : str
            ``"weight"``: the sum of the `weight` column, of 1 a row without it; rows whose `label` is 0
            were not chosen and stay out. ``"rating"``: the latest rating (by timestamp, then by file order).

        Returns
        -------
        scipy.sparse.csr_array
            float32, int32 indices sorted within each row.

        Raises
        ------
        ColumnError
            Where ratings are asked for and the table has none.
        """
        kept = self._kept(value)
        if kept is not None:
            return kept.matrix()
        rows = self._merged_rows(value)
        if value == "rating":
            rows = rows.take(_latest_of_pairs(rows, self.n_items))
            values = rows.rating
        else:
            values = np.ones(len(rows), np.float32) if rows.weight is None else rows.weight
        matrix = sp.coo_array((values, (rows.users, rows.items)), shape=(self.n_users, self.n_items)).tocsr()
        matrix.sum_duplicates()
        return matrix

    def _merged_rows(self, value: Value) -> Interactions:
        """Return the rows that `matrix` merges."""
        rows = self.interactions
        if value == "rating":
            if rows.rating is None:
                raise ColumnError("the task is rating, but the interactions have no column 'rating'; add it or use task ranking")
            return rows
        return rows if rows.label is None else rows.take(rows.label > 0)

    def histories(self, value: Value = "weight") -> Histories:
        """Return one history per user; times and order are kept where the table has timestamps."""
        kept = self._kept(value)
        if kept is not None:
            return kept
        histories = Histories.from_matrix(self.matrix(value))
        rows = self._merged_rows(value)
        if rows.timestamp is None:
            return histories
        rows = rows.take(_latest_of_pairs(rows, self.n_items))  # in file order, one row a pair
        by_pair = np.lexsort((rows.items, rows.users))
        times: F64 = rows.timestamp[by_pair]  # type: ignore[index]
        sequence = np.lexsort((by_pair, np.nan_to_num(times, nan=-np.inf), rows.users[by_pair]))
        order = np.empty(len(times), np.int32)
        order[sequence] = np.arange(len(times)) - np.repeat(histories.indptr[:-1], histories.lengths)
        return replace(histories, times=times, order=order)

    @cached_property
    def item_counts(self) -> I32:
        """Number of interaction rows of each item, shape (n_items,); rows with label 0 are left out."""
        return self._counts(self.interactions.items, self.n_items)

    @cached_property
    def user_counts(self) -> I32:
        """Number of interaction rows of each user, shape (n_users,); rows with label 0 are left out."""
        return self._counts(self.interactions.users, self.n_users)

    def _counts(self, side: I32, n: int) -> I32:
        label = self.interactions.label
        return np.bincount(side if label is None else side[label > 0], minlength=n).astype(np.int32)


def time_order(rows: Interactions) -> I64:
    """Return positions from the oldest row to the latest: unknown times first, equal ones by file order."""
    if rows.timestamp is None:
        return np.arange(len(rows))
    return np.argsort(np.nan_to_num(rows.timestamp, nan=-np.inf), kind="stable")


def texts_of_items(rows: Interactions, n_items: int) -> pl.Series:
    """Return what was written about each item, (n_items,): its rows' texts in file order, a line each; null without one."""
    texts = pl.Series("text", [None] * len(rows), dtype=pl.String) if rows.text is None else rows.text.alias("text")
    written = pl.DataFrame([pl.Series("item", rows.items), texts]).filter(pl.col("text") != "")
    joined = written.group_by("item").agg(pl.col("text").str.join("\n"))
    order = pl.DataFrame({"item": np.arange(n_items, dtype=np.int32)})
    return order.join(joined, on="item", how="left", maintain_order="left")["text"]


def _latest_of_pairs(rows: Interactions, n_items: int) -> Bool:
    """Mark the latest row of each (user, item) pair."""
    pair = rows.users.astype(np.int64) * n_items + rows.items
    backwards = time_order(rows)[::-1]
    _, first = np.unique(pair[backwards], return_index=True)
    mask = np.zeros(len(rows), dtype=bool)
    mask[backwards[first]] = True
    return mask
