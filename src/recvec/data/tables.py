"""Whatever a person hands over as a table: a path, polars, pandas, Arrow."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from recvec.data.files import load_file
from recvec.data.reading import Wanted
from recvec.data.vocabulary import shown
from recvec.errors import ColumnError, ReadError, ValueRangeError


class Loaded(NamedTuple):
    """The needed columns of a table under our names, the names of all its columns as it has them, and what it is called."""

    table: pl.DataFrame
    header: list[str]
    where: str
    wanted: Wanted


def load(source: Any, wanted: Wanted, name: str) -> Loaded:
    """Return what is needed of a path's or an object's table.

    Parameters
    ----------
    source : path or table
        Polars, pandas and Arrow tables are understood.
    wanted : Wanted
        Which columns, and what the table calls them.
    name : str
        What messages call a table in memory; a file is called by its path.

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        Where it is not a table, or cannot be read.
    """
    if isinstance(source, str | Path):
        table, header = load_file(Path(source), wanted)
        name = str(source)
    else:
        try:
            table, header = _in_memory(source, wanted, name)
        except (PolarsError, PanicException, OSError, TypeError, OverflowError, UnicodeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ReadError(f"{name} cannot be read: {reason}; allowed: columns of numbers, text, dates or lists; convert it") from error
    return Loaded(table.rename(wanted.picked(header)), header, name, wanted)


def _in_memory(source: Any, wanted: Wanted, name: str) -> tuple[pl.DataFrame, list[str]]:
    if type(source).__module__.partition(".")[0] == "pandas" and getattr(source, "ndim", 0) == 2:
        names = [str(c) for c in source.columns]
        _refuse_twice(names, name)
        picked = wanted.picked(names)
        places = ((names.index(theirs), theirs, ours in wanted.ids) for theirs, ours in picked.items())
        columns = {theirs: _from_pandas(theirs, source.iloc[:, at], name, is_id=is_id) for at, theirs, is_id in places}
        return pl.DataFrame(columns), names
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if not isinstance(source, pl.DataFrame):
        if not hasattr(source, "__arrow_c_stream__") or getattr(source, "ndim", 2) == 1 or isinstance(source, pl.Series):
            raise ReadError(f"{name} is of type {type(source).__name__}; allowed: a path, or a polars, pandas or Arrow table; convert it")
        _refuse_twice(list(getattr(source, "column_names", ())), name)
        source = pl.DataFrame(source)
    return source.select(list(wanted.picked(source.columns))), source.columns


def _refuse_twice(names: list[str], where: str) -> None:
    twice = next((c for c in names if names.count(c) > 1), None)
    if twice is not None:
        raise ColumnError(f"{where} has the column '{shown(twice)}' more than once; rename or remove one")


def _from_pandas(name: str, column: Any, where: str, *, is_id: bool) -> pl.Series:
    """Convert without pyarrow: numbers and times by numpy, everything else value by value."""
    values = column.to_numpy()
    if values.dtype.kind == "M":
        return pl.Series(name, values.astype("M8[us]"))
    if values.dtype.kind in "iufb":
        return pl.Series(name, values)
    missing = column.isna().to_numpy()
    plain = [None if gone else v.item() if isinstance(v, np.generic) else v for v, gone in zip(values, missing, strict=True)]
    if is_id:
        _refuse_other_ids(name, plain, where)
    if len({type(v) for v in plain if v is not None}) > 1 and any(isinstance(v, str) for v in plain):
        plain = [v if v is None else str(v) for v in plain]
    return pl.Series(name, plain, strict=False)


def _refuse_other_ids(name: str, values: list[Any], where: str) -> None:
    """Name the first id that is neither: a column of objects may hold anything, and as text 7.0 is another id than 7."""
    for row, value in enumerate(values, start=1):
        if value is not None and type(value) not in (int, str):
            if isinstance(value, float) and math.isnan(value):
                continue
            given = f"{shown(repr(value))} of type {type(value).__name__}"
            raise ValueRangeError(f"{where}, row {row}: {name} is {given}; allowed: an integer or text; convert the column")
