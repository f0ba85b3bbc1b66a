"""Everything that is known of a user or an item as one row of features: the id, the attributes, who met whom in training.

The features of a side stand in this order, each kind a group of its own (`kernels.fm_blocks`):

========== ======================================= =========================================
group      features                                values
========== ======================================= =========================================
0          the id, one for each row, and behind    1; everyone of whom nothing was learned has
           them one that is nobody's in training   the last one
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
from recvec.types import F32, I32, Array, Json


@dataclass(frozen=True, eq=False)
class SideCoder:
    """Numbers the features of one side, or of the context, which has no ids.

    Parameters
    ----------
    attributes : AttributeCoder
        Its attributes.
    n_ids : int
        Rows of the vocabulary, each with a feature of its own, and one more for everyone else; 0: no ids at all.
    n_met : int
        Rows of the other side, where the history is a group of features; else 0.
    """

    attributes: AttributeCoder
    n_ids: int = 0
    n_met: int = 0

    @property
    def attributes_start(self) -> int:
        """First feature of the attributes: behind the ids and the one that stands for everyone else."""
        return self.n_ids + 1 if self.n_ids else 0

    @property
    def met_start(self) -> int:
        """First feature of the history."""
        return self.attributes_start + self.attributes.n_features

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.met_start + self.n_met

    @property
    def groups(self) -> I32:
        """Group of each feature, shape (n_features,)."""
        first = int(self.n_ids > 0)
        last = first + len(self.attributes.columns)
        parts = [np.zeros(self.attributes_start, np.int32), self.attributes.groups + np.int32(first), np.full(self.n_met, last, np.int32)]
        return np.concatenate(parts)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.n_ids > 0) + len(self.attributes.columns) + int(self.n_met > 0)

    def rows(self, attributes: sp.csr_array, met: sp.csr_array | None = None, ids: I32 | None = None) -> sp.csr_array:
        """Return rows of features.

        Parameters
        ----------
        attributes : csr_array, shape (n, n_attributes)
            As the coder of the attributes gives them.
        met : csr_array, shape (n, n_met or fewer), optional
            Who met whom; what it holds does not matter. None for nothing.
        ids : I32, shape (n,), optional
            Row in the vocabulary of each, `n_ids` for someone of whom nothing was learned; everyone is that without it.
        """
        n = attributes.shape[0]
        parts = [attributes]
        if self.n_ids:
            columns = np.full(n, self.n_ids, np.int32) if ids is None else ids
            own = sp.csr_array((np.ones(n, np.float32), columns, np.arange(n + 1)), shape=(n, self.attributes_start))
            parts.insert(0, own)
        if self.n_met:
            parts.append(sp.csr_array((n, self.n_met), dtype=np.float32) if met is None else averaged(met, self.n_met))
        matrix = sp.csr_array(sp.hstack(parts, format="csr", dtype=np.float32))
        matrix.indptr, matrix.indices = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
        matrix.sort_indices()
        return matrix

    def label(self, feature: int) -> str:
        """Return how a feature is called: ``user``, ``occupation=artist``, ``history of the user``."""
        subject = self.attributes.subject
        if feature < self.attributes_start:
            return subject
        return self.attributes.label(feature - self.attributes_start) if feature < self.met_start else f"history of the {subject}"

    def encode(self, frame: pl.DataFrame) -> sp.csr_array:
        """Return the attributes, shape (n, n_attributes), of a frame from elsewhere.

        Raises
        ------
        ColumnError
            As `AttributeCoder.typed`.
        """
        return self.attributes.encode(self.attributes.typed(frame))

    def nothing(self, n: int) -> sp.csr_array:
        """Return the attributes of `n` people or items without any, shape (n, n_attributes)."""
        return sp.csr_array((n, self.attributes.n_features), dtype=np.float32)

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
