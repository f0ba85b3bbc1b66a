"""Fold-in by a sparse product, for methods whose query is a weighted sum of one vector per item."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from recvec.contract.model import FoldIn
from recvec.contract.runtime import Runtime
from recvec.data.histories import Histories
from recvec.errors import NotSupportedError
from recvec.kernels.factorization import sparse_dense
from recvec.types import F32, Array


def needs_history(name: str, histories: Histories | None) -> Histories:
    """Return the histories, or say that this method knows people by nothing else.

    Raises
    ------
    NotSupportedError
        Where there are none.
    """
    if histories is None:
        raise NotSupportedError(f"{name} knows people by their history only; give histories, or use a demographic method")
    return histories


def no_new_items(name: str) -> NotSupportedError:
    """Return the error of methods that know items by their interactions only."""
    return NotSupportedError(f"{name} knows items by their interactions only; use a content method for new items")


@dataclass(frozen=True, eq=False)
class LinearFoldIn(FoldIn):
    """``query = scale * sum_i w_i into_i`` over a history with weights w.

    Parameters
    ----------
    name : str
        Method, for messages.
    into : F32, shape (n_items, d)
        What each item contributes.
    scale : str
        ``"degree"``: 1 / sqrt(sum of weights); ``"unit"``: to unit length. Empty histories give zeros.
    """

    name: str
    into: F32
    scale: Literal["degree", "unit"]

    def queries(self, histories: Histories | None, features: pl.DataFrame | None) -> F32:
        """Return the sums, shape (B, d)."""
        sums, size = self._sums(needs_history(self.name, histories))
        return sums / size[:, None]

    def item_queries(self, features: pl.DataFrame) -> F32:
        """See `FoldIn.item_queries`."""
        raise no_new_items(self.name)

    def parts(self, history: Histories, vector: F32) -> tuple[Mapping[str, float], F32]:
        """Return ``scale * w_i into_i . vector`` for each item of the history."""
        _, size = self._sums(history)
        return {}, history.weights * (self.into[history.items] @ vector) / size[0]

    def arrays(self) -> Mapping[str, Array]:
        """See `FoldIn.arrays`."""
        return {"into": self.into}

    def _sums(self, histories: Histories) -> tuple[F32, F32]:
        """Return the weighted sums, shape (B, d), and what to divide them by, shape (B,)."""
        known = histories.matrix()
        sums = sparse_dense(known, self.into, executor=Runtime().executor)
        if self.scale == "degree":
            size: F32 = np.sqrt(np.asarray(known.sum(axis=1), dtype=np.float32))
        else:
            size = np.sqrt(np.einsum("bd,bd->b", sums, sums))
        size[size == 0] = 1
        return sums, size
