"""One column at a time: ids that are ids, values that are finite numbers, and the row where they are not."""

import numpy as np
import polars as pl

from recvec.data.vocabulary import shown
from recvec.errors import ColumnError, ValueRangeError

_LARGEST = float(np.finfo(np.float32).max)  # weights and ratings are kept as float32
_ALLOWED = {
    "weight": "0 or more, up to 3.4e38",
    "rating": "a finite number, up to 3.4e38",
    "label": "1 and 0, or 1 and -1",
    "timestamp": "a number, a date such as 2024-05-01 12:00:00, or nothing",
}


def check_ids(column: pl.Series, where: str) -> pl.Series:
    """Return a column of ids, integers or text, each of them there.

    Raises
    ------
    ColumnError
        For a column of another type.
    ValueRangeError
        For a missing or empty id; names the row.
    """
    name, dtype = column.name, column.dtype
    row = first(column.is_null() | column.is_nan() if dtype.is_float() else column.is_null())
    if row is not None:
        raise ValueRangeError(f"{where}, row {row + 1}: {name} is missing; allowed: an integer or text; fill it in or remove the row")
    if isinstance(dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    elif not (dtype.is_integer() or dtype == pl.String):
        advice = "convert it where missing ids have made it so" if dtype.is_float() else "convert the column"
        raise ColumnError(f"{where}: {name} has type {dtype}; allowed: integers or text; {advice}")
    row = first(column == "") if column.dtype == pl.String else None
    if row is not None:
        raise ValueRangeError(f"{where}, row {row + 1}: {name} is empty text; allowed: an integer or text; fill it in or remove the row")
    return column


def number(column: pl.Series, where: str) -> pl.Series:
    """Return a column of values as Float64: finite, and within what its name allows; a timestamp may be NaN for unknown.

    Raises
    ------
    ColumnError
        For a column of a type that cannot hold such values.
    ValueRangeError
        For a value that is not allowed; names the row.
    """
    name, dtype = column.name, column.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    usable = dtype.is_numeric() or column.dtype in (pl.String, pl.Null)
    if not usable and not _usable(name, dtype):
        raise ColumnError(f"{where}: {name} has type {dtype}; allowed: {_ALLOWED[name]}; convert the column")
    numbers = _times(column) if name == "timestamp" else _numbers(column)
    row = first(_bad(numbers, column))
    if row is not None:
        given = column[row]
        value = "missing" if given is None else f"'{shown(given)}'"
        comma = "; write decimals with a point" if name != "timestamp" and "," in str(given) else ""
        raise ValueRangeError(f"{where}, row {row + 1}: {name} is {value}; allowed: {_ALLOWED[name]}{comma}; correct it or remove the row")
    return numbers.clip(lower_bound=0.0) if name == "label" else numbers.fill_null(float("nan"))


def check_text(column: pl.Series, where: str) -> pl.Series:
    """Return a column of text, null where there is none.

    Raises
    ------
    ColumnError
        For a column of another type.
    """
    if column.dtype != pl.String and not isinstance(column.dtype, pl.Categorical | pl.Enum | pl.Null):
        raise ColumnError(f"{where}: {column.name} has type {column.dtype}; allowed: text; name a column of text")
    return column.cast(pl.String)


def first(mask: pl.Series) -> int | None:
    """Return the position of the first True, None without one."""
    found = mask.arg_true()
    return int(found[0]) if len(found) else None


def _usable(name: str, dtype: pl.DataType) -> bool:
    if name == "timestamp":
        return dtype == pl.Date or isinstance(dtype, pl.Datetime)
    return name == "label" and dtype == pl.Boolean


def _numbers(column: pl.Series) -> pl.Series:
    if column.name == "label" and column.dtype == pl.String:
        text = column.str.to_lowercase()
        column = text.replace({"true": "1", "false": "0"})
    return column.cast(pl.Float64, strict=False)


def _times(column: pl.Series) -> pl.Series:
    """Seconds where the column holds dates, else the numbers as they are."""
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us")).dt.timestamp("us").cast(pl.Float64) / 1e6
    numbers = column.cast(pl.Float64, strict=False)
    if column.dtype == pl.String and numbers.null_count() > column.null_count():
        try:
            parsed = column.str.to_datetime(strict=False, time_unit="us")
        except pl.exceptions.ComputeError:  # no value looks like a date
            return numbers
        dates = parsed.dt.timestamp("us").cast(pl.Float64) / 1e6
        return dates if dates.null_count() <= numbers.null_count() else numbers
    return numbers


def _bad(numbers: pl.Series, column: pl.Series) -> pl.Series:
    """Mark what is not allowed under the column's name."""
    if column.name == "timestamp":
        return (numbers.is_null() & column.is_not_null()) | numbers.is_infinite().fill_null(value=False)
    bad = numbers.is_null() | ~numbers.is_between(-_LARGEST, _LARGEST) | numbers.is_nan()
    if column.name == "weight":
        bad = bad | (numbers < 0)
    elif column.name == "label":
        bad = bad | ~numbers.is_in([-1.0, 0.0, 1.0])
    return bad.fill_null(value=True)
