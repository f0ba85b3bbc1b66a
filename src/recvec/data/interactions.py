"""The rows of an interaction table by row number: nothing merged, nothing dropped."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import polars as pl

from recvec.data.features import FeatureTable, taken
from recvec.types import F32, F64, I32, Array

Column = TypeVar("Column", F32 | None, F64 | None)

_COLUMNS = ("users", "items", "weight", "rating", "label", "timestamp")


@dataclass(frozen=True, eq=False, kw_only=True)
class Interactions:
    """Who met what, row by row as in the table.

    Parameters
    ----------
    users, items : I32, shape (n,)
        Row numbers.
    weight : F32, shape (n,), optional
        Strength of the interaction, 0 or more.
    rating : F32, shape (n,), optional
        Explicit rating, any finite number.
    label : F32, shape (n,), optional
        1 where the item was chosen, 0 where it was shown and not chosen.
    timestamp : F64, shape (n,), optional
        Any clock; NaN where unknown.
    context : FeatureTable, optional
        The circumstances of each row, such as the weekday: n rows of typed columns.
    text : polars.Series, optional
        What was written in each row, n values of text, null where nothing; the texts of items are made of it.
    """

    users: I32
    items: I32
    weight: F32 | None = None
    rating: F32 | None = None
    label: F32 | None = None
    timestamp: F64 | None = None
    context: FeatureTable | None = None
    text: pl.Series | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, where: Array) -> "Interactions":
        """Return the rows that a mask or an array of positions selects, in that order."""

        def some(column: Column) -> Column:
            return None if column is None else column[where]

        return Interactions(
            users=self.users[where],
            items=self.items[where],
            weight=some(self.weight),
            rating=some(self.rating),
            label=some(self.label),
            timestamp=some(self.timestamp),
            context=None if self.context is None else self.context.take(where),
            text=None if self.text is None else taken(self.text, where),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all columns, in hexadecimal; equal tables have equal fingerprints."""
        digest = hashlib.sha256()
        for name in _COLUMNS:
            column = getattr(self, name)
            if column is not None:
                digest.update(name.encode())
                digest.update(np.ascontiguousarray(column).data)
        if self.context is not None:
            digest.update(b"context" + self.context.fingerprint.encode())
        if self.text is not None:
            written = FeatureTable(frame=self.text.to_frame("text"), types={"text": "text"})
            digest.update(b"text" + written.fingerprint.encode())
        return digest.hexdigest()
