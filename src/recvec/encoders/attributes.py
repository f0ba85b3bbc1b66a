"""A coder of attribute tables: fitted on the rows that a method learns from, and used for everyone after that.

A category becomes one feature a level, a list one a value (1 / n each), a number one feature or its bucket, a vector one a
coordinate; a text becomes nothing. `encoders.columns` says what missing values and unseen levels are. A column that has one
value throughout, or none, is left out. Whatever is left out or unusual is a line in `notes`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.data.features import FeatureTable, FeatureType
from recvec.data.reading import IDS
from recvec.data.vocabulary import shown
from recvec.encoders.columns import N_BUCKETS, Buckets, Column, Levels, Standardized, Vectors, restored, saved
from recvec.errors import ColumnError, nearest
from recvec.types import I32, I64, Array, Json

MANY_LEVELS = 10_000  # from where on the number of levels is said


@dataclass(frozen=True, eq=False)
class AttributeCoder:
    """Turns attribute frames into sparse rows; frozen.

    Parameters
    ----------
    subject : str
        Whose attributes they are, for messages: ``user``, ``item``, ``context``.
    columns : tuple of Column
        One for each attribute that is used.
    types : mapping of str to FeatureType
        Type of every column that the table had, the unused ones too.
    notes : tuple of str
        What was left out or is unusual, a line each.
    """

    subject: str
    columns: tuple[Column, ...] = ()
    types: Mapping[str, FeatureType] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(cls, table: FeatureTable | None, subject: str, *, numbers: str = "standardized", hash_levels: int = 0) -> "AttributeCoder":
        """Settle what each column becomes.

        Parameters
        ----------
        table : FeatureTable, optional
            The rows that are learned from.
        subject : str
            As above.
        numbers : str
            ``"standardized"``: one feature; ``"bucketed"``: by up to 10 quantiles, one feature each.
        hash_levels : int
            A category or list with more levels than this is hashed into so many features; 0: never.

        Raises
        ------
        ColumnError
            For an attribute that is named like an id.
        """
        if table is None:
            return cls(subject)
        columns: list[Column] = []
        notes: list[str] = []
        for name, kind in table.types.items():
            if name in IDS:
                raise ColumnError(f"a column of {subject} attributes is named '{name}', an id; rename it, or leave it out by --use")
            made = _fitted(table.frame[name], kind, numbers, hash_levels)
            if isinstance(made, str):
                notes.append(f"{subject} attribute '{name}' is left out: {made}")
                continue
            columns.append(_scaled(made, table.frame[name]))
            notes += [f"{subject} attribute '{name}' {remark}" for remark in _remarks(made, table.frame[name])]
        return cls(subject, tuple(columns), dict(table.types), tuple(notes))

    @cached_property
    def starts(self) -> I64:
        """First feature of each column, and behind them the number of all; shape (columns + 1,)."""
        return np.cumsum([0, *(column.n_features for column in self.columns)])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.starts[-1])

    @property
    def groups(self) -> I32:
        """Column of each feature, shape (n_features,)."""
        return np.repeat(np.arange(len(self.columns), dtype=np.int32), np.diff(self.starts))

    def label(self, feature: int) -> str:
        """Return how a feature is called."""
        at = int(np.searchsorted(self.starts, feature, side="right")) - 1
        return self.columns[at].label(feature - int(self.starts[at]))

    def encode(self, frame: pl.DataFrame) -> sp.csr_array:
        """Return the features of typed rows, shape (n, n_features) float32; a column that is not there is missing throughout."""
        found = [(start, c, c.entries(frame[c.name])) for start, c in zip(self.starts, self.columns, strict=False) if c.name in frame]
        rows = np.concatenate([np.zeros(0, np.int32), *(e.rows for *_, e in found)])
        features = np.concatenate([np.zeros(0, np.int64), *(e.features + start for start, _, e in found)])
        values = np.concatenate([np.zeros(0, np.float32), *(e.values * np.float32(c.scale) for _, c, e in found)])
        matrix = sp.coo_array((values, (rows, features)), shape=(len(frame), self.n_features)).tocsr()
        matrix.sum_duplicates()
        return matrix

    def typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the used columns of a frame from elsewhere in the types of the training table.

        Raises
        ------
        ColumnError
            For a column that the training table did not have, or a value that does not fit the type it had there.
        """
        known = self.types or {}
        strange = next((name for name in frame.columns if name not in known), None)
        if strange is not None:
            allowed = f"{nearest(strange, known)}; allowed: {', '.join(known)}" if known else "the model was fitted without any"
            raise ColumnError(f"there is no {self.subject} attribute '{shown(strange)}' ({allowed})")
        used = [column.name for column in self.columns if column.name in frame]
        if not used:
            return frame
        types = {name: known[name] for name in used}
        settled = FeatureTable.of_rows(_listed(frame.select(used), types), f"{self.subject} attributes", types=types)
        return settled.frame

    def arrays(self) -> dict[str, Array]:
        """Return the arrays of all columns, by number of the column and name."""
        return {f"{n}.{name}": array for n, column in enumerate(self.columns) for name, array in column.arrays().items()}

    def meta(self) -> dict[str, Json]:
        """Return what `restore` builds it from, beside the arrays."""
        columns: list[Json] = [saved(column) for column in self.columns]
        types: dict[str, Json] | None = None if self.types is None else {**self.types}
        return {"subject": self.subject, "columns": columns, "types": types, "notes": [*self.notes]}

    @classmethod
    def restore(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> "AttributeCoder":
        """Build a coder again from `meta` and `arrays`."""
        columns = tuple(restored(page, _below(arrays, f"{n}.")) for n, page in enumerate(meta["columns"]))
        return cls(meta["subject"], columns, meta["types"], tuple(meta["notes"]))


def _below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _listed(frame: pl.DataFrame, types: Mapping[str, FeatureType]) -> pl.DataFrame:
    """Return lists of numbers as lists of Float64 where a vector is wanted, so that whole numbers are vectors too."""
    vectors = [name for name, kind in types.items() if kind == "vector" and isinstance(frame.schema[name], pl.List | pl.Array)]
    return frame.with_columns(pl.col(vectors).cast(pl.List(pl.Float64), strict=False)) if vectors else frame


def _fitted(values: pl.Series, kind: FeatureType, numbers: str, hash_levels: int) -> Column | str:
    """Return what a column becomes, or why it is left out."""
    if kind == "text":
        return "free text is not used; give the column the type category or list if it is one"
    known = values.drop_nulls()
    if kind == "list":
        known = known.filter(known.list.len() > 0)
    if not len(known):
        return "it has no value"
    distinct = known.unique()
    if len(distinct) == 1 and (len(known) == len(values) or kind in ("number", "vector")):
        return "it has the same value throughout"
    if kind == "number":
        return _number(values.name, known, numbers)
    if kind == "vector":
        return Vectors(name=values.name, width=len(known[0])) if known.explode().abs().sum() > 0 else "it has the same value throughout"
    levels = (distinct.explode() if kind == "list" else distinct).drop_nulls().unique().sort()
    hashed = hash_levels if hash_levels and len(levels) > hash_levels else 0
    return Levels(name=values.name, several=kind == "list", known=levels.clear() if hashed else levels, n_hashed=hashed)


def _remarks(column: Column, values: pl.Series) -> list[str]:
    """Return what is unusual about a column that is used."""
    if not isinstance(column, Levels):
        return []
    if column.n_hashed:
        levels = values.explode() if column.several else values
        return [f"has {levels.drop_nulls().n_unique():,} levels: hashed into {column.n_hashed:,}"]
    remarks, known = [], column.known
    if len(known) > MANY_LEVELS:
        remarks.append(f"has {len(known):,} levels: each has a vector; set hash_levels to share vectors")
    words = known.filter(known.cast(pl.Float64, strict=False).is_null())
    if 0 < len(words) < len(known) / 2:
        remarks.append(
            f"is a {'list' if column.several else 'category'} because '{shown(words[0])}' is no number; correct it if it should be one"
        )
    return remarks


def _number(name: str, known: pl.Series, numbers: str) -> Column | str:
    values = known.to_numpy()
    if numbers == "bucketed":
        edges = np.unique(np.quantile(values, np.arange(1, N_BUCKETS) / N_BUCKETS, method="higher"))
        return Buckets(name=name, edges=tuple(edges[edges > values.min()].tolist()) or (float(values.max()),))
    largest = float(np.abs(values).max())
    deviation = float((values / largest).std()) * largest  # squares of large numbers would not be finite
    if not deviation > 0:
        return "it has the same value throughout"
    return Standardized(name=name, mean=float((values / largest).mean()) * largest, deviation=deviation)


def _scaled(column: Column, values: pl.Series) -> Column:
    """Return the column with values whose mean square length is 1 over the rows that have any."""
    found = column.entries(values)
    n_rows = len(np.unique(found.rows))
    square = float(np.square(found.values, dtype=np.float64).sum()) / max(1, n_rows)
    return replace(column, scale=float(1 / np.sqrt(square))) if square > 0 else column


def notes_of(coders: Sequence[AttributeCoder]) -> tuple[str, ...]:
    """Return the notes of several coders."""
    return tuple(note for coder in coders for note in coder.notes)
