"""The rows of an interaction table by row number: nothing merged, nothing dropped."""

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TypeVar

import numpy as np

from recvec.types import F32, F64, I32, Array

Column = TypeVar("Column", F32 | None, F64 | None)


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
    """

    users: I32
    items: I32
    weight: F32 | None = None
    rating: F32 | None = None
    label: F32 | None = None
    timestamp: F64 | None = None

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
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all columns, in hexadecimal; equal tables have equal fingerprints."""
        digest = hashlib.sha256()
        for f in fields(self):
            column = getattr(self, f.name)
            if column is not None:
                digest.update(f.name.encode())
                digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()
