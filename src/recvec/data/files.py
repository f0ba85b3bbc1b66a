"""Files of text and Parquet as tables, read whole or refused in one line that says where."""

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from polars.exceptions import PanicException, PolarsError

from recvec.data.memory import refuse_unless_fits
from recvec.data.reading import Wanted
from recvec.data.vocabulary import shown
from recvec.errors import ColumnError, ReadError, ValueRangeError, nearest

FORMATS = {".csv": ",", ".tsv": "\t", ".ndjson": "", ".jsonl": "", ".parquet": ""}

Result = TypeVar("Result")

_PIECE = 1 << 24  # bytes that are decoded at a time: the text of a large file is never there twice
_WIDTHS: dict[Any, int] = {pl.Int8: 1, pl.UInt8: 1, pl.Boolean: 1, pl.Int16: 2, pl.UInt16: 2, pl.Int32: 4, pl.UInt32: 4, pl.Float32: 4}
_WIDTH_OF_OTHERS = 8  # bytes at least; texts take more
_KEPT_PER_ROW = 8  # row numbers of user and item
_OF_TEXT = 2  # the bytes of a text file, and its columns beside them
_MAGIC = {
    b"PAR1": "is a Parquet file; let its name end in .parquet",
    b"\x1f\x8b": "is gzipped; let its name end in .gz after the format, such as .csv.gz, and unpack it where it was gzipped twice",
    b"PK\x03\x04": "is a zip archive or a spreadsheet; save the table itself as .csv",
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
}
_OTHER_VALUE = rb'\s*+:\s*+(?!"|null|-?[0-9]++\s*+[,}])'  # after a key: a value that is neither text nor an integer
_SURROGATE = rb"\\u[dD][89abAB]"  # half a letter, unless its other half follows
_INTEGER_END = 2**127
_QUOTE, _NEWLINE = ord('"'), ord("\n")
_QUOTES = 'put a field with quotes in quotes and double those inside, such as "5"" disk"'
_JSON_KINDS = {dict: "an object", list: "a list", bool: "true or false"}


