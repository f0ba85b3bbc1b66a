"""Public data sets: what there is, and how one becomes a folder of tables.

A data set is downloaded into ``DIR.part`` beside its place, compared with the MD5 that its publisher states, converted
there, and renamed to ``DIR``: that is whole or absent. An interrupted download stays in ``DIR.part``, and the same call
goes on with it.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from recvec.data.files import is_utf8
from recvec.data.movielens import convert
from recvec.data.transfer import Link, Patience, md5_of, published_md5, resumable
from recvec.errors import InputError, ReadError, nearest
from recvec.types import Json

GROUPLENS = "https://files.grouplens.org/datasets/movielens"

OnProgress = Callable[[str, int, int | None], None]
"""Called with what is being done, how many bytes of it are done and, where that is known, how many there are."""

_CLOSED = "research use; neither redistribution nor commercial use without permission of GroupLens"
_OPEN = "research use; redistribution under the same terms; no commercial use without permission of GroupLens"
_CITATION = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. "
    "ACM Transactions on Interactive Intelligent Systems (TiiS) 5, 4: 19:1-19:19. https://doi.org/10.1145/2827872"
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A data set as its publisher describes it; `n_items` of ml-1m is the publisher's "approximately 3,900"."""

    n_users: int
    n_items: int
    n_ratings: int
    attributes: str
    n_bytes: int
    licence: str


PUBLISHED = {
    "ml-100k": Published(
        n_users=943, n_items=1_682, n_ratings=100_000, n_bytes=4_924_029, licence=_CLOSED,
        attributes="users: age, gender, occupation, zip_code; items: title, year, release_date, genres; seven official splits",
    ),
    "ml-1m": Published(
        n_users=6_040, n_items=3_900, n_ratings=1_000_209, n_bytes=5_917_549, licence=_CLOSED,
        attributes="users: age, gender, occupation, zip_code; items: title, year, genres",
    ),
    "ml-latest-small": Published(
        n_users=610, n_items=9_742, n_ratings=100_836, n_bytes=978_202, licence=_OPEN,
        attributes="items: title, year, genres, tags; may change, not for published results",
    ),
    "ml-20m": Published(
        n_users=138_493, n_items=27_278, n_ratings=20_000_263, n_bytes=198_702_078, licence=_OPEN,
        attributes="items: title, year, genres, tags",
    ),
    "ml-32m": Published(
        n_users=200_948, n_items=87_585, n_ratings=32_000_204, n_bytes=238_950_008, licence=_OPEN,
        attributes="items: title, year, genres, tags",
    ),
}  # fmt: skip
"""Counts: READMEs of the data sets. Bytes: the length that the server states for the zip."""


def datasets() -> pl.DataFrame:
    """List the data sets that `download` knows, with sizes as published.

    Returns
    -------
    polars.DataFrame
        Columns ``name``, ``users``, ``items``, ``ratings``, ``attributes``, ``download``, ``licence``.
    """
    rows = [
        (name, p.n_users, p.n_items, p.n_ratings, p.attributes, f"{p.n_bytes / 1e6:.1f} MB", p.licence) for name, p in PUBLISHED.items()
    ]
    return pl.DataFrame(rows, schema=["name", "users", "items", "ratings", "attributes", "download", "licence"], orient="row")


def download(
    name: str,
    out: str | Path,
    *,
    from_file: str | Path | None = None,
    base_url: str = GROUPLENS,
    progress: OnProgress | None = None,
    patience: Patience | None = None,
) -> dict[str, Json]:
    """Get a public data set and write it as tables.

    Parameters
    ----------
    name : str
        One of `datasets`.
    out : str or Path
        A folder that does not exist yet or is empty. It will hold ``interactions.parquet``, ``items.parquet``,
        ``README.txt``, ``source.json`` and, where there is such a thing, ``users.parquet``, ``links.parquet``,
        ``tags.parquet`` and ``splits``.
    from_file : str or Path, optional
        A zip that was downloaded elsewhere. It is compared with a ``.md5`` file beside it, if there is one.
    base_url : str
        Where ``NAME.zip`` and ``NAME.zip.md5`` are.
    progress : callable, optional
        Told how far it is.
    patience : Patience, optional
        Waiting for the server and trying again.

    Returns
    -------
    dict
        What ``source.json`` says: where the data are from, what they were compared with, rows, terms, citation.

    Raises
    ------
    InputError
        For an unknown name, a folder that is taken, a server that does not answer, wrong bytes, or a zip that holds
        something else; `out` is then as it was. What has been downloaded is kept, unless its MD5 is wrong.
    """
    if name not in PUBLISHED:
        raise InputError(f"there is no data set '{name}' ({nearest(name, PUBLISHED)}); allowed: {', '.join(PUBLISHED)}")
    place = _free(Path(out))
    given = None if from_file is None else _given(Path(from_file), _part(place))
    address = f"{_checked(base_url)}/{name}.zip"
    tell = progress or (lambda _what, _done, _total: None)
    try:
        with _beside(place) as (part, tables):
            archive = given or part / f"{name}.zip"
            origin = _compare(archive, name) if given else _fetch(address, archive, tell, patience or Patience())
            size = archive.stat().st_size
            tell(f"converting {name}", size, size)
            found = convert(archive, name, tables)
            page = _page(name, origin, found)
            (tables / "source.json").write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            _sync(tables)
            tables.rename(place)
            shutil.rmtree(part, ignore_errors=True)
            return page
    except OSError as error:
        reason = error.strerror or (str(error) or type(error).__name__).splitlines()[0]
        raise ReadError(f"{place} cannot be written: {reason}; free space or give another folder") from error


