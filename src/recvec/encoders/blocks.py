"""Everything that is known of a user or an item as one row of features: the id, the attributes, who met whom in training.

The features of a side stand in this order, each kind a group of its own (`kernels.fm_blocks`):

========== ======================================= =========================================
group      features                                values
========== ======================================= =========================================
0          the id, one for each row                1; none for someone new
1, 2, ...  attributes, see `encoders.attributes`   mean square length 1 for each attribute
last       the history, if wanted                  1 / sqrt(n) for each of n others met
========== ======================================= =========================================
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from recvec.encoders.attributes import AttributeCoder
from recvec.kernels.fm_blocks import Block
from recvec.types import F32, I32, Array, Json


@dataclass(frozen=True, eq=False)
class SideCoder:
    """Numbers the features of one side.

    Parameters
    ----------
    attributes : AttributeCoder
        Its attributes.
    n_ids : int
        Rows of the vocabulary, each with a feature of its own; 0 for context.
    n_met : int
        Rows of the other side, where the history is a group of features; else 0.
    """

    attributes: AttributeCoder
    n_ids: int = 0
    n_met: int = 0

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.n_ids + self.attributes.n_features + self.n_met

    @property
    def met_start(self) -> int:
        """First feature of the history."""
        return self.n_ids + self.attributes.n_features

    @property
    def groups(self) -> I32:
        """Group of each feature, shape (n_features,)."""
        first = int(self.n_ids > 0)
        last = first + len(self.attributes.columns)
        parts = [np.zeros(self.n_ids, np.int32), self.attributes.groups + np.int32(first), np.full(self.n_met, last, np.int32)]
        return np.concatenate(parts)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.n_ids > 0) + len(self.attributes.columns) + int(self.n_met > 0)

    def rows(self, attributes: sp.csr_array, met: sp.csr_array | None, *, ids: bool) -> sp.csr_array:
        """Return rows of features.

        Parameters
        ----------
        attributes : csr_array, shape (n, n_attributes)
            As the coder of the attributes gives them.
        met : csr_array, shape (n, n_met or fewer), optional
            Who met whom; what it holds does not matter. None for nothing.
        ids : bool
            Whether row n is the one with id n of the vocabulary, else someone new.
        """
        n = attributes.shape[0]
        own = sp.eye_array(n, self.n_ids, dtype=np.float32) if ids else sp.csr_array((n, self.n_ids), dtype=np.float32)
        others = sp.csr_array((n, self.n_met), dtype=np.float32) if met is None or not self.n_met else averaged(met, self.n_met)
        matrix = sp.csr_array(sp.hstack([own, attributes, others], format="csr", dtype=np.float32))
        matrix.indptr, matrix.indices = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
        matrix.sort_indices()
        return matrix

    def block(self, attributes: sp.csr_array, met: sp.csr_array | None) -> Block:
        """Return the rows of the whole vocabulary."""
        return Block(self.rows(attributes, met, ids=True), self.groups)

    def label(self, feature: int) -> str:
        """Return how a feature is called: ``user``, ``occupation=artist``, ``history of the user``."""
        subject = self.attributes.subject
        if feature < self.n_ids:
            return subject
        return self.attributes.label(feature - self.n_ids) if feature < self.met_start else f"history of the {subject}"

    def encode(self, frame: pl.DataFrame) -> sp.csr_array:
        """Return the rows of people, items or contexts that are known by attributes alone.

        Raises
        ------
        ColumnError
            As `AttributeCoder.typed`.
        """
        return self.rows(self.attributes.encode(self.attributes.typed(frame)), None, ids=False)

    def nothing(self, n: int) -> sp.csr_array:
        """Return the rows of `n` people or items of whom nothing is known."""
        return sp.csr_array((n, self.n_features), dtype=np.float32)

    def meta(self) -> dict[str, Json]:
        """Return what `restore` builds it from, beside the arrays of the attributes."""
        return {"attributes": self.attributes.meta(), "n_ids": self.n_ids, "n_met": self.n_met}

    @classmethod
    def restore(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> "SideCoder":
        """Build a coder again."""
        return cls(AttributeCoder.restore(meta["attributes"], arrays), int(meta["n_ids"]), int(meta["n_met"]))


def averaged(met: sp.csr_array, width: int) -> sp.csr_array:
    """Return ``1 / sqrt(n)`` at each of the n entries of a row, shape (rows, width)."""
    counts = np.diff(met.indptr)
    values: F32 = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
    return sp.csr_array((values, met.indices, met.indptr), shape=(met.shape[0], width))
