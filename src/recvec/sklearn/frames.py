"""Dataframes as sparse rows: what each column becomes, for estimators that take columns of any kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import scipy.sparse as sp

from recvec.data.features import FeatureTable
from recvec.data.reading import IDS, Wanted
from recvec.data.tables import load
from recvec.encoders.attributes import AttributeCoder
from recvec.types import I32

MISSING = "(missing)"  # the level of a category that is not known


def is_frame(table: Any) -> bool:
    """Say whether this is a dataframe, of polars, or of pandas with names of columns; without names it is an array."""
    if type(table).__module__.partition(".")[0] == "pandas" and getattr(table, "ndim", 0) == 2:
        return all(isinstance(name, str) for name in table.columns)
    return isinstance(table, pl.DataFrame)


@dataclass(frozen=True, eq=False)
class FrameCoder:
    """Turns dataframes into rows of features; frozen.

    Parameters
    ----------
    coder : AttributeCoder
        What each column becomes.
    with_gaps : tuple of str
        Columns of numbers that had missing values when the coder was fitted: another feature says that a value is missing.
    """

    coder: AttributeCoder
    with_gaps: tuple[str, ...]

    @classmethod
    def fit(cls, table: Any, *, types: Mapping[str, str] | None, numbers: str, hash_bits: int | None) -> "FrameCoder":
        """Settle what each column of a table becomes.

        Raises
        ------
        ColumnError
            For a column whose values do not fit its type.
        """
        frame = _plain(table)
        wanted = {**{name: "category" for name in IDS if name in frame.columns}, **(types or {})}
        settled = FeatureTable.of_rows(frame, "X", types=wanted)
        numeric = settled.of_type("number")
        gaps = tuple(name for name in numeric if 0 < settled.frame[name].null_count() < len(frame))
        full = _filled(settled.frame, dict(settled.types), gaps)
        settled = FeatureTable(frame=full, types={**settled.types, **{_gap(name): "category" for name in gaps}})
        renamed = FeatureTable(frame=settled.frame.rename(_inner), types={_inner(name): kind for name, kind in settled.types.items()})
        return cls(AttributeCoder.fit(renamed, "row", numbers=numbers, hash_levels=2**hash_bits if hash_bits else 0), gaps)

    @property
    def groups(self) -> I32:
        """Column of each feature, shape (n_features,)."""
        return self.coder.groups

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or is unusual, a line each."""
        return tuple(note.replace(f"row attribute '{_PREFIX}", "column '") for note in self.coder.notes)

    def encode(self, table: Any) -> sp.csr_array:
        """Return rows of features, shape (n, n_features).

        Raises
        ------
        ColumnError
            For a column that was not there when the coder was fitted, or a value that does not fit its type.
        """
        types = {name.removeprefix(_PREFIX): kind for name, kind in (self.coder.types or {}).items()}
        frame = _plain(table)
        known = {name: kind for name, kind in types.items() if name in frame.columns}
        settled = FeatureTable.of_rows(frame.select(*known), "X", types=known)
        full = _filled(settled.frame, types, self.with_gaps)
        return sp.csr_array(self.coder.encode(full.rename(_inner)))


_PREFIX = "column "


def _inner(name: str) -> str:
    """Return what the coder calls a column: never the name of an id, which it would refuse."""
    return _PREFIX + name


def _gap(name: str) -> str:
    return f"{name} {MISSING}"


def _plain(table: Any) -> pl.DataFrame:
    return load(table, Wanted(), "X").table


def _filled(frame: pl.DataFrame, types: Mapping[str, str], gaps: tuple[str, ...]) -> pl.DataFrame:
    """Return the frame with a level for missing categories, and for each number in `gaps` a column that says what is missing."""
    categories = [name for name, kind in types.items() if kind == "category" and name in frame.columns]
    missing = [
        pl.when(pl.col(name).is_null()).then(pl.lit("yes")).otherwise(pl.lit("no")).alias(_gap(name))
        for name in gaps
        if name in frame.columns
    ]
    partly = [name for name in categories if frame[name].null_count() < len(frame)]
    return frame.with_columns(*missing, pl.col(partly).fill_null(MISSING)) if partly or missing else frame
