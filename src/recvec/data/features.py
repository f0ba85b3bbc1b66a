"""Attribute tables with a type for each column."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar, get_args

import polars as pl

from recvec.data.vocabulary import Vocabulary, shown
from recvec.errors import ColumnError
from recvec.types import I32, Array

Polars = TypeVar("Polars", pl.DataFrame, pl.Series)
FeatureType = Literal["category", "number", "list", "text", "vector"]

_CODE = r"^[+-]?0[0-9]"  # postcodes and the like: as numbers they would lose their zeros
_ROWS_PER_PIECE = 1_000_000  # rows that are written out at a time for a fingerprint
_TEXT_WORDS = 4.0  # a column whose values have more words than this on average is free text
_TEXT_DISTINCT = 0.5  # ... or one whose values are mostly distinct and have several words


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureTable:
    """One row per user or item of a vocabulary, or per interaction, null where nothing is known.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns of attributes, in row order, without the id.
    types : mapping of str to FeatureType
        Type of each column: ``category`` (text), ``number`` (Float64), ``list`` (list of text, a
        multi-valued attribute), ``text`` (free text), ``vector`` (list of Float32).
    """

    frame: pl.DataFrame
    types: Mapping[str, FeatureType]

    def of_type(self, kind: FeatureType) -> list[str]:
        """Return the names of the columns of one type."""
        return [name for name, t in self.types.items() if t == kind]

    @property
    def title(self) -> str | None:
        """The column that names an item for people: ``title``, else ``name``, if there is one."""
        return next((c for c in ("title", "name") if c in self.frame.columns), None)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over types and values, in hexadecimal."""
        digest = hashlib.sha256(json.dumps(dict(self.types), sort_keys=True).encode())
        for part in self.frame.iter_slices(_ROWS_PER_PIECE):
            digest.update(part.write_ndjson().encode())
        return digest.hexdigest()

    def lengthened(self, n: int) -> "FeatureTable":
        """Return the same attributes for a vocabulary that has grown to `n` rows; nothing is known of the new ones."""
        if n == self.frame.height:
            return self
        return FeatureTable(frame=self.frame.vstack(self.frame.clear(n - self.frame.height)), types=self.types)

    def take(self, where: Array) -> "FeatureTable":
        """Return the rows that a mask or an array of positions selects, in that order."""
        return FeatureTable(frame=taken(self.frame, where), types=self.types)

    def with_text(self, values: pl.Series) -> "FeatureTable":
        """Return the table with a column of free text, put in the place of one of the same name."""
        return FeatureTable(frame=self.frame.with_columns(values), types={**self.types, values.name: "text"})

    @classmethod
    def of(
        cls,
        table: pl.DataFrame,
        vocabulary: Vocabulary,
        *,
        types: Mapping[str, str] | None = None,
        separator: str = "|",
    ) -> "FeatureTable":
        """Align an attribute table with a vocabulary and settle each column's type.

        Parameters
        ----------
        table : polars.DataFrame
            The id column (``user_id`` or ``item_id``) and attributes; several rows of one id become
            one multi-valued attribute, rows of ids that the vocabulary does not hold stay out.
        vocabulary : Vocabulary
            Ids and their order.
        types : mapping, optional
            Types of columns whose values mislead.
        separator : str
            Separates the values of a list that is written as text.

        Raises
        ------
        ColumnError
            Where `types` names an unknown column or type, or a value does not fit its type; names the id.
        """
        _check_types(types or {}, table.columns, separator)
        id_name = vocabulary.ids.name
        rows = vocabulary.lookup(table[id_name])
        if (rows < 0).any():
            table, rows = table.filter(pl.Series(rows >= 0)), rows[rows >= 0]

        def subject(name: str, row: int | None = None) -> str:
            return f"attribute '{name}'" if row is None else f"attribute '{name}' of {_called(vocabulary, row)}"

        columns = (table[name] for name in table.columns if name != id_name)
        return cls._settled((_aligned(_plain(c, subject), rows, vocabulary) for c in columns), types or {}, separator, subject)

    @classmethod
    def of_rows(cls, table: pl.DataFrame, where: str, *, types: Mapping[str, str] | None = None, separator: str = "|") -> "FeatureTable":
        """Settle each column's type, rows as they are; `where` is what messages call the table.

        Raises
        ------
        ColumnError
            As `of`; names the row.
        """
        _check_types(types or {}, table.columns, separator)

        def subject(name: str, row: int | None = None) -> str:
            return f"{where}: {name}" if row is None else f"{where}, row {row + 1}: {name}"

        return cls._settled((_plain(c, subject) for c in table), types or {}, separator, subject)

    @classmethod
    def _settled(cls, columns: Iterable[pl.Series], types: Mapping[str, str], separator: str, subject: "_Subject") -> "FeatureTable":
        settled: dict[str, FeatureType] = {}
        cast: dict[str, pl.Series] = {}
        for values in columns:
            column = _Column(values, separator, subject)
            settled[values.name] = types.get(values.name) or column.infer()  # type: ignore[assignment]
            cast[values.name] = column.cast(settled[values.name])
        return cls(frame=pl.DataFrame(cast), types=settled)


