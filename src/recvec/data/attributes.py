"""Attribute tables: one or several a side, aligned with its vocabulary."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from recvec.data.columns import check_ids
from recvec.data.features import FeatureTable
from recvec.data.headers import refuse_empty, require
from recvec.data.reading import Reading
from recvec.data.tables import Loaded, load
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ColumnError


def attribute_tables(sources: Any, id_name: str, reading: Reading) -> list[Loaded]:
    """Read the attribute tables of one side and check their id columns.

    Parameters
    ----------
    sources : path or table, or several, optional
        Columns `id_name` and attributes.
    id_name : str
        ``user_id`` or ``item_id``.
    reading : Reading
        What columns are called and which are used.

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        One line: file, row, value, what is allowed, what to do.
    """
    several = sources if isinstance(sources, list | tuple) else [] if sources is None else [sources]
    return [_table(source, id_name, reading) for source in several]


def _table(source: Any, id_name: str, reading: Reading) -> Loaded:
    loaded = load(source, reading.attributes(id_name), f"the table of {id_name.removesuffix('_id')}s")
    require(loaded, [id_name])
    if len(loaded.header) == 1:
        raise ColumnError(f"{loaded.where} has only the column '{id_name}'; it needs at least one attribute; leave the file out")
    refuse_empty(loaded)
    return loaded._replace(table=loaded.table.with_columns(check_ids(loaded.table[id_name], loaded.where)))


def attribute_names(tables: Sequence[Loaded]) -> list[str]:
    """Return the names of all attributes of some tables by our names, those that are not used included."""
    everything = (replace(t.wanted, names=None).picked(t.header).values() for t in tables)
    return [name for t, found in zip(tables, everything, strict=True) for name in found if name not in t.wanted.ids]


def aligned(tables: Sequence[Loaded], vocabulary: Vocabulary, reading: Reading) -> FeatureTable | None:
    """Return the used attributes of one side in the vocabulary's order, None where there are none.

    Raises
    ------
    ColumnError
        For an attribute that two tables have, or a value that does not fit its type.
    """
    parts = []
    for table, *_ in tables:
        types = {c: t for c, t in reading.types.items() if c in table.columns}
        parts.append(FeatureTable.of(table, vocabulary, types=types, separator=reading.list_separator))
    found = [c for p in parts for c in p.types]
    twice = next((c for c in found if found.count(c) > 1), None)
    if twice is not None:
        raise ColumnError(f"attribute '{twice}' is in more than one table of {vocabulary.ids.name}; rename or remove one")
    if not found:
        return None
    frame = pl.DataFrame({c.name: c for p in parts for c in p.frame})
    return FeatureTable(frame=frame, types={c: t for p in parts for c, t in p.types.items()})