def load_file(path: Path, wanted: Wanted) -> tuple[pl.DataFrame, list[str]]:
    """Return the needed columns of a file under the names that it gives them, and the names of all its columns.

    Parameters
    ----------
    path : Path
        CSV or TSV (every column as text), NDJSON, each also gzipped, or Parquet.
    wanted : Wanted
        What is needed; other columns are left out.

    Raises
    ------
    ReadError, ColumnError, ValueRangeError
        One line: file, row, value, what is allowed, what to do.
    """
    ending, zipped = _guarded(path, lambda: _checked_name(path))
    if ending == ".parquet":
        return _guarded(path, lambda: _parquet(path, wanted))
    size = _guarded(path, lambda: path.stat().st_size)
    advice = "save it as Parquet, which takes less, give a file with fewer rows, or use a larger machine"
    refuse_unless_fits(f"reading {path}", _OF_TEXT * size, advice)
    raw = _guarded(path, lambda: gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    _check_text(raw, path)
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if not raw.strip():
        raise _empty(path)
    table = _ndjson(raw, path, wanted) if ending in (".ndjson", ".jsonl") else _csv(raw, FORMATS[ending], path)
    return table.select(list(wanted.picked(table.columns))), table.columns


def _checked_name(path: Path) -> tuple[str, bool]:
    """Return the ending and whether the file is gzipped, where the name and the kind of file allow to read it."""
    if path.is_dir():
        raise ReadError(f"{path} is a folder; allowed: a file that ends in {_endings()}; give a file")
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ReadError(f"{path} does not exist ({nearest(path.name, siblings)}); check the path")
    zipped = path.suffix.lower() == ".gz"
    ending = (Path(path.stem) if zipped else path).suffix.lower()
    if ending not in FORMATS or (zipped and ending == ".parquet"):
        shown_ending = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise ReadError(f"{path} {shown_ending}; allowed: {_endings()}; rename or convert it")
    if path.is_file() and path.stat().st_size == 0:
        raise _empty(path)
    return ending, zipped


def _endings() -> str:
    return ", ".join(FORMATS) + " (text formats also with .gz)"


def _empty(path: Path) -> ReadError:
    return ReadError(f"{path} is empty; allowed: a header and at least one row; check how the file was written")


def _guarded(path: Path, load: Callable[[], Result]) -> Result:
    """Run a loader; its complaints become one line."""
    try:
        return load()
    except (OSError, EOFError, zlib.error, PolarsError, PanicException) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or str(error).strip() or type(error).__name__
        reason = said.splitlines()[0]
        raise ReadError(f"{path} cannot be read: {reason}; it may be damaged or not in the format that its name says") from error


def is_utf8(path: Path) -> bool:
    """Whether a path is UTF-8: those who read and write Parquet, arrays and large tables for us open no others."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet(path: Path, wanted: Wanted) -> tuple[pl.DataFrame, list[str]]:
    if not is_utf8(path):
        raise ReadError(f"the path {path} is not UTF-8; allowed for a Parquet file: a path in UTF-8; rename it")
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            raise ReadError(f"{path} is not a Parquet file; allowed: {_endings()}; give it the ending of its format")
        schema = pl.read_parquet_schema(file)
    names, picked = list(schema), wanted.picked(list(schema))
    n_rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    a_row = _KEPT_PER_ROW + sum(_WIDTHS.get(schema[theirs], _WIDTH_OF_OTHERS) for theirs in picked)
    refuse_unless_fits(f"reading the {n_rows:,} rows of {path}", n_rows * a_row, "give a file with fewer rows, or use a larger machine")
    return pl.read_parquet(path, columns=list(picked), glob=False), names


def _check_text(raw: bytes, path: Path) -> None:
    for magic, advice in _MAGIC.items():
        if raw.startswith(magic):
            raise ReadError(f"{path} {advice}")
    if b"\0" in raw:
        raise ReadError(f"{path} is binary; allowed: UTF-8 text; give the file the ending of its format, or save it as text")
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(raw)
    for start in range(0, len(raw), _PIECE):
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(view[start : start + _PIECE], final=start + _PIECE >= len(raw))
        except UnicodeDecodeError as error:
            at = start - waiting + error.start
            line = raw.count(b"\n", 0, at) + 1
            raise ReadError(f"{path}, line {line}: byte {raw[at]:#04x} is not UTF-8; save the file as UTF-8") from error


# ---------------------------------------------------------------- NDJSON


def _ndjson(raw: bytes, path: Path, wanted: Wanted) -> pl.DataFrame:
    try:
        table = pl.read_ndjson(io.BytesIO(raw), infer_schema_length=None)
    except (PolarsError, PanicException):
        _refuse_json(raw, path, wanted, mixed=True)
        return _guarded(path, lambda: pl.read_ndjson(io.BytesIO(raw), infer_schema_length=None))
    if any(_was_other(table[theirs], raw) for theirs, ours in wanted.picked(table.columns).items() if ours in wanted.ids):
        _refuse_json(raw, path, wanted, mixed=False)
    return table


def _was_other(ids: pl.Series, raw: bytes) -> bool:
    """Whether ids may hold what is neither text nor an integer: polars turns mixed values into text, 2.0 into '2'."""
    if ids.dtype != pl.String:
        return not ids.dtype.is_integer()
    key = re.escape(json.dumps(ids.name).encode())
    return bool(re.search(key + _OTHER_VALUE, raw) or re.search(_SURROGATE, raw))


def _refuse_json(raw: bytes, path: Path, wanted: Wanted, *, mixed: bool) -> None:
    """Name the first row that is not an object or whose id is no id and, where asked for, one that mixes kinds in a column."""
    kinds: dict[str, tuple[str, int]] = {}
    lines = ((n, line) for n, line in enumerate(raw.split(b"\n"), start=1) if line.strip())
    for row, (number, line) in enumerate(lines, start=1):
        where = f"{path}, row {row} (line {number})"
        value = _json_object(line, where)
        ids = {theirs for theirs, ours in wanted.picked(list(value)).items() if ours in wanted.ids}
        for name, given in value.items():
            if name in ids:
                _check_json_id(name, given, where)
            kind = _JSON_KINDS.get(type(given), "a number or text")
            before, first_row = kinds.setdefault(name, (kind, row)) if given is not None else (kind, row)
            if mixed and kind != before:
                said = f"{name} is {kind}, {shown(json.dumps(given))}, but {before} in row {first_row}"
                raise ValueRangeError(f"{where}: {said}; allowed: one kind in a column; correct it or remove the column")


def _json_object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ReadError(f"{where} is not JSON: {reason}; allowed: one object a line, whole; correct or remove the row") from error
    if not isinstance(value, dict):
        kind = _JSON_KINDS.get(type(value), "a number, text or null")
        raise ReadError(f"{where} is {kind}; allowed: one object a line; correct or remove the row")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _check_json_id(name: str, given: Any, where: str) -> None:
    usable = given is None or (type(given) is str and given.isascii()) or (type(given) is int and abs(given) < _INTEGER_END)
    if not usable and (type(given) is not str or any(0xD800 <= ord(c) < 0xE000 for c in given)):
        said = f"{name} is {shown(json.dumps(given))}"
        raise ValueRangeError(f"{where}: {said}; allowed: text, or an integer below 2^127; correct it or remove the row")


# ---------------------------------------------------------------- CSV and TSV


def _csv(raw: bytes, separator: str, path: Path) -> pl.DataFrame:
    """Read every column as text: ids keep their zeros, and numbers are checked where the row is known."""
    raw = raw.lstrip(b"\r\n")
    if b"\r" in raw and b"\n" not in raw:
        raise ReadError(f"{path} ends its lines with a carriage return alone; allowed: newlines; save it with Unix or Windows line ends")
    if not raw.endswith(b"\n") or raw.endswith((b"\n\n", b"\n\r\n")):
        raw = raw.rstrip(b"\r\n") + b"\n"  # empty lines at the end are no rows
    header = _header(raw, separator, path)
    _refuse_stray_quotes(raw, separator, path)
    try:
        table = pl.read_csv(io.BytesIO(raw), separator=separator, infer_schema=False)
    except (PolarsError, PanicException):
        _refuse_ragged(raw, separator, path)
        return _guarded(path, lambda: pl.read_csv(io.BytesIO(raw), separator=separator, infer_schema=False))
    if table.width != len(header):
        raise ReadError(f"{path} has a carriage return inside its header; allowed: names on one line; correct the first row")
    table.columns = header
    if table.height and table.get_column(table.columns[-1]).null_count():  # polars fills short rows with nulls
        whole = b'"' not in raw and raw.count(separator.encode()) == (len(header) - 1) * (table.height + 1)
        if not whole:
            _refuse_ragged(raw, separator, path)
    return table


def _header(raw: bytes, separator: str, path: Path) -> list[str]:
    """Return the names of the columns, each there once and really separated by `separator`."""
    header = next(_rows(raw, separator, path), (0, 0, []))[2]
    other = next((s for s in ",;\t|" if s != separator and s in header[0]), None) if len(header) == 1 else None
    if other is not None:
        instead = ".tsv" if other == "\t" else ".csv" if other == "," else None
        advice = f"let its name end in {instead}" if instead else f"save it with {_called(separator)}"
        raise ReadError(f"{path} is separated by {_called(other)}; allowed: {_called(separator)} for this ending; {advice}")
    twice = next((c for c in header if header.count(c) > 1), None)
    if twice is not None:
        raise ColumnError(f"{path} has the column '{shown(twice)}' more than once; rename or remove one")
    return header


def _called(separator: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'"}[separator]


def _refuse_ragged(raw: bytes, separator: str, path: Path) -> None:
    """Name the first row whose number of fields is not the header's."""
    width = None
    for number, line, row in _rows(raw, separator, path):
        width = width or len(row)
        if row and len(row) != width:
            raise ReadError(f"{path}, row {number} (line {line}): {len(row)} fields; allowed: {width} as in the header; correct the row")


def _refuse_stray_quotes(raw: bytes, separator: str, path: Path) -> None:
    """Name the first row with a quote that neither opens nor closes a field nor is doubled: readers disagree about it."""
    at = _stray_quote(raw, separator)
    if at is None:
        return
    row, line = 0, raw.count(b"\n", 0, at) + 1
    for number, begin, _ in _rows(raw, separator, path):
        if begin > line:
            break
        row = number
    where = f"row {row} (line {line})" if row else "header"
    raise ReadError(f"{path}, {where}: a quote stands inside a field; {_QUOTES}")


def _stray_quote(raw: bytes, separator: str) -> int | None:
    """Return where the first stray quote is. Quotes open and close in turn; a doubled one closes and opens again."""
    text = np.frombuffer(raw, np.uint8)
    count, before = 0, 0
    for start in range(0, len(text), _PIECE):
        at = np.flatnonzero(text[start : start + _PIECE] == _QUOTE) + start
        if not len(at):
            continue
        opens = (np.arange(len(at)) + count) % 2 == 0
        left = np.where(at > 0, text[at - 1], _NEWLINE)
        right = text[np.minimum(at + 1, len(text) - 1)]  # the text ends in a newline
        ends = (right == ord(separator)) | (right == _NEWLINE) | (right == _QUOTE)
        ends |= (right == ord("\r")) & (text[np.minimum(at + 2, len(text) - 1)] == _NEWLINE)
        fine = np.where(opens, (left == ord(separator)) | (left == _NEWLINE) | (left == _QUOTE), ends)
        if not fine.all():
            return int(at[np.argmin(fine)])
        count, before = count + len(at), int(at[-1])
    return before if count % 2 else None


def _rows(raw: bytes, separator: str, path: Path) -> Iterator[tuple[int, int, list[str]]]:
    """Yield row number (the header is 0), line number and fields."""
    limit = csv.field_size_limit(sys.maxsize)  # a field may be as long as it likes
    rows = csv.reader(io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline=""), delimiter=separator, strict=True)
    number, line = 0, 1
    try:
        for row in rows:
            yield number, line, row
            number, line = number + 1, rows.line_num + 1
    except csv.Error as error:
        which = f"row {number} (line {line})" if number else "header"
        raise ReadError(f"{path}, {which}: {_quote_trouble(error)}; {_QUOTES}") from error
    finally:
        csv.field_size_limit(limit)


def _quote_trouble(error: Any) -> str:
    said = str(error)
    return "a quote is opened and never closed" if "unexpected end" in said else f"not readable: {said}"