def interrupted(out: str | Path) -> tuple[Path, int]:
    """Return where an unfinished download to `out` waits, and how many bytes of it the next call builds on."""
    part = _part(Path(out).absolute())
    return part, max((resumable(path) for path in part.glob("*.zip")), default=0)


def _page(name: str, origin: dict[str, Json], found: dict[str, dict[str, int]]) -> dict[str, Json]:
    page: dict[str, Json] = {"name": name, **origin}
    page |= {"date": datetime.now(UTC).isoformat(timespec="seconds"), "library": f"recvec {version('recvec')}"}
    page |= {"rows": dict(found["rows"]), "rows_stated_in_readme": dict(found["stated"])}
    return page | {"licence": PUBLISHED[name].licence, "citation": _CITATION}


# ---------------------------------------------------------------- the zip


def _fetch(address: str, archive: Path, tell: OnProgress, patience: Patience) -> dict[str, Json]:
    """Download a zip and compare it with the MD5 published beside it; a wrong one is removed."""
    name = archive.name
    remedy = f"check the connection and the address, or download {name} elsewhere and give it (--from {name})"
    link = Link(patience, remedy)
    stated = published_md5(link.text(f"{address}.md5"), name, f"{address}.md5", remedy)
    link.file(address, archive, lambda done, total: tell(name, done, total))
    digest = md5_of(archive)
    if digest != stated:
        archive.unlink()
        raise ReadError(f"{address} has the MD5 {digest}, but {address}.md5 states {stated}; what came was removed, call again")
    return {"address": address, "md5": digest, "md5_compared_with": f"{address}.md5", "bytes": archive.stat().st_size}


def _compare(archive: Path, name: str) -> dict[str, Json]:
    """Compare a zip from elsewhere with the ``.md5`` file beside it, if there is one."""
    beside, digest, against = archive.with_name(archive.name + ".md5"), md5_of(archive), None
    if beside.is_file():
        remedy = "get it again, or remove it"
        against = beside.name
        stated = published_md5(beside.read_text(encoding="utf-8", errors="replace"), f"{name}.zip", str(beside), remedy)
        if digest != stated:
            raise ReadError(f"{archive} has the MD5 {digest}, but {beside} states {stated}; get the file again")
    return {"file": archive.name, "md5": digest, "md5_compared_with": against, "bytes": archive.stat().st_size}


def _given(path: Path, part: Path) -> Path:
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ReadError(f"{path} does not exist ({nearest(path.name, siblings)}); check the path")
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ReadError(f"{path} is not a file that can be read; allowed: the zip of the data set; give that")
    if part in path.absolute().parents:
        raise ReadError(f"{path} is in a folder that is removed in the end; move it out of there")
    return path


def _checked(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"the base URL is '{base_url}'; allowed: an address that begins with https:// or http://")
    return base_url.rstrip("/")


# ---------------------------------------------------------------- the folder


def _part(place: Path) -> Path:
    return place.with_name(place.name + ".part")


def _free(out: Path) -> Path:
    """Return the place of the new folder, before the work that would be lost otherwise."""
    place = out.absolute()
    if not is_utf8(place):
        raise ReadError(f"the path {place} is not UTF-8; allowed: a path in UTF-8; give another folder")
    try:
        taken = place.is_symlink() or (place.exists() and (not place.is_dir() or any(place.iterdir())))
        here = place.exists() and place.samefile(Path.cwd())
        parent = next(p for p in (*place.parents, place) if p.exists())  # the root has no parents
    except OSError as error:
        raise ReadError(f"{out} cannot be written: {error.strerror}; give another folder") from error
    if taken:
        raise ReadError(f"{out} exists; allowed: a new or an empty folder; give another one")
    if here:
        raise ReadError(f"{out} is the folder you are in, which cannot be replaced; give the name of a folder in it")
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise ReadError(f"{out} cannot be written: {parent} is not a folder that can be written to; give another folder")
    return place


@contextmanager
def _beside(place: Path) -> Iterator[tuple[Path, Path]]:
    """Make ``DIR.part`` and an empty folder for the tables in it, for one process at a time; leave only a download behind."""
    part = _part(place)
    tables = part / "tables"
    made = list(takewhile(lambda p: not p.exists(), place.parents))
    _refuse_strange(part)
    part.mkdir(parents=True, exist_ok=True)
    handle = os.open(part, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReadError(f"{part} is in use by another download; wait for that, or give another folder") from error
        shutil.rmtree(tables, ignore_errors=True)
        tables.mkdir()
        try:
            yield part, tables
        finally:
            _clear(part, tables, made)
    finally:
        os.close(handle)


def _refuse_strange(part: Path) -> None:
    """Refuse a ``DIR.part`` that a person made: it will be removed in the end."""
    ours = {"tables", *(f"{name}.zip{end}" for name in PUBLISHED for end in ("", ".json"))}
    strange = sorted(p.name for p in part.iterdir() if p.name not in ours) if part.is_dir() else []
    if strange or part.is_symlink() or (part.exists() and not part.is_dir()):
        holds = f"holds '{strange[0]}'" if strange else "is no folder"
        raise ReadError(f"{part} {holds}; it is needed for the download; rename it, or give another --out")


def _clear(part: Path, tables: Path, made: list[Path]) -> None:
    shutil.rmtree(tables, ignore_errors=True)
    if any(resumable(path) for path in part.glob("*.zip")):
        return
    shutil.rmtree(part, ignore_errors=True)
    for folder in made:
        with suppress(OSError):  # others use it
            folder.rmdir()


def _sync(folder: Path) -> None:
    """Force the tables to the disk: the rename must not show what is still to come."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
