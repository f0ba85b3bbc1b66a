"""Files of word vectors, read once and kept for mapping into memory.

What is kept is a folder: ``vectors.f32`` (the numbers, row by row), ``words.parquet``, and ``index.json`` with the size and the time
of change of the file that it was made of, written last.
"""

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Any, NamedTuple

import numpy as np
import polars as pl

from recvec.errors import ReadError
from recvec.kernels.vector_text import FEW_NUMBERS, MANY_NUMBERS, parse_lines
from recvec.types import F32, Array

Progress = Callable[[float], None]
VERSION = 1
_PIECE = 1 << 26  # bytes that are read at a time
_HEAD = 1 << 16


class Part(NamedTuple):
    """Some rows of a file."""

    words: list[str]
    vectors: F32


def indexed(place: Path, cache: Path | None, progress: Progress | None) -> tuple[pl.Series, F32]:
    """Return words and mapped vectors of a text or binary file, which is read only where it has not been yet.

    Raises
    ------
    ReadError
        Where it is not such a file; names the line.
    """
    stamp = _stamp(place)
    folders = [cache / _short(place)] if cache else [place.with_name(place.name + ".recvec"), _user_cache() / _short(place)]
    for folder in folders:
        found = _kept(folder, stamp)
        if found is not None:
            return found
    for folder in folders:
        with suppress(PermissionError, FileNotFoundError, NotADirectoryError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(mkdtemp(prefix=".recvec-", dir=folder.parent))
            try:
                _write(place, beside, stamp, progress)
                shutil.rmtree(folder, ignore_errors=True)
                beside.rename(folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            return _kept(folder, stamp) or _lost(folder)
    raise ReadError(f"{place} needs a folder for what is read of it: {folders[-1].parent} cannot be written; give cache=FOLDER")


def _lost(folder: Path) -> Any:
    raise ReadError(f"{folder} was changed by somebody else; open the file again")


def _stamp(place: Path) -> dict[str, Any]:
    about = place.stat()
    return {"version": VERSION, "size": about.st_size, "changed": about.st_mtime_ns}


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recvec"


def _short(place: Path) -> str:
    return f"{place.name}-{hashlib.sha256(str(place.absolute()).encode()).hexdigest()[:12]}.recvec"


def _kept(folder: Path, stamp: dict[str, Any]) -> tuple[pl.Series, F32] | None:
    try:
        page = json.loads((folder / "index.json").read_text())
        n, d = page.pop("shape")
        if page != stamp or (folder / "vectors.f32").stat().st_size != 4 * n * d:
            return None
        words = pl.read_parquet(folder / "words.parquet")["word"]
        return words, np.memmap(folder / "vectors.f32", np.float32, mode="r", shape=(n, d))
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError):
        return None


def _write(place: Path, folder: Path, stamp: dict[str, Any], progress: Progress | None) -> None:
    words: list[str] = []
    d = 0
    try:
        with (folder / "vectors.f32").open("wb") as out:
            for part in read(place, progress):
                words += part.words
                d = part.vectors.shape[1]
                part.vectors.tofile(out)
    except (EOFError, gzip.BadGzipFile) as error:
        raise ReadError(f"{place} is cut off or damaged: {error}; fetch it again") from error
    table = pl.DataFrame({"word": pl.Series(words, dtype=pl.String)})
    if table["word"].is_duplicated().any():  # the first one counts
        first = table.with_row_index().unique("word", keep="first", maintain_order=True)["index"].to_numpy()
        whole = np.memmap(folder / "vectors.f32", np.float32, mode="r", shape=(len(words), d))
        np.ascontiguousarray(whole[first]).tofile(folder / "kept.f32")
        (folder / "kept.f32").rename(folder / "vectors.f32")
        table = table[first]
    table.write_parquet(folder / "words.parquet")
    (folder / "index.json").write_text(json.dumps({**stamp, "shape": [len(table), d]}))


def read(place: Path, progress: Progress | None = None) -> Iterator[Part]:
    """Read a text or binary file of word vectors, some rows at a time.

    Raises
    ------
    ReadError
        Where it is not such a file; names the line or, of a binary file, the word.
    """
    size = max(place.stat().st_size, 1)
    with place.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
        head = file.read(_HEAD)
        file.seek(0)
        first = head.split(b"\n", 1)[0].split()
        has_header = len(first) == 2 and all(token.isdigit() for token in first)
        if not head.strip():
            raise ReadError(f"{place} is empty; allowed: a file of word vectors")
        if has_header and _is_binary(head.split(b"\n", 1)[1]):
            parts = _binary(file, place, *map(int, first))
        else:
            parts = _text(file, place, (int(first[0]), int(first[1])) if has_header else (None, len(first) - 1))
        for part in parts:
            yield part
            if progress is not None:
                progress(min(raw.tell() / size, 1.0))


def _is_binary(rest: bytes) -> bool:
    return any(byte < 9 or 13 < byte < 32 for byte in rest[:4096])


def _text(file: IO[bytes], place: Path, shape: tuple[int | None, int]) -> Iterator[Part]:
    n, d = shape
    if d < 1:
        raise ReadError(f"{place}, line 1: a word and no number; allowed: a word and its numbers, or their counts; correct it")
    line, left = 1, b""
    if n is not None:
        file.readline()
        line = 2
    found = 0
    while piece := file.read(_PIECE):
        piece = left + piece
        whole, _, left = piece.rpartition(b"\n")
        if whole:
            part = _lines(whole, place, line, d)
            line, found = line + whole.count(b"\n") + 1, found + len(part.words)
            yield part
    if left.strip():
        part = _lines(left, place, line, d)
        found += len(part.words)
        yield part
    if n is not None and found != n:
        raise ReadError(f"{place} has {found:,} words, its first line says {n:,}; it is cut off or damaged: fetch it again")


def _lines(piece: bytes, place: Path, line: int, d: int) -> Part:
    data = np.frombuffer(piece, np.uint8)
    ends = np.append(np.flatnonzero(data == 10), len(data)).astype(np.int64)
    empty = np.diff(ends, prepend=-1) == 1
    if empty.any() and not piece.strip():
        return Part([], np.zeros((0, d), np.float32))
    vectors, words, bad, what = parse_lines(data, ends, d)
    if bad < len(ends):
        begin = int(ends[bad - 1]) + 1 if bad else 0
        raise ReadError(_wrong(place, line + bad, piece[begin : int(ends[bad])], d, what))
    return Part([piece[a:b].decode(errors="replace") for a, b in words.tolist()], vectors)


def _wrong(place: Path, line: int, text: bytes, d: int, what: int) -> str:
    if what in (FEW_NUMBERS, MANY_NUMBERS):
        given = f"a word and {max(len(text.split()) - 1, 0)} numbers" if text.strip() else "nothing"
        return f"{place}, line {line}: {given}; allowed: a word and {d} numbers, as in the first line; correct it or remove the line"
    begin = text[:40].decode(errors="replace")
    return f"{place}, line {line}: '{begin}...' holds something that is no finite number; correct it or remove the line"


def _binary(file: IO[bytes], place: Path, n: int, d: int) -> Iterator[Part]:
    file.readline()
    left, done = b"", 0
    while done < n:
        piece = file.read(_PIECE)
        if not piece:
            raise ReadError(f"{place} ends after {done:,} of {n:,} words; it is cut off: fetch it again")
        words, rows, left = _records(left + piece, d, n - done)
        if rows:
            vectors = np.frombuffer(b"".join(rows), np.float32).reshape(len(rows), d)
            _refuse_infinite(vectors, words, place)
            yield Part(words, vectors)
        done += len(words)


def _records(data: bytes, d: int, most: int) -> tuple[list[str], list[bytes], bytes]:
    """Cut whole records off the data: a word, a blank, d numbers of four bytes, perhaps a line feed."""
    words: list[str] = []
    rows: list[bytes] = []
    at = 0
    while len(words) < most:
        blank = data.find(b" ", at)
        if blank < 0 or blank + 1 + 4 * d > len(data):
            break
        words.append(data[at:blank].lstrip(b"\n").decode(errors="replace"))
        rows.append(data[blank + 1 : blank + 1 + 4 * d])
        at = blank + 1 + 4 * d
    return words, rows, data[at:]


def _refuse_infinite(vectors: Array, words: list[str], place: Path) -> None:
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise ReadError(f"{place}: the vector of '{words[wrong[0]][:40]}' is not finite; it is damaged or of another format")
