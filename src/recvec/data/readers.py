"""From files and tables in memory to checked columns; every complaint is one line that says where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from recvec.data.attributes import aligned, attribute_names, attribute_tables
from recvec.data.columns import check_text
from recvec.data.dataset import Dataset
from recvec.data.features import FeatureTable, taken
from recvec.data.filters import Counts, minimum_core
from recvec.data.headers import check_known, checked
from recvec.data.interactions import Interactions
from recvec.data.reading import IDS, RESERVED, VALUES, Reading
from recvec.data.tables import Loaded, load
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ColumnError, ValueRangeError
from recvec.types import Bool

Source = Any
"""A path, or a polars, pandas or Arrow table."""


def read(
    interactions: Source,
    *,
    users: Source | Sequence[Source] | None = None,
    items: Source | Sequence[Source] | None = None,
    columns: Mapping[str, str] | None = None,
    types: Mapping[str, str] | None = None,
    use: Sequence[str] | None = None,
    context: Sequence[str] | None = None,
    item_text_from: str | None = None,
    positive_from: float | None = None,
    min_per_user: int | None = None,
    min_per_item: int | None = None,
    list_separator: str = "|",
    drop_undated: bool = False,
) -> Dataset:
    """Read interactions and, if given, attributes of users and items.

    Nothing is left out without a word: `Dataset.left_out` counts it by reason.

    Parameters
    ----------
    interactions : path or table
        Columns ``user_id``, ``item_id`` and any of ``weight``, ``rating``, ``label``, ``timestamp``.
        CSV, TSV or NDJSON (each also gzipped), Parquet, or a polars, pandas or Arrow table.
    users, items : path or table, or several, optional
        Columns ``user_id`` or ``item_id`` and any attributes; several rows of an id become a multi-valued attribute.
    columns : mapping, optional
        Our name -> the name in the tables, such as ``{"user_id": "uid"}``, for every table that has that column. Where
        a table also has a column of our own name, the one named here wins and the other is ignored.
    types : mapping, optional
        Types of attributes and context where the values mislead, such as ``{"age": "category"}``.
    use : sequence of str, optional
        The only attributes to keep, over all attribute tables.
    context : sequence of str, optional
        Columns of the interactions to keep as the circumstances of each; none by default.
    item_text_from : str, optional
        A column of text of the interactions. It becomes an attribute of the items, made of the texts of the training
        interactions only.
    positive_from : float, optional
        In rankings, only rows with a rating of at least this are positive: the others get the label 0. They stay in
        the dataset, and its ratings are unchanged.
    min_per_user, min_per_item : int, optional
        Leave out users with fewer distinct items and items with fewer distinct users than this, until all that are left
        have enough; rows of label 0 do not count. The ids leave the vocabulary.
    list_separator : str
        Separates values of multi-valued attributes written as text.
    drop_undated : bool
        Leave out rows without a timestamp.

    Returns
    -------
    Dataset
        Its vocabularies hold the ids of all tables given.

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        One line: file, row, value, what is allowed, what to do.
    """
    reading = Reading(
        columns={} if columns is None else columns,
        types={} if types is None else types,
        use=use,
        context=() if context is None else context,
        item_text_from=item_text_from,
        positive_from=positive_from,
        min_per_user=min_per_user,
        min_per_item=min_per_item,
        list_separator=list_separator,
        drop_undated=drop_undated,
    )
    return read_dataset(interactions, reading, users=users, items=items)


def read_dataset(
    interactions: Source,
    reading: Reading,
    *,
    users: Source | Sequence[Source] | None = None,
    items: Source | Sequence[Source] | None = None,
) -> Dataset:
    """Read as `read` does, by choices that are there already."""
    rows = read_rows(interactions, reading, name="the table of interactions", training=True)
    user_tables = attribute_tables(users, "user_id", reading)
    item_tables = attribute_tables(items, "item_id", reading)
    _check_choices(reading, rows, user_tables, item_tables)
    people = Vocabulary.of([rows["user_id"], *(t.table["user_id"] for t in user_tables)], "user")
    things = Vocabulary.of([rows["item_id"], *(t.table["item_id"] for t in item_tables)], "item")
    kept, left_out, where = to_interactions(rows, people, things), rows.left_out, rows.loaded.where
    del rows  # row numbers stand for the ids from here on
    if reading.min_per_user is not None or reading.min_per_item is not None:
        kept, people, things, gone = minimum_core(kept, people, things, reading.min_per_user, reading.min_per_item)
        left_out = left_out | gone
        _refuse_nothing(len(kept), where, left_out, "use smaller minimums")
    if reading.positive_from is not None and kept.label is not None:
        below = int((kept.label == 0).sum())
        left_out = left_out | ({f"rows with a rating below {reading.positive_from:g} (of rankings only)": below} if below else {})
    data = Dataset(
        interactions=kept,
        users=people,
        items=things,
        user_features=aligned(user_tables, people, reading),
        item_features=aligned(item_tables, things, reading),
        reading=reading if kept.context is None else replace(reading, types={**reading.types, **kept.context.types}),
        left_out=left_out,
    )
    return data.with_interactions(kept)  # which makes the texts of items


def _check_choices(reading: Reading, rows: "Rows", user_tables: list[Loaded], item_tables: list[Loaded]) -> None:
    """Refuse names of `columns`, `types` and `use` that no table has, and a text of items that is an attribute already."""
    for ours, theirs in reading.columns.items():
        if ours != "negative_item_id":  # of a table that is not here
            concerned = [t for t in (rows.loaded, *user_tables, *item_tables) if ours in t.wanted.called or ours not in RESERVED]
            check_known("columns", [theirs], [c for t in concerned for c in t.header])
    text = [] if reading.item_text_from is None else [reading.item_text_from]
    attributes = [*attribute_names([*user_tables, *item_tables]), *text]
    check_known("use", reading.use or (), attributes)
    check_known("types", list(reading.types), [*attributes, *reading.context])
    where = next((t.where for t in item_tables for name in text if name in t.table.columns), None)
    if where is not None:
        raise ColumnError(f"item_text_from makes an attribute '{text[0]}' of items, which {where} has too; rename one")


# ---------------------------------------------------------------- interactions


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """A table of interactions with checked columns, before ids become row numbers; ``rows["user_id"]`` is a column.

    Parameters
    ----------
    loaded : Loaded
        Ids as read and values as Float64 (``timestamp`` with NaN where unknown).
    context : FeatureTable, optional
        The circumstances of each row.
    text : polars.Series, optional
        What was written in each row.
    left_out : mapping of str to int
        Reason -> number of rows.
    """

    loaded: Loaded
    context: FeatureTable | None = None
    text: pl.Series | None = None
    left_out: Counts = field(default_factory=dict)

    def __getitem__(self, name: str) -> pl.Series:
        return self.loaded.table[name]

    def __contains__(self, name: str) -> bool:
        return name in self.loaded.table.columns

    def take(self, where: Bool, reason: str) -> "Rows":
        """Return the rows that a mask selects; the others are counted as left out."""
        return Rows(
            loaded=self.loaded._replace(table=taken(self.loaded.table, where)),
            context=None if self.context is None else self.context.take(where),
            text=None if self.text is None else taken(self.text, where),
            left_out={**self.left_out, reason: int((~where).sum())},
        )


def read_rows(source: Source, reading: Reading, *, name: str, training: bool = False) -> Rows:
    """Read a table of interactions, or of the test part, and check its columns.

    Parameters
    ----------
    source : path or table
        Columns as for `read`.
    reading : Reading
        What its columns are called, which are context and in which types, and what makes a row positive.
    name : str
        What messages call a table in memory.
    training : bool
        Whether the text of items is taken from here and rows without timestamp may be dropped. Of a test part, every
        row is asked about, and its texts are nobody's business.

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        One line: file, row, value, what is allowed, what to do.
    """
    text_name = reading.item_text_from if training else None
    texts = () if text_name is None else (text_name,)
    loaded = load(source, reading.wanted((*IDS, *VALUES, *reading.context, *texts), IDS), name)
    table, where = loaded.table, loaded.where
    frame = checked(loaded, IDS, VALUES)
    for option, names in (("context", reading.context), ("item_text_from", texts)):
        others = [c for c in loaded.header if c not in RESERVED]
        check_known(option, [n for n in names if n not in table.columns], others, f"{where} does not have")
    types = {c: t for c, t in reading.types.items() if c in reading.context}
    circumstances = FeatureTable.of_rows(table.select(reading.context), where, types=types, separator=reading.list_separator)
    rows = Rows(
        loaded=loaded._replace(table=_labelled(frame, reading.positive_from, where)),
        context=circumstances if reading.context else None,
        text=None if text_name is None else check_text(table[text_name], where),
    )
    return _dated(rows) if training and reading.drop_undated else rows


def _labelled(frame: pl.DataFrame, positive_from: float | None, where: str) -> pl.DataFrame:
    if positive_from is None:
        return frame
    if "rating" not in frame.columns:
        raise ColumnError(f"{where} has no column 'rating', which positive_from compares; leave positive_from out, or name the column")
    if "label" in frame.columns:
        raise ColumnError(f"{where} has a column 'label', which positive_from would overrule; leave positive_from or the column out")
    return frame.with_columns(label=(pl.col("rating") >= positive_from).cast(pl.Float64))


def _dated(rows: Rows) -> Rows:
    if "timestamp" not in rows:
        raise ColumnError(f"{rows.loaded.where} has no column 'timestamp', so that every row is undated; leave drop_undated out")
    unknown = rows["timestamp"].is_nan().to_numpy()
    if not unknown.any():
        return rows
    dated = rows.take(~unknown, "rows without timestamp")
    _refuse_nothing(len(dated["timestamp"]), rows.loaded.where, dated.left_out, "give timestamps, or leave drop_undated out")
    return dated


def _refuse_nothing(n_left: int, where: str, left_out: Mapping[str, int], remedy: str) -> None:
    """Refuse a table of which the filters have left nothing."""
    if not n_left:
        counts = ", ".join(f"{n:,} {reason}" for reason, n in left_out.items())
        raise ValueRangeError(f"nothing is left of {where}: {counts} are left out; allowed: at least one row; {remedy}")


def to_interactions(rows: Rows, users: Vocabulary, items: Vocabulary) -> Interactions:
    """Turn checked rows (see `read_rows`) into row numbers; unknown ids become -1."""

    def value(name: str, dtype: type[np.generic]) -> Any:
        return rows[name].to_numpy().astype(dtype) if name in rows else None

    return Interactions(
        users=users.lookup(rows["user_id"]),
        items=items.lookup(rows["item_id"]),
        weight=value("weight", np.float32),
        rating=value("rating", np.float32),
        label=value("label", np.float32),
        timestamp=value("timestamp", np.float64),
        context=rows.context,
        text=rows.text,
    )


def read_columns(
    source: Source,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
    name: str = "the table",
    columns: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Read and check the named columns of a table.

    Parameters
    ----------
    source : path or table
        Where the columns are.
    required, optional : sequence of str
        Names; optional ones that are missing stay out. Names that end in ``_id`` hold ids without nulls.
    name : str
        What messages call a table in memory.
    columns : mapping, optional
        Our name -> the table's, where they differ.

    Returns
    -------
    polars.DataFrame
        Ids as read, values as Float64 (``timestamp`` with NaN where unknown).
    """
    names = (*required, *optional)
    wanted = Reading(columns=columns or {}).wanted(names, [c for c in names if c.endswith("_id")])
    return checked(load(source, wanted, name), required, optional)
