"""The zips of MovieLens as tables: three layouts, one outcome.

| data sets | ratings | users | movies |
|---|---|---|---|
| ml-100k | ``u.data``, tabs | ``u.user``, ``|`` | ``u.item``, ``|``, Latin-1, a flag for each genre of ``u.genre`` |
| ml-1m | ``ratings.dat``, ``::`` | ``users.dat``, ``::``, codes | ``movies.dat``, ``::``, Latin-1 |
| the others | ``ratings.csv`` | none | ``movies.csv``, ``links.csv``, and ``tags.csv`` by users |

Members are read in memory by their exact names and nothing is unpacked, so that no name inside an archive can choose a
place on the disk. Ratings are read piece by piece: 20 bytes a row and one piece of text are in memory.
"""

import csv
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from recvec.errors import ReadError

Schema = dict[str, type[pl.DataType]]

_PIECE = 1 << 26  # bytes of text at a time
_LARGEST_FACTOR, _LARGEST_SMALL = 20, 1 << 26  # unpacked size: this times the zip (text packs to a fifth), or this many bytes

_AGES = {1: "Under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}
_OCCUPATIONS = (
    "other or not specified", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer", "retired",
    "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip  # README of ml-1m, by code
_NO_GENRE = ("(no genres listed)", "unknown")
_YEAR = r"^.*\((\d{4})(?:[-\x{2013}]\d{0,4})?\)"  # the last one: "2001: A Space Odyssey (1968)", "Fawlty Towers (1975-1979)"
_SPLITS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")
_STATED = {
    "ratings": r"([\d,]+) (?:anonymous )?ratings",
    "users": r"(?:from|made by|created by) ([\d,]+) (?:MovieLens )?users",
    "items": r"(?:on|across) ([\d,]+) movies",
    "tags": r"([\d,]+) tag applications",
}  # how the READMEs say it; ml-1m has "approximately 3,900 movies", which is no count

_SEPARATOR = "\x1f"
_MOVIES: Schema = {"item_id": pl.Int32, "title": pl.String, "genres": pl.String}
_RATINGS: Schema = {"user_id": pl.Int32, "item_id": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}


def convert(archive: Path, name: str, folder: Path) -> dict[str, dict[str, int]]:
    """Write the tables of a MovieLens zip.

    Parameters
    ----------
    archive : Path
        The zip as GroupLens publishes it.
    name : str
        ``ml-100k``, ``ml-1m``, ``ml-latest-small``, ``ml-20m`` or ``ml-32m``; the folder inside the zip.
    folder : Path
        An empty folder, for ``interactions.parquet``, ``items.parquet``, ``README.txt``, and where there is such a thing
        ``users.parquet``, ``links.parquet`` (addresses of movies elsewhere, kept apart because they are no attributes to
        learn from), ``tags.parquet`` (who gave which tag), ``splits/*.parquet``.

    Returns
    -------
    dict
        ``rows``: what was counted; ``stated``: what the README in the zip states, as far as it does.

    Raises
    ------
    ReadError
        For a damaged or another zip, a row that does not fit, or counts that differ from those of the README.
    OSError
        Where a table cannot be written.
    """
    with _opened(archive, name) as members:
        text = members.readme()
        (folder / "README.txt").write_bytes(text)
        rows = _LAYOUTS.get(name, _modern)(members, folder)
    said = " ".join(text.decode("utf-8", "replace").split())
    found = {what: re.search(pattern, said) for what, pattern in _STATED.items()}
    stated = {what: int(match[1].replace(",", "")) for what, match in found.items() if match and what in rows}
    for what, n in stated.items():
        if rows[what] != n:
            raise ReadError(f"{archive.name} holds {rows[what]:,} {what}, but its README states {n:,}; get the file again")
    return {"rows": rows, "stated": stated}


# ---------------------------------------------------------------- the zip


class _Members:
    """The members of an open zip by name, each read whole or refused."""

    def __init__(self, opened: zipfile.ZipFile, name: str, size: int) -> None:
        self.opened, self.name, self.archive = opened, name, Path(opened.filename or "").name
        self.names = frozenset(opened.namelist())
        self.left = max(_LARGEST_SMALL, _LARGEST_FACTOR * size)

    def readme(self) -> bytes:
        """Return the README, which has an ending in the later data sets."""
        return b"".join(self.pieces("README.txt" if f"{self.name}/README.txt" in self.names else "README"))

    def table(
        self,
        member: str,
        schema: Schema,
        *,
        separator: str = ",",
        header: str = "",
        may_miss: tuple[str, ...] = (),
        as_utf8: Callable[[bytes], bytes] = bytes,
    ) -> pl.DataFrame:
        """Return a member as a table: rows in the order of the file, every column there but those that `may_miss`."""
        where, parts = f"{self.archive}: {member}", [pl.DataFrame(schema=schema)]
        for raw in self.pieces(member):
            first = header if len(parts) == 1 else ""
            parts.append(_parse(as_utf8(raw), schema, where, separator=separator, header=first))
        table = pl.concat(parts, rechunk=False)
        for column in table.drop(may_miss):
            if column.null_count():  # a row with too few fields
                row = column.is_null().arg_max() or 0
                raise ReadError(f"{where}, row {row + 1} has no {column.name}; allowed: all fields; get the file again")
        return table

    def pieces(self, member: str) -> Iterator[bytes]:
        """Yield a member in pieces of whole lines."""
        path = f"{self.name}/{member}"
        if path not in self.names:
            here = ", ".join(sorted({n.partition("/")[0] for n in self.names})[:3]) or "nothing"
            raise ReadError(f"{self.archive} holds no {path}, but {here}; allowed: the zip of {self.name}; give that")
        self.left -= self.opened.getinfo(path).file_size
        if self.left < 0:
            raise ReadError(f"{self.archive} is not plausible: {path} would unpack to far more than such data; get the file again")
        rest = b""
        with _reading(), self.opened.open(path) as file:
            while block := file.read(_PIECE):
                end = block.rfind(b"\n") + 1
                if end:
                    yield rest + block[:end]
                    rest = b""
                rest += block[end:]
        if rest:
            yield rest


@contextmanager
def _reading() -> Iterator[None]:
    """Tell trouble with the zip from trouble with the tables: bad bytes make for impossible places, a broken disk too."""
    try:
        yield
    except OSError as error:
        raise zipfile.BadZipFile(error.strerror or str(error)) from error


@contextmanager
def _opened(archive: Path, name: str) -> Iterator[_Members]:
    """Open a zip; whatever its bytes bring about becomes one line."""
    try:
        with _reading():
            opened = zipfile.ZipFile(archive)
        with opened:
            yield _Members(opened, name, archive.stat().st_size)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, ReadError):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]  # RuntimeError: it wants a password
        raise ReadError(f"{archive} is damaged or not the zip of {name}: {reason}; get the file again") from error


