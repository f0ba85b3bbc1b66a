"""One history per person, as compressed rows of items with weights, order and times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recvec.errors import ValueRangeError
from recvec.types import F32, F64, I32, I64, Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Histories:
    """Histories of B people over a catalogue of `n_items`.

    Parameters
    ----------
    indptr : I64, shape (B + 1,)
        Bounds of each person's entries.
    items : I32, shape (n_entries,)
        Item rows, ascending and distinct within a person.
    weights : F32, shape (n_entries,)
        Strength, or rating where the task is rating.
    n_items : int
        Size of the catalogue.
    times : F64, shape (n_entries,), optional
        Timestamps, NaN where unknown.
    order : I32, shape (n_entries,), optional
        Place in the person's sequence, 0 the oldest.
    """

    indptr: I64
    items: I32
    weights: F32
    n_items: int
    times: F64 | None = None
    order: I32 | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def check(self) -> None:
        """Refuse arrays from elsewhere that are no histories: kernels trust bounds and row numbers without looking.

        Raises
        ------
        ValueRangeError
            Says what is wrong.
        """
        n = len(self.items) if self.items.ndim == 1 else -1
        wanted = {"indptr": np.int64, "items": np.int32, "weights": np.float32, "times": np.float64, "order": np.int32}
        for name, dtype in wanted.items():
            array = getattr(self, name)
            if array is not None and (array.dtype != dtype or array.ndim != 1 or (name != "indptr" and len(array) != n)):
                raise ValueRangeError(
                    f"the array {name} of histories is {array.dtype} of shape {array.shape}; allowed: a vector of {np.dtype(dtype)}, "
                    f"each as long as that of the items"
                )
        if not len(self.indptr) or self.indptr[0] or self.indptr[-1] != n or (self.lengths < 0).any():
            raise ValueRangeError(f"bounds of histories do not ascend from 0 to {n}, the number of entries")
        if n and (self.items.min() < 0 or self.items.max() >= self.n_items):
            raise ValueRangeError(
                f"histories name item rows from {self.items.min()} to {self.items.max()}; allowed: 0 to {self.n_items - 1}"
            )
        starts = np.zeros(n + 1, dtype=bool)
        starts[self.indptr] = True
        if not (starts[1:-1] | (np.diff(self.items) > 0)).all():
            raise ValueRangeError("items of a history do not ascend; allowed: distinct item rows in ascending order")

    @property
    def lengths(self) -> I64:
        """Number of items in each history, shape (B,)."""
        return np.diff(self.indptr)

    @property
    def exclude(self) -> tuple[I64, I32]:
        """The pair of arrays that the top-k kernels take as ``exclude``."""
        return self.indptr, self.items

    @classmethod
    def from_lists(
        cls, items: Sequence[Array | Sequence[int]], n_items: int, weights: Sequence[Array | Sequence[float]] | None = None
    ) -> "Histories":
        """Build histories from one sequence of item rows a person; repeated items add their weights.

        Raises
        ------
        ValueRangeError
            Where a row is outside the catalogue or a weight is not a finite number.
        """
        lengths = [len(h) for h in items]
        columns = np.concatenate([np.asarray(h, dtype=np.int64) for h in items]) if sum(lengths) else np.zeros(0, np.int64)
        values = np.ones(len(columns), np.float32)
        if weights is not None and len(columns):
            values = np.concatenate([np.asarray(w, dtype=np.float32) for w in weights])
        if len(columns) and (columns.min() < 0 or columns.max() >= n_items):
            raise ValueRangeError(f"history names item row {columns.max()}; allowed: 0 to {n_items - 1}")
        if not np.isfinite(values).all():
            raise ValueRangeError("a history weight is not a finite number; allowed: finite numbers; correct it or leave it out")
        people = np.repeat(np.arange(len(items)), lengths)
        merged = sp.coo_array((values, (people, columns)), shape=(len(items), n_items)).tocsr()
        return cls.from_matrix(merged)

    @classmethod
    def from_matrix(cls, matrix: sp.csr_array) -> "Histories":
        """Wrap a CSR matrix (B, n_items); its indices are sorted in place if they are not."""
        matrix.sum_duplicates()
        return cls(
            indptr=matrix.indptr.astype(np.int64, copy=False),
            items=matrix.indices.astype(np.int32, copy=False),
            weights=matrix.data.astype(np.float32, copy=False),
            n_items=matrix.shape[1],
        )

    @classmethod
    def empty(cls, n: int, n_items: int) -> "Histories":
        """Return `n` histories without an entry."""
        return cls(indptr=np.zeros(n + 1, np.int64), items=np.zeros(0, np.int32), weights=np.zeros(0, np.float32), n_items=n_items)

    def matrix(self) -> sp.csr_array:
        """Return the histories as a CSR matrix (B, n_items) that shares their memory."""
        return sp.csr_array((self.weights, self.items, self.indptr), shape=(len(self), self.n_items))

    def take(self, people: Array) -> "Histories":
        """Return the histories of some people, in the order given."""
        lengths = self.lengths[people]
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        at = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][people] - indptr[:-1], lengths)
        return Histories(
            indptr=indptr,
            items=self.items[at],
            weights=self.weights[at],
            n_items=self.n_items,
            times=None if self.times is None else self.times[at],
            order=None if self.order is None else self.order[at],
        )
