"""Whatever a person hands over as a table: a path, polars, pandas, Arrow."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from recvec.data.files import load_file
from recvec.data.vocabulary import shown
from recvec.errors import ColumnError, ReadError, ValueRangeError


class Loaded(NamedTuple):
    """A table, what messages call it, and the names of all its columns, also of those left out."""

    table: pl.DataFrame
    columns: list[str]
    where: str


def load(source: Any, wanted: Sequence[str] | None, name: str) -> Loaded:
    """Return a path's or an object's table with the wanted columns, or with all of them where `wanted` is None.

    Parameters
    ----------
    source : path or table
        Polars, pandas and Arrow tables are understood.
    wanted : sequence of str, optional
        Columns that are needed.
    name : str
        What messages call a table in memory; a file is called by its path.

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        Where it is not a table, or cannot be read.
    """
    if isinstance(source, str | Path):
        return Loaded(*load_file(Path(source), wanted), str(source))
    try:
        return Loaded(*_in_memory(source, wanted, name), name)
    except (PolarsError, PanicException, OSError, TypeError, OverflowError, UnicodeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ReadError(f"{name} cannot be read: {reason}; allowed: columns of numbers, text, dates or lists; convert it") from error


def _in_memory(source: Any, wanted: Sequence[str] | None, name: str) -> tuple[pl.DataFrame, list[str]]:
    if type(source).__module__.partition(".")[0] == "pandas" and getattr(source, "ndim", 0) == 2:
        names = [str(c) for c in source.columns]
        _refuse_twice(names, name)
        kept = [i for i, c in enumerate(names) if wanted is None or c in wanted]
        columns = {names[i]: _from_pandas(names[i], source.iloc[:, i], name) for i in kept}
        return pl.DataFrame(columns) if columns else pl.DataFrame(height=len(source)), names
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if not isinstance(source, pl.DataFrame):
        if not hasattr(source, "__arrow_c_stream__") or getattr(source, "ndim", 2) == 1 or isinstance(source, pl.Series):
            raise ReadError(f"{name} is of type {type(source).__name__}; allowed: a path, or a polars, pandas or Arrow table; convert it")
        _refuse_twice(list(getattr(source, "column_names", ())), name)
        source = pl.DataFrame(source)
    return source, source.columns


def _refuse_twice(names: list[str], where: str) -> None:
    twice = next((c for c in names if names.count(c) > 1), None)
    if twice is not None:
        raise ColumnError(f"{where} has the column '{shown(twice)}' more than once; rename or remove one")


def _from_pandas(name: str, column: Any, where: str) -> pl.Series:
    """Convert without pyarrow: numbers and times by numpy, everything else value by value."""
    values = column.to_numpy()
    if values.dtype.kind == "M":
        return pl.Series(name, values.astype("M8[us]"))
    if values.dtype.kind in "iufb":
        return pl.Series(name, values)
    missing = column.isna().to_numpy()
    plain = [None if gone else v.item() if isinstance(v, np.generic) else v for v, gone in zip(values, missing, strict=True)]
    if name.endswith("_id"):
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
