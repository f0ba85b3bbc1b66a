"""A dataset as a factorization machine sees it: observations over rows of features of users, items and contexts."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.data.dataset import Dataset
from recvec.data.features import FeatureTable
from recvec.data.interactions import Interactions
from recvec.encoders.attributes import AttributeCoder
from recvec.encoders.blocks import SideCoder
from recvec.errors import ColumnError, InputError, ValueRangeError
from recvec.kernels.fm_vectors import CONTEXT, ITEM, USER
from recvec.types import F32, I32, I64

if TYPE_CHECKING:
    from recvec.models.fm import FM

SIDES = ("user", "item", "context")


@dataclass(frozen=True, eq=False)
class Problem:
    """Observations, and the features behind them.

    Parameters
    ----------
    coders : tuple of SideCoder
        Of users, items and contexts.
    attributes : tuple of csr_array
        Attributes of all users and of all items of the vocabulary.
    features : tuple of csr_array
        Rows of features of all users, all items, and all different contexts.
    rows : tuple of I32, each of shape (n,)
        Row of each observation in each of `features`.
    targets : F32, shape (n,)
        Ratings, clicks 0 or 1, or the weights of a ranking.
    """

    coders: tuple[SideCoder, SideCoder, SideCoder]
    attributes: tuple[sp.csr_array, sp.csr_array]
    features: tuple[sp.csr_array, sp.csr_array, sp.csr_array]
    rows: tuple[I32, I32, I32]
    targets: F32

    @property
    def starts(self) -> I64:
        """First feature of each side, and the number of all; shape (4,)."""
        return np.cumsum([0, *(coder.n_features for coder in self.coders)])

    @property
    def groups(self) -> I32:
        """Group of each feature, numbered through the sides."""
        first = np.cumsum([0, *(coder.n_groups for coder in self.coders)])
        return np.concatenate([coder.groups + start for coder, start in zip(self.coders, first, strict=False)]).astype(np.int32)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the coders left out or found unusual."""
        return tuple(note for coder in self.coders for note in coder.attributes.notes)


def problem_of(method: "FM", dataset: Dataset) -> Problem:
    """Return the observations that a task learns from, and their features.

    Coders are fitted on the users, items and contexts that occur in them; whoever does not has the id of everyone else.

    Raises
    ------
    ColumnError, ValueRangeError, InputError
        Where the data are not what the task needs, or an attribute is not usable.
    """
    seen = _observations(method, dataset)
    context = seen.context if method.use_context else None
    trained = [np.unique(side).astype(np.int32) for side in (seen.users, seen.items)]
    tables = [dataset.user_features, dataset.item_features]
    fitted = [None if table is None or not method.use_attributes else table.take(rows) for table, rows in zip(tables, trained, strict=True)]
    users, items, moods = (_coder(method, table, side) for table, side in zip([*fitted, context], SIDES, strict=True))
    met = _met(dataset, seen if method.task == "click" else replace(seen, label=None))
    sizes = (dataset.n_users, dataset.n_items)
    coders = (
        SideCoder(users, sizes[USER], sizes[ITEM] if method.history in ("users", "both") else 0),
        SideCoder(items, sizes[ITEM], sizes[USER] if method.history in ("items", "both") else 0),
        SideCoder(moods),
    )
    attributes = tuple(
        coder.attributes.encode(table.frame) if table is not None and coder.attributes.columns else coder.nothing(n)
        for coder, table, n in zip(coders[:CONTEXT], tables, sizes, strict=True)
    )
    rows = [
        coder.rows(mine, others, _ids(n, known))
        for coder, mine, others, n, known in zip(
            coders[:CONTEXT], attributes, (met, sp.csr_array(met.T.tocsr())), sizes, trained, strict=True
        )
    ]
    contexts, mood_rows = _contexts(coders[CONTEXT], context, len(seen))
    return Problem(
        coders,
        (attributes[USER], attributes[ITEM]),
        (rows[USER], rows[ITEM], contexts),
        (seen.users, seen.items, mood_rows),
        _targets(method, seen),
    )


