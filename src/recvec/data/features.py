"""Attribute tables with a type for each column."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import polars as pl

from recvec.data.vocabulary import Vocabulary
from recvec.errors import ColumnError

FeatureType = Literal["category", "number", "list", "text", "vector"]

_TEXT_WORDS = 4.0  # a column whose values have more words than this on average is free text
_TEXT_DISTINCT = 0.5  # ... or one whose values are mostly distinct and have several words


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureTable:
    """One row per user or per item of a vocabulary, null where nothing is known.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns of attributes, in the vocabulary's row order, without the id.
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
        digest.update(self.frame.write_ndjson().encode())
        return digest.hexdigest()

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
            one multi-valued attribute.
        vocabulary : Vocabulary
            Ids and their order.
        types : mapping, optional
            Types that the caller knows better than the values show.
        separator : str
            Separates the values of a list that is written as text.

        Raises
        ------
        ColumnError
            Where `types` names an unknown column or type.
        """
        id_name = vocabulary.ids.name
        wanted = dict(types or {})
        for name, kind in wanted.items():
            if name not in table.columns or kind not in get_args(FeatureType):
                allowed = f"columns {', '.join(table.columns)}; types {', '.join(get_args(FeatureType))}"
                raise ColumnError(f"type '{name}={kind}' is not usable; allowed: {allowed}")
        rows = vocabulary.lookup(table[id_name])
        columns = {c: _merge(table.select(pl.Series("row", rows), pl.col(c)), c) for c in table.columns if c != id_name}
        order = pl.DataFrame({"row": range(len(vocabulary))}, schema={"row": pl.Int32})
        settled: dict[str, FeatureType] = {}
        aligned = []
        for name, column in columns.items():
            settled[name] = wanted.get(name) or _infer(column[name], name, separator)  # type: ignore[assignment]
            full = order.join(column, on="row", how="left", maintain_order="left")[name]
            aligned.append(_cast(full, settled[name], separator))
        return cls(frame=pl.DataFrame(aligned), types=settled)


def _merge(column: pl.DataFrame, name: str) -> pl.DataFrame:
    """One row per id: equal values stay single, different ones become a list."""
    if column["row"].is_duplicated().any():
        values = pl.col(name).drop_nulls()
        lists = column.group_by("row", maintain_order=True).agg(values.unique(maintain_order=True))
        if (lists[name].list.len() <= 1).all():
            return lists.with_columns(pl.col(name).list.first())
        if column[name].dtype in (pl.String, pl.Int64, pl.Boolean):
            return lists.with_columns(pl.col(name).cast(pl.List(pl.String)))
        return lists.with_columns(pl.col(name).list.first())
    return column


def _infer(values: pl.Series, name: str, separator: str) -> FeatureType:
    """Settle a type by what the values show; ``title`` and ``name`` are always text."""
    if isinstance(values.dtype, pl.Array):
        return "vector"
    if isinstance(values.dtype, pl.List):
        return "vector" if values.dtype.inner.is_float() else "list"
    if values.dtype.is_numeric():
        return "number"
    if values.dtype != pl.String:
        return "category"
    known = values.drop_nulls()
    if name in ("title", "name"):
        return "text"
    if not len(known):
        return "category"
    if known.cast(pl.Float64, strict=False).is_not_null().all():
        return "number"
    words = float(known.str.count_matches(r"\s+").mean() or 0.0) + 1.0  # type: ignore[arg-type]
    if known.str.contains(separator, literal=True).mean() > 0.1 and words < _TEXT_WORDS:  # type: ignore[operator]
        return "list"
    if words > _TEXT_WORDS or (words > 2 and known.n_unique() > _TEXT_DISTINCT * len(known)):
        return "text"
    return "category"


def _cast(values: pl.Series, kind: FeatureType, separator: str) -> pl.Series:
    match kind:
        case "number":
            return values.cast(pl.Float64, strict=False)
        case "list":
            is_list = isinstance(values.dtype, pl.List)
            return values.cast(pl.List(pl.String)) if is_list else values.cast(pl.String).str.split(separator)
        case "vector":
            return values.cast(pl.List(pl.Float32))
        case _:
            return values.cast(pl.String)
