"""Vectors for other programs: one file, and a page beside it, ``FILE.json``, that says what is in it.

======== ==============================================================================================
parquet  columns ``side`` (user or item), ``id`` (Int64 where all ids are integers, else text), ``embedding``
word2vec text: a first line ``n d``, then a token and d numbers a line, with the digits that restore float32 exactly
numpy    ``.npz`` with ``user_vectors`` and ``item_vectors``; their ids, in row order, are in the page beside
======== ==============================================================================================

A token of word2vec is the id, percent-encoded where it holds white space, control characters or ``%``; with both sides
in one file it begins with ``user:`` or ``item:``. ``urllib.parse.unquote`` turns the rest into the id again.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from recvec.contract import DotModel
from recvec.data.vocabulary import Vocabulary
from recvec.errors import ArtifactError, InputError
from recvec.retrieval.recommender import Recommender
from recvec.types import F32, Json

Format = Literal["parquet", "word2vec", "numpy"]
What = Literal["users", "items", "both"]
FORMATS: tuple[Format, ...] = get_args(Format)

_ROWS = 4096  # vectors turned into text at a time

Sides = Mapping[str, tuple[Vocabulary, F32]]


def export(who: Recommender, path: str | Path, to: Format, *, what: What = "both") -> None:
    """Write the vectors of a recommender to a new file, and what they are to ``path.json``.

    Parameters
    ----------
    who : Recommender
        Whose vectors, extra columns included.
    path : str or Path
        A file that does not exist yet.
    to : str
        ``"parquet"``, ``"word2vec"`` or ``"numpy"``.
    what : str
        ``"users"``, ``"items"`` or ``"both"``.

    Raises
    ------
    InputError
        For an unknown format or side.
    ArtifactError
        Where one of the files exists or cannot be written; then neither is left behind.
    """
    check_words(to, what)
    place, page = check_free_file(path)
    known = {"user": (who.users, who.model.user_vectors), "item": (who.items, who.model.item_vectors)}
    sides = {side: known[side] for side in known if what in ("both", f"{side}s")}
    writers: dict[str, Callable[[Sides, Path], None]] = {"parquet": _parquet, "word2vec": _word2vec, "numpy": _numpy}
    about = json.dumps(_about(who, sides, to), indent=1, ensure_ascii=False) + "\n"
    made: list[Path] = []
    try:
        _write_beside(place, lambda p: writers[to](sides, p), made)
        _write_beside(page, lambda p: p.write_text(about, encoding="utf-8"), made)
        for beside, final in zip(made[::-1], (page, place), strict=True):  # the page first: no vectors without it
            made.append(beside.rename(final))
        made.clear()
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise ArtifactError(f"{place} cannot be written: {reason}; free space or give another file") from error
    finally:
        for left in made:
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _write_beside(place: Path, write: Callable[[Path], object], made: list[Path]) -> None:
    """Write a file beside its place, readable to all, and force it to the disk."""
    handle, name = mkstemp(prefix=".recvec-", dir=place.parent)
    made.append(Path(name))
    try:
        write(made[-1])
        made[-1].chmod(0o644)
        os.fsync(handle)
    finally:
        os.close(handle)


def check_words(to: str, what: str) -> None:
    """Refuse formats and sides that there are not."""
    if to not in FORMATS:
        raise InputError(f"the format is '{to}'; allowed: {', '.join(FORMATS)}")
    if what not in get_args(What):
        raise InputError(f"what is '{what}'; allowed: {', '.join(get_args(What))}")


def check_free_file(path: str | Path) -> tuple[Path, Path]:
    """Return the places of a new file and of the page beside it, before the work that would be lost otherwise.

    Raises
    ------
    ArtifactError
        Where something is there already, or no file can be made there.
    """
    place = Path(path).absolute()
    page = place.with_name(f"{place.name}.json")
    try:
        taken = next((p for p in (place, page) if p.exists() or p.is_symlink()), None)
        able = place.parent.is_dir() and os.access(place.parent, os.W_OK | os.X_OK)
    except OSError as error:
        raise ArtifactError(f"{place} cannot be written: {error.strerror}; give another file") from error
    if taken is not None:
        raise ArtifactError(f"{taken} exists; nothing was written; give a new file or remove it")
    if not able:
        raise ArtifactError(f"{place} cannot be written: {place.parent} is not a folder that can be written to; give another file")
    return place, page


def tokens(ids: pl.Series, prefix: str = "") -> list[str]:
    """Return ids as words without white space, control characters or ``%``: those are percent-encoded as UTF-8."""
    return [prefix + "".join(map(_encoded, text)) for text in ids.cast(pl.String).to_list()]


def _encoded(letter: str) -> str:
    """Encode what readers of text might take for the end of a word: all that is not printable, and all white space."""
    if letter == "%" or letter.isspace() or not letter.isprintable():
        return "".join(f"%{byte:02X}" for byte in letter.encode())
    return letter


def _about(who: Recommender, sides: Sides, to: Format) -> dict[str, Json]:
    """Say what the vectors are and what may be done with them."""
    model = who.model
    dot = isinstance(model, DotModel)
    content: dict[str, Json] = {
        "library": version("recvec"),
        "format": to,
        "method": model.method.name,
        "hyperparameters": model.method.recipe,
        "n_columns": int(model.item_vectors.shape[1]),
        "n_extra": model.n_extra,
        "extra_columns": "the last n_extra columns hold biases: leave them out of cosine and euclidean similarity"
        if model.n_extra
        else "none",
        "dot_product_is_score": dot,
        "offset": model.offset if isinstance(model, DotModel) else 0.0,
        "score": "user vector . item vector, all columns" if dot else "not the dot product; use recvec",
        "sides": {side: len(vocabulary) for side, (vocabulary, _) in sides.items()},
    }
    if to == "word2vec":
        content["tokens"] = "ids as UTF-8, percent-encoded where they hold white space, control characters or %; urllib.parse.unquote"
        content["prefixes"] = {side: _prefix(side, sides) for side in sides}
    if to == "numpy":
        content["ids"] = {side: vocabulary.ids.to_list() for side, (vocabulary, _) in sides.items()}
    return content


def _prefix(side: str, sides: Sides) -> str:
    return f"{side}:" if len(sides) > 1 else ""


def _parquet(sides: Sides, path: Path) -> None:
    as_text = any(vocabulary.is_text for vocabulary, _ in sides.values())
    parts = []
    for side, (vocabulary, vectors) in sides.items():
        listed = pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).arr.to_list()
        named = vocabulary.ids.cast(pl.String if as_text else pl.Int64).alias("id")
        parts.append(pl.DataFrame([pl.Series("side", [side], dtype=pl.String).new_from_index(0, len(named)), named, listed]))
    pl.concat(parts).write_parquet(path)


def _word2vec(sides: Sides, path: Path) -> None:
    total = sum(len(vocabulary) for vocabulary, _ in sides.values())
    width = next(iter(sides.values()))[1].shape[1]
    with path.open("wb") as file:
        file.write(f"{total} {width}\n".encode())
        for side, (vocabulary, vectors) in sides.items():
            for begin in range(0, len(vectors), _ROWS):
                at = slice(begin, begin + _ROWS)
                words = pl.Series("token", tokens(vocabulary.ids[at], _prefix(side, sides)))
                lines = pl.DataFrame([words, *pl.DataFrame(vectors[at]).get_columns()])
                lines.write_csv(file, include_header=False, separator=" ", quote_style="never")


def _numpy(sides: Sides, path: Path) -> None:
    arrays: dict[str, Any] = {f"{side}_vectors": vectors for side, (_, vectors) in sides.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)
