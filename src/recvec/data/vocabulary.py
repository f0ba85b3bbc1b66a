"""Ids outside, row numbers inside: the only map between the two."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from recvec.errors import InputError, UnknownItemError, UnknownUserError, nearest
from recvec.types import I32

CANONICAL_INTEGER = r"^(?:0|-?[1-9][0-9]{0,18})$"
"""Text that reads as an integer and writes back the same; ``007`` and ``+7`` do not. The longest may exceed Int64."""

_NARROW = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)  # wider integers may exceed Int64; those are text
_SHOWN = 100  # characters of a value in a message
_FEW = 1000  # values that nearly always show whether a column is text
_PIECE = 1 << 22  # integers looked up at a time: what is made of them on the way is not there for all at once
_DENSE_SLACK = 4  # a lookup table may be this many times longer than the vocabulary


def as_ids(values: Iterable[object] | pl.Series, name: str = "id") -> pl.Series:
    """Return ids as ``Int64`` where every one is a canonical integer, else as ``String``.

    Parameters
    ----------
    values : iterable or polars.Series
        Integers or text, without nulls.
    name : str
        Name of the resulting series.

    Returns
    -------
    polars.Series
        Of type ``Int64`` or ``String``.
    """
    ids = values if isinstance(values, pl.Series) else pl.Series(name, [_plain(v) for v in values], dtype=pl.String)
    if ids.dtype in _NARROW:
        return ids.cast(pl.Int64).alias(name)
    if not len(ids):
        return pl.Series(name, [], dtype=pl.String)
    if ids.dtype.is_integer():
        small = ids.cast(pl.Int64, strict=False)
        if small.null_count() == ids.null_count():
            return small.alias(name)
    text = ids.cast(pl.String)
    if text.head(_FEW).str.contains(CANONICAL_INTEGER).all() and text.str.contains(CANONICAL_INTEGER).all():
        numbers = text.cast(pl.Int64, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers.alias(name)
    return text.alias(name)


def _plain(value: object) -> str:
    """Return an id as text that polars can hold: mixed lists of text and numbers are not a series."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def shown(value: object) -> str:
    """Return a value for a message: long ones lose their middle."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}...{text[-_SHOWN // 2 :]} ({len(text):,} characters)"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The ids of one side in row order.

    Parameters
    ----------
    ids : polars.Series
        Distinct ids, ``Int64`` or ``String``; position is the row number.
    side : str
        ``"user"`` or ``"item"``, for messages.
    """

    ids: pl.Series
    side: str

    @classmethod
    def of(cls, parts: Iterable[pl.Series], side: str) -> "Vocabulary":
        """Collect the distinct ids of several columns, sorted (integers by value, text by code point)."""
        columns = [as_ids(p.unique()) for p in parts]
        ids = as_ids(pl.concat(_same_type(columns))) if columns else pl.Series("id", [], dtype=pl.String)
        return cls(ids.unique().sort().alias(f"{side}_id"), side)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_text(self) -> bool:
        """Whether the ids are text; otherwise they are integers."""
        return self.ids.dtype == pl.String

    @cached_property
    def _table(self) -> tuple[int, I32] | None:
        """Row by id minus lowest id, where the integer ids are dense enough for a plain array."""
        if self.is_text or not len(self):
            return None
        ids = self.ids.to_numpy()
        low, high = int(ids.min()), int(ids.max())
        if high - low >= _DENSE_SLACK * len(ids) + 1_000_000:
            return None
        table = np.full(high - low + 1, -1, dtype=np.int32)
        table[ids - low] = np.arange(len(ids), dtype=np.int32)
        return low, table

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the ids in row order, in hexadecimal."""
        raw = "\0".join(self.ids.to_list()).encode() if self.is_text else self.ids.to_numpy().tobytes()
        return hashlib.sha256(raw).hexdigest()

    def lookup(self, ids: Iterable[object] | pl.Series) -> I32:
        """Return the row of each id, -1 where the vocabulary does not hold it.

        Parameters
        ----------
        ids : iterable or polars.Series
            Integers or text.

        Returns
        -------
        I32, shape (n,)
            Row numbers.
        """
        if isinstance(ids, pl.Series) and len(ids) > _PIECE and ids.dtype.is_integer() and not self.is_text:
            rows = np.empty(len(ids), np.int32)
            for start in range(0, len(ids), _PIECE):
                rows[start : start + _PIECE] = self.lookup(ids[start : start + _PIECE])
            return rows
        wanted = as_ids(ids)
        if not len(wanted) or not len(self):
            return np.full(len(wanted), -1, dtype=np.int32)
        if self.is_text:
            found = wanted.cast(pl.String).cast(pl.Enum(self.ids), strict=False).to_physical()
            return found.cast(pl.Int32).fill_null(-1).to_numpy()
        if wanted.dtype == pl.String:
            numbers = wanted.cast(pl.Int64, strict=False)
            same = numbers.cast(pl.String).eq_missing(wanted)
            wanted = numbers.set(~same, None)  # '007' and 'x' are not among integer ids
        if wanted.null_count():
            return np.where(wanted.is_null().to_numpy(), np.int32(-1), self._lookup_integers(wanted.fill_null(0)))
        return self._lookup_integers(wanted)

    def _lookup_integers(self, ids: pl.Series) -> I32:
        if self._table is not None:
            low, table = self._table
            at = ids.to_numpy() - low
            inside = (at >= 0) & (at < len(table))
            if inside.all():
                return table[at]
            return np.where(inside, table[np.where(inside, at, 0)], np.int32(-1))
        mine = pl.DataFrame({"id": self.ids, "row": np.arange(len(self), dtype=np.int32)})
        found = ids.alias("id").to_frame().join(mine, on="id", how="left", maintain_order="left")
        return found["row"].fill_null(-1).to_numpy()

    def rows(self, ids: Iterable[object] | pl.Series) -> I32:
        """Return the row of each id.

        Raises
        ------
        UnknownUserError, UnknownItemError
            Where an id is not in the vocabulary; the nearest ids are named.
        InputError
            Where one id is given instead of a list.
        """
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            raise InputError(f"{self.side}s are given as {ids!r}; allowed: a list of ids; write [{ids!r}]")
        ids = ids if isinstance(ids, pl.Series) else list(ids)
        found = self.lookup(ids)
        missing = np.flatnonzero(found < 0)
        if len(missing):
            raise self.unknown(ids[int(missing[0])])
        return found

    def unknown(self, wanted: object) -> InputError:
        """Return the error for an id that is not here."""
        error = UnknownUserError if self.side == "user" else UnknownItemError
        near = nearest(str(wanted), self._near(str(wanted)))
        return error(
            f"{self.side} '{shown(wanted)}' is not among the {len(self):,} {self.side}s of this model ({near}); "
            f"fit again with it, or use recommend_for(history=...)"
        )

    def _near(self, wanted: str) -> list[str]:
        """Ids that begin alike or count alike, few and short enough to be compared letter by letter."""
        text = self.ids.cast(pl.String)
        short = text.filter(text.str.len_chars() <= _SHOWN)
        if len(wanted) > _SHOWN or not len(short):
            return [shown(i) for i in text.head(3)]
        text = short
        if len(text) <= 20_000:
            return text.to_list()
        alike = text.filter(text.str.starts_with(wanted[: max(1, len(wanted) - 1)]))
        return (alike if len(alike) else text).head(20_000).to_list()

    def extended(self, ids: pl.Series) -> "Vocabulary":
        """Return a vocabulary with unseen ids appended in sorted order; old rows keep their numbers."""
        mine, new = _same_type([self.ids, as_ids(ids.unique())])
        fresh = new.filter(~new.is_in(mine.implode())).sort()
        return Vocabulary(pl.concat([mine, fresh]).alias(self.ids.name), self.side) if len(fresh) else self


def _same_type(columns: list[pl.Series]) -> list[pl.Series]:
    """Integers stay integers only where all columns are; an empty column has no say."""
    types = {c.dtype for c in columns if len(c)}
    kind = types.pop() if len(types) == 1 else (pl.String if types else columns[0].dtype)
    return [c.cast(kind).alias("id") for c in columns]