def _coder(method: "FM", table: FeatureTable | None, side: str) -> AttributeCoder:
    return AttributeCoder.fit(table, side, numbers=method.numbers, hash_levels=method.hash_levels)


def _ids(n: int, trained: I32) -> I32:
    """Return the id feature of each row: its own, or that of everyone else."""
    ids = np.full(n, n, np.int32)
    ids[trained] = trained
    return ids


def _observations(method: "FM", dataset: Dataset) -> Interactions:
    """Return the rows that are learned from; without context, each pair once."""
    rows = dataset.interactions
    if method.task == "click":
        if rows.label is None:
            raise ColumnError("the task is click, but the interactions have no column 'label'; add it or use task ranking")
        return rows
    if method.task == "rating" and rows.rating is None:
        raise ColumnError("the task is rating, but the interactions have no column 'rating'; add it or use task ranking")
    if rows.context is not None and method.use_context:
        return rows if method.task == "rating" or rows.label is None else rows.take(rows.label > 0)
    pairs = dataset.matrix("rating" if method.task == "rating" else "weight").tocoo()
    values = pairs.data.astype(np.float32)
    users, items = (side.astype(np.int32) for side in pairs.coords)
    return Interactions(users=users, items=items, rating=values if method.task == "rating" else None, weight=values)


def _targets(method: "FM", seen: Interactions) -> F32:
    """Return what is learned, checked."""
    if not len(seen):
        raise InputError(f"no interaction is left to learn {method.task} from; give rows with label 1")
    if method.task == "ranking":
        weights = np.ones(len(seen), np.float32) if seen.weight is None else seen.weight
        if not weights.any():
            raise InputError("fm needs interactions with a weight above 0, and every weight is 0; correct them or leave them out")
        return weights
    values: F32 = seen.rating if method.task == "rating" else seen.label  # type: ignore[assignment]
    bad = ~np.isfinite(values) if method.task == "rating" else ~np.isin(values, (-1, 0, 1))
    if bad.any():
        row = int(np.argmax(bad))
        name, allowed = ("rating", "a finite number") if method.task == "rating" else ("label", "1 and 0, or 1 and -1")
        raise ValueRangeError(f"{name} of interaction {row + 1} is {values[row]:g}; allowed: {allowed}; correct it or remove the row")
    if method.task == "rating":
        return values
    clicks = (values > 0).astype(np.float32)
    if clicks.min() == clicks.max():
        only, other = int(clicks[0]), 1 - int(clicks[0])
        raise InputError(
            f"every label is {only}, so that there is nothing to tell apart; give rows with label {other}, or use task ranking"
        )
    return clicks


def _met(dataset: Dataset, seen: Interactions) -> sp.csr_array:
    """Return who met whom in training, (n_users, n_items): of clicks, rows with label 0 are no meeting."""
    chosen = np.ones(len(seen), bool) if seen.label is None else seen.label > 0
    ones = np.ones(int(chosen.sum()), np.float32)
    met = sp.coo_array((ones, (seen.users[chosen], seen.items[chosen])), shape=(dataset.n_users, dataset.n_items)).tocsr()
    met.sum_duplicates()
    return met


def _contexts(coder: SideCoder, table: FeatureTable | None, n: int) -> tuple[sp.csr_array, I32]:
    """Return rows of features of the different contexts, and which of them each observation has."""
    if table is None or not coder.n_features:
        return sp.csr_array((1, coder.n_features), dtype=np.float32), np.zeros(n, np.int32)
    frame = table.frame.select([column.name for column in coder.attributes.columns])
    keys = frame.with_columns(pl.col(pl.List).cast(pl.List(pl.String)).list.join("\x1f")).with_row_index("first")
    names = frame.columns
    distinct = keys.group_by(names, maintain_order=True).agg(pl.col("first").first()).with_row_index("row")
    rows = (
        keys.join(distinct.drop("first"), on=names, how="left", nulls_equal=True, maintain_order="left")["row"].to_numpy().astype(np.int32)
    )
    return coder.rows(coder.attributes.encode(frame[distinct["first"].to_numpy()])), rows
