"""From files and tables in memory to checked columns; every complaint is one line that says where."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from recvec.data.columns import check_ids, number
from recvec.data.dataset import Dataset
from recvec.data.features import FeatureTable
from recvec.data.interactions import Interactions
from recvec.data.tables import Loaded, load
from recvec.data.vocabulary import Vocabulary, shown
from recvec.errors import ColumnError, ReadError, nearest

IDS = ("user_id", "item_id")
VALUES = ("weight", "rating", "label", "timestamp")

Source = Any
"""A path, or a polars, pandas or Arrow table."""


def read(
    interactions: Source,
    *,
    users: Source | Sequence[Source] | None = None,
    items: Source | Sequence[Source] | None = None,
    types: Mapping[str, str] | None = None,
    list_separator: str = "|",
) -> Dataset:
    """Read interactions and, if given, attributes of users and items.

    Parameters
    ----------
    interactions : path or table
        Columns ``user_id``, ``item_id`` and any of ``weight``, ``rating``, ``label``, ``timestamp``.
        CSV, TSV or NDJSON (each also gzipped), Parquet, or a polars, pandas or Arrow table.
    users, items : path or table, or several, optional
        Columns ``user_id`` or ``item_id`` and any attributes.
    types : mapping, optional
        Attribute types where the values mislead, such as ``{"age": "category"}``.
    list_separator : str
        Separates values of multi-valued attributes written as text.

    Returns
    -------
    Dataset
        Its vocabularies hold the ids of all tables given.

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        One line: file, row, value, what is allowed, what to do.
    """
    rows = read_columns(interactions, required=IDS, optional=VALUES, name="the table of interactions")
    user_tables = [attribute_table(s, "user_id") for s in several(users)]
    item_tables = [attribute_table(s, "item_id") for s in several(items)]
    _refuse_unused(types, [*user_tables, *item_tables])
    vocab_users = Vocabulary.of([rows["user_id"], *(t["user_id"] for t in user_tables)], "user")
    vocab_items = Vocabulary.of([rows["item_id"], *(t["item_id"] for t in item_tables)], "item")
    return Dataset(
        interactions=to_interactions(rows, vocab_users, vocab_items),
        users=vocab_users,
        items=vocab_items,
        user_features=_features(user_tables, vocab_users, types, list_separator),
        item_features=_features(item_tables, vocab_items, types, list_separator),
    )


def to_interactions(rows: pl.DataFrame, users: Vocabulary, items: Vocabulary) -> Interactions:
    """Turn checked columns (see `read_columns`) into row numbers; unknown ids become -1."""

    def value(name: str, dtype: type[np.generic]) -> Any:
        return rows[name].to_numpy().astype(dtype) if name in rows.columns else None

    return Interactions(
        users=users.lookup(rows["user_id"]),
        items=items.lookup(rows["item_id"]),
        weight=value("weight", np.float32),
        rating=value("rating", np.float32),
        label=value("label", np.float32),
        timestamp=value("timestamp", np.float64),
    )


def attribute_table(source: Source, id_column: str) -> pl.DataFrame:
    """Read one attribute table and check its id column."""
    loaded = load(source, None, f"the table of {id_column.removesuffix('_id')}s")
    table, _, where = loaded
    _require(loaded, [id_column])
    if table.width == 1:
        raise ColumnError(f"{where} has only the column '{id_column}'; it needs at least one attribute; leave the file out")
    _refuse_empty(table, where)
    return table.with_columns(check_ids(table[id_column], where))


def several(sources: Source | Sequence[Source] | None) -> list[Source]:
    """Return the sources as a list: none, one or several may be given."""
    if sources is None:
        return []
    return list(sources) if isinstance(sources, list | tuple) else [sources]


def _refuse_unused(types: Mapping[str, str] | None, tables: list[pl.DataFrame]) -> None:
    names = sorted({c for t in tables for c in t.columns} - set(IDS))
    for name in types or {}:
        if name not in names:
            raise ColumnError(f"types names the attribute '{name}', which no table has ({_nearest(name, names)}); correct the name")


def _features(tables: list[pl.DataFrame], vocabulary: Vocabulary, types: Mapping[str, str] | None, separator: str) -> FeatureTable | None:
    if not tables:
        return None
    id_name = vocabulary.ids.name
    parts = []
    for table in tables:
        mine = {c: t for c, t in (types or {}).items() if c in table.columns}
        parts.append(FeatureTable.of(table, vocabulary, types=mine, separator=separator))
    names = [c for p in parts for c in p.frame.columns]
    twice = next((c for c in names if names.count(c) > 1), None)
    if twice:
        raise ColumnError(f"attribute '{twice}' is in more than one table of {id_name}; rename or remove one")
    return FeatureTable(
        frame=pl.concat([p.frame for p in parts], how="horizontal"), types={c: t for p in parts for c, t in p.types.items()}
    )


def read_columns(source: Source, *, required: Sequence[str], optional: Sequence[str] = (), name: str = "the table") -> pl.DataFrame:
    """Read and check the named columns of a table.

    Parameters
    ----------
    source : path or table
        Where the columns are.
    required, optional : sequence of str
        Names; optional ones that are missing stay out. Names that end in ``_id`` hold ids without nulls.
    name : str
        What messages call a table in memory.

    Returns
    -------
    polars.DataFrame
        Ids as read, values as Float64 (``timestamp`` with NaN where unknown).
    """
    loaded = load(source, [*required, *optional], name)
    table, columns, where = loaded
    _require(loaded, required)
    _refuse_almost(loaded, optional)
    _refuse_empty(table, where)
    present = [c for c in (*required, *optional) if c in columns]
    return pl.DataFrame([check_ids(table[c], where) if c.endswith("_id") else number(table[c], where) for c in present])


def _require(loaded: Loaded, required: Sequence[str]) -> None:
    for name in required:
        if name not in loaded.columns:
            raise ColumnError(f"{loaded.where} has no column '{name}' ({_nearest(name, loaded.columns)}); rename it in the file")


def _refuse_almost(loaded: Loaded, optional: Sequence[str]) -> None:
    """Refuse a column such as 'Rating' or ' rating': read as superfluous, it would change what is learned without a word."""
    plain = {_plain(c): c for c in loaded.columns}
    for name in optional:
        if name not in loaded.columns and name in plain:
            said = f"{loaded.where} has a column '{shown(plain[name])}'"
            raise ColumnError(f"{said}; allowed: '{name}'; rename it, or remove it if it is something else")


def _refuse_empty(table: pl.DataFrame, where: str) -> None:
    if not table.height:
        raise ReadError(f"{where} has a header but no rows; allowed: at least one row; check how the file was written")


def _nearest(name: str, columns: Sequence[str]) -> str:
    """Name the nearest columns; one that differs only in case or spaces is nearest of all."""
    alike = [shown(c) for c in columns if _plain(c) == name]
    return f"nearest: '{alike[0]}'" if alike else nearest(name, [shown(c) for c in columns])


def _plain(column: str) -> str:
    return column.strip().lower()