def _parse(raw: bytes, schema: Schema, where: str, *, separator: str, header: str) -> pl.DataFrame:
    """Return lines of text as a table; a header has to be the one that is expected."""
    if header:
        first, _, raw = raw.partition(b"\n")
        if first.strip().decode("utf-8", "replace") != header:
            raise ReadError(f"{where} does not begin with '{header}'; allowed: the layout of GroupLens; get the file again")
    quote = '"' if separator == "," else None
    _check_width(raw, len(schema), where, separator)
    try:
        return pl.read_csv(io.BytesIO(raw), schema=schema, has_header=False, separator=separator, quote_char=quote, raise_if_empty=False)
    except (PolarsError, PanicException) as error:
        raise _unfit(where, error) from error


def _check_width(raw: bytes, width: int, where: str, separator: str) -> None:
    """Refuse another number of columns, which polars sees by the first line and says by the names of its own options."""
    first = raw.partition(b"\n")[0].decode("utf-8", "replace")
    found = len(next(csv.reader([first]), [])) if separator == "," else first.count(separator) + 1
    if raw and found != width:
        raise ReadError(f"{where}, row 1 has {found} fields; allowed: {width}; get the file again")


def _unfit(where: str, error: BaseException) -> ReadError:
    return ReadError(f"{where} has a value that does not fit: {str(error).splitlines()[0]}; get the file again")


def _utf8(raw: bytes) -> bytes:
    return raw.decode("latin-1").encode()


def _colons(raw: bytes) -> bytes:
    """Replace the separator of two characters by one that no title has."""
    return _utf8(raw).replace(b"::", _SEPARATOR.encode())


def _write(table: pl.DataFrame, path: Path) -> None:
    try:
        table.write_parquet(path)
    except (PolarsError, PanicException) as error:  # polars wraps some of what the disk says
        raise OSError(None, str(error).splitlines()[0], str(path)) from error


# ---------------------------------------------------------------- three layouts


def _100k(members: _Members, folder: Path) -> dict[str, int]:
    """Tabs and bars, with the official splits."""
    rows = members.table("u.data", _RATINGS, separator="\t")
    _write(rows, folder / "interactions.parquet")
    (folder / "splits").mkdir()
    for split in _SPLITS:
        train, test = (members.table(f"{split}.{part}", _RATINGS, separator="\t") for part in ("base", "test"))
        if len(train) + len(test) != len(rows):
            parts = f"{split}.base and {split}.test hold {len(train):,} and {len(test):,} ratings"
            raise ReadError(f"{members.archive}: {parts}, but u.data holds {len(rows):,}; get the file again")
        _write(train, folder / f"splits/{split}.train.parquet")
        _write(test, folder / f"splits/{split}.test.parquet")
    schema: Schema = {"user_id": pl.Int32, "age": pl.Int32, "gender": pl.String, "occupation": pl.String, "zip_code": pl.String}
    _write(members.table("u.user", schema, separator="|"), folder / "users.parquet")
    return {"ratings": len(rows), "users": rows["user_id"].n_unique(), "items": _100k_items(members, folder)}