def taken(rows: Polars, where: Array) -> Polars:
    """Return the rows of a polars table or column that a mask or an array of positions selects, in that order."""
    return rows.filter(pl.Series(where)) if where.dtype == bool else rows[where]


_Subject = Callable[..., str]
"""``subject(name)`` or ``subject(name, row)``: what a message calls a column, or a value of it."""


def _check_types(types: Mapping[str, str], columns: Sequence[str], separator: str) -> None:
    for name, kind in types.items():
        if name not in columns or kind not in get_args(FeatureType):
            allowed = f"columns {', '.join(columns)}; types {', '.join(get_args(FeatureType))}"
            raise ColumnError(f"type '{name}={kind}' is not usable; allowed: {allowed}")
    if not separator:
        raise ColumnError("the separator of lists is empty; allowed: one character or more, such as '|'")


def _plain(column: pl.Series, subject: _Subject) -> pl.Series:
    """Return a column of a type that attributes may have."""
    if not _usable(column.dtype):
        allowed = "text, numbers, true or false, dates, and lists of these"
        raise ColumnError(f"{subject(column.name)} has type {column.dtype}; allowed: {allowed}; convert or remove the column")
    return column.cast(pl.String) if column.dtype in (pl.Null, pl.Categorical, pl.Enum) else column


def _aligned(column: pl.Series, rows: I32, vocabulary: Vocabulary) -> pl.Series:
    """Return one value per row of the vocabulary: different values of one id become a list, whatever is unknown is null."""
    pairs = pl.DataFrame([pl.Series("row", rows), column.alias("value")])
    if pairs["row"].is_duplicated().any():
        pairs = _merged(pairs, column.name, vocabulary)
    order = pl.DataFrame({"row": range(len(vocabulary))}, schema={"row": pl.Int32})
    return order.join(pairs, on="row", how="left", maintain_order="left")["value"].alias(column.name)


def _usable(dtype: pl.DataType) -> bool:
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else dtype
    plain = (pl.String, pl.Boolean, pl.Null, pl.Categorical, pl.Enum, pl.Date, pl.Datetime, pl.Time)
    return inner.is_numeric() or inner in plain


def _merged(pairs: pl.DataFrame, name: str, vocabulary: Vocabulary) -> pl.DataFrame:
    dtype = pairs["value"].dtype
    values = pl.col("value").drop_nulls()
    if isinstance(dtype, pl.List) and not dtype.inner.is_float():
        return pairs.group_by("row", maintain_order=True).agg(values.explode().drop_nulls().cast(pl.String).unique(maintain_order=True))
    lists = pairs.group_by("row", maintain_order=True).agg(values.unique(maintain_order=True))
    several = lists.filter(pl.col("value").list.len() > 1)
    if not several.height:
        return lists.with_columns(pl.col("value").list.first())
    if isinstance(dtype, pl.List | pl.Array):
        who = _called(vocabulary, several["row"][0])
        raise ColumnError(f"attribute '{name}' of {who} has {len(several['value'][0])} different vectors; allowed: one; remove the others")
    return lists.with_columns(pl.col("value").cast(pl.List(pl.String)))


