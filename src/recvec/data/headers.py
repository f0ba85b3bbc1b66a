"""Columns by name: those that must be there, those that may, and those that are nearly right."""

from collections.abc import Sequence

import polars as pl

from recvec.data.columns import check_ids, number
from recvec.data.tables import Loaded
from recvec.data.vocabulary import shown
from recvec.errors import ColumnError, ReadError, nearest


def checked(loaded: Loaded, required: Sequence[str], optional: Sequence[str]) -> pl.DataFrame:
    """Return the named columns of a table: ids as read, values as Float64 (``timestamp`` with NaN where unknown).

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        Where a required column or a row is missing, an optional one is nearly called right, or a value is not allowed.
    """
    require(loaded, required)
    _refuse_almost(loaded, optional)
    refuse_empty(loaded)
    table, where = loaded.table, loaded.where
    present = [c for c in (*required, *optional) if c in table.columns]
    return pl.DataFrame([check_ids(table[c], where) if c in loaded.wanted.ids else number(table[c], where) for c in present])


def require(loaded: Loaded, required: Sequence[str]) -> None:
    """Refuse a table without a column that it needs; the nearest are named."""
    for name in required:
        if name in loaded.table.columns:
            continue
        other = loaded.wanted.picked(loaded.header).get(name)
        if other is not None:
            raise ColumnError(
                f"{loaded.where}: columns takes '{name}' for '{other}', so that '{name}' is missing; name a column for it too"
            )
        theirs = loaded.wanted.called.get(name)
        lacks = f"has no column '{name}'" if theirs is None else f"has neither the column '{shown(theirs)}' nor '{name}'"
        near = _nearest(theirs or name, loaded.header)
        raise ColumnError(f"{loaded.where} {lacks} ({near}); rename it in the file, or name it by 'columns'")


def refuse_empty(loaded: Loaded) -> None:
    """Refuse a table without rows."""
    if not loaded.table.height:
        raise ReadError(f"{loaded.where} has a header but no rows; allowed: at least one row; check how the file was written")


def check_known(option: str, names: Sequence[str], known: Sequence[str], lacking: str = "no table has") -> None:
    """Refuse a name that is not known, and name the nearest.

    Parameters
    ----------
    option : str
        Who gave the names.
    names, known : sequence of str
        What was given, and what there is.
    lacking : str
        Who lacks the name.
    """
    for name in names:
        if name not in known:
            near = nearest(name, [shown(k) for k in known])
            raise ColumnError(f"{option} names '{shown(name)}', which {lacking} ({near}); correct the name")


def _refuse_almost(loaded: Loaded, optional: Sequence[str]) -> None:
    """Refuse a column such as 'Rating' or ' rating': read as superfluous, it would change what is learned without a word."""
    plain = {_plain(c): c for c in loaded.header if c not in loaded.wanted.picked(loaded.header)}
    for name in optional:
        if name not in loaded.table.columns and name in plain:
            said = f"{loaded.where} has a column '{shown(plain[name])}'"
            raise ColumnError(f"{said}; allowed: '{name}'; rename it, or remove it if it is something else")


def _nearest(name: str, columns: Sequence[str]) -> str:
    """Name the nearest columns; one that differs only in case or spaces is nearest of all."""
    alike = [shown(c) for c in columns if _plain(c) == name]
    return f"nearest: '{alike[0]}'" if alike else nearest(name, [shown(c) for c in columns])


def _plain(column: str) -> str:
    return column.strip().lower()