def _100k_items(members: _Members, folder: Path) -> int:
    """Movies, with a flag for each genre."""
    code: Schema = {"genre": pl.String, "code": pl.Int32}
    genres = members.table("u.genre", code, separator="|", may_miss=tuple(code)).drop_nulls().sort("code")["genre"].to_list()
    given = ("title", "released", "video", "imdb_url")
    schema: Schema = {"item_id": pl.Int32, **dict.fromkeys(given, pl.String), **dict.fromkeys(genres, pl.Int32)}
    table = members.table("u.item", schema, separator="|", may_miss=given[1:], as_utf8=_utf8)
    flags = [pl.when(pl.col(genre) == 1).then(pl.lit(genre)) for genre in genres]
    date = pl.col("released").str.to_date("%d-%b-%Y").alias("release_date")
    try:
        items = table.select("item_id", "title", date, pl.concat_list(flags).list.drop_nulls().alias("genres"))
    except PolarsError as error:
        raise _unfit(f"{members.archive}: u.item", error) from error
    _write(_described(items), folder / "items.parquet")
    _write(table.select("item_id", "imdb_url"), folder / "links.parquet")
    return len(items)


def _1m(members: _Members, folder: Path) -> dict[str, int]:
    """Double colons; ages and occupations as codes, which become what the README says they mean."""
    rows = members.table("ratings.dat", _RATINGS, separator=_SEPARATOR, as_utf8=_colons)
    _write(rows, folder / "interactions.parquet")
    coded: Schema = {"user_id": pl.Int32, "gender": pl.String, "age": pl.Int32, "occupation": pl.Int32, "zip_code": pl.String}
    users = members.table("users.dat", coded, separator=_SEPARATOR, as_utf8=_colons)
    age = pl.col("age").replace_strict(_AGES, return_dtype=pl.String)
    occupation = pl.col("occupation").replace_strict(dict(enumerate(_OCCUPATIONS)), return_dtype=pl.String)
    try:
        users = users.select("user_id", age, "gender", occupation, "zip_code")
    except PolarsError as error:
        raise _unfit(f"{members.archive}: users.dat", error) from error
    _write(users, folder / "users.parquet")
    items = members.table("movies.dat", _MOVIES, separator=_SEPARATOR, as_utf8=_colons)
    _write(_described(items.with_columns(pl.col("genres").str.split("|"))), folder / "items.parquet")
    return {"ratings": len(rows), "users": rows["user_id"].n_unique(), "items": len(items)}


def _modern(members: _Members, folder: Path) -> dict[str, int]:
    """CSV with headers; tags by users in place of users' attributes."""
    rows = members.table("ratings.csv", _RATINGS, header="userId,movieId,rating,timestamp")
    _write(rows, folder / "interactions.parquet")
    counts = {"ratings": len(rows), "users": rows["user_id"].n_unique()}
    del rows  # the largest table: the others do not come on top of it
    tagged: Schema = {"user_id": pl.Int32, "item_id": pl.Int32, "tag": pl.String, "timestamp": pl.Int64}
    tags = members.table("tags.csv", tagged, header="userId,movieId,tag,timestamp", may_miss=("tag",))
    _write(tags, folder / "tags.parquet")
    movies = members.table("movies.csv", _MOVIES, header="movieId,title,genres")
    items = _described(movies.with_columns(pl.col("genres").str.split("|")))
    _write(items.join(_tags_of_items(tags), on="item_id", how="left", maintain_order="left"), folder / "items.parquet")
    linked: Schema = {"item_id": pl.Int32, "imdb_id": pl.String, "tmdb_id": pl.Int32}
    links = members.table("links.csv", linked, header="movieId,imdbId,tmdbId", may_miss=("imdb_id", "tmdb_id"))
    _write(links, folder / "links.parquet")
    return {**counts, "items": len(items), "tags": len(tags)}


def _described(items: pl.DataFrame) -> pl.DataFrame:
    """Add the year that a title ends with; a genre that says that none is known becomes null."""
    genres = pl.col("genres").list.eval(pl.element().filter(~pl.element().is_in(_NO_GENRE)))
    return items.with_columns(
        pl.col("title").str.strip_chars(),
        pl.col("title").str.extract(_YEAR).cast(pl.Int32).alias("year"),
        pl.when(genres.list.len() > 0).then(genres).alias("genres"),
    )


def _tags_of_items(tags: pl.DataFrame) -> pl.DataFrame:
    """Return each movie's distinct tags in small letters, those of most users first, ties by the alphabet."""
    plain = tags.with_columns(pl.col("tag").str.strip_chars().str.to_lowercase()).filter(pl.col("tag") != "")
    counted = plain.group_by("item_id", "tag").agg(pl.col("user_id").n_unique().alias("n"))
    ordered = counted.sort("item_id", "n", "tag", descending=[False, True, False])
    return ordered.group_by("item_id", maintain_order=True).agg(pl.col("tag").alias("tags"))


_LAYOUTS: Mapping[str, Callable[[_Members, Path], dict[str, int]]] = {"ml-100k": _100k, "ml-1m": _1m}