def _called(vocabulary: Vocabulary, row: int) -> str:
    return f"{vocabulary.side} '{shown(vocabulary.ids[row])}'"


@dataclass(frozen=True, eq=False)
class _Column:
    """One attribute in row order, on its way to a type."""

    values: pl.Series
    separator: str
    subject: _Subject

    def infer(self) -> FeatureType:
        """Settle a type by what the values show; ``title`` and ``name`` are always text."""
        dtype = self.values.dtype
        if isinstance(dtype, pl.Array):
            return "vector"
        if self.values.name in ("title", "name") and not dtype.is_numeric():
            return "text"
        if isinstance(dtype, pl.List):
            return "vector" if dtype.inner.is_float() else "list"
        if dtype.is_numeric():
            return "number"
        if dtype != pl.String:
            return "category"
        return self._infer_text(self.values.drop_nulls())

    def _infer_text(self, known: pl.Series) -> FeatureType:
        if not len(known):
            return "category"
        if known.cast(pl.Float64, strict=False).is_not_null().all() and not known.str.contains(_CODE).any():
            return "number"
        words = float(known.str.count_matches(r"\s+").mean() or 0.0) + 1.0  # type: ignore[arg-type]
        if known.str.contains(self.separator, literal=True).mean() > 0.1 and words < _TEXT_WORDS:  # type: ignore[operator]
            return "list"
        if words > _TEXT_WORDS or (words > 2 and known.n_unique() > _TEXT_DISTINCT * len(known)):
            return "text"
        return "category"

    def cast(self, kind: FeatureType) -> pl.Series:
        """Return the values in a type, none of them lost on the way."""
        several = isinstance(self.values.dtype, pl.List | pl.Array)
        match kind:
            case "list":
                return self._listed()
            case "vector":
                return self._vectors()
            case "text" if several:
                return self.values.cast(pl.List(pl.String)).list.join(" / ")
            case _ if several:
                row = self.values.is_not_null().arg_max() or 0
                raise self._unfit(row, "one value an id", f"remove the others, or give '{self.values.name}' the type list")
            case "number":
                return self._numbers()
            case _:
                return self.values.cast(pl.String)

    def _numbers(self) -> pl.Series:
        numbers = self.values.cast(pl.Float64, strict=False)
        bad = (numbers.is_null() & self.values.is_not_null()) | numbers.is_infinite().fill_null(value=False)
        if bad.any():
            raise self._unfit(bad.arg_max() or 0, "a finite number or nothing", "correct it, or give the column the type category")
        return numbers.fill_nan(None)

    def _listed(self) -> pl.Series:
        values = self.values
        if isinstance(values.dtype, pl.List | pl.Array):
            is_text = values.dtype.inner == pl.String
            values = values.cast(pl.List(pl.String))
            values = values.list.join(self.separator) if is_text else values
        parts = values if isinstance(values.dtype, pl.List) else values.cast(pl.String).str.split(self.separator)
        return parts.list.eval(pl.element().filter(pl.element() != "")).list.unique(maintain_order=True)

    def _vectors(self) -> pl.Series:
        values = self.values
        if not isinstance(values.dtype, pl.List | pl.Array) or not values.dtype.inner.is_numeric():
            raise ColumnError(f"{self.subject(values.name)} has type {values.dtype}; allowed for a vector: a list of numbers; convert it")
        vectors = values.cast(pl.List(pl.Float32))
        known = vectors.drop_nulls()
        width = known.list.len()[0] if len(known) else 0
        finite = vectors.list.eval(pl.element().is_finite().fill_null(value=False)).list.all()
        bad = vectors.is_not_null() & ~((vectors.list.len() == width) & finite)
        if bad.any():
            raise self._unfit(bad.arg_max() or 0, f"{width} finite numbers as in the first vector", "correct it or remove it")
        return vectors

    def _unfit(self, row: int, allowed: str, remedy: str) -> ColumnError:
        value = self.values[row]
        given = shown(value.to_list() if isinstance(value, pl.Series) else value)
        return ColumnError(f"{self.subject(self.values.name, row)} is '{given}'; allowed: {allowed}; {remedy}")
