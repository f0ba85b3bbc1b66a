"""From files and tables in memory to checked columns; every complaint is one line that says where."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from recvec.data.dataset import Dataset
from recvec.data.features import FeatureTable
from recvec.data.interactions import Interactions
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ColumnError, ReadError, ValueRangeError, nearest

IDS = ("user_id", "item_id")
VALUES = ("weight", "rating", "label", "timestamp")
FORMATS = {".csv": ",", ".tsv": "\t", ".ndjson": "", ".jsonl": "", ".parquet": ""}

Table = TypeVar("Table", bytes, pl.DataFrame)

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
    rows = read_columns(interactions, required=IDS, optional=VALUES)
    user_tables = [attribute_table(s, "user_id") for s in _several(users)]
    item_tables = [attribute_table(s, "item_id") for s in _several(items)]
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
    table, where = _load(source, None)
    _require(table, [id_column], where)
    _check_ids(table, [id_column], where)
    if table.width == 1:
        raise ColumnError(f"{where} has only the column '{id_column}'; it needs at least one attribute; leave the file out")
    return table


def _several(sources: Source | Sequence[Source] | None) -> list[Source]:
    if sources is None:
        return []
    return list(sources) if isinstance(sources, list | tuple) else [sources]


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


# ---------------------------------------------------------------- columns


def read_columns(source: Source, *, required: Sequence[str], optional: Sequence[str] = ()) -> pl.DataFrame:
    """Read and check the named columns of a table.

    Parameters
    ----------
    source : path or table
        Where the columns are.
    required, optional : sequence of str
        Names; optional ones that are missing stay out. Names that end in ``_id`` hold ids without nulls.

    Returns
    -------
    polars.DataFrame
        Ids as read, values as Float64 (``timestamp`` with NaN where unknown).
    """
    table, where = _load(source, [*required, *optional])
    _require(table, required, where)
    if not table.height:
        raise ReadError(f"{where} has a header but no rows; allowed: at least one row; check how the file was written")
    present = [c for c in (*required, *optional) if c in table.columns]
    table = table.select(present)
    _check_ids(table, [c for c in present if c.endswith("_id")], where)
    return table.with_columns(_number(table[c], where) for c in present if c in VALUES)


def _require(table: pl.DataFrame, required: Sequence[str], where: str) -> None:
    for name in required:
        if name not in table.columns:
            raise ColumnError(f"{where} has no column '{name}' ({nearest(name, table.columns)}); rename it in the file")


def _check_ids(table: pl.DataFrame, names: Sequence[str], where: str) -> None:
    for name in names:
        column = table[name]
        row = _first(column.is_null() | (column.is_nan() if column.dtype.is_float() else pl.lit(value=False)))
        if row is not None:
            raise ValueRangeError(f"{where}, row {row + 1}: {name} is missing; allowed: an integer or text; fill it in or remove the row")
        if column.dtype.is_float() or column.dtype.is_nested() or column.dtype.is_temporal():
            raise ColumnError(f"{where}: {name} has type {column.dtype}; allowed: integers or text; convert the column")


def _number(column: pl.Series, where: str) -> pl.Series:
    """Check one value column and return it as Float64."""
    name = column.name
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).dt.timestamp("us").cast(pl.Float64) / 1e6
    numbers = column.cast(pl.Float64, strict=False)
    if name == "timestamp" and column.dtype == pl.String and (numbers.is_null() & column.is_not_null()).any():
        parsed = column.str.to_datetime(strict=False, time_unit="us")
        numbers = parsed.dt.timestamp("us").cast(pl.Float64) / 1e6
    bad, allowed = numbers.is_null() & column.is_not_null(), "a finite number"
    if name == "timestamp":
        allowed = "a number, a date such as 2024-05-01 12:00:00, or nothing"
        bad = bad | numbers.is_infinite()
    else:
        bad = numbers.is_null() | ~numbers.is_finite()
    if name == "weight":
        bad, allowed = bad | (numbers < 0), "0 or more"
    elif name == "label":
        bad, allowed = bad | ~numbers.is_in([-1.0, 0.0, 1.0]), "1 and 0, or 1 and -1"
    row = _first(bad)
    if row is not None:
        value = "missing" if column[row] is None else f"'{column[row]}'"
        raise ValueRangeError(f"{where}, row {row + 1}: {name} is {value}; allowed: {allowed}; correct it or remove the row")
    return numbers.clip(lower_bound=0.0) if name == "label" else numbers.fill_null(float("nan"))


def _first(mask: Any) -> int | None:
    return mask.arg_true()[0] if isinstance(mask, pl.Series) and mask.any() else None


# ---------------------------------------------------------------- files and tables


def _load(source: Source, wanted: Sequence[str] | None) -> tuple[pl.DataFrame, str]:
    """Return a table and the name that messages use for it."""
    if isinstance(source, str | Path):
        return _load_file(Path(source), wanted), str(source)
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return source, "the table"
    if type(source).__module__.partition(".")[0] == "pandas":
        return pl.DataFrame([_from_pandas(str(c), source[c]) for c in source.columns]), "the table"
    if hasattr(source, "__arrow_c_stream__"):
        return pl.DataFrame(source), "the table"
    raise ReadError(f"a {type(source).__name__} is not a table; allowed: a path, or a polars, pandas or Arrow table")


def _from_pandas(name: str, column: Any) -> pl.Series:
    """Convert without pyarrow: numbers and times by numpy, everything else value by value."""
    values = column.to_numpy()
    if values.dtype.kind in "iufbM":
        return pl.Series(name, values)
    missing = column.isna().to_numpy()
    return pl.Series(name, [None if gone else v for v, gone in zip(values.tolist(), missing, strict=True)], strict=False)


def _load_file(path: Path, wanted: Sequence[str] | None) -> pl.DataFrame:
    if path.is_dir():
        raise ReadError(f"{path} is a folder; allowed: a file that ends in {_endings()}")
    if not path.exists():
        siblings = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        raise ReadError(f"{path} does not exist ({nearest(path.name, siblings)}); check the path")
    zipped = path.suffix == ".gz"
    ending = Path(path.stem).suffix if zipped else path.suffix
    if ending not in FORMATS or (zipped and ending == ".parquet"):
        raise ReadError(f"{path} ends in '{path.suffix}'; allowed: {_endings()}; rename or convert it")
    if path.stat().st_size == 0:
        raise ReadError(f"{path} is empty; allowed: a header and at least one row; check how the file was written")
    if ending == ".parquet":
        return _guarded(path, lambda: _parquet(path, wanted))
    raw = _guarded(path, lambda: gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    _check_text(raw, path)
    if ending in (".ndjson", ".jsonl"):
        return _guarded(path, lambda: _ndjson(raw))
    return _guarded(path, lambda: _csv(raw, FORMATS[ending], wanted, path))


def _endings() -> str:
    return ", ".join(FORMATS) + " (text formats also with .gz)"


def _guarded(path: Path, load: Callable[[], Table]) -> Table:
    """Run a loader; its complaints become one line."""
    try:
        return load()
    except (OSError, EOFError, zlib.error, PolarsError, PanicException) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ReadError(f"{path} cannot be read: {reason}; it may be damaged or not in the format that its name says") from error


def _parquet(path: Path, wanted: Sequence[str] | None) -> pl.DataFrame:
    names = list(pl.read_parquet_schema(path))
    return pl.read_parquet(path, columns=names if wanted is None else [c for c in names if c in wanted] or names)


def _check_text(raw: bytes, path: Path) -> None:
    if b"\0" in raw[:65536]:
        raise ReadError(f"{path} is binary; allowed: UTF-8 text; give a .parquet file its own ending")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ReadError(f"{path}, line {line}: byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8") from error


def _ndjson(raw: bytes) -> pl.DataFrame:
    return pl.read_ndjson(io.BytesIO(raw), infer_schema_length=None)


def _csv(raw: bytes, separator: str, wanted: Sequence[str] | None, path: Path) -> pl.DataFrame:
    """Read every column as text: ids keep their zeros, and numbers are checked where the row is known."""
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    header = next(csv.reader(io.StringIO(raw.split(b"\n", 1)[0].decode()), delimiter=separator), [])
    twice = next((c for c in header if header.count(c) > 1), None)
    if twice is not None:
        raise ColumnError(f"{path} has the column '{twice}' more than once; rename or remove one")
    try:
        table = pl.read_csv(io.BytesIO(raw), separator=separator, infer_schema=False)
    except pl.exceptions.ComputeError as error:
        _refuse_ragged(raw, separator, path)
        raise error
    if table.height and table.get_column(table.columns[-1]).null_count():
        _refuse_ragged(raw, separator, path)
    present = [c for c in table.columns if wanted is None or c in wanted]
    return table.select(present or table.columns)


def _refuse_ragged(raw: bytes, separator: str, path: Path) -> None:
    """Name the first row whose number of fields is not the header's."""
    rows = csv.reader(io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline=""), delimiter=separator)
    width = len(next(rows, []))
    for number, row in enumerate(rows, start=1):
        if row and len(row) != width:
            raise ReadError(
                f"{path}, row {number} (line {rows.line_num}): {len(row)} fields; allowed: {width} as in the header; correct the row"
            )
