"""A dataset that grows by new rows: old rows keep their numbers, and old histories are not counted again.

The result is the dataset of the merged histories, as after loading a saved model. Pairs that are in both merge as
`Dataset.matrix` merges them: weights add up, the later rating stays.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from recvec.data.attributes import attribute_tables
from recvec.data.dataset import Dataset, Value
from recvec.data.features import FeatureTable
from recvec.data.histories import Histories
from recvec.data.interactions import Interactions
from recvec.data.readers import Source, read_rows, to_interactions
from recvec.data.reading import Reading
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ColumnError, InputError, nearest
from recvec.types import F64, I32, I64, Array, Bool


class Growth(NamedTuple):
    """A grown dataset, over merged histories, and the rows by which it has grown."""

    dataset: Dataset
    new: Interactions


def grow(
    old: Dataset,
    histories: Histories,
    value: Value,
    table: Source,
    *,
    users: Source | Sequence[Source] | None = None,
    items: Source | Sequence[Source] | None = None,
    reading: Reading | None = None,
) -> Growth:
    """Append new interactions; unseen users and items get the next row numbers.

    Parameters
    ----------
    old : Dataset
        Ids and attributes.
    histories : Histories
        Its histories, of the kind that `value` names.
    value : str
        What the weights of the histories are, see `Dataset.matrix`.
    table : path or table
        New interactions, with columns as for `read`.
    users, items : path or table, or several, optional
        Attributes of new users and items; known ones keep theirs.
    reading : Reading, optional
        What the columns of these tables are called, and which rows count; the minimums do not apply.

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        One line: file, row, value, what is allowed, what to do.

    Notes
    -----
    Cost: one copy of the histories and a search for each new pair; where there are timestamps, also a sort of the
    histories that have grown.
    """
    reading = reading or Reading()
    _refuse_choices(reading)
    rows = read_rows(table, reading, name="the table of new interactions", training=True)
    if value == "rating" and "rating" not in rows:
        raise ColumnError(f"{rows.loaded.where} has no column 'rating', which the model learns from; add it, or name it by columns")
    if value == "rating" and ("timestamp" in rows) != (histories.times is not None):
        has, lacks = ("the new table", "the model's") if "timestamp" in rows else ("the model's table", "the new")
        raise ColumnError(f"{has} has timestamps and {lacks} has none; allowed: both or neither, to know the latest rating of a pair")
    tables = {side: [t.table for t in attribute_tables(given, f"{side}_id", reading)] for side, given in (("user", users), ("item", items))}
    people, things = (_extended(known, [rows.loaded.table, *tables[known.side]]) for known in (old.users, old.items))
    new = to_interactions(rows, people, things)
    whole = Dataset(
        interactions=new,
        users=people,
        items=things,
        user_features=_attributes(old.user_features, people, tables["user"]),
        item_features=_attributes(old.item_features, things, tables["item"]),
    )
    return joined(histories, whole, value)


def _refuse_choices(reading: Reading) -> None:
    """Refuse what cannot be chosen for new rows alone."""
    chosen = {
        "context": reading.context,
        "item_text_from": reading.item_text_from,
        "min_per_user": reading.min_per_user,
        "min_per_item": reading.min_per_item,
    }
    name = next((n for n, value in chosen.items() if value), None)
    if name is not None:
        raise InputError(f"an update adds rows to what the model has read, where {name} has no meaning; leave it out, or fit again")


def joined(histories: Histories, added: Dataset, value: Value) -> Growth:
    """Return old histories grown by the rows of a dataset, whose users and items begin with the old ones."""
    both = merged(histories, added.histories(value), add=value == "weight")
    features = {"user_features": added.user_features, "item_features": added.item_features}
    return Growth(Dataset.from_histories(both, users=added.users, items=added.items, value=value, **features), added.interactions)


def known_pairs(histories: Histories, rows: Interactions) -> Bool:
    """Mark the rows whose pair is in the histories; users beyond them have none."""
    indptr = _lengthened(histories, int(rows.users.max(initial=0)) + 1)
    return _places(indptr, histories.items, rows.users, rows.items)[1]


def _extended(known: Vocabulary, tables: list[pl.DataFrame]) -> Vocabulary:
    for table in tables:
        known = known.extended(table[f"{known.side}_id"])
    return known


def _attributes(known: FeatureTable | None, vocabulary: Vocabulary, tables: list[pl.DataFrame]) -> FeatureTable | None:
    """Append what the tables say of new ids, in the types that the attributes have."""
    side = vocabulary.side
    if known is None:
        if tables:
            raise ColumnError(f"the model has no attributes of {side}s; allowed: none for new {side}s; leave the table out, or fit again")
        return None
    fresh = Vocabulary(vocabulary.ids[known.frame.height :], side)
    given: dict[str, pl.Series] = {}
    for table in tables:
        for name in (c for c in table.columns if c != f"{side}_id"):
            if name not in known.types or name in given:
                what = "which another table has too" if name in given else f"which the model has not ({nearest(name, known.types)})"
                raise ColumnError(f"a table of new {side}s has the attribute '{name}', {what}; rename or remove it")
        mine = table.filter(fresh.lookup(table[f"{side}_id"]) >= 0)
        types = {c: t for c, t in known.types.items() if c in table.columns}
        given |= FeatureTable.of(mine, fresh, types=types).frame.to_dict()
    longer = known.lengthened(len(vocabulary)).frame
    columns = [longer[c].head(known.frame.height).append(given[c]) if c in given else longer[c] for c in longer.columns]
    return FeatureTable(frame=pl.DataFrame(columns), types=known.types)


def merged(old: Histories, new: Histories, *, add: bool) -> Histories:
    """Return histories together with newer ones.

    Parameters
    ----------
    old : Histories
        Of the first people and the first items of `new`, or of all of them.
    new : Histories
        What has been added.
    add : bool
        Whether the weights of an item that is in both add up; otherwise the later one stays, where times are equal or
        unknown the new one.
    """
    people = np.repeat(np.arange(len(new)), new.lengths)
    indptr = _lengthened(old, len(new))
    place, known = _places(indptr, old.items, people, new.items)
    at, fresh = place[known], ~known
    old_times, new_times = (None if old.times is new.times is None else _times(h) for h in (old, new))
    later = np.ones(len(at), bool) if old_times is None else ~(_sortable(new_times[known]) < _sortable(old_times[at]))  # type: ignore[index]
    weights = old.weights.copy()
    if add:
        weights[at] += new.weights[known]
    else:
        weights[at[later]] = new.weights[known][later]
    both = Histories(
        indptr=indptr + np.concatenate([[0], np.cumsum(np.bincount(people[fresh], minlength=len(new)))]),
        items=np.insert(old.items, place[fresh], new.items[fresh]),
        weights=np.insert(weights, place[fresh], new.weights[fresh]),
        n_items=new.n_items,
    )
    if old_times is None or new_times is None:
        return both
    times, turns = old_times.copy(), _turns(old).copy()
    after = turns.max(initial=-1) + 1 + _turns(new)  # new rows stand behind the old ones
    times[at[later]], turns[at[later]] = new_times[known][later], after[known][later]
    times, turns = np.insert(times, place[fresh], new_times[fresh]), np.insert(turns, place[fresh], after[fresh])
    return _ordered(replace(both, times=times, order=turns), new.lengths > 0)


def _lengthened(histories: Histories, n: int) -> I64:
    """Return bounds for n people or more; new ones have no entry."""
    return np.concatenate([histories.indptr, np.full(max(0, n - len(histories)), histories.indptr[-1])])


def _places(indptr: I64, items: I32, people: Array, wanted: I32) -> tuple[I64, Bool]:
    """Return where each wanted item stands or would stand in its person's row, and whether it stands there: a search by halves."""
    place, end = indptr[people], indptr[people + 1]
    step = 1 << int((end - place).max(initial=0)).bit_length() >> 1
    while step:
        right = place + step <= end
        right &= items[np.minimum(place + step, end) - 1] < wanted
        place += step * right
        step >>= 1
    known = place < end
    known[known] = items[place[known]] == wanted[known]
    return place, known


def _times(histories: Histories) -> F64:
    return np.full(len(histories.items), np.nan) if histories.times is None else histories.times


def _sortable(times: F64) -> F64:
    """Unknown times count as the oldest."""
    return np.nan_to_num(times, nan=-np.inf)


def _turns(histories: Histories) -> I32:
    """Return each entry's place in its person's sequence; by item where no time is known."""
    if histories.order is not None:
        return histories.order
    return (np.arange(len(histories.items)) - np.repeat(histories.indptr[:-1], histories.lengths)).astype(np.int32)


def _ordered(histories: Histories, grown: Bool) -> Histories:
    """Turn the turns of grown rows into places in the person's sequence, by time, then by turn; in the others they are that."""
    mine = np.repeat(grown, histories.lengths)
    lengths, order = histories.lengths[grown], histories.order.copy()  # type: ignore[union-attr]
    people = np.repeat(np.arange(len(lengths)), lengths)
    sequence = np.lexsort((order[mine], _sortable(histories.times[mine]), people))  # type: ignore[index]
    places = np.empty(len(sequence), np.int32)
    places[sequence] = np.arange(len(sequence)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    order[mine] = places
    return replace(histories, order=order)
